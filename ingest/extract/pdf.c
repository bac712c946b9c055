#include "ingest/extract/pdf.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include <poppler.h>

#include "base/utf8.h"
#include "ingest/extract/format.h"
#include "ingest/outline.h"

#define HEADING_CHARS_MAX 60
#define TITLE_CHARS_MIN 5
#define HEADING_RATIO 1.25f /* a line this much taller than the body's is a heading */

struct line {
	uint32_t start, end; /* of struct lines.text */
	uint32_t page;
	float x0, y0, x1, y1; /* points from the page's top left; all 0 where unknown */
	uint32_t chars;
};

struct lines {
	struct hs_buf text; /* the lines' text, one after another */
	struct line *items;
	size_t count, cap;
};

static void lines_finish(struct lines *l)
{
	hs_buf_finish(&l->text);
	free(l->items);
}

static float height(const struct line *l)
{
	return l->y1 - l->y0;
}

static int add_line(struct lines *l, const char *s, size_t n, const PopplerRectangle *boxes, uint32_t page)
{
	size_t blank = 0;
	while (blank < n && (s[blank] == ' ' || s[blank] == '\t' || s[blank] == '\f' || s[blank] == '\r'))
		blank++;
	if (blank == n)
		return 0;
	if (l->count == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 256;
		struct line *items = realloc(l->items, cap * sizeof *items);
		if (!items)
			return -ENOMEM;
		l->items = items;
		l->cap = cap;
	}
	struct line line = {.start = (uint32_t)l->text.len, .page = page, .chars = (uint32_t)hs_utf8_count(s, n)};
	int rc = hs_buf_append(&l->text, s, n);
	if (rc < 0)
		return rc;
	line.end = (uint32_t)l->text.len;
	bool first = true;
	for (uint32_t i = 0; boxes && i < line.chars; i++) {
		const PopplerRectangle *b = &boxes[i];
		float x0 = (float)fmin(b->x1, b->x2), x1 = (float)fmax(b->x1, b->x2);
		float y0 = (float)fmin(b->y1, b->y2), y1 = (float)fmax(b->y1, b->y2);
		if (!isfinite(x0) || !isfinite(x1) || !isfinite(y0) || !isfinite(y1))
			continue;
		line.x0 = first ? x0 : fminf(line.x0, x0);
		line.x1 = first ? x1 : fmaxf(line.x1, x1);
		line.y0 = first ? y0 : fminf(line.y0, y0);
		line.y1 = first ? y1 : fmaxf(line.y1, y1);
		first = false;
	}
	l->items[l->count++] = line;
	return 0;
}

/* One page's lines, in the order in which poppler reads. */
static int read_page(PopplerDocument *pdf, int index, struct lines *l)
{
	PopplerPage *page = poppler_document_get_page(pdf, index);
	if (!page)
		return 0; /* a damaged page of an otherwise readable document */
	char *text = poppler_page_get_text(page);
	PopplerRectangle *boxes = NULL;
	guint n_boxes = 0;
	int rc = 0;
	if (text && *text) {
		size_t n = strlen(text);
		if (!poppler_page_get_text_layout(page, &boxes, &n_boxes) || n_boxes != hs_utf8_count(text, n)) {
			g_free(boxes);
			boxes = NULL; /* the text stays without its places */
		}
		uint32_t at_char = 0;
		for (size_t at = 0; rc == 0 && at <= n;) {
			const char *stop = memchr(text + at, '\n', n - at);
			size_t end = stop ? (size_t)(stop - text) : n;
			uint32_t chars = (uint32_t)hs_utf8_count(text + at, end - at);
			if (hs_utf8_valid(text + at, end - at, NULL))
				rc = add_line(l, text + at, end - at, boxes ? boxes + at_char : NULL, (uint32_t)index + 1);
			at_char += chars + 1;
			at = end + 1;
		}
	}
	g_free(boxes);
	g_free(text);
	g_object_unref(page);
	return rc;
}

/* The height of the lines in which most characters stand, rounded to half points; 0 where nothing is known. */
static float body_height(const struct lines *l)
{
	uint64_t chars[256] = {0};
	for (size_t i = 0; i < l->count; i++) {
		float h = height(&l->items[i]) * 2;
		if (h > 0 && h < 255)
			chars[(int)lroundf(h)] += l->items[i].chars;
	}
	size_t best = 0;
	for (size_t i = 1; i < HS_ARRAY_LEN(chars); i++) {
		if (chars[i] > chars[best])
			best = i;
	}
	return (float)best / 2;
}

/* "3.1.2 動物数": at least two numbers with dots between, then a space. */
static bool starts_section(const char *s, size_t n)
{
	size_t numbers = 0, i = 0;
	for (;;) {
		size_t from = i;
		while (i < n && ((s[i] >= '0' && s[i] <= '9') || (n - i >= 3 && memcmp(s + i, "０", 3) >= 0 && memcmp(s + i, "９", 3) <= 0)))
			i += s[i] >= '0' && s[i] <= '9' ? 1 : 3;
		if (i == from)
			break;
		numbers++;
		if (i < n && s[i] == '.')
			i++;
		else if (n - i >= 3 && memcmp(s + i, "．", 3) == 0)
			i += 3;
		else
			break;
	}
	return numbers >= 2 && i < n && (s[i] == ' ' || (n - i >= 3 && memcmp(s + i, "　", 3) == 0));
}

/* Lines that begin an item or a rule of their own. */
static bool starts_item(const char *s, size_t n)
{
	static const char *const marks[] = {"・", "●", "○", "■", "□", "◆", "◇", "※", "▪", "•", "➢", "✓", "①", "②", "③", "④", "⑤", "⑥",
					    "⑦", "⑧", "⑨", "(1", "(2", "(3", "(4", "(5", "(6", "(7", "(8", "(9", "（1", "（2", "（3", "（１",
					    "（２", "（３", "- ", "– "};
	for (size_t i = 0; i < HS_ARRAY_LEN(marks); i++) {
		size_t len = strlen(marks[i]);
		if (len <= n && memcmp(s, marks[i], len) == 0)
			return true;
	}
	return starts_section(s, n) || hs_outline_line(s, n, NULL) != HS_OUTLINE_NONE || hs_outline_caption(s, n);
}

static bool ends_sentence(const char *s, size_t n)
{
	while (n > 0 && s[n - 1] == ' ')
		n--;
	return n >= 3 && (memcmp(s + n - 3, "。", 3) == 0 || memcmp(s + n - 3, "．", 3) == 0);
}

/* Does line b go on with the paragraph whose last line is a? left, right: the paragraph's edges so far. */
static bool goes_on(const struct lines *l, const struct line *a, const struct line *b, float left, float right)
{
	const char *text = (const char *)l->text.data;
	float ha = height(a), hb = height(b);
	if (a->page != b->page || ha <= 0 || hb <= 0 || starts_item(text + b->start, b->end - b->start))
		return false;
	if (hs_outline_line(text + a->start, a->end - a->start, NULL) != HS_OUTLINE_NONE &&
	    hs_outline_line(text + a->start, a->end - a->start, NULL) < HS_OUTLINE_ARTICLE)
		return false; /* a chapter's heading stands alone */
	if (ha > hb * 1.25f || hb > ha * 1.25f)
		return false;
	float gap = b->y0 - a->y1, overlap = fminf(a->x1, b->x1) - fmaxf(a->x0, b->x0);
	if (gap > 0.9f * ha || gap < -0.6f * ha || overlap < 0.3f * fminf(a->x1 - a->x0, b->x1 - b->x0))
		return false;
	bool full = a->x1 >= fmaxf(right, b->x1) - 1.6f * ha;
	if (!full)
		return false;
	return !(ends_sentence(text + a->start, a->end - a->start) && b->x0 > left + 0.7f * hb);
}

static uint32_t heading_level(const struct line *first, size_t n_lines, uint32_t chars, float body)
{
	float ratio = body > 0 ? height(first) / body : 0;
	if (n_lines > 2 || chars > HEADING_CHARS_MAX || ratio < HEADING_RATIO)
		return 0;
	return ratio >= 2.0f ? 1 : ratio >= 1.5f ? 2 : 3;
}

struct title { /* the tallest heading of the first page, for documents that name none */
	char text[HEADING_CHARS_MAX * 4 + 8];
	size_t len;
	float height;
};

static int add_paragraph(const struct lines *l, size_t from, size_t to, float body, struct hs_builder *b, struct title *title)
{
	const char *text = (const char *)l->text.data;
	HS_BUF_AUTO joined = HS_BUF_INIT;
	struct hs_block like = {.page = l->items[from].page};
	struct line box = l->items[from];
	uint32_t chars = 0;
	int rc = 0;
	for (size_t i = from; rc == 0 && i < to; i++) {
		const struct line *line = &l->items[i];
		rc = hs_join_line(&joined, text + line->start, line->end - line->start);
		chars += line->chars;
		box.x0 = fminf(box.x0, line->x0), box.y0 = fminf(box.y0, line->y0);
		box.x1 = fmaxf(box.x1, line->x1), box.y1 = fmaxf(box.y1, line->y1);
	}
	if (rc < 0)
		return rc;
	like.box[0] = box.x0, like.box[1] = box.y0, like.box[2] = box.x1, like.box[3] = box.y1;
	like.level = heading_level(&l->items[from], to - from, chars, body);
	like.kind = like.level ? HS_BLOCK_HEADING : HS_BLOCK_PARAGRAPH;
	float tall = height(&l->items[from]);
	if (like.level && like.page == 1 && tall > title->height && chars >= TITLE_CHARS_MIN && joined.len <= sizeof title->text) {
		memcpy(title->text, joined.data, joined.len);
		title->len = joined.len;
		title->height = tall;
	}
	hs_builder_add(b, &like, (const char *)joined.data, joined.len);
	return 0;
}

static int build(const struct lines *l, struct hs_builder *b)
{
	float body = body_height(l);
	struct title title = {.height = 0};
	int rc = 0;
	for (size_t from = 0; rc == 0 && b->failed == 0 && from < l->count;) {
		size_t to = from + 1;
		float left = l->items[from].x0, right = l->items[from].x1;
		while (to < l->count && goes_on(l, &l->items[to - 1], &l->items[to], left, right)) {
			left = fminf(left, l->items[to].x0);
			right = fmaxf(right, l->items[to].x1);
			to++;
		}
		rc = add_paragraph(l, from, to, body, b, &title);
		from = to;
	}
	hs_builder_title(b, title.text, title.len); /* behind one that the file names */
	return rc;
}

/* What programs write as a title when nobody gave one is worse than none. */
static bool real_title(const char *s)
{
	static const char *const junk[] = {"<", "Microsoft ", "PowerPoint ", "untitled", "Untitled", "スライド 1", "名称未設定"};
	for (size_t i = 0; i < HS_ARRAY_LEN(junk); i++) {
		if (strncmp(s, junk[i], strlen(junk[i])) == 0)
			return false;
	}
	size_t n = strlen(s);
	static const char *const endings[] = {".doc", ".docx", ".ppt", ".pptx", ".xls", ".xlsx", ".indd", ".ai", ".jtd", ".pdf"};
	for (size_t i = 0; i < HS_ARRAY_LEN(endings); i++) {
		size_t len = strlen(endings[i]);
		if (n >= len && strcmp(s + n - len, endings[i]) == 0)
			return false;
	}
	return hs_utf8_valid(s, n, NULL);
}

static int open_pdf(const struct hs_extract_input *in, PopplerDocument **ret, struct hs_err *err)
{
	if (in->len > HS_EXTRACT_PDF_MAX)
		return hs_fail(err, EFBIG, "doc.too_large", hs_document_hint("doc.too_large"), "%s: %zu MiB, at most %u MiB", in->name,
			       in->len >> 20, HS_EXTRACT_PDF_MAX >> 20);
	if (!hs_extract_is_pdf(in->data, in->len))
		return hs_fail(err, EINVAL, "doc.type_mismatch", hs_document_hint("doc.type_mismatch"), "%s: no PDF header", in->name);
	GBytes *bytes = g_bytes_new_static(in->data, in->len);
	GError *failure = NULL;
	PopplerDocument *pdf = poppler_document_new_from_bytes(bytes, NULL, &failure);
	g_bytes_unref(bytes); /* the document keeps its own reference */
	if (pdf) {
		*ret = pdf;
		return 0;
	}
	bool encrypted = g_error_matches(failure, POPPLER_ERROR, POPPLER_ERROR_ENCRYPTED);
	g_clear_error(&failure);
	if (encrypted)
		return hs_fail(err, EACCES, "doc.encrypted_pdf", hs_document_hint("doc.encrypted_pdf"), "%s", in->name);
	return hs_fail(err, EINVAL, "doc.damaged_pdf", hs_document_hint("doc.damaged_pdf"), "%s", in->name);
}

static int read_document(PopplerDocument *pdf, const struct hs_extract_input *in, struct hs_document *ret, struct hs_err *err)
{
	int n_pages = poppler_document_get_n_pages(pdf), rc = 0;
	if (n_pages <= 0 || (uint32_t)n_pages > HS_DOCUMENT_PAGES_MAX)
		return hs_fail(err, EINVAL, "doc.damaged_pdf", hs_document_hint("doc.damaged_pdf"), "%s: %d pages", in->name, n_pages);
	struct lines lines = {.text.limit = HS_DOCUMENT_TEXT_MAX};
	struct hs_builder builder = {0};
	char *title = poppler_document_get_title(pdf);
	if (title && real_title(title))
		hs_builder_title(&builder, title, strlen(title));
	g_free(title);
	for (int i = 0; rc == 0 && i < n_pages; i++)
		rc = read_page(pdf, i, &lines);
	if (rc == 0 && lines.count == 0)
		rc = hs_fail(err, ENODATA, "doc.no_text", hs_document_hint("doc.no_text"), "%s: %d pages", in->name, n_pages);
	else if (rc == 0)
		rc = build(&lines, &builder);
	lines_finish(&lines);
	if (rc == -EMSGSIZE)
		builder.failed = rc;
	else if (rc < 0) {
		hs_builder_drop(&builder);
		if (rc == -ENOMEM)
			(void)hs_fail(err, ENOMEM, "doc.extractor_memory", hs_document_hint("doc.extractor_memory"), "%s", in->name);
		return rc;
	}
	return hs_builder_finish(&builder, in->name, "pdf", "PDF", "pdf/1", (uint32_t)n_pages, ret, err);
}

int hs_extract_pdf(const struct hs_extract_input *in, struct hs_document *ret, struct hs_err *err)
{
	PopplerDocument *pdf = NULL;
	int rc = open_pdf(in, &pdf, err);
	if (rc < 0)
		return rc;
	rc = read_document(pdf, in, ret, err);
	g_object_unref(pdf);
	return rc;
}

void hs_extract_pdf_prepare(void)
{
	/* The smallest PDF with a line of text: runs through the parser, the fonts and the layout once. */
	static const char sample[] =
		"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
		"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>endobj\n"
		"4 0 obj<</Length 33>>stream\nBT /F 9 Tf 9 9 Td (sample) Tj ET\n\nendstream endobj\n"
		"5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj\ntrailer<</Root 1 0 R>>\n";
	const struct hs_extract_input in = {.data = (const uint8_t *)sample, .len = sizeof sample - 1, .name = "sample", .media = ""};
	struct hs_document d = {0};
	if (hs_extract_pdf(&in, &d, NULL) == 0)
		hs_document_finish(&d);
}
