/*
 * The tables of a tenant's database and their version (docs/formats/schema.md). One migration a version, forward only,
 * all of them and the policy's own inside one transaction.
 */
#ifndef HISHO_RETRIEVAL_SCHEMA_H
#define HISHO_RETRIEVAL_SCHEMA_H

#include <sqlite3.h>

#include "base/err.h"

#define HS_SCHEMA_VERSION 5
#define HS_SCHEMA_APPLICATION_ID 0x48736831 /* "Hsh1" */

/*
 * What every connection is set to before it is used: no temporary file, deleted content zeroed, no trust in what the
 * schema says, no extensions. The FTS5 tokenizer is registered apart (retrieval/fts.h).
 */
int hs_schema_prepare(sqlite3 *db, struct hs_err *err) HS_MUST_CHECK;

/*
 * Create the tables or bring them forward. The FTS5 tokenizer must be registered.
 * -ENOTSUP "store.schema_newer"; -EBADMSG "store.foreign" (another program's database); -EIO "store.sql".
 */
int hs_schema_migrate(sqlite3 *db, struct hs_err *err) HS_MUST_CHECK;

/* Run statements that return nothing. -EIO "store.sql", -ENOSPC "store.full", -ECANCELED where interrupted. */
int hs_sql_exec(sqlite3 *db, const char *sql, struct hs_err *err) HS_MUST_CHECK;

/* What went wrong with the last call on db: the errno that fits, with err filled. Never names values. */
int hs_sql_fail(sqlite3 *db, const char *what, struct hs_err *err);

#endif
