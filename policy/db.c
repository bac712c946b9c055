#include "policy/db.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/utf8.h"
#include "policy/schema.h"

void hs_pdb_finalize(sqlite3_stmt **s)
{
	/* What a finalised statement reports was reported by its step already. */
	(void)sqlite3_finalize(*s);
	*s = NULL;
}

int hs_pdb_errno(int sqlite_rc)
{
	switch (sqlite_rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_INTERRUPT:
		return -EINTR;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_TOOBIG:
		return -EMSGSIZE;
	case SQLITE_READONLY:
		return -EROFS;
	default:
		return -EIO;
	}
}

static int query_va(sqlite3 *db, sqlite3_stmt **ret, const char *sql, const char *types, va_list args)
{
	HS_PDB_STMT s = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
	for (int i = 1; rc == SQLITE_OK && types[i - 1]; i++) {
		switch (types[i - 1]) {
		case 't':
			rc = sqlite3_bind_text(s, i, va_arg(args, const char *), -1, SQLITE_STATIC);
			break;
		case 'i':
			rc = sqlite3_bind_int64(s, i, va_arg(args, int64_t));
			break;
		case 'b': {
			const void *data = va_arg(args, const void *);
			size_t n = va_arg(args, size_t);
			rc = sqlite3_bind_blob64(s, i, data, n, SQLITE_STATIC);
			break;
		}
		default:
			hs_assert(!"a letter of hs_pdb_query");
		}
	}
	if (rc != SQLITE_OK)
		return hs_pdb_errno(rc);
	*ret = s;
	s = NULL;
	return 0;
}

int hs_pdb_query(sqlite3 *db, sqlite3_stmt **ret, const char *sql, const char *types, ...)
{
	va_list args;
	va_start(args, types);
	int rc = query_va(db, ret, sql, types, args);
	va_end(args);
	return rc;
}

int hs_pdb_step(sqlite3_stmt *s)
{
	int rc = sqlite3_step(s);
	return rc == SQLITE_ROW ? 1 : hs_pdb_errno(rc);
}

int hs_pdb_run(sqlite3 *db, const char *sql, const char *types, ...)
{
	HS_PDB_STMT s = NULL;
	va_list args;
	va_start(args, types);
	int rc = query_va(db, &s, sql, types, args);
	va_end(args);
	if (rc)
		return rc;
	do
		rc = hs_pdb_step(s);
	while (rc == 1);
	return rc;
}

int hs_pdb_int(sqlite3 *db, int64_t *ret, const char *sql, const char *types, ...)
{
	HS_PDB_STMT s = NULL;
	va_list args;
	va_start(args, types);
	int rc = query_va(db, &s, sql, types, args);
	va_end(args);
	if (rc)
		return rc;
	rc = hs_pdb_step(s);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return -ENOENT;
	*ret = sqlite3_column_int64(s, 0);
	return 0;
}

int hs_pdb_text(sqlite3_stmt *s, int column, char *out, size_t out_len)
{
	const unsigned char *text = sqlite3_column_text(s, column);
	size_t n = (size_t)sqlite3_column_bytes(s, column);
	if (!text && sqlite3_column_type(s, column) != SQLITE_NULL)
		return -ENOMEM;
	if (n >= out_len)
		return -EMSGSIZE;
	if (n)
		memcpy(out, text, n);
	out[n] = '\0';
	return 0;
}

int hs_pdb_begin(struct hs_pdb_savepoint *sp, sqlite3 *db)
{
	int rc = hs_pdb_errno(sqlite3_exec(db, "SAVEPOINT hs_policy", NULL, NULL, NULL));
	if (!rc)
		sp->db = db;
	return rc;
}

int hs_pdb_commit(struct hs_pdb_savepoint *sp)
{
	int rc = hs_pdb_errno(sqlite3_exec(sp->db, "RELEASE hs_policy", NULL, NULL, NULL));
	if (!rc)
		sp->db = NULL;
	return rc;
}

void hs_pdb_rollback(struct hs_pdb_savepoint *sp)
{
	/* Where even this fails (SQLite rolled the whole transaction back itself), there is nothing left to undo. */
	if (sp->db)
		(void)sqlite3_exec(sp->db, "ROLLBACK TO hs_policy; RELEASE hs_policy", NULL, NULL, NULL);
	sp->db = NULL;
}

int hs_pdb_bump_epoch(sqlite3 *db)
{
	return hs_pdb_run(db, "UPDATE policy_state SET epoch = epoch + 1", "");
}

bool hs_policy_name_ok(const char *s, size_t n)
{
	if (n == 0 || n > HS_POLICY_NAME_MAX || !hs_utf8_valid(s, n, NULL))
		return false;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return false;
	/* U+3000, the ideographic space, is as invisible at an end as the ASCII one. */
	return s[0] != ' ' && s[n - 1] != ' ' && !(n >= 3 && !strncmp(s, "\xe3\x80\x80", 3)) &&
	       !(n >= 3 && !strncmp(s + n - 3, "\xe3\x80\x80", 3));
}
