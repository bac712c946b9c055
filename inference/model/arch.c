#include "inference/model/arch.h"

#include <string.h>

static const struct hs_arch rows[] = {
    {.name = "qwen2",
     .causal = true,
     .norm = HS_NORM_RMS,
     .eps_key = "attention.layer_norm_rms_epsilon",
     .act = HS_ACT_SILU,
     .rope = HS_ROPE_HALF,
     .has = HS_F_PRE_NORM | HS_F_GATED | HS_F_QKV_BIAS,
     .may = HS_F_HEAD},
    {.name = "llama",
     .causal = true,
     .norm = HS_NORM_RMS,
     .eps_key = "attention.layer_norm_rms_epsilon",
     .act = HS_ACT_SILU,
     .rope = HS_ROPE_INTERLEAVED, /* GGUF files keep its query and key rows permuted for this */
     .has = HS_F_PRE_NORM | HS_F_GATED,
     .may = HS_F_HEAD | HS_F_ROPE_FREQS | HS_F_QKV_BIAS | HS_F_OUT_BIAS},
    {.name = "bert",
     .norm = HS_NORM_LAYER,
     .eps_key = "attention.layer_norm_epsilon",
     .act = HS_ACT_GELU,
     .rope = HS_ROPE_NONE,
     .has = HS_F_POST_NORM | HS_F_QKV_BIAS | HS_F_OUT_BIAS | HS_F_FFN_BIAS | HS_F_POSITIONS | HS_F_TYPES | HS_F_EMBD_NORM},
};

const struct hs_arch *hs_arch_find(struct hs_gguf_str name)
{
	for (size_t i = 0; i < HS_ARRAY_LEN(rows); i++)
		if (name.len == strlen(rows[i].name) && memcmp(name.s, rows[i].name, name.len) == 0)
			return &rows[i];
	return NULL;
}
