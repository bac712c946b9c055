/* Signed heads of audit logs and keys as text: as they come, and signed anew, so that what a signature guards is reached. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <sodium.h>

#include "policy/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t public[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES];

/* What opens is one text, and another key opens nothing. */
static void check(const uint8_t *note, size_t size)
{
	static const uint8_t other[HS_HEAD_PUBLIC_LEN] = {1};
	struct hs_audit_head head;
	struct hs_err err = HS_ERR_INIT;
	HS_BUF_AUTO again = HS_BUF_INIT;
	if (hs_head_open(note, size, "ten_a", public, &head, &err) < 0)
		return;
	hs_assert(hs_head_text("ten_a", &head, &again) == 0);
	hs_assert(again.len < size && memcmp(again.data, note, again.len) == 0);
	hs_assert(hs_head_open(note, size, "ten_a", other, &head, &err) < 0);
	hs_assert(hs_head_open(note, size, "ten_b", public, &head, &err) < 0);
}

/* Our signature's line behind the input, as hs_head_note writes it for any text. */
static void check_signed(const uint8_t *data, size_t size)
{
	static const struct hs_audit_head none;
	uint8_t signature[crypto_sign_BYTES];
	HS_BUF_AUTO line = HS_BUF_INIT;
	HS_BUF_AUTO text = HS_BUF_INIT;
	HS_BUF_AUTO note = HS_BUF_INIT;
	(void)crypto_sign_detached(signature, NULL, data, size, secret);
	if (hs_head_text("ten_a", &none, &text) < 0 || hs_head_note("ten_a", &none, public, signature, &line) < 0 ||
	    hs_buf_append(&note, data, size) < 0 || hs_buf_append(&note, line.data + text.len, line.len - text.len) < 0)
		return;
	check(note.data, note.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t seed[crypto_sign_SEEDBYTES] = {1};
	char text[HS_HEAD_KEY_TEXT_MAX], again[HS_HEAD_KEY_TEXT_MAX];
	uint8_t key[HS_HEAD_PUBLIC_LEN];
	hs_assert(sodium_init() >= 0);
	(void)crypto_sign_seed_keypair(public, secret, seed);
	check(data, size);
	check_signed(data, size);
	if (size < sizeof text) {
		memcpy(text, data, size);
		text[size] = '\0';
		if (hs_head_key_parse(text, key)) {
			hs_head_key_format(key, again);
			hs_assert(strcmp(text, again) == 0);
		}
	}
	return 0;
}
