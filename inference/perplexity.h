/*
 * Perplexity of a text under a model: exp of the mean of -log p(token | those before it). As llama.cpp's tool takes it, so that
 * the two can be compared: the text's tokens are cut into pieces of `context`, each starts with the model's first token where it
 * has one (in place of the piece's own), and only tokens of a piece's second half count, since the others have seen little.
 */
#ifndef HISHO_INFERENCE_PERPLEXITY_H
#define HISHO_INFERENCE_PERPLEXITY_H

#include "inference/engine.h"

struct hs_perplexity {
	uint32_t context;    /* tokens a piece, from 16 and within the model's context */
	uint32_t max_pieces; /* 0: all */
	void (*progress)(void *arg, uint32_t piece, uint32_t n_pieces, double so_far); /* may be NULL */
	void *arg;
	/* What comes out. */
	double perplexity, deviation; /* the second: of the perplexity, from that of its terms */
	uint32_t n_pieces;
	uint64_t n_scored;
};

/* -EINVAL with the reason where the model does not generate, or the text has no whole piece. */
int hs_perplexity_of(struct hs_model *m, const char *text, size_t len, struct hs_perplexity *p, struct hs_err *err) HS_MUST_CHECK;

#endif
