/* Credentials and senders' public keys as text: what parses is written again as the same text. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "crypto/signer.h"
#include "crypto/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hs_bearer t;
	char tag[HS_TOKEN_TAG_MAX + 1], text[HS_TOKEN_TEXT_MAX + 1], key_text[HS_SIGNER_TEXT_LEN + 1];
	uint8_t key[HS_SIGNER_PUBLIC_LEN];
	struct hs_err err;
	hs_assert(hs_crypto_init() == 0);
	bool peeked = hs_token_peek((const char *)data, size, tag);
	if (hs_token_parse((const char *)data, size, &t)) {
		hs_assert(peeked && hs_token_format(&t, text));
		hs_assert(strlen(text) == size && memcmp(text, data, size) == 0);
		hs_token_wipe(&t);
	}
	if (hs_signer_public_parse((const char *)data, size, key, &err) == 0) {
		hs_signer_public_format(key, key_text);
		hs_assert(strlen(key_text) == size && memcmp(key_text, data, size) == 0);
	}
	return 0;
}
