/* UTF-8 (RFC 3629): strict decoding, validation, cutting at character boundaries. Pure functions over caller memory. */
#ifndef HISHO_BASE_UTF8_H
#define HISHO_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Decode one code point at s (n bytes follow). Returns its length 1..4 and stores the code point, or 0 where the bytes
 * are not valid UTF-8 (overlong forms, surrogates, above U+10FFFF, cut short).
 */
size_t hs_utf8_decode(const char *s, size_t n, uint32_t *ret_cp);

/* Encode cp into out[4]; returns the length, 0 for surrogates and values above U+10FFFF. */
size_t hs_utf8_encode(uint32_t cp, char out[static 4]);

/* Are all n bytes valid UTF-8? On false, *ret_bad (where not NULL) is the offset of the first bad byte. */
bool hs_utf8_valid(const char *s, size_t n, size_t *ret_bad);

/* The largest offset <= n that does not lie inside a character of s. */
size_t hs_utf8_cut(const char *s, size_t n);

/* Number of characters in n bytes of valid UTF-8. */
size_t hs_utf8_count(const char *s, size_t n);

#endif
