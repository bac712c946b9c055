/* The memory of a pass, laid out once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inference/cuda/model.h"

static void place_inputs(struct hs_gpu_inputs *in, const struct hs_gpu_work *work, struct hs_gpu_layout *at)
{
	uint64_t n = work->capacity;
	in->ids = hs_gpu_place(at, n * sizeof *in->ids);
	in->positions = hs_gpu_place(at, n * sizeof *in->positions);
	in->page_starts = hs_gpu_place(at, n * sizeof *in->page_starts);
	in->views = hs_gpu_place(at, n * sizeof *in->views);
	in->starts = hs_gpu_place(at, ((uint64_t)work->texts + 1) * sizeof *in->starts);
	in->wishes = hs_gpu_place(at, HS_LOGITS_MAX * sizeof *in->wishes);
	in->pages = hs_gpu_place(at, (uint64_t)work->n_pages * sizeof *in->pages);
	in->allowed = hs_gpu_place(at, (uint64_t)HS_LOGITS_MAX * work->allowed_words * sizeof *in->allowed);
}

static uint64_t partial_floats(const struct hs_weights *w, uint32_t longest)
{
	const struct hs_hyper *h = &w->hyper;
	const struct hs_gpu_attention a = {
	    .cache = {.type = hs_gpu_cache_of(w), .n_kv_heads = h->n_kv_heads, .head_dim = h->head_dim},
	    .stride = hs_gpu_stride(h->n_heads * h->head_dim),
	    .n_heads = h->n_heads,
	    .n_views = HS_GPU_VIEWS_ALONE,
	    .longest = longest,
	    .most_tokens = 1};
	return hs_gpu_partial_floats(&a);
}

static void place(struct hs_gpu_work *work, const struct hs_weights *w, uint8_t *base)
{
	const struct hs_hyper *h = &w->hyper;
	struct hs_gpu_layout at = {.base = base};
	uint64_t n = work->capacity, f = sizeof(float), used = HS_MAX(h->n_experts_used, 1u),
		 visits = h->n_experts ? n * used : 0;
	uint64_t embd = hs_gpu_stride(h->n_embd), query = hs_gpu_stride(h->n_heads * h->head_dim),
		 kv = hs_gpu_stride(h->n_kv_heads * h->head_dim), ff = hs_gpu_stride(h->n_ff), pairs = h->head_dim / 2;
	uint64_t widest = HS_MAX(n * HS_MAX(embd, query), n * used * ff);
	bool encoder = h->pool != HS_POOL_NONE;
	place_inputs(&work->there, work, &at); /* first: the whole of it is one copy */
	work->inputs_bytes = at.used;
	work->x = hs_gpu_place(&at, n * embd * f);
	work->normed = hs_gpu_place(&at, n * embd * f);
	work->sub = hs_gpu_place(&at, n * embd * f);
	work->q = hs_gpu_place(&at, n * query * f);
	work->k = hs_gpu_place(&at, n * kv * f);
	work->v = hs_gpu_place(&at, n * kv * f);
	work->attn = hs_gpu_place(&at, n * query * f);
	work->gate = hs_gpu_place(&at, n * used * ff * f);
	work->up = hs_gpu_place(&at, n * used * ff * f);
	work->router = hs_gpu_place(&at, h->n_experts ? n * hs_gpu_stride(h->n_experts) * f : 0);
	work->said = hs_gpu_place(&at, visits * embd * f);
	work->routes.visits = hs_gpu_place(&at, visits * sizeof(uint32_t));
	work->routes.starts = hs_gpu_place(&at, ((uint64_t)h->n_experts + 1) * sizeof(uint32_t));
	work->routes.rows = hs_gpu_place(&at, visits * sizeof(uint32_t));
	work->routes.shares = hs_gpu_place(&at, visits * f);
	for (int i = 0; i < 2; i++) {
		work->cosines[i] = hs_gpu_place(&at, n * pairs * f);
		work->sines[i] = hs_gpu_place(&at, n * pairs * f);
	}
	work->partial = hs_gpu_place(&at, encoder ? 0 : partial_floats(w, work->longest) * f);
	work->logits = hs_gpu_place(&at, encoder ? 0 : (uint64_t)HS_LOGITS_MAX * hs_gpu_stride(h->n_vocab) * f);
	work->slices = hs_gpu_place(
	    &at, encoder ? 0 : (uint64_t)HS_LOGITS_MAX * ((h->n_vocab + HS_GPU_SLICE - 1) / HS_GPU_SLICE) * sizeof *work->slices);
	work->chosen = hs_gpu_place(&at, HS_LOGITS_MAX * sizeof *work->chosen);
	work->pooled = hs_gpu_place(&at, work->texts * embd * f);
	work->dense = hs_gpu_place(&at, h->n_labels ? work->texts * embd * f : 0);
	work->scores = hs_gpu_place(&at, (uint64_t)work->texts * hs_gpu_stride(h->n_labels) * f);
	work->acts.q = hs_gpu_place(&at, widest);
	work->acts.scale = hs_gpu_place(&at, widest / 32 * f);
	work->acts.sum = hs_gpu_place(&at, widest / 32 * f);
	work->bytes = at.used;
}

void hs_gpu_work_plan(struct hs_gpu_work *work, const struct hs_weights *w, uint32_t capacity, uint32_t texts, uint32_t n_pages,
		      uint32_t longest)
{
	uint32_t words = w->hyper.pool != HS_POOL_NONE ? 0 : (w->hyper.n_vocab + 31) / 32;
	*work = (struct hs_gpu_work){
	    .capacity = capacity, .texts = texts, .n_pages = n_pages, .longest = longest, .allowed_words = words};
	place(work, w, NULL);
}

int hs_gpu_work_take(struct hs_gpu_work *work, const struct hs_weights *w, struct hs_device *d)
{
	struct hs_gpu_layout at = {0};
	void *memory = NULL;
	work->inputs = aligned_alloc(HS_GPU_ALIGNMENT, work->inputs_bytes);
	if (!work->inputs)
		return -ENOMEM;
	memset(work->inputs, 0, work->inputs_bytes);
	at.base = work->inputs;
	place_inputs(&work->here, work, &at);
	int rc = hs_device_alloc(d, work->bytes, &memory);
	if (rc < 0)
		return rc;
	work->memory = memory;
	place(work, w, memory);
	return 0;
}

void hs_gpu_work_finish(struct hs_gpu_work *work, struct hs_device *d)
{
	if (work->inputs)
		explicit_bzero(work->inputs, work->inputs_bytes); /* tokens of what people asked */
	free(work->inputs);
	hs_device_free(d, work->memory, work->bytes);
	*work = (struct hs_gpu_work){0};
}

void hs_gpu_enter(struct hs_backend_model *m)
{
	pthread_mutex_lock(&m->lock);
}

/* The lock is held. */
static void wipe(struct hs_backend_model *m)
{
	atomic_store(&m->wants_wipe, false);
	explicit_bzero(m->work.inputs, m->work.inputs_bytes);
	hs_ignore(hs_device_zero(m->device, m->work.memory, m->work.bytes, 1, 0)); /* fails only where the device is lost */
}

void hs_gpu_leave(struct hs_backend_model *m, bool wants_wipe)
{
	if (wants_wipe)
		wipe(m);
	pthread_mutex_unlock(&m->lock);
	if (atomic_load(&m->wants_wipe)) /* since then, or while it ran */
		hs_gpu_forget(m);
}

void hs_gpu_forget(struct hs_backend_model *m)
{
	atomic_store(&m->wants_wipe, true); /* first: whoever holds the lock looks after giving it back */
	if (pthread_mutex_trylock(&m->lock) != 0)
		return;
	wipe(m);
	pthread_mutex_unlock(&m->lock);
}
