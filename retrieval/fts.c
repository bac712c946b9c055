#include "retrieval/fts.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* --- the tokenizer --- */

struct hs_fts { /* one a connection; freed with it */
	struct hs_analyzer *analyzer;
	struct hs_fts_memo memos[HS_FTS_MEMOS];
};

struct instance { /* one a table of a connection */
	struct hs_fts *module;
	struct hs_tagger *tagger;
	struct hs_tokens tokens;
};

static void instance_delete(Fts5Tokenizer *p)
{
	struct instance *t = (struct instance *)p;

	if (!t)
		return;
	hs_tagger_destroy(t->tagger);
	hs_tokens_finish(&t->tokens);
	free(t);
}

static int instance_create(void *context, const char **args, int n_args, Fts5Tokenizer **ret)
{
	struct hs_fts *module = context;
	struct instance *t = calloc(1, sizeof(*t));

	if (!t)
		return SQLITE_NOMEM;
	t->module = module;
	if (hs_tagger_create(module->analyzer, &t->tagger) < 0) {
		free(t);
		return SQLITE_NOMEM;
	}
	*ret = (Fts5Tokenizer *)t;
	return SQLITE_OK;
}

static int give_tokens(const struct hs_tokens *tokens, void *context,
		       int (*token)(void *, int, const char *, int, int, int))
{
	int rc = SQLITE_OK;

	for (size_t i = 0; rc == SQLITE_OK && i < tokens->count; i++) {
		const struct hs_token *t = &tokens->items[i];

		rc = token(context, 0, tokens->terms + t->term, (int)t->term_len, (int)t->start, (int)t->end);
	}
	return rc;
}

static int instance_tokenize(Fts5Tokenizer *p, void *context, int flags, const char *text, int n,
			     int (*token)(void *, int, const char *, int, int, int))
{
	struct instance *t = (struct instance *)p;

	if (n <= 0)
		return SQLITE_OK;
	for (int i = 0; i < HS_FTS_MEMOS; i++) {
		const struct hs_fts_memo *m = &t->module->memos[i];

		if (m->tokens && m->len == (size_t)n && memcmp(m->text, text, m->len) == 0)
			return give_tokens(m->tokens, context, token);
	}
	t->tokens.count = 0;
	t->tokens.terms_len = 0;
	switch (hs_tokenize_words(t->tagger, text, (size_t)n, &t->tokens)) {
	case 0:
		return give_tokens(&t->tokens, context, token);
	case -ENOMEM:
		return SQLITE_NOMEM;
	default:
		return SQLITE_ERROR;
	}
}

static void module_free(void *p)
{
	free(p);
}

static fts5_api *api_of(sqlite3 *db)
{
	fts5_api *api = NULL;
	sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(db, "SELECT fts5(?1)", -1, &st, NULL) == SQLITE_OK) {
		(void)sqlite3_bind_pointer(st, 1, &api, "fts5_api_ptr", NULL);
		(void)sqlite3_step(st);
	}
	(void)sqlite3_finalize(st);
	return api;
}

int hs_fts_register(sqlite3 *db, struct hs_analyzer *analyzer, struct hs_fts **ret, struct hs_err *err)
{
	fts5_tokenizer methods = {.xCreate = instance_create, .xDelete = instance_delete, .xTokenize = instance_tokenize};
	fts5_api *api = api_of(db);
	struct hs_fts *module;

	if (!api || api->iVersion < 2)
		return hs_fail(err, EIO, "store.fts5", HS_N_("Install a libsqlite3 that has FTS5."), "%s", sqlite3_libversion());
	module = calloc(1, sizeof(*module));
	if (!module)
		return -ENOMEM;
	module->analyzer = analyzer;
	if (api->xCreateTokenizer(api, "hisho", module, &methods, module_free) != SQLITE_OK) {
		free(module); /* a registration that fails does not take it over */
		return -ENOMEM;
	}
	if (ret)
		*ret = module;
	return 0;
}

void hs_fts_remember(struct hs_fts *fts, const struct hs_fts_memo memos[static HS_FTS_MEMOS])
{
	memcpy(fts->memos, memos, sizeof(fts->memos));
}

/* --- the language of questions --- */

enum kind {
	KIND_END,
	KIND_PHRASE, /* quoted, or a bare word */
	KIND_AND,
	KIND_OR,
	KIND_NOT,
	KIND_OPEN,
	KIND_CLOSE,
	KIND_STAR,
};

struct parser {
	const char *s;
	size_t n, at;
	struct { /* the token under the cursor */
		enum kind kind;
		size_t at;
		const char *s;
		size_t n;
	} token;
	unsigned parts, depth;
	struct hs_buf *out, *plain;
	struct hs_err *err;
};

static int refuse(struct parser *p, const char *what, size_t at)
{
	return hs_fail(p->err, EINVAL, "search.syntax",
		       HS_N_("Write words or \"phrases\", joined by AND, OR, NOT and parentheses; word* finds beginnings."),
		       "%s at character %zu", what, hs_utf8_count(p->s, at) + 1);
}

static const struct {
	const char *s;
	enum kind kind;
} marks[] = {
	{"(", KIND_OPEN}, {"（", KIND_OPEN}, {")", KIND_CLOSE}, {"）", KIND_CLOSE}, {"*", KIND_STAR}, {"＊", KIND_STAR},
};

static const struct {
	const char *open, *close;
} quotes[] = {{"\"", "\""}, {"“", "”"}, {"「", "」"}, {"『", "』"}};

static bool starts(const struct parser *p, size_t at, const char *mark)
{
	size_t n = strlen(mark);

	return p->n - at >= n && memcmp(p->s + at, mark, n) == 0;
}

static size_t space_at(const struct parser *p, size_t at)
{
	if (strchr(" \t\r\n\v\f", p->s[at]) && p->s[at])
		return 1;
	return starts(p, at, "\xe3\x80\x80") ? 3 : 0; /* U+3000 */
}

static bool word_ends(const struct parser *p, size_t at)
{
	if (at >= p->n || space_at(p, at))
		return true;
	for (size_t i = 0; i < HS_ARRAY_LEN(marks); i++)
		if (starts(p, at, marks[i].s))
			return true;
	for (size_t i = 0; i < HS_ARRAY_LEN(quotes); i++)
		if (starts(p, at, quotes[i].open) || starts(p, at, quotes[i].close))
			return true;
	return false;
}

static bool is_word(const struct parser *p, const char *ascii, const char *wide)
{
	return (p->token.n == strlen(ascii) && memcmp(p->token.s, ascii, p->token.n) == 0) ||
	       (p->token.n == strlen(wide) && memcmp(p->token.s, wide, p->token.n) == 0);
}

static int next_quoted(struct parser *p, const char *open, const char *close)
{
	size_t start = p->at + strlen(open), end = start;

	while (end < p->n && !starts(p, end, close))
		end++;
	if (end >= p->n)
		return refuse(p, "a quotation that does not end", p->at);
	p->token.kind = KIND_PHRASE;
	p->token.s = p->s + start;
	p->token.n = end - start;
	p->at = end + strlen(close);
	return 0;
}

static int next(struct parser *p)
{
	size_t skip, start;

	while (p->at < p->n && (skip = space_at(p, p->at)) > 0)
		p->at += skip;
	p->token.at = p->at;
	if (p->at >= p->n) {
		p->token.kind = KIND_END;
		return 0;
	}
	for (size_t i = 0; i < HS_ARRAY_LEN(marks); i++) {
		if (starts(p, p->at, marks[i].s)) {
			p->token.kind = marks[i].kind;
			p->at += strlen(marks[i].s);
			return 0;
		}
	}
	for (size_t i = 0; i < HS_ARRAY_LEN(quotes); i++)
		if (starts(p, p->at, quotes[i].open))
			return next_quoted(p, quotes[i].open, quotes[i].close);
	start = p->at;
	while (!word_ends(p, p->at))
		p->at++;
	if (p->at == start)
		return refuse(p, "a closing quotation mark that nothing opened", start);
	p->token.kind = KIND_PHRASE;
	p->token.s = p->s + start;
	p->token.n = p->at - start;
	if (is_word(p, "AND", "ＡＮＤ"))
		p->token.kind = KIND_AND;
	else if (is_word(p, "OR", "ＯＲ"))
		p->token.kind = KIND_OR;
	else if (is_word(p, "NOT", "ＮＯＴ"))
		p->token.kind = KIND_NOT;
	return 0;
}

static int any_of(struct parser *p);

static int put_phrase(struct parser *p)
{
	const char *s = p->token.s;
	size_t n = p->token.n;
	int rc = hs_buf_append_byte(p->out, '"');

	if (n == 0)
		return refuse(p, "an empty phrase", p->token.at);
	if (++p->parts > HS_FTS_PARTS_MAX)
		return refuse(p, "too many words", p->token.at);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = s[i] == '"' ? hs_buf_append_str(p->out, "\"\"") : hs_buf_append_byte(p->out, (uint8_t)s[i]);
	if (rc == 0)
		rc = hs_buf_append_byte(p->out, '"');
	if (rc == 0 && p->plain)
		rc = hs_buf_append(p->plain, s, n);
	if (rc == 0 && p->plain)
		rc = hs_buf_append_byte(p->plain, '\n');
	if (rc == 0)
		rc = next(p);
	if (rc == 0 && p->token.kind == KIND_STAR) {
		rc = hs_buf_append_byte(p->out, '*');
		if (rc == 0)
			rc = next(p);
	}
	return rc;
}

static int part(struct parser *p)
{
	size_t at = p->token.at;
	int rc;

	switch (p->token.kind) {
	case KIND_PHRASE:
		return put_phrase(p);
	case KIND_OPEN:
		if (++p->depth > HS_FTS_DEPTH_MAX)
			return refuse(p, "parentheses too deep", at);
		rc = hs_buf_append_byte(p->out, '(');
		if (rc == 0)
			rc = next(p);
		if (rc == 0)
			rc = any_of(p);
		if (rc == 0 && p->token.kind != KIND_CLOSE)
			rc = refuse(p, "a parenthesis that does not close", at);
		if (rc == 0)
			rc = hs_buf_append_byte(p->out, ')');
		if (rc == 0)
			rc = next(p);
		p->depth--;
		return rc;
	case KIND_STAR:
		return refuse(p, "* without a word before it", at);
	case KIND_CLOSE:
		return refuse(p, "a parenthesis that nothing opened", at);
	default:
		return refuse(p, p->token.kind == KIND_END ? "a word is missing" : "an operator without a word before it", at);
	}
}

static int all_of(struct parser *p)
{
	struct hs_buf *plain = p->plain;
	int rc = part(p);

	while (rc == 0 && (p->token.kind == KIND_AND || p->token.kind == KIND_PHRASE || p->token.kind == KIND_OPEN ||
			   p->token.kind == KIND_STAR)) {
		if (p->token.kind == KIND_AND)
			rc = next(p);
		if (rc == 0)
			rc = hs_buf_append_str(p->out, " AND ");
		if (rc == 0)
			rc = part(p);
	}
	while (rc == 0 && p->token.kind == KIND_NOT) {
		rc = next(p);
		if (rc == 0)
			rc = hs_buf_append_str(p->out, " NOT ");
		p->plain = NULL; /* what is not wanted must not rank */
		if (rc == 0)
			rc = part(p);
		p->plain = plain;
	}
	return rc;
}

static int any_of(struct parser *p)
{
	int rc = hs_buf_append_byte(p->out, '(');

	if (rc == 0)
		rc = all_of(p);
	while (rc == 0 && p->token.kind == KIND_OR) {
		rc = next(p);
		if (rc == 0)
			rc = hs_buf_append_str(p->out, ") OR (");
		if (rc == 0)
			rc = all_of(p);
	}
	return rc < 0 ? rc : hs_buf_append_byte(p->out, ')');
}

int hs_fts_expression(const char *text, size_t n, struct hs_buf *out, struct hs_buf *plain, struct hs_err *err)
{
	struct parser p = {.s = text, .n = n, .out = out, .plain = plain, .err = err};
	size_t bad = 0, out_before = out->len, plain_before = plain ? plain->len : 0;
	int rc;

	if (memchr(text, 0, n) || !hs_utf8_valid(text, n, &bad))
		return hs_fail(err, EINVAL, "search.text", HS_N_("Send the question as UTF-8 text."), "byte %zu", bad);
	rc = next(&p);
	if (rc == 0)
		rc = any_of(&p);
	if (rc == 0 && p.token.kind != KIND_END)
		rc = refuse(&p, p.token.kind == KIND_CLOSE ? "a parenthesis that nothing opened" : "a part that does not fit",
			    p.token.at);
	if (rc < 0) { /* nothing half-written is left behind */
		out->len = out_before;
		if (plain)
			plain->len = plain_before;
	}
	return rc;
}
