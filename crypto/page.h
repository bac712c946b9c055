/*
 * Inside this room: how one page of a database lies on disk (docs/formats/page.md). Pure functions, no files.
 *
 * SQLite sees 4096-byte pages whose last 64 bytes are reserved and always zero; on disk those hold nonce, tag and
 * generation. WAL frames (crypto/wal.h) use the same reserve.
 */
#ifndef HISHO_CRYPTO_PAGE_H
#define HISHO_CRYPTO_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "crypto/db.h"

#define HS_PAGE_BODY (HS_DB_PAGE_SIZE - HS_DB_RESERVE)
#define HS_PAGE_PREFIX_LEN 16 /* of page 1 on disk: magic 8, format 4, key generation 4 */
#define HS_PAGE_MAGIC_LEN 8

/* Where things lie in the 64 reserved bytes. */
enum {
	HS_RESERVE_NONCE = HS_PAGE_BODY,
	HS_RESERVE_TAG = HS_RESERVE_NONCE + 24,
	HS_RESERVE_CHECKSUM = HS_RESERVE_TAG + 16,
	HS_RESERVE_GENERATION = HS_RESERVE_CHECKSUM + 8,
	HS_RESERVE_FORMAT = HS_RESERVE_GENERATION + 4,
	HS_RESERVE_ZERO = HS_RESERVE_FORMAT + 4,
};

struct hs_page_key {
	const struct hs_key *key;
	uint8_t uuid[HS_DB_UUID_LEN];
	uint32_t generation;
};

/* False where the page is not one that SQLite may write: reserved bytes set, or page 1 without its header. */
bool hs_page_seal(const struct hs_page_key *k, uint32_t number, const uint8_t plain[static HS_DB_PAGE_SIZE],
		  uint8_t disk[static HS_DB_PAGE_SIZE]) HS_MUST_CHECK;

/* False where it does not authenticate as this page of this database; plain is then zeros. May not overlap. */
bool hs_page_open(const struct hs_page_key *k, uint32_t number, const uint8_t disk[static HS_DB_PAGE_SIZE],
		  uint8_t plain[static HS_DB_PAGE_SIZE]) HS_MUST_CHECK;

/* The first 100 bytes of page 1 as SQLite needs them before it has read the WAL; the rest of plain is zeros. */
void hs_page_synthetic(uint8_t plain[static HS_DB_PAGE_SIZE]);

enum hs_page_prefix {
	HS_PREFIX_OURS,
	HS_PREFIX_FOREIGN, /* no magic of ours: torn, damaged, or another program's file */
	HS_PREFIX_NEWER,   /* our magic, a format that this build does not know */
};
enum hs_page_prefix hs_page_prefix_look(const uint8_t prefix[static HS_PAGE_PREFIX_LEN], uint32_t *ret_format);

/* For page.c and wal.c: are all n bytes zero? Not for secrets. */
bool hs_page_zeros(const uint8_t *p, size_t n);

/* Seal and open body (HS_PAGE_BODY bytes) and the 8 bytes behind it, as the reserve of disk lays them out. */
void hs_page_put_reserve(const struct hs_page_key *k, uint8_t disk[static HS_DB_PAGE_SIZE]);
bool hs_page_reserve_fits(const struct hs_page_key *k, const uint8_t disk[static HS_DB_PAGE_SIZE]) HS_MUST_CHECK;

#endif
