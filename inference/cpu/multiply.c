/*
 * Packed weights times tokens. Compiled once for each machine, with HS_MULTIPLY the function's name; simd.h is what differs.
 *
 * Within a block (32 columns, or 256 of K types) sums are integers and exact; the blocks' float products are added in
 * ascending order, lane by lane, whatever the number of tokens that share a pass.
 */
#include "inference/cpu/multiply.h"
#include "inference/cpu/simd.h"

#define HALVES (2 * W == HS_PANEL ? 2 : 1)

/*
 * What one pass works on: n tokens and h times W rows of a panel (constants where inlined; at most BLOCK together). Where W is
 * half a panel, one or two tokens take all its rows at once: each line of the weights is then read once and not twice.
 */
struct pass {
	const struct hs_acts *a;
	const uint8_t *panel;
	int lane;
	size_t token;
};

/*
 * Ask for what a pass reads 1 KiB from here. A pass of one or two tokens waits for memory, and a processor's own guesses stop
 * at each page of 4 KiB; the last address may lie past the weights, which harms nothing. Measured on Zen 3: one token reads at
 * 0.95 of the bandwidth and not 0.85.
 */
INLINE void fetch_ahead(const int n, const uint8_t *codes)
{
	if (n <= 2)
		__builtin_prefetch(codes + 1024, 0, 2);
}

/* Where sums of token t and the rows' part r stand. */
#define AT(t, r) ((t)*h + (r))

/*
 * Codes of 32 columns times their bytes: part of the first 16 columns in `sum` under scale, of the others under scale2.
 * 16 bits hold 8 products of 4 bits, 4 of 5, 2 of 6; so often do the parts settle.
 */
INLINE void multiply_group(const int bits, const int n, const int h, const uint8_t *codes, const int8_t *q, size_t stride,
			   const vi scale[], const vi scale2[], vi sum[])
{
	const vi nibble = vi_set(0x0f0f0f0f), fifth = vi_set(0x10101010), upper = vi_set(0x30303030);
	const uint8_t *nibbles = codes + (bits - 4) * 64;
	vi part[BLOCK], part2[BLOCK];
	for (int k = 0; k < n * h; k++)
		part[k] = part2[k] = vi_zero();
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		for (int r = 0; r < h; r++) {
			if (r == 0)
				fetch_ahead(n, nibbles + 64 * i);
			vi raw = vi_load(nibbles + 64 * i + 4 * W * r);
			vi low = vi_and(raw, nibble), high = vi_and(vi_shr(raw, 4), nibble);
			if (bits == 5) {
				vi plane = vi_load(codes + 4 * W * r);
				low = vi_or(low, vi_and(vi_shl(vi_shr(plane, i), 4), fifth));
				high = vi_or(high, vi_and(vi_shr(plane, i), fifth));
			} else if (bits == 6) {
				vi plane = vi_load(codes + 4 * W * r), plane2 = vi_load(codes + 64 + 4 * W * r);
				low = vi_or(low, vi_and(vi_shl(vi_shr(plane, 2 * i), 4), upper));
				high = vi_or(high, vi_and(vi_shl(vi_shr(plane2, 2 * i), 4), upper));
			}
			for (int t = 0; t < n; t++) {
				dot(&part[AT(t, r)], low, q + t * stride + 4 * i);
				dot(bits == 6 ? &part2[AT(t, r)] : &part[AT(t, r)], high, q + t * stride + 4 * i + 16);
				if (i == 3 || (i == 1 && bits > 4)) {
					settle(&part[AT(t, r)], scale[r], &sum[AT(t, r)]);
					if (bits == 6)
						settle(&part2[AT(t, r)], scale2[r], &sum[AT(t, r)]);
				}
			}
		}
	}
}

/* Q4_K, Q5_K, Q6_K */
INLINE void multiply_k(const int bits, const int n, const int h, const struct pass *p, vf acc[])
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
		for (int k = 0; k < n * h; k++)
			sum[k] = shift[k] = vi_zero();
		for (int g = 0; g < 8; g++, q += 32, codes += group_bytes) {
			vi scale[2], scale2[2];
			for (int r = 0; r < h; r++) {
				int lane = p->lane + r * W;
				if (bits == 6) {
					vi pairs = pairs_s8(scales + 32 * g + 2 * lane);
					scale[r] = scale_first(pairs);
					scale2[r] = scale_second(pairs);
					for (int t = 0; t < n; t++)
						pair_dot(&shift[AT(t, r)], pairs, sums + t * sums_stride);
					continue;
				}
				scale[r] = scale2[r] = scale_u8(scales + 16 * g + lane);
				vi pairs = g % 2 ? vi_zero() : pairs_u8(block + 192 + 16 * g + 2 * lane);
				for (int t = 0; t < n && g % 2 == 0; t++)
					pair_dot(&shift[AT(t, r)], pairs, sums + t * sums_stride);
			}
			multiply_group(bits, n, h, codes, q, stride, scale, scale2, sum);
			sums += bits == 6 || g % 2 == 0 ? 2 : 0;
		}
		for (int r = 0; r < h; r++) {
			const uint8_t *halves = block + 2 * (p->lane + r * W);
			vf scale = vf_from_half(halves), least = bits == 6 ? vf_zero() : vf_from_half(halves + 32);
			for (int t = 0; t < n; t++) {
				vf dt = vf_set(d[t * stride / 256]), *sink = &acc[AT(t, r)];
				vi part = sum[AT(t, r)];
				if (bits == 6)
					part = vi_sub(part, vi_shl(shift[AT(t, r)], 5));
				*sink = vf_fma(vf_from_int(part), vf_mul(scale, dt), *sink);
				if (bits != 6)
					*sink = vf_fma(vf_from_int(shift[AT(t, r)]), vf_mul(vf_sub(vf_zero(), least), dt), *sink);
			}
		}
	}
}

/* Q4_0, Q5_0, Q8_0; MXFP4, whose scales are floats and whose codes are shifted by 12 */
INLINE void multiply_32(const int bits, const bool mx, const int n, const int h, const struct pass *p, vf acc[])
{
	const struct hs_acts *a = p->a;
	const size_t stride = a->stride, block_bytes = mx ? 384 : bits == 4 ? 288 : bits == 5 ? 352 : 544;
	const int8_t *q = a->q32 + p->token * stride;
	const float *d = a->d32 + p->token * stride / 32;
	const int16_t *sums = a->sums32 + p->token * stride / 32;
	const int offset = mx ? 12 : bits == 4 ? 8 : bits == 5 ? 16 : OFFSET8;
	const vi one[2] = {scale_one(), scale_one()};
	const uint8_t *block = p->panel;
	for (size_t b = 0; b < a->columns / 32; b++, block += block_bytes, q += 32, d++, sums++) {
		const uint8_t *codes = block + (mx ? 64 : 32) + 4 * p->lane;
		vi sum[BLOCK];
		for (int k = 0; k < n * h; k++)
			sum[k] = vi_zero();
		if (bits != 8)
			multiply_group(bits, n, h, codes, q, stride, one, one, sum);
		for (int i = 0; i < 8 && bits == 8; i++) {
			fetch_ahead(n, codes + 64 * i);
			for (int r = 0; r < h; r++) {
				vi c = code8(vi_load(codes + 64 * i + 4 * W * r));
				for (int t = 0; t < n; t++)
					dot8(&sum[AT(t, r)], c, q + t * stride + 4 * i);
			}
		}
		for (int r = 0; r < h; r++) {
			int lane = p->lane + r * W;
			vf scale = mx ? vf_load((const float *)block + lane) : vf_from_half(block + 2 * lane);
			for (int t = 0; t < n; t++) {
				vi centred = sum[AT(t, r)];
				if (offset)
					centred = vi_sub(centred, vi_set(offset * sums[t * stride / 32]));
				acc[AT(t, r)] =
				    vf_fma(vf_from_int(centred), vf_mul(scale, vf_set(d[t * stride / 32])), acc[AT(t, r)]);
			}
		}
	}
}

INLINE void multiply_float(const enum hs_tensor_type type, const int n, const int h, const struct pass *p, vf acc[])
{
	const float *x = p->a->x + p->token * p->a->stride;
	for (size_t c = 0; c < p->a->columns; c++) {
		for (int r = 0; r < h; r++) {
			int lane = p->lane + r * W;
			vf w = type == HS_F32   ? vf_load((const float *)(p->panel + 64 * c) + lane)
			       : type == HS_F16 ? vf_from_half(p->panel + 32 * c + 2 * lane)
						: vf_from_bf16(p->panel + 32 * c + 2 * lane);
			for (int t = 0; t < n; t++)
				acc[AT(t, r)] = vf_fma(w, vf_set(x[t * p->a->stride + c]), acc[AT(t, r)]);
		}
	}
}

INLINE void multiply_block(const enum hs_tensor_type type, const int n, const int h, const struct hs_product *p, uint32_t panel,
			   uint32_t token)
{
	struct pass pass = {.a = p->a, .panel = p->w->data + panel * p->w->panel_bytes, .token = token};
	for (; pass.lane < HS_PANEL; pass.lane += h * W) {
		size_t row = (size_t)panel * HS_PANEL + pass.lane;
		vf acc[BLOCK];
		for (int k = 0; k < n * h; k++)
			acc[k] = p->w->bias ? vf_load(p->w->bias + row + k % h * W) : vf_zero();
		if (type == HS_Q4_K || type == HS_Q5_K || type == HS_Q6_K)
			multiply_k(type == HS_Q4_K ? 4 : type == HS_Q5_K ? 5 : 6, n, h, &pass, acc);
		else if (type == HS_Q4_0 || type == HS_Q5_0 || type == HS_Q8_0)
			multiply_32(type == HS_Q4_0 ? 4 : type == HS_Q5_0 ? 5 : 8, false, n, h, &pass, acc);
		else if (type == HS_MXFP4)
			multiply_32(5, true, n, h, &pass, acc);
		else
			multiply_float(type, n, h, &pass, acc);
		for (int k = 0; k < n * h; k++) {
			float *y = p->y + (token + k / h) * p->stride + row + k % h * W;
			vf_store(y, p->add ? vf_add(vf_load(y), acc[k]) : acc[k]);
		}
	}
}

INLINE void multiply_range(const enum hs_tensor_type type, const struct hs_product *p, uint32_t panel, uint32_t panel_end,
			   uint32_t token, uint32_t token_end)
{
	for (; panel < panel_end; panel++) {
		uint32_t t = token;
		for (; token_end - t >= BLOCK; t += BLOCK)
			multiply_block(type, BLOCK, 1, p, panel, t);
		for (; token_end - t >= 2; t += 2)
			multiply_block(type, 2, HALVES, p, panel, t);
		if (t < token_end)
			multiply_block(type, 1, HALVES, p, panel, t);
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
	    [HS_F32] = multiply_f32,   [HS_F16] = multiply_f16,     [HS_BF16] = multiply_bf16, [HS_Q4_0] = multiply_q4_0,
	    [HS_Q5_0] = multiply_q5_0, [HS_Q8_0] = multiply_q8_0,   [HS_Q4_K] = multiply_q4_k, [HS_Q5_K] = multiply_q5_k,
	    [HS_Q6_K] = multiply_q6_k, [HS_MXFP4] = multiply_mxfp4,
	};
	by_type[p->w->type](p, panel, panel_end, token, token_end);
}
