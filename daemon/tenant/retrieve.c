#include "daemon/tenant/retrieve.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/tenant/infer_client.h"

int hs_retrieve_now(struct hs_retrieval *r, struct hs_reader *reader)
{
	struct hs_exchange *x = r->x;
	const struct hs_query query = {.mode = r->mode, .text = r->text, .len = strlen(r->text), .vector = r->vector,
				       .dimensions = r->dimensions, .k = r->k, .per_document = r->per_document,
				       .now_ms = hs_tenant_now(r->x->tenant),
				       .hybrid_weight = -1};
	int rc = hs_search(reader, x->grant, &query, &r->results, &x->err);
	if (rc == -ESTALE) { /* the policy moved between the gate and here: what holds is today's */
		hs_grant_destroy(x->grant);
		x->grant = NULL;
		x->err = HS_ERR_INIT;
		rc = hs_policy_resolve(hs_reader_db(reader), &x->who, hs_tenant_now(x->tenant), &x->grant, &x->err);
		if (rc == 0)
			rc = hs_search(reader, x->grant, &query, &r->results, &x->err);
	}
	if (rc == 0 && r->budget > 0)
		rc = hs_evidence_select(&r->results, r->budget, &r->evidence);
	return rc;
}

static struct hs_retrieval *retrieval_of(struct hs_exchange *x);

static int search_on_reader(struct hs_exchange *x, struct hs_read_context *c)
{
	return hs_retrieve_now(retrieval_of(x), c->reader);
}

static void searched(struct hs_exchange *x, int rc)
{
	struct hs_retrieval *r = retrieval_of(x);
	r->done(r, rc);
}

/* The exchange's handler state begins with its retrieval (api_search.c, api_chat.c). */
static struct hs_retrieval *retrieval_of(struct hs_exchange *x)
{
	return x->handler_state;
}

static void close_timer(uv_handle_t *handle)
{
	free(handle);
}

static void drop_timer(struct hs_retrieval *r)
{
	if (r->timer)
		uv_close((uv_handle_t *)r->timer, close_timer);
	r->timer = NULL;
}

static void search_next(struct hs_retrieval *r)
{
	drop_timer(r);
	int rc = hs_exchange_on_reader(r->x, search_on_reader, searched);
	if (rc < 0)
		r->done(r, rc);
}

static void on_vectors(void *ctx, int rc, const float *vectors, uint32_t count, uint32_t dimensions, const struct hs_err *err)
{
	struct hs_retrieval *r = ctx;
	r->embed_request = 0;
	if (rc == 0 && count == 1) {
		r->vector = hs_arena_calloc(r->x->arena, dimensions, sizeof *vectors);
		if (r->vector) {
			memcpy(r->vector, vectors, dimensions * sizeof *vectors);
			r->dimensions = dimensions;
		}
	}
	search_next(r); /* without a vector, by words */
}

static void on_late(uv_timer_t *timer)
{
	struct hs_retrieval *r = timer->data;
	hs_infer_cancel(r->x->tenant->infer, r->embed_request);
	r->embed_request = 0;
	search_next(r);
}

static int ask_embedding(struct hs_retrieval *r)
{
	const struct hs_msg_embed ask = {.kind = HS_EMBED_QUERY, .count = 1, .texts = {{r->text, strlen(r->text)}}};
	int rc = hs_infer_embed(r->x->tenant->infer, &ask, hs_now_ms() + HS_QUERY_EMBED_MS, on_vectors, r, &r->embed_request);
	if (rc < 0)
		return rc;
	r->timer = calloc(1, sizeof *r->timer);
	if (!r->timer || uv_timer_init(r->x->tenant->loop, r->timer) < 0) {
		free(r->timer);
		r->timer = NULL;
		hs_infer_cancel(r->x->tenant->infer, r->embed_request);
		r->embed_request = 0;
		return -ENOMEM;
	}
	r->timer->data = r;
	return uv_timer_start(r->timer, on_late, HS_QUERY_EMBED_MS, 0);
}

int hs_retrieve(struct hs_retrieval *r)
{
	hs_assert(r->x->handler_state == r && r->x->grant);
	if (r->mode == HS_SEARCH_HYBRID || r->mode == HS_SEARCH_VECTOR) {
		const struct hs_infer_models *models = hs_infer_client_models(r->x->tenant->infer);
		if (models->embeds && ask_embedding(r) == 0)
			return 0;
		if (r->mode == HS_SEARCH_VECTOR)
			return hs_fail(&r->x->err, ENOTCONN, "model.none",
				       HS_N_("No embedding model is loaded. Search by words, or import one with: hisho model import"), "%s",
				       r->x->path);
	}
	return hs_exchange_on_reader(r->x, search_on_reader, searched);
}

void hs_retrieval_cancel(struct hs_retrieval *r)
{
	drop_timer(r);
	if (r->embed_request)
		hs_infer_cancel(r->x->tenant->infer, r->embed_request);
	r->embed_request = 0;
}

void hs_retrieval_finish(struct hs_retrieval *r)
{
	hs_retrieval_cancel(r);
	hs_evidence_finish(&r->evidence);
	hs_results_finish(&r->results);
}
