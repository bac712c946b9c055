/*
 * The inner loops. Compiled once for each machine, with HS_KERNELS the table's name; simd.h is what differs.
 * Sums run over columns in ascending order, lane by lane, whatever the number of tokens that share a pass.
 */
#include "inference/cpu/kernels.h"
#include "inference/cpu/multiply.h"
#include "inference/cpu/simd.h"

/* The largest of n magnitudes. */
INLINE float largest(const float *x, size_t n)
{
	vf most = vf_zero();
	for (size_t i = 0; i < n; i += W)
		most = vf_max(most, vf_abs(vf_load(x + i)));
	return vf_most(most);
}

/* 16 values to bytes; returns their sum. */
INLINE int32_t to_bytes(const float *x, float inverse, int8_t *q)
{
	vi sum = vi_zero();
	for (int i = 0; i < 16; i += W) {
		vi v = vi_from_float(vf_mul(vf_load(x + i), vf_set(inverse)));
		vi_store_s8(q + i, v);
		sum = vi_add(sum, v);
	}
	return vi_sum(sum);
}

static void quantise_32(const struct hs_acts *a, size_t token)
{
	const float *x = a->x + token * a->stride;
	int8_t *q = a->q32 + token * a->stride;
	float *d = a->d32 + token * a->stride / 32;
	int16_t *sums = a->sums32 + token * a->stride / 32;
	for (size_t c = 0; c < a->columns; c += 32) {
		float top = largest(x + c, 32), inverse = top > 0 ? 127 / top : 0;
		d[c / 32] = hs_half_to_float(hs_half_from_float(top / 127));
		sums[c / 32] = (int16_t)(to_bytes(x + c, inverse, q + c) + to_bytes(x + c + 16, inverse, q + c + 16));
	}
}

static void quantise_256(const struct hs_acts *a, size_t token)
{
	const float *x = a->x + token * a->stride;
	int8_t *q = a->q256 + token * a->stride;
	float *d = a->d256 + token * a->stride / 256;
	int16_t *sums16 = a->sums16k + token * a->stride / 16, *sums32 = a->sums32k + token * a->stride / 32;
	for (size_t block = 0; block < a->columns; block += 256) {
		float top = largest(x + block, 256), inverse = top > 0 ? 127 / top : 0;
		d[block / 256] = top > 0 ? 1 / inverse : 0;
		for (size_t c = block; c < block + 256; c += 32) {
			sums16[c / 16] = (int16_t)to_bytes(x + c, inverse, q + c);
			sums16[c / 16 + 1] = (int16_t)to_bytes(x + c + 16, inverse, q + c + 16);
			sums32[c / 32] = (int16_t)(sums16[c / 16] + sums16[c / 16 + 1]);
		}
	}
}

static void quantise(struct hs_acts *a, uint32_t token)
{
	if (a->forms & HS_FORM_32)
		quantise_32(a, token);
	if (a->forms & HS_FORM_256)
		quantise_256(a, token);
}

/* cap tanh(v / cap), as 1 - 2 / (e^2u + 1) */
INLINE vf soft_cap(vf v, float cap)
{
	vf u = vf_exp(vf_mul(v, vf_set(2 / cap)));
	return vf_mul(vf_sub(vf_set(1), vf_div(vf_set(2), vf_add(u, vf_set(1)))), vf_set(cap));
}

/* The positions that a query sees, of those from `start` to `end` (multiples of 16) that its block computes. */
struct span {
	uint32_t from, to;
};

INLINE struct span span_of(const struct hs_attention *a, uint32_t token)
{
	uint32_t own = a->origin + token, reach = a->causal ? a->window - 1 : a->window / 2;
	struct span s = {.from = 0, .to = a->causal ? own + 1 : a->visible};
	if (a->window) {
		s.from = own > reach ? own - reach : 0;
		if (!a->causal && s.to - own > reach + 1)
			s.to = own + reach + 1;
	}
	return s;
}

/*
 * Turn a row of scores to weights whose sum (with the sink's weight) is returned; zero outside the span. The sum is taken by
 * places, so it does not depend on where the row starts.
 */
static float soften(float *scores, struct span s, uint32_t start, uint32_t end, const float *sink)
{
	uint32_t own_start = s.from & ~15u, own_end = (uint32_t)HS_ROUND16(s.to);
	for (uint32_t i = own_start; i < s.from; i++)
		scores[i] = -INFINITY;
	for (uint32_t i = s.to; i < own_end; i++)
		scores[i] = -INFINITY;
	vf most = vf_set(sink ? *sink : -INFINITY), sum[SUMS];
	for (int i = 0; i < SUMS; i++)
		sum[i] = vf_zero();
	for (uint32_t i = own_start; i < own_end; i += W)
		most = vf_max(most, vf_load(scores + i));
	vf top = vf_set(vf_most(most));
	for (uint32_t i = own_start; i < own_end; i += W)
		vf_store(scores + i, vf_exp(vf_sub(vf_load(scores + i), top)));
	for (uint32_t i = start; i < s.from; i++)
		scores[i] = 0;
	for (uint32_t i = s.to; i < end; i++)
		scores[i] = 0;
	for (uint32_t i = own_start; i < own_end; i += 16)
		for (int k = 0; k < SUMS; k++)
			sum[k] = vf_add(sum[k], vf_load(scores + i + (size_t)k * W));
	float total = vf_sum(sum);
	if (sink) {
		float lanes[W];
		vf_store(lanes, vf_exp(vf_sub(vf_set(*sink), top)));
		total += lanes[0];
	}
	return total;
}

/* n queries of consecutive numbers (token * group + head) from `first`. */
INLINE vf from_row(const bool bytes, const void *rows, size_t at)
{
	return bytes ? vf_from_s8((const uint8_t *)rows + at) : vf_from_half((const uint16_t *)rows + at);
}

INLINE void attend_block(const int n, const bool bytes, const struct hs_attention *a, uint32_t first)
{
	const float *q[BLOCK];
	float *out[BLOCK], inverse[BLOCK];
	struct span spans[BLOCK];
	uint32_t start = UINT32_MAX, longest = 0;
	for (int i = 0; i < n; i++) {
		uint32_t token = (first + (uint32_t)i) / a->group, head = (first + (uint32_t)i) % a->group;
		q[i] = a->q + token * a->stride + (size_t)head * a->head_dim;
		out[i] = a->out + token * a->stride + (size_t)head * a->head_dim;
		spans[i] = span_of(a, token);
		start = spans[i].from < start ? spans[i].from : start;
		longest = spans[i].to > longest ? spans[i].to : longest;
	}
	uint32_t end = (uint32_t)HS_ROUND16(longest);
	start &= ~15u;
	const vf scale = vf_set(a->scale);
	for (uint32_t at = start; at < end; at += W) {
		const uint8_t *page = a->pages[at / HS_PAGE_POSITIONS];
		uint32_t in_page = at % HS_PAGE_POSITIONS;
		const float *key_scales = (const float *)(const void *)(page + a->key_scales) + in_page;
		size_t k = (size_t)(in_page / 16) * a->head_dim * 16 + in_page % 16;
		vf acc[BLOCK];
		for (int i = 0; i < n; i++)
			acc[i] = vf_zero();
		for (uint32_t b = 0; b < a->head_dim; b += bytes ? HS_BLOCK : a->head_dim) {
			vf part[BLOCK];
			uint32_t block_end = bytes && a->head_dim - b > HS_BLOCK ? b + HS_BLOCK : a->head_dim;
			for (int i = 0; i < n; i++)
				part[i] = vf_zero();
			for (uint32_t c = b; c < block_end; c++) {
				vf key = from_row(bytes, page + a->keys, k + 16 * (size_t)c);
				for (int i = 0; i < n; i++)
					part[i] = vf_fma(vf_set(q[i][c]), key, part[i]);
			}
			for (int i = 0; i < n; i++)
				acc[i] = bytes ? vf_fma(part[i], vf_load(key_scales + b / HS_BLOCK * HS_PAGE_POSITIONS), acc[i])
					       : part[i];
		}
		for (int i = 0; i < n; i++) {
			vf score = vf_mul(acc[i], scale);
			vf_store(a->scores + i * a->scores_stride + at, a->cap > 0 ? soft_cap(score, a->cap) : score);
		}
	}
	for (int i = 0; i < n; i++)
		inverse[i] = 1 / soften(a->scores + i * a->scores_stride, spans[i], start, end,
					a->sinks ? &a->sinks[(first + (uint32_t)i) % a->group] : NULL);
	size_t value_stride = HS_ROUND16(a->head_dim);
	for (uint32_t c = 0; c < a->head_dim; c += W) {
		vf acc[BLOCK];
		for (int i = 0; i < n; i++)
			acc[i] = vf_zero();
		for (uint32_t at = start, page_end; at < longest; at = page_end) {
			const uint8_t *page = a->pages[at / HS_PAGE_POSITIONS];
			const float *value_scales =
			    (const float *)(const void *)(page + a->value_scales) + c / HS_BLOCK * HS_PAGE_POSITIONS;
			uint32_t base = at / HS_PAGE_POSITIONS * HS_PAGE_POSITIONS;
			page_end = HS_MIN(base + HS_PAGE_POSITIONS, longest);
			for (uint32_t p = at; p < page_end; p++) {
				vf value = from_row(bytes, page + a->values, (p - base) * value_stride + c);
				float value_scale = bytes ? value_scales[p - base] : 0;
				for (int i = 0; i < n; i++) {
					float weight = a->scores[i * a->scores_stride + p];
					acc[i] = vf_fma(vf_set(bytes ? weight * value_scale : weight), value, acc[i]);
				}
			}
		}
		for (int i = 0; i < n; i++) {
			float lanes[W];
			vf_store(lanes, vf_mul(acc[i], vf_set(inverse[i])));
			memcpy(out[i] + c, lanes, sizeof(float) * (a->head_dim - c < W ? a->head_dim - c : W));
		}
	}
}

INLINE void attend_all(const bool bytes, const struct hs_attention *a, uint32_t token, uint32_t token_end)
{
	uint32_t i = token * a->group, end = token_end * a->group;
	for (; end - i >= BLOCK; i += BLOCK)
		attend_block(BLOCK, bytes, a, i);
	for (; end - i >= 2; i += 2)
		attend_block(2, bytes, a, i);
	if (i < end)
		attend_block(1, bytes, a, i);
}

static void attend(const struct hs_attention *a, uint32_t token, uint32_t token_end)
{
	if (a->bytes)
		attend_all(true, a, token, token_end);
	else
		attend_all(false, a, token, token_end);
}

static void normalise(enum hs_norm kind, const float *x, const float *weight, const float *bias, float eps, size_t n, float *y)
{
	size_t whole = n / 16 * 16;
	float mean = 0, square = 0;
	vf sum[SUMS];
	if (kind == HS_NORM_LAYER) {
		for (int k = 0; k < SUMS; k++)
			sum[k] = vf_zero();
		for (size_t i = 0; i < whole; i += 16)
			for (int k = 0; k < SUMS; k++)
				sum[k] = vf_add(sum[k], vf_load(x + i + (size_t)k * W));
		mean = vf_sum(sum);
		for (size_t i = whole; i < n; i++)
			mean += x[i];
		mean /= (float)n;
	}
	vf centre = vf_set(mean);
	for (int k = 0; k < SUMS; k++)
		sum[k] = vf_zero();
	for (size_t i = 0; i < whole; i += 16)
		for (int k = 0; k < SUMS; k++) {
			vf v = vf_sub(vf_load(x + i + (size_t)k * W), centre);
			sum[k] = vf_fma(v, v, sum[k]);
		}
	square = vf_sum(sum);
	for (size_t i = whole; i < n; i++)
		square += (x[i] - mean) * (x[i] - mean);
	float scale = 1 / sqrtf(square / (float)n + eps);
	for (size_t i = 0; i < whole; i += W) {
		vf v = vf_mul(vf_mul(vf_sub(vf_load(x + i), centre), vf_set(scale)), vf_load(weight + i));
		vf_store(y + i, bias ? vf_add(v, vf_load(bias + i)) : v);
	}
	for (size_t i = whole; i < n; i++)
		y[i] = (x[i] - mean) * scale * weight[i] + (bias ? bias[i] : 0);
}

INLINE vf silu(vf v)
{
	return vf_div(v, vf_add(vf_set(1), vf_exp(vf_sub(vf_zero(), v))));
}

/* x Phi(x) by the error function of Abramowitz and Stegun 7.1.26, absolute error below 1.5e-7. */
INLINE vf gelu(vf v)
{
	vf z = vf_mul(vf_abs(v), vf_set(0.70710678118654752f));
	vf t = vf_div(vf_set(1), vf_fma(z, vf_set(0.3275911f), vf_set(1)));
	vf p = vf_set(1.061405429f);
	p = vf_fma(p, t, vf_set(-1.453152027f));
	p = vf_fma(p, t, vf_set(1.421413741f));
	p = vf_fma(p, t, vf_set(-0.284496736f));
	p = vf_fma(p, t, vf_set(0.254829592f));
	vf tail = vf_mul(vf_mul(p, t), vf_exp(vf_sub(vf_zero(), vf_mul(z, z)))); /* 1 - erf(z) */
	/* v > 0: v - v tail / 2; v < 0: v tail / 2; both are max(v, 0) - |v| tail / 2 */
	return vf_sub(vf_max(v, vf_zero()), vf_mul(vf_mul(vf_abs(v), tail), vf_set(0.5f)));
}

/* x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)), which is the tanh form of gelu */
INLINE vf gelu_tanh(vf v)
{
	vf cube = vf_fma(vf_mul(vf_mul(v, v), v), vf_set(0.044715f), v);
	return vf_div(v, vf_add(vf_set(1), vf_exp(vf_mul(cube, vf_set(-1.5957691216057308f)))));
}

INLINE vf activated(enum hs_act act, vf v)
{
	return act == HS_ACT_SILU ? silu(v) : act == HS_ACT_GELU ? gelu(v) : gelu_tanh(v);
}

/* The clamped form: g sigmoid(1.702 g) (u + 1) with g at most 7 and u within 7 of zero. */
INLINE vf swiglu_clamped(vf g, vf u)
{
	g = vf_min(g, vf_set(HS_SWIGLU_LIMIT));
	u = vf_min(vf_max(u, vf_set(-HS_SWIGLU_LIMIT)), vf_set(HS_SWIGLU_LIMIT));
	vf gated = vf_div(g, vf_add(vf_set(1), vf_exp(vf_mul(g, vf_set(-HS_SWIGLU_ALPHA)))));
	return vf_mul(gated, vf_add(u, vf_set(1)));
}

static void activate(enum hs_act act, const float *gate, float *up, size_t n)
{
	for (size_t i = 0; i < n; i += W) {
		vf v = vf_load(up + i);
		if (gate && act == HS_ACT_SWIGLU_CLAMPED)
			v = swiglu_clamped(vf_load(gate + i), v);
		else if (gate)
			v = vf_mul(activated(act, vf_load(gate + i)), v);
		else
			v = activated(act, v);
		vf_store(up + i, v);
	}
}

static void cap(float *x, size_t n, float limit)
{
	for (size_t i = 0; i < n; i += W)
		vf_store(x + i, soft_cap(vf_load(x + i), limit));
}

static void rotate(enum hs_rope kind, float *heads, uint32_t n_heads, uint32_t head_dim, const float *cosines, const float *sines)
{
	uint32_t half = head_dim / 2;
	for (uint32_t h = 0; h < n_heads; h++, heads += head_dim)
		for (uint32_t i = 0; i < half; i++) {
			float *a = heads + (kind == HS_ROPE_HALF ? i : 2 * i), *b = kind == HS_ROPE_HALF ? a + half : a + 1;
			float was = *a;
			*a = was * cosines[i] - *b * sines[i];
			*b = was * sines[i] + *b * cosines[i];
		}
}

const struct hs_kernels HS_KERNELS = {
    .name = HS_KERNELS_NAME,
    .quantise = quantise,
    .multiply = HS_MULTIPLY,
    .attend = attend,
    .normalise = normalise,
    .activate = activate,
    .cap = cap,
    .rotate = rotate,
};
