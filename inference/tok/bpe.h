/*
 * Byte-level BPE: words cut by the pre-tokeniser, bytes spelt as characters, pairs joined lowest rank first. Internal to tok/.
 * Work over a word of n bytes is O(n log n), memory O(n) with n <= HS_BPE_WORD_MAX.
 */
#ifndef HISHO_INFERENCE_BPE_H
#define HISHO_INFERENCE_BPE_H

#include "inference/tok/split.h"
#include "inference/tok/vocab.h"

/* A longer run without any boundary is no writing; it is cut here so that a request's memory stays bounded. */
#define HS_BPE_WORD_MAX (256u * 1024u)

struct hs_bpe_pair {                        /* a row of the table of merges, by both halves */
	uint32_t left, right, rank, joined; /* joined: the token that they become; a free row has left = UINT32_MAX */
};

struct hs_bpe {
	const struct hs_split_rule *rule;
	hs_tok_id bytes[256]; /* the token of each single byte; HS_TOK_NONE where may_lack says so */
	struct hs_bpe_pair *pairs;
	uint32_t mask;
	uint64_t seed;
};

int hs_bpe_init(struct hs_bpe *b, const struct hs_vocab *v, const struct hs_gguf *g, struct hs_err *err) HS_MUST_CHECK;
void hs_bpe_finish(struct hs_bpe *b);

int hs_bpe_encode(const struct hs_bpe *b, const struct hs_vocab *v, const char *text, size_t n,
		  struct hs_tok_ids *out) HS_MUST_CHECK;

/* The bytes that a token's text spells; -EINVAL where it holds a character that spells none. */
int hs_bpe_bytes(const char *text, size_t n, struct hs_buf *out) HS_MUST_CHECK;

#endif
