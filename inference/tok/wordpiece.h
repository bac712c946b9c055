/*
 * BERT's WordPiece (Devlin et al. 2018): text cleaned, lower-cased and stripped of accents where the vocabulary says so, cut
 * at spaces, punctuation and around ideographs; then each word's longest beginning that is a piece, again and again. A word
 * with a rest that is no piece is unknown as a whole. In GGUF a word's first piece begins with U+2581, the others do not.
 * Internal to tok/.
 */
#ifndef HISHO_INFERENCE_WORDPIECE_H
#define HISHO_INFERENCE_WORDPIECE_H

#include "inference/tok/trie.h"
#include "inference/tok/vocab.h"

#define HS_WORDPIECE_CHARS_MAX 100u /* of one word; a longer one is unknown */

struct hs_wordpiece {
	struct hs_trie pieces; /* values: ids */
	bool lowercase, strip_accents;
};

int hs_wordpiece_init(struct hs_wordpiece *w, const struct hs_vocab *v, const struct hs_gguf *g,
		      struct hs_err *err) HS_MUST_CHECK;
void hs_wordpiece_finish(struct hs_wordpiece *w);
int hs_wordpiece_encode(const struct hs_wordpiece *w, const struct hs_vocab *v, const char *text, size_t n,
			struct hs_tok_ids *out) HS_MUST_CHECK;

#endif
