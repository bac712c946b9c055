/*
 * Keys: 32 secret bytes in guarded memory, and what is derived from a tenant's key.
 *
 * A `struct hs_key` lies in sodium_malloc memory: between guard pages, never swapped, wiped by its only destructor. Nothing
 * prints it. Derivation is libsodium's BLAKE2b key derivation, so a subkey tells nothing of its parent or siblings.
 * docs/formats/keyring.md has the whole tree.
 */
#ifndef HISHO_CRYPTO_KEY_H
#define HISHO_CRYPTO_KEY_H

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

#define HS_KEY_LEN 32
#define HS_COMMIT_LEN 32

struct hs_key {
	uint8_t bytes[HS_KEY_LEN];
};
#define HS_KEY_AUTO HS_CLEANUP(hs_key_drop) struct hs_key *

/* Once a process, before anything else of this room; every constructor here also calls it. 0 or -ENOTRECOVERABLE. */
int hs_crypto_init(void) HS_MUST_CHECK;

struct hs_key *hs_key_create(void) HS_MUST_CHECK; /* random; NULL on -ENOMEM, as the two below */
struct hs_key *hs_key_copy(const uint8_t bytes[static HS_KEY_LEN]) HS_MUST_CHECK;
void hs_key_destroy(struct hs_key *k); /* wipes; takes NULL */
void hs_key_drop(struct hs_key **k);   /* for HS_CLEANUP */

/* What a tenant's key is never used for itself, only through these. The numbers are stored nowhere but fixed for ever. */
enum hs_subkey {
	HS_SUBKEY_DB = 1,         /* pages of index.db */
	HS_SUBKEY_BLOB = 2,       /* wraps blob keys */
	HS_SUBKEY_AUDIT = 3,      /* audit records */
	HS_SUBKEY_AGE = 4,        /* X25519 identity that opens submissions */
	HS_SUBKEY_HMAC = 5,       /* query HMACs and the like */
	HS_SUBKEY_CREDENTIAL = 6, /* keyed hashes of credentials' secrets */
	HS_SUBKEY_ANCHOR = 7,     /* the database's anchor */
};
struct hs_key *hs_key_derive(const struct hs_key *tenant, enum hs_subkey which) HS_MUST_CHECK;

/*
 * Key commitment: BLAKE2b-256 keyed by k over "commit" || u8 length of scope || scope || u32 generation. An AEAD alone does
 * not bind its key; this stands beside every wrapped key and is compared in constant time.
 */
void hs_key_commit(const uint8_t k[static HS_KEY_LEN], const void *scope, uint8_t scope_len, uint32_t generation,
		   uint8_t out[static HS_COMMIT_LEN]);

#endif
