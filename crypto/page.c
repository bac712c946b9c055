#include "crypto/page.h"

#include <string.h>

#include <sodium.h>

#include "base/wire.h"

_Static_assert(HS_RESERVE_ZERO + 8 == HS_DB_PAGE_SIZE, "the reserve fills the page");
_Static_assert(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES == 24 && crypto_aead_xchacha20poly1305_ietf_ABYTES == 16,
	       "nonce and tag have the places that the format gives them");

static const uint8_t sqlite_magic[HS_PAGE_PREFIX_LEN] = "SQLite format 3";
static const uint8_t magic[HS_PAGE_MAGIC_LEN] = {'H', 'i', 's', 'h', 'o', 'D', 'B', '\n'};

#define AAD_LEN (1 + 4 + HS_DB_UUID_LEN + 4 + 4 + 4 + HS_PAGE_PREFIX_LEN)

bool hs_page_zeros(const uint8_t *p, size_t n)
{
	uint8_t any = 0;
	for (size_t i = 0; i < n; i++)
		any |= p[i];
	return any == 0;
}

static bool same(const uint8_t *a, const uint8_t *b, size_t n)
{
	return sodium_memcmp(a, b, n) == 0;
}

/* "P" || format || uuid || key generation || page size || page number, and page 1's prefix; numbers little-endian. */
static size_t page_aad(const struct hs_page_key *k, uint32_t number, const uint8_t *disk, uint8_t aad[static AAD_LEN])
{
	aad[0] = 'P';
	hs_le32_store(aad + 1, HS_DB_FORMAT);
	memcpy(aad + 5, k->uuid, HS_DB_UUID_LEN);
	hs_le32_store(aad + 21, k->generation);
	hs_le32_store(aad + 25, HS_DB_PAGE_SIZE);
	hs_le32_store(aad + 29, number);
	if (number != 1)
		return AAD_LEN - HS_PAGE_PREFIX_LEN;
	memcpy(aad + 33, disk, HS_PAGE_PREFIX_LEN);
	return AAD_LEN;
}

void hs_page_put_reserve(const struct hs_page_key *k, uint8_t disk[static HS_DB_PAGE_SIZE])
{
	memset(disk + HS_PAGE_BODY, 0, HS_DB_RESERVE);
	randombytes_buf(disk + HS_RESERVE_NONCE, 24);
	hs_le32_store(disk + HS_RESERVE_GENERATION, k->generation);
	hs_le32_store(disk + HS_RESERVE_FORMAT, HS_DB_FORMAT);
}

bool hs_page_reserve_fits(const struct hs_page_key *k, const uint8_t disk[static HS_DB_PAGE_SIZE])
{
	return hs_le32_load(disk + HS_RESERVE_GENERATION) == k->generation &&
	       hs_le32_load(disk + HS_RESERVE_FORMAT) == HS_DB_FORMAT && hs_page_zeros(disk + HS_RESERVE_ZERO, 8);
}

bool hs_page_seal(const struct hs_page_key *k, uint32_t number, const uint8_t plain[static HS_DB_PAGE_SIZE],
		  uint8_t disk[static HS_DB_PAGE_SIZE])
{
	uint8_t aad[AAD_LEN];
	size_t clear = number == 1 ? HS_PAGE_PREFIX_LEN : 0;
	/* What SQLite keeps in the reserve would be lost, and with it the WAL checksum that it computed over it. */
	if (!hs_page_zeros(plain + HS_PAGE_BODY, HS_DB_RESERVE) || (clear && !same(plain, sqlite_magic, sizeof sqlite_magic)))
		return false;
	if (clear) {
		memcpy(disk, magic, sizeof magic);
		hs_le32_store(disk + 8, HS_DB_FORMAT);
		hs_le32_store(disk + 12, k->generation);
	}
	hs_page_put_reserve(k, disk);
	size_t aad_len = page_aad(k, number, disk, aad);
	return crypto_aead_xchacha20poly1305_ietf_encrypt_detached(disk + clear, disk + HS_RESERVE_TAG, NULL, plain + clear,
								   HS_PAGE_BODY - clear, aad, aad_len, NULL,
								   disk + HS_RESERVE_NONCE, k->key->bytes) == 0;
}

bool hs_page_open(const struct hs_page_key *k, uint32_t number, const uint8_t disk[static HS_DB_PAGE_SIZE],
		  uint8_t plain[static HS_DB_PAGE_SIZE])
{
	uint8_t aad[AAD_LEN];
	size_t clear = number == 1 ? HS_PAGE_PREFIX_LEN : 0;
	size_t aad_len = page_aad(k, number, disk, aad);
	memset(plain, 0, HS_DB_PAGE_SIZE);
	if (!hs_page_reserve_fits(k, disk) || !hs_page_zeros(disk + HS_RESERVE_CHECKSUM, 8))
		return false;
	if (clear && (!same(disk, magic, sizeof magic) || hs_le32_load(disk + 8) != HS_DB_FORMAT ||
		      hs_le32_load(disk + 12) != k->generation))
		return false;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt_detached(plain + clear, NULL, disk + clear, HS_PAGE_BODY - clear,
								disk + HS_RESERVE_TAG, aad, aad_len,
								disk + HS_RESERVE_NONCE, k->key->bytes) != 0) {
		memset(plain, 0, HS_DB_PAGE_SIZE);
		return false;
	}
	if (clear)
		memcpy(plain, sqlite_magic, sizeof sqlite_magic);
	return true;
}

void hs_page_synthetic(uint8_t plain[static HS_DB_PAGE_SIZE])
{
	memset(plain, 0, HS_DB_PAGE_SIZE);
	memcpy(plain, sqlite_magic, sizeof sqlite_magic);
	plain[16] = HS_DB_PAGE_SIZE >> 8; /* page size, big-endian */
	plain[18] = 2;                    /* written and read through a WAL */
	plain[19] = 2;
	plain[20] = HS_DB_RESERVE;
	plain[21] = 64; /* payload fractions, fixed by SQLite's file format */
	plain[22] = 32;
	plain[23] = 32;
}

enum hs_page_prefix hs_page_prefix_look(const uint8_t prefix[static HS_PAGE_PREFIX_LEN], uint32_t *ret_format)
{
	if (!same(prefix, magic, sizeof magic))
		return HS_PREFIX_FOREIGN;
	*ret_format = hs_le32_load(prefix + 8);
	return *ret_format == HS_DB_FORMAT ? HS_PREFIX_OURS : HS_PREFIX_NEWER;
}
