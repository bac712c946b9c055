/*
 * A sender's own key: Ed25519 (RFC 8032), in a file on the sender's machine, with its public half as text for registering.
 *
 * File: one line of ASCII, "hssk1_<seed in base32>_<check>". Public text: "hspk1_<key in base32>_<check>". The digit is the
 * format version; the check (30 bits of BLAKE2b) catches slips of the pen, not attacks.
 */
#ifndef HISHO_CRYPTO_SIGNER_H
#define HISHO_CRYPTO_SIGNER_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "crypto/key.h"

#define HS_SIGNER_PUBLIC_LEN 32
#define HS_SIGNER_SIGNATURE_LEN 64
#define HS_SIGNER_TEXT_LEN 65 /* both texts: 6 + 52 + 1 + 6 */
#define HS_SIGNER_MAC_LEN 32

struct hs_signer;

struct hs_signer *hs_signer_create(void) HS_MUST_CHECK; /* a new key; NULL on -ENOMEM */
void hs_signer_destroy(struct hs_signer *s);            /* wipes; takes NULL */

/* A 0600 file, where none is: -EEXIST "sender.exists". */
int hs_signer_save(const struct hs_signer *s, int dirfd, const char *path, struct hs_err *err) HS_MUST_CHECK;

/* -ENOENT "sender.missing", -EPROTO "sender.file". */
int hs_signer_load(int dirfd, const char *path, struct hs_signer **ret, struct hs_err *err) HS_MUST_CHECK;

void hs_signer_public(const struct hs_signer *s, uint8_t ret[static HS_SIGNER_PUBLIC_LEN]);
void hs_signer_public_format(const uint8_t key[static HS_SIGNER_PUBLIC_LEN], char ret[static HS_SIGNER_TEXT_LEN + 1]);
/* -EINVAL "sender.key": form, check, or not a usable point. */
int hs_signer_public_parse(const char *s, size_t n, uint8_t ret[static HS_SIGNER_PUBLIC_LEN], struct hs_err *err) HS_MUST_CHECK;

void hs_signer_sign(const struct hs_signer *s, const void *data, size_t len, uint8_t ret[static HS_SIGNER_SIGNATURE_LEN]);

/*
 * The MAC that decides "unchanged": BLAKE2b-256 over the source id and the content's BLAKE2b-256, under a key that only this
 * sender has, so no one learns what another filed.
 */
void hs_signer_content_mac(const struct hs_signer *s, const void *source, size_t source_len,
			   const uint8_t content_hash[static 32], uint8_t ret[static HS_SIGNER_MAC_LEN]);

#endif
