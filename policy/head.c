#include "policy/head.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "base/file.h"

#define ORIGIN "hisho-audit-chain/"
#define SIGNED_BY "\xe2\x80\x94 " /* an em dash and a space begin each signature's line */
#define ED25519 0x01              /* the algorithm's number in signed notes */
#define KEY_ID_LEN 4
#define MARKED_LEN (KEY_ID_LEN + HS_AUDIT_SIGNATURE_LEN)

#define BASE64_CAP(n) sodium_base64_ENCODED_LEN(n, sodium_base64_VARIANT_ORIGINAL)

_Static_assert(HS_HEAD_PUBLIC_LEN == crypto_sign_PUBLICKEYBYTES && HS_AUDIT_SIGNATURE_LEN == crypto_sign_BYTES, "Ed25519");

/* SHA-256 of the key's name, a line feed, the algorithm and the key: its first four bytes. */
static void key_id(const uint8_t *public, uint8_t ret[static KEY_ID_LEN])
{
	static const char name[] = HS_HEAD_KEY_NAME "\n";
	static const uint8_t algorithm = ED25519;
	crypto_hash_sha256_state h;
	uint8_t hash[crypto_hash_sha256_BYTES];
	(void)crypto_hash_sha256_init(&h); /* none of these can fail */
	(void)crypto_hash_sha256_update(&h, (const uint8_t *)name, sizeof name - 1);
	(void)crypto_hash_sha256_update(&h, &algorithm, 1);
	(void)crypto_hash_sha256_update(&h, public, HS_HEAD_PUBLIC_LEN);
	(void)crypto_hash_sha256_final(&h, hash);
	memcpy(ret, hash, KEY_ID_LEN);
}

static void base64(const void *data, size_t n, char *out, size_t cap)
{
	(void)sodium_bin2base64(out, cap, data, n, sodium_base64_VARIANT_ORIGINAL); /* cap is BASE64_CAP(n) */
}

/* Exactly n bytes. */
static bool unbase64(const char *text, size_t len, uint8_t *ret, size_t n)
{
	size_t got = 0;
	const char *end = text;
	return sodium_base642bin(ret, n, text, len, NULL, &got, &end, sodium_base64_VARIANT_ORIGINAL) == 0 && end == text + len &&
	       got == n;
}

int hs_head_text(const char *tenant, const struct hs_audit_head *head, struct hs_buf *out)
{
	char chain[BASE64_CAP(HS_AUDIT_CHAIN_LEN)];
	base64(head->chain, sizeof head->chain, chain, sizeof chain);
	return hs_buf_printf(out, ORIGIN "%s\n%" PRIu64 "\n%s\ntime %" PRId64 "\n", tenant, head->seq, chain, head->time);
}

int hs_head_note(const char *tenant, const struct hs_audit_head *head, const uint8_t public[static HS_HEAD_PUBLIC_LEN],
		 const uint8_t signature[static HS_AUDIT_SIGNATURE_LEN], struct hs_buf *out)
{
	uint8_t marked[MARKED_LEN];
	char text[BASE64_CAP(MARKED_LEN)];
	key_id(public, marked);
	memcpy(marked + KEY_ID_LEN, signature, HS_AUDIT_SIGNATURE_LEN);
	base64(marked, sizeof marked, text, sizeof text);
	int rc = hs_head_text(tenant, head, out);
	return rc < 0 ? rc : hs_buf_printf(out, "\n" SIGNED_BY HS_HEAD_KEY_NAME " %s\n", text);
}

/* Is one of the lines behind the text ours, and does it hold? Those of other keys are passed over. */
static bool is_signed(const char *lines, size_t len, const char *text, size_t text_len, const uint8_t *public)
{
	static const char prefix[] = SIGNED_BY HS_HEAD_KEY_NAME " ";
	uint8_t id[KEY_ID_LEN], marked[MARKED_LEN];
	key_id(public, id);
	for (unsigned i = 0; i < HS_HEAD_SIGNATURES_MAX && len > 0; i++) {
		const char *end = memchr(lines, '\n', len);
		size_t n = end ? (size_t)(end - lines) : 0, skip = sizeof prefix - 1;
		if (!end || n < sizeof SIGNED_BY || sodium_memcmp(lines, SIGNED_BY, sizeof SIGNED_BY - 1) != 0)
			return false;
		if (n > skip && sodium_memcmp(lines, prefix, skip) == 0 && unbase64(lines + skip, n - skip, marked, sizeof marked) &&
		    sodium_memcmp(marked, id, sizeof id) == 0)
			return crypto_sign_verify_detached(marked + KEY_ID_LEN, (const uint8_t *)text, text_len, public) == 0;
		lines += n + 1;
		len -= n + 1;
	}
	return false;
}

/* Takes more than the one form: the caller compares. */
static bool take_fields(const char *text, struct hs_audit_head *ret)
{
	char chain[BASE64_CAP(HS_AUDIT_CHAIN_LEN)];
	_Static_assert(sizeof chain == 45, "the width below");
	return sscanf(text, ORIGIN "%*64[a-z0-9_]\n%" SCNu64 "\n%44[A-Za-z0-9+/=]\ntime %" SCNd64, &ret->seq, chain,
		      &ret->time) == 3 &&
	       unbase64(chain, strlen(chain), ret->chain, sizeof ret->chain);
}

int hs_head_open(const void *note, size_t len, const char *tenant, const uint8_t public[static HS_HEAD_PUBLIC_LEN],
		 struct hs_audit_head *ret, struct hs_err *err)
{
	HS_BUF_AUTO copy = {.limit = HS_HEAD_NOTE_MAX + 1};
	HS_BUF_AUTO form = HS_BUF_INIT;
	struct hs_audit_head head;
	int rc = hs_buf_append(&copy, note, len);
	const char *text = rc == 0 ? hs_buf_cstr(&copy) : NULL;
	if (rc == 0 && !text)
		rc = -ENOMEM;
	bool good = rc == 0 && strlen(text) == len && take_fields(text, &head);
	if (good)
		rc = hs_head_text(tenant, &head, &form);
	if (rc == -ENOMEM)
		return rc;
	/* One form for one meaning: what was read must be what would be written. That compares the tenant as well. */
	good = good && rc == 0 && form.len < len && sodium_memcmp(text, form.data, form.len) == 0 && text[form.len] == '\n' &&
	       is_signed(text + form.len + 1, len - form.len - 1, text, form.len, public);
	if (!good)
		return hs_fail(
		    err, EBADMSG, "audit.head",
		    HS_N_("This is not a head of that audit log signed by that key; keep it and compare it with a copy."), "%s",
		    tenant);
	*ret = head;
	return 0;
}

int hs_head_read(int dirfd, const char *name, const char *tenant, const uint8_t public[static HS_HEAD_PUBLIC_LEN],
		 struct hs_audit_head *ret, struct hs_err *err)
{
	HS_BUF_AUTO note = HS_BUF_INIT;
	int rc = hs_file_read(dirfd, name, HS_HEAD_NOTE_MAX, &note);
	if (rc == -ENOENT)
		return rc;
	return rc < 0 ? hs_fail_errno(err, rc, "audit.read", name) : hs_head_open(note.data, note.len, tenant, public, ret, err);
}

bool hs_head_follows(const struct hs_audit_head *last, const struct hs_audit_head *next)
{
	return next->seq > last->seq || (next->seq == last->seq && sodium_memcmp(next->chain, last->chain, sizeof next->chain) == 0);
}

void hs_head_key_format(const uint8_t public[static HS_HEAD_PUBLIC_LEN], char ret[static HS_HEAD_KEY_TEXT_MAX])
{
	uint8_t id[KEY_ID_LEN], marked[1 + HS_HEAD_PUBLIC_LEN] = {ED25519};
	char text[BASE64_CAP(sizeof marked)];
	key_id(public, id);
	memcpy(marked + 1, public, HS_HEAD_PUBLIC_LEN);
	base64(marked, sizeof marked, text, sizeof text);
	(void)snprintf(ret, HS_HEAD_KEY_TEXT_MAX, HS_HEAD_KEY_NAME "+%02x%02x%02x%02x+%s", id[0], id[1], id[2], id[3],
		       text); /* fits */
}

bool hs_head_key_parse(const char *text, uint8_t ret[static HS_HEAD_PUBLIC_LEN])
{
	const char *plus = strchr(text, '+'), *key = plus ? strchr(plus + 1, '+') : NULL;
	uint8_t marked[1 + HS_HEAD_PUBLIC_LEN];
	char again[HS_HEAD_KEY_TEXT_MAX];
	if (!key || !unbase64(key + 1, strlen(key + 1), marked, sizeof marked))
		return false;
	hs_head_key_format(marked + 1, again);
	if (strcmp(again, text) != 0) /* name, key id and algorithm are what they say */
		return false;
	memcpy(ret, marked + 1, HS_HEAD_PUBLIC_LEN);
	return true;
}
