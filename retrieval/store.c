#include "retrieval/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "retrieval/fts.h"
#include "retrieval/internal.h"
#include "retrieval/schema.h"

#define BUSY_TIMEOUT_MS 5000

static int connect_db(struct hs_store *s, bool writer, sqlite3 **ret, struct hs_err *err)
{
	sqlite3 *db = NULL;
	int rc = s->options.connect(s->options.connect_ctx, writer, &db, err);

	if (rc < 0)
		return rc;
	(void)sqlite3_busy_timeout(db, BUSY_TIMEOUT_MS);
	rc = hs_schema_prepare(db, err);
	if (rc == 0)
		rc = hs_fts_register(db, s->analyzer, writer ? &s->fts : NULL, err);
	if (rc < 0) {
		(void)sqlite3_close_v2(db);
		return rc;
	}
	*ret = db;
	return 0;
}

int hs_store_open(const struct hs_store_options *o, struct hs_store **ret, struct hs_err *err)
{
	struct hs_store *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	s->options = *o;
	if (s->options.memory_max == 0)
		s->options.memory_max = HS_STORE_MEMORY_DEFAULT;
	s->analyzer = o->analyzer;
	s->synced = true; /* as connections are opened */
	(void)pthread_mutex_init(&s->lock, NULL); /* cannot fail with default attributes */
	rc = hs_tagger_create(s->analyzer, &s->tagger);
	if (rc == 0)
		rc = connect_db(s, true, &s->db, err);
	if (rc == 0) {
		s->statements.db = s->db;
		rc = hs_schema_migrate(s->db, err);
	}
	if (rc == 0)
		rc = hs_store_check_generation(s, err);
	if (rc == 0)
		rc = hs_store_load(s, err);
	if (rc < 0) {
		hs_store_close(s);
		return rc;
	}
	*ret = s;
	return 0;
}

void hs_store_close(struct hs_store *s)
{
	if (!s)
		return;
	hs_assert(!s->stage);
	hs_store_rollback(s);
	hs_statements_finish(&s->statements);
	if (s->db)
		(void)sqlite3_close_v2(s->db); /* waits for nothing: all statements are finished */
	hs_index_unref(s->live);
	hs_tagger_destroy(s->tagger);
	hs_tokens_finish(&s->head_words);
	hs_tokens_finish(&s->text_words);
	hs_tokens_finish(&s->head_bigrams);
	hs_tokens_finish(&s->text_bigrams);
	hs_buf_wipe(&s->head);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

sqlite3 *hs_store_db(struct hs_store *s)
{
	return s->db;
}

struct hs_index *hs_store_snapshot(struct hs_store *s)
{
	struct hs_index *x;

	(void)pthread_mutex_lock(&s->lock);
	x = hs_index_ref(s->live);
	(void)pthread_mutex_unlock(&s->lock);
	return x;
}

int hs_store_check_open(struct hs_store *s, struct hs_err *err)
{
	if (!s->open)
		return hs_fail(err, EINVAL, "store.no_transaction", HS_N_("Begin a transaction before writing."), "store");
	return 0;
}

static int set_synced(struct hs_store *s, bool synced, struct hs_err *err)
{
	int rc = s->synced == synced ? 0 : hs_sql_exec(s->db, synced ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", err);

	if (rc == 0)
		s->synced = synced;
	return rc;
}

static void sync_again(struct hs_store *s)
{
	hs_ignore(set_synced(s, true, NULL)); /* where it fails, the next transaction does not begin */
}

static int begin(struct hs_store *s, bool synced, struct hs_err *err)
{
	int rc;

	if (s->open)
		return hs_fail(err, EINVAL, "store.transaction", HS_N_("End the open transaction first."), "store");
	rc = set_synced(s, synced, err);
	if (rc < 0)
		return rc;
	s->work = hs_index_clone(s->live);
	s->builder = hs_postings_builder_create();
	rc = s->work && s->builder ? hs_sql_exec(s->db, "BEGIN IMMEDIATE", err) : -ENOMEM;
	if (rc < 0) {
		hs_index_unref(s->work);
		hs_postings_builder_destroy(s->builder);
		s->work = NULL;
		s->builder = NULL;
		sync_again(s);
		return rc;
	}
	s->open = true;
	s->builder_chunks = 0;
	s->work_dirty = s->dirty;
	s->model_before = s->model;
	memcpy(s->model_hash_before, s->model_hash, sizeof(s->model_hash));
	s->changes_before = sqlite3_total_changes(s->db);
	return 0;
}

int hs_store_begin(struct hs_store *s, struct hs_err *err)
{
	return begin(s, true, err);
}

int hs_store_begin_unsynced(struct hs_store *s, struct hs_err *err)
{
	return begin(s, false, err);
}

static void end(struct hs_store *s)
{
	hs_postings_builder_destroy(s->builder);
	s->builder = NULL;
	hs_index_unref(s->work);
	s->work = NULL;
	s->open = false;
	sync_again(s);
}

void hs_store_rollback(struct hs_store *s)
{
	if (!s->open)
		return;
	if (!sqlite3_get_autocommit(s->db))
		(void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL); /* a failure rolls back when the database is next opened */
	end(s);
	s->model = s->model_before;
	memcpy(s->model_hash, s->model_hash_before, sizeof(s->model_hash));
	hs_store_find_open_extents(s, s->live);
}

static int write_commit_row(struct hs_store *s, struct hs_err *err)
{
	int rc = hs_execute(&s->statements, err, "UPDATE meta SET value = ?1 WHERE key = 'commit_seq'", "i",
			    (int64_t)(s->commit_seq + 1));

	if (rc == 0)
		rc = hs_execute(&s->statements, err, "UPDATE meta SET value = max(value, ?1) WHERE key = 'clock_high'", "i",
				hs_now_ms());
	return rc;
}

int hs_store_commit(struct hs_store *s, struct hs_err *err)
{
	struct hs_index *old;
	bool merged = true;
	int rc = hs_store_check_open(s, err);

	if (rc < 0)
		return rc;
	if (hs_postings_builder_empty(s->builder) && sqlite3_total_changes(s->db) == s->changes_before) {
		hs_store_rollback(s); /* nothing was written: no commit to count, no page to sync */
		return 0;
	}
	rc = hs_store_flush(s, err);
	while (rc == 0 && merged)
		rc = hs_store_merge(s, HS_MERGE_INLINE_BYTES, &merged, err);
	if (rc == 0 && hs_index_memory(s->work) > s->options.memory_max)
		rc = hs_fail(err, ENOMEM, "index.memory",
			     HS_N_("The index would outgrow the memory that this tenant may take: raise the limit or delete documents."),
			     "%llu MiB", (unsigned long long)(s->options.memory_max >> 20));
	if (rc == 0 && s->synced)
		rc = write_commit_row(s, err);
	if (rc == 0)
		rc = hs_sql_exec(s->db, "COMMIT", err);
	if (rc < 0) {
		hs_store_rollback(s);
		return rc;
	}
	(void)pthread_mutex_lock(&s->lock);
	old = s->live;
	s->live = s->work;
	s->dirty = s->work_dirty;
	s->commit_seq += s->synced;
	(void)pthread_mutex_unlock(&s->lock);
	s->work = NULL;
	hs_index_unref(old);
	end(s);
	return 0;
}

uint64_t hs_store_commit_seq(struct hs_store *s)
{
	uint64_t seq;

	(void)pthread_mutex_lock(&s->lock);
	seq = s->commit_seq;
	(void)pthread_mutex_unlock(&s->lock);
	return seq;
}

void hs_store_progress(struct hs_store *s, struct hs_store_progress *ret)
{
	struct hs_index *x = hs_store_snapshot(s);

	*ret = (struct hs_store_progress){
		.documents = x->n_documents, .chunks = x->n_chunks, .vectors = x->n_vectors, .memory = hs_index_memory(x)};
	hs_index_unref(x);
	(void)pthread_mutex_lock(&s->lock);
	ret->dirty = s->dirty;
	(void)pthread_mutex_unlock(&s->lock);
}

int hs_store_blob_add(struct hs_store *s, const struct hs_blob_row *row, const void *sealed, size_t sealed_len, struct hs_err *err)
{
	int rc = hs_store_check_open(s, err);

	if (rc < 0)
		return rc;
	if (row->wrapped_len == 0 || row->wrapped_len > HS_STORE_WRAPPED_MAX || row->length > INT64_MAX)
		return hs_fail(err, EINVAL, "blob.row", HS_N_("The blob's key or length is out of range."), "%s", row->id.s);
	rc = hs_execute(&s->statements, err, "INSERT INTO blobs(public, wrapped, length, hash, key_generation)"
			" VALUES(?1, ?2, ?3, ?4, ?5)", "tbibi", row->id.s, row->wrapped, row->wrapped_len, (int64_t)row->length, row->hash,
			(size_t)HS_STORE_HASH_LEN, (int64_t)row->key_generation);
	if (rc < 0 || !sealed)
		return rc;
	return hs_execute(&s->statements, err, "INSERT INTO blob_bytes(blob, sealed) VALUES(?1, ?2)", "ib",
			  (int64_t)sqlite3_last_insert_rowid(s->db), sealed, sealed_len);
}

/* --- readers --- */

int hs_reader_create(struct hs_store *s, struct hs_reader **ret, struct hs_err *err)
{
	struct hs_reader *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return -ENOMEM;
	r->store = s;
	r->ranker = hs_ranker_create();
	rc = r->ranker ? hs_tagger_create(s->analyzer, &r->tagger) : -ENOMEM;
	if (rc == 0)
		rc = connect_db(s, false, &r->db, err);
	if (rc < 0) {
		hs_reader_destroy(r);
		return rc;
	}
	r->statements.db = r->db;
	*ret = r;
	return 0;
}

void hs_reader_destroy(struct hs_reader *r)
{
	if (!r)
		return;
	hs_statements_finish(&r->statements);
	if (r->db)
		(void)sqlite3_close_v2(r->db); /* waits for nothing: all statements are finished */
	hs_tagger_destroy(r->tagger);
	hs_ranker_destroy(r->ranker);
	free(r);
}

sqlite3 *hs_reader_db(struct hs_reader *r)
{
	return r->db;
}
