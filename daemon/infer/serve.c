#include "daemon/infer/serve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "daemon/child.h"

struct request {
	struct request *next; /* of its client */
	struct hs_infer_job *job;
	struct client *client;
	uint64_t id;
	bool cancelled, gone_ahead; /* gone_ahead: GO came */
};

#define HS_INFER_WIPES_MAX 8 /* of one tenant that wait; beyond it one is refused as busy */

struct client { /* a channel; after it is gone, what its jobs still point to */
	struct client *next;
	struct hs_infer *infer;
	struct hs_channel *channel;
	struct hs_sched_tenant tenant;
	char name[HS_MSG_NAME_MAX + 1]; /* the tenant's id */
	struct hs_limits limits;
	uint32_t adapter;            /* its number; 0: none */
	struct hs_token_count count; /* what its generations took, since the channel is there */
	struct request *requests;
	size_t n_generations, n_reranks; /* of them */
	uint64_t wipes[HS_INFER_WIPES_MAX]; /* WIPEs that wait for the requests' end */
	size_t n_wipes;
	bool wants_models;
	bool closing;
};

struct hs_infer {
	uv_loop_t *loop;
	struct hs_models *models;
	struct hs_compute *compute;
	struct client *clients;
	size_t n_clients, n_requests;
	uint64_t n_wiped;
	uint64_t n_limited; /* refused or ended by a limit of their tenant's */
	uint64_t n_generated, n_cancelled; /* ended so far: answers to their end; requests that were cancelled, of any kind */
	bool loaded;
};

static void fail(struct client *k, uint64_t id, struct hs_err *err)
{
	(void)hs_channel_send_error(k->channel, id, err); /* what cannot be sent ends the channel */
}

static void release_client(struct client *k)
{
	if (!k->closing || k->requests)
		return;
	struct client **at = &k->infer->clients;
	while (*at != k)
		at = &(*at)->next;
	*at = k->next;
	k->infer->n_clients--;
	hs_compute_forget(k->infer->compute, &k->tenant);
	free(k);
}

static void cancel_all(struct client *k)
{
	for (struct request *r = k->requests; r; r = r->next) {
		r->cancelled = true;
		hs_compute_cancel(k->infer->compute, r->job);
	}
}

static void close_client(struct client *k)
{
	if (k->closing)
		return;
	k->closing = true;
	hs_channel_destroy(k->channel);
	k->channel = NULL;
	cancel_all(k);
	release_client(k);
}

/* --- results --- */

static void on_text(struct hs_infer_job *job, const char *text, size_t n)
{
	struct request *r = job->owner;
	if (r->client->channel && !r->cancelled)
		(void)hs_channel_send(r->client->channel, HS_MSG_TEXT, r->id, 0, text,
				      n); /* what cannot be sent ends the channel */
}

static int send_vectors(struct request *r)
{
	struct hs_infer *s = r->client->infer;
	HS_BUF_AUTO b = HS_BUF_INIT;
	uint32_t n_embd = r->job->reranks ? 1 : hs_model_info(s->models->embedder.model)->n_embd,
		 count = r->job->n_texts - r->job->reranks;
	int rc = hs_put_u32(&b, count);
	if (rc == 0)
		rc = hs_put_u32(&b, n_embd);
	for (size_t i = 0; rc == 0 && i < (size_t)count * n_embd; i++)
		rc = hs_put_f32(&b, r->job->vectors[i]);
	return rc < 0 ? rc : hs_channel_send(r->client->channel, HS_MSG_VECTORS, r->id, 0, b.data, b.len);
}

static int send_done(struct request *r)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	int rc = hs_put_done(&b, &r->job->done);
	return rc < 0 ? rc : hs_channel_send(r->client->channel, HS_MSG_DONE, r->id, 0, b.data, b.len);
}

static bool generates(const struct hs_infer_job *job)
{
	return !job->embeds && !job->reranks;
}

static const char *work_of(const struct hs_infer_job *job)
{
	return job->embeds ? "embedding" : job->reranks ? "reranking" : "generation";
}

static void tell_end(struct request *r, int rc)
{
	struct hs_err err = HS_ERR_INIT;
	if (rc == -ECANCELED) {
		r->job->done.reason = HS_DONE_CANCELLED;
		rc = generates(r->job) ? send_done(r) : hs_fail(&err, ECANCELED, "model.cancelled", "", "%s", work_of(r->job));
	} else if (rc == 0) {
		rc = generates(r->job) ? send_done(r) : send_vectors(r);
	} else if (rc == -ETIME) {
		const enum hs_limit which = HS_LIMIT_GENERATION_SECONDS;
		(void)hs_limit_fail(&err, which, r->client->limits.of[which], 0);
		r->client->infer->n_limited++;
	} else if (rc == -ETIMEDOUT) {
		(void)hs_fail(&err, ETIMEDOUT, "model.deadline", HS_N_("the machine is busy: ask again"), "request");
	} else if (rc == -ENOMEM) {
		(void)hs_fail(&err, ENOMEM, "model.memory", HS_N_("there is no room for another conversation: ask again shortly"),
			      "request");
	} else if (rc == -ENODEV) {
		(void)hs_fail(&err, ENODEV, "gpu.lost", HS_N_("the GPU failed in the middle of the answer: ask again"),
			      "request");
	} else if (rc == -ENOENT) {
		(void)hs_fail(&err, ENOENT, "model.none", HS_N_("no model of this kind is loaded"), "%s",
			      r->job->embeds    ? "embedder"
			      : r->job->reranks ? "reranker"
						: "generator");
	}
	if (rc < 0) {
		if (!err.num)
			(void)hs_fail_errno(&err, rc, "model.failed", work_of(r->job));
		fail(r->client, r->id, &err);
	}
}

/* A wipe waits for what it cancelled, and not for what came after it. */
static bool any_cancelled(const struct client *k)
{
	const struct request *r = k->requests;
	while (r && !r->cancelled)
		r = r->next;
	return r;
}

static int tell_wiped(struct client *k, uint64_t id)
{
	hs_compute_forget(k->infer->compute, &k->tenant);
	k->infer->n_wiped++;
	return hs_channel_send(k->channel, HS_MSG_WIPED, id, 0, NULL, 0);
}

static void on_ended(struct hs_infer_job *job, int rc)
{
	struct request *r = job->owner;
	struct client *k = r->client;
	if (k->channel && !r->cancelled)
		tell_end(r, rc);
	struct request **at = &k->requests;
	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	k->infer->n_requests--;
	k->n_reranks -= job->reranks;
	if (generates(job)) {
		k->n_generations--;
		if (job->prefill_us || job->decode_us) /* what waited took nothing */
			hs_token_count_take(&k->count, &k->limits, (uint64_t)job->done.prompt_tokens + job->done.answer_tokens,
					    hs_now_ms());
	}
	k->infer->n_cancelled += r->cancelled;
	k->infer->n_generated += !r->cancelled && rc == 0 && generates(job);
	hs_infer_job_destroy(job);
	free(r);
	if (k->n_wipes > 0 && !any_cancelled(k)) {
		for (size_t i = 0; i < k->n_wipes && k->channel; i++)
			(void)tell_wiped(k, k->wipes[i]); /* what cannot be sent ends the channel */
		k->n_wipes = 0;
	}
	release_client(k);
}

/* --- requests --- */

static struct request *find_request(struct client *k, uint64_t id)
{
	struct request *r = k->requests;
	while (r && r->id != id)
		r = r->next;
	return r;
}

/* limit: of requests, that -EBUSY is about */
static int fail_busy(struct hs_err *err, int rc, int limit)
{
	if (rc == -EBUSY)
		return hs_fail(err, EBUSY, "model.queue_full", HS_N_("wait until earlier requests are answered"), "%d requests", limit);
	return hs_fail_errno(err, rc, "model.request", "request");
}

static int add_request(struct client *k, const struct hs_frame *f, struct hs_infer_job *job, int64_t deadline, struct hs_err *err)
{
	struct request *r = calloc(1, sizeof *r);
	if (!r)
		return fail_busy(err, -ENOMEM, 0);
	*r = (struct request){.job = job, .client = k, .id = f->request};
	job->owner = r;
	job->deadline = deadline;
	job->sched.tenant = &k->tenant;
	job->text = on_text;
	job->ended = on_ended;
	int rc = hs_compute_add(k->infer->compute, job);
	if (rc < 0) {
		free(r);
		return fail_busy(err, rc, HS_SCHED_QUEUE_MAX);
	}
	r->next = k->requests;
	k->requests = r;
	k->infer->n_requests++;
	k->n_generations += generates(job);
	k->n_reranks += job->reranks;
	return 0;
}

/* The texts, each behind the prefix that the model was trained with. */
static int join_texts(const struct hs_slice *texts, uint32_t count, const char *prefix, struct hs_infer_job *job,
		      struct hs_err *err)
{
	size_t prefix_len = strlen(prefix), total = 0;
	for (uint32_t i = 0; i < count; i++) {
		if (!hs_utf8_valid(texts[i].s, texts[i].len, NULL))
			return hs_fail_errno(err, -EILSEQ, "model.request", "texts");
		total += prefix_len + texts[i].len;
	}
	job->texts = malloc(total + 1);
	job->offsets = calloc((size_t)count + 1, sizeof *job->offsets);
	if (!job->texts || !job->offsets)
		return hs_fail_errno(err, -ENOMEM, "model.request", "texts");
	uint32_t at = 0;
	for (uint32_t i = 0; i < count; i++) {
		memcpy(job->texts + at, prefix, prefix_len);
		if (texts[i].len)
			memcpy(job->texts + at + prefix_len, texts[i].s, texts[i].len);
		at += (uint32_t)(prefix_len + texts[i].len);
		job->offsets[i + 1] = at;
	}
	job->n_texts = count;
	return 0;
}

static int take_embed(struct client *k, const struct hs_frame *f, struct hs_err *err)
{
	const struct hs_served_model *m = &k->infer->models->embedder;
	struct hs_msg_embed *ask = malloc(sizeof *ask);
	struct hs_infer_job *job = calloc(1, sizeof *job);
	int rc = ask && job ? hs_get_embed(f->payload, f->payload_len, ask) : -ENOMEM;
	if (rc == 0 && !m->model)
		rc = hs_fail(err, ENOENT, "model.none", HS_N_("no model of this kind is loaded"), "embedder");
	if (rc == 0)
		rc = join_texts(ask->texts, ask->count, ask->kind == HS_EMBED_QUERY ? m->query_prefix : m->passage_prefix, job,
				err);
	if (rc == 0) {
		job->embeds = true;
		job->query = ask->kind == HS_EMBED_QUERY && ask->count <= HS_INFER_QUERY_TEXTS_MAX &&
			     job->offsets[ask->count] <= HS_INFER_QUERY_BYTES_MAX;
		job->sched.class = job->query ? HS_SCHED_QUERY : HS_SCHED_INGEST;
		job->sched.ready = true;
		rc = add_request(k, f, job, f->deadline, err);
	}
	free(ask);
	if (rc < 0)
		hs_infer_job_destroy(job);
	return rc;
}

static int take_rerank(struct client *k, const struct hs_frame *f, struct hs_err *err)
{
	struct hs_msg_rerank *ask = malloc(sizeof *ask);
	struct hs_infer_job *job = calloc(1, sizeof *job);
	int rc = ask && job ? hs_get_rerank(f->payload, f->payload_len, ask) : -ENOMEM;
	if (rc == 0 && !k->infer->models->reranker.model)
		rc = hs_fail(err, ENOENT, "model.none", HS_N_("no model of this kind is loaded"), "reranker");
	if (rc == 0 && f->payload_len > HS_INFER_RERANK_BYTES_MAX)
		rc = hs_fail(err, EMSGSIZE, "model.rerank_too_long", "", "%zu bytes", (size_t)f->payload_len);
	if (rc == 0 && k->n_reranks >= HS_INFER_RERANKS_MAX)
		rc = fail_busy(err, -EBUSY, HS_INFER_RERANKS_MAX);
	if (rc == 0) {
		struct hs_slice texts[1 + HS_MSG_RERANK_MAX] = {ask->question};
		memcpy(texts + 1, ask->passages, ask->count * sizeof *texts);
		rc = join_texts(texts, ask->count + 1, "", job, err);
	}
	if (rc == 0) {
		job->reranks = true;
		job->sched.class = HS_SCHED_RERANK;
		job->sched.ready = true;
		int64_t latest = hs_now_ms() + HS_INFER_RERANK_MS;
		rc = add_request(k, f, job, f->deadline && f->deadline < latest ? f->deadline : latest, err);
	}
	free(ask);
	if (rc < 0)
		hs_infer_job_destroy(job);
	return rc;
}

static uint32_t budget_of(const struct hs_served_model *m, const struct hs_msg_generate *ask, uint32_t context,
			  uint32_t max_tokens)
{
	uint32_t most = context > max_tokens ? context - max_tokens : 1;
	float own = m->prefill_rate * (float)HS_INFER_PREFILL_SECONDS;
	uint32_t budget = ask->prompt_budget ? ask->prompt_budget : HS_MAX((uint32_t)HS_MIN(own, 1e6f), HS_INFER_BUDGET_MIN);
	return HS_MIN(budget, most);
}

static int send_kept(struct client *k, const struct request *r, struct hs_msg_kept *kept)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	kept->queue_position = hs_compute_position(k->infer->compute, r->job);
	int rc = hs_put_kept(&b, kept);
	return rc < 0 ? rc : hs_channel_send(k->channel, HS_MSG_KEPT, r->id, 0, b.data, b.len);
}

/*
 * The tenant's own process counts strictly, and before; what it may have given back meanwhile is not known here: a minute's worth
 * of tokens, and a prompt of every generation, is let pass.
 */
static int check_limits(struct client *k, struct hs_err *err)
{
	const uint64_t *of = k->limits.of;
	uint64_t slack = HS_MAX(of[HS_LIMIT_TOKENS_PER_MINUTE], of[HS_LIMIT_CONTEXT]), retry_s;
	enum hs_limit which;
	int rc = 0;
	if (k->n_generations >= of[HS_LIMIT_QUEUE] + of[HS_LIMIT_GENERATIONS])
		rc = hs_limit_fail(err, HS_LIMIT_QUEUE, of[HS_LIMIT_QUEUE], 1);
	else if (!hs_token_count_admits(&k->count, &k->limits, 0, slack, hs_now_ms(), &which, &retry_s))
		rc = hs_limit_fail(err, which, of[which], retry_s);
	k->infer->n_limited += rc < 0;
	return rc;
}

/* What the answer may be. A model that thinks aside first cannot be held to JSON from its first word. */
static int make_grammar(const struct hs_served_model *m, const struct hs_msg_generate *ask, const struct hs_msg_kept *kept,
			struct hs_infer_job *job, struct hs_err *err)
{
	uint32_t ids[HS_MSG_SEGMENTS_MAX], n = 0;
	if (ask->form == HS_FORM_FREE)
		return 0;
	if (ask->form == HS_FORM_CITES) {
		for (uint32_t i = 0; i < ask->n_segments; i++) {
			if (kept->kept[i] && ask->segments[i].kind == HS_SEGMENT_DATA &&
			    ask->segments[i].scope == HS_CACHE_USER) {
				ids[n] = n + 1;
				n++;
			}
		}
		return hs_grammar_citations(ids, n, &job->grammar);
	}
	if (m->chat.channels || job->shown.thinks)
		return hs_fail(err, ENOTSUP, "model.json",
			       HS_N_("This model thinks before it answers and cannot be held to JSON."), "%s", m->id);
	return hs_grammar_schema(ask->schema.s, ask->schema.len, &job->grammar, err);
}

static int fit_job(struct client *k, const struct hs_msg_generate *ask, struct hs_infer_job *job, struct hs_msg_kept *kept,
		   struct hs_err *err)
{
	const struct hs_served_model *m = &k->infer->models->generator;
	if (!m->model)
		return hs_fail(err, ENOENT, "model.none", HS_N_("no model of this kind is loaded"), "generator");
	const struct hs_served_adapter *adapter;
	if (!hs_models_adapter(k->infer->models, k->adapter, &adapter)) /* the bare model's answers are not what it is to give */
		return hs_fail(err, ENOENT, "model.adapter", HS_N_("this tenant's adapter cannot be used: hisho status says why"),
			       "generator");
	job->adapter = adapter ? adapter->adapter : NULL;
	uint32_t own = (uint32_t)k->limits.of[HS_LIMIT_CONTEXT];
	uint32_t context = HS_MIN(own, HS_MIN(hs_model_info(m->model)->context, HS_CONTEXT_MAX));
	job->max_tokens = HS_MIN(ask->max_tokens, HS_MIN(HS_ANSWER_TOKENS_MAX, context / 2));
	if (job->max_tokens == 0)
		return hs_fail(err, EINVAL, "model.max_tokens", HS_N_("ask for at least one token"), "max_tokens");
	*kept = (struct hs_msg_kept){.budget_tokens = budget_of(m, ask, context, job->max_tokens),
				     .prefill_rate = m->prefill_rate,
				     .n_segments = ask->n_segments};
	const time_t seconds = (time_t)(hs_now_ms() / 1000);
	struct tm now;
	if (!gmtime_r(&seconds, &now))
		return hs_fail(err, EOVERFLOW, "model.request", "", "clock");
	int rc = hs_fit(&m->chat, hs_model_tokenizer(m->model), ask, kept->budget_tokens, &now, &job->prompt, kept->kept, err);
	if (rc == -EMSGSIZE && context == own && kept->budget_tokens == context - job->max_tokens) {
		*err = HS_ERR_INIT;
		rc = hs_limit_fail(err, HS_LIMIT_CONTEXT, own, 0);
	}
	if (rc == 0 &&
	    hs_fit_scopes(&m->chat, hs_model_tokenizer(m->model), ask, &now, kept->kept, &job->prompt, &job->scopes) < 0)
		job->scopes = (struct hs_fit_scopes){0}; /* then nothing of it is kept */
	memcpy(job->cache_key, ask->cache_key, sizeof job->cache_key);
	hs_shown_begin(&job->shown, &m->chat, &job->prompt);
	kept->prompt_tokens = (uint32_t)job->prompt.count;
	job->sampler =
	    (struct hs_sampler){.temperature = ask->temperature, .top_p = ask->top_p, .top_k = ask->top_k, .rng = ask->seed};
	if (rc == 0)
		rc = make_grammar(m, ask, kept, job, err);
	job->sched.class = HS_SCHED_PREFILL;
	job->compute_us_max = k->limits.of[HS_LIMIT_GENERATION_SECONDS] * 1000000;
	return rc;
}

static int take_generate(struct client *k, const struct hs_frame *f, struct hs_err *err)
{
	struct hs_msg_generate *ask = malloc(sizeof *ask);
	struct hs_infer_job *job = calloc(1, sizeof *job);
	struct hs_msg_kept *kept = malloc(sizeof *kept);
	int rc = ask && job && kept ? hs_get_generate(f->payload, f->payload_len, ask) : -ENOMEM;
	if (rc == 0)
		rc = check_limits(k, err);
	if (rc == 0)
		rc = fit_job(k, ask, job, kept, err);
	if (rc == 0)
		rc = add_request(k, f, job, f->deadline, err);
	if (rc < 0)
		hs_infer_job_destroy(job);
	else if (send_kept(k, k->requests, kept) < 0) /* it stands first; it cannot be told of: give it up */
		hs_compute_cancel(k->infer->compute, job);
	free(ask);
	free(kept);
	return rc;
}

static int take_models(struct client *k, const struct hs_frame *f)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	k->wants_models = !k->infer->loaded;
	if (k->wants_models)
		return 0;
	int rc = hs_models_put(k->infer->models, k->adapter, &b);
	return rc < 0 ? rc : hs_channel_send(k->channel, HS_MSG_MODELS_REPLY, f ? f->request : 0, 0, b.data, b.len);
}

static void take_cancel(struct client *k, uint64_t id)
{
	struct request *r = find_request(k, id);
	if (!r || r->cancelled)
		return; /* it may just have ended */
	r->cancelled = true;
	hs_compute_cancel(k->infer->compute, r->job);
}

static int take_go(struct client *k, uint64_t id)
{
	struct request *r = find_request(k, id);
	if (!r || r->cancelled)
		return 0;
	if (!generates(r->job) || r->gone_ahead)
		return -EPROTO;
	r->gone_ahead = true;
	hs_compute_go(k->infer->compute, r->job);
	return 0;
}

static int take_wipe(struct client *k, uint64_t id)
{
	if (id == 0)
		return -EPROTO;
	if (k->n_wipes == HS_INFER_WIPES_MAX) {
		struct hs_err err = HS_ERR_INIT;
		(void)hs_fail(&err, EBUSY, "model.wiping", HS_N_("The service is busy. Try again shortly."), "wipe");
		fail(k, id, &err);
		return 0;
	}
	if (!k->requests)
		return tell_wiped(k, id);
	k->wipes[k->n_wipes++] = id;
	cancel_all(k);
	return 0;
}

static int take_new(struct client *k, const struct hs_frame *f, struct hs_err *err)
{
	if (f->request == 0 || find_request(k, f->request))
		return -EPROTO;
	if (!k->infer->loaded)
		return hs_fail(err, EAGAIN, "model.loading", HS_N_("the models are being loaded: ask again in a moment"),
			       "models");
	return f->type == HS_MSG_EMBED    ? take_embed(k, f, err)
	       : f->type == HS_MSG_RERANK ? take_rerank(k, f, err)
					  : take_generate(k, f, err);
}

static void on_frame(void *ctx, struct hs_frame *f)
{
	struct client *k = ctx;
	struct hs_err err = HS_ERR_INIT;
	int rc = -EPROTO;
	switch (f->type) {
	case HS_MSG_MODELS:
		rc = take_models(k, f);
		break;
	case HS_MSG_EMBED:
	case HS_MSG_RERANK:
	case HS_MSG_GENERATE:
		rc = take_new(k, f, &err);
		if (rc < 0 && rc != -EPROTO) {
			if (!err.num)
				(void)hs_fail_errno(&err, rc, "model.request", "request");
			fail(k, f->request, &err);
			rc = 0;
		}
		break;
	case HS_MSG_GO:
		rc = take_go(k, f->request);
		break;
	case HS_MSG_CANCEL:
		take_cancel(k, f->request);
		rc = 0;
		break;
	case HS_MSG_WIPE:
		rc = take_wipe(k, f->request);
		break;
	}
	if (rc == -EPROTO) {
		hs_log("a tenant's channel broke the protocol with message %u and is closed", f->type);
		close_client(k);
	}
}

static void on_gone(void *ctx, const struct hs_err *why)
{
	close_client(ctx);
}

/* "LIMITS" or "LIMITS ADAPTER"; "" is all by default. */
static bool read_terms(struct client *k, const char *text)
{
	char limits[HS_LIMITS_TEXT_MAX];
	size_t n = strcspn(text, " ");
	if (n >= sizeof limits)
		return false;
	memcpy(limits, text, n);
	limits[n] = '\0';
	char *end = NULL;
	const char *number = text[n] ? text + n + 1 : "0";
	unsigned long adapter = strtoul(number, &end, 10);
	if (*number < '0' || *number > '9' || *end || adapter > HS_ADAPTERS_MAX)
		return false;
	k->adapter = (uint32_t)adapter;
	return hs_limits_parse(limits, &k->limits);
}

void hs_infer_attach(struct hs_infer *s, const char *tenant, int fd)
{
	static const struct hs_channel_events events = {.frame = on_frame, .gone = on_gone};
	const struct hs_channel_options o = {HS_PROCESS_INFER, HS_PROCESS_TENANT, ""};
	struct client *k = s->n_clients < HS_INFER_TENANTS_MAX ? calloc(1, sizeof *k) : NULL;
	if (!k) {
		(void)close(fd); /* the tenant sees the end and serves words */
		hs_log("no room for a channel to %s", tenant);
		return;
	}
	k->infer = s;
	(void)snprintf(k->name, sizeof k->name, "%.*s", (int)strcspn(tenant, " "), tenant); /* an id is short */
	const char *limits = strchr(tenant, ' ');
	if (!read_terms(k, limits ? limits + 1 : "")) {
		(void)close(fd); /* as above: hishod is not of this version */
		free(k);
		hs_log("the limits of %s cannot be read", tenant);
		return;
	}
	k->tenant.slots_max = (uint32_t)k->limits.of[HS_LIMIT_GENERATIONS];
	if (hs_channel_create(s->loop, fd, &o, &events, k, &k->channel) < 0) {
		free(k);
		hs_log("no channel to %s", tenant);
		return;
	}
	k->next = s->clients;
	s->clients = k;
	s->n_clients++;
}

void hs_infer_loaded(struct hs_infer *s)
{
	s->loaded = true;
	for (struct client *k = s->clients; k; k = k->next)
		if (k->channel && k->wants_models)
			(void)take_models(k, NULL); /* what cannot be sent ends the channel */
}

int hs_infer_create(uv_loop_t *loop, struct hs_models *models, struct hs_compute *compute, struct hs_infer **ret)
{
	struct hs_infer *s = calloc(1, sizeof *s);
	if (!s)
		return -ENOMEM;
	s->loop = loop;
	s->models = models;
	s->compute = compute;
	*ret = s;
	return 0;
}

void hs_infer_destroy(struct hs_infer *s)
{
	if (!s)
		return;
	while (s->clients) {
		struct client *k = s->clients;
		hs_assert(!k->requests); /* the compute thread has given back every job */
		s->clients = k->next;
		hs_channel_destroy(k->channel);
		free(k);
	}
	free(s);
}

/* ,"pages_of":{"ten_..":7}: pages on the GPU, of tenants that hold any. */
static int put_pages(const struct hs_infer *s, struct hs_buf *out)
{
	struct hs_model *m = s->loaded ? s->models->generator.model : NULL;
	const char *comma = "";
	int rc = hs_buf_append_str(out, ",\"pages_of\":{");
	for (const struct client *k = s->clients; k && m && rc == 0; k = k->next) {
		uint32_t n = hs_model_pages_of(m, (uintptr_t)&k->tenant);
		if (n == 0 || !k->channel)
			continue;
		rc = hs_buf_printf(out, "%s\"%s\":%u", comma, k->name, n);
		comma = ",";
	}
	return rc < 0 ? rc : hs_buf_append_str(out, "}");
}

int hs_infer_status(const struct hs_infer *s, struct hs_buf *out)
{
	struct hs_compute_counts c;
	hs_compute_count(s->compute, &c);
	int rc =
	    hs_buf_printf(out,
			  "\"loaded\":%s,\"tenants\":%zu,\"requests\":%zu,\"generated\":%llu,\"cancelled\":%llu,\"wiped\":%llu,"
			  "\"limited\":%llu",
			  s->loaded ? "true" : "false", s->n_clients, s->n_requests, (unsigned long long)s->n_generated,
			  (unsigned long long)s->n_cancelled, (unsigned long long)s->n_wiped, (unsigned long long)s->n_limited);
	if (rc == 0)
		rc = hs_buf_printf(out, ",\"prefilled\":%llu,\"decode_passes\":%llu,\"decoded\":%llu,\"embedded\":%llu",
				   (unsigned long long)c.prefilled, (unsigned long long)c.decode_passes,
				   (unsigned long long)c.decoded, (unsigned long long)c.embedded);
	return rc < 0 ? rc : put_pages(s, out);
}
