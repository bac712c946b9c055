#include "crypto/wal.h"

#include <string.h>

#include <sodium.h>

#include "base/wire.h"

#define BOUND_LEN 16 /* of the frame header: page number, commit size, salts */
#define AAD_LEN (1 + 4 + HS_DB_UUID_LEN + 4 + BOUND_LEN + 4)
#define SEALED_LEN (HS_PAGE_BODY + 8)

/* "W" || format || uuid || key generation || frame header bytes 0-15 || frame index. */
static void frame_aad(const struct hs_page_key *k, uint32_t index, const uint8_t *header, uint8_t aad[static AAD_LEN])
{
	aad[0] = 'W';
	hs_le32_store(aad + 1, HS_DB_FORMAT);
	memcpy(aad + 5, k->uuid, HS_DB_UUID_LEN);
	hs_le32_store(aad + 21, k->generation);
	memcpy(aad + 25, header, BOUND_LEN);
	hs_le32_store(aad + 41, index);
}

bool hs_wal_seal(const struct hs_page_key *k, uint32_t index, const uint8_t plain[static HS_WAL_FRAME_LEN],
		 uint8_t disk[static HS_WAL_FRAME_LEN])
{
	uint8_t aad[AAD_LEN], sealed[SEALED_LEN];
	const uint8_t *page = plain + HS_WAL_FRAME_HEADER_LEN;
	uint8_t *out = disk + HS_WAL_FRAME_HEADER_LEN;
	if (!hs_page_zeros(page + HS_PAGE_BODY, HS_DB_RESERVE))
		return false;
	memcpy(disk, plain, BOUND_LEN);
	memset(disk + BOUND_LEN, 0, HS_WAL_FRAME_HEADER_LEN - BOUND_LEN);
	memcpy(sealed, page, HS_PAGE_BODY);
	memcpy(sealed + HS_PAGE_BODY, plain + HS_WAL_CHECKSUM_AT, 8);
	hs_page_put_reserve(k, out);
	frame_aad(k, index, plain, aad);
	/* In place: libsodium allows it, and the plaintext copy is gone with it. */
	if (crypto_aead_xchacha20poly1305_ietf_encrypt_detached(sealed, out + HS_RESERVE_TAG, NULL, sealed, SEALED_LEN, aad,
								AAD_LEN, NULL, out + HS_RESERVE_NONCE, k->key->bytes) != 0)
		return false;
	memcpy(out, sealed, HS_PAGE_BODY);
	memcpy(out + HS_RESERVE_CHECKSUM, sealed + HS_PAGE_BODY, 8);
	return true;
}

bool hs_wal_open(const struct hs_page_key *k, uint32_t index, const uint8_t disk[static HS_WAL_FRAME_LEN],
		 uint8_t plain[static HS_WAL_FRAME_LEN])
{
	uint8_t aad[AAD_LEN], sealed[SEALED_LEN];
	const uint8_t *in = disk + HS_WAL_FRAME_HEADER_LEN;
	memset(plain, 0, HS_WAL_FRAME_LEN);
	if (!hs_page_reserve_fits(k, in) || !hs_page_zeros(disk + HS_WAL_CHECKSUM_AT, 8))
		return false;
	memcpy(sealed, in, HS_PAGE_BODY);
	memcpy(sealed + HS_PAGE_BODY, in + HS_RESERVE_CHECKSUM, 8);
	frame_aad(k, index, disk, aad);
	if (crypto_aead_xchacha20poly1305_ietf_decrypt_detached(sealed, NULL, sealed, SEALED_LEN, in + HS_RESERVE_TAG, aad,
								AAD_LEN, in + HS_RESERVE_NONCE, k->key->bytes) != 0)
		return false;
	memcpy(plain, disk, BOUND_LEN);
	memcpy(plain + HS_WAL_CHECKSUM_AT, sealed + HS_PAGE_BODY, 8);
	memcpy(plain + HS_WAL_FRAME_HEADER_LEN, sealed, HS_PAGE_BODY);
	sodium_memzero(sealed, sizeof sealed);
	return true;
}
