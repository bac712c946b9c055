/*
 * Inside this room: which words of a sentence are denied. Works on the tokens of text/, whose offsets address the source.
 *
 * A negation (ない, ません, ず, 不要, 禁止 ...) turns the nearest content word before it; prefixes (非, 未, 不) the one behind.
 * Forms that only look like one (なければならない, かもしれない) turn nothing. Words that oppose one another (有料 and 無料) are
 * one word with two signs.
 */
#ifndef HISHO_RETRIEVAL_POLARITY_H
#define HISHO_RETRIEVAL_POLARITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text/analyze.h"

struct hs_word {
	uint64_t lemma;  /* hash of the base form; of an opposed pair, of its first word */
	uint32_t token;  /* index */
	bool content;
	uint8_t proper;  /* enum hs_name_kind */
	bool opposed;    /* one of a pair */
	bool negated;    /* says the contrary of its lemma */
	bool main;       /* the last content word: what the sentence asserts */
};

/* One word a token: words[0..tokens->count). text: the source of the tokens. */
void hs_polarity_mark(const char *text, size_t n, const struct hs_tokens *tokens, struct hs_word *words);

enum hs_modality { /* bits: what a rule makes of an act; each opposes its neighbour */
	HS_MUST = 1u << 0,     /* しなければならない, 必要がある, 義務 */
	HS_NEED_NOT = 1u << 1, /* 必要はない, しなくてもよい, 不要 */
	HS_MAY = 1u << 2,      /* してもよい, できる, 可能 */
	HS_MAY_NOT = 1u << 3,  /* してはならない, できない, 禁止 */
};

/* Which of them a sentence speaks in: normalised text. */
uint32_t hs_modality_find(const char *text, size_t n);

uint64_t hs_lemma_hash(const char *s, size_t n);

#endif
