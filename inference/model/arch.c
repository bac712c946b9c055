#include "inference/model/arch.h"

#include <string.h>

#define RMS .norm = HS_NORM_RMS, .eps_key = "attention.layer_norm_rms_epsilon"
#define LAYER .norm = HS_NORM_LAYER, .eps_key = "attention.layer_norm_epsilon"
#define DENSE_GATED (HS_F_DENSE | HS_F_GATED)

static const struct hs_arch rows[] = {
    {.name = "qwen2",
     .causal = true,
     RMS,
     .act = HS_ACT_SILU,
     .rope = HS_ROPE_HALF,
     .has = HS_F_PRE_NORM | HS_F_FFN_NORM | DENSE_GATED | HS_F_QKV_BIAS,
     .may = HS_F_HEAD},
    {.name = "qwen3",
     .causal = true,
     RMS,
     .act = HS_ACT_SILU,
     .rope = HS_ROPE_HALF,
     .has = HS_F_PRE_NORM | HS_F_FFN_NORM | DENSE_GATED | HS_F_QK_NORM,
     .may = HS_F_HEAD},
    {.name = "qwen3moe",
     .causal = true,
     RMS,
     .act = HS_ACT_SILU,
     .rope = HS_ROPE_HALF,
     .has = HS_F_PRE_NORM | HS_F_FFN_NORM | HS_F_EXPERTS | HS_F_QK_NORM,
     .may = HS_F_HEAD},
    {.name = "llama", /* with experts where the file counts them (Mixtral) */
     .causal = true,
     RMS,
     .act = HS_ACT_SILU,
     .rope = HS_ROPE_INTERLEAVED, /* GGUF files keep its query and key rows permuted for this */
     .has = HS_F_PRE_NORM | HS_F_FFN_NORM | DENSE_GATED,
     .may = HS_F_HEAD | HS_F_ROPE_FREQS | HS_F_QKV_BIAS | HS_F_OUT_BIAS | HS_F_EXPERTS},
    {.name = "gemma2",
     .causal = true,
     RMS,
     .act = HS_ACT_GELU_TANH,
     .rope = HS_ROPE_HALF,
     .has = HS_F_PRE_NORM | HS_F_FFN_NORM | HS_F_SUB_NORM | DENSE_GATED | HS_F_SCALED_EMBD | HS_F_WINDOWS | HS_F_ATTN_CAP |
	    HS_F_FINAL_CAP,
     .period = 2,
     .window = 4096,
     .wide_layers = 46},
    {.name = "gemma3",
     .causal = true,
     RMS,
     .act = HS_ACT_GELU_TANH,
     .rope = HS_ROPE_HALF,
     .has = HS_F_PRE_NORM | HS_F_FFN_NORM | HS_F_SUB_NORM | DENSE_GATED | HS_F_SCALED_EMBD | HS_F_WINDOWS | HS_F_QK_NORM,
     .may = HS_F_HEAD | HS_F_FINAL_CAP,
     .period = 6,
     .near_base = 10000,
     .wide_layers = 62},
    {.name = "gpt-oss",
     .causal = true,
     RMS,
     .act = HS_ACT_SWIGLU_CLAMPED,
     .rope = HS_ROPE_HALF,
     .has = HS_F_PRE_NORM | HS_F_FFN_NORM_LATE | HS_F_QKV_BIAS | HS_F_OUT_BIAS | HS_F_EXPERTS | HS_F_FFN_BIAS | HS_F_SINKS |
	    HS_F_WINDOWS | HS_F_HEAD,
     .period = 2,
     .whole_yarn = true},
    {.name = "gpt2",
     .causal = true,
     LAYER,
     .act = HS_ACT_GELU_TANH,
     .rope = HS_ROPE_NONE,
     .has = HS_F_PRE_NORM | HS_F_FFN_NORM | HS_F_NORM_BIAS | HS_F_FUSED_QKV | HS_F_QKV_BIAS | HS_F_OUT_BIAS | HS_F_DENSE |
	    HS_F_FFN_BIAS | HS_F_POSITIONS,
     .may = HS_F_HEAD},
    {.name = "command-r",
     .causal = true,
     LAYER,
     .act = HS_ACT_SILU,
     .rope = HS_ROPE_INTERLEAVED,
     .has = HS_F_PRE_NORM | HS_F_PARALLEL | DENSE_GATED | HS_F_LOGIT_SCALE,
     .may = HS_F_QK_NORM_HEADS},
    {.name = "cohere2",
     .causal = true,
     LAYER,
     .act = HS_ACT_SILU,
     .rope = HS_ROPE_INTERLEAVED,
     .has = HS_F_PRE_NORM | HS_F_PARALLEL | DENSE_GATED | HS_F_LOGIT_SCALE | HS_F_WINDOWS | HS_F_ROPE_NEAR,
     .period = 4},
    {.name = "bert",
     LAYER,
     .act = HS_ACT_GELU,
     .rope = HS_ROPE_NONE,
     .has = HS_F_POST_NORM | HS_F_NORM_BIAS | HS_F_QKV_BIAS | HS_F_OUT_BIAS | HS_F_DENSE | HS_F_FFN_BIAS | HS_F_POSITIONS |
	    HS_F_TYPES | HS_F_EMBD_NORM,
     .may = HS_F_CLASSIFIER},
    {.name = "modern-bert",
     LAYER,
     .act = HS_ACT_GELU,
     .rope = HS_ROPE_HALF,
     .has = HS_F_PRE_NORM | HS_F_BARE_FIRST | HS_F_FFN_NORM | HS_F_EMBD_NORM | HS_F_FUSED_QKV | HS_F_DENSE | HS_F_GATED |
	    HS_F_FUSED_GATE | HS_F_WINDOWS,
     .may = HS_F_CLASSIFIER,
     .period = 3,
     .far_first = true,
     .near_base = 10000},
};

const char *hs_feature_name(unsigned bit)
{
	static const char *const names[] = {
	    "norm before attention",
	    "norm before feed-forward",
	    "norm before feed-forward (named after attention)",
	    "norms after the sums",
	    "norms of the parts",
	    "norm of embeddings",
	    "biases of norms",
	    "QK norm",
	    "QK norm a head",
	    "bare first layer",
	    "QKV biases",
	    "output bias",
	    "fused QKV",
	    "windows",
	    "rotation in windows only",
	    "attention sinks",
	    "capped scores",
	    "RoPE frequency factors",
	    "dense feed-forward",
	    "gated",
	    "fused gate",
	    "feed-forward biases",
	    "experts",
	    "parallel block",
	    "learned positions",
	    "token types",
	    "scaled embeddings",
	    "output matrix",
	    "logit scale",
	    "capped logits",
	    "classifier",
	};
	return bit < HS_ARRAY_LEN(names) ? names[bit] : NULL;
}

const struct hs_arch *hs_arch_at(size_t index)
{
	return index < HS_ARRAY_LEN(rows) ? &rows[index] : NULL;
}

const struct hs_arch *hs_arch_find(struct hs_gguf_str name)
{
	for (size_t i = 0; i < HS_ARRAY_LEN(rows); i++)
		if (name.len == strlen(rows[i].name) && memcmp(name.s, rows[i].name, name.len) == 0)
			return &rows[i];
	return NULL;
}
