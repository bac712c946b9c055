/*
 * Q6_K: {u8 low[128]; u8 high[64]; s8 scales[16]; half d}: 16 groups of 16; value d * scale * (code - 32).
 * Each half of the block (128 elements) has 64 bytes of low nibbles and 32 of upper bit pairs: element 32 * part + i takes its
 * nibble from low[32 * (part & 1) + i] (parts 2 and 3 the high ones) and its pair from bits 2 * part of high[i].
 */
#include "inference/quant/half.h"
#include "inference/quant/quant.h"

void hs_q6_k_codes(const uint8_t *block, uint8_t codes[static HS_K_BLOCK])
{
	const uint8_t *low = block, *high = block + 128;
	for (size_t half = 0; half < 2; half++, low += 64, high += 32, codes += 128)
		for (size_t i = 0; i < 32; i++) {
			codes[i] = (uint8_t)((low[i] & 15) | (high[i] & 3) << 4);
			codes[32 + i] = (uint8_t)((low[32 + i] & 15) | (high[i] >> 2 & 3) << 4);
			codes[64 + i] = (uint8_t)(low[i] >> 4 | (high[i] >> 4 & 3) << 4);
			codes[96 + i] = (uint8_t)(low[32 + i] >> 4 | (high[i] >> 6) << 4);
		}
}

static void dequantise(const uint8_t *row, float *out, size_t n)
{
	for (; n; n -= HS_K_BLOCK, row += HS_Q6_K_BYTES, out += HS_K_BLOCK) {
		uint8_t codes[HS_K_BLOCK];
		const int8_t *scales = (const int8_t *)row + HS_Q6_K_SCALES;
		float d = hs_load_half(row + HS_Q6_K_SCALES + 16);
		hs_q6_k_codes(row, codes);
		for (size_t i = 0; i < HS_K_BLOCK; i++)
			out[i] = d * (float)scales[i / 16] * (float)(codes[i] - 32);
	}
}

const struct hs_quant hs_quant_q6_k = {HS_Q6_K, HS_K_BLOCK, HS_Q6_K_BYTES, dequantise};
