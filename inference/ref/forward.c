/*
 * The reference: the forward pass as the papers write it, in double precision, one element after the other. It is the
 * oracle of the tests; nothing here is fast. Keys and values are rounded to halves, because that is what a cache holds here;
 * `exact` is the same without this, to be compared with what others compute.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "inference/model/backend.h"
#include "inference/quant/half.h"

struct hs_backend_model {
	const struct hs_weights *w;
	bool rounds; /* keys and values become halves */
};

struct hs_backend_sequence {
	const struct hs_backend_model *m;
	const struct hs_weights *w;
	uint32_t max_tokens;
	double *keys, *values; /* (n_layers, max_tokens, n_kv_heads * head_dim) */
	float *logits;         /* (HS_LOGITS_MAX, n_vocab) */
	const struct hs_lora *lora; /* or NULL */
};

struct hs_backend_adapter {
	const struct hs_lora *lora;
};

/* A batch of tokens on their way through the layers. */
struct pass {
	const struct hs_weights *w;
	struct hs_yield *y;
	bool rounds;
	uint32_t n;
	double *x, *normed, *sub; /* (n, n_embd) */
	double *q, *k, *v, *attn; /* (n, heads * head_dim), k and v (n, kv_heads * head_dim) */
	double *gate, *up;        /* (n, n_ff) */
	double *scores;           /* (the longest view) */
	double *router;           /* (n, n_experts) */
	double *one;              /* (n_embd) of one expert */
	float *row;               /* (the widest row) */
	const struct hs_lora *lora; /* or NULL */
	uint32_t layer;             /* what of it is used */
};

static double vector_at(const struct hs_gguf_tensor *t, uint64_t i)
{
	float v;
	memcpy(&v, t->data + 4 * i, sizeof v);
	return (double)v;
}

static void pass_finish(struct pass *p)
{
	double *const parts[] = {p->x,    p->normed, p->sub, p->q,      p->k,      p->v,
				 p->attn, p->gate,   p->up,  p->scores, p->router, p->one};
	for (size_t i = 0; i < HS_ARRAY_LEN(parts); i++)
		free(parts[i]);
	free(p->row);
}

static int pass_init(struct pass *p, const struct hs_backend_model *m, uint32_t n, uint32_t longest_view, struct hs_yield *y)
{
	const struct hs_hyper *h = &m->w->hyper;
	size_t query = (size_t)h->n_heads * h->head_dim, kv = (size_t)h->n_kv_heads * h->head_dim;
	*p = (struct pass){.w = m->w, .rounds = m->rounds, .y = y, .n = n};
	struct {
		double **at;
		size_t len;
	} parts[] = {
	    {&p->x, n * (size_t)h->n_embd},
	    {&p->normed, n * (size_t)h->n_embd},
	    {&p->sub, n * (size_t)h->n_embd},
	    {&p->q, n * query},
	    {&p->k, n * kv},
	    {&p->v, n * kv},
	    {&p->attn, n * query},
	    {&p->gate, n * (size_t)h->n_ff},
	    {&p->up, n * (size_t)h->n_ff},
	    {&p->scores, longest_view},
	    {&p->router, n * (size_t)h->n_experts + 1},
	    {&p->one, h->n_embd},
	};
	size_t widest = HS_MAX(HS_MAX((size_t)h->n_embd, query), (size_t)h->n_ff);
	p->row = calloc(HS_MAX(widest, (size_t)HS_LORA_RANK_MAX), sizeof(float));
	bool failed = !p->row;
	for (size_t i = 0; i < HS_ARRAY_LEN(parts); i++) {
		*parts[i].at = calloc(parts[i].len, sizeof(double));
		failed = failed || !*parts[i].at;
	}
	if (!failed)
		return 0;
	pass_finish(p);
	return -ENOMEM;
}

/* Rows [first, first + rows) of a matrix and its bias. */
struct matrix {
	const struct hs_gguf_tensor *w, *b;
	uint64_t first, rows;
};

static struct matrix whole(const struct hs_gguf_tensor *w, const struct hs_gguf_tensor *b)
{
	return (struct matrix){.w = w, .b = b, .rows = w->dims[1]};
}

/* y (n, rows) = W x + b. True where the caller wants to stop. */
static bool multiply(struct pass *p, struct matrix m, const double *x, double *y, uint32_t n)
{
	size_t columns = m.w->dims[0];
	for (size_t r = 0; r < m.rows; r++) {
		hs_tensor_row(m.w, m.first + r, p->row);
		for (uint32_t t = 0; t < n; t++) {
			double sum = m.b ? vector_at(m.b, m.first + r) : 0;
			for (size_t c = 0; c < columns; c++)
				sum += (double)p->row[c] * x[t * columns + c];
			y[t * m.rows + r] = sum;
		}
		if (r % 64 == 0 && hs_yield_is_due(p->y) && hs_yield_now(p->y))
			return true;
	}
	return false;
}

/* y (n, rows) += alpha / rank B (A x), where there is an adapter that adapts this. True where the caller wants to stop. */
static bool adapt(struct pass *p, enum hs_lora_place place, const double *x, double *y)
{
	const struct hs_lora_pair *pair = p->lora ? &p->lora->layers[p->layer].of[place] : NULL;
	double low[HS_LORA_RANK_MAX];
	if (!pair || !pair->rank)
		return false;
	size_t columns = pair->a.dims[0], rows = pair->b.dims[1];
	for (uint32_t t = 0; t < p->n; t++) {
		for (uint32_t k = 0; k < pair->rank; k++) {
			hs_tensor_row(&pair->a, k, p->row);
			low[k] = 0;
			for (size_t c = 0; c < columns; c++)
				low[k] += (double)p->row[c] * x[t * columns + c];
		}
		for (size_t r = 0; r < rows; r++) {
			double sum = 0;
			hs_tensor_row(&pair->b, r, p->row);
			for (uint32_t k = 0; k < pair->rank; k++)
				sum += (double)p->row[k] * low[k];
			y[t * rows + r] += (double)pair->scale * sum;
		}
		if (hs_yield_is_due(p->y) && hs_yield_now(p->y))
			return true;
	}
	return false;
}

/* y = norm(x) of d numbers; weights from `at` on. */
static void normalise_row(const struct hs_weights *w, const struct hs_gguf_tensor *weight, const struct hs_gguf_tensor *bias,
			  size_t at, uint32_t d, const double *x, double *y)
{
	double mean = 0, square = 0;
	for (uint32_t i = 0; i < d && w->arch->norm == HS_NORM_LAYER; i++)
		mean += x[i] / d;
	for (uint32_t i = 0; i < d; i++)
		square += (x[i] - mean) * (x[i] - mean) / d;
	double scale = 1 / sqrt(square + (double)w->hyper.eps);
	for (uint32_t i = 0; i < d; i++)
		y[i] = (x[i] - mean) * scale * vector_at(weight, at + i) + (bias ? vector_at(bias, at + i) : 0);
}

static void normalise(const struct pass *p, const struct hs_gguf_tensor *weight, const struct hs_gguf_tensor *bias,
		      const double *x, double *y)
{
	uint32_t d = p->w->hyper.n_embd;
	for (uint32_t t = 0; t < p->n; t++)
		normalise_row(p->w, weight, bias, 0, d, x + (size_t)t * d, y + (size_t)t * d);
}

/* The input of a part: x, normed where there is a norm. */
static const double *normed_input(const struct pass *p, const struct hs_norm_weights *norm)
{
	if (!norm->weight)
		return p->x;
	normalise(p, norm->weight, norm->bias, p->x, p->normed);
	return p->normed;
}

/* x += sub, which is normed before where there is such a norm; the sum is normed behind where there is one. */
static void join(const struct pass *p, const struct hs_gguf_tensor *sub_norm, const struct hs_norm_weights *out_norm)
{
	if (sub_norm)
		normalise(p, sub_norm, NULL, p->sub, p->sub);
	for (size_t i = 0; i < (size_t)p->n * p->w->hyper.n_embd; i++)
		p->x[i] += p->sub[i];
	if (out_norm->weight)
		normalise(p, out_norm->weight, out_norm->bias, p->x, p->x);
}

static void norm_heads(const struct pass *p, const struct hs_gguf_tensor *weight, double *heads, uint32_t n_heads)
{
	uint32_t d = p->w->hyper.head_dim;
	for (uint32_t h = 0; h < n_heads && weight; h++)
		normalise_row(p->w, weight, NULL, weight->dims[1] == 1 ? 0 : (size_t)h * d, d, heads + (size_t)h * d,
			      heads + (size_t)h * d);
}

static void rotate(const struct hs_weights *w, enum hs_turns turns, double *heads, uint32_t n_heads, uint32_t position)
{
	uint32_t d = w->hyper.head_dim;
	double frequencies[HS_HEAD_DIM_MAX / 2], gain = (double)(turns == HS_TURN_NEAR ? w->hyper.near : w->hyper.far).gain;
	hs_rope_frequencies(w, turns, frequencies);
	for (uint32_t h = 0; h < n_heads; h++)
		for (uint32_t i = 0; i < d / 2; i++) {
			bool half = w->arch->rope == HS_ROPE_HALF;
			double *a = heads + h * d + (half ? i : 2 * i), *b = heads + h * d + (half ? i + d / 2 : 2 * i + 1);
			double c = gain * cos(position * frequencies[i]), s = gain * sin(position * frequencies[i]), was = *a;
			*a = was * c - *b * s;
			*b = was * s + *b * c;
		}
}

static double soft_cap(double v, float cap)
{
	return cap > 0 ? (double)cap * tanh(v / (double)cap) : v;
}

/* One token at `position` attends to rows of keys and values, `n` of them: out (heads * head_dim). */
static void attend(const struct pass *p, const struct hs_layer *layer, const double *q, const double *keys, const double *values,
		   uint32_t position, uint32_t n, double *out)
{
	const struct hs_hyper *h = &p->w->hyper;
	uint32_t d = h->head_dim, kv = h->n_kv_heads * d;
	for (uint32_t head = 0; head < h->n_heads; head++) {
		uint32_t at = head / (h->n_heads / h->n_kv_heads) * d;
		double sink = layer->sinks ? vector_at(layer->sinks, head) : -INFINITY, most = sink, total = 0;
		for (uint32_t i = 0; i < n; i++) {
			double dot = 0;
			uint32_t away = i > position ? i - position : position - i;
			bool causal = p->w->arch->causal;
			bool seen = causal ? i <= position && (!layer->window || away < layer->window)
					   : !layer->window || away <= layer->window / 2;
			for (uint32_t c = 0; c < d; c++)
				dot += q[head * d + c] * keys[(size_t)i * kv + at + c];
			p->scores[i] = seen ? soft_cap(dot * (double)h->attn_scale, h->attn_cap) : -INFINITY;
			most = fmax(most, p->scores[i]);
		}
		for (uint32_t i = 0; i < n; i++)
			total += p->scores[i] = exp(p->scores[i] - most);
		total += exp(sink - most);
		for (uint32_t c = 0; c < d; c++) {
			double sum = 0;
			for (uint32_t i = 0; i < n; i++)
				sum += p->scores[i] * values[(size_t)i * kv + at + c];
			out[head * d + c] = sum / total;
		}
	}
}

static double activated(enum hs_act act, double v)
{
	switch (act) {
	case HS_ACT_SILU:
		return v / (1 + exp(-v));
	case HS_ACT_GELU:
		return 0.5 * v * (1 + erf(v / sqrt(2)));
	case HS_ACT_GELU_TANH:
		return 0.5 * v * (1 + tanh(sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
	case HS_ACT_SWIGLU_CLAMPED:
		v = fmin(v, (double)HS_SWIGLU_LIMIT);
		return v / (1 + exp(-(double)HS_SWIGLU_ALPHA * v));
	}
	return v;
}

/* up = act(gate) up, or act(up), of n numbers */
static void activate(const struct pass *p, bool gated, size_t n)
{
	enum hs_act act = p->w->arch->act;
	for (size_t i = 0; i < n; i++) {
		double up = p->up[i], limit = (double)HS_SWIGLU_LIMIT;
		if (act == HS_ACT_SWIGLU_CLAMPED)
			up = fmin(fmax(up, -limit), limit) + 1;
		p->up[i] = gated ? activated(act, p->gate[i]) * up : activated(act, up);
	}
}

/* Queries, keys and values of a layer; true where the caller wants to stop. */
static bool project(struct pass *p, const struct hs_layer *layer, uint32_t position)
{
	const struct hs_hyper *h = &p->w->hyper;
	const double *in = normed_input(p, &layer->attn_norm);
	if (multiply(p, whole(layer->q, layer->qb), in, p->q, p->n) || multiply(p, whole(layer->k, layer->kb), in, p->k, p->n) ||
	    multiply(p, whole(layer->v, layer->vb), in, p->v, p->n) || adapt(p, HS_LORA_Q, in, p->q) ||
	    adapt(p, HS_LORA_K, in, p->k) || adapt(p, HS_LORA_V, in, p->v))
		return true;
	size_t query = (size_t)h->n_heads * h->head_dim, kv = (size_t)h->n_kv_heads * h->head_dim;
	for (uint32_t t = 0; t < p->n; t++) {
		norm_heads(p, layer->q_norm, p->q + t * query, h->n_heads);
		norm_heads(p, layer->k_norm, p->k + t * kv, h->n_kv_heads);
		if (p->w->arch->rope == HS_ROPE_NONE || layer->turns == HS_TURN_NOT)
			continue;
		rotate(p->w, layer->turns, p->q + t * query, h->n_heads, position + t);
		rotate(p->w, layer->turns, p->k + t * kv, h->n_kv_heads, position + t);
	}
	for (size_t i = 0; i < p->n * kv && p->rounds; i++) {
		p->k[i] = (double)hs_half_to_float(hs_half_from_float((float)p->k[i]));
		p->v[i] = (double)hs_half_to_float(hs_half_from_float((float)p->v[i]));
	}
	return false;
}

/*
 * One token's experts: those with the most score, weighed by the softmax over them; equal scores go to the lower number.
 * out (n_embd). True where the caller wants to stop.
 */
static bool consult_experts(struct pass *p, const struct hs_layer *layer, const double *scores, const double *in, double *out)
{
	const struct hs_hyper *h = &p->w->hyper;
	uint32_t chosen[HS_EXPERTS_USED_MAX];
	double total = 0, weights[HS_EXPERTS_USED_MAX];
	for (uint32_t k = 0; k < h->n_experts_used; k++) {
		uint32_t best = UINT32_MAX;
		for (uint32_t e = 0; e < h->n_experts; e++) {
			bool taken = false;
			for (uint32_t i = 0; i < k; i++)
				taken = taken || chosen[i] == e;
			if (!taken && (best == UINT32_MAX || scores[e] > scores[best]))
				best = e;
		}
		chosen[k] = best;
		total += weights[k] = exp(scores[best] - scores[chosen[0]]);
	}
	memset(out, 0, h->n_embd * sizeof *out);
	for (uint32_t k = 0; k < h->n_experts_used; k++) {
		uint64_t e = chosen[k];
		struct matrix gate = {layer->gate, layer->gateb, e * h->n_ff, h->n_ff},
			      up = {layer->up, layer->upb, e * h->n_ff, h->n_ff};
		struct matrix down = {layer->down, layer->downb, e * h->n_embd, h->n_embd};
		if (multiply(p, gate, in, p->gate, 1) || multiply(p, up, in, p->up, 1))
			return true;
		activate(p, true, h->n_ff);
		if (multiply(p, down, p->up, p->one, 1))
			return true;
		for (uint32_t i = 0; i < h->n_embd; i++)
			out[i] += weights[k] / total * p->one[i];
	}
	return false;
}

/* sub = the feed-forward part of in; true where the caller wants to stop. */
static bool feed_forward(struct pass *p, const struct hs_layer *layer, const double *in)
{
	const struct hs_hyper *h = &p->w->hyper;
	if (layer->router) {
		if (multiply(p, whole(layer->router, layer->routerb), in, p->router, p->n))
			return true;
		for (uint32_t t = 0; t < p->n; t++)
			if (consult_experts(p, layer, p->router + (size_t)t * h->n_experts, in + (size_t)t * h->n_embd,
					    p->sub + (size_t)t * h->n_embd))
				return true;
		return false;
	}
	if ((layer->gate && multiply(p, whole(layer->gate, NULL), in, p->gate, p->n)) ||
	    multiply(p, whole(layer->up, layer->upb), in, p->up, p->n) || adapt(p, HS_LORA_GATE, in, p->gate) ||
	    adapt(p, HS_LORA_UP, in, p->up))
		return true;
	activate(p, layer->gate != NULL, (size_t)p->n * h->n_ff);
	return multiply(p, whole(layer->down, layer->downb), p->up, p->sub, p->n) || adapt(p, HS_LORA_DOWN, p->up, p->sub);
}

/* From attention's result to the layer's; true where the caller wants to stop. */
static bool finish_layer(struct pass *p, const struct hs_layer *layer)
{
	bool parallel = p->w->arch->has & HS_F_PARALLEL;
	if (multiply(p, whole(layer->o, layer->ob), p->attn, p->sub, p->n) || adapt(p, HS_LORA_O, p->attn, p->sub))
		return true;
	join(p, layer->attn_sub_norm, &layer->attn_out_norm);
	if (feed_forward(p, layer, parallel ? p->normed : normed_input(p, &layer->ffn_norm)))
		return true;
	join(p, layer->ffn_sub_norm, &layer->out_norm);
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
				p->x[(size_t)t * d + i] += (double)p->row[i] * (k == 0 ? (double)p->w->hyper.embd_scale : 1);
		}
	if (p->w->embd_norm.weight)
		normalise(p, p->w->embd_norm.weight, p->w->embd_norm.bias, p->x, p->x);
}

static int open_model(const struct hs_weights *w, bool rounds, struct hs_backend_model **ret, struct hs_err *err)
{
	struct hs_backend_model *m = calloc(1, sizeof *m);
	if (!m)
		return hs_fail_errno(err, -ENOMEM, "model.load", "reference");
	m->w = w;
	m->rounds = rounds;
	*ret = m;
	return 0;
}

static int reference_open(const struct hs_weights *w, unsigned n_threads, struct hs_backend_model **ret, struct hs_err *err)
{
	(void)n_threads; /* one thread */
	return open_model(w, true, ret, err);
}

static int exact_open(const struct hs_weights *w, unsigned n_threads, struct hs_backend_model **ret, struct hs_err *err)
{
	(void)n_threads; /* one thread */
	return open_model(w, false, ret, err);
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
	s->m = m;
	s->w = m->w;
	s->max_tokens = max_tokens;
	size_t n = (size_t)h->n_layers * max_tokens;
	s->keys = calloc(n, (size_t)h->n_kv_heads * h->head_dim * sizeof(double));
	s->values = calloc(n, (size_t)h->n_kv_heads * h->head_dim * sizeof(double));
	s->logits = calloc((size_t)HS_LOGITS_MAX * h->n_vocab, sizeof(float));
	if (!s->keys || !s->values || !s->logits) {
		reference_sequence_destroy(s);
		return -ENOMEM;
	}
	*ret = s;
	return 0;
}

/* The file's own numbers will do: nothing to make ready. */
static int reference_adapter_open(struct hs_backend_model *m, const struct hs_lora *l, struct hs_backend_adapter **ret)
{
	struct hs_backend_adapter *a = calloc(1, sizeof *a);
	(void)m; /* any model of these weights */
	if (!a)
		return -ENOMEM;
	a->lora = l;
	*ret = a;
	return 0;
}

static void reference_adapter_close(struct hs_backend_adapter *a)
{
	free(a);
}

static void reference_adapt(struct hs_backend_sequence *s, const struct hs_backend_adapter *a)
{
	s->lora = a->lora;
}

static bool forward_layers(struct pass *p, struct hs_backend_sequence *s, uint32_t position)
{
	const struct hs_hyper *h = &p->w->hyper;
	size_t query = (size_t)h->n_heads * h->head_dim, kv = (size_t)h->n_kv_heads * h->head_dim;
	for (uint32_t l = 0; l < h->n_layers; l++) {
		double *keys = s->keys + (size_t)l * s->max_tokens * kv, *values = s->values + (size_t)l * s->max_tokens * kv;
		p->layer = l;
		if (project(p, &p->w->layers[l], position))
			return true;
		memcpy(keys + position * kv, p->k, p->n * kv * sizeof(double));
		memcpy(values + position * kv, p->v, p->n * kv * sizeof(double));
		for (uint32_t t = 0; t < p->n; t++)
			attend(p, &p->w->layers[l], p->q + t * query, keys, values, position + t, position + t + 1,
			       p->attn + t * query);
		if (finish_layer(p, &p->w->layers[l]))
			return true;
	}
	return false;
}

static int forward_one(struct hs_backend_step *step, struct hs_yield *y)
{
	struct hs_backend_sequence *s = step->s;
	const struct hs_hyper *h = &s->w->hyper;
	struct pass p;
	int rc = pass_init(&p, s->m, step->n, step->position + step->n, y);
	double *logits = calloc(h->n_vocab, sizeof *logits);
	if (rc < 0 || !logits) {
		if (rc == 0)
			pass_finish(&p);
		free(logits);
		return -ENOMEM;
	}
	p.lora = s->lora;
	embed_tokens(&p, step->ids, step->position);
	bool stop = forward_layers(&p, s, step->position);
	const double *normed = stop ? NULL : normed_input(&p, &s->w->final_norm);
	for (uint32_t k = 0; k < step->n_logits && !stop; k++) {
		const double *x = normed + (size_t)(step->n - step->n_logits + k) * h->n_embd;
		stop = multiply(&p, whole(s->w->head, NULL), x, logits, 1);
		for (uint32_t i = 0; i < h->n_vocab && !stop; i++)
			s->logits[(size_t)k * h->n_vocab + i] = (float)soft_cap(logits[i] * (double)h->logit_scale, h->final_cap);
	}
	free(logits);
	pass_finish(&p);
	step->logits = s->logits;
	step->logits_stride = h->n_vocab;
	return stop ? -ECANCELED : 0;
}

static int reference_forward(struct hs_backend_step *steps, uint32_t n_steps, struct hs_yield *y)
{
	int rc = 0;
	for (uint32_t i = 0; i < n_steps && rc == 0; i++)
		rc = forward_one(&steps[i], y);
	return rc;
}

static void reference_copy(struct hs_backend_sequence *s, const struct hs_backend_sequence *from, uint32_t n)
{
	size_t kv = (size_t)s->w->hyper.n_kv_heads * s->w->hyper.head_dim;
	for (uint32_t l = 0; l < s->w->hyper.n_layers; l++) {
		size_t to_at = (size_t)l * s->max_tokens * kv, from_at = (size_t)l * from->max_tokens * kv;
		memcpy(s->keys + to_at, from->keys + from_at, n * kv * sizeof(double));
		memcpy(s->values + to_at, from->values + from_at, n * kv * sizeof(double));
	}
}

/* Labels' scores of the pooled vector in `pooled`. True where the caller wants to stop. */
static bool classify(struct pass *p, double *pooled, float *out)
{
	const struct hs_weights *w = p->w;
	double scores[HS_LABELS_MAX];
	if (w->cls) {
		if (multiply(p, whole(w->cls, w->clsb), pooled, p->sub, 1))
			return true;
		for (uint32_t i = 0; i < w->hyper.n_embd; i++)
			pooled[i] = w->arch->has & HS_F_POST_NORM ? tanh(p->sub[i]) : activated(w->arch->act, p->sub[i]);
	}
	if (w->cls_norm)
		normalise_row(w, w->cls_norm, NULL, 0, w->hyper.n_embd, pooled, pooled);
	if (multiply(p, whole(w->cls_out, w->cls_outb), pooled, scores, 1))
		return true;
	for (uint32_t i = 0; i < w->hyper.n_labels; i++)
		out[i] = (float)scores[i];
	return false;
}

/* A text's embedding or scores. True where the caller wants to stop. */
static bool pool(struct pass *p, float *out)
{
	uint32_t d = p->w->hyper.n_embd, n = p->w->hyper.pool == HS_POOL_MEAN ? p->n : 1;
	const double *x = normed_input(p, &p->w->final_norm) + (p->w->hyper.pool == HS_POOL_LAST ? (size_t)(p->n - 1) * d : 0);
	double norm = 0;
	for (uint32_t i = 0; i < d; i++) {
		double sum = 0;
		for (uint32_t t = 0; t < n; t++)
			sum += x[(size_t)t * d + i] / n;
		p->one[i] = sum;
		norm += sum * sum;
	}
	if (p->w->hyper.n_labels)
		return classify(p, p->one, out);
	for (uint32_t i = 0; i < d; i++)
		out[i] = (float)(norm > 0 ? p->one[i] / sqrt(norm) : 0);
	return false;
}

static int reference_encode(struct hs_backend_model *m, const int32_t *ids, const uint32_t *starts, uint32_t n_texts,
			    struct hs_yield *y, float *out)
{
	const struct hs_hyper *h = &m->w->hyper;
	size_t query = (size_t)h->n_heads * h->head_dim;
	for (uint32_t text = 0; text < n_texts; text++, out += hs_encoded_len(h)) {
		uint32_t n = starts[text + 1] - starts[text];
		struct pass p;
		int rc = pass_init(&p, m, n, n, y);
		if (rc < 0)
			return rc;
		embed_tokens(&p, ids + starts[text], 0);
		bool stop = false;
		for (uint32_t l = 0; l < h->n_layers && !stop; l++) {
			stop = project(&p, &m->w->layers[l], 0);
			for (uint32_t t = 0; t < n && !stop; t++)
				attend(&p, &m->w->layers[l], p.q + t * query, p.k, p.v, t, n, p.attn + t * query);
			stop = stop || finish_layer(&p, &m->w->layers[l]);
		}
		stop = stop || pool(&p, out);
		pass_finish(&p);
		if (stop)
			return -ECANCELED;
	}
	return 0;
}

const struct hs_backend hs_backend_exact = {
    .name = "exact",
    .open = exact_open,
    .close = reference_close,
    .sequence_create = reference_sequence_create,
    .sequence_destroy = reference_sequence_destroy,
    .adapter_open = reference_adapter_open,
    .adapter_close = reference_adapter_close,
    .adapt = reference_adapt,
    .wipe = reference_wipe,
    .copy = reference_copy,
    .forward = reference_forward,
    .encode = reference_encode,
};

const struct hs_backend hs_backend_reference = {
    .name = "reference",
    .open = reference_open,
    .close = reference_close,
    .sequence_create = reference_sequence_create,
    .sequence_destroy = reference_sequence_destroy,
    .adapter_open = reference_adapter_open,
    .adapter_close = reference_adapter_close,
    .adapt = reference_adapt,
    .wipe = reference_wipe,
    .copy = reference_copy,
    .forward = reference_forward,
    .encode = reference_encode,
};
