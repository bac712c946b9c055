/*
 * Quantised tensor rows: what the blocks of each GGUF type mean (ggml's block_* layouts, little-endian).
 *
 * A row is a whole number of blocks. Two families: one scale a block of 32 (Q4_0, Q5_0, Q8_0, MXFP4), and "K" blocks of 256 with
 * small integer scales a group (Q4_K, Q5_K, Q6_K). Each type has one file with two views of a block: its values as floats,
 * which defines it, and its codes and integer scales, which fast kernels rearrange. Everything here is pure: rows are
 * trusted to have the length that the GGUF reader checked.
 */
#ifndef HISHO_INFERENCE_QUANT_H
#define HISHO_INFERENCE_QUANT_H

#include "inference/gguf/gguf.h"

#define HS_K_BLOCK 256 /* elements of a K block */
#define HS_BLOCK 32    /* elements of the other blocks, and of a group of activations */

struct hs_quant {
	enum hs_tensor_type type;
	uint32_t block;       /* elements a block */
	uint32_t block_bytes; /* its bytes in the file */
	/* n elements (a multiple of block) of a row to floats: out (n) */
	void (*dequantise)(const uint8_t *row, float *out, size_t n);
};

/* The row of a type; NULL for a type that the engine cannot compute with. */
const struct hs_quant *hs_quant_find(enum hs_tensor_type type);

/* Codes of one block: value = scale * (code - offset), offsets 8, 16 and 128 (a signed byte plus 128). */
#define HS_Q4_0_BYTES 18
#define HS_Q5_0_BYTES 22
#define HS_Q8_0_BYTES 34
void hs_q4_0_codes(const uint8_t *block, uint8_t codes[static HS_BLOCK]);
void hs_q5_0_codes(const uint8_t *block, uint8_t codes[static HS_BLOCK]);
void hs_q8_0_codes(const uint8_t *block, uint8_t codes[static HS_BLOCK]);

/* Codes of one K block in 8 groups of 32: value = d * scale[g] * code - dmin * min[g]. */
#define HS_Q4_K_BYTES 144
#define HS_Q5_K_BYTES 176
void hs_k_scales(const uint8_t packed[static 12], uint8_t scales[static 8], uint8_t mins[static 8]);
void hs_q4_k_codes(const uint8_t *block, uint8_t codes[static HS_K_BLOCK]);
void hs_q5_k_codes(const uint8_t *block, uint8_t codes[static HS_K_BLOCK]);

/* Codes of one Q6_K block in 16 groups of 16: value = d * scale[g] * (code - 32); the scales are block[192 ..]. */
#define HS_Q6_K_BYTES 210
#define HS_Q6_K_SCALES 192
void hs_q6_k_codes(const uint8_t *block, uint8_t codes[static HS_K_BLOCK]);

/* Codes of one MXFP4 block: value = scale * (code - 12). The scale is a power of two from 2^-128 to 2^127. */
#define HS_MXFP4_BYTES 17
float hs_mxfp4_scale(const uint8_t *block);
void hs_mxfp4_codes(const uint8_t *block, uint8_t codes[static HS_BLOCK]);

/* The rows of the table, one a file. */
extern const struct hs_quant hs_quant_f32, hs_quant_f16, hs_quant_bf16, hs_quant_q4_0, hs_quant_q5_0, hs_quant_q8_0,
    hs_quant_q4_k, hs_quant_q5_k, hs_quant_q6_k, hs_quant_mxfp4;

#endif
