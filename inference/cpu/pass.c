#include "inference/cpu/pass.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
	size_t rows = visits_of(h, capacity), routed = h->n_experts ? rows : 0;
	struct layout at = {.start = start};
	p->positions = take(&at, capacity * sizeof *p->positions);
	p->caches = take(&at, capacity * sizeof *p->caches);
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
	size_t products = HS_MAX((size_t)HS_ADAPTED_MAX * HS_TOGETHER_MAX, 2 * HS_MIN((size_t)h->n_experts, routed));
	p->entries = take(&at, products * sizeof *p->entries);
	p->low = take(&at, h->pool == HS_POOL_NONE ? HS_TOGETHER_MAX * capacity * HS_LORA_RANK_MAX * f : 0);
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

int hs_pass_init(struct pass *p, const struct hs_backend_model *m, uint32_t capacity, uint32_t longest)
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

void hs_pass_finish(struct pass *p)
{
	if (p->memory)
		explicit_bzero(p->memory, p->memory_bytes); /* it held what people asked */
	free(p->memory);
	p->memory = NULL;
}
