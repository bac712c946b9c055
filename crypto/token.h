/*
 * Credentials as text: <kind>_<tag>_<id>_<secret>_<check>.
 *
 *   kind    "hsk" API token, "hss" session cookie, "hsc" single-use sign-in code
 *   tag     the tenant's public tag, 1..HS_TOKEN_TAG_MAX of [a-z0-9]: by it the web process finds the tenant
 *   id      26 base32 characters: the public id without its prefix
 *   secret  52 base32 characters: 256 random bits
 *   check   6 base32 characters of BLAKE2b over all before it: tells a slip or a cut from a revoked credential early, and
 *           lets scanners find leaked ones; no secret goes into it that the text does not already show
 *
 * The form is canonical: one text a credential. What is stored is policy's keyed hash of the secret, never this text.
 */
#ifndef HISHO_CRYPTO_TOKEN_H
#define HISHO_CRYPTO_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "base/macros.h"

#define HS_TOKEN_SECRET_LEN 32
#define HS_TOKEN_TAG_MAX 26
#define HS_TOKEN_TEXT_MAX (4 + HS_TOKEN_TAG_MAX + 1 + 26 + 1 + 52 + 1 + 6)

enum hs_token_kind {
	HS_TOKEN_API = 1,     /* ids "tok_..." */
	HS_TOKEN_SESSION = 2, /* "ses_..." */
	HS_TOKEN_CODE = 3,    /* "cod_..." */
};

struct hs_bearer { /* the holder wipes it: hs_token_wipe */
	enum hs_token_kind kind;
	char tag[HS_TOKEN_TAG_MAX + 1];
	struct hs_id id; /* with its prefix */
	uint8_t secret[HS_TOKEN_SECRET_LEN];
};

/* The tag of a tenant: the first 10 characters of its id behind the prefix. */
#define HS_TOKEN_TAG_LEN 10
void hs_token_tag(const struct hs_id *tenant, char ret[static HS_TOKEN_TAG_LEN + 1]);

/* The text of t, terminated; false where tag or id are malformed. The caller wipes it. */
bool hs_token_format(const struct hs_bearer *t, char ret[static HS_TOKEN_TEXT_MAX + 1]) HS_MUST_CHECK;

/* False where the text is not a credential. Says nothing of whether it is valid. */
bool hs_token_parse(const char *s, size_t n, struct hs_bearer *ret) HS_MUST_CHECK;

/* The tag only, checked like hs_token_parse without decoding the secret: all that the web process needs. */
bool hs_token_peek(const char *s, size_t n, char ret_tag[static HS_TOKEN_TAG_MAX + 1]) HS_MUST_CHECK;

void hs_token_wipe(struct hs_bearer *t);

#endif
