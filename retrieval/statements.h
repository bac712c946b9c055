/* Prepared statements by name, made when first used, one cache a connection. */
#ifndef HISHO_RETRIEVAL_STATEMENTS_H
#define HISHO_RETRIEVAL_STATEMENTS_H

#include <stdint.h>

#include <sqlite3.h>

#include "base/err.h"

struct hs_statements {
	sqlite3 *db;
	struct hs_statement {
		const char *sql; /* its address is its name: a string literal or constant */
		sqlite3_stmt *st;
	} items[128];
	size_t count;
};

void hs_statements_finish(struct hs_statements *c);

/* The statement of a literal, reset and without bindings. NULL with err filled. The cache holds 128 different ones. */
sqlite3_stmt *hs_statement(struct hs_statements *c, const char *sql, struct hs_err *err) HS_MUST_CHECK;

/* Bind by a format: i int64, t const char *, b const void * and size_t, n NULL. Bytes must live until the statement is done. */
int hs_bind(sqlite3_stmt *st, const char *format, ...) HS_MUST_CHECK;

/* Step a statement that returns nothing, and reset it. */
int hs_run(sqlite3_stmt *st, struct hs_err *err) HS_MUST_CHECK;

/* hs_statement, hs_bind and hs_run in one. */
int hs_execute(struct hs_statements *c, struct hs_err *err, const char *sql, const char *format, ...) HS_MUST_CHECK;

/* 1: a row; 0: none (and reset); negative: failed (and reset). */
int hs_step(sqlite3_stmt *st, struct hs_err *err) HS_MUST_CHECK;

/* Reset at the end of a scope: a statement that is left open keeps its transaction. */
void hs_statement_reset(sqlite3_stmt **st);
#define HS_STMT_AUTO HS_CLEANUP(hs_statement_reset) sqlite3_stmt

/* A column's text into a buffer of n bytes, cut at a character; always terminated. */
void hs_column_text(sqlite3_stmt *st, int column, char *out, size_t n);

#endif
