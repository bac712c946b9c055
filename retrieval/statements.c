#include "retrieval/statements.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

#include "base/utf8.h"
#include "retrieval/schema.h"

void hs_statements_finish(struct hs_statements *c)
{
	for (size_t i = 0; i < c->count; i++)
		(void)sqlite3_finalize(c->items[i].st); /* tells again of the last step's failure, which was reported then */
	c->count = 0;
}

sqlite3_stmt *hs_statement(struct hs_statements *c, const char *sql, struct hs_err *err)
{
	sqlite3_stmt *st = NULL;

	for (size_t i = 0; i < c->count; i++) {
		if (c->items[i].sql != sql)
			continue;
		(void)sqlite3_reset(c->items[i].st);
		(void)sqlite3_clear_bindings(c->items[i].st);
		return c->items[i].st;
	}
	hs_assert(c->count < HS_ARRAY_LEN(c->items));
	if (sqlite3_prepare_v3(c->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL) != SQLITE_OK) {
		(void)hs_sql_fail(c->db, "prepare", err);
		return NULL;
	}
	c->items[c->count++] = (struct hs_statement){.sql = sql, .st = st};
	return st;
}

static int bind_all(sqlite3_stmt *st, const char *format, va_list args)
{
	int rc = SQLITE_OK;

	for (int i = 1; rc == SQLITE_OK && *format; format++, i++) {
		switch (*format) {
		case 'i':
			rc = sqlite3_bind_int64(st, i, va_arg(args, int64_t));
			break;
		case 't':
			rc = sqlite3_bind_text(st, i, va_arg(args, const char *), -1, SQLITE_STATIC);
			break;
		case 'b': {
			const void *p = va_arg(args, const void *);
			size_t n = va_arg(args, size_t);

			rc = sqlite3_bind_blob64(st, i, p, n, SQLITE_STATIC);
			break;
		}
		case 'n':
			rc = sqlite3_bind_null(st, i);
			break;
		default:
			hs_assert(!"a bind format that is known");
		}
	}
	return rc == SQLITE_OK ? 0 : rc == SQLITE_TOOBIG ? -EFBIG : -ENOMEM;
}

int hs_bind(sqlite3_stmt *st, const char *format, ...)
{
	va_list args;
	int rc;

	va_start(args, format);
	rc = bind_all(st, format, args);
	va_end(args);
	return rc;
}

int hs_step(sqlite3_stmt *st, struct hs_err *err)
{
	int rc = sqlite3_step(st);

	if (rc == SQLITE_ROW)
		return 1;
	rc = rc == SQLITE_DONE ? 0 : hs_sql_fail(sqlite3_db_handle(st), "step", err);
	(void)sqlite3_reset(st); /* tells again what was just told */
	return rc;
}

int hs_run(sqlite3_stmt *st, struct hs_err *err)
{
	int rc = hs_step(st, err);

	(void)sqlite3_reset(st);
	return rc > 0 ? 0 : rc;
}

int hs_execute(struct hs_statements *c, struct hs_err *err, const char *sql, const char *format, ...)
{
	sqlite3_stmt *st = hs_statement(c, sql, err);
	va_list args;
	int rc;

	if (!st)
		return -EIO;
	va_start(args, format);
	rc = bind_all(st, format, args);
	va_end(args);
	if (rc < 0)
		return hs_fail_errno(err, rc, "store.bind", "a value");
	rc = hs_run(st, err);
	(void)sqlite3_clear_bindings(st); /* what was bound belongs to the caller */
	return rc;
}

void hs_statement_reset(sqlite3_stmt **st)
{
	if (*st) {
		(void)sqlite3_reset(*st);
		(void)sqlite3_clear_bindings(*st);
	}
}

void hs_column_text(sqlite3_stmt *st, int column, char *out, size_t n)
{
	const char *s = (const char *)sqlite3_column_text(st, column);
	size_t len = s ? (size_t)sqlite3_column_bytes(st, column) : 0;

	if (len >= n)
		len = hs_utf8_cut(s, n - 1);
	if (len > 0)
		memcpy(out, s, len);
	out[len] = 0;
}
