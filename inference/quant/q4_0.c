/* Q4_0: {half d; u8 q[16]}; elements 0..15 are the low nibbles, 16..31 the high ones; value d * (code - 8). */
#include "inference/quant/half.h"
#include "inference/quant/quant.h"

void hs_q4_0_codes(const uint8_t *block, uint8_t codes[static HS_BLOCK])
{
	for (size_t i = 0; i < 16; i++) {
		codes[i] = block[2 + i] & 15;
		codes[16 + i] = block[2 + i] >> 4;
	}
}

static void dequantise(const uint8_t *row, float *out, size_t n)
{
	for (; n; n -= HS_BLOCK, row += HS_Q4_0_BYTES, out += HS_BLOCK) {
		uint8_t codes[HS_BLOCK];
		float d = hs_load_half(row);
		hs_q4_0_codes(row, codes);
		for (size_t i = 0; i < HS_BLOCK; i++)
			out[i] = d * (float)(codes[i] - 8);
	}
}

const struct hs_quant hs_quant_q4_0 = {HS_Q4_0, HS_BLOCK, HS_Q4_0_BYTES, dequantise};
