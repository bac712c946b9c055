/*
 * Weight matrices rearranged for vectors whose lanes are rows.
 *
 * A panel is 16 rows. Within it, the columns come in groups of 32: for each group first what scales it, one entry a row,
 * then the codes, 4 columns of 16 rows at a time (64 bytes; "chunk" i holds columns 4i .. 4i+3). Chunks i and i + 4 share 64
 * bytes as low and high nibbles. A fifth or sixth bit lies in planes of one 32-bit lane a row: bit 8j + i (five) or bits
 * 8j + 2(i % 4) of plane i / 4 (six) belong to column 4i + j. So unpacking is shifts and masks, a dot product needs no sum
 * across lanes, and one walk over the panel serves one token or many with the very same sums: results do not depend on batching.
 *
 *   Q4_0  each group: half d[16], nibbles                      288 bytes      value d (code - 8)
 *   Q5_0  each group: half d[16], plane, nibbles               352            value d (code - 16)
 *   MXFP4 each group: float d[16], plane, nibbles              384            value d (code - 12)
 *   Q8_0  each group: half d[16], 8 chunks of bytes            544            value d (code - 128)
 *   Q4_K  each 256: half d[16], dmin[16], u8 scale[8][16], min[4][16][2], then 8 x nibbles       2368
 *   Q5_K  the same with 8 x (plane, nibbles)                   2880
 *   Q6_K  each 256: half d[16], s8 scale[8][16][2], then 8 x (2 planes, nibbles)                 3360
 *   F32, F16, BF16: columns of 16 values
 *
 * Rows past the last are zero.
 */
#ifndef HISHO_INFERENCE_PACKED_H
#define HISHO_INFERENCE_PACKED_H

#include "inference/quant/quant.h"

#define HS_PANEL 16

struct hs_packed {
	enum hs_tensor_type type;
	uint32_t rows, columns, n_panels;
	size_t panel_bytes;
	uint8_t *data; /* (n_panels) panels, aligned to 64 */
	float *bias;   /* (n_panels * 16) or NULL */
};

/* Bytes of one panel; 0 where the type or the columns cannot be packed. */
size_t hs_packed_panel_bytes(enum hs_tensor_type type, uint32_t columns);

/* Take memory for t (and for the F32 bias b, which may be NULL). -ENOMEM. hs_packed_finish takes a zeroed struct. */
int hs_packed_init(struct hs_packed *p, const struct hs_gguf_tensor *t, const struct hs_gguf_tensor *b) HS_MUST_CHECK;
void hs_packed_finish(struct hs_packed *p);

/* Fill one panel from t. Panels are independent. */
void hs_packed_fill(struct hs_packed *p, const struct hs_gguf_tensor *t, uint32_t panel);

#endif
