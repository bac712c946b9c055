/* What the two halves of the parser share: statements in parse.c, expressions in parse_expr.c. Internal to template/. */
#ifndef HISHO_INFERENCE_TEMPLATE_PARSE_H
#define HISHO_INFERENCE_TEMPLATE_PARSE_H

#include "inference/template/lex.h"
#include "inference/template/node.h"

/* A function that fails returns NULL, and rc says why: the first failure is kept. */
struct hs_tparser {
	struct hs_template *t;
	const struct hs_tlex *words;
	size_t at; /* never past the last word, which is HS_TL_END */
	unsigned depth, loops;
	uint8_t uses; /* of HS_TUSES_*: what the macro body that is being read names */
	int rc;
	struct hs_err *err;
};

struct hs_tnode *hs_tp_fail(struct hs_tparser *p, const char *what); /* NULL always */
struct hs_tnode *hs_tp_limit(struct hs_tparser *p, const char *limit);
struct hs_tnode *hs_tp_node(struct hs_tparser *p, enum hs_tnode_kind kind);
bool hs_tp_add(struct hs_tparser *p, struct hs_tnode_list *list, struct hs_tnode *n);
/* Every child is in place: check how deep the tree is. */
struct hs_tnode *hs_tp_done(struct hs_tparser *p, struct hs_tnode *n);
uint32_t hs_tp_symbol(struct hs_tparser *p, const char *s, size_t n);

bool hs_tp_is_op(const struct hs_tparser *p, const char *op);
bool hs_tp_is_name(const struct hs_tparser *p, const char *name);
bool hs_tp_take_op(struct hs_tparser *p, const char *op);     /* true where it stood there and is passed */
bool hs_tp_take_name(struct hs_tparser *p, const char *name); /* likewise */
bool hs_tp_want_op(struct hs_tparser *p, const char *op);     /* likewise, a failure where it does not */

struct hs_tnode *hs_tp_expression(struct hs_tparser *p);
/* "a, b" makes a tuple. choice: "a if b" is allowed at the top. */
struct hs_tnode *hs_tp_tuple(struct hs_tparser *p, bool choice);
struct hs_tnode *hs_tp_postfix(struct hs_tparser *p, struct hs_tnode *n, bool filters);
struct hs_tnode *hs_tp_filter(struct hs_tparser *p, struct hs_tnode *of); /* the filter's name comes next */
bool hs_tp_arguments(struct hs_tparser *p, struct hs_tnode *n);           /* behind the open bracket */
/* Parameters of a macro or call block, behind the open bracket. */
bool hs_tp_parameters(struct hs_tparser *p, struct hs_tnode *n);

#endif
