/*
 * An OpenAI chat completion request, as Hisho reads it.
 *
 * The last user turn is the question; the user turn before it joins the search where the question is short or refers
 * back. A client's system text is an untrusted style hint. What Hisho cannot honour is refused by name, never ignored.
 * A JSON answer needs a schema whose values are texts: each is checked as a sentence of an answer is (docs/api.md).
 * {"hisho": {"conversation": "new" or an id of ours}} keeps question and answer; without it nothing is kept.
 */
#ifndef HISHO_DAEMON_TENANT_CHAT_REQUEST_H
#define HISHO_DAEMON_TENANT_CHAT_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/id.h"

#define HS_CHAT_BODY_MAX (1024u * 1024u)
#define HS_QUESTION_MAX 8192        /* bytes */
#define HS_STYLE_MAX 2048           /* bytes */
#define HS_CHAT_MESSAGES_MAX 256
#define HS_ANSWER_TOKENS_MAX 1024
#define HS_ANSWER_TOKENS_DEFAULT 256

struct hs_chat_request { /* owns its strings; hs_chat_request_finish wipes and frees them */
	char *question; /* the last user turn */
	char *search;   /* what retrieval is asked: the question, with the turn before it where needed */
	char *style;    /* "" where the client sent none */
	char *model;    /* "" where the client named none */
	struct hs_id conversation; /* where it is kept; "" where it is not */
	bool fresh;                /* the conversation begins with this question */
	bool stream, include_usage;
	uint32_t max_tokens;
	float temperature, top_p;
	uint64_t seed;
	char *schema; /* the answer is JSON of it; NULL: text */
};

/* 0, -EINVAL with err ("request.json", "request.unsupported_parameter", "request.messages", ...), -ENOMEM. */
int hs_chat_request_parse(const void *json, size_t len, struct hs_chat_request *ret, struct hs_err *err) HS_MUST_CHECK;
void hs_chat_request_finish(struct hs_chat_request *r);

/* The turn before, where it is known from elsewhere than the request: joins the search where the question leans on it. -ENOMEM. */
int hs_chat_request_follow(struct hs_chat_request *r, const char *previous) HS_MUST_CHECK;

/* Does a question lean on the turn before it? Short ones, and those that open with a pointing word. */
bool hs_question_refers_back(const char *question);

#endif
