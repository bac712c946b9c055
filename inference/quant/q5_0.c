/* Q5_0: {half d; u8 high[4]; u8 q[16]}; nibbles as in Q4_0, bit i of `high` is element i's fifth; value d * (code - 16). */
#include "inference/quant/half.h"
#include "inference/quant/quant.h"

void hs_q5_0_codes(const uint8_t *block, uint8_t codes[static HS_BLOCK])
{
	uint32_t high = (uint32_t)hs_load_u16(block + 2) | (uint32_t)hs_load_u16(block + 4) << 16;
	for (size_t i = 0; i < 16; i++) {
		codes[i] = (uint8_t)((block[6 + i] & 15) | (high >> i & 1) << 4);
		codes[16 + i] = (uint8_t)(block[6 + i] >> 4 | (high >> (16 + i) & 1) << 4);
	}
}

static void dequantise(const uint8_t *row, float *out, size_t n)
{
	for (; n; n -= HS_BLOCK, row += HS_Q5_0_BYTES, out += HS_BLOCK) {
		uint8_t codes[HS_BLOCK];
		float d = hs_load_half(row);
		hs_q5_0_codes(row, codes);
		for (size_t i = 0; i < HS_BLOCK; i++)
			out[i] = d * (float)(codes[i] - 16);
	}
}

const struct hs_quant hs_quant_q5_0 = {HS_Q5_0, HS_BLOCK, HS_Q5_0_BYTES, dequantise};
