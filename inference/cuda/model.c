/* The model's way to the GPU: what its kernels cannot do is refused, then it is measured, and then streamed there. */
#include "inference/cuda/model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "inference/cuda/repack.h"

#define STAGING_BYTES (8u << 20)

static int lacks(struct hs_err *err, const char *what)
{
	return hs_fail(err, ENOTSUP, "gpu.unsupported", HS_N_("no kernel of the GPU computes this: the CPU does"), "%s", what);
}

int hs_gpu_judge(const struct hs_weights *w, struct hs_err *err)
{
	const struct hs_hyper *h = &w->hyper;
	uint32_t group = h->n_heads / h->n_kv_heads;
	if (h->head_dim > HS_GPU_HEAD_DIM_MAX || h->head_dim % 2)
		return lacks(err, "the length of a head");
	if (group > HS_GPU_GROUP_MAX)
		return lacks(err, "query heads a key head");
	if (h->n_experts > HS_GPU_EXPERTS_MAX || h->n_experts_used > HS_GPU_EXPERTS_USED_MAX)
		return lacks(err, "experts");
	if (HS_MAX(HS_MAX(h->n_embd, h->n_ff), h->n_heads * h->head_dim) > HS_GPU_COLUMNS_MAX)
		return lacks(err, "the length of a row");
	if (h->pool != HS_POOL_NONE && h->context > HS_GPU_TOKENS_MAX)
		return lacks(err, "the length of a text");
	if (h->n_vocab > HS_GPU_VOCAB_MAX)
		return lacks(err, "the size of the vocabulary");
	return 0;
}

/* --- weights: placed with base NULL to measure, then with it to fill --- */

struct filling {
	struct hs_gpu_layout at;
	struct hs_device *device;
	const struct hs_cuda_options *o;
	uint8_t *staging; /* NULL: only measure */
	const struct hs_weights *w;
	uint64_t done, total; /* bytes of the file */
	int rc;
};

/* The file's pages are not read again: let them go from this process's resident memory. */
static void forget_pages(const struct hs_gguf_tensor *t)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = ((uintptr_t)t->data + page - 1) / page * page;
	uintptr_t to = ((uintptr_t)t->data + t->bytes) / page * page;
	if (from < to)
		(void)madvise((void *)from, to - from, MADV_COLD); /* only thrift */
}

static void told(struct filling *f, const struct hs_gguf_tensor *t, uint64_t bytes)
{
	f->done += bytes;
	if (f->o->progress)
		f->o->progress(f->o->arg, HS_MIN(f->done, f->total), f->total);
}

/* Rows of t from `first` on, a matrix of its own, to `to`. */
static void fill_rows(struct filling *f, const struct hs_gguf_tensor *t, uint64_t first, uint32_t rows, enum hs_gpu_type type,
		      uint8_t *to)
{
	uint64_t strip_bytes = hs_gpu_matrix_bytes(type, HS_GPU_TILE_ROWS, (uint32_t)t->dims[0]);
	uint32_t strips = (rows + HS_GPU_TILE_ROWS - 1) / HS_GPU_TILE_ROWS,
		 step = (uint32_t)HS_MAX(STAGING_BYTES / strip_bytes, (uint64_t)1);
	for (uint32_t s = 0; s < strips && f->rc == 0; s += step) {
		uint32_t end = HS_MIN(s + step, strips);
		hs_gpu_pack(t, first, rows, s, end, f->staging);
		f->rc = hs_device_upload(f->device, to + s * strip_bytes, f->staging, (end - s) * strip_bytes);
	}
}

static const float *place_vector(struct filling *f, const struct hs_gguf_tensor *t)
{
	if (!t)
		return NULL;
	float *p = hs_gpu_place(&f->at, t->bytes);
	if (f->staging && f->rc == 0)
		f->rc = hs_device_upload(f->device, p, t->data, t->bytes);
	if (f->staging)
		told(f, t, t->bytes);
	else
		f->total += t->bytes;
	return p;
}

static void place_vectors(struct filling *f, struct hs_gpu_vectors *v, const struct hs_gguf_tensor *weight,
			  const struct hs_gguf_tensor *bias)
{
	v->weight = place_vector(f, weight);
	v->bias = place_vector(f, bias);
}

/* n matrices, each below the one before. */
static void place_matrix(struct filling *f, struct hs_gpu_matrix *m, const struct hs_gguf_tensor *t,
			 const struct hs_gguf_tensor *bias, uint32_t n)
{
	if (!t)
		return;
	uint32_t rows = (uint32_t)(t->dims[1] / n), columns = (uint32_t)t->dims[0];
	bool known = hs_gpu_type_of(t->type, &m->type);
	hs_assert(known);
	uint64_t bytes = hs_gpu_matrix_bytes(m->type, rows, columns);
	uint8_t *to = hs_gpu_place(&f->at, n * bytes);
	m->rows = rows;
	m->columns = columns;
	m->data = to;
	m->bias = place_vector(f, bias);
	if (!f->staging) {
		f->total += t->bytes;
		return;
	}
	for (uint32_t i = 0; i < n && f->rc == 0; i++) {
		fill_rows(f, t, (uint64_t)i * rows, rows, m->type, to + i * bytes);
		told(f, t, t->bytes / n);
	}
	forget_pages(t);
}

static void place_layer(struct filling *f, const struct hs_layer *l, struct hs_gpu_layer *g)
{
	uint32_t n = l->router ? f->w->hyper.n_experts : 1;
	place_vectors(f, &g->attn_norm, l->attn_norm.weight, l->attn_norm.bias);
	place_vectors(f, &g->attn_out_norm, l->attn_out_norm.weight, l->attn_out_norm.bias);
	place_vectors(f, &g->ffn_norm, l->ffn_norm.weight, l->ffn_norm.bias);
	place_vectors(f, &g->out_norm, l->out_norm.weight, l->out_norm.bias);
	place_vectors(f, &g->attn_sub_norm, l->attn_sub_norm, NULL);
	place_vectors(f, &g->ffn_sub_norm, l->ffn_sub_norm, NULL);
	place_vectors(f, &g->q_norm, l->q_norm, NULL);
	place_vectors(f, &g->k_norm, l->k_norm, NULL);
	g->sinks = place_vector(f, l->sinks);
	place_matrix(f, &g->q, l->q, l->qb, 1);
	place_matrix(f, &g->k, l->k, l->kb, 1);
	place_matrix(f, &g->v, l->v, l->vb, 1);
	place_matrix(f, &g->o, l->o, l->ob, 1);
	place_matrix(f, &g->router, l->router, l->routerb, 1);
	place_matrix(f, &g->gate, l->gate, l->gateb, n);
	place_matrix(f, &g->up, l->up, l->upb, n);
	place_matrix(f, &g->down, l->down, l->downb, n);
}

static void place_frequencies(struct filling *f, struct hs_backend_model *m)
{
	uint32_t pairs = m->w->hyper.head_dim / 2;
	double here[HS_GPU_HEAD_DIM_MAX];
	m->frequencies = hs_gpu_place(&f->at, 2 * pairs * sizeof *m->frequencies);
	if (!f->staging || f->rc < 0 || pairs == 0)
		return;
	hs_rope_frequencies(m->w, HS_TURN_FAR, here);
	hs_rope_frequencies(m->w, HS_TURN_NEAR, here + pairs);
	f->rc = hs_device_upload(f->device, m->frequencies, here, 2 * pairs * sizeof *here);
}

/* Everything, in one order: what is measured is what is filled. */
static void place_weights(struct filling *f, struct hs_backend_model *m)
{
	const struct hs_weights *w = m->w;
	f->w = w;
	f->at.used = 0;
	place_matrix(f, &m->embd, w->embd, NULL, 1);
	place_matrix(f, &m->positions, w->positions, NULL, 1);
	place_matrix(f, &m->types, w->types, NULL, 1);
	place_vectors(f, &m->embd_norm, w->embd_norm.weight, w->embd_norm.bias);
	place_vectors(f, &m->final_norm, w->final_norm.weight, w->final_norm.bias);
	place_vectors(f, &m->cls_norm, w->cls_norm, NULL);
	place_matrix(f, &m->cls, w->cls, w->clsb, 1);
	place_matrix(f, &m->cls_out, w->cls_out, w->cls_outb, 1);
	place_frequencies(f, m);
	for (uint32_t i = 0; i < w->hyper.n_layers; i++)
		place_layer(f, &w->layers[i], &m->layers[i]);
	if (w->head == w->embd)
		m->head = m->embd;
	else
		place_matrix(f, &m->head, w->head, NULL, 1);
}

static int fill_weights(struct hs_backend_model *m, const struct hs_cuda_options *o)
{
	struct filling f = {.device = m->device, .o = o};
	void *memory = NULL;
	place_weights(&f, m);
	m->weight_bytes = f.at.used;
	uint64_t widest = HS_MAX(HS_MAX(m->w->hyper.n_embd, m->w->hyper.n_ff), m->w->hyper.n_heads * m->w->hyper.head_dim);
	int rc = hs_device_alloc(m->device, m->weight_bytes, &memory);
	if (rc < 0)
		return rc;
	m->weights = memory;
	f.staging = malloc(HS_MAX((uint64_t)STAGING_BYTES, hs_gpu_matrix_bytes(HS_GPU_F32, HS_GPU_TILE_ROWS, (uint32_t)widest)));
	if (!f.staging)
		return -ENOMEM;
	f.at.base = m->weights;
	place_weights(&f, m);
	free(f.staging);
	return f.rc;
}

/* --- what fits --- */

static uint64_t megabytes(uint64_t bytes)
{
	return (bytes + 999999) / 1000000;
}

/* How many pages beside weights and work; *ret. Refuses what does not fit, with the sum. */
static int plan_memory(struct hs_backend_model *m, const struct hs_cuda_options *o, uint32_t *ret, struct hs_err *err)
{
	const struct hs_hyper *h = &m->w->hyper;
	bool encoder = h->pool != HS_POOL_NONE;
	struct filling f = {.device = m->device, .o = o};
	uint32_t capacity =
	    encoder ? HS_MAX(h->context, HS_GPU_ENCODE_TOKENS) : HS_MIN(HS_GPU_TURN_TOKENS, HS_MAX(h->context, 64u));
	uint32_t texts = encoder ? HS_GPU_ENCODE_TEXTS : 0, longest = HS_MIN(h->context, HS_GPU_POSITIONS_MAX);
	uint64_t page = hs_gpu_page_bytes(hs_gpu_cache_of(m->w), h->head_dim, h->n_kv_heads, encoder ? 1 : h->n_layers);
	uint32_t most = encoder ? capacity / HS_GPU_PAGE_POSITIONS + texts : HS_GPU_POSITIONS_MAX / HS_GPU_PAGE_POSITIONS;
	uint32_t least =
	    encoder ? most : (HS_MIN(longest, HS_GPU_POSITIONS_MIN) + HS_GPU_PAGE_POSITIONS - 1) / HS_GPU_PAGE_POSITIONS;
	place_weights(&f, m);
	hs_gpu_work_plan(&m->work, m->w, capacity, texts, most, longest);
	uint64_t there = hs_device_memory_free(m->device), reserve = HS_MIN(HS_GPU_RESERVE, there / 8);
	uint64_t room = o->memory_max ? HS_MIN(o->memory_max, there - reserve) : there - reserve;
	uint64_t fixed = f.at.used + m->work.bytes;
	if (fixed + least * page > room)
		return hs_fail(err, ENOMEM, "gpu.memory",
			       HS_N_("the model does not fit into the GPU's memory: take a smaller one, or one of fewer bits"),
			       "weights %llu MB + work %llu MB + %u positions %llu MB = %llu MB, free %llu MB",
			       (unsigned long long)megabytes(f.at.used), (unsigned long long)megabytes(m->work.bytes),
			       least * HS_GPU_PAGE_POSITIONS, (unsigned long long)megabytes(least * page),
			       (unsigned long long)megabytes(fixed + least * page), (unsigned long long)megabytes(room));
	*ret = (uint32_t)HS_MIN((room - fixed) / page, (uint64_t)most);
	return 0;
}

static int take_memory(struct hs_backend_model *m, const struct hs_cuda_options *o, struct hs_err *err)
{
	const struct hs_hyper *h = &m->w->hyper;
	bool encoder = h->pool != HS_POOL_NONE;
	uint32_t n_pages = 0, heads = 2 * h->n_kv_heads * (encoder ? 1 : h->n_layers);
	int rc = plan_memory(m, o, &n_pages, err);
	if (rc < 0)
		return rc;
	rc = fill_weights(m, o);
	if (rc == 0)
		rc = hs_gpu_work_take(&m->work, m->w, m->device);
	if (rc == 0)
		rc = hs_pages_create(m->device, hs_gpu_cache_of(m->w), h->head_dim, heads, n_pages, &m->pages);
	if (rc == 0)
		rc = hs_device_wait(m->device);
	if (rc == -ENOMEM)
		return hs_fail(err, ENOMEM, "gpu.memory", HS_N_("the GPU's memory ran out while the model was loaded"),
			       "weights");
	if (rc == -ENODEV)
		return hs_fail(err, ENODEV, "gpu.lost", HS_N_("the GPU failed while the model was loaded"), "weights");
	return rc < 0 ? hs_fail_errno(err, rc, "gpu.open", "weights") : 0;
}

int hs_gpu_open_model(const struct hs_weights *w, const struct hs_cuda_options *o, struct hs_backend_model **ret,
		      struct hs_err *err)
{
	int rc = hs_gpu_judge(w, err);
	struct hs_backend_model *m = rc == 0 ? calloc(1, sizeof *m) : NULL;
	if (rc < 0)
		return rc;
	if (!m)
		return hs_fail_errno(err, -ENOMEM, "gpu.open", "weights");
	m->w = w;
	(void)pthread_mutex_init(&m->lock, NULL); /* cannot fail with default attributes */
	m->layers = calloc(w->hyper.n_layers, sizeof *m->layers);
	rc = m->layers ? hs_device_open(o->device, &m->device, err) : hs_fail_errno(err, -ENOMEM, "gpu.open", "weights");
	if (rc == 0)
		rc = take_memory(m, o, err);
	if (rc < 0) {
		hs_gpu_close_model(m);
		return rc;
	}
	*ret = m;
	return 0;
}

void hs_gpu_close_model(struct hs_backend_model *m)
{
	if (!m)
		return;
	if (m->device) {
		hs_gpu_graphs_finish(m);
		hs_pages_destroy(m->pages);
		hs_gpu_work_finish(&m->work, m->device);
		hs_device_free(m->device, m->weights, m->weight_bytes);
		hs_device_close(m->device);
	}
	(void)pthread_mutex_destroy(&m->lock); /* nobody holds it */
	free(m->layers);
	free(m);
}
