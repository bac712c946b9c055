#include "inference/template/parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

static const struct hs_tlex *word(const struct hs_tparser *p)
{
	return &p->words[p->at];
}

struct hs_tnode *hs_tp_fail(struct hs_tparser *p, const char *what)
{
	if (p->rc == 0)
		p->rc = hs_fail(p->err, EINVAL, "template.syntax", HS_N_("the chat template is not valid Jinja"), "line %u: %s",
				word(p)->line, what);
	return NULL;
}

struct hs_tnode *hs_tp_limit(struct hs_tparser *p, const char *limit)
{
	if (p->rc == 0)
		p->rc = hs_fail(p->err, EMSGSIZE, "template.limit", HS_N_("the chat template asks for more than any may have"),
				"line %u: %s", word(p)->line, limit);
	return NULL;
}

struct hs_tnode *hs_tp_node(struct hs_tparser *p, enum hs_tnode_kind kind)
{
	if (p->rc < 0)
		return NULL;
	struct hs_tnode *n = hs_arena_alloc(p->t->arena, sizeof *n);
	if (!n)
		return hs_tp_limit(p, "HS_TEMPLATE_PARSED_MAX");
	n->kind = (uint8_t)kind;
	n->line = p->words[p->at ? p->at - 1 : 0].line;
	return n;
}

bool hs_tp_add(struct hs_tparser *p, struct hs_tnode_list *list, struct hs_tnode *n)
{
	if (!n || p->rc < 0)
		return false;
	if (list->n == list->cap) {
		uint32_t cap = list->cap ? list->cap * 2 : 4;
		struct hs_tnode **more = hs_arena_calloc(p->t->arena, cap, sizeof(struct hs_tnode *));
		if (!more)
			return hs_tp_limit(p, "HS_TEMPLATE_PARSED_MAX");
		if (list->n)
			memcpy(more, list->v, list->n * sizeof(struct hs_tnode *));
		list->v = more;
		list->cap = cap;
	}
	list->v[list->n++] = n;
	return true;
}

static uint16_t deepest(const struct hs_tnode_list *list, uint16_t depth)
{
	for (uint32_t i = 0; i < list->n; i++)
		depth = HS_MAX(depth, list->v[i]->depth);
	return depth;
}

struct hs_tnode *hs_tp_done(struct hs_tparser *p, struct hs_tnode *n)
{
	if (!n || p->rc < 0)
		return NULL;
	const struct hs_tnode *children[] = {n->a, n->b, n->c, n->d};
	uint16_t depth = deepest(&n->list, deepest(&n->named, deepest(&n->more, 0)));
	for (size_t i = 0; i < HS_ARRAY_LEN(children); i++)
		depth = children[i] ? HS_MAX(depth, children[i]->depth) : depth;
	n->depth = (uint16_t)(depth + 1);
	return n->depth > HS_TEMPLATE_NEST_MAX ? hs_tp_limit(p, "HS_TEMPLATE_NEST_MAX") : n;
}

uint32_t hs_tp_symbol(struct hs_tparser *p, const char *s, size_t n)
{
	struct hs_template *t = p->t;
	for (uint32_t i = 0; i < t->n_symbols; i++)
		if (strlen(t->symbols[i]) == n && memcmp(t->symbols[i], s, n) == 0)
			return i;
	if (t->n_symbols == t->cap_symbols) {
		uint32_t cap = t->cap_symbols ? t->cap_symbols * 2 : 64;
		const char **more = cap <= HS_TEMPLATE_NAMES_MAX ? hs_arena_calloc(t->arena, cap, sizeof(char *)) : NULL;
		if (!more) {
			hs_tp_limit(p, cap <= HS_TEMPLATE_NAMES_MAX ? "HS_TEMPLATE_PARSED_MAX" : "HS_TEMPLATE_NAMES_MAX");
			return 0;
		}
		if (t->n_symbols)
			memcpy(more, t->symbols, t->n_symbols * sizeof(char *));
		t->symbols = more;
		t->cap_symbols = cap;
	}
	char *copy = hs_arena_strndup(t->arena, s, n);
	if (!copy) {
		hs_tp_limit(p, "HS_TEMPLATE_PARSED_MAX");
		return 0;
	}
	t->symbols[t->n_symbols] = copy;
	return t->n_symbols++;
}

/* --- statements --- */

/* Statements up to a tag that begins with one of the names, which is passed; which says which. */
static bool parse_body(struct hs_tparser *p, struct hs_tnode_list *body, const char *const *ends, size_t n_ends, size_t *which);

static bool end_tag(struct hs_tparser *p)
{
	if (word(p)->kind != HS_TL_BLOCK_END)
		return hs_tp_fail(p, "the end of the tag is missing");
	p->at++;
	return true;
}

static bool body_until(struct hs_tparser *p, struct hs_tnode *n, const char *end)
{
	size_t which;
	return parse_body(p, &n->list, &end, 1, &which);
}

static bool take_symbol(struct hs_tparser *p, uint32_t *ret, const struct hs_tlex **ret_word)
{
	if (word(p)->kind != HS_TL_NAME)
		return hs_tp_fail(p, "a name is missing");
	*ret_word = word(p);
	*ret = hs_tp_symbol(p, word(p)->s, word(p)->len);
	p->at++;
	return p->rc == 0;
}

/* What may be assigned to: a name, a namespace's attribute, a tuple of names. */
static bool is_target(const struct hs_tnode *n, bool nested)
{
	if (n->kind == HS_TN_NAME)
		return true;
	if (n->kind != HS_TN_TUPLE && n->kind != HS_TN_LIST)
		return false;
	for (uint32_t i = 0; i < n->list.n; i++)
		if (!nested || !is_target(n->list.v[i], true))
			return false;
	return n->list.n > 0;
}

static struct hs_tnode *parse_name_target(struct hs_tparser *p)
{
	const struct hs_tlex *w;
	uint32_t symbol;
	struct hs_tnode *n = hs_tp_node(p, HS_TN_NAME);
	if (!n || !take_symbol(p, &symbol, &w))
		return NULL;
	n->s = w->s;
	n->len = w->len;
	n->symbol = symbol;
	if (!hs_tp_take_op(p, "."))
		return n;
	if (word(p)->kind != HS_TL_NAME)
		return hs_tp_fail(p, "a name is missing after the dot");
	n->kind = HS_TN_NSREF;
	n->s = word(p)->s;
	n->len = word(p)->len;
	p->at++;
	return n;
}

static struct hs_tnode *parse_target(struct hs_tparser *p)
{
	bool bracket = hs_tp_take_op(p, "(");
	struct hs_tnode *n = parse_name_target(p), *tuple = NULL;
	while (n && hs_tp_take_op(p, ",")) {
		if (!tuple && (!(tuple = hs_tp_node(p, HS_TN_TUPLE)) || !hs_tp_add(p, &tuple->list, n)))
			return NULL;
		if (word(p)->kind != HS_TL_NAME)
			break;
		if (!(n = parse_name_target(p)) || !hs_tp_add(p, &tuple->list, n))
			return NULL;
	}
	if (bracket && !hs_tp_want_op(p, ")"))
		return NULL;
	return tuple ? hs_tp_done(p, tuple) : n;
}

static bool parse_branch(struct hs_tparser *p, struct hs_tnode *n, bool otherwise, size_t *which)
{
	static const char *const ends[] = {"elif", "else", "endif"};
	struct hs_tnode *branch = hs_tp_node(p, HS_TN_BRANCH);
	if (!branch || (!otherwise && !(branch->a = hs_tp_tuple(p, false))) || !end_tag(p))
		return false;
	if (!parse_body(p, &branch->list, otherwise ? ends + 2 : ends, otherwise ? 1 : 3, which))
		return false;
	*which += otherwise ? 2 : 0;
	return hs_tp_add(p, &n->list, hs_tp_done(p, branch));
}

static struct hs_tnode *parse_if(struct hs_tparser *p)
{
	struct hs_tnode *n = hs_tp_node(p, HS_TN_IF);
	size_t which = 0;
	while (n && which != 2)
		if (!parse_branch(p, n, which == 1, &which))
			return NULL;
	return n;
}

static struct hs_tnode *parse_for(struct hs_tparser *p)
{
	static const char *const ends[] = {"else", "endfor"};
	struct hs_tnode *n = hs_tp_node(p, HS_TN_FOR);
	size_t which;
	if (!n || !(n->a = parse_target(p)))
		return NULL;
	if (!is_target(n->a, true))
		return hs_tp_fail(p, "a loop's variable must be a name");
	if (!hs_tp_take_name(p, "in"))
		return hs_tp_fail(p, "\"in\" is missing");
	if (!(n->b = hs_tp_tuple(p, false)))
		return NULL;
	if (hs_tp_take_name(p, "if") && !(n->c = hs_tp_expression(p)))
		return NULL;
	if (hs_tp_is_name(p, "recursive"))
		return hs_tp_fail(p, "recursive loops are not supported");
	p->loops++;
	bool ok = end_tag(p) && parse_body(p, &n->list, ends, 2, &which);
	p->loops--;
	if (ok && which == 0)
		ok = end_tag(p) && parse_body(p, &n->more, ends + 1, 1, &which);
	return ok ? n : NULL;
}

/* A filter chain: "trim | upper", the first of which has nothing before it. */
static struct hs_tnode *parse_filters(struct hs_tparser *p)
{
	struct hs_tnode *n = hs_tp_filter(p, NULL);
	return n ? hs_tp_postfix(p, n, true) : NULL;
}

static struct hs_tnode *parse_set(struct hs_tparser *p)
{
	struct hs_tnode *n = hs_tp_node(p, HS_TN_SET);
	if (!n || !(n->a = parse_target(p)))
		return NULL;
	if (hs_tp_take_op(p, "="))
		return (n->b = hs_tp_tuple(p, true)) ? n : NULL;
	n->kind = HS_TN_SET_BLOCK;
	if (n->a->kind == HS_TN_TUPLE)
		return hs_tp_fail(p, "a block can be assigned to one name only");
	if (hs_tp_take_op(p, "|") && !(n->b = parse_filters(p)))
		return NULL;
	return end_tag(p) && body_until(p, n, "endset") ? n : NULL;
}

bool hs_tp_parameters(struct hs_tparser *p, struct hs_tnode *n)
{
	while (!hs_tp_take_op(p, ")")) {
		const struct hs_tlex *w;
		if (n->named.n && !hs_tp_want_op(p, ","))
			return false;
		if (hs_tp_take_op(p, ")"))
			break;
		struct hs_tnode *parameter = hs_tp_node(p, HS_TN_NAMED);
		if (!parameter || !take_symbol(p, &parameter->symbol, &w))
			return false;
		parameter->s = w->s;
		parameter->len = w->len;
		if (hs_tp_take_op(p, "=")) {
			if (!(parameter->a = hs_tp_expression(p)))
				return false;
		} else if (n->named.n && n->named.v[n->named.n - 1]->a) {
			return hs_tp_fail(p, "a parameter without a default follows one with a default");
		}
		if (!hs_tp_add(p, &n->named, hs_tp_done(p, parameter)))
			return false;
	}
	return true;
}

/* The body of a macro is its own: no break out of it into a loop around. */
static bool own_body(struct hs_tparser *p, struct hs_tnode *n, const char *end)
{
	unsigned loops = p->loops;
	uint8_t uses = p->uses;
	p->loops = 0;
	p->uses = 0;
	bool ok = end_tag(p) && body_until(p, n, end);
	n->op = p->uses;
	p->loops = loops;
	p->uses |= uses;
	return ok;
}

static struct hs_tnode *parse_macro(struct hs_tparser *p)
{
	struct hs_tnode *n = hs_tp_node(p, HS_TN_MACRO);
	const struct hs_tlex *w;
	if (!n || !take_symbol(p, &n->symbol, &w) || !hs_tp_want_op(p, "(") || !hs_tp_parameters(p, n))
		return NULL;
	n->s = w->s;
	n->len = w->len;
	return own_body(p, n, "endmacro") ? n : NULL;
}

static struct hs_tnode *parse_call_block(struct hs_tparser *p)
{
	struct hs_tnode *n = hs_tp_node(p, HS_TN_CALL_BLOCK);
	if (!n || (hs_tp_take_op(p, "(") && !hs_tp_parameters(p, n)) || !(n->a = hs_tp_expression(p)))
		return NULL;
	if (n->a->kind != HS_TN_CALL)
		return hs_tp_fail(p, "a call block must call something");
	return own_body(p, n, "endcall") ? n : NULL;
}

static struct hs_tnode *parse_filter_block(struct hs_tparser *p)
{
	struct hs_tnode *n = hs_tp_node(p, HS_TN_FILTER_BLOCK);
	if (!n || !(n->a = parse_filters(p)))
		return NULL;
	return end_tag(p) && body_until(p, n, "endfilter") ? n : NULL;
}

static struct hs_tnode *parse_with(struct hs_tparser *p)
{
	struct hs_tnode *n = hs_tp_node(p, HS_TN_WITH);
	const struct hs_tlex *w;
	while (n && word(p)->kind != HS_TL_BLOCK_END) {
		if (n->named.n && !hs_tp_want_op(p, ","))
			return NULL;
		struct hs_tnode *named = hs_tp_node(p, HS_TN_NAMED);
		if (!named || !take_symbol(p, &named->symbol, &w) || !hs_tp_want_op(p, "=") ||
		    !(named->a = hs_tp_expression(p)) || !hs_tp_add(p, &n->named, hs_tp_done(p, named)))
			return NULL;
	}
	return n && end_tag(p) && body_until(p, n, "endwith") ? n : NULL;
}

static struct hs_tnode *parse_generation(struct hs_tparser *p)
{
	struct hs_tnode *n = hs_tp_node(p, HS_TN_GENERATION);
	return n && own_body(p, n, "endgeneration") ? n : NULL;
}

static struct hs_tnode *parse_jump(struct hs_tparser *p, enum hs_tnode_kind kind)
{
	if (!p->loops)
		return hs_tp_fail(p, "break and continue stand in loops only");
	return hs_tp_node(p, kind);
}

static struct hs_tnode *parse_break(struct hs_tparser *p)
{
	return parse_jump(p, HS_TN_BREAK);
}

static struct hs_tnode *parse_continue(struct hs_tparser *p)
{
	return parse_jump(p, HS_TN_CONTINUE);
}

static struct hs_tnode *parse_print(struct hs_tparser *p)
{
	struct hs_tnode *n = hs_tp_node(p, HS_TN_OUTPUT);
	return n && (n->a = hs_tp_tuple(p, true)) ? n : NULL;
}

/* {% print a, b %} */
static struct hs_tnode *parse_prints(struct hs_tparser *p)
{
	struct hs_tnode *n = hs_tp_node(p, HS_TN_OUTPUT), *all = n ? hs_tp_node(p, HS_TN_CONCAT) : NULL;
	if (!all)
		return NULL;
	do
		if (!hs_tp_add(p, &all->list, hs_tp_expression(p)))
			return NULL;
	while (hs_tp_take_op(p, ","));
	n->a = hs_tp_done(p, all);
	return n;
}

static struct hs_tnode *parse_statement(struct hs_tparser *p)
{
	static const struct {
		const char *name;
		struct hs_tnode *(*parse)(struct hs_tparser *p);
	} table[] = {
	    {"if", parse_if},           {"for", parse_for},
	    {"set", parse_set},         {"macro", parse_macro},
	    {"call", parse_call_block}, {"filter", parse_filter_block},
	    {"with", parse_with},       {"generation", parse_generation},
	    {"break", parse_break},     {"continue", parse_continue},
	    {"print", parse_prints},
	};
	char what[96];
	for (size_t i = 0; i < HS_ARRAY_LEN(table); i++) {
		if (!hs_tp_take_name(p, table[i].name))
			continue;
		uint32_t line = p->words[p->at - 1].line;
		if (++p->depth > HS_TEMPLATE_NEST_MAX)
			return hs_tp_limit(p, "HS_TEMPLATE_NEST_MAX");
		struct hs_tnode *n = table[i].parse(p);
		p->depth--;
		if (!n || !end_tag(p))
			return NULL;
		n->line = line;
		return hs_tp_done(p, n);
	}
	(void)snprintf(what, sizeof what, "the tag \"%.*s\" is not known or stands in the wrong place",
		       (int)HS_MIN(word(p)->len, 32u), word(p)->kind == HS_TL_NAME ? word(p)->s : ""); /* fits */
	return hs_tp_fail(p, what);
}

static bool parse_body(struct hs_tparser *p, struct hs_tnode_list *body, const char *const *ends, size_t n_ends, size_t *which)
{
	while (p->rc == 0) {
		struct hs_tnode *n = NULL;
		switch (word(p)->kind) {
		case HS_TL_DATA:
			p->at++;
			if ((n = hs_tp_node(p, HS_TN_DATA))) {
				n->s = p->words[p->at - 1].s;
				n->len = p->words[p->at - 1].len;
			}
			break;
		case HS_TL_VAR_BEGIN:
			p->at++;
			if (!(n = parse_print(p)))
				return false;
			if (word(p)->kind != HS_TL_VAR_END)
				return hs_tp_fail(p, "the end of the expression is missing");
			p->at++;
			n = hs_tp_done(p, n);
			break;
		case HS_TL_BLOCK_BEGIN:
			p->at++;
			for (*which = 0; *which < n_ends; ++*which)
				if (hs_tp_take_name(p, ends[*which]))
					return true;
			n = parse_statement(p);
			break;
		default:
			if (n_ends)
				hs_tp_fail(p, "the template ends within a block");
			return n_ends == 0;
		}
		if (!hs_tp_add(p, body, n))
			return false;
	}
	return false;
}

/* Jinja2 reads every kind of line end as \n and drops the last one. */
static char *normalise(struct hs_arena *arena, const char *text, size_t n, size_t *ret_len)
{
	char *s = hs_arena_alloc(arena, n + 1);
	size_t len = 0;
	for (size_t i = 0; s && i < n; i++) {
		if (text[i] == '\r') {
			s[len++] = '\n';
			i += i + 1 < n && text[i + 1] == '\n';
		} else {
			s[len++] = text[i];
		}
	}
	if (len && s[len - 1] == '\n')
		len--;
	*ret_len = len;
	return s;
}

int hs_template_parse(struct hs_template *t, const char *text, size_t n, struct hs_err *err)
{
	struct hs_tlex *words = NULL;
	size_t len, count, which, bad;
	if (n > HS_TEMPLATE_SOURCE_MAX)
		return hs_fail(err, EMSGSIZE, "template.limit", HS_N_("the chat template asks for more than any may have"),
			       "HS_TEMPLATE_SOURCE_MAX");
	if (!hs_utf8_valid(text, n, &bad))
		return hs_fail(err, EILSEQ, "template.syntax", HS_N_("the chat template is not valid Jinja"),
			       "byte %zu is not UTF-8", bad);
	char *s = normalise(t->arena, text, n, &len);
	if (!s)
		return hs_fail_errno(err, -ENOMEM, "template.limit", "HS_TEMPLATE_PARSED_MAX");
	int rc = hs_tlex_all(t->arena, s, len, &words, &count, err);
	if (rc < 0)
		return rc;
	struct hs_tparser p = {.t = t, .words = words, .err = err};
	t->sym_loop = hs_tp_symbol(&p, "loop", 4);
	t->sym_caller = hs_tp_symbol(&p, "caller", 6);
	t->sym_varargs = hs_tp_symbol(&p, "varargs", 7);
	t->sym_kwargs = hs_tp_symbol(&p, "kwargs", 6);
	(void)parse_body(&p, &t->body, NULL, 0, &which); /* rc says it */
	free(words);
	return p.rc;
}

int hs_template_create(const char *text, size_t n, struct hs_template **ret, struct hs_err *err)
{
	struct hs_template *t = calloc(1, sizeof *t);
	int rc = t && (t->arena = hs_arena_create(HS_TEMPLATE_PARSED_MAX)) ? hs_template_parse(t, text, n, err) : -ENOMEM;
	if (rc < 0) {
		hs_template_destroy(t);
		return hs_fail_errno(err, rc, "template.load", "template");
	}
	*ret = t;
	return 0;
}

void hs_template_destroy(struct hs_template *t)
{
	if (!t)
		return;
	hs_arena_destroy(t->arena);
	free(t);
}
