#include "daemon/tenant/chat_events.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/translate.h"

const char hs_not_found_text[] = "資料には記載がありません";

const char *hs_outcome_name(enum hs_outcome outcome)
{
	switch (outcome) {
	case HS_OUTCOME_NOT_FOUND: return "not_found";
	case HS_OUTCOME_ANSWERED: return "answered";
	case HS_OUTCOME_EXTRACTED: return "extracted";
	case HS_OUTCOME_FAILED: return "failed";
	}
	return "failed";
}

static int write_piece(const char *piece, size_t n, void *arg)
{
	return hs_buf_append(arg, piece, n);
}

/* Consumes the reference. */
static int append_json(struct hs_buf *out, json_t *value)
{
	if (!value)
		return -ENOMEM;
	int rc = json_dump_callback(value, write_piece, out, JSON_COMPACT) < 0 ? -ENOMEM : 0;
	json_decref(value);
	return rc;
}

static int append_event(struct hs_buf *out, json_t *value)
{
	int rc = hs_buf_append_str(out, "data: ");
	if (rc < 0) {
		json_decref(value);
		return rc;
	}
	rc = append_json(out, value);
	return rc < 0 ? rc : hs_buf_append_str(out, "\n\n");
}

static json_t *cited_json(const struct hs_cited *c)
{
	json_t *j = json_pack("{s:i, s:s, s:s, s:i, s:i, s:s, s:s, s:s%}", "n", (int)c->n, "document", c->document, "version",
			      c->version, "start", (int)c->start, "end", (int)c->end, "title", c->title, "context", c->context,
			      "quote", c->quote, c->quote_len);
	if (j && c->page && json_object_set_new(j, "page", json_integer(c->page)) < 0) {
		json_decref(j);
		return NULL;
	}
	return j;
}

static json_t *cited_list(const struct hs_cited *items, size_t n)
{
	json_t *list = json_array();
	for (size_t i = 0; list && i < n; i++) {
		if (json_array_append_new(list, cited_json(&items[i])) < 0) { /* refuses NULL as well */
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *usage_json(const struct hs_chat_usage *u)
{
	return json_pack("{s:i, s:i, s:i}", "prompt_tokens", (int)u->prompt_tokens, "completion_tokens", (int)u->completion_tokens,
			 "total_tokens", (int)(u->prompt_tokens + u->completion_tokens));
}

/* delta and extension are consumed, also on failure. */
static json_t *chunk(const struct hs_chat_head *head, json_t *delta, const char *finish_reason, json_t *extension)
{
	return json_pack("{s:s, s:s, s:I, s:s, s:[{s:i, s:o, s:s?}], s:o*}", "id", head->id, "object", "chat.completion.chunk",
			 "created", (json_int_t)(head->created_ms / 1000), "model", head->model, "choices", "index", 0, "delta",
			 delta, "finish_reason", finish_reason, "hisho", extension);
}

int hs_chat_event_evidence(struct hs_buf *out, const struct hs_chat_head *head, const struct hs_cited *evidence, size_t n)
{
	return append_event(out, chunk(head, json_pack("{s:s, s:s}", "role", "assistant", "content", ""), NULL,
				       json_pack("{s:o, s:b, s:s*, s:s*}", "evidence", cited_list(evidence, n), "reranked",
						 (int)head->reranked, "conversation", head->conversation, "message",
						 head->message)));
}

int hs_chat_event_sentence(struct hs_buf *out, const struct hs_chat_head *head, const char *text,
			   const struct hs_cited *citations, size_t n)
{
	json_t *extension = n ? json_pack("{s:o}", "citations", cited_list(citations, n)) : NULL;
	return append_event(out, chunk(head, json_pack("{s:s}", head->refuses ? "refusal" : "content", text), NULL, extension));
}

int hs_chat_event_end(struct hs_buf *out, const struct hs_chat_head *head, enum hs_outcome outcome, const char *finish_reason,
		      const struct hs_chat_usage *usage)
{
	int rc = append_event(out, chunk(head, json_object(), finish_reason, json_pack("{s:s}", "outcome", hs_outcome_name(outcome))));
	if (rc == 0 && usage)
		rc = append_event(out, json_pack("{s:s, s:s, s:I, s:s, s:[], s:o}", "id", head->id, "object",
						 "chat.completion.chunk", "created", (json_int_t)(head->created_ms / 1000),
						 "model", head->model, "choices", "usage", usage_json(usage)));
	return rc < 0 ? rc : hs_buf_append_str(out, "data: [DONE]\n\n");
}

static json_t *error_json(const struct hs_err *err, bool japanese)
{
	char message[512];
	struct hs_err told = *err;
	told.hint = hs_translate(err->hint, japanese);
	return json_pack("{s:{s:s, s:s, s:s, s:s}}", "error", "message", hs_err_text(&told, message, sizeof message), "type",
			 "hisho_error", "code", err->code, "object", err->object);
}

int hs_chat_event_error(struct hs_buf *out, const struct hs_err *err, bool japanese)
{
	return append_event(out, error_json(err, japanese));
}

int hs_error_json(struct hs_buf *out, const struct hs_err *err, bool japanese)
{
	return append_json(out, error_json(err, japanese));
}

int hs_chat_whole(struct hs_buf *out, const struct hs_chat_head *head, const char *text, const struct hs_cited *citations,
		  size_t n_citations, const struct hs_cited *evidence, size_t n_evidence, enum hs_outcome outcome,
		  const char *finish_reason, const struct hs_chat_usage *usage)
{
	return append_json(out, json_pack("{s:s, s:s, s:I, s:s, s:[{s:i, s:{s:s, s:s?, s:s*}, s:s}], s:o, "
					  "s:{s:o, s:o, s:b, s:s, s:s*, s:s*}}", "id",
					  head->id, "object", "chat.completion", "created", (json_int_t)(head->created_ms / 1000), "model",
					  head->model, "choices", "index", 0, "message", "role", "assistant", "content",
					  head->refuses ? NULL : text, "refusal", head->refuses ? text : NULL,
					  "finish_reason", finish_reason, "usage", usage_json(usage), "hisho", "citations",
					  cited_list(citations, n_citations), "evidence", cited_list(evidence, n_evidence),
					  "reranked", (int)head->reranked, "outcome", hs_outcome_name(outcome), "conversation",
					  head->conversation, "message", head->message));
}

unsigned hs_error_status(const struct hs_err *err)
{
	static const struct {
		const char *code;
		unsigned status;
	} named[] = {
		{"auth.refused", 401},  {"auth.missing", 401},        {"request.method", 405},     {"request.media_type", 415},
		{"request.busy", 429},  {"submission.known", 200},    {"request.route", 404},      {"model.none", 503},
		{"tenant.sealed", 503}, {"submission.replayed", 409}, {"conversation.limit", 409}, {"conversation.full", 409},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(named); i++) {
		if (strcmp(err->code, named[i].code) == 0)
			return named[i].status;
	}
	if (strncmp(err->code, "grammar.", 8) == 0 || strcmp(err->code, "model.json") == 0) /* as hisho-infer found the schema */
		return 400;
	switch (err->num) {
	case EINVAL: case EPROTO: case EILSEQ: case EBADMSG: return 400;
	case EACCES: case EPERM: return 403;
	case ENOENT: return 404;
	case EEXIST: case EALREADY: case ESTALE: return 409;
	case EFBIG: case EMSGSIZE: return 413;
	case ETIME: return 422; /* what took too long would again: nothing that a client should repeat by itself */
	case EBUSY: case EAGAIN: return 429;
	case ENOSPC: return 507;
	case EPIPE: case ETIMEDOUT: case ECONNRESET: case ENOTCONN: return 503;
	default: return 500;
	}
}
