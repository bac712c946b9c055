/*
 * age v1 files with X25519 recipients (age-encryption.org/v1, C2SP age.md; Bech32 of BIP 173).
 *
 * Streaming both ways: bytes are pushed in, results come out through a sink, memory stays below 300 KiB whatever the length.
 * A sealed file is what the age program makes and opens. Passphrase (scrypt) files, plugins and armour are not taken.
 *
 * Decrypting hands out only authenticated chunks; still, nothing is whole until hs_age_decrypt_finish returned 0: a file
 * cut at a chunk border is told only there.
 */
#ifndef HISHO_CRYPTO_AGE_H
#define HISHO_CRYPTO_AGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "crypto/key.h"

#define HS_AGE_PUBLIC_LEN 32
#define HS_AGE_RECIPIENT_TEXT_LEN 62 /* "age1..." */
#define HS_AGE_IDENTITY_TEXT_LEN 74  /* "AGE-SECRET-KEY-1..." */
#define HS_AGE_HEADER_MAX 65536
#define HS_AGE_RECIPIENTS_MAX 20

/* Takes n bytes; 0 or a negative errno, which the pushing function returns. */
typedef int (*hs_sink_fn)(void *ctx, const void *data, size_t n);

void hs_age_public(const struct hs_key *identity, uint8_t ret[static HS_AGE_PUBLIC_LEN]);
void hs_age_recipient_format(const uint8_t public[static HS_AGE_PUBLIC_LEN], char ret[static HS_AGE_RECIPIENT_TEXT_LEN + 1]);
void hs_age_identity_format(const struct hs_key *identity, char ret[static HS_AGE_IDENTITY_TEXT_LEN + 1]); /* a secret text */

/* -EINVAL "age.recipient" | "age.identity". Parsing is strict: one case, right length, right checksum. */
int hs_age_recipient_parse(const char *s, size_t n, uint8_t ret[static HS_AGE_PUBLIC_LEN], struct hs_err *err) HS_MUST_CHECK;
int hs_age_identity_parse(const char *s, size_t n, struct hs_key **ret, struct hs_err *err) HS_MUST_CHECK;

struct hs_age_encrypt;
/* recipients: n public keys one after the other, 1..HS_AGE_RECIPIENTS_MAX. -EINVAL "age.recipient" for a point of low order. */
int hs_age_encrypt_create(const uint8_t *recipients, size_t n, hs_sink_fn sink, void *ctx, struct hs_age_encrypt **ret,
			  struct hs_err *err) HS_MUST_CHECK;
int hs_age_encrypt_push(struct hs_age_encrypt *e, const void *data, size_t n) HS_MUST_CHECK;
int hs_age_encrypt_finish(struct hs_age_encrypt *e) HS_MUST_CHECK;
void hs_age_encrypt_destroy(struct hs_age_encrypt *e); /* wipes; takes NULL */

struct hs_age_decrypt;
int hs_age_decrypt_create(const struct hs_key *identity, hs_sink_fn sink, void *ctx, struct hs_age_decrypt **ret,
			  struct hs_err *err) HS_MUST_CHECK;
/*
 * -EPROTO "age.header" (malformed or not canonical; the object says what), "age.armor", "age.version"; -ENOKEY "age.recipient" (not
 * sealed to this identity); -EBADMSG "age.mac" (header changed), "age.payload" (a chunk does not authenticate, is cut short,
 * or follows the last). The first error stays.
 */
int hs_age_decrypt_push(struct hs_age_decrypt *d, const void *data, size_t n, struct hs_err *err) HS_MUST_CHECK;
int hs_age_decrypt_finish(struct hs_age_decrypt *d, struct hs_err *err) HS_MUST_CHECK;
void hs_age_decrypt_destroy(struct hs_age_decrypt *d); /* wipes; takes NULL */

#endif
