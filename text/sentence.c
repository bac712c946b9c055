#include "text/sentence.h"

#include <stdint.h>

#include "base/utf8.h"

static bool is_space(uint32_t cp)
{
	return cp == ' ' || (cp >= '\t' && cp <= '\r') || cp == 0x3000 || cp == 0xa0;
}

static int bracket(uint32_t cp) /* 1 opens, -1 closes, 0 neither */
{
	switch (cp) {
	case 0x300c: /* 「 */
	case 0x300e: /* 『 */
	case 0x3010: /* 【 */
	case 0x3014: /* 〔 */
	case 0xff08: /* （ */
	case 0xff3b: /* ［ */
	case '(':
	case '[':
		return 1;
	case 0x300d:
	case 0x300f:
	case 0x3011:
	case 0x3015:
	case 0xff09:
	case 0xff3d:
	case ')':
	case ']':
		return -1;
	default:
		return 0;
	}
}

enum ender { ENDER_NONE, ENDER_ALWAYS, ENDER_BEFORE_SPACE };

static enum ender ender(uint32_t cp)
{
	switch (cp) {
	case 0x3002: /* 。 */
	case 0xff61: /* ｡ */
	case 0xff01: /* ！ */
	case 0xff1f: /* ？ */
	case 0xff0e: /* ．: full-width stops end sentences in papers and notices, but also stand in numbers */
		return cp == 0xff0e ? ENDER_BEFORE_SPACE : ENDER_ALWAYS;
	case '.':
	case '!':
	case '?':
		return ENDER_BEFORE_SPACE;
	default:
		return ENDER_NONE;
	}
}

/* One character; invalid bytes count as one each, so that the scan always moves. */
static size_t step(const char *text, size_t n, size_t at, uint32_t *ret_cp)
{
	size_t len = hs_utf8_decode(text + at, n - at, ret_cp);
	if (len)
		return len;
	*ret_cp = 0xfffd;
	return 1;
}

/* Behind an ender at `at`: further enders and closing brackets belong to the sentence. */
static size_t take_tail(const char *text, size_t n, size_t at)
{
	while (at < n) {
		uint32_t cp;
		size_t len = step(text, n, at, &cp);
		if (ender(cp) == ENDER_NONE && bracket(cp) != -1)
			break;
		at += len;
	}
	return at;
}

static bool next_sentence(const char *text, size_t n, size_t *at, struct hs_sentence *ret, bool *ret_ended)
{
	size_t start = *at;
	uint32_t cp;
	while (start < n) {
		size_t len = step(text, n, start, &cp);
		if (!is_space(cp))
			break;
		start += len;
	}
	if (start >= n) {
		*at = n;
		return false;
	}
	size_t i = start, end = start; /* end: behind the last character that is no space */
	int depth = 0;
	bool ended = false;
	while (i < n && !ended) {
		size_t len = step(text, n, i, &cp);
		if (i + len - start > HS_SENTENCE_MAX)
			break;
		i += len;
		if (cp == '\n' || cp == '\r' || cp == '\f') {
			ended = true;
			break;
		}
		if (!is_space(cp))
			end = i;
		int b = bracket(cp);
		depth = b < 0 && depth == 0 ? 0 : depth + b;
		enum ender e = depth ? ENDER_NONE : ender(cp);
		if (e == ENDER_NONE)
			continue;
		size_t tail = take_tail(text, n, i);
		if (tail - start > HS_SENTENCE_MAX)
			tail = i;
		if (e == ENDER_BEFORE_SPACE) {
			uint32_t next;
			if (tail >= n || (step(text, n, tail, &next), !is_space(next)))
				continue; /* 3.14, www.example.jp; at the end of the text it ends there anyway */
		}
		end = i = tail;
		ended = true;
	}
	*at = i;
	*ret = (struct hs_sentence){start, end};
	*ret_ended = ended;
	return true;
}

bool hs_sentence_next(const char *text, size_t n, size_t *at, struct hs_sentence *ret)
{
	bool ended;
	return next_sentence(text, n, at, ret, &ended);
}

bool hs_sentence_ended(const char *text, size_t n)
{
	struct hs_sentence s;
	size_t at = 0;
	bool ended = false, last;
	while (next_sentence(text, n, &at, &s, &last))
		ended = last;
	return ended;
}
