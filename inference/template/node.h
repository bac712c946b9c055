/* A parsed template: a tree of nodes in the template's arena. Internal to template/. */
#ifndef HISHO_INFERENCE_TEMPLATE_NODE_H
#define HISHO_INFERENCE_TEMPLATE_NODE_H

#include "base/arena.h"
#include "inference/template/template.h"

enum hs_tnode_kind {
	/* expressions */
	HS_TN_CONST,  /* none, true, false: op is 0, 1, 2 */
	HS_TN_INT,    /* i */
	HS_TN_FLOAT,  /* d */
	HS_TN_TEXT,   /* s, len */
	HS_TN_NAME,   /* symbol */
	HS_TN_LIST,   /* list */
	HS_TN_TUPLE,  /* list */
	HS_TN_DICT,   /* list: key, value, key, value */
	HS_TN_ATTR,   /* a.s */
	HS_TN_ITEM,   /* a[b] */
	HS_TN_SLICE,  /* a[b:c:d], each of the three may be NULL */
	HS_TN_CALL,   /* a(list, named) */
	HS_TN_FILTER, /* a | s(list, named); a is NULL in a filter block */
	HS_TN_TEST,   /* a is s(list, named) */
	HS_TN_NEG,
	HS_TN_POS,
	HS_TN_NOT,     /* a */
	HS_TN_BINARY,  /* a op b */
	HS_TN_CONCAT,  /* list */
	HS_TN_AND,     /* a, b */
	HS_TN_OR,      /* a, b */
	HS_TN_COMPARE, /* a, then list of HS_TN_OPERAND */
	HS_TN_OPERAND, /* op a */
	HS_TN_CHOICE,  /* a if b else c; c may be NULL */
	HS_TN_NAMED,   /* s = a: a named argument */
	/* statements */
	HS_TN_DATA,         /* s, len: the template's own text */
	HS_TN_OUTPUT,       /* a */
	HS_TN_IF,           /* list: of HS_TN_BRANCH */
	HS_TN_BRANCH,       /* a (NULL: else), list */
	HS_TN_FOR,          /* a: target, b: iterable, c: condition or NULL; list: body, more: else */
	HS_TN_SET,          /* a: target, b: value */
	HS_TN_SET_BLOCK,    /* a: target, b: filter or NULL; list */
	HS_TN_NSREF,        /* symbol . s: a target */
	HS_TN_MACRO,        /* symbol; named: parameters (HS_TN_NAMED, a may be NULL); list: body */
	HS_TN_CALL_BLOCK,   /* a: the call; named: parameters; list: body */
	HS_TN_FILTER_BLOCK, /* a: filters; list: body */
	HS_TN_WITH,         /* named: HS_TN_NAMED with symbol; list: body */
	HS_TN_GENERATION,   /* list: body, in a scope of its own */
	HS_TN_BREAK,
	HS_TN_CONTINUE,
};

enum hs_top { /* of binary operations and comparisons */
	      HS_TOP_ADD,
	      HS_TOP_SUB,
	      HS_TOP_MUL,
	      HS_TOP_DIV,
	      HS_TOP_FLOOR,
	      HS_TOP_MOD,
	      HS_TOP_POW,
	      HS_TOP_EQ,
	      HS_TOP_NE,
	      HS_TOP_LT,
	      HS_TOP_LE,
	      HS_TOP_GT,
	      HS_TOP_GE,
	      HS_TOP_IN,
	      HS_TOP_NOT_IN,
};

/* op of HS_TN_MACRO and HS_TN_CALL_BLOCK: which names the body uses, and so what it can be called with. */
#define HS_TUSES_CALLER 1u
#define HS_TUSES_VARARGS 2u
#define HS_TUSES_KWARGS 4u

struct hs_tnode_list {
	struct hs_tnode **v;
	uint32_t n, cap;
};

struct hs_tnode {
	uint8_t kind, op;
	uint16_t depth; /* of the tree below it */
	uint32_t line, symbol;
	union {
		struct {
			const char *s;
			size_t len;
		};
		int64_t i;
		double num;
	};
	struct hs_tnode *a, *b, *c, *d;
	struct hs_tnode_list list, named, more;
};

struct hs_template {
	struct hs_arena *arena;
	const char **symbols; /* terminated names, in order of appearance */
	uint32_t n_symbols, cap_symbols;
	uint32_t sym_loop, sym_caller, sym_varargs, sym_kwargs;
	struct hs_tnode_list body;
};

/* Parse into t, whose arena exists. */
int hs_template_parse(struct hs_template *t, const char *text, size_t n, struct hs_err *err) HS_MUST_CHECK;

#endif
