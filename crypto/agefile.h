/* Inside this room: what encrypting and decrypting an age file have in common (age-encryption.org/v1). */
#ifndef HISHO_CRYPTO_AGEFILE_H
#define HISHO_CRYPTO_AGEFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "crypto/age.h"

#define HS_AGE_VERSION_LINE "age-encryption.org/v1\n"
#define HS_AGE_FILE_KEY_LEN 16
#define HS_AGE_WRAPPED_LEN (HS_AGE_FILE_KEY_LEN + 16)
#define HS_AGE_MAC_LEN 32
#define HS_AGE_NONCE_LEN 16
#define HS_AGE_CHUNK 65536
#define HS_AGE_TAG_LEN 16
#define HS_AGE_B64_32 43  /* characters of 32 bytes in base64 without padding */

/* HKDF-SHA256 (RFC 5869) to 32 bytes, made of HMAC-SHA256. salt may be NULL with 0. */
void hs_age_hkdf(const uint8_t *ikm, size_t ikm_len, const uint8_t *salt, size_t salt_len, const char *info,
		 uint8_t ret[static 32]);

/* The header's MAC over everything up to and including "---". */
void hs_age_header_mac(const uint8_t file_key[static HS_AGE_FILE_KEY_LEN], const uint8_t *header, size_t n,
		       uint8_t ret[static HS_AGE_MAC_LEN]);

/* The key that wraps a file key between an ephemeral share and a recipient. False for a point of low order. */
bool hs_age_wrap_key(const uint8_t scalar[static 32], const uint8_t point[static 32], const uint8_t share[static 32],
		     const uint8_t recipient[static 32], uint8_t ret[static 32]) HS_MUST_CHECK;

/* STREAM's nonce: 11 bytes of counter, big-endian, and one that says "last". */
void hs_age_chunk_nonce(uint64_t counter, bool last, uint8_t ret[static 12]);

#endif
