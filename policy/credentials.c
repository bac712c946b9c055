#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "policy/db.h"
#include "policy/gate.h"
#include "policy/rules.h"

#define KEEP_ENDED_MS (30 * 24 * 60 * 60 * 1000LL) /* an ended token stays in the list for so long */

static int database(struct hs_err *err, int rc, const char *what)
{
	return rc ? hs_fail_errno(err, rc, "policy.database", what) : 0;
}

/* The row of a user by id or name. */
static int user_row(sqlite3 *db, const char *user, int64_t *ret, struct hs_err *err)
{
	struct hs_user u;
	int rc = hs_user_find(db, user, &u, err);
	if (rc)
		return rc;
	return database(err, hs_pdb_int(db, ret, "SELECT n FROM users WHERE id = ?", "t", u.id.s), "users");
}

int hs_token_add(struct hs_gate *g, sqlite3 *db, const char *user, uint32_t scopes, const char *label, int64_t expires,
		 int64_t now_ms, struct hs_credential *ret, struct hs_err *err)
{
	int64_t n, count;
	if (!label)
		label = "";
	if (!scopes || (scopes & ~(uint32_t)HS_SCOPE_ALL))
		return hs_fail(err, EINVAL, "token.scopes", HS_N_("A token has at least one of ask, ingest, admin, audit."),
			       "scopes %u", scopes);
	if (expires <= now_ms)
		return hs_fail(err, EINVAL, "token.expires", HS_N_("A token's end must lie in the future."), "%s", user);
	if (label[0] && !hs_policy_name_ok(label, strlen(label)))
		return hs_fail(err, EINVAL, "token.label",
			       HS_N_("A name is 1 to 128 bytes, without control characters or spaces at its ends."), "%s", label);
	int rc = user_row(db, user, &n, err);
	if (rc)
		return rc;
	rc = hs_pdb_int(db, &count, "SELECT count(*) FROM tokens WHERE user = ? AND revoked = 0 AND expires > ?", "ii", n, now_ms);
	if (!rc && count >= HS_TOKENS_PER_USER_MAX)
		return hs_fail(err, ENOSPC, "token.limit", HS_N_("A user has at most 64 tokens; revoke one first."), "%s", user);
	struct hs_credential c = hs_credential_new(HS_CREDENTIAL_TOKEN);
	uint8_t hash[HS_CREDENTIAL_HASH_LEN];
	hs_gate_hash(g, &c, hash);
	if (!rc)
		rc = hs_pdb_run(db, "INSERT INTO tokens(id, user, hash, scopes, label, created, expires) VALUES (?, ?, ?, ?, ?, ?, ?)",
				"tibitii", c.id.s, n, hash, sizeof(hash), (int64_t)scopes, label, now_ms, expires);
	if (!rc)
		*ret = c;
	sodium_memzero(&c, sizeof(c));
	return database(err, rc, "tokens");
}

int hs_token_revoke(sqlite3 *db, const char *token_id, int64_t now_ms, struct hs_err *err)
{
	HS_PDB_SAVEPOINT sp = {0};
	int64_t found;
	int rc = hs_pdb_int(db, &found, "SELECT 1 FROM tokens WHERE id = ?", "t", token_id);
	if (rc == -ENOENT)
		return hs_fail(err, ENOENT, "token.unknown", HS_N_("There is no such token; `hisho token list` shows them."), "%s",
			       token_id);
	if (!rc)
		rc = hs_pdb_begin(&sp, db);
	if (!rc)
		rc = hs_pdb_run(db, "UPDATE tokens SET revoked = ? WHERE id = ? AND revoked = 0", "it", now_ms, token_id);
	if (!rc)
		rc = hs_pdb_run(db, "DELETE FROM sessions WHERE token = ?", "t", token_id);
	/* Grants that the token opened are looked at by epoch: this ends them too. */
	if (!rc)
		rc = hs_pdb_bump_epoch(db);
	if (!rc)
		rc = hs_pdb_commit(&sp);
	return database(err, rc, "tokens");
}

int hs_token_each(sqlite3 *db, int (*fn)(void *ctx, const struct hs_token_info *t), void *ctx)
{
	HS_PDB_STMT s = NULL;
	int rc = hs_pdb_query(db, &s,
			      "SELECT t.id, u.id, t.label, t.scopes, t.created, t.expires, t.revoked FROM tokens t"
			      " JOIN users u ON u.n = t.user ORDER BY t.created, t.id",
			      "");
	while (!rc && (rc = hs_pdb_step(s)) == 1) {
		struct hs_token_info t = {0};
		rc = hs_pdb_text(s, 0, t.id.s, sizeof(t.id.s));
		if (!rc)
			rc = hs_pdb_text(s, 1, t.user.s, sizeof(t.user.s));
		if (!rc)
			rc = hs_pdb_text(s, 2, t.label, sizeof(t.label));
		t.scopes = (uint32_t)sqlite3_column_int64(s, 3);
		t.created = sqlite3_column_int64(s, 4);
		t.expires = sqlite3_column_int64(s, 5);
		t.revoked = sqlite3_column_int64(s, 6);
		if (!rc)
			rc = fn(ctx, &t);
	}
	return rc;
}

int hs_code_add(struct hs_gate *g, sqlite3 *db, const char *user, int64_t now_ms, struct hs_credential *ret, struct hs_err *err)
{
	int64_t n;
	int rc = user_row(db, user, &n, err);
	if (rc)
		return rc;
	struct hs_credential c = hs_credential_new(HS_CREDENTIAL_CODE);
	uint8_t hash[HS_CREDENTIAL_HASH_LEN];
	hs_gate_hash(g, &c, hash);
	HS_PDB_SAVEPOINT sp = {0};
	rc = hs_pdb_begin(&sp, db);
	if (!rc)
		rc = hs_pdb_run(db, "INSERT INTO sign_in_codes VALUES (?, ?, ?, ?)", "tibi", c.id.s, n, hash, sizeof(hash),
				now_ms + HS_CODE_LIFE_MS);
	if (!rc)
		rc = hs_pdb_run(db,
				"DELETE FROM sign_in_codes WHERE user = ?1 AND id NOT IN"
				" (SELECT id FROM sign_in_codes WHERE user = ?1 ORDER BY expires DESC, id = ?3 DESC LIMIT ?2)",
				"iit", n, (int64_t)HS_CODES_PER_USER_MAX, c.id.s);
	if (!rc)
		rc = hs_pdb_commit(&sp);
	if (!rc)
		*ret = c;
	sodium_memzero(&c, sizeof(c));
	return database(err, rc, "sign_in_codes");
}

static int session_insert(struct hs_gate *g, sqlite3 *db, int64_t user, uint32_t scopes, const char *token, int64_t ends,
			  int64_t now, struct hs_credential *ret)
{
	struct hs_credential c = hs_credential_new(HS_CREDENTIAL_SESSION);
	uint8_t hash[HS_CREDENTIAL_HASH_LEN];
	hs_gate_hash(g, &c, hash);
	int rc = hs_pdb_run(db, "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", "tibitiii", c.id.s, user, hash, sizeof(hash),
			    (int64_t)scopes, token, now, now, ends);
	if (!rc)
		rc = hs_pdb_run(db,
				"DELETE FROM sessions WHERE user = ?1 AND id NOT IN"
				" (SELECT id FROM sessions WHERE user = ?1 ORDER BY created DESC, id = ?3 DESC LIMIT ?2)",
				"iit", user, (int64_t)HS_SESSIONS_PER_USER_MAX, c.id.s);
	if (!rc)
		*ret = c;
	sodium_memzero(&c, sizeof(c));
	return rc;
}

int hs_code_redeem(struct hs_gate *g, sqlite3 *db, const struct hs_credential *code, int64_t now_ms, struct hs_credential *ret,
		   struct hs_err *err)
{
	HS_PDB_SAVEPOINT sp = {0};
	struct hs_gate_row row;
	struct hs_principal p;
	struct hs_credential session;
	bool stands = false;
	if (code->kind != HS_CREDENTIAL_CODE)
		return hs_gate_refuse(err);
	int rc = hs_pdb_begin(&sp, db);
	if (!rc)
		rc = hs_gate_look_up(g, db, code, now_ms, &row);
	if (!rc)
		rc = hs_gate_account(db, row.user, now_ms, &p, &stands);
	if (rc)
		return database(err, rc, "sign_in_codes");
	if (!row.ok || !stands)
		return hs_gate_refuse(err);
	/* The deletion is what makes it single: whoever deletes the row, and only they, gets the session. */
	rc = hs_pdb_run(db, "DELETE FROM sign_in_codes WHERE id = ?", "t", code->id.s);
	if (!rc && sqlite3_changes(db) != 1)
		return hs_gate_refuse(err);
	if (!rc)
		rc = session_insert(g, db, row.user, HS_SCOPE_ASK | HS_SCOPE_ADMIN | HS_SCOPE_AUDIT, "",
				    now_ms + HS_SESSION_LIFE_MS, now_ms, &session);
	if (!rc)
		rc = hs_pdb_commit(&sp);
	if (!rc)
		*ret = session;
	sodium_memzero(&session, sizeof(session));
	return database(err, rc, "sessions");
}

int hs_session_add(struct hs_gate *g, sqlite3 *db, const struct hs_principal *who, int64_t now_ms, struct hs_credential *ret,
		   struct hs_err *err)
{
	HS_PDB_SAVEPOINT sp = {0};
	struct hs_credential session;
	int64_t n;
	if (who->kind != HS_CREDENTIAL_TOKEN)
		return hs_fail(err, EINVAL, "auth.refused", HS_N_("Only a token signs in this way."), "%s", who->user);
	int rc = user_row(db, who->user, &n, err);
	if (rc)
		return rc;
	int64_t ends = HS_MIN(now_ms + HS_SESSION_LIFE_MS, who->expires);
	rc = hs_pdb_begin(&sp, db);
	/* The token may have been revoked since the principal was made; then so is what it buys. */
	if (!rc)
		rc = hs_principal_recheck(db, who, now_ms);
	if (rc == -EACCES)
		return hs_gate_refuse(err);
	if (!rc)
		rc = session_insert(g, db, n, who->scopes & ~(uint32_t)HS_SCOPE_INGEST, who->credential.s, ends, now_ms, &session);
	if (!rc)
		rc = hs_pdb_commit(&sp);
	if (!rc)
		*ret = session;
	sodium_memzero(&session, sizeof(session));
	return database(err, rc, "sessions");
}

int hs_session_touch(sqlite3 *db, const struct hs_id *session, int64_t now_ms)
{
	return hs_pdb_run(db, "UPDATE sessions SET seen = max(seen, ?) WHERE id = ?", "it", now_ms, session->s);
}

int hs_session_end(sqlite3 *db, const struct hs_id *session)
{
	HS_PDB_SAVEPOINT sp = {0};
	int rc = hs_pdb_begin(&sp, db);
	if (!rc)
		rc = hs_pdb_run(db, "DELETE FROM sessions WHERE id = ?", "t", session->s);
	if (!rc)
		rc = hs_pdb_bump_epoch(db);
	if (!rc)
		rc = hs_pdb_commit(&sp);
	return rc;
}

int hs_credentials_sweep(sqlite3 *db, int64_t now_ms)
{
	int rc = hs_pdb_run(db, "DELETE FROM sessions WHERE ends <= ?1 OR seen <= ?1 - ?2", "ii", now_ms,
			    (int64_t)HS_SESSION_IDLE_MS);
	if (!rc)
		rc = hs_pdb_run(db, "DELETE FROM sign_in_codes WHERE expires <= ?", "i", now_ms);
	if (!rc)
		rc = hs_pdb_run(db, "DELETE FROM tokens WHERE expires <= ?1 - ?2", "ii", now_ms, (int64_t)KEEP_ENDED_MS);
	return rc;
}
