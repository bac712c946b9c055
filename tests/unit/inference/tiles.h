/* The GPU's tiles read back, as layout.h says they are read. */
#ifndef HISHO_TESTS_INFERENCE_TILES_H
#define HISHO_TESTS_INFERENCE_TILES_H

#include <math.h>

#include "inference/cuda/layout.h"
#include "inference/quant/half.h"

static inline float tile_half(const uint8_t *p)
{
	return hs_load_half(p);
}

static inline uint32_t tile_u32(const uint8_t *p)
{
	return (uint32_t)hs_load_u16(p) | (uint32_t)hs_load_u16(p + 2) << 16;
}

/* The value of (row, column) in a matrix of tiles. slack: the most that halves of a scale and a minimum may be away. */
static inline float tile_value(enum hs_gpu_type type, const uint8_t *m, uint32_t columns, uint32_t row, uint32_t column,
			       float *slack)
{
	static const float numbers[16] = {0, 1, 2, 3, 4, 6, 8, 12, -0.0f, -1, -2, -3, -4, -6, -8, -12};
	const uint8_t *tile = m + hs_gpu_tile_at(type, columns, row, column), *codes = tile + hs_gpu_codes_at(type);
	uint32_t r = row % 16, c = column % 32, i = c / 4, j = c % 4;
	uint32_t code = codes[16 * r + c % 16] >> (c < 16 ? 0 : 4) & 15;
	float scale = tile_half(tile + 4 * r), second = tile_half(tile + 4 * r + 2);
	*slack = 0;
	switch (type) {
	case HS_GPU_Q5:
		code |= (tile_u32(tile + HS_GPU_PLANES_AT + 4 * r) >> (8 * j + i) & 1) << 4;
		/* fall through */
	case HS_GPU_Q4:
		*slack = (fabsf(scale) * (float)code + fabsf(second)) * 0x1p-11f + 33 * 0x1p-25f;
		return scale * (float)code + second;
	case HS_GPU_Q6:
		code |= (tile_u32(tile + HS_GPU_PLANES_AT + 8 * r + 4 * (i / 4)) >> (8 * j + 2 * (i % 4)) & 3) << 4;
		scale = c < 16 ? scale : second;
		*slack = fabsf(scale) * 32 * 0x1p-11f + 32 * 0x1p-25f;
		return scale * ((float)code - 32);
	case HS_GPU_Q8:
		return tile_half(tile + 2 * r) * (float)(int8_t)codes[32 * r + c];
	case HS_GPU_MX4:
		return ldexpf(1, tile[r] - 128) *
		       numbers[hs_load_u16(codes + 16 * r + 4 * (c % 16 / 4) + 2 * (c / 16)) >> 4 * (c % 4) & 15];
	case HS_GPU_F16:
		return tile_half(codes + 2 * (32 * r + c));
	case HS_GPU_BF16:
		return hs_bf16_to_float(hs_load_u16(codes + 2 * (32 * r + c)));
	case HS_GPU_F32:
		return hs_float_from_bits(tile_u32(codes + 4 * (32 * r + c)));
	}
	return 0;
}

#endif
