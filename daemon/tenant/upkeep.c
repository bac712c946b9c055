#include "daemon/tenant/upkeep.h"

#include <errno.h>

#include "crypto/blob.h"
#include "daemon/child.h"
#include "daemon/tenant/sweep.h"
#include "retrieval/conversations.h"
#include "retrieval/jobs.h"

#define PURGE_AT_LEAST_MS (24 * 60 * 60 * 1000LL)

struct hs_upkeep {
	struct hs_tenant *tenant;
	uv_timer_t timer;
	struct hs_job job;
	bool busy, more;
	int64_t purged; /* when it last went well */
	struct hs_sweep *sweep; /* NULL: over */
	int rc;
	struct hs_err err;
};

static void forget_blob(void *ctx, const char *blob_id)
{
	const struct hs_tenant *t = ctx;
	hs_ignore(hs_blob_remove(t->blobs, blob_id)); /* its key is gone: what stays is noise until the next sweep */
}

static int sweep_jobs(struct hs_upkeep *u)
{
	struct hs_tenant *t = u->tenant;
	int rc = hs_store_begin(t->store, &u->err);
	if (rc < 0)
		return rc;
	rc = hs_store_jobs_sweep(hs_store_db(t->store), hs_tenant_now(t), &u->more, &u->err);
	if (rc == 0)
		rc = hs_store_commit(t->store, &u->err);
	else
		hs_store_rollback(t->store);
	return rc;
}

static void run(struct hs_job *job, void *context)
{
	struct hs_upkeep *u = HS_CONTAINER_OF(job, struct hs_upkeep, job);
	struct hs_tenant *t = u->tenant;
	struct hs_store_progress p;
	if (hs_tenant_room(t, 0, NULL) == 0) /* merging writes before it frees */
		u->rc = hs_store_maintain(t->store, hs_tenant_now(t), &u->more, &u->err);
	else
		u->rc = 0;
	if (u->rc == 0 && !u->more)
		u->rc = hs_conversations_expire(t->store, hs_tenant_now(t) - HS_CONVERSATIONS_KEPT_MS, &u->more, &u->err);
	hs_store_progress(t->store, &p);
	bool purges = p.dirty > 0 || hs_tenant_now(t) - u->purged >= PURGE_AT_LEAST_MS;
	if (u->rc == 0 && !u->more && purges)
		u->rc = sweep_jobs(u);
	/* Also where nothing was deleted meanwhile: what was kept for its time grows old by itself. */
	if (u->rc == 0 && !u->more && purges) {
		u->rc = hs_store_purge(t->store, hs_tenant_now(t) - HS_VERSIONS_KEPT_MS, forget_blob, t, &u->err);
		if (u->rc == 0)
			u->purged = hs_tenant_now(t);
	}
}

/* Once, from the opening on. A folder that cannot be read is told and left. */
static void run_sweep(struct hs_job *job, void *context)
{
	struct hs_upkeep *u = HS_CONTAINER_OF(job, struct hs_upkeep, job);
	struct hs_tenant *t = u->tenant;
	u->rc = u->sweep ? 0 : hs_sweep_create(t->blobs, &u->sweep);
	if (u->rc == 0)
		u->rc = hs_sweep_step(u->sweep, hs_store_db(t->store), &u->more, &u->err);
	else
		(void)hs_fail_errno(&u->err, u->rc, "sweep.folder", t->path);
	if (u->rc < 0 || !u->more) {
		if (u->sweep && hs_sweep_removed(u->sweep) > 0)
			hs_log("%u blobs that a crash left were removed", hs_sweep_removed(u->sweep));
		hs_sweep_destroy(u->sweep);
		u->sweep = NULL;
	}
}

static void start(struct hs_upkeep *u, void (*work)(struct hs_job *, void *));

static void done(struct hs_job *job)
{
	struct hs_upkeep *u = HS_CONTAINER_OF(job, struct hs_upkeep, job);
	u->busy = false;
	if (u->rc < 0)
		hs_log_err("upkeep", &u->err);
	else if (u->more)
		start(u, job->run); /* queued behind what came in meanwhile */
}

static void start(struct hs_upkeep *u, void (*work)(struct hs_job *, void *))
{
	if (u->busy)
		return;
	u->err = HS_ERR_INIT;
	u->more = false;
	u->job = (struct hs_job){.run = work, .done = done};
	u->busy = hs_worker_push(u->tenant->writer, &u->job) == 0; /* a full writer is tended next time */
}

static void on_timer(uv_timer_t *timer)
{
	struct hs_upkeep *u = timer->data;
	start(u, u->sweep ? run_sweep : run);
}

int hs_upkeep_create(struct hs_tenant *t, struct hs_upkeep **ret)
{
	struct hs_upkeep *u = calloc(1, sizeof *u);
	if (!u)
		return -ENOMEM;
	u->tenant = t;
	(void)uv_timer_init(t->loop, &u->timer); /* cannot fail */
	u->timer.data = u;
	(void)uv_timer_start(&u->timer, on_timer, HS_UPKEEP_MS, HS_UPKEEP_MS); /* cannot fail with a callback */
	start(u, run_sweep);
	*ret = u;
	return 0;
}

static void free_upkeep(uv_handle_t *handle)
{
	struct hs_upkeep *u = handle->data;
	hs_sweep_destroy(u->sweep);
	free(u);
}

void hs_upkeep_destroy(struct hs_upkeep *u)
{
	if (u)
		uv_close((uv_handle_t *)&u->timer, free_upkeep);
}
