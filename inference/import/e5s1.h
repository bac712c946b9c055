/*
 * Import of the E5S1 file of multilingual-e5-small (docs/formats/e5s1.md) as GGUF of architecture "bert", with the names
 * and keys that other readers of GGUF use, too. The same input gives the same bytes.
 *
 * The normaliser's map has single code points only; what the model was trained on also joined sequences (か and a voiced
 * mark, half-width kana with theirs). The importer adds those from Unicode's own canonical decompositions.
 */
#ifndef HISHO_INFERENCE_IMPORT_E5S1_H
#define HISHO_INFERENCE_IMPORT_E5S1_H

#include "base/err.h"
#include "inference/gguf/writer.h"

typedef void (*hs_import_progress_fn)(void *arg, uint64_t done, uint64_t total); /* bytes written */

/* Is this the beginning of an E5S1 file? For choosing the importer. */
bool hs_e5s1_is(const void *head, size_t n);

/* Check all of data and fill w. Tensor data point into data. -EINVAL with err naming the field; -ENOMEM. */
int hs_e5s1_convert(const void *data, size_t n, struct hs_gguf_writer *w, struct hs_err *err) HS_MUST_CHECK;

/* From file to file; path_out appears whole and synced, or not at all. progress may be NULL. */
int hs_e5s1_import(const char *path_in, const char *path_out, hs_import_progress_fn progress, void *arg,
		   struct hs_err *err) HS_MUST_CHECK;

#endif
