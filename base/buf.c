#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/utf8.h"

void hs_buf_finish(struct hs_buf *b)
{
	free(b->data);
	b->data = NULL;
	b->len = b->cap = 0;
}

void hs_buf_wipe(struct hs_buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->cap);
	hs_buf_finish(b);
}

int hs_buf_reserve(struct hs_buf *b, size_t n)
{
	size_t limit = b->limit ? b->limit : SIZE_MAX / 2;
	if (n > limit || b->len > limit - n)
		return -EMSGSIZE;
	size_t need = b->len + n;
	if (need <= b->cap)
		return 0;
	size_t cap = b->cap < 64 ? 64 : b->cap;
	while (cap < need)
		cap += cap / 2;
	uint8_t *data = realloc(b->data, cap);
	if (!data)
		return -ENOMEM;
	b->data = data;
	b->cap = cap;
	return 0;
}

int hs_buf_append(struct hs_buf *b, const void *data, size_t n)
{
	int rc = hs_buf_reserve(b, n);
	if (rc < 0)
		return rc;
	if (n)
		memcpy(b->data + b->len, data, n);
	b->len += n;
	return 0;
}

int hs_buf_append_str(struct hs_buf *b, const char *s)
{
	return hs_buf_append(b, s, strlen(s));
}

int hs_buf_append_byte(struct hs_buf *b, uint8_t byte)
{
	return hs_buf_append(b, &byte, 1);
}

int hs_buf_append_json(struct hs_buf *b, const char *s)
{
	size_t n = strlen(s), len;
	int rc = hs_buf_append_byte(b, '"');
	for (size_t i = 0; rc == 0 && i < n; i += len) {
		uint32_t cp;
		len = hs_utf8_decode(s + i, n - i, &cp);
		if (len == 0) {
			len = 1;
			rc = hs_buf_append_byte(b, '?');
		} else if (cp == '"' || cp == '\\') {
			rc = hs_buf_printf(b, "\\%c", (char)cp);
		} else if (cp < 0x20 || cp == 0x7f) {
			rc = hs_buf_printf(b, "\\u%04x", cp);
		} else {
			rc = hs_buf_append(b, s + i, len);
		}
	}
	return rc < 0 ? rc : hs_buf_append_byte(b, '"');
}

int hs_buf_printf(struct hs_buf *b, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	int n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (n < 0)
		return -EINVAL;
	int rc = hs_buf_reserve(b, (size_t)n + 1);
	if (rc < 0)
		return rc;
	va_start(args, fmt);
	(void)vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, args); /* the same text as measured */
	va_end(args);
	b->len += (size_t)n;
	return 0;
}

void hs_buf_consume(struct hs_buf *b, size_t n)
{
	hs_assert(n <= b->len);
	if (n == 0)
		return;
	memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
}

const char *hs_buf_cstr(struct hs_buf *b)
{
	if (b->len == b->cap) {
		size_t cap = b->cap + 1;
		uint8_t *data = realloc(b->data, cap);
		if (!data)
			return NULL;
		b->data = data;
		b->cap = cap;
	}
	b->data[b->len] = '\0';
	return (const char *)b->data;
}
