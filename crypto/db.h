/*
 * The encrypted database: SQLite connections over the page-encrypting VFS (docs/formats/page.md).
 *
 * One file may have many connections of one process, each used by one thread at a time (sqlite3_interrupt excepted). Their
 * WAL index lies in process memory, so no second process may open the file: hold a hs_dir_lock on its folder first.
 *
 * Every connection has: WAL, synchronous=FULL, temp_store=MEMORY, foreign_keys, cell_size_check, trusted_schema off, DEFENSIVE,
 * no extensions, no ATTACH, no mmap. The VFS opens nothing but databases and WALs that it has a key for: a rollback journal
 * is absent whatever lies there, a temporary file is an error. A page that does not authenticate is SQLITE_IOERR_DATA; a full
 * disk is SQLITE_FULL; after a failed fsync every connection of the file answers SQLITE_IOERR_FSYNC until the process ends.
 */
#ifndef HISHO_CRYPTO_DB_H
#define HISHO_CRYPTO_DB_H

#include <stdbool.h>
#include <stdint.h>

#include <sqlite3.h>

#include "base/err.h"
#include "crypto/key.h"

#define HS_DB_FORMAT 1
#define HS_DB_UUID_LEN 16
#define HS_DB_PAGE_SIZE 4096
#define HS_DB_RESERVE 64
#define HS_DB_BUSY_MS 10000 /* how long a connection waits for another's lock */

/* What the pages are sealed under. uuid comes from the keyring entry and is bound into every page. */
struct hs_db_key {
	const struct hs_key *key; /* HS_SUBKEY_DB of the tenant; copied */
	uint8_t uuid[HS_DB_UUID_LEN];
	uint32_t generation;
};

enum hs_db_flag {
	HS_DB_READER = 1u << 0, /* query_only: this connection never writes */
};

/*
 * Make an empty database at path: under a temporary name, without a journal on disk, synced, renamed, folder synced.
 * -EEXIST "db.exists"; -ENOSPC; -EIO.
 */
int hs_db_create(const char *path, const struct hs_db_key *key, struct hs_err *err) HS_MUST_CHECK;

/*
 * Open one connection; sqlite3_close_v2 (or sqlite3_close) ends it. flags: enum hs_db_flag bits.
 * -ENOENT "db.missing"; -ENOTSUP "db.format" (a format version that this build does not know, named); -EBADMSG "db.sealed"
 * (pages do not authenticate: wrong key, another tenant's file, or damage) or "db.damaged" (not a Hisho database, cut short);
 * -EBUSY "db.key" (open in this process under another key); -EIO "db.open".
 */
int hs_db_open(const char *path, const struct hs_db_key *key, unsigned flags, sqlite3 **ret, struct hs_err *err) HS_MUST_CHECK;

/* Negative errno for an SQLite result: -ENOSPC for FULL, -EBADMSG for IOERR_DATA, CORRUPT and NOTADB, -EBUSY, -ENOMEM, ... */
int hs_db_errno(int sqlite_rc);

struct hs_db_scrub {
	uint64_t pages, unwritten, bad; /* unwritten: never stored (all zeros), free by SQLite's own books */
	uint32_t first_bad;             /* page number; 0: none */
};

/* Authenticate every stored page of the database file, used or free. Slow: reads it all. */
int hs_db_scrub(sqlite3 *db, struct hs_db_scrub *ret, struct hs_err *err) HS_MUST_CHECK;

/* Copy a live database to a new file at path, under its own key and uuid. As hs_db_create. */
int hs_db_backup(sqlite3 *db, const char *path, const struct hs_db_key *key, struct hs_err *err) HS_MUST_CHECK;

/*
 * The one owner of a folder: an OFD write lock on "owner.lock" in it, held while the descriptor stays open.
 * Returns the descriptor, for hs_close; -EBUSY "dir.owned" where another process holds it.
 */
int hs_dir_lock(const char *dir, struct hs_err *err) HS_MUST_CHECK;

#endif
