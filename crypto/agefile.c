#include "crypto/agefile.h"

#include <string.h>

#include <sodium.h>

#define X25519_INFO "age-encryption.org/v1/X25519"

static void hmac(const uint8_t *key, size_t key_len, const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len,
		 uint8_t ret[static 32])
{
	crypto_auth_hmacsha256_state state;
	(void)crypto_auth_hmacsha256_init(&state, key, key_len); /* these three cannot fail */
	(void)crypto_auth_hmacsha256_update(&state, a, a_len);
	(void)crypto_auth_hmacsha256_update(&state, b, b_len);
	(void)crypto_auth_hmacsha256_final(&state, ret);
	sodium_memzero(&state, sizeof state);
}

void hs_age_hkdf(const uint8_t *ikm, size_t ikm_len, const uint8_t *salt, size_t salt_len, const char *info,
		 uint8_t ret[static 32])
{
	static const uint8_t zeros[32], one = 1;
	uint8_t prk[32];
	hmac(salt_len ? salt : zeros, salt_len ? salt_len : sizeof zeros, ikm, ikm_len, zeros, 0, prk);
	hmac(prk, sizeof prk, (const uint8_t *)info, strlen(info), &one, 1, ret); /* 32 bytes are one block of the expansion */
	sodium_memzero(prk, sizeof prk);
}

void hs_age_header_mac(const uint8_t file_key[static HS_AGE_FILE_KEY_LEN], const uint8_t *header, size_t n,
		       uint8_t ret[static HS_AGE_MAC_LEN])
{
	uint8_t key[32];
	hs_age_hkdf(file_key, HS_AGE_FILE_KEY_LEN, NULL, 0, "header", key);
	hmac(key, sizeof key, header, n, header, 0, ret);
	sodium_memzero(key, sizeof key);
}

bool hs_age_wrap_key(const uint8_t scalar[static 32], const uint8_t point[static 32], const uint8_t share[static 32],
		     const uint8_t recipient[static 32], uint8_t ret[static 32])
{
	uint8_t secret[32], salt[64];
	if (crypto_scalarmult_curve25519(secret, scalar, point) != 0) /* all zeros */
		return false;
	memcpy(salt, share, 32);
	memcpy(salt + 32, recipient, 32);
	hs_age_hkdf(secret, sizeof secret, salt, sizeof salt, X25519_INFO, ret);
	sodium_memzero(secret, sizeof secret);
	return true;
}

void hs_age_chunk_nonce(uint64_t counter, bool last, uint8_t ret[static 12])
{
	memset(ret, 0, 12);
	for (unsigned i = 0; i < 8; i++)
		ret[10 - i] = (uint8_t)(counter >> (8 * i));
	ret[11] = last;
}
