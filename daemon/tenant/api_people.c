/* Users, tokens, sign-in links, senders. */
#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "crypto/signer.h"
#include "daemon/tenant/api.h"
#include "policy/rules.h"
#include "policy/senders.h"

#define DAY_MS (24 * 60 * 60 * 1000LL)
#define TOKEN_DAYS_DEFAULT 90
#define TOKEN_DAYS_MAX 3660

static void decref(json_t **j)
{
	json_decref(*j);
}
#define JSON_AUTO HS_CLEANUP(decref) json_t

/* A string member into the arena; NULL where it is absent or of another type. */
static const char *member(struct hs_exchange *x, const json_t *body, const char *name)
{
	const json_t *v = json_object_get(body, name);
	return json_is_string(v) ? hs_arena_strndup(x->arena, json_string_value(v), json_string_length(v)) : NULL;
}

static int need(struct hs_exchange *x, const char *name)
{
	return hs_fail(&x->err, EINVAL, "request.parameter", HS_N_("The value is missing or of the wrong type."), "%s", name);
}

static int append(json_t *list, json_t *row)
{
	return json_array_append_new(list, row) < 0 ? -ENOMEM : 0;
}

static int reply_list(struct hs_exchange *x, json_t *list, int rc)
{
	if (rc < 0) {
		json_decref(list);
		return rc;
	}
	return hs_exchange_reply(x, json_pack("{s:o}", "data", list));
}

static json_t *scope_names(uint32_t scopes)
{
	static const char *const names[] = {"ask", "ingest", "admin", "audit"};
	json_t *list = json_array();
	for (size_t i = 0; list && i < HS_ARRAY_LEN(names); i++) {
		if (scopes & 1u << i)
			(void)json_array_append_new(list, json_string(names[i])); /* a shorter list shows in the reply */
	}
	return list;
}

static int take_scopes(struct hs_exchange *x, const json_t *body, uint32_t *ret)
{
	static const char *const names[] = {"ask", "ingest", "admin", "audit"};
	const json_t *list = json_object_get(body, "scopes");
	if (!list) {
		*ret = HS_SCOPE_ASK;
		return 0;
	}
	*ret = 0;
	size_t i;
	json_t *item;
	json_array_foreach(list, i, item) {
		const char *name = json_string_value(item);
		size_t known = 0;
		while (known < HS_ARRAY_LEN(names) && !(name && strcmp(name, names[known]) == 0))
			known++;
		if (known == HS_ARRAY_LEN(names))
			return need(x, "scopes");
		*ret |= 1u << known;
	}
	return *ret ? 0 : need(x, "scopes");
}

static int user_row(void *ctx, const struct hs_user *u)
{
	json_t *roles = json_array();
	if (roles && u->roles & HS_ROLE_ADMIN)
		(void)json_array_append_new(roles, json_string("admin"));
	if (roles && u->roles & HS_ROLE_AUDITOR)
		(void)json_array_append_new(roles, json_string("auditor"));
	return append(ctx, json_pack("{s:s, s:s, s:s, s:b, s:b, s:I, s:o}", "id", u->id.s, "name", u->name, "display", u->display,
				     "suspended", u->suspended, "removed", u->removed, "expires", (json_int_t)u->expires, "roles", roles));
}

int hs_api_users(struct hs_exchange *x, struct hs_read_context *c)
{
	json_t *list = json_array();
	return reply_list(x, list, hs_user_each(hs_reader_db(c->reader), user_row, list));
}

int hs_api_user_add(struct hs_exchange *x, struct hs_write_context *c)
{
	JSON_AUTO *body = NULL;
	int rc = hs_exchange_json(x, &body);
	if (rc < 0)
		return rc;
	const char *name = member(x, body, "name"), *display = member(x, body, "display");
	if (!name)
		return need(x, "name");
	struct hs_id id;
	rc = hs_user_add(hs_store_db(x->tenant->store), name, display ? display : name, hs_tenant_now(x->tenant), &id, &x->err);
	if (rc < 0)
		return rc;
	hs_exchange_audit(x, "user.add", hs_arena_strndup(x->arena, id.s, HS_ID_LEN), HS_AUDIT_ALLOWED);
	x->status = 201;
	return hs_exchange_reply(x, json_pack("{s:s, s:s}", "id", id.s, "name", name));
}

static int set_suspended(struct hs_exchange *x, bool suspended)
{
	int rc = hs_user_suspend(hs_store_db(x->tenant->store), x->params[0], suspended, &x->err);
	if (rc < 0)
		return rc;
	hs_exchange_audit(x, suspended ? "user.suspend" : "user.restore", x->params[0], HS_AUDIT_ALLOWED);
	return hs_exchange_reply(x, json_pack("{s:b}", "suspended", suspended));
}

int hs_api_user_suspend(struct hs_exchange *x, struct hs_write_context *c)
{
	return set_suspended(x, true);
}

int hs_api_user_restore(struct hs_exchange *x, struct hs_write_context *c)
{
	return set_suspended(x, false);
}

static int token_row(void *ctx, const struct hs_token_info *t)
{
	return append(ctx, json_pack("{s:s, s:s, s:s, s:o, s:I, s:I, s:I}", "id", t->id.s, "user", t->user.s, "label", t->label,
				     "scopes", scope_names(t->scopes), "created", (json_int_t)t->created, "expires",
				     (json_int_t)t->expires, "revoked", (json_int_t)t->revoked));
}

int hs_api_tokens(struct hs_exchange *x, struct hs_read_context *c)
{
	json_t *list = json_array();
	return reply_list(x, list, hs_token_each(hs_reader_db(c->reader), token_row, list));
}

int hs_api_token_add(struct hs_exchange *x, struct hs_write_context *c)
{
	JSON_AUTO *body = NULL;
	int rc = hs_exchange_json(x, &body);
	if (rc < 0)
		return rc;
	const char *user = member(x, body, "user"), *label = member(x, body, "label");
	if (!user)
		return need(x, "user");
	const json_t *days = json_object_get(body, "days");
	json_int_t n_days = days ? json_integer_value(days) : TOKEN_DAYS_DEFAULT;
	if (n_days < 1 || n_days > TOKEN_DAYS_MAX)
		return need(x, "days");
	uint32_t scopes;
	rc = take_scopes(x, body, &scopes);
	if (rc < 0)
		return rc;
	struct hs_credential credential;
	int64_t now = hs_tenant_now(x->tenant), expires = now + n_days * DAY_MS;
	rc = hs_token_add(x->tenant->gate, hs_store_db(x->tenant->store), user, scopes, label ? label : "", expires, now, &credential,
			  &x->err);
	if (rc < 0)
		return rc;
	char *text = hs_tenant_credential_format(x->tenant, x->arena, &credential);
	const char *id = hs_arena_strndup(x->arena, credential.id.s, HS_ID_LEN);
	sodium_memzero(&credential, sizeof credential);
	if (!text || !id)
		return -ENOMEM;
	hs_exchange_audit(x, "token.add", id, HS_AUDIT_ALLOWED);
	x->status = 201;
	return hs_exchange_reply(x, json_pack("{s:s, s:s, s:I, s:o}", "id", id, "token", text, "expires", (json_int_t)expires, "scopes",
					      scope_names(scopes)));
}

int hs_api_token_revoke(struct hs_exchange *x, struct hs_write_context *c)
{
	int rc = hs_token_revoke(hs_store_db(x->tenant->store), x->params[0], hs_tenant_now(x->tenant), &x->err);
	if (rc < 0)
		return rc;
	hs_exchange_audit(x, "token.revoke", x->params[0], HS_AUDIT_ALLOWED);
	return hs_exchange_reply(x, json_pack("{s:s, s:b}", "id", x->params[0], "revoked", 1));
}

int hs_api_link_add(struct hs_exchange *x, struct hs_write_context *c)
{
	JSON_AUTO *body = NULL;
	int rc = hs_exchange_json(x, &body);
	if (rc < 0)
		return rc;
	const char *user = member(x, body, "user");
	if (!user)
		return need(x, "user");
	struct hs_credential code;
	int64_t now = hs_tenant_now(x->tenant);
	rc = hs_code_add(x->tenant->gate, hs_store_db(x->tenant->store), user, now, &code, &x->err);
	if (rc < 0)
		return rc;
	char *text = hs_tenant_credential_format(x->tenant, x->arena, &code);
	const char *id = hs_arena_strndup(x->arena, code.id.s, HS_ID_LEN);
	sodium_memzero(&code, sizeof code);
	if (!text || !id)
		return -ENOMEM;
	hs_exchange_audit(x, "link.add", id, HS_AUDIT_ALLOWED);
	x->status = 201;
	/* The code goes into the fragment: no server and no log along the way sees it. */
	return hs_exchange_reply(x, json_pack("{s:s, s:s+, s:I}", "code", text, "path", "/t/", x->tenant->name, "expires",
					      (json_int_t)(now + HS_CODE_LIFE_MS)));
}

static int sender_row(void *ctx, const struct hs_sender *s)
{
	char key[HS_SIGNER_TEXT_LEN + 1];
	hs_signer_public_format(s->key, key);
	return append(ctx, json_pack("{s:s, s:s, s:s, s:I, s:I}", "id", s->id.s, "name", s->name, "key", key, "created",
				     (json_int_t)s->created, "revoked", (json_int_t)s->revoked));
}

int hs_api_senders(struct hs_exchange *x, struct hs_read_context *c)
{
	json_t *list = json_array();
	return reply_list(x, list, hs_sender_each(hs_reader_db(c->reader), sender_row, list));
}

#define SENDER_COLLECTIONS_MAX 64

int hs_api_sender_add(struct hs_exchange *x, struct hs_write_context *c)
{
	JSON_AUTO *body = NULL;
	int rc = hs_exchange_json(x, &body);
	if (rc < 0)
		return rc;
	const char *name = member(x, body, "name"), *key_text = member(x, body, "key");
	uint8_t key[HS_SENDER_KEY_LEN];
	if (!name)
		return need(x, "name");
	if (!key_text || hs_signer_public_parse(key_text, strlen(key_text), key, NULL) < 0)
		return need(x, "key");
	const json_t *list = json_object_get(body, "collections");
	const char *collections[SENDER_COLLECTIONS_MAX];
	size_t n = json_array_size(list);
	if (n > SENDER_COLLECTIONS_MAX)
		return need(x, "collections");
	for (size_t i = 0; i < n; i++) {
		collections[i] = json_string_value(json_array_get(list, i));
		if (!collections[i])
			return need(x, "collections");
	}
	struct hs_id id;
	rc = hs_sender_add(hs_store_db(x->tenant->store), name, key, n ? collections : NULL, n, hs_tenant_now(x->tenant), &id,
			   &x->err);
	if (rc < 0)
		return rc;
	hs_exchange_audit(x, "sender.add", hs_arena_strndup(x->arena, id.s, HS_ID_LEN), HS_AUDIT_ALLOWED);
	x->status = 201;
	return hs_exchange_reply(x, json_pack("{s:s, s:s}", "id", id.s, "name", name));
}

int hs_api_sender_revoke(struct hs_exchange *x, struct hs_write_context *c)
{
	int rc = hs_sender_revoke(hs_store_db(x->tenant->store), x->params[0], hs_tenant_now(x->tenant), &x->err);
	if (rc < 0)
		return rc;
	hs_exchange_audit(x, "sender.revoke", x->params[0], HS_AUDIT_ALLOWED);
	return hs_exchange_reply(x, json_pack("{s:s, s:b}", "id", x->params[0], "revoked", 1));
}
