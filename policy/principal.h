/*
 * Who asks: users, and the credentials that prove to be one. One gate, hs_authenticate, for every kind of credential.
 *
 * The database keeps a keyed BLAKE2b of each credential's secret, never the secret; the key is the tenant's own and comes
 * from the caller, so a stolen table authenticates nothing. Tokens, sessions and sign-in codes have separate random secrets
 * and separate hash domains: none passes for another.
 *
 * A gate holds the tenant's id and hash key; it is made once a tenant process and may be shared by threads.
 */
#ifndef HISHO_POLICY_PRINCIPAL_H
#define HISHO_POLICY_PRINCIPAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <sqlite3.h>

#include "base/err.h"
#include "base/id.h"
#include "policy/schema.h"

#define HS_GATE_KEY_LEN 32
#define HS_SECRET_LEN 32       /* random bytes of a credential */
#define HS_TOKENS_PER_USER_MAX 64
#define HS_SESSIONS_PER_USER_MAX 32
#define HS_CODES_PER_USER_MAX 8
#define HS_SESSION_IDLE_MS (30 * 60 * 1000LL)
#define HS_SESSION_LIFE_MS (12 * 60 * 60 * 1000LL)
#define HS_SESSION_TOUCH_MS (60 * 1000LL) /* a session in use is written at most this often */
#define HS_CODE_LIFE_MS (10 * 60 * 1000LL)

enum hs_scope { /* bits */
	HS_SCOPE_ASK = 1u << 0,    /* questions, search, citations, own conversations */
	HS_SCOPE_INGEST = 1u << 1, /* POST /v1/documents */
	HS_SCOPE_ADMIN = 1u << 2,  /* with the role admin: policy, users, tokens, senders */
	HS_SCOPE_AUDIT = 1u << 3,  /* with the role auditor: the audit log */
};
#define HS_SCOPE_ALL (HS_SCOPE_ASK | HS_SCOPE_INGEST | HS_SCOPE_ADMIN | HS_SCOPE_AUDIT)

enum hs_credential_kind {
	HS_CREDENTIAL_NONE = 0,
	HS_CREDENTIAL_TOKEN,
	HS_CREDENTIAL_SESSION,
	HS_CREDENTIAL_CODE, /* a single-use sign-in code: buys a session, opens nothing itself */
	HS_CREDENTIAL_PEER, /* SO_PEERCRED on the admin socket */
};

/* A credential taken apart: public id and secret. Its text form is crypto/token.h's. The holder wipes it. */
struct hs_credential {
	enum hs_credential_kind kind;
	struct hs_id id;               /* "tok_...", "ses_...", "cod_..." */
	uint8_t secret[HS_SECRET_LEN];
};

/* Made by the gate, then only read. */
struct hs_principal {
	char tenant[HS_POLICY_NAME_MAX + 1]; /* public id of the tenant */
	char user[HS_ID_LEN + 1];            /* "usr_..."; "local_<uid>" for the admin socket */
	char name[HS_POLICY_NAME_MAX + 1];
	uint32_t roles;                      /* enum hs_role bits (policy/rules.h) */
	uint32_t scopes;                     /* enum hs_scope bits, already cut to what the roles permit */
	uint64_t epoch;                      /* the policy epoch at which this was true */
	int64_t expires;                     /* when the credential itself ends, UTC ms */
	enum hs_credential_kind kind;
	struct hs_id credential;
	bool touch;                          /* a session: call hs_session_touch on the writer */
};

struct hs_gate;

/* The key is copied into guarded memory. NULL on -ENOMEM or a tenant id that is too long. */
struct hs_gate *hs_gate_create(const char *tenant, const uint8_t key[static HS_GATE_KEY_LEN]) HS_MUST_CHECK;
void hs_gate_destroy(struct hs_gate *g); /* wipes; takes NULL */

/*
 * Who is this? Reads only. 0; -EACCES ("auth.refused") for every reason there is: unknown id, wrong secret, expired,
 * revoked, suspended, wrong kind. They look alike and do alike work; the reason is for nobody.
 */
int hs_authenticate(struct hs_gate *g, sqlite3 *db, const struct hs_credential *c, int64_t now_ms, struct hs_principal *ret,
		    struct hs_err *err) HS_MUST_CHECK;

/*
 * The person at the admin socket; the caller has judged the uid (SO_PEERCRED). Roles admin and auditor; scopes ingest, admin
 * and audit; no document to read.
 */
int hs_principal_local(struct hs_gate *g, sqlite3 *db, uid_t uid, struct hs_principal *ret) HS_MUST_CHECK;

/* Still the same right: the account stands, not suspended or expired, at today's epoch. 0, -EACCES. Reads only. */
int hs_principal_recheck(sqlite3 *db, const struct hs_principal *p, int64_t now_ms) HS_MUST_CHECK;

/* --- users; all write but find --- */

struct hs_user {
	struct hs_id id;
	char name[HS_POLICY_NAME_MAX + 1];
	char display[HS_POLICY_NAME_MAX + 1];
	bool suspended, removed; /* removed: the policy file no longer names them */
	int64_t expires;         /* 0: never */
	uint32_t roles;
};

/* Add a user beside those of the policy file, which may name them afterwards. -EEXIST "user.exists", -EINVAL "user.name". */
int hs_user_add(sqlite3 *db, const char *name, const char *display, int64_t now_ms, struct hs_id *ret,
		struct hs_err *err) HS_MUST_CHECK;

/* By public id or by name. -ENOENT "user.unknown". */
int hs_user_find(sqlite3 *db, const char *id_or_name, struct hs_user *ret, struct hs_err *err) HS_MUST_CHECK;

int hs_user_each(sqlite3 *db, int (*fn)(void *ctx, const struct hs_user *u), void *ctx) HS_MUST_CHECK;

/* Suspend or restore: raises the epoch, ends the sessions and sign-in codes of a suspended user. */
int hs_user_suspend(sqlite3 *db, const char *id_or_name, bool suspended, struct hs_err *err) HS_MUST_CHECK;

/* --- credentials; all write but each. Secrets go to *ret once and are kept nowhere --- */

struct hs_token_info {
	struct hs_id id, user;
	char label[HS_POLICY_NAME_MAX + 1];
	uint32_t scopes;
	int64_t created, expires, revoked; /* revoked: 0 where it is not */
};

/* expires: 0 < expires, later than now. -EINVAL "token.scopes", "token.expires"; -ENOSPC "token.limit". */
int hs_token_add(struct hs_gate *g, sqlite3 *db, const char *user, uint32_t scopes, const char *label, int64_t expires,
		 int64_t now_ms, struct hs_credential *ret, struct hs_err *err) HS_MUST_CHECK;
int hs_token_revoke(sqlite3 *db, const char *token_id, int64_t now_ms, struct hs_err *err) HS_MUST_CHECK;
int hs_token_each(sqlite3 *db, int (*fn)(void *ctx, const struct hs_token_info *t), void *ctx) HS_MUST_CHECK;

int hs_code_add(struct hs_gate *g, sqlite3 *db, const char *user, int64_t now_ms, struct hs_credential *ret,
		struct hs_err *err) HS_MUST_CHECK;

/* Trade a sign-in code, once, for a new session. -EACCES ("auth.refused") as hs_authenticate. */
int hs_code_redeem(struct hs_gate *g, sqlite3 *db, const struct hs_credential *code, int64_t now_ms, struct hs_credential *ret,
		   struct hs_err *err) HS_MUST_CHECK;

/*
 * A session for someone whom a token has just authenticated (signing in by token). It can do what the token can, and ends
 * with it at the latest. -EINVAL where `who` did not come from a token.
 */
int hs_session_add(struct hs_gate *g, sqlite3 *db, const struct hs_principal *who, int64_t now_ms, struct hs_credential *ret,
		   struct hs_err *err) HS_MUST_CHECK;
int hs_session_touch(sqlite3 *db, const struct hs_id *session, int64_t now_ms) HS_MUST_CHECK;
int hs_session_end(sqlite3 *db, const struct hs_id *session) HS_MUST_CHECK;

/* Delete what has ended: sessions, codes, tokens expired over 30 days ago. */
int hs_credentials_sweep(sqlite3 *db, int64_t now_ms) HS_MUST_CHECK;

#endif
