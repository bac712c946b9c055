/*
 * The encrypted database on a disk that loses its power, its space, or an operation.
 * HISHO_POWERCUTS=N tries N seeds instead of 200; a failure names its seed.
 */
#include "crypto/vfs.h"

#include <errno.h>
#include <stdbool.h>

#include "tests/unit/test.h"
#include "tests/unit/crypto/folder.h"
#include "tests/unit/crypto/simdisk.h"

static struct hs_db_key key;
static struct hs_buf empty; /* a fresh database, copied for every seed: the pages do not know their path */

static void make_template(struct folder *f)
{
	sqlite3 *db;
	empty.len = 0;
	hs_vfs_set_base(NULL);
	assert_int_equal(hs_db_create(folder_path(f, "template"), &key, NULL), 0);
	assert_int_equal(hs_db_open(folder_path(f, "template"), &key, 0, &db, NULL), 0);
	assert_int_equal(sqlite3_exec(db, "CREATE TABLE log(n INTEGER PRIMARY KEY, s TEXT); CREATE INDEX log_s ON log(s);"
					  "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, pad BLOB)", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	assert_int_equal(folder_read(f, "template", &empty), 0);
}

static int64_t number(sqlite3 *db, const char *sql, unsigned long seed)
{
	sqlite3_stmt *s = NULL;
	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK || sqlite3_step(s) != SQLITE_ROW)
		fail_msg("seed %lu: %s: %s", seed, sql, sqlite3_errmsg(db));
	int64_t v = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return v;
}

/* One transaction that belongs together: a log row, and rows that carry its number. Returns the result of its commit. */
static int commit(sqlite3 *db, int64_t n)
{
	char sql[512];
	unsigned rows = 1 + sim_random() % 40, first = sim_random() % 60;
	(void)snprintf(sql, sizeof sql,
		       "BEGIN IMMEDIATE; INSERT INTO log VALUES(%lld, hex(randomblob(40)));"
		       "WITH RECURSIVE r(i) AS (SELECT %u UNION ALL SELECT i + 1 FROM r WHERE i < %u) "
		       "REPLACE INTO t SELECT i, %lld, randomblob(%u) FROM r;"
		       "UPDATE t SET pad = randomblob(200) WHERE n = %lld; COMMIT",
		       (long long)n, first, first + rows, (long long)n, 100 + (unsigned)(sim_random() % 3000), (long long)n);
	int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	if (rc != SQLITE_OK && !sqlite3_get_autocommit(db))
		(void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL); /* the failure is what counts */
	return rc;
}

static void checkpoint(sqlite3 *db)
{
	static const char *const kinds[] = {"PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(FULL)",
					    "PRAGMA wal_checkpoint(RESTART)", "PRAGMA wal_checkpoint(TRUNCATE)"};
	(void)sqlite3_exec(db, kinds[sim_random() % 4], NULL, NULL, NULL); /* may fail with the disk */
}

/* Work until the power goes or enough is done; the number of the last commit that was acknowledged. */
static int64_t work(sqlite3 *db)
{
	char sql[96];
	int64_t acknowledged = 0;
	static const int autocheckpoints[] = {0, 10, 50};
	(void)snprintf(sql, sizeof sql, "PRAGMA cache_size=%d; PRAGMA wal_autocheckpoint=%d", 3 + (int)(sim_random() % 20),
		       autocheckpoints[sim_random() % 3]);
	(void)sqlite3_exec(db, sql, NULL, NULL, NULL);
	for (int step = 0; step < 60 && !sim.dead; step++) {
		if (sim_random() % 6 == 0)
			checkpoint(db);
		else if (commit(db, acknowledged + 1) == SQLITE_OK)
			acknowledged++;
		if (sim_random() % 25 == 0)
			(void)sqlite3_exec(db, "DELETE FROM t WHERE id % 3 = 0; PRAGMA incremental_vacuum", NULL, NULL, NULL);
	}
	return acknowledged;
}

enum outcome {
	WHOLE,
	LOST,
	CORRUPT,
};

static enum outcome inspect(const char *path, unsigned long seed, int64_t acknowledged)
{
	sqlite3 *db = NULL;
	struct hs_err err = HS_ERR_INIT;
	struct hs_db_scrub scrub;
	if (hs_db_open(path, &key, 0, &db, &err) < 0)
		return CORRUPT;
	sqlite3_stmt *s = NULL;
	bool ok = sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW &&
		  strcmp((const char *)sqlite3_column_text(s, 0), "ok") == 0;
	sqlite3_finalize(s);
	if (!ok) {
		sqlite3_close(db);
		return CORRUPT;
	}
	int64_t last = number(db, "SELECT coalesce(max(n), 0) FROM log", seed);
	ok = last == acknowledged || last == acknowledged + 1; /* one may have been under way */
	ok = ok && number(db, "SELECT count(*) FROM log", seed) == last;
	ok = ok && number(db, "SELECT coalesce(max(n), 0) FROM t", seed) <= last;
	if (ok) { /* it serves on, and after a checkpoint every page stands */
		if (sqlite3_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL) != SQLITE_OK ||
		    hs_db_scrub(db, &scrub, NULL) < 0 || scrub.bad || commit(db, last + 1) != SQLITE_OK)
			fail_msg("seed %lu: %s", seed, sqlite3_errmsg(db));
	}
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	return ok ? WHOLE : LOST;
}

static enum outcome cut_once(struct folder *f, unsigned long seed, bool lies)
{
	char live[64], after[64], wal[80], path[PATH_MAX + 256];
	sqlite3 *db = NULL;
	(void)snprintf(live, sizeof live, "live%d-%lu", lies, seed);
	(void)snprintf(after, sizeof after, "after%d-%lu", lies, seed);
	(void)snprintf(wal, sizeof wal, "%s-wal", after);
	sim_reset(seed);
	assert_int_equal(folder_write(f, live, empty.data, empty.len), 0);
	sim.file[0].durable = malloc(empty.len + 1);
	memcpy(sim.file[0].durable, empty.data, empty.len);
	sim.file[0].len = empty.len;
	hs_vfs_set_base(sim_init());
	(void)snprintf(path, sizeof path, "%s", folder_path(f, live));
	assert_int_equal(hs_db_open(path, &key, 0, &db, NULL), 0);
	sim.lies = lies;
	sim.cut_at = 1 + (long)(sim_random() % 700);
	int64_t acknowledged = work(db);
	sim.dead = true;
	(void)sqlite3_close(db); /* a dead disk lets nothing through */
	hs_vfs_set_base(NULL);
	sim_settle();
	assert_int_equal(folder_write(f, after, sim.file[0].durable, sim.file[0].len), 0);
	if (sim.file[1].exists)
		assert_int_equal(folder_write(f, wal, sim.file[1].durable, sim.file[1].len), 0);
	(void)snprintf(path, sizeof path, "%s", folder_path(f, after));
	enum outcome o = inspect(path, seed, acknowledged);
	const char *rubbish[] = {live, after, wal};
	for (size_t i = 0; i < 3; i++)
		(void)unlinkat(f->fd, rubbish[i], 0);
	(void)snprintf(wal, sizeof wal, "%s-wal", live);
	(void)unlinkat(f->fd, wal, 0);
	return o;
}

static void test_no_acknowledged_commit_is_lost(void **state)
{
	struct folder *f = *state;
	const char *asked = getenv("HISHO_POWERCUTS");
	unsigned long seeds = asked ? strtoul(asked, NULL, 10) : 200;
	make_template(f);
	for (unsigned long seed = 1; seed <= seeds; seed++) {
		enum outcome o = cut_once(f, seed, false);
		if (o != WHOLE)
			fail_msg("seed %lu: %s", seed, o == LOST ? "an acknowledged commit is gone" : "corrupt");
	}
}

static void test_a_disk_that_lies_about_syncs_is_found_out(void **state)
{
	struct folder *f = *state;
	unsigned harmed = 0;
	make_template(f);
	for (unsigned long seed = 1; seed <= 30; seed++)
		harmed += cut_once(f, seed, true) != WHOLE;
	assert_true(harmed > 5); /* else the simulation proves nothing */
}

static void fail_once(struct folder *f, long n, int failure)
{
	char name[64], path[PATH_MAX + 256];
	sqlite3 *db = NULL;
	struct hs_err err = HS_ERR_INIT;
	int64_t acknowledged = 0;
	unsigned failures = 0;
	(void)snprintf(name, sizeof name, "n%ld-%d", n, failure);
	assert_int_equal(folder_write(f, name, empty.data, empty.len), 0);
	(void)snprintf(path, sizeof path, "%s", folder_path(f, name));
	sim_reset(7);
	hs_vfs_set_base(sim_init());
	sim.fail_at = n;
	sim.failure = failure;
	if (hs_db_open(path, &key, 0, &db, &err) == 0) {
		(void)sqlite3_exec(db, "PRAGMA cache_size=4; PRAGMA wal_autocheckpoint=8", NULL, NULL, NULL);
		for (int i = 0; i < 10; i++) {
			int rc = commit(db, acknowledged + 1);
			acknowledged += rc == SQLITE_OK;
			failures += rc != SQLITE_OK;
			if (rc != SQLITE_OK && failure == SQLITE_FULL && !sim.failed_sync) /* a read that fails is an I/O error in any case */
				assert_true((rc & 0xff) == SQLITE_FULL || (rc & 0xff) == SQLITE_IOERR);
			if (sim.failed_sync && sim.count >= sim.fail_at && i < 9 && rc != SQLITE_OK) {
				/* A failed sync is final: nothing is acknowledged any more. */
				assert_int_equal(sqlite3_exec(db, "SELECT * FROM log", NULL, NULL, NULL) & 0xff, SQLITE_IOERR);
				break;
			}
		}
		(void)sqlite3_close(db);
		if (!sim.failed_sync)
			assert_true(failures <= 2);
	} else {
		assert_true(err.num == EIO || err.num == ENOSPC);
	}
	hs_vfs_set_base(NULL);
	if (sim.failed_sync) { /* this process does not trust the file again; a new one recovers from the log */
		assert_true(hs_db_open(path, &key, 0, &db, &err) < 0);
		char copy[PATH_MAX + 300], wal[80], copy_wal[90];
		(void)snprintf(wal, sizeof wal, "%s-wal", name);
		(void)snprintf(copy, sizeof copy, "%s-c", path);
		(void)snprintf(copy_wal, sizeof copy_wal, "%s-c-wal", name);
		assert_int_equal(rename(path, copy), 0);
		(void)renameat(f->fd, wal, f->fd, copy_wal); /* there may be none */
		assert_int_equal(inspect(copy, (unsigned long)n, acknowledged), WHOLE);
		(void)unlink(copy);
		return;
	}
	assert_int_equal(inspect(path, (unsigned long)n, acknowledged), WHOLE);
	(void)unlink(path);
}

static void test_every_operation_may_fail_once(void **state)
{
	struct folder *f = *state;
	make_template(f);
	for (long n = 1; n <= 260; n += n < 60 ? 1 : 7) {
		fail_once(f, n, SQLITE_IOERR_WRITE);
		fail_once(f, n, SQLITE_FULL);
	}
}

static int setup(void **state)
{
	key = (struct hs_db_key){.key = hs_key_create(), .uuid = {4, 2}, .generation = 1};
	return hs_vfs_init() == 0 && key.key ? folder_setup(state) : -1;
}

static int teardown(void **state)
{
	hs_vfs_set_base(NULL);
	sim_reset(0);
	hs_buf_finish(&empty);
	hs_key_destroy((struct hs_key *)(uintptr_t)key.key);
	return folder_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_acknowledged_commit_is_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_disk_that_lies_about_syncs_is_found_out, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_operation_may_fail_once, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
