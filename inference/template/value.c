#include "inference/template/value.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* --- failures and limits --- */

struct hs_tvalue hs_t_fail(struct hs_render *r, const char *fmt, ...)
{
	char what[160];
	va_list args;
	if (r->rc < 0)
		return HS_TUNDEFINED;
	va_start(args, fmt);
	(void)vsnprintf(what, sizeof what, fmt, args); /* a longer one is cut */
	va_end(args);
	what[hs_utf8_cut(what, strlen(what))] = '\0';
	r->rc = hs_fail(&r->err, EINVAL, "template.failed", HS_N_("the chat template cannot be rendered"), "line %u: %s", r->line,
			what);
	return HS_TUNDEFINED;
}

void hs_t_limit(struct hs_render *r, const char *limit)
{
	if (r->rc == 0)
		r->rc = hs_fail(&r->err, EMSGSIZE, "template.limit", HS_N_("the chat template asks for more than any may have"),
				"line %u: %s", r->line, limit);
}

bool hs_t_step(struct hs_render *r, size_t n)
{
	r->steps += n;
	if (r->steps > HS_TEMPLATE_STEPS_MAX)
		hs_t_limit(r, "HS_TEMPLATE_STEPS_MAX");
	return r->rc == 0;
}

bool hs_t_enter(struct hs_render *r)
{
	if (r->depth >= HS_TEMPLATE_DEPTH_MAX)
		hs_t_limit(r, "HS_TEMPLATE_DEPTH_MAX");
	if (!hs_t_step(r, 1))
		return false;
	r->depth++;
	return true;
}

void hs_t_leave(struct hs_render *r)
{
	r->depth--;
}

void *hs_t_alloc(struct hs_render *r, size_t count, size_t size)
{
	void *p = r->rc == 0 ? hs_arena_calloc(r->arena, count, size) : NULL;
	if (!p)
		hs_t_limit(r, "HS_TEMPLATE_MEMORY_MAX");
	return p;
}

/* --- making --- */

struct hs_tvalue hs_t_bool(bool b)
{
	return (struct hs_tvalue){.kind = HS_T_BOOL, .b = b};
}

struct hs_tvalue hs_t_int(int64_t i, uint16_t source)
{
	return (struct hs_tvalue){.kind = HS_T_INT, .source = source, .i = i};
}

struct hs_tvalue hs_t_float(double d, uint16_t source)
{
	return (struct hs_tvalue){.kind = HS_T_FLOAT, .source = source, .d = d};
}

struct hs_tlist *hs_t_list(struct hs_render *r)
{
	return hs_t_alloc(r, 1, sizeof(struct hs_tlist));
}

struct hs_tvalue hs_t_list_value(struct hs_tlist *l)
{
	return l ? (struct hs_tvalue){.kind = HS_T_LIST, .list = l} : HS_TUNDEFINED;
}

void hs_t_push(struct hs_render *r, struct hs_tlist *l, struct hs_tvalue v)
{
	if (!l || !hs_t_step(r, 1))
		return;
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 4;
		struct hs_tvalue *more = hs_t_alloc(r, cap, sizeof *more);
		if (!more)
			return;
		if (l->n)
			memcpy(more, l->v, l->n * sizeof *more);
		l->v = more;
		l->cap = cap;
	}
	l->v[l->n++] = v;
}

struct hs_tdict *hs_t_dict(struct hs_render *r)
{
	return hs_t_alloc(r, 1, sizeof(struct hs_tdict));
}

struct hs_tvalue *hs_t_find(struct hs_render *r, const struct hs_tdict *d, const struct hs_tvalue *key)
{
	for (size_t i = 0; i < d->n && hs_t_step(r, i % 8 == 0); i++)
		if (hs_t_equal(r, &d->v[i].key, key))
			return &d->v[i].value;
	return NULL;
}

struct hs_tvalue *hs_t_find_name(struct hs_render *r, const struct hs_tdict *d, const char *s, size_t n)
{
	const struct hs_ttext text = {.s = s, .len = n};
	const struct hs_tvalue key = hs_tt_value(&text);
	return hs_t_find(r, d, &key);
}

void hs_t_put(struct hs_render *r, struct hs_tdict *d, struct hs_tvalue key, struct hs_tvalue v)
{
	if (!d || r->rc < 0)
		return;
	if (key.kind == HS_T_LIST ? !key.list->tuple : key.kind == HS_T_DICT || key.kind == HS_T_UNDEFINED) {
		hs_t_fail(r, "%s cannot be a key", hs_t_kind_name(&key));
		return;
	}
	struct hs_tvalue *found = hs_t_find(r, d, &key);
	if (found) {
		*found = v;
		return;
	}
	if (d->n == d->cap) {
		size_t cap = d->cap ? d->cap * 2 : 8;
		struct hs_tpair *more = hs_t_alloc(r, cap, sizeof *more);
		if (!more)
			return;
		if (d->n)
			memcpy(more, d->v, d->n * sizeof *more);
		d->v = more;
		d->cap = cap;
	}
	d->v[d->n++] = (struct hs_tpair){key, v};
}

/* --- asking --- */

bool hs_t_is_number(const struct hs_tvalue *v)
{
	return v->kind == HS_T_INT || v->kind == HS_T_FLOAT || v->kind == HS_T_BOOL;
}

double hs_t_number(const struct hs_tvalue *v)
{
	return v->kind == HS_T_FLOAT ? v->d : v->kind == HS_T_INT ? (double)v->i : v->b;
}

bool hs_t_whole(const struct hs_tvalue *v, int64_t *ret)
{
	if (v->kind != HS_T_INT && v->kind != HS_T_BOOL)
		return false;
	*ret = v->kind == HS_T_INT ? v->i : v->b;
	return true;
}

int64_t hs_t_whole_arg(struct hs_render *r, const struct hs_tvalue *v, int64_t otherwise)
{
	int64_t i;
	if (!HS_TGIVEN(*v) || v->kind == HS_T_NONE)
		return otherwise;
	if (hs_t_whole(v, &i))
		return i;
	hs_t_fail(r, "an integer is wanted, not %s", hs_t_kind_name(v));
	return otherwise;
}

bool hs_t_truth(const struct hs_tvalue *v)
{
	switch (v->kind) {
	case HS_T_UNDEFINED:
	case HS_T_NONE:
		return false;
	case HS_T_BOOL:
		return v->b;
	case HS_T_INT:
		return v->i != 0;
	case HS_T_FLOAT:
		return v->d != 0;
	case HS_T_TEXT:
		return v->text->len > 0;
	case HS_T_LIST:
		return v->list->lazy || v->list->n > 0;
	case HS_T_DICT:
		return v->dict->n > 0;
	default:
		return true;
	}
}

const char *hs_t_kind_name(const struct hs_tvalue *v)
{
	static const char *const names[] = {[HS_T_UNDEFINED] = "something undefined",
					    [HS_T_NONE] = "none",
					    [HS_T_BOOL] = "a boolean",
					    [HS_T_INT] = "an integer",
					    [HS_T_FLOAT] = "a float",
					    [HS_T_TEXT] = "a string",
					    [HS_T_LIST] = "a list",
					    [HS_T_DICT] = "a mapping",
					    [HS_T_NAMESPACE] = "a namespace",
					    [HS_T_LOOP] = "a loop",
					    [HS_T_MACRO] = "a macro",
					    [HS_T_FUNCTION] = "a function",
					    [HS_T_METHOD] = "a method"};
	return names[v->kind];
}

static bool lists_equal(struct hs_render *r, const struct hs_tlist *a, const struct hs_tlist *b)
{
	if (a == b)
		return true;
	if (a->lazy || b->lazy || a->tuple != b->tuple || a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n && hs_t_step(r, 1); i++)
		if (!hs_t_equal(r, &a->v[i], &b->v[i]))
			return false;
	return true;
}

static bool dicts_equal(struct hs_render *r, const struct hs_tdict *a, const struct hs_tdict *b)
{
	if (a == b)
		return true;
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n && r->rc == 0; i++) {
		const struct hs_tvalue *other = hs_t_find(r, b, &a->v[i].key);
		if (!other || !hs_t_equal(r, &a->v[i].value, other))
			return false;
	}
	return true;
}

bool hs_t_equal(struct hs_render *r, const struct hs_tvalue *a, const struct hs_tvalue *b)
{
	if (hs_t_is_number(a) && hs_t_is_number(b)) {
		int64_t x, y;
		return hs_t_whole(a, &x) && hs_t_whole(b, &y) ? x == y : hs_t_number(a) == hs_t_number(b);
	}
	if (a->kind != b->kind)
		return false;
	if (a->kind == HS_T_UNDEFINED || a->kind == HS_T_NONE)
		return true;
	if (a->kind == HS_T_TEXT)
		return hs_t_step(r, a->text->len / 256) && hs_tt_equal(a->text, b->text);
	if (a->kind != HS_T_LIST && a->kind != HS_T_DICT)
		return a->kind == HS_T_METHOD ? a->method == b->method : a->dict == b->dict; /* the same object */
	if (!hs_t_enter(r))
		return false;
	bool same = a->kind == HS_T_LIST ? lists_equal(r, a->list, b->list) : dicts_equal(r, a->dict, b->dict);
	hs_t_leave(r);
	return same;
}

int hs_t_compare(struct hs_render *r, const struct hs_tvalue *a, const struct hs_tvalue *b)
{
	if (hs_t_is_number(a) && hs_t_is_number(b)) {
		double x = hs_t_number(a), y = hs_t_number(b);
		if (a->kind == HS_T_INT && b->kind == HS_T_INT)
			return (a->i > b->i) - (a->i < b->i);
		return (x > y) - (x < y);
	}
	if (a->kind == HS_T_TEXT && b->kind == HS_T_TEXT)
		return hs_t_step(r, 1 + HS_MIN(a->text->len, b->text->len) / 256) ? hs_tt_compare(a->text, b->text) : 0;
	if (a->kind == HS_T_LIST && b->kind == HS_T_LIST && a->list->tuple == b->list->tuple && !a->list->lazy && hs_t_enter(r)) {
		int c = 0;
		size_t n = HS_MIN(a->list->n, b->list->n);
		for (size_t i = 0; c == 0 && i < n && hs_t_step(r, 1); i++)
			if (!hs_t_equal(r, &a->list->v[i], &b->list->v[i]))
				c = hs_t_compare(r, &a->list->v[i], &b->list->v[i]);
		hs_t_leave(r);
		return c ? c : (a->list->n > b->list->n) - (a->list->n < b->list->n);
	}
	hs_t_fail(r, "%s and %s have no order", hs_t_kind_name(a), hs_t_kind_name(b));
	return 0;
}

bool hs_t_contains(struct hs_render *r, const struct hs_tvalue *in, const struct hs_tvalue *v)
{
	if (in->kind == HS_T_DICT)
		return hs_t_find(r, in->dict, v) != NULL;
	if (in->kind == HS_T_TEXT) {
		if (v->kind == HS_T_TEXT)
			return hs_tt_find(r, in->text, 0, in->text->len, v->text) != SIZE_MAX;
		hs_t_fail(r, "%s cannot be in a string", hs_t_kind_name(v));
		return false;
	}
	const struct hs_tlist *l = hs_t_iterate(r, in);
	for (size_t i = 0; l && i < l->n && hs_t_step(r, 1); i++)
		if (hs_t_equal(r, &l->v[i], v))
			return true;
	return false;
}

struct hs_tlist *hs_t_iterate(struct hs_render *r, const struct hs_tvalue *v)
{
	struct hs_tlist *out;
	switch (v->kind) {
	case HS_T_LIST:
		if (!hs_t_step(r, 1 + v->list->n / 8)) /* whoever goes over it does so at once */
			return NULL;
		if (!v->list->lazy)
			return v->list;
		if ((out = hs_t_list(r)) && v->list->from < v->list->n) {
			out->v = v->list->v + v->list->from;
			out->n = out->cap = v->list->n - v->list->from;
			v->list->from = v->list->n;
		}
		return out;
	case HS_T_UNDEFINED:
		return hs_t_list(r);
	case HS_T_TEXT:
		out = hs_t_list(r);
		for (size_t at = 0, len; out && at < v->text->len && r->rc == 0; at += len) {
			len = hs_utf8_decode(v->text->s + at, v->text->len - at, &(uint32_t){0});
			hs_t_push(r, out, hs_tt_slice_value(r, v->text, at, at + len));
		}
		return out;
	case HS_T_DICT:
		out = hs_t_list(r);
		for (size_t i = 0; out && i < v->dict->n; i++)
			hs_t_push(r, out, v->dict->v[i].key);
		return out;
	default:
		hs_t_fail(r, "%s cannot be gone over", hs_t_kind_name(v));
		return NULL;
	}
}

size_t hs_t_length(struct hs_render *r, const struct hs_tvalue *v)
{
	switch (v->kind) {
	case HS_T_UNDEFINED:
		return 0;
	case HS_T_TEXT:
		return hs_tt_chars(r, v->text);
	case HS_T_DICT:
		return v->dict->n;
	case HS_T_LIST:
		if (!v->list->lazy)
			return v->list->n;
		hs_t_fail(r, "an iterator has no length");
		return 0;
	default:
		hs_t_fail(r, "%s has no length", hs_t_kind_name(v));
		return 0;
	}
}

/* --- parts --- */

static struct hs_tvalue loop_attribute(struct hs_render *r, const struct hs_tloop *l, const char *s, size_t n)
{
	const struct {
		const char *name;
		struct hs_tvalue value;
	} table[] = {
	    {"index", hs_t_int((int64_t)l->at + 1, 0)},
	    {"index0", hs_t_int((int64_t)l->at, 0)},
	    {"revindex", hs_t_int((int64_t)(l->items->n - l->at), 0)},
	    {"revindex0", hs_t_int((int64_t)(l->items->n - l->at) - 1, 0)},
	    {"first", hs_t_bool(l->at == 0)},
	    {"last", hs_t_bool(l->at + 1 == l->items->n)},
	    {"length", hs_t_int((int64_t)l->items->n, 0)},
	    {"depth", hs_t_int((int64_t)l->depth, 0)},
	    {"depth0", hs_t_int((int64_t)l->depth - 1, 0)},
	    {"previtem", l->at ? l->items->v[l->at - 1] : HS_TUNDEFINED},
	    {"nextitem", l->at + 1 < l->items->n ? l->items->v[l->at + 1] : HS_TUNDEFINED},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(table); i++)
		if (strlen(table[i].name) == n && memcmp(table[i].name, s, n) == 0)
			return table[i].value;
	return HS_TUNDEFINED;
}

static struct hs_tvalue method_of(struct hs_render *r, const struct hs_tvalue *v, const char *s, size_t n)
{
	const struct hs_tcallable *found = hs_t_method(v, s, n);
	struct hs_tmethod *m = found ? hs_t_alloc(r, 1, sizeof *m) : NULL;
	if (!m)
		return HS_TUNDEFINED;
	*m = (struct hs_tmethod){*v, found};
	return (struct hs_tvalue){.kind = HS_T_METHOD, .method = m};
}

struct hs_tvalue hs_t_attribute(struct hs_render *r, const struct hs_tvalue *v, const char *s, size_t n)
{
	if (v->kind == HS_T_UNDEFINED)
		return hs_t_fail(r, "something undefined has no attribute \"%.*s\"", (int)HS_MIN(n, 64u), s);
	struct hs_tvalue method = method_of(r, v, s, n);
	if (method.kind != HS_T_UNDEFINED)
		return method;
	const struct hs_tvalue *found;
	if (v->kind == HS_T_DICT || v->kind == HS_T_NAMESPACE)
		return (found = hs_t_find_name(r, v->dict, s, n)) ? *found : HS_TUNDEFINED;
	if (v->kind == HS_T_LOOP)
		return loop_attribute(r, v->loop, s, n);
	if (v->kind == HS_T_MACRO && n == 4 && memcmp(s, "name", 4) == 0 && v->macro->node->kind == HS_TN_MACRO) {
		const struct hs_ttext name = {.s = v->macro->node->s, .len = v->macro->node->len};
		struct hs_tbuilder b = {0};
		hs_tb_put_text(r, &b, &name);
		return hs_tb_value(r, &b);
	}
	return HS_TUNDEFINED;
}

struct hs_tvalue hs_t_item(struct hs_render *r, const struct hs_tvalue *v, const struct hs_tvalue *key)
{
	const struct hs_tvalue *found;
	int64_t i;
	if (v->kind == HS_T_UNDEFINED)
		return hs_t_fail(r, "something undefined has no items");
	if (v->kind == HS_T_DICT && (found = hs_t_find(r, v->dict, key)))
		return *found;
	if (key->kind == HS_T_TEXT && r->rc == 0) { /* Jinja2 tries the attribute then; of a mapping, its methods are left */
		if (v->kind == HS_T_DICT)
			return method_of(r, v, key->text->s, key->text->len);
		return hs_t_attribute(r, v, key->text->s, key->text->len);
	}
	if (!hs_t_whole(key, &i) || (v->kind != HS_T_LIST && v->kind != HS_T_TEXT) || (v->kind == HS_T_LIST && v->list->lazy))
		return HS_TUNDEFINED;
	int64_t n = (int64_t)hs_t_length(r, v);
	i += i < 0 ? n : 0;
	if (i < 0 || i >= n)
		return HS_TUNDEFINED;
	if (v->kind == HS_T_LIST)
		return v->list->v[i];
	size_t from = hs_tt_offset(v->text, (size_t)i);
	return hs_tt_slice_value(r, v->text, from, from + hs_utf8_decode(v->text->s + from, v->text->len - from, &(uint32_t){0}));
}
