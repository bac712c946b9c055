/*
 * Charset detection and decoding to UTF-8, strict, in a fixed order: BOM, declared charset, ISO-2022-JP, UTF-8, EUC-JP-MS,
 * CP932, UTF-16 without BOM. Strict decoding decides better than statistics do: a guess over four bytes of CP932 says
 * windows-1252.
 */
#ifndef HISHO_TEXT_CHARSET_H
#define HISHO_TEXT_CHARSET_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/*
 * Decode n bytes to UTF-8, appended to out (respecting its limit). hint: a declared charset ("Shift_JIS", from HTML or
 * a header) tried before the others but for a BOM, or NULL; what is UTF-8 beyond chance is UTF-8 whatever it declares. On
 * success *ret_charset names what was used (static string).
 * -EILSEQ ("doc.charset") where no charset fits, "doc.binary" where NUL bytes or control characters say that this is no
 * text; -EMSGSIZE past out's limit. On failure out is as it was.
 */
int hs_charset_decode(const uint8_t *data, size_t n, const char *hint, struct hs_buf *out, const char **ret_charset,
		      struct hs_err *err) HS_MUST_CHECK;

/*
 * Load the converters that glibc keeps in files of their own, so that decoding works after a jail has closed the file
 * system. Once a process; they stay loaded.
 */
int hs_charset_prepare(void) HS_MUST_CHECK;

#endif
