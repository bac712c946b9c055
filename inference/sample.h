/*
 * Sampling: which token comes next. temperature 0 is greedy; otherwise the seed alone decides, and each token draws once, so that
 * the states of tokens to come are known before these are.
 */
#ifndef HISHO_INFERENCE_SAMPLE_H
#define HISHO_INFERENCE_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "inference/tok/tokenizer.h"

struct hs_sampler {
	float temperature, top_p;
	uint32_t top_k;
	uint64_t rng; /* the seed; advances */
};

/* allowed: a bit an id, of at least one; NULL: all. */
hs_tok_id hs_sample(struct hs_sampler *s, const float *logits, uint32_t n_vocab, const uint32_t *allowed);

/* s as it is when n more tokens were chosen. */
void hs_sampler_skip(struct hs_sampler *s, uint32_t n);

/* Natural logarithm of the probability that the model itself gives to id, of all n. */
float hs_logprob(const float *logits, uint32_t n, hs_tok_id id);

/* A token that a device shall choose where the logits are, so that these need not leave it. */
struct hs_choice {
	struct hs_sampler sampler;
	const uint32_t *allowed; /* as hs_sample's */
	uint32_t n_ids;          /* the id is below; n_vocab or less */
	hs_tok_id id;            /* out: what hs_sample says */
	float logprob;           /* out: what hs_logprob says of all the vocabulary, but for rounding */
};

#endif
