/*
 * Q4_K: {half d, dmin; u8 scales[12]; u8 q[128]}: 8 groups of 32; value d * scale * code - dmin * min.
 * Each 32 bytes of q hold two groups: the low nibbles are the even one. Scales and minima are 6 bits: those of groups 0..3 are
 * the low bits of bytes 0..3 and 4..7; those of groups 4..7 have four bits in bytes 8..11 and two on top of the others.
 */
#include "inference/quant/half.h"
#include "inference/quant/quant.h"

void hs_k_scales(const uint8_t packed[static 12], uint8_t scales[static 8], uint8_t mins[static 8])
{
	for (size_t i = 0; i < 4; i++) {
		scales[i] = packed[i] & 63;
		mins[i] = packed[4 + i] & 63;
		scales[4 + i] = (uint8_t)((packed[8 + i] & 15) | packed[i] >> 6 << 4);
		mins[4 + i] = (uint8_t)(packed[8 + i] >> 4 | packed[4 + i] >> 6 << 4);
	}
}

void hs_q4_k_codes(const uint8_t *block, uint8_t codes[static HS_K_BLOCK])
{
	const uint8_t *q = block + 16;
	for (size_t pair = 0; pair < 4; pair++, q += 32, codes += 64)
		for (size_t i = 0; i < 32; i++) {
			codes[i] = q[i] & 15;
			codes[32 + i] = q[i] >> 4;
		}
}

static void dequantise(const uint8_t *row, float *out, size_t n)
{
	for (; n; n -= HS_K_BLOCK, row += HS_Q4_K_BYTES, out += HS_K_BLOCK) {
		uint8_t codes[HS_K_BLOCK], scales[8], mins[8];
		float d = hs_load_half(row), dmin = hs_load_half(row + 2);
		hs_k_scales(row + 4, scales, mins);
		hs_q4_k_codes(row, codes);
		for (size_t i = 0; i < HS_K_BLOCK; i++)
			out[i] = d * (float)scales[i / 32] * (float)codes[i] - dmin * (float)mins[i / 32];
	}
}

const struct hs_quant hs_quant_q4_k = {HS_Q4_K, HS_K_BLOCK, HS_Q4_K_BYTES, dequantise};
