/*
 * A model's weights: the hyper-parameters and tensors of a GGUF file, each bound to its place after its shape, type and
 * values were checked. Immutable; points into the GGUF, which must outlive it. What computes on it is a backend.
 *
 * Matrices are (rows, columns) with columns contiguous: y = W x has rows results. In GGUF terms dims = {columns, rows}.
 * Files may keep several matrices in one tensor (queries, keys and values; gate and up; all experts): here each of the
 * first stands alone, and experts stand below each other, expert e's rows from e * n on.
 */
#ifndef HISHO_INFERENCE_WEIGHTS_H
#define HISHO_INFERENCE_WEIGHTS_H

#include "inference/model/arch.h"

/* What a file may ask for at most. */
#define HS_LAYERS_MAX 512
#define HS_EMBD_MAX 65536
#define HS_HEADS_MAX 1024
#define HS_HEAD_DIM_MAX 512
#define HS_FF_MAX (1u << 19)
#define HS_VOCAB_MAX (1u << 21)
#define HS_CONTEXT_MAX (1u << 20)
#define HS_EXPERTS_MAX 512
#define HS_EXPERTS_USED_MAX 16
#define HS_LABELS_MAX 64

/* How positions turn pairs of a head: by base^(-2i/d), slowed where a model was stretched to longer texts. */
struct hs_turning {
	float base, divisor;        /* angles are divided by the divisor, all of them, or as YaRN says: */
	bool yarn;                  /* fast pairs keep their angle, slow ones are divided (Peng et al., 2023) */
	float beta_fast, beta_slow; /* turns within `original` positions that part fast from slow */
	float gain;                 /* cosines and sines are multiplied by it */
	uint32_t original;          /* the context before stretching */
};

struct hs_hyper {
	uint32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab, context;
	uint32_t n_experts, n_experts_used; /* 0: none; n_ff is then one expert's */
	uint32_t n_labels;                  /* of a classifier, 0: none */
	float eps;
	float embd_scale, attn_scale, logit_scale; /* factors of embeddings, of scores, of logits */
	float attn_cap, final_cap;                 /* 0: none */
	struct hs_turning far, near;               /* of layers that see everything, and of those with windows */
	enum hs_pooling pool;                      /* NONE: generates; otherwise embeds or scores */
};

struct hs_norm_weights {
	const struct hs_gguf_tensor *weight, *bias; /* F32 (n_embd); NULL where there is none */
};

enum hs_turns { HS_TURN_FAR, HS_TURN_NEAR, HS_TURN_NOT };

struct hs_layer {        /* NULL: the architecture or this file has none */
	uint32_t window; /* what struct hs_attention means; 0: sees everything */
	enum hs_turns turns;
	struct hs_norm_weights attn_norm, attn_out_norm, ffn_norm, out_norm; /* the out norms after the sums */
	const struct hs_gguf_tensor *attn_sub_norm, *ffn_sub_norm;           /* F32 (embd), before the sums */
	const struct hs_gguf_tensor *q_norm, *k_norm;                        /* F32 (head_dim), or (heads, head_dim) */
	const struct hs_gguf_tensor *q, *k, *v, *o; /* (heads * dim, embd) (kv_heads * dim, embd) twice, (embd, heads * dim) */
	const struct hs_gguf_tensor *qb, *kb, *vb, *ob;   /* F32 */
	const struct hs_gguf_tensor *sinks;               /* F32 (heads) */
	const struct hs_gguf_tensor *router, *routerb;    /* (experts, embd), F32 (experts) */
	const struct hs_gguf_tensor *gate, *up, *down;    /* (ff, embd) twice, (embd, ff), times experts */
	const struct hs_gguf_tensor *gateb, *upb, *downb; /* F32, times experts */
};

struct hs_weights {
	const struct hs_arch *arch;
	unsigned features; /* of the family's those that this file has */
	struct hs_hyper hyper;
	const struct hs_gguf_tensor *embd, *positions, *types; /* (vocab, embd) (context, embd) (any, embd) */
	struct hs_norm_weights embd_norm, final_norm;
	const struct hs_gguf_tensor *head;       /* (vocab, embd); the embedding where tied; NULL for encoders */
	const struct hs_gguf_tensor *rope_freqs; /* F32 (head_dim / 2) or NULL */
	/* A classifier: out (norm (act (dense x + bias))) + bias; everything but out may be NULL. */
	const struct hs_gguf_tensor *cls, *clsb, *cls_norm, *cls_out,
	    *cls_outb;                /* (embd, embd) (embd) (embd) (labels, embd) (labels) */
	struct hs_layer *layers;      /* (n_layers) */
	struct hs_gguf_tensor *parts; /* of tensors that hold several */
	size_t n_parts;
	uint64_t n_params;
	bool kv_q8; /* not the file's: sequences keep keys and values in bytes; set before a backend opens it */
};

/* -EINVAL, -ENOTSUP or -ENOMEM, with the tensor or field in err. */
int hs_weights_bind(const struct hs_gguf *g, struct hs_weights **ret, struct hs_err *err) HS_MUST_CHECK;
void hs_weights_destroy(struct hs_weights *w);

/* Floats that an encoder gives for a text. */
static inline uint32_t hs_encoded_len(const struct hs_hyper *h)
{
	return h->n_labels ? h->n_labels : h->n_embd;
}

/* Bytes of one token's keys and values in all layers, as the CPU keeps them. */
static inline uint32_t hs_kv_bytes(const struct hs_hyper *h, bool q8)
{
	uint32_t numbers = h->head_dim + (h->head_dim + 15) / 16 * 16; /* values are rounded up */
	return h->n_layers * h->n_kv_heads *
	       (q8 ? numbers + 2 * ((h->head_dim + 31) / 32) * (uint32_t)sizeof(float) : 2 * numbers);
}

/* out (head_dim / 2): the angle a position turns each pair by, in radians. */
void hs_rope_frequencies(const struct hs_weights *w, enum hs_turns turns, double *out);

/* One row of a matrix as floats: out (dims[0]). */
void hs_tensor_row(const struct hs_gguf_tensor *t, uint64_t row, float *out);

#endif
