/*
 * Prompt lookup: an answer that quotes is spelt in the sequence already. The tokens that followed the last time that the last
 * few were seen are a draft, which one forward pass over several tokens confirms or refuses (Saxena, "Prompt Lookup Decoding",
 * 2023). Pure: it looks at one request's own tokens and keeps nothing.
 */
#ifndef HISHO_INFERENCE_LOOKUP_H
#define HISHO_INFERENCE_LOOKUP_H

#include "inference/tok/vocab.h"

#define HS_LOOKUP_SUFFIX_MAX 4u /* tokens that must have been seen together; the longest match wins, then the latest */
#define HS_LOOKUP_SUFFIX_MIN 2u

/* At most `most` tokens that may follow the n of ids: draft (most). Returns how many. */
uint32_t hs_lookup_draft(const hs_tok_id *ids, size_t n, uint32_t most, hs_tok_id *draft);

#endif
