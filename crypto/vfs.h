/*
 * Inside this room: the encrypting SQLite VFS, a layer over the system's own ("unix").
 *
 * It opens databases that were registered with a key, and their WALs, and nothing else. crypto/db.h is the front.
 */
#ifndef HISHO_CRYPTO_VFS_H
#define HISHO_CRYPTO_VFS_H

#include <stdbool.h>
#include <stdint.h>

#include <sqlite3.h>

#include "base/err.h"
#include "crypto/db.h"

#define HS_VFS_NAME "hisho"

struct hs_vfs_node; /* one database file that this process has a key for */

/* Register the VFS with SQLite, once. 0, -ENOMEM, -EIO. */
int hs_vfs_init(void) HS_MUST_CHECK;

/*
 * Tests: layer over another VFS than the system's (NULL: back to it). Only while no file is open.
 */
void hs_vfs_set_base(sqlite3_vfs *base);

/*
 * Make the key of a path known, so that SQLite may open it; each hold is let go once. creating: the file may be empty.
 * -EBUSY "db.key" where the path is held under another key.
 */
int hs_vfs_hold(const char *path, const struct hs_db_key *key, bool creating, struct hs_vfs_node **ret,
		struct hs_err *err) HS_MUST_CHECK;
void hs_vfs_release(struct hs_vfs_node *n);

/* What was seen of the file's prefix when it was last opened: an unknown format version, or 0. */
uint32_t hs_vfs_newer_format(struct hs_vfs_node *n);

/* Scrub one open database (crypto/db.h). SQLite result code. */
int hs_vfs_scrub(sqlite3_file *file, struct hs_db_scrub *ret);

#endif
