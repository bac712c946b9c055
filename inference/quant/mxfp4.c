/* MXFP4: {u8 e; u8 q[16]}: value 2^(e - 128) * code(q), low nibbles first; the codes are E2M1 numbers, doubled (OCP MX v1.0). */
#include <math.h>

#include "inference/quant/quant.h"

static const int8_t numbers[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

float hs_mxfp4_scale(const uint8_t *block)
{
	return ldexpf(1, block[0] - 128);
}

void hs_mxfp4_codes(const uint8_t *block, uint8_t codes[static HS_BLOCK])
{
	for (size_t i = 0; i < 16; i++) {
		codes[i] = (uint8_t)(numbers[block[1 + i] & 15] + 12);
		codes[i + 16] = (uint8_t)(numbers[block[1 + i] >> 4] + 12);
	}
}

static void dequantise(const uint8_t *row, float *out, size_t n)
{
	for (; n; n -= HS_BLOCK, row += HS_MXFP4_BYTES, out += HS_BLOCK) {
		uint8_t codes[HS_BLOCK];
		float d = hs_mxfp4_scale(row);
		hs_mxfp4_codes(row, codes);
		for (size_t i = 0; i < HS_BLOCK; i++)
			out[i] = d * (float)(codes[i] - 12);
	}
}

const struct hs_quant hs_quant_mxfp4 = {HS_MXFP4, HS_BLOCK, HS_MXFP4_BYTES, dequantise};
