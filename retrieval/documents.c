/* Documents: put, delete, reclassify, expire. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "retrieval/internal.h"
#include "retrieval/schema.h"

/* A document's row, by public id; deleted ones are unknown. */
struct row {
	int64_t id, version, expires;
	uint32_t class_id;
};

static int find(struct hs_store *s, const struct hs_id *document, struct row *ret, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&s->statements,
					"SELECT id, version, class_id, expires FROM documents WHERE public = ?1 AND deleted = 0", err);
	int rc = st ? hs_bind(st, "t", document->s) : -EIO;

	if (rc == 0)
		rc = hs_step(st, err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return hs_fail(err, ENOENT, "doc.unknown", hs_document_hint("doc.unknown"), "%s", document->s);
	*ret = (struct row){.id = sqlite3_column_int64(st, 0), .version = sqlite3_column_int64(st, 1),
			    .class_id = (uint32_t)sqlite3_column_int64(st, 2), .expires = sqlite3_column_int64(st, 3)};
	return 0;
}

static int check(const struct hs_put *p, struct hs_err *err)
{
	const struct hs_document *d = p->read;

	if (p->class_id < 1 || p->class_id > HS_CLASSES_MAX)
		return hs_fail(err, EINVAL, "doc.class", hs_document_hint("doc.class"), "class %u", p->class_id);
	if (p->n_chunks == 0)
		return hs_fail(err, EINVAL, "doc.empty", hs_document_hint("doc.empty"), "document");
	if (p->n_chunks > HS_STORE_CHUNKS_MAX)
		return hs_fail(err, EFBIG, "doc.too_long", hs_document_hint("doc.too_long"), "%zu", p->n_chunks);
	if (strlen(p->source) > HS_STORE_SOURCE_MAX)
		return hs_fail(err, EINVAL, "doc.source", hs_document_hint("doc.source"), "%zu bytes", strlen(p->source));
	if (!hs_utf8_valid(p->title, strlen(p->title), NULL) || !hs_utf8_valid(d->text, d->len, NULL) || memchr(d->text, 0, d->len))
		return hs_fail(err, EILSEQ, "doc.utf8", HS_N_("The extracted text is not UTF-8."), "document");
	for (size_t i = 0; i < p->n_chunks; i++) {
		const struct hs_chunk *c = &p->chunks[i];

		if (c->start >= c->end || c->end > d->len || hs_utf8_cut(d->text, c->start) != c->start ||
		    (c->end < d->len && hs_utf8_cut(d->text, c->end) != c->end) || !hs_utf8_valid(c->context, strlen(c->context), NULL))
			return hs_fail(err, EINVAL, "doc.chunk", hs_document_hint("doc.chunk"), "passage %zu", i);
	}
	return 0;
}

static int blob_id(struct hs_store *s, const struct hs_id *id, int64_t *ret, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&s->statements, "SELECT id FROM blobs WHERE public = ?1", err);
	int rc = st ? hs_bind(st, "t", id->s) : -EIO;

	if (rc == 0)
		rc = hs_step(st, err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return hs_fail(err, ENOENT, "blob.unknown", HS_N_("Add the blob's row before its document."), "%s", id->s);
	*ret = sqlite3_column_int64(st, 0);
	return 0;
}

/* The document's row: a new one, or the old one brought up to date and its former version taken out of the indexes. */
static int put_document(struct hs_store *s, const struct hs_put *p, const char *title, struct row *row, struct hs_id *ret_document,
			struct hs_err *err)
{
	size_t mac_len = p->content_mac ? HS_STORE_HASH_LEN : 0;
	int rc;

	if (!p->document) {
		*ret_document = hs_id_new("doc_");
		rc = hs_execute(&s->statements, err, "INSERT INTO documents(public, class_id, title, sender, source, created, updated, expires,"
				" content_mac) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8)", "titttiib",
				ret_document->s, (int64_t)p->class_id, title, p->sender, p->source, p->now_ms, p->expires,
				(const void *)p->content_mac, mac_len);
		if (rc < 0 && (sqlite3_extended_errcode(s->db) & 0xff) == SQLITE_CONSTRAINT)
			return hs_fail(err, EEXIST, "doc.source_exists", hs_document_hint("doc.source_exists"), "%s",
				       p->source);
		*row = (struct row){.id = sqlite3_last_insert_rowid(s->db)};
		if (rc == 0 && row->id > UINT32_MAX)
			return hs_fail(err, ENOSPC, "index.documents", HS_N_("The tenant holds as many documents as it can."), "documents");
		return rc;
	}
	*ret_document = *p->document;
	rc = find(s, p->document, row, err);
	if (rc == 0)
		rc = hs_store_kill_chunks(s, row->id, err);
	if (rc == 0)
		rc = hs_execute(&s->statements, err, "UPDATE versions SET replaced = ?2 WHERE id = ?1", "ii", row->version, p->now_ms);
	if (rc == 0)
		rc = hs_execute(&s->statements, err, "UPDATE documents SET class_id = ?2, title = ?3, sender = ?4, source = ?5, updated = ?6,"
				" expires = ?7, content_mac = ?8 WHERE id = ?1", "iitttiib", row->id, (int64_t)p->class_id, title, p->sender,
				p->source, p->now_ms, p->expires, (const void *)p->content_mac, mac_len);
	return rc;
}

static int put_version(struct hs_store *s, const struct hs_put *p, const char *title, struct row *row, struct hs_id *ret_version,
		       struct hs_err *err)
{
	const struct hs_document *d = p->read;
	int64_t canonical = 0, original = 0;
	int rc = blob_id(s, p->canonical, &canonical, err);

	if (rc == 0 && p->original)
		rc = blob_id(s, p->original, &original, err);
	if (rc < 0)
		return rc;
	*ret_version = hs_id_new("ver_");
	rc = hs_execute(&s->statements, err,
			"INSERT INTO versions(public, document, number, submission, canonical, original, text_hash, length, n_chunks, n_pages,"
			" format, charset, extractor, generation, created, title) VALUES(?1, ?2,"
			" (SELECT coalesce(max(number), 0) + 1 FROM versions WHERE document = ?2), ?3, ?4, nullif(?5, 0), ?6, ?7, ?8, ?9, ?10,"
			" ?11, ?12, ?13, ?14, ?15)", "tit" "iib" "iii" "ttt" "iit", ret_version->s, row->id, p->submission, canonical,
			original, p->text_hash, (size_t)HS_STORE_HASH_LEN, (int64_t)d->len, (int64_t)p->n_chunks, (int64_t)d->n_pages,
			d->format ? d->format : "", d->charset ? d->charset : "", d->extractor ? d->extractor : "", s->generation,
			p->now_ms, title);
	if (rc < 0)
		return rc;
	row->version = sqlite3_last_insert_rowid(s->db);
	return hs_execute(&s->statements, err, "UPDATE documents SET version = ?2 WHERE id = ?1", "ii", row->id, row->version);
}

/* What is indexed and embedded above a chunk's text: the title, unless its context begins with it, then the context. */
static int chunk_head(const char *title, const char *context, struct hs_buf *out)
{
	size_t n = strlen(title);
	int rc = 0;

	out->len = 0;
	if (n > 0 && strncmp(context, title, n) != 0) {
		rc = hs_buf_append_str(out, title);
		if (rc == 0 && *context)
			rc = hs_buf_append_byte(out, '\n');
	}
	if (rc == 0)
		rc = hs_buf_append_str(out, context);
	return rc;
}

/* As much of a title as a tenant keeps, whole characters. */
static void cut_title(const char *title, char out[static HS_STORE_TITLE_MAX + 1])
{
	size_t n = hs_utf8_cut(title, HS_MIN(strlen(title), (size_t)HS_STORE_TITLE_MAX));

	memcpy(out, title, n);
	out[n] = 0;
}

/* --- words made ahead --- */

struct hs_words {
	size_t n;
	struct hs_passage_tokens *passages;
	struct passage_own {
		struct hs_tokens head_words, head_bigrams, text_words, text_bigrams;
	} own[];
};

static int make_words(struct hs_words *w, struct hs_tagger *t, const char *title, const char *text, const struct hs_chunk *chunks)
{
	HS_BUF_AUTO head = HS_BUF_INIT;
	HS_BUF_AUTO before = HS_BUF_INIT; /* the head of passage `same` and of those behind it */
	size_t same = 0;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < w->n; i++) {
		struct passage_own *own = &w->own[i];

		rc = chunk_head(title, chunks[i].context, &head);
		if (rc == 0 && (i == 0 || head.len != before.len || memcmp(head.data, before.data, head.len) != 0)) {
			same = i;
			before.len = 0;
			rc = hs_buf_append(&before, head.data, head.len);
			if (rc == 0 && head.len > 0)
				rc = hs_tokenize(t, (const char *)head.data, head.len, &own->head_words, &own->head_bigrams);
		}
		if (rc == 0)
			rc = hs_tokenize(t, text + chunks[i].start, chunks[i].end - chunks[i].start, &own->text_words, &own->text_bigrams);
		w->passages[i] = (struct hs_passage_tokens){&w->own[same].head_words, &w->own[same].head_bigrams, &own->text_words,
							    &own->text_bigrams};
	}
	hs_buf_wipe(&head);
	hs_buf_wipe(&before);
	return rc;
}

int hs_words_create(struct hs_tagger *t, const char *title, const struct hs_document *read, const struct hs_chunk *chunks,
		    size_t n_chunks, struct hs_words **ret)
{
	struct hs_words *w = calloc(1, sizeof(*w) + n_chunks * sizeof(w->own[0]));
	char cut[HS_STORE_TITLE_MAX + 1];
	int rc;

	if (!w)
		return -ENOMEM;
	w->n = n_chunks;
	w->passages = calloc(n_chunks + 1, sizeof(*w->passages));
	cut_title(title, cut);
	rc = w->passages ? make_words(w, t, cut, read->text, chunks) : -ENOMEM;
	if (rc < 0) {
		hs_words_destroy(w);
		return rc;
	}
	*ret = w;
	return 0;
}

void hs_words_destroy(struct hs_words *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->n; i++) {
		hs_tokens_finish(&w->own[i].head_words);
		hs_tokens_finish(&w->own[i].head_bigrams);
		hs_tokens_finish(&w->own[i].text_words);
		hs_tokens_finish(&w->own[i].text_bigrams);
	}
	free(w->passages);
	free(w);
}

const struct hs_passage_tokens *hs_words_of(const struct hs_words *w, size_t i)
{
	return w ? &w->passages[i] : NULL;
}

struct placing {
	int64_t document, version;
	uint32_t head;      /* ordinal of the first chunk */
	uint32_t class_id;
	int64_t expires;
	uint64_t whole[HS_FIELDS];
};

/* A chunk's rows and its entry in the index of the open transaction. */
static int enter_chunk(struct hs_store *s, struct placing *at, const struct hs_placed *p, struct hs_err *err)
{
	struct hs_index_chunk c = {.ordinal = p->ordinal, .head = at->head, .document = (uint32_t)at->document};
	int rc;

	for (int f = 0; f < HS_FIELDS; f++) {
		c.length[f] = p->length[f];
		at->whole[f] += p->length[f];
	}
	rc = hs_index_add(s->work, &c);
	if (rc == 0)
		rc = hs_index_set_whole(s->work, at->head, at->whole);
	if (rc == 0)
		rc = hs_index_override(s->work, p->ordinal, c.document, at->class_id, at->expires);
	return rc < 0 ? hs_fail_errno(err, rc, "index.passage", "a passage") : 0;
}

/* A passage's postings, FTS5 entry and rows, at an ordinal; its lengths come back in placed. */
struct writing {
	struct hs_store *store;
	const struct hs_put *put;
	const char *title;
	int64_t document, version; /* 0, as long as it is staged */
	bool dead;
	struct hs_buf head, text;
};

static int write_passage(struct writing *w, size_t i, struct hs_placed *placed, struct hs_err *err)
{
	const struct hs_chunk *c = &w->put->chunks[i];
	struct hs_store *s = w->store;
	int rc = chunk_head(w->title, c->context, &w->head);

	placed->tokens = hs_words_of(w->put->words, i);
	w->text.len = 0;
	if (rc == 0)
		rc = hs_buf_append(&w->text, w->put->read->text + c->start, c->end - c->start);
	if (rc == 0 && (!(placed->head = hs_buf_cstr(&w->head)) || !(placed->text = hs_buf_cstr(&w->text))))
		rc = -ENOMEM;
	if (rc < 0)
		return rc;
	placed->head_len = w->head.len;
	placed->text_len = w->text.len;
	rc = hs_store_index_chunk(s, placed, err);
	if (rc == 0)
		rc = hs_execute(&s->statements, err, "INSERT INTO chunks(ordinal, document, version, idx, start, end, page, words, bigrams, dead)"
				" VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)", "iiiiiiiiii", (int64_t)placed->ordinal, w->document,
				w->version, (int64_t)i, (int64_t)c->start, (int64_t)c->end, (int64_t)c->page,
				(int64_t)placed->length[0], (int64_t)placed->length[1], (int64_t)w->dead);
	return rc < 0 ? rc
		      : hs_execute(&s->statements, err, "INSERT INTO chunk_texts(ordinal, head, context, text) VALUES(?1, ?2, ?3, ?4)",
				   "ittt", (int64_t)placed->ordinal, placed->head, c->context, placed->text);
}

static void finish_writing(struct writing *w)
{
	hs_buf_wipe(&w->head);
	hs_buf_wipe(&w->text);
}

/* --- by steps --- */

#define STAGE_SEGMENT 4096 /* passages whose postings are kept until they are written as one segment */

struct hs_stage {
	const struct hs_put *put;
	struct writing writing;
	uint32_t *ordinals;
	uint32_t (*lengths)[HS_FIELDS];
	size_t done;
	struct hs_postings_builder *builder; /* of the steps since the last segment */
	uint64_t builder_chunks;
	char title[HS_STORE_TITLE_MAX + 1];
};

int hs_stage_create(struct hs_store *s, const struct hs_put *put, struct hs_stage **ret)
{
	struct hs_stage *g = calloc(1, sizeof(*g));

	hs_assert(!s->stage);
	if (!g)
		return -ENOMEM;
	g->put = put;
	cut_title(put->title, g->title);
	g->writing = (struct writing){.store = s, .put = put, .title = g->title, .dead = true, .head = HS_BUF_INIT, .text = HS_BUF_INIT};
	g->ordinals = malloc((put->n_chunks + 1) * sizeof(*g->ordinals));
	g->lengths = malloc((put->n_chunks + 1) * sizeof(*g->lengths));
	g->builder = hs_postings_builder_create();
	s->stage = g;
	if (!g->ordinals || !g->lengths || !g->builder) {
		hs_stage_destroy(g);
		return -ENOMEM;
	}
	*ret = g;
	return 0;
}

void hs_stage_destroy(struct hs_stage *g)
{
	if (!g)
		return;
	g->writing.store->stage = NULL;
	hs_postings_builder_destroy(g->builder);
	finish_writing(&g->writing);
	free(g->lengths);
	free(g->ordinals);
	free(g);
}

size_t hs_store_staged(const struct hs_store *s, const uint32_t **ret)
{
	*ret = s->stage ? s->stage->ordinals : NULL;
	return s->stage ? s->stage->done : 0;
}

/* The transaction's builder is the stage's as long as a step runs: postings go on where the step before ended. */
static void swap_builders(struct hs_stage *g)
{
	struct hs_store *s = g->writing.store;
	struct hs_postings_builder *builder = s->builder;
	uint64_t chunks = s->builder_chunks;

	s->builder = g->builder;
	s->builder_chunks = g->builder_chunks;
	g->builder = builder;
	g->builder_chunks = chunks;
}

static int stage_passages(struct hs_stage *g, struct hs_err *err)
{
	struct hs_store *s = g->writing.store;
	size_t until = HS_MIN(g->done + HS_STAGE_STEP, g->put->n_chunks);
	int rc = 0;

	for (; rc == 0 && g->done < until; g->done += rc == 0) {
		struct hs_placed placed = {.ordinal = g->ordinals[g->done]};

		rc = write_passage(&g->writing, g->done, &placed, err);
		memcpy(g->lengths[g->done], placed.length, sizeof(placed.length));
		s->work_dirty++;
	}
	if (rc == 0 && (g->done == g->put->n_chunks || s->builder_chunks >= STAGE_SEGMENT))
		rc = hs_store_flush(s, err); /* the builder is empty then */
	return rc;
}

int hs_stage_step(struct hs_stage *g, bool *ret_more, struct hs_err *err)
{
	struct hs_store *s = g->writing.store;
	int rc = hs_store_check_open(s, err);

	if (rc == 0 && g->done == 0)
		rc = check(g->put, err);
	if (rc == 0 && g->done == 0)
		rc = hs_store_allocate(s, g->put->class_id, (uint32_t)g->put->n_chunks, g->ordinals, err);
	if (rc < 0)
		return rc;
	swap_builders(g);
	rc = stage_passages(g, err);
	swap_builders(g);
	if (rc == 0)
		*ret_more = g->done < g->put->n_chunks;
	return rc;
}

/* What was staged becomes a document's. */
static int take_staged(struct hs_store *s, const struct hs_stage *g, struct placing *at, struct hs_err *err)
{
	int rc = 0;

	at->head = g->ordinals[0];
	for (size_t i = 0; rc == 0 && i < g->done; i++) {
		struct hs_placed placed = {.ordinal = g->ordinals[i]};

		memcpy(placed.length, g->lengths[i], sizeof(placed.length));
		rc = enter_chunk(s, at, &placed, err);
		if (rc == 0)
			rc = hs_execute(&s->statements, err, "UPDATE chunks SET document = ?2, version = ?3, dead = 0 WHERE ordinal = ?1", "iii",
					(int64_t)placed.ordinal, at->document, at->version);
		s->work_dirty--;
	}
	return rc;
}

static int put_chunks(struct hs_store *s, const struct hs_put *p, const char *title, const struct row *row, struct hs_err *err)
{
	struct placing at = {.document = row->id, .version = row->version, .class_id = p->class_id, .expires = p->expires};

	if (p->stage)
		return take_staged(s, p->stage, &at, err);

	struct writing w = {.store = s, .put = p, .title = title, .document = row->id, .version = row->version};
	uint32_t *ordinals = malloc(p->n_chunks * sizeof(*ordinals));
	int rc = ordinals ? hs_store_allocate(s, p->class_id, (uint32_t)p->n_chunks, ordinals, err) : -ENOMEM;

	if (rc == 0)
		at.head = ordinals[0];
	for (size_t i = 0; rc == 0 && i < p->n_chunks; i++) {
		struct hs_placed placed = {.ordinal = ordinals[i]};

		rc = write_passage(&w, i, &placed, err);
		if (rc == 0)
			rc = enter_chunk(s, &at, &placed, err);
	}
	finish_writing(&w);
	free(ordinals);
	return rc;
}

int hs_store_put(struct hs_store *s, const struct hs_put *p, struct hs_id *ret_document, struct hs_id *ret_version,
		 struct hs_err *err)
{
	char title[HS_STORE_TITLE_MAX + 1];
	struct hs_id document, version;
	struct row row;
	int rc = hs_store_check_open(s, err);

	hs_assert(!p->words || p->words->n == p->n_chunks);
	hs_assert(!p->stage || (p->stage == s->stage && p->stage->done == p->n_chunks));
	if (rc == 0)
		rc = check(p, err);
	if (rc < 0)
		return rc;
	cut_title(p->title, title);
	rc = put_document(s, p, title, &row, &document, err);
	if (rc == 0)
		rc = put_version(s, p, title, &row, &version, err);
	if (rc == 0)
		rc = put_chunks(s, p, title, &row, err);
	if (rc < 0)
		return rc;
	*ret_document = document;
	*ret_version = version;
	return 0;
}

int hs_store_delete(struct hs_store *s, const struct hs_id *document, int64_t now_ms, struct hs_err *err)
{
	struct row row;
	int rc = hs_store_check_open(s, err);

	if (rc == 0)
		rc = find(s, document, &row, err);
	if (rc == 0)
		rc = hs_store_kill_chunks(s, row.id, err);
	if (rc == 0)
		rc = hs_execute(&s->statements, err, "UPDATE documents SET deleted = max(?2, 1) WHERE id = ?1", "ii", row.id, now_ms);
	if (rc == 0)
		s->work_dirty++;
	return rc;
}

/* Say anew, for each of a document's chunks, what class and expiry hold. */
static int override_chunks(struct hs_store *s, int64_t document, uint32_t class_id, int64_t expires, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&s->statements, "SELECT ordinal FROM chunks WHERE document = ?1 AND dead = 0", err);
	int rc = st ? hs_bind(st, "i", document) : -EIO;

	while (rc == 0 && (rc = hs_step(st, err)) > 0)
		rc = hs_index_override(s->work, (uint32_t)sqlite3_column_int64(st, 0), (uint32_t)document, class_id, expires);
	return rc;
}

int hs_store_reclassify(struct hs_store *s, const struct hs_id *document, uint32_t class_id, struct hs_err *err)
{
	struct row row;
	int rc = hs_store_check_open(s, err);

	if (rc == 0 && (class_id < 1 || class_id > HS_CLASSES_MAX))
		rc = hs_fail(err, EINVAL, "doc.class", hs_document_hint("doc.class"), "class %u", class_id);
	if (rc == 0)
		rc = find(s, document, &row, err);
	if (rc == 0)
		rc = hs_execute(&s->statements, err, "UPDATE documents SET class_id = ?2 WHERE id = ?1", "ii", row.id, (int64_t)class_id);
	if (rc == 0)
		rc = override_chunks(s, row.id, class_id, row.expires, err);
	return rc;
}

int hs_store_set_expiry(struct hs_store *s, const struct hs_id *document, int64_t expires, struct hs_err *err)
{
	struct row row;
	int rc = hs_store_check_open(s, err);

	if (rc == 0 && expires < 0)
		rc = hs_fail(err, EINVAL, "doc.expires", hs_document_hint("doc.expires"), "%s", document->s);
	if (rc == 0)
		rc = find(s, document, &row, err);
	if (rc == 0)
		rc = hs_execute(&s->statements, err, "UPDATE documents SET expires = ?2 WHERE id = ?1", "ii", row.id, expires);
	if (rc == 0)
		rc = override_chunks(s, row.id, row.class_id, expires, err);
	return rc;
}

int hs_store_by_source(struct hs_store *s, const char *sender, const char *source, struct hs_id *ret_document, uint8_t *ret_mac)
{
	HS_STMT_AUTO *st = hs_statement(&s->statements,
					"SELECT public, content_mac FROM documents WHERE sender = ?1 AND source = ?2 AND deleted = 0"
					" AND source <> ''", NULL);
	int rc = st ? hs_bind(st, "tt", sender, source) : -EIO;

	if (rc == 0)
		rc = hs_step(st, NULL);
	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	hs_column_text(st, 0, ret_document->s, sizeof(ret_document->s));
	if (!ret_mac)
		return 0;
	memset(ret_mac, 0, HS_STORE_HASH_LEN);
	if (sqlite3_column_bytes(st, 1) == HS_STORE_HASH_LEN)
		memcpy(ret_mac, sqlite3_column_blob(st, 1), HS_STORE_HASH_LEN);
	return 0;
}
