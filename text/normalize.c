#include "text/normalize.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <unicode/unorm2.h>
#include <unicode/ustring.h>

#include "base/utf8.h"
#include "text/chartab.h"
#include "text/numeral.h"
#include "text/variants.h"

/*
 * The longest stretch that is normalised as one, in code points. Unicode's stream-safe format allows 30 marks behind a
 * character; what is longer is no writing, and canonical ordering of it would cost quadratic time.
 */
#define STRETCH_MAX 32
#define STRETCH_OUT_MAX (STRETCH_MAX * 18 * 3) /* UTF-16 units; the longest decomposition has 18 characters */

void hs_norm_finish(struct hs_norm *norm)
{
	free(norm->text);
	free(norm->map);
	*norm = (struct hs_norm){0};
}

static int reserve(struct hs_norm *norm, size_t more)
{
	size_t need = norm->len + more + 1;
	if (need <= norm->cap)
		return 0;
	size_t cap = HS_MAX(need + need / 2, (size_t)256);
	char *text = realloc(norm->text, cap);
	if (!text)
		return -ENOMEM;
	norm->text = text;
	uint32_t *map = realloc(norm->map, cap * sizeof *map);
	if (!map)
		return -ENOMEM; /* cap still tells the smaller room, which both have */
	norm->map = map;
	norm->cap = cap;
	return 0;
}

/* Room was reserved. */
static void put(struct hs_norm *norm, const char *s, size_t n, size_t src)
{
	for (size_t i = 0; i < n; i++) {
		norm->text[norm->len + i] = s[i];
		norm->map[norm->len + i] = (uint32_t)src;
	}
	norm->len += n;
}

static int put_checked(struct hs_norm *norm, const char *s, size_t n, size_t src)
{
	int rc = reserve(norm, n);
	if (rc == 0)
		put(norm, s, n, src);
	return rc;
}

/* Normalise a stretch of characters that may interact: all of the result maps to its first byte. */
static int put_stretch(struct hs_norm *norm, const UNormalizer2 *nfkc, const char *s, size_t n, size_t src)
{
	UChar in[STRETCH_MAX * 2], out[STRETCH_OUT_MAX];
	UErrorCode status = U_ZERO_ERROR;
	int32_t n_in, n_out;
	u_strFromUTF8(in, HS_ARRAY_LEN(in), &n_in, s, (int32_t)n, &status);
	n_out = unorm2_normalize(nfkc, in, n_in, out, HS_ARRAY_LEN(out), &status);
	if (U_FAILURE(status))
		return status == U_MEMORY_ALLOCATION_ERROR ? -ENOMEM : -EILSEQ;
	char bytes[STRETCH_OUT_MAX * 3];
	int32_t n_bytes;
	u_strToUTF8(bytes, (int32_t)sizeof bytes, &n_bytes, out, n_out, &status);
	if (U_FAILURE(status))
		return -EILSEQ;
	return put_checked(norm, bytes, (size_t)n_bytes, src);
}

/* NFKC_Casefold of src, appended to norm. *ret_rules: some rule may apply to the result. */
static int fold(const char *src, size_t n, struct hs_norm *norm, bool *ret_rules)
{
	const uint8_t *table = hs_chartab();
	UErrorCode status = U_ZERO_ERROR;
	const UNormalizer2 *nfkc = unorm2_getNFKCCasefoldInstance(&status);
	if (U_FAILURE(status))
		return -ENOMEM;
	bool rules = false;
	size_t i = 0, len = 0;
	uint32_t cp = 0;
	uint8_t flags = 0;
	while (i < n) {
		if (len == 0) { /* else the step before has looked ahead */
			len = hs_utf8_decode(src + i, n - i, &cp);
			if (len == 0)
				return -EILSEQ;
			flags = cp < 0x10000 ? table[cp] : hs_char_flags(cp);
		}
		uint32_t first = cp;
		uint8_t first_flags = flags;
		size_t first_len = len, end = i + len, count = 1;
		len = 0;
		while (end < n && (unsigned char)src[end] >= 0x80) {
			len = hs_utf8_decode(src + end, n - end, &cp);
			if (len == 0)
				return -EILSEQ;
			flags = cp < 0x10000 ? table[cp] : hs_char_flags(cp);
			if ((flags & HS_CHAR_BOUNDARY) || count == STRETCH_MAX)
				break;
			end += len;
			len = 0;
			count++;
		}
		rules = rules || (first_flags & HS_CHAR_RULE);
		if (count == 1 && (first_flags & HS_CHAR_SELF)) {
			put(norm, src + i, first_len, i); /* the caller reserved n: what maps to itself never needs more */
		} else if (count == 1 && first < 0x80) {
			char lower = (char)(first | 0x20); /* the only ASCII that does not map to itself is A..Z */
			put(norm, &lower, 1, i);
		} else {
			rules = true;
			int rc = put_stretch(norm, nfkc, src + i, end - i, i);
			if (rc == 0)
				rc = reserve(norm, n - end);
			if (rc < 0)
				return rc;
		}
		i = end;
	}
	*ret_rules = rules;
	return 0;
}

static bool is_digit(const struct hs_norm *in, size_t i)
{
	return i < in->len && in->text[i] >= '0' && in->text[i] <= '9';
}

static size_t digits_at(const struct hs_norm *in, size_t i)
{
	size_t n = 0;
	while (is_digit(in, i + n))
		n++;
	return n;
}

/* The end of a number with thousands commas that starts at i (1,234,567), or i where there is none. */
static size_t grouped_end(const struct hs_norm *in, size_t i)
{
	if (i > 0 && (in->text[i - 1] == ',' || in->text[i - 1] == '.') && i > 1 && is_digit(in, i - 2))
		return i;
	size_t first = digits_at(in, i), end = i + first;
	if (first == 0 || first > 3)
		return i;
	size_t groups = 0;
	while (end < in->len && in->text[end] == ',') {
		size_t group = digits_at(in, end + 1);
		if (group == 0)
			break; /* a comma of the sentence */
		if (group != 3)
			return i;
		end += 4;
		groups++;
	}
	return groups ? end : i;
}

static bool is_dash(uint32_t cp)
{
	return (cp >= 0x2010 && cp <= 0x2015) || cp == 0x2212;
}

static bool is_wave(uint32_t cp)
{
	return cp == 0x301c || cp == 0x223c || cp == 0x223e;
}

/*
 * Apply rules at byte i of in, where the character cp of len bytes stands. Returns the bytes of the input that were
 * dealt with (0: nothing applies), or a negative errno. before: the character before it.
 */
static int apply(const struct hs_norm *in, size_t i, uint32_t cp, size_t len, uint32_t before, unsigned rules, struct hs_norm *out)
{
	if ((rules & HS_NORM_DASHES) && (is_dash(cp) || is_wave(cp))) {
		int rc = put_checked(out, is_dash(cp) ? "-" : "~", 1, in->map[i]);
		return rc < 0 ? rc : (int)len;
	}
	if ((rules & HS_NORM_LONG_VOWEL) && cp == 0x30fc && before == 0x30fc)
		return (int)len;
	uint32_t common = (rules & HS_NORM_VARIANTS) ? hs_variant_of(cp) : 0;
	if (common) {
		char bytes[4];
		int rc = put_checked(out, bytes, hs_utf8_encode(common, bytes), in->map[i]);
		return rc < 0 ? rc : (int)len;
	}
	if (rules & HS_NORM_NUMERALS) {
		char digits[HS_NUMERAL_DIGITS_MAX + 1];
		size_t taken = hs_numeral_parse(in->text + i, in->len - i, before, digits);
		if (taken) {
			int rc = put_checked(out, digits, strlen(digits), in->map[i]);
			return rc < 0 ? rc : (int)taken;
		}
		taken = hs_numeral_run(in->text + i, in->len - i);
		if (taken > len && taken < INT32_MAX) { /* the whole run stays: its tail alone must not be taken for a number */
			int rc = reserve(out, taken);
			for (size_t k = 0; rc == 0 && k < taken; k++)
				put(out, in->text + i + k, 1, in->map[i + k]);
			return rc < 0 ? rc : (int)taken;
		}
	}
	return 0;
}

static int apply_rules(const struct hs_norm *in, unsigned rules, struct hs_norm *out)
{
	const uint8_t *table = hs_chartab();
	uint32_t before = 0;
	size_t i = 0;
	int rc = reserve(out, in->len);
	while (rc == 0 && i < in->len) {
		uint32_t cp;
		size_t len = hs_utf8_decode(in->text + i, in->len - i, &cp);
		hs_assert(len > 0); /* the folded text is our own and valid */
		if (cp >= '0' && cp <= '9' && (rules & HS_NORM_THOUSANDS) && !is_digit(in, i - 1)) {
			size_t end = grouped_end(in, i);
			if (end > i) {
				for (; i < end; i++) {
					if (in->text[i] != ',')
						put(out, in->text + i, 1, in->map[i]);
				}
				before = '0';
				continue;
			}
		} else if (cp < 0x10000 && (table[cp] & HS_CHAR_RULE)) {
			int taken = apply(in, i, cp, len, before, rules, out);
			if (taken < 0)
				return taken;
			if (taken > 0) {
				i += (size_t)taken;
				before = cp;
				rc = reserve(out, in->len - i);
				continue;
			}
		}
		for (size_t k = 0; k < len; k++)
			put(out, in->text + i + k, 1, in->map[i + k]);
		before = cp;
		i += len;
	}
	return rc;
}

int hs_normalize_into(const char *src, size_t n, unsigned rules, struct hs_norm *norm)
{
	norm->len = 0;
	if (n > HS_NORM_INPUT_MAX)
		return -EMSGSIZE;
	bool more = false;
	int rc = reserve(norm, n);
	if (rc == 0)
		rc = fold(src, n, norm, &more);
	if (rc == 0 && more && rules) {
		struct hs_norm out = {0};
		rc = apply_rules(norm, rules, &out);
		if (rc == 0) {
			struct hs_norm old = *norm;
			*norm = out;
			out = old;
		}
		hs_norm_finish(&out);
	}
	if (rc < 0) {
		norm->len = 0;
		return rc;
	}
	norm->text[norm->len] = '\0';
	norm->map[norm->len] = (uint32_t)n;
	return 0;
}

int hs_normalize(const char *src, size_t n, struct hs_norm *ret)
{
	struct hs_norm norm = {0};
	int rc = hs_normalize_into(src, n, HS_NORM_RULES_ALL, &norm);
	if (rc < 0) {
		hs_norm_finish(&norm);
		return rc;
	}
	*ret = norm;
	return 0;
}

void hs_norm_source(const struct hs_norm *norm, size_t start, size_t end, uint32_t *ret_start, uint32_t *ret_end)
{
	uint32_t last = norm->map[end - 1];
	while (end < norm->len && norm->map[end] == last)
		end++; /* the rest of what came of the same source character */
	*ret_start = norm->map[start];
	*ret_end = norm->map[end];
}
