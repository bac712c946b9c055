/* The index from the database: generation, extents, chunks, postings, vectors. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/clock.h"
#include "base/wire.h"
#include "retrieval/internal.h"
#include "retrieval/schema.h"
#include "text/normalize.h"

static int load_meta(struct hs_store *s, struct hs_err *err) HS_MUST_CHECK;
static int load_extents(struct hs_store *s, struct hs_index *x, struct hs_err *err) HS_MUST_CHECK;
static int load_chunks(struct hs_store *s, struct hs_index *x, struct hs_err *err) HS_MUST_CHECK;

static int add_generation(struct hs_store *s, const uint8_t *dict_hash, struct hs_err *err)
{
	int rc = hs_execute(&s->statements, err, "INSERT INTO generations(dict_hash, normalizer, created) VALUES(?1, ?2, ?3)", "bii",
			    dict_hash, (size_t)HS_DICT_HASH_LEN, (int64_t)HS_NORMALIZER_VERSION, hs_now_ms());

	if (rc == 0)
		s->generation = sqlite3_last_insert_rowid(s->db);
	return rc;
}

static int reindex_chunks(struct hs_store *s, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&s->statements,
					"SELECT c.ordinal, t.head, t.text FROM chunks c JOIN chunk_texts t ON t.ordinal = c.ordinal"
					" WHERE c.dead = 0 ORDER BY c.ordinal", err);
	int rc = st ? 0 : -EIO;

	while (rc == 0 && (rc = hs_step(st, err)) > 0) {
		struct hs_placed p = {
			.ordinal = (uint32_t)sqlite3_column_int64(st, 0),
			.head = (const char *)sqlite3_column_text(st, 1),
			.text = (const char *)sqlite3_column_text(st, 2),
			.head_len = (size_t)sqlite3_column_bytes(st, 1),
			.text_len = (size_t)sqlite3_column_bytes(st, 2),
		};

		if (!p.head || !p.text)
			return -ENOMEM;
		rc = hs_store_index_chunk(s, &p, err);
		if (rc == 0)
			rc = hs_execute(&s->statements, err, "UPDATE chunks SET words = ?2, bigrams = ?3 WHERE ordinal = ?1", "iii",
					(int64_t)p.ordinal, (int64_t)p.length[0], (int64_t)p.length[1]);
		if (rc == 0 && s->builder_chunks >= 20000)
			rc = hs_store_flush(s, err);
	}
	return rc;
}

/*
 * Another dictionary or normaliser: all words anew, from the texts that the chunks keep, in one transaction. What was
 * deleted has no place in the new index; its rows go too.
 */
static int rebuild(struct hs_store *s, const uint8_t *dict_hash, struct hs_err *err)
{
	int rc;

	s->live = hs_index_create();
	if (!s->live)
		return -ENOMEM;
	rc = load_meta(s, err); /* the commit below counts on: the audit log knows how far it was */
	if (rc == 0)
		rc = load_extents(s, s->live, err);
	if (rc == 0)
		rc = load_chunks(s, s->live, err);
	if (rc == 0)
		rc = hs_store_begin(s, err);
	if (rc == 0)
		rc = add_generation(s, dict_hash, err);
	if (rc == 0)
		rc = hs_sql_exec(s->db, "DELETE FROM segments; INSERT INTO chunks_fts(chunks_fts) VALUES('delete-all');"
					" DELETE FROM chunk_texts WHERE ordinal IN (SELECT ordinal FROM chunks WHERE dead <> 0);"
					" DELETE FROM vectors WHERE ordinal IN (SELECT ordinal FROM chunks WHERE dead <> 0);"
					" DELETE FROM chunks WHERE dead <> 0", err);
	if (rc == 0)
		rc = reindex_chunks(s, err);
	if (rc == 0)
		rc = hs_store_commit(s, err);
	else
		hs_store_rollback(s);
	hs_index_unref(s->live);
	s->live = NULL;
	return rc;
}

int hs_store_check_generation(struct hs_store *s, struct hs_err *err)
{
	uint8_t dict_hash[HS_DICT_HASH_LEN];
	bool none, same = false;
	int rc;

	hs_analyzer_dict_hash(s->analyzer, dict_hash);
	{
		HS_STMT_AUTO *st =
			hs_statement(&s->statements, "SELECT id, dict_hash, normalizer FROM generations ORDER BY id DESC LIMIT 1", err);

		rc = st ? hs_step(st, err) : -EIO;
		if (rc < 0)
			return rc;
		none = rc == 0;
		if (!none) {
			s->generation = sqlite3_column_int64(st, 0);
			same = sqlite3_column_bytes(st, 1) == HS_DICT_HASH_LEN &&
			       memcmp(sqlite3_column_blob(st, 1), dict_hash, HS_DICT_HASH_LEN) == 0 &&
			       sqlite3_column_int64(st, 2) == HS_NORMALIZER_VERSION;
		}
	}
	if (none)
		return add_generation(s, dict_hash, err);
	if (same)
		return 0;
	if (!s->options.rebuild)
		return hs_fail(err, ESTALE, "index.generation",
			       HS_N_("The index was made with another dictionary or normaliser: give the old dictionary, or run "
				     "hisho tenant rebuild."), "generation %lld", (long long)s->generation);
	return rebuild(s, dict_hash, err);
}

static int load_meta(struct hs_store *s, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&s->statements,
					"SELECT (SELECT value FROM meta WHERE key = 'commit_seq'),"
					" (SELECT count(*) FROM documents WHERE deleted <> 0) + (SELECT count(*) FROM chunks WHERE dead <> 0)", err);
	int rc = st ? hs_step(st, err) : -EIO;

	if (rc < 0)
		return rc;
	s->commit_seq = (uint64_t)sqlite3_column_int64(st, 0);
	s->dirty = (uint64_t)sqlite3_column_int64(st, 1);
	return 0;
}

static int bad_row(struct hs_err *err, const char *what, int64_t id)
{
	return hs_fail(err, EBADMSG, "index.row", HS_N_("A part of the index is damaged; rebuild the index."), "%s %lld", what,
		       (long long)id);
}

static int load_extents(struct hs_store *s, struct hs_index *x, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&s->statements, "SELECT extent, class_id, used FROM extents ORDER BY extent", err);
	int rc = st ? 0 : -EIO;

	while (rc == 0 && (rc = hs_step(st, err)) > 0) {
		int64_t extent = sqlite3_column_int64(st, 0), class_id = sqlite3_column_int64(st, 1), used = sqlite3_column_int64(st, 2);
		struct hs_extent *e;

		if (extent < 0 || extent >= HS_STORE_ORDINALS_MAX / HS_EXTENT_ORDINALS || class_id < 1 || class_id > HS_CLASSES_MAX ||
		    used < 0 || used > HS_EXTENT_ORDINALS)
			return bad_row(err, "extent", extent);
		e = hs_index_extent(x, (uint32_t)extent);
		if (!e)
			return -ENOMEM;
		e->class_id = (uint32_t)class_id;
		e->used = (uint32_t)used;
		rc = 0;
	}
	return rc;
}

static bool known_ordinal(const struct hs_index *x, int64_t ordinal)
{
	return ordinal >= 0 && ordinal / HS_EXTENT_ORDINALS < x->n_extents && x->extents[ordinal / HS_EXTENT_ORDINALS] &&
	       ordinal % HS_EXTENT_ORDINALS < x->extents[ordinal / HS_EXTENT_ORDINALS]->used;
}

static int load_chunks(struct hs_store *s, struct hs_index *x, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&s->statements,
					"SELECT c.ordinal, c.document, c.words, c.bigrams, d.class_id, d.expires FROM chunks c"
					" JOIN documents d ON d.id = c.document WHERE c.dead = 0 ORDER BY c.document, c.idx", err);
	uint64_t whole[HS_FIELDS] = {0};
	uint32_t document = 0, head = 0;
	int rc = st ? 0 : -EIO;

	while (rc == 0 && (rc = hs_step(st, err)) > 0) {
		int64_t ordinal = sqlite3_column_int64(st, 0), class_id = sqlite3_column_int64(st, 4);
		struct hs_index_chunk c = {.document = (uint32_t)sqlite3_column_int64(st, 1)};

		if (!known_ordinal(x, ordinal) || hs_index_alive(x, (uint32_t)ordinal) || class_id < 1 || class_id > HS_CLASSES_MAX)
			return bad_row(err, "chunk", ordinal);
		if (c.document != document) {
			document = c.document;
			head = (uint32_t)ordinal;
			memset(whole, 0, sizeof(whole));
		}
		c.ordinal = (uint32_t)ordinal;
		c.head = head;
		c.length[HS_FIELD_WORDS] = (uint32_t)sqlite3_column_int64(st, 2);
		c.length[HS_FIELD_BIGRAMS] = (uint32_t)sqlite3_column_int64(st, 3);
		for (int f = 0; f < HS_FIELDS; f++)
			whole[f] += c.length[f];
		rc = hs_index_add(x, &c);
		if (rc == 0)
			rc = hs_index_set_whole(x, head, whole);
		if (rc == 0)
			rc = hs_index_override(x, c.ordinal, document, (uint32_t)class_id, sqlite3_column_int64(st, 5));
	}
	return rc;
}

static int load_segments(struct hs_store *s, struct hs_index *x, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&s->statements, "SELECT id, level, hash, data FROM segments ORDER BY id", err);
	int rc = st ? 0 : -EIO;

	while (rc == 0 && (rc = hs_step(st, err)) > 0) {
		const void *data = sqlite3_column_blob(st, 3);
		size_t len = (size_t)sqlite3_column_bytes(st, 3);
		uint8_t hash[HS_STORE_HASH_LEN];
		struct hs_segment *segment = NULL;

		(void)crypto_generichash(hash, sizeof(hash), data, len, NULL, 0); /* fails for bad lengths only */
		if (sqlite3_column_bytes(st, 2) != sizeof(hash) || memcmp(hash, sqlite3_column_blob(st, 2), sizeof(hash)) != 0)
			return hs_fail(err, EBADMSG, "index.segment", HS_N_("A part of the index is damaged; rebuild the index."),
				       "segment %lld", (long long)sqlite3_column_int64(st, 0));
		rc = hs_segment_decode(data, len, x->n_extents * HS_EXTENT_ORDINALS, &segment, err);
		if (rc < 0)
			return rc;
		segment->id = sqlite3_column_int64(st, 0);
		segment->level = (uint32_t)sqlite3_column_int64(st, 1);
		rc = hs_index_push_segment(x, segment);
		if (rc < 0)
			hs_segment_destroy(segment);
	}
	return rc;
}

static int load_model(struct hs_store *s, struct hs_index *x, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&s->statements, "SELECT id, hash, dimensions FROM vector_models WHERE used <> 0", err);
	int rc = st ? hs_step(st, err) : -EIO;

	if (rc <= 0)
		return rc;
	if (sqlite3_column_bytes(st, 1) != HS_STORE_HASH_LEN || sqlite3_column_int64(st, 2) < 1 ||
	    sqlite3_column_int64(st, 2) > HS_STORE_DIMENSIONS_MAX)
		return bad_row(err, "vector model", sqlite3_column_int64(st, 0));
	s->model = sqlite3_column_int64(st, 0);
	memcpy(s->model_hash, sqlite3_column_blob(st, 1), HS_STORE_HASH_LEN);
	x->dimensions = (uint32_t)sqlite3_column_int64(st, 2);
	return 0;
}

int hs_store_load_vectors(struct hs_store *s, struct hs_index *x, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&s->statements, "SELECT ordinal, data FROM vectors WHERE model = ?1 ORDER BY ordinal", err);
	int rc = st ? hs_bind(st, "i", s->model) : -EIO;

	while (rc == 0 && (rc = hs_step(st, err)) > 0) {
		int64_t ordinal = sqlite3_column_int64(st, 0);
		struct hs_wire w = hs_wire_over(sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1));
		float scale = hs_wire_f32(&w);
		const uint8_t *row = hs_wire_bytes(&w, x->dimensions);

		if (!known_ordinal(x, ordinal) || !hs_wire_done(&w) || !(scale > 0 && scale < 1e30f))
			return bad_row(err, "vector", ordinal);
		rc = 0;
		if (hs_index_alive(x, (uint32_t)ordinal))
			rc = hs_index_set_vector(x, (uint32_t)ordinal, scale, (const int8_t *)row);
	}
	return rc;
}

void hs_store_find_open_extents(struct hs_store *s, const struct hs_index *x)
{
	memset(s->open_extent, 0, sizeof(s->open_extent));
	s->free_hint = 0;
	for (uint32_t i = 0; i < x->n_extents; i++)
		if (x->extents[i] && x->extents[i]->used < HS_EXTENT_ORDINALS)
			s->open_extent[x->extents[i]->class_id] = i + 1;
}

int hs_store_load(struct hs_store *s, struct hs_err *err)
{
	struct hs_index *x = hs_index_create();
	int rc = x ? load_meta(s, err) : -ENOMEM;

	if (rc == 0)
		rc = load_extents(s, x, err);
	if (rc == 0)
		rc = load_model(s, x, err);
	if (rc == 0)
		rc = load_chunks(s, x, err);
	if (rc == 0)
		rc = load_segments(s, x, err);
	if (rc == 0 && s->model)
		rc = hs_store_load_vectors(s, x, err);
	if (rc == 0 && hs_index_memory(x) > s->options.memory_max)
		rc = hs_fail(err, ENOMEM, "index.memory",
			     HS_N_("The index outgrows the memory that this tenant may take: raise the limit."), "%llu MiB",
			     (unsigned long long)(hs_index_memory(x) >> 20));
	if (rc < 0) {
		hs_index_unref(x);
		return rc;
	}
	s->live = x;
	hs_store_find_open_extents(s, x);
	return 0;
}
