#include "inference/cuda/repack.h"

#include <string.h>

#include "inference/quant/half.h"

#define CODES_AT 64u /* of the tiles with two halves a row */

bool hs_gpu_type_of(enum hs_tensor_type type, enum hs_gpu_type *ret)
{
	static const struct {
		enum hs_tensor_type file;
		enum hs_gpu_type gpu;
	} rows[] = {{HS_Q4_0, HS_GPU_Q4}, {HS_Q4_K, HS_GPU_Q4},  {HS_Q5_0, HS_GPU_Q5}, {HS_Q5_K, HS_GPU_Q5},
		    {HS_Q6_K, HS_GPU_Q6}, {HS_Q8_0, HS_GPU_Q8},  {HS_F16, HS_GPU_F16}, {HS_BF16, HS_GPU_BF16},
		    {HS_F32, HS_GPU_F32}, {HS_MXFP4, HS_GPU_MX4}};
	for (size_t i = 0; i < HS_ARRAY_LEN(rows); i++)
		if (rows[i].file == type) {
			*ret = rows[i].gpu;
			return true;
		}
	return false;
}

static void put_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static void put_u32(uint8_t *p, uint32_t v)
{
	put_u16(p, (uint16_t)v);
	put_u16(p + 2, (uint16_t)(v >> 16));
}

/* Row r of a tile: its two halves, and the codes of its 32 columns; bits: 4, 5 or 6. */
static void put_row(uint8_t *tile, uint32_t r, uint16_t first, uint16_t second, const uint8_t *codes, unsigned bits)
{
	uint8_t *nibbles = tile + CODES_AT + 16 * r;
	put_u16(tile + 4 * r, first);
	put_u16(tile + 4 * r + 2, second);
	for (uint32_t i = 0; i < 16; i++)
		nibbles[i] = (uint8_t)((codes[i] & 15) | (codes[16 + i] & 15) << 4);
	uint32_t planes[2] = {0, 0};
	for (uint32_t c = 0; c < HS_BLOCK && bits > 4; c++) {
		uint32_t i = c / 4, j = c % 4, upper = codes[c] >> 4;
		if (bits == 5)
			planes[0] |= upper << (8 * j + i);
		else
			planes[i / 4] |= upper << (8 * j + 2 * (i % 4));
	}
	for (uint32_t i = 0; i < bits - 4; i++)
		put_u32(tile + HS_GPU_PLANES_AT + 4 * ((bits - 4) * r + i), planes[i]);
}

/* Blocks with one scale: value scale * (code - offset), so the minimum is -offset * scale. */
static void put_block(uint8_t *tile, uint32_t r, const uint8_t *block, const uint8_t *codes, unsigned bits)
{
	float minimum = -(bits == 4 ? 8.0f : 16.0f) * hs_load_half(block);
	put_row(tile, r, hs_load_u16(block), hs_half_from_float(minimum), codes, bits);
}

static void put_q4_0(uint8_t *tile, uint32_t r, const uint8_t *block)
{
	uint8_t codes[HS_BLOCK];
	hs_q4_0_codes(block, codes);
	put_block(tile, r, block, codes, 4);
}

static void put_q5_0(uint8_t *tile, uint32_t r, const uint8_t *block)
{
	uint8_t codes[HS_BLOCK];
	hs_q5_0_codes(block, codes);
	put_block(tile, r, block, codes, 5);
}

static void put_q8_0(uint8_t *tile, uint32_t r, const uint8_t *block)
{
	memcpy(tile + 2 * r, block, 2);
	memcpy(tile + 32 + HS_BLOCK * r, block + 2, HS_BLOCK);
}

static void put_mxfp4(uint8_t *tile, uint32_t r, const uint8_t *block)
{
	tile[r] = block[0];
	for (uint32_t t = 0; t < 4; t++)
		for (uint32_t h = 0; h < 2; h++) {
			uint32_t number = 0; /* columns 16h + 4t + i: h = 0 the low nibbles of the block, 1 the high ones */
			for (uint32_t i = 0; i < 4; i++)
				number |= (uint32_t)(block[1 + 4 * t + i] >> 4 * h & 15) << 4 * i;
			put_u16(tile + 16 + 16 * r + 4 * t + 2 * h, (uint16_t)number);
		}
}

/* Eight groups of 32: a tile each. */
static void put_k(uint8_t *tiles, size_t tile_bytes, uint32_t r, const uint8_t *block, const uint8_t *codes, unsigned bits)
{
	uint8_t scales[8], mins[8];
	float d = hs_load_half(block), dmin = hs_load_half(block + 2);
	hs_k_scales(block + 4, scales, mins);
	for (size_t g = 0; g < 8; g++)
		put_row(tiles + g * tile_bytes, r, hs_half_from_float(d * (float)scales[g]),
			hs_half_from_float(-dmin * (float)mins[g]), codes + g * HS_BLOCK, bits);
}

static void put_q4_k(uint8_t *tiles, uint32_t r, const uint8_t *block)
{
	uint8_t codes[HS_K_BLOCK];
	hs_q4_k_codes(block, codes);
	put_k(tiles, hs_gpu_tile_bytes(HS_GPU_Q4), r, block, codes, 4);
}

static void put_q5_k(uint8_t *tiles, uint32_t r, const uint8_t *block)
{
	uint8_t codes[HS_K_BLOCK];
	hs_q5_k_codes(block, codes);
	put_k(tiles, hs_gpu_tile_bytes(HS_GPU_Q5), r, block, codes, 5);
}

static void put_q6_k(uint8_t *tiles, uint32_t r, const uint8_t *block)
{
	uint8_t codes[HS_K_BLOCK];
	const int8_t *scales = (const int8_t *)block + HS_Q6_K_SCALES;
	float d = hs_load_half(block + HS_Q6_K_SCALES + 16);
	hs_q6_k_codes(block, codes);
	for (size_t g = 0; g < 8; g++)
		put_row(tiles + g * hs_gpu_tile_bytes(HS_GPU_Q6), r, hs_half_from_float(d * (float)scales[2 * g]),
			hs_half_from_float(d * (float)scales[2 * g + 1]), codes + g * HS_BLOCK, 6);
}

static void put_plain(uint8_t *tiles, size_t tile_bytes, uint32_t r, const uint8_t *row, uint32_t columns, size_t each)
{
	for (uint32_t c = 0; c < columns; c += HS_GPU_TILE_COLUMNS)
		memcpy(tiles + c / HS_GPU_TILE_COLUMNS * tile_bytes + r * HS_GPU_TILE_COLUMNS * each, row + c * each,
		       HS_MIN(columns - c, HS_GPU_TILE_COLUMNS) * each);
}

void hs_gpu_pack(const struct hs_gguf_tensor *t, uint64_t first, uint32_t rows, uint32_t strip, uint32_t strip_end, uint8_t *out)
{
	static void (*const puts[])(uint8_t *, uint32_t, const uint8_t *) = {
	    [HS_Q4_0] = put_q4_0, [HS_Q5_0] = put_q5_0, [HS_Q8_0] = put_q8_0,   [HS_Q4_K] = put_q4_k,
	    [HS_Q5_K] = put_q5_k, [HS_Q6_K] = put_q6_k, [HS_MXFP4] = put_mxfp4,
	};
	const struct hs_quant *q = hs_quant_find(t->type);
	enum hs_gpu_type type = HS_GPU_F32;
	bool known = hs_gpu_type_of(t->type, &type);
	hs_assert(known);
	uint32_t columns = (uint32_t)t->dims[0];
	size_t n_blocks = columns / q->block, row_bytes = n_blocks * q->block_bytes, tile_bytes = hs_gpu_tile_bytes(type);
	size_t strip_bytes = hs_gpu_matrix_bytes(type, HS_GPU_TILE_ROWS, columns);
	for (uint32_t s = strip; s < strip_end; s++, out += strip_bytes) {
		memset(out, 0, strip_bytes);
		for (uint32_t r = 0; r < HS_MIN(rows - s * HS_GPU_TILE_ROWS, HS_GPU_TILE_ROWS); r++) {
			const uint8_t *row = t->data + (first + s * HS_GPU_TILE_ROWS + r) * row_bytes;
			if (q->block == 1)
				put_plain(out, tile_bytes, r, row, columns, q->block_bytes);
			for (size_t b = 0; b < n_blocks && q->block > 1; b++)
				puts[t->type](out + b * (q->block / HS_BLOCK) * tile_bytes, r, row + b * q->block_bytes);
		}
	}
}
