/*
 * Little-endian fields in bounded memory: the one reader and writer behind messages, keyrings, maps and records.
 *
 * The reader parses untrusted bytes in place. It is sticky: after the first field that does not fit, `failed` stays set,
 * every later read gives zero or NULL, and the caller looks once, at the end (hs_wire_done).
 */
#ifndef HISHO_BASE_WIRE_H
#define HISHO_BASE_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct hs_wire {
	const uint8_t *data;
	size_t len, at;
	bool failed;
};

static inline struct hs_wire hs_wire_over(const void *data, size_t len)
{
	return (struct hs_wire){.data = data, .len = len};
}

uint8_t hs_wire_u8(struct hs_wire *w);
uint16_t hs_wire_u16(struct hs_wire *w);
uint32_t hs_wire_u32(struct hs_wire *w);
uint64_t hs_wire_u64(struct hs_wire *w);
float hs_wire_f32(struct hs_wire *w);

/* n bytes in place; NULL where they are not there (and n > 0). */
const uint8_t *hs_wire_bytes(struct hs_wire *w, size_t n);

/* A u32 length, then that many bytes, at most max. Sets *ret_len; not terminated. */
const char *hs_wire_str(struct hs_wire *w, size_t max, size_t *ret_len);

/* Nothing failed and nothing is left over. */
bool hs_wire_done(const struct hs_wire *w);

int hs_put_u8(struct hs_buf *b, uint8_t v) HS_MUST_CHECK;
int hs_put_u16(struct hs_buf *b, uint16_t v) HS_MUST_CHECK;
int hs_put_u32(struct hs_buf *b, uint32_t v) HS_MUST_CHECK;
int hs_put_u64(struct hs_buf *b, uint64_t v) HS_MUST_CHECK;
int hs_put_f32(struct hs_buf *b, float v) HS_MUST_CHECK;
int hs_put_str(struct hs_buf *b, const void *s, size_t len) HS_MUST_CHECK;

/* The same fields at a fixed place, for headers of constant size. */
void hs_le16_store(uint8_t *p, uint16_t v);
void hs_le32_store(uint8_t *p, uint32_t v);
void hs_le64_store(uint8_t *p, uint64_t v);
uint16_t hs_le16_load(const uint8_t *p);
uint32_t hs_le32_load(const uint8_t *p);
uint64_t hs_le64_load(const uint8_t *p);

#endif
