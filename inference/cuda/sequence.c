/* Sequences: each holds pages of keys and values; a call runs several through the layers at once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inference/cuda/model.h"

struct hs_backend_sequence {
	struct hs_backend_model *m;
	uint32_t n_pages;
	int rc;           /* what every call of it fails with: pages that it would have to write are another's, too */
	float *logits;    /* (HS_LOGITS_MAX, vocab), taken with the first call: a sequence may only keep a prefix */
	uint32_t pages[]; /* (n_pages) */
};

static size_t vocab_stride(const struct hs_backend_model *m)
{
	return hs_gpu_stride(m->w->hyper.n_vocab);
}

int hs_gpu_sequence_create(struct hs_backend_model *m, uint32_t max_tokens, struct hs_backend_sequence **ret)
{
	if (hs_device_is_lost(m->device))
		return -ENODEV;
	uint32_t n = (max_tokens + HS_GPU_PAGE_POSITIONS - 1) / HS_GPU_PAGE_POSITIONS;
	struct hs_backend_sequence *s = calloc(1, sizeof *s + n * sizeof *s->pages);
	if (!s)
		return -ENOMEM;
	s->m = m;
	s->n_pages = n;
	int rc = hs_pages_take(m->pages, n, s->pages);
	if (rc < 0) {
		free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

void hs_gpu_sequence_destroy(struct hs_backend_sequence *s)
{
	if (!s)
		return;
	hs_pages_give(s->m->pages, s->pages, s->n_pages);
	if (s->logits) { /* it has computed */
		explicit_bzero(s->logits, HS_LOGITS_MAX * vocab_stride(s->m) * sizeof *s->logits);
		hs_gpu_forget(s->m);
	}
	free(s->logits);
	free(s);
}

void hs_gpu_sequence_own(struct hs_backend_sequence *s, uint64_t owner)
{
	hs_pages_own(s->m->pages, s->pages, s->n_pages, owner);
}

void hs_gpu_sequence_wipe(struct hs_backend_sequence *s, uint32_t from, uint32_t to)
{
	if (s->rc == 0)
		s->rc = hs_pages_part(s->m->pages, s->pages, from, to);
	if (s->rc == 0)
		s->rc = hs_pages_wipe(s->m->pages, s->pages, from, to);
}

void hs_gpu_sequence_copy(struct hs_backend_sequence *s, const struct hs_backend_sequence *from, uint32_t n)
{
	if (s->rc == 0)
		s->rc = from->rc ? from->rc : hs_pages_copy(s->m->pages, s->pages, from->pages, n);
}

/* n tokens of s, the first at `position`, join the pass; its pages begin at first_page. */
static void add_tokens(struct hs_gpu_pass *p, const int32_t *ids, uint32_t position, uint32_t n, uint32_t first_page)
{
	const struct hs_gpu_inputs *in = &p->m->work.here;
	for (uint32_t t = 0; t < n; t += HS_GPU_VIEW_TOKENS)
		in->views[p->n_views++] = (struct hs_gpu_view){.token = p->n + t,
							       .n = HS_MIN(n - t, HS_GPU_VIEW_TOKENS),
							       .origin = position + t,
							       .visible = position + n,
							       .first_page = first_page};
	for (uint32_t t = 0; t < n; t++, p->n++) {
		in->ids[p->n] = ids[t];
		in->positions[p->n] = position + t;
		in->page_starts[p->n] = first_page;
	}
	p->longest = HS_MAX(p->longest, position + n);
	p->most_tokens = HS_MAX(p->most_tokens, HS_MIN(n, HS_GPU_VIEW_TOKENS));
}

/* How many of the tokens that are left go next: those whose logits may be wanted stay together. */
static uint32_t turn_of(uint32_t left, uint32_t capacity)
{
	if (left > capacity && left < capacity + HS_LOGITS_MAX)
		return left - HS_LOGITS_MAX;
	return HS_MIN(left, capacity);
}

/* All pages of all steps, one after the other, as every turn of the call sees them. */
static void put_pages(struct hs_gpu_pass *p, const struct hs_backend_step *steps, uint32_t n_steps, uint32_t *first_pages)
{
	for (uint32_t i = 0; i < n_steps; i++) {
		const struct hs_backend_sequence *s = steps[i].s;
		if (s->n_pages > p->m->work.n_pages - p->n_pages) { /* more than there are: many of them held together */
			p->rc = -ENOMEM;
			return;
		}
		memcpy(p->m->work.here.pages + p->n_pages, s->pages, s->n_pages * sizeof *s->pages);
		first_pages[i] = p->n_pages;
		p->n_pages += s->n_pages;
	}
}

/* Whoever wishes nothing is greedy, and nobody asks. */
static void put_wishes(struct hs_gpu_pass *p, const struct hs_backend_step *steps, uint32_t n_steps)
{
	const struct hs_gpu_work *work = &p->m->work;
	struct hs_gpu_wish *wish = work->here.wishes;
	for (uint32_t i = 0; i < n_steps; i++) {
		for (uint32_t k = 0; k < steps[i].n_logits; k++, wish++) {
			*wish = (struct hs_gpu_wish){.mask = HS_GPU_NO_MASK};
			if (k >= steps[i].n_choices)
				continue;
			const struct hs_choice *c = &steps[i].choices[k];
			*wish = (struct hs_gpu_wish){.temperature = c->sampler.temperature,
						     .top_p = c->sampler.top_p,
						     .top_k = c->sampler.top_k,
						     .mask = HS_GPU_NO_MASK,
						     .state = c->sampler.rng};
			p->chooses = true;
			if (!c->allowed && c->n_ids == p->m->w->hyper.n_vocab)
				continue;
			uint32_t *bits = work->here.allowed + (size_t)p->n_masks * work->allowed_words;
			for (uint32_t w = 0; w < work->allowed_words; w++) {
				uint32_t left = c->n_ids > 32 * w ? c->n_ids - 32 * w : 0;
				uint32_t below = left >= 32 ? 0xffffffffu : (1u << left) - 1;
				bits[w] = below ? below & (c->allowed ? c->allowed[w] : below) : 0;
			}
			wish->mask = p->n_masks++;
		}
	}
}

/* Of rows of `normed`, and of its bytes, the logits, and what they choose. */
static void run_head(struct hs_gpu_pass *p, uint32_t rows)
{
	struct hs_backend_model *m = p->m;
	const struct hs_hyper *h = &m->w->hyper;
	const struct hs_gpu_work *work = &m->work;
	uint32_t stride = (uint32_t)vocab_stride(m);
	struct hs_gpu_acts all = hs_gpu_pass_acts(p, work->normed, h->n_embd, hs_gpu_wants_bytes(&m->head));
	hs_gpu_stream stream = hs_device_stream(m->device);
	float scale = m->w->arch->has & HS_F_LOGIT_SCALE ? h->logit_scale : 1;
	const struct hs_gpu_sampling sampling = {.logits = work->logits,
						 .stride = stride,
						 .rows = rows,
						 .n_vocab = h->n_vocab,
						 .wishes = work->there.wishes,
						 .allowed = work->there.allowed,
						 .allowed_stride = work->allowed_words,
						 .slices = work->slices,
						 .chosen = work->chosen};
	HS_GPU_LAUNCH(p, hs_gpu_multiply(stream, &m->head, &all, rows, work->logits, stride, 0));
	if (m->w->arch->has & HS_F_LOGIT_SCALE || h->final_cap > 0)
		HS_GPU_LAUNCH(p, hs_gpu_scale(stream, work->logits, stride, rows, h->n_vocab, scale, h->final_cap));
	if (p->chooses)
		HS_GPU_LAUNCH(p, hs_gpu_sample(stream, &sampling));
}

/* A pass all of whose tokens are asked what comes after them. */
static void run_short(struct hs_gpu_pass *p)
{
	const struct hs_gpu_work *work = &p->m->work;
	struct hs_gpu_acts a = hs_gpu_pass_acts(p, work->normed, p->m->w->hyper.n_embd, hs_gpu_wants_bytes(&p->m->head));
	hs_gpu_pass_begin(p);
	hs_gpu_pass_layers(p);
	hs_gpu_pass_norm(p, &p->m->final_norm, work->x, p->n, &a);
	run_head(p, p->n);
}

/* The last tokens of each step, in one row after the other. */
static uint32_t norm_last(struct hs_gpu_pass *p, const struct hs_backend_step *steps, uint32_t n_steps)
{
	struct hs_backend_model *m = p->m;
	size_t embd = hs_gpu_stride(m->w->hyper.n_embd);
	bool bytes = hs_gpu_wants_bytes(&m->head);
	uint32_t rows = 0, token = p->n; /* of a step that was cut, only the last tokens are here */
	for (uint32_t i = n_steps; i-- > 0;)
		token -= HS_MIN(steps[i].n, p->n);
	for (uint32_t i = 0; i < n_steps; i++) {
		uint32_t here = HS_MIN(steps[i].n, p->n), n = steps[i].n_logits;
		struct hs_gpu_acts a = hs_gpu_pass_acts(p, m->work.normed + rows * embd, m->w->hyper.n_embd, bytes);
		if (bytes) {
			a.q += rows * embd;
			a.scale += rows * embd / 32;
			a.sum += rows * embd / 32;
		}
		if (n)
			hs_gpu_pass_norm(p, &m->final_norm, m->work.x + (token + here - n) * embd, n, &a);
		token += here;
		rows += n;
	}
	return rows;
}

/* No logit is a number: what hs_sample says then. */
static hs_tok_id last_allowed(const struct hs_choice *c)
{
	for (uint32_t id = c->n_ids; id-- > 0;)
		if (!c->allowed || c->allowed[id / 32] >> id % 32 & 1)
			return (hs_tok_id)id;
	return (hs_tok_id)c->n_ids - 1;
}

/* What was chosen, and the logits of what was not, to the sequences' own memory. */
static void fetch(struct hs_gpu_pass *p, struct hs_backend_step *steps, uint32_t n_steps)
{
	struct hs_backend_model *m = p->m;
	size_t stride = vocab_stride(m);
	struct hs_gpu_chosen chosen[HS_LOGITS_MAX];
	uint32_t row = 0;
	if (p->rc == 0 && p->chooses)
		p->rc = hs_device_download(m->device, chosen, m->work.chosen, sizeof chosen);
	for (uint32_t i = 0; i < n_steps && p->rc == 0; row += steps[i++].n_logits) {
		uint32_t n = steps[i].n_choices, left = steps[i].n_logits - n;
		steps[i].logits = steps[i].s->logits;
		steps[i].logits_stride = stride;
		for (uint32_t k = 0; k < n; k++) {
			struct hs_choice *c = &steps[i].choices[k];
			c->id = chosen[row + k].id < 0 ? last_allowed(c) : chosen[row + k].id;
			c->logprob = chosen[row + k].logprob;
		}
		if (left)
			p->rc = hs_device_download(m->device, steps[i].s->logits + n * stride,
						   m->work.logits + (row + n) * stride, left * stride * sizeof(float));
	}
}

static bool is_short(const struct hs_backend_step *steps, uint32_t n_steps)
{
	bool yes = true;
	for (uint32_t i = 0; i < n_steps; i++)
		yes = yes && steps[i].n == steps[i].n_logits;
	return yes;
}

static void run_steps(struct hs_gpu_pass *p, struct hs_backend_step *steps, uint32_t n_steps)
{
	uint32_t first_pages[HS_STEP_TOKENS_MAX];
	bool whole = is_short(steps, n_steps);
	put_pages(p, steps, n_steps, first_pages);
	put_wishes(p, steps, n_steps);
	for (uint32_t at = 0; at < steps[0].n && p->rc == 0; at += p->n) { /* only a step alone takes more than one turn */
		p->n = p->n_views = p->longest = p->most_tokens = 0;
		for (uint32_t i = 0; i < n_steps; i++)
			add_tokens(p, steps[i].ids + at, steps[i].position + at, turn_of(steps[i].n - at, p->m->work.capacity),
				   first_pages[i]);
		if (p->n_views > HS_GPU_VIEWS_ALONE)
			p->most_tokens = HS_MAX(p->most_tokens, 2u); /* `partial` has room for so many alone */
		hs_gpu_pass_upload(p);
		if (whole) {
			hs_gpu_pass_replay(p, run_short);
			continue;
		}
		hs_gpu_pass_begin(p);
		hs_gpu_pass_layers(p);
	}
	uint32_t rows = whole ? 0 : norm_last(p, steps, n_steps);
	if (rows)
		run_head(p, rows);
	fetch(p, steps, n_steps);
	if (p->rc == 0) /* also where no logits were wanted: what failed is told now */
		p->rc = hs_device_wait(p->m->device);
}

int hs_gpu_forward(struct hs_backend_step *steps, uint32_t n_steps, struct hs_yield *y)
{
	struct hs_backend_model *m = steps[0].s->m;
	struct hs_gpu_pass p = {.m = m, .y = y};
	if (hs_device_is_lost(m->device))
		return -ENODEV;
	for (uint32_t i = 0; i < n_steps; i++) {
		struct hs_backend_sequence *s = steps[i].s;
		if (s->rc < 0)
			return s->rc;
		if (!s->logits && !(s->logits = calloc(HS_LOGITS_MAX * vocab_stride(m), sizeof *s->logits)))
			return -ENOMEM;
	}
	hs_gpu_enter(m);
	run_steps(&p, steps, n_steps);
	hs_gpu_leave(m, false);
	return p.rc;
}
