#include "inference/tok/split.h"

#include <string.h>
#include <unicode/uchar.h>

#include "base/macros.h"
#include "base/utf8.h"

/* A character's properties: a bit for its general category, as ICU numbers them, and two more above those. */
#define SPACE (1u << 30)    /* \s */
#define LINE_END (1u << 31) /* \r \n, which are \s too */
#define L U_GC_L_MASK
#define M U_GC_M_MASK
#define N U_GC_N_MASK
#define P U_GC_P_MASK
#define S U_GC_S_MASK
#define UPPER (U_GC_LU_MASK | U_GC_LT_MASK) /* (cased words) what can only stand in a word's head */
#define BOTH (U_GC_LM_MASK | U_GC_LO_MASK | M)
#define LOWER U_GC_LL_MASK

struct hs_split_pass {
	/* Bytes that match at s (n > 0 bytes to the piece's end), 0 where nothing does. */
	size_t (*match)(const struct hs_split_pass *p, const char *s, size_t n, struct hs_split *walk);
	unsigned digits; /* longest run of \p{N} in one word; 0: no limit */
	bool marks;      /* \p{M} counts as a letter */
	bool cased;      /* a word is upper-case letters, then lower-case ones, then a contraction */
	bool no_contraction;
	bool slash; /* after other signs, / counts with the line ends */
};

struct at { /* one character; len 0 and no bits past the end */
	uint32_t cp, bits;
	size_t len;
};

static struct at look(const char *s, size_t n)
{
	struct at c = {0};
	if (n == 0)
		return c;
	c.len = hs_utf8_decode(s, n, &c.cp);
	if (c.len == 0)
		return (struct at){0xfffd, U_MASK(U_OTHER_SYMBOL), 1}; /* not reached with valid text */
	c.bits = U_MASK(u_charType((UChar32)c.cp));
	if (u_isUWhiteSpace((UChar32)c.cp))
		c.bits |= SPACE | (c.cp == '\r' || c.cp == '\n' ? LINE_END : 0);
	return c;
}

/* Is it a character with none of these properties? */
static bool none_of(struct at c, uint32_t set)
{
	return c.len && !(c.bits & set);
}

/* Bytes of the run of at most max characters with a property of set (0: no limit). */
static size_t run(const char *s, size_t n, uint32_t set, unsigned max)
{
	size_t at = 0;
	for (unsigned i = 0; max == 0 || i < max; i++) {
		struct at c = look(s + at, n - at);
		if (!(c.bits & set))
			break;
		at += c.len;
	}
	return at;
}

static size_t run_without(const char *s, size_t n, uint32_t set)
{
	size_t at = 0;
	for (struct at c; c = look(s + at, n - at), none_of(c, set);)
		at += c.len;
	return at;
}

/* Bytes of the run of line ends, and of '/' where slash. */
static size_t tail(const char *s, size_t n, bool slash)
{
	size_t at = 0;
	while (at < n && (s[at] == '\r' || s[at] == '\n' || (slash && s[at] == '/')))
		at++;
	return at;
}

static bool is_ascii_letter(char c)
{
	return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

static bool is_ascii_sign(char c)
{
	return c > ' ' && c < 0x7f && !is_ascii_letter(c) && !(c >= '0' && c <= '9');
}

/* 's 't 'm 'd 're 've 'll, of either case where fold; then the long s (U+017F) is an s too. */
static size_t contraction(const char *s, size_t n, bool fold)
{
	if (n < 2 || s[0] != '\'')
		return 0;
	if (fold && n > 2 && (uint8_t)s[1] == 0xc5 && (uint8_t)s[2] == 0xbf)
		return 3;
	char a = s[1], b = n > 2 ? s[2] : 0;
	if (fold) {
		a = (char)(is_ascii_letter(a) ? a | 0x20 : a);
		b = (char)(is_ascii_letter(b) ? b | 0x20 : b);
	}
	if (a == 's' || a == 't' || a == 'm' || a == 'd')
		return 2;
	return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/* White space. With line_ends: \s*[\r\n]+|\s+(?!\S)|\s+, and without: \s+(?!\S)|\s+ */
static size_t space(const char *s, size_t n, bool line_ends)
{
	size_t at = 0, last = 0, last_line_end = 0;
	struct at c;
	while (c = look(s + at, n - at), c.bits & SPACE) {
		last = at;
		at += c.len;
		if (c.bits & LINE_END)
			last_line_end = at;
	}
	if (line_ends && last_line_end)
		return last_line_end;
	return c.len == 0 || last == 0 ? at : last;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t match_gpt2(const struct hs_split_pass *p, const char *s, size_t n, struct hs_split *walk)
{
	size_t len = contraction(s, n, false), lead = s[0] == ' ';
	struct at c = look(s + lead, n - lead);
	if (len)
		return len;
	if (c.bits & L)
		return lead + run(s + lead, n - lead, L, 0);
	if (c.bits & N)
		return lead + run(s + lead, n - lead, N, 0);
	if (none_of(c, SPACE))
		return lead + run_without(s + lead, n - lead, SPACE | L | N);
	return space(s, n, false);
}

/* [UPPER BOTH]*[LOWER BOTH]+, which may have to give back upper-case letters; 0 where it does not match. */
static size_t mixed_case(const char *s, size_t n)
{
	size_t at = 0, after_both = 0;
	struct at c;
	while (c = look(s + at, n - at), c.bits & (UPPER | BOTH)) {
		at += c.len;
		if (c.bits & BOTH)
			after_both = at;
	}
	return c.bits & LOWER ? at + run(s + at, n - at, LOWER | BOTH, 0) : after_both;
}

/* [^\r\n\p{L}\p{N}]?[UPPER BOTH]*[LOWER BOTH]+C?|[^\r\n\p{L}\p{N}]?[UPPER BOTH]+[LOWER BOTH]*C?, C: a contraction */
static size_t cased_word(const struct hs_split_pass *p, const char *s, size_t n)
{
	struct at first = look(s, n);
	size_t lead = first.bits & (LINE_END | L | N) ? 0 : first.len;
	size_t len = lead ? mixed_case(s + lead, n - lead) : 0;
	if (len)
		len += lead;
	else
		len = mixed_case(s, n);
	if (!len) {
		len = run(s + lead, n - lead, UPPER | BOTH, 0);
		len += len ? lead : 0;
	}
	return len && !p->no_contraction ? len + contraction(s + len, n - len, true) : len;
}

/*
 * The expression of tiktoken's later vocabularies. With \p{L} for letters:
 * (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 */
static size_t match_words(const struct hs_split_pass *p, const char *s, size_t n, struct hs_split *walk)
{
	uint32_t letters = p->marks ? L | M : L;
	size_t len = p->cased ? cased_word(p, s, n) : p->no_contraction ? 0 : contraction(s, n, true);
	if (len)
		return len;
	struct at first = look(s, n), second = look(s + first.len, n - first.len);
	if (first.bits & N)
		return run(s, n, N, p->digits);
	if (!p->cased && first.bits & letters)
		return run(s, n, letters, 0);
	if (!p->cased && !(first.bits & LINE_END) && second.bits & letters)
		return first.len + run(s + first.len, n - first.len, letters, 0);
	size_t lead = s[0] == ' ';
	len = run_without(s + lead, n - lead, SPACE | letters | N);
	return len ? lead + len + tail(s + lead + len, n - lead - len, p->slash) : space(s, n, true);
}

/*
 * [!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 */
static size_t match_deepseek(const struct hs_split_pass *p, const char *s, size_t n, struct hs_split *walk)
{
	size_t len = 1;
	while (len < n && is_ascii_letter(s[len]))
		len++;
	if (is_ascii_sign(s[0]) && len > 1)
		return len;
	struct at first = look(s, n), second = look(s + first.len, n - first.len);
	if (first.bits & (L | M))
		return run(s, n, L | M, 0);
	if (!(first.bits & (LINE_END | P | S)) && second.bits & (L | M))
		return first.len + run(s + first.len, n - first.len, L | M, 0);
	size_t lead = s[0] == ' ';
	len = run(s + lead, n - lead, P | S, 0);
	return len ? lead + len + tail(s + lead + len, n - lead - len, false) : space(s, n, true);
}

/* \p{N}{1,digits} */
static size_t match_number(const struct hs_split_pass *p, const char *s, size_t n, struct hs_split *walk)
{
	return run(s, n, N, p->digits);
}

/*
 * \w as Oniguruma has it, on which this expression's own tokeniser stands: alphabetic characters, marks, digits, connectors;
 * of Latin-1, which it keeps in a table of its own, also the superscript digits and the fractions.
 */
static bool in_word(struct at c)
{
	bool latin = c.cp == 0xb2 || c.cp == 0xb3 || c.cp == 0xb9 || (c.cp >= 0xbc && c.cp <= 0xbe);
	return c.bits & (L | M | U_GC_ND_MASK | U_GC_PC_MASK) || latin || u_hasBinaryProperty((UChar32)c.cp, UCHAR_ALPHABETIC);
}

/* \d{1,3}(?=(?:\d{3})*\b): digits in threes from the right, where no letter follows them */
static size_t match_thousands(const struct hs_split_pass *p, const char *s, size_t n, struct hs_split *walk)
{
	size_t at = (size_t)(s - walk->text);
	if (!(look(s, n).bits & U_GC_ND_MASK))
		return 0;
	if (walk->digits_end <= at) { /* once for each run: its length is counted once */
		size_t len = run(s, n, U_GC_ND_MASK, 0);
		walk->digits_begin = at;
		walk->digits_end = at + len;
		walk->digits_first = (unsigned)(hs_utf8_count(s, len) % 3);
	}
	size_t left = walk->digits_end - at;
	if (in_word(look(s + left, n - left)))
		return 0;
	return run(s, n, U_GC_ND_MASK, at == walk->digits_begin && walk->digits_first ? walk->digits_first : 3);
}

/* [0-9][0-9][0-9] */
static size_t match_three_digits(const struct hs_split_pass *p, const char *s, size_t n, struct hs_split *walk)
{
	bool three = n >= 3;
	for (size_t i = 0; three && i < 3; i++)
		three = s[i] >= '0' && s[i] <= '9';
	return three ? 3 : 0;
}

/* [\p{P}$+<=>^~|]+ */
static size_t match_signs(const struct hs_split_pass *p, const char *s, size_t n, struct hs_split *walk)
{
	size_t at = 0;
	for (struct at c; c = look(s + at, n - at), c.bits & P || (c.len == 1 && c.cp && strchr("$+<=>^~|", (int)c.cp));)
		at += c.len;
	return at;
}

/* [\r\n] */
static size_t match_line_end(const struct hs_split_pass *p, const char *s, size_t n, struct hs_split *walk)
{
	return s[0] == '\r' || s[0] == '\n';
}

static size_t after_space(const char *s, size_t n, uint32_t set)
{
	struct at first = look(s, n);
	size_t lead = first.bits & SPACE ? first.len : 0, len = run(s + lead, n - lead, set, 0);
	return len ? lead + len : 0;
}

/* \s?\p{L}+ */
static size_t match_letters(const struct hs_split_pass *p, const char *s, size_t n, struct hs_split *walk)
{
	return after_space(s, n, L);
}

/* \s?\p{P}+ */
static size_t match_punctuation(const struct hs_split_pass *p, const char *s, size_t n, struct hs_split *walk)
{
	return after_space(s, n, P);
}

/* [U+4E00-U+9FA5 U+3040-U+309F U+30A0-U+30FF]+: ideographs and kana */
static size_t match_kana(const struct hs_split_pass *p, const char *s, size_t n, struct hs_split *walk)
{
	size_t at = 0;
	for (struct at c; c = look(s + at, n - at), (c.cp >= 0x4e00 && c.cp <= 0x9fa5) || (c.cp >= 0x3040 && c.cp <= 0x30ff);)
		at += c.len;
	return at;
}

/* [U+4E00-U+9FA5 U+0800-U+4E00 U+AC00-U+D7FF]+, as DeepSeek's first vocabularies have it */
static size_t match_asian(const struct hs_split_pass *p, const char *s, size_t n, struct hs_split *walk)
{
	size_t at = 0;
	for (struct at c; c = look(s + at, n - at), (c.cp >= 0x800 && c.cp <= 0x9fa5) || (c.cp >= 0xac00 && c.cp <= 0xd7ff);)
		at += c.len;
	return at;
}

static const struct hs_split_pass gpt2[] = {{match_gpt2}};
static const struct hs_split_pass digits_gpt2[] = {{match_number, .digits = 1}, {match_gpt2}};
static const struct hs_split_pass qwen2[] = {{match_words, .digits = 1}};
static const struct hs_split_pass qwen35[] = {{match_words, .digits = 1, .marks = true}};
static const struct hs_split_pass llama3[] = {{match_words, .digits = 3}};
static const struct hs_split_pass gpt4o[] = {{match_words, .digits = 3, .cased = true, .slash = true}};
static const struct hs_split_pass tekken[] = {{match_words, .digits = 1, .cased = true, .no_contraction = true, .slash = true}};
static const struct hs_split_pass thousands[] = {{match_thousands}, {match_words, .digits = 3, .cased = true, .slash = true}};
static const struct hs_split_pass deepseek3[] = {{match_number, .digits = 3}, {match_kana}, {match_deepseek}};
static const struct hs_split_pass deepseek_coder[] = {
	{match_line_end}, {match_letters}, {match_punctuation}, {match_asian}, {match_number, .digits = 1}};
static const struct hs_split_pass plain[] = {{match_signs}, {match_gpt2}, {match_number}, {match_three_digits}};

/* clang-format off */
#define PASSES(passes) passes, HS_ARRAY_LEN(passes)
/* clang-format on */
static const struct hs_split_rule rules[] = {
	{"qwen2", PASSES(qwen2), .nfc = true},
	{"deepseek-r1-qwen", PASSES(qwen2), .nfc = true},
	{"qwen35", PASSES(qwen35), .nfc = true},
	{"llama-bpe", PASSES(llama3), .whole_first = true},
	{"llama3", PASSES(llama3), .whole_first = true},
	{"llama-v3", PASSES(llama3), .whole_first = true},
	{"lfm2", PASSES(llama3), .whole_first = true},
	{"gpt-4o", PASSES(gpt4o)},
	{"llama4", PASSES(gpt4o)},
	{"tekken", PASSES(tekken), .whole_first = true},
	{"cohere2moe", PASSES(thousands), .nfc = true},
	{"tiny_aya", PASSES(thousands), .nfc = true},
	{"command-r", PASSES(digits_gpt2), .nfc = true},
	{"starcoder", PASSES(digits_gpt2)},
	{"refact", PASSES(digits_gpt2)},
	{"deepseek-v3", PASSES(deepseek3)},
	{"deepseek-coder", PASSES(deepseek_coder)},
	{"gpt-2", PASSES(gpt2)},
	{"phi-2", PASSES(gpt2)},
	{"mpt", PASSES(gpt2), .nfc = true},
	{"olmo", PASSES(gpt2), .nfc = true},
	{"modern-bert", PASSES(gpt2), .nfc = true},
	{"default", PASSES(plain)},
};

const struct hs_split_rule *hs_split_at(size_t i)
{
	return i < HS_ARRAY_LEN(rules) ? &rules[i] : NULL;
}

const struct hs_split_rule *hs_split_find(const char *name, size_t n)
{
	for (size_t i = 0; i < HS_ARRAY_LEN(rules); i++)
		if (strlen(rules[i].name) == n && memcmp(rules[i].name, name, n) == 0)
			return &rules[i];
	return NULL;
}

void hs_split_begin(struct hs_split *s, const struct hs_split_rule *rule, const char *text, size_t n)
{
	*s = (struct hs_split){.rule = rule, .text = text};
	s->ends[0] = n;
}

/* What the pass matches at the piece's beginning, or else what lies before its next match. */
static size_t piece(const struct hs_split_pass *p, const char *s, size_t n, struct hs_split *walk)
{
	size_t len = p->match(p, s, n, walk), at = 0;
	while (len == 0 && at < n) {
		at += look(s + at, n - at).len;
		len = at < n ? p->match(p, s + at, n - at, walk) : n;
	}
	return at ? at : len;
}

size_t hs_split_next(struct hs_split *s)
{
	unsigned n = s->rule->n_passes, level = n;
	while (level > 0 && s->ends[level] <= s->at)
		level--;
	if (s->ends[0] <= s->at)
		return 0;
	for (; level < n; level++) {
		size_t len = piece(&s->rule->passes[level], s->text + s->at, s->ends[level] - s->at, s);
		s->ends[level + 1] = s->at + len;
	}
	size_t len = s->ends[n] - s->at;
	s->at += len;
	return len;
}
