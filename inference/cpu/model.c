/* The cpu backend's model: weights packed for the kernels, by all threads. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "inference/cpu/cpu.h"

#define PANELS_A_CHUNK 16

struct fill {
	struct hs_packed *p;
	const struct hs_gguf_tensor *t;
};

static void fill_chunk(void *arg, uint32_t chunk, unsigned worker)
{
	const struct fill *f = arg;
	uint32_t end = HS_MIN((chunk + 1) * PANELS_A_CHUNK, f->p->n_panels);
	(void)worker; /* needs no memory of its own */
	for (uint32_t i = chunk * PANELS_A_CHUNK; i < end; i++)
		hs_packed_fill(f->p, f->t, i);
}

/* The file's pages are not read again: let them go from this process's resident memory. */
static void forget_pages(const struct hs_gguf_tensor *t)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = ((uintptr_t)t->data + page - 1) / page * page;
	uintptr_t to = ((uintptr_t)t->data + t->bytes) / page * page;
	if (from < to)
		(void)madvise((void *)from, to - from,
			      MADV_COLD); /* only thrift; COLD also leaves memory that is no file's intact */
}

static int pack(struct hs_backend_model *m, const struct hs_gguf_tensor *t, const struct hs_gguf_tensor *bias,
		struct hs_packed *p)
{
	struct fill f = {.p = p, .t = t};
	struct hs_yield never = {0};
	if (!t)
		return 0;
	if (!hs_packed_panel_bytes(t->type, (uint32_t)t->dims[0]))
		return -ENOTSUP;
	int rc = hs_packed_init(p, t, bias);
	if (rc < 0)
		return rc;
	bool whole = hs_pool_run(m->pool, fill_chunk, &f, (p->n_panels + PANELS_A_CHUNK - 1) / PANELS_A_CHUNK, &never);
	hs_assert(whole); /* nobody says stop */
	if (t != m->w->embd)
		forget_pages(t);
	return 0;
}

static int pack_layer(struct hs_backend_model *m, const struct hs_layer *l, struct hs_cpu_layer *p)
{
	int rc;
	if ((rc = pack(m, l->q, l->qb, &p->q)) < 0 || (rc = pack(m, l->k, l->kb, &p->k)) < 0 ||
	    (rc = pack(m, l->v, l->vb, &p->v)) < 0 || (rc = pack(m, l->o, l->ob, &p->o)) < 0 ||
	    (rc = pack(m, l->router, l->routerb, &p->router)) < 0 || (rc = pack(m, l->gate, l->gateb, &p->gate)) < 0 ||
	    (rc = pack(m, l->up, l->upb, &p->up)) < 0)
		return rc;
	return pack(m, l->down, l->downb, &p->down);
}

void hs_cpu_close(struct hs_backend_model *m)
{
	if (!m)
		return;
	for (uint32_t i = 0; m->layers && i < m->w->hyper.n_layers; i++) {
		struct hs_cpu_layer *l = &m->layers[i];
		struct hs_packed *const parts[] = {&l->q, &l->k, &l->v, &l->o, &l->router, &l->gate, &l->up, &l->down};
		for (size_t k = 0; k < HS_ARRAY_LEN(parts); k++)
			hs_packed_finish(parts[k]);
	}
	hs_packed_finish(&m->head);
	hs_packed_finish(&m->cls);
	hs_packed_finish(&m->cls_out);
	hs_pool_destroy(m->pool);
	hs_kv_destroy(m->kv);
	free(m->layers);
	free(m->frequencies);
	free(m);
}

int hs_cpu_open(const struct hs_weights *w, const struct hs_kernels *kernels, unsigned n_threads, struct hs_backend_model **ret,
		struct hs_err *err)
{
	struct hs_backend_model *m = calloc(1, sizeof *m);
	if (!m)
		return hs_fail_errno(err, -ENOMEM, "model.load", "weights");
	m->w = w;
	m->kernels = kernels;
	m->layers = calloc(w->hyper.n_layers, sizeof *m->layers);
	m->frequencies = calloc(w->hyper.head_dim, sizeof *m->frequencies);
	int rc = m->layers && m->frequencies ? hs_pool_create(n_threads, &m->pool) : -ENOMEM;
	for (uint32_t i = 0; i < w->hyper.n_layers && rc == 0; i++)
		rc = pack_layer(m, &w->layers[i], &m->layers[i]);
	if (rc == 0)
		rc = pack(m, w->head, NULL, &m->head);
	if (rc == 0)
		rc = pack(m, w->cls, w->clsb, &m->cls);
	if (rc == 0)
		rc = pack(m, w->cls_out, w->cls_outb, &m->cls_out);
	if (rc < 0)
		(void)hs_fail_errno(err, rc, "model.load", "weights");
	struct hs_page_form form = hs_page_form(&w->hyper, w->hyper.n_layers, w->kv_q8);
	if (rc == 0 && w->hyper.pool == HS_POOL_NONE)
		rc = hs_kv_create(&form, w->hyper.context, &m->kv, err);
	if (rc < 0) {
		hs_cpu_close(m);
		return rc;
	}
	hs_rope_frequencies(w, HS_TURN_FAR, m->frequencies);
	hs_rope_frequencies(w, HS_TURN_NEAR, m->frequencies + w->hyper.head_dim / 2);
	*ret = m;
	return 0;
}

static int open_chosen(const struct hs_weights *w, unsigned n_threads, struct hs_backend_model **ret, struct hs_err *err)
{
	return hs_cpu_open(w, hs_kernels_choose(), n_threads, ret, err);
}

static void pages(struct hs_backend_model *m, struct hs_backend_pages *ret)
{
	if (m->kv)
		*ret = (struct hs_backend_pages){.n = hs_kv_count(m->kv),
						 .n_used = hs_kv_used(m->kv),
						 .tokens = HS_PAGE_POSITIONS,
						 .bytes = hs_kv_form(m->kv)->page};
}

static uint32_t pages_of(struct hs_backend_model *m, uint64_t owner)
{
	return m->kv ? hs_kv_of(m->kv, owner) : 0;
}

const struct hs_backend hs_backend_cpu = {
    .name = "cpu",
    .open = open_chosen,
    .close = hs_cpu_close,
    .sequence_create = hs_cpu_sequence_create,
    .sequence_destroy = hs_cpu_sequence_destroy,
    .adapter_open = hs_cpu_adapter_open,
    .adapter_close = hs_cpu_adapter_close,
    .adapt = hs_cpu_adapt,
    .own = hs_cpu_own,
    .pages = pages,
    .pages_of = pages_of,
    .wipe = hs_cpu_wipe,
    .copy = hs_cpu_copy,
    .forward = hs_cpu_forward,
    .encode = hs_cpu_encode,
};
