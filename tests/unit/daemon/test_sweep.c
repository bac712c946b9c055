#include "daemon/tenant/sweep.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/id.h"
#include "crypto/blob.h"
#include "tests/unit/test.h"

static struct {
	char path[40];
	int dir, blobs;
	sqlite3 *db;
} w;

static int setup(void **state)
{
	memcpy(w.path, "/tmp/hisho-sweep-XXXXXX", 24);
	if (!mkdtemp(w.path))
		return -1;
	w.dir = open(w.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w.dir < 0 || mkdirat(w.dir, "blobs", 0700) < 0)
		return -1;
	w.blobs = openat(w.dir, "blobs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return w.blobs < 0 || sqlite3_open(":memory:", &w.db) ||
	       sqlite3_exec(w.db, "CREATE TABLE blobs(public TEXT UNIQUE)", NULL, NULL, NULL);
}

static void empty(int dir)
{
	DIR *listing = fdopendir(openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	for (struct dirent *e; listing && (e = readdir(listing));)
		(void)unlinkat(dir, e->d_name, 0); /* "." and ".." stay */
	(void)closedir(listing);
}

static int teardown(void **state)
{
	(void)sqlite3_close(w.db);
	empty(w.blobs);
	hs_close(&w.blobs);
	(void)unlinkat(w.dir, "blobs", AT_REMOVEDIR);
	empty(w.dir);
	hs_close(&w.dir);
	return rmdir(w.path);
}

static void touch(int dir, const char *name)
{
	HS_FD_AUTO fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
}

static bool is_there(int dir, const char *name)
{
	struct stat st;
	return fstatat(dir, name, &st, 0) == 0;
}

static void add_row(const char *id)
{
	char *sql = sqlite3_mprintf("INSERT INTO blobs VALUES(%Q)", id);
	assert_int_equal(sqlite3_exec(w.db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_free(sql);
}

static unsigned sweep(unsigned *ret_steps)
{
	struct hs_sweep *s;
	struct hs_err err = HS_ERR_INIT;
	bool more = true;
	unsigned steps = 0, removed = hs_sweep_folder(w.dir);
	assert_int_equal(hs_sweep_create(w.blobs, &s), 0);
	while (more) {
		assert_int_equal(hs_sweep_step(s, w.db, &more, &err), 0);
		steps++;
	}
	removed += hs_sweep_removed(s);
	hs_sweep_destroy(s);
	if (ret_steps)
		*ret_steps = steps;
	return removed;
}

/* A blob as the intake writes it, ended at each point where a crash can: begun, renamed without a row, with its row. */
static void each_crash_point_of_a_blob(void **state)
{
	struct hs_key *key = hs_key_create();
	struct hs_blob_info info;
	struct hs_err err = HS_ERR_INIT;
	struct hs_id begun = hs_id_new("blb_"), renamed = hs_id_new("blb_"), committed = hs_id_new("blb_");
	char temporary[64];
	assert_int_equal(hs_blob_put(w.blobs, begun.s, key, 1, "x", 1, &info, &err), 0);
	(void)snprintf(temporary, sizeof temporary, "%s.new", begun.s);
	assert_int_equal(renameat(w.blobs, begun.s, w.blobs, temporary), 0);
	assert_int_equal(hs_blob_put(w.blobs, renamed.s, key, 1, "x", 1, &info, &err), 0);
	assert_int_equal(hs_blob_put(w.blobs, committed.s, key, 1, "x", 1, &info, &err), 0);
	add_row(committed.s);
	assert_int_equal(sweep(NULL), 2);
	assert_false(is_there(w.blobs, temporary));
	assert_false(is_there(w.blobs, renamed.s));
	HS_BUF_AUTO plain = HS_BUF_INIT;
	assert_int_equal(hs_blob_get(w.blobs, committed.s, key, &info, 10, &plain, &err), 0);
	assert_int_equal(sweep(NULL), 0);
	hs_key_destroy(key);
}

static void temporaries_of_our_files_go_and_nothing_else(void **state)
{
	static const char *const gone[] = {"index.db.abcdefghijk23.new", "index.db.abcdefghijk23.new-wal",
					   "audit.log.abcdefghijk23.new", "audit.log.mark.abcdefghijk23.new",
					   "audit.log.head.abcdefghijk23.new"};
	static const char *const stays[] = {"index.db",
					    "index.db-wal",
					    "audit.log",
					    "audit.log.mark",
					    "audit.log.head",
					    "sealed",
					    "sealed.abcdefghijk23.new",
					    "audit.log.old",
					    "audit.log.abcdefghijk23.new.txt",
					    "audit.log.abcdefghijk18.new",
					    "notes.abcdefghijk23.new",
					    "audit.log.abc.new"};
	static const char *const foreign[] = {"README", "blb_short", "blb_AAAAAAAAAAAAAAAAAAAAAAAAAA", "blb_short.new", "x.new"};
	for (size_t i = 0; i < HS_ARRAY_LEN(gone); i++)
		touch(w.dir, gone[i]);
	for (size_t i = 0; i < HS_ARRAY_LEN(stays); i++)
		touch(w.dir, stays[i]);
	for (size_t i = 0; i < HS_ARRAY_LEN(foreign); i++)
		touch(w.blobs, foreign[i]);
	assert_int_equal(sweep(NULL), HS_ARRAY_LEN(gone));
	for (size_t i = 0; i < HS_ARRAY_LEN(gone); i++)
		assert_false(is_there(w.dir, gone[i]));
	for (size_t i = 0; i < HS_ARRAY_LEN(stays); i++)
		assert_true(is_there(w.dir, stays[i]));
	for (size_t i = 0; i < HS_ARRAY_LEN(foreign); i++)
		assert_true(is_there(w.blobs, foreign[i]));
}

static void many_take_many_steps(void **state)
{
	unsigned steps;
	for (int i = 0; i < HS_SWEEP_STEP + 10; i++) {
		struct hs_id id = hs_id_new("blb_");
		touch(w.blobs, id.s);
		if (i % 2)
			add_row(id.s);
	}
	assert_int_equal(sweep(&steps), (HS_SWEEP_STEP + 10) / 2);
	assert_true(steps >= 2);
}

/* Where the database cannot say whether a blob is known, the blob stays. */
static void without_an_answer_nothing_goes(void **state)
{
	struct hs_id id = hs_id_new("blb_");
	struct hs_err err = HS_ERR_INIT;
	struct hs_sweep *s;
	bool more;
	touch(w.blobs, id.s);
	assert_int_equal(sqlite3_exec(w.db, "ALTER TABLE blobs RENAME TO others", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(hs_sweep_create(w.blobs, &s), 0);
	assert_true(hs_sweep_step(s, w.db, &more, &err) < 0);
	assert_string_equal(err.code, "sweep.database");
	hs_sweep_destroy(s);
	assert_true(is_there(w.blobs, id.s));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(each_crash_point_of_a_blob),
	    TEST(temporaries_of_our_files_go_and_nothing_else),
	    TEST(many_take_many_steps),
	    TEST(without_an_answer_nothing_goes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
