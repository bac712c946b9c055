/* Q5_K: {half d, dmin; u8 scales[12]; u8 high[32]; u8 q[128]}: as Q4_K, with bit g of high[i] the fifth bit of element i of group
 * g. */
#include "inference/quant/half.h"
#include "inference/quant/quant.h"

void hs_q5_k_codes(const uint8_t *block, uint8_t codes[static HS_K_BLOCK])
{
	const uint8_t *high = block + 16, *q = block + 48;
	for (size_t pair = 0; pair < 4; pair++, q += 32, codes += 64)
		for (size_t i = 0; i < 32; i++) {
			codes[i] = (uint8_t)((q[i] & 15) | (high[i] >> (2 * pair) & 1) << 4);
			codes[32 + i] = (uint8_t)(q[i] >> 4 | (high[i] >> (2 * pair + 1) & 1) << 4);
		}
}

static void dequantise(const uint8_t *row, float *out, size_t n)
{
	for (; n; n -= HS_K_BLOCK, row += HS_Q5_K_BYTES, out += HS_K_BLOCK) {
		uint8_t codes[HS_K_BLOCK], scales[8], mins[8];
		float d = hs_load_half(row), dmin = hs_load_half(row + 2);
		hs_k_scales(row + 4, scales, mins);
		hs_q5_k_codes(row, codes);
		for (size_t i = 0; i < HS_K_BLOCK; i++)
			out[i] = d * (float)scales[i / 32] * (float)codes[i] - dmin * (float)mins[i / 32];
	}
}

const struct hs_quant hs_quant_q5_k = {HS_Q5_K, HS_K_BLOCK, HS_Q5_K_BYTES, dequantise};
