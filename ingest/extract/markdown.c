/*
 * Markdown (the common ground of CommonMark and GitHub's tables): headings, lists, tables, code, quotes. What people read
 * becomes canonical text; the marks go.
 */
#include <errno.h>
#include <string.h>

#include "ingest/extract/format.h"
#include "ingest/outline.h"

struct reader {
	struct hs_source *s;
	struct hs_builder *b;
	const char *text;
	size_t n, at;
	struct hs_buf paragraph; /* gathered lines, joined */
	struct hs_block like;
	size_t start, end; /* of what is gathered, in the text */
	bool open;
};

static bool is_punctuation(char c)
{
	return c && strchr("\\`*_{}[]()#+-.!|<>~\"'", c);
}

/* [text](target) or ![text](target) at s: the length of it all and of the text; 0 where there is none. */
static size_t link_at(const char *s, size_t n, size_t *ret_text, size_t *ret_text_len)
{
	size_t i = s[0] == '!' ? 1 : 0;
	if (i >= n || s[i] != '[')
		return 0;
	size_t close = i + 1;
	while (close < n && s[close] != ']' && s[close] != '[')
		close++;
	if (close + 1 >= n || s[close] != ']' || s[close + 1] != '(')
		return 0;
	size_t end = close + 2;
	while (end < n && s[end] != ')')
		end++;
	if (end >= n)
		return 0;
	*ret_text = i + 1;
	*ret_text_len = close - i - 1;
	return end + 1;
}

/* Text without the marks of emphasis, code and links. Underscores stay: identifiers are full of them. */
static int put_inline(struct hs_buf *out, const char *s, size_t n)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < n;) {
		size_t text, text_len, len;
		if (s[i] == '\\' && i + 1 < n && is_punctuation(s[i + 1])) {
			rc = hs_buf_append_byte(out, (uint8_t)s[i + 1]);
			i += 2;
		} else if (s[i] == '`' || (s[i] == '*' && i + 1 < n && s[i + 1] == '*') || (s[i] == '~' && i + 1 < n && s[i + 1] == '~')) {
			i += s[i] == '`' ? 1 : 2;
		} else if (s[i] == '*' && ((i + 1 < n && s[i + 1] != ' ') || (i > 0 && s[i - 1] != ' '))) {
			i++; /* emphasis; a star between spaces is a star */
		} else if ((s[i] == '[' || s[i] == '!') && (len = link_at(s + i, n - i, &text, &text_len))) {
			rc = hs_buf_append(out, s + i + text, text_len);
			i += len;
		} else if (n - i >= 4 && memcmp(s + i, "<br>", 4) == 0) {
			rc = hs_buf_append_byte(out, ' ');
			i += 4;
		} else {
			rc = hs_buf_append_byte(out, (uint8_t)s[i++]);
		}
	}
	return rc;
}

static void fail(struct reader *r, int rc)
{
	if (rc < 0 && r->b->failed == 0)
		r->b->failed = rc;
}

static void flush(struct reader *r)
{
	if (!r->open)
		return;
	hs_source_range(r->s, r->start, r->end, &r->like.src_start, &r->like.src_end);
	if (r->like.kind == HS_BLOCK_CODE) {
		hs_builder_add(r->b, &r->like, (const char *)r->paragraph.data, r->paragraph.len);
	} else {
		HS_BUF_AUTO plain = HS_BUF_INIT;
		fail(r, put_inline(&plain, (const char *)r->paragraph.data, r->paragraph.len));
		if (r->like.kind == HS_BLOCK_HEADING && r->like.level == 1)
			hs_builder_title(r->b, (const char *)plain.data, plain.len);
		hs_builder_add(r->b, &r->like, (const char *)plain.data, plain.len);
	}
	r->paragraph.len = 0;
	r->open = false;
}

static void begin(struct reader *r, enum hs_block_kind kind, uint32_t level, size_t start, size_t end)
{
	flush(r);
	r->like = (struct hs_block){.kind = kind, .level = level};
	r->start = start;
	r->end = end;
	r->open = true;
}

static void one(struct reader *r, enum hs_block_kind kind, uint32_t level, size_t start, size_t end, const char *s, size_t n)
{
	begin(r, kind, level, start, end);
	fail(r, hs_buf_append(&r->paragraph, s, n));
	flush(r);
}

static size_t indent_of(const char *s, size_t n)
{
	size_t columns = 0;
	for (size_t i = 0; i < n && (s[i] == ' ' || s[i] == '\t'); i++)
		columns += s[i] == '\t' ? 4 : 1;
	return columns;
}

static size_t run_of(const char *s, size_t n, char c)
{
	size_t i = 0;
	while (i < n && s[i] == c)
		i++;
	return i;
}

/* The length of a list marker with its space ("- ", "12. "), or 0. */
static size_t marker(const char *s, size_t n)
{
	size_t i = 0;
	if (n && strchr("-*+", s[0]))
		i = 1;
	else
		while (i < n && i < 9 && s[i] >= '0' && s[i] <= '9')
			i++;
	if (i && s[0] >= '0' && s[0] <= '9') {
		if (i >= n || (s[i] != '.' && s[i] != ')'))
			return 0;
		i++;
	}
	return i && i < n && (s[i] == ' ' || s[i] == '\t') ? i + 1 : 0;
}

/* |---|:--:| */
static bool delimiter_row(const char *s, size_t n)
{
	size_t dashes = 0, pipes = 0;
	for (size_t i = 0; i < n; i++) {
		if (!strchr("|-: \t", s[i]))
			return false;
		dashes += s[i] == '-';
		pipes += s[i] == '|';
	}
	return dashes >= 1 && pipes >= 1;
}

static void add_row(struct reader *r, enum hs_block_kind kind, size_t start, size_t end)
{
	const char *s = r->text + start;
	size_t n = end - start, i = indent_of(s, n);
	while (n > i && (s[n - 1] == ' ' || s[n - 1] == '\t'))
		n--;
	if (i < n && s[i] == '|')
		i++;
	if (n > i && s[n - 1] == '|')
		n--;
	HS_BUF_AUTO row = HS_BUF_INIT;
	while (i <= n && r->b->failed == 0) {
		size_t stop = i;
		while (stop < n && (s[stop] != '|' || (stop > i && s[stop - 1] == '\\')))
			stop++;
		size_t from = i, to = stop;
		while (from < to && (s[from] == ' ' || s[from] == '\t'))
			from++;
		while (to > from && (s[to - 1] == ' ' || s[to - 1] == '\t'))
			to--;
		fail(r, put_inline(&row, s + from, to - from));
		if (stop < n)
			fail(r, hs_buf_append_byte(&row, '\t'));
		i = stop + 1;
	}
	struct hs_block like = {.kind = kind};
	hs_source_range(r->s, start, end, &like.src_start, &like.src_end);
	hs_builder_add(r->b, &like, (const char *)row.data, row.len);
}

/* A header row at [start, end) with a delimiter row below: takes the table. */
static bool take_table(struct reader *r, size_t start, size_t end)
{
	size_t at = r->at, next_start, next_end;
	if (!memchr(r->text + start, '|', end - start) || !hs_source_line(r->text, r->n, &at, &next_start, &next_end) ||
	    !delimiter_row(r->text + next_start, next_end - next_start))
		return false;
	flush(r);
	add_row(r, HS_BLOCK_TABLE_HEADER, start, end);
	r->at = at;
	while (hs_source_line(r->text, r->n, &at, &next_start, &next_end) &&
	       memchr(r->text + next_start, '|', next_end - next_start)) {
		add_row(r, HS_BLOCK_TABLE_ROW, next_start, next_end);
		r->at = at;
	}
	return true;
}

static bool take_fence(struct reader *r, const char *s, size_t n)
{
	char c = n ? s[0] : 0;
	size_t width = c == '`' || c == '~' ? run_of(s, n, c) : 0;
	if (width < 3)
		return false;
	size_t start, end;
	begin(r, HS_BLOCK_CODE, 0, r->at, r->at);
	while (hs_source_line(r->text, r->n, &r->at, &start, &end)) {
		const char *line = r->text + start;
		size_t len = end - start, spaces = run_of(line, len, ' ');
		if (run_of(line + spaces, len - spaces, c) >= width)
			break;
		fail(r, hs_buf_append(&r->paragraph, line, len));
		fail(r, hs_buf_append_byte(&r->paragraph, '\n'));
		r->end = end;
	}
	flush(r);
	return true;
}

/* "---" at the very top: YAML in which only the title is of use. */
static void take_front_matter(struct reader *r)
{
	size_t at = 0, start, end, title_start = 0, title_end = 0;
	if (!hs_source_line(r->text, r->n, &at, &start, &end) || end - start != 3 || memcmp(r->text, "---", 3) != 0)
		return;
	while (hs_source_line(r->text, r->n, &at, &start, &end)) {
		const char *line = r->text + start;
		if (end - start == 3 && (memcmp(line, "---", 3) == 0 || memcmp(line, "...", 3) == 0)) {
			while (title_end > title_start && strchr("\"' ", r->text[title_end - 1]))
				title_end--;
			while (title_start < title_end && strchr("\"' ", r->text[title_start]))
				title_start++;
			hs_builder_title(r->b, r->text + title_start, title_end - title_start);
			r->at = at;
			return;
		}
		if (end - start > 6 && memcmp(line, "title:", 6) == 0)
			title_start = start + 6, title_end = end;
	}
}

static void take_line(struct reader *r, size_t start, size_t end)
{
	const char *s = r->text + start;
	size_t n = end - start, indent = indent_of(s, n), spaces = 0, mark;
	while (spaces < n && (s[spaces] == ' ' || s[spaces] == '\t'))
		spaces++;
	s += spaces, n -= spaces;
	while (n > 0 && s[0] == '>') { /* a quote is read as what it quotes */
		s++, n--;
		while (n > 0 && s[0] == ' ')
			s++, n--;
	}
	if (n == 0) {
		flush(r);
		return;
	}
	size_t hashes = run_of(s, n, '#');
	if (hashes >= 1 && hashes <= 6 && (hashes == n || s[hashes] == ' ' || s[hashes] == '\t')) {
		while (n > hashes && (s[n - 1] == '#' || s[n - 1] == ' '))
			n--;
		one(r, HS_BLOCK_HEADING, (uint32_t)hashes, start, end, s + hashes, n - hashes);
		return;
	}
	if (r->open && r->like.kind == HS_BLOCK_PARAGRAPH && (run_of(s, n, '=') == n || (run_of(s, n, '-') == n && n >= 2))) {
		r->like.kind = HS_BLOCK_HEADING;
		r->like.level = s[0] == '=' ? 1 : 2;
		r->end = end;
		flush(r);
		return;
	}
	if (n >= 3 && (run_of(s, n, '-') == n || run_of(s, n, '*') == n || run_of(s, n, '_') == n)) {
		flush(r);
		return;
	}
	if (take_fence(r, s, n) || take_table(r, start, end))
		return;
	if ((mark = marker(s, n))) {
		begin(r, HS_BLOCK_LIST_ITEM, (uint32_t)(indent / 2), start, end);
		if (s[0] >= '0' && s[0] <= '9') { /* the number says something; the bullet does not */
			fail(r, hs_buf_append(&r->paragraph, s, mark));
		}
		s += mark, n -= mark;
		fail(r, hs_buf_append(&r->paragraph, s, n));
		return;
	}
	if (indent >= 4 && !r->open) {
		begin(r, HS_BLOCK_CODE, 0, start, end);
		fail(r, hs_buf_append(&r->paragraph, r->text + start, end - start));
		flush(r);
		return;
	}
	/* a regulation's own lines are not joined, marked up or not */
	enum hs_outline kind = hs_outline_line(s, n, NULL);
	if (kind != HS_OUTLINE_NONE || hs_outline_caption(s, n))
		flush(r);
	if (!r->open)
		begin(r, HS_BLOCK_PARAGRAPH, 0, start, end);
	fail(r, hs_join_line(&r->paragraph, s, n));
	r->end = end;
	if (kind != HS_OUTLINE_NONE && kind < HS_OUTLINE_ARTICLE)
		flush(r);
}

int hs_extract_markdown(struct hs_source *s, struct hs_builder *b, struct hs_err *err)
{
	struct reader r = {.s = s, .b = b, .text = (const char *)s->text.data, .n = s->text.len};
	take_front_matter(&r);
	size_t start, end;
	while (b->failed == 0 && hs_source_line(r.text, r.n, &r.at, &start, &end))
		take_line(&r, start, end);
	flush(&r);
	hs_buf_finish(&r.paragraph);
	return 0;
}
