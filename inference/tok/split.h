/*
 * Pre-tokenisation: where BPE may not merge across. Each rule is the vocabulary's own regular expression, written out by
 * hand over Unicode properties (ICU), in one pass and without backtracking. Internal to tok/.
 */
#ifndef HISHO_INFERENCE_SPLIT_H
#define HISHO_INFERENCE_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

struct hs_split_rule { /* a row of the table of known `tokenizer.ggml.pre` values */
	const char *name;
	unsigned digits;  /* longest run of \p{N} in one word; 0: no limit */
	bool gpt2;        /* the older expression: a space may lead a word, an opening mark may not; line ends are plain space */
	bool whole_first; /* a word that is a token is taken whole, without merging */
};

/* NULL where the name is not known. */
const struct hs_split_rule *hs_split_find(const char *name, size_t n);

/* Bytes of the word that begins at text (n > 0 bytes of valid UTF-8 up to the text's end). Never 0. */
size_t hs_split_next(const struct hs_split_rule *rule, const char *text, size_t n);

#endif
