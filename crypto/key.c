#include "crypto/key.h"

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "base/wire.h"

#define SUBKEY_CONTEXT "hisho.tk" /* exactly crypto_kdf_CONTEXTBYTES */

_Static_assert(HS_KEY_LEN == crypto_kdf_KEYBYTES, "a key is a key of libsodium's derivation");
_Static_assert(HS_KEY_LEN == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "a key is a key of the AEAD");

int hs_crypto_init(void)
{
	return sodium_init() < 0 ? -ENOTRECOVERABLE : 0;
}

static struct hs_key *allocate(void)
{
	return hs_crypto_init() < 0 ? NULL : sodium_malloc(sizeof(struct hs_key));
}

struct hs_key *hs_key_create(void)
{
	struct hs_key *k = allocate();
	if (k)
		randombytes_buf(k->bytes, sizeof k->bytes);
	return k;
}

struct hs_key *hs_key_copy(const uint8_t bytes[static HS_KEY_LEN])
{
	struct hs_key *k = allocate();
	if (k)
		memcpy(k->bytes, bytes, HS_KEY_LEN);
	return k;
}

void hs_key_destroy(struct hs_key *k)
{
	sodium_free(k); /* wipes, and takes NULL */
}

void hs_key_drop(struct hs_key **k)
{
	hs_key_destroy(*k);
	*k = NULL;
}

struct hs_key *hs_key_derive(const struct hs_key *tenant, enum hs_subkey which)
{
	struct hs_key *k = allocate();
	if (k)
		hs_assert(crypto_kdf_derive_from_key(k->bytes, HS_KEY_LEN, (uint64_t)which, SUBKEY_CONTEXT, tenant->bytes) == 0);
	return k;
}

void hs_key_commit(const uint8_t k[static HS_KEY_LEN], const void *scope, uint8_t scope_len, uint32_t generation,
		   uint8_t out[static HS_COMMIT_LEN])
{
	crypto_generichash_state state;
	uint8_t number[4];
	hs_le32_store(number, generation);
	/* These fail only for lengths out of range; ours are constants. */
	(void)crypto_generichash_init(&state, k, HS_KEY_LEN, HS_COMMIT_LEN);
	(void)crypto_generichash_update(&state, (const uint8_t *)"commit", 6);
	(void)crypto_generichash_update(&state, &scope_len, 1);
	(void)crypto_generichash_update(&state, scope, scope_len);
	(void)crypto_generichash_update(&state, number, sizeof number);
	(void)crypto_generichash_final(&state, out, HS_COMMIT_LEN);
	sodium_memzero(&state, sizeof state);
}
