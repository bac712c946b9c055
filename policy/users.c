#include <errno.h>
#include <string.h>

#include "policy/db.h"
#include "policy/principal.h"
#include "policy/rules.h"

#define USER_COLUMNS                                                                                                          \
	"id, name, display, suspended OR policy_suspended, from_policy AND NOT in_policy, expires, roles"

static int user_row(sqlite3_stmt *s, struct hs_user *ret)
{
	struct hs_user u = {0};
	int rc = hs_pdb_text(s, 0, u.id.s, sizeof(u.id.s));
	if (!rc)
		rc = hs_pdb_text(s, 1, u.name, sizeof(u.name));
	if (!rc)
		rc = hs_pdb_text(s, 2, u.display, sizeof(u.display));
	u.suspended = sqlite3_column_int(s, 3);
	u.removed = sqlite3_column_int(s, 4);
	u.expires = sqlite3_column_int64(s, 5);
	u.roles = (uint32_t)sqlite3_column_int64(s, 6);
	if (!rc)
		*ret = u;
	return rc;
}

int hs_user_find(sqlite3 *db, const char *id_or_name, struct hs_user *ret, struct hs_err *err)
{
	HS_PDB_STMT s = NULL;
	/* No name begins like an identifier, so one question serves both. */
	int rc = hs_pdb_query(db, &s, "SELECT " USER_COLUMNS " FROM users WHERE id = ?1 OR name = ?1", "t", id_or_name);
	if (!rc)
		rc = hs_pdb_step(s);
	if (rc == 0)
		return hs_fail(err, ENOENT, "user.unknown", HS_N_("There is no such user; `hisho user list` shows them."), "%s",
			       id_or_name);
	if (rc == 1)
		rc = user_row(s, ret);
	return rc ? hs_fail_errno(err, rc, "policy.database", "users") : 0;
}

int hs_user_add(sqlite3 *db, const char *name, const char *display, int64_t now_ms, struct hs_id *ret, struct hs_err *err)
{
	int64_t n;
	if (!display)
		display = "";
	if (!hs_policy_name_ok(name, strlen(name)) || !strncmp(name, "usr_", 4) || !strncmp(name, "local_", 6) ||
	    (display[0] && !hs_policy_name_ok(display, strlen(display))))
		return hs_fail(err, EINVAL, "user.name",
			       HS_N_("A name is 1 to 128 bytes, without control characters or spaces at its ends."), "%s", name);
	int rc = hs_pdb_int(db, &n, "SELECT count(*) FROM users", "");
	if (!rc && n >= HS_POLICY_USERS_MAX)
		return hs_fail(err, ENOSPC, "user.limit", HS_N_("A tenant has at most 20000 users."), "%s", name);
	struct hs_id id = hs_id_new("usr_");
	HS_PDB_SAVEPOINT sp = {0};
	if (!rc)
		rc = hs_pdb_begin(&sp, db);
	if (!rc)
		rc = hs_pdb_run(db,
				"INSERT INTO users(id, name, display, from_policy, in_policy, created) VALUES (?, ?, ?, 0, 0, ?)",
				"ttti", id.s, name, display, now_ms);
	if (rc == -EEXIST)
		return hs_fail(err, EEXIST, "user.exists", HS_N_("There is a user of that name already."), "%s", name);
	if (!rc)
		rc = hs_pdb_bump_epoch(db);
	if (!rc)
		rc = hs_pdb_commit(&sp);
	if (rc)
		return hs_fail_errno(err, rc, "policy.database", "users");
	*ret = id;
	return 0;
}

int hs_user_each(sqlite3 *db, int (*fn)(void *ctx, const struct hs_user *u), void *ctx)
{
	HS_PDB_STMT s = NULL;
	struct hs_user u;
	int rc = hs_pdb_query(db, &s, "SELECT " USER_COLUMNS " FROM users ORDER BY name", "");
	while (!rc && (rc = hs_pdb_step(s)) == 1) {
		rc = user_row(s, &u);
		if (!rc)
			rc = fn(ctx, &u);
	}
	return rc;
}

int hs_user_suspend(sqlite3 *db, const char *id_or_name, bool suspended, struct hs_err *err)
{
	struct hs_user u;
	int rc = hs_user_find(db, id_or_name, &u, err);
	if (rc)
		return rc;
	HS_PDB_SAVEPOINT sp = {0};
	rc = hs_pdb_begin(&sp, db);
	if (!rc)
		rc = hs_pdb_run(db, "UPDATE users SET suspended = ? WHERE id = ?", "it", (int64_t)suspended, u.id.s);
	if (!rc && suspended)
		rc = hs_pdb_run(db, "DELETE FROM sessions WHERE user = (SELECT n FROM users WHERE id = ?)", "t", u.id.s);
	if (!rc && suspended)
		rc = hs_pdb_run(db, "DELETE FROM sign_in_codes WHERE user = (SELECT n FROM users WHERE id = ?)", "t", u.id.s);
	if (!rc)
		rc = hs_pdb_bump_epoch(db);
	if (!rc)
		rc = hs_pdb_commit(&sp);
	return rc ? hs_fail_errno(err, rc, "policy.database", "users") : 0;
}
