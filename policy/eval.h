/*
 * Inside this room: the decision itself, once, for resolving and for explaining.
 *
 * A view holds one person's standing and the rules about them, read from the database at one instant. Judging a class
 * against it is arithmetic on numbers; nothing is looked up by name.
 */
#ifndef HISHO_POLICY_EVAL_H
#define HISHO_POLICY_EVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "base/arena.h"
#include "base/macros.h"
#include "policy/rules.h"

struct hs_view_rule {
	char *id;
	bool deny, who, expired;
	uint32_t rights;
	bool any_collection;
	uint8_t collections[HS_POLICY_COLLECTIONS_MAX / 8 + 1]; /* bits by collection number */
	int64_t lo, hi;
	int64_t list; /* 0: any */
};

struct hs_view {
	struct hs_arena *arena;
	bool stands;             /* the account exists, is not suspended, removed or expired */
	bool admin;
	int64_t user;            /* row; 0 where there is none */
	int64_t ends;            /* when something about this person changes by itself; INT64_MAX: never */
	struct hs_view_rule *rules;
	size_t n_rules, cap_rules;
	uint8_t lists[HS_POLICY_LISTS_MAX / 8 + 1]; /* that the person stands on */
};

struct hs_view_class { /* 0 where the policy declares none */
	int64_t collection, list;
	int64_t rank; /* -1 */
	bool listed;  /* the class names a list */
};

/* all: rules about other people too (explaining); else only those about this person that still hold. */
int hs_view_load(sqlite3 *db, const char *user_id, int64_t now_ms, bool all, struct hs_view *ret) HS_MUST_CHECK;
void hs_view_finish(struct hs_view *v);

/* Does the rule's class half hold the class? */
bool hs_view_where(const struct hs_view_rule *r, const struct hs_view_class *c);

/* The rights (1u << enum hs_right bits) on a class; why[right] for each. */
uint32_t hs_view_judge(const struct hs_view *v, const struct hs_view_class *c, enum hs_explain_why why[static 3]);

/* Columns for hs_view_class, in its order, over `classes c`. */
#define HS_VIEW_CLASS_SQL                                                                                                     \
	"coalesce((SELECT n FROM policy_collections WHERE name = c.collection), 0),"                                            \
	" coalesce((SELECT n FROM policy_lists WHERE name = c.list), 0),"                                                       \
	" coalesce((SELECT rank FROM policy_levels WHERE name = c.level), -1), c.list <> ''"
struct hs_view_class hs_view_class_row(sqlite3_stmt *s, int first_column);

#endif
