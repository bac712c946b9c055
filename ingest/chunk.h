/*
 * Chunks: the pieces of a document that are indexed and cited, cut by its structure.
 *
 * Headings (marked up, or 第3章 in plain lines) make the context of what stands below them and never lie inside a chunk with
 * text of another section. An article (条) is a unit; a long one is cut between its paragraphs (項). Rows of a table go
 * together, the header row into the context of those that lost it. Long prose is cut between sentences, and the next
 * chunk repeats the last sentence. Each chunk is one byte range of the canonical text. A title that the document gives
 * itself and under which it is not filed goes in front of all contexts.
 */
#ifndef HISHO_INGEST_CHUNK_H
#define HISHO_INGEST_CHUNK_H

#include "base/err.h"
#include "text/document.h"

#define HS_CHUNK_CHARS_DEFAULT 800
#define HS_CHUNK_CHARS_MIN 50
#define HS_CHUNK_CONTEXT_MAX 1024 /* bytes */
#define HS_CHUNKS_MAX 65536       /* of one document */

struct hs_chunk_options {
	uint32_t max_chars;     /* of a chunk, at least HS_CHUNK_CHARS_MIN; 0: HS_CHUNK_CHARS_DEFAULT */
	const char *title;      /* under which the document is filed and found: contexts do not repeat it; NULL: none */
	uint32_t overlap_chars; /* the longest sentence that is repeated; 0: a sixth of max_chars; UINT32_MAX: none */
};

/*
 * ret: zeroed. options: NULL for the defaults. -EFBIG "doc.too_much_text" past HS_CHUNKS_MAX, -ENOMEM; on failure ret
 * holds nothing.
 */
int hs_chunk(const struct hs_document *d, const struct hs_chunk_options *options, struct hs_chunks *ret,
	     struct hs_err *err) HS_MUST_CHECK;

#endif
