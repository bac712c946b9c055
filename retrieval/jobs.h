/*
 * Durable jobs of a tenant: what was acknowledged and is not done yet. A row survives a crash; the work is begun again,
 * at most HS_STORE_JOB_ATTEMPTS times, then it is failed with its reason. All functions run on the writer's thread, inside
 * its transaction where they write, except hs_store_job_get and hs_store_job_counts, which readers may call.
 */
#ifndef HISHO_RETRIEVAL_JOBS_H
#define HISHO_RETRIEVAL_JOBS_H

#include <stdbool.h>

#include <sqlite3.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"

#define HS_STORE_JOB_ATTEMPTS 3
#define HS_STORE_JOB_RETRY_MS 5000

enum hs_store_job_state {
	HS_STORE_JOB_OPEN = 0,
	HS_STORE_JOB_RUNNING = 1, /* begun; after a crash it is begun again */
	HS_STORE_JOB_DONE = 2,
	HS_STORE_JOB_FAILED = 3,
};

struct hs_store_job {
	int64_t key;     /* inside this process only */
	struct hs_id id; /* "job_..." */
	char kind[16];   /* "put" or "delete" */
	enum hs_store_job_state state;
	char by[HS_ID_LEN + 1];       /* sender */
	char document[HS_ID_LEN + 1]; /* once it is known */
	unsigned attempts;
	char error_code[48], error_object[208];
	int64_t created, updated;
};

/* detail: what the work needs (a sealed submission); kept until the job ends. */
int hs_store_job_add(sqlite3 *db, const char *kind, const char *by, const void *detail, size_t len, int64_t now_ms,
		     struct hs_id *ret, struct hs_err *err) HS_MUST_CHECK;

/* Begin the oldest job that is due, and mark it running; detail is appended to ret_detail. -ENOENT: none. */
int hs_store_job_begin(sqlite3 *db, int64_t now_ms, struct hs_store_job *ret, struct hs_buf *ret_detail,
		       struct hs_err *err) HS_MUST_CHECK;

/* It ended well; document: public id or "". The detail is removed. */
int hs_store_job_done(sqlite3 *db, int64_t key, const char *document, int64_t now_ms, struct hs_err *err) HS_MUST_CHECK;

/* It ended badly. retry: begin it again later, as long as attempts are left. Otherwise the detail is removed. */
int hs_store_job_failed(sqlite3 *db, int64_t key, const struct hs_err *why, bool retry, int64_t now_ms,
			struct hs_err *err) HS_MUST_CHECK;

/* At start: what ran when the process ended is open again, or failed where its attempts are spent. */
int hs_store_jobs_recover(sqlite3 *db, int64_t now_ms, struct hs_err *err) HS_MUST_CHECK;

/* by: only jobs of that sender are found; NULL for any. -ENOENT "job.unknown". */
int hs_store_job_get(sqlite3 *db, const char *id, const char *by, struct hs_store_job *ret, struct hs_err *err) HS_MUST_CHECK;
int hs_store_job_counts(sqlite3 *db, uint64_t *ret_open, uint64_t *ret_failed, struct hs_err *err) HS_MUST_CHECK;

#endif
