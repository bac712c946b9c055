/*
 * Public identifiers: 128 random bits in lower-case base32 (RFC 4648 alphabet, no padding) behind a kind prefix,
 * e.g. "doc_mfrggzdfmztwq2lknnwg23tpob". Integers never leave the tenant process: counting ids must not count documents.
 */
#ifndef HISHO_BASE_ID_H
#define HISHO_BASE_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

#define HS_ID_PREFIX_MAX 4                          /* "doc_", "ver_", "job_", "usr_", "ten_", ... */
#define HS_ID_LEN (HS_ID_PREFIX_MAX + 26)           /* characters, without the terminator */

struct hs_id {
	char s[HS_ID_LEN + 1];
};

/* Fill n bytes from the kernel's random source. Aborts where the kernel has none: nothing safe can follow. */
void hs_random(void *out, size_t n);

/* A new identifier; prefix is three letters and an underscore. */
struct hs_id hs_id_new(const char prefix[static HS_ID_PREFIX_MAX]);

/* Is s (n bytes) a well-formed identifier with that prefix? */
bool hs_id_valid(const char *s, size_t n, const char prefix[static HS_ID_PREFIX_MAX]);

/* Lower-case base32 of n bytes into out (terminated); out holds at least (n * 8 + 4) / 5 + 1 bytes. */
void hs_base32(const uint8_t *data, size_t n, char *out);

/* The inverse: n characters that stand for exactly `bytes` bytes. False for other characters, lengths, or spare bits set. */
bool hs_base32_decode(const char *s, size_t n, uint8_t *out, size_t bytes) HS_MUST_CHECK;

#endif
