/*
 * The normaliser: one code for index and query (docs/formats/canonical.md).
 *
 * NFKC with case fold and removal of invisible characters (Unicode's NFKC_Casefold), then Hisho's own rules, each of which
 * can be left out to measure it. Every byte of the result maps back to the byte of the source that it came from, because
 * citations address the source (the canonical text), never the normalised form.
 */
#ifndef HISHO_TEXT_NORMALIZE_H
#define HISHO_TEXT_NORMALIZE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Raised whenever the output of hs_normalize, or what analysis makes of it, changes for any input: part of the index generation. */
#define HS_NORMALIZER_VERSION 1

enum hs_norm_rule {
	HS_NORM_DASHES = 1u << 0,    /* hyphens, dashes, minus -> "-"; waves -> "~" */
	HS_NORM_LONG_VOWEL = 1u << 1, /* a run of ー -> one */
	HS_NORM_THOUSANDS = 1u << 2, /* 1,234,567 -> 1234567 */
	HS_NORM_NUMERALS = 1u << 3,  /* 二千二十四年 -> 2024年, 第二十四条 -> 第24条; only beside a counter */
	HS_NORM_VARIANTS = 1u << 4,  /* 國 -> 国, 髙 -> 高 */
};
#define HS_NORM_RULES_ALL                                                                                                    \
	(HS_NORM_DASHES | HS_NORM_LONG_VOWEL | HS_NORM_THOUSANDS | HS_NORM_NUMERALS | HS_NORM_VARIANTS)

struct hs_norm {
	char *text;    /* UTF-8, terminated */
	size_t len;
	uint32_t *map; /* len + 1 entries: source byte offset of each normalised byte, never falling; map[len] is the source length */
	size_t cap;    /* room in both, for hs_normalize_into */
};

/* src: n bytes of valid UTF-8, at most HS_NORM_INPUT_MAX. 0, -EILSEQ, -EMSGSIZE, -ENOMEM. */
#define HS_NORM_INPUT_MAX (64u * 1024u * 1024u)
int hs_normalize(const char *src, size_t n, struct hs_norm *ret) HS_MUST_CHECK;

/* The same with chosen rules, into a zeroed or earlier filled norm whose memory is used again. On failure its len is 0. */
int hs_normalize_into(const char *src, size_t n, unsigned rules, struct hs_norm *norm) HS_MUST_CHECK;

/*
 * The source bytes behind normalised bytes [start, end), start < end: whole source characters. Where one source
 * character became several (㍿ -> 株式会社), each of them maps to all of it.
 */
void hs_norm_source(const struct hs_norm *norm, size_t start, size_t end, uint32_t *ret_start, uint32_t *ret_end);

void hs_norm_finish(struct hs_norm *norm);

#endif
