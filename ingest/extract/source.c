#include <errno.h>
#include <string.h>

#include "ingest/extract/format.h"
#include "text/charset.h"

int hs_source_open(struct hs_source *s, const struct hs_extract_input *in, const char *charset_hint, struct hs_err *err)
{
	/* a byte of half-width katakana becomes three */
	*s = (struct hs_source){.in = in, .text.limit = (size_t)HS_EXTRACT_INPUT_MAX * 3 + 1};
	int rc = hs_charset_decode(in->data, in->len, charset_hint, &s->text, &s->charset, err);
	if (rc == 0 && !hs_buf_cstr(&s->text)) /* terminated, for libraries that want a string */
		rc = -ENOMEM;
	if (rc < 0)
		hs_source_finish(s);
	return rc;
}

void hs_source_finish(struct hs_source *s)
{
	hs_buf_finish(&s->text);
}

static size_t mark_len(const struct hs_source *s)
{
	const uint8_t *p = s->in->data;
	if (s->in->len >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
		return 3;
	if (s->in->len >= 2 && ((p[0] == 0xff && p[1] == 0xfe) || (p[0] == 0xfe && p[1] == 0xff)))
		return 2;
	return 0;
}

/* Behind the next line feed of the source bytes from `at` on; line feeds survive every charset that is read. */
static size_t next_source_line(const struct hs_source *s, size_t at)
{
	const uint8_t *data = s->in->data;
	size_t n = s->in->len;
	bool big = strcmp(s->charset, "UTF-16BE") == 0;
	if (!big && strcmp(s->charset, "UTF-16LE") != 0) {
		const uint8_t *p = at < n ? memchr(data + at, '\n', n - at) : NULL;
		return p ? (size_t)(p - data) + 1 : n;
	}
	for (; at + 1 < n; at += 2) {
		if (data[at] == (big ? 0 : '\n') && data[at + 1] == (big ? '\n' : 0))
			return at + 2;
	}
	return n;
}

void hs_source_range(struct hs_source *s, size_t start, size_t end, uint64_t *ret_start, uint64_t *ret_end)
{
	size_t skip = mark_len(s);
	if (strcmp(s->charset, "UTF-8") == 0) {
		*ret_start = start + skip;
		*ret_end = end + skip;
		return;
	}
	const char *text = (const char *)s->text.data;
	if (start < s->line_text || s->line_bytes < skip) {
		s->line_text = 0;
		s->line_bytes = skip;
	}
	const char *p;
	while ((p = memchr(text + s->line_text, '\n', start - s->line_text))) {
		s->line_text = (size_t)(p - text) + 1;
		s->line_bytes = next_source_line(s, s->line_bytes);
	}
	size_t line = s->line_text, bytes = s->line_bytes;
	*ret_start = bytes;
	do {
		p = line < s->text.len ? memchr(text + line, '\n', s->text.len - line) : NULL;
		line = p ? (size_t)(p - text) + 1 : s->text.len;
		bytes = next_source_line(s, bytes);
	} while (p && line < end);
	*ret_end = bytes;
}

bool hs_source_line(const char *text, size_t n, size_t *at, size_t *ret_start, size_t *ret_end)
{
	if (*at >= n)
		return false;
	size_t i = *at;
	*ret_start = i;
	while (i < n && text[i] != '\n' && text[i] != '\r' && text[i] != '\f')
		i++;
	*ret_end = i;
	if (i < n)
		i += text[i] == '\r' && i + 1 < n && text[i + 1] == '\n' ? 2 : 1;
	*at = i;
	return true;
}
