/*
 * A model's weights: the hyper-parameters and tensors of a GGUF file, each bound to its place after its shape, type and
 * values were checked. Immutable; points into the GGUF, which must outlive it. What computes on it is a backend.
 *
 * Matrices are (rows, columns) with columns contiguous: y = W x has rows results. In GGUF terms dims = {columns, rows}.
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

struct hs_hyper {
	uint32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab, context;
	float eps;
	float rope_base, rope_divisor; /* positions are divided by the divisor (linear scaling) */
	enum hs_pooling pool;
};

struct hs_norm_weights {
	const struct hs_gguf_tensor *weight, *bias; /* F32 (n_embd); bias NULL where there is none */
};

struct hs_layer { /* NULL: the architecture or this file has none */
	struct hs_norm_weights attn_norm, attn_out_norm, ffn_norm, out_norm;
	const struct hs_gguf_tensor *q, *k, *v, *o; /* (heads * dim, embd) (kv_heads * dim, embd) twice, (embd, heads * dim) */
	const struct hs_gguf_tensor *qb, *kb, *vb, *ob; /* F32 */
	const struct hs_gguf_tensor *gate, *up, *down;  /* (ff, embd) twice, (embd, ff) */
	const struct hs_gguf_tensor *upb, *downb;       /* F32 */
};

struct hs_weights {
	const struct hs_arch *arch;
	struct hs_hyper hyper;
	const struct hs_gguf_tensor *embd, *positions, *types; /* (vocab, embd) (context, embd) (any, embd) */
	struct hs_norm_weights embd_norm, final_norm;
	const struct hs_gguf_tensor *head;       /* (vocab, embd); the embedding where tied; NULL for encoders */
	const struct hs_gguf_tensor *rope_freqs; /* F32 (head_dim / 2) or NULL */
	struct hs_layer *layers;                 /* (n_layers) */
	uint64_t n_params;
};

/* -EINVAL, -ENOTSUP or -ENOMEM, with the tensor or field in err. */
int hs_weights_bind(const struct hs_gguf *g, struct hs_weights **ret, struct hs_err *err) HS_MUST_CHECK;
void hs_weights_destroy(struct hs_weights *w);

/* out (head_dim / 2): the angle a position turns each pair by, in radians. */
void hs_rope_frequencies(const struct hs_weights *w, double *out);

/* One row of a matrix as floats: out (dims[0]). */
void hs_tensor_row(const struct hs_gguf_tensor *t, uint64_t row, float *out);

#endif
