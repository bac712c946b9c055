#include "daemon/tenant/retrieve.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "daemon/tenant/infer_client.h"

static struct hs_retrieval *retrieval_of(struct hs_exchange *x);

static void rank(struct hs_retrieval *r);

static int choose(struct hs_retrieval *r)
{
	return r->budget > 0 ? hs_evidence_select(&r->results, r->text, strlen(r->text), r->budget, &r->evidence) : 0;
}

static int search_on_reader(struct hs_exchange *x, struct hs_read_context *c)
{
	struct hs_retrieval *r = retrieval_of(x);
	const struct hs_query query = {.mode = r->mode, .text = r->text, .len = strlen(r->text), .vector = r->vector,
				       .dimensions = r->dimensions, .k = r->reranks ? HS_MAX(r->k, HS_RERANK_PASSAGES_MAX) : r->k,
				       .per_document = r->per_document,
				       .now_ms = hs_tenant_now(x->tenant),
				       .hybrid_weight = -1};
	int rc = hs_search(c->reader, x->grant, &query, &r->results, &x->err);
	if (rc == -ESTALE) { /* the policy moved between the gate and here: what holds is today's */
		hs_grant_destroy(x->grant);
		x->grant = NULL;
		x->err = HS_ERR_INIT;
		rc = hs_policy_resolve(hs_reader_db(c->reader), &x->who, hs_tenant_now(x->tenant), &x->grant, &x->err);
		if (rc == 0)
			rc = hs_search(c->reader, x->grant, &query, &r->results, &x->err);
	}
	return rc == 0 && !r->reranks ? choose(r) : rc;
}

static int choose_on_reader(struct hs_exchange *x, struct hs_read_context *c)
{
	return choose(retrieval_of(x));
}

static void chosen(struct hs_exchange *x, int rc)
{
	struct hs_retrieval *r = retrieval_of(x);
	r->done(r, rc);
}

static void searched(struct hs_exchange *x, int rc)
{
	struct hs_retrieval *r = retrieval_of(x);
	if (rc < 0 || !r->reranks)
		r->done(r, rc);
	else
		rank(r);
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
	r->infer_request = 0;
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
	hs_infer_cancel(r->x->tenant->infer, r->infer_request);
	r->infer_request = 0;
	search_next(r);
}

/* Wait for infer's answer, and not longer. On failure it is not waited for. */
static int start_timer(struct hs_retrieval *r, uv_timer_cb late, uint64_t ms)
{
	r->timer = calloc(1, sizeof *r->timer);
	if (!r->timer || uv_timer_init(r->x->tenant->loop, r->timer) < 0) {
		free(r->timer);
		r->timer = NULL;
		hs_infer_cancel(r->x->tenant->infer, r->infer_request);
		r->infer_request = 0;
		return -ENOMEM;
	}
	r->timer->data = r;
	return uv_timer_start(r->timer, late, ms, 0);
}

static int ask_embedding(struct hs_retrieval *r)
{
	const struct hs_msg_embed ask = {.kind = HS_EMBED_QUERY, .count = 1, .texts = {{r->text, strlen(r->text)}}};
	int rc = hs_infer_embed(r->x->tenant->infer, &ask, hs_now_ms() + HS_QUERY_EMBED_MS, on_vectors, r, &r->infer_request);
	return rc < 0 ? rc : start_timer(r, on_late, HS_QUERY_EMBED_MS);
}

/* --- the order --- */

uint32_t hs_rerank_affordable(const struct hs_hit *hits, size_t count, size_t question_len, float rate)
{
	double left = (double)rate * HS_RERANK_MS / 1000;
	uint32_t n = 0;
	while (n < count && n < HS_RERANK_PASSAGES_MAX) {
		left -= (double)(hs_utf8_count(hits[n].text, hits[n].text_len) + question_len);
		if (!(left >= 0))
			break;
		n++;
	}
	return n;
}

void hs_rerank_order(struct hs_hit *hits, const float *scores, uint32_t n)
{
	float sorted[HS_RERANK_PASSAGES_MAX];
	hs_assert(n <= HS_ARRAY_LEN(sorted));
	for (uint32_t i = 0; i < n; i++) {
		struct hs_hit hit = hits[i];
		uint32_t at = i;
		for (; at > 0 && sorted[at - 1] < scores[i]; at--) {
			sorted[at] = sorted[at - 1];
			hits[at] = hits[at - 1];
		}
		sorted[at] = scores[i];
		hits[at] = hit;
	}
}

/* The tenant's rerankings that run. */
static void uncount(struct hs_retrieval *r)
{
	r->x->tenant->reranks -= r->counted;
	r->counted = false;
}

/* The order stands: cut what was only looked at for it, and choose the sentences. */
static void conclude(struct hs_retrieval *r)
{
	drop_timer(r);
	uncount(r);
	if (r->results.count > 1) {
		struct hs_tenant_counts *counts = &r->x->tenant->counts;
		*(r->reranked ? &counts->reranked : &counts->rerank_missed) += 1;
	}
	r->results.count = HS_MIN(r->results.count, r->k);
	int rc = hs_exchange_on_reader(r->x, choose_on_reader, chosen);
	if (rc < 0)
		r->done(r, rc);
}

static void on_scores(void *ctx, int rc, const float *scores, uint32_t count, uint32_t dimensions, const struct hs_err *err)
{
	struct hs_retrieval *r = ctx;
	r->infer_request = 0;
	if (rc == 0 && dimensions == 1 && count == r->n_asked) {
		hs_rerank_order(r->results.hits, scores, count);
		r->reranked = true;
	}
	conclude(r);
}

static void on_late_scores(uv_timer_t *timer)
{
	struct hs_retrieval *r = timer->data;
	hs_infer_cancel(r->x->tenant->infer, r->infer_request);
	r->infer_request = 0;
	conclude(r);
}

static int ask_scores(struct hs_retrieval *r)
{
	const struct hs_infer_models *models = hs_infer_client_models(r->x->tenant->infer);
	struct hs_msg_rerank ask = {.question = {r->text, strlen(r->text)}};
	r->n_asked = hs_rerank_affordable(r->results.hits, r->results.count, hs_utf8_count(r->text, strlen(r->text)),
					  models->reranks ? models->rerank_rate : 0);
	if (r->n_asked < 2 || r->x->tenant->reranks >= HS_RERANKS_MAX)
		return -EBUSY;
	for (uint32_t i = 0; i < r->n_asked; i++)
		ask.passages[ask.count++] = (struct hs_slice){r->results.hits[i].text, r->results.hits[i].text_len};
	int rc = hs_infer_rerank(r->x->tenant->infer, &ask, hs_now_ms() + HS_RERANK_MS, on_scores, r, &r->infer_request);
	if (rc < 0)
		return rc;
	r->x->tenant->reranks++;
	r->counted = true;
	return start_timer(r, on_late_scores, HS_RERANK_MS);
}

static void rank(struct hs_retrieval *r)
{
	if (r->results.count < 2 || ask_scores(r) < 0)
		conclude(r);
}

int hs_retrieve(struct hs_retrieval *r)
{
	hs_assert(r->x->handler_state == r && r->x->grant);
	r->reranks = hs_infer_client_models(r->x->tenant->infer)->reranks &&
		     r->mode != HS_SEARCH_PHRASE; /* exact matches have their own order */
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
	if (r->infer_request)
		hs_infer_cancel(r->x->tenant->infer, r->infer_request);
	r->infer_request = 0;
	uncount(r);
}

void hs_retrieval_finish(struct hs_retrieval *r)
{
	hs_retrieval_cancel(r);
	hs_evidence_finish(&r->evidence);
	hs_results_finish(&r->results);
}
