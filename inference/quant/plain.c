/* F32, F16, BF16: one number an element. */
#include "inference/quant/half.h"
#include "inference/quant/quant.h"

static void dequantise_f32(const uint8_t *row, float *out, size_t n)
{
	memcpy(out, row, n * sizeof *out);
}

static void dequantise_f16(const uint8_t *row, float *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = hs_load_half(row + 2 * i);
}

static void dequantise_bf16(const uint8_t *row, float *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = hs_bf16_to_float(hs_load_u16(row + 2 * i));
}

const struct hs_quant hs_quant_f32 = {HS_F32, 1, 4, dequantise_f32};
const struct hs_quant hs_quant_f16 = {HS_F16, 1, 2, dequantise_f16};
const struct hs_quant hs_quant_bf16 = {HS_BF16, 1, 2, dequantise_bf16};
