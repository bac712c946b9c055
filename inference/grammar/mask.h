/*
 * Which tokens may come next: a grammar's state, asked of every token's bytes. The vocabulary is sorted once a model, so that
 * tokens that begin alike are asked together and what cannot go on is passed over; masks of a generation are kept by what its
 * state allows. A token is allowed where all its bytes are: one that ends in half a character is, where the rest may follow.
 */
#ifndef HISHO_INFERENCE_GRAMMAR_MASK_H
#define HISHO_INFERENCE_GRAMMAR_MASK_H

#include "inference/grammar/grammar.h"
#include "inference/tok/tokenizer.h"

#define HS_MASK_TOKEN_MAX 256u /* bytes; longer tokens are not used where there is a grammar */
#define HS_MASKS_KEPT 16u

struct hs_mask_vocab;

int hs_mask_vocab_create(const struct hs_tokenizer *t, struct hs_mask_vocab **ret) HS_MUST_CHECK; /* t outlives it */
void hs_mask_vocab_destroy(struct hs_mask_vocab *v);                                             /* takes NULL */

struct hs_mask; /* of one generation */

/*
 * Takes g, also on failure. ends: tokens that end the answer where it may end, and are never text. Other special tokens stand in
 * free text only: a model that thinks aside marks it by them. v outlives the mask.
 */
int hs_mask_create(const struct hs_mask_vocab *v, struct hs_grammar *g, const hs_tok_id *ends, size_t n_ends,
		   struct hs_mask **ret) HS_MUST_CHECK;
void hs_mask_destroy(struct hs_mask *m); /* takes NULL; wipes: a state is of what was said */

/* A bit an id, of n_vocab ids of the tokeniser, until the next call. NULL: no token may come, or there is no memory. */
const uint32_t *hs_mask_bits(struct hs_mask *m);

/* The token was chosen. False where the mask did not have it. An end leaves the state as it is. */
bool hs_mask_take(struct hs_mask *m, hs_tok_id id);

bool hs_mask_may_end(const struct hs_mask *m);
bool hs_mask_is_over(const struct hs_mask *m); /* nothing may follow but an end */

#endif
