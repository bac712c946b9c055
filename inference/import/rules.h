/*
 * Rules of a normaliser, from code points to code points, on their way to a precompiled character map. Internal to import/.
 */
#ifndef HISHO_INFERENCE_IMPORT_RULES_H
#define HISHO_INFERENCE_IMPORT_RULES_H

#include "base/buf.h"

struct hs_norm_rule { /* places in `texts` */
	uint32_t from, from_len, to, to_len;
};

struct hs_norm_rules {
	struct hs_norm_rule *rules;
	size_t n, cap;
	struct hs_buf texts;
};

/* -EINVAL where from is empty, or a value is no character or 0. */
int hs_norm_rules_add(struct hs_norm_rules *r, const uint32_t *from, size_t n_from, const uint32_t *to,
		      size_t n_to) HS_MUST_CHECK;

/*
 * Add the sequences that are canonically one character, each to what the rules make of that character, and half-width
 * kana with voiced marks. Only characters of Unicode 11 and older, so that the result is the same under every ICU.
 */
int hs_norm_rules_compose(struct hs_norm_rules *r) HS_MUST_CHECK;

/* Append the character map; of equal keys the one added first stands. */
int hs_norm_rules_write(const struct hs_norm_rules *r, struct hs_buf *out) HS_MUST_CHECK;
void hs_norm_rules_finish(struct hs_norm_rules *r);

#endif
