/* Manifests: as they come, and signed anew so that the fields behind the signature are reached; payloads as well. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <sodium.h>

#include "crypto/manifest.h"
#include "crypto/payload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t public[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES];
	static struct hs_signer *signer;
	static bool ready;
	uint8_t copy[HS_MANIFEST_MAX + 1];
	struct hs_manifest m;
	struct hs_payload p;
	struct hs_err err;
	if (!ready) {
		static const uint8_t seed[crypto_sign_SEEDBYTES] = {1};
		hs_assert(hs_crypto_init() == 0);
		(void)crypto_sign_seed_keypair(public, secret, seed);
		signer = hs_signer_create();
		ready = true;
	}
	(void)!hs_manifest_open(data, size, &m, &err);
	(void)!hs_payload_parse(data, size, &p, &err);
	if (size < 96 || size > sizeof copy)
		return 0;
	memcpy(copy, data, size);
	memcpy(copy + size - 96, public, sizeof public);
	(void)crypto_sign_detached(copy + size - 64, NULL, copy, size - 64, secret);
	if (hs_manifest_open(copy, size, &m, &err) == 0) { /* what opens can be signed again, to the same bytes */
		HS_BUF_AUTO b = HS_BUF_INIT;
		hs_assert(hs_manifest_sign(&m, signer, &b, &err) == 0);
		hs_assert(b.len == size && memcmp(b.data, copy, size - 96) == 0);
	}
	return 0;
}
