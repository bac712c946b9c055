#include "ingest/chunk.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "ingest/outline.h"
#include "text/sentence.h"

#define PATH_MAX_DEPTH 80     /* levels rise strictly: HS_DOCUMENT_LEVEL_MAX marked up ones and those of the outline */
#define OUTLINE_LEVEL 100     /* plain lines of a regulation stand below any marked-up heading */
#define PATH_ELEMENT_MAX 150  /* bytes of one heading in a context */
#define HEADER_ROW_MAX 600    /* bytes of a table's header row in a context */

struct place { /* a heading above the text */
	uint32_t level;
	uint32_t start, end; /* of the canonical text */
	uint32_t page;
	bool used;    /* some chunk has it in its context */
	bool article;
};

enum part_kind { PART_PROSE, PART_LIST, PART_CODE, PART_ROW };

struct chunker {
	const struct hs_document *d;
	struct hs_chunks *out;
	struct hs_err *err;
	const char *title; /* under which it is filed, or "" */
	uint32_t max, overlap;
	struct place path[PATH_MAX_DEPTH];
	size_t depth;
	const struct hs_block *header; /* the table's header row that stands above, or NULL */
	/* the open chunk; chars 0: none */
	uint32_t start, end, chars, page;
	uint32_t last_start, last_page; /* of its last part */
	enum part_kind last_kind;
};

static uint32_t count_chars(const struct chunker *c, uint32_t start, uint32_t end)
{
	return (uint32_t)hs_utf8_count(c->d->text + start, end - start);
}

/* One line of at most max bytes: line ends and tabs become spaces. */
static int put_line(struct hs_buf *out, const char *s, size_t n, size_t max)
{
	if (n > max)
		n = hs_utf8_cut(s, max);
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = hs_buf_append_byte(out, (uint8_t)(s[i] == '\n' || s[i] == '\t' ? ' ' : s[i]));
	return rc;
}

static size_t skip_spaces(const char *s, size_t n)
{
	size_t i = 0;
	while (i < n) {
		if (s[i] == ' ' || s[i] == '\n' || s[i] == '\t')
			i++;
		else if (n - i >= 3 && memcmp(s + i, "　", 3) == 0)
			i += 3;
		else
			break;
	}
	return i;
}

/* Is the heading the document's title again? Titles have their spaces collapsed. */
static bool is_title(const char *title, const char *s, size_t n)
{
	size_t left = strlen(title);
	for (;;) {
		size_t skip = skip_spaces(title, left);
		title += skip, left -= skip;
		skip = skip_spaces(s, n);
		s += skip, n -= skip;
		if (n == 0 || left == 0)
			return n == left;
		if (*s++ != *title++)
			return false;
		n--, left--;
	}
}

/* "旅費規程 > 第3章 出張旅費 > 第24条（宿泊費）", a line end, and the header row of the table that the chunk is part of. */
static int make_context(struct chunker *c, size_t depth, uint32_t start, char **ret)
{
	const char *text = c->d->text, *own = c->d->title;
	HS_BUF_AUTO b = HS_BUF_INIT;
	bool told = *own == '\0' || is_title(c->title, own, strlen(own));
	for (size_t i = 0; !told && i < depth; i++)
		told = is_title(own, text + c->path[i].start, c->path[i].end - c->path[i].start);
	int rc = told ? 0 : put_line(&b, own, strlen(own), PATH_ELEMENT_MAX);
	for (size_t i = 0; rc == 0 && i < depth; i++) {
		const struct place *p = &c->path[i];
		size_t n = p->end - p->start;
		if (is_title(c->title, text + p->start, n))
			continue; /* it goes with the document */
		if (b.len + n + 3 > HS_CHUNK_CONTEXT_MAX - HEADER_ROW_MAX)
			break;
		if (b.len)
			rc = hs_buf_append_str(&b, " > ");
		if (rc == 0)
			rc = put_line(&b, text + p->start, n, PATH_ELEMENT_MAX);
	}
	if (rc == 0 && c->header && c->header->end <= start) {
		if (b.len)
			rc = hs_buf_append_byte(&b, '\n');
		if (rc == 0)
			rc = put_line(&b, text + c->header->start, c->header->end - c->header->start, HEADER_ROW_MAX - 1);
	}
	if (rc == 0 && !hs_buf_cstr(&b))
		rc = -ENOMEM;
	if (rc < 0)
		return rc;
	*ret = (char *)b.data;
	b = HS_BUF_INIT;
	return 0;
}

static int emit(struct chunker *c, uint32_t start, uint32_t end, size_t depth, uint32_t page)
{
	struct hs_chunks *out = c->out;
	if (out->count == HS_CHUNKS_MAX)
		return hs_fail(c->err, EFBIG, "doc.too_much_text", hs_document_hint("doc.too_much_text"), "more than %d chunks",
			       HS_CHUNKS_MAX);
	if (out->count == out->cap) {
		size_t cap = out->cap ? out->cap * 2 : 16;
		struct hs_chunk *items = realloc(out->items, cap * sizeof *items);
		if (!items)
			return -ENOMEM;
		out->items = items;
		out->cap = cap;
	}
	char *context;
	int rc = make_context(c, depth, start, &context);
	if (rc < 0)
		return rc;
	out->items[out->count++] = (struct hs_chunk){.start = start, .end = end, .context = context, .page = page};
	for (size_t i = 0; i < depth; i++)
		c->path[i].used = true;
	return 0;
}

static int close_chunk(struct chunker *c)
{
	if (c->chars == 0)
		return 0;
	int rc = emit(c, c->start, c->end, c->depth, c->page);
	c->chars = 0;
	return rc;
}

/* Where to cut text that is too long for one chunk and has no sentence's end: behind a comma or space, else anywhere. */
static uint32_t cut_long(const struct chunker *c, uint32_t start, uint32_t end)
{
	uint32_t at = start, good = start;
	for (uint32_t chars = 0; at < end && chars < c->max; chars++) {
		uint32_t cp = 0;
		size_t len = hs_utf8_decode(c->d->text + at, end - at, &cp);
		hs_assert(len > 0); /* documents are checked before they are cut */
		at += (uint32_t)len;
		if (chars > c->max / 2 && (cp == 0x3001 || cp == 0x3002 || cp == ' ' || cp == '\t' || cp == '\n' || cp == 0xff0c))
			good = at;
	}
	return at < end && good > start ? good : at;
}

/* Leave the headings at this level and below; one that nothing stood under is itself what can be found. */
static int leave(struct chunker *c, uint32_t level)
{
	int rc = close_chunk(c);
	while (rc == 0 && c->depth && c->path[c->depth - 1].level >= level) {
		struct place p = c->path[--c->depth];
		if (p.used)
			continue;
		c->header = NULL;
		for (uint32_t at = p.start, stop; rc == 0 && at < p.end; at = stop) {
			stop = cut_long(c, at, p.end);
			rc = emit(c, at, stop, c->depth, p.page);
		}
	}
	return rc;
}

static int enter(struct chunker *c, uint32_t level, uint32_t start, uint32_t end, uint32_t page, bool article)
{
	int rc = leave(c, level);
	if (rc < 0)
		return rc;
	hs_assert(c->depth < PATH_MAX_DEPTH);
	c->path[c->depth++] = (struct place){
		.level = level, .start = start, .end = end, .page = page, .used = article, .article = article};
	return 0;
}

static bool in_article(const struct chunker *c)
{
	return c->depth && c->path[c->depth - 1].article;
}

static void open_chunk(struct chunker *c, uint32_t start, uint32_t end, uint32_t chars, enum part_kind kind, uint32_t page)
{
	c->start = c->last_start = start;
	c->end = end;
	c->chars = chars;
	c->last_kind = kind;
	c->page = c->last_page = page;
}

/* The last sentence of the chunk that is being closed, where it is to be repeated: its start, or the chunk's end. */
static uint32_t overlap_start(const struct chunker *c)
{
	if (c->overlap == 0 || c->last_kind != PART_PROSE || in_article(c))
		return c->end;
	size_t at = c->last_start, last = c->end;
	struct hs_sentence s;
	while (hs_sentence_next(c->d->text, c->end, &at, &s))
		last = s.start;
	if (last <= c->start || count_chars(c, (uint32_t)last, c->end) > c->overlap)
		return c->end;
	return (uint32_t)last;
}

/* Add a part of at most max characters to the open chunk, or close that and begin another. */
static int add_part(struct chunker *c, uint32_t start, uint32_t end, enum part_kind kind, uint32_t page)
{
	uint32_t chars = count_chars(c, start, end);
	uint32_t gap = c->chars ? count_chars(c, c->end, start) : 0;
	if (c->chars && c->chars + gap + chars <= c->max) {
		c->end = end;
		c->chars += gap + chars;
		c->last_start = start;
		c->last_page = page;
		c->last_kind = kind;
		return 0;
	}
	uint32_t last_end = c->end, last_page = c->last_page;
	uint32_t again = c->chars && kind == PART_PROSE ? overlap_start(c) : last_end;
	int rc = close_chunk(c);
	if (rc < 0)
		return rc;
	uint32_t extra = again < last_end ? count_chars(c, again, last_end) + gap : 0;
	if (extra && extra + chars <= c->max) {
		open_chunk(c, again, end, extra + chars, kind, last_page);
		c->last_start = start;
		c->last_page = page;
	} else {
		open_chunk(c, start, end, chars, kind, page);
	}
	return 0;
}

static int add_pieces(struct chunker *c, uint32_t start, uint32_t end, enum part_kind kind, uint32_t page)
{
	int rc = 0;
	while (rc == 0 && start < end) {
		uint32_t stop = cut_long(c, start, end);
		rc = add_part(c, start, stop, kind, page);
		start = stop;
	}
	return rc;
}

/* A block of text: whole where it fits into a chunk, else sentence by sentence. */
static int add_text(struct chunker *c, uint32_t start, uint32_t end, enum part_kind kind, uint32_t page)
{
	if (count_chars(c, start, end) <= c->max)
		return add_part(c, start, end, kind, page);
	int rc = 0;
	size_t at = start;
	struct hs_sentence s;
	while (rc == 0 && hs_sentence_next(c->d->text, end, &at, &s))
		rc = add_pieces(c, (uint32_t)s.start, (uint32_t)s.end, kind, page);
	return rc;
}

/* The first line of [start, end). */
static uint32_t line_end(const struct chunker *c, uint32_t start, uint32_t end)
{
	const char *p = memchr(c->d->text + start, '\n', end - start);
	return p ? (uint32_t)(p - c->d->text) : end;
}

/* A paragraph: perhaps a plain heading, or the start of an article; else text. */
static int add_paragraph(struct chunker *c, const struct hs_block *b)
{
	const char *text = c->d->text;
	uint32_t start = b->start, first_end = line_end(c, start, b->end);
	size_t label = 0;
	if (hs_outline_caption(text + start, first_end - start) && first_end < b->end) /* laws caption the article above it */
		start = first_end + 1;
	uint32_t stop = line_end(c, start, b->end);
	enum hs_outline kind = hs_outline_line(text + start, stop - start, &label);
	int rc = 0;
	if (kind == HS_OUTLINE_ARTICLE) {
		/* "第1条（目的）", or "（目的） 第1条" where the caption stands above: both name it */
		rc = enter(c, OUTLINE_LEVEL + (uint32_t)kind, b->start, start + (uint32_t)label, b->page, true);
	} else if (kind != HS_OUTLINE_NONE && kind < HS_OUTLINE_ARTICLE && stop == b->end && start == b->start) {
		return enter(c, OUTLINE_LEVEL + (uint32_t)kind, b->start, b->end, b->page, false);
	}
	if (rc < 0)
		return rc;
	return add_text(c, b->start, b->end, PART_PROSE, b->page);
}

/* A caption of its own block belongs to the article in the next block: they are one. */
static bool caption_of_next(const struct chunker *c, size_t i)
{
	const struct hs_block *b = &c->d->blocks[i];
	if (i + 1 >= c->d->n_blocks || b->kind != HS_BLOCK_PARAGRAPH || b[1].kind != HS_BLOCK_PARAGRAPH)
		return false;
	return hs_outline_caption(c->d->text + b->start, b->end - b->start) &&
	       hs_outline_line(c->d->text + b[1].start, line_end(c, b[1].start, b[1].end) - b[1].start, NULL) == HS_OUTLINE_ARTICLE;
}

static int add_row(struct chunker *c, const struct hs_block *b)
{
	if (b->kind == HS_BLOCK_TABLE_HEADER) {
		/* not at the end of a chunk whose rows then stand in the next */
		int rc = c->chars + count_chars(c, b->start, b->end) > c->max / 2 ? close_chunk(c) : 0;
		c->header = b;
		if (rc < 0)
			return rc;
	}
	if (count_chars(c, b->start, b->end) <= c->max)
		return add_part(c, b->start, b->end, PART_ROW, b->page);
	return add_pieces(c, b->start, b->end, PART_ROW, b->page);
}

static int add_block(struct chunker *c, size_t *i)
{
	const struct hs_block *b = &c->d->blocks[*i];
	bool row = b->kind == HS_BLOCK_TABLE_HEADER || b->kind == HS_BLOCK_TABLE_ROW;
	int rc = 0;
	if (!row && c->header) {
		/* the rows' context must not fall to what follows */
		rc = c->chars && c->start >= c->header->end ? close_chunk(c) : 0;
		c->header = NULL;
	}
	if (rc == 0 && c->chars >= c->max / 4 && b->page != c->page && !in_article(c) && !row)
		rc = close_chunk(c); /* a new page is often a new subject */
	if (rc < 0)
		return rc;
	if (row)
		return add_row(c, b);
	if (b->kind == HS_BLOCK_HEADING)
		return enter(c, b->level, b->start, b->end, b->page, false);
	if (b->kind == HS_BLOCK_PARAGRAPH && caption_of_next(c, *i)) {
		struct hs_block both = *b;
		both.end = b[1].end;
		(*i)++;
		return add_paragraph(c, &both);
	}
	if (b->kind == HS_BLOCK_PARAGRAPH)
		return add_paragraph(c, b);
	return add_text(c, b->start, b->end, b->kind == HS_BLOCK_CODE ? PART_CODE : PART_LIST, b->page);
}

int hs_chunk(const struct hs_document *d, const struct hs_chunk_options *options, struct hs_chunks *ret, struct hs_err *err)
{
	struct hs_chunks out = {0};
	struct chunker c = {.d = d, .out = &out, .err = err, .title = "", .max = HS_CHUNK_CHARS_DEFAULT};
	if (options && options->title)
		c.title = options->title;
	if (options && options->max_chars)
		c.max = HS_MAX(options->max_chars, (uint32_t)HS_CHUNK_CHARS_MIN);
	c.overlap = options && options->overlap_chars ? options->overlap_chars : c.max / 6;
	if (options && options->overlap_chars == UINT32_MAX)
		c.overlap = 0;
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < d->n_blocks; i++)
		rc = add_block(&c, &i);
	if (rc == 0)
		rc = leave(&c, 0);
	if (rc < 0) {
		hs_chunks_finish(&out);
		return hs_fail_errno(err, rc, "doc.unreadable", "chunks");
	}
	*ret = out;
	return 0;
}
