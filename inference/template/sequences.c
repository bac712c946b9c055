/* Filters of lists and mappings. */
#include <string.h>

#include "inference/template/filters.h"

/* Those that Jinja2 computes as it is read: true whatever they hold, without a length. */
static struct hs_tvalue lazy(struct hs_tlist *l)
{
	if (l)
		l->lazy = true;
	return hs_t_list_value(l);
}

/* "a.b.0": the attribute of the attribute. */
static struct hs_tvalue by_path(struct hs_render *r, const struct hs_tvalue *of, const struct hs_tvalue *path)
{
	struct hs_tvalue v = *of;
	int64_t i;
	if (hs_t_whole(path, &i))
		return hs_t_item(r, of, path);
	if (path->kind != HS_T_TEXT)
		return hs_t_fail(r, "an attribute's name is wanted, not %s", hs_t_kind_name(path));
	const struct hs_ttext *t = path->text;
	for (size_t from = 0; from <= t->len && r->rc == 0;) {
		const char *dot = from < t->len ? memchr(t->s + from, '.', t->len - from) : NULL;
		size_t to = dot ? (size_t)(dot - t->s) : t->len;
		bool digits = to > from;
		for (size_t k = from; k < to; k++)
			digits = digits && t->s[k] >= '0' && t->s[k] <= '9';
		struct hs_tvalue key = hs_tt_slice_value(r, t, from, to);
		if (digits) {
			int64_t index = 0;
			for (size_t k = from; k < to && index < 100000; k++)
				index = index * 10 + (t->s[k] - '0');
			key = hs_t_int(index, 0);
		}
		v = hs_t_item(r, &v, &key);
		from = to + 1;
	}
	return v;
}

/* --- one of a list, or all of it --- */

static struct hs_tvalue length(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return hs_t_int((int64_t)hs_t_length(r, &c->self), 0);
}

static struct hs_tvalue first(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	if (c->self.kind == HS_T_LIST && c->self.list->lazy) {
		struct hs_tlist *l = c->self.list;
		return l->from < l->n ? l->v[l->from++] : HS_TUNDEFINED;
	}
	const struct hs_tlist *l = hs_t_iterate(r, &c->self);
	return l && l->n ? l->v[0] : HS_TUNDEFINED;
}

static struct hs_tvalue last(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	if (c->self.kind == HS_T_LIST && c->self.list->lazy)
		return hs_t_fail(r, "an iterator has no last element");
	const struct hs_tlist *l = hs_t_iterate(r, &c->self);
	return l && l->n ? l->v[l->n - 1] : HS_TUNDEFINED;
}

static struct hs_tlist *copy(struct hs_render *r, const struct hs_tvalue *v)
{
	const struct hs_tlist *l = hs_t_iterate(r, v);
	struct hs_tlist *out = hs_t_list(r);
	for (size_t i = 0; l && out && i < l->n && r->rc == 0; i++)
		hs_t_push(r, out, l->v[i]);
	return r->rc == 0 ? out : NULL;
}

static struct hs_tvalue list(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return hs_t_list_value(copy(r, &c->self));
}

static struct hs_tvalue reverse(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	struct hs_tlist *l = copy(r, &c->self);
	struct hs_tbuilder b = {0};
	for (size_t i = 0; l && i < l->n / 2; i++) {
		struct hs_tvalue v = l->v[i];
		l->v[i] = l->v[l->n - 1 - i];
		l->v[l->n - 1 - i] = v;
	}
	if (c->self.kind != HS_T_TEXT)
		return lazy(l);
	for (size_t i = 0; l && i < l->n; i++)
		hs_tb_put_text(r, &b, l->v[i].text);
	return hs_tb_value(r, &b);
}

static struct hs_tvalue join(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	struct hs_tbuilder b = {0};
	const struct hs_tlist *l = hs_t_iterate(r, &c->self);
	bool by_attribute = HS_TGIVEN(a[1]) && a[1].kind != HS_T_NONE;
	for (size_t i = 0; l && i < l->n && r->rc == 0; i++) {
		struct hs_tvalue v = by_attribute ? by_path(r, &l->v[i], &a[1]) : l->v[i];
		if (i && HS_TGIVEN(a[0]))
			hs_t_put_str(r, &b, &a[0]);
		hs_t_put_str(r, &b, &v);
	}
	return hs_tb_value(r, &b);
}

static struct hs_tvalue sum(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	struct hs_tvalue total = HS_TGIVEN(a[1]) ? a[1] : hs_t_int(0, 0);
	const struct hs_tlist *l = hs_t_iterate(r, &c->self);
	bool by_attribute = HS_TGIVEN(a[0]) && a[0].kind != HS_T_NONE;
	for (size_t i = 0; l && i < l->n && r->rc == 0; i++) {
		struct hs_tvalue v = by_attribute ? by_path(r, &l->v[i], &a[0]) : l->v[i];
		total = hs_t_binary(r, HS_TOP_ADD, &total, &v);
	}
	return total;
}

/* --- order --- */

static void merge(struct hs_render *r, struct hs_tpair *v, struct hs_tpair *spare, size_t n, bool reverse)
{
	if (n < 2 || !hs_t_step(r, n))
		return;
	size_t half = n / 2, i = 0, k = half, at = 0;
	merge(r, v, spare, half, reverse);
	merge(r, v + half, spare, n - half, reverse);
	while (i < half && k < n && r->rc == 0) {
		int order = hs_t_compare(r, &v[i].key, &v[k].key);
		spare[at++] = (reverse ? order >= 0 : order <= 0) ? v[i++] : v[k++];
	}
	while (i < half)
		spare[at++] = v[i++];
	while (k < n)
		spare[at++] = v[k++];
	memcpy(v, spare, at * sizeof *v);
}

void hs_t_sort(struct hs_render *r, struct hs_tvalue *v, struct hs_tvalue *keys, size_t n, bool reverse)
{
	struct hs_tpair *pairs = hs_t_alloc(r, n + 1, sizeof *pairs), *spare = hs_t_alloc(r, n + 1, sizeof *spare);
	if (!pairs || !spare)
		return;
	for (size_t i = 0; i < n; i++)
		pairs[i] = (struct hs_tpair){keys ? keys[i] : v[i], v[i]};
	merge(r, pairs, spare, n, reverse);
	for (size_t i = 0; i < n && r->rc == 0; i++)
		v[i] = pairs[i].value;
}

/* What an element is compared by: its attribute, without regard to case where that is a text. */
static struct hs_tvalue key_of(struct hs_render *r, const struct hs_tvalue *v, const struct hs_tvalue *attribute, bool cased)
{
	struct hs_tvalue key = HS_TGIVEN(*attribute) && attribute->kind != HS_T_NONE ? by_path(r, v, attribute) : *v;
	return key.kind == HS_T_TEXT && !cased ? hs_tt_case(r, key.text, HS_TCASE_LOWER) : key;
}

static struct hs_tvalue *keys_of(struct hs_render *r, const struct hs_tlist *l, const struct hs_tvalue *attribute, bool cased)
{
	struct hs_tvalue *keys = l ? hs_t_alloc(r, l->n + 1, sizeof *keys) : NULL;
	for (size_t i = 0; keys && i < l->n && r->rc == 0; i++)
		keys[i] = key_of(r, &l->v[i], attribute, cased);
	return r->rc == 0 ? keys : NULL;
}

static struct hs_tvalue sort(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	struct hs_tlist *l = copy(r, &c->self);
	struct hs_tvalue *keys = keys_of(r, l, &a[2], hs_t_truth(&a[1]));
	if (keys)
		hs_t_sort(r, l->v, keys, l->n, hs_t_truth(&a[0]));
	return hs_t_list_value(l);
}

static struct hs_tvalue unique(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	const struct hs_tlist *l = hs_t_iterate(r, &c->self);
	struct hs_tlist *out = hs_t_list(r), *seen = hs_t_list(r);
	struct hs_tvalue *keys = keys_of(r, l, &a[1], hs_t_truth(&a[0]));
	for (size_t i = 0; keys && out && seen && i < l->n && r->rc == 0; i++) {
		const struct hs_tvalue all = hs_t_list_value(seen);
		if (hs_t_contains(r, &all, &keys[i]))
			continue;
		hs_t_push(r, seen, keys[i]);
		hs_t_push(r, out, l->v[i]);
	}
	return lazy(out);
}

static struct hs_tvalue extreme(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a, int sign)
{
	const struct hs_tlist *l = hs_t_iterate(r, &c->self);
	struct hs_tvalue *keys = keys_of(r, l, &a[1], hs_t_truth(&a[0]));
	size_t best = 0;
	for (size_t i = 1; keys && i < l->n && r->rc == 0; i++)
		if (hs_t_compare(r, &keys[i], &keys[best]) * sign > 0)
			best = i;
	return keys && l->n ? l->v[best] : HS_TUNDEFINED;
}

static struct hs_tvalue max(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return extreme(r, c, a, 1);
}

static struct hs_tvalue min(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return extreme(r, c, a, -1);
}

/* --- mappings --- */

static struct hs_tlist *pairs_of(struct hs_render *r, const struct hs_tdict *d)
{
	struct hs_tlist *out = hs_t_list(r);
	for (size_t i = 0; out && i < d->n && r->rc == 0; i++) {
		struct hs_tlist *pair = hs_t_list(r);
		hs_t_push(r, pair, d->v[i].key);
		hs_t_push(r, pair, d->v[i].value);
		if (!pair)
			break;
		pair->tuple = true;
		hs_t_push(r, out, hs_t_list_value(pair));
	}
	return out;
}

static struct hs_tvalue items(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	if (c->self.kind == HS_T_UNDEFINED)
		return lazy(hs_t_list(r));
	return c->self.kind == HS_T_DICT ? lazy(pairs_of(r, c->self.dict)) : hs_t_fail(r, "items wants a mapping");
}

static struct hs_tvalue dictsort(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	if (c->self.kind != HS_T_DICT)
		return hs_t_fail(r, "dictsort wants a mapping, not %s", hs_t_kind_name(&c->self));
	bool by_value = a[1].kind == HS_T_TEXT && hs_tt_is(a[1].text, "value");
	if (HS_TGIVEN(a[1]) && !by_value && !(a[1].kind == HS_T_TEXT && hs_tt_is(a[1].text, "key")))
		return hs_t_fail(r, "dictsort is by key or by value");
	struct hs_tlist *l = pairs_of(r, c->self.dict);
	const struct hs_tvalue at = hs_t_int(by_value, 0);
	struct hs_tvalue *keys = keys_of(r, l, &at, hs_t_truth(&a[0]));
	if (keys)
		hs_t_sort(r, l->v, keys, l->n, hs_t_truth(&a[2]));
	return hs_t_list_value(l);
}

/* --- choosing --- */

/* The elements; nothing at all where the value is false, none included, as Jinja2 has it for these filters. */
static const struct hs_tlist *all_of(struct hs_render *r, const struct hs_tvalue *v)
{
	return hs_t_truth(v) ? hs_t_iterate(r, v) : hs_t_list(r);
}

/* What is applied to each element: a test by name with arguments, on the element or on one of its attributes. */
static struct hs_tvalue choose(struct hs_render *r, const struct hs_tcall *c, bool by_attribute, bool wanted)
{
	const struct hs_tlist *l = all_of(r, &c->self);
	struct hs_tlist *out = hs_t_list(r);
	size_t skip = by_attribute;
	const struct hs_tcallable *test = NULL;
	if (c->n_named || c->n < skip)
		return hs_t_fail(r, "select wants %sa test", by_attribute ? "an attribute and " : "");
	if (c->n > skip) {
		const struct hs_tvalue *name = &c->args[skip];
		test = name->kind == HS_T_TEXT ? hs_t_test(name->text->s, name->text->len) : NULL;
		if (!test)
			return hs_t_fail(r, "a test that select is given is not known");
	}
	for (size_t i = 0; l && out && i < l->n && r->rc == 0; i++) {
		struct hs_tvalue v = by_attribute ? by_path(r, &l->v[i], &c->args[0]) : l->v[i];
		const struct hs_tcall call = {.self = v, .args = c->args + skip + 1, .n = test ? c->n - skip - 1 : 0};
		if (test)
			v = hs_t_apply(r, test, &call);
		if (hs_t_truth(&v) == wanted)
			hs_t_push(r, out, l->v[i]);
	}
	return lazy(out);
}

static struct hs_tvalue select_(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return choose(r, c, false, true);
}

static struct hs_tvalue reject_(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return choose(r, c, false, false);
}

static struct hs_tvalue select_by(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return choose(r, c, true, true);
}

static struct hs_tvalue reject_by(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return choose(r, c, true, false);
}

static struct hs_tvalue map_attribute(struct hs_render *r, const struct hs_tcall *c, const struct hs_tlist *l)
{
	struct hs_tlist *out = hs_t_list(r);
	const struct hs_tvalue *path = NULL, *otherwise = NULL;
	for (size_t i = 0; i < c->n_named; i++) {
		if (hs_tt_is(c->named[i].key.text, "attribute"))
			path = &c->named[i].value;
		else if (hs_tt_is(c->named[i].key.text, "default"))
			otherwise = &c->named[i].value;
		else
			return hs_t_fail(r, "map takes attribute and default");
	}
	if (!path)
		return hs_t_fail(r, "map wants a filter or an attribute");
	for (size_t i = 0; out && i < l->n && r->rc == 0; i++) {
		struct hs_tvalue v = by_path(r, &l->v[i], path);
		hs_t_push(r, out, v.kind == HS_T_UNDEFINED && otherwise ? *otherwise : v);
	}
	return lazy(out);
}

static struct hs_tvalue map(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	const struct hs_tlist *l = all_of(r, &c->self);
	struct hs_tlist *out = hs_t_list(r);
	if (!l || !out)
		return HS_TUNDEFINED;
	if (c->n == 0)
		return map_attribute(r, c, l);
	const struct hs_tcallable *f =
	    c->args[0].kind == HS_T_TEXT ? hs_t_filter(c->args[0].text->s, c->args[0].text->len) : NULL;
	if (!f)
		return hs_t_fail(r, "a filter that map is given is not known");
	for (size_t i = 0; i < l->n && r->rc == 0; i++) {
		const struct hs_tcall call = {
		    .self = l->v[i], .args = c->args + 1, .n = c->n - 1, .named = c->named, .n_named = c->n_named};
		hs_t_push(r, out, hs_t_apply(r, f, &call));
	}
	return lazy(out);
}

const struct hs_tcallable *hs_t_sequence_filter(const char *s, size_t n)
{
	static const struct hs_tcallable filters[] = {
	    {"length", "", length},
	    {"count", "", length},
	    {"first", "", first},
	    {"last", "", last},
	    {"list", "", list},
	    {"reverse", "", reverse},
	    {"join", "d,attribute", join},
	    {"sum", "attribute,start", sum},
	    {"sort", "reverse,case_sensitive,attribute", sort},
	    {"unique", "case_sensitive,attribute", unique},
	    {"max", "case_sensitive,attribute", max},
	    {"min", "case_sensitive,attribute", min},
	    {"items", "", items},
	    {"dictsort", "case_sensitive,by,reverse", dictsort},
	    {"select", "*", select_},
	    {"reject", "*", reject_},
	    {"selectattr", "*", select_by},
	    {"rejectattr", "*", reject_by},
	    {"map", "*", map},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(filters); i++)
		if (strlen(filters[i].name) == n && memcmp(filters[i].name, s, n) == 0)
			return &filters[i];
	return NULL;
}
