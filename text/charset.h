/* Charset detection and decoding to UTF-8, strict, in a fixed order: BOM, ISO-2022-JP, UTF-8, EUC-JP-MS, CP932, UTF-16 without BOM. */
#ifndef HISHO_TEXT_CHARSET_H
#define HISHO_TEXT_CHARSET_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/*
 * Decode n bytes to UTF-8, appended to out (respecting its limit). hint: a declared charset ("Shift_JIS", from HTML or
 * a header) tried first, or NULL. On success *ret_charset names what was used (static string).
 * -EILSEQ ("doc.charset") where no charset fits, "doc.binary" where NUL bytes or control characters say that this is no text.
 */
int hs_charset_decode(const uint8_t *data, size_t n, const char *hint, struct hs_buf *out, const char **ret_charset,
		      struct hs_err *err) HS_MUST_CHECK;

#endif
