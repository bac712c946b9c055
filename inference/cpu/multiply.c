/*
 * Packed weights times tokens. Compiled once for each machine, with HS_MULTIPLY the function's name; simd.h is what differs.
 *
 * Within a block (32 columns, or 256 of K types) sums are integers and exact; the blocks' float products are added in
 * ascending order, lane by lane, whatever the number of tokens that share a pass.
 */
#include "inference/cpu/multiply.h"
#include "inference/cpu/simd.h"

/* What one pass works on: W rows of a panel, n tokens (a constant where inlined). */
struct pass {
	const struct hs_acts *a;
	const uint8_t *panel;
	int lane;
	size_t token;
};

/*
 * Codes of 32 columns times their bytes: part of the first 16 columns in `sum` under scale, of the others under scale2.
 * 16 bits hold 8 products of 4 bits, 4 of 5, 2 of 6; so often do the parts settle.
 */
INLINE void multiply_group(const int bits, const int n, const uint8_t *codes, const int8_t *q, size_t stride, vi scale, vi scale2,
			   vi sum[])
{
	const vi nibble = vi_set(0x0f0f0f0f), fifth = vi_set(0x10101010), upper = vi_set(0x30303030);
	const uint8_t *nibbles = codes + (bits - 4) * 64;
	vi part[BLOCK], part2[BLOCK], plane = vi_zero(), plane2 = vi_zero();
	for (int t = 0; t < n; t++)
		part[t] = part2[t] = vi_zero();
	if (bits > 4)
		plane = vi_load(codes);
	if (bits == 6)
		plane2 = vi_load(codes + 64);
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		vi raw = vi_load(nibbles + 64 * i), low = vi_and(raw, nibble), high = vi_and(vi_shr(raw, 4), nibble);
		if (bits == 5) {
			low = vi_or(low, vi_and(vi_shl(vi_shr(plane, i), 4), fifth));
			high = vi_or(high, vi_and(vi_shr(plane, i), fifth));
		} else if (bits == 6) {
			low = vi_or(low, vi_and(vi_shl(vi_shr(plane, 2 * i), 4), upper));
			high = vi_or(high, vi_and(vi_shl(vi_shr(plane2, 2 * i), 4), upper));
		}
		for (int t = 0; t < n; t++) {
			dot(&part[t], low, q + t * stride + 4 * i);
			dot(bits == 6 ? &part2[t] : &part[t], high, q + t * stride + 4 * i + 16);
			if (i == 3 || (i == 1 && bits > 4)) {
				settle(&part[t], scale, &sum[t]);
				if (bits == 6)
					settle(&part2[t], scale2, &sum[t]);
			}
		}
	}
}

/* Q4_K, Q5_K, Q6_K */
INLINE void multiply_k(const int bits, const int n, const struct pass *p, vf acc[])
{
	const struct hs_acts *a = p->a;
	const size_t stride = a->stride, group_bytes = bits == 4 ? 256 : bits == 5 ? 320 : 384;
	const size_t head_bytes = bits == 6 ? 288 : 320;
	const int8_t *q = a->q256 + p->token * stride;
	const float *d = a->d256 + p->token * stride / 256;
	const int16_t *sums = bits == 6 ? a->sums16k + p->token * stride / 16 : a->sums32k + p->token * stride / 32;
	const size_t sums_stride = stride / (bits == 6 ? 16 : 32);
	const uint8_t *block = p->panel;
	for (size_t b = 0; b < a->columns / 256; b++, block += head_bytes + 8 * group_bytes, d++) {
		const uint8_t *scales = block + (bits == 6 ? 32 : 64), *codes = block + head_bytes + 4 * p->lane;
		vi sum[BLOCK], shift[BLOCK]; /* scale * code * q, and what is added to every code, times q */
		for (int t = 0; t < n; t++)
			sum[t] = shift[t] = vi_zero();
		for (int g = 0; g < 8; g++, q += 32, codes += group_bytes) {
			if (bits == 6) {
				vi pairs = pairs_s8(scales + 32 * g + 2 * p->lane);
				multiply_group(bits, n, codes, q, stride, scale_first(pairs), scale_second(pairs), sum);
				for (int t = 0; t < n; t++)
					pair_dot(&shift[t], pairs, sums + t * sums_stride);
				sums += 2;
				continue;
			}
			vi scale = scale_u8(scales + 16 * g + p->lane);
			multiply_group(bits, n, codes, q, stride, scale, scale, sum);
			if (g % 2 == 0) {
				vi pairs = pairs_u8(block + 192 + 16 * g + 2 * p->lane);
				for (int t = 0; t < n; t++)
					pair_dot(&shift[t], pairs, sums + t * sums_stride);
				sums += 2;
			}
		}
		vf scale = vf_from_half(block + 2 * p->lane), least = vf_zero();
		if (bits != 6)
			least = vf_sub(vf_zero(), vf_from_half(block + 32 + 2 * p->lane));
		for (int t = 0; t < n; t++) {
			vf dt = vf_set(d[t * stride / 256]);
			if (bits == 6) {
				vi centred = vi_sub(sum[t], vi_shl(shift[t], 5));
				acc[t] = vf_fma(vf_from_int(centred), vf_mul(scale, dt), acc[t]);
			} else {
				acc[t] = vf_fma(vf_from_int(sum[t]), vf_mul(scale, dt), acc[t]);
				acc[t] = vf_fma(vf_from_int(shift[t]), vf_mul(least, dt), acc[t]);
			}
		}
	}
}

/* Q4_0, Q5_0, Q8_0; MXFP4, whose scales are floats and whose codes are shifted by 12 */
INLINE void multiply_32(const int bits, const bool mx, const int n, const struct pass *p, vf acc[])
{
	const struct hs_acts *a = p->a;
	const size_t stride = a->stride, block_bytes = mx ? 384 : bits == 4 ? 288 : bits == 5 ? 352 : 544;
	const int8_t *q = a->q32 + p->token * stride;
	const float *d = a->d32 + p->token * stride / 32;
	const int16_t *sums = a->sums32 + p->token * stride / 32;
	const int offset = mx ? 12 : bits == 4 ? 8 : bits == 5 ? 16 : OFFSET8;
	const uint8_t *block = p->panel;
	for (size_t b = 0; b < a->columns / 32; b++, block += block_bytes, q += 32, d++, sums++) {
		const uint8_t *codes = block + (mx ? 64 : 32) + 4 * p->lane;
		vi sum[BLOCK];
		for (int t = 0; t < n; t++)
			sum[t] = vi_zero();
		if (bits == 8) {
			for (int i = 0; i < 8; i++) {
				vi c = code8(vi_load(codes + 64 * i));
				for (int t = 0; t < n; t++)
					dot8(&sum[t], c, q + t * stride + 4 * i);
			}
		} else {
			multiply_group(bits, n, codes, q, stride, scale_one(), scale_one(), sum);
		}
		vf scale = mx ? vf_load((const float *)block + p->lane) : vf_from_half(block + 2 * p->lane);
		for (int t = 0; t < n; t++) {
			vi centred = offset ? vi_sub(sum[t], vi_set(offset * sums[t * stride / 32])) : sum[t];
			acc[t] = vf_fma(vf_from_int(centred), vf_mul(scale, vf_set(d[t * stride / 32])), acc[t]);
		}
	}
}

INLINE void multiply_float(const enum hs_tensor_type type, const int n, const struct pass *p, vf acc[])
{
	const float *x = p->a->x + p->token * p->a->stride;
	for (size_t c = 0; c < p->a->columns; c++) {
		vf w = type == HS_F32   ? vf_load((const float *)(p->panel + 64 * c) + p->lane)
		       : type == HS_F16 ? vf_from_half(p->panel + 32 * c + 2 * p->lane)
					: vf_from_bf16(p->panel + 32 * c + 2 * p->lane);
		for (int t = 0; t < n; t++)
			acc[t] = vf_fma(w, vf_set(x[t * p->a->stride + c]), acc[t]);
	}
}

INLINE void multiply_block(const enum hs_tensor_type type, const int n, const struct hs_product *p, uint32_t panel,
			   uint32_t token)
{
	struct pass pass = {.a = p->a, .panel = p->w->data + panel * p->w->panel_bytes, .token = token};
	for (; pass.lane < HS_PANEL; pass.lane += W) {
		vf acc[BLOCK];
		for (int t = 0; t < n; t++)
			acc[t] = p->w->bias ? vf_load(p->w->bias + (size_t)panel * HS_PANEL + pass.lane) : vf_zero();
		if (type == HS_Q4_K || type == HS_Q5_K || type == HS_Q6_K)
			multiply_k(type == HS_Q4_K ? 4 : type == HS_Q5_K ? 5 : 6, n, &pass, acc);
		else if (type == HS_Q4_0 || type == HS_Q5_0 || type == HS_Q8_0)
			multiply_32(type == HS_Q4_0 ? 4 : type == HS_Q5_0 ? 5 : 8, false, n, &pass, acc);
		else if (type == HS_MXFP4)
			multiply_32(5, true, n, &pass, acc);
		else
			multiply_float(type, n, &pass, acc);
		for (int t = 0; t < n; t++) {
			float *y = p->y + (token + t) * p->stride + (size_t)panel * HS_PANEL + pass.lane;
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
MULTIPLY(multiply_mxfp4, HS_MXFP4)

void HS_MULTIPLY(const struct hs_product *p, uint32_t panel, uint32_t panel_end, uint32_t token, uint32_t token_end)
{
	static void (*const by_type[])(const struct hs_product *, uint32_t, uint32_t, uint32_t, uint32_t) = {
	    [HS_F32] = multiply_f32,   [HS_F16] = multiply_f16,   [HS_BF16] = multiply_bf16,
	    [HS_Q4_0] = multiply_q4_0, [HS_Q5_0] = multiply_q5_0, [HS_Q8_0] = multiply_q8_0,
	    [HS_Q4_K] = multiply_q4_k, [HS_Q5_K] = multiply_q5_k, [HS_Q6_K] = multiply_q6_k,
	    [HS_MXFP4] = multiply_mxfp4,
	};
	by_type[p->w->type](p, panel, panel_end, token, token_end);
}
