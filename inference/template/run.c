/* Statements, scopes, macros; and the rendering itself. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "inference/template/value.h"

enum jump { NONE, BREAK, CONTINUE };

static enum jump run_body(struct hs_render *r, const struct hs_tnode_list *body);

/* --- scopes --- */

static struct hs_tscope *new_scope(struct hs_render *r, struct hs_tscope *parent)
{
	struct hs_tscope *s = hs_t_alloc(r, 1, sizeof *s);
	if (s)
		s->parent = parent;
	return s;
}

static void set(struct hs_render *r, struct hs_tscope *s, uint32_t symbol, struct hs_tvalue v)
{
	if (!s || !hs_t_step(r, s->n / 32))
		return;
	for (uint32_t i = 0; i < s->n; i++) {
		if (s->v[i].symbol == symbol) {
			s->v[i].value = v;
			return;
		}
	}
	if (s->n == s->cap) {
		uint32_t cap = s->cap ? s->cap * 2 : 8;
		struct hs_tvar *more = hs_t_alloc(r, cap, sizeof *more);
		if (!more)
			return;
		if (s->n)
			memcpy(more, s->v, s->n * sizeof *more);
		s->v = more;
		s->cap = cap;
	}
	s->v[s->n++] = (struct hs_tvar){symbol, v};
}

struct hs_tvalue hs_t_lookup(struct hs_render *r, uint32_t symbol)
{
	for (const struct hs_tscope *s = r->scope; s && hs_t_step(r, 1 + s->n / 32); s = s->parent)
		for (uint32_t i = 0; i < s->n; i++)
			if (s->v[i].symbol == symbol)
				return s->v[i].value;
	const struct hs_tcallable *f = hs_t_function(r->t->symbols[symbol]);
	return f ? (struct hs_tvalue){.kind = HS_T_FUNCTION, .function = f} : HS_TUNDEFINED;
}

/* A macro will look into this scope when it is called. */
static struct hs_tscope *capture(struct hs_render *r)
{
	for (struct hs_tscope *s = r->scope; s && !s->captured; s = s->parent)
		s->captured = true;
	return r->scope;
}

static void assign(struct hs_render *r, const struct hs_tnode *target, struct hs_tvalue v)
{
	if (r->rc < 0)
		return;
	r->line = target->line;
	if (target->kind == HS_TN_NAME) {
		set(r, r->scope, target->symbol, v);
	} else if (target->kind == HS_TN_NSREF) {
		struct hs_tvalue ns = hs_t_lookup(r, target->symbol);
		struct hs_ttext *name = hs_t_alloc(r, 1, sizeof *name);
		if (ns.kind != HS_T_NAMESPACE || !name) {
			hs_t_fail(r, "\"%s\" is no namespace: its attributes cannot be set", r->t->symbols[target->symbol]);
			return;
		}
		*name = (struct hs_ttext){.s = target->s, .len = target->len};
		hs_t_put(r, ns.dict, hs_tt_value(name), v);
	} else {
		const struct hs_tlist *l = hs_t_iterate(r, &v);
		if (l && l->n != target->list.n)
			hs_t_fail(r, "%u names cannot take %zu values", target->list.n, l->n);
		for (uint32_t i = 0; l && i < target->list.n && r->rc == 0; i++)
			assign(r, target->list.v[i], l->v[i]);
	}
}

/* --- blocks that are caught --- */

/* What a body writes, in a scope of its own below `parent`. */
static struct hs_tvalue caught(struct hs_render *r, const struct hs_tnode_list *body, struct hs_tscope *scope)
{
	struct hs_tbuilder b = {0}, *out = r->out;
	struct hs_tscope *before = r->scope;
	if (!scope)
		return HS_TUNDEFINED;
	r->out = &b;
	r->scope = scope;
	(void)run_body(r, body); /* the parser lets no jump out of these */
	r->out = out;
	r->scope = before;
	return hs_tb_value(r, &b);
}

/* Parameters from arguments; defaults are computed in the macro's own scope. */
static void bind(struct hs_render *r, const struct hs_tnode *node, const struct hs_tcall *c, struct hs_tscope *scope)
{
	size_t used = 0;
	for (uint32_t i = 0; i < node->named.n && r->rc == 0; i++) {
		const struct hs_tnode *parameter = node->named.v[i];
		const struct hs_tvalue *given = i < c->n ? &c->args[i] : NULL;
		for (size_t k = 0; k < c->n_named; k++) {
			const struct hs_ttext *name = c->named[k].key.text;
			if (name->len != parameter->len || memcmp(name->s, parameter->s, name->len) != 0)
				continue;
			if (given)
				hs_t_fail(r, "an argument is given twice");
			given = &c->named[k].value;
			used++;
		}
		struct hs_tvalue v = given ? *given : HS_TUNDEFINED;
		if (!given && parameter->a)
			v = hs_t_eval(r, parameter->a);
		set(r, scope, parameter->symbol, v);
	}
	struct hs_tlist *rest = node->op & HS_TUSES_VARARGS ? hs_t_list(r) : NULL;
	struct hs_tdict *named = node->op & HS_TUSES_KWARGS ? hs_t_dict(r) : NULL;
	if ((c->n > node->named.n && !rest) || (used < c->n_named && !named))
		hs_t_fail(r, "a macro is called with arguments that it does not take");
	for (size_t i = node->named.n; rest && i < c->n; i++)
		hs_t_push(r, rest, c->args[i]);
	for (size_t k = 0; named && k < c->n_named && r->rc == 0; k++) {
		bool taken = false;
		for (uint32_t i = 0; i < node->named.n; i++)
			taken = taken || (c->named[k].key.text->len == node->named.v[i]->len &&
					  memcmp(c->named[k].key.text->s, node->named.v[i]->s, node->named.v[i]->len) == 0);
		if (!taken)
			hs_t_put(r, named, c->named[k].key, c->named[k].value);
	}
	if (rest) {
		rest->tuple = true;
		set(r, scope, r->t->sym_varargs, hs_t_list_value(rest));
	}
	if (named)
		set(r, scope, r->t->sym_kwargs, (struct hs_tvalue){.kind = HS_T_DICT, .dict = named});
}

struct hs_tvalue hs_t_run_macro(struct hs_render *r, const struct hs_tmacro *m, const struct hs_tcall *c,
				const struct hs_tvalue *caller)
{
	struct hs_tscope *before = r->scope, *scope = new_scope(r, m->scope);
	if (!scope || !hs_t_enter(r))
		return HS_TUNDEFINED;
	r->scope = scope;
	bind(r, m->node, c, scope);
	if (caller && !(m->node->op & HS_TUSES_CALLER))
		hs_t_fail(r, "the macro of a call block does not use its caller");
	if (m->node->op & HS_TUSES_CALLER)
		set(r, scope, r->t->sym_caller, caller ? *caller : HS_TUNDEFINED);
	r->scope = before;
	struct hs_tvalue v = r->rc == 0 ? caught(r, &m->node->list, scope) : HS_TUNDEFINED;
	hs_t_leave(r);
	return v;
}

static struct hs_tvalue make_macro(struct hs_render *r, const struct hs_tnode *n)
{
	struct hs_tmacro *m = hs_t_alloc(r, 1, sizeof *m);
	if (!m)
		return HS_TUNDEFINED;
	*m = (struct hs_tmacro){.node = n, .scope = capture(r)};
	return (struct hs_tvalue){.kind = HS_T_MACRO, .macro = m};
}

static void run_call_block(struct hs_render *r, const struct hs_tnode *n)
{
	const struct hs_tnode *call = n->a;
	struct hs_tvalue caller = make_macro(r, n), f = hs_t_eval(r, call->a);
	struct hs_tvalue *args = hs_t_alloc(r, call->list.n + 1, sizeof *args);
	struct hs_tpair *named = hs_t_alloc(r, call->named.n + 1, sizeof *named);
	for (uint32_t i = 0; args && i < call->list.n && r->rc == 0; i++)
		args[i] = hs_t_eval(r, call->list.v[i]);
	for (uint32_t i = 0; named && i < call->named.n && r->rc == 0; i++) {
		struct hs_ttext *name = hs_t_alloc(r, 1, sizeof *name);
		if (!name)
			return;
		*name = (struct hs_ttext){.s = call->named.v[i]->s, .len = call->named.v[i]->len};
		named[i] = (struct hs_tpair){hs_tt_value(name), hs_t_eval(r, call->named.v[i]->a)};
	}
	const struct hs_tcall c = {.args = args, .n = call->list.n, .named = named, .n_named = call->named.n};
	struct hs_tvalue v = hs_t_call(r, &f, &c, &caller);
	hs_t_put_str(r, r->out, &v);
}

static struct hs_tvalue filtered(struct hs_render *r, const struct hs_tnode *filters, struct hs_tvalue v)
{
	struct hs_tvalue before = r->block;
	if (!filters)
		return v;
	r->block = v;
	v = hs_t_eval(r, filters);
	r->block = before;
	return v;
}

/* --- loops --- */

/* Only the elements for which the condition holds. */
static struct hs_tlist *chosen(struct hs_render *r, const struct hs_tnode *n, const struct hs_tlist *all)
{
	struct hs_tlist *out = hs_t_list(r);
	struct hs_tscope *before = r->scope;
	for (size_t i = 0; out && i < all->n && r->rc == 0; i++) {
		if (!(r->scope = new_scope(r, before)))
			break;
		assign(r, n->a, all->v[i]);
		struct hs_tvalue v = hs_t_eval(r, n->c);
		if (hs_t_truth(&v))
			hs_t_push(r, out, all->v[i]);
	}
	r->scope = before;
	return out;
}

static enum jump run_for(struct hs_render *r, const struct hs_tnode *n)
{
	struct hs_tscope *before = r->scope, *scope = NULL;
	struct hs_tvalue over = hs_t_eval(r, n->b);
	r->line = n->line;
	struct hs_tlist *items = r->rc == 0 ? hs_t_iterate(r, &over) : NULL;
	if (items && n->c)
		items = chosen(r, n, items);
	if (!items || r->rc < 0)
		return NONE;
	if (items->n == 0) {
		if (!n->more.n || !(r->scope = new_scope(r, before)))
			return NONE;
		enum jump jump = run_body(r, &n->more);
		r->scope = before;
		return jump;
	}
	struct hs_tloop *loop = hs_t_alloc(r, 1, sizeof *loop);
	enum jump jump = NONE;
	for (size_t i = 0; loop && i < items->n && jump != BREAK && hs_t_step(r, 1); i++) {
		if (!scope || scope->captured)
			scope = new_scope(r, before);
		if (!scope)
			break;
		scope->n = 0;
		r->scope = scope;
		*loop = (struct hs_tloop){
		    .items = items, .at = i, .depth = 1, .has_changed = loop->has_changed, .changed = loop->changed};
		set(r, scope, r->t->sym_loop, (struct hs_tvalue){.kind = HS_T_LOOP, .loop = loop});
		assign(r, n->a, items->v[i]);
		jump = run_body(r, &n->list);
	}
	r->scope = before;
	return NONE;
}

/* --- statements --- */

static enum jump run_if(struct hs_render *r, const struct hs_tnode *n)
{
	for (uint32_t i = 0; i < n->list.n && r->rc == 0; i++) {
		const struct hs_tnode *branch = n->list.v[i];
		struct hs_tvalue v = branch->a ? hs_t_eval(r, branch->a) : hs_t_bool(true);
		if (r->rc == 0 && hs_t_truth(&v))
			return run_body(r, &branch->list);
	}
	return NONE;
}

static enum jump run_with(struct hs_render *r, const struct hs_tnode *n)
{
	struct hs_tscope *before = r->scope, *scope = new_scope(r, before);
	if (!scope)
		return NONE;
	for (uint32_t i = 0; i < n->named.n; i++)
		set(r, scope, n->named.v[i]->symbol, hs_t_eval(r, n->named.v[i]->a));
	r->scope = scope;
	enum jump jump = run_body(r, &n->list);
	r->scope = before;
	return jump;
}

static enum jump run(struct hs_render *r, const struct hs_tnode *n)
{
	struct hs_tvalue v;
	switch ((enum hs_tnode_kind)n->kind) {
	case HS_TN_DATA:
		hs_tb_put(r, r->out, n->s, n->len, 0);
		return NONE;
	case HS_TN_OUTPUT:
		v = hs_t_eval(r, n->a);
		hs_t_put_str(r, r->out, &v);
		return NONE;
	case HS_TN_IF:
		return run_if(r, n);
	case HS_TN_FOR:
		return run_for(r, n);
	case HS_TN_SET:
		assign(r, n->a, hs_t_eval(r, n->b));
		return NONE;
	case HS_TN_SET_BLOCK:
		v = caught(r, &n->list, new_scope(r, r->scope));
		assign(r, n->a, filtered(r, n->b, v));
		return NONE;
	case HS_TN_MACRO:
		set(r, r->scope, n->symbol, make_macro(r, n));
		return NONE;
	case HS_TN_CALL_BLOCK:
		run_call_block(r, n);
		return NONE;
	case HS_TN_FILTER_BLOCK:
		v = filtered(r, n->a, caught(r, &n->list, new_scope(r, r->scope)));
		hs_t_put_str(r, r->out, &v);
		return NONE;
	case HS_TN_WITH:
		return run_with(r, n);
	case HS_TN_GENERATION:
		v = caught(r, &n->list, new_scope(r, r->scope));
		hs_t_put_str(r, r->out, &v);
		return NONE;
	case HS_TN_BREAK:
		return BREAK;
	case HS_TN_CONTINUE:
		return CONTINUE;
	default:
		hs_t_fail(r, "not a statement");
		return NONE;
	}
}

static enum jump run_body(struct hs_render *r, const struct hs_tnode_list *body)
{
	enum jump jump = NONE;
	for (uint32_t i = 0; i < body->n && jump == NONE && hs_t_enter(r); i++) {
		r->line = body->v[i]->line;
		jump = run(r, body->v[i]);
		hs_t_leave(r);
	}
	return jump;
}

/* --- the rendering --- */

struct hs_render *hs_render_create(const struct hs_template *t)
{
	struct hs_render *r = calloc(1, sizeof *r);
	if (!r || !(r->arena = hs_arena_create(HS_TEMPLATE_MEMORY_MAX))) {
		free(r);
		return NULL;
	}
	r->t = t;
	r->err = HS_ERR_INIT;
	r->root = r->scope = new_scope(r, NULL); /* a failure shows when it is run */
	return r;
}

void hs_render_destroy(struct hs_render *r)
{
	if (!r)
		return;
	hs_arena_destroy(r->arena);
	free(r);
}

void hs_render_set_time(struct hs_render *r, const struct tm *now)
{
	r->time = *now;
	r->has_time = true;
}

/* A value that could not be made fails the rendering: nothing is left out of a prompt in silence. */
static bool is_made(struct hs_render *r, const struct hs_tvalue *v)
{
	if (!v)
		hs_t_limit(r, "HS_TEMPLATE_MEMORY_MAX");
	return v != NULL;
}

void hs_render_set(struct hs_render *r, const char *name, struct hs_tvalue *v)
{
	for (uint32_t i = 0; is_made(r, v) && i < r->t->n_symbols; i++)
		if (strcmp(r->t->symbols[i], name) == 0)
			set(r, r->root, i, *v); /* a name that the template does not say is not needed */
}

int hs_render_run(struct hs_render *r, struct hs_template_output *ret, struct hs_err *err)
{
	struct hs_tbuilder *b = hs_t_alloc(r, 1, sizeof *b);
	hs_assert(!r->ran);
	r->ran = true;
	r->out = b;
	if (b && r->rc == 0) {
		r->scope = new_scope(r, r->root); /* what the template sets hides what it was given */
		(void)run_body(r, &r->t->body);   /* the parser lets no jump out of loops */
	}
	if (r->rc < 0) {
		if (err)
			*err = r->err;
		return r->rc;
	}
	*ret = (struct hs_template_output){.text = b->s ? b->s : "", .len = b->len, .runs = b->runs, .n_runs = b->n_runs};
	return 0;
}

/* --- values from outside --- */

static struct hs_tvalue *boxed(struct hs_render *r, struct hs_tvalue v)
{
	struct hs_tvalue *out = hs_t_alloc(r, 1, sizeof *out);
	if (out)
		*out = v;
	return out;
}

struct hs_tvalue *hs_tvalue_none(struct hs_render *r)
{
	return boxed(r, HS_TNONE);
}

struct hs_tvalue *hs_tvalue_bool(struct hs_render *r, bool b)
{
	return boxed(r, hs_t_bool(b));
}

struct hs_tvalue *hs_tvalue_int(struct hs_render *r, int64_t i)
{
	return boxed(r, hs_t_int(i, 0));
}

struct hs_tvalue *hs_tvalue_float(struct hs_render *r, double d)
{
	return boxed(r, hs_t_float(d, 0));
}

static bool is_utf8(struct hs_render *r, const char *s, size_t n)
{
	if (hs_utf8_valid(s, n, NULL))
		return true;
	if (r->rc == 0)
		r->rc = hs_fail(&r->err, EILSEQ, "template.failed", HS_N_("the chat template cannot be rendered"),
				"a text is not UTF-8");
	return false;
}

struct hs_tvalue *hs_tvalue_text(struct hs_render *r, const char *s, size_t n, uint16_t source)
{
	struct hs_ttext *t = is_utf8(r, s, n) ? hs_t_alloc(r, 1, sizeof *t) : NULL;
	if (!t)
		return NULL;
	*t = (struct hs_ttext){.s = n ? s : "", .len = n, .source = source};
	return boxed(r, hs_tt_value(t));
}

struct hs_tvalue *hs_tvalue_joined(struct hs_render *r, const struct hs_template_part *parts, size_t n)
{
	struct hs_tbuilder b = {0};
	for (size_t i = 0; i < n; i++) {
		if (!is_utf8(r, parts[i].s, parts[i].len))
			return NULL;
		hs_tb_put(r, &b, parts[i].s, parts[i].len, parts[i].source);
	}
	return boxed(r, hs_tb_value(r, &b));
}

struct hs_tvalue *hs_tvalue_list(struct hs_render *r)
{
	return boxed(r, hs_t_list_value(hs_t_list(r)));
}

void hs_tvalue_push(struct hs_render *r, struct hs_tvalue *list, struct hs_tvalue *v)
{
	if (is_made(r, list) && is_made(r, v))
		hs_t_push(r, list->list, *v);
}

struct hs_tvalue *hs_tvalue_dict(struct hs_render *r)
{
	return boxed(r, (struct hs_tvalue){.kind = HS_T_DICT, .dict = hs_t_dict(r)});
}

void hs_tvalue_put(struct hs_render *r, struct hs_tvalue *dict, const char *key, struct hs_tvalue *v)
{
	if (is_made(r, dict) && is_made(r, v))
		hs_t_put(r, dict->dict, hs_tt_own(r, key), *v);
}

void hs_tvalue_put_text(struct hs_render *r, struct hs_tvalue *dict, struct hs_tvalue *key, struct hs_tvalue *v)
{
	if (is_made(r, dict) && is_made(r, key) && is_made(r, v))
		hs_t_put(r, dict->dict, *key, *v);
}
