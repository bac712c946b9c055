/* Work behind: merging, moving reclassified documents' entries, expiry, purging. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "retrieval/conversations.h"
#include "retrieval/internal.h"
#include "retrieval/schema.h"

#define MOVES_A_STEP 32
#define EXPIRIES_A_STEP 256
#define VECTORS_A_STEP 4096

/* A chunk on its way to another ordinal. */
struct move {
	uint32_t from;
	char *head, *text;
};

static void moves_free(struct move *moves, size_t n)
{
	for (size_t i = 0; moves && i < n; i++) {
		free(moves[i].head);
		free(moves[i].text);
	}
	free(moves);
}

static int read_moves(struct hs_store *s, uint32_t document, struct move **ret, uint32_t *ret_n, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&s->statements,
					"SELECT c.ordinal, t.head, t.text FROM chunks c JOIN chunk_texts t ON t.ordinal = c.ordinal"
					" WHERE c.document = ?1 AND c.dead = 0 ORDER BY c.idx", err);
	struct move *moves = NULL;
	uint32_t n = 0;
	int rc = st ? hs_bind(st, "i", (int64_t)document) : -EIO;

	while (rc == 0 && (rc = hs_step(st, err)) > 0) {
		struct move *more = realloc(moves, (n + 1ul) * sizeof(*more));

		if (!more) {
			rc = -ENOMEM;
			break;
		}
		moves = more;
		moves[n] = (struct move){.from = (uint32_t)sqlite3_column_int64(st, 0)};
		moves[n].head = strdup((const char *)sqlite3_column_text(st, 1));
		moves[n].text = strdup((const char *)sqlite3_column_text(st, 2));
		n++;
		rc = moves[n - 1].head && moves[n - 1].text ? 0 : -ENOMEM;
	}
	if (rc < 0) {
		moves_free(moves, n);
		return rc;
	}
	*ret = moves;
	*ret_n = n;
	return 0;
}

static int document_state(struct hs_store *s, uint32_t document, uint32_t *ret_class, int64_t *ret_expires, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&s->statements, "SELECT class_id, expires FROM documents WHERE id = ?1 AND deleted = 0", err);
	int rc = st ? hs_bind(st, "i", (int64_t)document) : -EIO;

	if (rc == 0)
		rc = hs_step(st, err);
	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	*ret_class = (uint32_t)sqlite3_column_int64(st, 0);
	*ret_expires = sqlite3_column_int64(st, 1);
	return 0;
}

static const char *const move_rows[] = {
	"UPDATE chunks SET ordinal = ?2 WHERE ordinal = ?1",
	"UPDATE chunk_texts SET ordinal = ?2 WHERE ordinal = ?1",
	"UPDATE vectors SET ordinal = ?2 WHERE ordinal = ?1 AND model IN (SELECT id FROM vector_models)",
};

/* Give one chunk another ordinal: rows, FTS5, postings (the old ones fall out when segments merge), vector. */
static int move_chunk(struct hs_store *s, const struct move *m, struct hs_index_chunk *c, uint32_t class_id, int64_t expires,
		      struct hs_err *err)
{
	const struct hs_extent *e = s->work->extents[m->from / HS_EXTENT_ORDINALS];
	uint32_t low = m->from % HS_EXTENT_ORDINALS;
	struct hs_placed p = {.ordinal = c->ordinal, .head = m->head, .text = m->text, .head_len = strlen(m->head),
			      .text_len = strlen(m->text)};
	int8_t row[HS_STORE_DIMENSIONS_MAX];
	float scale = 0;
	int rc;

	if (e->vectors && low < e->vectors->rows && e->vectors->dimensions == s->work->dimensions) {
		scale = e->vectors->scale[low];
		memcpy(row, e->vectors->data + (size_t)low * e->vectors->stride, s->work->dimensions);
	}
	rc = hs_store_unindex_fts(s, m->from, m->head, m->text, err);
	if (rc == 0)
		rc = hs_index_kill(s->work, m->from);
	for (size_t i = 0; rc == 0 && i < HS_ARRAY_LEN(move_rows); i++)
		rc = hs_execute(&s->statements, err, move_rows[i], "ii", (int64_t)m->from, (int64_t)c->ordinal);
	if (rc == 0)
		rc = hs_store_index_chunk(s, &p, err);
	if (rc < 0)
		return rc;
	for (int f = 0; f < HS_FIELDS; f++)
		c->length[f] = p.length[f];
	rc = hs_index_add(s->work, c);
	if (rc == 0)
		rc = hs_index_override(s->work, c->ordinal, c->document, class_id, expires);
	if (rc == 0 && scale > 0)
		rc = hs_index_set_vector(s->work, c->ordinal, scale, row);
	return rc;
}

static int move_document(struct hs_store *s, uint32_t document, struct hs_err *err)
{
	uint64_t whole[HS_FIELDS] = {0};
	struct move *moves = NULL;
	uint32_t *ordinals = NULL;
	uint32_t class_id, n = 0;
	int64_t expires;
	int rc = document_state(s, document, &class_id, &expires, err);

	if (rc == 0)
		rc = read_moves(s, document, &moves, &n, err);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	ordinals = calloc(n + 1ul, sizeof(*ordinals));
	rc = ordinals ? hs_store_allocate(s, class_id, n, ordinals, err) : -ENOMEM;
	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		struct hs_index_chunk c = {.ordinal = ordinals[i], .head = ordinals[0], .document = document};

		rc = move_chunk(s, &moves[i], &c, class_id, expires, err);
		for (int f = 0; f < HS_FIELDS; f++)
			whole[f] += c.length[f];
	}
	if (rc == 0 && n > 0)
		rc = hs_index_set_whole(s->work, ordinals[0], whole);
	free(ordinals);
	moves_free(moves, n);
	return rc;
}

/* Documents whose entries lie in another class's extents, at most max. */
static size_t find_moved(const struct hs_index *x, uint32_t *ret, size_t max)
{
	size_t n = 0;

	for (uint32_t i = 0; i < x->n_extents && n < max; i++) {
		const struct hs_extent *e = x->extents[i];

		for (uint32_t o = 0; e && o < e->n_overrides && n < max; o++) {
			size_t known = 0;

			if (e->overrides[o].class_id == e->class_id)
				continue;
			while (known < n && ret[known] != e->overrides[o].document)
				known++;
			if (known == n)
				ret[n++] = e->overrides[o].document;
		}
	}
	return n;
}

static int move_some(struct hs_store *s, bool *ret_more, struct hs_err *err)
{
	uint32_t documents[MOVES_A_STEP];
	size_t n = find_moved(s->live, documents, MOVES_A_STEP);
	int rc;

	if (n == 0)
		return 0;
	*ret_more = true;
	rc = hs_store_begin(s, err);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = move_document(s, documents[i], err);
	if (rc == 0) {
		s->work_dirty += n; /* their old postings */
		return hs_store_commit(s, err);
	}
	hs_store_rollback(s);
	return rc;
}

static int expire_some(struct hs_store *s, int64_t now_ms, bool *ret_more, struct hs_err *err)
{
	struct hs_id documents[EXPIRIES_A_STEP];
	size_t n = 0;
	int rc;

	{
		HS_STMT_AUTO *st = hs_statement(&s->statements,
						"SELECT public FROM documents WHERE expires <> 0 AND expires <= ?1 AND deleted = 0 LIMIT ?2", err);

		rc = st ? hs_bind(st, "ii", now_ms, (int64_t)EXPIRIES_A_STEP) : -EIO;
		while (rc == 0 && (rc = hs_step(st, err)) > 0) {
			hs_column_text(st, 0, documents[n].s, sizeof(documents[n].s));
			n++;
			rc = 0;
		}
	}
	if (rc < 0 || n == 0)
		return rc;
	*ret_more = true;
	rc = hs_store_begin(s, err);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = hs_store_delete(s, &documents[i], now_ms, err);
	if (rc == 0)
		return hs_store_commit(s, err);
	hs_store_rollback(s);
	return rc;
}

/* Another model's vectors, some at a time. */
static int drop_vectors(struct hs_store *s, bool *ret_more, struct hs_err *err)
{
	int rc = hs_store_begin(s, err);
	int gone = 0;

	if (rc < 0)
		return rc;
	rc = hs_execute(&s->statements, err, "DELETE FROM vectors WHERE model <> ?1 AND (model, ordinal) IN"
			" (SELECT model, ordinal FROM vectors WHERE model <> ?1 LIMIT ?2)", "ii", s->model, (int64_t)VECTORS_A_STEP);
	if (rc == 0)
		gone = sqlite3_changes(s->db);
	if (rc == 0 && gone == 0)
		rc = hs_execute(&s->statements, err, "DELETE FROM vector_models WHERE used = 0", "");
	if (rc == 0 && gone == 0 && sqlite3_changes(s->db) == 0) {
		hs_store_rollback(s);
		return 0;
	}
	*ret_more = gone > 0;
	if (rc == 0)
		return hs_store_commit(s, err);
	hs_store_rollback(s);
	return rc;
}

static int other_models(struct hs_store *s, bool *ret, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&s->statements, "SELECT count(*) FROM vector_models WHERE used = 0", err);
	int rc = st ? hs_step(st, err) : -EIO;

	if (rc > 0)
		*ret = sqlite3_column_int64(st, 0) > 0;
	return rc < 0 ? rc : 0;
}

int hs_store_maintain(struct hs_store *s, int64_t now_ms, bool *ret_more, struct hs_err *err)
{
	bool more = false, merged = false, others = false, rewritten = false;
	int rc = expire_some(s, now_ms, &more, err);

	if (rc == 0)
		rc = move_some(s, &more, err);
	if (rc == 0)
		rc = other_models(s, &others, err);
	if (rc == 0 && others)
		rc = drop_vectors(s, &more, err);
	if (rc == 0)
		rc = hs_store_begin(s, err);
	if (rc < 0)
		return rc;
	rc = hs_store_merge(s, HS_SEGMENT_BYTES_MAX, &merged, err);
	/* One a step, so that other work comes in between: a purge then finds little or nothing to rewrite. */
	if (rc == 0 && !more && !merged && s->dirty > 0)
		rc = hs_store_rewrite_dead(s, 1, &rewritten, err);
	if (rc == 0 && (merged || rewritten))
		rc = hs_store_commit(s, err);
	else
		hs_store_rollback(s);
	if (rc == 0)
		*ret_more = more || merged || rewritten;
	return rc;
}

/* --- purging --- */

struct blobs {
	struct hs_id *items;
	size_t n;
};

static int purge_chunks(struct hs_store *s, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&s->statements,
					"SELECT c.ordinal, t.head, t.text FROM chunks c JOIN chunk_texts t ON t.ordinal = c.ordinal WHERE c.dead <> 0", err);
	int rc = st ? 0 : -EIO;

	while (rc == 0 && (rc = hs_step(st, err)) > 0)
		rc = hs_store_unindex_fts(s, (uint32_t)sqlite3_column_int64(st, 0), (const char *)sqlite3_column_text(st, 1),
					  (const char *)sqlite3_column_text(st, 2), err);
	if (rc < 0)
		return rc;
	return hs_sql_exec(s->db, "DELETE FROM vectors WHERE ordinal IN (SELECT ordinal FROM chunks WHERE dead <> 0);"
				  "DELETE FROM chunk_texts WHERE ordinal IN (SELECT ordinal FROM chunks WHERE dead <> 0);"
				  "DELETE FROM chunks WHERE dead <> 0;"
				  "INSERT INTO chunks_fts(chunks_fts) VALUES('optimize')", err);
}

/* Versions of deleted documents, versions replaced long ago, documents without versions; then blobs that nothing names. */
static int purge_rows(struct hs_store *s, int64_t keep_since, struct blobs *blobs, struct hs_err *err)
{
	int rc = hs_conversations_blank(s, keep_since, err);

	if (rc == 0)
		rc = hs_execute(&s->statements, err, "DELETE FROM versions WHERE (replaced <> 0 AND replaced < ?1) OR document IN"
				" (SELECT id FROM documents WHERE deleted <> 0)", "i", keep_since);
	if (rc == 0)
		rc = hs_sql_exec(s->db, "DELETE FROM documents WHERE deleted <> 0", err);
	if (rc < 0)
		return rc;
	{
		HS_STMT_AUTO *st = hs_statement(&s->statements,
						"SELECT public FROM blobs b WHERE NOT EXISTS (SELECT 1 FROM versions v WHERE v.canonical = b.id"
						" OR v.original = b.id) AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.blob = b.id)", err);

		rc = st ? 0 : -EIO;
		while (rc == 0 && (rc = hs_step(st, err)) > 0) {
			struct hs_id *more = realloc(blobs->items, (blobs->n + 1) * sizeof(*more));

			if (!more)
				return -ENOMEM;
			blobs->items = more;
			hs_column_text(st, 0, blobs->items[blobs->n].s, sizeof(blobs->items[0].s));
			blobs->n++;
			rc = 0;
		}
	}
	for (size_t i = 0; rc == 0 && i < blobs->n; i++)
		rc = hs_execute(&s->statements, err, "DELETE FROM blobs WHERE public = ?1", "t", blobs->items[i].s);
	return rc;
}

/* Extents without a chunk are given out again, to any class. Their postings are gone by now. */
static int free_extents(struct hs_store *s, struct hs_err *err)
{
	for (uint32_t i = 0; i < s->work->n_extents; i++) {
		int rc;

		if (!s->work->extents[i] || s->work->extents[i]->n_alive > 0)
			continue;
		rc = hs_execute(&s->statements, err, "DELETE FROM extents WHERE extent = ?1", "i", (int64_t)i);
		if (rc < 0)
			return rc;
		hs_index_free_extent(s->work, i);
	}
	hs_store_find_open_extents(s, s->work);
	return 0;
}

int hs_store_purge(struct hs_store *s, int64_t keep_since, void (*forget)(void *ctx, const char *blob_id), void *ctx,
		   struct hs_err *err)
{
	struct blobs blobs = {0};
	bool rewritten;
	int rc = s->stage ? 0 : hs_store_begin(s, err); /* what is staged is dead, and is not to go */

	if (s->stage || rc < 0)
		return rc;
	rc = purge_chunks(s, err);
	if (rc == 0)
		rc = purge_rows(s, keep_since, &blobs, err);
	if (rc == 0)
		rc = hs_store_rewrite_dead(s, UINT32_MAX, &rewritten, err);
	if (rc == 0)
		rc = free_extents(s, err);
	if (rc == 0) {
		s->work_dirty = 0;
		rc = hs_store_commit(s, err);
	} else {
		hs_store_rollback(s);
	}
	/* What was deleted lies in the log until it is emptied. Readers may hold it up: the next purge tries again. */
	if (rc == 0)
		(void)sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	for (size_t i = 0; rc == 0 && forget && i < blobs.n; i++)
		forget(ctx, blobs.items[i].s);
	free(blobs.items);
	return rc;
}
