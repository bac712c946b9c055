#include "inference/quant/quant.h"

static const struct hs_quant *const rows[] = {&hs_quant_f32,  &hs_quant_f16,  &hs_quant_bf16, &hs_quant_q4_0, &hs_quant_q5_0,
					      &hs_quant_q8_0, &hs_quant_q4_k, &hs_quant_q5_k, &hs_quant_q6_k, &hs_quant_mxfp4};

const struct hs_quant *hs_quant_find(enum hs_tensor_type type)
{
	for (size_t i = 0; i < HS_ARRAY_LEN(rows); i++)
		if (rows[i]->type == type)
			return rows[i];
	return NULL;
}
