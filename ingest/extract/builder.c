#include <errno.h>
#include <string.h>

#include "base/utf8.h"
#include "ingest/extract/format.h"

static bool is_space(uint32_t cp)
{
	return cp == ' ' || (cp >= '\t' && cp <= '\r') || cp == 0x3000 || cp == 0xa0 || cp == 0xfeff || cp == 0x200b;
}

static void trim(const char **s, size_t *n, bool keep_indent)
{
	while (*n > 0) {
		uint32_t cp = 0;
		size_t len = hs_utf8_decode(*s, *n, &cp);
		if (len == 0 || !is_space(cp) || (keep_indent && cp != '\n' && cp != '\r'))
			break;
		*s += len, *n -= len;
	}
	while (*n > 0) {
		size_t at = hs_utf8_cut(*s, *n - 1);
		uint32_t cp = 0;
		if (hs_utf8_decode(*s + at, *n - at, &cp) == 0 || !is_space(cp))
			break;
		*n = at;
	}
}

/* CR LF and CR to LF; what is no character of text to a space. */
static int append_clean(struct hs_buf *out, const char *s, size_t n)
{
	int rc = hs_buf_reserve(out, n);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		if (c == '\r') {
			if (i + 1 < n && s[i + 1] == '\n')
				continue;
			c = '\n';
		} else if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f) {
			c = ' ';
		}
		out->data[out->len++] = c;
	}
	return 0;
}

static int add(struct hs_builder *b, const struct hs_block *like, const char *s, size_t n)
{
	if (b->count == HS_DOCUMENT_BLOCKS_MAX)
		return -EMSGSIZE;
	if (b->count == b->cap) {
		size_t cap = b->cap ? b->cap * 2 : 64;
		struct hs_block *blocks = realloc(b->blocks, cap * sizeof *blocks);
		if (!blocks)
			return -ENOMEM;
		b->blocks = blocks;
		b->cap = cap;
	}
	b->text.limit = HS_DOCUMENT_TEXT_MAX;
	int rc = b->count ? hs_buf_append_byte(&b->text, '\n') : 0;
	size_t start = b->text.len;
	if (rc == 0)
		rc = append_clean(&b->text, s, n);
	if (rc < 0)
		return rc;
	struct hs_block *block = &b->blocks[b->count++];
	*block = *like;
	block->start = (uint32_t)start;
	block->end = (uint32_t)b->text.len;
	block->level = HS_MIN(like->level, (uint32_t)HS_DOCUMENT_LEVEL_MAX);
	return 0;
}

void hs_builder_add(struct hs_builder *b, const struct hs_block *like, const char *s, size_t n)
{
	trim(&s, &n, like->kind == HS_BLOCK_CODE);
	size_t left = 0; /* a code block of spaces only is blank, too */
	while (left < n && strchr(" \t\n\r\f\v", s[left]))
		left++;
	if (left == n || b->failed < 0)
		return;
	b->failed = add(b, like, s, n);
}

void hs_builder_title(struct hs_builder *b, const char *s, size_t n)
{
	if (b->title[0])
		return;
	trim(&s, &n, false);
	size_t out = 0;
	bool space = false;
	for (size_t i = 0; i < n;) {
		uint32_t cp = 0;
		size_t len = hs_utf8_decode(s + i, n - i, &cp);
		if (len == 0 || out + len + 1 > HS_DOCUMENT_TITLE_MAX)
			break;
		if (is_space(cp) || cp < 0x20 || cp == 0x7f) {
			space = true;
		} else {
			if (space)
				b->title[out++] = ' ';
			space = false;
			memcpy(b->title + out, s + i, len);
			out += len;
		}
		i += len;
	}
	b->title[out] = '\0';
}

void hs_builder_drop(struct hs_builder *b)
{
	hs_buf_finish(&b->text);
	free(b->blocks);
	*b = (struct hs_builder){0};
}

int hs_builder_finish(struct hs_builder *b, const char *name, const char *format, const char *charset, const char *extractor,
		      uint32_t n_pages, struct hs_document *ret, struct hs_err *err)
{
	int rc = b->failed;
	if (rc == -EMSGSIZE)
		rc = hs_fail(err, EFBIG, "doc.too_much_text", hs_document_hint("doc.too_much_text"), "%s", name);
	else if (rc == 0 && b->count == 0)
		rc = hs_fail(err, ENODATA, "doc.empty", hs_document_hint("doc.empty"), "%s", name);
	struct hs_document d = {.n_pages = n_pages};
	if (rc == 0) {
		d.title = strdup(b->title);
		d.format = strdup(format);
		d.charset = strdup(charset);
		d.extractor = strdup(extractor);
		if (!d.title || !d.format || !d.charset || !d.extractor || !hs_buf_cstr(&b->text))
			rc = -ENOMEM;
	}
	if (rc == 0) {
		d.text = (char *)b->text.data;
		d.len = b->text.len;
		d.blocks = b->blocks;
		d.n_blocks = b->count;
		b->text = HS_BUF_INIT;
		b->blocks = NULL;
		*ret = d;
	} else {
		hs_document_finish(&d);
		if (rc == -ENOMEM)
			(void)hs_fail(err, ENOMEM, "doc.extractor_memory", hs_document_hint("doc.extractor_memory"), "%s", name);
	}
	hs_builder_drop(b);
	return rc;
}

bool hs_wide_char(uint32_t cp)
{
	return (cp >= 0x2e80 && cp <= 0x9fff) || (cp >= 0xf900 && cp <= 0xfaff) || (cp >= 0xfe30 && cp <= 0xfe4f) ||
	       (cp >= 0xff01 && cp <= 0xff9f) || (cp >= 0x20000 && cp <= 0x3ffff);
}

static uint32_t last_char(const uint8_t *s, size_t n)
{
	uint32_t cp = 0;
	size_t at = n ? hs_utf8_cut((const char *)s, n - 1) : 0;
	(void)hs_utf8_decode((const char *)s + at, n - at, &cp); /* 0 where there is none */
	return cp;
}

static bool ascii_letter(uint32_t cp)
{
	return (cp | 0x20) >= 'a' && (cp | 0x20) <= 'z';
}

int hs_join_line(struct hs_buf *paragraph, const char *line, size_t n)
{
	trim(&line, &n, false);
	if (n == 0)
		return 0;
	uint32_t before = last_char(paragraph->data, paragraph->len), first = 0;
	(void)hs_utf8_decode(line, n, &first); /* 0 for what is no character */
	if (before == '-' && ascii_letter(first) && paragraph->len >= 2 && ascii_letter(paragraph->data[paragraph->len - 2])) {
		paragraph->len--;
	} else if (before && !(hs_wide_char(before) && hs_wide_char(first))) {
		int rc = hs_buf_append_byte(paragraph, ' ');
		if (rc < 0)
			return rc;
	}
	return hs_buf_append(paragraph, line, n);
}
