/*
 * Pre-tokenisation: where BPE may not merge across. A row of the table names the passes of one `tokenizer.ggml.pre`: each
 * pass cuts the pieces of the one before it into what its regular expression matches and what lies between. The expressions
 * are the vocabularies' own, written out by hand over Unicode properties (ICU): no backtracking, work O(n) in the text.
 * Internal to tok/.
 */
#ifndef HISHO_INFERENCE_SPLIT_H
#define HISHO_INFERENCE_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HS_SPLIT_PASSES_MAX 5

struct hs_split_pass;

struct hs_split_rule {
	const char *name;
	const struct hs_split_pass *passes;
	unsigned n_passes;
	bool whole_first; /* a word that is a token is taken whole, without merging */
	bool nfc;         /* the text is composed (Unicode NFC) before it is split */
};

/* NULL where the name is not known. */
const struct hs_split_rule *hs_split_find(const char *name, size_t n);

/* All of them, for those who check each; NULL past the last. */
const struct hs_split_rule *hs_split_at(size_t i);

struct hs_split { /* a walk over one text, which outlives it */
	const struct hs_split_rule *rule;
	const char *text;
	size_t at;
	size_t ends[HS_SPLIT_PASSES_MAX + 1]; /* of the piece of each pass that the walk is in; [0]: of the text */
	size_t digits_begin, digits_end;      /* of the run of digits that was last looked through */
	unsigned digits_first;                /* of its digits modulo 3 */
};

/* text: n bytes of valid UTF-8. */
void hs_split_begin(struct hs_split *s, const struct hs_split_rule *rule, const char *text, size_t n);

/* Bytes of the next word; 0 at the text's end only. */
size_t hs_split_next(struct hs_split *s);

#endif
