/*
 * A document as Hisho keeps it: the canonical text of one version, its blocks, and the chunks that are indexed
 * (docs/formats/canonical.md).
 *
 * Canonical text is the decoded, un-normalised UTF-8 of the document, immutable. Citations address it by byte range.
 * Blocks tile it in order and carry the way back to the source: a byte range for text formats, page and box for PDF.
 * Extractors (jailed) encode a document onto a pipe; the tenant process decodes it as hostile bytes.
 */
#ifndef HISHO_TEXT_DOCUMENT_H
#define HISHO_TEXT_DOCUMENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define HS_DOCUMENT_TEXT_MAX (64u * 1024u * 1024u)
#define HS_DOCUMENT_BLOCKS_MAX (1u << 20)
#define HS_DOCUMENT_HASH_LEN 32

enum hs_block_kind {
	HS_BLOCK_PARAGRAPH = 0,
	HS_BLOCK_HEADING = 1,      /* level 1.. */
	HS_BLOCK_LIST_ITEM = 2,    /* level: nesting from 0 */
	HS_BLOCK_TABLE_HEADER = 3, /* one row, cells joined by tabs */
	HS_BLOCK_TABLE_ROW = 4,
	HS_BLOCK_CODE = 5,
};

struct hs_block {
	uint32_t start, end; /* bytes of the canonical text */
	enum hs_block_kind kind;
	uint32_t level;
	uint32_t page;               /* from 1; 0 where the format has no pages */
	uint64_t src_start, src_end; /* bytes of the source; both 0 where the format gives none */
	float box[4];                /* PDF points from the page's top left: x0 y0 x1 y1; zeros where none */
};

#define HS_DOCUMENT_TITLE_MAX 1024 /* bytes */
#define HS_DOCUMENT_NAME_MAX 64    /* of format, charset, extractor */
#define HS_DOCUMENT_LEVEL_MAX 64
#define HS_DOCUMENT_PAGES_MAX (1u << 20)

struct hs_document { /* owns all it points to; hs_document_finish frees */
	char *title;         /* UTF-8, terminated; "" where the document names none */
	char *text;          /* canonical, terminated */
	size_t len;
	struct hs_block *blocks;
	size_t n_blocks;
	char *format;        /* "text", "markdown", "html", "csv", "pdf" */
	char *charset;       /* of the source: "CP932" */
	char *extractor;     /* name and version of the code that read it: "text/1" */
	uint32_t n_pages;
};

struct hs_chunk {
	uint32_t start, end; /* bytes of the canonical text, whole characters */
	char *context;       /* what stands above it: "旅費規程 > 第3章 > 第24条", a table's header row; owned, may be "" */
	uint32_t page;
};

struct hs_chunks {
	struct hs_chunk *items;
	size_t count, cap;
};

void hs_document_finish(struct hs_document *d);
void hs_chunks_finish(struct hs_chunks *c);

/*
 * What every document keeps, whoever made it: valid UTF-8 without NUL, within the limits above; blocks in order, none
 * empty, on whole characters, with nothing but white space outside them; finite boxes. -EBADMSG "doc.malformed" naming
 * the field.
 */
int hs_document_check(const struct hs_document *d, struct hs_err *err) HS_MUST_CHECK;

/* BLAKE2b-256 of the canonical text. */
void hs_document_text_hash(const struct hs_document *d, uint8_t out[static HS_DOCUMENT_HASH_LEN]);

/*
 * The encoding that extractors write and the store keeps. Decoding takes hostile bytes, and gives only what passes
 * hs_document_check. An extractor that failed writes an error in the document's place (hs_document_encode_error):
 * decoding returns it, -num and filled in, its hint looked up by its code and never taken from the bytes.
 */
int hs_document_encode(const struct hs_document *d, struct hs_buf *out) HS_MUST_CHECK;
int hs_document_encode_error(const struct hs_err *failure, struct hs_buf *out) HS_MUST_CHECK;
int hs_document_decode(const void *data, size_t len, struct hs_document *ret, struct hs_err *err) HS_MUST_CHECK;

/* The sentence that goes with a stable "doc." code, in English, to be translated; "" for an unknown code. Every code has one. */
const char *hs_document_hint(const char *code);

#endif
