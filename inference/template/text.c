#include <errno.h>
#include <string.h>

#include <unicode/uchar.h>
#include <unicode/ustring.h>

#include "base/utf8.h"
#include "inference/template/lex.h"
#include "inference/template/value.h"

/* --- building --- */

static bool put_run(struct hs_render *r, struct hs_tbuilder *b, uint16_t source)
{
	if (b->n_runs && b->runs[b->n_runs - 1].source == source) {
		b->runs[b->n_runs - 1].end = b->len;
		return true;
	}
	if (b->n_runs == b->cap_runs) {
		size_t cap = b->cap_runs ? b->cap_runs * 2 : 8;
		struct hs_template_run *more = hs_t_alloc(r, cap, sizeof *more);
		if (!more)
			return false;
		if (b->n_runs)
			memcpy(more, b->runs, b->n_runs * sizeof *more);
		b->runs = more;
		b->cap_runs = cap;
	}
	b->runs[b->n_runs++] = (struct hs_template_run){b->len, source};
	return true;
}

void hs_tb_put(struct hs_render *r, struct hs_tbuilder *b, const char *s, size_t n, uint16_t source)
{
	if (n == 0 || !hs_t_step(r, 1 + n / 64))
		return;
	if (n > HS_TEMPLATE_OUTPUT_MAX - b->len) {
		hs_t_limit(r, "HS_TEMPLATE_OUTPUT_MAX");
		return;
	}
	if (n > b->cap - b->len) {
		size_t cap = HS_MAX(b->len + n, HS_MIN(b->cap * 2, HS_TEMPLATE_OUTPUT_MAX));
		cap = HS_MAX(cap, 64u);
		char *more = hs_t_alloc(r, cap, 1);
		if (!more)
			return;
		if (b->len)
			memcpy(more, b->s, b->len);
		b->s = more;
		b->cap = cap;
	}
	memcpy(b->s + b->len, s, n);
	b->len += n;
	if (!put_run(r, b, source))
		b->len -= n;
}

/* The run that holds the byte at `at`, of a text that has runs; the last one for what lies past the end. */
static size_t run_at(const struct hs_ttext *t, size_t at)
{
	size_t low = 0, high = t->n_runs - 1;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (t->runs[middle].end <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void hs_tb_put_slice(struct hs_render *r, struct hs_tbuilder *b, const struct hs_ttext *t, size_t from, size_t to)
{
	if (!t->n_runs) {
		hs_tb_put(r, b, t->s + from, to - from, t->source);
		return;
	}
	for (size_t i = run_at(t, from); i < t->n_runs && from < to && hs_t_step(r, 1); i++) {
		size_t end = HS_MIN(t->runs[i].end, to);
		hs_tb_put(r, b, t->s + from, end - from, t->runs[i].source);
		from = end;
	}
}

void hs_tb_put_text(struct hs_render *r, struct hs_tbuilder *b, const struct hs_ttext *t)
{
	hs_tb_put_slice(r, b, t, 0, t->len);
}

static const struct hs_ttext empty = {.s = ""};

const struct hs_ttext *hs_tb_text(struct hs_render *r, const struct hs_tbuilder *b)
{
	struct hs_ttext *t = b->len ? hs_t_alloc(r, 1, sizeof *t) : NULL;
	if (!t)
		return &empty;
	*t = (struct hs_ttext){.s = b->s, .len = b->len};
	if (b->n_runs == 1) {
		t->source = b->runs[0].source;
	} else {
		t->runs = b->runs;
		t->n_runs = b->n_runs;
	}
	return t;
}

struct hs_tvalue hs_tt_value(const struct hs_ttext *t)
{
	return (struct hs_tvalue){.kind = HS_T_TEXT, .text = t};
}

struct hs_tvalue hs_tb_value(struct hs_render *r, const struct hs_tbuilder *b)
{
	return hs_tt_value(hs_tb_text(r, b));
}

struct hs_tvalue hs_tt_own(struct hs_render *r, const char *s)
{
	struct hs_ttext *t = hs_t_alloc(r, 1, sizeof *t);
	if (!t)
		return hs_tt_value(&empty);
	t->s = s;
	t->len = strlen(s);
	return hs_tt_value(t);
}

/* --- looking --- */

uint16_t hs_tt_source_at(const struct hs_ttext *t, size_t at)
{
	return t->n_runs ? t->runs[run_at(t, at)].source : t->source;
}

const struct hs_ttext *hs_tt_slice(struct hs_render *r, const struct hs_ttext *t, size_t from, size_t to)
{
	if (from == 0 && to == t->len)
		return t;
	struct hs_ttext *out = from < to ? hs_t_alloc(r, 1, sizeof *out) : NULL;
	if (!out)
		return &empty;
	*out = (struct hs_ttext){.s = t->s + from, .len = to - from, .source = t->source, .markup = t->markup};
	if (!t->n_runs)
		return out;
	size_t first = run_at(t, from), last = run_at(t, to - 1);
	if (first == last) {
		out->source = t->runs[first].source;
		return out;
	}
	struct hs_template_run *runs = hs_t_step(r, last - first) ? hs_t_alloc(r, last - first + 1, sizeof *runs) : NULL;
	if (!runs)
		return &empty;
	for (size_t i = first; i <= last; i++)
		runs[i - first] = (struct hs_template_run){HS_MIN(t->runs[i].end, to) - from, t->runs[i].source};
	out->runs = runs;
	out->n_runs = last - first + 1;
	return out;
}

struct hs_tvalue hs_tt_slice_value(struct hs_render *r, const struct hs_ttext *t, size_t from, size_t to)
{
	return hs_tt_value(hs_tt_slice(r, t, from, to));
}

bool hs_tt_is(const struct hs_ttext *t, const char *s)
{
	return t->len == strlen(s) && memcmp(t->s, s, t->len) == 0;
}

bool hs_tt_equal(const struct hs_ttext *a, const struct hs_ttext *b)
{
	return a->len == b->len && memcmp(a->s, b->s, a->len) == 0;
}

int hs_tt_compare(const struct hs_ttext *a, const struct hs_ttext *b)
{
	int c = memcmp(a->s, b->s, HS_MIN(a->len, b->len)); /* UTF-8 sorts as its code points do */
	return c ? c : (a->len > b->len) - (a->len < b->len);
}

size_t hs_tt_find(struct hs_render *r, const struct hs_ttext *hay, size_t from, size_t to, const struct hs_ttext *needle)
{
	if (from > to || !hs_t_step(r, 1 + (to - from) / 64) || needle->len > to - from)
		return SIZE_MAX;
	if (needle->len == 0)
		return from;
	const char *at = memmem(hay->s + from, to - from, needle->s, needle->len);
	return at ? (size_t)(at - hay->s) : SIZE_MAX;
}

size_t hs_tt_find_last(struct hs_render *r, const struct hs_ttext *hay, size_t from, size_t to, const struct hs_ttext *needle)
{
	if (from > to || needle->len > to - from)
		return SIZE_MAX;
	for (size_t at = to - needle->len + 1; at-- > from && hs_t_step(r, 1 + needle->len / 64);)
		if (memcmp(hay->s + at, needle->s, needle->len) == 0)
			return at;
	return SIZE_MAX;
}

size_t hs_tt_chars(struct hs_render *r, const struct hs_ttext *t)
{
	return hs_t_step(r, 1 + t->len / 64) ? hs_utf8_count(t->s, t->len) : 0;
}

size_t hs_tt_offset(const struct hs_ttext *t, size_t chars)
{
	size_t at = 0;
	while (at < t->len && chars--)
		for (at++; at < t->len && ((uint8_t)t->s[at] & 0xc0) == 0x80;)
			at++;
	return at;
}

/* --- changing --- */

static bool strips(const struct hs_ttext *chars, const char *s, size_t len, uint32_t cp)
{
	return chars ? memmem(chars->s, chars->len, s, len) != NULL : hs_t_is_space(cp);
}

struct hs_tvalue hs_tt_strip(struct hs_render *r, const struct hs_ttext *t, const struct hs_ttext *chars, bool left, bool right)
{
	size_t from = 0, to = t->len, len;
	uint32_t cp;
	size_t cost = chars ? 1 + chars->len / 64 : 1;
	while (left && from < to && hs_t_step(r, cost) && (len = hs_utf8_decode(t->s + from, to - from, &cp)) &&
	       strips(chars, t->s + from, len, cp))
		from += len;
	while (right && to > from && hs_t_step(r, cost)) {
		size_t begin = to - 1;
		while (begin > from && ((uint8_t)t->s[begin] & 0xc0) == 0x80)
			begin--;
		if (!hs_utf8_decode(t->s + begin, to - begin, &cp) || !strips(chars, t->s + begin, to - begin, cp))
			break;
		to = begin;
	}
	return hs_tt_slice_value(r, t, from, to);
}

struct hs_tvalue hs_tt_replace(struct hs_render *r, const struct hs_ttext *t, const struct hs_ttext *old,
			       const struct hs_ttext *new, int64_t most)
{
	struct hs_tbuilder b = {0};
	size_t at = 0;
	while (most != 0 && hs_t_step(r, 1)) {
		size_t found = hs_tt_find(r, t, at, t->len, old);
		if (found == SIZE_MAX)
			break;
		hs_tb_put_slice(r, &b, t, at, found);
		hs_tb_put_text(r, &b, new);
		most -= most > 0;
		at = found + old->len;
		if (old->len)
			continue;
		if (at >= t->len) /* an empty one stands before each character and at the end */
			return hs_tb_value(r, &b);
		size_t next = at + hs_utf8_decode(t->s + at, t->len - at, &(uint32_t){0});
		hs_tb_put_slice(r, &b, t, at, next);
		at = next;
	}
	hs_tb_put_slice(r, &b, t, at, t->len);
	return hs_tb_value(r, &b);
}

/* One character in another case; some become several. */
static void put_cased(struct hs_render *r, struct hs_tbuilder *b, uint32_t cp, int to, uint16_t source)
{
	UChar units[2], cased[8];
	char out[4];
	UErrorCode status = U_ZERO_ERROR;
	int32_t n = 0, made = 0;
	U16_APPEND_UNSAFE(units, n, cp);
	if (to > 0)
		made = u_strToUpper(cased, 8, units, n, "", &status);
	else if (to < 0)
		made = u_strToLower(cased, 8, units, n, "", &status);
	if (to == 0 || U_FAILURE(status)) {
		hs_tb_put(r, b, out, hs_utf8_encode(cp, out), source);
		return;
	}
	for (int32_t at = 0; at < made;) {
		UChar32 c;
		U16_NEXT(cased, at, made, c);
		hs_tb_put(r, b, out, hs_utf8_encode((uint32_t)c, out), source);
	}
}

/* A word of HS_TCASE_WORDS begins behind one of these: the `title` filter's own rule. */
static bool begins_word(uint32_t cp)
{
	return hs_t_is_space(cp) || cp == '-' || cp == '(' || cp == '{' || cp == '[' || cp == '<';
}

struct hs_tvalue hs_tt_case(struct hs_render *r, const struct hs_ttext *t, enum hs_tcase how)
{
	struct hs_tbuilder b = {0};
	uint32_t cp, before = ' ';
	bool first = true;
	for (size_t at = 0, len; at < t->len && hs_t_step(r, 1); at += len, before = cp, first = false) {
		if (!(len = hs_utf8_decode(t->s + at, t->len - at, &cp)))
			break;
		bool up = how == HS_TCASE_UPPER || (how == HS_TCASE_CAPITALIZE && first) ||
			  (how == HS_TCASE_TITLE && !u_isalpha((UChar32)before)) ||
			  (how == HS_TCASE_WORDS && begins_word(before));
		put_cased(r, &b, cp, up ? 1 : -1, hs_tt_source_at(t, at));
	}
	return hs_tb_value(r, &b);
}

static bool ends_line(uint32_t cp)
{
	return (cp >= '\n' && cp <= '\r') || (cp >= 0x1c && cp <= 0x1e) || cp == 0x85 || cp == 0x2028 || cp == 0x2029;
}

struct hs_tlist *hs_tt_lines(struct hs_render *r, const struct hs_ttext *t, bool keep_ends)
{
	struct hs_tlist *out = hs_t_list(r);
	size_t from = 0;
	uint32_t cp;
	for (size_t at = 0, len; out && at < t->len && hs_t_step(r, 1); at += len) {
		if (!(len = hs_utf8_decode(t->s + at, t->len - at, &cp)))
			break;
		if (!ends_line(cp))
			continue;
		if (cp == '\r' && at + 1 < t->len && t->s[at + 1] == '\n')
			len = 2;
		hs_t_push(r, out, hs_tt_slice_value(r, t, from, keep_ends ? at + len : at));
		from = at + len;
	}
	if (out && from < t->len)
		hs_t_push(r, out, hs_tt_slice_value(r, t, from, t->len));
	return out;
}

const struct hs_ttext *hs_tt_escape(struct hs_render *r, const struct hs_ttext *t)
{
	static const struct {
		char c;
		const char *text;
	} table[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&#34;"}, {'\'', "&#39;"}};
	struct hs_tbuilder b = {0};
	size_t from = 0;
	if (t->markup)
		return t;
	for (size_t at = 0; at < t->len && r->rc == 0; at++) {
		for (size_t i = 0; i < HS_ARRAY_LEN(table); i++) {
			if (t->s[at] != table[i].c)
				continue;
			hs_tb_put_slice(r, &b, t, from, at);
			hs_tb_put(r, &b, table[i].text, strlen(table[i].text), hs_tt_source_at(t, at));
			from = at + 1;
		}
	}
	hs_tb_put_slice(r, &b, t, from, t->len);
	return hs_tb_text(r, &b);
}
