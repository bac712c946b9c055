/*
 * A person's exact question: whatever is typed is refused or becomes an expression that FTS5 accepts, in which nothing of
 * theirs stands outside a quoted string.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "retrieval/fts.h"

static sqlite3_stmt *match;

static void open_table(void)
{
	sqlite3 *db;

	if (sqlite3_open(":memory:", &db) != SQLITE_OK ||
	    sqlite3_exec(db, "CREATE VIRTUAL TABLE t USING fts5(head, text); INSERT INTO t VALUES('a', 'b c')", NULL, NULL, NULL) !=
		    SQLITE_OK ||
	    sqlite3_prepare_v2(db, "SELECT rowid FROM t WHERE t MATCH ?1", -1, &match, NULL) != SQLITE_OK)
		abort();
}

/* Outside quoted strings stand only our own operators. */
static void check_outside(const char *s, size_t n)
{
	bool quoted = false;

	for (size_t i = 0; i < n; i++) {
		if (s[i] == '"')
			quoted = !quoted;
		else if (!quoted && !strchr("() *ANDORT", s[i]))
			abort();
	}
	if (quoted)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hs_buf out = {0}, plain = {0};

	if (!match)
		open_table();
	if (size < 8192 && hs_fts_expression((const char *)data, size, &out, &plain, NULL) == 0) {
		const char *expression = hs_buf_cstr(&out);
		int rc;

		if (!expression)
			abort();
		check_outside(expression, out.len);
		if (sqlite3_bind_text(match, 1, expression, (int)out.len, SQLITE_STATIC) != SQLITE_OK)
			abort();
		while ((rc = sqlite3_step(match)) == SQLITE_ROW)
			;
		if (rc != SQLITE_DONE)
			abort();
		(void)sqlite3_reset(match);
	}
	hs_buf_finish(&out);
	hs_buf_finish(&plain);
	return 0;
}
