/*
 * Requests as bytes: the head, and the framing of a body (RFC 9112). Pure: no sockets, no allocation.
 *
 * A head is found whole, judged strictly here, then parsed once more by llhttp; the two must agree. llhttp 8.1.0 lets
 * through what others read differently, which is how requests are smuggled, so this refuses by itself: bytes other than CRLF
 * at a line's end, NUL and control bytes, lines that begin with white space, white space before a colon, anything but exactly
 * one Host, two Content-Lengths, Content-Length beside Transfer-Encoding, an empty or unknown Transfer-Encoding, a repeated
 * header that decides something, absolute and odd targets, dot segments, encoded slashes. Chunks may have no extensions and
 * no trailers.
 */
#ifndef HISHO_DAEMON_HTTP_PARSE_H
#define HISHO_DAEMON_HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/messages.h"

struct hs_http_head { /* slices point into the parsed bytes */
	struct hs_slice method, path, query; /* path percent-decoded in place; query raw */
	struct hs_slice host, authorization, cookie, content_type, accept_language, origin, fetch_site;
	bool old;        /* HTTP/1.0: no chunks to it, and closed after the answer */
	bool keep_alive;
	bool expect_continue;
	bool chunked;
	bool has_body;           /* chunked, or a Content-Length above 0 */
	uint64_t content_length; /* UINT64_MAX where chunked; 0 without a body */
};

/*
 * Is a whole head there? Call again with more bytes and the same *scanned (0 at first). Its length with the empty line;
 * 0: not yet; -EBADMSG: no head can begin so.
 */
long hs_http_head_find(const uint8_t *data, size_t len, size_t *scanned) HS_MUST_CHECK;

/* Parse a head of exactly len bytes; decodes the path in place. 0, or the HTTP status to refuse with, told in err. */
unsigned hs_http_head_parse(uint8_t *data, size_t len, struct hs_http_head *ret, struct hs_err *err) HS_MUST_CHECK;

/* The value of a cookie in a Cookie header; an empty slice where it is not there. */
struct hs_slice hs_http_cookie(struct hs_slice header, const char *name);

/* The token of "Bearer <token>"; an empty slice where it is something else. */
struct hs_slice hs_http_bearer(struct hs_slice authorization);

/* Does `host` (as Host says it, perhaps with a port) name `name`? */
bool hs_http_host_is(struct hs_slice host, const char *name);

struct hs_http_body {
	enum { HS_BODY_LENGTH, HS_BODY_SIZE, HS_BODY_SIZE_LF, HS_BODY_CHUNK, HS_BODY_CHUNK_CR, HS_BODY_CHUNK_LF, HS_BODY_END_CR,
	       HS_BODY_END_LF, HS_BODY_DONE } state;
	unsigned digits;
	uint64_t left; /* of the body or the chunk */
};

void hs_http_body_begin(struct hs_http_body *b, const struct hs_http_head *head);

/*
 * Take one step over data: *ret_used bytes are consumed, of which the last *ret_len are content, at *ret_content. False
 * where the framing is broken. Done when state is HS_BODY_DONE; what follows belongs to the next request.
 */
bool hs_http_body_step(struct hs_http_body *b, const uint8_t *data, size_t len, size_t *ret_used, const uint8_t **ret_content,
		       size_t *ret_len) HS_MUST_CHECK;

#endif
