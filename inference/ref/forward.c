/*
 * The reference: the forward pass as the papers write it, in double precision, one element after the other. It is the
 * oracle of the tests; nothing here is fast. Keys and values are rounded to halves, because that is what a cache holds here.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "inference/model/backend.h"
#include "inference/quant/half.h"

struct hs_backend_model {
	const struct hs_weights *w;
};

struct hs_backend_sequence {
	const struct hs_weights *w;
	uint32_t max_tokens;
	double *keys, *values; /* (n_layers, max_tokens, n_kv_heads * head_dim) */
	float *logits;         /* (n_vocab) */
};

/* A batch of tokens on their way through the layers. */
struct pass {
	const struct hs_weights *w;
	struct hs_yield *y;
	uint32_t n;
	double *x, *normed;       /* (n, n_embd) */
	double *q, *k, *v, *attn; /* (n, heads * head_dim), k and v (n, kv_heads * head_dim) */
	double *gate, *up;        /* (n, n_ff) */
	double *scores;           /* (the longest view) */
	float *row;               /* (the widest row) */
};

static float vector_at(const struct hs_gguf_tensor *t, uint64_t i)
{
	float v;
	memcpy(&v, t->data + 4 * i, sizeof v);
	return v;
}

static void pass_finish(struct pass *p)
{
	double *const parts[] = {p->x, p->normed, p->q, p->k, p->v, p->attn, p->gate, p->up, p->scores};
	for (size_t i = 0; i < HS_ARRAY_LEN(parts); i++)
		free(parts[i]);
	free(p->row);
}

static int pass_init(struct pass *p, const struct hs_weights *w, uint32_t n, uint32_t longest_view, struct hs_yield *y)
{
	const struct hs_hyper *h = &w->hyper;
	size_t query = (size_t)h->n_heads * h->head_dim, kv = (size_t)h->n_kv_heads * h->head_dim;
	*p = (struct pass){.w = w, .y = y, .n = n};
	p->x = calloc((size_t)n * h->n_embd, sizeof(double));
	p->normed = calloc((size_t)n * h->n_embd, sizeof(double));
	p->q = calloc(n * query, sizeof(double));
	p->k = calloc(n * kv, sizeof(double));
	p->v = calloc(n * kv, sizeof(double));
	p->attn = calloc(n * query, sizeof(double));
	p->gate = calloc((size_t)n * h->n_ff, sizeof(double));
	p->up = calloc((size_t)n * h->n_ff, sizeof(double));
	p->scores = calloc(longest_view, sizeof(double));
	p->row = calloc(HS_MAX(HS_MAX((size_t)h->n_embd, query), (size_t)h->n_ff), sizeof(float));
	if (p->x && p->normed && p->q && p->k && p->v && p->attn && p->gate && p->up && p->scores && p->row)
		return 0;
	pass_finish(p);
	return -ENOMEM;
}

/* y (n, rows) = W x + b, or y += with `add`. True where the caller wants to stop. */
static bool multiply(struct pass *p, const struct hs_gguf_tensor *w, const struct hs_gguf_tensor *b, const double *x, double *y,
		     bool add)
{
	size_t columns = w->dims[0], rows = w->dims[1];
	for (size_t r = 0; r < rows; r++) {
		hs_tensor_row(w, r, p->row);
		for (uint32_t t = 0; t < p->n; t++) {
			double sum = b ? vector_at(b, r) : 0;
			for (size_t c = 0; c < columns; c++)
				sum += (double)p->row[c] * x[t * columns + c];
			y[t * rows + r] = add ? y[t * rows + r] + sum : sum;
		}
		if (r % 64 == 0 && hs_yield_is_due(p->y) && hs_yield_now(p->y))
			return true;
	}
	return false;
}

static void normalise(const struct pass *p, const struct hs_norm_weights *nw, const double *x, double *y)
{
	uint32_t d = p->w->hyper.n_embd;
	for (uint32_t t = 0; t < p->n; t++, x += d, y += d) {
		double mean = 0, square = 0;
		for (uint32_t i = 0; i < d && p->w->arch->norm == HS_NORM_LAYER; i++)
			mean += x[i] / d;
		for (uint32_t i = 0; i < d; i++)
			square += (x[i] - mean) * (x[i] - mean) / d;
		double scale = 1 / sqrt(square + (double)p->w->hyper.eps);
		for (uint32_t i = 0; i < d; i++)
			y[i] = (x[i] - mean) * scale * vector_at(nw->weight, i) + (nw->bias ? vector_at(nw->bias, i) : 0);
	}
}

static void rotate(const struct hs_weights *w, double *heads, uint32_t n_heads, uint32_t position)
{
	uint32_t d = w->hyper.head_dim;
	double frequencies[HS_HEAD_DIM_MAX / 2];
	hs_rope_frequencies(w, frequencies);
	for (uint32_t h = 0; h < n_heads; h++)
		for (uint32_t i = 0; i < d / 2; i++) {
			bool half = w->arch->rope == HS_ROPE_HALF;
			double *a = heads + h * d + (half ? i : 2 * i), *b = heads + h * d + (half ? i + d / 2 : 2 * i + 1);
			double c = cos(position * frequencies[i]), s = sin(position * frequencies[i]), was = *a;
			*a = was * c - *b * s;
			*b = was * s + *b * c;
		}
}

/* One token's attention over `visible` rows of keys and values: out (heads * head_dim). */
static void attend(const struct pass *p, const double *q, const double *keys, const double *values, uint32_t visible, double *out)
{
	const struct hs_hyper *h = &p->w->hyper;
	uint32_t d = h->head_dim, kv = h->n_kv_heads * d;
	for (uint32_t head = 0; head < h->n_heads; head++) {
		uint32_t at = head / (h->n_heads / h->n_kv_heads) * d;
		double most = -INFINITY, total = 0;
		for (uint32_t i = 0; i < visible; i++) {
			double dot = 0;
			for (uint32_t c = 0; c < d; c++)
				dot += q[head * d + c] * keys[(size_t)i * kv + at + c];
			p->scores[i] = dot / sqrt(d);
			most = fmax(most, p->scores[i]);
		}
		for (uint32_t i = 0; i < visible; i++)
			total += p->scores[i] = exp(p->scores[i] - most);
		for (uint32_t c = 0; c < d; c++) {
			double sum = 0;
			for (uint32_t i = 0; i < visible; i++)
				sum += p->scores[i] * values[(size_t)i * kv + at + c];
			out[head * d + c] = sum / total;
		}
	}
}

static void activate(const struct pass *p)
{
	size_t n = (size_t)p->n * p->w->hyper.n_ff;
	for (size_t i = 0; i < n; i++) {
		double v = p->w->arch->has & HS_F_GATED ? p->gate[i] : p->up[i];
		double a = p->w->arch->act == HS_ACT_SILU ? v / (1 + exp(-v)) : 0.5 * v * (1 + erf(v / sqrt(2)));
		p->up[i] = p->w->arch->has & HS_F_GATED ? a * p->up[i] : a;
	}
}

/* Queries, keys and values of layer l; true where the caller wants to stop. */
static bool project(struct pass *p, const struct hs_layer *layer, uint32_t position)
{
	const struct hs_hyper *h = &p->w->hyper;
	const double *in = p->x;
	if (p->w->arch->has & HS_F_PRE_NORM) {
		normalise(p, &layer->attn_norm, p->x, p->normed);
		in = p->normed;
	}
	if (multiply(p, layer->q, layer->qb, in, p->q, false) || multiply(p, layer->k, layer->kb, in, p->k, false) ||
	    multiply(p, layer->v, layer->vb, in, p->v, false))
		return true;
	size_t kv = (size_t)h->n_kv_heads * h->head_dim;
	for (uint32_t t = 0; t < p->n && p->w->arch->rope != HS_ROPE_NONE; t++) {
		rotate(p->w, p->q + (size_t)t * h->n_heads * h->head_dim, h->n_heads, position + t);
		rotate(p->w, p->k + t * kv, h->n_kv_heads, position + t);
	}
	for (size_t i = 0; i < p->n * kv; i++) {
		p->k[i] = (double)hs_half_to_float(hs_half_from_float((float)p->k[i]));
		p->v[i] = (double)hs_half_to_float(hs_half_from_float((float)p->v[i]));
	}
	return false;
}

/* From attention's result to the layer's; true where the caller wants to stop. */
static bool finish_layer(struct pass *p, const struct hs_layer *layer)
{
	bool post = p->w->arch->has & HS_F_POST_NORM;
	if (multiply(p, layer->o, layer->ob, p->attn, p->x, true))
		return true;
	if (post)
		normalise(p, &layer->attn_out_norm, p->x, p->x);
	const double *in = p->x;
	if (p->w->arch->has & HS_F_PRE_NORM) {
		normalise(p, &layer->ffn_norm, p->x, p->normed);
		in = p->normed;
	}
	if ((layer->gate && multiply(p, layer->gate, NULL, in, p->gate, false)) ||
	    multiply(p, layer->up, layer->upb, in, p->up, false))
		return true;
	activate(p);
	if (multiply(p, layer->down, layer->downb, p->up, p->x, true))
		return true;
	if (post)
		normalise(p, &layer->out_norm, p->x, p->x);
	return false;
}

static void embed_tokens(struct pass *p, const int32_t *ids, uint32_t position)
{
	uint32_t d = p->w->hyper.n_embd;
	const struct hs_gguf_tensor *const tables[] = {p->w->embd, p->w->positions, p->w->types};
	for (uint32_t t = 0; t < p->n; t++)
		for (size_t k = 0; k < HS_ARRAY_LEN(tables); k++) {
			if (!tables[k])
				continue;
			hs_tensor_row(tables[k], k == 0 ? (uint64_t)ids[t] : k == 1 ? position + t : 0, p->row);
			for (uint32_t i = 0; i < d; i++)
				p->x[(size_t)t * d + i] += (double)p->row[i];
		}
	if (p->w->arch->has & HS_F_EMBD_NORM)
		normalise(p, &p->w->embd_norm, p->x, p->x);
}

static int reference_open(const struct hs_weights *w, unsigned n_threads, struct hs_backend_model **ret, struct hs_err *err)
{
	(void)n_threads; /* one thread */
	struct hs_backend_model *m = calloc(1, sizeof *m);
	if (!m)
		return hs_fail_errno(err, -ENOMEM, "model.load", "reference");
	m->w = w;
	*ret = m;
	return 0;
}

static void reference_close(struct hs_backend_model *m)
{
	free(m);
}

static void reference_wipe(struct hs_backend_sequence *s, uint32_t from, uint32_t to)
{
	const struct hs_hyper *h = &s->w->hyper;
	size_t kv = (size_t)h->n_kv_heads * h->head_dim;
	for (uint32_t l = 0; l < h->n_layers; l++) {
		size_t at = ((size_t)l * s->max_tokens + from) * kv;
		explicit_bzero(s->keys + at, (to - from) * kv * sizeof(double));
		explicit_bzero(s->values + at, (to - from) * kv * sizeof(double));
	}
}

static void reference_sequence_destroy(struct hs_backend_sequence *s)
{
	if (!s)
		return;
	if (s->keys && s->values)
		reference_wipe(s, 0, s->max_tokens);
	free(s->keys);
	free(s->values);
	free(s->logits);
	free(s);
}

static int reference_sequence_create(struct hs_backend_model *m, uint32_t max_tokens, struct hs_backend_sequence **ret)
{
	const struct hs_hyper *h = &m->w->hyper;
	struct hs_backend_sequence *s = calloc(1, sizeof *s);
	if (!s)
		return -ENOMEM;
	s->w = m->w;
	s->max_tokens = max_tokens;
	size_t n = (size_t)h->n_layers * max_tokens;
	s->keys = calloc(n, (size_t)h->n_kv_heads * h->head_dim * sizeof(double));
	s->values = calloc(n, (size_t)h->n_kv_heads * h->head_dim * sizeof(double));
	s->logits = calloc(h->n_vocab, sizeof(float));
	if (!s->keys || !s->values || !s->logits) {
		reference_sequence_destroy(s);
		return -ENOMEM;
	}
	*ret = s;
	return 0;
}

static bool forward_layers(struct pass *p, struct hs_backend_sequence *s, uint32_t position)
{
	const struct hs_hyper *h = &p->w->hyper;
	size_t query = (size_t)h->n_heads * h->head_dim, kv = (size_t)h->n_kv_heads * h->head_dim;
	for (uint32_t l = 0; l < h->n_layers; l++) {
		double *keys = s->keys + (size_t)l * s->max_tokens * kv, *values = s->values + (size_t)l * s->max_tokens * kv;
		if (project(p, &p->w->layers[l], position))
			return true;
		memcpy(keys + position * kv, p->k, p->n * kv * sizeof(double));
		memcpy(values + position * kv, p->v, p->n * kv * sizeof(double));
		for (uint32_t t = 0; t < p->n; t++)
			attend(p, p->q + t * query, keys, values, position + t + 1, p->attn + t * query);
		if (finish_layer(p, &p->w->layers[l]))
			return true;
	}
	return false;
}

static int reference_forward(struct hs_backend_sequence *s, uint32_t position, const int32_t *ids, uint32_t n, struct hs_yield *y,
			     const float **ret_logits)
{
	const struct hs_hyper *h = &s->w->hyper;
	struct pass p;
	int rc = pass_init(&p, s->w, n, position + n, y);
	double *logits = calloc(h->n_vocab, sizeof *logits);
	if (rc < 0 || !logits) {
		if (rc == 0)
			pass_finish(&p);
		free(logits);
		return -ENOMEM;
	}
	embed_tokens(&p, ids, position);
	bool stop = forward_layers(&p, s, position);
	if (!stop) {
		normalise(&p, &s->w->final_norm, p.x, p.normed);
		p.n = 1;
		stop = multiply(&p, s->w->head, NULL, p.normed + (size_t)(n - 1) * h->n_embd, logits, false);
	}
	for (uint32_t i = 0; i < h->n_vocab && !stop; i++)
		s->logits[i] = (float)logits[i];
	free(logits);
	pass_finish(&p);
	if (stop)
		return -ECANCELED;
	*ret_logits = s->logits;
	return 0;
}

static void pool(const struct pass *p, float *out)
{
	uint32_t d = p->w->hyper.n_embd, n = p->w->hyper.pool == HS_POOL_MEAN ? p->n : 1;
	double norm = 0;
	for (uint32_t i = 0; i < d; i++) {
		double sum = 0;
		for (uint32_t t = 0; t < n; t++)
			sum += p->x[(size_t)t * d + i] / n;
		p->normed[i] = sum;
		norm += sum * sum;
	}
	for (uint32_t i = 0; i < d; i++)
		out[i] = (float)(norm > 0 ? p->normed[i] / sqrt(norm) : 0);
}

static int reference_encode(struct hs_backend_model *m, const int32_t *ids, const uint32_t *starts, uint32_t n_texts,
			    struct hs_yield *y, float *out)
{
	const struct hs_hyper *h = &m->w->hyper;
	size_t query = (size_t)h->n_heads * h->head_dim;
	for (uint32_t text = 0; text < n_texts; text++, out += h->n_embd) {
		uint32_t n = starts[text + 1] - starts[text];
		struct pass p;
		int rc = pass_init(&p, m->w, n, n, y);
		if (rc < 0)
			return rc;
		embed_tokens(&p, ids + starts[text], 0);
		bool stop = false;
		for (uint32_t l = 0; l < h->n_layers && !stop; l++) {
			stop = project(&p, &m->w->layers[l], 0);
			for (uint32_t t = 0; t < n && !stop; t++)
				attend(&p, p.q + t * query, p.k, p.v, n, p.attn + t * query);
			stop = stop || finish_layer(&p, &m->w->layers[l]);
		}
		if (!stop)
			pool(&p, out);
		pass_finish(&p);
		if (stop)
			return -ECANCELED;
	}
	return 0;
}

const struct hs_backend hs_backend_reference = {
    .name = "reference",
    .open = reference_open,
    .close = reference_close,
    .sequence_create = reference_sequence_create,
    .sequence_destroy = reference_sequence_destroy,
    .wipe = reference_wipe,
    .forward = reference_forward,
    .encode = reference_encode,
};
