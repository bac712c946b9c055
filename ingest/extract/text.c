/*
 * Plain text: paragraphs between blank lines. The lines of regulations (第1章, 第1条) start blocks of their own, and lines
 * that share a separator (tab, " | ") are a table.
 */
#include <string.h>

#include "base/utf8.h"
#include "ingest/extract/format.h"
#include "ingest/outline.h"

#define TABLE_LINES_MIN 3
#define TITLE_MAX_CHARS 60
#define TITLE_LINES_LOOK 8
#define HEADING_LEVEL(kind) ((uint32_t)(kind) + 1) /* level 1 is the document's title */

static bool blank(const char *s, size_t n)
{
	for (size_t i = 0; i < n;) {
		if (s[i] == ' ' || s[i] == '\t' || s[i] == '\v') {
			i++;
		} else if (n - i >= 3 && memcmp(s + i, "　", 3) == 0) {
			i += 3;
		} else {
			return false;
		}
	}
	return true;
}

/* How often the separator stands in the line. */
static size_t cells(const char *s, size_t n, const char *separator)
{
	size_t count = 0, len = strlen(separator);
	for (const char *p = s; (p = memmem(p, n - (size_t)(p - s), separator, len)); p += len)
		count++;
	return count;
}

static void add(struct hs_source *s, struct hs_builder *b, enum hs_block_kind kind, uint32_t level, size_t start, size_t end)
{
	struct hs_block like = {.kind = kind, .level = level};
	hs_source_range(s, start, end, &like.src_start, &like.src_end);
	hs_builder_add(b, &like, (const char *)s->text.data + start, end - start);
}

/* A row with its cells joined by tabs. */
static void add_row(struct hs_source *s, struct hs_builder *b, enum hs_block_kind kind, size_t start, size_t end,
		    const char *separator)
{
	const char *text = (const char *)s->text.data;
	HS_BUF_AUTO row = HS_BUF_INIT;
	size_t len = strlen(separator);
	const char *p = text + start, *stop = text + end;
	for (;;) {
		const char *next = memmem(p, (size_t)(stop - p), separator, len);
		const char *cell_end = next ? next : stop;
		int rc = hs_buf_append(&row, p, (size_t)(cell_end - p));
		if (rc == 0 && next)
			rc = hs_buf_append_byte(&row, '\t');
		if (rc < 0) {
			b->failed = rc;
			return;
		}
		if (!next)
			break;
		p = next + len;
	}
	struct hs_block like = {.kind = kind};
	hs_source_range(s, start, end, &like.src_start, &like.src_end);
	hs_builder_add(b, &like, (const char *)row.data, row.len);
}

struct table {
	const char *separator;
	size_t rows, end; /* end: where the line behind it starts */
};

/* Does a table start at line `at`: several lines with the same number of the same separator? */
static bool find_table(const char *text, size_t n, size_t at, struct table *ret)
{
	static const char *const separators[] = {"\t", " | ", "｜"};
	for (size_t k = 0; k < HS_ARRAY_LEN(separators); k++) {
		struct table t = {.separator = separators[k], .end = at};
		size_t scan = at, columns = 0, start, end;
		while (hs_source_line(text, n, &scan, &start, &end)) {
			size_t count = cells(text + start, end - start, t.separator);
			if (count == 0 || (t.rows && count != columns))
				break;
			columns = count;
			t.rows++;
			t.end = scan;
		}
		if (t.rows >= TABLE_LINES_MIN) {
			*ret = t;
			return true;
		}
	}
	return false;
}

static void add_table(struct hs_source *s, struct hs_builder *b, size_t at, const struct table *t)
{
	for (size_t r = 0; r < t->rows && b->failed == 0; r++) {
		size_t start, end;
		(void)hs_source_line((const char *)s->text.data, s->text.len, &at, &start, &end); /* counted before */
		add_row(s, b, r ? HS_BLOCK_TABLE_ROW : HS_BLOCK_TABLE_HEADER, start, end, t->separator);
	}
}

/* What Japanese business documents call themselves: a line near the top that ends so is the title. */
static const char *const kinds[] = {
	"規程", "規則", "規定", "基準", "要領", "細則", "要項", "内規", "約款", "定款", "方針", "計画", "計画書", "手順", "手順書",
	"マニュアル", "手引き", "手引", "ガイドライン", "議事録", "会議録", "報告", "報告書", "お知らせ", "ご案内", "について", "通知",
	"通達", "契約書", "覚書", "仕様書", "提案書", "稟議書", "誓約書", "一覧", "FAQ",
};

/* The part of a line that may be a title: "夜勤勤務基準" of "夜勤勤務基準（看護部）　2026年4月1日改定". 0 where it is none. */
static size_t title_part(const char *s, size_t n)
{
	static const char *const ends[] = {"（", "(", "　", " ", "〔", "["};
	if (hs_utf8_count(s, n) > TITLE_MAX_CHARS || memmem(s, n, "。", 3))
		return 0;
	for (size_t k = 0; k < HS_ARRAY_LEN(ends); k++) {
		const char *p = memmem(s, n, ends[k], strlen(ends[k]));
		if (p && p > s)
			n = (size_t)(p - s);
	}
	for (size_t k = 0; k < HS_ARRAY_LEN(kinds); k++) {
		size_t len = strlen(kinds[k]);
		if (n > len && memcmp(s + n - len, kinds[k], len) == 0)
			return n;
	}
	return 0;
}

static void find_named_title(struct hs_builder *b)
{
	size_t lines = 0, at = 0, start, end;
	while (lines++ < TITLE_LINES_LOOK && hs_source_line((const char *)b->text.data, b->text.len, &at, &start, &end)) {
		const char *s = (const char *)b->text.data + start;
		while (end - start >= 3 && memcmp(s, "　", 3) == 0)
			s += 3, start += 3;
		size_t n = title_part(s, end - start);
		if (n) {
			hs_builder_title(b, s, n);
			return;
		}
	}
}

/* The first block is the title where it is one short line that stands apart from others to follow. */
static void find_title(struct hs_builder *b, bool apart)
{
	if (b->count < 2 || b->blocks[0].kind != HS_BLOCK_PARAGRAPH || !(apart || b->blocks[1].kind == HS_BLOCK_HEADING))
		return;
	const char *s = (const char *)b->text.data + b->blocks[0].start;
	size_t n = b->blocks[0].end - b->blocks[0].start;
	if (memchr(s, '\n', n) || hs_utf8_count(s, n) > TITLE_MAX_CHARS || memmem(s, n, "。", 3) || memmem(s, n, "、", 3))
		return;
	if (hs_outline_line(s, n, NULL) != HS_OUTLINE_NONE)
		return;
	b->blocks[0].kind = HS_BLOCK_HEADING;
	b->blocks[0].level = 1;
	hs_builder_title(b, s, n);
}

struct gathered { /* the paragraph that is being gathered */
	size_t start, end;
	bool caption; /* it is a caption so far, which belongs to the article below */
};

static void flush(struct hs_source *s, struct hs_builder *b, struct gathered *g)
{
	if (g->end > g->start)
		add(s, b, HS_BLOCK_PARAGRAPH, 0, g->start, g->end);
	*g = (struct gathered){0};
}

int hs_extract_text(struct hs_source *s, struct hs_builder *b, struct hs_err *err)
{
	const char *text = (const char *)s->text.data;
	size_t n = s->text.len, at = 0, start, end;
	struct gathered g = {0};
	bool apart = false; /* a blank line stands behind the first block */
	for (size_t line_at = 0; b->failed == 0 && hs_source_line(text, n, &at, &start, &end); line_at = at) {
		const char *line = text + start;
		size_t len = end - start;
		struct table table;
		if (blank(line, len)) {
			flush(s, b, &g);
			apart = apart || b->count == 1;
			continue;
		}
		enum hs_outline kind = hs_outline_line(line, len, NULL);
		if (kind == HS_OUTLINE_NONE && find_table(text, n, line_at, &table)) {
			flush(s, b, &g);
			add_table(s, b, line_at, &table);
			at = table.end;
			continue;
		}
		bool caption = hs_outline_caption(line, len);
		if (caption || (kind != HS_OUTLINE_NONE && !(kind == HS_OUTLINE_ARTICLE && g.caption)))
			flush(s, b, &g);
		if (kind != HS_OUTLINE_NONE && kind < HS_OUTLINE_ARTICLE) {
			add(s, b, HS_BLOCK_HEADING, HEADING_LEVEL(kind), start, end);
			continue;
		}
		if (g.end == 0)
			g.start = start;
		g.end = end;
		g.caption = caption;
	}
	flush(s, b, &g);
	find_title(b, apart);
	if (b->failed == 0 && b->count > 1)
		find_named_title(b);
	return 0;
}
