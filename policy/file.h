/*
 * Inside this room: a policy file, parsed and checked by itself. Names are not yet looked up; every name keeps its line.
 * All memory is the arena's.
 */
#ifndef HISHO_POLICY_FILE_H
#define HISHO_POLICY_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct hs_pf_name {
	const char *s;
	unsigned line;
};

struct hs_pf_names {
	struct hs_pf_name *items;
	size_t n;
};

struct hs_pf_attribute {
	const char *key, *value;
};

struct hs_pf_attributes {
	struct hs_pf_attribute *items;
	size_t n;
};

struct hs_pf_user {
	struct hs_pf_name name;
	const char *display;
	struct hs_pf_names groups;
	struct hs_pf_attributes attributes;
	bool suspended;
	int64_t expires; /* 0: never */
};

struct hs_pf_party { /* a group, a list, a role: a name and who belongs to it */
	struct hs_pf_name name;
	struct hs_pf_names users, groups;
};

struct hs_pf_rule {
	struct hs_pf_name id;
	bool deny;
	uint32_t rights; /* 1u << enum hs_right */
	bool everyone, has_who;
	struct hs_pf_names users, groups;
	struct hs_pf_attributes attributes;
	struct hs_pf_names collections;
	bool any_collection;
	struct hs_pf_name up_to, exact, from; /* at most one has s */
	struct hs_pf_name list;               /* s NULL: any */
	int64_t expires;
};

struct hs_policy_file {
	struct hs_pf_names levels, collections;
	struct hs_pf_user *users;
	struct hs_pf_party *groups, *lists, *roles;
	struct hs_pf_rule *rules;
	size_t n_users, n_groups, n_lists, n_roles, n_rules;
};

/* 0, -EINVAL with err as hs_policy_apply tells, -ENOMEM. */
int hs_policy_file_parse(const char *yaml, size_t n, struct hs_arena *arena, struct hs_policy_file *ret,
			 struct hs_err *err) HS_MUST_CHECK;

#endif
