/*
 * A database whose disk an attacker writes to: a good one, some bytes of the file and of its log changed or cut as the input
 * says, is opened, read, checked and written to. Errors are fine; wrong data, crashes and endless work are not.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "crypto/db.h"

static struct hs_db_key key;
static char folder[] = "/tmp/hisho-fuzz-XXXXXX", made[64], bad[64];
static struct hs_buf file, wal;
static int dir;

static int budget; /* calls of the progress handler that are left */

static int progress(void *ctx)
{
	return --budget < 0;
}

static void setup(void)
{
	sqlite3 *db;
	static const uint8_t bytes[HS_KEY_LEN] = {7};
	key = (struct hs_db_key){.key = hs_key_copy(bytes), .generation = 1};
	hs_assert(mkdtemp(folder));
	(void)snprintf(made, sizeof made, "%s/made", folder);
	(void)snprintf(bad, sizeof bad, "%s/bad", folder);
	dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	hs_assert(hs_db_create(made, &key, NULL) == 0 && hs_db_open(made, &key, 0, &db, NULL) == 0);
	hs_assert(sqlite3_exec(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT); CREATE INDEX i ON t(b);"
				   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)"
				   "INSERT INTO t SELECT i, 'row ' || i FROM n; PRAGMA wal_checkpoint(TRUNCATE);"
				   "UPDATE t SET b = 'row ' || (a + 1000) WHERE a > 100", NULL, NULL, NULL) == SQLITE_OK);
	hs_assert(hs_file_read(dir, "made", 1 << 24, &file) == 0 && hs_file_read(dir, "made-wal", 1 << 24, &wal) == 0);
	sqlite3_close(db);
}

static void spoil(struct hs_buf *b, const uint8_t *data, size_t size, const char *name)
{
	HS_BUF_AUTO copy = HS_BUF_INIT;
	hs_assert(hs_buf_append(&copy, b->data, b->len) == 0);
	for (size_t i = 0; i + 4 <= size; i += 4) {
		size_t at = ((size_t)data[i] << 16 | (size_t)data[i + 1] << 8 | data[i + 2]) % (copy.len + 1);
		if (data[i + 3] == 0)
			copy.len = at;
		else if (at < copy.len)
			copy.data[at] ^= data[i + 3];
	}
	(void)unlinkat(dir, name, 0); /* it may not be there */
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	hs_assert(fd >= 0 && hs_fd_write_all(fd, copy.data, copy.len) == 0);
	close(fd);
}

static int row(void *ctx, int n, char **values, char **names)
{
	/* Only what was once written may be read: this row's first text or its second. */
	long a = strtol(values[0], NULL, 10), b = strtol(values[1] + 4, NULL, 10);
	hs_assert(strncmp(values[1], "row ", 4) == 0 && (b == a || b == a + 1000));
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	sqlite3 *db;
	struct hs_err err;
	struct hs_db_scrub scrub;
	if (!key.key)
		setup();
	spoil(&file, data, size / 2, "bad");
	spoil(&wal, data + size / 2, size - size / 2, "bad-wal");
	if (hs_db_open(bad, &key, 0, &db, &err) < 0)
		return 0;
	budget = 10000;
	sqlite3_progress_handler(db, 1000, progress, NULL);
	(void)sqlite3_exec(db, "SELECT a, b FROM t", row, NULL, NULL);
	(void)sqlite3_exec(db, "PRAGMA integrity_check; DELETE FROM t WHERE a % 2; PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL);
	(void)!hs_db_scrub(db, &scrub, &err);
	sqlite3_close_v2(db);
	return 0;
}
