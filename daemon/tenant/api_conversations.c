/* A person's own conversations and what they think of an answer; feedback, for those who administer. */
#include <errno.h>
#include <string.h>

#include "daemon/tenant/api.h"
#include "daemon/tenant/chat_events.h"
#include "retrieval/conversations.h"

#define LIST_MAX 200
#define LIST_DEFAULT 50

/* Messages a page, so chosen that the passages of its answers fit one audit record. */
#define MESSAGES_MAX 32
_Static_assert(MESSAGES_MAX / 2 * HS_CONVERSATION_CITATIONS_MAX <= HS_AUDIT_CHUNKS_MAX, "one record tells of a page");

static int take_limit(struct hs_exchange *x, size_t most, size_t otherwise, size_t *ret)
{
	const char *text = hs_exchange_query(x, "limit");
	char *end = NULL;
	unsigned long limit = text ? strtoul(text, &end, 10) : otherwise;
	if ((end && *end) || limit < 1 || limit > most)
		return hs_fail(&x->err, EINVAL, "request.parameter", HS_N_("The value is of the wrong type or out of range."),
			       "limit");
	*ret = limit;
	return 0;
}

/* One row more than the page holds says that there is another page. */
struct page {
	json_t *rows;
	size_t left;
	bool more;
};

/* Consumes the row, also on failure. 1: the page is full. */
static int add_row(struct page *p, json_t *row)
{
	if (p->left == 0) {
		json_decref(row);
		p->more = true;
		return 1;
	}
	p->left--;
	return json_array_append_new(p->rows, row) < 0 ? -ENOMEM : 0;
}

static int reply_page(struct hs_exchange *x, struct page *p, int rc)
{
	if (rc < 0) {
		json_decref(p->rows);
		return rc;
	}
	return hs_exchange_reply(x, json_pack("{s:o, s:b}", "data", p->rows, "more", p->more));
}

static json_t *conversation_json(const struct hs_conversation_row *row)
{
	return json_pack("{s:s, s:s, s:I, s:I, s:i}", "id", row->id.s, "title", row->title, "created", (json_int_t)row->created,
			 "updated", (json_int_t)row->updated, "messages", (int)row->n_messages);
}

static int conversation_row(void *ctx, const struct hs_conversation_row *row)
{
	return add_row(ctx, conversation_json(row));
}

int hs_api_conversations(struct hs_exchange *x, struct hs_read_context *c)
{
	const char *after = hs_exchange_query(x, "after");
	size_t limit;
	int rc = take_limit(x, LIST_MAX, LIST_DEFAULT, &limit);
	if (rc < 0)
		return rc;
	struct page p = {json_array(), limit, false};
	rc = hs_conversation_list(c->reader, x->grant, after ? after : "", limit + 1, conversation_row, &p, &x->err);
	return reply_page(x, &p, rc);
}

/* --- one conversation --- */

struct opened {
	struct hs_exchange *x;
	json_t *messages;
	struct hs_audit_chunk *chunks; /* what is shown, once each */
	size_t n_chunks;
};

static void note_shown(struct opened *o, const struct hs_shown_sentence *s)
{
	for (size_t i = 0; i < o->n_chunks; i++) {
		const struct hs_audit_chunk *c = &o->chunks[i];
		if (c->start == s->start && c->end == s->end && strcmp(c->version, s->version) == 0)
			return;
	}
	struct hs_audit_chunk *c = &o->chunks[o->n_chunks++];
	(void)snprintf(c->version, sizeof c->version, "%s", s->version); /* ids fit */
	c->start = s->start;
	c->end = s->end;
}

static json_t *sentence_json(const struct hs_shown_sentence *s)
{
	if (s->withheld)
		return json_pack("{s:b}", "withheld", 1);
	json_t *citation =
	    json_pack("{s:i, s:s, s:s, s:i, s:i, s:s, s:s}", "n", (int)s->number, "document", s->document, "version", s->version,
		      "start", (int)s->start, "end", (int)s->end, "title", s->title, "context", s->context);
	if (citation && s->page)
		(void)json_object_set_new(citation, "page", json_integer(s->page)); /* a citation without its page still opens */
	if (citation && s->quote)
		(void)json_object_set_new(citation, "quote", json_stringn(s->quote, s->quote_len)); /* and without its words */
	return json_pack("{s:s%, s:[o]}", "text", s->text, s->len, "citations", citation);
}

static json_t *answer_json(struct opened *o, const struct hs_shown_message *m)
{
	json_t *sentences = json_array();
	for (size_t i = 0; sentences && i < m->n_sentences; i++) {
		if (!m->sentences[i].withheld)
			note_shown(o, &m->sentences[i]);
		if (json_array_append_new(sentences, sentence_json(&m->sentences[i])) < 0) { /* refuses NULL as well */
			json_decref(sentences);
			return NULL;
		}
	}
	json_t *j =
	    json_pack("{s:s, s:s, s:I, s:s, s:s, s:o}", "id", m->id.s, "role", "assistant", "created", (json_int_t)m->created,
		      "outcome", hs_outcome_name((enum hs_outcome)m->outcome), "model", m->model, "sentences", sentences);
	if (j && m->feedback &&
	    json_object_set_new(j, "feedback",
				json_pack("{s:i, s:s, s:s, s:b}", "value", m->feedback, "reason", m->reason, "comment",
					  m->comment, "share", m->share)) < 0) {
		json_decref(j);
		return NULL;
	}
	return j;
}

static int message_row(void *ctx, const struct hs_shown_message *m)
{
	struct opened *o = ctx;
	json_t *j = m->role == HS_MESSAGE_QUESTION ? json_pack("{s:s, s:s, s:I, s:s%}", "id", m->id.s, "role", "user", "created",
							       (json_int_t)m->created, "text", m->text, m->len)
						   : answer_json(o, m);
	return json_array_append_new(o->messages, j) < 0 ? -ENOMEM : 0;
}

/* Opening one reads documents: what is shown of them is recorded before it is, as an answer's passages are. */
int hs_api_conversation(struct hs_exchange *x, struct hs_read_context *c)
{
	const char *before = hs_exchange_query(x, "before");
	size_t limit;
	int rc = take_limit(x, MESSAGES_MAX, MESSAGES_MAX, &limit);
	if (rc < 0)
		return rc;
	struct hs_conversation_row row;
	struct opened o = {x, NULL, hs_arena_calloc(x->arena, HS_AUDIT_CHUNKS_MAX, sizeof *o.chunks), 0};
	bool more = false;
	if (!o.chunks)
		return -ENOMEM;
	rc = hs_conversation_find(c->reader, x->grant, x->params[0], &row, &x->err);
	if (rc < 0)
		return rc;
	o.messages = json_array();
	rc = hs_conversation_open(c->reader, x->grant, hs_tenant_now(x->tenant), row.id.s, before ? before : "", limit,
				  message_row, &o, &more, &x->err);
	if (rc < 0) {
		json_decref(o.messages);
		return rc;
	}
	hs_exchange_audit(x, "conversation.read", hs_arena_strndup(x->arena, row.id.s, HS_ID_LEN), HS_AUDIT_ALLOWED);
	x->entry.chunks = o.chunks;
	x->entry.n_chunks = o.n_chunks;
	json_t *j = conversation_json(&row);
	if (!j || json_object_set_new(j, "data", o.messages) < 0) {
		json_decref(j);
		return -ENOMEM;
	}
	return json_object_set_new(j, "more", json_boolean(more)) < 0 ? (json_decref(j), -ENOMEM) : hs_exchange_reply(x, j);
}

int hs_api_conversation_delete(struct hs_exchange *x, struct hs_write_context *c)
{
	int rc = hs_conversation_delete(x->tenant->store, x->who.user, x->params[0], &x->err);
	if (rc < 0)
		return rc;
	hs_exchange_audit(x, "conversation.delete", x->params[0], HS_AUDIT_ALLOWED);
	return hs_exchange_reply(x, json_pack("{s:s, s:b}", "id", x->params[0], "deleted", 1));
}

/* --- feedback --- */

static const char *const reasons[] = {"", "wrong", "incomplete", "citation", "not_found", "other"};

static int take_feedback(struct hs_exchange *x, const json_t *body, struct hs_feedback *ret)
{
	const json_t *value = json_object_get(body, "value"), *reason = json_object_get(body, "reason");
	const json_t *comment = json_object_get(body, "comment"), *share = json_object_get(body, "share");
	const char *object = NULL;
	size_t known = 0;
	if (!json_is_integer(value) || json_integer_value(value) < -1 || json_integer_value(value) > 1)
		object = "value";
	else if ((reason && !json_is_string(reason)))
		object = "reason";
	else if (comment && (!json_is_string(comment) || json_string_length(comment) > HS_FEEDBACK_COMMENT_MAX))
		object = "comment";
	else if (share && !json_is_boolean(share))
		object = "share";
	const char *name = reason && !object ? json_string_value(reason) : "";
	while (known < HS_ARRAY_LEN(reasons) && strcmp(reasons[known], name) != 0)
		known++;
	if (known == HS_ARRAY_LEN(reasons))
		object = "reason";
	if (object)
		return hs_fail(&x->err, EINVAL, "request.parameter", HS_N_("The value is of the wrong type or out of range."),
			       "%s", object);
	*ret = (struct hs_feedback){.value = (int)json_integer_value(value),
				    .reason = reasons[known],
				    .comment = comment ? json_string_value(comment) : "",
				    .share = json_is_true(share)};
	return 0;
}

int hs_api_feedback(struct hs_exchange *x, struct hs_write_context *c)
{
	json_t *body;
	struct hs_feedback f;
	int rc = hs_exchange_json(x, &body);
	if (rc < 0)
		return rc;
	rc = take_feedback(x, body, &f);
	if (rc == 0)
		rc = hs_conversation_feedback(x->tenant->store, x->who.user, x->params[0], &f, hs_tenant_now(x->tenant), &x->err);
	json_decref(body);
	if (rc < 0)
		return rc;
	hs_exchange_audit(x, "feedback.give", x->params[0], HS_AUDIT_ALLOWED);
	x->entry.detail = f.share && f.value ? "shared" : NULL;
	return hs_exchange_reply(x, json_pack("{s:s, s:i}", "message", x->params[0], "value", f.value));
}

struct feedback_page {
	struct page page; /* first: add_row takes it */
	struct hs_id last_shared;
	size_t n_shared;
};

static int feedback_row(void *ctx, const struct hs_feedback_row *row)
{
	struct feedback_page *p = ctx;
	json_t *j =
	    json_pack("{s:s, s:s, s:s, s:I, s:i, s:s, s:s, s:s, s:b, s:s*, s:s*}", "message", row->message.s, "conversation",
		      row->conversation.s, "user", row->user, "created", (json_int_t)row->created, "value", row->value, "reason",
		      row->reason, "comment", row->comment, "outcome", hs_outcome_name((enum hs_outcome)row->outcome), "shared",
		      row->answer != NULL, "question", row->question, "answer", row->answer);
	if (j && row->answer && json_object_set_new(j, "withheld", json_integer((json_int_t)row->n_withheld)) < 0) {
		json_decref(j);
		return -ENOMEM;
	}
	int rc = add_row(&p->page, j);
	p->n_shared += rc == 0 && row->answer;
	return rc;
}

int hs_api_feedback_list(struct hs_exchange *x, struct hs_read_context *c)
{
	const char *after = hs_exchange_query(x, "after");
	size_t limit;
	int rc = take_limit(x, LIST_MAX, LIST_DEFAULT, &limit);
	if (rc < 0)
		return rc;
	struct feedback_page p = {.page = {json_array(), limit, false}};
	rc = hs_feedback_list(c->reader, hs_tenant_now(x->tenant), after ? after : "", limit + 1, feedback_row, &p, &x->err);
	if (rc >= 0) {
		char detail[32];
		(void)snprintf(detail, sizeof detail, "shared=%zu", p.n_shared);
		hs_exchange_audit(x, "feedback.list", "", HS_AUDIT_ALLOWED);
		x->entry.detail = hs_arena_strndup(x->arena, detail, strlen(detail));
	}
	return reply_page(x, &p.page, rc);
}
