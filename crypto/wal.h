/*
 * Inside this room: how one frame of the write-ahead log lies on disk (docs/formats/page.md). Pure functions, no files.
 *
 * SQLite's frame is a 24-byte header (page number, commit size, two salts, a checksum of 8 bytes) and a page. The checksum is
 * an unkeyed sum over plaintext, so on disk its place holds zeros, and it travels encrypted in the page's reserve.
 */
#ifndef HISHO_CRYPTO_WAL_H
#define HISHO_CRYPTO_WAL_H

#include "crypto/page.h"

#define HS_WAL_HEADER_LEN 32
#define HS_WAL_FRAME_HEADER_LEN 24
#define HS_WAL_CHECKSUM_AT 16
#define HS_WAL_FRAME_LEN (HS_WAL_FRAME_HEADER_LEN + HS_DB_PAGE_SIZE)

/* plain and disk: whole frames, header first. index: 0 for the first frame of the file. As hs_page_seal and hs_page_open. */
bool hs_wal_seal(const struct hs_page_key *k, uint32_t index, const uint8_t plain[static HS_WAL_FRAME_LEN],
		 uint8_t disk[static HS_WAL_FRAME_LEN]) HS_MUST_CHECK;
bool hs_wal_open(const struct hs_page_key *k, uint32_t index, const uint8_t disk[static HS_WAL_FRAME_LEN],
		 uint8_t plain[static HS_WAL_FRAME_LEN]) HS_MUST_CHECK;

#endif
