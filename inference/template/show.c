/* Values as text: Python's str() and repr(), and JSON as its json.dumps writes it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <unicode/uchar.h>

#include "base/utf8.h"
#include "inference/template/value.h"

static void put_own(struct hs_render *r, struct hs_tbuilder *b, const char *s)
{
	hs_tb_put(r, b, s, strlen(s), 0);
}

/* The shortest digits that read back as the same number, laid out as Python does. */
void hs_t_put_float(struct hs_render *r, struct hs_tbuilder *b, double d, uint16_t source)
{
	char digits[40], out[400];
	int precision = 0;
	if (!isfinite(d)) {
		put_own(r, b, isnan(d) ? "nan" : d > 0 ? "inf" : "-inf");
		return;
	}
	do
		(void)snprintf(digits, sizeof digits, "%.*e", precision, d); /* fits */
	while (strtod(digits, NULL) != d && ++precision < 17);
	int exponent = (int)strtol(strchr(digits, 'e') + 1, NULL, 10);
	if (exponent >= -4 && exponent < 16) {
		(void)snprintf(out, sizeof out, "%.*f", HS_MAX(precision - exponent, 0), d); /* fits */
		if (!strchr(out, '.'))
			strncat(out, ".0", sizeof out - strlen(out) - 1);
	} else {
		(void)snprintf(out, sizeof out, "%s", digits); /* fits */
	}
	hs_tb_put(r, b, out, strlen(out), source);
}

static void put_int(struct hs_render *r, struct hs_tbuilder *b, const struct hs_tvalue *v)
{
	char out[24];
	int n = snprintf(out, sizeof out, "%lld", (long long)v->i);
	hs_tb_put(r, b, out, (size_t)n, v->source);
}

static bool is_printable(uint32_t cp)
{
	switch (u_charType((UChar32)cp)) {
	case U_UNASSIGNED:
	case U_CONTROL_CHAR:
	case U_FORMAT_CHAR:
	case U_PRIVATE_USE_CHAR:
	case U_SURROGATE:
	case U_LINE_SEPARATOR:
	case U_PARAGRAPH_SEPARATOR:
		return false;
	case U_SPACE_SEPARATOR:
		return cp == ' ';
	default:
		return true;
	}
}

static void put_escape(struct hs_render *r, struct hs_tbuilder *b, uint32_t cp, uint16_t source, bool python)
{
	char out[16];
	int n = 0;
	if (python && cp < 0x100)
		n = snprintf(out, sizeof out, "\\x%02x", cp);
	else if (python && cp > 0xffff)
		n = snprintf(out, sizeof out, "\\U%08x", cp);
	else if (cp > 0xffff)
		n = snprintf(out, sizeof out, "\\u%04x\\u%04x", 0xd7c0 + (cp >> 10), 0xdc00 + (cp & 0x3ff));
	else
		n = snprintf(out, sizeof out, "\\u%04x", cp);
	hs_tb_put(r, b, out, (size_t)n, source);
}

/* Quotes are ours, what stands between them keeps its source. python: repr(), else JSON. */
static void put_quoted(struct hs_render *r, struct hs_tbuilder *b, const struct hs_ttext *t, bool python, bool ascii)
{
	char quote = !python || (memchr(t->s, '\'', t->len) && !memchr(t->s, '"', t->len)) ? '"' : '\'';
	size_t from = 0, len;
	uint32_t cp;
	hs_tb_put(r, b, &quote, 1, 0);
	for (size_t at = 0; at < t->len && hs_t_step(r, at % 64 == 0); at += len) {
		static const char short_ones[][2] = {{'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}, {'\b', 'b'}, {'\f', 'f'}};
		if (!(len = hs_utf8_decode(t->s + at, t->len - at, &cp)))
			break;
		char escape[2] = {'\\', cp == '\\' || cp == (uint32_t)quote ? (char)cp : '\0'};
		for (size_t i = 0; i < (python ? 3 : HS_ARRAY_LEN(short_ones)); i++)
			escape[1] = cp == (uint32_t)short_ones[i][0] ? short_ones[i][1] : escape[1];
		bool whole = escape[1] == '\0' && (python ? !is_printable(cp) : cp < 0x20 || (ascii && cp > 0x7e));
		if (!escape[1] && !whole)
			continue;
		hs_tb_put_slice(r, b, t, from, at);
		if (whole)
			put_escape(r, b, cp, hs_tt_source_at(t, at), python);
		else
			hs_tb_put(r, b, escape, 2, hs_tt_source_at(t, at));
		from = at + len;
	}
	hs_tb_put_slice(r, b, t, from, t->len);
	hs_tb_put(r, b, &quote, 1, 0);
}

static void put_pairs(struct hs_render *r, struct hs_tbuilder *b, const struct hs_tdict *d)
{
	put_own(r, b, "{");
	for (size_t i = 0; i < d->n && r->rc == 0; i++) {
		put_own(r, b, i ? ", " : "");
		hs_t_put_repr(r, b, &d->v[i].key);
		put_own(r, b, ": ");
		hs_t_put_repr(r, b, &d->v[i].value);
	}
	put_own(r, b, "}");
}

static void put_elements(struct hs_render *r, struct hs_tbuilder *b, const struct hs_tlist *l)
{
	if (l->lazy || l->range) { /* an address or a formula, which no template means to write */
		hs_t_fail(r, "an iterator cannot be written: it takes |list");
		return;
	}
	put_own(r, b, l->tuple ? "(" : "[");
	for (size_t i = 0; i < l->n && r->rc == 0; i++) {
		put_own(r, b, i ? ", " : "");
		hs_t_put_repr(r, b, &l->v[i]);
	}
	put_own(r, b, !l->tuple ? "]" : l->n == 1 ? ",)" : ")");
}

void hs_t_put_repr(struct hs_render *r, struct hs_tbuilder *b, const struct hs_tvalue *v)
{
	if (!hs_t_enter(r))
		return;
	switch (v->kind) {
	case HS_T_UNDEFINED:
		put_own(r, b, "Undefined");
		break;
	case HS_T_NONE:
		put_own(r, b, "None");
		break;
	case HS_T_BOOL:
		put_own(r, b, v->b ? "True" : "False");
		break;
	case HS_T_INT:
		put_int(r, b, v);
		break;
	case HS_T_FLOAT:
		hs_t_put_float(r, b, v->d, v->source);
		break;
	case HS_T_TEXT:
		put_quoted(r, b, v->text, true, false);
		break;
	case HS_T_LIST:
		put_elements(r, b, v->list);
		break;
	case HS_T_DICT:
		put_pairs(r, b, v->dict);
		break;
	default:
		hs_t_fail(r, "%s cannot be written", hs_t_kind_name(v));
	}
	hs_t_leave(r);
}

void hs_t_put_str(struct hs_render *r, struct hs_tbuilder *b, const struct hs_tvalue *v)
{
	if (v->kind == HS_T_TEXT)
		hs_tb_put_text(r, b, v->text);
	else if (v->kind != HS_T_UNDEFINED)
		hs_t_put_repr(r, b, v);
}

const struct hs_ttext *hs_t_str(struct hs_render *r, const struct hs_tvalue *v)
{
	struct hs_tbuilder b = {0};
	if (v->kind == HS_T_TEXT)
		return v->text;
	hs_t_put_str(r, &b, v);
	return hs_tb_text(r, &b);
}

/* --- JSON --- */

static void put_line(struct hs_render *r, struct hs_tbuilder *b, const struct hs_tjson *how, unsigned level)
{
	if (!how->indent)
		return;
	put_own(r, b, "\n");
	for (unsigned i = 0; i < level && r->rc == 0; i++)
		hs_tb_put_text(r, b, how->indent);
}

static void put_json_key(struct hs_render *r, struct hs_tbuilder *b, const struct hs_tvalue *key, const struct hs_tjson *how)
{
	struct hs_tbuilder text = {0};
	if (key->kind == HS_T_TEXT) {
		put_quoted(r, b, key->text, false, how->ascii);
		return;
	}
	if (key->kind == HS_T_LIST) {
		hs_t_fail(r, "a tuple cannot be a key in JSON");
		return;
	}
	hs_t_put_json(r, &text, key, how, 0);
	put_quoted(r, b, hs_tb_text(r, &text), false, how->ascii);
}

static void put_json_dict(struct hs_render *r, struct hs_tbuilder *b, const struct hs_tdict *d, const struct hs_tjson *how,
			  unsigned level)
{
	struct hs_tvalue *order = d->n ? hs_t_alloc(r, d->n, sizeof *order) : NULL;
	struct hs_tvalue *keys = d->n ? hs_t_alloc(r, d->n, sizeof *keys) : NULL;
	for (size_t i = 0; order && keys && i < d->n; i++) {
		order[i] = hs_t_int((int64_t)i, 0);
		keys[i] = d->v[i].key;
	}
	if (how->sort && keys)
		hs_t_sort(r, order, keys, d->n, false);
	put_own(r, b, "{");
	for (size_t i = 0; i < d->n && r->rc == 0; i++) {
		const struct hs_tpair *pair = &d->v[order[i].i];
		if (i)
			hs_tb_put_text(r, b, how->item_end);
		put_line(r, b, how, level + 1);
		put_json_key(r, b, &pair->key, how);
		hs_tb_put_text(r, b, how->key_end);
		hs_t_put_json(r, b, &pair->value, how, level + 1);
	}
	if (d->n)
		put_line(r, b, how, level);
	put_own(r, b, "}");
}

static void put_json_list(struct hs_render *r, struct hs_tbuilder *b, const struct hs_tlist *l, const struct hs_tjson *how,
			  unsigned level)
{
	if (l->lazy || l->range) {
		hs_t_fail(r, "an iterator cannot be written as JSON: it takes |list");
		return;
	}
	put_own(r, b, "[");
	for (size_t i = 0; i < l->n && r->rc == 0; i++) {
		if (i)
			hs_tb_put_text(r, b, how->item_end);
		put_line(r, b, how, level + 1);
		hs_t_put_json(r, b, &l->v[i], how, level + 1);
	}
	if (l->n)
		put_line(r, b, how, level);
	put_own(r, b, "]");
}

void hs_t_put_json(struct hs_render *r, struct hs_tbuilder *b, const struct hs_tvalue *v, const struct hs_tjson *how,
		   unsigned level)
{
	if (!hs_t_enter(r))
		return;
	switch (v->kind) {
	case HS_T_NONE:
		put_own(r, b, "null");
		break;
	case HS_T_BOOL:
		put_own(r, b, v->b ? "true" : "false");
		break;
	case HS_T_INT:
		put_int(r, b, v);
		break;
	case HS_T_FLOAT:
		if (isfinite(v->d))
			hs_t_put_float(r, b, v->d, v->source);
		else
			put_own(r, b, isnan(v->d) ? "NaN" : v->d > 0 ? "Infinity" : "-Infinity");
		break;
	case HS_T_TEXT:
		put_quoted(r, b, v->text, false, how->ascii);
		break;
	case HS_T_LIST:
		put_json_list(r, b, v->list, how, level);
		break;
	case HS_T_DICT:
		put_json_dict(r, b, v->dict, how, level);
		break;
	default:
		hs_t_fail(r, "%s cannot be written as JSON", hs_t_kind_name(v));
	}
	hs_t_leave(r);
}
