/* What the readers of the formats share: the decoded source, and the builder of a document. For ingest/extract/ only. */
#ifndef HISHO_INGEST_EXTRACT_FORMAT_H
#define HISHO_INGEST_EXTRACT_FORMAT_H

#include "base/buf.h"
#include "ingest/extract/extract.h"

/* The source as UTF-8, with the way back to its bytes. */
struct hs_source {
	const struct hs_extract_input *in;
	struct hs_buf text; /* decoded; line ends as they were */
	const char *charset;
	/* where the last look at the way back ended: lines keep their number through decoding, so they carry the map */
	size_t line_text, line_bytes;
};

int hs_source_open(struct hs_source *s, const struct hs_extract_input *in, const char *charset_hint,
		   struct hs_err *err) HS_MUST_CHECK;
void hs_source_finish(struct hs_source *s);

/*
 * Source bytes behind text[start, end): exact for UTF-8; whole lines for other charsets. Calls with rising start are
 * cheap together.
 */
void hs_source_range(struct hs_source *s, size_t start, size_t end, uint64_t *ret_start, uint64_t *ret_end);

/* One line at *at, without its end (LF, CR, CR LF, FF), which *at passes. False at the end. */
bool hs_source_line(const char *text, size_t n, size_t *at, size_t *ret_start, size_t *ret_end);

struct hs_builder { /* zeroed; the first failure stays and is told at the end */
	struct hs_buf text;
	struct hs_block *blocks;
	size_t count, cap;
	char title[HS_DOCUMENT_TITLE_MAX + 1];
	int failed;
};

/*
 * Append a block: s becomes canonical text (line ends to LF, control characters to spaces, white space trimmed at both ends;
 * a code block keeps its indentation). `like` gives kind, level, page, source range and box. Nothing where s is blank.
 */
void hs_builder_add(struct hs_builder *b, const struct hs_block *like, const char *s, size_t n);

/* White space collapsed, cut to the limit; the first title stays. */
void hs_builder_title(struct hs_builder *b, const char *s, size_t n);

/* The document; the builder is empty after it, failed or not. name: for errors. */
int hs_builder_finish(struct hs_builder *b, const char *name, const char *format, const char *charset, const char *extractor,
		      uint32_t n_pages, struct hs_document *ret, struct hs_err *err) HS_MUST_CHECK;
void hs_builder_drop(struct hs_builder *b);

/*
 * Append a line to a paragraph that earlier lines began: nothing between two characters of Japanese, whose lines are
 * broken anywhere, a space elsewhere, and a Latin word that a hyphen broke whole again.
 */
int hs_join_line(struct hs_buf *paragraph, const char *line, size_t n) HS_MUST_CHECK;

/* Is cp a character of a script written without spaces between words? */
bool hs_wide_char(uint32_t cp);

int hs_extract_text(struct hs_source *s, struct hs_builder *b, struct hs_err *err) HS_MUST_CHECK;
int hs_extract_markdown(struct hs_source *s, struct hs_builder *b, struct hs_err *err) HS_MUST_CHECK;
int hs_extract_html(struct hs_source *s, struct hs_builder *b, struct hs_err *err) HS_MUST_CHECK;
int hs_extract_csv(struct hs_source *s, struct hs_builder *b, struct hs_err *err) HS_MUST_CHECK;

/* The charset that an HTML file's first bytes declare, or false. */
bool hs_html_charset(const uint8_t *data, size_t n, char ret[static 32]);

#endif
