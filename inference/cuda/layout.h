/*
 * How weights and caches lie in the memory of a GPU. Plain C for whoever fills that memory, and for the kernels.
 *
 * A matrix is cut into tiles of 16 rows by 32 columns, what one tensor-core product takes: all tiles of the first 16 rows
 * by ascending columns, then those of the next. Rows and columns past the last are zero. A tile holds, for each of its 16
 * rows r in turn, the parts below; values are scale * code + minimum, with codes of 32 columns that share both.
 *
 *   HS_GPU_Q4   {half scale, minimum}[16]  u8 nibbles[16][16]                                   320 bytes
 *   HS_GPU_Q5   {half scale, minimum}[16]  u8 nibbles[16][16]  u32 fifth[16]                    384
 *   HS_GPU_Q6   {half scale of columns 0..15, of 16..31}[16]  u8 nibbles[16][16]  u32 upper[16][2]   448
 *   HS_GPU_Q8   half scale[16]  s8 code[16][32]                                                 544
 *   HS_GPU_MX4  u8 exponent[16]  u16 number[16][4][2]                                           272
 *   HS_GPU_F16, HS_GPU_BF16     u16 value[16][32]                                              1024
 *   HS_GPU_F32  float value[16][32]                                                            2048
 *
 * nibbles[r][i] holds the code of column i low and that of column 16 + i high. Bit 8j + i of fifth[r] is bit 4 of column
 * 4i + j. Bits 8j + 2(i % 4) and the next of upper[r][i / 4] are bits 4 and 5 of column 4i + j. Values of Q6 are
 * scale * (code - 32), those of Q8 scale * code. MX4 is 2^(exponent - 128) times a doubled E2M1 number (0 1 2 3 4 6 8 12
 * and their negatives from 8 on): number[r][t][h] has those of columns 16h + 4t .. 16h + 4t + 3 from its low bits on.
 *
 * What a GGUF type becomes, where it is not one of the above:
 *   Q4_0  Q4, minimum -8 scale (exact)          Q4_K  Q4: d * scale and -dmin * min as halves
 *   Q5_0  Q5, minimum -16 scale (exact)         Q5_K  Q5, as Q4_K
 *   Q6_K  Q6: d * scale as halves               Q8_0  Q8 (exact)          MXFP4  MX4 (exact)
 */
#ifndef HISHO_INFERENCE_CUDA_LAYOUT_H
#define HISHO_INFERENCE_CUDA_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

enum hs_gpu_type { HS_GPU_Q4, HS_GPU_Q5, HS_GPU_Q6, HS_GPU_Q8, HS_GPU_MX4, HS_GPU_F16, HS_GPU_BF16, HS_GPU_F32 };

#define HS_GPU_TILE_ROWS 16u
#define HS_GPU_TILE_COLUMNS 32u
#define HS_GPU_ALIGNMENT 256u /* of every array that a kernel gets */

#if defined(__CUDACC__)
#define HS_GPU_INLINE static __host__ __device__ inline
#else
#define HS_GPU_INLINE static inline
#endif

HS_GPU_INLINE uint32_t hs_gpu_round(uint32_t n, uint32_t to)
{
	return (n + to - 1) / to * to;
}

/* Bytes of a tile; where its codes begin, and its planes of upper bits. */
HS_GPU_INLINE uint32_t hs_gpu_tile_bytes(enum hs_gpu_type type)
{
	return type == HS_GPU_Q4    ? 320
	       : type == HS_GPU_Q5  ? 384
	       : type == HS_GPU_Q6  ? 448
	       : type == HS_GPU_Q8  ? 544
	       : type == HS_GPU_MX4 ? 272
	       : type == HS_GPU_F32 ? 2048
				    : 1024;
}

HS_GPU_INLINE uint32_t hs_gpu_codes_at(enum hs_gpu_type type)
{
	return type == HS_GPU_Q8 ? 32 : type == HS_GPU_MX4 ? 16 : type >= HS_GPU_F16 ? 0 : 64;
}

#define HS_GPU_PLANES_AT 320u /* of Q5 and Q6 */

/* Where the tile of (row, column) begins, and what a whole matrix takes; of experts, each is a matrix of its own. */
HS_GPU_INLINE uint64_t hs_gpu_tile_at(enum hs_gpu_type type, uint32_t columns, uint32_t row, uint32_t column)
{
	uint64_t tiles = hs_gpu_round(columns, HS_GPU_TILE_COLUMNS) / HS_GPU_TILE_COLUMNS;
	return ((row / HS_GPU_TILE_ROWS) * tiles + column / HS_GPU_TILE_COLUMNS) * hs_gpu_tile_bytes(type);
}

HS_GPU_INLINE uint64_t hs_gpu_matrix_bytes(enum hs_gpu_type type, uint32_t rows, uint32_t columns)
{
	return hs_gpu_tile_at(type, columns, hs_gpu_round(rows, HS_GPU_TILE_ROWS), 0);
}

/*
 * Keys and values lie in pages of 16 positions of all layers. A page is zeroed before it goes to another tenant. In a page,
 * each layer has its keys, then its values; each of these, for one key head after the other:
 *
 *   f16  half [16 positions][width]                                    width: head_dim rounded up to 32
 *   q8   half scale[16 positions][width / 32]  s8 [16 positions][width]
 */
enum hs_gpu_cache_type { HS_GPU_CACHE_F16, HS_GPU_CACHE_Q8 };

#define HS_GPU_PAGE_POSITIONS 16u

/* Bytes of one head's keys (or values) of a page. */
HS_GPU_INLINE uint32_t hs_gpu_page_head_bytes(enum hs_gpu_cache_type type, uint32_t head_dim)
{
	uint32_t width = hs_gpu_round(head_dim, 32);
	return HS_GPU_PAGE_POSITIONS * (type == HS_GPU_CACHE_F16 ? 2 * width : width + width / 16);
}

HS_GPU_INLINE uint64_t hs_gpu_page_bytes(enum hs_gpu_cache_type type, uint32_t head_dim, uint32_t n_kv_heads, uint32_t n_layers)
{
	return (uint64_t)2 * n_layers * n_kv_heads * hs_gpu_page_head_bytes(type, head_dim);
}

#endif
