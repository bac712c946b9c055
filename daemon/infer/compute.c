#include "daemon/infer/compute.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

struct event { /* on its way to the loop thread */
	struct event *next;
	struct hs_infer_job *job; /* NULL: the models are loaded */
	bool ended;
	int rc;
	size_t n;
	char text[];
};

struct hs_compute {
	struct hs_models *models;
	pthread_t thread;
	pthread_mutex_t lock; /* guards sched, events and stop */
	pthread_cond_t wake;
	struct hs_sched sched;
	struct event *first, **last;
	bool started, stop;
	uint64_t rerank_rests_until; /* hs_monotonic_us; the compute thread's */
	pthread_mutex_t prefix_lock;
	struct hs_prefixes prefixes;
	struct hs_compute_counts counts; /* under `lock` */
	uv_async_t async;
	void (*load)(void *arg);
	void (*loaded)(void *arg);
	void *load_arg;
};

struct turn { /* jobs that are being computed: what the engine's questions are answered from */
	struct hs_compute *c;
	struct hs_infer_job *job;
	struct hs_infer_job *const *others; /* that share its pass */
	uint32_t n_others;
};

/* --- events --- */

static void post(struct hs_compute *c, struct event *e)
{
	e->next = NULL;
	pthread_mutex_lock(&c->lock);
	*c->last = e;
	c->last = &e->next;
	pthread_mutex_unlock(&c->lock);
	(void)uv_async_send(&c->async); /* fails only on a closing handle: destroy drains the list itself */
}

/* For what must be told: without memory it waits, because an end that is not told would hang its asker for ever. */
static struct event *new_event(void)
{
	struct event *e;
	while (!(e = malloc(sizeof *e)))
		(void)usleep(10000); /* waking early does no harm */
	return e;
}

static int post_text(struct hs_compute *c, struct hs_infer_job *job, const struct hs_buf *text)
{
	struct event *e = malloc(sizeof *e + text->len);
	if (!e)
		return -ENOMEM;
	*e = (struct event){.job = job, .n = text->len};
	memcpy(e->text, text->data, text->len);
	post(c, e);
	return 0;
}

static void deliver(struct hs_compute *c)
{
	pthread_mutex_lock(&c->lock);
	struct event *e = c->first;
	c->first = NULL;
	c->last = &c->first;
	pthread_mutex_unlock(&c->lock);
	while (e) {
		struct event *next = e->next;
		if (!e->job)
			c->loaded(c->load_arg);
		else if (e->ended)
			e->job->ended(e->job, e->rc);
		else
			e->job->text(e->job, e->text, e->n);
		explicit_bzero(e->text, e->n); /* an answer about documents */
		free(e);
		e = next;
	}
}

static void on_async(uv_async_t *async)
{
	deliver(async->data);
}

/* The job leaves the list and goes home. Its sequence, and with it the cache, is wiped first. */
static void end_job(struct hs_compute *c, struct hs_infer_job *job, int rc)
{
	hs_decoding_finish(&job->decoding);
	hs_mask_destroy(job->mask);
	job->mask = NULL;
	hs_sequence_destroy(job->sequence);
	job->sequence = NULL;
	job->done.prompt_tokens = (uint32_t)job->prompt.count;
	job->done.answer_tokens = job->n_decoded;
	job->done.prefill_ms = (uint32_t)(job->prefill_us / 1000);
	job->done.decode_ms = (uint32_t)(job->decode_us / 1000);
	job->done.mean_logprob = job->n_decoded ? (float)(job->logprob_sum / job->n_decoded) : 0;
	struct event *e = new_event();
	*e = (struct event){.job = job, .ended = true, .rc = rc};
	pthread_mutex_lock(&c->lock);
	hs_sched_remove(&c->sched, &job->sched);
	pthread_mutex_unlock(&c->lock);
	post(c, e);
}

/* --- what runs --- */

static void run(struct hs_compute *c, struct hs_infer_job *job);

static void count(struct hs_compute *c, uint64_t *what, uint64_t n)
{
	pthread_mutex_lock(&c->lock);
	*what += n;
	pthread_mutex_unlock(&c->lock);
}

void hs_compute_count(struct hs_compute *c, struct hs_compute_counts *ret)
{
	pthread_mutex_lock(&c->lock);
	*ret = c->counts;
	pthread_mutex_unlock(&c->lock);
}

static bool is_cancelled(const struct turn *t)
{
	bool yes = atomic_load(&t->job->cancelled);
	for (uint32_t i = 0; i < t->n_others; i++)
		yes = yes || atomic_load(&t->others[i]->cancelled);
	return yes;
}

/* These two under the lock. */
static void set_rest(struct hs_compute *c)
{
	c->sched.rerank_rests = hs_monotonic_us() < c->rerank_rests_until;
}

static struct hs_sched_job *pick(struct hs_compute *c, enum hs_sched_class worst)
{
	set_rest(c);
	return hs_sched_pick(&c->sched, worst);
}

static int ask_generation(void *arg)
{
	struct turn *t = arg;
	for (;;) {
		if (is_cancelled(t))
			return 1;
		pthread_mutex_lock(&t->c->lock);
		struct hs_sched_job *query = pick(t->c, HS_SCHED_RERANK);
		bool stop = t->c->stop;
		pthread_mutex_unlock(&t->c->lock);
		if (stop)
			return 1;
		if (!query)
			return 0;
		struct hs_infer_job *job = HS_CONTAINER_OF(query, struct hs_infer_job, sched);
		if (job == t->job)
			return 1;
		run(t->c, job);
	}
}

static int ask_ingest(void *arg)
{
	struct turn *t = arg;
	pthread_mutex_lock(&t->c->lock);
	set_rest(t->c);
	bool stop = t->c->stop || hs_sched_waits(&t->c->sched, HS_SCHED_PREFILL);
	pthread_mutex_unlock(&t->c->lock);
	return stop || atomic_load(&t->job->cancelled);
}

static int ask_query(void *arg)
{
	struct turn *t = arg;
	return atomic_load(&t->job->cancelled);
}

static void run_embed(struct hs_compute *c, struct hs_infer_job *job)
{
	struct hs_model *m = c->models->embedder.model;
	struct hs_model_device d;
	hs_model_device(m, &d);
	uint32_t n_embd = hs_model_info(m)->n_embd;
	uint32_t n = HS_MIN(d.gpu ? HS_EMBED_BATCH_GPU : HS_EMBED_BATCH, job->n_texts - job->n_done);
	const char *texts[HS_EMBED_BATCH_GPU];
	size_t lens[HS_EMBED_BATCH_GPU];
	struct turn t = {.c = c, .job = job};
	int rc = 0;
	if (!job->vectors) {
		job->vectors = calloc((size_t)job->n_texts * n_embd + 1, sizeof *job->vectors);
		rc = job->vectors ? 0 : -ENOMEM;
	}
	for (uint32_t i = 0; i < n; i++) {
		texts[i] = job->texts + job->offsets[job->n_done + i];
		lens[i] = job->offsets[job->n_done + i + 1] - job->offsets[job->n_done + i];
	}
	if (rc == 0 && n)
		rc = hs_embed(m, texts, lens, n, job->query ? ask_query : ask_ingest, &t,
			      job->vectors + (size_t)job->n_done * n_embd);
	if (rc == -ECANCELED)
		return; /* cancelled, or gave way: the list says which comes next */
	job->n_done += rc == 0 ? n : 0;
	count(c, &c->counts.embedded, rc == 0 ? n : 0);
	if (rc < 0 || job->n_done == job->n_texts)
		end_job(c, job, rc);
}

/* Passages against their question. A question of another may be embedded between batches, not within one. */
static void run_rerank(struct hs_compute *c, struct hs_infer_job *job)
{
	uint64_t begin = hs_monotonic_us();
	uint32_t n_passages = job->n_texts - 1, n = HS_MIN(HS_EMBED_BATCH, n_passages - job->n_done);
	const char *texts[HS_EMBED_BATCH];
	size_t lens[HS_EMBED_BATCH];
	struct turn t = {.c = c, .job = job};
	int rc = 0;
	if (!job->vectors) {
		job->vectors = calloc((size_t)n_passages + 1, sizeof *job->vectors);
		rc = job->vectors ? 0 : -ENOMEM;
	}
	for (uint32_t i = 0; i < n; i++) {
		const uint32_t *at = job->offsets + 1 + job->n_done + i;
		texts[i] = job->texts + at[0];
		lens[i] = at[1] - at[0];
	}
	if (rc == 0 && n)
		rc = hs_score(c->models->reranker.model, job->texts, job->offsets[1], texts, lens, n, ask_query, &t,
			      job->vectors + job->n_done);
	c->rerank_rests_until = 2 * hs_monotonic_us() - begin;
	if (rc == -ECANCELED)
		return; /* the list says what comes next */
	job->n_done += rc == 0 ? n : 0;
	if (rc < 0 || job->n_done == n_passages)
		end_job(c, job, rc);
}

static bool another_decodes(struct hs_compute *c)
{
	pthread_mutex_lock(&c->lock);
	bool yes = hs_sched_waits(&c->sched, HS_SCHED_DECODE);
	pthread_mutex_unlock(&c->lock);
	return yes;
}

static void set_class(struct hs_compute *c, struct hs_infer_job *job, enum hs_sched_class class)
{
	pthread_mutex_lock(&c->lock);
	if (job->sched.class != HS_SCHED_CANCELLED)
		job->sched.class = class;
	pthread_mutex_unlock(&c->lock);
}

/* Of no more use on a lost device, nor where an answer wants their pages. */
static void drop_prefixes(struct hs_compute *c)
{
	pthread_mutex_lock(&c->prefix_lock);
	hs_prefixes_finish(&c->prefixes);
	pthread_mutex_unlock(&c->prefix_lock);
}

/* A sequence for the prompt, with what a kept prefix holds of it; the last token at least is computed. */
static int begin_sequence(struct hs_compute *c, struct hs_infer_job *job)
{
	uint32_t count, most = (uint32_t)job->prompt.count + job->max_tokens;
	struct hs_model *m = c->models->generator.model;
	int rc = hs_sequence_create_adapted(m, job->adapter, most, &job->sequence);
	if (rc == -ENOMEM) {
		drop_prefixes(c);
		rc = hs_sequence_create_adapted(m, job->adapter, most, &job->sequence);
	}
	if (rc < 0)
		return rc;
	hs_sequence_own(job->sequence, (uintptr_t)job->sched.tenant);
	pthread_mutex_lock(&c->prefix_lock);
	const struct hs_sequence *kept = hs_prefixes_find(&c->prefixes, job->sched.tenant, job->cache_key, job->adapter,
							  job->prompt.ids, (uint32_t)job->prompt.count - 1, &count);
	if (kept)
		hs_sequence_copy(job->sequence, kept, count);
	pthread_mutex_unlock(&c->prefix_lock);
	return 0;
}

static int begin_decoding(struct hs_compute *c, struct hs_infer_job *job, const float *logits)
{
	static const uint8_t no_key[HS_PREFIX_KEY_LEN];
	struct hs_model *m = c->models->generator.model;
	int rc =
	    hs_decoding_init(&job->decoding, job->sequence, job->prompt.ids, job->prompt.count, job->max_tokens, logits, true);
	if (rc == 0 && job->grammar) {
		const struct hs_served_model *served = &c->models->generator;
		rc = hs_mask_create(served->masks, job->grammar, served->chat.ends, served->chat.n_ends, &job->mask);
		job->grammar = NULL;
	}
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&c->prefix_lock);
	hs_prefixes_keep(&c->prefixes, m, NULL, no_key, job->sequence, job->prompt.ids, job->scopes.shared);
	hs_prefixes_keep(&c->prefixes, m, job->sched.tenant, job->cache_key, job->sequence, job->prompt.ids, job->scopes.user);
	pthread_mutex_unlock(&c->prefix_lock);
	job->decodes = true;
	set_class(c, job, HS_SCHED_DECODE);
	return 0;
}

/* The device was lost and another computes: nothing has been told of this answer yet, so it begins anew. Once. */
static void begin_again(struct hs_compute *c, struct hs_infer_job *job)
{
	drop_prefixes(c);
	if (job->began_again) {
		end_job(c, job, -ENODEV);
		return;
	}
	hs_sequence_destroy(job->sequence);
	job->sequence = NULL;
	job->began_again = true;
}

static void run_prefill(struct hs_compute *c, struct hs_infer_job *job)
{
	struct turn t = {.c = c, .job = job};
	int rc = job->sequence ? 0 : begin_sequence(c, job);
	if (rc == 0) {
		uint32_t at = hs_sequence_len(job->sequence), left = (uint32_t)job->prompt.count - at;
		uint32_t n = HS_MIN(left, another_decodes(c) ? HS_PREFILL_CHUNK_SHARED : HS_PREFILL_CHUNK);
		struct hs_step step = {.sequence = job->sequence, .ids = job->prompt.ids + at, .n = n, .n_logits = n == left};
		uint64_t begin = hs_monotonic_us();
		rc = hs_forward(&step, 1, ask_generation, &t);
		job->prefill_us += hs_monotonic_us() - begin;
		count(c, &c->counts.prefilled, rc == 0 ? n : 0);
		if (rc == 0 && n == left)
			rc = begin_decoding(c, job, step.logits[0]);
	}
	if (rc == -ENODEV)
		begin_again(c, job);
	else if (rc < 0 && rc != -ECANCELED)
		end_job(c, job, rc);
}

/* What a token adds to the text that is shown; a special token ends what is half spelt. */
static int spell(struct hs_infer_job *job, const struct hs_chat *chat, const struct hs_tokenizer *tok, hs_tok_id id,
		 struct hs_buf *text)
{
	HS_CLEANUP(hs_buf_wipe) struct hs_buf spelt = HS_BUF_INIT;
	int rc = hs_tok_is_special(tok, id) ? hs_detok_flush(&job->detok, &spelt) : hs_detok_push(&job->detok, tok, id, &spelt);
	if (rc == 0 && spelt.len && hs_shown_text(&job->shown, chat, spelt.data, spelt.len))
		rc = hs_buf_append(text, spelt.data, spelt.len);
	return rc;
}

/* The pass that comes may choose the next token, where there is one that may come. */
static void expect(struct hs_infer_job *job, uint32_t n_ids)
{
	const uint32_t *allowed = job->mask ? hs_mask_bits(job->mask) : NULL;
	if (!job->mask || allowed)
		hs_decoding_expect(&job->decoding, &job->sampler, n_ids, allowed);
}

/* One token, chosen from the logits that stand: its text is appended. True: it was the last. */
static bool choose(struct hs_compute *c, struct hs_infer_job *job, struct hs_buf *text, int *rc)
{
	const struct hs_served_model *m = &c->models->generator;
	const struct hs_tokenizer *tok = hs_model_tokenizer(m->model);
	uint32_t n_vocab = hs_model_info(m->model)->n_vocab;
	const uint32_t *allowed = job->mask ? hs_mask_bits(job->mask) : NULL;
	uint32_t n_ids = job->mask ? HS_MIN(n_vocab, (uint32_t)hs_tokenizer_vocab(tok)) : n_vocab;
	if (job->mask && !allowed) { /* a vocabulary that cannot spell it, or no memory */
		*rc = -EILSEQ;
		return true;
	}
	hs_tok_id id = hs_decoding_pick(&job->decoding, &job->sampler, n_ids, allowed);
	*rc = job->mask && !hs_mask_take(job->mask, id) ? -EILSEQ : 0;
	if (*rc == 0)
		*rc = spell(job, &m->chat, tok, id, text);
	bool end = hs_shown_token(&job->shown, &m->chat, tok, id), over = job->mask && hs_mask_is_over(job->mask);
	if (!end) {
		float logprob = hs_decoding_logprob(&job->decoding, n_vocab, id);
		job->done.least_logprob = job->n_decoded ? fminf(job->done.least_logprob, logprob) : logprob;
		job->logprob_sum += logprob;
		job->n_decoded++;
	}
	bool last = end || over || job->n_decoded >= job->max_tokens;
	if (*rc == 0 && last) {
		job->done.reason = end || over ? HS_DONE_END : HS_DONE_LENGTH;
		*rc = spell(job, &m->chat, tok, HS_TOK_NONE, text);
	}
	job->chosen = !last && !hs_decoding_choose(&job->decoding, id);
	if (job->chosen && *rc == 0)
		expect(job, n_ids);
	return last;
}

/* Tell the tokens whose logits stand. True: the job needs a pass; otherwise it has ended. */
static bool tell(struct hs_compute *c, struct hs_infer_job *job)
{
	HS_CLEANUP(hs_buf_wipe) struct hs_buf text = HS_BUF_INIT;
	bool last = false;
	int rc = 0;
	while (rc == 0 && !last && !job->chosen)
		last = choose(c, job, &text, &rc);
	if (rc == 0 && text.len)
		rc = post_text(c, job, &text);
	if (rc < 0 || last)
		end_job(c, job, rc);
	return rc == 0 && !last;
}

static bool used_up(const struct hs_infer_job *job)
{
	return job->compute_us_max && job->prefill_us + job->decode_us > job->compute_us_max;
}

/* All answers that decode take one pass together. */
static void run_decode(struct hs_compute *c)
{
	struct hs_sched_job *ready[HS_FORWARD_STEPS_MAX];
	struct hs_infer_job *jobs[HS_FORWARD_STEPS_MAX];
	struct hs_decoding *decodings[HS_FORWARD_STEPS_MAX];
	uint64_t begin = hs_monotonic_us();
	uint32_t n = 0;
	pthread_mutex_lock(&c->lock);
	size_t n_ready = hs_sched_all(&c->sched, HS_SCHED_DECODE, ready, HS_ARRAY_LEN(ready));
	pthread_mutex_unlock(&c->lock);
	for (size_t i = 0; i < n_ready; i++) {
		struct hs_infer_job *job = HS_CONTAINER_OF(ready[i], struct hs_infer_job, sched);
		if (atomic_load(&job->cancelled) || used_up(job) ||
		    !tell(c, job)) /* the first two are ended when they are picked */
			continue;
		jobs[n] = job;
		decodings[n++] = &job->decoding;
	}
	if (n == 0)
		return;
	struct turn t = {.c = c, .job = jobs[0], .others = jobs + 1, .n_others = n - 1};
	int rc = hs_decoding_advance(decodings, n, ask_generation, &t);
	uint64_t took = hs_monotonic_us() - begin;
	if (rc == -ENODEV)
		drop_prefixes(c);
	if (rc == 0) {
		count(c, &c->counts.decode_passes, 1);
		count(c, &c->counts.decoded, n);
	}
	for (uint32_t i = 0; i < n; i++) {
		jobs[i]->chosen = rc < 0;
		jobs[i]->decode_us += took;
		if (rc == -ENODEV ? hs_sequence_is_lost(jobs[i]->sequence) : rc < 0 && rc != -ECANCELED)
			end_job(c, jobs[i], rc);
	}
}

static const struct hs_model *model_of(const struct hs_compute *c, const struct hs_infer_job *job)
{
	return job->embeds ? c->models->embedder.model : job->reranks ? c->models->reranker.model : c->models->generator.model;
}

static void run(struct hs_compute *c, struct hs_infer_job *job)
{
	bool late = job->deadline && hs_now_ms() > job->deadline && !job->decodes;
	if (atomic_load(&job->cancelled))
		end_job(c, job, -ECANCELED);
	else if (late)
		end_job(c, job, -ETIMEDOUT);
	else if (used_up(job))
		end_job(c, job, -ETIME);
	else if (!model_of(c, job))
		end_job(c, job, -ENOENT);
	else if (job->embeds)
		run_embed(c, job);
	else if (job->reranks)
		run_rerank(c, job);
	else if (!job->decodes)
		run_prefill(c, job);
	else
		run_decode(c);
}

static void *compute(void *arg)
{
	struct hs_compute *c = arg;
	c->load(c->load_arg);
	struct event *e = new_event();
	*e = (struct event){0};
	post(c, e);
	pthread_mutex_lock(&c->lock);
	while (!c->stop) {
		struct hs_sched_job *next = pick(c, HS_SCHED_INGEST);
		if (!next && c->sched.rerank_rests) { /* nothing else wants the time */
			c->rerank_rests_until = 0;
			continue;
		}
		if (!next) {
			pthread_cond_wait(&c->wake, &c->lock);
			continue;
		}
		pthread_mutex_unlock(&c->lock);
		run(c, HS_CONTAINER_OF(next, struct hs_infer_job, sched));
		pthread_mutex_lock(&c->lock);
	}
	pthread_mutex_unlock(&c->lock);
	while (c->sched.first)
		end_job(c, HS_CONTAINER_OF(c->sched.first, struct hs_infer_job, sched), -ECANCELED);
	return NULL;
}

/* --- the loop thread's side --- */

int hs_compute_create(uv_loop_t *loop, struct hs_models *models, struct hs_compute **ret)
{
	struct hs_compute *c = calloc(1, sizeof *c);
	if (!c)
		return -ENOMEM;
	c->models = models;
	c->last = &c->first;
	int rc = uv_async_init(loop, &c->async, on_async);
	if (rc < 0) {
		free(c);
		return rc;
	}
	c->async.data = c;
	(void)pthread_mutex_init(&c->lock, NULL); /* cannot fail with default attributes */
	(void)pthread_cond_init(&c->wake, NULL);  /* cannot fail with default attributes */
	(void)pthread_mutex_init(&c->prefix_lock, NULL);
	*ret = c;
	return 0;
}

int hs_compute_start(struct hs_compute *c, void (*load)(void *arg), void (*loaded)(void *arg), void *arg)
{
	c->load = load;
	c->loaded = loaded;
	c->load_arg = arg;
	int rc = pthread_create(&c->thread, NULL, compute, c);
	c->started = rc == 0;
	return -rc;
}

int hs_compute_add(struct hs_compute *c, struct hs_infer_job *job)
{
	pthread_mutex_lock(&c->lock);
	int rc = c->stop ? -ECANCELED : hs_sched_add(&c->sched, &job->sched);
	if (rc == 0)
		pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	return rc;
}

void hs_compute_go(struct hs_compute *c, struct hs_infer_job *job)
{
	pthread_mutex_lock(&c->lock);
	job->sched.ready = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
}

void hs_compute_cancel(struct hs_compute *c, struct hs_infer_job *job)
{
	atomic_store(&job->cancelled, true);
	pthread_mutex_lock(&c->lock);
	job->sched.class = HS_SCHED_CANCELLED;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
}

void hs_compute_forget(struct hs_compute *c, const struct hs_sched_tenant *tenant)
{
	pthread_mutex_lock(&c->prefix_lock);
	hs_prefixes_wipe(&c->prefixes, tenant);
	pthread_mutex_unlock(&c->prefix_lock);
}

uint32_t hs_compute_position(struct hs_compute *c, const struct hs_infer_job *job)
{
	pthread_mutex_lock(&c->lock);
	uint32_t n = hs_sched_position(&c->sched, &job->sched);
	pthread_mutex_unlock(&c->lock);
	return n;
}

static void on_closed(uv_handle_t *handle)
{
	struct hs_compute *c = handle->data;
	pthread_cond_destroy(&c->wake);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->prefix_lock);
	free(c);
}

void hs_compute_destroy(struct hs_compute *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	if (c->started)
		(void)pthread_join(c->thread, NULL); /* it is ours and joinable */
	hs_prefixes_finish(&c->prefixes);
	deliver(c);
	uv_close((uv_handle_t *)&c->async, on_closed);
}

void hs_infer_job_destroy(struct hs_infer_job *job)
{
	if (!job)
		return;
	if (job->texts)
		explicit_bzero(job->texts, job->offsets ? job->offsets[job->n_texts] : 0);
	if (job->prompt.ids)
		explicit_bzero(job->prompt.ids, job->prompt.cap * sizeof *job->prompt.ids);
	free(job->texts);
	free(job->offsets);
	free(job->vectors);
	hs_tok_ids_finish(&job->prompt);
	hs_grammar_destroy(job->grammar);
	free(job);
}
