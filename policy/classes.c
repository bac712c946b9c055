#include "policy/classes.h"

#include <errno.h>

#include "policy/db.h"

static int declared(sqlite3 *db, const char *sql, const char *name, const char *code, struct hs_err *err)
{
	int64_t n;
	int rc = hs_pdb_int(db, &n, sql, "t", name);
	if (rc == -ENOENT)
		return hs_fail(err, EINVAL, code, HS_N_("The policy declares no such name; add it there or use another."), "%s", name);
	return rc ? hs_fail_errno(err, rc, "policy.database", name) : 0;
}

int hs_class_intern(sqlite3 *db, const char *collection, const char *level, const char *list, uint32_t *ret_id, struct hs_err *err)
{
	if (!list)
		list = "";
	int rc = declared(db, "SELECT 1 FROM policy_collections WHERE name = ?", collection, "class.collection", err);
	if (!rc)
		rc = declared(db, "SELECT 1 FROM policy_levels WHERE name = ?", level, "class.level", err);
	if (!rc && list[0])
		rc = declared(db, "SELECT 1 FROM policy_lists WHERE name = ?", list, "class.list", err);
	if (rc)
		return rc;
	int64_t id;
	rc = hs_pdb_int(db, &id, "SELECT id FROM classes WHERE collection = ? AND level = ? AND list = ?", "ttt", collection,
			level, list);
	if (rc == -ENOENT) {
		HS_PDB_SAVEPOINT sp = {0};
		rc = hs_pdb_begin(&sp, db);
		if (!rc)
			rc = hs_pdb_int(db, &id, "SELECT coalesce(max(id), 0) + 1 FROM classes", "");
		if (!rc && id > HS_CLASSES_MAX)
			return hs_fail(err, ENOSPC, "class.limit",
				       HS_N_("A tenant has at most 4096 combinations of collection, level and list."), "%s / %s / %s",
				       collection, level, list);
		if (!rc)
			rc = hs_pdb_run(db, "INSERT INTO classes VALUES (?, ?, ?, ?)", "ittt", id, collection, level, list);
		if (!rc)
			rc = hs_pdb_bump_epoch(db);
		if (!rc)
			rc = hs_pdb_commit(&sp);
	}
	if (rc)
		return hs_fail_errno(err, rc, "policy.database", "classes");
	*ret_id = (uint32_t)id;
	return 0;
}

int hs_class_get(sqlite3 *db, uint32_t id, struct hs_class *ret)
{
	HS_PDB_STMT s = NULL;
	int rc = hs_pdb_query(db, &s, "SELECT collection, level, list FROM classes WHERE id = ?", "i", (int64_t)id);
	if (!rc)
		rc = hs_pdb_step(s);
	if (rc <= 0)
		return rc ? rc : -ENOENT;
	struct hs_class c = {.id = id};
	rc = hs_pdb_text(s, 0, c.collection, sizeof(c.collection));
	if (!rc)
		rc = hs_pdb_text(s, 1, c.level, sizeof(c.level));
	if (!rc)
		rc = hs_pdb_text(s, 2, c.list, sizeof(c.list));
	if (!rc)
		*ret = c;
	return rc;
}

int hs_level_rank(sqlite3 *db, const char *level, uint32_t *ret_rank)
{
	int64_t rank;
	int rc = hs_pdb_int(db, &rank, "SELECT rank FROM policy_levels WHERE name = ?", "t", level);
	if (!rc)
		*ret_rank = (uint32_t)rank;
	return rc;
}
