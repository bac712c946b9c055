#include "policy/schema.h"

#include <errno.h>

#include "policy/db.h"

/*
 * Everything that a policy file says is deleted and written anew by each apply; users outlive it, because audit records,
 * conversations and credentials name them. policy_user_groups is the closure of nested groups, made by apply.
 * kind of a member: 0 user, 1 group. Levels in rules are ranks, inclusive.
 */
static const char schema_1[] =
	"CREATE TABLE policy_state(one INTEGER PRIMARY KEY CHECK (one = 1), schema INTEGER NOT NULL, epoch INTEGER NOT NULL);"
	"CREATE TABLE policy_history(version INTEGER PRIMARY KEY AUTOINCREMENT, yaml BLOB NOT NULL, hash BLOB NOT NULL,"
	" by TEXT NOT NULL, at INTEGER NOT NULL, epoch INTEGER NOT NULL);"
	"CREATE TABLE policy_levels(name TEXT PRIMARY KEY, rank INTEGER NOT NULL UNIQUE) WITHOUT ROWID;"
	"CREATE TABLE policy_collections(n INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
	"CREATE TABLE policy_groups(n INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
	"CREATE TABLE policy_group_members(grp INTEGER NOT NULL, kind INTEGER NOT NULL, member INTEGER NOT NULL,"
	" PRIMARY KEY (grp, kind, member)) WITHOUT ROWID;"
	"CREATE INDEX policy_group_of ON policy_group_members(kind, member, grp);"
	"CREATE TABLE policy_user_groups(user INTEGER NOT NULL, grp INTEGER NOT NULL, PRIMARY KEY (user, grp)) WITHOUT ROWID;"
	"CREATE TABLE policy_attributes(user INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,"
	" PRIMARY KEY (user, key)) WITHOUT ROWID;"
	"CREATE TABLE policy_lists(n INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
	"CREATE TABLE policy_list_members(list INTEGER NOT NULL, kind INTEGER NOT NULL, member INTEGER NOT NULL,"
	" PRIMARY KEY (list, kind, member)) WITHOUT ROWID;"
	"CREATE TABLE policy_rules(n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, deny INTEGER NOT NULL, rights INTEGER NOT NULL,"
	" everyone INTEGER NOT NULL, any_collection INTEGER NOT NULL, lo INTEGER NOT NULL, hi INTEGER NOT NULL, list INTEGER,"
	" expires INTEGER NOT NULL);"
	"CREATE TABLE policy_rule_members(rule INTEGER NOT NULL, kind INTEGER NOT NULL, member INTEGER NOT NULL,"
	" PRIMARY KEY (rule, kind, member)) WITHOUT ROWID;"
	"CREATE TABLE policy_rule_attributes(rule INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,"
	" PRIMARY KEY (rule, key)) WITHOUT ROWID;"
	"CREATE TABLE policy_rule_collections(rule INTEGER NOT NULL, collection INTEGER NOT NULL,"
	" PRIMARY KEY (rule, collection)) WITHOUT ROWID;"
	"CREATE TABLE policy_role_members(role INTEGER NOT NULL, kind INTEGER NOT NULL, member INTEGER NOT NULL,"
	" PRIMARY KEY (role, kind, member)) WITHOUT ROWID;"
	/* Class rows keep names, not numbers of the tables above: those are written anew, a class never changes. */
	"CREATE TABLE classes(id INTEGER PRIMARY KEY, collection TEXT NOT NULL, level TEXT NOT NULL, list TEXT NOT NULL,"
	" UNIQUE (collection, level, list));"
	/* in_policy: the policy file names the user now. from_policy: it once did; such a user is removed with their line. */
	"CREATE TABLE users(n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE,"
	" display TEXT NOT NULL, from_policy INTEGER NOT NULL, in_policy INTEGER NOT NULL, suspended INTEGER NOT NULL DEFAULT 0,"
	" policy_suspended INTEGER NOT NULL DEFAULT 0, expires INTEGER NOT NULL DEFAULT 0, roles INTEGER NOT NULL DEFAULT 0,"
	" created INTEGER NOT NULL);"
	"CREATE TABLE tokens(id TEXT PRIMARY KEY, user INTEGER NOT NULL, hash BLOB NOT NULL, scopes INTEGER NOT NULL,"
	" label TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL, revoked INTEGER NOT NULL DEFAULT 0)"
	" WITHOUT ROWID;"
	"CREATE INDEX tokens_of ON tokens(user);"
	/* token: the one that the session was bought with, or ''; the session can do no more and lives no longer. */
	"CREATE TABLE sessions(id TEXT PRIMARY KEY, user INTEGER NOT NULL, hash BLOB NOT NULL, scopes INTEGER NOT NULL,"
	" token TEXT NOT NULL, created INTEGER NOT NULL, seen INTEGER NOT NULL, ends INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE sign_in_codes(id TEXT PRIMARY KEY, user INTEGER NOT NULL, hash BLOB NOT NULL, expires INTEGER NOT NULL)"
	" WITHOUT ROWID;"
	"CREATE TABLE senders(id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, key BLOB NOT NULL UNIQUE, any_collection INTEGER"
	" NOT NULL, created INTEGER NOT NULL, revoked INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"
	"CREATE TABLE sender_collections(sender TEXT NOT NULL, collection TEXT NOT NULL, PRIMARY KEY (sender, collection))"
	" WITHOUT ROWID;"
	"CREATE TABLE sources(sender TEXT NOT NULL, source TEXT NOT NULL, sequence INTEGER NOT NULL, at INTEGER NOT NULL,"
	" PRIMARY KEY (sender, source)) WITHOUT ROWID;"
	"CREATE TABLE submissions(id TEXT PRIMARY KEY, sender TEXT NOT NULL, source TEXT NOT NULL, sequence INTEGER NOT NULL,"
	" manifest BLOB NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;"
	"INSERT INTO policy_levels VALUES ('公開', 0), ('社外秘', 1), ('秘', 2), ('極秘', 3);"
	"INSERT INTO policy_state VALUES (1, 1, 1);";

static const char schema_2[] =
	"CREATE TABLE audit_witness(one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, time INTEGER NOT NULL,"
	" chain BLOB NOT NULL);"
	"UPDATE policy_state SET schema = 2;";

static const char *const steps[HS_POLICY_SCHEMA_VERSION] = {schema_1, schema_2};

int hs_policy_schema_migrate(sqlite3 *db, struct hs_err *err)
{
	int64_t tables = 0, version = 0;
	int rc = hs_pdb_int(db, &tables, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'policy_state'", "");
	if (!rc && tables)
		rc = hs_pdb_int(db, &version, "SELECT schema FROM policy_state", "");
	if (rc)
		return hs_fail_errno(err, rc, "policy.schema", "policy_state");
	if (version > HS_POLICY_SCHEMA_VERSION)
		return hs_fail(err, ENOTSUP, "policy.schema_newer",
			       HS_N_("This database was written by a newer Hisho; install that version or newer."),
			       "policy schema %lld", (long long)version);
	if (version == HS_POLICY_SCHEMA_VERSION)
		return 0;
	HS_PDB_SAVEPOINT sp = {0};
	rc = hs_pdb_begin(&sp, db);
	for (int64_t i = HS_MAX(version, 0); !rc && i < HS_POLICY_SCHEMA_VERSION; i++)
		rc = hs_pdb_errno(sqlite3_exec(db, steps[i], NULL, NULL, NULL));
	if (!rc)
		rc = hs_pdb_commit(&sp);
	return rc ? hs_fail_errno(err, rc, "policy.schema", "migration") : 0;
}

int hs_policy_epoch(sqlite3 *db, uint64_t *ret_epoch)
{
	int64_t epoch;
	int rc = hs_pdb_int(db, &epoch, "SELECT epoch FROM policy_state", "");
	if (!rc)
		*ret_epoch = (uint64_t)epoch;
	return rc;
}
