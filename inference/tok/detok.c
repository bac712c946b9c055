/* Streaming: tokens to whole characters. */
#include <string.h>

#include "base/utf8.h"
#include "inference/tok/tokenizer.h"

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* Could these n bytes (n > 0, not a whole character) begin one? */
static bool may_begin(const uint8_t *s, size_t n)
{
	uint8_t c = s[0];
	size_t want = c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
	if (n >= want)
		return false;
	if (n >= 2) {
		uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80, high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
		if (s[1] < low || s[1] > high)
			return false;
	}
	return n < 3 || (s[2] & 0xc0) == 0x80;
}

/* Move whole characters of in to out; each byte that can begin none becomes U+FFFD. Returns the bytes used, or an error. */
static ssize_t drain(const uint8_t *in, size_t n, struct hs_buf *out)
{
	size_t at = 0;
	while (at < n) {
		uint32_t cp;
		size_t len = hs_utf8_decode((const char *)in + at, n - at, &cp);
		if (len == 0 && may_begin(in + at, n - at))
			break;
		int rc = len ? hs_buf_append(out, in + at, len) : hs_buf_append(out, replacement, 3);
		if (rc < 0)
			return rc;
		at += len ? len : 1;
	}
	return (ssize_t)at;
}

int hs_detok_push(struct hs_detok *d, const struct hs_tokenizer *t, hs_tok_id id, struct hs_buf *out)
{
	HS_BUF_AUTO bytes = HS_BUF_INIT;
	size_t begin = out->len;
	int rc = hs_buf_append(&bytes, d->rest, d->rest_len);
	if (rc == 0)
		rc = hs_tok_bytes(t, id, &bytes);
	if (rc < 0 || bytes.len == 0)
		return rc;
	size_t skip = !d->begun && bytes.len && bytes.data[0] == ' ' && hs_tok_leads_with_space(t) ? 1 : 0;
	ssize_t used = drain(bytes.data + skip, bytes.len - skip, out);
	if (used < 0) {
		out->len = begin;
		return (int)used;
	}
	d->begun = true;
	d->rest_len = bytes.len - skip - (size_t)used; /* the beginning of one character: at most 3 bytes */
	if (d->rest_len)
		memcpy(d->rest, bytes.data + skip + used, d->rest_len);
	return 0;
}

int hs_detok_flush(struct hs_detok *d, struct hs_buf *out)
{
	int rc = d->rest_len ? hs_buf_append(out, replacement, 3) : 0;
	if (rc == 0)
		d->rest_len = 0;
	return rc;
}
