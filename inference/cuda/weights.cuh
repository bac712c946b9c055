/* Weights as layout.h packs them: from a tile to bytes that products take, and to floats. */
#ifndef HISHO_INFERENCE_CUDA_WEIGHTS_CUH
#define HISHO_INFERENCE_CUDA_WEIGHTS_CUH

#include "inference/cuda/ops.h"

struct alignas(16) words16 {
	uint32_t w[4];
};

static __device__ __forceinline__ uint32_t word_at(const uint8_t *p)
{
	return *reinterpret_cast<const uint32_t *>(p);
}

static __device__ __forceinline__ float half_at(const uint8_t *p)
{
	return op_half_to_float(*reinterpret_cast<const uint16_t *>(p));
}

/* Four E2M1 numbers, doubled, as signed bytes. */
static __device__ __forceinline__ uint32_t mx4_bytes(uint32_t numbers)
{
	uint32_t select = numbers & 0x7777, positive = op_permute(0x03020100u, 0x0c080604u, select);
	uint32_t negative = op_permute(0xfdfeff00u, 0xf4f8fafcu, select);
	uint32_t signs = numbers >> 3 & 0x1111; /* spread to the bytes' lowest bits, then over the bytes */
	signs = ((signs & 0x11) | (signs & 0x1100) << 8);
	signs = (signs & 0x00010001u) | (signs & 0x00100010u) << 4;
	uint32_t minus = signs * 0xffu;
	return (positive & ~minus) | (negative & minus);
}

/*
 * The codes of columns 4 t .. 4 t + 3 and 16 + 4 t .. of a row, from the word of nibbles (or bytes, `more` being the second) and
 * the planes of upper bits.
 */
template <int type>
static __device__ __forceinline__ void codes_of(uint32_t word, uint32_t more, uint32_t plane0, uint32_t plane1, unsigned t,
						uint32_t *first, uint32_t *second)
{
	if (type == HS_GPU_Q8) {
		*first = word;
		*second = more;
		return;
	}
	if (type == HS_GPU_MX4) {
		*first = mx4_bytes(word);
		*second = mx4_bytes(word >> 16);
		return;
	}
	uint32_t low = word & 0x0f0f0f0fu, high = word >> 4 & 0x0f0f0f0fu;
	if (type == HS_GPU_Q5) {
		low |= (plane0 >> t & 0x01010101u) << 4;
		high |= (plane0 >> (4 + t) & 0x01010101u) << 4;
	}
	if (type == HS_GPU_Q6) { /* less 32, byte by byte: the top bit takes what is borrowed */
		low |= (plane0 >> 2 * t & 0x03030303u) << 4;
		high |= (plane1 >> 2 * t & 0x03030303u) << 4;
		low = ((low | 0x80808080u) - 0x20202020u) ^ 0x80808080u;
		high = ((high | 0x80808080u) - 0x20202020u) ^ 0x80808080u;
	}
	*first = low;
	*second = high;
}

/* What scales a row of a tile: its scale and minimum, or for Q6 the scales of its halves. */
struct row_scale {
	float scale, other;
};

template <int type> static __device__ __forceinline__ struct row_scale scale_of(const uint8_t *tile, unsigned row)
{
	struct row_scale s = {0, 0};
	if (type == HS_GPU_MX4) {
		uint32_t e = tile[row]; /* 2^(e - 128), subnormal where e is 0 or 1 */
		s.scale = e > 1 ? op_float_of_bits((e - 1) << 23) : op_float_of_bits(0x200000u << e);
	} else if (type == HS_GPU_Q8) {
		s.scale = half_at(tile + 2 * row);
	} else {
		uint32_t both = word_at(tile + 4 * row);
		s.scale = op_half_to_float((uint16_t)both);
		s.other = op_half_to_float((uint16_t)(both >> 16));
	}
	return s;
}

/* One more group of 32 columns of a row and a token: every product adds in these very steps. */
template <int type>
static __device__ __forceinline__ float add_group(float sum, struct row_scale w, float scale, float token_sum, int first,
						  int second)
{
	if (type == HS_GPU_Q6) {
		sum = fmaf(w.scale * scale, (float)first, sum);
		return fmaf(w.other * scale, (float)second, sum);
	}
	sum = fmaf(w.scale * scale, (float)first, sum);
	return type == HS_GPU_Q4 || type == HS_GPU_Q5 ? fmaf(w.other, token_sum, sum) : sum;
}

/* Column c of row r of a matrix, as a float. */
template <int type> static __device__ float value_of(const uint8_t *data, uint32_t columns, uint32_t r, uint32_t c)
{
	const uint8_t *tile = data + hs_gpu_tile_at((enum hs_gpu_type)type, columns, r, c);
	unsigned row = r % HS_GPU_TILE_ROWS, column = c % HS_GPU_TILE_COLUMNS;
	const uint8_t *codes = tile + hs_gpu_codes_at((enum hs_gpu_type)type);
	if (type == HS_GPU_F32)
		return reinterpret_cast<const float *>(codes)[row * 32 + column];
	if (type == HS_GPU_F16)
		return half_at(codes + (row * 32 + column) * 2);
	if (type == HS_GPU_BF16)
		return op_bf16_to_float(reinterpret_cast<const uint16_t *>(codes)[row * 32 + column]);
	unsigned t = column % 16 / 4;
	uint32_t first, second, more = 0, plane0 = 0, plane1 = 0,
				word = word_at(codes + (type == HS_GPU_Q8 ? 32 : 16) * row + 4 * t);
	if (type == HS_GPU_Q8)
		more = word_at(codes + 32 * row + 16 + 4 * t);
	if (type == HS_GPU_Q5)
		plane0 = word_at(tile + HS_GPU_PLANES_AT + 4 * row);
	if (type == HS_GPU_Q6) {
		plane0 = word_at(tile + HS_GPU_PLANES_AT + 8 * row);
		plane1 = word_at(tile + HS_GPU_PLANES_AT + 8 * row + 4);
	}
	codes_of<type>(word, more, plane0, plane1, t, &first, &second);
	int code = (int8_t)((column < 16 ? first : second) >> 8 * (column % 4));
	struct row_scale s = scale_of<type>(tile, row);
	if (type == HS_GPU_Q6)
		return (column < 16 ? s.scale : s.other) * (float)code;
	return s.scale * (float)code + s.other;
}

#endif
