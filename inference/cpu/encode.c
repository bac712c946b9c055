/* Encoders: texts packed back to back, to embeddings or to a classifier's scores. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "inference/cpu/pass.h"

#define ENCODE_TOKENS 512 /* that go through the layers together, where no text is longer */

/* Views and positions of texts [first, end) packed back to back. in_text: (p->n). */
static void set_text_views(struct pass *p, const struct hs_cache *c, const uint32_t *starts, uint32_t first, uint32_t end,
			   uint32_t *in_text)
{
	uint32_t token = 0, page = 0;
	p->n_views = 0;
	for (uint32_t text = first; text < end; text++) {
		uint32_t len = starts[text + 1] - starts[text];
		for (uint32_t t = 0; t < len; t += ATTEND_TOKENS)
			p->views[p->n_views++] = (struct view){.cache = c,
							       .token = token + t,
							       .end = token + HS_MIN(t + ATTEND_TOKENS, len),
							       .first_page = page,
							       .origin = 0 - token,
							       .visible = len};
		for (uint32_t t = 0; t < len; t++) {
			p->positions[token + t] = page * HS_PAGE_POSITIONS + t;
			p->caches[token + t] = c;
			in_text[token + t] = t;
		}
		token += len;
		page += hs_pages_for(len);
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

/* The classifier's scores of a pooled text. */
static bool classify(struct pass *p, float *out)
{
	const struct hs_weights *w = p->m->w;
	float *x = p->pooled, *y = p->dense, scores[HS_ROUND32(HS_LABELS_MAX)];
	if (w->cls) {
		if (!hs_pass_multiply(p, &p->m->cls, x, 1, y, HS_ROUND32(p->m->cls.rows)))
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
	if (!hs_pass_multiply(p, &p->m->cls_out, x, 1, scores, HS_ROUND32(p->m->cls_out.rows)))
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
	uint32_t *in_text = calloc(capacity, sizeof *in_text), n_pages = capacity / HS_PAGE_POSITIONS + HS_MIN(n_texts, capacity);
	struct hs_page_form form = hs_page_form(&w->hyper, 1, false);
	struct hs_cache c = {.form = &form,
			     .pages = calloc(n_pages, sizeof *c.pages)}; /* of a layer: it is the next one's, too */
	uint8_t *pool = calloc(n_pages, form.page);
	for (uint32_t i = 0; i < n_pages && pool && c.pages; i++)
		c.pages[i] = pool + i * form.page;
	int rc = hs_pass_init(&p, m, capacity, longest);
	if (!in_text || !pool || !c.pages)
		rc = -ENOMEM;
	p.y = y;
	for (uint32_t first = 0, end; first < n_texts && rc == 0; first = end) {
		end = batch_end(starts, first, n_texts, capacity);
		set_text_views(&p, &c, starts, first, end, in_text);
		hs_pass_embed(&p, ids + starts[first], in_text);
		if (!hs_pass_norm(&p, &w->embd_norm) || !hs_pass_layers(&p, false) || !hs_pass_norm(&p, &w->final_norm))
			rc = -ECANCELED;
		for (uint32_t text = first; text < end && rc == 0; text++)
			if (!conclude(&p, p.x + (starts[text] - starts[first]) * embd_stride(&w->hyper),
				      starts[text + 1] - starts[text], out + (size_t)text * hs_encoded_len(&w->hyper)))
				rc = -ECANCELED;
	}
	if (pool)
		explicit_bzero(pool, n_pages * form.page);
	hs_pass_finish(&p);
	free(pool);
	free(c.pages);
	free(in_text);
	return rc;
}
