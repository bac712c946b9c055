/*
 * Architectures as features: one row a family, one forward pass for all. A feature is always there, there where the file
 * has its tensors or fields, or refused. What a file holds beyond its row is refused by name, because silently leaving a
 * tensor out gives fluent nonsense.
 */
#ifndef HISHO_INFERENCE_ARCH_H
#define HISHO_INFERENCE_ARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "inference/gguf/gguf.h"

enum hs_feature { /* bits */
		  HS_F_ALWAYS = 0,
		  /* Norms. */
		  HS_F_PRE_NORM = 1 << 0,      /* before attention, and before the output */
		  HS_F_FFN_NORM = 1 << 1,      /* before the feed-forward part */
		  HS_F_FFN_NORM_LATE = 1 << 2, /* the same, named after the attention that it follows */
		  HS_F_POST_NORM = 1 << 3,     /* after the residual sums */
		  HS_F_SUB_NORM = 1 << 4,      /* of what attention and feed-forward give, before it is added */
		  HS_F_EMBD_NORM = 1 << 5,     /* of the embeddings */
		  HS_F_NORM_BIAS = 1 << 6,     /* all of these have biases */
		  HS_F_QK_NORM = 1 << 7,       /* of each head's query and key, before the rotation */
		  HS_F_QK_NORM_HEADS = 1 << 8, /* the same with weights of their own for each head */
		  HS_F_BARE_FIRST = 1 << 9,    /* layer 0 may lack the norm before attention */
		  /* Attention. */
		  HS_F_QKV_BIAS = 1 << 10,
		  HS_F_OUT_BIAS = 1 << 11,
		  HS_F_FUSED_QKV = 1 << 12,  /* one matrix: the rows of queries, keys, values */
		  HS_F_WINDOWS = 1 << 13,    /* most layers see only what is near */
		  HS_F_ROPE_NEAR = 1 << 14,  /* only these layers rotate */
		  HS_F_SINKS = 1 << 15,      /* a score a head that takes weight and gives no value */
		  HS_F_ATTN_CAP = 1 << 16,   /* scores are bounded by a hyperbolic tangent */
		  HS_F_ROPE_FREQS = 1 << 17, /* a divisor a frequency */
		  /* Feed-forward. */
		  HS_F_DENSE = 1 << 18,      /* one feed-forward part for all tokens */
		  HS_F_GATED = 1 << 19,      /* act(gate x) * (up x); otherwise act(up x) */
		  HS_F_FUSED_GATE = 1 << 20, /* one matrix: the rows of gate, up */
		  HS_F_FFN_BIAS = 1 << 21,
		  HS_F_EXPERTS = 1 << 22,  /* a router chooses a few of many gated parts for each token */
		  HS_F_PARALLEL = 1 << 23, /* attention and feed-forward read the same normed input */
		  /* Ends. */
		  HS_F_POSITIONS = 1 << 24,   /* a learned row a position */
		  HS_F_TYPES = 1 << 25,       /* token type rows; row 0 is added to every token */
		  HS_F_SCALED_EMBD = 1 << 26, /* embeddings times the root of their length */
		  HS_F_HEAD = 1 << 27,        /* an output matrix; without one the embedding serves (tied) */
		  HS_F_LOGIT_SCALE = 1 << 28,
		  HS_F_FINAL_CAP = 1 << 29,  /* logits are bounded by a hyperbolic tangent */
		  HS_F_CLASSIFIER = 1 << 30, /* scores a text instead of embedding it: what rerankers have */
};

enum hs_norm { HS_NORM_RMS, HS_NORM_LAYER };
/* The clamped one is g sigmoid(alpha g) (u + 1) with g at most the limit and u within it. */
enum hs_act { HS_ACT_SILU, HS_ACT_GELU, HS_ACT_GELU_TANH, HS_ACT_SWIGLU_CLAMPED };
#define HS_SWIGLU_ALPHA 1.702f
#define HS_SWIGLU_LIMIT 7.0f
enum hs_rope { HS_ROPE_NONE, HS_ROPE_HALF, HS_ROPE_INTERLEAVED }; /* pairs (i, i + d/2), or (2i, 2i + 1) */
enum hs_pooling { HS_POOL_NONE, HS_POOL_MEAN, HS_POOL_FIRST, HS_POOL_LAST };

struct hs_arch {
	const char *name; /* general.architecture */
	bool causal;      /* a token sees those before it; otherwise its whole text */
	enum hs_norm norm;
	const char *eps_key; /* after "<name>." */
	enum hs_act act;
	enum hs_rope rope;
	unsigned has, may; /* features that every file has, and that some have */
	/* Of each `period` layers the last (or the first) sees everything; a file may give another period. */
	uint32_t period;
	bool far_first;
	uint32_t window; /* where the file gives none; 0: the file must */
	float near_base; /* RoPE base of layers with windows, where the file gives none; 0: as the others, with their scaling */
	uint32_t wide_layers; /* models of this many layers scale scores by embedding length / heads, not by the head's length */
	bool whole_yarn;      /* the corrected range of YaRN is not rounded to whole pairs */
};

/* A feature in a few English words; bit: its number. */
const char *hs_feature_name(unsigned bit);

/* NULL where the family is unknown. */
const struct hs_arch *hs_arch_find(struct hs_gguf_str name);
/* The rows in order; NULL past the last. */
const struct hs_arch *hs_arch_at(size_t index);

#endif
