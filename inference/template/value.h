/*
 * Values of a running template, and texts that know where their bytes came from. Internal to template/.
 *
 * Everything lives in the rendering's arena; nothing is freed before its end. A function that fails records the first
 * failure in the rendering (r->rc) and returns something harmless (undefined, an empty text, false): callers go on, and
 * the loops and the end look at r->rc.
 */
#ifndef HISHO_INFERENCE_TEMPLATE_VALUE_H
#define HISHO_INFERENCE_TEMPLATE_VALUE_H

#include "base/arena.h"
#include "inference/template/node.h"
#include "inference/template/template.h"

enum hs_tkind {
	HS_T_UNDEFINED,
	HS_T_NONE,
	HS_T_BOOL,
	HS_T_INT,
	HS_T_FLOAT,
	HS_T_TEXT,
	HS_T_LIST, /* lists, tuples, ranges and what Python makes as it goes: see the flags */
	HS_T_DICT,
	HS_T_NAMESPACE,
	HS_T_LOOP,
	HS_T_MACRO,
	HS_T_FUNCTION, /* of the language */
	HS_T_METHOD,   /* of a text, list or dict, bound to it */
};

struct hs_ttext {      /* immutable */
	const char *s; /* UTF-8, not terminated */
	size_t len;
	const struct hs_template_run *runs; /* where sources are mixed; the last ends at len */
	size_t n_runs;
	uint16_t source; /* of all bytes, where n_runs is 0 */
	bool markup;     /* came through `safe`: + escapes what it is joined with, as Jinja2's Markup does */
};

struct hs_tvalue {
	uint8_t kind;
	uint16_t source; /* of a number that was read from a text */
	union {
		bool b;
		int64_t i;
		double d;
		const struct hs_ttext *text;
		struct hs_tlist *list;
		struct hs_tdict *dict;
		struct hs_tloop *loop;
		struct hs_tmacro *macro;
		const struct hs_tcallable *function;
		struct hs_tmethod *method;
	};
};

struct hs_tlist {
	struct hs_tvalue *v;
	size_t n, cap;
	bool tuple, range;
	bool lazy;   /* an iterator: true whatever it holds, has no length, and is used up by being read */
	size_t from; /* of a lazy one: what was read already */
};

struct hs_tdict {
	struct hs_tpair {
		struct hs_tvalue key, value;
	} * v;
	size_t n, cap;
};

struct hs_tloop {
	struct hs_tlist *items;
	size_t at;
	unsigned depth;
	bool has_changed;
	struct hs_tlist *changed; /* what loop.changed() saw last */
};

struct hs_tscope {
	struct hs_tscope *parent;
	struct hs_tvar {
		uint32_t symbol;
		struct hs_tvalue value;
	} * v;
	uint32_t n, cap;
	bool captured; /* a macro may look into it later: it must not be used again for the next turn of a loop */
};

struct hs_tmacro {
	const struct hs_tnode *node; /* named: parameters; list: body */
	struct hs_tscope *scope;     /* where it was defined */
};

struct hs_tmethod {
	struct hs_tvalue self;
	const struct hs_tcallable *callable;
};

struct hs_tcall {              /* what a filter, test, function or method is called with */
	struct hs_tvalue self; /* the filtered value, the method's object */
	const struct hs_tvalue *args;
	size_t n;
	const struct hs_tpair *named;
	size_t n_named;
};

#define HS_TARGS_MAX 6u

/* params: names separated by commas, bound by position or name; "*" leaves them to the function. */
struct hs_tcallable {
	const char *name, *params;
	struct hs_tvalue (*call)(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *bound);
};

struct hs_tbuilder { /* a text being made */
	char *s;
	size_t len, cap;
	struct hs_template_run *runs;
	size_t n_runs, cap_runs;
};

struct hs_render {
	const struct hs_template *t;
	struct hs_arena *arena;
	int rc;
	struct hs_err err;
	uint32_t line;
	uint64_t steps;
	unsigned depth;
	bool ran, has_time;
	struct tm time;
	struct hs_tbuilder *out;
	struct hs_tvalue block; /* what the filters of a block are applied to */
	struct hs_tscope *root, *scope;
};

/* A parameter that was not given, told from one that was given something undefined. */
#define HS_TABSENT ((struct hs_tvalue){.kind = HS_T_UNDEFINED, .source = 1})
#define HS_TGIVEN(v) ((v).kind != HS_T_UNDEFINED || (v).source == 0)
#define HS_TUNDEFINED ((struct hs_tvalue){.kind = HS_T_UNDEFINED})
#define HS_TNONE ((struct hs_tvalue){.kind = HS_T_NONE})

/* --- failures and limits --- */

/* "template.failed"; the format's arguments must hold no text of source other than 0. */
struct hs_tvalue hs_t_fail(struct hs_render *r, const char *fmt, ...) HS_PRINTF(2, 3);
void hs_t_limit(struct hs_render *r, const char *limit);
bool hs_t_step(struct hs_render *r, size_t n); /* false once the rendering has failed */
bool hs_t_enter(struct hs_render *r);          /* one deeper; false past the limit, and then no leave */
void hs_t_leave(struct hs_render *r);
void *hs_t_alloc(struct hs_render *r, size_t count, size_t size); /* zeroed; NULL where it failed */

/* --- texts: text.c --- */

void hs_tb_put(struct hs_render *r, struct hs_tbuilder *b, const char *s, size_t n, uint16_t source);
void hs_tb_put_slice(struct hs_render *r, struct hs_tbuilder *b, const struct hs_ttext *t, size_t from, size_t to);
void hs_tb_put_text(struct hs_render *r, struct hs_tbuilder *b, const struct hs_ttext *t);
const struct hs_ttext *hs_tb_text(struct hs_render *r, const struct hs_tbuilder *b);
struct hs_tvalue hs_tb_value(struct hs_render *r, const struct hs_tbuilder *b);

uint16_t hs_tt_source_at(const struct hs_ttext *t, size_t at);
const struct hs_ttext *hs_tt_slice(struct hs_render *r, const struct hs_ttext *t, size_t from, size_t to);
struct hs_tvalue hs_tt_value(const struct hs_ttext *t);
struct hs_tvalue hs_tt_own(struct hs_render *r, const char *s); /* static text of source 0 */
struct hs_tvalue hs_tt_slice_value(struct hs_render *r, const struct hs_ttext *t, size_t from, size_t to);
bool hs_tt_equal(const struct hs_ttext *a, const struct hs_ttext *b);
bool hs_tt_is(const struct hs_ttext *t, const char *s);
int hs_tt_compare(const struct hs_ttext *a, const struct hs_ttext *b); /* by code points */
/* Offset of needle in hay[from, to), SIZE_MAX where it is not there. An empty one is found at once. */
size_t hs_tt_find(struct hs_render *r, const struct hs_ttext *hay, size_t from, size_t to, const struct hs_ttext *needle);
size_t hs_tt_find_last(struct hs_render *r, const struct hs_ttext *hay, size_t from, size_t to, const struct hs_ttext *needle);
size_t hs_tt_chars(struct hs_render *r, const struct hs_ttext *t);
size_t hs_tt_offset(const struct hs_ttext *t, size_t chars); /* of the char-th character, at most len */
/* chars NULL: white space. */
struct hs_tvalue hs_tt_strip(struct hs_render *r, const struct hs_ttext *t, const struct hs_ttext *chars, bool left, bool right);
struct hs_tvalue hs_tt_replace(struct hs_render *r, const struct hs_ttext *t, const struct hs_ttext *old,
			       const struct hs_ttext *new, int64_t most);
enum hs_tcase { HS_TCASE_UPPER, HS_TCASE_LOWER, HS_TCASE_TITLE, HS_TCASE_CAPITALIZE, HS_TCASE_WORDS };
struct hs_tvalue hs_tt_case(struct hs_render *r, const struct hs_ttext *t, enum hs_tcase how);
/* Lines as Python's splitlines gives them, without their ends. */
struct hs_tlist *hs_tt_lines(struct hs_render *r, const struct hs_ttext *t, bool keep_ends);
const struct hs_ttext *hs_tt_escape(struct hs_render *r, const struct hs_ttext *t); /* & < > " ' for HTML */

/* --- values: value.c --- */

struct hs_tvalue hs_t_bool(bool b);
struct hs_tvalue hs_t_int(int64_t i, uint16_t source);
struct hs_tvalue hs_t_float(double d, uint16_t source);
struct hs_tlist *hs_t_list(struct hs_render *r);
struct hs_tvalue hs_t_list_value(struct hs_tlist *l);
void hs_t_push(struct hs_render *r, struct hs_tlist *l, struct hs_tvalue v);
struct hs_tdict *hs_t_dict(struct hs_render *r);
struct hs_tvalue *hs_t_find(struct hs_render *r, const struct hs_tdict *d, const struct hs_tvalue *key);
struct hs_tvalue *hs_t_find_name(struct hs_render *r, const struct hs_tdict *d, const char *s, size_t n);
void hs_t_put(struct hs_render *r, struct hs_tdict *d, struct hs_tvalue key, struct hs_tvalue v);

bool hs_t_is_number(const struct hs_tvalue *v); /* int, float or bool */
double hs_t_number(const struct hs_tvalue *v);
bool hs_t_whole(const struct hs_tvalue *v, int64_t *ret); /* of int or bool */
/* An argument that may be left out or none: then otherwise. What is no whole number ends the rendering. */
int64_t hs_t_whole_arg(struct hs_render *r, const struct hs_tvalue *v, int64_t otherwise);
bool hs_t_truth(const struct hs_tvalue *v);
bool hs_t_equal(struct hs_render *r, const struct hs_tvalue *a, const struct hs_tvalue *b);
/* <0, 0, >0; fails where Python has no order between the two. */
int hs_t_compare(struct hs_render *r, const struct hs_tvalue *a, const struct hs_tvalue *b);
bool hs_t_contains(struct hs_render *r, const struct hs_tvalue *in, const struct hs_tvalue *v);
const char *hs_t_kind_name(const struct hs_tvalue *v);

/* What a for loop goes over: characters, keys, elements. Fails on what cannot be gone over. Never NULL where r->rc is 0. */
struct hs_tlist *hs_t_iterate(struct hs_render *r, const struct hs_tvalue *v);
size_t hs_t_length(struct hs_render *r, const struct hs_tvalue *v);
struct hs_tvalue hs_t_attribute(struct hs_render *r, const struct hs_tvalue *v, const char *s, size_t n);
struct hs_tvalue hs_t_item(struct hs_render *r, const struct hs_tvalue *v, const struct hs_tvalue *key);

/* As Python's str() and repr(). */
const struct hs_ttext *hs_t_str(struct hs_render *r, const struct hs_tvalue *v);
void hs_t_put_str(struct hs_render *r, struct hs_tbuilder *b, const struct hs_tvalue *v);
void hs_t_put_repr(struct hs_render *r, struct hs_tbuilder *b, const struct hs_tvalue *v);
void hs_t_put_float(struct hs_render *r, struct hs_tbuilder *b, double d, uint16_t source);

struct hs_tjson {
	bool ascii, sort;
	const struct hs_ttext *indent;             /* NULL: one line */
	const struct hs_ttext *item_end, *key_end; /* separators */
};
void hs_t_put_json(struct hs_render *r, struct hs_tbuilder *b, const struct hs_tvalue *v, const struct hs_tjson *how,
		   unsigned level);

/* --- what can be called --- */

const struct hs_tcallable *hs_t_method(const struct hs_tvalue *v, const char *s, size_t n); /* methods.c */
const struct hs_tcallable *hs_t_filter(const char *s, size_t n);                            /* filters.c */
const struct hs_tcallable *hs_t_test(const char *s, size_t n);                              /* checks.c */
const struct hs_tcallable *hs_t_function(const char *name);                                 /* functions.c */
struct hs_tvalue hs_t_apply(struct hs_render *r, const struct hs_tcallable *f, const struct hs_tcall *c);
/* Any callable value; fails on others. caller: of a call block, or NULL. eval.c */
struct hs_tvalue hs_t_call(struct hs_render *r, const struct hs_tvalue *f, const struct hs_tcall *c,
			   const struct hs_tvalue *caller);
/* Merge sort, stable. key: NULL, or (n) values that are sorted by. */
void hs_t_sort(struct hs_render *r, struct hs_tvalue *v, struct hs_tvalue *keys, size_t n, bool reverse);
struct hs_tvalue hs_t_percent(struct hs_render *r, const struct hs_ttext *format, const struct hs_tvalue *arg); /* format.c */
struct hs_tvalue hs_t_binary(struct hs_render *r, enum hs_top op, const struct hs_tvalue *a, const struct hs_tvalue *b);

struct hs_tvalue hs_t_eval(struct hs_render *r, const struct hs_tnode *n); /* eval.c */
/* run.c */
struct hs_tvalue hs_t_run_macro(struct hs_render *r, const struct hs_tmacro *m, const struct hs_tcall *c,
				const struct hs_tvalue *caller);
struct hs_tvalue hs_t_lookup(struct hs_render *r, uint32_t symbol);

#endif
