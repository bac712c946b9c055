/* Charset detection over any bytes: what comes out is valid UTF-8 without NUL, whatever the hint. */
#include "text/charset.h"

#include <string.h>

#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const hints[] = {NULL, "Shift_JIS", "EUC-JP", "ISO-2022-JP", "UTF-16LE", "latin1", "UTF-8", "unknown"};
	if (size == 0)
		return 0;
	HS_BUF_AUTO out = {.limit = 1u << 20};
	const char *charset = NULL;
	struct hs_err err = HS_ERR_INIT;
	if (hs_charset_decode(data + 1, size - 1, hints[data[0] % HS_ARRAY_LEN(hints)], &out, &charset, &err) == 0)
		hs_assert(charset && hs_utf8_valid((const char *)out.data, out.len, NULL) && (out.len == 0 || !memchr(out.data, 0, out.len)));
	else
		hs_assert(out.len == 0);
	return 0;
}
