/*
 * The policy file: YAML of users, groups, collections, levels, access lists, rules and roles (docs/policy.md), applied as
 * one transaction and kept with its history in the tenant's database.
 *
 * A person sees a class when the policy declares its collection, level and list, the person stands on that list (where
 * there is one), at least one allow rule matches and no deny rule does. Deny wins, absence denies. A holder of the role
 * `admin` administers and sees nothing.
 */
#ifndef HISHO_POLICY_RULES_H
#define HISHO_POLICY_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "base/buf.h"
#include "base/err.h"
#include "policy/schema.h"

#define HS_POLICY_YAML_MAX (4u * 1024u * 1024u)
#define HS_POLICY_USERS_MAX 20000
#define HS_POLICY_GROUPS_MAX 4096
#define HS_POLICY_RULES_MAX 4096
#define HS_POLICY_LISTS_MAX 1024
#define HS_POLICY_COLLECTIONS_MAX 1024
#define HS_POLICY_LEVELS_MAX 16
#define HS_POLICY_HASH_LEN 32

enum hs_role { /* bits */
	HS_ROLE_ADMIN = 1u << 0,   /* changes policy, users, tenants; reads no document */
	HS_ROLE_AUDITOR = 1u << 1, /* reads the audit log */
};

struct hs_policy_change {
	bool changed;       /* false: the database already held exactly this */
	uint64_t epoch;     /* after the change (a dry run: what it is now) */
	uint64_t version;   /* number in the history; 0 for a dry run or where nothing changed */
	size_t added, changed_rows, removed;
	size_t orphans;     /* classes that nobody can be granted any more: collection, level or list are gone */
	uint8_t hash[HS_POLICY_HASH_LEN]; /* BLAKE2b of the YAML bytes */
};

/*
 * Apply a policy file. Writes. Whole or not at all. by: public id of who applies it, kept in the history.
 * dry_run: everything is checked and compared, nothing is kept.
 * ret_diff (or NULL) receives one line a difference: "+user tanaka", "-rule hr-read", "~group 人事".
 * -EINVAL: err->code "policy.yaml", "policy.key", "policy.value", "policy.unknown_name", "policy.cycle", "policy.duplicate",
 * "policy.limit", "policy.missing"; err->object names line and field: "line 12: rules[2].who.groups: 営業".
 */
int hs_policy_apply(sqlite3 *db, const char *yaml, size_t n, const char *by, int64_t now_ms, bool dry_run,
		    struct hs_policy_change *ret, struct hs_buf *ret_diff, struct hs_err *err) HS_MUST_CHECK;

/* The YAML of a version of the history (0: the newest), appended to out. -ENOENT where there is none. */
int hs_policy_get(sqlite3 *db, uint64_t version, struct hs_buf *out) HS_MUST_CHECK;

enum hs_explain_why { /* zero is the reason to deny when nothing else is known */
	HS_WHY_NO_RULE = 0,      /* absence denies */
	HS_WHY_ALLOWED,
	HS_WHY_DENIED,           /* by a rule */
	HS_WHY_NOT_ON_LIST,      /* the class's access list does not hold the person */
	HS_WHY_UNDECLARED,       /* the policy no longer declares the class's collection, level or list */
	HS_WHY_SUSPENDED,        /* suspended, expired or removed user */
	HS_WHY_ADMIN,            /* admins do not read */
};

struct hs_explained_rule {
	const char *id; /* valid during the callback */
	bool deny;
	uint32_t rights; /* 1u << enum hs_right bits that the rule names */
	bool matches;    /* person, class and time: false where expired or not about them */
	bool expired;
	bool who, where; /* which half matched: the person; the class */
};

struct hs_explanation {
	bool ask, download;
	enum hs_explain_why ask_why, download_why;
};

/*
 * Why may, or may not, this user ask from and download documents of a class? Calls rule_fn (or NULL) for each rule whose
 * person or class half matches, in the order of the file. Names ids and rules only. user: public id or name.
 * -ENOENT for an unknown user or class.
 */
int hs_policy_explain(sqlite3 *db, const char *user, uint32_t class_id, int64_t now_ms,
		      void (*rule_fn)(void *ctx, const struct hs_explained_rule *rule), void *ctx, struct hs_explanation *ret,
		      struct hs_err *err) HS_MUST_CHECK;

#endif
