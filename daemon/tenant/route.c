#include "daemon/tenant/api.h"
#include "daemon/tenant/chat_request.h"

/* The table of everything that this process answers. A row whose gate is left out is closed. */
const struct hs_route hs_routes[] = {
	{"GET", "/v1/tenant", HS_GATE_OPEN, .read = hs_api_tenant},
	{"POST", "/v1/session", HS_GATE_OPEN, .body_max = 4096, .write = hs_api_session_begin},
	{"DELETE", "/v1/session", HS_GATE_SCOPE, HS_SCOPE_ASK, .write = hs_api_session_end},
	{"GET", "/v1/me", HS_GATE_SCOPE, HS_SCOPE_ASK, .read = hs_api_me},

	{"GET", "/v1/models", HS_GATE_SCOPE, HS_SCOPE_ASK, .start = hs_api_models},
	{"POST", "/v1/chat/completions", HS_GATE_SCOPE, HS_SCOPE_ASK, .grant = true, .body_max = HS_CHAT_BODY_MAX, .start = hs_api_chat},
	{"POST", "/v1/search", HS_GATE_SCOPE, HS_SCOPE_ASK, .grant = true, .body_max = 64 * 1024, .start = hs_api_search},

	{"GET", "/v1/conversations", HS_GATE_SCOPE, HS_SCOPE_ASK, .grant = true, .read = hs_api_conversations},
	{"GET", "/v1/conversations/{}", HS_GATE_SCOPE, HS_SCOPE_ASK, .grant = true, .read = hs_api_conversation},
	{"DELETE", "/v1/conversations/{}", HS_GATE_SCOPE, HS_SCOPE_ASK, .write = hs_api_conversation_delete},
	{"POST", "/v1/messages/{}/feedback", HS_GATE_SCOPE, HS_SCOPE_ASK, .body_max = 16 * 1024, .write = hs_api_feedback},

	{"GET", "/v1/documents", HS_GATE_SCOPE, HS_SCOPE_ASK, .grant = true, .read = hs_api_documents},
	{"POST", "/v1/documents", HS_GATE_LOCAL, HS_SCOPE_INGEST, .together = true, .body_max = HS_SUBMISSION_MAX,
	 .write = hs_api_submit},
	{"GET", "/v1/documents/{}/source", HS_GATE_SCOPE, HS_SCOPE_ASK, .grant = true, .read = hs_api_source},
	{"GET", "/v1/jobs", HS_GATE_LOCAL, HS_SCOPE_INGEST, .read = hs_api_jobs},
	{"GET", "/v1/jobs/{}", HS_GATE_LOCAL, HS_SCOPE_INGEST, .read = hs_api_job},
	{"DELETE", "/v1/jobs/{}", HS_GATE_LOCAL, HS_SCOPE_ADMIN, .write = hs_api_job_dismiss},
	{"GET", "/v1/progress", HS_GATE_LOCAL, HS_SCOPE_INGEST, .read = hs_api_progress},

	{"GET", "/v1/admin/users", HS_GATE_LOCAL, HS_SCOPE_ADMIN, .read = hs_api_users},
	{"POST", "/v1/admin/users", HS_GATE_LOCAL, HS_SCOPE_ADMIN, .write = hs_api_user_add},
	{"POST", "/v1/admin/users/{}/suspend", HS_GATE_LOCAL, HS_SCOPE_ADMIN, .revokes = true, .write = hs_api_user_suspend},
	{"POST", "/v1/admin/users/{}/restore", HS_GATE_LOCAL, HS_SCOPE_ADMIN, .write = hs_api_user_restore},
	{"GET", "/v1/admin/tokens", HS_GATE_LOCAL, HS_SCOPE_ADMIN, .read = hs_api_tokens},
	{"POST", "/v1/admin/tokens", HS_GATE_LOCAL, HS_SCOPE_ADMIN, .write = hs_api_token_add},
	{"DELETE", "/v1/admin/tokens/{}", HS_GATE_LOCAL, HS_SCOPE_ADMIN, .write = hs_api_token_revoke},
	{"POST", "/v1/admin/links", HS_GATE_LOCAL, HS_SCOPE_ADMIN, .write = hs_api_link_add},
	{"GET", "/v1/admin/senders", HS_GATE_LOCAL, HS_SCOPE_ADMIN, .read = hs_api_senders},
	{"POST", "/v1/admin/senders", HS_GATE_LOCAL, HS_SCOPE_ADMIN, .write = hs_api_sender_add},
	{"DELETE", "/v1/admin/senders/{}", HS_GATE_LOCAL, HS_SCOPE_ADMIN, .write = hs_api_sender_revoke},
	{"GET", "/v1/admin/policy", HS_GATE_LOCAL, HS_SCOPE_ADMIN, .read = hs_api_policy},
	{"POST", "/v1/admin/policy", HS_GATE_LOCAL, HS_SCOPE_ADMIN, .revokes = true, .write = hs_api_policy_apply},
	{"GET", "/v1/admin/explain", HS_GATE_LOCAL, HS_SCOPE_ADMIN, .read = hs_api_explain},
	{"GET", "/v1/admin/documents", HS_GATE_LOCAL, HS_SCOPE_ADMIN, .read = hs_api_admin_documents},
	{"GET", "/v1/admin/feedback", HS_GATE_LOCAL, HS_SCOPE_ADMIN, .read = hs_api_feedback_list},
	{"GET", "/v1/admin/audit", HS_GATE_LOCAL, HS_SCOPE_AUDIT, .read = hs_api_audit},
	{"POST", "/v1/admin/clock", HS_GATE_LOCAL, HS_SCOPE_ADMIN, .write = hs_api_clock_set},
	{"GET", "/v1/admin/status", HS_GATE_LOCAL, HS_SCOPE_ADMIN, .start = hs_api_status},
};
const size_t hs_n_routes = sizeof hs_routes / sizeof hs_routes[0];
