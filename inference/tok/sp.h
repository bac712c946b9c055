/*
 * SentencePiece vocabularies: the normaliser in front, then the best segmentation (Unigram, by Viterbi; Kudo 2018) or
 * merges of the best-scored pair (BPE), then bytes for what has no piece. Internal to tok/.
 *
 * A file of model "t5" is Unigram. A file of model "llama" may be either: BPE scores are whole numbers (negative ranks),
 * Unigram's are fractional log-probabilities, and a Unigram vocabulary segmented by merges gives wrong tokens.
 */
#ifndef HISHO_INFERENCE_SP_H
#define HISHO_INFERENCE_SP_H

#include "inference/tok/charsmap.h"
#include "inference/tok/trie.h"
#include "inference/tok/vocab.h"

struct hs_sp {
	bool unigram;
	bool byte_fallback;        /* every byte has a token */
	bool add_prefix, collapse; /* a space before the text; runs of spaces to one, none at either end */
	bool has_charsmap;
	struct hs_charsmap charsmap;
	struct hs_trie pieces; /* (unigram) values: ids */
	float worst, best;     /* scores of pieces */
	hs_tok_id bytes[256];
};

int hs_sp_init(struct hs_sp *sp, const struct hs_vocab *v, const struct hs_gguf *g, bool declared_llama,
	       struct hs_err *err) HS_MUST_CHECK;
void hs_sp_finish(struct hs_sp *sp);
/* goes_on: behind another text, and may go on: no space before it, and those at its ends stay. */
int hs_sp_encode(const struct hs_sp *sp, const struct hs_vocab *v, const char *text, size_t n, bool goes_on,
		 struct hs_tok_ids *out) HS_MUST_CHECK;
int hs_sp_bytes(const struct hs_vocab *v, hs_tok_id id, struct hs_buf *out) HS_MUST_CHECK;

/* The two segmenters, over normalised text (valid UTF-8). */
int hs_sp_viterbi(const struct hs_sp *sp, const struct hs_vocab *v, const char *text, size_t n,
		  struct hs_tok_ids *out) HS_MUST_CHECK;
int hs_sp_merge(const struct hs_sp *sp, const struct hs_vocab *v, const char *text, size_t n,
		struct hs_tok_ids *out) HS_MUST_CHECK;

/* A character without a piece: its bytes, or unknown (once for a run: *was_unknown carries that). */
int hs_sp_push_unknown(const struct hs_sp *sp, const struct hs_vocab *v, const char *s, size_t n, bool *was_unknown,
		       struct hs_tok_ids *out) HS_MUST_CHECK;

#endif
