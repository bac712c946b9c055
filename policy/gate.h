/* Inside this room: how a gate turns a credential's secret into what the database keeps. */
#ifndef HISHO_POLICY_GATE_H
#define HISHO_POLICY_GATE_H

#include "policy/principal.h"

#define HS_CREDENTIAL_HASH_LEN 32

/* Keyed BLAKE2b over kind, tenant, id and secret. */
void hs_gate_hash(const struct hs_gate *g, const struct hs_credential *c, uint8_t out[static HS_CREDENTIAL_HASH_LEN]);

/* A new random credential of a kind. */
struct hs_credential hs_credential_new(enum hs_credential_kind kind);

/* -EACCES "auth.refused": the one answer to whoever is not let in. */
int hs_gate_refuse(struct hs_err *err);

/*
 * What the database knows of a credential. Does the same work for an unknown one, whose row says nobody.
 * 0 and ret->ok, or a database's error.
 */
struct hs_gate_row {
	bool ok;       /* the secret is right and the credential has not ended */
	int64_t user;  /* row of users, 0: nobody */
	uint32_t scopes;
	int64_t ends, seen;
};
int hs_gate_look_up(struct hs_gate *g, sqlite3 *db, const struct hs_credential *c, int64_t now,
		    struct hs_gate_row *ret) HS_MUST_CHECK;

/* The account of a row: filled and true where it stands. Runs its query for user 0 too. */
int hs_gate_account(sqlite3 *db, int64_t user, int64_t now, struct hs_principal *ret, bool *ret_stands) HS_MUST_CHECK;

#endif
