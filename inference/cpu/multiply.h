/* The product of one table; multiply.c and kernels.c are compiled together, once for each machine. */
#ifndef HISHO_INFERENCE_MULTIPLY_H
#define HISHO_INFERENCE_MULTIPLY_H

#include "inference/cpu/kernels.h"

void HS_MULTIPLY(const struct hs_product *p, uint32_t panel, uint32_t panel_end, uint32_t token, uint32_t token_end);

#endif
