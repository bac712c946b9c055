/*
 * A backend computes what the weights mean: `reference` in double precision, `cpu` fast. The engine calls it through
 * this table and owns everything that it returns.
 */
#ifndef HISHO_INFERENCE_BACKEND_H
#define HISHO_INFERENCE_BACKEND_H

#include "base/clock.h"
#include "inference/lora/lora.h"
#include "inference/model/weights.h"
#include "inference/sample.h"

/* Asks the caller for leave to go on, at most every HS_YIELD_US, from the thread that called the engine. */
#define HS_YIELD_US 20000u

struct hs_yield {
	int (*fn)(void *arg); /* may be NULL */
	void *arg;
	uint64_t last_us;
};

static inline bool hs_yield_is_due(const struct hs_yield *y)
{
	return y->fn && hs_monotonic_us() - y->last_us >= HS_YIELD_US;
}

/* True where the work shall stop. */
static inline bool hs_yield_now(struct hs_yield *y)
{
	bool stop = y->fn && y->fn(y->arg) != 0;
	y->last_us = hs_monotonic_us();
	return stop;
}

struct hs_backend_model;
struct hs_backend_sequence;
struct hs_backend_adapter;

#define HS_STEP_TOKENS_MAX 64u /* of all steps of a call together, where there is more than one */
#define HS_LOGITS_MAX 8u       /* rows of a call */

struct hs_backend_step { /* a sequence's part of a call */
	struct hs_backend_sequence *s;
	uint32_t position;  /* of the first id */
	const int32_t *ids; /* (n) valid, and position + n fits */
	uint32_t n, n_logits;
	const float *logits; /* out: (n_logits, logits_stride) of the last tokens, the sequence's until its next call */
	size_t logits_stride;
	struct hs_choice *choices; /* of the first n_choices of these tokens, whose logits then stay where they are */
	uint32_t n_choices;        /* none but of a backend that chooses */
};

/* Of keys and values. */
struct hs_backend_pages {
	uint32_t n, n_used, tokens; /* tokens: of one */
	uint64_t bytes;             /* of one */
};

struct hs_backend {
	const char *name;
	bool chooses; /* what comes after a token, where its logits are: a step's choices */
	/* w outlives the result. n_threads is at least 1. */
	int (*open)(const struct hs_weights *w, unsigned n_threads, struct hs_backend_model **ret, struct hs_err *err);
	void (*close)(struct hs_backend_model *m);
	int (*sequence_create)(struct hs_backend_model *m, uint32_t max_tokens, struct hs_backend_sequence **ret);
	void (*sequence_destroy)(struct hs_backend_sequence *s); /* wipes */
	/*
	 * An adapter ready to be used by m's sequences; l outlives it, and it outlives them. NULL, all three, where a backend has
	 * none. adapt: what s computes from now on, before its first token.
	 */
	int (*adapter_open)(struct hs_backend_model *m, const struct hs_lora *l, struct hs_backend_adapter **ret);
	void (*adapter_close)(struct hs_backend_adapter *a);
	void (*adapt)(struct hs_backend_sequence *s, const struct hs_backend_adapter *a);
	/* Whose pages they are from now on, where a backend keeps account; may be NULL. */
	void (*own)(struct hs_backend_sequence *s, uint64_t owner);
	/* Its pages, all and an owner's; from any thread; NULL where a backend has none, or tells of them otherwise. */
	void (*pages)(struct hs_backend_model *m, struct hs_backend_pages *ret);
	uint32_t (*pages_of)(struct hs_backend_model *m, uint64_t owner);
	/* Wipe positions from..to - 1. */
	void (*wipe)(struct hs_backend_sequence *s, uint32_t from, uint32_t to);
	/* The first n positions of `from`, a sequence of the same model, become s's. */
	void (*copy)(struct hs_backend_sequence *s, const struct hs_backend_sequence *from, uint32_t n);
	/*
	 * Writes each step's positions; -ECANCELED may leave them written. The steps' sequences are distinct. -ENODEV: the device
	 * is lost, for good.
	 */
	int (*forward)(struct hs_backend_step *steps, uint32_t n_steps, struct hs_yield *y);
	/*
	 * Encoders: n_texts texts back to back, text i being ids[starts[i] .. starts[i + 1]), each of 1 to context ids.
	 * out (n_texts, hs_encoded_len): embeddings of length one, or a classifier's scores.
	 */
	int (*encode)(struct hs_backend_model *m, const int32_t *ids, const uint32_t *starts, uint32_t n_texts,
		      struct hs_yield *y, float *out);
};

extern const struct hs_backend hs_backend_reference, hs_backend_exact, hs_backend_cpu;

#endif
