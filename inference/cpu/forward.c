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
	uint32_t base;    /* the text's first position in the cache, a multiple of 16 */
	uint32_t visible; /* as in struct hs_attention */
};

struct pass {
	const struct hs_backend_model *m;
	struct hs_yield *y;
	uint32_t n; /* tokens now */
	const struct hs_cpu_layer *layer;
	const struct hs_layer *layer_weights;
	uint32_t layer_index; /* in the cache */
	struct cache *cache;
	uint32_t *positions; /* (capacity) of each token in the cache */
	struct view *views;  /* (capacity) */
	uint32_t n_views;
	float *x, *normed;       /* (capacity, embd) */
	float *q, *k, *v, *attn; /* (capacity, heads * head_dim), k and v (capacity, kv_heads * head_dim) */
	float *gate, *up;        /* (capacity, ff) */
	float *cosines, *sines;  /* (capacity, head_dim / 2) */
	float *scores;           /* (threads, HS_QUERY_BLOCK, scores_stride) */
	size_t scores_stride;
	struct hs_acts acts;                /* the bytes of what is multiplied next */
	const struct hs_norm_weights *norm; /* of the step that runs */
	const float *norm_x;
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

/* Lay the pass's arrays out from start; called once with NULL to measure and once to place. */
static size_t place(struct pass *p, uint8_t *start, size_t capacity, size_t longest)
{
	const struct hs_hyper *h = &p->m->w->hyper;
	size_t f = sizeof(float), widest = HS_MAX(HS_MAX(embd_stride(h), query_stride(h)), HS_ROUND32(h->n_ff));
	struct layout at = {.start = start};
	p->positions = take(&at, capacity * sizeof *p->positions);
	p->views = take(&at, capacity * sizeof *p->views);
	p->x = take(&at, capacity * embd_stride(h) * f);
	p->normed = take(&at, capacity * embd_stride(h) * f);
	p->q = take(&at, capacity * query_stride(h) * f);
	p->k = take(&at, capacity * kv_stride(h) * f);
	p->v = take(&at, capacity * kv_stride(h) * f);
	p->attn = take(&at, capacity * query_stride(h) * f);
	p->gate = take(&at, capacity * HS_ROUND32(h->n_ff) * f);
	p->up = take(&at, capacity * HS_ROUND32(h->n_ff) * f);
	p->cosines = take(&at, capacity * (h->head_dim / 2) * f);
	p->sines = take(&at, capacity * (h->head_dim / 2) * f);
	p->scores_stride = HS_ROUND16(longest);
	p->scores = take(&at, hs_pool_threads(p->m->pool) * HS_QUERY_BLOCK * p->scores_stride * f);
	p->acts.q32 = take(&at, capacity * widest);
	p->acts.d32 = take(&at, capacity * widest / 32 * f);
	p->acts.sums32 = take(&at, capacity * widest / 32 * sizeof(int16_t));
	p->acts.q256 = take(&at, capacity * widest);
	p->acts.d256 = take(&at, capacity * (widest / 256 + 1) * f);
	p->acts.sums16k = take(&at, capacity * widest / 16 * sizeof(int16_t));
	p->acts.sums32k = take(&at, capacity * widest / 32 * sizeof(int16_t));
	return at.used;
}

static int pass_init(struct pass *p, const struct hs_backend_model *m, uint32_t capacity, uint32_t longest)
{
	*p = (struct pass){.m = m};
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

/* A job of up to three products of the same input. */
struct products {
	const struct hs_kernels *kernels;
	struct hs_product list[3];
	uint32_t n_panels_a_chunk[3], n_chunks[3]; /* chunks: token blocks outside, panels inside */
	uint32_t count, tokens;
};

static void multiply_chunk(void *arg, uint32_t chunk, unsigned worker)
{
	const struct products *job = arg;
	uint32_t i = 0;
	(void)worker; /* needs no memory of its own */
	for (; chunk >= job->n_chunks[i]; i++)
		chunk -= job->n_chunks[i];
	const struct hs_product *p = &job->list[i];
	uint32_t step = job->n_panels_a_chunk[i], n_steps = (p->w->n_panels + step - 1) / step;
	uint32_t token = chunk / n_steps * MULTIPLY_TOKENS, panel = chunk % n_steps * step;
	job->kernels->multiply(p, panel, HS_MIN(panel + step, p->w->n_panels), token,
			       HS_MIN(token + MULTIPLY_TOKENS, job->tokens));
}

static void add_product(struct products *job, const struct hs_packed *w, const struct hs_acts *a, float *y, size_t stride,
			bool add)
{
	uint32_t i = job->count++, tokens = HS_MIN(job->tokens, (uint32_t)MULTIPLY_TOKENS);
	size_t step = MULTIPLY_BYTES / (w->panel_bytes * ((tokens + 7) / 8));
	job->list[i] = (struct hs_product){.w = w, .a = a, .y = y, .stride = stride, .add = add};
	job->n_panels_a_chunk[i] = (uint32_t)HS_MIN(HS_MAX(step, (size_t)1), (size_t)w->n_panels);
	job->n_chunks[i] = (w->n_panels + job->n_panels_a_chunk[i] - 1) / job->n_panels_a_chunk[i] *
			   ((job->tokens + MULTIPLY_TOKENS - 1) / MULTIPLY_TOKENS);
}

static bool run_products(struct pass *p, struct products *job)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < job->count; i++)
		n += job->n_chunks[i];
	return hs_pool_run(p->m->pool, multiply_chunk, job, n, p->y);
}

static struct products products_of(const struct pass *p)
{
	return (struct products){.kernels = p->m->kernels, .tokens = p->n};
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

/* The residual, normed where the architecture norms first, becomes what is multiplied next. */
static bool prepare_residual(struct pass *p, const struct hs_norm_weights *norm, unsigned forms)
{
	bool pre = p->m->w->arch->has & HS_F_PRE_NORM;
	p->norm = pre ? norm : NULL;
	p->norm_x = p->x;
	set_input(p, pre ? p->normed : p->x, p->m->w->hyper.n_embd, forms);
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

/* x = norm(x) where the architecture norms last */
static bool norm_residual(struct pass *p, const struct hs_norm_weights *norm)
{
	if (!(p->m->w->arch->has & HS_F_POST_NORM))
		return true;
	p->norm = norm;
	return run_tokens(p, norm_chunk);
}

static void rotate_and_store_chunk(void *arg, uint32_t chunk, unsigned worker)
{
	struct pass *p = arg;
	const struct hs_hyper *h = &p->m->w->hyper;
	enum hs_rope kind = p->m->w->arch->rope;
	(void)worker; /* needs no memory of its own */
	for (uint32_t t = chunk * TOKENS_A_CHUNK; t < tokens_end(p, chunk); t++) {
		float *q = p->q + t * query_stride(h), *k = p->k + t * kv_stride(h), *v = p->v + t * kv_stride(h);
		const float *cosines = p->cosines + t * (h->head_dim / 2), *sines = p->sines + t * (h->head_dim / 2);
		if (kind != HS_ROPE_NONE) {
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
	struct hs_attention a = {
	    .q = p->q + (size_t)head * group * h->head_dim,
	    .out = p->attn + (size_t)head * group * h->head_dim,
	    .stride = query_stride(h),
	    .head_dim = h->head_dim,
	    .group = group,
	    .keys = head_keys(p->cache, p->layer_index, head) + (size_t)v->base * h->head_dim,
	    .values = head_values(p->cache, p->layer_index, head) + v->base * HS_ROUND16(h->head_dim),
	    .visible = v->visible,
	    .causal = p->m->w->arch->causal,
	    .scores = p->scores + worker * HS_QUERY_BLOCK * p->scores_stride,
	    .scores_stride = p->scores_stride,
	};
	p->m->kernels->attend(&a, v->token, v->end);
}

static bool run_attention(struct pass *p)
{
	const struct hs_hyper *h = &p->m->w->hyper;
	struct products job = products_of(p);
	size_t kv = kv_stride(h);
	if (!prepare_residual(p, &p->layer_weights->attn_norm,
			      form(&p->layer->q) | form(&p->layer->k) | form(&p->layer->v)))
		return false;
	add_product(&job, &p->layer->q, &p->acts, p->q, query_stride(h), false);
	add_product(&job, &p->layer->k, &p->acts, p->k, kv, false);
	add_product(&job, &p->layer->v, &p->acts, p->v, kv, false);
	if (!run_products(p, &job) || !run_tokens(p, rotate_and_store_chunk) ||
	    !hs_pool_run(p->m->pool, attend_chunk, p, p->n_views * h->n_kv_heads, p->y))
		return false;
	p->norm = NULL;
	set_input(p, p->attn, h->n_heads * h->head_dim, form(&p->layer->o));
	job = products_of(p);
	add_product(&job, &p->layer->o, &p->acts, p->x, embd_stride(h), true);
	return run_tokens(p, prepare_chunk) && run_products(p, &job) && norm_residual(p, &p->layer_weights->attn_out_norm);
}

static void activate_chunk(void *arg, uint32_t chunk, unsigned worker)
{
	struct pass *p = arg;
	size_t stride = HS_ROUND32(p->m->w->hyper.n_ff);
	(void)worker; /* needs no memory of its own */
	for (uint32_t t = chunk * TOKENS_A_CHUNK; t < tokens_end(p, chunk); t++) {
		p->m->kernels->activate(p->m->w->arch->act, p->layer_weights->gate ? p->gate + t * stride : NULL,
					p->up + t * stride, stride);
		p->m->kernels->quantise(&p->acts, t);
	}
}

static bool run_ffn(struct pass *p)
{
	const struct hs_hyper *h = &p->m->w->hyper;
	struct products job = products_of(p);
	size_t ff = HS_ROUND32(h->n_ff);
	if (!prepare_residual(p, &p->layer_weights->ffn_norm,
			      form(&p->layer->up) | (p->layer_weights->gate ? form(&p->layer->gate) : 0)))
		return false;
	if (p->layer_weights->gate)
		add_product(&job, &p->layer->gate, &p->acts, p->gate, ff, false);
	add_product(&job, &p->layer->up, &p->acts, p->up, ff, false);
	if (!run_products(p, &job))
		return false;
	set_input(p, p->up, h->n_ff, form(&p->layer->down));
	job = products_of(p);
	add_product(&job, &p->layer->down, &p->acts, p->x, embd_stride(h), true);
	return run_tokens(p, activate_chunk) && run_products(p, &job) && norm_residual(p, &p->layer_weights->out_norm);
}

/* x = the embeddings of ids; `positions` of each within its text. */
static void embed_tokens(struct pass *p, const int32_t *ids, const uint32_t *in_text)
{
	const struct hs_weights *w = p->m->w;
	float *row = p->normed; /* free until the first norm */
	for (uint32_t t = 0; t < p->n; t++) {
		float *x = p->x + t * embd_stride(&w->hyper);
		hs_tensor_row(w->embd, (uint64_t)ids[t], x);
		for (int k = 0; k < 2; k++) {
			const struct hs_gguf_tensor *table = k ? w->types : w->positions;
			if (!table)
				continue;
			hs_tensor_row(table, k ? 0 : in_text[t], row);
			for (uint32_t i = 0; i < w->hyper.n_embd; i++)
				x[i] += row[i];
		}
		for (uint32_t i = 0; i < w->hyper.head_dim / 2; i++) {
			double angle = in_text[t] * p->m->frequencies[i];
			p->cosines[t * (w->hyper.head_dim / 2) + i] = (float)cos(angle);
			p->sines[t * (w->hyper.head_dim / 2) + i] = (float)sin(angle);
		}
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
		p->views[p->n_views++] =
		    (struct view){.token = t, .end = HS_MIN(t + ATTEND_TOKENS, p->n), .visible = position + 1};
}

static bool run_head(struct pass *p, float *logits)
{
	const struct hs_weights *w = p->m->w;
	size_t last = (p->n - 1) * embd_stride(&w->hyper);
	p->m->kernels->normalise(w->arch->norm, p->x + last, floats_of(w->final_norm.weight), floats_of(w->final_norm.bias),
				 w->hyper.eps, w->hyper.n_embd, p->normed);
	set_input(p, p->normed, w->hyper.n_embd, form(&p->m->head));
	p->m->kernels->quantise(&p->acts, 0);
	struct products job = {.kernels = p->m->kernels, .tokens = 1};
	add_product(&job, &p->m->head, &p->acts, logits, HS_ROUND32(w->hyper.n_vocab), false);
	return run_products(p, &job);
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
			p->views[p->n_views++] = (struct view){
			    .token = token + t, .end = token + HS_MIN(t + ATTEND_TOKENS, len), .base = base, .visible = len};
		for (uint32_t t = 0; t < len; t++) {
			p->positions[token + t] = base + t;
			in_text[token + t] = t;
		}
		token += len;
		base += (uint32_t)HS_ROUND16(len);
	}
	p->n = token;
}

/* Mean or first token of rows x (n, embd), of length one. */
static void pool_text(const struct hs_hyper *h, const float *x, uint32_t n, float *out)
{
	double norm = 0;
	for (uint32_t i = 0; i < h->n_embd; i++) {
		double sum = 0;
		for (uint32_t t = 0; t < (h->pool == HS_POOL_MEAN ? n : 1); t++)
			sum += (double)x[t * embd_stride(h) + i];
		norm += sum * sum;
		out[i] = (float)sum;
	}
	for (uint32_t i = 0; i < h->n_embd; i++)
		out[i] = norm > 0 ? (float)(out[i] / sqrt(norm)) : 0;
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
		p.norm = &w->embd_norm;
		if ((w->arch->has & HS_F_EMBD_NORM && !run_tokens(&p, norm_chunk)) || !run_layers(&p, false))
			rc = -ECANCELED;
		for (uint32_t text = first; text < end && rc == 0; text++)
			pool_text(&w->hyper, p.x + (starts[text] - starts[first]) * embd_stride(&w->hyper),
				  starts[text + 1] - starts[text], out + (size_t)text * w->hyper.n_embd);
	}
	cache_finish(&c, 1);
	pass_finish(&p);
	free(in_text);
	return rc;
}
