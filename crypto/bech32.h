/* Inside this room: Bech32 (BIP 173) over 32 bytes, as age writes its keys. Not constant in time over its alphabet. */
#ifndef HISHO_CRYPTO_BECH32_H
#define HISHO_CRYPTO_BECH32_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

#define HS_BECH32_BYTES 32
#define HS_BECH32_PREFIX_MAX 16
#define HS_BECH32_TEXT_MAX (HS_BECH32_PREFIX_MAX + 1 + 52 + 6)

/* prefix: lower case. Lower-case text, terminated. */
void hs_bech32_encode(const char *prefix, const uint8_t bytes[static HS_BECH32_BYTES], char ret[static HS_BECH32_TEXT_MAX + 1]);

/* Lower-case text only; false for another prefix, length, checksum or padding. */
bool hs_bech32_decode(const char *prefix, const char *s, size_t n, uint8_t ret[static HS_BECH32_BYTES]) HS_MUST_CHECK;

#endif
