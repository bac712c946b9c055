/*
 * Keeping a question and its answer in a conversation of the asking person's (retrieval/conversations.h), where the request
 * names one. What is kept is what was released, and nothing else.
 */
#ifndef HISHO_DAEMON_TENANT_CHAT_KEPT_H
#define HISHO_DAEMON_TENANT_CHAT_KEPT_H

#include "daemon/tenant/answer.h"
#include "daemon/tenant/chat_request.h"
#include "daemon/tenant/exchange.h"

struct hs_kept {
	struct hs_id conversation, question, answer; /* conversation "": nothing is kept, and the rest is not there */
	bool fresh;
};

struct hs_kept hs_kept_of(const struct hs_chat_request *r);

/*
 * On a reader: there is room for it, and a conversation from before is the asking person's, and its last question joins the
 * search where the new one leans on it.
 */
int hs_kept_follow(const struct hs_kept *k, struct hs_exchange *x, struct hs_read_context *r,
		   struct hs_chat_request *request) HS_MUST_CHECK;

/*
 * On the writer, in its transaction: question and answer, when both are known. Until then nothing waits for the writer, which
 * may be busy with a document for long. In a conversation that was deleted meanwhile nothing is kept, and that is no failure.
 */
int hs_kept_answer(const struct hs_kept *k, struct hs_exchange *x, const char *question, const struct hs_answer *a,
		   const struct hs_chat_head *head, const struct hs_msg_done *counts, uint64_t audit_seq,
		   const uint8_t hash[static HS_AUDIT_CHAIN_LEN]) HS_MUST_CHECK;

#endif
