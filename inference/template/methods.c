/* Methods of texts, lists, mappings and loops, as Python has them. */
#include <string.h>

#include <unicode/uchar.h>

#include "base/utf8.h"
#include "inference/template/lex.h"
#include "inference/template/value.h"

static const struct hs_ttext *text_arg(struct hs_render *r, const struct hs_tvalue *v, const char *what)
{
	static const struct hs_ttext empty = {.s = ""};
	if (v->kind == HS_T_TEXT)
		return v->text;
	hs_t_fail(r, "%s wants a string, not %s", what, hs_t_kind_name(v));
	return &empty;
}

/* --- texts --- */

static const struct hs_ttext *strip_chars(struct hs_render *r, const struct hs_tvalue *v)
{
	return HS_TGIVEN(*v) && v->kind != HS_T_NONE ? text_arg(r, v, "strip") : NULL;
}

static struct hs_tvalue strip(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return hs_tt_strip(r, c->self.text, strip_chars(r, &a[0]), true, true);
}

static struct hs_tvalue lstrip(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return hs_tt_strip(r, c->self.text, strip_chars(r, &a[0]), true, false);
}

static struct hs_tvalue rstrip(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return hs_tt_strip(r, c->self.text, strip_chars(r, &a[0]), false, true);
}

/* Words between white space. The rest after `most` cuts stays as it is. */
static struct hs_tlist *split_space(struct hs_render *r, const struct hs_ttext *t, int64_t most)
{
	struct hs_tlist *out = hs_t_list(r);
	size_t at = 0, len;
	uint32_t cp;
	while (out && at < t->len && hs_t_step(r, 1)) {
		while (at < t->len && (len = hs_utf8_decode(t->s + at, t->len - at, &cp)) && hs_t_is_space(cp))
			at += len;
		if (at >= t->len)
			break;
		if (most == 0) {
			hs_t_push(r, out, hs_tt_strip(r, hs_tt_slice(r, t, at, t->len), NULL, false, true));
			break;
		}
		size_t from = at;
		while (at < t->len && hs_t_step(r, at % 64 == 0) && (len = hs_utf8_decode(t->s + at, t->len - at, &cp)) &&
		       !hs_t_is_space(cp))
			at += len;
		hs_t_push(r, out, hs_tt_slice_value(r, t, from, at));
		most -= most > 0;
	}
	return out;
}

static struct hs_tvalue split(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	const struct hs_ttext *t = c->self.text;
	int64_t most = hs_t_whole_arg(r, &a[1], -1);
	if (!HS_TGIVEN(a[0]) || a[0].kind == HS_T_NONE)
		return hs_t_list_value(split_space(r, t, most));
	const struct hs_ttext *by = text_arg(r, &a[0], "split");
	struct hs_tlist *out = hs_t_list(r);
	size_t from = 0, at;
	if (by->len == 0)
		return hs_t_fail(r, "split by nothing");
	for (; out && most != 0 && (at = hs_tt_find(r, t, from, t->len, by)) != SIZE_MAX; most -= most > 0) {
		hs_t_push(r, out, hs_tt_slice_value(r, t, from, at));
		from = at + by->len;
	}
	hs_t_push(r, out, hs_tt_slice_value(r, t, from, t->len));
	return hs_t_list_value(out);
}

static void turn_round(struct hs_tlist *l)
{
	for (size_t i = 0; i < l->n / 2; i++) {
		struct hs_tvalue v = l->v[i];
		l->v[i] = l->v[l->n - 1 - i];
		l->v[l->n - 1 - i] = v;
	}
}

static struct hs_tvalue rsplit(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	const struct hs_ttext *t = c->self.text;
	int64_t most = hs_t_whole_arg(r, &a[1], -1);
	if (!HS_TGIVEN(a[0]) || a[0].kind == HS_T_NONE)
		return most < 0 ? split(r, c, a) : hs_t_fail(r, "rsplit by white space with a limit is not supported");
	const struct hs_ttext *by = text_arg(r, &a[0], "rsplit");
	struct hs_tlist *out = hs_t_list(r);
	size_t to = t->len, at;
	if (by->len == 0)
		return hs_t_fail(r, "split by nothing");
	for (; out && most != 0 && (at = hs_tt_find_last(r, t, 0, to, by)) != SIZE_MAX; most -= most > 0) {
		hs_t_push(r, out, hs_tt_slice_value(r, t, at + by->len, to));
		to = at;
	}
	hs_t_push(r, out, hs_tt_slice_value(r, t, 0, to));
	if (out)
		turn_round(out);
	return hs_t_list_value(out);
}

static struct hs_tvalue splitlines(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return hs_t_list_value(hs_tt_lines(r, c->self.text, hs_t_truth(&a[0])));
}

static struct hs_tvalue cut_in_three(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a, bool last)
{
	const struct hs_ttext *t = c->self.text, *by = text_arg(r, &a[0], "partition");
	struct hs_tlist *out = hs_t_list(r);
	if (by->len == 0 || !out)
		return hs_t_fail(r, "split by nothing");
	size_t at = last ? hs_tt_find_last(r, t, 0, t->len, by) : hs_tt_find(r, t, 0, t->len, by);
	size_t first = at != SIZE_MAX ? at : last ? 0 : t->len, second = at != SIZE_MAX ? at + by->len : first;
	hs_t_push(r, out, hs_tt_slice_value(r, t, 0, first));
	hs_t_push(r, out, hs_tt_slice_value(r, t, first, second));
	hs_t_push(r, out, hs_tt_slice_value(r, t, second, t->len));
	out->tuple = true;
	return hs_t_list_value(out);
}

static struct hs_tvalue partition(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return cut_in_three(r, c, a, false);
}

static struct hs_tvalue rpartition(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return cut_in_three(r, c, a, true);
}

/* One string or a tuple of them. */
static struct hs_tvalue has_end(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *v, bool start)
{
	const struct hs_ttext *t = c->self.text;
	const struct hs_tvalue *all = v->kind == HS_T_LIST && v->list->tuple ? v->list->v : v;
	size_t n = all == v ? 1 : v->list->n;
	for (size_t i = 0; i < n && hs_t_step(r, 1); i++) {
		const struct hs_ttext *end = text_arg(r, &all[i], start ? "startswith" : "endswith");
		if (hs_t_step(r, end->len / 64) && end->len <= t->len &&
		    memcmp(start ? t->s : t->s + t->len - end->len, end->s, end->len) == 0)
			return hs_t_bool(true);
	}
	return hs_t_bool(false);
}

static struct hs_tvalue startswith(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return has_end(r, c, &a[0], true);
}

static struct hs_tvalue endswith(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return has_end(r, c, &a[0], false);
}

static struct hs_tvalue remove_end(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a, bool start)
{
	const struct hs_ttext *t = c->self.text, *end = text_arg(r, &a[0], "removeprefix");
	const struct hs_tvalue has = has_end(r, c, &a[0], start);
	if (!has.b)
		return c->self;
	return start ? hs_tt_slice_value(r, t, end->len, t->len) : hs_tt_slice_value(r, t, 0, t->len - end->len);
}

static struct hs_tvalue removeprefix(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return remove_end(r, c, a, true);
}

static struct hs_tvalue removesuffix(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return remove_end(r, c, a, false);
}

static struct hs_tvalue replace(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	const struct hs_ttext *old = text_arg(r, &a[0], "replace"), *new = text_arg(r, &a[1], "replace");
	return hs_tt_replace(r, c->self.text, old, new, hs_t_whole_arg(r, &a[2], -1));
}

static struct hs_tvalue upper(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return hs_tt_case(r, c->self.text, HS_TCASE_UPPER);
}

static struct hs_tvalue lower(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return hs_tt_case(r, c->self.text, HS_TCASE_LOWER);
}

static struct hs_tvalue title(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return hs_tt_case(r, c->self.text, HS_TCASE_TITLE);
}

static struct hs_tvalue capitalize(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return hs_tt_case(r, c->self.text, HS_TCASE_CAPITALIZE);
}

/* The byte range that Python's start and end arguments (in characters) mean. False where it is empty by being past the end. */
static bool range_of(struct hs_render *r, const struct hs_ttext *t, const struct hs_tvalue *a, size_t *from, size_t *to)
{
	int64_t n = (int64_t)hs_tt_chars(r, t), start = hs_t_whole_arg(r, &a[0], 0), end = hs_t_whole_arg(r, &a[1], n);
	start += start < 0 ? n : 0;
	end += end < 0 ? n : 0;
	start = HS_MAX(start, 0);
	end = HS_MIN(HS_MAX(end, 0), n);
	if (start > end)
		return false;
	*from = hs_tt_offset(t, (size_t)start);
	*to = hs_tt_offset(t, (size_t)end);
	return true;
}

static struct hs_tvalue find_in(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a, bool last)
{
	const struct hs_ttext *t = c->self.text, *what = text_arg(r, &a[0], "find");
	size_t from, to, at;
	if (!range_of(r, t, a + 1, &from, &to))
		return hs_t_int(-1, 0);
	at = last ? hs_tt_find_last(r, t, from, to, what) : hs_tt_find(r, t, from, to, what);
	return hs_t_int(at == SIZE_MAX ? -1 : (int64_t)hs_utf8_count(t->s, at), 0);
}

static struct hs_tvalue find(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return find_in(r, c, a, false);
}

static struct hs_tvalue rfind(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return find_in(r, c, a, true);
}

static struct hs_tvalue index_of(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	struct hs_tvalue at = find_in(r, c, a, false);
	return at.i < 0 ? hs_t_fail(r, "index finds nothing") : at;
}

static struct hs_tvalue count(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	const struct hs_ttext *t = c->self.text, *what = text_arg(r, &a[0], "count");
	int64_t n = 0;
	if (what->len == 0)
		return hs_t_int((int64_t)hs_tt_chars(r, t) + 1, 0);
	for (size_t at = 0; (at = hs_tt_find(r, t, at, t->len, what)) != SIZE_MAX; at += what->len)
		n++;
	return hs_t_int(n, 0);
}

static struct hs_tvalue join(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	struct hs_tbuilder b = {0};
	const struct hs_tlist *l = hs_t_iterate(r, &a[0]);
	for (size_t i = 0; l && i < l->n && r->rc == 0; i++) {
		if (i)
			hs_tb_put_text(r, &b, c->self.text);
		hs_tb_put_text(r, &b, text_arg(r, &l->v[i], "join"));
	}
	return hs_tb_value(r, &b);
}

static bool all_chars(struct hs_render *r, const struct hs_ttext *t, bool (*is)(uint32_t cp))
{
	uint32_t cp;
	for (size_t at = 0, len; at < t->len && hs_t_step(r, 1); at += len)
		if (!(len = hs_utf8_decode(t->s + at, t->len - at, &cp)) || !is(cp))
			return false;
	return t->len > 0;
}

static bool is_alpha(uint32_t cp)
{
	return u_isalpha((UChar32)cp);
}

static bool is_digit(uint32_t cp)
{
	return u_isdigit((UChar32)cp);
}

static bool is_alnum(uint32_t cp)
{
	return u_isalnum((UChar32)cp);
}

static struct hs_tvalue isalpha_(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return hs_t_bool(all_chars(r, c->self.text, is_alpha));
}

static struct hs_tvalue isdigit_(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return hs_t_bool(all_chars(r, c->self.text, is_digit));
}

static struct hs_tvalue isalnum_(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return hs_t_bool(all_chars(r, c->self.text, is_alnum));
}

static struct hs_tvalue isspace_(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return hs_t_bool(all_chars(r, c->self.text, hs_t_is_space));
}

/* All letters that have a case have this one, and there is at least one. */
static bool has_case(struct hs_render *r, const struct hs_ttext *t, bool is_upper)
{
	uint32_t cp;
	bool any = false;
	for (size_t at = 0, len; at < t->len && hs_t_step(r, 1); at += len) {
		if (!(len = hs_utf8_decode(t->s + at, t->len - at, &cp)))
			break;
		if (is_upper ? u_islower((UChar32)cp) : u_isupper((UChar32)cp))
			return false;
		any = any || u_islower((UChar32)cp) || u_isupper((UChar32)cp);
	}
	return any;
}

static struct hs_tvalue isupper_(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return hs_t_bool(has_case(r, c->self.text, true));
}

static struct hs_tvalue islower_(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return hs_t_bool(has_case(r, c->self.text, false));
}

/* "{}", "{0}", "{name}": no formats, conversions or attributes. */
static struct hs_tvalue format(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	const struct hs_ttext *t = c->self.text;
	struct hs_tbuilder b = {0};
	size_t next = 0, from = 0;
	for (size_t at = 0; at < t->len && hs_t_step(r, 1); at++) {
		if (t->s[at] != '{' && t->s[at] != '}')
			continue;
		hs_tb_put_slice(r, &b, t, from, at);
		if (at + 1 < t->len && t->s[at + 1] == t->s[at]) {
			hs_tb_put_slice(r, &b, t, at, at + 1);
			from = ++at + 1;
			continue;
		}
		const char *end = t->s[at] == '{' ? memchr(t->s + at, '}', t->len - at) : NULL;
		if (!end)
			return hs_t_fail(r, "format: a brace stands alone");
		const struct hs_ttext name = {.s = t->s + at + 1, .len = (size_t)(end - t->s) - at - 1};
		const struct hs_tvalue *v = NULL;
		bool number = all_chars(r, &name, is_digit) && name.len < 4;
		size_t i = number ? 0 : next;
		for (size_t k = 0; number && k < name.len; k++)
			i = i * 10 + (size_t)(name.s[k] - '0');
		if (name.len == 0 || number)
			v = i < c->n ? &c->args[i] : NULL;
		for (size_t k = 0; !v && name.len && k < c->n_named; k++)
			v = hs_tt_equal(c->named[k].key.text, &name) ? &c->named[k].value : NULL;
		if (!v)
			return hs_t_fail(r, "format: only {}, {number} and {name} of given arguments are supported");
		next += name.len == 0;
		hs_t_put_str(r, &b, v);
		at = (size_t)(end - t->s);
		from = at + 1;
	}
	hs_tb_put_slice(r, &b, t, from, t->len);
	return hs_tb_value(r, &b);
}

/* --- mappings --- */

static struct hs_tvalue get(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	const struct hs_tvalue *found = hs_t_find(r, c->self.dict, &a[0]);
	return found ? *found : HS_TGIVEN(a[1]) ? a[1] : HS_TNONE;
}

static struct hs_tvalue list_of(struct hs_render *r, const struct hs_tdict *d, bool keys, bool values)
{
	struct hs_tlist *out = hs_t_list(r);
	for (size_t i = 0; out && i < d->n && r->rc == 0; i++) {
		if (!keys || !values) {
			hs_t_push(r, out, keys ? d->v[i].key : d->v[i].value);
			continue;
		}
		struct hs_tlist *pair = hs_t_list(r);
		hs_t_push(r, pair, d->v[i].key);
		hs_t_push(r, pair, d->v[i].value);
		if (!pair)
			break;
		pair->tuple = true;
		hs_t_push(r, out, hs_t_list_value(pair));
	}
	return hs_t_list_value(out);
}

static struct hs_tvalue items(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return list_of(r, c->self.dict, true, true);
}

static struct hs_tvalue keys(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return list_of(r, c->self.dict, true, false);
}

static struct hs_tvalue values(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return list_of(r, c->self.dict, false, true);
}

static struct hs_tvalue copy_dict(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	struct hs_tdict *out = hs_t_dict(r);
	for (size_t i = 0; out && i < c->self.dict->n; i++)
		hs_t_put(r, out, c->self.dict->v[i].key, c->self.dict->v[i].value);
	return out ? (struct hs_tvalue){.kind = HS_T_DICT, .dict = out} : HS_TUNDEFINED;
}

static struct hs_tvalue update(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	if (a[0].kind != HS_T_DICT)
		return hs_t_fail(r, "update wants a mapping, not %s", hs_t_kind_name(&a[0]));
	for (size_t i = 0; i < a[0].dict->n; i++)
		hs_t_put(r, c->self.dict, a[0].dict->v[i].key, a[0].dict->v[i].value);
	return HS_TNONE;
}

static struct hs_tvalue pop_key(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	struct hs_tdict *d = c->self.dict;
	struct hs_tvalue *found = hs_t_find(r, d, &a[0]);
	if (!found)
		return HS_TGIVEN(a[1]) ? a[1] : hs_t_fail(r, "pop finds no such key");
	struct hs_tvalue out = *found;
	if (!hs_t_step(r, d->n / 2))
		return HS_TUNDEFINED;
	size_t i = (size_t)(HS_CONTAINER_OF(found, struct hs_tpair, value) - d->v);
	memmove(d->v + i, d->v + i + 1, (d->n - i - 1) * sizeof *d->v);
	d->n--;
	return out;
}

/* --- lists --- */

static struct hs_tvalue append(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	hs_t_push(r, c->self.list, a[0]);
	return HS_TNONE;
}

static struct hs_tvalue extend(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	const struct hs_tlist *l = hs_t_iterate(r, &a[0]);
	size_t n = l ? l->n : 0; /* it may be the same list */
	for (size_t i = 0; i < n && r->rc == 0; i++)
		hs_t_push(r, c->self.list, l->v[i]);
	return HS_TNONE;
}

static struct hs_tvalue pop_item(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	struct hs_tlist *l = c->self.list;
	int64_t i = hs_t_whole_arg(r, &a[0], -1);
	i += i < 0 ? (int64_t)l->n : 0;
	if (i < 0 || i >= (int64_t)l->n)
		return hs_t_fail(r, "pop finds nothing there");
	if (!hs_t_step(r, l->n / 4))
		return HS_TUNDEFINED;
	struct hs_tvalue out = l->v[i];
	memmove(l->v + i, l->v + i + 1, (l->n - (size_t)i - 1) * sizeof *l->v);
	l->n--;
	return out;
}

static struct hs_tvalue insert(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	struct hs_tlist *l = c->self.list;
	int64_t i = hs_t_whole_arg(r, &a[0], 0), n = (int64_t)l->n;
	i += i < 0 ? n : 0;
	i = HS_MIN(HS_MAX(i, 0), n);
	hs_t_push(r, l, a[1]);
	if (hs_t_step(r, l->n / 4)) {
		memmove(l->v + i + 1, l->v + i, (size_t)(n - i) * sizeof *l->v);
		l->v[i] = a[1];
	}
	return HS_TNONE;
}

static struct hs_tvalue find_item(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	for (size_t i = 0; i < c->self.list->n && hs_t_step(r, 1); i++)
		if (hs_t_equal(r, &c->self.list->v[i], &a[0]))
			return hs_t_int((int64_t)i, 0);
	return hs_t_fail(r, "index finds nothing");
}

static struct hs_tvalue count_items(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	int64_t n = 0;
	for (size_t i = 0; i < c->self.list->n && hs_t_step(r, 1); i++)
		n += hs_t_equal(r, &c->self.list->v[i], &a[0]);
	return hs_t_int(n, 0);
}

/* --- loops --- */

static struct hs_tvalue cycle(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return c->n ? c->args[c->self.loop->at % c->n] : hs_t_fail(r, "cycle has nothing to go round");
}

static struct hs_tvalue changed(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	struct hs_tloop *loop = c->self.loop;
	struct hs_tlist *now = hs_t_list(r);
	for (size_t i = 0; now && i < c->n; i++)
		hs_t_push(r, now, c->args[i]);
	const struct hs_tvalue before = hs_t_list_value(loop->changed), after = hs_t_list_value(now);
	bool same = loop->has_changed && now && hs_t_equal(r, &before, &after);
	loop->has_changed = now != NULL;
	loop->changed = now;
	return hs_t_bool(!same);
}

static const struct hs_tcallable of_texts[] = {
    {"split", "sep,maxsplit", split},
    {"rsplit", "sep,maxsplit", rsplit},
    {"splitlines", "keepends", splitlines},
    {"strip", "chars", strip},
    {"lstrip", "chars", lstrip},
    {"rstrip", "chars", rstrip},
    {"startswith", "prefix", startswith},
    {"endswith", "suffix", endswith},
    {"removeprefix", "prefix", removeprefix},
    {"removesuffix", "suffix", removesuffix},
    {"replace", "old,new,count", replace},
    {"upper", "", upper},
    {"lower", "", lower},
    {"title", "", title},
    {"capitalize", "", capitalize},
    {"find", "sub,start,end", find},
    {"rfind", "sub,start,end", rfind},
    {"index", "sub,start,end", index_of},
    {"count", "sub", count},
    {"join", "iterable", join},
    {"partition", "sep", partition},
    {"rpartition", "sep", rpartition},
    {"isalpha", "", isalpha_},
    {"isdigit", "", isdigit_},
    {"isdecimal", "", isdigit_},
    {"isnumeric", "", isdigit_},
    {"isalnum", "", isalnum_},
    {"isspace", "", isspace_},
    {"isupper", "", isupper_},
    {"islower", "", islower_},
    {"format", "*", format},
};

static const struct hs_tcallable of_mappings[] = {
    {"get", "key,default", get},     {"items", "", items},    {"keys", "", keys},
    {"values", "", values},          {"copy", "", copy_dict}, {"update", "other", update},
    {"pop", "key,default", pop_key},
};

static const struct hs_tcallable of_lists[] = {
    {"append", "object", append},       {"extend", "iterable", extend}, {"pop", "index", pop_item},
    {"insert", "index,object", insert}, {"index", "value", find_item},  {"count", "value", count_items},
};

static const struct hs_tcallable of_loops[] = {{"cycle", "*", cycle}, {"changed", "*", changed}};

static const struct hs_tcallable *among(const struct hs_tcallable *table, size_t n_rows, const char *s, size_t n)
{
	for (size_t i = 0; i < n_rows; i++)
		if (strlen(table[i].name) == n && memcmp(table[i].name, s, n) == 0)
			return &table[i];
	return NULL;
}

const struct hs_tcallable *hs_t_method(const struct hs_tvalue *v, const char *s, size_t n)
{
	switch (v->kind) {
	case HS_T_TEXT:
		return among(of_texts, HS_ARRAY_LEN(of_texts), s, n);
	case HS_T_DICT:
		return among(of_mappings, HS_ARRAY_LEN(of_mappings), s, n);
	case HS_T_LIST: /* the first four change it */
		if (v->list->lazy)
			return NULL;
		return v->list->tuple || v->list->range ? among(of_lists + 4, HS_ARRAY_LEN(of_lists) - 4, s, n)
							: among(of_lists, HS_ARRAY_LEN(of_lists), s, n);
	case HS_T_LOOP:
		return among(of_loops, HS_ARRAY_LEN(of_loops), s, n);
	default:
		return NULL;
	}
}
