#include "policy/eval.h"

#include <errno.h>
#include <string.h>

#include "policy/db.h"
#include "policy/grant.h"

#define VIEW_ARENA_MAX (32u * 1024u * 1024u)

static bool bit_get(const uint8_t *bits, size_t n_bytes, int64_t i)
{
	return i > 0 && (size_t)(i / 8) < n_bytes && (bits[i / 8] >> (i % 8)) & 1;
}

static int bit_set(uint8_t *bits, size_t n_bytes, int64_t i)
{
	if (i <= 0 || (size_t)(i / 8) >= n_bytes)
		return -EIO; /* apply numbers from 1 to the limit; another number was not written by it */
	bits[i / 8] |= (uint8_t)(1u << (i % 8));
	return 0;
}

static void ends_by(struct hs_view *v, int64_t when)
{
	if (when && when < v->ends)
		v->ends = when;
}

static int load_user(sqlite3 *db, const char *user_id, int64_t now, struct hs_view *v)
{
	HS_PDB_STMT s = NULL;
	int rc = hs_pdb_query(db, &s,
			      "SELECT n, suspended OR policy_suspended OR (from_policy AND NOT in_policy), expires, roles"
			      " FROM users WHERE id = ?",
			      "t", user_id);
	if (!rc)
		rc = hs_pdb_step(s);
	if (rc <= 0)
		return rc;
	int64_t expires = sqlite3_column_int64(s, 2);
	v->user = sqlite3_column_int64(s, 0);
	v->stands = !sqlite3_column_int(s, 1) && (!expires || now < expires);
	v->admin = sqlite3_column_int64(s, 3) & HS_ROLE_ADMIN;
	ends_by(v, expires);
	return 0;
}

static int load_lists(sqlite3 *db, struct hs_view *v)
{
	HS_PDB_STMT s = NULL;
	int rc = hs_pdb_query(db, &s,
			      "SELECT list FROM policy_list_members WHERE (kind = 0 AND member = ?1) OR (kind = 1 AND member IN"
			      " (SELECT grp FROM policy_user_groups WHERE user = ?1))",
			      "i", v->user);
	while (!rc && (rc = hs_pdb_step(s)) == 1)
		rc = bit_set(v->lists, sizeof(v->lists), sqlite3_column_int64(s, 0));
	return rc;
}

static struct hs_view_rule *add_rule(struct hs_view *v)
{
	if (v->n_rules == v->cap_rules) {
		size_t cap = v->cap_rules ? v->cap_rules * 2 : 16;
		struct hs_view_rule *grown = hs_arena_calloc(v->arena, cap, sizeof(*grown));
		if (!grown)
			return NULL;
		if (v->n_rules)
			memcpy(grown, v->rules, v->n_rules * sizeof(*grown));
		v->rules = grown;
		v->cap_rules = cap;
	}
	return &v->rules[v->n_rules++];
}

static int load_collections(sqlite3_stmt *s, int64_t rule, struct hs_view_rule *r)
{
	int rc = hs_pdb_errno(sqlite3_reset(s));
	if (!rc)
		rc = hs_pdb_errno(sqlite3_bind_int64(s, 1, rule));
	while (!rc && (rc = hs_pdb_step(s)) == 1)
		rc = bit_set(r->collections, sizeof(r->collections), sqlite3_column_int64(s, 0));
	return rc;
}

/* The person's half of a rule: named, or in a named group, or everyone; and every attribute held. */
#define WHO_SQL                                                                                                               \
	"(r.everyone OR EXISTS (SELECT 1 FROM policy_rule_members m WHERE m.rule = r.n AND ((m.kind = 0 AND m.member = ?1)"      \
	" OR (m.kind = 1 AND m.member IN (SELECT grp FROM policy_user_groups WHERE user = ?1)))))"                              \
	" AND NOT EXISTS (SELECT 1 FROM policy_rule_attributes a WHERE a.rule = r.n AND NOT EXISTS"                             \
	" (SELECT 1 FROM policy_attributes p WHERE p.user = ?1 AND p.key = a.key AND p.value = a.value))"

static int load_rules(sqlite3 *db, int64_t now, bool all, struct hs_view *v)
{
	HS_PDB_STMT s = NULL;
	HS_PDB_STMT collections = NULL;
	int rc = hs_pdb_query(db, &s,
			      "SELECT n, id, deny, rights, any_collection, lo, hi, coalesce(list, 0), expires, who FROM"
			      " (SELECT r.*, " WHO_SQL " AS who FROM policy_rules r) WHERE who OR ?2 ORDER BY n",
			      "ii", v->user, (int64_t)all);
	if (!rc)
		rc = hs_pdb_query(db, &collections, "SELECT collection FROM policy_rule_collections WHERE rule = ?", "");
	while (!rc && (rc = hs_pdb_step(s)) == 1) {
		rc = 0;
		int64_t expires = sqlite3_column_int64(s, 8);
		bool expired = expires && now >= expires;
		if (expired && !all)
			continue;
		struct hs_view_rule *r = add_rule(v);
		const char *id = (const char *)sqlite3_column_text(s, 1);
		if (!r || !id)
			return -ENOMEM;
		r->id = hs_arena_strndup(v->arena, id, strlen(id));
		if (!r->id)
			return -ENOMEM;
		r->deny = sqlite3_column_int(s, 2);
		r->rights = (uint32_t)sqlite3_column_int(s, 3);
		r->any_collection = sqlite3_column_int(s, 4);
		r->lo = sqlite3_column_int64(s, 5);
		r->hi = sqlite3_column_int64(s, 6);
		r->list = sqlite3_column_int64(s, 7);
		r->who = sqlite3_column_int(s, 9);
		r->expired = expired;
		if (r->who && !expired)
			ends_by(v, expires);
		rc = load_collections(collections, sqlite3_column_int64(s, 0), r);
	}
	return rc;
}

int hs_view_load(sqlite3 *db, const char *user_id, int64_t now_ms, bool all, struct hs_view *ret)
{
	struct hs_view v = {.ends = INT64_MAX};
	v.arena = hs_arena_create(VIEW_ARENA_MAX);
	if (!v.arena)
		return -ENOMEM;
	int rc = load_user(db, user_id, now_ms, &v);
	if (!rc && v.user) {
		rc = load_lists(db, &v);
		if (!rc)
			rc = load_rules(db, now_ms, all, &v);
	}
	if (rc)
		hs_view_finish(&v);
	else
		*ret = v;
	return rc;
}

void hs_view_finish(struct hs_view *v)
{
	hs_arena_destroy(v->arena);
	*v = (struct hs_view){0};
}

bool hs_view_where(const struct hs_view_rule *r, const struct hs_view_class *c)
{
	return (r->any_collection || bit_get(r->collections, sizeof(r->collections), c->collection)) && c->rank >= r->lo &&
	       c->rank <= r->hi && (!r->list || r->list == c->list);
}

static uint32_t deny_all(enum hs_explain_why why[static 3], enum hs_explain_why reason)
{
	why[HS_RIGHT_ASK] = why[HS_RIGHT_DOWNLOAD] = reason;
	return 0;
}

uint32_t hs_view_judge(const struct hs_view *v, const struct hs_view_class *c, enum hs_explain_why why[static 3])
{
	const uint32_t ask = 1u << HS_RIGHT_ASK, download = 1u << HS_RIGHT_DOWNLOAD;
	if (!v->user || !v->stands)
		return deny_all(why, HS_WHY_SUSPENDED);
	if (v->admin)
		return deny_all(why, HS_WHY_ADMIN);
	if (!c->collection || c->rank < 0 || (c->listed && !c->list))
		return deny_all(why, HS_WHY_UNDECLARED);
	if (c->listed && !bit_get(v->lists, sizeof(v->lists), c->list))
		return deny_all(why, HS_WHY_NOT_ON_LIST);
	uint32_t allowed = 0, denied = 0;
	for (size_t i = 0; i < v->n_rules; i++) {
		const struct hs_view_rule *r = &v->rules[i];
		if (!r->who || r->expired || !hs_view_where(r, c))
			continue;
		if (r->deny)
			denied |= r->rights;
		else
			allowed |= r->rights;
	}
	/* What one may not ask about, one may not open either. */
	if (denied & ask)
		denied |= download;
	uint32_t rights = allowed & ~denied;
	if (!(rights & ask))
		rights = 0;
	for (int right = HS_RIGHT_ASK; right <= HS_RIGHT_DOWNLOAD; right++) {
		uint32_t bit = 1u << right;
		why[right] = rights & bit ? HS_WHY_ALLOWED : denied & bit ? HS_WHY_DENIED : HS_WHY_NO_RULE;
	}
	return rights & (ask | download);
}

struct hs_view_class hs_view_class_row(sqlite3_stmt *s, int first)
{
	return (struct hs_view_class){
		.collection = sqlite3_column_int64(s, first),
		.list = sqlite3_column_int64(s, first + 1),
		.rank = sqlite3_column_int64(s, first + 2),
		.listed = sqlite3_column_int(s, first + 3),
	};
}
