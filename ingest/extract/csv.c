/* CSV (RFC 4180) and its tab and semicolon kin: the first row is the header where it names columns; cells joined by tabs. */
#include <errno.h>
#include <string.h>

#include "ingest/extract/format.h"

#define HEADER_LOOK 4096 /* bytes of the first line in which the separator is sought */

static char find_separator(const char *text, size_t n)
{
	size_t counts[3] = {0};
	static const char separators[] = {',', '\t', ';'};
	bool quoted = false;
	for (size_t i = 0; i < HS_MIN(n, (size_t)HEADER_LOOK); i++) {
		quoted ^= text[i] == '"';
		if (!quoted && (text[i] == '\n' || text[i] == '\r'))
			break;
		for (size_t k = 0; !quoted && k < 3; k++)
			counts[k] += text[i] == separators[k];
	}
	size_t best = 0;
	for (size_t k = 1; k < 3; k++) {
		if (counts[k] > counts[best])
			best = k;
	}
	return separators[best];
}

struct row {
	struct hs_buf cells; /* joined by tabs */
	size_t count;        /* cells */
	bool numeric, hollow; /* a cell that is a number; a cell that is empty */
};

static void look_at_cell(struct row *row, size_t start)
{
	const char *s = (const char *)row->cells.data + start;
	size_t n = row->cells.len - start, digits = 0, others = 0;
	for (size_t i = 0; i < n; i++) {
		digits += s[i] >= '0' && s[i] <= '9';
		others += !strchr("0123456789+-., %$/:", s[i]);
	}
	row->numeric = row->numeric || (digits > 0 && others == 0);
	row->hollow = row->hollow || n == 0;
}

/* Line ends and tabs inside a cell become spaces: the row is one line of tab-joined cells. */
static int put_char(struct row *row, char c)
{
	return hs_buf_append_byte(&row->cells, (uint8_t)(c == '\n' || c == '\r' || c == '\t' ? ' ' : c));
}

/* One record from *at on. 1: a row, 0: the end, -EINVAL: a quote is never closed. */
static int next_row(const char *text, size_t n, size_t *at, char separator, struct row *row)
{
	size_t i = *at, cell = 0;
	row->cells.len = 0;
	row->count = 0;
	row->numeric = row->hollow = false;
	if (i >= n)
		return 0;
	int rc = 0;
	while (rc == 0) {
		if (i < n && text[i] == '"') {
			for (i++; rc == 0; i++) {
				if (i >= n)
					return -EINVAL;
				if (text[i] == '"' && (i + 1 >= n || text[i + 1] != '"'))
					break;
				i += text[i] == '"';
				rc = put_char(row, text[i]);
			}
			i++;
		}
		while (rc == 0 && i < n && text[i] != separator && text[i] != '\n' && text[i] != '\r')
			rc = put_char(row, text[i++]);
		if (rc < 0)
			return rc;
		look_at_cell(row, cell);
		row->count++;
		if (i >= n || text[i] != separator)
			break;
		i++;
		rc = hs_buf_append_byte(&row->cells, '\t');
		cell = row->cells.len;
	}
	if (i < n)
		i += text[i] == '\r' && i + 1 < n && text[i + 1] == '\n' ? 2 : 1;
	*at = i;
	return rc < 0 ? rc : 1;
}

int hs_extract_csv(struct hs_source *s, struct hs_builder *b, struct hs_err *err)
{
	const char *text = (const char *)s->text.data;
	size_t n = s->text.len, at = 0, number = 0;
	char separator = find_separator(text, n);
	struct row row = {0};
	int rc = 0;
	while (b->failed == 0) {
		size_t start = at;
		rc = next_row(text, n, &at, separator, &row);
		if (rc <= 0)
			break;
		bool header = number++ == 0 && !row.numeric && !row.hollow && row.count > 1 && at < n;
		struct hs_block like = {.kind = header ? HS_BLOCK_TABLE_HEADER : HS_BLOCK_TABLE_ROW};
		size_t end = at;
		while (end > start && (text[end - 1] == '\n' || text[end - 1] == '\r'))
			end--;
		hs_source_range(s, start, end, &like.src_start, &like.src_end);
		hs_builder_add(b, &like, (const char *)row.cells.data, row.cells.len);
	}
	hs_buf_finish(&row.cells);
	if (rc == -EINVAL)
		return hs_fail(err, EINVAL, "doc.csv_quote", hs_document_hint("doc.csv_quote"), "%s: row %zu", s->in->name, number + 1);
	return rc < 0 ? rc : 0;
}
