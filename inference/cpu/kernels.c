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

/* Turn a row of n scores to weights whose sum is returned; zero from n to `end` (multiples of 16 are readable). */
static float soften(float *scores, uint32_t n, uint32_t end)
{
	uint32_t own_end = (uint32_t)HS_ROUND16(n);
	for (uint32_t i = n; i < own_end; i++)
		scores[i] = -INFINITY;
	vf most = vf_set(-INFINITY), sum[SUMS];
	for (int i = 0; i < SUMS; i++)
		sum[i] = vf_zero();
	for (uint32_t i = 0; i < own_end; i += W)
		most = vf_max(most, vf_load(scores + i));
	vf top = vf_set(vf_most(most));
	for (uint32_t i = 0; i < own_end; i += W)
		vf_store(scores + i, vf_exp(vf_sub(vf_load(scores + i), top)));
	for (uint32_t i = n; i < end; i++)
		scores[i] = 0;
	for (uint32_t i = 0; i < own_end; i += 16)
		for (int k = 0; k < SUMS; k++)
			sum[k] = vf_add(sum[k], vf_load(scores + i + (size_t)k * W));
	return vf_sum(sum);
}

/* n queries of consecutive numbers (token * group + head) from `first`. */
INLINE void attend_block(const int n, const struct hs_attention *a, uint32_t first)
{
	const float *q[BLOCK];
	float *out[BLOCK], inverse[BLOCK];
	uint32_t visible[BLOCK], longest = 0;
	for (int i = 0; i < n; i++) {
		uint32_t token = (first + (uint32_t)i) / a->group, head = (first + (uint32_t)i) % a->group;
		q[i] = a->q + token * a->stride + (size_t)head * a->head_dim;
		out[i] = a->out + token * a->stride + (size_t)head * a->head_dim;
		visible[i] = a->causal ? a->visible + token : a->visible;
		longest = visible[i] > longest ? visible[i] : longest;
	}
	uint32_t end = (uint32_t)HS_ROUND16(longest);
	const vf scale = vf_set(1 / sqrtf((float)a->head_dim));
	for (uint32_t at = 0; at < end; at += W) {
		const uint16_t *k = a->keys + (size_t)(at / 16) * a->head_dim * 16 + at % 16;
		vf acc[BLOCK];
		for (int i = 0; i < n; i++)
			acc[i] = vf_zero();
		for (uint32_t c = 0; c < a->head_dim; c++) {
			vf key = vf_from_half(k + 16 * c);
			for (int i = 0; i < n; i++)
				acc[i] = vf_fma(vf_set(q[i][c]), key, acc[i]);
		}
		for (int i = 0; i < n; i++)
			vf_store(a->scores + i * a->scores_stride + at, vf_mul(acc[i], scale));
	}
	for (int i = 0; i < n; i++)
		inverse[i] = 1 / soften(a->scores + i * a->scores_stride, visible[i], end);
	size_t value_stride = HS_ROUND16(a->head_dim);
	for (uint32_t c = 0; c < a->head_dim; c += W) {
		vf acc[BLOCK];
		for (int i = 0; i < n; i++)
			acc[i] = vf_zero();
		for (uint32_t at = 0; at < longest; at++) {
			vf value = vf_from_half(a->values + at * value_stride + c);
			for (int i = 0; i < n; i++)
				acc[i] = vf_fma(vf_set(a->scores[i * a->scores_stride + at]), value, acc[i]);
		}
		for (int i = 0; i < n; i++) {
			float lanes[W];
			vf_store(lanes, vf_mul(acc[i], vf_set(inverse[i])));
			memcpy(out[i] + c, lanes, sizeof(float) * (a->head_dim - c < W ? a->head_dim - c : W));
		}
	}
}

static void attend(const struct hs_attention *a, uint32_t token, uint32_t token_end)
{
	uint32_t i = token * a->group, end = token_end * a->group;
	for (; end - i >= BLOCK; i += BLOCK)
		attend_block(BLOCK, a, i);
	for (; end - i >= 2; i += 2)
		attend_block(2, a, i);
	if (i < end)
		attend_block(1, a, i);
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

static void activate(enum hs_act act, const float *gate, float *up, size_t n)
{
	for (size_t i = 0; i < n; i += W) {
		vf v = vf_load((gate ? gate : up) + i);
		v = act == HS_ACT_SILU ? silu(v) : gelu(v);
		vf_store(up + i, gate ? vf_mul(v, vf_load(up + i)) : v);
	}
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
    .rotate = rotate,
};
