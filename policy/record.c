#include "policy/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/utf8.h"
#include "base/wire.h"

#define ENTRY_VERSION 1
#define PAD_TO 64 /* so that lengths on disk tell little of what was asked */

enum field { /* never renumbered */
	FIELD_PADDING = 0,
	FIELD_REASON = 1,
	FIELD_REQUEST = 2,
	FIELD_ABOUT = 3,
	FIELD_QUERY_HMAC = 4,
	FIELD_QUERY = 5,
	FIELD_CHUNK = 6,
	FIELD_ANSWER = 7,
	FIELD_DETAIL = 8,
};

static int refuse(struct hs_err *err, int num, const char *field)
{
	return hs_fail(err, num, "audit.record", HS_N_("The record cannot be written as it is; the request is refused."), "%s", field);
}

static bool action_ok(const char *s)
{
	size_t n = strlen(s);
	return n > 0 && n <= HS_RECORD_ACTION_MAX && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789._") == n;
}

static int put_field(struct hs_buf *b, enum field tag, const void *data, size_t n)
{
	int rc = hs_put_u16(b, (uint16_t)tag);
	if (!rc)
		rc = hs_put_str(b, data, n);
	return rc;
}

static int put_text(struct hs_buf *b, enum field tag, const char *s)
{
	return s ? put_field(b, tag, s, strlen(s)) : 0;
}

static int put_fields(const struct hs_audit_entry *e, const uint8_t *query_hmac, struct hs_buf *b)
{
	uint8_t about[8];
	int rc = put_text(b, FIELD_REASON, e->reason);
	if (!rc)
		rc = put_text(b, FIELD_REQUEST, e->request);
	hs_le64_store(about, e->about);
	if (!rc && e->about)
		rc = put_field(b, FIELD_ABOUT, about, sizeof(about));
	if (!rc && e->query)
		rc = put_field(b, FIELD_QUERY_HMAC, query_hmac, HS_AUDIT_HMAC_LEN);
	if (!rc && e->query && e->keep_query)
		rc = put_field(b, FIELD_QUERY, e->query, e->query_len);
	for (size_t i = 0; !rc && i < e->n_chunks; i++) {
		uint8_t chunk[8 + sizeof(e->chunks[i].version)];
		size_t n = strlen(e->chunks[i].version);
		hs_le32_store(chunk, e->chunks[i].start);
		hs_le32_store(chunk + 4, e->chunks[i].end);
		memcpy(chunk + 8, e->chunks[i].version, n);
		rc = put_field(b, FIELD_CHUNK, chunk, 8 + n);
	}
	if (!rc && e->answer_hash)
		rc = put_field(b, FIELD_ANSWER, e->answer_hash, HS_AUDIT_CHAIN_LEN);
	if (!rc)
		rc = put_text(b, FIELD_DETAIL, e->detail);
	if (!rc && b->len % PAD_TO) {
		static const uint8_t zeros[PAD_TO];
		size_t n = (PAD_TO - (b->len + 6) % PAD_TO) % PAD_TO;
		rc = put_field(b, FIELD_PADDING, zeros, n);
	}
	return rc;
}

static int check(const struct hs_audit_entry *e, struct hs_err *err)
{
	const struct {
		const char *name, *text;
	} texts[] = {{"principal", e->principal}, {"object", e->object}, {"reason", e->reason}, {"request", e->request},
		     {"detail", e->detail}};
	if (!e->action || !action_ok(e->action))
		return refuse(err, EINVAL, "action");
	if (!e->principal || !e->principal[0] || !e->object)
		return refuse(err, EINVAL, "principal or object");
	for (size_t i = 0; i < HS_ARRAY_LEN(texts); i++) {
		size_t n = texts[i].text ? strlen(texts[i].text) : 0;
		if (n > HS_RECORD_TEXT_MAX || (n && !hs_utf8_valid(texts[i].text, n, NULL)))
			return refuse(err, n > HS_RECORD_TEXT_MAX ? EMSGSIZE : EINVAL, texts[i].name);
	}
	if ((unsigned)e->decision > HS_AUDIT_NOTED)
		return refuse(err, EINVAL, "decision");
	if (e->query && e->query_len > HS_AUDIT_QUERY_MAX)
		return refuse(err, EMSGSIZE, "query");
	if (e->n_chunks > HS_AUDIT_CHUNKS_MAX)
		return refuse(err, EMSGSIZE, "chunks");
	for (size_t i = 0; i < e->n_chunks; i++)
		if (!memchr(e->chunks[i].version, 0, sizeof(e->chunks[i].version)))
			return refuse(err, EINVAL, "chunks");
	return 0;
}

int hs_record_encode(const struct hs_audit_entry *e, const uint8_t *query_hmac, struct hs_buf *out, struct hs_err *err)
{
	int rc = check(e, err);
	if (rc)
		return rc;
	rc = hs_put_u16(out, ENTRY_VERSION);
	if (!rc)
		rc = hs_put_u16(out, (uint16_t)e->decision);
	if (!rc)
		rc = hs_put_str(out, e->principal, strlen(e->principal));
	if (!rc)
		rc = hs_put_str(out, e->action, strlen(e->action));
	if (!rc)
		rc = hs_put_str(out, e->object, strlen(e->object));
	if (!rc)
		rc = put_fields(e, query_hmac, out);
	return rc ? refuse(err, -rc, "record") : 0;
}

int hs_record_view_init(struct hs_record_view *v)
{
	*v = (struct hs_record_view){
		.strings = malloc(HS_AUDIT_RECORD_MAX),
		.chunks = calloc(HS_AUDIT_CHUNKS_MAX, sizeof(*v->chunks)),
	};
	if (v->strings && v->chunks)
		return 0;
	hs_record_view_finish(v);
	return -ENOMEM;
}

void hs_record_view_finish(struct hs_record_view *v)
{
	if (v->strings)
		sodium_memzero(v->strings, HS_AUDIT_RECORD_MAX);
	free(v->strings);
	free(v->chunks);
	*v = (struct hs_record_view){0};
}

/* A terminated copy; NULL where it does not fit or is no text. */
static const char *keep(struct hs_record_view *v, const char *s, size_t n)
{
	if (n >= HS_AUDIT_RECORD_MAX - v->used || (n && (memchr(s, 0, n) || !hs_utf8_valid(s, n, NULL))))
		return NULL;
	char *copy = v->strings + v->used;
	if (n)
		memcpy(copy, s, n);
	copy[n] = '\0';
	v->used += n + 1;
	return copy;
}

static bool take_text(struct hs_record_view *v, const char *s, size_t n, const char **ret)
{
	*ret = keep(v, s, n);
	return *ret != NULL;
}

static bool take_chunk(struct hs_record_view *v, const char *s, size_t n, struct hs_audit_shown *r)
{
	if (n < 8 || n - 8 >= sizeof(v->chunks[0].version) || r->n_chunks == HS_AUDIT_CHUNKS_MAX || memchr(s + 8, 0, n - 8) ||
	    !hs_utf8_valid(s + 8, n - 8, NULL))
		return false;
	struct hs_audit_chunk *c = &v->chunks[r->n_chunks++];
	*c = (struct hs_audit_chunk){.start = hs_le32_load((const uint8_t *)s), .end = hs_le32_load((const uint8_t *)s + 4)};
	memcpy(c->version, s + 8, n - 8);
	return true;
}

static bool take_field(struct hs_record_view *v, uint16_t tag, const char *s, size_t n, struct hs_audit_shown *r)
{
	switch (tag) {
	case FIELD_REASON:
		return take_text(v, s, n, &r->reason);
	case FIELD_REQUEST:
		return take_text(v, s, n, &r->request);
	case FIELD_DETAIL:
		return take_text(v, s, n, &r->detail);
	case FIELD_ABOUT:
		if (n != 8)
			return false;
		r->about = hs_le64_load((const uint8_t *)s);
		return true;
	case FIELD_QUERY_HMAC:
		r->query_hmac = (const uint8_t *)s;
		return n == HS_AUDIT_HMAC_LEN;
	case FIELD_QUERY:
		/* A question is whatever was sent; it is shown, not trusted, and may hold a zero byte. */
		if (n >= HS_AUDIT_RECORD_MAX - v->used)
			return false;
		memcpy(v->strings + v->used, s, n);
		v->strings[v->used + n] = '\0';
		r->query = v->strings + v->used;
		r->query_len = n;
		v->used += n + 1;
		return true;
	case FIELD_CHUNK:
		return take_chunk(v, s, n, r);
	case FIELD_ANSWER:
		r->answer_hash = (const uint8_t *)s;
		return n == HS_AUDIT_CHAIN_LEN;
	default:
		return true;
	}
}

int hs_record_decode(const uint8_t *data, size_t len, struct hs_record_view *v, struct hs_audit_shown *ret)
{
	struct hs_wire w = hs_wire_over(data, len);
	size_t n;
	v->used = 0;
	if (hs_wire_u16(&w) != ENTRY_VERSION)
		return -EBADMSG;
	uint16_t decision = hs_wire_u16(&w);
	ret->decision = (enum hs_audit_decision)decision;
	ret->reason = ret->request = ret->detail = "";
	const char *s = hs_wire_str(&w, HS_RECORD_TEXT_MAX, &n);
	if (w.failed || decision > HS_AUDIT_NOTED || !take_text(v, s, n, &ret->principal))
		return -EBADMSG;
	s = hs_wire_str(&w, HS_RECORD_ACTION_MAX, &n);
	if (w.failed || !take_text(v, s, n, &ret->action))
		return -EBADMSG;
	s = hs_wire_str(&w, HS_RECORD_TEXT_MAX, &n);
	if (w.failed || !take_text(v, s, n, &ret->object))
		return -EBADMSG;
	while (!w.failed && w.at < w.len) {
		uint16_t tag = hs_wire_u16(&w);
		s = hs_wire_str(&w, HS_AUDIT_RECORD_MAX, &n);
		if (w.failed || (n && !s) || !take_field(v, tag, n ? s : "", n, ret))
			return -EBADMSG;
	}
	ret->chunks = v->chunks;
	return hs_wire_done(&w) ? 0 : -EBADMSG;
}
