/*
 * A growing byte buffer with a limit.
 *
 * The caller owns the struct; hs_buf_finish frees what it holds (and may be called on a zeroed one). Every buffer that
 * untrusted input can grow is given a limit; growing past it fails with -EMSGSIZE, and what was there stays.
 */
#ifndef HISHO_BASE_BUF_H
#define HISHO_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

struct hs_buf {
	uint8_t *data;
	size_t len, cap;
	size_t limit; /* 0: SIZE_MAX / 2 */
};

#define HS_BUF_INIT ((struct hs_buf){0})
#define HS_BUF_AUTO HS_CLEANUP(hs_buf_finish) struct hs_buf

void hs_buf_finish(struct hs_buf *b);

/* Wipe before freeing: for buffers that held document text or keys. */
void hs_buf_wipe(struct hs_buf *b);

/* Make room for n more bytes. 0, -ENOMEM or -EMSGSIZE. */
int hs_buf_reserve(struct hs_buf *b, size_t n) HS_MUST_CHECK;
int hs_buf_append(struct hs_buf *b, const void *data, size_t n) HS_MUST_CHECK;
int hs_buf_append_str(struct hs_buf *b, const char *s) HS_MUST_CHECK;
int hs_buf_append_byte(struct hs_buf *b, uint8_t byte) HS_MUST_CHECK;
/* A JSON string, quotes and all. A byte that is no UTF-8 becomes "?". */
int hs_buf_append_json(struct hs_buf *b, const char *s) HS_MUST_CHECK;
int hs_buf_printf(struct hs_buf *b, const char *fmt, ...) HS_PRINTF(2, 3) HS_MUST_CHECK;

/* Drop the first n bytes (n <= len). */
void hs_buf_consume(struct hs_buf *b, size_t n);

/* The content as a C string: terminated, but the terminator is not counted in len. NULL on -ENOMEM. */
const char *hs_buf_cstr(struct hs_buf *b) HS_MUST_CHECK;

#endif
