/* Bytes from the network: heads and bodies, whole and in two pieces; what is taken must keep the promises of parse.h. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "daemon/http.h"
#include "daemon/http/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_head(const struct hs_http_head *h)
{
	hs_assert(h->host.len > 0 && h->method.len > 0 && h->path.len > 0 && h->path.s[0] == '/');
	hs_assert(hs_utf8_valid(h->path.s, h->path.len, NULL) && !memchr(h->path.s, 0, h->path.len));
	hs_assert(!(h->chunked && h->old) && h->has_body == (h->content_length > 0));
	hs_assert(hs_http_cookie(h->cookie, "__Host-hisho").len <= h->cookie.len);
	hs_assert(hs_http_bearer(h->authorization).len <= h->authorization.len);
	(void)hs_http_host_is(h->host, "localhost");
}

static void eat_body(const struct hs_http_head *h, const uint8_t *data, size_t size)
{
	struct hs_http_body b;
	hs_http_body_begin(&b, h);
	uint64_t total = 0;
	for (size_t at = 0; at < size && b.state != HS_BODY_DONE;) {
		size_t used = 0, len = 0, piece = HS_MIN(size - at, (size_t)(data[at] % 7 + 1));
		const uint8_t *content;
		if (!hs_http_body_step(&b, data + at, piece, &used, &content, &len))
			return;
		hs_assert(used > 0 && used <= piece && content >= data + at && content + len <= data + at + used);
		at += used;
		total += len;
	}
	hs_assert(h->chunked || total <= h->content_length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t whole = 0, pieces = 0;
	long n = hs_http_head_find(data, HS_MIN(size, (size_t)HS_HTTP_HEAD_MAX), &whole);
	if (hs_http_head_find(data, HS_MIN(size, (size_t)HS_HTTP_HEAD_MAX) / 2, &pieces) == 0)
		hs_assert(hs_http_head_find(data, HS_MIN(size, (size_t)HS_HTTP_HEAD_MAX), &pieces) == n);
	if (n <= 0)
		return 0;
	uint8_t *copy = malloc((size_t)n);
	if (!copy)
		return 0;
	memcpy(copy, data, (size_t)n);
	struct hs_http_head head;
	struct hs_err err = HS_ERR_INIT;
	unsigned status = hs_http_head_parse(copy, (size_t)n, &head, &err);
	hs_assert(status == 0 || (status >= 400 && status < 600 && err.code[0]));
	if (status == 0) {
		check_head(&head);
		eat_body(&head, data + n, size - (size_t)n);
	}
	free(copy);
	return 0;
}
