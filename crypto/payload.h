/*
 * What a submission's ciphertext holds: names and titles travel only in here (docs/formats/manifest.md).
 *
 *   magic "HSpl", u16 version 1, u16 zero, str name, str title, str media type, u64 content length, content
 *
 * Strings are a u32 length and UTF-8. Parsing is in place over hostile bytes.
 */
#ifndef HISHO_CRYPTO_PAYLOAD_H
#define HISHO_CRYPTO_PAYLOAD_H

#include "base/buf.h"
#include "base/err.h"

#define HS_PAYLOAD_NAME_MAX 1024
#define HS_PAYLOAD_TITLE_MAX 1024
#define HS_PAYLOAD_MEDIA_MAX 128
#define HS_PAYLOAD_CONTENT_MAX (64u * 1024u * 1024u) /* the largest document that is taken in */

struct hs_payload { /* slices into the parsed bytes, or the caller's */
	const char *name, *title, *media;
	size_t name_len, title_len, media_len;
	const uint8_t *content;
	uint64_t content_len;
};

/* Everything up to the content, appended to out: the content follows it in the stream. */
int hs_payload_put_header(struct hs_buf *out, const struct hs_payload *p) HS_MUST_CHECK;

/* 0, or -EPROTO ("submission.payload") naming the field. */
int hs_payload_parse(const void *data, size_t len, struct hs_payload *ret, struct hs_err *err) HS_MUST_CHECK;

#endif
