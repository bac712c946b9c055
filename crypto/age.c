#include "crypto/age.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/buf.h"
#include "crypto/agefile.h"
#include "crypto/bech32.h"

#define PUBLIC_PREFIX "age"
#define SECRET_PREFIX "age-secret-key-"
#define B64 sodium_base64_VARIANT_ORIGINAL_NO_PADDING

/* --- keys as text --- */

void hs_age_public(const struct hs_key *identity, uint8_t ret[static HS_AGE_PUBLIC_LEN])
{
	(void)crypto_scalarmult_curve25519_base(ret, identity->bytes); /* cannot fail */
}

void hs_age_recipient_format(const uint8_t public[static HS_AGE_PUBLIC_LEN], char ret[static HS_AGE_RECIPIENT_TEXT_LEN + 1])
{
	char text[HS_BECH32_TEXT_MAX + 1];
	hs_bech32_encode(PUBLIC_PREFIX, public, text);
	memcpy(ret, text, HS_AGE_RECIPIENT_TEXT_LEN + 1);
}

void hs_age_identity_format(const struct hs_key *identity, char ret[static HS_AGE_IDENTITY_TEXT_LEN + 1])
{
	char text[HS_BECH32_TEXT_MAX + 1];
	hs_bech32_encode(SECRET_PREFIX, identity->bytes, text);
	for (size_t i = 0; i <= HS_AGE_IDENTITY_TEXT_LEN; i++)
		ret[i] = text[i] >= 'a' && text[i] <= 'z' ? (char)(text[i] - 'a' + 'A') : text[i];
	sodium_memzero(text, sizeof text);
}

int hs_age_recipient_parse(const char *s, size_t n, uint8_t ret[static HS_AGE_PUBLIC_LEN], struct hs_err *err)
{
	if (!hs_bech32_decode(PUBLIC_PREFIX, s, n, ret))
		return hs_fail(err, EINVAL, "age.recipient",
			       HS_N_("This is not an age public key. It begins with age1 and has 62 characters."), "%.*s",
			       (int)HS_MIN(n, (size_t)80), s);
	return 0;
}

int hs_age_identity_parse(const char *s, size_t n, struct hs_key **ret, struct hs_err *err)
{
	char lower[HS_AGE_IDENTITY_TEXT_LEN];
	bool ok = n == sizeof lower;
	for (size_t i = 0; ok && i < n; i++) {
		ok = !(s[i] >= 'a' && s[i] <= 'z'); /* one case, and it is the upper one */
		lower[i] = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] - 'A' + 'a') : s[i];
	}
	struct hs_key *k = ok ? hs_key_create() : NULL;
	bool parsed = k && hs_bech32_decode(SECRET_PREFIX, lower, n, k->bytes);
	sodium_memzero(lower, sizeof lower);
	if (parsed) {
		*ret = k;
		return 0;
	}
	hs_key_destroy(k);
	if (ok && !k)
		return hs_fail_errno(err, -ENOMEM, "age.identity", "");
	return hs_fail(err, EINVAL, "age.identity", HS_N_("This is not an age identity. It begins with AGE-SECRET-KEY-1."),
		       "%zu characters", n);
}

/* --- encrypting --- */

struct hs_age_encrypt {
	hs_sink_fn sink;
	void *ctx;
	struct hs_key *key; /* of the payload */
	uint64_t counter;
	size_t have;
	int failed; /* negative errno of the first failure; 1 when finished */
	uint8_t chunk[HS_AGE_CHUNK], sealed[HS_AGE_CHUNK + HS_AGE_TAG_LEN];
};

static int put_base64(struct hs_buf *b, const uint8_t *data, size_t n, const char *end)
{
	char text[64];
	(void)sodium_bin2base64(text, sizeof text, data, n, B64); /* 32 bytes fit */
	int rc = hs_buf_append_str(b, text);
	return rc ? rc : hs_buf_append_str(b, end);
}

static int put_stanza(struct hs_buf *b, const uint8_t recipient[static 32], const uint8_t file_key[static HS_AGE_FILE_KEY_LEN])
{
	static const uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES]; /* the key is used once */
	uint8_t share[32], wrap[32], body[HS_AGE_WRAPPED_LEN];
	HS_KEY_AUTO ephemeral = hs_key_create();
	if (!ephemeral)
		return -ENOMEM;
	hs_age_public(ephemeral, share);
	if (!hs_age_wrap_key(ephemeral->bytes, recipient, share, recipient, wrap))
		return -EINVAL;
	(void)crypto_aead_chacha20poly1305_ietf_encrypt(body, NULL, file_key, HS_AGE_FILE_KEY_LEN, NULL, 0, NULL, nonce, wrap);
	sodium_memzero(wrap, sizeof wrap);
	int rc = hs_buf_append_str(b, "-> X25519 ");
	if (rc == 0)
		rc = put_base64(b, share, sizeof share, "\n");
	return rc ? rc : put_base64(b, body, sizeof body, "\n");
}

static int put_header(struct hs_age_encrypt *e, const uint8_t *recipients, size_t n)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	uint8_t mac[HS_AGE_MAC_LEN], nonce[HS_AGE_NONCE_LEN];
	HS_KEY_AUTO file_key = hs_key_create(); /* its first 16 bytes */
	if (!file_key)
		return -ENOMEM;
	int rc = hs_buf_append_str(&b, HS_AGE_VERSION_LINE);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = put_stanza(&b, recipients + i * HS_AGE_PUBLIC_LEN, file_key->bytes);
	if (rc == 0)
		rc = hs_buf_append_str(&b, "---");
	if (rc < 0)
		return rc;
	hs_age_header_mac(file_key->bytes, b.data, b.len, mac);
	randombytes_buf(nonce, sizeof nonce);
	hs_age_hkdf(file_key->bytes, HS_AGE_FILE_KEY_LEN, nonce, sizeof nonce, "payload", e->key->bytes);
	rc = hs_buf_append_str(&b, " ");
	if (rc == 0)
		rc = put_base64(&b, mac, sizeof mac, "\n");
	if (rc == 0)
		rc = hs_buf_append(&b, nonce, sizeof nonce);
	return rc ? rc : e->sink(e->ctx, b.data, b.len);
}

int hs_age_encrypt_create(const uint8_t *recipients, size_t n, hs_sink_fn sink, void *ctx, struct hs_age_encrypt **ret,
			  struct hs_err *err)
{
	if (n < 1 || n > HS_AGE_RECIPIENTS_MAX)
		return hs_fail(err, EINVAL, "age.recipient", HS_N_("A file is sealed to between 1 and 20 recipients."), "%zu", n);
	struct hs_age_encrypt *e = hs_crypto_init() == 0 ? calloc(1, sizeof *e) : NULL;
	if (!e)
		return hs_fail_errno(err, -ENOMEM, "age.encrypt", "");
	e->sink = sink;
	e->ctx = ctx;
	e->key = hs_key_create();
	int rc = e->key ? put_header(e, recipients, n) : -ENOMEM;
	if (rc < 0) {
		hs_age_encrypt_destroy(e);
		if (rc == -EINVAL)
			return hs_fail(err, EINVAL, "age.recipient",
				       HS_N_("This public key is a point of low order: nothing sealed to it is secret."), "X25519");
		return hs_fail_errno(err, rc, "age.encrypt", "header");
	}
	*ret = e;
	return 0;
}

static int put_chunk(struct hs_age_encrypt *e, bool last)
{
	uint8_t nonce[12];
	unsigned long long sealed_len;
	hs_age_chunk_nonce(e->counter++, last, nonce);
	(void)crypto_aead_chacha20poly1305_ietf_encrypt(e->sealed, &sealed_len, e->chunk, e->have, NULL, 0, NULL, nonce,
							e->key->bytes); /* cannot fail at this length */
	e->have = 0;
	return e->sink(e->ctx, e->sealed, (size_t)sealed_len);
}

int hs_age_encrypt_push(struct hs_age_encrypt *e, const void *data, size_t n)
{
	const uint8_t *p = data;
	if (e->failed)
		return e->failed < 0 ? e->failed : -EINVAL;
	while (n > 0) {
		if (e->have == HS_AGE_CHUNK) { /* full, and more follows: it is not the last */
			e->failed = put_chunk(e, false);
			if (e->failed)
				return e->failed;
		}
		size_t part = HS_MIN(n, HS_AGE_CHUNK - e->have);
		memcpy(e->chunk + e->have, p, part);
		e->have += part;
		p += part;
		n -= part;
	}
	return 0;
}

int hs_age_encrypt_finish(struct hs_age_encrypt *e)
{
	if (e->failed)
		return e->failed < 0 ? e->failed : -EINVAL;
	int rc = put_chunk(e, true);
	e->failed = rc < 0 ? rc : 1;
	return rc;
}

void hs_age_encrypt_destroy(struct hs_age_encrypt *e)
{
	if (!e)
		return;
	hs_key_destroy(e->key);
	sodium_memzero(e, sizeof *e);
	free(e);
}
