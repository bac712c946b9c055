/* Inside this room: short forms over SQLite. Statements are prepared, run and finalised per call; none outlives one. */
#ifndef HISHO_POLICY_DB_H
#define HISHO_POLICY_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "base/err.h"
#include "base/macros.h"

void hs_pdb_finalize(sqlite3_stmt **s);
#define HS_PDB_STMT HS_CLEANUP(hs_pdb_finalize) sqlite3_stmt *

/* Negative errno for what SQLite answered: -ENOMEM, -ENOSPC, -EBUSY, -EINTR, -EEXIST (a constraint), -EIO. */
int hs_pdb_errno(int sqlite_rc);

/*
 * Prepare and bind: one letter an argument. 't' const char * (NULL binds NULL), 'i' int64_t, 'b' const void *, size_t.
 * Text and blobs must live until the statement is finalised.
 */
int hs_pdb_query(sqlite3 *db, sqlite3_stmt **ret, const char *sql, const char *types, ...) HS_MUST_CHECK;

/* 1: a row, 0: the end, negative errno. */
int hs_pdb_step(sqlite3_stmt *s) HS_MUST_CHECK;

/* Run to the end, dropping rows. */
int hs_pdb_run(sqlite3 *db, const char *sql, const char *types, ...) HS_MUST_CHECK;

/* The first column of the first row; -ENOENT where there is no row. */
int hs_pdb_int(sqlite3 *db, int64_t *ret, const char *sql, const char *types, ...) HS_MUST_CHECK;

/* Column as a terminated string, "" for NULL; -EMSGSIZE where it does not fit. */
int hs_pdb_text(sqlite3_stmt *s, int column, char *out, size_t out_len) HS_MUST_CHECK;

/* A savepoint that rolls back unless it was released: HS_PDB_SAVEPOINT sp = {0}; hs_pdb_begin(&sp, db); hs_pdb_commit(&sp). */
struct hs_pdb_savepoint {
	sqlite3 *db;
};
#define HS_PDB_SAVEPOINT HS_CLEANUP(hs_pdb_rollback) struct hs_pdb_savepoint
int hs_pdb_begin(struct hs_pdb_savepoint *sp, sqlite3 *db) HS_MUST_CHECK;
int hs_pdb_commit(struct hs_pdb_savepoint *sp) HS_MUST_CHECK;
void hs_pdb_rollback(struct hs_pdb_savepoint *sp);

int hs_pdb_bump_epoch(sqlite3 *db) HS_MUST_CHECK;

/* A name that a person may choose: 1..HS_POLICY_NAME_MAX bytes of UTF-8, no control character, no space at either end. */
bool hs_policy_name_ok(const char *s, size_t n);

#endif
