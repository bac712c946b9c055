/*
 * The normaliser: one code for index and query (docs/formats/canonical.md).
 *
 * NFKC, case fold, zero-width removal, dash and wave unification, runs of the long-vowel mark, digit runs whole with
 * thousands commas dropped, kanji numerals beside counters. Every byte of the result maps back to the byte of the source
 * that it came from, because citations address the source (the canonical text), never the normalised form.
 */
#ifndef HISHO_TEXT_NORMALIZE_H
#define HISHO_TEXT_NORMALIZE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Raised whenever the output of hs_normalize changes for any input: part of the index generation. */
#define HS_NORMALIZER_VERSION 1

struct hs_norm {
	char *text;    /* UTF-8, terminated */
	size_t len;
	uint32_t *map; /* len + 1 entries: source byte offset of each normalised byte; map[len] is the source length */
};

/* src: n bytes of valid UTF-8, at most HS_NORM_INPUT_MAX. 0, -EILSEQ, -EMSGSIZE, -ENOMEM. */
#define HS_NORM_INPUT_MAX (64u * 1024u * 1024u)
int hs_normalize(const char *src, size_t n, struct hs_norm *ret) HS_MUST_CHECK;
void hs_norm_finish(struct hs_norm *norm);

#endif
