/*
 * Sequences: each holds pages of keys and values, and owns the memory of a pass. A call that runs several at once uses the pass
 * of the one that sees farthest; every token's results are those that it would have alone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inference/cpu/pass.h"

struct hs_backend_sequence {
	struct pass pass; /* its memory, and the logits', come with the first call: a sequence may only keep a prefix */
	struct hs_cache cache;
	uint32_t n_pages;
	int rc; /* what every call of it fails with: pages that it would have to write are another's, too */
	const struct hs_backend_adapter *adapter; /* or NULL */
	uint32_t max_tokens;
	float *logits;    /* (HS_LOGITS_MAX, vocab rounded up) */
	uint8_t *pages[]; /* (n_pages) */
};

static size_t vocab_stride(const struct hs_weights *w)
{
	return HS_ROUND32(w->hyper.n_vocab);
}

int hs_cpu_sequence_create(struct hs_backend_model *m, uint32_t max_tokens, struct hs_backend_sequence **ret)
{
	uint32_t n = hs_pages_for(max_tokens);
	struct hs_backend_sequence *s = calloc(1, sizeof *s + n * sizeof *s->pages);
	if (!s)
		return -ENOMEM;
	int rc = hs_kv_take(m->kv, n, s->pages);
	if (rc < 0) {
		free(s);
		return rc;
	}
	s->pass.m = m;
	s->cache = (struct hs_cache){.form = hs_kv_form(m->kv), .pages = s->pages};
	s->n_pages = n;
	s->max_tokens = max_tokens;
	*ret = s;
	return 0;
}

void hs_cpu_sequence_destroy(struct hs_backend_sequence *s)
{
	if (!s)
		return;
	const struct hs_weights *w = s->pass.m->w;
	hs_kv_give(s->pass.m->kv, s->pages, s->n_pages);
	hs_pass_finish(&s->pass);
	if (s->logits)
		explicit_bzero(s->logits, HS_LOGITS_MAX * vocab_stride(w) * sizeof *s->logits);
	free(s->logits);
	free(s);
}

void hs_cpu_adapt(struct hs_backend_sequence *s, const struct hs_backend_adapter *a)
{
	s->adapter = a;
}

void hs_cpu_own(struct hs_backend_sequence *s, uint64_t owner)
{
	hs_kv_own(s->pass.m->kv, s->pages, s->n_pages, owner);
}

void hs_cpu_wipe(struct hs_backend_sequence *s, uint32_t from, uint32_t to)
{
	if (s->rc == 0)
		s->rc = hs_kv_wipe(s->pass.m->kv, s->pages, from, to);
}

void hs_cpu_copy(struct hs_backend_sequence *s, const struct hs_backend_sequence *from, uint32_t n)
{
	s->rc = s->rc ? s->rc : from->rc;
	if (s->rc == 0)
		hs_kv_copy(s->pass.m->kv, s->pages, from->pages, n);
}

static int prepare(struct hs_backend_sequence *s)
{
	const struct hs_backend_model *m = s->pass.m;
	if (s->rc < 0)
		return s->rc;
	if (!s->pass.memory && hs_pass_init(&s->pass, m, HS_STEP_TOKENS_MAX, s->max_tokens) < 0)
		return -ENOMEM;
	if (!s->logits && !(s->logits = calloc(HS_LOGITS_MAX * vocab_stride(m->w), sizeof *s->logits)))
		return -ENOMEM;
	return 0;
}

/* n tokens of s, the first at `position`, join the pass. */
static void add_tokens(struct pass *p, struct hs_backend_sequence *s, uint32_t position, uint32_t n)
{
	for (uint32_t t = 0; t < n; t += ATTEND_TOKENS)
		p->views[p->n_views++] = (struct view){
		    .cache = &s->cache, .token = p->n + t, .end = p->n + HS_MIN(t + ATTEND_TOKENS, n), .origin = position - p->n};
	if (s->adapter) {
		hs_assert(p->n_adapted < HS_ADAPTED_MAX);
		p->adapted[p->n_adapted++] = (struct adapted){.adapter = s->adapter, .first = p->n, .end = p->n + n};
	}
	for (uint32_t t = 0; t < n; t++, p->n++) {
		p->positions[p->n] = position + t;
		p->caches[p->n] = &s->cache;
	}
}

/* How many of the tokens that are left go next: those whose logits may be wanted stay together. */
static uint32_t turn_of(uint32_t left)
{
	if (left > HS_STEP_TOKENS_MAX && left < HS_STEP_TOKENS_MAX + HS_LOGITS_MAX)
		return left - HS_LOGITS_MAX;
	return HS_MIN(left, HS_STEP_TOKENS_MAX);
}

/* Logits of the last tokens of each step, in the host's memory; the other steps' sequences get copies. */
static bool run_head(struct hs_backend_sequence *host, struct hs_backend_step *steps, uint32_t n_steps)
{
	struct pass *p = &host->pass;
	const struct hs_weights *w = p->m->w;
	size_t embd = embd_stride(&w->hyper), stride = vocab_stride(w);
	uint32_t rows = 0, token = p->n; /* of a step that was cut, only the last tokens are here */
	for (uint32_t i = n_steps; i-- > 0;)
		token -= HS_MIN(steps[i].n, p->n);
	for (uint32_t i = 0; i < n_steps; i++) {
		uint32_t here = HS_MIN(steps[i].n, p->n);
		for (uint32_t k = 0; k < steps[i].n_logits; k++, rows++)
			p->m->kernels->normalise(w->arch->norm, p->x + (token + here - steps[i].n_logits + k) * embd,
						 floats_of(w->final_norm.weight), floats_of(w->final_norm.bias), w->hyper.eps,
						 w->hyper.n_embd, p->normed + rows * embd);
		token += here;
	}
	if (rows == 0)
		return true;
	if (!hs_pass_multiply(p, &p->m->head, p->normed, rows, host->logits, stride))
		return false;
	for (size_t i = 0; i < rows * stride && w->arch->has & HS_F_LOGIT_SCALE; i++)
		host->logits[i] *= w->hyper.logit_scale;
	if (w->hyper.final_cap > 0)
		p->m->kernels->cap(host->logits, rows * stride, w->hyper.final_cap);
	float *row = host->logits;
	for (uint32_t i = 0; i < n_steps; row += steps[i++].n_logits * stride) {
		steps[i].logits = row;
		steps[i].logits_stride = stride;
		if (steps[i].s == host)
			continue;
		memcpy(steps[i].s->logits, row, steps[i].n_logits * stride * sizeof *row);
		steps[i].logits = steps[i].s->logits;
	}
	return true;
}

int hs_cpu_forward(struct hs_backend_step *steps, uint32_t n_steps, struct hs_yield *y)
{
	struct hs_backend_sequence *host = steps[0].s;
	for (uint32_t i = 0; i < n_steps; i++) {
		int rc = prepare(steps[i].s);
		if (rc < 0)
			return rc;
		if (steps[i].s->max_tokens > host->max_tokens)
			host = steps[i].s;
	}
	struct pass *p = &host->pass;
	int32_t ids[HS_STEP_TOKENS_MAX];
	p->y = y;
	for (uint32_t at = 0; at < steps[0].n; at += p->n) { /* only a step alone takes more than one turn */
		p->n = p->n_views = p->n_adapted = 0;
		for (uint32_t i = 0; i < n_steps; i++) {
			uint32_t n = turn_of(steps[i].n - at);
			memcpy(ids + p->n, steps[i].ids + at, n * sizeof *ids);
			add_tokens(p, steps[i].s, steps[i].position + at, n);
		}
		hs_pass_embed(p, ids, p->positions);
		if (!hs_pass_layers(p, true))
			return -ECANCELED;
	}
	bool done = run_head(host, steps, n_steps);
	explicit_bzero(ids, sizeof ids);
	return done ? 0 : -ECANCELED;
}
