/*
 * The layers: a run of tokens through all of them, for sequences (causal, with a cache of keys and values) and for encoders
 * (texts packed back to back). Every step is a job for the pool, cut by tokens or by panels.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "inference/cpu/pass.h"
#include "inference/quant/half.h"

#define TOKENS_A_CHUNK 8      /* of steps that treat each token alone */
#define MULTIPLY_TOKENS 64    /* of a product: their bytes should stay in the second-level cache */
#define MULTIPLY_BYTES 131072 /* weights that a chunk of a product reads, counted once for every 8 tokens */

/* Steps that treat each token alone: fn runs for tokens chunk * 8 .. */
static bool run_tokens(struct pass *p, hs_pool_fn fn)
{
	return hs_pool_run(p->m->pool, fn, p, (p->n + TOKENS_A_CHUNK - 1) / TOKENS_A_CHUNK, p->y);
}

static uint32_t tokens_end(const struct pass *p, uint32_t chunk)
{
	return HS_MIN((chunk + 1) * TOKENS_A_CHUNK, p->n);
}

static unsigned form(const struct hs_packed *w)
{
	return hs_form_of(w->type);
}

static void multiply_chunk(void *arg, uint32_t chunk, unsigned worker)
{
	const struct pass *p = arg;
	const struct entry *e = p->entries;
	(void)worker; /* needs no memory of its own */
	for (; chunk >= e->n_chunks; e++)
		chunk -= e->n_chunks;
	uint32_t step = e->n_panels_a_chunk, n_panels = e->product.w->n_panels, n_steps = (n_panels + step - 1) / step;
	uint32_t token = e->first + chunk / n_steps * MULTIPLY_TOKENS, panel = chunk % n_steps * step;
	p->m->kernels->multiply(&e->product, panel, HS_MIN(panel + step, n_panels), token,
				HS_MIN(token + MULTIPLY_TOKENS, e->first + e->tokens));
}

/* One more product of the next job: rows y of stride `stride`, of `tokens` rows from `first` of what acts holds. */
static void add_rows(struct pass *p, const struct hs_packed *w, uint32_t first, uint32_t tokens, float *y, size_t stride,
		     bool add)
{
	struct entry *e = &p->entries[p->n_entries++];
	size_t step = MULTIPLY_BYTES / (w->panel_bytes * ((HS_MIN(tokens, (uint32_t)MULTIPLY_TOKENS) + 7) / 8));
	e->product = (struct hs_product){.w = w, .a = &p->acts, .y = y, .stride = stride, .add = add};
	e->first = first;
	e->tokens = tokens;
	e->n_panels_a_chunk = (uint32_t)HS_MIN(HS_MAX(step, (size_t)1), (size_t)w->n_panels);
	e->n_chunks =
	    (w->n_panels + e->n_panels_a_chunk - 1) / e->n_panels_a_chunk * ((tokens + MULTIPLY_TOKENS - 1) / MULTIPLY_TOKENS);
}

static void add_product(struct pass *p, const struct hs_packed *w, float *y, size_t stride, bool add)
{
	add_rows(p, w, 0, p->n, y, stride, add);
}

/* The same with one expert's part of a matrix; its rows are a multiple of a panel. */
static void add_expert(struct pass *p, const struct hs_packed *all, uint32_t expert, uint32_t first, uint32_t tokens, float *y,
		       size_t stride)
{
	struct hs_packed *part = &p->entries[p->n_entries].part;
	*part = *all;
	part->n_panels = all->n_panels / p->m->w->hyper.n_experts;
	part->rows = part->n_panels * HS_PANEL;
	part->data = all->data + (size_t)expert * part->n_panels * all->panel_bytes;
	part->bias = all->bias ? all->bias + (size_t)expert * part->rows : NULL;
	add_rows(p, part, first, tokens, y, stride, false);
}

/* Run the job, and start the next. */
static bool run_products(struct pass *p)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < p->n_entries; i++)
		n += p->entries[i].n_chunks;
	p->n_entries = 0;
	return hs_pool_run(p->m->pool, multiply_chunk, p, n, p->y);
}

/* A product that an adapter may add to. */
struct addition {
	enum hs_lora_place place;
	float *y;
	size_t stride;
};

static const struct hs_cpu_addition *addition_of(const struct pass *p, const struct adapted *tokens, enum hs_lora_place place)
{
	const struct hs_cpu_addition *a = &tokens->adapter->layers[p->layer - p->m->layers].of[place];
	return a->a.data ? a : NULL;
}

/*
 * y += B (A x) of the tokens that have adapters, with x as floats, which acts still holds; each sequence's tokens by themselves.
 * Two jobs, all of A x and then all of B; none where no adapter adds anything here.
 */
static bool add_adapters(struct pass *p, const struct addition *list, size_t n)
{
	hs_assert(n <= HS_TOGETHER_MAX);
	for (size_t up = 0; up < 2 && p->n_adapted; up++) {
		for (size_t i = 0; i < p->n_adapted * n; i++) {
			const struct adapted *tokens = &p->adapted[i / n];
			const struct addition *to = &list[i % n];
			const struct hs_cpu_addition *w = addition_of(p, tokens, to->place);
			uint32_t count = tokens->end - tokens->first;
			float *low = p->low + i % n * p->capacity * HS_LORA_RANK_MAX;
			if (!w)
				continue;
			p->lows[i] = (struct hs_acts){.columns = w->b.columns, .stride = HS_LORA_RANK_MAX, .x = low};
			if (up == 0) {
				add_rows(p, &w->a, tokens->first, count, low, HS_LORA_RANK_MAX, false);
				continue;
			}
			add_rows(p, &w->b, tokens->first, count, to->y, to->stride, true);
			p->entries[p->n_entries - 1].product.a = &p->lows[i];
		}
		if (p->n_entries && !run_products(p))
			return false;
	}
	return true;
}

/* x is multiplied next, by weights that take these forms */
static void set_input(struct pass *p, const float *x, uint32_t columns, unsigned forms)
{
	p->acts.forms = forms;
	p->acts.x = x;
	p->acts.columns = columns;
	p->acts.stride = HS_ROUND32(columns);
}

/* acts.x = norm(norm_x) where there is a norm; then its bytes */
static void prepare_chunk(void *arg, uint32_t chunk, unsigned worker)
{
	struct pass *p = arg;
	const struct hs_weights *w = p->m->w;
	(void)worker; /* needs no memory of its own */
	for (uint32_t t = chunk * TOKENS_A_CHUNK; t < tokens_end(p, chunk); t++) {
		if (p->norm) {
			size_t at = t * embd_stride(&w->hyper);
			p->m->kernels->normalise(w->arch->norm, p->norm_x + at, floats_of(p->norm->weight),
						 floats_of(p->norm->bias), w->hyper.eps, w->hyper.n_embd, p->normed + at);
		}
		p->m->kernels->quantise(&p->acts, t);
	}
}

/* The residual, normed where there is a norm, becomes what is multiplied next. */
static bool prepare_residual(struct pass *p, const struct hs_norm_weights *norm, unsigned forms)
{
	p->norm = norm->weight ? norm : NULL;
	p->norm_x = p->x;
	set_input(p, norm->weight ? p->normed : p->x, p->m->w->hyper.n_embd, forms);
	return run_tokens(p, prepare_chunk);
}

static void norm_chunk(void *arg, uint32_t chunk, unsigned worker)
{
	struct pass *p = arg;
	const struct hs_weights *w = p->m->w;
	(void)worker; /* needs no memory of its own */
	for (uint32_t t = chunk * TOKENS_A_CHUNK; t < tokens_end(p, chunk); t++) {
		float *x = p->x + t * embd_stride(&w->hyper);
		p->m->kernels->normalise(w->arch->norm, x, floats_of(p->norm->weight), floats_of(p->norm->bias), w->hyper.eps,
					 w->hyper.n_embd, x);
	}
}

/* x = norm(x) where there is a norm */
bool hs_pass_norm(struct pass *p, const struct hs_norm_weights *norm)
{
	if (!norm->weight)
		return true;
	p->norm = norm;
	return run_tokens(p, norm_chunk);
}

/* x += norm(normed) */
static void add_normed_chunk(void *arg, uint32_t chunk, unsigned worker)
{
	struct pass *p = arg;
	const struct hs_weights *w = p->m->w;
	(void)worker; /* needs no memory of its own */
	for (uint32_t t = chunk * TOKENS_A_CHUNK; t < tokens_end(p, chunk); t++) {
		float *x = p->x + t * embd_stride(&w->hyper), *more = p->normed + t * embd_stride(&w->hyper);
		p->m->kernels->normalise(w->arch->norm, more, floats_of(p->norm->weight), NULL, w->hyper.eps, w->hyper.n_embd,
					 more);
		for (uint32_t i = 0; i < w->hyper.n_embd; i++)
			x[i] += more[i];
	}
}

/* x += W acts, or x += norm(W acts) where there is a norm */
static bool add_to_residual(struct pass *p, const struct hs_packed *w, enum hs_lora_place place, const struct hs_gguf_tensor *norm)
{
	struct hs_norm_weights weights = {.weight = norm};
	const struct addition addition = {place, norm ? p->normed : p->x, embd_stride(&p->m->w->hyper)};
	add_product(p, w, addition.y, addition.stride, !norm);
	p->norm = &weights;
	return run_products(p) && add_adapters(p, &addition, 1) && (!norm || run_tokens(p, add_normed_chunk));
}

static void norm_heads(const struct pass *p, const struct hs_gguf_tensor *weight, float *heads, uint32_t n_heads)
{
	const struct hs_weights *w = p->m->w;
	uint32_t d = w->hyper.head_dim;
	for (uint32_t h = 0; h < n_heads && weight; h++)
		p->m->kernels->normalise(w->arch->norm, heads + (size_t)h * d,
					 floats_of(weight) + (weight->dims[1] == 1 ? 0 : (size_t)h * d), NULL, w->hyper.eps, d,
					 heads + (size_t)h * d);
}

static void rotate_and_store_chunk(void *arg, uint32_t chunk, unsigned worker)
{
	struct pass *p = arg;
	const struct hs_hyper *h = &p->m->w->hyper;
	const struct hs_layer *l = p->layer_weights;
	enum hs_rope kind = p->m->w->arch->rope;
	size_t half = h->head_dim / 2, table = (l->turns == HS_TURN_NEAR) * p->capacity * half;
	(void)worker; /* needs no memory of its own */
	for (uint32_t t = chunk * TOKENS_A_CHUNK; t < tokens_end(p, chunk); t++) {
		float *q = p->q + t * query_stride(h), *k = p->k + t * kv_stride(h), *v = p->v + t * kv_stride(h);
		const float *cosines = p->cosines + table + t * half, *sines = p->sines + table + t * half;
		norm_heads(p, l->q_norm, q, h->n_heads);
		norm_heads(p, l->k_norm, k, h->n_kv_heads);
		if (kind != HS_ROPE_NONE && l->turns != HS_TURN_NOT) {
			p->m->kernels->rotate(kind, q, h->n_heads, h->head_dim, cosines, sines);
			p->m->kernels->rotate(kind, k, h->n_kv_heads, h->head_dim, cosines, sines);
		}
		hs_page_store(p->caches[t]->form, p->caches[t]->pages, p->layer_index, p->positions[t], k, v);
	}
}

static void attend_chunk(void *arg, uint32_t chunk, unsigned worker)
{
	struct pass *p = arg;
	const struct hs_hyper *h = &p->m->w->hyper;
	const struct view *v = &p->views[chunk / h->n_kv_heads];
	uint32_t head = chunk % h->n_kv_heads, group = h->n_heads / h->n_kv_heads;
	const float *sinks = floats_of(p->layer_weights->sinks);
	const struct hs_page_form *f = v->cache->form;
	size_t at = (p->layer_index * f->n_heads + head) * f->head;
	struct hs_attention a = {
	    .q = p->q + (size_t)head * group * h->head_dim,
	    .out = p->attn + (size_t)head * group * h->head_dim,
	    .stride = query_stride(h),
	    .head_dim = h->head_dim,
	    .group = group,
	    .pages = (const uint8_t *const *)v->cache->pages + v->first_page,
	    .keys = at,
	    .values = at + f->values,
	    .bytes = f->q8,
	    .key_scales = at + f->key_scales,
	    .value_scales = at + f->value_scales,
	    .origin = v->origin,
	    .visible = v->visible,
	    .window = p->layer_weights->window,
	    .causal = p->m->w->arch->causal,
	    .scale = h->attn_scale,
	    .cap = h->attn_cap,
	    .sinks = sinks ? sinks + (size_t)head * group : NULL,
	    .scores = p->scores + worker * HS_QUERY_BLOCK * p->scores_stride,
	    .scores_stride = p->scores_stride,
	};
	p->m->kernels->attend(&a, v->token, v->end);
}

static bool run_attention(struct pass *p)
{
	const struct hs_hyper *h = &p->m->w->hyper;
	size_t kv = kv_stride(h);
	if (!prepare_residual(p, &p->layer_weights->attn_norm, form(&p->layer->q) | form(&p->layer->k) | form(&p->layer->v)))
		return false;
	add_product(p, &p->layer->q, p->q, query_stride(h), false);
	add_product(p, &p->layer->k, p->k, kv, false);
	add_product(p, &p->layer->v, p->v, kv, false);
	const struct addition additions[] = {
	    {HS_LORA_Q, p->q, query_stride(h)}, {HS_LORA_K, p->k, kv}, {HS_LORA_V, p->v, kv}};
	if (!run_products(p) || !add_adapters(p, additions, HS_ARRAY_LEN(additions)) || !run_tokens(p, rotate_and_store_chunk) ||
	    !hs_pool_run(p->m->pool, attend_chunk, p, p->n_views * h->n_kv_heads, p->y))
		return false;
	p->norm = NULL;
	set_input(p, p->attn, h->n_heads * h->head_dim, form(&p->layer->o));
	return run_tokens(p, prepare_chunk) && add_to_residual(p, &p->layer->o, HS_LORA_O, p->layer_weights->attn_sub_norm) &&
	       hs_pass_norm(p, &p->layer_weights->attn_out_norm);
}

/* up = act(gate) up, and its bytes, of rows [8 chunk, ..) of n */
static void activate_rows(struct pass *p, uint32_t chunk, uint32_t n)
{
	size_t stride = HS_ROUND32(p->m->w->hyper.n_ff);
	for (uint32_t t = chunk * TOKENS_A_CHUNK; t < HS_MIN((chunk + 1) * TOKENS_A_CHUNK, n); t++) {
		p->m->kernels->activate(p->m->w->arch->act, p->layer_weights->gate ? p->gate + t * stride : NULL,
					p->up + t * stride, stride);
		p->m->kernels->quantise(&p->acts, t);
	}
}

static void activate_chunk(void *arg, uint32_t chunk, unsigned worker)
{
	struct pass *p = arg;
	(void)worker; /* needs no memory of its own */
	activate_rows(p, chunk, p->step_rows);
}

/* Rows of a step that are not tokens. */
static bool run_rows(struct pass *p, hs_pool_fn fn, uint32_t n)
{
	p->step_rows = n;
	return hs_pool_run(p->m->pool, fn, p, (n + TOKENS_A_CHUNK - 1) / TOKENS_A_CHUNK, p->y);
}

/* A token's experts from its scores, best first, equal ones by number; shares are the softmax over them. */
static void choose_experts(const struct hs_hyper *h, const float *scores, uint32_t *experts, float *shares)
{
	float total = 0;
	for (uint32_t k = 0; k < h->n_experts_used; k++) {
		uint32_t best = UINT32_MAX;
		for (uint32_t e = 0; e < h->n_experts; e++) {
			bool taken = false;
			for (uint32_t i = 0; i < k; i++)
				taken = taken || experts[i] == e;
			if (!taken && (best == UINT32_MAX || scores[e] > scores[best]))
				best = e;
		}
		experts[k] = best;
		total += shares[k] = expf(scores[best] - scores[experts[0]]);
	}
	for (uint32_t k = 0; k < h->n_experts_used; k++)
		shares[k] /= total;
}

/* Sort the visits by expert, so that each expert's rows lie together. Returns how many. */
static uint32_t plan_visits(struct pass *p)
{
	const struct hs_hyper *h = &p->m->w->hyper;
	uint32_t used = h->n_experts_used, starts[HS_EXPERTS_MAX + 1] = {0}, n = p->n * used;
	for (uint32_t t = 0; t < p->n; t++)
		choose_experts(h, p->router + t * HS_ROUND32(h->n_experts), p->rows + (size_t)t * used,
			       p->shares + (size_t)t * used);
	for (uint32_t i = 0; i < n; i++)
		starts[p->rows[i] + 1]++;
	for (uint32_t e = 0; e < h->n_experts; e++)
		starts[e + 1] += starts[e];
	for (uint32_t i = 0; i < n; i++) {
		uint32_t expert = p->rows[i], row = starts[expert]++;
		p->visits[row] = (struct visit){.token = i / used, .expert = expert, .weight = p->shares[i]};
		p->rows[i] = row;
	}
	return n;
}

static void gather_chunk(void *arg, uint32_t chunk, unsigned worker)
{
	struct pass *p = arg;
	size_t stride = embd_stride(&p->m->w->hyper);
	(void)worker; /* needs no memory of its own */
	for (uint32_t r = chunk * TOKENS_A_CHUNK; r < HS_MIN((chunk + 1) * TOKENS_A_CHUNK, p->step_rows); r++) {
		memcpy(p->visited + r * stride, p->normed + p->visits[r].token * stride, stride * sizeof(float));
		p->m->kernels->quantise(&p->acts, r);
	}
}

/* x += what the token's experts said, in the order of their scores: whoever else is in the batch changes no bit */
static void scatter_chunk(void *arg, uint32_t chunk, unsigned worker)
{
	struct pass *p = arg;
	const struct hs_hyper *h = &p->m->w->hyper;
	(void)worker; /* needs no memory of its own */
	for (uint32_t t = chunk * TOKENS_A_CHUNK; t < tokens_end(p, chunk); t++)
		for (uint32_t i = 0; i < h->n_embd; i++) {
			float sum = 0;
			for (uint32_t k = 0; k < h->n_experts_used; k++) {
				size_t row = p->rows[(size_t)t * h->n_experts_used + k];
				sum += p->visits[row].weight * p->said[row * embd_stride(h) + i];
			}
			p->x[t * embd_stride(h) + i] += sum;
		}
}

/* The end of the visits from `row` on that go to the same expert. */
static uint32_t same_expert(const struct pass *p, uint32_t row, uint32_t n)
{
	uint32_t end = row + 1;
	while (end < n && p->visits[end].expert == p->visits[row].expert)
		end++;
	return end;
}

static bool run_experts(struct pass *p)
{
	const struct hs_hyper *h = &p->m->w->hyper;
	size_t ff = HS_ROUND32(h->n_ff);
	add_product(p, &p->layer->router, p->router, HS_ROUND32(h->n_experts), false);
	if (!run_products(p))
		return false;
	uint32_t n = plan_visits(p);
	set_input(p, p->visited, h->n_embd, form(&p->layer->gate) | form(&p->layer->up));
	if (!run_rows(p, gather_chunk, n))
		return false;
	for (uint32_t row = 0, end; row < n; row = end) {
		end = same_expert(p, row, n);
		add_expert(p, &p->layer->gate, p->visits[row].expert, row, end - row, p->gate, ff);
		add_expert(p, &p->layer->up, p->visits[row].expert, row, end - row, p->up, ff);
	}
	if (!run_products(p))
		return false;
	set_input(p, p->up, h->n_ff, form(&p->layer->down));
	if (!run_rows(p, activate_chunk, n))
		return false;
	for (uint32_t row = 0, end; row < n; row = end) {
		end = same_expert(p, row, n);
		add_expert(p, &p->layer->down, p->visits[row].expert, row, end - row, p->said, embd_stride(h));
	}
	return run_products(p) && run_tokens(p, scatter_chunk);
}

static bool run_ffn(struct pass *p)
{
	const struct hs_hyper *h = &p->m->w->hyper;
	size_t ff = HS_ROUND32(h->n_ff);
	unsigned forms = p->layer_weights->router ? form(&p->layer->router)
						  : form(&p->layer->up) | (p->layer_weights->gate ? form(&p->layer->gate) : 0);
	if (p->m->w->arch->has & HS_F_PARALLEL) { /* what attention read, which `normed` still holds */
		p->norm = NULL;
		set_input(p, p->normed, h->n_embd, forms);
		if (!run_tokens(p, prepare_chunk))
			return false;
	} else if (!prepare_residual(p, &p->layer_weights->ffn_norm, forms)) {
		return false;
	}
	if (p->layer_weights->router)
		return run_experts(p);
	if (p->layer_weights->gate)
		add_product(p, &p->layer->gate, p->gate, ff, false);
	add_product(p, &p->layer->up, p->up, ff, false);
	const struct addition additions[] = {{HS_LORA_UP, p->up, ff}, {HS_LORA_GATE, p->gate, ff}};
	if (!run_products(p) || !add_adapters(p, additions, HS_ARRAY_LEN(additions)))
		return false;
	set_input(p, p->up, h->n_ff, form(&p->layer->down));
	return run_rows(p, activate_chunk, p->n) && add_to_residual(p, &p->layer->down, HS_LORA_DOWN, p->layer_weights->ffn_sub_norm) &&
	       hs_pass_norm(p, &p->layer_weights->out_norm);
}

static void turn_token(struct pass *p, uint32_t t, uint32_t position)
{
	const struct hs_hyper *h = &p->m->w->hyper;
	size_t half = h->head_dim / 2;
	for (size_t i = 0; i < 2 * half; i++) {
		double angle = position * p->m->frequencies[i], gain = (double)(i < half ? h->far : h->near).gain;
		size_t at = i < half ? t * half + i : (p->capacity + t) * half + (i - half);
		p->cosines[at] = (float)(gain * cos(angle));
		p->sines[at] = (float)(gain * sin(angle));
	}
}

void hs_pass_embed(struct pass *p, const int32_t *ids, const uint32_t *in_text)
{
	const struct hs_weights *w = p->m->w;
	float *row = p->normed; /* free until the first norm */
	for (uint32_t t = 0; t < p->n; t++) {
		float *x = p->x + t * embd_stride(&w->hyper);
		hs_tensor_row(w->embd, (uint64_t)ids[t], x);
		for (uint32_t i = 0; i < w->hyper.n_embd && w->arch->has & HS_F_SCALED_EMBD; i++)
			x[i] *= w->hyper.embd_scale;
		for (int k = 0; k < 2; k++) {
			const struct hs_gguf_tensor *table = k ? w->types : w->positions;
			if (!table)
				continue;
			hs_tensor_row(table, k ? 0 : in_text[t], row);
			for (uint32_t i = 0; i < w->hyper.n_embd; i++)
				x[i] += row[i];
		}
		if (w->arch->rope != HS_ROPE_NONE)
			turn_token(p, t, in_text[t]);
	}
}

bool hs_pass_layers(struct pass *p, bool cache_all)
{
	for (uint32_t i = 0; i < p->m->w->hyper.n_layers; i++) {
		p->layer = &p->m->layers[i];
		p->layer_weights = &p->m->w->layers[i];
		p->layer_index = cache_all ? i : 0;
		if (!run_attention(p) || !run_ffn(p))
			return false;
	}
	return true;
}

bool hs_pass_multiply(struct pass *p, const struct hs_packed *w, const float *x, uint32_t n, float *y, size_t stride)
{
	set_input(p, x, w->columns, form(w));
	for (uint32_t i = 0; i < n; i++)
		p->m->kernels->quantise(&p->acts, i);
	add_rows(p, w, 0, n, y, stride, false);
	return run_products(p);
}
