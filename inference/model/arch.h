/*
 * Architectures as features: one row a family, one forward pass for all. A feature is always there, there where the file
 * has its tensors, or refused. What a file holds beyond its row is refused by name, because silently leaving a tensor out
 * gives fluent nonsense.
 */
#ifndef HISHO_INFERENCE_ARCH_H
#define HISHO_INFERENCE_ARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "inference/gguf/gguf.h"

enum hs_feature { /* bits */
		  HS_F_ALWAYS = 0,
		  HS_F_PRE_NORM = 1 << 0,  /* norms before attention and ffn, and one before the output */
		  HS_F_POST_NORM = 1 << 1, /* norms after the residual sums, with biases */
		  HS_F_QKV_BIAS = 1 << 2,
		  HS_F_OUT_BIAS = 1 << 3,
		  HS_F_FFN_BIAS = 1 << 4,
		  HS_F_GATED = 1 << 5,     /* act(gate x) * (up x); otherwise act(up x) */
		  HS_F_POSITIONS = 1 << 6, /* a learned row a position */
		  HS_F_TYPES = 1 << 7,     /* token type rows; row 0 is added to every token */
		  HS_F_EMBD_NORM = 1 << 8,
		  HS_F_HEAD = 1 << 9,        /* an output matrix; without one the embedding serves (tied) */
		  HS_F_ROPE_FREQS = 1 << 10, /* a divisor a frequency */
};

enum hs_norm { HS_NORM_RMS, HS_NORM_LAYER };
enum hs_act { HS_ACT_SILU, HS_ACT_GELU };
enum hs_rope { HS_ROPE_NONE, HS_ROPE_HALF, HS_ROPE_INTERLEAVED }; /* pairs (i, i + d/2), or (2i, 2i + 1) */
enum hs_pooling { HS_POOL_NONE, HS_POOL_MEAN, HS_POOL_FIRST };

struct hs_arch {
	const char *name; /* general.architecture */
	bool causal;      /* generates; otherwise every token sees its whole text */
	enum hs_norm norm;
	const char *eps_key; /* after "<name>." */
	enum hs_act act;
	enum hs_rope rope;
	unsigned has, may; /* features that every file has, and that some have */
};

/* NULL where the family is unknown. */
const struct hs_arch *hs_arch_find(struct hs_gguf_str name);

#endif
