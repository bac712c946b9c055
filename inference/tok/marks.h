/*
 * The special tokens of a vocabulary by their text, for what a chat template writes of its own: there "<|im_end|>" is a
 * token. Never for data: that is hs_tok_encode's, which knows no special token.
 */
#ifndef HISHO_INFERENCE_MARKS_H
#define HISHO_INFERENCE_MARKS_H

#include "inference/tok/tokenizer.h"

struct hs_tok_marks;

int hs_tok_marks_create(const struct hs_tokenizer *t, struct hs_tok_marks **ret) HS_MUST_CHECK; /* t outlives it */
void hs_tok_marks_destroy(struct hs_tok_marks *m);                                              /* takes NULL */

/*
 * Append the ids of a template's own text: at each place the special token with the longest text, between them what
 * hs_tok_encode gives at a beginning and hs_tok_encode_on elsewhere. Its failures; on failure out is as it was.
 */
int hs_tok_marks_encode(const struct hs_tok_marks *m, const char *text, size_t n, struct hs_tok_ids *out) HS_MUST_CHECK;

#endif
