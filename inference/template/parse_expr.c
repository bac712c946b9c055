#include <string.h>

#include "inference/template/parse.h"

static const struct hs_tlex *word(const struct hs_tparser *p)
{
	return &p->words[p->at];
}

static bool is_text(const struct hs_tlex *w, const char *text)
{
	return w->len == strlen(text) && memcmp(w->s, text, w->len) == 0;
}

bool hs_tp_is_op(const struct hs_tparser *p, const char *op)
{
	return word(p)->kind == HS_TL_OP && is_text(word(p), op);
}

bool hs_tp_is_name(const struct hs_tparser *p, const char *name)
{
	return word(p)->kind == HS_TL_NAME && is_text(word(p), name);
}

bool hs_tp_take_op(struct hs_tparser *p, const char *op)
{
	bool yes = hs_tp_is_op(p, op);
	p->at += yes;
	return yes;
}

bool hs_tp_take_name(struct hs_tparser *p, const char *name)
{
	bool yes = hs_tp_is_name(p, name);
	p->at += yes;
	return yes;
}

bool hs_tp_want_op(struct hs_tparser *p, const char *op)
{
	if (hs_tp_take_op(p, op))
		return true;
	char what[32];
	(void)snprintf(what, sizeof what, "\"%s\" is missing", op); /* operators are short */
	hs_tp_fail(p, what);
	return false;
}

static struct hs_tnode *binary(struct hs_tparser *p, enum hs_tnode_kind kind, int op, struct hs_tnode *a, struct hs_tnode *b)
{
	struct hs_tnode *n = a && b ? hs_tp_node(p, kind) : NULL;
	if (!n)
		return NULL;
	n->op = (uint8_t)op;
	n->a = a;
	n->b = b;
	return hs_tp_done(p, n);
}

static struct hs_tnode *unary(struct hs_tparser *p, enum hs_tnode_kind kind, struct hs_tnode *a)
{
	struct hs_tnode *n = a ? hs_tp_node(p, kind) : NULL;
	if (!n)
		return NULL;
	n->a = a;
	return hs_tp_done(p, n);
}

static struct hs_tnode *text_node(struct hs_tparser *p, enum hs_tnode_kind kind, const struct hs_tlex *w)
{
	struct hs_tnode *n = hs_tp_node(p, kind);
	if (n) {
		n->s = w->s;
		n->len = w->len;
	}
	return n;
}

/* Strings next to each other are one. */
static struct hs_tnode *parse_strings(struct hs_tparser *p)
{
	size_t from = p->at, total = 0;
	for (; word(p)->kind == HS_TL_TEXT; p->at++)
		total += word(p)->len;
	if (p->at == from + 1)
		return text_node(p, HS_TN_TEXT, &p->words[from]);
	char *s = hs_arena_alloc(p->t->arena, total + 1);
	if (!s)
		return hs_tp_limit(p, "HS_TEMPLATE_PARSED_MAX");
	size_t len = 0;
	for (; from < p->at; from++) {
		memcpy(s + len, p->words[from].s, p->words[from].len);
		len += p->words[from].len;
	}
	const struct hs_tlex joined = {.s = s, .len = len};
	return text_node(p, HS_TN_TEXT, &joined);
}

static struct hs_tnode *parse_name(struct hs_tparser *p)
{
	static const char *const constants[] = {"none", "None", "true", "True", "false", "False"};
	const struct hs_tlex *w = word(p);
	p->at++;
	for (size_t i = 0; i < HS_ARRAY_LEN(constants); i++) {
		if (is_text(w, constants[i])) {
			struct hs_tnode *n = hs_tp_node(p, HS_TN_CONST);
			if (n)
				n->op = (uint8_t)(i / 2);
			return n;
		}
	}
	struct hs_tnode *n = text_node(p, HS_TN_NAME, w);
	if (!n)
		return NULL;
	n->symbol = hs_tp_symbol(p, w->s, w->len);
	p->uses |= n->symbol == p->t->sym_caller ? HS_TUSES_CALLER : 0;
	p->uses |= n->symbol == p->t->sym_varargs ? HS_TUSES_VARARGS : 0;
	p->uses |= n->symbol == p->t->sym_kwargs ? HS_TUSES_KWARGS : 0;
	return n;
}

static struct hs_tnode *parse_list(struct hs_tparser *p)
{
	struct hs_tnode *n = hs_tp_node(p, HS_TN_LIST);
	while (n && !hs_tp_take_op(p, "]")) {
		if (n->list.n && !hs_tp_want_op(p, ","))
			return NULL;
		if (hs_tp_take_op(p, "]"))
			break;
		if (!hs_tp_add(p, &n->list, hs_tp_expression(p)))
			return NULL;
	}
	return n ? hs_tp_done(p, n) : NULL;
}

static struct hs_tnode *parse_dict(struct hs_tparser *p)
{
	struct hs_tnode *n = hs_tp_node(p, HS_TN_DICT);
	while (n && !hs_tp_take_op(p, "}")) {
		if (n->list.n && !hs_tp_want_op(p, ","))
			return NULL;
		if (hs_tp_take_op(p, "}"))
			break;
		if (!hs_tp_add(p, &n->list, hs_tp_expression(p)) || !hs_tp_want_op(p, ":") ||
		    !hs_tp_add(p, &n->list, hs_tp_expression(p)))
			return NULL;
	}
	return n ? hs_tp_done(p, n) : NULL;
}

static bool ends_tuple(const struct hs_tparser *p)
{
	return word(p)->kind == HS_TL_VAR_END || word(p)->kind == HS_TL_BLOCK_END || hs_tp_is_op(p, ")") ||
	       hs_tp_is_name(p, "in");
}

static struct hs_tnode *parse_or(struct hs_tparser *p);

static struct hs_tnode *tuple_of(struct hs_tparser *p, bool choice, bool bracketed)
{
	struct hs_tnode *first = NULL, *tuple = NULL;
	while (!ends_tuple(p)) {
		struct hs_tnode *n = choice ? hs_tp_expression(p) : parse_or(p);
		if (!n)
			return NULL;
		if (first && !tuple)
			return hs_tp_fail(p, "a comma is missing");
		first = n;
		if (tuple && !hs_tp_add(p, &tuple->list, n))
			return NULL;
		if (!hs_tp_take_op(p, ","))
			break;
		if (!tuple && (!(tuple = hs_tp_node(p, HS_TN_TUPLE)) || !hs_tp_add(p, &tuple->list, n)))
			return NULL;
	}
	if (!first && bracketed)
		return hs_tp_node(p, HS_TN_TUPLE);
	if (!first)
		return hs_tp_fail(p, "an expression is missing");
	return tuple ? hs_tp_done(p, tuple) : first;
}

struct hs_tnode *hs_tp_tuple(struct hs_tparser *p, bool choice)
{
	return tuple_of(p, choice, false);
}

static struct hs_tnode *parse_primary(struct hs_tparser *p)
{
	const struct hs_tlex *w = word(p);
	struct hs_tnode *n;
	switch (w->kind) {
	case HS_TL_NAME:
		return parse_name(p);
	case HS_TL_TEXT:
		return parse_strings(p);
	case HS_TL_INT:
	case HS_TL_FLOAT:
		p->at++;
		n = hs_tp_node(p, w->kind == HS_TL_INT ? HS_TN_INT : HS_TN_FLOAT);
		if (n && w->kind == HS_TL_INT)
			n->i = w->i;
		else if (n)
			n->num = w->d;
		return n;
	default:
		break;
	}
	if (hs_tp_take_op(p, "(")) {
		n = tuple_of(p, true, true);
		return n && hs_tp_want_op(p, ")") ? n : NULL;
	}
	if (hs_tp_take_op(p, "["))
		return parse_list(p);
	if (hs_tp_take_op(p, "{"))
		return parse_dict(p);
	return hs_tp_fail(p, "an expression is missing");
}

/* --- what follows a value --- */

bool hs_tp_arguments(struct hs_tparser *p, struct hs_tnode *n)
{
	bool first = true;
	while (!hs_tp_take_op(p, ")")) {
		if (!first && !hs_tp_want_op(p, ","))
			return false;
		if (hs_tp_take_op(p, ")"))
			break;
		first = false;
		if (hs_tp_is_op(p, "*") || hs_tp_is_op(p, "**"))
			return hs_tp_fail(p, "* and ** in arguments are not supported");
		const struct hs_tlex *w = word(p);
		const struct hs_tlex *next = w->kind == HS_TL_END ? w : w + 1;
		if (w->kind == HS_TL_NAME && next->kind == HS_TL_OP && is_text(next, "=")) {
			p->at += 2;
			struct hs_tnode *value = hs_tp_expression(p), *named = value ? text_node(p, HS_TN_NAMED, w) : NULL;
			if (!named)
				return false;
			named->a = value;
			named->symbol = hs_tp_symbol(p, w->s, w->len);
			if (!hs_tp_add(p, &n->named, hs_tp_done(p, named)))
				return false;
			continue;
		}
		if (n->named.n)
			return hs_tp_fail(p, "an argument without a name follows one with a name");
		if (!hs_tp_add(p, &n->list, hs_tp_expression(p)))
			return false;
	}
	return true;
}

static struct hs_tnode *parse_call(struct hs_tparser *p, struct hs_tnode *of)
{
	struct hs_tnode *n = hs_tp_node(p, HS_TN_CALL);
	if (!n)
		return NULL;
	n->a = of;
	return hs_tp_arguments(p, n) ? hs_tp_done(p, n) : NULL;
}

static struct hs_tnode *parse_attribute(struct hs_tparser *p, struct hs_tnode *of)
{
	const struct hs_tlex *w = word(p);
	struct hs_tnode *n = NULL;
	if (w->kind == HS_TL_NAME) {
		n = text_node(p, HS_TN_ATTR, w);
	} else if (w->kind == HS_TL_INT) {
		n = hs_tp_node(p, HS_TN_ITEM);
		if (n && (n->b = hs_tp_node(p, HS_TN_INT)))
			n->b->i = w->i;
	} else {
		return hs_tp_fail(p, "a name is missing after the dot");
	}
	p->at++;
	if (!n || p->rc < 0)
		return NULL;
	n->a = of;
	return hs_tp_done(p, n);
}

static struct hs_tnode *parse_subscript(struct hs_tparser *p, struct hs_tnode *of)
{
	struct hs_tnode *bounds[3] = {0};
	unsigned n_colons = 0;
	bool tuple = false;
	while (!hs_tp_is_op(p, "]")) {
		if (hs_tp_take_op(p, ":")) {
			if (++n_colons > 2)
				return hs_tp_fail(p, "a slice has more than three parts");
			continue;
		}
		tuple = tuple || bounds[n_colons];
		if (tuple)
			return hs_tp_fail(p, "more than one index is not supported");
		if (!(bounds[n_colons] = hs_tp_expression(p)))
			return NULL;
	}
	p->at++;
	if (!n_colons && !bounds[0])
		return hs_tp_fail(p, "an index is missing");
	struct hs_tnode *n = hs_tp_node(p, n_colons ? HS_TN_SLICE : HS_TN_ITEM);
	if (!n)
		return NULL;
	n->a = of;
	n->b = bounds[0];
	n->c = bounds[1];
	n->d = bounds[2];
	return hs_tp_done(p, n);
}

/* A dotted name, as filters and tests may have: none of ours has, so that a dot is part of the name that is not known. */
static bool take_dotted(struct hs_tparser *p, struct hs_tnode *n)
{
	const struct hs_tlex *w = word(p);
	if (w->kind != HS_TL_NAME)
		return hs_tp_fail(p, "a name is missing");
	p->at++;
	n->s = w->s;
	n->len = w->len;
	while (hs_tp_is_op(p, ".") && p->words[p->at + 1].kind == HS_TL_NAME) {
		p->at += 2;
		n->len = (size_t)(p->words[p->at - 1].s + p->words[p->at - 1].len - n->s);
	}
	return true;
}

struct hs_tnode *hs_tp_filter(struct hs_tparser *p, struct hs_tnode *of)
{
	struct hs_tnode *n = hs_tp_node(p, HS_TN_FILTER);
	if (!n || !take_dotted(p, n))
		return NULL;
	n->a = of;
	if (hs_tp_take_op(p, "(") && !hs_tp_arguments(p, n))
		return NULL;
	return hs_tp_done(p, n);
}

/* Does a test's single argument stand here without brackets? */
static bool begins_argument(const struct hs_tparser *p)
{
	switch (word(p)->kind) {
	case HS_TL_NAME:
		return !hs_tp_is_name(p, "else") && !hs_tp_is_name(p, "or") && !hs_tp_is_name(p, "and");
	case HS_TL_TEXT:
	case HS_TL_INT:
	case HS_TL_FLOAT:
		return true;
	default:
		return hs_tp_is_op(p, "[") || hs_tp_is_op(p, "{");
	}
}

static struct hs_tnode *parse_test(struct hs_tparser *p, struct hs_tnode *of)
{
	bool negated = hs_tp_take_name(p, "not");
	struct hs_tnode *n = hs_tp_node(p, HS_TN_TEST);
	if (!n || !take_dotted(p, n))
		return NULL;
	n->a = of;
	if (hs_tp_take_op(p, "(")) {
		if (!hs_tp_arguments(p, n))
			return NULL;
	} else if (begins_argument(p)) {
		if (hs_tp_is_name(p, "is"))
			return hs_tp_fail(p, "tests cannot be chained with is");
		struct hs_tnode *argument = parse_primary(p);
		if (argument)
			argument = hs_tp_postfix(p, argument, false);
		if (!hs_tp_add(p, &n->list, argument))
			return NULL;
	}
	n = hs_tp_done(p, n);
	return negated ? unary(p, HS_TN_NOT, n) : n;
}

/* Attributes, subscripts and calls; then, where filters are allowed, filters, tests and calls. */
struct hs_tnode *hs_tp_postfix(struct hs_tparser *p, struct hs_tnode *n, bool filters)
{
	bool filtered = false;
	while (n) {
		if (hs_tp_take_op(p, "("))
			n = parse_call(p, n);
		else if (!filtered && hs_tp_take_op(p, "."))
			n = parse_attribute(p, n);
		else if (!filtered && hs_tp_take_op(p, "["))
			n = parse_subscript(p, n);
		else if (filters && hs_tp_take_op(p, "|"))
			n = (filtered = true, hs_tp_filter(p, n));
		else if (filters && hs_tp_take_name(p, "is"))
			n = (filtered = true, parse_test(p, n));
		else
			break;
	}
	return n;
}

/* --- operators, loosest last --- */

static struct hs_tnode *parse_unary(struct hs_tparser *p, bool filters)
{
	struct hs_tnode *n;
	if (++p->depth > HS_TEMPLATE_NEST_MAX)
		return hs_tp_limit(p, "HS_TEMPLATE_NEST_MAX");
	if (hs_tp_take_op(p, "-"))
		n = unary(p, HS_TN_NEG, parse_unary(p, false));
	else if (hs_tp_take_op(p, "+"))
		n = unary(p, HS_TN_POS, parse_unary(p, false));
	else
		n = parse_primary(p);
	n = hs_tp_postfix(p, n, filters);
	p->depth--;
	return n;
}

static struct hs_tnode *parse_pow(struct hs_tparser *p)
{
	struct hs_tnode *n = parse_unary(p, true);
	while (n && hs_tp_take_op(p, "**"))
		n = binary(p, HS_TN_BINARY, HS_TOP_POW, n, parse_unary(p, true));
	return n;
}

static struct hs_tnode *parse_product(struct hs_tparser *p)
{
	struct hs_tnode *n = parse_pow(p);
	while (n) {
		int op = hs_tp_take_op(p, "*")    ? HS_TOP_MUL
			 : hs_tp_take_op(p, "/")  ? HS_TOP_DIV
			 : hs_tp_take_op(p, "//") ? HS_TOP_FLOOR
			 : hs_tp_take_op(p, "%")  ? HS_TOP_MOD
						  : -1;
		if (op < 0)
			break;
		n = binary(p, HS_TN_BINARY, op, n, parse_pow(p));
	}
	return n;
}

static struct hs_tnode *parse_concat(struct hs_tparser *p)
{
	struct hs_tnode *n = parse_product(p), *all = NULL;
	while (n && hs_tp_take_op(p, "~")) {
		if (!all && (!(all = hs_tp_node(p, HS_TN_CONCAT)) || !hs_tp_add(p, &all->list, n)))
			return NULL;
		if (!hs_tp_add(p, &all->list, parse_product(p)))
			return NULL;
	}
	return n && all ? hs_tp_done(p, all) : n;
}

static struct hs_tnode *parse_sum(struct hs_tparser *p)
{
	struct hs_tnode *n = parse_concat(p);
	while (n) {
		int op = hs_tp_take_op(p, "+") ? HS_TOP_ADD : hs_tp_take_op(p, "-") ? HS_TOP_SUB : -1;
		if (op < 0)
			break;
		n = binary(p, HS_TN_BINARY, op, n, parse_concat(p));
	}
	return n;
}

static int take_comparison(struct hs_tparser *p)
{
	static const struct {
		const char *op;
		enum hs_top top;
	} ops[] = {{"==", HS_TOP_EQ}, {"!=", HS_TOP_NE}, {"<", HS_TOP_LT},
		   {"<=", HS_TOP_LE}, {">", HS_TOP_GT},  {">=", HS_TOP_GE}};
	for (size_t i = 0; i < HS_ARRAY_LEN(ops); i++)
		if (hs_tp_take_op(p, ops[i].op))
			return (int)ops[i].top;
	if (hs_tp_take_name(p, "in"))
		return HS_TOP_IN;
	const struct hs_tlex *next = word(p)->kind == HS_TL_END ? word(p) : word(p) + 1;
	if (hs_tp_is_name(p, "not") && next->kind == HS_TL_NAME && is_text(next, "in")) {
		p->at += 2;
		return HS_TOP_NOT_IN;
	}
	return -1;
}

static struct hs_tnode *parse_compare(struct hs_tparser *p)
{
	struct hs_tnode *n = parse_sum(p), *all = NULL;
	for (int op; n && (op = take_comparison(p)) >= 0;) {
		if (!all) {
			if (!(all = hs_tp_node(p, HS_TN_COMPARE)))
				return NULL;
			all->a = n;
		}
		struct hs_tnode *operand = unary(p, HS_TN_OPERAND, parse_sum(p));
		if (!operand)
			return NULL;
		operand->op = (uint8_t)op;
		if (!hs_tp_add(p, &all->list, operand))
			return NULL;
	}
	return n && all ? hs_tp_done(p, all) : n;
}

static struct hs_tnode *parse_not(struct hs_tparser *p)
{
	if (++p->depth > HS_TEMPLATE_NEST_MAX)
		return hs_tp_limit(p, "HS_TEMPLATE_NEST_MAX");
	struct hs_tnode *n = hs_tp_take_name(p, "not") ? unary(p, HS_TN_NOT, parse_not(p)) : parse_compare(p);
	p->depth--;
	return n;
}

static struct hs_tnode *parse_and(struct hs_tparser *p)
{
	struct hs_tnode *n = parse_not(p);
	while (n && hs_tp_take_name(p, "and"))
		n = binary(p, HS_TN_AND, 0, n, parse_not(p));
	return n;
}

static struct hs_tnode *parse_or(struct hs_tparser *p)
{
	struct hs_tnode *n = parse_and(p);
	while (n && hs_tp_take_name(p, "or"))
		n = binary(p, HS_TN_OR, 0, n, parse_and(p));
	return n;
}

struct hs_tnode *hs_tp_expression(struct hs_tparser *p)
{
	if (++p->depth > HS_TEMPLATE_NEST_MAX)
		return hs_tp_limit(p, "HS_TEMPLATE_NEST_MAX");
	struct hs_tnode *n = parse_or(p);
	while (n && hs_tp_take_name(p, "if")) {
		struct hs_tnode *choice = hs_tp_node(p, HS_TN_CHOICE);
		if (!choice)
			return NULL;
		choice->a = n;
		choice->b = parse_or(p);
		if (hs_tp_take_name(p, "else"))
			choice->c = hs_tp_expression(p);
		n = choice->b && p->rc == 0 ? hs_tp_done(p, choice) : NULL;
	}
	p->depth--;
	return n;
}
