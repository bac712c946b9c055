/* Q8_0: {half d; s8 q[32]}; value d * q. Its code is q + 128, so that codes are unsigned in every type. */
#include "inference/quant/half.h"
#include "inference/quant/quant.h"

void hs_q8_0_codes(const uint8_t *block, uint8_t codes[static HS_BLOCK])
{
	for (size_t i = 0; i < HS_BLOCK; i++)
		codes[i] = block[2 + i] ^ 0x80;
}

static void dequantise(const uint8_t *row, float *out, size_t n)
{
	for (; n; n -= HS_BLOCK, row += HS_Q8_0_BYTES, out += HS_BLOCK) {
		float d = hs_load_half(row);
		for (size_t i = 0; i < HS_BLOCK; i++)
			out[i] = d * (float)(int8_t)row[2 + i];
	}
}

const struct hs_quant hs_quant_q8_0 = {HS_Q8_0, HS_BLOCK, HS_Q8_0_BYTES, dequantise};
