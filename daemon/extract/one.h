/*
 * One document, in the process that was forked for it: read the descriptor, extract, write the result or the failure
 * (text/document.h), die. Knows no channel and no loop.
 */
#ifndef HISHO_DAEMON_EXTRACT_ONE_H
#define HISHO_DAEMON_EXTRACT_ONE_H

#include "ingest/extract/extract.h"

/* A format's reader: hs_extract_document or hs_extract_pdf. */
typedef int (*hs_extract_reader)(const struct hs_extract_input *in, struct hs_document *ret, struct hs_err *err);

/* 0: output has a document or an encoded failure. Negative errno: output could not be written. input: at most input_max bytes. */
int hs_extract_one(hs_extract_reader reader, int input, int output, const char *name, const char *media,
		   size_t input_max) HS_MUST_CHECK;

#endif
