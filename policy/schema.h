/*
 * The policy room's tables in the tenant's database, and their version.
 *
 * The store opens the database (encrypting VFS, pragmas) and calls hs_policy_schema_migrate inside its own migration
 * transaction; tests call it on a plain in-memory database. All other functions of this room take that open `sqlite3 *`
 * and never keep it. Those that write say so: they run on the one writer connection, inside the caller's transaction
 * where there is one (they use savepoints). Names of all tables of this room: policy_*, classes, users, tokens, sessions,
 * sign_in_codes, senders, sender_collections, sources, submissions, audit_witness.
 */
#ifndef HISHO_POLICY_SCHEMA_H
#define HISHO_POLICY_SCHEMA_H

#include <stdint.h>

#include <sqlite3.h>

#include "base/err.h"

#define HS_POLICY_SCHEMA_VERSION 2

#define HS_POLICY_NAME_MAX 128 /* bytes of a name of a user, group, collection, level, list, rule or sender */

/*
 * Create the tables, or bring them forward. Writes. 0; -ENOTSUP ("policy.schema_newer") where a newer build wrote them;
 * -EIO from the database.
 */
int hs_policy_schema_migrate(sqlite3 *db, struct hs_err *err) HS_MUST_CHECK;

/*
 * The policy epoch: raised by every change of policy, users, groups, classes, or suspension. A grant of an older epoch is
 * stale. Cheap: one row by key; read it again before each release.
 */
int hs_policy_epoch(sqlite3 *db, uint64_t *ret_epoch) HS_MUST_CHECK;

#endif
