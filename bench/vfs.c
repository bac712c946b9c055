/*
 * vfs: the encrypted database against plain SQLite with the same settings, in the same folder, in turns. Small transactions one
 * by one (each waits for the disk), one large transaction with its checkpoint, and a scan that the page cache of SQLite
 * cannot hold. The folder is $TMPDIR, or /tmp: choose the disk that is meant.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/bench.h"
#include "crypto/db.h"

#define COMMITS 200
#define ROWS 20000
#define ROW_BYTES 1000

struct bench_db {
	char path[256];
	sqlite3 *db;
	double commits[BENCH_ROUNDS_MAX], written[BENCH_ROUNDS_MAX], scanned[BENCH_ROUNDS_MAX];
};

static int run(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static int plain_open(struct bench_db *d)
{
	int rc = sqlite3_open_v2(d->path, &d->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, "unix");
	return rc ? rc : run(d->db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY");
}

static int sealed_open(struct bench_db *d, struct hs_err *err)
{
	HS_KEY_AUTO key = hs_key_create();
	if (!key)
		return -ENOMEM;
	const struct hs_db_key k = {.key = key, .generation = 1};
	int rc = hs_db_create(d->path, &k, err);
	return rc ? rc : hs_db_open(d->path, &k, 0, &d->db, err);
}

static double per_second(double what, uint64_t since_us)
{
	return what * 1e6 / (double)(hs_monotonic_us() - since_us);
}

static int measure(struct bench_db *d, unsigned round)
{
	char bulk[256];
	uint64_t start = hs_monotonic_us();
	int rc = SQLITE_OK;
	for (int i = 0; rc == SQLITE_OK && i < COMMITS; i++)
		rc = run(d->db, "INSERT INTO small(s) VALUES('one small transaction')");
	d->commits[round] = per_second(COMMITS, start);

	(void)snprintf(bulk, sizeof bulk,
		       "DELETE FROM large; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
		       "INSERT INTO large SELECT i, zeroblob(%d) FROM n; PRAGMA wal_checkpoint(TRUNCATE)", ROWS, ROW_BYTES);
	start = hs_monotonic_us();
	if (rc == SQLITE_OK)
		rc = run(d->db, bulk);
	d->written[round] = per_second(ROWS * (double)ROW_BYTES / 1e6, start);

	start = hs_monotonic_us();
	if (rc == SQLITE_OK)
		rc = run(d->db, "PRAGMA cache_size=50; SELECT sum(length(b)) FROM large; PRAGMA cache_size=-2000");
	d->scanned[round] = per_second(ROWS * (double)ROW_BYTES / 1e6, start);
	return rc;
}

static void remove_db(struct bench_db *d)
{
	char path[300];
	(void)sqlite3_close(d->db); /* nothing is kept of it */
	(void)unlink(d->path);
	(void)snprintf(path, sizeof path, "%s-wal", d->path);
	(void)unlink(path);
	(void)snprintf(path, sizeof path, "%s-shm", d->path);
	(void)unlink(path);
}

static int run_all(const struct bench_options *o, struct bench_db *ours, struct bench_db *plain, struct hs_err *err)
{
	static const char schema[] = "CREATE TABLE small(id INTEGER PRIMARY KEY, s TEXT);"
				     "CREATE TABLE large(id INTEGER PRIMARY KEY, b BLOB)";
	int rc = sealed_open(ours, err);
	if (rc < 0)
		return rc;
	rc = plain_open(plain);
	if (rc == SQLITE_OK && (run(ours->db, schema) || run(plain->db, schema)))
		rc = SQLITE_ERROR;
	for (unsigned i = 0; rc == SQLITE_OK && i < o->rounds; i++) {
		rc = measure(ours, i);
		if (rc == SQLITE_OK)
			rc = measure(plain, i);
	}
	return rc == SQLITE_OK ? 0 : hs_fail_errno(err, hs_db_errno(rc), "bench.run", sqlite3_errstr(rc));
}

int bench_vfs(const struct bench_options *o, struct bench_report *r, struct hs_err *err)
{
	const char *tmp = getenv("TMPDIR");
	char folder[200];
	struct bench_db ours = {0}, plain = {0};
	(void)snprintf(folder, sizeof folder, "%s/hisho-bench-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(folder))
		return hs_fail_errno(err, -errno, "bench.run", folder);
	(void)snprintf(ours.path, sizeof ours.path, "%s/sealed.db", folder);
	(void)snprintf(plain.path, sizeof plain.path, "%s/plain.db", folder);
	int rc = run_all(o, &ours, &plain, err);
	remove_db(&ours);
	remove_db(&plain);
	(void)rmdir(folder);
	if (rc < 0)
		return rc;
	(void)snprintf(r->about, sizeof r->about, "in %s, %d commits, %d MB, one connection", tmp ? tmp : "/tmp", COMMITS,
		       ROWS * ROW_BYTES / 1000000);
	bench_add(r, (struct bench_figure){"small transactions", "1/s", bench_median(ours.commits, o->rounds),
					   bench_median(plain.commits, o->rounds), "plain SQLite"});
	bench_add(r, (struct bench_figure){"written and checkpointed", "MB/s", bench_median(ours.written, o->rounds),
					   bench_median(plain.written, o->rounds), "plain SQLite"});
	bench_add(r, (struct bench_figure){"scanned, cache too small", "MB/s", bench_median(ours.scanned, o->rounds),
					   bench_median(plain.scanned, o->rounds), "plain SQLite"});
	return 0;
}
