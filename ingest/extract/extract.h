/*
 * Extraction: the bytes of a file to a document (canonical text and blocks). Runs in a jailed process that reads one
 * document and dies; what it reads is hostile.
 *
 * One file a format behind one table. PDF is read by a program of its own (ingest/extract/pdf.h), because poppler is GPL:
 * hs_extract_is_pdf says where a file goes.
 */
#ifndef HISHO_INGEST_EXTRACT_EXTRACT_H
#define HISHO_INGEST_EXTRACT_EXTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "text/document.h"

#define HS_EXTRACT_INPUT_MAX (64u * 1024u * 1024u)  /* bytes of a text, HTML, Markdown or CSV file */
#define HS_EXTRACT_PDF_MAX (512u * 1024u * 1024u)   /* bytes of a PDF */
#define HS_EXTRACT_RESULT_MAX (192u * 1024u * 1024u) /* bytes of an encoded document */

struct hs_extract_input {
	const uint8_t *data;
	size_t len;
	const char *name;  /* file name or path, for its extension and for errors; "" where unknown */
	const char *media; /* "text/html; charset=Shift_JIS"; "" where unknown */
};

/* Does the file go to the PDF program? Looks at the first bytes only, never at the name. */
bool hs_extract_is_pdf(const uint8_t *head, size_t n);

/*
 * Read a file. Errors, with codes that hs_document_hint knows:
 * -EFBIG "doc.too_large", "doc.too_much_text"; -ENODATA "doc.empty"; -EILSEQ "doc.charset", "doc.binary";
 * -ENOTSUP "doc.unsupported"; -EINVAL "doc.type_mismatch", "doc.too_deep", "doc.csv_quote"; -ENOMEM "doc.extractor_memory".
 */
int hs_extract_document(const struct hs_extract_input *in, struct hs_document *ret, struct hs_err *err) HS_MUST_CHECK;

#endif
