#include "inference/template/lex.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <unicode/uchar.h>

#include "base/utf8.h"

#define OPEN_MAX 128u /* brackets within each other in one tag */

struct lexer {
	struct hs_arena *arena;
	const char *s;
	size_t n, at;
	uint32_t line;
	bool line_starting; /* what was read last ended with a line's end: Jinja2's lstrip_blocks asks for it */
	struct hs_tlex *words;
	size_t count, cap;
	struct hs_err *err;
};

bool hs_t_is_space(uint32_t cp)
{
	if (cp < 0x80)
		return (cp >= 9 && cp <= 13) || (cp >= 0x1c && cp <= 0x20);
	return cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 ||
	       cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

static int fail(struct lexer *x, const char *what)
{
	return hs_fail(x->err, EINVAL, "template.syntax", HS_N_("the chat template is not valid Jinja"), "line %u: %s", x->line,
		       what);
}

static int push(struct lexer *x, struct hs_tlex word)
{
	if (x->count == x->cap) {
		size_t cap = x->cap ? x->cap * 2 : 256;
		struct hs_tlex *more = reallocarray(x->words, cap, sizeof *more);
		if (!more)
			return -ENOMEM;
		x->words = more;
		x->cap = cap;
	}
	if (!word.line)
		word.line = x->line;
	x->words[x->count++] = word;
	return 0;
}

static void advance(struct lexer *x, size_t to)
{
	for (; x->at < to; x->at++)
		x->line += x->s[x->at] == '\n';
	if (to > 0)
		x->line_starting = x->s[to - 1] == '\n';
}

static bool looking_at(const struct lexer *x, size_t at, const char *text)
{
	size_t n = strlen(text);
	return x->n - at >= n && memcmp(x->s + at, text, n) == 0;
}

static size_t skip_space(const struct lexer *x, size_t at)
{
	uint32_t cp;
	for (size_t len; at < x->n && (len = hs_utf8_decode(x->s + at, x->n - at, &cp)) && hs_t_is_space(cp);)
		at += len;
	return at;
}

/* The end of s[from, to) without the white space at its end. */
static size_t strip_end(const struct lexer *x, size_t from, size_t to)
{
	while (to > from) {
		size_t begin = to - 1;
		uint32_t cp;
		while (begin > from && ((uint8_t)x->s[begin] & 0xc0) == 0x80)
			begin--;
		if (!hs_utf8_decode(x->s + begin, to - begin, &cp) || !hs_t_is_space(cp))
			break;
		to = begin;
	}
	return to;
}

/* Text before a tag at `to`, cut as the tag's sign and lstrip_blocks say. */
static int push_data(struct lexer *x, size_t from, size_t to, char sign, bool block)
{
	size_t end = to;
	if (sign == '-') {
		end = strip_end(x, from, to);
	} else if (sign != '+' && block) {
		size_t begin = to;
		while (begin > from && x->s[begin - 1] != '\n')
			begin--;
		if ((begin > from || x->line_starting) && strip_end(x, begin, to) == begin)
			end = begin;
	}
	return end > from ? push(x, (struct hs_tlex){.kind = HS_TL_DATA, .s = x->s + from, .len = end - from}) : 0;
}

static char sign_at(const struct lexer *x, size_t at)
{
	return at < x->n && (x->s[at] == '-' || x->s[at] == '+') ? x->s[at] : '\0';
}

/* Where a tag that ends at `at` with "-X}", "+X}" or "X}" lets the text go on; 0: it does not end there. */
static size_t end_of_tag(const struct lexer *x, size_t at, const char *end, bool plus, bool newline)
{
	char sign = sign_at(x, at);
	size_t begin = at + (sign == '-' || (sign == '+' && plus));
	if (!looking_at(x, begin, end))
		return 0;
	size_t to = begin + strlen(end);
	if (sign == '-')
		return skip_space(x, to);
	if (!sign && newline && to < x->n && x->s[to] == '\n')
		to++;
	return to;
}

static int skip_comment(struct lexer *x)
{
	size_t at = x->at + 2;
	at += sign_at(x, at) != '\0';
	for (size_t to; at < x->n; at++) {
		if ((to = end_of_tag(x, at, "#}", true, true))) {
			advance(x, to);
			return 0;
		}
	}
	return fail(x, "a comment has no end");
}

/* Where the words of a raw tag ("raw", "endraw") end, 0 where another tag stands at `at`. */
static size_t after_word(const struct lexer *x, size_t at, const char *word)
{
	if (!looking_at(x, at, "{%"))
		return 0;
	at += 2;
	at += sign_at(x, at) != '\0';
	at = skip_space(x, at);
	if (!looking_at(x, at, word))
		return 0;
	return skip_space(x, at + strlen(word));
}

static int take_raw(struct lexer *x, size_t from)
{
	advance(x, from);
	for (size_t at = from; at < x->n; at++) {
		size_t word = x->s[at] == '{' ? after_word(x, at, "endraw") : 0, to;
		if (!word || !(to = end_of_tag(x, word, "%}", true, true)))
			continue;
		int rc = push_data(x, from, at, sign_at(x, at + 2), true);
		advance(x, to);
		return rc;
	}
	return fail(x, "a raw block has no end");
}

/* --- within a tag --- */

static int hex(const char *s, size_t n, uint32_t *ret)
{
	*ret = 0;
	for (size_t i = 0; i < n; i++) {
		char c = s[i];
		uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
				 : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
				 : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
							: 16;
		if (digit == 16)
			return -EINVAL;
		*ret = *ret << 4 | digit;
	}
	return 0;
}

/* One escape of Python's string literals after its backslash, at s (n bytes to the quote). Its length, 0 where it is wrong. */
static size_t take_escape(const char *s, size_t n, char *out, size_t *ret_out)
{
	static const char simple[][2] = {{'n', '\n'}, {'t', '\t'}, {'r', '\r'}, {'\\', '\\'}, {'\'', '\''},
					 {'"', '"'},  {'a', '\a'}, {'b', '\b'}, {'f', '\f'},  {'v', '\v'}};
	for (size_t i = 0; i < HS_ARRAY_LEN(simple); i++) {
		if (*s == simple[i][0]) {
			*out = simple[i][1];
			*ret_out = 1;
			return 1;
		}
	}
	*ret_out = 0;
	if (*s == '\n')
		return 1;
	uint32_t cp = 0;
	size_t digits = *s == 'x' ? 2 : *s == 'u' ? 4 : *s == 'U' ? 8 : 0, used = 1 + digits;
	if (digits) {
		if (n < used || hex(s + 1, digits, &cp) < 0)
			return 0;
	} else if (*s >= '0' && *s <= '7') {
		for (used = 0; used < 3 && used < n && s[used] >= '0' && s[used] <= '7'; used++)
			cp = cp * 8 + (uint32_t)(s[used] - '0');
	} else { /* not an escape: the backslash stays */
		out[0] = '\\';
		uint32_t ignored;
		size_t len = hs_utf8_decode(s, n, &ignored);
		memcpy(out + 1, s, len);
		*ret_out = 1 + len;
		return len;
	}
	*ret_out = hs_utf8_encode(cp, out);
	return *ret_out ? used : 0;
}

static int take_string(struct lexer *x)
{
	char quote = x->s[x->at];
	size_t from = x->at + 1, to = from, len = 0;
	while (to < x->n && x->s[to] != quote)
		to += x->s[to] == '\\' ? 2 : 1;
	if (to >= x->n)
		return fail(x, "a string has no end");
	char *out = hs_arena_alloc(x->arena, to - from + 8); /* an escape is never shorter than what it stands for */
	if (!out)
		return -ENOMEM;
	for (size_t at = from; at < to;) {
		if (x->s[at] != '\\') {
			out[len++] = x->s[at++];
			continue;
		}
		size_t made, used = take_escape(x->s + at + 1, to - at - 1, out + len, &made);
		if (!used)
			return fail(x, "a string has a broken escape");
		at += 1 + used;
		len += made;
	}
	int rc = push(x, (struct hs_tlex){.kind = HS_TL_TEXT, .s = out, .len = len});
	advance(x, to + 1);
	return rc;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits with single underscores between them, from at: the end. */
static size_t digits_end(const struct lexer *x, size_t at)
{
	while (at < x->n && (is_digit(x->s[at]) || (x->s[at] == '_' && at + 1 < x->n && is_digit(x->s[at + 1]))))
		at++;
	return at;
}

static int take_number(struct lexer *x)
{
	char text[64];
	size_t from = x->at, to = digits_end(x, from), len = 0;
	bool real = false;
	int base = 10;
	if (x->s[from] == '0' && from + 1 < x->n && strchr("xXoObB", x->s[from + 1])) {
		base = strchr("xX", x->s[from + 1]) ? 16 : strchr("oO", x->s[from + 1]) ? 8 : 2;
		for (to = from + 2; to < x->n && (u_isxdigit(x->s[to]) || x->s[to] == '_');)
			to++;
	} else {
		if (to + 1 < x->n && x->s[to] == '.' && is_digit(x->s[to + 1])) {
			to = digits_end(x, to + 1);
			real = true;
		}
		size_t e = to + 1 + (to + 1 < x->n && (x->s[to + 1] == '+' || x->s[to + 1] == '-'));
		if (to < x->n && (x->s[to] == 'e' || x->s[to] == 'E') && e < x->n && is_digit(x->s[e])) {
			to = digits_end(x, e);
			real = true;
		}
	}
	for (size_t at = from + (base == 10 ? 0 : 2); at < to; at++) {
		if (len == sizeof text - 1)
			return fail(x, "a number is too long");
		if (x->s[at] != '_')
			text[len++] = x->s[at];
	}
	text[len] = '\0';
	struct hs_tlex word = {.kind = real ? HS_TL_FLOAT : HS_TL_INT};
	char *end;
	errno = 0;
	if (real)
		word.d = strtod(text, &end);
	else
		word.i = strtoll(text, &end, base);
	if (len == 0 || *end || (!real && errno))
		return fail(x, "a number is not valid or too large");
	int rc = push(x, word);
	advance(x, to);
	return rc;
}

static size_t name_end(const struct lexer *x, size_t at)
{
	uint32_t cp;
	for (size_t len; at < x->n && (len = hs_utf8_decode(x->s + at, x->n - at, &cp)); at += len)
		if (cp != '_' && !u_isalnum((UChar32)cp) && !(cp >= 0x80 && u_charType((UChar32)cp) == U_NON_SPACING_MARK))
			break;
	return at;
}

static size_t operator_len(const struct lexer *x)
{
	static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};
	for (size_t i = 0; i < HS_ARRAY_LEN(two); i++)
		if (looking_at(x, x->at, two[i]))
			return 2;
	return strchr("+-/*%~[](){}><=.:|,;", x->s[x->at]) && x->s[x->at] ? 1 : 0;
}

/* Brackets must pair; while one is open, "}}" is two of them. */
static int take_operator(struct lexer *x, char open[static OPEN_MAX], size_t *n_open)
{
	size_t len = operator_len(x);
	char c = x->s[x->at];
	if (!len)
		return fail(x, "a character that Jinja does not know");
	if (len == 1 && strchr("([{", c)) {
		if (*n_open == OPEN_MAX)
			return fail(x, "too many brackets within each other");
		open[(*n_open)++] = c == '(' ? ')' : c == '[' ? ']' : '}';
	} else if (len == 1 && strchr(")]}", c)) {
		if (*n_open == 0 || open[*n_open - 1] != c)
			return fail(x, "a bracket that was not opened");
		--*n_open;
	}
	int rc = push(x, (struct hs_tlex){.kind = HS_TL_OP, .s = x->s + x->at, .len = len});
	advance(x, x->at + len);
	return rc;
}

static int take_tag(struct lexer *x, bool block)
{
	char open[OPEN_MAX];
	size_t n_open = 0;
	int rc = push(x, (struct hs_tlex){.kind = block ? HS_TL_BLOCK_BEGIN : HS_TL_VAR_BEGIN});
	advance(x, x->at + 2);
	if (sign_at(x, x->at))
		advance(x, x->at + 1);
	while (rc == 0) {
		size_t to = skip_space(x, x->at);
		advance(x, to);
		if (to >= x->n)
			return fail(x, "a tag has no end");
		if (n_open == 0 && (to = end_of_tag(x, x->at, block ? "%}" : "}}", block, block))) {
			rc = push(x, (struct hs_tlex){.kind = block ? HS_TL_BLOCK_END : HS_TL_VAR_END});
			advance(x, to);
			return rc;
		}
		char c = x->s[x->at];
		size_t name = is_digit(c) ? x->at : name_end(x, x->at);
		if (is_digit(c)) {
			rc = take_number(x);
		} else if (name > x->at) {
			rc = push(x, (struct hs_tlex){.kind = HS_TL_NAME, .s = x->s + x->at, .len = name - x->at});
			advance(x, name);
		} else if (c == '"' || c == '\'') {
			rc = take_string(x);
		} else {
			rc = take_operator(x, open, &n_open);
		}
	}
	return rc;
}

static int take_all(struct lexer *x)
{
	int rc = 0;
	while (rc == 0 && x->at < x->n) {
		size_t at = x->at, from = x->at;
		while (at + 1 < x->n && !(x->s[at] == '{' && strchr("{%#", x->s[at + 1]) && x->s[at + 1]))
			at++;
		if (at + 1 >= x->n)
			at = x->n;
		char kind = at < x->n ? x->s[at + 1] : '\0';
		rc = push_data(x, from, at, kind ? sign_at(x, at + 2) : '+', kind != '{');
		advance(x, at);
		if (rc < 0 || !kind)
			break;
		size_t word = kind == '%' ? after_word(x, at, "raw") : 0,
		       raw = word ? end_of_tag(x, word, "%}", false, false) : 0;
		rc = raw ? take_raw(x, raw) : kind == '#' ? skip_comment(x) : take_tag(x, kind == '%');
	}
	return rc < 0 ? rc : push(x, (struct hs_tlex){.kind = HS_TL_END});
}

int hs_tlex_all(struct hs_arena *arena, const char *text, size_t n, struct hs_tlex **ret, size_t *ret_n, struct hs_err *err)
{
	struct lexer x = {.arena = arena, .s = text, .n = n, .line = 1, .line_starting = true, .err = err};
	int rc = take_all(&x);
	if (rc < 0) {
		free(x.words);
		return rc == -ENOMEM ? hs_fail_errno(err, rc, "template.limit", "HS_TEMPLATE_PARSED_MAX") : rc;
	}
	*ret = x.words;
	*ret_n = x.count;
	return 0;
}
