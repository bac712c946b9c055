#include "policy/gate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "policy/db.h"
#include "policy/rules.h"

/* How far a clock may step back before a session that it says is from the future is refused. */
#define SKEW_MS (5 * 60 * 1000LL)

struct hs_gate {
	char tenant[HS_POLICY_NAME_MAX + 1];
	uint8_t *key;                          /* sodium_malloc */
	uint8_t nobody[HS_CREDENTIAL_HASH_LEN]; /* compared with where there is no row; no secret hashes to it */
};

struct hs_gate *hs_gate_create(const char *tenant, const uint8_t key[static HS_GATE_KEY_LEN])
{
	size_t n = strlen(tenant);
	struct hs_gate *g = n <= HS_POLICY_NAME_MAX && sodium_init() >= 0 ? calloc(1, sizeof(*g)) : NULL;
	if (!g)
		return NULL;
	memcpy(g->tenant, tenant, n + 1);
	g->key = sodium_malloc(HS_GATE_KEY_LEN);
	if (!g->key) {
		free(g);
		return NULL;
	}
	memcpy(g->key, key, HS_GATE_KEY_LEN);
	/* Best effort: threads only read the key, and a failing mprotect leaves it no worse. */
	(void)sodium_mprotect_readonly(g->key);
	hs_random(g->nobody, sizeof(g->nobody));
	return g;
}

void hs_gate_destroy(struct hs_gate *g)
{
	if (!g)
		return;
	sodium_free(g->key); /* wipes */
	free(g);
}

void hs_gate_hash(const struct hs_gate *g, const struct hs_credential *c, uint8_t out[static HS_CREDENTIAL_HASH_LEN])
{
	crypto_generichash_state state;
	uint8_t kind = (uint8_t)c->kind;
	(void)crypto_generichash_init(&state, g->key, HS_GATE_KEY_LEN, HS_CREDENTIAL_HASH_LEN);
	(void)crypto_generichash_update(&state, (const unsigned char *)"hisho-credential", sizeof("hisho-credential"));
	(void)crypto_generichash_update(&state, &kind, sizeof(kind));
	/* Arrays of fixed length, padded with zeros: no two fields can run into one another. */
	(void)crypto_generichash_update(&state, (const unsigned char *)g->tenant, sizeof(g->tenant));
	(void)crypto_generichash_update(&state, (const unsigned char *)c->id.s, sizeof(c->id.s));
	(void)crypto_generichash_update(&state, c->secret, sizeof(c->secret));
	(void)crypto_generichash_final(&state, out, HS_CREDENTIAL_HASH_LEN);
	sodium_memzero(&state, sizeof(state));
}

struct hs_credential hs_credential_new(enum hs_credential_kind kind)
{
	const char *prefix = kind == HS_CREDENTIAL_TOKEN ? "tok_" : kind == HS_CREDENTIAL_SESSION ? "ses_" : "cod_";
	struct hs_credential c = {.kind = kind, .id = hs_id_new(prefix)};
	hs_random(c.secret, sizeof(c.secret));
	return c;
}

int hs_gate_refuse(struct hs_err *err)
{
	return hs_fail(err, EACCES, "auth.refused", HS_N_("Sign in again, or use a token that is valid."), "credential");
}

/* Columns: user, hash, scopes, ends, seen, created; 0 where a kind has none. */
static const char *row_sql(enum hs_credential_kind kind)
{
	switch (kind) {
	case HS_CREDENTIAL_TOKEN:
		return "SELECT user, hash, scopes, CASE revoked WHEN 0 THEN expires ELSE 0 END, 0, 0 FROM tokens WHERE id = ?";
	case HS_CREDENTIAL_SESSION:
		return "SELECT user, hash, scopes, ends, seen, created FROM sessions WHERE id = ?";
	case HS_CREDENTIAL_CODE:
		return "SELECT user, hash, 0, expires, 0, 0 FROM sign_in_codes WHERE id = ?";
	default:
		return NULL;
	}
}

int hs_gate_look_up(struct hs_gate *g, sqlite3 *db, const struct hs_credential *c, int64_t now, struct hs_gate_row *ret)
{
	HS_PDB_STMT s = NULL;
	uint8_t given[HS_CREDENTIAL_HASH_LEN], kept[HS_CREDENTIAL_HASH_LEN];
	struct hs_gate_row row = {0};
	int64_t created = 0;
	const char *sql = row_sql(c->kind);
	if (!sql || !memchr(c->id.s, 0, sizeof(c->id.s))) {
		*ret = row;
		return 0;
	}
	hs_gate_hash(g, c, given);
	memcpy(kept, g->nobody, sizeof(kept));
	int rc = hs_pdb_query(db, &s, sql, "t", c->id.s);
	if (!rc)
		rc = hs_pdb_step(s);
	if (rc < 0)
		return rc;
	if (rc == 1 && sqlite3_column_bytes(s, 1) == (int)sizeof(kept)) {
		memcpy(kept, sqlite3_column_blob(s, 1), sizeof(kept));
		row.user = sqlite3_column_int64(s, 0);
		row.scopes = (uint32_t)sqlite3_column_int64(s, 2);
		row.ends = sqlite3_column_int64(s, 3);
		row.seen = sqlite3_column_int64(s, 4);
		created = sqlite3_column_int64(s, 5);
	}
	if (c->kind == HS_CREDENTIAL_SESSION && row.seen + HS_SESSION_IDLE_MS < row.ends)
		row.ends = row.seen + HS_SESSION_IDLE_MS;
	row.ok = sodium_memcmp(given, kept, sizeof(given)) == 0 && now < row.ends && now + SKEW_MS >= created;
	sodium_memzero(given, sizeof(given));
	*ret = row;
	return 0;
}

int hs_gate_account(sqlite3 *db, int64_t user, int64_t now, struct hs_principal *ret, bool *ret_stands)
{
	HS_PDB_STMT s = NULL;
	int rc = hs_pdb_query(db, &s,
			      "SELECT id, name, roles, expires, (SELECT epoch FROM policy_state) FROM users WHERE n = ?"
			      " AND NOT suspended AND NOT policy_suspended AND (in_policy OR NOT from_policy)",
			      "i", user);
	if (!rc)
		rc = hs_pdb_step(s);
	if (rc < 0)
		return rc;
	*ret_stands = false;
	if (rc == 0)
		return 0;
	int64_t expires = sqlite3_column_int64(s, 3);
	rc = hs_pdb_text(s, 0, ret->user, sizeof(ret->user));
	if (!rc)
		rc = hs_pdb_text(s, 1, ret->name, sizeof(ret->name));
	ret->roles = (uint32_t)sqlite3_column_int64(s, 2);
	ret->epoch = (uint64_t)sqlite3_column_int64(s, 4);
	*ret_stands = !expires || now < expires;
	return rc;
}

/* A scope above reading needs its role too: a token outlives the role of who holds it. */
static uint32_t cut_scopes(uint32_t scopes, uint32_t roles)
{
	if (!(roles & HS_ROLE_ADMIN))
		scopes &= ~(uint32_t)HS_SCOPE_ADMIN;
	if (!(roles & HS_ROLE_AUDITOR))
		scopes &= ~(uint32_t)HS_SCOPE_AUDIT;
	return scopes & HS_SCOPE_ALL;
}

int hs_authenticate(struct hs_gate *g, sqlite3 *db, const struct hs_credential *c, int64_t now_ms, struct hs_principal *ret,
		    struct hs_err *err)
{
	HS_PDB_SAVEPOINT sp = {0};
	struct hs_gate_row row;
	struct hs_principal p = {.kind = c->kind, .credential = c->id};
	bool stands = false;
	int rc = hs_pdb_begin(&sp, db);
	if (!rc)
		rc = hs_gate_look_up(g, db, c, now_ms, &row);
	if (!rc)
		rc = hs_gate_account(db, row.user, now_ms, &p, &stands);
	if (rc)
		return hs_fail_errno(err, rc, "policy.database", "credential");
	/* A sign-in code is no key to anything but a session: hs_code_redeem. */
	if (!row.ok || !stands || c->kind == HS_CREDENTIAL_CODE)
		return hs_gate_refuse(err);
	memcpy(p.tenant, g->tenant, sizeof(p.tenant));
	p.scopes = cut_scopes(row.scopes, p.roles);
	p.expires = row.ends;
	p.touch = c->kind == HS_CREDENTIAL_SESSION && now_ms >= row.seen + HS_SESSION_TOUCH_MS;
	*ret = p;
	return 0;
}

int hs_principal_local(struct hs_gate *g, sqlite3 *db, uid_t uid, struct hs_principal *ret)
{
	struct hs_principal p = {.roles = HS_ROLE_ADMIN | HS_ROLE_AUDITOR,
				 .scopes = HS_SCOPE_INGEST | HS_SCOPE_ADMIN | HS_SCOPE_AUDIT,
				 .expires = INT64_MAX,
				 .kind = HS_CREDENTIAL_PEER};
	memcpy(p.tenant, g->tenant, sizeof(p.tenant));
	(void)snprintf(p.user, sizeof(p.user), "local_%lu", (unsigned long)uid);
	(void)snprintf(p.name, sizeof(p.name), "local_%lu", (unsigned long)uid);
	int rc = hs_policy_epoch(db, &p.epoch);
	if (!rc)
		*ret = p;
	return rc;
}

int hs_principal_recheck(sqlite3 *db, const struct hs_principal *p, int64_t now_ms)
{
	int64_t ok = 0;
	static const char *const sql[] = {
		[HS_CREDENTIAL_TOKEN] = "SELECT 1 FROM tokens t JOIN users u ON u.n = t.user WHERE t.id = ?1 AND u.id = ?2 AND"
					" t.revoked = 0 AND ?3 < t.expires",
		[HS_CREDENTIAL_SESSION] = "SELECT 1 FROM sessions t JOIN users u ON u.n = t.user WHERE t.id = ?1 AND u.id = ?2 AND"
					  " ?3 < t.ends",
	};
	if (p->kind == HS_CREDENTIAL_PEER)
		return 0;
	if (p->kind != HS_CREDENTIAL_TOKEN && p->kind != HS_CREDENTIAL_SESSION)
		return -EACCES;
	int rc = hs_pdb_int(db, &ok, sql[p->kind], "tti", p->credential.s, p->user, now_ms);
	if (!rc)
		rc = hs_pdb_int(db, &ok,
				"SELECT 1 FROM users WHERE id = ? AND NOT suspended AND NOT policy_suspended AND"
				" (in_policy OR NOT from_policy) AND (expires = 0 OR ? < expires)",
				"ti", p->user, now_ms);
	return rc == -ENOENT ? -EACCES : rc;
}
