#include "retrieval/jobs.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "retrieval/internal.h"
#include "retrieval/schema.h"

static void finalize(sqlite3_stmt **st)
{
	(void)sqlite3_finalize(*st); /* repeats an error that was told already */
}
#define STATEMENT HS_CLEANUP(finalize) sqlite3_stmt

static int prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret, struct hs_err *err)
{
	return sqlite3_prepare_v2(db, sql, -1, ret, NULL) == SQLITE_OK ? 0 : hs_sql_fail(db, "jobs", err);
}

static int run(sqlite3 *db, sqlite3_stmt *st, struct hs_err *err)
{
	return sqlite3_step(st) == SQLITE_DONE ? 0 : hs_sql_fail(db, "jobs", err);
}

static void copy_text(char *out, size_t cap, sqlite3_stmt *st, int column)
{
	const unsigned char *text = sqlite3_column_text(st, column);
	(void)snprintf(out, cap, "%s", text ? (const char *)text : ""); /* cut to the column's own limit */
}

#define COLUMNS "id, public, kind, state, by, document, attempts, error_code, error_object, created, updated, name"
#define COLUMNS_DETAIL 12 /* what stands behind them */

static void take_row(sqlite3_stmt *st, struct hs_store_job *ret)
{
	*ret = (struct hs_store_job){.key = sqlite3_column_int64(st, 0)};
	copy_text(ret->id.s, sizeof ret->id.s, st, 1);
	copy_text(ret->kind, sizeof ret->kind, st, 2);
	ret->state = (enum hs_store_job_state)sqlite3_column_int(st, 3);
	copy_text(ret->by, sizeof ret->by, st, 4);
	copy_text(ret->document, sizeof ret->document, st, 5);
	ret->attempts = (unsigned)sqlite3_column_int(st, 6);
	copy_text(ret->error_code, sizeof ret->error_code, st, 7);
	copy_text(ret->error_object, sizeof ret->error_object, st, 8);
	ret->created = sqlite3_column_int64(st, 9);
	ret->updated = sqlite3_column_int64(st, 10);
	copy_text(ret->source, sizeof ret->source, st, 11);
}

int hs_store_job_add(struct hs_store *s, const char *kind, const char *by, const char *source, const void *detail, size_t len,
		     int64_t now_ms, struct hs_id *ret, struct hs_err *err)
{
	struct hs_id id = hs_id_new("job_");
	int rc = hs_execute(&s->statements, err,
			    "INSERT INTO jobs(public, kind, state, by, name, detail, created, updated)"
			    " VALUES(?1, ?2, 0, ?3, ?4, ?5, ?6, ?6)",
			    "ttttbi", id.s, kind, by, source, detail, len, now_ms);
	if (rc == 0)
		*ret = id;
	return rc;
}

int hs_store_job_begin(struct hs_store *s, const char *kind, size_t beside_max, int64_t now_ms, struct hs_store_job *ret,
		       struct hs_buf *ret_detail, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&s->statements,
					"SELECT " COLUMNS ", detail FROM jobs WHERE state = 0 AND not_before <= ?1"
					" AND (?2 IS NULL OR kind = ?2) ORDER BY id LIMIT 1",
					err);
	if (!st)
		return -EIO;
	int rc = hs_bind(st, "it", now_ms, kind);
	if (rc < 0)
		return hs_fail_errno(err, rc, "store.bind", "a job");
	rc = hs_step(st, err);
	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	struct hs_store_job job;
	take_row(st, &job);
	const void *detail = sqlite3_column_blob(st, COLUMNS_DETAIL);
	if (beside_max > 0 && (job.attempts > 0 || (size_t)sqlite3_column_bytes(st, COLUMNS_DETAIL) > beside_max))
		return -EBUSY;
	rc = hs_buf_append(ret_detail, detail, (size_t)sqlite3_column_bytes(st, COLUMNS_DETAIL));
	if (rc == 0)
		rc = hs_execute(&s->statements, err,
				"UPDATE jobs SET state = 1, attempts = attempts + 1, updated = ?2 WHERE id = ?1", "ii", job.key,
				now_ms);
	if (rc < 0)
		return rc;
	job.state = HS_STORE_JOB_RUNNING;
	job.attempts++;
	*ret = job;
	return 0;
}

/* Where it ended: what failed of its source before is no longer what one needs to know. */
static int forget_failed_before(struct hs_store *s, int64_t key, struct hs_err *err)
{
	return hs_execute(&s->statements, err,
			  "DELETE FROM jobs WHERE state = 3 AND id < ?1 AND name <> ''"
			  " AND (by, name) = (SELECT by, name FROM jobs WHERE id = ?1 AND state > 1)",
			  "i", key);
}

int hs_store_job_done(struct hs_store *s, int64_t key, const char *document, int64_t now_ms, struct hs_err *err)
{
	int rc =
	    hs_execute(&s->statements, err,
		       "UPDATE jobs SET state = 2, detail = NULL, document = ?2, error_code = '', error_object = '', updated = ?3"
		       " WHERE id = ?1",
		       "iti", key, document, now_ms);
	return rc < 0 ? rc : forget_failed_before(s, key, err);
}

int hs_store_job_failed(struct hs_store *s, int64_t key, const struct hs_err *why, enum hs_store_job_blame blame, int64_t now_ms,
			struct hs_err *err)
{
	static const int limits[] = {[HS_STORE_JOB_DOCUMENT] = 0, [HS_STORE_JOB_SUSPECT] = HS_STORE_JOB_ATTEMPTS,
				     [HS_STORE_JOB_LOST] = HS_STORE_JOB_LOSSES, [HS_STORE_JOB_HOST] = INT_MAX};
	sqlite3 *db = hs_store_db(s);
	STATEMENT *st = NULL;
	int rc = prepare(db,
			 "UPDATE jobs SET state = CASE WHEN attempts < ?2 THEN 0 ELSE 3 END,"
			 " detail = CASE WHEN attempts < ?2 THEN detail ELSE NULL END,"
			 " attempts = attempts - ?3, waits = waits + 1, not_before = ?4 + min(?5, ?6 << min(waits, 20)),"
			 " error_code = ?7, error_object = ?8, updated = ?4 WHERE id = ?1", &st, err);
	if (rc < 0)
		return rc;
	if (sqlite3_bind_int64(st, 1, key) || sqlite3_bind_int(st, 2, limits[blame]) ||
	    sqlite3_bind_int(st, 3, blame == HS_STORE_JOB_HOST) || sqlite3_bind_int64(st, 4, now_ms) ||
	    sqlite3_bind_int(st, 5, HS_STORE_JOB_WAIT_MAX_MS) || sqlite3_bind_int(st, 6, HS_STORE_JOB_WAIT_MS) ||
	    sqlite3_bind_text(st, 7, why->code, -1, SQLITE_STATIC) || sqlite3_bind_text(st, 8, why->object, -1, SQLITE_STATIC))
		return hs_sql_fail(db, "jobs", err);
	rc = run(db, st, err);
	return rc < 0 ? rc : forget_failed_before(s, key, err);
}

int hs_store_jobs_hurry(sqlite3 *db, struct hs_err *err)
{
	STATEMENT *st = NULL;
	int rc = prepare(db, "UPDATE jobs SET not_before = 0, waits = 0 WHERE state = 0 AND not_before > 0", &st, err);
	return rc < 0 ? rc : run(db, st, err);
}

int hs_store_jobs_recover(sqlite3 *db, int64_t now_ms, struct hs_err *err)
{
	STATEMENT *st = NULL;
	int rc = prepare(db,
			 "UPDATE jobs SET detail = CASE WHEN attempts < ?1 THEN detail ELSE NULL END,"
			 " error_code = CASE WHEN attempts < ?1 THEN '' ELSE 'job.interrupted' END,"
			 " state = CASE WHEN attempts < ?1 THEN 0 ELSE 3 END, updated = ?2 WHERE state = 1", &st, err);
	if (rc < 0)
		return rc;
	if (sqlite3_bind_int(st, 1, HS_STORE_JOB_ATTEMPTS) || sqlite3_bind_int64(st, 2, now_ms))
		return hs_sql_fail(db, "jobs", err);
	rc = run(db, st, err);
	return rc < 0 ? rc : hs_store_jobs_hurry(db, err);
}

int hs_store_jobs_reopen(sqlite3 *db, int64_t now_ms, struct hs_err *err)
{
	STATEMENT *st = NULL;
	int rc = prepare(db, "UPDATE jobs SET state = 0, attempts = attempts - 1, updated = ?1 WHERE state = 1", &st, err);
	if (rc < 0)
		return rc;
	return sqlite3_bind_int64(st, 1, now_ms) ? hs_sql_fail(db, "jobs", err) : run(db, st, err);
}

int hs_store_job_get(sqlite3 *db, const char *id, const char *by, struct hs_store_job *ret, struct hs_err *err)
{
	STATEMENT *st = NULL;
	int rc = prepare(db, "SELECT " COLUMNS " FROM jobs WHERE public = ?1 AND (?2 IS NULL OR by = ?2)", &st, err);
	if (rc < 0)
		return rc;
	if (sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC) || sqlite3_bind_text(st, 2, by, -1, SQLITE_STATIC))
		return hs_sql_fail(db, "jobs", err);
	int step = sqlite3_step(st);
	if (step == SQLITE_DONE)
		return hs_fail(err, ENOENT, "job.unknown", HS_N_("There is no such job."), "%.64s", id);
	if (step != SQLITE_ROW)
		return hs_sql_fail(db, "jobs", err);
	take_row(st, ret);
	return 0;
}

int hs_store_jobs_failed(sqlite3 *db, const char *after, size_t limit, int (*fn)(void *ctx, const struct hs_store_job *job),
			 void *ctx, struct hs_err *err)
{
	STATEMENT *st = NULL;
	struct hs_store_job last = {0};
	int rc = *after ? hs_store_job_get(db, after, NULL, &last, err) : 0;
	if (rc == 0)
		rc = prepare(db, "SELECT " COLUMNS " FROM jobs INDEXED BY jobs_failed WHERE state = 3 AND id > ?1 ORDER BY id LIMIT ?2", &st,
			     err);
	if (rc < 0)
		return rc;
	if (sqlite3_bind_int64(st, 1, last.key) ||
	    sqlite3_bind_int64(st, 2, (int64_t)HS_MIN(limit, (size_t)HS_STORE_JOBS_LIST_MAX)))
		return hs_sql_fail(db, "jobs", err);
	int step;
	while ((step = sqlite3_step(st)) == SQLITE_ROW) {
		struct hs_store_job job;
		take_row(st, &job);
		rc = fn(ctx, &job);
		if (rc != 0)
			return rc;
	}
	return step == SQLITE_DONE ? 0 : hs_sql_fail(db, "jobs", err);
}

int hs_store_job_dismiss(sqlite3 *db, const char *id, struct hs_err *err)
{
	STATEMENT *st = NULL;
	int rc = prepare(db, "DELETE FROM jobs WHERE public = ?1 AND state = 3", &st, err);
	if (rc < 0)
		return rc;
	if (sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC))
		return hs_sql_fail(db, "jobs", err);
	rc = run(db, st, err);
	if (rc == 0 && sqlite3_changes(db) == 0)
		rc = hs_fail(err, ENOENT, "job.unknown", HS_N_("There is no such job."), "%.64s", id);
	return rc;
}

#define SWEPT_AT_ONCE 1000

/* One step of one kind: sql takes a number and how many rows at most. */
static int sweep(sqlite3 *db, const char *sql, int64_t value, bool *ret_more, struct hs_err *err)
{
	STATEMENT *st = NULL;
	int rc = prepare(db, sql, &st, err);
	if (rc < 0)
		return rc;
	if (sqlite3_bind_int64(st, 1, value) || sqlite3_bind_int(st, 2, SWEPT_AT_ONCE))
		return hs_sql_fail(db, "jobs", err);
	rc = run(db, st, err);
	if (rc == 0)
		*ret_more = *ret_more || sqlite3_changes(db) == SWEPT_AT_ONCE;
	return rc;
}

int hs_store_jobs_sweep(sqlite3 *db, int64_t now_ms, bool *ret_more, struct hs_err *err)
{
	*ret_more = false;
	int rc = sweep(db,
		       "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs INDEXED BY jobs_done WHERE state = 2 AND updated < ?1"
		       " ORDER BY updated, id LIMIT ?2)", now_ms - HS_STORE_JOBS_KEPT_MS, ret_more, err);
	if (rc == 0)
		rc = sweep(db,
			   "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs INDEXED BY jobs_done WHERE state = 2"
			   " ORDER BY updated DESC, id DESC LIMIT ?2 OFFSET ?1)", HS_STORE_JOBS_KEPT_MAX, ret_more, err);
	return rc < 0 ? rc
		      : sweep(db,
			      "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs INDEXED BY jobs_failed WHERE state = 3"
			      " ORDER BY id DESC LIMIT ?2 OFFSET ?1)", HS_STORE_JOBS_KEPT_MAX, ret_more, err);
}

/* Two questions, each of an index that holds just those rows: what is done is not walked. */
int hs_store_job_counts(sqlite3 *db, uint64_t *ret_open, uint64_t *ret_failed, struct hs_err *err)
{
	STATEMENT *st = NULL;
	int rc = prepare(db, "SELECT (SELECT count(*) FROM jobs WHERE state < 2), (SELECT count(*) FROM jobs WHERE state = 3)", &st, err);
	if (rc < 0)
		return rc;
	if (sqlite3_step(st) != SQLITE_ROW)
		return hs_sql_fail(db, "jobs", err);
	*ret_open = (uint64_t)sqlite3_column_int64(st, 0);
	*ret_failed = (uint64_t)sqlite3_column_int64(st, 1);
	return 0;
}
