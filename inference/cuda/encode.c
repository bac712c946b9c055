/* Encoders: texts packed back to back, to embeddings or to a classifier's scores. Each text has pages of its own, used anew by
 * every layer. */
#include <errno.h>
#include <string.h>

#include "inference/cuda/model.h"

/* The most texts from `first` that fit one pass, at least one. */
static uint32_t batch_end(const struct hs_gpu_work *work, const uint32_t *starts, uint32_t first, uint32_t n_texts)
{
	uint32_t end = first + 1;
	while (end < n_texts && end - first < work->texts && starts[end + 1] - starts[first] <= work->capacity)
		end++;
	return end;
}

static void put_texts(struct hs_gpu_pass *p, const int32_t *ids, const uint32_t *starts, uint32_t first, uint32_t end)
{
	const struct hs_gpu_inputs *in = &p->m->work.here;
	p->n = p->n_views = p->longest = p->n_pages = 0;
	p->most_tokens = 2; /* many short texts are as many views */
	p->n_texts = end - first;
	for (uint32_t text = first; text < end; text++) {
		uint32_t len = starts[text + 1] - starts[text];
		in->starts[text - first] = p->n;
		for (uint32_t t = 0; t < len; t += HS_GPU_VIEW_TOKENS)
			in->views[p->n_views++] = (struct hs_gpu_view){.token = p->n + t,
								       .n = HS_MIN(len - t, HS_GPU_VIEW_TOKENS),
								       .origin = t,
								       .visible = len,
								       .first_page = p->n_pages};
		for (uint32_t t = 0; t < len; t++, p->n++) {
			in->ids[p->n] = ids[starts[text] + t];
			in->positions[p->n] = t;
			in->page_starts[p->n] = p->n_pages;
		}
		for (uint32_t t = 0; t < len; t += HS_GPU_PAGE_POSITIONS, p->n_pages++)
			in->pages[p->n_pages] = p->n_pages;
		p->longest = HS_MAX(p->longest, len);
		p->most_tokens = HS_MAX(p->most_tokens, HS_MIN(len, HS_GPU_VIEW_TOKENS));
	}
	in->starts[p->n_texts] = p->n;
}

static struct hs_gpu_acts quantised(struct hs_gpu_pass *p, float *x, const struct hs_gpu_matrix *m,
				    const struct hs_gpu_vectors *norm)
{
	struct hs_gpu_acts a = hs_gpu_pass_acts(p, x, p->m->w->hyper.n_embd, hs_gpu_wants_bytes(m));
	if (a.q || norm->weight)
		hs_gpu_pass_norm(p, norm, x, p->n_texts, &a);
	return a;
}

/* scores = out (norm (act (dense pooled + bias))) + bias */
static void classify(struct hs_gpu_pass *p)
{
	static const struct hs_gpu_vectors none = {NULL, NULL};
	struct hs_backend_model *m = p->m;
	const struct hs_gpu_work *work = &m->work;
	const struct hs_weights *w = m->w;
	hs_gpu_stream stream = hs_device_stream(m->device);
	uint32_t embd = w->hyper.n_embd, stride = hs_gpu_stride(embd);
	float *x = work->pooled;
	if (m->cls.data) {
		struct hs_gpu_acts a = quantised(p, x, &m->cls, &none);
		HS_GPU_LAUNCH(p, hs_gpu_multiply(stream, &m->cls, &a, p->n_texts, work->dense, stride, 0));
		x = work->dense;
		const struct hs_gpu_acts out = {.stride = stride, .x = x};
		enum hs_gpu_act act = w->arch->has & HS_F_POST_NORM ? HS_GPU_ACT_TANH : (enum hs_gpu_act)w->arch->act;
		HS_GPU_LAUNCH(p, hs_gpu_activate(stream, act, NULL, x, stride, p->n_texts, embd, &out));
	}
	struct hs_gpu_acts a = quantised(p, x, &m->cls_out, &m->cls_norm);
	HS_GPU_LAUNCH(p, hs_gpu_multiply(stream, &m->cls_out, &a, p->n_texts, work->scores, hs_gpu_stride(w->hyper.n_labels), 0));
}

/* Rows of n floats, a stride apart on the device, one after the other here. */
static void fetch(struct hs_gpu_pass *p, const float *from, uint32_t stride, uint32_t n, float *out)
{
	for (uint32_t i = 0; i < p->n_texts && p->rc == 0 && stride != n; i++)
		p->rc = hs_device_download(p->m->device, out + (size_t)i * n, from + (size_t)i * stride, n * sizeof *out);
	if (p->rc == 0 && stride == n)
		p->rc = hs_device_download(p->m->device, out, from, (uint64_t)p->n_texts * n * sizeof *out);
}

static void run_texts(struct hs_gpu_pass *p, float *out)
{
	struct hs_backend_model *m = p->m;
	const struct hs_hyper *h = &m->w->hyper;
	const struct hs_gpu_work *work = &m->work;
	uint32_t stride = hs_gpu_stride(h->n_embd);
	const struct hs_gpu_acts x = {.stride = stride, .x = work->x};
	hs_gpu_pass_upload(p);
	hs_gpu_pass_begin(p);
	hs_gpu_pass_layers(p);
	if (m->final_norm.weight)
		hs_gpu_pass_norm(p, &m->final_norm, work->x, p->n, &x);
	HS_GPU_LAUNCH(p, hs_gpu_pool(hs_device_stream(m->device), (enum hs_gpu_pooling)h->pool, work->x, stride,
				     work->there.starts, p->n_texts, h->n_embd, h->n_labels == 0, work->pooled, stride));
	if (h->n_labels) {
		classify(p);
		fetch(p, work->scores, hs_gpu_stride(h->n_labels), h->n_labels, out);
	} else {
		fetch(p, work->pooled, stride, h->n_embd, out);
	}
}

int hs_gpu_encode(struct hs_backend_model *m, const int32_t *ids, const uint32_t *starts, uint32_t n_texts, struct hs_yield *y,
		  float *out)
{
	struct hs_gpu_pass p = {.m = m, .y = y, .one_layer = true};
	if (hs_device_is_lost(m->device))
		return -ENODEV;
	hs_gpu_enter(m);
	for (uint32_t first = 0, end; first < n_texts && p.rc == 0; first = end) {
		end = batch_end(&m->work, starts, first, n_texts);
		put_texts(&p, ids, starts, first, end);
		run_texts(&p, out + (size_t)first * hs_encoded_len(&m->w->hyper));
	}
	/* Keys and values of texts, too: nothing of them stays. */
	hs_ignore(hs_device_zero(m->device, hs_pages_pool(m->pages), hs_pages_count(m->pages) * hs_pages_bytes(m->pages), 1, 0));
	hs_gpu_leave(m, true);
	return p.rc;
}
