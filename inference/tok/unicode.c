#include "inference/tok/unicode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>

#include "base/utf8.h"

bool hs_is_composed(const char *text, size_t n)
{
	uint32_t cp;
	for (size_t at = 0, len; at < n; at += len) {
		len = hs_utf8_decode(text + at, n - at, &cp);
		if (len == 0)
			return false;
		if (cp < 0x300 || (cp >= 0x30a0 && cp < 0xa000)) /* nothing that combines: katakana, ideographs */
			continue;
		if ((u_getIntPropertyValue((UChar32)cp, UCHAR_NFC_QUICK_CHECK) != UNORM_YES ||
		     u_getCombiningClass((UChar32)cp) != 0))
			return false;
	}
	return true;
}

/* n units of UTF-16 to UTF-8, at most 3 bytes a unit. */
static int append_utf16(const UChar *s, int32_t n, struct hs_buf *out)
{
	int rc = hs_buf_reserve(out, (size_t)n * 3 + 1);
	UErrorCode status = U_ZERO_ERROR;
	int32_t len = 0;
	if (rc < 0)
		return rc;
	u_strToUTF8((char *)out->data + out->len, n * 3 + 1, &len, s, n, &status);
	if (U_FAILURE(status))
		return -EINVAL;
	out->len += (size_t)len;
	return 0;
}

static int normalise(const UNormalizer2 *form, const char *text, size_t n, struct hs_buf *out)
{
	/* The characters that grow most become 3 units for 2 bytes (a vowel with two marks) or 6 for 4 (musical notes). */
	size_t room = n * 2 + 1;
	UChar *in = reallocarray(NULL, n + 1, sizeof *in), *normal = reallocarray(NULL, room, sizeof *normal);
	UErrorCode status = U_ZERO_ERROR;
	int32_t len = 0, normal_len = 0;
	int rc = in && normal ? 0 : -ENOMEM;
	if (rc == 0) {
		u_strFromUTF8(in, (int32_t)n + 1, &len, text, (int32_t)n, &status);
		normal_len = unorm2_normalize(form, in, len, normal, (int32_t)room, &status);
		rc = U_FAILURE(status) ? -EINVAL : append_utf16(normal, normal_len, out);
	}
	if (in)
		explicit_bzero(in, (n + 1) * sizeof *in); /* document text */
	if (normal)
		explicit_bzero(normal, room * sizeof *normal);
	free(in);
	free(normal);
	return rc;
}

int hs_compose(const char *text, size_t n, struct hs_buf *out)
{
	UErrorCode status = U_ZERO_ERROR;
	const UNormalizer2 *nfc = unorm2_getNFCInstance(&status);
	return U_FAILURE(status) ? -ENOMEM : normalise(nfc, text, n, out);
}

int hs_decompose(const char *text, size_t n, struct hs_buf *out)
{
	UErrorCode status = U_ZERO_ERROR;
	const UNormalizer2 *nfd = unorm2_getNFDInstance(&status);
	return U_FAILURE(status) ? -ENOMEM : normalise(nfd, text, n, out);
}
