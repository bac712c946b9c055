/*
 * PDF by poppler-glib. Poppler is GPL: only hisho-extract-pdf is linked with this, a program of its own that talks to the
 * rest through a pipe.
 */
#ifndef HISHO_INGEST_EXTRACT_PDF_H
#define HISHO_INGEST_EXTRACT_PDF_H

#include "ingest/extract/extract.h"

/*
 * As hs_extract_document, for a PDF: blocks are paragraphs in reading order with page and box; lines of a paragraph are joined.
 * -EFBIG "doc.too_large"; -EACCES "doc.encrypted_pdf"; -EINVAL "doc.damaged_pdf", "doc.type_mismatch"; -ENODATA "doc.no_text".
 */
int hs_extract_pdf(const struct hs_extract_input *in, struct hs_document *ret, struct hs_err *err) HS_MUST_CHECK;

/* Load what poppler reads lazily, before a jail closes the file system. */
void hs_extract_pdf_prepare(void);

#endif
