/*
 * The cpu backend's forward pass: a run of tokens through all layers, for sequences (causal, with a cache of keys and
 * values) and for encoders (texts packed back to back). Every step is a job for the pool, cut by tokens or by panels.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "inference/cpu/cpu.h"
#include "inference/quant/half.h"

#define PREFILL_TOKENS 64     /* tokens that go through the layers together */
#define ENCODE_TOKENS 512     /* the same for encoders, where no text is longer */
#define TOKENS_A_CHUNK 8      /* of steps that treat each token alone */
#define ATTEND_TOKENS 8       /* of attention */
#define MULTIPLY_TOKENS 64    /* of a product: their bytes should stay in the second-level cache */
#define MULTIPLY_BYTES 131072 /* weights that a chunk of a product reads, counted once for every 8 tokens */

/* Keys and values of one or more layers, as struct hs_attention wants them. */
struct cache {
	uint32_t n_heads, head_dim;
	size_t tiles;            /* of 16 positions */
	uint16_t *keys, *values; /* (layers, n_heads, tiles, head_dim, 16) (layers, n_heads, tiles * 16, HS_ROUND16(head_dim)) */
};

/* A few tokens of one text, and what they see. */
struct view {
	uint32_t token, end;
	uint32_t base;            /* the text's first position in the cache, a multiple of 16 */
	uint32_t origin, visible; /* as in struct hs_attention */
};

/* A product of tokens [first, first + tokens), cut to chunks: token blocks outside, panels inside. */
struct entry {
	struct hs_product product;
	struct hs_packed part; /* of a matrix that holds all experts; what product.w then is */
	uint32_t first, tokens, n_panels_a_chunk, n_chunks;
};

/* A token that goes through an expert. */
struct visit {
	uint32_t token, expert;
	float weight;
};

struct pass {
	const struct hs_backend_model *m;
	struct hs_yield *y;
	uint32_t n, capacity; /* tokens now, and at most */
	const struct hs_cpu_layer *layer;
	const struct hs_layer *layer_weights;
	uint32_t layer_index; /* in the cache */
	struct cache *cache;
	uint32_t *positions; /* (capacity) of each token in the cache */
	struct view *views;  /* (capacity) */
	uint32_t n_views;
	float *x, *normed;       /* (capacity, embd) */
	float *q, *k, *v, *attn; /* (capacity, heads * head_dim), k and v (capacity, kv_heads * head_dim) */
	float *gate, *up;        /* (capacity * experts used, ff) */
	float *router;           /* (capacity, experts) */
	float *visited, *said;   /* (capacity * experts used, embd) what goes into experts, and what comes out */
	float *pooled, *dense;   /* (embd) of one text */
	struct visit *visits;    /* (capacity * experts used) by expert, then token */
	uint32_t *rows;          /* (capacity, experts used) a token's places in visits, best expert first */
	float *shares;           /* (the same) */
	struct entry *entries;   /* the products of one job */
	uint32_t n_entries;
	float *cosines, *sines; /* (2, capacity, head_dim / 2) of layers that see far and near */
	float *scores;          /* (threads, HS_QUERY_BLOCK, scores_stride) */
	size_t scores_stride;
	struct hs_acts acts;                /* the bytes of what is multiplied next */
	const struct hs_norm_weights *norm; /* of the step that runs */
	const float *norm_x;
	uint32_t step_rows; /* of a step over visits */
	size_t memory_bytes;
	uint8_t *memory; /* all of the above */
};

struct hs_backend_sequence {
	struct pass pass;
	struct cache cache;
	float *logits; /* (vocab, rounded up) */
};

static size_t embd_stride(const struct hs_hyper *h)
{
	return HS_ROUND32(h->n_embd);
}

static size_t query_stride(const struct hs_hyper *h)
{
	return HS_ROUND32((size_t)h->n_heads * h->head_dim);
}

static size_t kv_stride(const struct hs_hyper *h)
{
	return HS_ROUND32((size_t)h->n_kv_heads * h->head_dim);
}

struct layout {
	uint8_t *start; /* NULL: only measure */
	size_t used;
};

static void *take(struct layout *l, size_t bytes)
{
	void *p = l->start ? l->start + l->used : NULL;
	l->used += (bytes + 63) & ~(size_t)63;
	return p;
}

/* Rows of the feed-forward part for n tokens. */
static size_t visits_of(const struct hs_hyper *h, size_t n)
{
	return n * HS_MAX(h->n_experts_used, 1u);
}

/* Lay the pass's arrays out from start; called once with NULL to measure and once to place. */
static size_t place(struct pass *p, uint8_t *start, size_t capacity, size_t longest)
{
	const struct hs_hyper *h = &p->m->w->hyper;
	size_t f = sizeof(float), widest = HS_MAX(HS_MAX(embd_stride(h), query_stride(h)), HS_ROUND32(h->n_ff));
	size_t rows = visits_of(h, capacity), routed = h->n_experts ? rows : 0;
	struct layout at = {.start = start};
	p->positions = take(&at, capacity * sizeof *p->positions);
	p->views = take(&at, capacity * sizeof *p->views);
	p->x = take(&at, capacity * embd_stride(h) * f);
	p->normed = take(&at, capacity * embd_stride(h) * f);
	p->q = take(&at, capacity * query_stride(h) * f);
	p->k = take(&at, capacity * kv_stride(h) * f);
	p->v = take(&at, capacity * kv_stride(h) * f);
	p->attn = take(&at, capacity * query_stride(h) * f);
	p->gate = take(&at, rows * HS_ROUND32(h->n_ff) * f);
	p->up = take(&at, rows * HS_ROUND32(h->n_ff) * f);
	p->router = take(&at, capacity * HS_ROUND32(h->n_experts) * f);
	p->visited = take(&at, routed * embd_stride(h) * f);
	p->said = take(&at, routed * embd_stride(h) * f);
	p->pooled = take(&at, embd_stride(h) * f);
	p->dense = take(&at, embd_stride(h) * f);
	p->visits = take(&at, routed * sizeof *p->visits);
	p->rows = take(&at, routed * sizeof *p->rows);
	p->shares = take(&at, routed * f);
	p->entries = take(&at, HS_MAX((size_t)3, 2 * HS_MIN((size_t)h->n_experts, routed)) * sizeof *p->entries);
	p->cosines = take(&at, 2 * capacity * (h->head_dim / 2) * f);
	p->sines = take(&at, 2 * capacity * (h->head_dim / 2) * f);
	p->scores_stride = HS_ROUND16(longest);
	p->scores = take(&at, hs_pool_threads(p->m->pool) * HS_QUERY_BLOCK * p->scores_stride * f);
	p->acts.q32 = take(&at, rows * widest);
	p->acts.d32 = take(&at, rows * widest / 32 * f);
	p->acts.sums32 = take(&at, rows * widest / 32 * sizeof(int16_t));
	p->acts.q256 = take(&at, rows * widest);
	p->acts.d256 = take(&at, rows * (widest / 256 + 1) * f);
	p->acts.sums16k = take(&at, rows * widest / 16 * sizeof(int16_t));
	p->acts.sums32k = take(&at, rows * widest / 32 * sizeof(int16_t));
	return at.used;
}

static int pass_init(struct pass *p, const struct hs_backend_model *m, uint32_t capacity, uint32_t longest)
{
	*p = (struct pass){.m = m, .capacity = capacity};
	p->memory_bytes = place(p, NULL, capacity, longest);
	p->memory = aligned_alloc(64, p->memory_bytes);
	if (!p->memory)
		return -ENOMEM;
	memset(p->memory, 0, p->memory_bytes); /* also what lies between rows: the kernels compute with it */
	(void)place(p, p->memory, capacity, longest);
	return 0;
}

/* Wiped: it held what people asked. */
static void pass_finish(struct pass *p)
{
	if (p->memory)
		explicit_bzero(p->memory, p->memory_bytes);
	free(p->memory);
	p->memory = NULL;
}

static size_t cache_keys_len(const struct cache *c)
{
	return c->n_heads * c->tiles * c->head_dim * 16;
}

static size_t cache_values_len(const struct cache *c)
{
	return c->n_heads * c->tiles * 16 * HS_ROUND16(c->head_dim);
}

static int cache_init(struct cache *c, const struct hs_hyper *h, uint32_t n_layers, uint32_t positions)
{
	*c = (struct cache){.n_heads = h->n_kv_heads, .head_dim = h->head_dim, .tiles = HS_ROUND16(positions) / 16};
	c->keys = calloc(n_layers, cache_keys_len(c) * sizeof *c->keys);
	c->values = calloc(n_layers, cache_values_len(c) * sizeof *c->values);
	return c->keys && c->values ? 0 : -ENOMEM;
}

static void cache_finish(struct cache *c, uint32_t n_layers)
{
	if (c->keys)
		explicit_bzero(c->keys, n_layers * cache_keys_len(c) * sizeof *c->keys);
	if (c->values)
		explicit_bzero(c->values, n_layers * cache_values_len(c) * sizeof *c->values);
	free(c->keys);
	free(c->values);
}

static const uint16_t *head_keys(const struct cache *c, uint32_t layer, uint32_t head)
{
	return c->keys + layer * cache_keys_len(c) + head * c->tiles * c->head_dim * 16;
}

static const uint16_t *head_values(const struct cache *c, uint32_t layer, uint32_t head)
{
	return c->values + layer * cache_values_len(c) + head * c->tiles * 16 * HS_ROUND16(c->head_dim);
}

/* One token's keys and values (n_heads * head_dim) to their place. */
static void cache_store(struct cache *c, uint32_t layer, uint32_t position, const float *k, const float *v)
{
	for (uint32_t head = 0; head < c->n_heads; head++, k += c->head_dim, v += c->head_dim) {
		uint16_t *key = (uint16_t *)head_keys(c, layer, head) + position / 16 * c->head_dim * 16 + position % 16;
		uint16_t *value = (uint16_t *)head_values(c, layer, head) + position * HS_ROUND16(c->head_dim);
		for (uint32_t i = 0; i < c->head_dim; i++) {
			key[16 * i] = hs_half_from_float(k[i]);
			value[i] = hs_half_from_float(v[i]);
		}
	}
}

static const float *floats_of(const struct hs_gguf_tensor *t)
{
	return t ? (const float *)(const void *)t->data : NULL; /* GGUF aligns data to 8 at least */
}

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
static bool norm_residual(struct pass *p, const struct hs_norm_weights *norm)
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
static bool add_to_residual(struct pass *p, const struct hs_packed *w, const struct hs_gguf_tensor *norm)
{
	struct hs_norm_weights weights = {.weight = norm};
	add_product(p, w, norm ? p->normed : p->x, embd_stride(&p->m->w->hyper), !norm);
	p->norm = &weights;
	return run_products(p) && (!norm || run_tokens(p, add_normed_chunk));
}

static void norm_heads(const struct pass *p, const struct hs_gguf_tensor *weight, float *heads, uint32_t n_heads)
{
	const struct hs_weights *w = p->m->w;
	uint32_t d = w->hyper.head_dim;
	for (uint32_t h = 0; h < n_heads && weight; h++)
		p->m->kernels->normalise(w->arch->norm, heads + (size_t)h * d,
					 floats_of(weight) + (weight->n_dims == 1 ? 0 : (size_t)h * d), NULL, w->hyper.eps, d,
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
		cache_store(p->cache, p->layer_index, p->positions[t], k, v);
	}
}

static void attend_chunk(void *arg, uint32_t chunk, unsigned worker)
{
	struct pass *p = arg;
	const struct hs_hyper *h = &p->m->w->hyper;
	const struct view *v = &p->views[chunk / h->n_kv_heads];
	uint32_t head = chunk % h->n_kv_heads, group = h->n_heads / h->n_kv_heads;
	const float *sinks = floats_of(p->layer_weights->sinks);
	struct hs_attention a = {
	    .q = p->q + (size_t)head * group * h->head_dim,
	    .out = p->attn + (size_t)head * group * h->head_dim,
	    .stride = query_stride(h),
	    .head_dim = h->head_dim,
	    .group = group,
	    .keys = head_keys(p->cache, p->layer_index, head) + (size_t)v->base * h->head_dim,
	    .values = head_values(p->cache, p->layer_index, head) + v->base * HS_ROUND16(h->head_dim),
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
	if (!run_products(p) || !run_tokens(p, rotate_and_store_chunk) ||
	    !hs_pool_run(p->m->pool, attend_chunk, p, p->n_views * h->n_kv_heads, p->y))
		return false;
	p->norm = NULL;
	set_input(p, p->attn, h->n_heads * h->head_dim, form(&p->layer->o));
	return run_tokens(p, prepare_chunk) && add_to_residual(p, &p->layer->o, p->layer_weights->attn_sub_norm) &&
	       norm_residual(p, &p->layer_weights->attn_out_norm);
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
	if (!run_products(p))
		return false;
	set_input(p, p->up, h->n_ff, form(&p->layer->down));
	return run_rows(p, activate_chunk, p->n) && add_to_residual(p, &p->layer->down, p->layer_weights->ffn_sub_norm) &&
	       norm_residual(p, &p->layer_weights->out_norm);
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

/* x = the embeddings of ids; `positions` of each within its text. */
static void embed_tokens(struct pass *p, const int32_t *ids, const uint32_t *in_text)
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

/* Everything between the embeddings and the end of the last layer; layer i uses place i (or 0) of the cache. */
static bool run_layers(struct pass *p, bool cache_all)
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

int hs_cpu_sequence_create(struct hs_backend_model *m, uint32_t max_tokens, struct hs_backend_sequence **ret)
{
	const struct hs_hyper *h = &m->w->hyper;
	struct hs_backend_sequence *s = calloc(1, sizeof *s);
	if (!s)
		return -ENOMEM;
	int rc = pass_init(&s->pass, m, HS_MIN(max_tokens, (uint32_t)PREFILL_TOKENS), max_tokens);
	if (rc == 0)
		rc = cache_init(&s->cache, h, h->n_layers, max_tokens);
	if (rc == 0 && !(s->logits = calloc(HS_ROUND32(h->n_vocab), sizeof *s->logits)))
		rc = -ENOMEM;
	s->pass.m = m;
	s->pass.cache = &s->cache;
	if (rc < 0) {
		hs_cpu_sequence_destroy(s);
		return rc;
	}
	*ret = s;
	return 0;
}

void hs_cpu_sequence_destroy(struct hs_backend_sequence *s)
{
	if (!s)
		return;
	const struct hs_hyper *h = &s->pass.m->w->hyper;
	cache_finish(&s->cache, h->n_layers);
	pass_finish(&s->pass);
	if (s->logits)
		explicit_bzero(s->logits, HS_ROUND32(h->n_vocab) * sizeof *s->logits);
	free(s->logits);
	free(s);
}

void hs_cpu_wipe(struct hs_backend_sequence *s, uint32_t from, uint32_t to)
{
	const struct cache *c = &s->cache;
	size_t value = HS_ROUND16(c->head_dim);
	for (uint32_t l = 0; l < s->pass.m->w->hyper.n_layers; l++)
		for (uint32_t head = 0; head < c->n_heads; head++) {
			volatile uint16_t *keys = (volatile uint16_t *)head_keys(c, l, head);
			for (uint32_t at = from; at < to; at++)
				for (uint32_t i = 0; i < c->head_dim; i++)
					keys[at / 16 * c->head_dim * 16 + 16 * i + at % 16] = 0;
			explicit_bzero((uint16_t *)head_values(c, l, head) + from * value,
				       (to - from) * value * sizeof(uint16_t));
		}
}

/* The tokens of one chunk of a sequence, from `position`. */
static void set_causal_views(struct pass *p, uint32_t position)
{
	p->n_views = 0;
	for (uint32_t t = 0; t < p->n; t++)
		p->positions[t] = position + t;
	for (uint32_t t = 0; t < p->n; t += ATTEND_TOKENS)
		p->views[p->n_views++] = (struct view){.token = t, .end = HS_MIN(t + ATTEND_TOKENS, p->n), .origin = position};
}

static bool run_head(struct pass *p, float *logits)
{
	const struct hs_weights *w = p->m->w;
	size_t last = (p->n - 1) * embd_stride(&w->hyper);
	p->m->kernels->normalise(w->arch->norm, p->x + last, floats_of(w->final_norm.weight), floats_of(w->final_norm.bias),
				 w->hyper.eps, w->hyper.n_embd, p->normed);
	set_input(p, p->normed, w->hyper.n_embd, form(&p->m->head));
	p->m->kernels->quantise(&p->acts, 0);
	add_rows(p, &p->m->head, 0, 1, logits, HS_ROUND32(w->hyper.n_vocab), false);
	if (!run_products(p))
		return false;
	for (uint32_t i = 0; i < w->hyper.n_vocab && w->arch->has & HS_F_LOGIT_SCALE; i++)
		logits[i] *= w->hyper.logit_scale;
	if (w->hyper.final_cap > 0)
		p->m->kernels->cap(logits, HS_ROUND32(w->hyper.n_vocab), w->hyper.final_cap);
	return true;
}

int hs_cpu_forward(struct hs_backend_sequence *s, uint32_t position, const int32_t *ids, uint32_t n, struct hs_yield *y,
		   const float **ret_logits)
{
	struct pass *p = &s->pass;
	p->y = y;
	for (uint32_t at = 0; at < n; at += p->n) {
		p->n = HS_MIN(n - at, (uint32_t)PREFILL_TOKENS);
		set_causal_views(p, position + at);
		embed_tokens(p, ids + at, p->positions);
		if (!run_layers(p, true))
			return -ECANCELED;
	}
	if (!run_head(p, s->logits))
		return -ECANCELED;
	*ret_logits = s->logits;
	return 0;
}

/* Views and positions of texts [first, end) packed back to back. in_text: (p->n). */
static void set_text_views(struct pass *p, const uint32_t *starts, uint32_t first, uint32_t end, uint32_t *in_text)
{
	uint32_t token = 0, base = 0;
	p->n_views = 0;
	for (uint32_t text = first; text < end; text++) {
		uint32_t len = starts[text + 1] - starts[text];
		for (uint32_t t = 0; t < len; t += ATTEND_TOKENS)
			p->views[p->n_views++] = (struct view){.token = token + t,
							       .end = token + HS_MIN(t + ATTEND_TOKENS, len),
							       .base = base,
							       .origin = 0 - token,
							       .visible = len};
		for (uint32_t t = 0; t < len; t++) {
			p->positions[token + t] = base + t;
			in_text[token + t] = t;
		}
		token += len;
		base += (uint32_t)HS_ROUND16(len);
	}
	p->n = token;
}

/* Mean, first or last token of rows x (n, embd): out (embd); returns its squared length. */
static double pool_text(const struct hs_hyper *h, const float *x, uint32_t n, float *out)
{
	double norm = 0;
	if (h->pool == HS_POOL_LAST)
		x += (n - 1) * embd_stride(h);
	for (uint32_t i = 0; i < h->n_embd; i++) {
		double sum = 0;
		for (uint32_t t = 0; t < (h->pool == HS_POOL_MEAN ? n : 1); t++)
			sum += (double)x[t * embd_stride(h) + i];
		sum /= h->pool == HS_POOL_MEAN ? n : 1;
		norm += sum * sum;
		out[i] = (float)sum;
	}
	return norm;
}

/* y = W x of the one row that x is. */
static bool multiply_one(struct pass *p, const struct hs_packed *w, const float *x, float *y)
{
	set_input(p, x, p->m->w->hyper.n_embd, form(w));
	p->m->kernels->quantise(&p->acts, 0);
	add_rows(p, w, 0, 1, y, HS_ROUND32(w->rows), false);
	return run_products(p);
}

/* The classifier's scores of a pooled text. */
static bool classify(struct pass *p, float *out)
{
	const struct hs_weights *w = p->m->w;
	float *x = p->pooled, *y = p->dense, scores[HS_ROUND32(HS_LABELS_MAX)];
	if (w->cls) {
		if (!multiply_one(p, &p->m->cls, x, y))
			return false;
		if (w->arch->has & HS_F_POST_NORM)
			for (uint32_t i = 0; i < w->hyper.n_embd; i++)
				y[i] = tanhf(y[i]);
		else
			p->m->kernels->activate(w->arch->act, NULL, y, embd_stride(&w->hyper));
		x = y;
	}
	if (w->cls_norm)
		p->m->kernels->normalise(w->arch->norm, x, floats_of(w->cls_norm), NULL, w->hyper.eps, w->hyper.n_embd, x);
	if (!multiply_one(p, &p->m->cls_out, x, scores))
		return false;
	memcpy(out, scores, w->hyper.n_labels * sizeof *out);
	return true;
}

/* A text's embedding of length one, or its scores, from its rows x. */
static bool conclude(struct pass *p, const float *x, uint32_t n, float *out)
{
	const struct hs_hyper *h = &p->m->w->hyper;
	if (h->n_labels) {
		(void)pool_text(h, x, n, p->pooled); /* scores want no length */
		return classify(p, out);
	}
	double norm = pool_text(h, x, n, out);
	for (uint32_t i = 0; i < h->n_embd; i++)
		out[i] = norm > 0 ? (float)((double)out[i] / sqrt(norm)) : 0;
	return true;
}

/* The most texts from `first` whose tokens fit one pass, at least one. */
static uint32_t batch_end(const uint32_t *starts, uint32_t first, uint32_t n_texts, uint32_t capacity)
{
	uint32_t end = first + 1;
	while (end < n_texts && starts[end + 1] - starts[first] <= capacity)
		end++;
	return end;
}

int hs_cpu_encode(struct hs_backend_model *m, const int32_t *ids, const uint32_t *starts, uint32_t n_texts, struct hs_yield *y,
		  float *out)
{
	const struct hs_weights *w = m->w;
	uint32_t longest = 1, total = starts[n_texts];
	for (uint32_t i = 0; i < n_texts; i++)
		longest = HS_MAX(longest, starts[i + 1] - starts[i]);
	uint32_t capacity = HS_MAX(longest, HS_MIN(total, (uint32_t)ENCODE_TOKENS));
	struct pass p;
	struct cache c = {0};
	uint32_t *in_text = calloc(capacity, sizeof *in_text);
	int rc = pass_init(&p, m, capacity, longest);
	if (rc == 0)
		rc = cache_init(&c, &w->hyper, 1, HS_MIN(16 * capacity, capacity + 15 * n_texts)); /* each text is rounded up */
	if (!in_text)
		rc = -ENOMEM;
	p.y = y;
	p.cache = &c;
	for (uint32_t first = 0, end; first < n_texts && rc == 0; first = end) {
		end = batch_end(starts, first, n_texts, capacity);
		set_text_views(&p, starts, first, end, in_text);
		embed_tokens(&p, ids + starts[first], in_text);
		if (!norm_residual(&p, &w->embd_norm) || !run_layers(&p, false) || !norm_residual(&p, &w->final_norm))
			rc = -ECANCELED;
		for (uint32_t text = first; text < end && rc == 0; text++)
			if (!conclude(&p, p.x + (starts[text] - starts[first]) * embd_stride(&w->hyper),
				      starts[text + 1] - starts[text], out + (size_t)text * hs_encoded_len(&w->hyper)))
				rc = -ECANCELED;
	}
	cache_finish(&c, 1);
	pass_finish(&p);
	free(in_text);
	return rc;
}
