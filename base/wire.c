#include "base/wire.h"

#include <errno.h>
#include <string.h>

void hs_le16_store(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

void hs_le32_store(uint8_t *p, uint32_t v)
{
	hs_le16_store(p, (uint16_t)v);
	hs_le16_store(p + 2, (uint16_t)(v >> 16));
}

void hs_le64_store(uint8_t *p, uint64_t v)
{
	hs_le32_store(p, (uint32_t)v);
	hs_le32_store(p + 4, (uint32_t)(v >> 32));
}

uint16_t hs_le16_load(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

uint32_t hs_le32_load(const uint8_t *p)
{
	return (uint32_t)hs_le16_load(p) | (uint32_t)hs_le16_load(p + 2) << 16;
}

uint64_t hs_le64_load(const uint8_t *p)
{
	return (uint64_t)hs_le32_load(p) | (uint64_t)hs_le32_load(p + 4) << 32;
}

const uint8_t *hs_wire_bytes(struct hs_wire *w, size_t n)
{
	if (w->failed || n > w->len - w->at) {
		w->failed = true;
		return NULL;
	}
	const uint8_t *p = w->data + w->at;
	w->at += n;
	return p;
}

uint8_t hs_wire_u8(struct hs_wire *w)
{
	const uint8_t *p = hs_wire_bytes(w, 1);
	return p ? *p : 0;
}

uint16_t hs_wire_u16(struct hs_wire *w)
{
	const uint8_t *p = hs_wire_bytes(w, 2);
	return p ? hs_le16_load(p) : 0;
}

uint32_t hs_wire_u32(struct hs_wire *w)
{
	const uint8_t *p = hs_wire_bytes(w, 4);
	return p ? hs_le32_load(p) : 0;
}

uint64_t hs_wire_u64(struct hs_wire *w)
{
	const uint8_t *p = hs_wire_bytes(w, 8);
	return p ? hs_le64_load(p) : 0;
}

float hs_wire_f32(struct hs_wire *w)
{
	uint32_t bits = hs_wire_u32(w);
	float v;
	memcpy(&v, &bits, sizeof v);
	return v;
}

const char *hs_wire_str(struct hs_wire *w, size_t max, size_t *ret_len)
{
	uint32_t len = hs_wire_u32(w);
	*ret_len = 0;
	if (w->failed || len > max) {
		w->failed = true;
		return NULL;
	}
	const uint8_t *p = hs_wire_bytes(w, len);
	if (p)
		*ret_len = len;
	return (const char *)p;
}

bool hs_wire_done(const struct hs_wire *w)
{
	return !w->failed && w->at == w->len;
}

int hs_put_u8(struct hs_buf *b, uint8_t v)
{
	return hs_buf_append_byte(b, v);
}

int hs_put_u16(struct hs_buf *b, uint16_t v)
{
	uint8_t p[2];
	hs_le16_store(p, v);
	return hs_buf_append(b, p, sizeof p);
}

int hs_put_u32(struct hs_buf *b, uint32_t v)
{
	uint8_t p[4];
	hs_le32_store(p, v);
	return hs_buf_append(b, p, sizeof p);
}

int hs_put_u64(struct hs_buf *b, uint64_t v)
{
	uint8_t p[8];
	hs_le64_store(p, v);
	return hs_buf_append(b, p, sizeof p);
}

int hs_put_f32(struct hs_buf *b, float v)
{
	uint32_t bits;
	memcpy(&bits, &v, sizeof bits);
	return hs_put_u32(b, bits);
}

int hs_put_str(struct hs_buf *b, const void *s, size_t len)
{
	if (len > UINT32_MAX)
		return -EMSGSIZE;
	int rc = hs_buf_reserve(b, 4 + len);
	if (rc == 0)
		rc = hs_put_u32(b, (uint32_t)len);
	if (rc == 0)
		rc = hs_buf_append(b, s, len);
	return rc;
}
