/*
 * The inner loops. Compiled once for each machine, with HS_KERNELS the table's name; simd.h is what differs.
 * Sums run over columns in ascending order, lane by lane, whatever the number of tokens that share a pass.
 */
#include "inference/cpu/kernels.h"
#include "inference/cpu/simd.h"

static void quantise(struct hs_acts *a, uint32_t token)
{
	const float *x = a->x + token * a->stride;
	int8_t *q = a->q + token * a->stride;
	float *d = a->d + token * a->stride / 32, *s32 = a->s32 + token * a->stride / 32, *s16 = a->s16 + token * a->stride / 16;
	for (size_t c = 0; c < a->columns; c += 32) {
		vf most = vf_zero();
		for (int i = 0; i < 32; i += W)
			most = vf_max(most, vf_abs(vf_load(x + c + i)));
		float top = vf_most(most), scale = top / 127, inverse = top > 0 ? 127 / top : 0;
		int32_t sums[2];
		for (int half = 0; half < 2; half++) {
			vi sum = vi_zero();
			for (int i = 16 * half; i < 16 * half + 16; i += W) {
				vi v = vi_from_float(vf_mul(vf_load(x + c + i), vf_set(inverse)));
				vi_store_s8(q + c + i, v);
				sum = vi_add(sum, v);
			}
			sums[half] = vi_sum(sum);
			s16[c / 16 + half] = scale * (float)sums[half];
		}
		d[c / 32] = scale;
		s32[c / 32] = scale * (float)(sums[0] + sums[1]);
	}
}

/* One group of 32 columns of a panel, seen from lane `lane`. */
struct group {
	vf scale, shift;   /* value = scale * code + shift */
	vf scale2, shift2; /* Q6_K: the second 16 columns */
	const uint8_t *codes;
};

INLINE struct group find_group(const enum hs_tensor_type type, const uint8_t *panel, size_t g, int lane)
{
	struct group r = {.scale = vf_zero()};
	if (type == HS_Q4_0 || type == HS_Q5_0 || type == HS_Q8_0) {
		const uint8_t *p = panel + g * (type == HS_Q4_0 ? 288 : type == HS_Q5_0 ? 352 : 544);
		r.scale = vf_from_half(p + 2 * lane);
		r.shift = vf_mul(r.scale, vf_set(type == HS_Q4_0 ? -8 : type == HS_Q5_0 ? -16 : -OFFSET8));
		r.codes = p + 32;
	} else if (type == HS_Q4_K || type == HS_Q5_K) {
		size_t codes = type == HS_Q4_K ? 256 : 320;
		const uint8_t *p = panel + g / 8 * (320 + 8 * codes);
		r.scale = vf_mul(vf_from_half(p + 2 * lane), vf_from_u8(p + 64 + g % 8 * 16 + lane));
		r.shift = vf_sub(vf_zero(), vf_mul(vf_from_half(p + 32 + 2 * lane), vf_from_u8(p + 192 + g % 8 * 16 + lane)));
		r.codes = p + 320 + g % 8 * codes;
	} else {
		const uint8_t *p = panel + g / 8 * 3360, *scales = p + 32 + g % 8 * 32 + lane;
		vf d = vf_from_half(p + 2 * lane);
		r.scale = vf_mul(d, vf_from_s8(scales));
		r.shift = vf_mul(r.scale, vf_set(-32));
		r.scale2 = vf_mul(d, vf_from_s8(scales + 16));
		r.shift2 = vf_mul(r.scale2, vf_set(-32));
		r.codes = p + 288 + g % 8 * 384;
	}
	return r;
}

/* A panel's W rows times `n` tokens (a constant where inlined). q, d, s: the first token's. */
INLINE void multiply_codes(const enum hs_tensor_type type, const int n, const struct hs_product *p, const uint8_t *panel,
			   int lane, uint32_t token, vf acc[])
{
	const struct hs_acts *a = p->a;
	const size_t stride = a->stride;
	const int8_t *q = a->q + token * stride;
	const float *d = a->d + token * stride / 32, *s32 = a->s32 + token * stride / 32, *s16 = a->s16 + token * stride / 16;
	const vi nibble = vi_set(0x0f0f0f0f), fifth = vi_set(0x10101010), upper = vi_set(0x30303030);
	for (size_t g = 0; g < a->columns / 32; g++, q += 32, d++, s32++, s16 += 2) {
		struct group w = find_group(type, panel, g, lane);
		const uint8_t *codes = w.codes + 4 * lane;
		vi sum[BLOCK], part[BLOCK], sum2[BLOCK], part2[BLOCK];
		for (int t = 0; t < n; t++)
			sum[t] = part[t] = sum2[t] = part2[t] = vi_zero();
		if (type == HS_Q8_0) {
			for (int i = 0; i < 8; i++) {
				vi c = code8(vi_load(codes + 64 * i));
				for (int t = 0; t < n; t++)
					dot8(&sum[t], c, q + t * stride + 4 * i);
			}
		} else {
			vi plane = vi_zero(), plane2 = vi_zero();
			const uint8_t *nibbles = codes + (type == HS_Q5_0 || type == HS_Q5_K ? 64 : type == HS_Q6_K ? 128 : 0);
			if (type == HS_Q5_0 || type == HS_Q5_K || type == HS_Q6_K)
				plane = vi_load(codes);
			if (type == HS_Q6_K)
				plane2 = vi_load(codes + 64);
#pragma GCC unroll 4
			for (int i = 0; i < 4; i++) {
				vi raw = vi_load(nibbles + 64 * i), low = vi_and(raw, nibble),
				   high = vi_and(vi_shr(raw, 4), nibble);
				if (type == HS_Q5_0 || type == HS_Q5_K) {
					low = vi_or(low, vi_and(vi_shl(vi_shr(plane, i), 4), fifth));
					high = vi_or(high, vi_and(vi_shr(plane, i), fifth));
				} else if (type == HS_Q6_K) {
					low = vi_or(low, vi_and(vi_shl(vi_shr(plane, 2 * i), 4), upper));
					high = vi_or(high, vi_and(vi_shl(vi_shr(plane2, 2 * i), 4), upper));
				}
				for (int t = 0; t < n; t++) {
					dot(&part[t], &sum[t], low, q + t * stride + 4 * i);
					if (type == HS_Q6_K)
						dot(&part2[t], &sum2[t], high, q + t * stride + 4 * i + 16);
					else
						dot(&part[t], &sum[t], high, q + t * stride + 4 * i + 16);
					/* 16 bits hold 8 products of 4 bits, 4 of 5, 2 of 6 */
					if (i == 3 || (i == 1 && type != HS_Q4_0 && type != HS_Q4_K)) {
						flush(&part[t], &sum[t]);
						if (type == HS_Q6_K)
							flush(&part2[t], &sum2[t]);
					}
				}
			}
		}
		for (int t = 0; t < n; t++) {
			vf dt = vf_set(d[t * stride / 32]);
			acc[t] = vf_fma(vf_mul(vf_from_int(sum[t]), w.scale), dt, acc[t]);
			if (type == HS_Q6_K) {
				acc[t] = vf_fma(vf_mul(vf_from_int(sum2[t]), w.scale2), dt, acc[t]);
				acc[t] = vf_fma(w.shift, vf_set(s16[t * stride / 16]), acc[t]);
				acc[t] = vf_fma(w.shift2, vf_set(s16[t * stride / 16 + 1]), acc[t]);
			} else if (type != HS_Q8_0 || OFFSET8) {
				acc[t] = vf_fma(w.shift, vf_set(s32[t * stride / 32]), acc[t]);
			}
		}
	}
}

INLINE void multiply_plain(const enum hs_tensor_type type, const int n, const struct hs_product *p, const uint8_t *panel,
			   int lane, uint32_t token, vf acc[])
{
	const float *x = p->a->x + token * p->a->stride;
	for (size_t c = 0; c < p->a->columns; c++) {
		vf w = type == HS_F32   ? vf_load((const float *)(panel + 64 * c) + lane)
		       : type == HS_F16 ? vf_from_half(panel + 32 * c + 2 * lane)
					: vf_from_bf16(panel + 32 * c + 2 * lane);
		for (int t = 0; t < n; t++)
			acc[t] = vf_fma(w, vf_set(x[t * p->a->stride + c]), acc[t]);
	}
}

INLINE void multiply_block(const enum hs_tensor_type type, const int n, const struct hs_product *p, uint32_t panel,
			   uint32_t token)
{
	const uint8_t *data = p->w->data + panel * p->w->panel_bytes;
	for (int lane = 0; lane < HS_PANEL; lane += W) {
		vf acc[BLOCK];
		for (int t = 0; t < n; t++)
			acc[t] = p->w->bias ? vf_load(p->w->bias + (size_t)panel * HS_PANEL + lane) : vf_zero();
		if (type == HS_F32 || type == HS_F16 || type == HS_BF16)
			multiply_plain(type, n, p, data, lane, token, acc);
		else
			multiply_codes(type, n, p, data, lane, token, acc);
		for (int t = 0; t < n; t++) {
			float *y = p->y + (token + t) * p->stride + (size_t)panel * HS_PANEL + lane;
			vf_store(y, p->add ? vf_add(vf_load(y), acc[t]) : acc[t]);
		}
	}
}

INLINE void multiply_range(const enum hs_tensor_type type, const struct hs_product *p, uint32_t panel, uint32_t panel_end,
			   uint32_t token, uint32_t token_end)
{
	for (; panel < panel_end; panel++) {
		uint32_t t = token;
		for (; token_end - t >= BLOCK; t += BLOCK)
			multiply_block(type, BLOCK, p, panel, t);
		for (; token_end - t >= 2; t += 2)
			multiply_block(type, 2, p, panel, t);
		if (t < token_end)
			multiply_block(type, 1, p, panel, t);
	}
}

#define MULTIPLY(name, type)                                                                                                     \
	static __attribute__((noinline)) void name(const struct hs_product *p, uint32_t panel, uint32_t panel_end,               \
						   uint32_t token, uint32_t token_end)                                           \
	{                                                                                                                        \
		multiply_range(type, p, panel, panel_end, token, token_end);                                                     \
	}
MULTIPLY(multiply_f32, HS_F32)
MULTIPLY(multiply_f16, HS_F16)
MULTIPLY(multiply_bf16, HS_BF16)
MULTIPLY(multiply_q4_0, HS_Q4_0)
MULTIPLY(multiply_q5_0, HS_Q5_0)
MULTIPLY(multiply_q8_0, HS_Q8_0)
MULTIPLY(multiply_q4_k, HS_Q4_K)
MULTIPLY(multiply_q5_k, HS_Q5_K)
MULTIPLY(multiply_q6_k, HS_Q6_K)

static void multiply(const struct hs_product *p, uint32_t panel, uint32_t panel_end, uint32_t token, uint32_t token_end)
{
	static void (*const by_type[])(const struct hs_product *, uint32_t, uint32_t, uint32_t, uint32_t) = {
	    [HS_F32] = multiply_f32,   [HS_F16] = multiply_f16,   [HS_BF16] = multiply_bf16,
	    [HS_Q4_0] = multiply_q4_0, [HS_Q5_0] = multiply_q5_0, [HS_Q8_0] = multiply_q8_0,
	    [HS_Q4_K] = multiply_q4_k, [HS_Q5_K] = multiply_q5_k, [HS_Q6_K] = multiply_q6_k,
	};
	by_type[p->w->type](p, panel, panel_end, token, token_end);
}

/* Turn a row of n scores to weights whose sum is returned; zero from n to `end` (multiples of 16 are readable). */
static float soften(float *scores, uint32_t n, uint32_t end)
{
	uint32_t own_end = (uint32_t)HS_ROUND16(n);
	for (uint32_t i = n; i < own_end; i++)
		scores[i] = -INFINITY;
	vf most = vf_set(-INFINITY), sum = vf_zero();
	for (uint32_t i = 0; i < own_end; i += W)
		most = vf_max(most, vf_load(scores + i));
	vf top = vf_set(vf_most(most));
	for (uint32_t i = 0; i < own_end; i += W)
		vf_store(scores + i, vf_exp(vf_sub(vf_load(scores + i), top)));
	for (uint32_t i = n; i < end; i++)
		scores[i] = 0;
	for (uint32_t i = 0; i < own_end; i += W)
		sum = vf_add(sum, vf_load(scores + i));
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
	size_t whole = n / W * W;
	float mean = 0, square = 0;
	if (kind == HS_NORM_LAYER) {
		vf sum = vf_zero();
		for (size_t i = 0; i < whole; i += W)
			sum = vf_add(sum, vf_load(x + i));
		mean = vf_sum(sum);
		for (size_t i = whole; i < n; i++)
			mean += x[i];
		mean /= (float)n;
	}
	vf squares = vf_zero(), centre = vf_set(mean);
	for (size_t i = 0; i < whole; i += W) {
		vf v = vf_sub(vf_load(x + i), centre);
		squares = vf_fma(v, v, squares);
	}
	square = vf_sum(squares);
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
    .multiply = multiply,
    .attend = attend,
    .normalise = normalise,
    .activate = activate,
    .rotate = rotate,
};
