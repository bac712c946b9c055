#include "ingest/outline.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/macros.h"
#include "base/utf8.h"

#define HEADING_MAX_CHARS 50
#define CAPTION_MAX_BYTES 180

static uint32_t peek(const char *s, size_t n, size_t at, size_t *ret_len)
{
	uint32_t cp = 0;
	*ret_len = at < n ? hs_utf8_decode(s + at, n - at, &cp) : 0;
	return *ret_len ? cp : 0;
}

static bool is_space(uint32_t cp)
{
	return cp == ' ' || cp == '\t' || cp == 0x3000 || cp == 0xa0;
}

static bool is_numeral(uint32_t cp)
{
	static const uint16_t kanji[] = {0x3007, 0x4e00, 0x4e8c, 0x4e09, 0x56db, 0x4e94, 0x516d, 0x4e03,
					 0x516b, 0x4e5d, 0x5341, 0x767e, 0x5343};
	if ((cp >= '0' && cp <= '9') || (cp >= 0xff10 && cp <= 0xff19))
		return true;
	for (size_t i = 0; i < HS_ARRAY_LEN(kanji); i++) {
		if (cp == kanji[i])
			return true;
	}
	return false;
}

static bool is_hiragana(uint32_t cp)
{
	return cp >= 0x3041 && cp <= 0x309f;
}

static size_t skip_spaces(const char *s, size_t n, size_t at)
{
	for (size_t len; is_space(peek(s, n, at, &len));)
		at += len;
	return at;
}

static size_t skip_numerals(const char *s, size_t n, size_t at)
{
	for (size_t len; is_numeral(peek(s, n, at, &len));)
		at += len;
	return at;
}

static enum hs_outline unit(uint32_t cp)
{
	switch (cp) {
	case 0x7de8: /* 編 */
		return HS_OUTLINE_PART;
	case 0x7ae0: /* 章 */
		return HS_OUTLINE_CHAPTER;
	case 0x7bc0: /* 節 */
		return HS_OUTLINE_SECTION;
	case 0x6b3e: /* 款 */
		return HS_OUTLINE_SUBSECTION;
	case 0x76ee: /* 目 */
		return HS_OUTLINE_DIVISION;
	case 0x6761: /* 条 */
	case 0x689d: /* 條 */
		return HS_OUTLINE_ARTICLE;
	default:
		return HS_OUTLINE_NONE;
	}
}

/* の2, ノ二, -2 behind an article's number; also several. */
static size_t skip_branches(const char *s, size_t n, size_t at)
{
	for (;;) {
		size_t len;
		uint32_t cp = peek(s, n, at, &len);
		if (cp != 0x306e && cp != 0x30ce && cp != '-' && cp != 0x2212 && cp != 0xff0d)
			return at;
		size_t end = skip_numerals(s, n, at + len);
		if (end == at + len)
			return at;
		at = end;
	}
}

/* The end of a bracket that opens at `at`, on this line; at itself where none does. */
static size_t bracket_end(const char *s, size_t n, size_t at)
{
	size_t len;
	uint32_t open = peek(s, n, at, &len);
	if (open != '(' && open != 0xff08)
		return at;
	for (size_t i = at + len; i < n && i - at < CAPTION_MAX_BYTES; i += len) {
		uint32_t cp = peek(s, n, i, &len);
		if (len == 0)
			break;
		if (cp == ')' || cp == 0xff09)
			return i + len;
	}
	return at;
}

static bool reads_as_heading(const char *s, size_t n)
{
	if (hs_utf8_count(s, n) > HEADING_MAX_CHARS)
		return false;
	for (size_t at = 0, len; at < n; at += len) {
		uint32_t cp = peek(s, n, at, &len);
		if (len == 0 || cp == 0x3002) /* 。 */
			return false;
	}
	return true;
}

static enum hs_outline numbered(const char *s, size_t n, size_t start, size_t *ret_label)
{
	size_t len;
	if (peek(s, n, start, &len) != 0x7b2c) /* 第 */
		return HS_OUTLINE_NONE;
	size_t at = skip_spaces(s, n, start + len);
	size_t end = skip_numerals(s, n, at);
	if (end == at)
		return HS_OUTLINE_NONE;
	at = skip_spaces(s, n, end);
	enum hs_outline kind = unit(peek(s, n, at, &len));
	if (kind == HS_OUTLINE_NONE)
		return kind;
	at = skip_branches(s, n, at + len);
	uint32_t next = peek(s, n, at, &len);
	if (kind == HS_OUTLINE_ARTICLE) {
		bool apart = next == 0 || is_space(next) || next == '(' || next == 0xff08;
		if (!apart)
			return HS_OUTLINE_NONE; /* 第24条に, 第24条第2項, 第24条から: a reference */
		size_t caption = skip_spaces(s, n, at), caption_end = bracket_end(s, n, caption);
		*ret_label = caption_end > caption ? caption_end : at;
		return kind;
	}
	if (is_hiragana(next) || next == 0x3001 || next == 0x7b2c || !reads_as_heading(s, n))
		return HS_OUTLINE_NONE; /* 第3章では…, 第3章第2節の… */
	*ret_label = n;
	return kind;
}

/* 附則, 附　則, 付則, with nothing or a bracket or a date behind. */
static bool supplement(const char *s, size_t n, size_t start)
{
	size_t len;
	uint32_t first = peek(s, n, start, &len);
	if (first != 0x9644 && first != 0x4ed8)
		return false;
	size_t at = skip_spaces(s, n, start + len);
	if (peek(s, n, at, &len) != 0x5247)
		return false;
	at += len;
	uint32_t next = peek(s, n, at, &len);
	return (next == 0 || is_space(next) || next == '(' || next == 0xff08) && reads_as_heading(s, n);
}

/* "２　", "10 ", "2. ", "②": a number that opens a paragraph of an article; 1 is the article's own first. */
static bool paragraph(const char *s, size_t n, size_t start)
{
	size_t len;
	uint32_t cp = peek(s, n, start, &len);
	if (cp >= 0x2461 && cp <= 0x2473)
		return true;
	size_t end = start, digits = 0;
	unsigned value = 0;
	while (((cp = peek(s, n, end, &len)) >= '0' && cp <= '9') || (cp >= 0xff10 && cp <= 0xff19)) {
		value = value * 10 + (cp >= 0xff10 ? cp - 0xff10 : cp - '0');
		end += len;
		if (++digits > 2)
			return false;
	}
	if (digits == 0 || value < 2)
		return false;
	if (cp == '.' || cp == 0xff0e || cp == 0x3001) {
		end += len;
		return is_space(peek(s, n, end, &len)) || cp != '.';
	}
	return is_space(cp);
}

enum hs_outline hs_outline_line(const char *s, size_t n, size_t *ret_label)
{
	size_t label = 0, start = skip_spaces(s, n, 0);
	enum hs_outline kind = numbered(s, n, start, &label);
	if (kind == HS_OUTLINE_NONE && supplement(s, n, start)) {
		kind = HS_OUTLINE_CHAPTER;
		label = n;
	}
	if (kind == HS_OUTLINE_NONE && paragraph(s, n, start))
		kind = HS_OUTLINE_PARAGRAPH;
	if (ret_label)
		*ret_label = label;
	return kind;
}

bool hs_outline_caption(const char *s, size_t n)
{
	size_t start = skip_spaces(s, n, 0), end = bracket_end(s, n, start);
	return end > start && skip_spaces(s, n, end) == n;
}
