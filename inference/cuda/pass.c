/*
 * The layers, as launches in order. A row of anything depends on its own row only, so neither the cut of a prompt nor the company
 * of other sequences changes a bit.
 */
#include <errno.h>

#include "inference/cuda/model.h"

#define LAYERS_A_WAIT 8u /* of a long pass: so often the host looks whether it shall go on */

struct hs_gpu_acts hs_gpu_pass_acts(struct hs_gpu_pass *p, float *x, uint32_t columns, bool bytes)
{
	struct hs_gpu_acts a = {.stride = hs_gpu_stride(columns), .x = x};
	if (bytes) {
		a.q = p->m->work.acts.q;
		a.scale = p->m->work.acts.scale;
		a.sum = p->m->work.acts.sum;
	}
	return a;
}

void hs_gpu_pass_norm(struct hs_gpu_pass *p, const struct hs_gpu_vectors *norm, const float *in, uint32_t rows,
		      const struct hs_gpu_acts *out)
{
	const struct hs_weights *w = p->m->w;
	const struct hs_gpu_norm_job job = {.kind = !norm->weight                    ? HS_GPU_NORM_NONE
						    : w->arch->norm == HS_NORM_LAYER ? HS_GPU_NORM_LAYER
										     : HS_GPU_NORM_RMS,
					    .in = in,
					    .stride = hs_gpu_stride(w->hyper.n_embd),
					    .rows = rows,
					    .heads = 1,
					    .n = w->hyper.n_embd,
					    .weight = norm->weight,
					    .bias = norm->bias,
					    .eps = w->hyper.eps,
					    .out = *out};
	HS_GPU_LAUNCH(p, hs_gpu_normalise(hs_device_stream(p->m->device), &job));
}

/* The residual, normed where there is a norm, as what is multiplied next. */
static struct hs_gpu_acts prepare(struct hs_gpu_pass *p, const struct hs_gpu_vectors *norm, bool bytes)
{
	const struct hs_gpu_work *work = &p->m->work;
	struct hs_gpu_acts a = hs_gpu_pass_acts(p, norm->weight ? work->normed : work->x, p->m->w->hyper.n_embd, bytes);
	if (norm->weight || bytes)
		hs_gpu_pass_norm(p, norm, work->x, p->n, &a);
	return a;
}

/* Bytes of n rows that are there already. */
static void quantise(struct hs_gpu_pass *p, const struct hs_gpu_acts *a, uint32_t rows, uint32_t columns)
{
	const struct hs_gpu_norm_job job = {
	    .kind = HS_GPU_NORM_NONE, .in = a->x, .stride = a->stride, .rows = rows, .heads = 1, .n = columns, .out = *a};
	if (a->q)
		HS_GPU_LAUNCH(p, hs_gpu_normalise(hs_device_stream(p->m->device), &job));
}

static void multiply(struct hs_gpu_pass *p, const struct hs_gpu_matrix *m, const struct hs_gpu_acts *a, float *y, bool add)
{
	HS_GPU_LAUNCH(p, hs_gpu_multiply(hs_device_stream(p->m->device), m, a, p->n, y, hs_gpu_stride(m->rows), add));
}

/* x += W a, or x += norm(W a) where there is a norm */
static void add_to_residual(struct hs_gpu_pass *p, const struct hs_gpu_matrix *m, const struct hs_gpu_acts *a,
			    const struct hs_gpu_vectors *norm)
{
	const struct hs_gpu_work *work = &p->m->work;
	const struct hs_hyper *h = &p->m->w->hyper;
	if (!norm->weight) {
		multiply(p, m, a, work->x, true);
		return;
	}
	multiply(p, m, a, work->sub, false);
	const struct hs_gpu_norm_job job = {.kind = p->m->w->arch->norm == HS_NORM_LAYER ? HS_GPU_NORM_LAYER : HS_GPU_NORM_RMS,
					    .in = work->sub,
					    .stride = hs_gpu_stride(h->n_embd),
					    .rows = p->n,
					    .heads = 1,
					    .n = h->n_embd,
					    .weight = norm->weight,
					    .eps = h->eps,
					    .residual = work->x,
					    .out = {.stride = hs_gpu_stride(h->n_embd), .x = work->x}};
	HS_GPU_LAUNCH(p, hs_gpu_normalise(hs_device_stream(p->m->device), &job));
}

/* x = norm(x) where there is a norm */
static void norm_residual(struct hs_gpu_pass *p, const struct hs_gpu_vectors *norm)
{
	struct hs_gpu_acts a = hs_gpu_pass_acts(p, p->m->work.x, p->m->w->hyper.n_embd, false);
	if (norm->weight)
		hs_gpu_pass_norm(p, norm, p->m->work.x, p->n, &a);
}

static void norm_heads(struct hs_gpu_pass *p, const struct hs_gpu_vectors *norm, const struct hs_gguf_tensor *weight, float *x,
		       uint32_t heads)
{
	const struct hs_hyper *h = &p->m->w->hyper;
	uint32_t stride = hs_gpu_stride(heads * h->head_dim);
	if (!weight)
		return;
	const struct hs_gpu_norm_job job = {.kind = p->m->w->arch->norm == HS_NORM_LAYER ? HS_GPU_NORM_LAYER : HS_GPU_NORM_RMS,
					    .in = x,
					    .stride = stride,
					    .rows = p->n * heads,
					    .heads = heads,
					    .n = h->head_dim,
					    .weight = norm->weight,
					    .weight_per_head = weight->dims[1] != 1,
					    .eps = h->eps,
					    .out = {.stride = stride, .x = x}};
	HS_GPU_LAUNCH(p, hs_gpu_normalise(hs_device_stream(p->m->device), &job));
}

/* Heads normed and turned as the layer says. */
static void finish_heads(struct hs_gpu_pass *p, const struct hs_layer *l, const struct hs_gpu_layer *g)
{
	const struct hs_hyper *h = &p->m->w->hyper;
	const struct hs_gpu_work *work = &p->m->work;
	hs_gpu_stream stream = hs_device_stream(p->m->device);
	enum hs_gpu_rope kind = p->m->w->arch->rope == HS_ROPE_HALF ? HS_GPU_ROPE_HALF : HS_GPU_ROPE_INTERLEAVED;
	const float *cosines = work->cosines[l->turns == HS_TURN_NEAR], *sines = work->sines[l->turns == HS_TURN_NEAR];
	norm_heads(p, &g->q_norm, l->q_norm, work->q, h->n_heads);
	norm_heads(p, &g->k_norm, l->k_norm, work->k, h->n_kv_heads);
	if (p->m->w->arch->rope == HS_ROPE_NONE || l->turns == HS_TURN_NOT)
		return;
	HS_GPU_LAUNCH(p, hs_gpu_rotate(stream, kind, work->q, hs_gpu_stride(h->n_heads * h->head_dim), p->n, h->n_heads,
				       h->head_dim, cosines, sines));
	HS_GPU_LAUNCH(p, hs_gpu_rotate(stream, kind, work->k, hs_gpu_stride(h->n_kv_heads * h->head_dim), p->n, h->n_kv_heads,
				       h->head_dim, cosines, sines));
}

static void attend(struct hs_gpu_pass *p, uint32_t layer)
{
	const struct hs_backend_model *m = p->m;
	const struct hs_hyper *h = &m->w->hyper;
	const struct hs_gpu_work *work = &m->work;
	hs_gpu_stream stream = hs_device_stream(m->device);
	const struct hs_gpu_attention a = {
	    .cache = {.type = hs_gpu_cache_of(m->w),
		      .n_kv_heads = h->n_kv_heads,
		      .head_dim = h->head_dim,
		      .pool = hs_pages_pool(m->pages),
		      .page_bytes = hs_pages_bytes(m->pages),
		      .layer_at =
			  p->one_layer ? 0 : layer * hs_gpu_page_bytes(hs_gpu_cache_of(m->w), h->head_dim, h->n_kv_heads, 1)},
	    .q = work->q,
	    .out = work->attn,
	    .stride = hs_gpu_stride(h->n_heads * h->head_dim),
	    .n_heads = h->n_heads,
	    .views = work->there.views,
	    .n_views = p->n_views,
	    .longest = p->longest,
	    .most_tokens = p->most_tokens,
	    .pages = work->there.pages,
	    .window = m->w->layers[layer].window,
	    .causal = m->w->arch->causal,
	    .scale = h->attn_scale,
	    .cap = h->attn_cap,
	    .sinks = m->layers[layer].sinks,
	    .partial = work->partial,
	};
	HS_GPU_LAUNCH(p, hs_gpu_store(stream, &a.cache, work->k, work->v, hs_gpu_stride(h->n_kv_heads * h->head_dim), p->n,
				      work->there.positions, work->there.pages, work->there.page_starts));
	HS_GPU_LAUNCH(p, hs_gpu_attend(stream, &a));
}

static void run_attention(struct hs_gpu_pass *p, uint32_t layer)
{
	const struct hs_gpu_layer *g = &p->m->layers[layer];
	const struct hs_hyper *h = &p->m->w->hyper;
	const struct hs_gpu_work *work = &p->m->work;
	bool bytes = hs_gpu_wants_bytes(&g->q) || hs_gpu_wants_bytes(&g->k) || hs_gpu_wants_bytes(&g->v);
	struct hs_gpu_acts a = prepare(p, &g->attn_norm, bytes);
	multiply(p, &g->q, &a, work->q, false);
	multiply(p, &g->k, &a, work->k, false);
	multiply(p, &g->v, &a, work->v, false);
	finish_heads(p, &p->m->w->layers[layer], g);
	attend(p, layer);
	a = hs_gpu_pass_acts(p, work->attn, h->n_heads * h->head_dim, hs_gpu_wants_bytes(&g->o));
	quantise(p, &a, p->n, h->n_heads * h->head_dim);
	add_to_residual(p, &g->o, &a, &g->attn_sub_norm);
	norm_residual(p, &g->attn_out_norm);
}

/* up = act(gate) up of n rows, as what `down` is multiplied by */
static struct hs_gpu_acts activate(struct hs_gpu_pass *p, const struct hs_gpu_layer *g, uint32_t rows)
{
	const struct hs_gpu_work *work = &p->m->work;
	uint32_t ff = p->m->w->hyper.n_ff;
	struct hs_gpu_acts a = hs_gpu_pass_acts(p, work->up, ff, hs_gpu_wants_bytes(&g->down));
	HS_GPU_LAUNCH(p, hs_gpu_activate(hs_device_stream(p->m->device), (enum hs_gpu_act)p->m->w->arch->act,
					 g->gate.data ? work->gate : NULL, work->up, hs_gpu_stride(ff), rows, ff, &a));
	return a;
}

static void run_experts(struct hs_gpu_pass *p, const struct hs_gpu_layer *g, const struct hs_gpu_acts *a)
{
	const struct hs_hyper *h = &p->m->w->hyper;
	const struct hs_gpu_work *work = &p->m->work;
	hs_gpu_stream stream = hs_device_stream(p->m->device);
	struct hs_gpu_routes routes = work->routes;
	routes.tokens = p->n;
	routes.experts = h->n_experts;
	routes.used = h->n_experts_used;
	multiply(p, &g->router, a, work->router, false);
	HS_GPU_LAUNCH(p, hs_gpu_route(stream, work->router, hs_gpu_stride(h->n_experts), &routes));
	HS_GPU_LAUNCH(p, hs_gpu_multiply_experts(stream, &g->gate, a, &routes, 1, work->gate, hs_gpu_stride(h->n_ff)));
	HS_GPU_LAUNCH(p, hs_gpu_multiply_experts(stream, &g->up, a, &routes, 1, work->up, hs_gpu_stride(h->n_ff)));
	struct hs_gpu_acts visits = activate(p, g, p->n * h->n_experts_used);
	HS_GPU_LAUNCH(p, hs_gpu_multiply_experts(stream, &g->down, &visits, &routes, 0, work->said, hs_gpu_stride(h->n_embd)));
	HS_GPU_LAUNCH(p, hs_gpu_gather_experts(stream, &routes, work->said, hs_gpu_stride(h->n_embd), work->x,
					       hs_gpu_stride(h->n_embd), h->n_embd));
}

static void run_ffn(struct hs_gpu_pass *p, uint32_t layer)
{
	const struct hs_gpu_layer *g = &p->m->layers[layer];
	const struct hs_gpu_work *work = &p->m->work;
	bool bytes = hs_gpu_wants_bytes(&g->up) || hs_gpu_wants_bytes(&g->gate) || hs_gpu_wants_bytes(&g->router);
	struct hs_gpu_acts a;
	if (p->m->w->arch->has & HS_F_PARALLEL) { /* what attention read, which `normed` still holds */
		a = hs_gpu_pass_acts(p, work->normed, p->m->w->hyper.n_embd, bytes);
		quantise(p, &a, p->n, p->m->w->hyper.n_embd);
	} else {
		a = prepare(p, &g->ffn_norm, bytes);
	}
	if (g->router.data) {
		run_experts(p, g, &a);
		return;
	}
	if (g->gate.data)
		multiply(p, &g->gate, &a, work->gate, false);
	multiply(p, &g->up, &a, work->up, false);
	a = activate(p, g, p->n);
	add_to_residual(p, &g->down, &a, &g->ffn_sub_norm);
	norm_residual(p, &g->out_norm);
}

void hs_gpu_pass_upload(struct hs_gpu_pass *p)
{
	const struct hs_gpu_work *work = &p->m->work;
	uint64_t bytes = (uint64_t)((uint8_t *)(work->here.pages + p->n_pages) - work->inputs);
	uint64_t masks = (uint64_t)p->n_masks * work->allowed_words * sizeof *work->here.allowed;
	if (p->rc == 0)
		p->rc = hs_device_upload(p->m->device, work->memory, work->inputs, bytes);
	if (p->rc == 0 && masks)
		p->rc = hs_device_upload(p->m->device, work->there.allowed, work->here.allowed, masks);
}

void hs_gpu_pass_begin(struct hs_gpu_pass *p)
{
	struct hs_backend_model *m = p->m;
	const struct hs_hyper *h = &m->w->hyper;
	const struct hs_gpu_work *work = &m->work;
	const struct hs_gpu_inputs *in = &work->there;
	hs_gpu_stream stream = hs_device_stream(m->device);
	uint32_t pairs = h->head_dim / 2;
	HS_GPU_LAUNCH(p, hs_gpu_embed(stream, &m->embd, in->ids, p->n, h->embd_scale, m->positions.data ? &m->positions : NULL,
				      in->positions, m->types.data ? &m->types : NULL, work->x, hs_gpu_stride(h->n_embd)));
	norm_residual(p, &m->embd_norm);
	for (int i = 0; i < 2 && m->w->arch->rope != HS_ROPE_NONE; i++)
		HS_GPU_LAUNCH(p,
			      hs_gpu_turn(stream, m->frequencies + (size_t)i * pairs, pairs, (double)(i ? h->near : h->far).gain,
					  in->positions, p->n, work->cosines[i], work->sines[i]));
}

void hs_gpu_pass_layers(struct hs_gpu_pass *p)
{
	for (uint32_t i = 0; i < p->m->w->hyper.n_layers && p->rc == 0; i++) {
		run_attention(p, i);
		run_ffn(p, i);
		if (p->rc == 0 && p->n > HS_STEP_TOKENS_MAX && i % LAYERS_A_WAIT == LAYERS_A_WAIT - 1)
			p->rc = hs_device_wait(p->m->device);
		if (p->rc == 0 && hs_yield_is_due(p->y) && hs_yield_now(p->y))
			p->rc = -ECANCELED;
	}
}
