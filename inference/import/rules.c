#include "inference/import/rules.h"

#include <errno.h>
#include <stdlib.h>
#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>

#include "base/utf8.h"
#include "inference/tok/charsmap.h"

#define UNICODE_OF_THE_MODELS 11
#define SEQUENCE_MAX 18 /* code points of a full decomposition */

static int append(struct hs_buf *b, const uint32_t *cps, size_t n)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		char text[4];
		size_t len = cps[i] ? hs_utf8_encode(cps[i], text) : 0;
		rc = len ? hs_buf_append(b, text, len) : -EINVAL;
	}
	return rc;
}

int hs_norm_rules_add(struct hs_norm_rules *r, const uint32_t *from, size_t n_from, const uint32_t *to, size_t n_to)
{
	struct hs_norm_rule rule = {.from = (uint32_t)r->texts.len};
	if (n_from == 0)
		return -EINVAL;
	if (r->n == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 4096;
		struct hs_norm_rule *more = reallocarray(r->rules, cap, sizeof *more);
		if (!more)
			return -ENOMEM;
		r->rules = more;
		r->cap = cap;
	}
	int rc = append(&r->texts, from, n_from);
	rule.from_len = (uint32_t)r->texts.len - rule.from;
	rule.to = (uint32_t)r->texts.len;
	if (rc == 0)
		rc = append(&r->texts, to, n_to);
	rule.to_len = (uint32_t)r->texts.len - rule.to;
	if (rc == 0)
		r->rules[r->n++] = rule;
	return rc;
}

void hs_norm_rules_finish(struct hs_norm_rules *r)
{
	free(r->rules);
	hs_buf_finish(&r->texts);
	*r = (struct hs_norm_rules){0};
}

static struct hs_gguf_str part(const struct hs_norm_rules *r, uint32_t at, uint32_t len)
{
	return (struct hs_gguf_str){.s = len ? (const char *)r->texts.data + at : "", .len = len};
}

static int compare_single(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x >> 32 > *y >> 32) - (*x >> 32 < *y >> 32);
}

/* Code point and number of each rule for one code point, sorted: where composed characters' own rules are looked up. */
static uint64_t *index_singles(const struct hs_norm_rules *r, size_t *ret_n)
{
	uint64_t *index = calloc(r->n ? r->n : 1, sizeof *index);
	*ret_n = 0;
	for (size_t i = 0; index && i < r->n; i++) {
		struct hs_gguf_str from = part(r, r->rules[i].from, r->rules[i].from_len);
		uint32_t cp;
		if (hs_utf8_decode(from.s, from.len, &cp) == from.len)
			index[(*ret_n)++] = (uint64_t)cp << 32 | i;
	}
	if (index)
		qsort(index, *ret_n, sizeof *index, compare_single);
	return index;
}

struct composer {
	struct hs_norm_rules *rules;
	uint64_t *singles;
	size_t n_singles;
	const UNormalizer2 *nfc;
};

/* What the rules make of c: their replacement, or c itself. */
static size_t result_of(const struct composer *c, uint32_t cp, uint32_t *out, size_t cap)
{
	uint64_t want = (uint64_t)cp << 32;
	const uint64_t *found = bsearch(&want, c->singles, c->n_singles, sizeof want, compare_single);
	if (!found) {
		out[0] = cp;
		return 1;
	}
	const struct hs_norm_rule *rule = &c->rules->rules[(uint32_t)*found];
	struct hs_gguf_str to = part(c->rules, rule->to, rule->to_len);
	size_t n = 0;
	for (size_t at = 0; at < to.len && n < cap;)
		at += hs_utf8_decode(to.s + at, to.len - at, &out[n++]);
	return n;
}

static int add_sequence(struct composer *c, const UChar *text, int32_t len, uint32_t composed)
{
	uint32_t from[SEQUENCE_MAX], to[256];
	size_t n_from = 0;
	for (int32_t at = 0; at < len && n_from < SEQUENCE_MAX;) {
		UChar32 cp;
		U16_NEXT(text, at, len, cp);
		from[n_from++] = (uint32_t)cp;
	}
	size_t n_to = result_of(c, composed, to, HS_ARRAY_LEN(to));
	bool same = n_to == n_from;
	for (size_t i = 0; same && i < n_to; i++)
		same = to[i] == from[i];
	return n_from < 2 || same ? 0 : hs_norm_rules_add(c->rules, from, n_from, to, n_to);
}

/* Half-width ｶ..ﾜ and full-width bases, with either mark. The half-width forms decompose to the full-width ones. */
static int add_kana(struct composer *c, UChar base, UChar mark, uint32_t composed)
{
	UChar half_mark = mark == 0x3099 ? 0xff9e : 0xff9f;
	UErrorCode status = U_ZERO_ERROR;
	const UNormalizer2 *nfkc = unorm2_getNFKCInstance(&status);
	int rc = add_sequence(c, (const UChar[]){base, half_mark}, 2, composed);
	for (UChar half = 0xff66; rc == 0 && U_SUCCESS(status) && half <= 0xff9d; half++) {
		UChar full[4];
		int32_t n = unorm2_normalize(nfkc, &half, 1, full, 4, &status);
		if (U_FAILURE(status) || n != 1 || full[0] != base)
			continue;
		rc = add_sequence(c, (const UChar[]){half, half_mark}, 2, composed);
		if (rc == 0)
			rc = add_sequence(c, (const UChar[]){half, mark}, 2, composed);
	}
	return U_FAILURE(status) ? -EIO : rc;
}

static int compose_one(struct composer *c, UChar32 cp)
{
	UChar full[2 * SEQUENCE_MAX], raw[2 * SEQUENCE_MAX];
	UErrorCode status = U_ZERO_ERROR;
	int32_t n = unorm2_getDecomposition(c->nfc, cp, full, HS_ARRAY_LEN(full), &status);
	if (n < 0 || U_FAILURE(status))
		return U_FAILURE(status) ? -EIO : 0;
	int rc = add_sequence(c, full, n, (uint32_t)cp);
	int32_t k = unorm2_getRawDecomposition(c->nfc, cp, raw, HS_ARRAY_LEN(raw), &status);
	if (rc == 0 && U_SUCCESS(status) && k > 0 && k != n)
		rc = add_sequence(c, raw, k, (uint32_t)cp);
	if (rc == 0 && n == 2 && full[0] >= 0x3041 && full[0] <= 0x30ff && (full[1] == 0x3099 || full[1] == 0x309a))
		rc = add_kana(c, full[0], full[1], (uint32_t)cp);
	return rc;
}

int hs_norm_rules_compose(struct hs_norm_rules *r)
{
	UErrorCode status = U_ZERO_ERROR;
	struct composer c = {.rules = r, .nfc = unorm2_getNFCInstance(&status)};
	if (U_FAILURE(status))
		return -EIO;
	c.singles = index_singles(r, &c.n_singles);
	if (!c.singles)
		return -ENOMEM;
	int rc = 0;
	for (UChar32 cp = 0x80; rc == 0 && cp <= UCHAR_MAX_VALUE; cp++) {
		UVersionInfo age;
		u_charAge(cp, age);
		if (age[0] >= 1 && age[0] <= UNICODE_OF_THE_MODELS)
			rc = compose_one(&c, cp);
	}
	free(c.singles);
	return rc;
}

int hs_norm_rules_write(const struct hs_norm_rules *r, struct hs_buf *out)
{
	struct hs_charsmap_rule *rules = calloc(r->n ? r->n : 1, sizeof *rules);
	if (!rules)
		return -ENOMEM;
	for (size_t i = 0; i < r->n; i++)
		rules[i] = (struct hs_charsmap_rule){part(r, r->rules[i].from, r->rules[i].from_len),
						     part(r, r->rules[i].to, r->rules[i].to_len)};
	int rc = hs_charsmap_write(rules, r->n, out);
	free(rules);
	return rc;
}
