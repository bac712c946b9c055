/*
 * Durable jobs of a tenant: what was acknowledged and is not done yet. A row survives a crash; the work is begun again, and
 * failed with its reason where the document is to blame, or may be once too often. What the host is to blame for (a full
 * disk, no memory, a reader that is away) costs no attempt: the job waits, longer each time, until it goes. All functions run
 * on the writer's thread, inside its transaction where they write, except hs_store_job_get, hs_store_jobs_failed and
 * hs_store_job_counts, which readers may call.
 */
#ifndef HISHO_RETRIEVAL_JOBS_H
#define HISHO_RETRIEVAL_JOBS_H

#include <stdbool.h>

#include <sqlite3.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "retrieval/store.h"

#define HS_STORE_JOB_ATTEMPTS 3 /* of a document that may be to blame: its reader crashed, this process died under it */
#define HS_STORE_JOB_LOSSES 10  /* of one whose reader was ended from outside while it was read */
#define HS_STORE_JOB_WAIT_MS 5000 /* before the next attempt; doubled each time, up to */
#define HS_STORE_JOB_WAIT_MAX_MS (10 * 60 * 1000)
#define HS_STORE_JOBS_LIST_MAX 1000

/* How much of what has ended is remembered: for who filed it and asks later. */
#define HS_STORE_JOBS_KEPT_MS (30 * 24 * 60 * 60 * 1000LL) /* of those that are done */
#define HS_STORE_JOBS_KEPT_MAX 100000 /* of the same; of the failed ones, which nobody looked at, as many again */

enum hs_store_job_state {
	HS_STORE_JOB_OPEN = 0,
	HS_STORE_JOB_RUNNING = 1, /* begun; after a crash it is begun again */
	HS_STORE_JOB_DONE = 2,
	HS_STORE_JOB_FAILED = 3, /* until a later job of the same source ends, or it is dismissed: then the row goes */
};

enum hs_store_job_blame { /* whose fault a failure is */
	HS_STORE_JOB_DOCUMENT = 0, /* it fails for good */
	HS_STORE_JOB_SUSPECT,      /* perhaps the document's: HS_STORE_JOB_ATTEMPTS */
	HS_STORE_JOB_LOST,         /* hardly the document's: HS_STORE_JOB_LOSSES */
	HS_STORE_JOB_HOST,         /* not the document's: costs no attempt */
};

struct hs_store_job {
	int64_t key;     /* inside this process only */
	struct hs_id id; /* "job_..." */
	char kind[16];   /* "put" or "delete" */
	enum hs_store_job_state state;
	char by[HS_ID_LEN + 1];               /* sender */
	char source[HS_STORE_SOURCE_MAX + 1]; /* the sender's name for the document: opaque */
	char document[HS_ID_LEN + 1];         /* once it is known */
	unsigned attempts;
	char error_code[48], error_object[208];
	int64_t created, updated;
};

/* detail: what the work needs (a sealed submission); kept until the job ends. */
int hs_store_job_add(struct hs_store *s, const char *kind, const char *by, const char *source, const void *detail, size_t len,
		     int64_t now_ms, struct hs_id *ret, struct hs_err *err) HS_MUST_CHECK;

/*
 * Begin the oldest job that is due, and mark it running; detail is appended to ret_detail. kind: only such, or NULL.
 * beside_max: others are in work, and one may join them if it was never tried and its detail has at most so many bytes: what
 * was tried before may have ended this process, and is tried alone, so that none other is blamed. 0: none is in work.
 * -ENOENT: none. -EBUSY: the oldest is to wait until the others ended.
 */
int hs_store_job_begin(struct hs_store *s, const char *kind, size_t beside_max, int64_t now_ms, struct hs_store_job *ret,
		       struct hs_buf *ret_detail, struct hs_err *err) HS_MUST_CHECK;

/* It ended well; document: public id or "". The detail is removed, and with it what failed of the same source before it. */
int hs_store_job_done(struct hs_store *s, int64_t key, const char *document, int64_t now_ms, struct hs_err *err) HS_MUST_CHECK;

/* It ended badly: begun again later, or failed for good and its detail removed, as the blame says. */
int hs_store_job_failed(struct hs_store *s, int64_t key, const struct hs_err *why, enum hs_store_job_blame blame, int64_t now_ms,
			struct hs_err *err) HS_MUST_CHECK;

/* At start: what ran when the process ended is open again, or failed where its attempts are spent; nothing waits. */
int hs_store_jobs_recover(sqlite3 *db, int64_t now_ms, struct hs_err *err) HS_MUST_CHECK;

/* What stands as running and does not run, because its end could not be written, is open again; that cost no attempt. */
int hs_store_jobs_reopen(sqlite3 *db, int64_t now_ms, struct hs_err *err) HS_MUST_CHECK;

/* What jobs wait for may be back: they are due now. */
int hs_store_jobs_hurry(sqlite3 *db, struct hs_err *err) HS_MUST_CHECK;

/* by: only jobs of that sender are found; NULL for any. -ENOENT "job.unknown". */
int hs_store_job_get(sqlite3 *db, const char *id, const char *by, struct hs_store_job *ret, struct hs_err *err) HS_MUST_CHECK;

/*
 * Failed jobs, oldest first, those behind the job `after` ("": from the first), limit at most. fn stops the walk with non-zero,
 * which is returned. -ENOENT "job.unknown": after is gone; go on from the one before it.
 */
int hs_store_jobs_failed(sqlite3 *db, const char *after, size_t limit, int (*fn)(void *ctx, const struct hs_store_job *job),
			 void *ctx, struct hs_err *err) HS_MUST_CHECK;
/* A failed one was seen, and is not listed any more. -ENOENT "job.unknown": none, or it has not failed. */
int hs_store_job_dismiss(sqlite3 *db, const char *id, struct hs_err *err) HS_MUST_CHECK;

/* Forget some of what is older than is kept, and more than is kept; *ret_more: there may be more. */
int hs_store_jobs_sweep(sqlite3 *db, int64_t now_ms, bool *ret_more, struct hs_err *err) HS_MUST_CHECK;

int hs_store_job_counts(sqlite3 *db, uint64_t *ret_open, uint64_t *ret_failed, struct hs_err *err) HS_MUST_CHECK;

#endif
