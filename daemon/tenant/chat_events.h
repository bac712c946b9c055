/*
 * What a chat answer looks like on the wire: OpenAI's objects, with one extension field `hisho` (docs/api.md).
 *
 * Streamed, each event is one server-sent event. The first carries the evidence, where the answer is kept, and no text;
 * then one event a released sentence, with its citations; the last carries finish_reason, what became of the answer, and
 * usage where it was asked.
 */
#ifndef HISHO_DAEMON_TENANT_CHAT_EVENTS_H
#define HISHO_DAEMON_TENANT_CHAT_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct hs_cited { /* slices of the caller's memory */
	unsigned n; /* the number in [n] */
	const char *document, *version;
	uint32_t start, end; /* bytes of the canonical text */
	uint32_t page;       /* 0: none */
	const char *title, *context;
	const char *quote;   /* the cited bytes */
	size_t quote_len;
};

enum hs_outcome { /* of an answer */
	HS_OUTCOME_NOT_FOUND = 0, /* nothing supported was left */
	HS_OUTCOME_ANSWERED = 1,
	HS_OUTCOME_EXTRACTED = 2, /* sentences of the documents, without a model */
	HS_OUTCOME_FAILED = 3,
};

/* "answered", ... as the API names it; "failed" for what is none of them. */
const char *hs_outcome_name(enum hs_outcome outcome);

struct hs_chat_head { /* the same in every event of one answer */
	const char *id;    /* "ans_..." */
	const char *model;
	int64_t created_ms;
	const char *conversation, *message; /* where the answer is kept, and as what; NULL where it is not */
	bool refuses; /* where JSON was asked for and there is no answer: the text stands as OpenAI's `refusal`, beside no content */
	bool reranked;                      /* the passages are in a reranker's order */
};

struct hs_chat_usage {
	uint32_t prompt_tokens, completion_tokens;
};

/* What Hisho says when the documents do not. */
extern const char hs_not_found_text[];

int hs_chat_event_evidence(struct hs_buf *out, const struct hs_chat_head *head, const struct hs_cited *evidence,
			   size_t n) HS_MUST_CHECK;
int hs_chat_event_sentence(struct hs_buf *out, const struct hs_chat_head *head, const char *text,
			   const struct hs_cited *citations, size_t n) HS_MUST_CHECK;
int hs_chat_event_end(struct hs_buf *out, const struct hs_chat_head *head, enum hs_outcome outcome, const char *finish_reason,
		      const struct hs_chat_usage *usage) HS_MUST_CHECK;
int hs_chat_event_error(struct hs_buf *out, const struct hs_err *err, bool japanese) HS_MUST_CHECK;

/* Everything at once, for a request that does not stream. */
int hs_chat_whole(struct hs_buf *out, const struct hs_chat_head *head, const char *text, const struct hs_cited *citations,
		  size_t n_citations, const struct hs_cited *evidence, size_t n_evidence, enum hs_outcome outcome,
		  const char *finish_reason, const struct hs_chat_usage *usage) HS_MUST_CHECK;

/* {"error":{...}} as OpenAI's clients read it: message, type, code, and the object that was wrong. */
int hs_error_json(struct hs_buf *out, const struct hs_err *err, bool japanese) HS_MUST_CHECK;

/* The HTTP status that a code of ours answers with. */
unsigned hs_error_status(const struct hs_err *err);

#endif
