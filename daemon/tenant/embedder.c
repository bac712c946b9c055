#include "daemon/tenant/embedder.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/child.h"
#include "daemon/tenant/infer_client.h"

#define RETRY_MS 5000
#define RETRY_FULL_MS 60000 /* where the disk is nearly full */
#define BATCH_DEADLINE_MS (10 * 60 * 1000LL)

/*
 *   IDLE --kick--> LISTING (writer) --none--> IDLE
 *                     |--some--> EMBEDDING (infer) --> STORING (writer) --> LISTING
 *   anything that fails goes to IDLE and is tried again after RETRY_MS
 */
enum state { IDLE, LISTING, EMBEDDING, STORING };

struct hs_embedder {
	struct hs_tenant *tenant;
	enum state state;
	bool kicked; /* while it worked */
	struct hs_job job;
	int rc;
	struct hs_err err;
	struct hs_pending_list pending;
	float *vectors;
	uint32_t dimensions;
	uint8_t model[HS_STORE_HASH_LEN];
	uint32_t model_dimensions;
	uint64_t request;
	uv_timer_t retry;
};

static void rest(struct hs_embedder *e)
{
	hs_pending_list_finish(&e->pending);
	e->pending = (struct hs_pending_list){0};
	free(e->vectors);
	e->vectors = NULL;
	e->state = IDLE;
	if (e->kicked)
		hs_embedder_kick(e);
}

static void on_retry(uv_timer_t *timer)
{
	hs_embedder_kick(timer->data);
}

static void fail(struct hs_embedder *e, int rc)
{
	if (rc != -ENOTCONN && rc != -ECONNRESET) /* without the object: it may be infer's words, which holds text */
		hs_log("vectors: %s: %s", e->err.code, strerror(-rc));
	e->kicked = false;
	rest(e);
	(void)uv_timer_start(&e->retry, on_retry, rc == -ENOSPC ? RETRY_FULL_MS : RETRY_MS, 0); /* cannot fail with a callback */
}

static void push(struct hs_embedder *e, enum state state, void (*run)(struct hs_job *, void *), void (*done)(struct hs_job *))
{
	e->state = state;
	e->err = HS_ERR_INIT;
	e->job = (struct hs_job){.run = run, .done = done};
	int rc = hs_worker_push(e->tenant->writer, &e->job);
	if (rc < 0)
		fail(e, rc);
}

static void run_list(struct hs_job *job, void *context)
{
	struct hs_embedder *e = HS_CONTAINER_OF(job, struct hs_embedder, job);
	struct hs_store *s = e->tenant->store;
	e->rc = hs_tenant_room(e->tenant, 0, &e->err); /* before infer works for nothing */
	if (e->rc == 0)
		e->rc = hs_store_begin(s, &e->err);
	if (e->rc < 0)
		return;
	e->rc = hs_store_use_model(s, e->model, e->model_dimensions, &e->err);
	if (e->rc == 0)
		e->rc = hs_store_commit(s, &e->err);
	else
		hs_store_rollback(s);
	if (e->rc == 0)
		e->rc = hs_store_pending(s, 0, HS_EMBEDDER_BATCH, &e->pending, &e->err);
}

static void run_store(struct hs_job *job, void *context)
{
	struct hs_embedder *e = HS_CONTAINER_OF(job, struct hs_embedder, job);
	struct hs_store *s = e->tenant->store;
	e->rc = hs_store_begin(s, &e->err);
	if (e->rc < 0)
		return;
	e->rc = hs_store_put_vectors(s, e->pending.items, e->vectors, e->pending.count, &e->err);
	if (e->rc == 0)
		e->rc = hs_store_commit(s, &e->err);
	else
		hs_store_rollback(s);
}

static void stored(struct hs_job *job)
{
	struct hs_embedder *e = HS_CONTAINER_OF(job, struct hs_embedder, job);
	if (e->rc < 0) {
		fail(e, e->rc);
		return;
	}
	e->kicked = true; /* there may be more */
	rest(e);
}

static void on_vectors(void *ctx, int rc, const float *vectors, uint32_t count, uint32_t dimensions, const struct hs_err *err)
{
	struct hs_embedder *e = ctx;
	e->request = 0;
	if (rc == 0 && (count != e->pending.count || dimensions != e->model_dimensions))
		rc = -EPROTO;
	if (rc == 0) {
		size_t bytes = (size_t)count * dimensions * sizeof *vectors;
		e->vectors = malloc(bytes);
		if (e->vectors)
			memcpy(e->vectors, vectors, bytes);
		else
			rc = -ENOMEM;
	}
	if (rc < 0) {
		if (err)
			e->err = *err;
		fail(e, rc);
		return;
	}
	push(e, STORING, run_store, stored);
}

static void listed(struct hs_job *job)
{
	struct hs_embedder *e = HS_CONTAINER_OF(job, struct hs_embedder, job);
	if (e->rc < 0) {
		fail(e, e->rc);
		return;
	}
	if (e->pending.count == 0) {
		rest(e);
		return;
	}
	struct hs_msg_embed *ask = malloc(sizeof *ask);
	if (!ask) {
		fail(e, -ENOMEM);
		return;
	}
	ask->kind = HS_EMBED_PASSAGE;
	ask->count = (uint32_t)e->pending.count;
	for (size_t i = 0; i < e->pending.count; i++)
		ask->texts[i] = (struct hs_slice){e->pending.items[i].text, e->pending.items[i].len};
	e->state = EMBEDDING;
	int rc = hs_infer_embed(e->tenant->infer, ask, hs_now_ms() + BATCH_DEADLINE_MS, on_vectors, e, &e->request);
	free(ask);
	if (rc < 0)
		fail(e, rc);
}

void hs_embedder_kick(struct hs_embedder *e)
{
	if (e->state != IDLE) {
		e->kicked = true;
		return;
	}
	e->kicked = false;
	(void)uv_timer_stop(&e->retry); /* cannot fail */
	const struct hs_infer_models *m = hs_infer_client_models(e->tenant->infer);
	if (!m->embeds)
		return; /* its coming kicks again */
	memcpy(e->model, m->embedder_hash, sizeof e->model);
	e->model_dimensions = m->dimensions;
	push(e, LISTING, run_list, listed);
}

int hs_embedder_create(struct hs_tenant *t, struct hs_embedder **ret)
{
	struct hs_embedder *e = calloc(1, sizeof *e);
	if (!e)
		return -ENOMEM;
	e->tenant = t;
	(void)uv_timer_init(t->loop, &e->retry); /* cannot fail */
	e->retry.data = e;
	uv_unref((uv_handle_t *)&e->retry);
	*ret = e;
	return 0;
}

static void free_embedder(uv_handle_t *handle)
{
	free(handle->data);
}

void hs_embedder_destroy(struct hs_embedder *e)
{
	if (!e)
		return;
	hs_pending_list_finish(&e->pending);
	free(e->vectors);
	e->vectors = NULL; /* infer's client ends later, and a batch that it has ends with it */
	uv_close((uv_handle_t *)&e->retry, free_embedder);
}
