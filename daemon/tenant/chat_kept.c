#include "daemon/tenant/chat_kept.h"

#include <errno.h>
#include <string.h>

#include "retrieval/conversations.h"

_Static_assert(HS_CONVERSATION_CITATIONS_MAX >= HS_ANSWER_CITATIONS_MAX, "every sentence's citation is kept");
_Static_assert(HS_CONVERSATION_ANSWER_MAX >= HS_ANSWER_TEXT_MAX, "every answer fits");

struct hs_kept hs_kept_of(const struct hs_chat_request *r)
{
	struct hs_kept k = {.conversation = r->conversation, .fresh = r->fresh};
	if (*k.conversation.s) {
		k.question = hs_id_new("msg_");
		k.answer = hs_id_new("msg_");
	}
	return k;
}

static struct hs_asked asked(const struct hs_kept *k, const struct hs_exchange *x, const char *question)
{
	return (struct hs_asked){.user = x->who.user,
				 .conversation = k->conversation,
				 .message = k->question,
				 .fresh = k->fresh,
				 .text = question,
				 .len = strlen(question),
				 .now_ms = hs_tenant_now(x->tenant)};
}

int hs_kept_follow(const struct hs_kept *k, struct hs_exchange *x, struct hs_read_context *r, struct hs_chat_request *request)
{
	HS_CLEANUP(hs_buf_wipe) struct hs_buf previous = {.limit = HS_QUESTION_MAX};
	const struct hs_asked q = asked(k, x, request->question);
	int rc = hs_conversation_fits(r->reader, &q, &x->err);
	if (rc < 0 || k->fresh)
		return rc;
	rc = hs_conversation_last_question(r->reader, x->grant, k->conversation.s, &previous, &x->err);
	const char *text = rc == 0 ? hs_buf_cstr(&previous) : NULL;
	if (rc < 0)
		return rc;
	return text ? hs_chat_request_follow(request, text) : -ENOMEM;
}

int hs_kept_answer(const struct hs_kept *k, struct hs_exchange *x, const char *question, const struct hs_answer *a,
		   const struct hs_chat_head *head, const struct hs_msg_done *counts, uint64_t audit_seq,
		   const uint8_t hash[static HS_AUDIT_CHAIN_LEN])
{
	struct hs_store *store = x->tenant->store;
	const struct hs_asked q = asked(k, x, question);
	struct hs_sentence_source sentences[HS_ANSWER_CITATIONS_MAX];
	for (size_t i = 0; i < a->n_citations; i++) {
		const struct hs_cited *c = &a->citations[i];
		sentences[i] = (struct hs_sentence_source){.number = c->n,
							   .at = a->spans[i].at,
							   .to = a->spans[i].to,
							   .document = c->document,
							   .version = c->version,
							   .start = c->start,
							   .end = c->end,
							   .page = c->page};
	}
	struct hs_answered answered = {.user = x->who.user,
				       .conversation = k->conversation,
				       .message = k->answer,
				       .text = hs_answer_text(a),
				       .len = a->released.len,
				       .sentences = sentences,
				       .n_sentences = a->n_citations,
				       .request = head->id,
				       .model = head->model,
				       .outcome = (int)a->outcome,
				       .audit_seq = audit_seq,
				       .prompt_tokens = counts->prompt_tokens,
				       .answer_tokens = counts->answer_tokens,
				       .now_ms = hs_tenant_now(x->tenant)};
	_Static_assert(sizeof answered.hash == HS_AUDIT_CHAIN_LEN, "one hash, two rooms");
	memcpy(answered.hash, hash, sizeof answered.hash);
	int rc = hs_conversation_ask(store, &q, &x->err);
	if (rc == 0)
		rc = hs_conversation_answer(store, &answered, &x->err);
	if (rc != -ENOENT)
		return rc;
	x->err = HS_ERR_INIT;
	return 0;
}
