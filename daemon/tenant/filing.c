#include "daemon/tenant/filing.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/tenant/heads.h"
#include "policy/audit.h"
#include "policy/witness.h"
#include "retrieval/store.h"

struct hs_filing {
	struct hs_tenant *tenant;
	struct hs_exchange *waiting[HS_TENANT_QUEUE_MAX]; /* oldest first */
	size_t n_waiting;
	bool busy;
	struct hs_job job;

	/* the writer's while busy */
	struct hs_exchange *together[HS_FILING_TOGETHER];
	size_t n_together;
};

/* --- on the writer thread --- */

static int run_sql(struct hs_store *s, const char *sql)
{
	return sqlite3_exec(hs_store_db(s), sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;
}

/* One of them: x->rc. Where this fails, the transaction is not what it was, and none of them may stand. */
static int write_one(struct hs_exchange *x, struct hs_write_context *c, struct hs_err *err)
{
	struct hs_store *s = x->tenant->store;
	int rc = run_sql(s, "SAVEPOINT filing");
	if (rc < 0)
		return rc;
	x->audited = false;
	x->rc = hs_exchange_write(x, c);
	rc = run_sql(s, x->rc < 0 ? "ROLLBACK TO filing; RELEASE filing" : "RELEASE filing");
	if (rc < 0 && x->rc < 0) { /* a full disk, say, has rolled everything back: there is no savepoint any more */
		*err = x->err;
		rc = x->rc;
	}
	return rc;
}

/* Those that are told of in the log, in it. *ret_first: the first one's sequence; 0: none is. */
static int record(struct hs_filing *f, uint64_t *ret_first, struct hs_err *err)
{
	struct hs_tenant *t = f->tenant;
	const struct hs_audit_entry *entries[HS_FILING_TOGETHER];
	size_t n = 0;
	uint64_t first;
	hs_audit_lock(t->audit);
	int64_t now = hs_now_ms(); /* one for all: times do not descend */
	for (size_t i = 0; i < f->n_together; i++) {
		struct hs_exchange *x = f->together[i];
		if (x->rc < 0 || !x->audited)
			continue;
		hs_exchange_complete_entry(x, now);
		entries[n++] = &x->entry;
	}
	int rc = n > 0 ? hs_audit_append_all(t->audit, entries, n, &first, err) : 0;
	if (rc == 0 && n > 0) {
		struct hs_audit_head head;
		hs_heads_count(t->heads, first + n - 1);
		hs_audit_head(t->audit, &head);
		*ret_first = first;
		rc = hs_witness_keep(hs_store_db(t->store), &head);
	}
	hs_audit_unlock(t->audit);
	return rc;
}

/* The log says that they were allowed, from `first` on, and then it did not happen. */
static void record_failure(struct hs_filing *f, uint64_t first)
{
	for (size_t i = 0; i < f->n_together; i++) {
		struct hs_exchange *x = f->together[i];
		if (x->rc < 0 || !x->audited)
			continue;
		x->entry.decision = HS_AUDIT_FAILED;
		x->entry.about = first++;
		hs_ignore(hs_exchange_append_audit(x, NULL)); /* the caller is told of the failure either way */
	}
}

static int write_all(struct hs_filing *f, struct hs_write_context *c, struct hs_err *err)
{
	struct hs_store *s = f->tenant->store;
	uint64_t first = 0;
	bool any = false;
	int rc = hs_store_begin(s, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < f->n_together; i++) {
		rc = write_one(f->together[i], c, err);
		any |= f->together[i]->rc == 0;
	}
	if (rc == 0 && any)
		rc = record(f, &first, err);
	if (rc == 0 && any)
		rc = hs_store_commit(s, err);
	if (rc < 0 || !any)
		hs_store_rollback(s); /* a commit that failed has done it already */
	if (rc < 0 && first)
		record_failure(f, first);
	return rc;
}

static void run(struct hs_job *job, void *context)
{
	struct hs_filing *f = HS_CONTAINER_OF(job, struct hs_filing, job);
	struct hs_err err = HS_ERR_INIT;
	for (size_t i = 0; i < f->n_together; i++)
		f->together[i]->rc = 0;
	int rc = write_all(f, context, &err);
	if (rc == 0)
		return;
	(void)hs_fail_errno(&err, rc, "submission.write", f->tenant->name);
	for (size_t i = 0; i < f->n_together; i++) {
		struct hs_exchange *x = f->together[i];
		if (x->rc < 0) /* was refused for a reason of its own */
			continue;
		x->rc = rc;
		x->err = err;
	}
}

/* --- the loop's part --- */

static void start(struct hs_filing *f);

static void end(struct hs_filing *f)
{
	for (size_t i = 0; i < f->n_together; i++) { /* what run_done may file waits: they are busy until all are told */
		struct hs_exchange *x = f->together[i];
		x->busy = false;
		hs_exchange_hold(x); /* run_done may answer; x must outlive the call */
		x->run_done(x, x->rc);
		hs_exchange_release(x);
	}
	f->n_together = 0;
	f->busy = false;
}

static void done(struct hs_job *job)
{
	struct hs_filing *f = HS_CONTAINER_OF(job, struct hs_filing, job);
	end(f);
	start(f);
}

/* The oldest, and those behind it that fit beside it. */
static void take(struct hs_filing *f)
{
	size_t bytes = 0, n = 0;
	while (n < f->n_waiting && n < HS_FILING_TOGETHER) {
		bytes += f->waiting[n]->body.len;
		if (n > 0 && bytes > HS_FILING_BYTES_MAX)
			break;
		f->together[n] = f->waiting[n];
		n++;
	}
	f->n_together = n;
	f->n_waiting -= n;
	memmove(f->waiting, f->waiting + n, f->n_waiting * sizeof(struct hs_exchange *));
}

static void start(struct hs_filing *f)
{
	while (!f->busy && f->n_waiting > 0) {
		take(f);
		f->job = (struct hs_job){.run = run, .done = done};
		f->busy = true;
		int rc = hs_worker_push(f->tenant->writer, &f->job);
		if (rc == 0)
			return;
		for (size_t i = 0; i < f->n_together; i++)
			f->together[i]->rc = hs_exchange_busy(f->together[i]);
		end(f);
	}
}

int hs_filing_push(struct hs_filing *f, struct hs_exchange *x, void (*done_fn)(struct hs_exchange *x, int rc))
{
	hs_assert(!x->busy);
	if (f->n_waiting == HS_ARRAY_LEN(f->waiting))
		return hs_exchange_busy(x);
	x->run_done = done_fn;
	x->busy = true;
	f->waiting[f->n_waiting++] = x;
	start(f);
	return 0;
}

int hs_filing_create(struct hs_tenant *t, struct hs_filing **ret)
{
	struct hs_filing *f = calloc(1, sizeof *f);
	if (!f)
		return -ENOMEM;
	f->tenant = t;
	*ret = f;
	return 0;
}

void hs_filing_destroy(struct hs_filing *f)
{
	free(f); /* nothing waits: the writer's end answered all of them */
}
