/*
 * Exact matching: FTS5 over MeCab's words, for phrases, prefixes and boolean questions. It finds, and never ranks.
 *
 * What a person types is parsed here into a small language and written out anew as an FTS5 expression in which every
 * word of theirs stands inside a quoted string: their text cannot become FTS5 syntax, a column filter or a command.
 *
 *   question   = any-of
 *   any-of     = all-of { OR all-of }
 *   all-of     = part { [AND] part } { NOT part }
 *   part       = phrase [*] | word [*] | ( any-of )
 *   phrase     = "..." | 「...」 | 『...』 ; operators are upper case; ＡＮＤ, （） and ＊ in full width count as well
 */
#ifndef HISHO_RETRIEVAL_FTS_H
#define HISHO_RETRIEVAL_FTS_H

#include <sqlite3.h>

#include "base/buf.h"
#include "base/err.h"
#include "text/analyze.h"

#define HS_FTS_PARTS_MAX 64
#define HS_FTS_DEPTH_MAX 16

/*
 * Register the tokenizer "hisho" on a connection: once on each, before its tables are touched. The analyzer outlives the
 * connection. -EIO where this SQLite has no FTS5 ("store.fts5").
 */
struct hs_fts; /* lives and goes with the connection; ret may be NULL */
int hs_fts_register(sqlite3 *db, struct hs_analyzer *analyzer, struct hs_fts **ret, struct hs_err *err) HS_MUST_CHECK;

/*
 * Words that the caller has just made of a text, so that the insert that follows does not make them again. They are used
 * for exactly this text on this connection, until the next call; NULL forgets. tokens and text stay the caller's.
 */
struct hs_fts_memo {
	const char *text;
	size_t len;
	const struct hs_tokens *tokens;
};
#define HS_FTS_MEMOS 2 /* the columns */
void hs_fts_remember(struct hs_fts *fts, const struct hs_fts_memo memos[static HS_FTS_MEMOS]);

/*
 * A person's question to an FTS5 expression, appended to out; plain (or NULL) receives the words without operators, for
 * ranking. -EINVAL "search.syntax": err->object says what and where.
 */
int hs_fts_expression(const char *text, size_t n, struct hs_buf *out, struct hs_buf *plain, struct hs_err *err) HS_MUST_CHECK;

#endif
