#include "crypto/manifest.h"

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "base/utf8.h"
#include "base/wire.h"

static const uint8_t magic[8] = {'H', 'S', 'm', 'a', 'n', 'i', 'f', '1'};

static int bad_field(struct hs_err *err, int num, const char *field)
{
	return hs_fail(err, num, "manifest.field",
		       HS_N_("The submission's manifest is malformed. Seal the document again."), "%s", field);
}

/* UTF-8 without control characters, min..max bytes. */
static bool text_ok(const char *s, size_t n, size_t min, size_t max)
{
	if (n < min || n > max || !hs_utf8_valid(s, n, NULL))
		return false;
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return false;
	}
	return true;
}

/* The first field that is out of bounds, or NULL. */
static const char *wrong_field(const struct hs_manifest *m)
{
	static const uint8_t none[32];
	uint8_t empty_hash[32];
	bool put = m->operation == HS_MANIFEST_PUT;
	if (!put && m->operation != HS_MANIFEST_DELETE)
		return "operation";
	if (!hs_id_valid(m->tenant.s, strnlen(m->tenant.s, sizeof m->tenant.s), "ten_"))
		return "tenant";
	if (!hs_id_valid(m->submission.s, strnlen(m->submission.s, sizeof m->submission.s), "sub_"))
		return "submission";
	if (!text_ok(m->source, strnlen(m->source, sizeof m->source), 1, HS_MANIFEST_SOURCE_MAX))
		return "source";
	if (m->sequence < 1 || m->sequence > INT64_MAX)
		return "sequence";
	size_t least = put ? 1 : 0, most = put ? HS_MANIFEST_LABEL_MAX : 0;
	if (!text_ok(m->collection, strnlen(m->collection, sizeof m->collection), least, most))
		return "collection";
	if (!text_ok(m->level, strnlen(m->level, sizeof m->level), least, most))
		return "level";
	if (!text_ok(m->access_list, strnlen(m->access_list, sizeof m->access_list), 0, most))
		return "access list";
	if (m->created < 0)
		return "created";
	if (m->expires <= m->created)
		return "expires";
	if (m->document_expires < 0 || (!put && m->document_expires != 0))
		return "document expiry";
	if (m->length > HS_MANIFEST_CIPHERTEXT_MAX || (put ? m->length == 0 : m->length != 0))
		return "length";
	(void)crypto_generichash(empty_hash, sizeof empty_hash, NULL, 0, NULL, 0); /* fails for wrong lengths only */
	if (!put && sodium_memcmp(m->hash, empty_hash, sizeof empty_hash) != 0)
		return "hash";
	if (!put && sodium_memcmp(m->content_mac, none, sizeof none) != 0)
		return "content mac";
	return NULL;
}

static int put_text(struct hs_buf *out, const char *s)
{
	return hs_put_str(out, s, strlen(s));
}

static int encode(const struct hs_manifest *m, struct hs_buf *out)
{
	if (hs_buf_append(out, magic, sizeof magic) || hs_put_u16(out, HS_MANIFEST_FORMAT) || hs_put_u16(out, (uint16_t)m->operation) ||
	    hs_buf_append(out, m->tenant.s, HS_ID_LEN) || hs_buf_append(out, m->submission.s, HS_ID_LEN) || put_text(out, m->source) ||
	    hs_put_u64(out, m->sequence) || put_text(out, m->collection) || put_text(out, m->level) || put_text(out, m->access_list) ||
	    hs_put_u64(out, (uint64_t)m->created) || hs_put_u64(out, (uint64_t)m->expires) ||
	    hs_put_u64(out, (uint64_t)m->document_expires) || hs_put_u64(out, m->length) || hs_buf_append(out, m->hash, sizeof m->hash) ||
	    hs_buf_append(out, m->content_mac, sizeof m->content_mac) || hs_buf_append(out, m->sender, sizeof m->sender))
		return -ENOMEM;
	return 0;
}

int hs_manifest_sign(const struct hs_manifest *m, const struct hs_signer *signer, struct hs_buf *out, struct hs_err *err)
{
	const char *field = wrong_field(m);
	if (field)
		return bad_field(err, EINVAL, field);
	struct hs_manifest own = *m;
	hs_signer_public(signer, own.sender);
	size_t start = out->len;
	uint8_t signature[HS_SIGNER_SIGNATURE_LEN];
	int rc = encode(&own, out);
	if (rc == 0) {
		hs_signer_sign(signer, out->data + start, out->len - start, signature);
		rc = hs_buf_append(out, signature, sizeof signature);
	}
	if (rc < 0)
		out->len = start;
	return rc;
}

static bool take_text(struct hs_wire *w, char *out, size_t max)
{
	size_t n;
	const char *s = hs_wire_str(w, max, &n);
	if (!s || memchr(s, '\0', n))
		return false;
	memcpy(out, s, n);
	out[n] = '\0';
	return true;
}

static void take_bytes(struct hs_wire *w, void *out, size_t n)
{
	const uint8_t *p = hs_wire_bytes(w, n);
	if (p)
		memcpy(out, p, n);
}

/* Every field, in order; the name of the first that cannot be read, or NULL. */
static const char *decode(struct hs_wire *w, struct hs_manifest *m)
{
	uint8_t got[sizeof magic] = {0};
	take_bytes(w, got, sizeof got);
	if (w->failed || sodium_memcmp(got, magic, sizeof magic) != 0)
		return "magic";
	(void)hs_wire_u16(w); /* the format: looked at before the signature was */
	m->operation = (enum hs_manifest_operation)hs_wire_u16(w);
	take_bytes(w, m->tenant.s, HS_ID_LEN);
	take_bytes(w, m->submission.s, HS_ID_LEN);
	if (!take_text(w, m->source, HS_MANIFEST_SOURCE_MAX))
		return "source";
	m->sequence = hs_wire_u64(w);
	if (!take_text(w, m->collection, HS_MANIFEST_LABEL_MAX))
		return "collection";
	if (!take_text(w, m->level, HS_MANIFEST_LABEL_MAX))
		return "level";
	if (!take_text(w, m->access_list, HS_MANIFEST_LABEL_MAX))
		return "access list";
	m->created = (int64_t)hs_wire_u64(w);
	m->expires = (int64_t)hs_wire_u64(w);
	m->document_expires = (int64_t)hs_wire_u64(w);
	m->length = hs_wire_u64(w);
	take_bytes(w, m->hash, sizeof m->hash);
	take_bytes(w, m->content_mac, sizeof m->content_mac);
	take_bytes(w, m->sender, sizeof m->sender);
	return hs_wire_done(w) ? wrong_field(m) : "length";
}

int hs_manifest_open(const void *data, size_t len, struct hs_manifest *ret, struct hs_err *err)
{
	const uint8_t *bytes = data;
	if (len > HS_MANIFEST_MAX || len < sizeof magic + 2 + HS_SIGNER_PUBLIC_LEN + HS_SIGNER_SIGNATURE_LEN)
		return bad_field(err, EPROTO, "length");
	if (sodium_memcmp(bytes, magic, sizeof magic) != 0)
		return bad_field(err, EPROTO, "magic");
	if (hs_le16_load(bytes + sizeof magic) != HS_MANIFEST_FORMAT)
		return hs_fail(err, ENOTSUP, "manifest.version",
			       HS_N_("The submission was made by another version. Install the same version on both sides."),
			       "%u", hs_le16_load(bytes + sizeof magic));
	/* The key stands at a fixed place before the signature, so that nothing else is parsed before it held. */
	size_t signed_len = len - HS_SIGNER_SIGNATURE_LEN;
	const uint8_t *key = bytes + signed_len - HS_SIGNER_PUBLIC_LEN;
	if (crypto_sign_verify_detached(bytes + signed_len, bytes, signed_len, key) != 0)
		return hs_fail(err, EBADMSG, "manifest.signature",
			       HS_N_("The submission's signature does not hold. It was changed, or cut short."), "%zu bytes", len);
	struct hs_manifest m = {0};
	struct hs_wire w = hs_wire_over(bytes, signed_len);
	const char *field = decode(&w, &m);
	if (field)
		return bad_field(err, EPROTO, field);
	*ret = m;
	return 0;
}

int hs_manifest_check(const struct hs_manifest *m, const struct hs_id *tenant, int64_t now_ms, struct hs_err *err)
{
	if (sodium_memcmp(m->tenant.s, tenant->s, HS_ID_LEN) != 0)
		return hs_fail(err, EACCES, "submission.foreign", HS_N_("The submission is sealed to another tenant."), "%s", m->submission.s);
	if (now_ms >= m->expires)
		return hs_fail(err, ESTALE, "submission.expired", HS_N_("The submission has expired. Seal the document again."), "%s",
			       m->submission.s);
	return 0;
}

int hs_manifest_check_ciphertext(const struct hs_manifest *m, uint64_t length, const uint8_t hash[static 32], struct hs_err *err)
{
	if (length != m->length || sodium_memcmp(hash, m->hash, sizeof m->hash) != 0)
		return hs_fail(err, EBADMSG, "submission.ciphertext",
			       HS_N_("The sealed document is not the one that the manifest names."), "%s",
			       m->submission.s);
	return 0;
}

void hs_manifest_hash(const void *data, size_t len, uint8_t ret[static 32])
{
	(void)crypto_generichash(ret, 32, data, len, NULL, 0); /* fails for wrong lengths only */
}
