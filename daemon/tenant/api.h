/* The handlers behind the route table, by file. What each takes and gives stands in docs/api.md. */
#ifndef HISHO_DAEMON_TENANT_API_H
#define HISHO_DAEMON_TENANT_API_H

#include "daemon/tenant/exchange.h"

/* A submission as one body: u32 length of the signed manifest, the signed manifest, the age ciphertext. */
#define HS_SUBMISSION_MAX (66u * 1024u * 1024u)

/* api_session.c */
int hs_api_tenant(struct hs_exchange *x, struct hs_read_context *c);
int hs_api_session_begin(struct hs_exchange *x, struct hs_write_context *c);
int hs_api_session_end(struct hs_exchange *x, struct hs_write_context *c);
int hs_api_me(struct hs_exchange *x, struct hs_read_context *c);

/* api_chat.c, api_search.c */
int hs_api_models(struct hs_exchange *x);
int hs_api_chat(struct hs_exchange *x);
int hs_api_search(struct hs_exchange *x);

/* api_conversations.c */
int hs_api_conversations(struct hs_exchange *x, struct hs_read_context *c);
int hs_api_conversation(struct hs_exchange *x, struct hs_read_context *c);
int hs_api_conversation_delete(struct hs_exchange *x, struct hs_write_context *c);
int hs_api_feedback(struct hs_exchange *x, struct hs_write_context *c);
int hs_api_feedback_list(struct hs_exchange *x, struct hs_read_context *c);

/* api_documents.c */
int hs_api_documents(struct hs_exchange *x, struct hs_read_context *c);
int hs_api_submit(struct hs_exchange *x, struct hs_write_context *c);
int hs_api_source(struct hs_exchange *x, struct hs_read_context *c);
int hs_api_jobs(struct hs_exchange *x, struct hs_read_context *c);
int hs_api_job(struct hs_exchange *x, struct hs_read_context *c);
int hs_api_job_dismiss(struct hs_exchange *x, struct hs_write_context *c);
int hs_api_progress(struct hs_exchange *x, struct hs_read_context *c);

/* api_people.c */
int hs_api_users(struct hs_exchange *x, struct hs_read_context *c);
int hs_api_user_add(struct hs_exchange *x, struct hs_write_context *c);
int hs_api_user_suspend(struct hs_exchange *x, struct hs_write_context *c);
int hs_api_user_restore(struct hs_exchange *x, struct hs_write_context *c);
int hs_api_tokens(struct hs_exchange *x, struct hs_read_context *c);
int hs_api_token_add(struct hs_exchange *x, struct hs_write_context *c);
int hs_api_token_revoke(struct hs_exchange *x, struct hs_write_context *c);
int hs_api_link_add(struct hs_exchange *x, struct hs_write_context *c);
int hs_api_senders(struct hs_exchange *x, struct hs_read_context *c);
int hs_api_sender_add(struct hs_exchange *x, struct hs_write_context *c);
int hs_api_sender_revoke(struct hs_exchange *x, struct hs_write_context *c);

/* api_admin.c */
int hs_api_policy(struct hs_exchange *x, struct hs_read_context *c);
int hs_api_policy_apply(struct hs_exchange *x, struct hs_write_context *c);
int hs_api_explain(struct hs_exchange *x, struct hs_read_context *c);
int hs_api_admin_documents(struct hs_exchange *x, struct hs_read_context *c);
int hs_api_audit(struct hs_exchange *x, struct hs_read_context *c);
int hs_api_clock_set(struct hs_exchange *x, struct hs_write_context *c);
int hs_api_status(struct hs_exchange *x);

#endif
