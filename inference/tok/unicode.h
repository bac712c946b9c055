/* Unicode normal forms of UTF-8 text, by ICU. Internal to tok/. */
#ifndef HISHO_INFERENCE_UNICODE_H
#define HISHO_INFERENCE_UNICODE_H

#include <stdbool.h>

#include "base/buf.h"

/* True only where valid UTF-8 is certainly in NFC: a quick look, in one pass. */
bool hs_is_composed(const char *text, size_t n);

/* Append the NFC, or the NFD, of valid UTF-8 (at most HS_TOK_TEXT_MAX bytes). -ENOMEM. */
int hs_compose(const char *text, size_t n, struct hs_buf *out) HS_MUST_CHECK;
int hs_decompose(const char *text, size_t n, struct hs_buf *out) HS_MUST_CHECK;

#endif
