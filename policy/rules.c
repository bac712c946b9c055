#include "policy/rules.h"

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "base/id.h"
#include "policy/db.h"
#include "policy/diff.h"
#include "policy/file.h"

#define ARENA_MAX (64u * 1024u * 1024u)
#define RANK_ANY_HI INT32_MAX

/* What one apply carries through its steps. */
struct apply {
	sqlite3 *db;
	const struct hs_policy_file *file;
	int64_t now;
	struct hs_err *err;
};

enum member_kind { MEMBER_USER = 0, MEMBER_GROUP = 1 };

static int fail_at(struct apply *a, const struct hs_pf_name *name, const char *section, const char *code, const char *hint)
{
	return hs_fail(a->err, EINVAL, code, hint, "line %u: %s: %s", name->line, section, name->s);
}

/* The number of a declared name. */
static int number(struct apply *a, const char *sql, const struct hs_pf_name *name, const char *section, int64_t *ret)
{
	int rc = hs_pdb_int(a->db, ret, sql, "t", name->s);
	if (rc == -ENOENT)
		return fail_at(a, name, section, "policy.unknown_name", HS_N_("No such name is declared in this file."));
	return rc;
}

#define USER_SQL "SELECT n FROM users WHERE name = ? AND (in_policy OR NOT from_policy)"
#define GROUP_SQL "SELECT n FROM policy_groups WHERE name = ?"
#define LIST_SQL "SELECT n FROM policy_lists WHERE name = ?"
#define COLLECTION_SQL "SELECT n FROM policy_collections WHERE name = ?"
#define RANK_SQL "SELECT rank FROM policy_levels WHERE name = ?"

static int declare(struct apply *a, const char *sql, const struct hs_pf_name *name, const char *section)
{
	int rc = hs_pdb_run(a->db, sql, "t", name->s);
	if (rc == -EEXIST)
		return fail_at(a, name, section, "policy.duplicate", HS_N_("The name is declared twice."));
	return rc;
}

/* Insert (owner, kind, member) for each name; the same member twice is no mistake. */
static int members(struct apply *a, const char *insert, int64_t owner, const struct hs_pf_names *names, enum member_kind kind,
		   const char *section)
{
	for (size_t i = 0; i < names->n; i++) {
		int64_t member;
		int rc = number(a, kind == MEMBER_USER ? USER_SQL : GROUP_SQL, &names->items[i], section, &member);
		if (!rc)
			rc = hs_pdb_run(a->db, insert, "iii", owner, (int64_t)kind, member);
		if (rc)
			return rc;
	}
	return 0;
}

static int apply_names(struct apply *a)
{
	const struct hs_policy_file *f = a->file;
	int rc = 0;
	for (size_t i = 0; !rc && i < f->levels.n; i++) {
		rc = hs_pdb_run(a->db, "INSERT INTO policy_levels VALUES (?, ?)", "ti", f->levels.items[i].s, (int64_t)i);
		if (rc == -EEXIST)
			rc = fail_at(a, &f->levels.items[i], "levels", "policy.duplicate", HS_N_("The name is declared twice."));
	}
	for (size_t i = 0; !rc && i < f->collections.n; i++)
		rc = declare(a, "INSERT INTO policy_collections(name) VALUES (?)", &f->collections.items[i], "collections");
	for (size_t i = 0; !rc && i < f->n_groups; i++)
		rc = declare(a, "INSERT INTO policy_groups(name) VALUES (?)", &f->groups[i].name, "groups");
	for (size_t i = 0; !rc && i < f->n_lists; i++)
		rc = declare(a, "INSERT INTO policy_lists(name) VALUES (?)", &f->lists[i].name, "lists");
	return rc;
}

static int apply_user(struct apply *a, const struct hs_pf_user *u)
{
	int64_t n, in_policy = 0;
	int rc = hs_pdb_int(a->db, &in_policy, "SELECT in_policy FROM users WHERE name = ?", "t", u->name.s);
	if (rc && rc != -ENOENT)
		return rc;
	if (in_policy)
		return fail_at(a, &u->name, "users", "policy.duplicate", HS_N_("The name is declared twice."));
	struct hs_id id = hs_id_new("usr_");
	rc = hs_pdb_run(a->db,
			"INSERT INTO users(id, name, display, from_policy, in_policy, policy_suspended, expires, created)"
			" VALUES (?, ?, ?, 1, 1, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET display = excluded.display,"
			" from_policy = 1, in_policy = 1, policy_suspended = excluded.policy_suspended, expires = excluded.expires",
			"tttiii", id.s, u->name.s, u->display, (int64_t)u->suspended, u->expires, a->now);
	if (!rc)
		rc = number(a, USER_SQL, &u->name, "users", &n);
	for (size_t i = 0; !rc && i < u->attributes.n; i++)
		rc = hs_pdb_run(a->db, "INSERT INTO policy_attributes VALUES (?, ?, ?)", "itt", n, u->attributes.items[i].key,
				u->attributes.items[i].value);
	for (size_t i = 0; !rc && i < u->groups.n; i++) {
		int64_t group;
		rc = number(a, GROUP_SQL, &u->groups.items[i], "users.groups", &group);
		if (!rc)
			rc = hs_pdb_run(a->db, "INSERT OR IGNORE INTO policy_group_members VALUES (?, 0, ?)", "ii", group, n);
	}
	return rc;
}

static int apply_parties(struct apply *a, const struct hs_pf_party *parties, size_t n, const char *number_sql, const char *insert,
			 const char *section)
{
	int rc = 0;
	for (size_t i = 0; !rc && i < n; i++) {
		int64_t owner;
		if (number_sql)
			rc = number(a, number_sql, &parties[i].name, section, &owner);
		else
			owner = strcmp(parties[i].name.s, "admin") ? HS_ROLE_AUDITOR : HS_ROLE_ADMIN;
		if (!rc)
			rc = members(a, insert, owner, &parties[i].users, MEMBER_USER, section);
		if (!rc)
			rc = members(a, insert, owner, &parties[i].groups, MEMBER_GROUP, section);
	}
	return rc;
}

/* Is there a way from group `from` back to `to` through nested groups? UNION visits each group once. */
static int reaches(struct apply *a, int64_t from, int64_t to, bool *ret)
{
	int64_t found;
	int rc = hs_pdb_int(a->db, &found,
			    "WITH RECURSIVE down(g) AS (SELECT ? UNION SELECT m.member FROM down JOIN policy_group_members m"
			    " ON m.grp = down.g AND m.kind = 1) SELECT count(*) FROM down WHERE g = ?",
			    "ii", from, to);
	*ret = !rc && found > 0;
	return rc;
}

static int refuse_cycles(struct apply *a)
{
	for (size_t i = 0; i < a->file->n_groups; i++) {
		const struct hs_pf_party *g = &a->file->groups[i];
		for (size_t j = 0; j < g->groups.n; j++) {
			int64_t outer, inner;
			bool cycle = false;
			int rc = number(a, GROUP_SQL, &g->name, "groups", &outer);
			if (!rc)
				rc = number(a, GROUP_SQL, &g->groups.items[j], "groups.groups", &inner);
			if (!rc)
				rc = reaches(a, inner, outer, &cycle);
			if (!rc && cycle)
				rc = fail_at(a, &g->groups.items[j], "groups.groups", "policy.cycle",
					     HS_N_("The group would contain itself; take it out of one of the two."));
			if (rc)
				return rc;
		}
	}
	return 0;
}

static int apply_groups(struct apply *a)
{
	int rc = apply_parties(a, a->file->groups, a->file->n_groups, GROUP_SQL,
			       "INSERT OR IGNORE INTO policy_group_members VALUES (?, ?, ?)", "groups");
	if (!rc)
		rc = refuse_cycles(a);
	if (rc)
		return rc;
	return hs_pdb_run(a->db,
			  "INSERT INTO policy_user_groups WITH RECURSIVE up(user, grp) AS (SELECT member, grp FROM"
			  " policy_group_members WHERE kind = 0 UNION SELECT up.user, m.grp FROM up JOIN policy_group_members m"
			  " ON m.kind = 1 AND m.member = up.grp) SELECT user, grp FROM up",
			  "");
}

static int rule_levels(struct apply *a, const struct hs_pf_rule *r, int64_t *ret_lo, int64_t *ret_hi)
{
	int64_t rank;
	const struct hs_pf_name *name = r->up_to.s ? &r->up_to : r->exact.s ? &r->exact : &r->from;
	*ret_lo = 0;
	*ret_hi = RANK_ANY_HI;
	if (!name->s)
		return 0;
	int rc = number(a, RANK_SQL, name, "rules.level", &rank);
	if (rc)
		return rc;
	if (!r->up_to.s)
		*ret_lo = rank;
	if (!r->from.s)
		*ret_hi = rank;
	return 0;
}

static int apply_rule(struct apply *a, const struct hs_pf_rule *r)
{
	int64_t lo, hi, list = 0, n;
	int rc = rule_levels(a, r, &lo, &hi);
	if (!rc && r->list.s)
		rc = number(a, LIST_SQL, &r->list, "rules.list", &list);
	if (rc)
		return rc;
	rc = hs_pdb_run(a->db,
			"INSERT INTO policy_rules(id, deny, rights, everyone, any_collection, lo, hi, list, expires)"
			" VALUES (?, ?, ?, ?, ?, ?, ?, nullif(?, 0), ?)",
			"tiiiiiiii", r->id.s, (int64_t)r->deny, (int64_t)r->rights, (int64_t)r->everyone,
			(int64_t)r->any_collection, lo, hi, list, r->expires);
	if (rc == -EEXIST)
		return fail_at(a, &r->id, "rules.id", "policy.duplicate", HS_N_("The name is declared twice."));
	n = sqlite3_last_insert_rowid(a->db);
	static const char insert[] = "INSERT OR IGNORE INTO policy_rule_members VALUES (?, ?, ?)";
	if (!rc)
		rc = members(a, insert, n, &r->users, MEMBER_USER, "rules.who.users");
	if (!rc)
		rc = members(a, insert, n, &r->groups, MEMBER_GROUP, "rules.who.groups");
	for (size_t i = 0; !rc && i < r->attributes.n; i++)
		rc = hs_pdb_run(a->db, "INSERT INTO policy_rule_attributes VALUES (?, ?, ?)", "itt", n,
				r->attributes.items[i].key, r->attributes.items[i].value);
	for (size_t i = 0; !rc && i < r->collections.n; i++) {
		int64_t collection;
		if (!strcmp(r->collections.items[i].s, "*"))
			continue;
		rc = number(a, COLLECTION_SQL, &r->collections.items[i], "rules.collections", &collection);
		if (!rc)
			rc = hs_pdb_run(a->db, "INSERT OR IGNORE INTO policy_rule_collections VALUES (?, ?)", "ii", n, collection);
	}
	return rc;
}

static const char clear_sql[] =
	"DELETE FROM policy_levels; DELETE FROM policy_collections; DELETE FROM policy_groups; DELETE FROM policy_group_members;"
	"DELETE FROM policy_user_groups; DELETE FROM policy_attributes; DELETE FROM policy_lists; DELETE FROM policy_list_members;"
	"DELETE FROM policy_rules; DELETE FROM policy_rule_members; DELETE FROM policy_rule_attributes;"
	"DELETE FROM policy_rule_collections; DELETE FROM policy_role_members;"
	"UPDATE users SET in_policy = 0, policy_suspended = 0, expires = 0, roles = 0;";

/* Roles reach through groups; whoever lost their account loses what it opened. */
static const char settle_sql[] =
	"UPDATE users SET roles = (SELECT coalesce(max(role = 1), 0) + 2 * coalesce(max(role = 2), 0) FROM policy_role_members m"
	" WHERE (m.kind = 0 AND m.member = users.n) OR (m.kind = 1 AND m.member IN"
	" (SELECT grp FROM policy_user_groups WHERE user = users.n)));"
	"DELETE FROM sessions WHERE user IN (SELECT n FROM users WHERE policy_suspended OR (from_policy AND NOT in_policy));"
	"DELETE FROM sign_in_codes WHERE user IN (SELECT n FROM users WHERE policy_suspended OR (from_policy AND NOT in_policy));";

static int apply_all(struct apply *a)
{
	const struct hs_policy_file *f = a->file;
	int rc = hs_pdb_errno(sqlite3_exec(a->db, clear_sql, NULL, NULL, NULL));
	if (!rc)
		rc = apply_names(a);
	for (size_t i = 0; !rc && i < f->n_users; i++)
		rc = apply_user(a, &f->users[i]);
	if (!rc)
		rc = apply_groups(a);
	if (!rc)
		rc = apply_parties(a, f->lists, f->n_lists, LIST_SQL, "INSERT OR IGNORE INTO policy_list_members VALUES (?, ?, ?)",
				   "lists");
	if (!rc)
		rc = apply_parties(a, f->roles, f->n_roles, NULL, "INSERT OR IGNORE INTO policy_role_members VALUES (?, ?, ?)",
				   "roles");
	for (size_t i = 0; !rc && i < f->n_rules; i++)
		rc = apply_rule(a, &f->rules[i]);
	if (!rc)
		rc = hs_pdb_errno(sqlite3_exec(a->db, settle_sql, NULL, NULL, NULL));
	if (!rc)
		rc = hs_pdb_run(a->db,
				"UPDATE tokens SET revoked = ? WHERE revoked = 0 AND user IN"
				" (SELECT n FROM users WHERE from_policy AND NOT in_policy)",
				"i", a->now);
	return rc;
}

/* History and epoch, once the tables stand. */
static int record(struct apply *a, const char *yaml, size_t n, const char *by, struct hs_policy_change *c)
{
	int64_t epoch, version = 0, same = 0;
	int rc = c->changed ? hs_pdb_bump_epoch(a->db) : 0;
	if (!rc)
		rc = hs_pdb_int(a->db, &epoch, "SELECT epoch FROM policy_state", "");
	if (!rc)
		rc = hs_pdb_int(a->db, &same,
				"SELECT count(*) FROM policy_history WHERE version = (SELECT max(version) FROM policy_history)"
				" AND hash = ?",
				"b", c->hash, sizeof(c->hash));
	/* A file that differs only in its comments is kept too: the newest version is what was applied last. */
	if (!rc && (c->changed || !same)) {
		rc = hs_pdb_run(a->db, "INSERT INTO policy_history(yaml, hash, by, at, epoch) VALUES (?, ?, ?, ?, ?)", "bbtii",
				yaml, n, c->hash, sizeof(c->hash), by, a->now, epoch);
		version = sqlite3_last_insert_rowid(a->db);
	}
	if (!rc) {
		c->epoch = (uint64_t)epoch;
		c->version = (uint64_t)version;
	}
	return rc;
}

static int apply_in_savepoint(struct apply *a, const char *yaml, size_t n, const char *by, bool dry_run,
			      struct hs_policy_change *change, struct hs_buf *ret_diff)
{
	HS_BUF_AUTO before = HS_BUF_INIT;
	HS_BUF_AUTO after = HS_BUF_INIT;
	HS_PDB_SAVEPOINT sp = {0};
	int64_t orphans = 0;
	int rc = hs_pdb_begin(&sp, a->db);
	if (!rc)
		rc = hs_policy_dump(a->db, &before);
	if (!rc)
		rc = apply_all(a);
	if (!rc)
		rc = hs_policy_dump(a->db, &after);
	if (!rc)
		rc = hs_policy_compare(&before, &after, change, ret_diff);
	if (!rc)
		rc = hs_pdb_int(a->db, &orphans,
				"SELECT count(*) FROM classes c WHERE collection NOT IN (SELECT name FROM policy_collections)"
				" OR level NOT IN (SELECT name FROM policy_levels)"
				" OR (list <> '' AND list NOT IN (SELECT name FROM policy_lists))",
				"");
	change->orphans = (size_t)orphans;
	if (!rc && dry_run)
		return hs_policy_epoch(a->db, &change->epoch); /* the savepoint rolls back */
	if (!rc)
		rc = record(a, yaml, n, by, change);
	if (!rc)
		rc = hs_pdb_commit(&sp);
	return rc;
}

int hs_policy_apply(sqlite3 *db, const char *yaml, size_t n, const char *by, int64_t now_ms, bool dry_run,
		    struct hs_policy_change *ret, struct hs_buf *ret_diff, struct hs_err *err)
{
	struct hs_err local = HS_ERR_INIT;
	struct hs_policy_file file;
	struct hs_policy_change change = {0};
	struct hs_arena *arena = hs_arena_create(ARENA_MAX);
	if (!arena)
		return hs_fail_errno(err, -ENOMEM, "policy.memory", "policy file");
	int rc = hs_policy_file_parse(yaml, n, arena, &file, &local);
	struct apply a = {.db = db, .file = &file, .now = now_ms, .err = &local};
	if (!rc) {
		(void)crypto_generichash(change.hash, sizeof(change.hash), (const unsigned char *)yaml, n, NULL, 0);
		rc = apply_in_savepoint(&a, yaml, n, by, dry_run, &change, ret_diff);
	}
	hs_arena_destroy(arena);
	if (rc) {
		if (!local.num)
			(void)hs_fail_errno(&local, rc, "policy.database", "policy");
		if (err)
			*err = local;
		return rc;
	}
	*ret = change;
	return 0;
}

int hs_policy_get(sqlite3 *db, uint64_t version, struct hs_buf *out)
{
	HS_PDB_STMT s = NULL;
	int rc = hs_pdb_query(db, &s,
			      "SELECT yaml FROM policy_history WHERE version = ?1 OR ?1 = 0 ORDER BY version DESC LIMIT 1", "i",
			      (int64_t)version);
	if (!rc)
		rc = hs_pdb_step(s);
	if (rc <= 0)
		return rc ? rc : -ENOENT;
	const void *yaml = sqlite3_column_blob(s, 0);
	return hs_buf_append(out, yaml, (size_t)sqlite3_column_bytes(s, 0));
}
