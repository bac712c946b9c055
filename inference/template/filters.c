/* Filters of texts and numbers; those of sequences are in sequences.c. */
#include "inference/template/filters.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "inference/template/lex.h"

static struct hs_tvalue lower(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return hs_tt_case(r, hs_t_str(r, &c->self), HS_TCASE_LOWER);
}

static struct hs_tvalue upper(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return hs_tt_case(r, hs_t_str(r, &c->self), HS_TCASE_UPPER);
}

static struct hs_tvalue title(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return hs_tt_case(r, hs_t_str(r, &c->self), HS_TCASE_WORDS);
}

static struct hs_tvalue capitalize(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return hs_tt_case(r, hs_t_str(r, &c->self), HS_TCASE_CAPITALIZE);
}

static struct hs_tvalue trim(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	const struct hs_ttext *chars = HS_TGIVEN(a[0]) && a[0].kind != HS_T_NONE ? hs_t_str(r, &a[0]) : NULL;
	return hs_tt_strip(r, hs_t_str(r, &c->self), chars, true, true);
}

static struct hs_tvalue replace(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	if (!HS_TGIVEN(a[0]) || !HS_TGIVEN(a[1]))
		return hs_t_fail(r, "replace wants two strings");
	return hs_tt_replace(r, hs_t_str(r, &c->self), hs_t_str(r, &a[0]), hs_t_str(r, &a[1]), hs_t_whole_arg(r, &a[2], -1));
}

/* Without its end, of one or two characters. */
static size_t line_len(const struct hs_ttext *line)
{
	static const char *const ends[] = {"\r\n", "\n",   "\r",       "\v",           "\f",          "\x1c",
					   "\x1d", "\x1e", "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"};
	for (size_t i = 0; i < HS_ARRAY_LEN(ends); i++) {
		size_t n = strlen(ends[i]);
		if (line->len >= n && memcmp(line->s + line->len - n, ends[i], n) == 0)
			return line->len - n;
	}
	return line->len;
}

static struct hs_tvalue indent(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	const struct hs_ttext *t = hs_t_str(r, &c->self);
	struct hs_tbuilder b = {0}, by = {0};
	if (a[0].kind == HS_T_TEXT)
		hs_tb_put_text(r, &by, a[0].text);
	else
		for (int64_t n = hs_t_whole_arg(r, &a[0], 4); n > 0 && hs_t_step(r, 1); n--)
			hs_tb_put(r, &by, " ", 1, 0);
	const struct hs_ttext *width = hs_tb_text(r, &by);
	const struct hs_tlist *lines = hs_tt_lines(r, t, true);
	bool open = true; /* a line begins here, be it the empty one after the last end */
	for (size_t i = 0; lines && i < lines->n && r->rc == 0; i++) {
		const struct hs_ttext *line = lines->v[i].text;
		size_t len = line_len(line);
		if (i == 0 ? hs_t_truth(&a[1]) : len > 0 || hs_t_truth(&a[2]))
			hs_tb_put_text(r, &b, width);
		hs_tb_put_slice(r, &b, line, 0, len);
		if ((open = len < line->len))
			hs_tb_put(r, &b, "\n", 1, hs_tt_source_at(line, len));
	}
	if (open && lines && (lines->n ? hs_t_truth(&a[2]) : hs_t_truth(&a[1])))
		hs_tb_put_text(r, &b, width);
	return hs_tb_value(r, &b);
}

static struct hs_tvalue string(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return hs_tt_value(hs_t_str(r, &c->self));
}

static struct hs_tvalue marked(struct hs_render *r, const struct hs_ttext *t)
{
	struct hs_ttext *out = hs_t_alloc(r, 1, sizeof *out);
	if (!out)
		return HS_TUNDEFINED;
	*out = *t;
	out->markup = true;
	return hs_tt_value(out);
}

static struct hs_tvalue safe(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return marked(r, hs_t_str(r, &c->self));
}

static struct hs_tvalue escape(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return marked(r, hs_tt_escape(r, hs_t_str(r, &c->self)));
}

static struct hs_tvalue format(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	struct hs_tlist *args = hs_t_list(r);
	if (c->n_named)
		return hs_t_fail(r, "format by names is not supported");
	for (size_t i = 0; args && i < c->n; i++)
		hs_t_push(r, args, c->args[i]);
	if (!args)
		return HS_TUNDEFINED;
	args->tuple = true;
	const struct hs_tvalue tuple = hs_t_list_value(args);
	return hs_t_percent(r, hs_t_str(r, &c->self), &tuple);
}

static struct hs_tvalue wordcount(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	const struct hs_ttext *t = hs_t_str(r, &c->self);
	bool space = true;
	int64_t n = 0;
	uint32_t cp;
	for (size_t at = 0, len; at < t->len && hs_t_step(r, at % 64 == 0); at += len) {
		if (!(len = hs_utf8_decode(t->s + at, t->len - at, &cp)))
			break;
		n += space && !hs_t_is_space(cp);
		space = hs_t_is_space(cp);
	}
	return hs_t_int(n, 0);
}

/* --- JSON --- */

/* HF's, not Jinja2's own: ensure_ascii=False, and nothing is escaped for HTML. */
static struct hs_tvalue tojson(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	static const struct hs_ttext comma = {.s = ", ", .len = 2}, narrow = {.s = ",", .len = 1}, colon = {.s = ": ", .len = 2};
	struct hs_tjson how = {.ascii = hs_t_truth(&a[0]), .sort = hs_t_truth(&a[3]), .item_end = &comma, .key_end = &colon};
	struct hs_tbuilder b = {0}, indent_by = {0};
	if (a[1].kind == HS_T_TEXT) {
		how.indent = a[1].text;
	} else if (HS_TGIVEN(a[1]) && a[1].kind != HS_T_NONE) {
		for (int64_t n = hs_t_whole_arg(r, &a[1], 0); n > 0 && hs_t_step(r, 1); n--)
			hs_tb_put(r, &indent_by, " ", 1, 0);
		how.indent = hs_tb_text(r, &indent_by);
	}
	if (how.indent)
		how.item_end = &narrow;
	if (a[2].kind == HS_T_LIST && a[2].list->n == 2 && a[2].list->v[0].kind == HS_T_TEXT &&
	    a[2].list->v[1].kind == HS_T_TEXT) {
		how.item_end = a[2].list->v[0].text;
		how.key_end = a[2].list->v[1].text;
	} else if (HS_TGIVEN(a[2]) && a[2].kind != HS_T_NONE) {
		return hs_t_fail(r, "tojson's separators are two strings");
	}
	hs_t_put_json(r, &b, &c->self, &how, 0);
	return hs_tb_value(r, &b);
}

/* --- numbers --- */

/* A text as Python's int() or float() reads it: white space around it and single underscores within are allowed. */
static bool take_digits(const struct hs_ttext *t, char *out, size_t cap)
{
	size_t from = 0, to = t->len, len = 0;
	while (from < to && strchr(" \t\n\r\f\v", t->s[from]) && t->s[from])
		from++;
	while (to > from && strchr(" \t\n\r\f\v", t->s[to - 1]) && t->s[to - 1])
		to--;
	for (; from < to; from++) {
		if (t->s[from] == '_' && len && to - from > 1 && t->s[from - 1] != '_')
			continue;
		if (len == cap - 1 || !strchr("+-0123456789.eEinfatyINFATYxXabcdABCD", t->s[from]) || !t->s[from])
			return false;
		out[len++] = t->s[from];
	}
	out[len] = '\0';
	return len > 0;
}

static bool read_float(const struct hs_ttext *t, double *ret)
{
	char text[128], *end;
	if (!take_digits(t, text, sizeof text) || strpbrk(text, "xX"))
		return false;
	*ret = strtod(text, &end);
	return *end == '\0';
}

static bool read_int(const struct hs_ttext *t, int base, int64_t *ret)
{
	char text[128], *end;
	if (!take_digits(t, text, sizeof text))
		return false;
	errno = 0;
	*ret = strtoll(text, &end, base);
	return *end == '\0' && errno == 0;
}

static struct hs_tvalue to_int(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	const struct hs_tvalue otherwise = HS_TGIVEN(a[0]) ? a[0] : hs_t_int(0, 0);
	int64_t i = 0, base = hs_t_whole_arg(r, &a[1], 10);
	double d = 0;
	if (base != 0 && (base < 2 || base > 36))
		return hs_t_fail(r, "int knows the bases 0 and 2 to 36");
	if (c->self.kind == HS_T_TEXT) {
		const struct hs_ttext *t = c->self.text;
		uint16_t source = t->len ? hs_tt_source_at(t, 0) : 0;
		if (read_int(t, (int)base, &i))
			return hs_t_int(i, source);
		return read_float(t, &d) && fabs(d) < 9e18 ? hs_t_int((int64_t)d, source) : otherwise;
	}
	if (hs_t_whole(&c->self, &i))
		return hs_t_int(i, c->self.kind == HS_T_INT ? c->self.source : 0);
	if (c->self.kind == HS_T_UNDEFINED) /* Python's int() of it fails, and not in a way that the filter catches */
		return hs_t_fail(r, "something undefined is no integer");
	return c->self.kind == HS_T_FLOAT && fabs(c->self.d) < 9e18 ? hs_t_int((int64_t)c->self.d, c->self.source) : otherwise;
}

static struct hs_tvalue to_float(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	double d = 0;
	if (c->self.kind == HS_T_TEXT && read_float(c->self.text, &d))
		return hs_t_float(d, hs_tt_source_at(c->self.text, 0));
	if (hs_t_is_number(&c->self))
		return hs_t_float(hs_t_number(&c->self), c->self.kind == HS_T_BOOL ? 0 : c->self.source);
	if (c->self.kind == HS_T_UNDEFINED)
		return hs_t_fail(r, "something undefined is no number");
	return HS_TGIVEN(a[0]) ? a[0] : hs_t_float(0, 0);
}

static struct hs_tvalue absolute(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	int64_t i;
	if (hs_t_whole(&c->self, &i))
		return i == INT64_MIN ? hs_t_fail(r, "a number is too large") : hs_t_int(i < 0 ? -i : i, c->self.source);
	return c->self.kind == HS_T_FLOAT ? hs_t_float(fabs(c->self.d), c->self.source)
					  : hs_t_fail(r, "%s has no absolute value", hs_t_kind_name(&c->self));
}

static struct hs_tvalue round_to(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	char out[400];
	int64_t places = hs_t_whole_arg(r, &a[0], 0), i;
	if (!hs_t_is_number(&c->self))
		return hs_t_fail(r, "%s cannot be rounded", hs_t_kind_name(&c->self));
	if (places < 0 || places > 30)
		return hs_t_fail(r, "round knows 0 to 30 places");
	bool common = !HS_TGIVEN(a[1]) || (a[1].kind == HS_T_TEXT && hs_tt_is(a[1].text, "common"));
	if (common) {
		if (hs_t_whole(&c->self, &i))
			return hs_t_int(i, c->self.kind == HS_T_INT ? c->self.source : 0);
		(void)snprintf(out, sizeof out, "%.*f", (int)places, c->self.d); /* fits: 309 digits and 30 places */
		return hs_t_float(strtod(out, NULL), c->self.source);
	}
	double by = pow(10, (double)places), d = hs_t_number(&c->self) * by;
	if (a[1].kind == HS_T_TEXT && hs_tt_is(a[1].text, "ceil"))
		return hs_t_float(ceil(d) / by, c->self.source);
	if (a[1].kind == HS_T_TEXT && hs_tt_is(a[1].text, "floor"))
		return hs_t_float(floor(d) / by, c->self.source);
	return hs_t_fail(r, "round knows common, ceil and floor");
}

static struct hs_tvalue or_default(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	if (c->self.kind != HS_T_UNDEFINED && (!hs_t_truth(&a[1]) || hs_t_truth(&c->self)))
		return c->self;
	return HS_TGIVEN(a[0]) ? a[0] : hs_tt_own(r, "");
}

static struct hs_tvalue attribute(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	if (a[0].kind != HS_T_TEXT)
		return hs_t_fail(r, "attr wants a name");
	if (c->self.kind == HS_T_UNDEFINED) /* the name may be a text that was given in: no error quotes it */
		return hs_t_fail(r, "something undefined has no attributes");
	if (c->self.kind == HS_T_DICT) /* an attribute, not an item */
		return HS_TUNDEFINED;
	return hs_t_attribute(r, &c->self, a[0].text->s, a[0].text->len);
}

static const struct hs_tcallable filters[] = {
    {"lower", "", lower},
    {"upper", "", upper},
    {"title", "", title},
    {"capitalize", "", capitalize},
    {"trim", "chars", trim},
    {"replace", "old,new,count", replace},
    {"indent", "width,first,blank", indent},
    {"string", "", string},
    {"safe", "", safe},
    {"escape", "", escape},
    {"e", "", escape},
    {"format", "*", format},
    {"wordcount", "", wordcount},
    {"tojson", "ensure_ascii,indent,separators,sort_keys", tojson},
    {"int", "default,base", to_int},
    {"float", "default", to_float},
    {"abs", "", absolute},
    {"round", "precision,method", round_to},
    {"default", "default_value,boolean", or_default},
    {"d", "default_value,boolean", or_default},
    {"attr", "name", attribute},
};

const struct hs_tcallable *hs_t_filter(const char *s, size_t n)
{
	for (size_t i = 0; i < HS_ARRAY_LEN(filters); i++)
		if (strlen(filters[i].name) == n && memcmp(filters[i].name, s, n) == 0)
			return &filters[i];
	return hs_t_sequence_filter(s, n);
}
