/*
 * The cpu backend: model.c packs the weights, and what pass.h names runs tokens through them.
 */
#ifndef HISHO_INFERENCE_CPU_H
#define HISHO_INFERENCE_CPU_H

#include "inference/cpu/kv.h"
#include "inference/cpu/kernels.h"
#include "inference/cpu/pool.h"
#include "inference/lora/lora.h"

struct hs_cpu_layer {
	/* With their biases; zeroed where there is none. gate, up and down hold all experts, one after the other. */
	struct hs_packed q, k, v, o, router, gate, up, down;
};

struct hs_backend_model {
	const struct hs_weights *w;
	const struct hs_kernels *kernels;
	struct hs_pool *pool;
	struct hs_kv *kv;              /* NULL for encoders */
	struct hs_cpu_layer *layers;   /* (n_layers) */
	struct hs_packed head;         /* zeroed for encoders */
	struct hs_packed cls, cls_out; /* of a classifier */
	double *frequencies;           /* (2, head_dim / 2) radians a position, of layers that see far and near */
};

/* An adapter's pairs, packed as floats; a is scaled. Zeroed where a product is not adapted. */
struct hs_cpu_addition {
	struct hs_packed a, b; /* (rank, columns) (rows, rank) */
};

struct hs_cpu_adapted {
	struct hs_cpu_addition of[HS_LORA_PLACES];
};

struct hs_backend_adapter {
	uint32_t n_layers;
	struct hs_cpu_adapted layers[]; /* (n_layers) */
};

/* As the backend's open, with the kernels given: tests run each table. */
int hs_cpu_open(const struct hs_weights *w, const struct hs_kernels *kernels, unsigned n_threads, struct hs_backend_model **ret,
		struct hs_err *err) HS_MUST_CHECK;
void hs_cpu_close(struct hs_backend_model *m);

int hs_cpu_adapter_open(struct hs_backend_model *m, const struct hs_lora *l, struct hs_backend_adapter **ret) HS_MUST_CHECK;
void hs_cpu_adapter_close(struct hs_backend_adapter *a);

int hs_cpu_sequence_create(struct hs_backend_model *m, uint32_t max_tokens, struct hs_backend_sequence **ret) HS_MUST_CHECK;
void hs_cpu_sequence_destroy(struct hs_backend_sequence *s);
void hs_cpu_adapt(struct hs_backend_sequence *s, const struct hs_backend_adapter *a);
void hs_cpu_own(struct hs_backend_sequence *s, uint64_t owner);
void hs_cpu_wipe(struct hs_backend_sequence *s, uint32_t from, uint32_t to);
void hs_cpu_copy(struct hs_backend_sequence *s, const struct hs_backend_sequence *from, uint32_t n);
int hs_cpu_forward(struct hs_backend_step *steps, uint32_t n_steps, struct hs_yield *y) HS_MUST_CHECK;
int hs_cpu_encode(struct hs_backend_model *m, const int32_t *ids, const uint32_t *starts, uint32_t n_texts, struct hs_yield *y,
		  float *out) HS_MUST_CHECK;

#endif
