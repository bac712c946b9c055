/*
 * The engine: models, sequences, forward passes. What hisho-infer serves and the bench measures.
 *
 * A model is immutable and shared. A sequence owns its KV cache, taken when it is made, and what its first call takes;
 * nothing is allocated per token. Long work (a prefill, a batch of embeddings) calls `yield` at least every 100 ms, between
 * layers of a chunk; a non-zero return ends the call with -ECANCELED and leaves the sequence as it was before the call. Results
 * do not depend on the number of threads, on batch neighbours, or on how a prefill was cut into chunks.
 */
#ifndef HISHO_INFERENCE_ENGINE_H
#define HISHO_INFERENCE_ENGINE_H

#include "base/err.h"
#include "inference/sample.h"

struct hs_model;
struct hs_sequence;
struct hs_adapter;
struct hs_gpu;

typedef int (*hs_yield_fn)(void *arg);

struct hs_model_options {
	unsigned n_threads;          /* 0: the cores that this process may use */
	bool reference;              /* the plain C path, the oracle of the tests */
	bool kv_q8;                  /* keys and values are kept in bytes with a scale a block of 32, not in half precision */
	bool exact;                  /* the same, which keeps keys and values unrounded */
	const struct hs_gpu *gpu;    /* computes where it can (inference/cuda/load.h); NULL: the CPU does */
	const struct hs_err *no_gpu; /* why gpu is NULL; may be NULL */
	void (*progress)(void *arg, uint64_t done, uint64_t total); /* bytes that went to the GPU; may be NULL */
	void *arg;
};

/* What computes a model, as `hisho status` tells it. */
struct hs_model_device {
	char name[96];     /* "cpu", "cuda:0 NVIDIA L4" */
	struct hs_err why; /* num 0: as wished; otherwise why the GPU does not compute */
	bool gpu;          /* then: */
	uint64_t weight_bytes;
	uint64_t memory_bytes;                       /* weights, work, pages */
	uint64_t page_bytes;                         /* of one of; also of the CPU: */
	uint32_t n_pages, n_pages_used, page_tokens; /* of keys and values; 0: it has none */
};

struct hs_model_info {
	char architecture[32]; /* a row of docs/models.md: "qwen2", "llama" */
	char name[128];
	uint32_t n_layers, n_embd, n_heads, n_kv_heads, n_ff, n_vocab, context;
	uint64_t n_params, file_bytes;
	uint32_t kv_bytes;    /* of a token's keys and values, as the CPU keeps them */
	bool starts_with_bos; /* the model was taught texts that begin with it */
	bool encoder;         /* embeds or scores, does not generate */
	uint32_t n_labels;    /* of a classifier, which scores; 0: embeds */
	bool scores;          /* a reranker: hs_score takes it */
};

int hs_model_load(const char *path, const struct hs_model_options *options, struct hs_model **ret,
		  struct hs_err *err) HS_MUST_CHECK;
void hs_model_destroy(struct hs_model *m);
const struct hs_model_info *hs_model_info(const struct hs_model *m);
const struct hs_tokenizer *hs_model_tokenizer(const struct hs_model *m);

/* From any thread. A GPU that is lost in the middle of things is replaced by the CPU: what computes may change. */
void hs_model_device(struct hs_model *m, struct hs_model_device *ret);
/* Pages of keys and values that an owner's sequences hold. From any thread. */
uint32_t hs_model_pages_of(struct hs_model *m, uint64_t owner);

/*
 * Adapters: what a LoRA file adds to a model that generates (inference/lora/lora.h). Immutable; the model outlives it. Where a GPU
 * computes the model, the CPU computes what has an adapter: the first one packs the weights for it too.
 */
struct hs_adapter_info {
	char name[128];
	float alpha;
	uint32_t rank, n_matrices; /* rank: the largest */
	uint64_t n_params, file_bytes;
};

/* -EINVAL or -ENOTSUP where it does not fit the model, with the field or tensor in err. */
int hs_adapter_load(struct hs_model *m, const char *path, struct hs_adapter **ret, struct hs_err *err) HS_MUST_CHECK;
void hs_adapter_destroy(struct hs_adapter *a); /* after its sequences */
const struct hs_adapter_info *hs_adapter_info(const struct hs_adapter *a);

/* Generation. */
int hs_sequence_create(struct hs_model *m, uint32_t max_tokens, struct hs_sequence **ret) HS_MUST_CHECK;
/* The same computed with an adapter of m's, for as long as it lives; NULL: without. */
int hs_sequence_create_adapted(struct hs_model *m, const struct hs_adapter *a, uint32_t max_tokens,
			       struct hs_sequence **ret) HS_MUST_CHECK;
void hs_sequence_destroy(struct hs_sequence *s); /* wipes its KV cache */
/* Whose it is: no number but 0 (nobody's) means anything here. A page of keys and values is wiped before it changes hands. */
void hs_sequence_own(struct hs_sequence *s, uint64_t owner);
const struct hs_adapter *hs_sequence_adapter(const struct hs_sequence *s); /* NULL: none */
uint32_t hs_sequence_len(const struct hs_sequence *s);
/* The GPU that held it is lost: every forward of it fails with -ENODEV. A sequence made anew will do. */
bool hs_sequence_is_lost(const struct hs_sequence *s);
void hs_sequence_truncate(struct hs_sequence *s, uint32_t len); /* forget (and wipe) positions from len on */

/*
 * Of the same model. to is empty; the first n positions of from, which stays as it is, become its own; none where from is lost or
 * was computed with another adapter.
 */
void hs_sequence_copy(struct hs_sequence *to, const struct hs_sequence *from, uint32_t n);

/* Append n tokens; on 0, *ret_logits (n_vocab floats, owned by the sequence until the next call) belong to the last one. */
int hs_sequence_forward(struct hs_sequence *s, const hs_tok_id *ids, uint32_t n, hs_yield_fn yield, void *arg,
			const float **ret_logits) HS_MUST_CHECK;

/* Several sequences of one model at once: weights are read once for all. */
#define HS_FORWARD_STEPS_MAX 8u
#define HS_FORWARD_TOKENS_MAX 64u /* of all steps together, where there is more than one */
#define HS_FORWARD_LOGITS_MAX 8u  /* of all steps together */

struct hs_step {
	struct hs_sequence *sequence; /* in one step only */
	const hs_tok_id *ids;         /* (n), appended */
	uint32_t n, n_logits;         /* logits of the last n_logits tokens, none or more */
	struct hs_choice *choices;    /* (n_choices) wanted of the first of these */
	uint32_t n_choices;
	const float
	    *logits[HS_FORWARD_LOGITS_MAX]; /* out: (n_logits) of n_vocab floats each, as hs_sequence_forward's; or NULL: */
					    /* the token that comes after is chosen */
};

/*
 * -EINVAL where a limit is passed or an id is none, -ENOSPC where a sequence is full, -ECANCELED by yield, -ENODEV where one is
 * lost; then all sequences are as they were. What a step gives does not depend on the others.
 */
int hs_forward(struct hs_step *steps, uint32_t n_steps, hs_yield_fn yield, void *arg) HS_MUST_CHECK;

/*
 * Embedding: texts (already carrying their "query: " or "passage: " prefix) to L2-normalised vectors, packed without padding.
 * Each text is cut to the model's context. out: (n_texts, n_embd) floats.
 */
int hs_embed(struct hs_model *m, const char *const *texts, const size_t *lens, uint32_t n_texts, hs_yield_fn yield, void *arg,
	     float *out) HS_MUST_CHECK;

/*
 * Reranking: how well each passage answers the question, by a classifier of one label that reads both together; packed like
 * hs_embed, each score as if its pair were alone. Higher is better, and that is all a score says. A question is cut to half
 * of the model's context, a passage to what is left. out: (n_passages) floats. -EINVAL where the model does not score.
 */
int hs_score(struct hs_model *m, const char *question, size_t question_len, const char *const *passages, const size_t *lens,
	     uint32_t n_passages, hs_yield_fn yield, void *arg, float *out) HS_MUST_CHECK;

#endif
