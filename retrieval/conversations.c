#include "retrieval/conversations.h"

#include <errno.h>
#include <string.h>

#include "base/arena.h"
#include "base/utf8.h"
#include "policy/rules.h"
#include "retrieval/internal.h"
#include "retrieval/reading.h"
#include "retrieval/schema.h"

#define EXPIRED_A_STEP 256
#define MESSAGE_ARENA_MAX (16u * 1024u * 1024u) /* of one message that is shown, its quotes included */

static int unknown(const char *id, struct hs_err *err)
{
	return hs_fail(err, ENOENT, "conversation.unknown", HS_N_("There is no such conversation."), "%.64s", id);
}

/* --- writing --- */

struct own {
	int64_t id, bytes, n_messages;
};

static int find_own(struct hs_statements *db, const char *user, const char *conversation, struct own *ret, struct hs_err *err)
{
	HS_STMT_AUTO *st =
	    hs_statement(db,
			 "SELECT id, bytes, (SELECT count(*) FROM messages m WHERE m.conversation = c.id) FROM conversations c"
			 " WHERE public = ?1 AND user = ?2",
			 err);
	int rc = st ? hs_bind(st, "tt", conversation, user) : -EIO;

	if (rc == 0)
		rc = hs_step(st, err);
	if (rc <= 0)
		return rc < 0 ? rc : unknown(conversation, err);
	*ret = (struct own){sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1), sqlite3_column_int64(st, 2)};
	return 0;
}

/* Is there room among what this person keeps? A question brings room for its answer along. */
static int check_room(struct hs_statements *db, const struct hs_asked *q, struct hs_err *err)
{
	HS_STMT_AUTO *st =
	    hs_statement(db, "SELECT count(*), coalesce(sum(bytes), 0) FROM conversations WHERE user = ?1", err);
	int rc = st ? hs_bind(st, "t", q->user) : -EIO;

	if (rc == 0)
		rc = hs_step(st, err);
	if (rc < 0)
		return rc;
	if ((q->fresh && sqlite3_column_int64(st, 0) >= HS_CONVERSATIONS_PER_USER_MAX) ||
	    sqlite3_column_int64(st, 1) + (int64_t)q->len + HS_CONVERSATION_ANSWER_MAX > HS_CONVERSATIONS_BYTES_PER_USER_MAX)
		return hs_fail(err, ENOSPC, "conversation.limit",
			       HS_N_("You keep as many conversations as one person can. Delete some that you need no more."),
			       "%lld", (long long)sqlite3_column_int64(st, 0));
	return 0;
}

/* The same for the conversation itself; fresh ones have it. */
static int check_own_room(const struct own *in, const struct hs_asked *q, struct hs_err *err)
{
	if (in->n_messages + 2 <= HS_CONVERSATION_MESSAGES_MAX &&
	    in->bytes + (int64_t)q->len + HS_CONVERSATION_ANSWER_MAX <= HS_CONVERSATION_BYTES_MAX)
		return 0;
	return hs_fail(err, ENOSPC, "conversation.full", HS_N_("This conversation is as long as one can be. Begin another."), "%s",
		       q->conversation.s);
}

int hs_conversation_fits(struct hs_reader *r, const struct hs_asked *q, struct hs_err *err)
{
	struct own in;
	int rc = check_room(&r->statements, q, err);

	if (rc < 0 || q->fresh)
		return rc;
	rc = find_own(&r->statements, q->user, q->conversation.s, &in, err);
	return rc < 0 ? rc : check_own_room(&in, q, err);
}

static int begin_conversation(struct hs_store *s, const struct hs_asked *q, struct own *ret, struct hs_err *err)
{
	char title[HS_CONVERSATION_TITLE_MAX + 1];
	size_t n = strcspn(q->text, "\r\n"); /* the first line, cut at a character */
	int rc;

	if (n > HS_CONVERSATION_TITLE_MAX)
		n = hs_utf8_cut(q->text, HS_CONVERSATION_TITLE_MAX);
	memcpy(title, q->text, n);
	title[n] = 0;
	rc = hs_execute(&s->statements, err,
			"INSERT INTO conversations(public, user, title, bytes, created, updated)"
			" VALUES(?1, ?2, ?3, 0, ?4, ?4)",
			"ttti", q->conversation.s, q->user, title, q->now_ms);
	if (rc == 0)
		*ret = (struct own){.id = sqlite3_last_insert_rowid(s->db)};
	return rc;
}

static int add_message(struct hs_store *s, const struct own *in, const struct hs_id *message, enum hs_message_role role,
		       const char *text, size_t len, int64_t now_ms, int64_t *ret_id, struct hs_err *err)
{
	int rc = hs_execute(&s->statements, err,
			    "INSERT INTO messages(public, conversation, role, text, created)"
			    " VALUES(?1, ?2, ?3, CAST(?4 AS TEXT), ?5)",
			    "tiibi", message->s, in->id, (int64_t)role, (const void *)text, len, now_ms);

	if (rc < 0)
		return rc;
	*ret_id = sqlite3_last_insert_rowid(s->db);
	return hs_execute(&s->statements, err,
			  "UPDATE conversations SET bytes = bytes + ?2, updated = max(updated, ?3) WHERE id = ?1", "iii", in->id,
			  (int64_t)len, now_ms);
}

int hs_conversation_ask(struct hs_store *s, const struct hs_asked *q, struct hs_err *err)
{
	struct own in = {0};
	int64_t id;
	int rc = hs_store_check_open(s, err);

	if (rc == 0)
		rc = check_room(&s->statements, q, err);
	if (rc == 0)
		rc = q->fresh ? begin_conversation(s, q, &in, err) : find_own(&s->statements, q->user, q->conversation.s, &in, err);
	if (rc == 0)
		rc = check_own_room(&in, q, err);
	return rc < 0 ? rc : add_message(s, &in, &q->message, HS_MESSAGE_QUESTION, q->text, q->len, q->now_ms, &id, err);
}

/* Ascending, apart, within the text, at characters: what reading relies on. */
static bool sentences_fit(const struct hs_answered *a)
{
	uint32_t end = 0;

	for (size_t i = 0; i < a->n_sentences; i++) {
		const struct hs_sentence_source *c = &a->sentences[i];

		if (c->at < end || c->at >= c->to || c->to > a->len || hs_utf8_cut(a->text, c->at) != c->at ||
		    (c->to < a->len && hs_utf8_cut(a->text, c->to) != c->to))
			return false;
		end = c->to;
	}
	return a->n_sentences <= HS_CONVERSATION_CITATIONS_MAX && a->len <= HS_CONVERSATION_ANSWER_MAX;
}

int hs_conversation_answer(struct hs_store *s, const struct hs_answered *a, struct hs_err *err)
{
	struct own in;
	int64_t id;
	int rc = hs_store_check_open(s, err);

	if (rc == 0 && !sentences_fit(a))
		rc = hs_fail(err, EINVAL, "conversation.answer", HS_N_("The answer's citations do not fit its text."), "%s",
			     a->message.s);
	if (rc == 0)
		rc = find_own(&s->statements, a->user, a->conversation.s, &in, err);
	if (rc == 0)
		rc = add_message(s, &in, &a->message, HS_MESSAGE_ANSWER, a->text, a->len, a->now_ms, &id, err);
	if (rc == 0)
		rc = hs_execute(&s->statements, err,
				"INSERT INTO answers(message, request, model, outcome, audit_seq, prompt_tokens,"
				" answer_tokens, hash) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
				"ittiiiib", id, a->request, a->model, (int64_t)a->outcome, (int64_t)a->audit_seq,
				(int64_t)a->prompt_tokens, (int64_t)a->answer_tokens, (const void *)a->hash, sizeof(a->hash));
	for (size_t i = 0; rc == 0 && i < a->n_sentences; i++) {
		const struct hs_sentence_source *c = &a->sentences[i];

		rc = hs_execute(&s->statements, err,
				"INSERT INTO citations(message, number, answer_start, answer_end, document, version,"
				" start, end, page) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
				"iiiittiii", id, (int64_t)c->number, (int64_t)c->at, (int64_t)c->to, c->document, c->version,
				(int64_t)c->start, (int64_t)c->end, (int64_t)c->page);
	}
	return rc;
}

int hs_conversation_delete(struct hs_store *s, const char *user, const char *conversation, struct hs_err *err)
{
	struct own in;
	int rc = hs_store_check_open(s, err);

	if (rc == 0)
		rc = find_own(&s->statements, user, conversation, &in, err);
	return rc < 0 ? rc : hs_execute(&s->statements, err, "DELETE FROM conversations WHERE id = ?1", "i", in.id);
}

static int find_answer(struct hs_store *s, const char *user, const char *message, int64_t *ret, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&s->statements,
					"SELECT m.id FROM messages m JOIN conversations c ON c.id = m.conversation"
					" WHERE m.public = ?1 AND m.role = ?2 AND c.user = ?3",
					err);
	int rc = st ? hs_bind(st, "tit", message, (int64_t)HS_MESSAGE_ANSWER, user) : -EIO;

	if (rc == 0)
		rc = hs_step(st, err);
	if (rc == 0)
		rc = hs_fail(err, ENOENT, "message.unknown", HS_N_("There is no such answer."), "%.64s", message);
	if (rc > 0)
		*ret = sqlite3_column_int64(st, 0);
	return rc < 0 ? rc : 0;
}

int hs_conversation_feedback(struct hs_store *s, const char *user, const char *message, const struct hs_feedback *f,
			     int64_t now_ms, struct hs_err *err)
{
	int64_t id = 0;
	int rc = hs_store_check_open(s, err);

	if (rc == 0 && (f->value < -1 || f->value > 1 || strlen(f->reason) > HS_FEEDBACK_REASON_MAX ||
			strlen(f->comment) > HS_FEEDBACK_COMMENT_MAX))
		rc = hs_fail(err, EINVAL, "feedback.value", HS_N_("Feedback is 1, -1 or 0, with a short reason and comment."),
			     "%d", f->value);
	if (rc == 0)
		rc = find_answer(s, user, message, &id, err);
	if (rc < 0)
		return rc;
	if (f->value == 0)
		return hs_execute(&s->statements, err, "DELETE FROM feedback WHERE message = ?1", "i", id);
	return hs_execute(&s->statements, err,
			  "INSERT OR REPLACE INTO feedback(message, user, value, reason, comment, share, created)"
			  " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
			  "ititt"
			  "ii",
			  id, user, (int64_t)f->value, f->reason, f->comment, (int64_t)f->share, now_ms);
}

static int any_expired(struct hs_store *s, int64_t since, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&s->statements, "SELECT 1 FROM conversations WHERE updated < ?1 LIMIT 1", err);
	int rc = st ? hs_bind(st, "i", since) : -EIO;

	return rc < 0 ? rc : hs_step(st, err);
}

int hs_conversations_expire(struct hs_store *s, int64_t since, bool *ret_more, struct hs_err *err)
{
	int rc = any_expired(s, since, err);

	if (rc <= 0)
		return rc;
	rc = hs_store_begin(s, err);
	if (rc < 0)
		return rc;
	rc = hs_execute(&s->statements, err,
			"DELETE FROM conversations WHERE id IN"
			" (SELECT id FROM conversations WHERE updated < ?1 LIMIT ?2)",
			"ii", since, (int64_t)EXPIRED_A_STEP);
	if (rc == 0)
		rc = hs_store_commit(s, err);
	if (rc < 0)
		hs_store_rollback(s);
	else
		*ret_more = true; /* asked again, it finds nothing */
	return rc;
}

/* Spaces in place of the bytes: the ranges of the sentences beside it hold. */
static int blank(struct hs_store *s, int64_t message, int64_t at, int64_t to, struct hs_err *err)
{
	HS_BUF_AUTO text = HS_BUF_INIT;
	HS_STMT_AUTO *st = hs_statement(&s->statements, "SELECT text FROM messages WHERE id = ?1", err);
	int rc = st ? hs_bind(st, "i", message) : -EIO;

	if (rc == 0)
		rc = hs_step(st, err);
	if (rc <= 0)
		return rc;
	rc = hs_buf_append(&text, sqlite3_column_text(st, 0), (size_t)sqlite3_column_bytes(st, 0));
	if (rc == 0 && at >= 0 && at <= to && (size_t)to <= text.len) {
		memset(text.data + at, ' ', (size_t)(to - at));
		rc = hs_execute(&s->statements, err, "UPDATE messages SET text = CAST(?2 AS TEXT) WHERE id = ?1", "ib", message,
				(const void *)text.data, text.len);
	}
	hs_buf_wipe(&text);
	return rc;
}

int hs_conversations_blank(struct hs_store *s, int64_t keep_since, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(
	    &s->statements,
	    "SELECT c.message, c.answer_start, c.answer_end FROM versions v JOIN citations c ON c.version = v.public"
	    " WHERE (v.replaced <> 0 AND v.replaced < ?1) OR v.document IN (SELECT id FROM documents WHERE deleted <> 0)",
	    err);
	int rc = st ? hs_bind(st, "i", keep_since) : -EIO;

	while (rc == 0 && (rc = hs_step(st, err)) > 0)
		rc = blank(s, sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1), sqlite3_column_int64(st, 2), err);
	return rc;
}

/* --- reading: lists --- */

#define ROW_COLUMNS "c.public, c.title, c.created, c.updated, (SELECT count(*) FROM messages m WHERE m.conversation = c.id)"

static void read_row(sqlite3_stmt *st, struct hs_conversation_row *row)
{
	*row = (struct hs_conversation_row){.created = sqlite3_column_int64(st, 2),
					    .updated = sqlite3_column_int64(st, 3),
					    .n_messages = (uint32_t)sqlite3_column_int64(st, 4)};
	hs_column_text(st, 0, row->id.s, sizeof(row->id.s));
	hs_column_text(st, 1, row->title, sizeof(row->title));
}

int hs_conversation_list(struct hs_reader *r, const struct hs_grant *g, const char *after, size_t limit,
			 int (*fn)(void *ctx, const struct hs_conversation_row *row), void *ctx, struct hs_err *err)
{
	HS_STMT_AUTO *st =
	    hs_statement(&r->statements,
			 "SELECT " ROW_COLUMNS " FROM conversations c LEFT JOIN conversations a ON a.public = ?2 AND a.user = ?1"
			 " WHERE c.user = ?1 AND (a.id IS NULL OR (c.updated, c.id) < (a.updated, a.id))"
			 " ORDER BY c.updated DESC, c.id DESC LIMIT ?3",
			 err);
	struct hs_conversation_row row;
	int rc = st ? hs_bind(st, "tti", hs_grant_principal(g), after, (int64_t)limit) : -EIO;

	while (rc == 0 && (rc = hs_step(st, err)) > 0) {
		read_row(st, &row);
		rc = fn(ctx, &row);
	}
	return rc;
}

int hs_conversation_find(struct hs_reader *r, const struct hs_grant *g, const char *id, struct hs_conversation_row *ret,
			 struct hs_err *err)
{
	HS_STMT_AUTO *st =
	    hs_statement(&r->statements, "SELECT " ROW_COLUMNS " FROM conversations c WHERE c.public = ?1 AND c.user = ?2", err);
	int rc = st ? hs_bind(st, "tt", id, hs_grant_principal(g)) : -EIO;

	if (rc == 0)
		rc = hs_step(st, err);
	if (rc <= 0)
		return rc < 0 ? rc : unknown(id, err);
	read_row(st, ret);
	return 0;
}

int hs_conversation_last_question(struct hs_reader *r, const struct hs_grant *g, const char *id, struct hs_buf *out,
				  struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(
	    &r->statements,
	    "SELECT (SELECT text FROM messages m WHERE m.conversation = c.id AND m.role = ?3 ORDER BY m.id DESC LIMIT 1)"
	    " FROM conversations c WHERE c.public = ?1 AND c.user = ?2",
	    err);
	int rc = st ? hs_bind(st, "tti", id, hs_grant_principal(g), (int64_t)HS_MESSAGE_QUESTION) : -EIO;

	if (rc == 0)
		rc = hs_step(st, err);
	if (rc <= 0)
		return rc < 0 ? rc : unknown(id, err);
	return hs_buf_append(out, sqlite3_column_text(st, 0), (size_t)sqlite3_column_bytes(st, 0));
}

/* --- reading: messages --- */

struct opening {
	struct hs_reader *r;
	struct hs_arena *arena;   /* of the message that is being shown */
	const struct hs_grant *g; /* who reads; NULL: for who administers, by the right of `user` */
	const char *user;
	int64_t now_ms;
};

/* May the sentence of this row be shown? Anything that is not as it should be denies. */
static bool may_show(const struct opening *o, sqlite3_stmt *st)
{
	struct hs_explanation why;
	int64_t class_id = sqlite3_column_int64(st, 9), deleted = sqlite3_column_int64(st, 10),
		expires = sqlite3_column_int64(st, 11);
	const char *stored = (const char *)sqlite3_column_text(st, 3), *found = (const char *)sqlite3_column_text(st, 12);

	if (!stored || !found || strcmp(stored, found) != 0)
		return false; /* its version is gone */
	if (o->g)
		return hs_reading_allows(o->g, HS_RIGHT_ASK, class_id, deleted, expires, o->now_ms);
	if (class_id < 1 || class_id > HS_CLASSES_MAX || deleted != 0 || (expires != 0 && expires <= o->now_ms))
		return false;
	return hs_policy_explain(o->r->db, o->user, (uint32_t)class_id, o->now_ms, NULL, NULL, &why, NULL) == 0 && why.ask;
}

static const char *keep(const struct opening *o, sqlite3_stmt *st, int column)
{
	const char *s = (const char *)sqlite3_column_text(st, column);

	return hs_arena_strndup(o->arena, s ? s : "", (size_t)sqlite3_column_bytes(st, column));
}

/* The cited bytes and what stands above them, from the passage that holds them; a replaced version has none any more. */
static int read_quote(const struct opening *o, int64_t version, struct hs_shown_sentence *c, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(
	    &o->r->statements,
	    "SELECT c.start, t.context, t.text FROM versions v JOIN chunks c ON c.document = v.document AND c.version = v.id"
	    " JOIN chunk_texts t ON t.ordinal = c.ordinal"
	    " WHERE v.id = ?1 AND c.start <= ?2 AND c.end >= ?3 AND c.dead = 0 LIMIT 1",
	    err);
	int rc = st ? hs_bind(st, "iii", version, (int64_t)c->start, (int64_t)c->end) : -EIO;

	if (rc == 0)
		rc = hs_step(st, err);
	if (rc <= 0)
		return rc;
	int64_t from = c->start - sqlite3_column_int64(st, 0);
	size_t n = c->end - c->start;
	const char *text = (const char *)sqlite3_column_text(st, 2);

	c->context = keep(o, st, 1);
	if (!c->context)
		return -ENOMEM;
	if (!text || from < 0 || (size_t)from + n > (size_t)sqlite3_column_bytes(st, 2))
		return 0; /* without its words; the source has them */
	c->quote = hs_arena_strndup(o->arena, text + from, n);
	c->quote_len = n;
	return c->quote ? 0 : -ENOMEM;
}

static int read_sentence(const struct opening *o, sqlite3_stmt *st, const char *text, size_t len, struct hs_shown_sentence *ret,
			 struct hs_err *err)
{
	int64_t at = sqlite3_column_int64(st, 1), to = sqlite3_column_int64(st, 2);

	*ret = (struct hs_shown_sentence){.withheld = true};
	if (at < 0 || at >= to || (size_t)to > len || !may_show(o, st))
		return 0;
	*ret = (struct hs_shown_sentence){.text = text + at,
					  .len = (size_t)(to - at),
					  .number = (uint32_t)sqlite3_column_int64(st, 0),
					  .document = keep(o, st, 3),
					  .version = keep(o, st, 4),
					  .start = (uint32_t)sqlite3_column_int64(st, 5),
					  .end = (uint32_t)sqlite3_column_int64(st, 6),
					  .page = (uint32_t)sqlite3_column_int64(st, 7),
					  .title = keep(o, st, 8),
					  .context = ""};
	if (!ret->document || !ret->version || !ret->title)
		return -ENOMEM;
	return o->g ? read_quote(o, sqlite3_column_int64(st, 13), ret, err) : 0;
}

static int read_sentences(const struct opening *o, int64_t message, const char *text, size_t len, struct hs_shown_sentence *out,
			  size_t *ret_n, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(
	    &o->r->statements,
	    "SELECT c.number, c.answer_start, c.answer_end, c.document, c.version, c.start, c.end, c.page, v.title,"
	    " d.class_id, d.deleted, d.expires, d.public, v.id FROM citations c LEFT JOIN versions v ON v.public = c.version"
	    " LEFT JOIN documents d ON d.id = v.document WHERE c.message = ?1 ORDER BY c.answer_start LIMIT ?2",
	    err);
	size_t n = 0;
	int rc = st ? hs_bind(st, "ii", message, (int64_t)HS_CONVERSATION_CITATIONS_MAX) : -EIO;

	while (rc == 0 && (rc = hs_step(st, err)) > 0)
		rc = read_sentence(o, st, text, len, &out[n++], err);
	*ret_n = n;
	return rc;
}

#define MESSAGE_COLUMNS                                                                                                          \
	"m.id, m.public, m.role, m.created, m.text, coalesce(a.outcome, -1), coalesce(a.model, ''), coalesce(f.value, 0),"       \
	" coalesce(f.reason, ''), coalesce(f.comment, ''), coalesce(f.share, 0)"

static int read_message(const struct opening *o, sqlite3_stmt *st, int (*fn)(void *ctx, const struct hs_shown_message *m),
			void *ctx, struct hs_err *err)
{
	struct hs_shown_sentence *sentences = hs_arena_calloc(o->arena, HS_CONVERSATION_CITATIONS_MAX, sizeof(*sentences));
	struct hs_shown_message m = {.role = (enum hs_message_role)sqlite3_column_int64(st, 2),
				     .created = sqlite3_column_int64(st, 3),
				     .text = keep(o, st, 4),
				     .len = (size_t)sqlite3_column_bytes(st, 4),
				     .outcome = (int)sqlite3_column_int64(st, 5),
				     .model = keep(o, st, 6),
				     .feedback = (int)sqlite3_column_int64(st, 7),
				     .reason = keep(o, st, 8),
				     .comment = keep(o, st, 9),
				     .share = sqlite3_column_int64(st, 10) != 0,
				     .sentences = sentences};
	int rc = sentences && m.text && m.model && m.reason && m.comment ? 0 : -ENOMEM;

	hs_column_text(st, 1, m.id.s, sizeof(m.id.s));
	if (rc == 0 && m.role != HS_MESSAGE_QUESTION) {
		rc = read_sentences(o, sqlite3_column_int64(st, 0), m.text, m.len, sentences, &m.n_sentences, err);
		m.text = "";
		m.len = 0;
	}
	return rc < 0 ? rc : fn(ctx, &m);
}

static int show_message(struct opening *o, sqlite3_stmt *st, int (*fn)(void *ctx, const struct hs_shown_message *m), void *ctx,
			struct hs_err *err)
{
	o->arena = hs_arena_create(MESSAGE_ARENA_MAX);
	int rc = o->arena ? read_message(o, st, fn, ctx, err) : -ENOMEM;

	hs_arena_destroy(o->arena);
	return rc;
}

/* Where the page that ends before `before` begins: the id of its first message. 1 where there are earlier ones. */
static int find_first(struct hs_reader *r, const char *conversation, const char *before, size_t limit, int64_t *ret_first,
		      int64_t *ret_end, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(
	    &r->statements,
	    "SELECT m.id, coalesce(b.id, 9223372036854775807) FROM messages m JOIN conversations c ON c.id = m.conversation"
	    " LEFT JOIN messages b ON b.public = ?2 AND b.conversation = c.id"
	    " WHERE c.public = ?1 AND m.id < coalesce(b.id, 9223372036854775807) ORDER BY m.id DESC LIMIT ?3",
	    err);
	size_t n = 0;
	int rc = st ? hs_bind(st, "tti", conversation, before, (int64_t)limit + 1) : -EIO;

	*ret_first = *ret_end = 0;
	while (rc == 0 && (rc = hs_step(st, err)) > 0) {
		rc = 0;
		if (++n > limit)
			return 1;
		*ret_first = sqlite3_column_int64(st, 0);
		*ret_end = sqlite3_column_int64(st, 1);
	}
	return rc;
}

static int show_messages(struct opening *o, const char *conversation, const char *before, size_t limit,
			 int (*fn)(void *ctx, const struct hs_shown_message *m), void *ctx, bool *ret_more, struct hs_err *err)
{
	int64_t first, end;
	int rc = find_first(o->r, conversation, before, limit, &first, &end, err);

	if (rc < 0)
		return rc;
	*ret_more = rc > 0;
	HS_STMT_AUTO *st =
	    hs_statement(&o->r->statements,
			 "SELECT " MESSAGE_COLUMNS " FROM messages m LEFT JOIN answers a ON a.message = m.id"
			 " LEFT JOIN feedback f ON f.message = m.id"
			 " WHERE m.conversation = (SELECT id FROM conversations WHERE public = ?1) AND m.id >= ?2 AND m.id < ?3"
			 " ORDER BY m.id",
			 err);

	rc = st ? hs_bind(st, "tii", conversation, first, end) : -EIO;
	while (rc == 0 && (rc = hs_step(st, err)) > 0)
		rc = show_message(o, st, fn, ctx, err);
	return rc;
}

int hs_conversation_open(struct hs_reader *r, const struct hs_grant *g, int64_t now_ms, const char *id, const char *before,
			 size_t limit, int (*fn)(void *ctx, const struct hs_shown_message *m), void *ctx, bool *ret_more,
			 struct hs_err *err)
{
	struct hs_conversation_row row;
	struct opening o = {.r = r, .g = g, .now_ms = now_ms};
	int rc = hs_reading_begin(r, g, now_ms, err);

	if (rc < 0)
		return rc;
	rc = hs_conversation_find(r, g, id, &row, err);
	if (rc == 0)
		rc = show_messages(&o, row.id.s, before, limit, fn, ctx, ret_more, err);
	hs_reading_end(r);
	return rc;
}

/* --- for those who administer --- */

static int share_answer(struct opening *o, sqlite3_stmt *st, struct hs_feedback_row *row, struct hs_err *err)
{
	struct hs_shown_sentence *sentences = hs_arena_calloc(o->arena, HS_CONVERSATION_CITATIONS_MAX, sizeof(*sentences));
	const char *text = keep(o, st, 8);
	size_t n = 0, len = (size_t)sqlite3_column_bytes(st, 8);
	HS_BUF_AUTO joined = HS_BUF_INIT;
	int rc = sentences && text ? read_sentences(o, sqlite3_column_int64(st, 9), text, len, sentences, &n, err) : -ENOMEM;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (sentences[i].withheld)
			row->n_withheld++;
		else
			rc = hs_buf_printf(&joined, "%s%.*s", joined.len ? "\n" : "", (int)sentences[i].len, sentences[i].text);
	}
	if (rc == 0)
		row->answer = hs_arena_strndup(o->arena, joined.len ? (const char *)joined.data : "", joined.len);
	if (rc == 0)
		row->question = keep(o, st, 10);
	hs_buf_wipe(&joined);
	return rc < 0 ? rc : row->answer && row->question ? 0 : -ENOMEM;
}

static int read_feedback(struct opening *o, sqlite3_stmt *st, int (*fn)(void *ctx, const struct hs_feedback_row *row), void *ctx,
			 struct hs_err *err)
{
	struct hs_feedback_row row = {.value = (int)sqlite3_column_int64(st, 3),
				      .reason = keep(o, st, 4),
				      .comment = keep(o, st, 5),
				      .created = sqlite3_column_int64(st, 7),
				      .outcome = (int)sqlite3_column_int64(st, 11)};
	int rc = row.reason && row.comment ? 0 : -ENOMEM;

	hs_column_text(st, 0, row.message.s, sizeof(row.message.s));
	hs_column_text(st, 1, row.conversation.s, sizeof(row.conversation.s));
	hs_column_text(st, 2, row.user, sizeof(row.user));
	o->user = row.user;
	if (rc == 0 && sqlite3_column_int64(st, 6) != 0)
		rc = share_answer(o, st, &row, err);
	return rc < 0 ? rc : fn(ctx, &row);
}

static int show_feedback(struct opening *o, sqlite3_stmt *st, int (*fn)(void *ctx, const struct hs_feedback_row *row), void *ctx,
			 struct hs_err *err)
{
	o->arena = hs_arena_create(MESSAGE_ARENA_MAX);
	int rc = o->arena ? read_feedback(o, st, fn, ctx, err) : -ENOMEM;

	hs_arena_destroy(o->arena);
	return rc;
}

int hs_feedback_list(struct hs_reader *r, int64_t now_ms, const char *after, size_t limit,
		     int (*fn)(void *ctx, const struct hs_feedback_row *row), void *ctx, struct hs_err *err)
{
	HS_STMT_AUTO *st =
	    hs_statement(&r->statements,
			 "SELECT m.public, c.public, f.user, f.value, f.reason, f.comment, f.share, f.created, m.text, m.id,"
			 " (SELECT q.text FROM messages q WHERE q.conversation = m.conversation AND q.id < m.id AND q.role = ?2"
			 " ORDER BY q.id DESC LIMIT 1), coalesce(a.outcome, -1)"
			 " FROM feedback f JOIN messages m ON m.id = f.message JOIN conversations c ON c.id = m.conversation"
			 " LEFT JOIN answers a ON a.message = m.id LEFT JOIN feedback l ON l.message = (SELECT id FROM messages"
			 " WHERE public = ?1) WHERE l.message IS NULL OR (f.created, f.message) < (l.created, l.message)"
			 " ORDER BY f.created DESC, f.message DESC LIMIT ?3",
			 err);
	struct opening o = {.r = r, .now_ms = now_ms};
	int rc = st ? hs_bind(st, "tii", after, (int64_t)HS_MESSAGE_QUESTION, (int64_t)limit) : -EIO;

	while (rc == 0 && (rc = hs_step(st, err)) > 0)
		rc = show_feedback(&o, st, fn, ctx, err);
	return rc;
}
