/* Weights on their way to the GPU: rows of a file's tensor to the tiles of layout.h. Plain C; the tensors were checked at load.
 */
#ifndef HISHO_INFERENCE_CUDA_REPACK_H
#define HISHO_INFERENCE_CUDA_REPACK_H

#include <stdbool.h>

#include "inference/cuda/layout.h"
#include "inference/quant/quant.h"

/* What a file's type becomes; false where the GPU has none for it. */
bool hs_gpu_type_of(enum hs_tensor_type type, enum hs_gpu_type *ret);

/*
 * Strips (16 rows each) [strip, strip_end) of the matrix that rows first .. first + rows - 1 of t make: what hs_gpu_tile_at
 * places there, out being where the first strip goes. Rows and columns past the last become zero.
 */
void hs_gpu_pack(const struct hs_gguf_tensor *t, uint64_t first, uint32_t rows, uint32_t strip, uint32_t strip_end, uint8_t *out);

#endif
