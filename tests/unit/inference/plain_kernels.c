/* The launch functions of kernels.h in plain C, one element after the other: what the plug-in's own code is tested on. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inference/cuda/kernels.h"
#include "inference/sample.h"
#include "tests/unit/inference/tiles.h"

static float weight_at(const struct hs_gpu_matrix *m, const uint8_t *data, uint32_t row, uint32_t column)
{
	float slack;
	return tile_value(m->type, data, m->columns, row, column, &slack);
}

/* Column c of row `row` of what is multiplied. */
static double act_at(const struct hs_gpu_acts *a, const struct hs_gpu_matrix *m, size_t row, uint32_t c)
{
	if (m->type == HS_GPU_F16 || m->type == HS_GPU_BF16 || m->type == HS_GPU_F32)
		return (double)a->x[row * a->stride + c];
	return (double)a->scale[row * (a->stride / 32) + c / 32] * a->q[row * a->stride + c];
}

int hs_gpu_embed(hs_gpu_stream stream, const struct hs_gpu_matrix *m, const int32_t *ids, uint32_t tokens, float scale,
		 const struct hs_gpu_matrix *learned, const uint32_t *positions, const struct hs_gpu_matrix *types, float *x,
		 uint32_t stride)
{
	for (uint32_t t = 0; t < tokens; t++)
		for (uint32_t c = 0; c < m->columns; c++) {
			float v = scale * weight_at(m, m->data, (uint32_t)ids[t], c);
			v += learned ? weight_at(learned, learned->data, positions[t], c) : 0;
			x[(size_t)t * stride + c] = v + (types ? weight_at(types, types->data, 0, c) : 0);
		}
	return 0;
}

static void put_bytes(const struct hs_gpu_acts *out, size_t row, uint32_t n, const float *values)
{
	for (uint32_t g = 0; g < (n + 31) / 32; g++) {
		float top = 0;
		int sum = 0;
		for (uint32_t c = 32 * g; c < 32 * g + 32; c++)
			top = fmaxf(top, c < n ? fabsf(values[c]) : 0);
		for (uint32_t c = 32 * g; c < 32 * g + 32; c++) {
			int q = c < n && top > 0 ? (int)rintf(values[c] * (127 / top)) : 0;
			out->q[row * out->stride + c] = (int8_t)q;
			sum += q;
		}
		out->scale[row * (out->stride / 32) + g] = top / 127;
		out->sum[row * (out->stride / 32) + g] = top / 127 * (float)sum;
	}
}

int hs_gpu_normalise(hs_gpu_stream stream, const struct hs_gpu_norm_job *j)
{
	float *row = calloc(j->n, sizeof *row);
	for (uint32_t i = 0; i < j->rows; i++) {
		size_t token = i / j->heads, head = i % j->heads, at = token * j->stride + head * j->n;
		const float *weight = j->weight ? j->weight + (j->weight_per_head ? head * j->n : 0) : NULL;
		double mean = 0, square = 0;
		for (uint32_t c = 0; c < j->n && j->kind == HS_GPU_NORM_LAYER; c++)
			mean += (double)j->in[at + c] / j->n;
		for (uint32_t c = 0; c < j->n; c++)
			square += ((double)j->in[at + c] - mean) * ((double)j->in[at + c] - mean) / j->n;
		double scale = j->kind == HS_GPU_NORM_NONE ? 1 : 1 / sqrt(square + (double)j->eps);
		for (uint32_t c = 0; c < j->n; c++) {
			double v = ((double)j->in[at + c] - mean) * scale * (weight ? (double)weight[c] : 1);
			row[c] = (float)(v + (j->bias ? (double)j->bias[c] : 0)) + (j->residual ? j->residual[at + c] : 0);
		}
		if (j->out.x)
			memcpy(j->out.x + token * j->out.stride + head * j->n, row, j->n * sizeof *row);
		if (j->out.q && j->heads != 1)
			return -EINVAL;
		if (j->out.q)
			put_bytes(&j->out, i, j->n, row);
	}
	free(row);
	return 0;
}

static float activated(enum hs_gpu_act act, float v)
{
	switch (act) {
	case HS_GPU_ACT_SILU:
		return v / (1 + expf(-v));
	case HS_GPU_ACT_GELU:
		return 0.5f * v * (1 + erff(v * 0.70710678f));
	case HS_GPU_ACT_GELU_TANH:
		return 0.5f * v * (1 + tanhf(0.79788456f * (v + 0.044715f * v * v * v)));
	case HS_GPU_ACT_SWIGLU_CLAMPED:
		v = fminf(v, 7);
		return v / (1 + expf(-1.702f * v));
	case HS_GPU_ACT_TANH:
		return tanhf(v);
	case HS_GPU_ACT_NONE:
		break;
	}
	return v;
}

int hs_gpu_activate(hs_gpu_stream stream, enum hs_gpu_act act, const float *gate, const float *up, uint32_t stride, uint32_t rows,
		    uint32_t n, const struct hs_gpu_acts *out)
{
	float *row = calloc(n, sizeof *row);
	for (uint32_t i = 0; i < rows; i++) {
		for (uint32_t c = 0; c < n; c++) {
			float v = up[(size_t)i * stride + c], g = gate ? gate[(size_t)i * stride + c] : 0;
			if (act == HS_GPU_ACT_SWIGLU_CLAMPED)
				v = fminf(fmaxf(v, -7), 7) + 1;
			row[c] = gate ? activated(act, g) * v : activated(act, v);
		}
		if (out->x)
			memcpy(out->x + (size_t)i * out->stride, row, n * sizeof *row);
		if (out->q)
			put_bytes(out, i, n, row);
	}
	free(row);
	return 0;
}

int hs_gpu_scale(hs_gpu_stream stream, float *x, uint32_t stride, uint32_t rows, uint32_t n, float scale, float cap)
{
	for (uint32_t i = 0; i < rows; i++)
		for (uint32_t c = 0; c < n; c++) {
			float *v = x + (size_t)i * stride + c;
			*v = cap > 0 ? cap * tanhf(scale * *v / cap) : scale * *v;
		}
	return 0;
}

/* n rows of y = those rows of a that `rows` names (NULL: first, first + 1 ..) times the matrix at data, plus its bias. */
static void multiply_rows(const struct hs_gpu_matrix *m, const uint8_t *data, const float *bias, const struct hs_gpu_acts *a,
			  const uint32_t *rows, size_t first, uint32_t n, float *y, uint32_t stride, int add)
{
	double *weights = calloc(m->columns, sizeof *weights);
	for (uint32_t r = 0; r < m->rows; r++) {
		for (uint32_t c = 0; c < m->columns; c++)
			weights[c] = (double)weight_at(m, data, r, c);
		for (uint32_t i = 0; i < n; i++) {
			double sum = bias ? (double)bias[r] : 0;
			for (uint32_t c = 0; c < m->columns; c++)
				sum += weights[c] * act_at(a, m, rows ? rows[i] : first + i, c);
			y[(size_t)i * stride + r] = (float)sum + (add ? y[(size_t)i * stride + r] : 0);
		}
	}
	free(weights);
}

int hs_gpu_multiply(hs_gpu_stream stream, const struct hs_gpu_matrix *m, const struct hs_gpu_acts *a, uint32_t tokens, float *y,
		    uint32_t y_stride, int add)
{
	multiply_rows(m, m->data, m->bias, a, NULL, 0, tokens, y, y_stride, add);
	return 0;
}

int hs_gpu_route(hs_gpu_stream stream, const float *scores, uint32_t stride, const struct hs_gpu_routes *r)
{
	uint32_t *chosen = calloc((size_t)r->tokens * r->used, sizeof *chosen), n = 0;
	for (uint32_t t = 0; t < r->tokens; t++) {
		const float *s = scores + (size_t)t * stride;
		uint32_t *mine = chosen + (size_t)t * r->used;
		float total = 0;
		for (uint32_t k = 0; k < r->used; k++) {
			uint32_t best = UINT32_MAX;
			for (uint32_t e = 0; e < r->experts; e++) {
				int taken = 0;
				for (uint32_t i = 0; i < k; i++)
					taken |= mine[i] == e;
				if (!taken && (best == UINT32_MAX || s[e] > s[best]))
					best = e;
			}
			mine[k] = best;
			total += r->shares[t * r->used + k] = expf(s[best] - s[mine[0]]);
		}
		for (uint32_t k = 0; k < r->used; k++)
			r->shares[t * r->used + k] /= total;
	}
	for (uint32_t e = 0; e < r->experts; e++) {
		r->starts[e] = n;
		for (uint32_t i = 0; i < r->tokens * r->used; i++)
			if (chosen[i] == e) {
				r->visits[n] = i / r->used;
				r->rows[i] = n++;
			}
	}
	r->starts[r->experts] = n;
	free(chosen);
	return 0;
}

int hs_gpu_multiply_experts(hs_gpu_stream stream, const struct hs_gpu_matrix *m, const struct hs_gpu_acts *a,
			    const struct hs_gpu_routes *r, int by_token, float *y, uint32_t y_stride)
{
	for (uint32_t e = 0; e < r->experts; e++) {
		uint32_t first = r->starts[e], n = r->starts[e + 1] - first;
		if (n)
			multiply_rows(m, (const uint8_t *)m->data + e * hs_gpu_matrix_bytes(m->type, m->rows, m->columns),
				      m->bias ? m->bias + (size_t)e * m->rows : NULL, a, by_token ? r->visits + first : NULL,
				      first, n, y + (size_t)first * y_stride, y_stride, 0);
	}
	return 0;
}

int hs_gpu_gather_experts(hs_gpu_stream stream, const struct hs_gpu_routes *r, const float *said, uint32_t said_stride, float *x,
			  uint32_t stride, uint32_t n)
{
	for (uint32_t t = 0; t < r->tokens; t++)
		for (uint32_t c = 0; c < n; c++) {
			float sum = 0;
			for (uint32_t k = 0; k < r->used; k++)
				sum += r->shares[t * r->used + k] * said[(size_t)r->rows[t * r->used + k] * said_stride + c];
			x[(size_t)t * stride + c] += sum;
		}
	return 0;
}

int hs_gpu_turn(hs_gpu_stream stream, const double *frequencies, uint32_t pairs, double gain, const uint32_t *positions,
		uint32_t tokens, float *cosines, float *sines)
{
	for (uint32_t t = 0; t < tokens; t++)
		for (uint32_t i = 0; i < pairs; i++) {
			cosines[t * pairs + i] = (float)(gain * cos(positions[t] * frequencies[i]));
			sines[t * pairs + i] = (float)(gain * sin(positions[t] * frequencies[i]));
		}
	return 0;
}

int hs_gpu_rotate(hs_gpu_stream stream, enum hs_gpu_rope kind, float *x, uint32_t stride, uint32_t tokens, uint32_t heads,
		  uint32_t head_dim, const float *cosines, const float *sines)
{
	uint32_t pairs = head_dim / 2;
	for (uint32_t t = 0; t < tokens; t++)
		for (uint32_t h = 0; h < heads; h++)
			for (uint32_t i = 0; i < pairs; i++) {
				float *head = x + (size_t)t * stride + h * head_dim;
				float *a = head + (kind == HS_GPU_ROPE_HALF ? i : 2 * i),
				      *b = kind == HS_GPU_ROPE_HALF ? a + pairs : a + 1;
				float c = cosines[t * pairs + i], s = sines[t * pairs + i], was = *a;
				*a = was * c - *b * s;
				*b = was * s + *b * c;
			}
	return 0;
}

/* Keys (values: 1) of a head of a page. */
static uint8_t *head_of(const struct hs_gpu_cache *c, uint32_t page, uint32_t values, uint32_t head)
{
	uint32_t bytes = hs_gpu_page_head_bytes(c->type, c->head_dim);
	return c->pool + page * c->page_bytes + c->layer_at + (size_t)(values * c->n_kv_heads + head) * bytes;
}

static void put(const struct hs_gpu_cache *c, uint8_t *head, uint32_t position, const float *x)
{
	uint32_t width = hs_gpu_round(c->head_dim, 32), at = position % HS_GPU_PAGE_POSITIONS;
	uint16_t *halves = (uint16_t *)(void *)head;
	for (uint32_t d = 0; d < c->head_dim && c->type == HS_GPU_CACHE_F16; d++)
		halves[at * width + d] = hs_half_from_float(x[d]);
	for (uint32_t d = 0; d < c->head_dim && c->type == HS_GPU_CACHE_Q8; d += 32) {
		uint32_t end = c->head_dim - d < 32 ? c->head_dim : d + 32;
		int8_t *q = (int8_t *)head + (size_t)(HS_GPU_PAGE_POSITIONS * width / 16 + at * width);
		float top = 0;
		for (uint32_t i = d; i < end; i++)
			top = fmaxf(top, fabsf(x[i]));
		uint16_t half = hs_half_from_float(top / 127);
		float scale = hs_half_to_float(half);
		halves[at * (width / 32) + d / 32] = half;
		for (uint32_t i = d; i < end; i++)
			q[i] = scale > 0 ? (int8_t)fminf(fmaxf(rintf(x[i] / scale), -127), 127) : 0;
	}
}

static float value_at(const struct hs_gpu_cache *c, const uint8_t *head, uint32_t position, uint32_t d)
{
	uint32_t width = hs_gpu_round(c->head_dim, 32), at = position % HS_GPU_PAGE_POSITIONS;
	const uint16_t *halves = (const uint16_t *)(const void *)head;
	if (c->type == HS_GPU_CACHE_F16)
		return hs_half_to_float(halves[at * width + d]);
	const int8_t *q = (const int8_t *)head + (size_t)(HS_GPU_PAGE_POSITIONS * width / 16 + at * width);
	return hs_half_to_float(halves[at * (width / 32) + d / 32]) * (float)q[d];
}

int hs_gpu_store(hs_gpu_stream stream, const struct hs_gpu_cache *c, const float *k, const float *v, uint32_t stride,
		 uint32_t tokens, const uint32_t *positions, const uint32_t *pages, const uint32_t *page_starts)
{
	for (uint32_t t = 0; t < tokens; t++) {
		uint32_t page = pages[page_starts[t] + positions[t] / HS_GPU_PAGE_POSITIONS];
		for (uint32_t h = 0; h < c->n_kv_heads; h++) {
			put(c, head_of(c, page, 0, h), positions[t], k + (size_t)t * stride + (size_t)h * c->head_dim);
			put(c, head_of(c, page, 1, h), positions[t], v + (size_t)t * stride + (size_t)h * c->head_dim);
		}
	}
	return 0;
}

static int sees(const struct hs_gpu_attention *a, uint32_t at, uint32_t i)
{
	uint32_t away = at > i ? at - i : i - at;
	if (a->causal)
		return i <= at && (!a->window || away < a->window);
	return !a->window || away <= a->window / 2;
}

static void attend_one(const struct hs_gpu_attention *a, const struct hs_gpu_view *v, uint32_t t, uint32_t head, double *scores)
{
	const struct hs_gpu_cache *c = &a->cache;
	uint32_t at = v->origin + t, end = a->causal ? at + 1 : v->visible, kv = head / (a->n_heads / c->n_kv_heads);
	const float *q = a->q + (size_t)(v->token + t) * a->stride + head * c->head_dim;
	float *out = a->out + (size_t)(v->token + t) * a->stride + head * c->head_dim;
	double sink = a->sinks ? (double)a->sinks[head] : -INFINITY, most = sink, total = 0;
	for (uint32_t i = 0; i < end; i++) {
		const uint8_t *k = head_of(c, a->pages[v->first_page + i / HS_GPU_PAGE_POSITIONS], 0, kv);
		double dot = 0;
		for (uint32_t d = 0; d < c->head_dim; d++)
			dot += (double)q[d] * (double)value_at(c, k, i, d);
		dot *= (double)a->scale;
		scores[i] = !sees(a, at, i) ? -INFINITY : a->cap > 0 ? (double)a->cap * tanh(dot / (double)a->cap) : dot;
		most = fmax(most, scores[i]);
	}
	for (uint32_t i = 0; i < end; i++)
		total += scores[i] = exp(scores[i] - most);
	total += exp(sink - most);
	for (uint32_t d = 0; d < c->head_dim; d++) {
		double sum = 0;
		for (uint32_t i = 0; i < end; i++)
			sum += scores[i] *
			       (double)value_at(c, head_of(c, a->pages[v->first_page + i / HS_GPU_PAGE_POSITIONS], 1, kv), i, d);
		out[d] = (float)(sum / total);
	}
}

uint64_t hs_gpu_partial_floats(const struct hs_gpu_attention *a)
{
	return (uint64_t)a->n_views * a->n_heads * ((a->longest + HS_GPU_SPLIT - 1) / HS_GPU_SPLIT) * (a->cache.head_dim + 2);
}

int hs_gpu_attend(hs_gpu_stream stream, const struct hs_gpu_attention *a)
{
	double *scores = calloc(a->longest, sizeof *scores);
	for (uint32_t i = 0; i < a->n_views; i++) {
		const struct hs_gpu_view *v = &a->views[i];
		if (v->n == 0 || v->n > a->most_tokens || v->n > HS_GPU_VIEW_TOKENS ||
		    (a->causal ? v->origin + v->n : v->visible) > a->longest || (a->most_tokens == 1 && a->n_views > 8)) {
			free(scores);
			return -EINVAL;
		}
		for (uint32_t t = 0; t < v->n; t++)
			for (uint32_t head = 0; head < a->n_heads; head++)
				attend_one(a, v, t, head, scores);
	}
	free(scores);
	return 0;
}

int hs_gpu_wipe(hs_gpu_stream stream, uint8_t *pool, uint64_t page_bytes, const uint32_t *pages, uint32_t n_pages)
{
	for (uint32_t i = 0; i < n_pages; i++)
		memset(pool + pages[i] * page_bytes, 0, page_bytes);
	return 0;
}

int hs_gpu_pool(hs_gpu_stream stream, enum hs_gpu_pooling kind, const float *x, uint32_t stride, const uint32_t *starts,
		uint32_t texts, uint32_t n, int unit, float *out, uint32_t out_stride)
{
	for (uint32_t text = 0; text < texts; text++) {
		uint32_t first = starts[text], end = starts[text + 1];
		double square = 0;
		if (kind == HS_GPU_POOL_LAST)
			first = end - 1;
		else if (kind == HS_GPU_POOL_FIRST)
			end = first + 1;
		for (uint32_t c = 0; c < n; c++) {
			double sum = 0;
			for (uint32_t t = first; t < end; t++)
				sum += (double)x[(size_t)t * stride + c] / (end - first);
			square += sum * sum;
			out[(size_t)text * out_stride + c] = (float)sum;
		}
		for (uint32_t c = 0; c < n && unit; c++)
			out[(size_t)text * out_stride + c] /= (float)sqrt(square);
	}
	return 0;
}

int hs_gpu_sample(hs_gpu_stream stream, const struct hs_gpu_sampling *s)
{
	for (uint32_t row = 0; row < s->rows; row++) {
		const struct hs_gpu_wish *w = &s->wishes[row];
		const float *logits = s->logits + (size_t)row * s->stride;
		const uint32_t *allowed = w->mask == HS_GPU_NO_MASK ? NULL : s->allowed + (size_t)w->mask * s->allowed_stride;
		struct hs_sampler sampler = {
		    .temperature = w->temperature, .top_p = w->top_p, .top_k = w->top_k, .rng = w->state};
		hs_tok_id id = hs_sample(&sampler, logits, s->n_vocab, allowed);
		s->chosen[row] =
		    (struct hs_gpu_chosen){.id = isnan(logits[id]) ? -1 : id, .logprob = hs_logprob(logits, s->n_vocab, id)};
	}
	return 0;
}

int hs_gpu_rate(hs_gpu_stream stream, int bytes, uint32_t blocks, uint32_t rounds, uint32_t *out)
{
	return -ENOSYS; /* only the bench asks */
}

uint64_t hs_gpu_rate_operations(int bytes, uint32_t blocks, uint32_t rounds)
{
	return 0;
}
