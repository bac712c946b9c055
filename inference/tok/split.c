#include "inference/tok/split.h"

#include <string.h>
#include <unicode/uchar.h>

#include "base/macros.h"
#include "base/utf8.h"

/*
 * qwen2:     (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 * llama-bpe: the same with \p{N}{1,3}
 * gpt-2:     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 */
static const struct hs_split_rule rules[] = {
	{"qwen2", 1, false, false},   {"llama-bpe", 3, false, true}, {"llama3", 3, false, true},
	{"llama-v3", 3, false, true}, {"gpt-2", 0, true, false},
};

enum class { C_OTHER, C_LETTER, C_NUMBER, C_SPACE, C_LINE_END, C_NONE };

struct at { /* one character */
	enum class class;
	size_t len;
};

const struct hs_split_rule *hs_split_find(const char *name, size_t n)
{
	for (size_t i = 0; i < HS_ARRAY_LEN(rules); i++)
		if (strlen(rules[i].name) == n && memcmp(rules[i].name, name, n) == 0)
			return &rules[i];
	return NULL;
}

static enum class class_of(uint32_t cp) {
	if (cp < 0x80){if ((cp | 0x20) >= 'a' && (cp | 0x20) <= 'z') return C_LETTER; if (cp >= '0' && cp <= '9') return C_NUMBER;
		       if (cp == '\r' || cp == '\n') return C_LINE_END;
		       return cp == ' ' || (cp >= 9 && cp <= 13) ? C_SPACE : C_OTHER;}
uint32_t category = U_MASK(u_charType((UChar32)cp));
if (category & U_GC_L_MASK)
	return C_LETTER;
if (category & U_GC_N_MASK)
	return C_NUMBER;
return u_isUWhiteSpace((UChar32)cp) ? C_SPACE : C_OTHER;
}

static struct at look(const char *s, size_t n)
{
	uint32_t cp;
	if (n == 0)
		return (struct at){C_NONE, 0};
	size_t len = hs_utf8_decode(s, n, &cp);
	return len ? (struct at){class_of(cp), len} : (struct at){C_OTHER, 1};
}

/* Bytes of the run of at most max characters of a class (0: no limit). */
static size_t run(const char *s, size_t n, enum class class, unsigned max)
{
	size_t at = 0;
	for (unsigned i = 0; max == 0 || i < max; i++) {
		struct at c = look(s + at, n - at);
		if (c.class != class)
			break;
		at += c.len;
	}
	return at;
}

/* 's 't 'm 'd 're 've 'll, of either case where fold. */
static size_t contraction(const char *s, size_t n, bool fold)
{
	if (n < 2 || s[0] != '\'')
		return 0;
	char a = s[1], b = n > 2 ? s[2] : 0;
	if (fold) {
		a = (char)(a >= 'A' && a <= 'Z' ? a | 0x20 : a);
		b = (char)(b >= 'A' && b <= 'Z' ? b | 0x20 : b);
	}
	if (a == 's' || a == 't' || a == 'm' || a == 'd')
		return 2;
	return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/* A run of white space: up to its last line end where line_ends count, else all but the character before a word. */
static size_t space(const char *s, size_t n, bool line_ends)
{
	size_t at = 0, last = 0, last_line_end = 0;
	struct at c;
	while (c = look(s + at, n - at), c.class == C_SPACE || c.class == C_LINE_END) {
		last = at;
		at += c.len;
		if (c.class == C_LINE_END)
			last_line_end = at;
	}
	if (line_ends && last_line_end)
		return last_line_end;
	return c.class == C_NONE || last == 0 ? at : last;
}

static size_t next_gpt2(const struct hs_split_rule *rule, const char *s, size_t n)
{
	size_t lead = s[0] == ' ' && n > 1 ? 1 : 0;
	struct at c = look(s + lead, n - lead);
	if (c.class == C_LETTER || c.class == C_OTHER)
		return lead + run(s + lead, n - lead, c.class, 0);
	if (c.class == C_NUMBER)
		return lead + run(s + lead, n - lead, C_NUMBER, rule->digits);
	return space(s, n, false);
}

size_t hs_split_next(const struct hs_split_rule *rule, const char *s, size_t n)
{
	size_t len = contraction(s, n, !rule->gpt2);
	if (len)
		return len;
	if (rule->gpt2)
		return next_gpt2(rule, s, n);
	struct at first = look(s, n), second = look(s + first.len, n - first.len);
	if (first.class == C_LETTER)
		return run(s, n, C_LETTER, 0);
	if ((first.class == C_OTHER || first.class == C_SPACE) && second.class == C_LETTER)
		return first.len + run(s + first.len, n - first.len, C_LETTER, 0);
	if (first.class == C_NUMBER)
		return run(s, n, C_NUMBER, rule->digits);
	size_t lead = s[0] == ' ' && second.class == C_OTHER ? 1 : 0;
	if (lead || first.class == C_OTHER) {
		len = lead + run(s + lead, n - lead, C_OTHER, 0);
		return len + run(s + len, n - len, C_LINE_END, 0);
	}
	return space(s, n, true);
}
