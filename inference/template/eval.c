/* Expressions. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/utf8.h"
#include "inference/template/value.h"

/* --- arithmetic --- */

static struct hs_tvalue whole_op(struct hs_render *r, enum hs_top op, int64_t a, int64_t b, uint16_t source)
{
	int64_t out = 0;
	bool over = false;
	switch (op) {
	case HS_TOP_ADD:
		over = __builtin_add_overflow(a, b, &out);
		break;
	case HS_TOP_SUB:
		over = __builtin_sub_overflow(a, b, &out);
		break;
	case HS_TOP_MUL:
		over = __builtin_mul_overflow(a, b, &out);
		break;
	case HS_TOP_FLOOR:
	case HS_TOP_MOD:
		if (b == 0)
			return hs_t_fail(r, "a division by zero");
		if (b == -1) { /* INT64_MIN / -1 overflows */
			over = op == HS_TOP_FLOOR && __builtin_sub_overflow((int64_t)0, a, &out);
			break;
		}
		out = op == HS_TOP_FLOOR ? a / b - (a % b != 0 && (a < 0) != (b < 0)) : (a % b + b) % b;
		break;
	case HS_TOP_POW:
		if (b < 0)
			return a ? hs_t_float(pow((double)a, (double)b), source) : hs_t_fail(r, "a division by zero");
		for (out = 1; b > 0 && !over && hs_t_step(r, 1); b--)
			over = __builtin_mul_overflow(out, a, &out);
		break;
	default:
		break;
	}
	return over ? hs_t_fail(r, "a number is too large") : hs_t_int(out, source);
}

static struct hs_tvalue number_op(struct hs_render *r, enum hs_top op, const struct hs_tvalue *a, const struct hs_tvalue *b)
{
	uint16_t source = a->kind != HS_T_BOOL && a->source ? a->source : b->kind != HS_T_BOOL ? b->source : 0;
	int64_t i, k;
	if (op != HS_TOP_DIV && hs_t_whole(a, &i) && hs_t_whole(b, &k))
		return whole_op(r, op, i, k, source);
	double x = hs_t_number(a), y = hs_t_number(b);
	if (y == 0 && (op == HS_TOP_DIV || op == HS_TOP_FLOOR || op == HS_TOP_MOD))
		return hs_t_fail(r, "a division by zero");
	switch (op) {
	case HS_TOP_ADD:
		return hs_t_float(x + y, source);
	case HS_TOP_SUB:
		return hs_t_float(x - y, source);
	case HS_TOP_MUL:
		return hs_t_float(x * y, source);
	case HS_TOP_DIV:
		return hs_t_float(x / y, source);
	case HS_TOP_FLOOR:
		return hs_t_float(floor(x / y), source);
	case HS_TOP_MOD:
		return hs_t_float(x - floor(x / y) * y, source);
	default:
		return hs_t_float(pow(x, y), source);
	}
}

static struct hs_tvalue add_texts(struct hs_render *r, const struct hs_ttext *a, const struct hs_ttext *b)
{
	struct hs_tbuilder out = {0};
	bool markup = a->markup || b->markup;
	hs_tb_put_text(r, &out, markup ? hs_tt_escape(r, a) : a);
	hs_tb_put_text(r, &out, markup ? hs_tt_escape(r, b) : b);
	struct hs_tvalue v = hs_tb_value(r, &out);
	struct hs_ttext *marked = markup ? hs_t_alloc(r, 1, sizeof *marked) : NULL;
	if (!marked)
		return v;
	*marked = *v.text;
	marked->markup = true;
	return hs_tt_value(marked);
}

static struct hs_tvalue add_lists(struct hs_render *r, const struct hs_tlist *a, const struct hs_tlist *b)
{
	struct hs_tlist *out = hs_t_list(r);
	for (size_t i = 0; out && i < a->n && r->rc == 0; i++)
		hs_t_push(r, out, a->v[i]);
	for (size_t i = 0; out && i < b->n && r->rc == 0; i++)
		hs_t_push(r, out, b->v[i]);
	if (out)
		out->tuple = a->tuple;
	return hs_t_list_value(out);
}

static struct hs_tvalue repeat(struct hs_render *r, const struct hs_tvalue *v, int64_t n)
{
	struct hs_tbuilder b = {0};
	if (v->kind == HS_T_TEXT) {
		for (; n > 0 && v->text->len && hs_t_step(r, 1); n--)
			hs_tb_put_text(r, &b, v->text);
		return hs_tb_value(r, &b);
	}
	struct hs_tlist *out = hs_t_list(r);
	for (; n > 0 && out && v->list->n && hs_t_step(r, 1); n--)
		for (size_t i = 0; i < v->list->n && r->rc == 0; i++)
			hs_t_push(r, out, v->list->v[i]);
	if (out)
		out->tuple = v->list->tuple;
	return hs_t_list_value(out);
}

static bool is_sequence(const struct hs_tvalue *v)
{
	return v->kind == HS_T_TEXT || (v->kind == HS_T_LIST && !v->list->lazy && !v->list->range);
}

struct hs_tvalue hs_t_binary(struct hs_render *r, enum hs_top op, const struct hs_tvalue *a, const struct hs_tvalue *b)
{
	int64_t n;
	if (r->rc < 0)
		return HS_TUNDEFINED;
	if (hs_t_is_number(a) && hs_t_is_number(b))
		return number_op(r, op, a, b);
	if (op == HS_TOP_MOD && a->kind == HS_T_TEXT)
		return hs_t_percent(r, a->text, b);
	if (op == HS_TOP_ADD && a->kind == HS_T_TEXT && b->kind == HS_T_TEXT)
		return add_texts(r, a->text, b->text);
	if (op == HS_TOP_ADD && a->kind == HS_T_LIST && b->kind == HS_T_LIST && is_sequence(a) && is_sequence(b) &&
	    a->list->tuple == b->list->tuple)
		return add_lists(r, a->list, b->list);
	if (op == HS_TOP_MUL && is_sequence(a) && hs_t_whole(b, &n))
		return repeat(r, a, n);
	if (op == HS_TOP_MUL && is_sequence(b) && hs_t_whole(a, &n))
		return repeat(r, b, n);
	static const char *const names[] = {"+", "-", "*", "/", "//", "%", "**"};
	return hs_t_fail(r, "%s %s %s cannot be computed", hs_t_kind_name(a), names[op], hs_t_kind_name(b));
}

static bool compare(struct hs_render *r, enum hs_top op, const struct hs_tvalue *a, const struct hs_tvalue *b)
{
	switch (op) {
	case HS_TOP_EQ:
		return hs_t_equal(r, a, b);
	case HS_TOP_NE:
		return !hs_t_equal(r, a, b);
	case HS_TOP_LT:
		return hs_t_compare(r, a, b) < 0;
	case HS_TOP_LE:
		return hs_t_compare(r, a, b) <= 0;
	case HS_TOP_GT:
		return hs_t_compare(r, a, b) > 0;
	case HS_TOP_GE:
		return hs_t_compare(r, a, b) >= 0;
	case HS_TOP_IN:
		return hs_t_contains(r, b, a);
	default:
		return !hs_t_contains(r, b, a);
	}
}

static struct hs_tvalue eval_compare(struct hs_render *r, const struct hs_tnode *n)
{
	struct hs_tvalue left = hs_t_eval(r, n->a);
	for (uint32_t i = 0; i < n->list.n && r->rc == 0; i++) {
		struct hs_tvalue right = hs_t_eval(r, n->list.v[i]->a);
		if (r->rc < 0 || !compare(r, n->list.v[i]->op, &left, &right))
			return hs_t_bool(false);
		left = right;
	}
	return hs_t_bool(true);
}

/* --- slices --- */

/* A bound of a slice, as Python reads it. */
static int64_t bound(struct hs_render *r, const struct hs_tnode *n, int64_t len, int64_t otherwise, bool back)
{
	int64_t i;
	struct hs_tvalue v = n ? hs_t_eval(r, n) : HS_TNONE;
	if (v.kind == HS_T_NONE)
		return otherwise;
	if (!hs_t_whole(&v, &i)) {
		hs_t_fail(r, "a slice wants integers, not %s", hs_t_kind_name(&v));
		return 0;
	}
	if (i < 0)
		i += len;
	if (back)
		return HS_MAX(HS_MIN(i, len - 1), -1);
	return HS_MAX(HS_MIN(i, len), 0);
}

static struct hs_tvalue eval_slice(struct hs_render *r, const struct hs_tnode *n)
{
	struct hs_tvalue v = hs_t_eval(r, n->a), s = n->d ? hs_t_eval(r, n->d) : HS_TNONE;
	int64_t step = 1;
	if (r->rc < 0)
		return HS_TUNDEFINED;
	if (v.kind != HS_T_TEXT && (v.kind != HS_T_LIST || v.list->lazy))
		return hs_t_fail(r, "%s cannot be sliced", hs_t_kind_name(&v));
	if (s.kind != HS_T_NONE && (!hs_t_whole(&s, &step) || step == 0))
		return hs_t_fail(r, "a slice's step must be an integer other than zero");
	int64_t len = (int64_t)hs_t_length(r, &v);
	int64_t from = bound(r, n->b, len, step < 0 ? len - 1 : 0, step < 0);
	int64_t to = bound(r, n->c, len, step < 0 ? -1 : len, step < 0);
	if (v.kind == HS_T_TEXT && step == 1) {
		size_t begin = hs_tt_offset(v.text, (size_t)from), end = to > from ? hs_tt_offset(v.text, (size_t)to) : begin;
		return hs_tt_slice_value(r, v.text, begin, end);
	}
	const struct hs_tlist *all = hs_t_iterate(r, &v);
	struct hs_tlist *out = hs_t_list(r);
	struct hs_tbuilder b = {0};
	for (int64_t i = from; all && out && r->rc == 0 && (step > 0 ? i < to : i > to);) {
		if (v.kind == HS_T_TEXT)
			hs_tb_put_text(r, &b, all->v[i].text);
		else
			hs_t_push(r, out, all->v[i]);
		if (__builtin_add_overflow(i, step, &i))
			break;
	}
	if (v.kind == HS_T_TEXT)
		return hs_tb_value(r, &b);
	if (out) {
		out->tuple = v.list->tuple;
		out->range = v.list->range;
	}
	return hs_t_list_value(out);
}

/* --- calls --- */

static struct hs_tvalue *eval_all(struct hs_render *r, const struct hs_tnode_list *list)
{
	struct hs_tvalue *v = hs_t_alloc(r, list->n + 1, sizeof *v);
	for (uint32_t i = 0; v && i < list->n && r->rc == 0; i++)
		v[i] = hs_t_eval(r, list->v[i]);
	return r->rc == 0 ? v : NULL;
}

static bool eval_arguments(struct hs_render *r, const struct hs_tnode *n, struct hs_tcall *c)
{
	struct hs_tpair *named = n->named.n ? hs_t_alloc(r, n->named.n, sizeof *named) : NULL;
	c->args = eval_all(r, &n->list);
	c->n = n->list.n;
	for (uint32_t i = 0; named && i < n->named.n && r->rc == 0; i++) {
		struct hs_ttext *name = hs_t_alloc(r, 1, sizeof *name);
		if (!name)
			return false;
		*name = (struct hs_ttext){.s = n->named.v[i]->s, .len = n->named.v[i]->len};
		named[i] = (struct hs_tpair){hs_tt_value(name), hs_t_eval(r, n->named.v[i]->a)};
	}
	c->named = named;
	c->n_named = n->named.n;
	r->line = n->line;
	return r->rc == 0;
}

/* The position of a name in a list of names, or -1. */
static int position(const char *params, const struct hs_ttext *name)
{
	int at = 0;
	for (const char *p = params; *p; at++) {
		size_t n = strcspn(p, ",");
		if (n == name->len && memcmp(p, name->s, n) == 0)
			return at;
		p += n + (p[n] == ',');
	}
	return -1;
}

static size_t count_names(const char *params)
{
	size_t n = *params != '\0';
	for (; *params; params++)
		n += *params == ',';
	return n;
}

struct hs_tvalue hs_t_apply(struct hs_render *r, const struct hs_tcallable *f, const struct hs_tcall *c)
{
	struct hs_tvalue args[HS_TARGS_MAX];
	if (!hs_t_enter(r))
		return HS_TUNDEFINED;
	for (size_t i = 0; i < HS_TARGS_MAX; i++)
		args[i] = HS_TABSENT;
	bool own = f->params[0] == '*';
	if (!own && c->n > count_names(f->params))
		hs_t_fail(r, "%s takes fewer arguments", f->name);
	for (size_t i = 0; !own && r->rc == 0 && i < c->n; i++) {
		args[i] = c->args[i];
		if (args[i].kind == HS_T_UNDEFINED)
			args[i].source = 0;
	}
	for (size_t i = 0; !own && i < c->n_named && r->rc == 0; i++) {
		int at = position(f->params, c->named[i].key.text);
		if (at < 0 || HS_TGIVEN(args[at]))
			hs_t_fail(r, "%s takes no argument \"%.*s\" here", f->name, (int)HS_MIN(c->named[i].key.text->len, 40u),
				  c->named[i].key.text->s);
		else
			args[at] = c->named[i].value;
	}
	struct hs_tvalue out = r->rc == 0 ? f->call(r, c, args) : HS_TUNDEFINED;
	hs_t_leave(r);
	return out;
}

struct hs_tvalue hs_t_call(struct hs_render *r, const struct hs_tvalue *f, const struct hs_tcall *c,
			   const struct hs_tvalue *caller)
{
	struct hs_tcall bound = *c;
	if (r->rc < 0)
		return HS_TUNDEFINED;
	if (f->kind == HS_T_MACRO)
		return hs_t_run_macro(r, f->macro, c, caller);
	if (caller)
		return hs_t_fail(r, "a call block can call macros only");
	if (f->kind == HS_T_FUNCTION)
		return hs_t_apply(r, f->function, c);
	if (f->kind != HS_T_METHOD)
		return hs_t_fail(r, "%s cannot be called", hs_t_kind_name(f));
	bound.self = f->method->self;
	return hs_t_apply(r, f->method->callable, &bound);
}

static struct hs_tvalue eval_call(struct hs_render *r, const struct hs_tnode *n)
{
	struct hs_tcall c = {0};
	struct hs_tvalue f = hs_t_eval(r, n->a);
	if (r->rc == 0 && f.kind == HS_T_UNDEFINED) {
		r->line = n->line;
		if (n->a->kind == HS_TN_NAME || n->a->kind == HS_TN_ATTR)
			return hs_t_fail(r, "\"%.*s\" is not defined and cannot be called", (int)HS_MIN(n->a->len, 64u), n->a->s);
	}
	if (r->rc < 0 || !eval_arguments(r, n, &c))
		return HS_TUNDEFINED;
	return hs_t_call(r, &f, &c, NULL);
}

static struct hs_tvalue eval_filter(struct hs_render *r, const struct hs_tnode *n)
{
	struct hs_tcall c = {0};
	bool test = n->kind == HS_TN_TEST;
	const struct hs_tcallable *f = test ? hs_t_test(n->s, n->len) : hs_t_filter(n->s, n->len);
	c.self = n->a ? hs_t_eval(r, n->a) : r->block;
	r->line = n->line;
	if (!f)
		return hs_t_fail(r, "the %s \"%.*s\" is not known", test ? "test" : "filter", (int)HS_MIN(n->len, 64u), n->s);
	return r->rc == 0 && eval_arguments(r, n, &c) ? hs_t_apply(r, f, &c) : HS_TUNDEFINED;
}

/* --- the rest --- */

static struct hs_tvalue eval_list(struct hs_render *r, const struct hs_tnode *n)
{
	struct hs_tlist *l = hs_t_list(r);
	for (uint32_t i = 0; l && i < n->list.n && r->rc == 0; i++)
		hs_t_push(r, l, hs_t_eval(r, n->list.v[i]));
	if (l)
		l->tuple = n->kind == HS_TN_TUPLE;
	return hs_t_list_value(l);
}

static struct hs_tvalue eval_dict(struct hs_render *r, const struct hs_tnode *n)
{
	struct hs_tdict *d = hs_t_dict(r);
	for (uint32_t i = 0; d && i + 1 < n->list.n && r->rc == 0; i += 2) {
		struct hs_tvalue key = hs_t_eval(r, n->list.v[i]);
		hs_t_put(r, d, key, hs_t_eval(r, n->list.v[i + 1]));
	}
	return d ? (struct hs_tvalue){.kind = HS_T_DICT, .dict = d} : HS_TUNDEFINED;
}

static struct hs_tvalue eval_concat(struct hs_render *r, const struct hs_tnode *n)
{
	struct hs_tbuilder b = {0};
	for (uint32_t i = 0; i < n->list.n && r->rc == 0; i++) {
		struct hs_tvalue v = hs_t_eval(r, n->list.v[i]);
		hs_t_put_str(r, &b, &v);
	}
	return hs_tb_value(r, &b);
}

static struct hs_tvalue eval_sign(struct hs_render *r, const struct hs_tnode *n)
{
	const struct hs_tvalue zero = hs_t_int(0, 0), v = hs_t_eval(r, n->a);
	if (r->rc == 0 && !hs_t_is_number(&v))
		return hs_t_fail(r, "%s has no sign", hs_t_kind_name(&v));
	if (v.kind == HS_T_FLOAT) /* 0 - 0.0 would lose the sign */
		return hs_t_float(n->kind == HS_TN_NEG ? -v.d : v.d, v.source);
	return hs_t_binary(r, n->kind == HS_TN_NEG ? HS_TOP_SUB : HS_TOP_ADD, &zero, &v);
}

static struct hs_tvalue eval_part(struct hs_render *r, const struct hs_tnode *n)
{
	struct hs_tvalue of = hs_t_eval(r, n->a);
	if (r->rc == 0 && of.kind == HS_T_UNDEFINED && n->a->kind == HS_TN_NAME) {
		r->line = n->line;
		return hs_t_fail(r, "\"%.*s\" is not defined", (int)HS_MIN(n->a->len, 64u), n->a->s);
	}
	if (n->kind == HS_TN_ATTR) {
		r->line = n->line;
		return r->rc == 0 ? hs_t_attribute(r, &of, n->s, n->len) : HS_TUNDEFINED;
	}
	struct hs_tvalue key = hs_t_eval(r, n->b);
	r->line = n->line;
	return r->rc == 0 ? hs_t_item(r, &of, &key) : HS_TUNDEFINED;
}

static struct hs_tvalue text_of(struct hs_render *r, const struct hs_tnode *n)
{
	struct hs_ttext *t = hs_t_alloc(r, 1, sizeof *t);
	if (!t)
		return HS_TUNDEFINED;
	*t = (struct hs_ttext){.s = n->s, .len = n->len};
	return hs_tt_value(t);
}

static struct hs_tvalue eval(struct hs_render *r, const struct hs_tnode *n)
{
	struct hs_tvalue a, b;
	switch ((enum hs_tnode_kind)n->kind) {
	case HS_TN_CONST:
		return n->op == 0 ? HS_TNONE : hs_t_bool(n->op == 1);
	case HS_TN_INT:
		return hs_t_int(n->i, 0);
	case HS_TN_FLOAT:
		return hs_t_float(n->num, 0);
	case HS_TN_TEXT:
		return text_of(r, n);
	case HS_TN_NAME:
		return hs_t_lookup(r, n->symbol);
	case HS_TN_LIST:
	case HS_TN_TUPLE:
		return eval_list(r, n);
	case HS_TN_DICT:
		return eval_dict(r, n);
	case HS_TN_ATTR:
	case HS_TN_ITEM:
		return eval_part(r, n);
	case HS_TN_SLICE:
		return eval_slice(r, n);
	case HS_TN_CALL:
		return eval_call(r, n);
	case HS_TN_FILTER:
	case HS_TN_TEST:
		return eval_filter(r, n);
	case HS_TN_NEG:
	case HS_TN_POS:
		return eval_sign(r, n);
	case HS_TN_NOT:
		a = hs_t_eval(r, n->a);
		return hs_t_bool(!hs_t_truth(&a));
	case HS_TN_BINARY:
		a = hs_t_eval(r, n->a);
		b = hs_t_eval(r, n->b);
		r->line = n->line;
		return hs_t_binary(r, n->op, &a, &b);
	case HS_TN_CONCAT:
		return eval_concat(r, n);
	case HS_TN_AND:
		a = hs_t_eval(r, n->a);
		return hs_t_truth(&a) && r->rc == 0 ? hs_t_eval(r, n->b) : a;
	case HS_TN_OR:
		a = hs_t_eval(r, n->a);
		return hs_t_truth(&a) || r->rc < 0 ? a : hs_t_eval(r, n->b);
	case HS_TN_COMPARE:
		return eval_compare(r, n);
	case HS_TN_CHOICE:
		b = hs_t_eval(r, n->b);
		return hs_t_truth(&b) ? hs_t_eval(r, n->a) : n->c ? hs_t_eval(r, n->c) : HS_TUNDEFINED;
	default:
		return hs_t_fail(r, "not an expression");
	}
}

struct hs_tvalue hs_t_eval(struct hs_render *r, const struct hs_tnode *n)
{
	if (!hs_t_enter(r))
		return HS_TUNDEFINED;
	r->line = n->line;
	struct hs_tvalue v = eval(r, n);
	hs_t_leave(r);
	return v;
}
