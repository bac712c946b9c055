/*
 * LoRA adapters (Hu et al., 2021), in GGUF as llama.cpp's converter writes them: general.type "adapter", adapter.type "lora",
 * adapter.lora.alpha, and for a matrix NAME.weight of the base model the pair NAME.weight.lora_a (rank, columns) and
 * NAME.weight.lora_b (rows, rank). What W x gives becomes W x + alpha / rank B (A x).
 *
 * An adapter is another's file, and part of what answers: everything is checked against the base model before it is used, and
 * what has no place in it is refused by name. Immutable; points into the GGUF and the weights, which must outlive it.
 */
#ifndef HISHO_INFERENCE_LORA_H
#define HISHO_INFERENCE_LORA_H

#include "inference/model/weights.h"

#define HS_LORA_RANK_MAX 256u

/* The products of a layer that can be adapted; a fused matrix of the file is cut as struct hs_layer is. */
enum hs_lora_place { HS_LORA_Q, HS_LORA_K, HS_LORA_V, HS_LORA_O, HS_LORA_GATE, HS_LORA_UP, HS_LORA_DOWN, HS_LORA_PLACES };

struct hs_lora_pair {
	uint32_t rank;              /* 0: this product is not adapted */
	float scale;                /* alpha / rank */
	struct hs_gguf_tensor a, b; /* (rank, columns) (rows, rank): F32, F16, BF16 or Q8_0, finite */
};

struct hs_lora_layer {
	struct hs_lora_pair of[HS_LORA_PLACES];
};

struct hs_lora {
	float alpha;
	uint32_t n_layers, rank_max, n_pairs; /* n_pairs: of the file's tensors */
	uint64_t n_params;
	struct hs_lora_layer layers[]; /* (n_layers) */
};

/* Does the file say that it is an adapter? */
bool hs_lora_is(const struct hs_gguf *g);

/* -EINVAL, -ENOTSUP or -ENOMEM, with the tensor or field in err. */
int hs_lora_bind(const struct hs_gguf *g, const struct hs_weights *w, struct hs_lora **ret, struct hs_err *err) HS_MUST_CHECK;
void hs_lora_destroy(struct hs_lora *l);

#endif
