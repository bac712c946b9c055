/* Signing in and out, and who one is. */
#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "crypto/token.h"
#include "daemon/tenant/api.h"
#include "policy/rules.h"

int hs_api_tenant(struct hs_exchange *x, struct hs_read_context *c)
{
	return hs_exchange_reply(x, json_pack("{s:s, s:s, s:s}", "id", x->tenant->id.s, "name", x->tenant->name, "recipient",
					      x->tenant->recipient));
}

/* {"code"} from a sign-in link, or {"token"}: both buy a session, which travels as a cookie only. */
int hs_api_session_begin(struct hs_exchange *x, struct hs_write_context *c)
{
	json_t *body;
	/* A page elsewhere may send a form without being asked, and would sign its reader in as somebody; this type it may not. */
	if (strncasecmp(x->content_type, "application/json", strlen("application/json")) != 0)
		return hs_fail(&x->err, EINVAL, "request.media_type", HS_N_("Send the body as application/json."), "%s", x->path);
	int rc = hs_exchange_json(x, &body);
	if (rc < 0)
		return rc;
	const char *code = json_string_value(json_object_get(body, "code")), *token = json_string_value(json_object_get(body, "token"));
	const char *text = code ? code : token;
	struct hs_credential given = {0}, session;
	bool parsed = text && hs_tenant_credential_parse(x->tenant, text, strlen(text), &given);
	bool by_code = code != NULL;
	json_decref(body);
	sqlite3 *db = hs_store_db(x->tenant->store);
	int64_t now = hs_tenant_now(x->tenant);
	if (!parsed || given.kind != (by_code ? HS_CREDENTIAL_CODE : HS_CREDENTIAL_TOKEN))
		return hs_fail(&x->err, EACCES, "auth.refused", HS_N_("The link or token does not permit to sign in. Ask for a new one."), "%s",
			       x->tenant->name);
	if (by_code) {
		rc = hs_code_redeem(x->tenant->gate, db, &given, now, &session, &x->err);
	} else {
		rc = hs_authenticate(x->tenant->gate, db, &given, now, &x->who, &x->err);
		if (rc == 0)
			rc = hs_session_add(x->tenant->gate, db, &x->who, now, &session, &x->err);
	}
	sodium_memzero(&given, sizeof given);
	if (rc == 0 && by_code)
		rc = hs_authenticate(x->tenant->gate, db, &session, now, &x->who, &x->err);
	if (rc < 0) {
		sodium_memzero(&session, sizeof session);
		return rc;
	}
	const char *id = hs_arena_strndup(x->arena, session.id.s, HS_ID_LEN);
	char *secret = hs_tenant_credential_format(x->tenant, x->arena, &session);
	size_t cap = (secret ? strlen(secret) : 0) + 128;
	char *cookie = hs_arena_alloc(x->arena, cap);
	sodium_memzero(&session, sizeof session);
	if (!id || !secret || !cookie)
		return -ENOMEM;
	(void)snprintf(cookie, cap, "__Host-hisho=%s; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=%d", secret,
		       (int)(HS_SESSION_LIFE_MS / 1000)); /* cap was made for it */
	x->set_cookie = cookie;
	hs_exchange_audit(x, "session.begin", id, HS_AUDIT_ALLOWED);
	return hs_exchange_reply(x, json_pack("{s:s, s:s}", "user", x->who.user, "name", x->who.name));
}

int hs_api_session_end(struct hs_exchange *x, struct hs_write_context *c)
{
	if (x->who.kind == HS_CREDENTIAL_SESSION) {
		int rc = hs_session_end(hs_store_db(x->tenant->store), &x->who.credential);
		if (rc < 0)
			return rc;
	}
	x->set_cookie = "__Host-hisho=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0";
	hs_exchange_audit(x, "session.end", "", HS_AUDIT_ALLOWED);
	return hs_exchange_reply(x, json_object());
}

int hs_api_me(struct hs_exchange *x, struct hs_read_context *c)
{
	return hs_exchange_reply(x, json_pack("{s:s, s:s, s:s, s:b, s:b}", "user", x->who.user, "name", x->who.name, "tenant",
					      x->tenant->name, "admin", !!(x->who.roles & HS_ROLE_ADMIN), "auditor",
					      !!(x->who.roles & HS_ROLE_AUDITOR)));
}
