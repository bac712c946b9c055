#include "crypto/db.h"

#include <errno.h>
#include <iconv.h>
#include <pthread.h>
#include <stdbool.h>

#include <sodium.h>

#include "crypto/page.h"
#include "tests/unit/test.h"
#include "tests/unit/crypto/folder.h"

static const uint8_t key_bytes[HS_KEY_LEN] = {1, 2, 3};
static const uint8_t other_bytes[HS_KEY_LEN] = {3, 2, 1};

static struct hs_db_key key_of(const uint8_t *bytes, uint8_t uuid)
{
	struct hs_db_key k = {.key = hs_key_copy(bytes), .uuid = {uuid, 9}, .generation = 1};
	assert_non_null(k.key);
	return k;
}

static void drop(struct hs_db_key *k)
{
	hs_key_destroy((struct hs_key *)(uintptr_t)k->key);
}
#define KEY_AUTO HS_CLEANUP(drop) struct hs_db_key

static void run(sqlite3 *db, const char *sql)
{
	char *message = NULL;
	if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", sql, message);
}

static int64_t number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *s;
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
	int rc = sqlite3_step(s);
	if (rc != SQLITE_ROW)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	int64_t v = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return v;
}

static void assert_whole(sqlite3 *db)
{
	sqlite3_stmt *s;
	assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &s, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(s), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(s, 0), "ok");
	sqlite3_finalize(s);
}

static sqlite3 *open_new(struct folder *f, const char *name, const struct hs_db_key *k)
{
	struct hs_err err = HS_ERR_INIT;
	sqlite3 *db = NULL;
	if (hs_db_create(folder_path(f, name), k, &err) < 0 || hs_db_open(folder_path(f, name), k, 0, &db, &err) < 0)
		fail_msg("%s: %s", err.code, err.object);
	return db;
}

#define FILL "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) " \
	     "INSERT INTO t SELECT i, randomblob(200), printf('row %%d', i) FROM n"

static void fill(sqlite3 *db, int rows)
{
	char sql[256];
	run(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, b BLOB, s TEXT)");
	(void)snprintf(sql, sizeof sql, FILL, rows);
	run(db, sql);
}

static void test_create_open_write_reopen(void **state)
{
	struct folder *f = *state;
	KEY_AUTO k = key_of(key_bytes, 1);
	struct hs_err err = HS_ERR_INIT;
	sqlite3 *db;
	assert_int_equal(hs_db_create(folder_path(f, "a.db"), &k, &err), 0);
	assert_int_equal(folder_count(f), 1); /* no WAL of the making is left */
	assert_int_equal(hs_db_open(folder_path(f, "a.db"), &k, 0, &db, &err), 0);
	assert_int_equal(hs_db_create(folder_path(f, "a.db"), &k, &err), -EEXIST);
	fill(db, 500);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	assert_int_equal(folder_count(f), 1);
	struct stat st;
	assert_int_equal(stat(folder_path(f, "a.db"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(hs_db_open(folder_path(f, "a.db"), &k, HS_DB_READER, &db, &err), 0);
	assert_int_equal(number(db, "SELECT count(*) FROM t"), 500);
	assert_int_equal(sqlite3_exec(db, "DELETE FROM t", NULL, NULL, NULL), SQLITE_READONLY);
	assert_whole(db);
	struct hs_db_scrub scrub;
	assert_int_equal(hs_db_scrub(db, &scrub, &err), 0);
	assert_true(scrub.pages > 20);
	assert_int_equal(scrub.bad, 0);
	sqlite3_close(db);
	assert_int_equal(hs_db_open(folder_path(f, "none.db"), &k, 0, &db, &err), -ENOENT);
	assert_string_equal(err.code, "db.missing");
}

static void test_recovery_from_the_log_of_a_killed_process(void **state)
{
	struct folder *f = *state;
	KEY_AUTO k = key_of(key_bytes, 1);
	HS_BUF_AUTO image = HS_BUF_INIT;
	sqlite3 *db = open_new(f, "a.db", &k), *again;
	fill(db, 300);
	run(db, "PRAGMA wal_checkpoint(TRUNCATE)");
	run(db, "UPDATE t SET s = 'changed' WHERE id > 100");
	/* The files as a kill would leave them, under another name. */
	assert_int_equal(folder_read(f, "a.db", &image), 0);
	assert_int_equal(folder_write(f, "b.db", image.data, image.len), 0);
	assert_int_equal(folder_read(f, "a.db-wal", &image), 0);
	assert_int_equal(folder_write(f, "b.db-wal", image.data, image.len), 0);
	assert_int_equal(hs_db_open(folder_path(f, "b.db"), &k, 0, &again, NULL), 0);
	assert_int_equal(number(again, "SELECT count(*) FROM t WHERE s = 'changed'"), 200);
	assert_whole(again);
	sqlite3_close(again);
	sqlite3_close(db);
}

static void test_spilled_transactions_rewrite_checksums(void **state)
{
	struct folder *f = *state;
	KEY_AUTO k = key_of(key_bytes, 1);
	HS_BUF_AUTO image = HS_BUF_INIT;
	sqlite3 *db = open_new(f, "a.db", &k), *again;
	run(db, "PRAGMA cache_size=5; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(id INTEGER PRIMARY KEY, b BLOB, s TEXT)");
	run(db, "BEGIN");
	for (int round = 0; round < 4; round++) {
		char sql[256];
		(void)snprintf(sql, sizeof sql, "REPLACE INTO t SELECT value, randomblob(300), 'round %d' FROM "
			       "(WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 200) SELECT * FROM n)", round);
		run(db, sql); /* pages that spilled to the log are changed again in place */
	}
	run(db, "COMMIT");
	assert_int_equal(folder_read(f, "a.db", &image), 0);
	assert_int_equal(folder_write(f, "b.db", image.data, image.len), 0);
	assert_int_equal(folder_read(f, "a.db-wal", &image), 0);
	assert_int_equal(folder_write(f, "b.db-wal", image.data, image.len), 0);
	assert_int_equal(hs_db_open(folder_path(f, "b.db"), &k, 0, &again, NULL), 0);
	assert_int_equal(number(again, "SELECT count(*) FROM t WHERE s = 'round 3'"), 200);
	assert_whole(again);
	sqlite3_close(again);
	sqlite3_close(db);
}

static void test_wrong_keys_and_foreign_files(void **state)
{
	struct folder *f = *state;
	KEY_AUTO k = key_of(key_bytes, 1);
	KEY_AUTO wrong = key_of(other_bytes, 1);
	KEY_AUTO wrong_uuid = key_of(key_bytes, 2);
	KEY_AUTO wrong_generation = key_of(key_bytes, 1);
	wrong_generation.generation = 2;
	struct hs_err err = HS_ERR_INIT;
	sqlite3 *db = open_new(f, "a.db", &k), *no = NULL;
	fill(db, 10);
	assert_int_equal(hs_db_open(folder_path(f, "a.db"), &wrong, 0, &no, &err), -EBUSY);
	assert_string_equal(err.code, "db.key");
	sqlite3_close(db);
	const struct hs_db_key *bad[] = {&wrong, &wrong_uuid, &wrong_generation};
	for (size_t i = 0; i < HS_ARRAY_LEN(bad); i++) {
		assert_int_equal(hs_db_open(folder_path(f, "a.db"), bad[i], 0, &no, &err), -EBADMSG);
		assert_string_equal(err.code, "db.sealed");
	}
	/* A newer format, an empty file, a cut file, noise. */
	HS_BUF_AUTO image = HS_BUF_INIT;
	assert_int_equal(folder_read(f, "a.db", &image), 0);
	image.data[8] = 7;
	assert_int_equal(folder_write(f, "n.db", image.data, image.len), 0);
	assert_int_equal(hs_db_open(folder_path(f, "n.db"), &k, 0, &no, &err), -ENOTSUP);
	assert_string_equal(err.code, "db.format");
	assert_non_null(strstr(err.object, "format 7"));
	assert_int_equal(folder_write(f, "e.db", "", 0), 0);
	assert_int_equal(hs_db_open(folder_path(f, "e.db"), &k, 0, &no, &err), -EBADMSG);
	assert_string_equal(err.code, "db.damaged");
	assert_int_equal(folder_write(f, "c.db", image.data, 1000), 0);
	assert_int_equal(hs_db_open(folder_path(f, "c.db"), &k, 0, &no, &err), -EBADMSG);
	randombytes_buf(image.data, image.len);
	assert_int_equal(folder_write(f, "r.db", image.data, image.len), 0);
	assert_int_equal(hs_db_open(folder_path(f, "r.db"), &k, 0, &no, &err), -EBADMSG);
	assert_null(no);
	/* Plain SQLite, which must not be taken for ours, and ours must not be readable by it. */
	assert_int_equal(sqlite3_open_v2(folder_path(f, "a.db"), &no, SQLITE_OPEN_READONLY, "unix"), SQLITE_OK);
	assert_int_not_equal(sqlite3_exec(no, "SELECT * FROM t", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(no);
}

static void test_every_flipped_byte_is_told(void **state)
{
	struct folder *f = *state;
	KEY_AUTO k = key_of(key_bytes, 1);
	HS_BUF_AUTO image = HS_BUF_INIT;
	sqlite3 *db = open_new(f, "a.db", &k);
	fill(db, 60);
	sqlite3_close(db);
	assert_int_equal(folder_read(f, "a.db", &image), 0);
	uint8_t plain[HS_DB_PAGE_SIZE];
	struct hs_page_key pk = {.key = k.key, .generation = 1};
	memcpy(pk.uuid, k.uuid, sizeof pk.uuid);
	for (size_t at = 0; at < image.len; at++) { /* each byte of each page, one bit */
		uint8_t *page = image.data + at / HS_DB_PAGE_SIZE * HS_DB_PAGE_SIZE;
		image.data[at] ^= (uint8_t)(1u << at % 8);
		assert_false(hs_page_open(&pk, (uint32_t)(at / HS_DB_PAGE_SIZE + 1), page, plain));
		image.data[at] ^= (uint8_t)(1u << at % 8);
	}
	/* And through a connection: a scrub finds it, a read of it is an error with a name. */
	image.data[3 * HS_DB_PAGE_SIZE + 77] ^= 4;
	assert_int_equal(folder_write(f, "b.db", image.data, image.len), 0);
	sqlite3 *bad;
	struct hs_db_scrub scrub;
	assert_int_equal(hs_db_open(folder_path(f, "b.db"), &k, 0, &bad, NULL), 0);
	assert_int_equal(hs_db_scrub(bad, &scrub, NULL), 0);
	assert_int_equal(scrub.bad, 1);
	assert_int_equal(scrub.first_bad, 4);
	assert_int_not_equal(sqlite3_exec(bad, "SELECT sum(length(b)) FROM t", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_extended_errcode(bad), SQLITE_IOERR_DATA);
	sqlite3_close(bad);
}

static void test_swapped_pages_and_pages_of_another_database(void **state)
{
	struct folder *f = *state;
	KEY_AUTO k = key_of(key_bytes, 1);
	KEY_AUTO k2 = key_of(key_bytes, 2); /* one key, another uuid */
	HS_BUF_AUTO a = HS_BUF_INIT;
	HS_BUF_AUTO b = HS_BUF_INIT;
	uint8_t plain[HS_DB_PAGE_SIZE], moved[HS_DB_PAGE_SIZE];
	sqlite3 *db = open_new(f, "a.db", &k), *db2 = open_new(f, "b.db", &k2);
	fill(db, 60);
	fill(db2, 60);
	sqlite3_close(db);
	sqlite3_close(db2);
	assert_int_equal(folder_read(f, "a.db", &a), 0);
	assert_int_equal(folder_read(f, "b.db", &b), 0);
	struct hs_page_key pk = {.key = k.key, .generation = 1};
	memcpy(pk.uuid, k.uuid, sizeof pk.uuid);
	for (uint32_t i = 1; i <= a.len / HS_DB_PAGE_SIZE; i++) {
		assert_true(hs_page_open(&pk, i, a.data + (i - 1) * HS_DB_PAGE_SIZE, plain));
		assert_false(hs_page_open(&pk, i + 1, a.data + (i - 1) * HS_DB_PAGE_SIZE, plain));
		assert_false(hs_page_open(&pk, i, b.data + (i - 1) * HS_DB_PAGE_SIZE, plain));
	}
	memcpy(moved, a.data + 3 * HS_DB_PAGE_SIZE, sizeof moved);
	memcpy(a.data + 3 * HS_DB_PAGE_SIZE, a.data + 4 * HS_DB_PAGE_SIZE, sizeof moved);
	memcpy(a.data + 4 * HS_DB_PAGE_SIZE, moved, sizeof moved);
	assert_int_equal(folder_write(f, "c.db", a.data, a.len), 0);
	assert_int_equal(hs_db_open(folder_path(f, "c.db"), &k, 0, &db, NULL), 0);
	assert_int_not_equal(sqlite3_exec(db, "SELECT sum(length(b)) FROM t", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void test_a_torn_first_page_is_mended_by_the_log(void **state)
{
	struct folder *f = *state;
	KEY_AUTO k = key_of(key_bytes, 1);
	HS_BUF_AUTO image = HS_BUF_INIT;
	struct hs_err err = HS_ERR_INIT;
	sqlite3 *db = open_new(f, "a.db", &k), *again;
	run(db, "PRAGMA wal_autocheckpoint=0");
	fill(db, 60);
	assert_int_equal(folder_read(f, "a.db", &image), 0);
	memset(image.data + 512, 0x5a, 512); /* as an interrupted checkpoint would */
	assert_int_equal(folder_write(f, "b.db", image.data, image.len), 0);
	assert_int_equal(folder_write(f, "c.db", image.data, image.len), 0);
	assert_int_equal(folder_read(f, "a.db-wal", &image), 0);
	assert_int_equal(folder_write(f, "b.db-wal", image.data, image.len), 0);
	assert_int_equal(hs_db_open(folder_path(f, "b.db"), &k, 0, &again, &err), 0);
	assert_int_equal(number(again, "SELECT count(*) FROM t"), 60);
	assert_whole(again);
	sqlite3_close(again);
	/* Without a log that holds it, it is damage. */
	assert_int_equal(hs_db_open(folder_path(f, "c.db"), &k, 0, &again, &err), -EBADMSG);
	sqlite3_close(db);
}

static void test_a_forged_journal_is_not_there(void **state)
{
	struct folder *f = *state;
	KEY_AUTO k = key_of(key_bytes, 1);
	sqlite3 *db = open_new(f, "a.db", &k);
	fill(db, 500);
	sqlite3_close(db);
	/* A hot journal that says: cut the database to one page. */
	uint8_t journal[512] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
	journal[19] = 1; /* initial size in pages */
	journal[22] = 2; /* sector size 512 */
	journal[26] = 16; /* page size 4096 */
	struct stat before, after;
	assert_int_equal(stat(folder_path(f, "a.db"), &before), 0);
	assert_int_equal(folder_write(f, "a.db-journal", journal, sizeof journal), 0);
	assert_int_equal(hs_db_open(folder_path(f, "a.db"), &k, 0, &db, NULL), 0);
	assert_int_equal(number(db, "SELECT count(*) FROM t"), 500);
	assert_whole(db);
	sqlite3_close(db);
	assert_int_equal(stat(folder_path(f, "a.db"), &after), 0);
	assert_int_equal(before.st_size, after.st_size);
}

static bool holds_text(struct folder *f, const char *text, const char *charset)
{
	char in[256], out[512], *from = in, *to = out;
	(void)snprintf(in, sizeof in, "%s", text);
	size_t in_left = strlen(in), out_left = sizeof out;
	iconv_t cd = iconv_open(charset, "UTF-8");
	assert_true(cd != (iconv_t)-1);
	assert_int_equal(iconv(cd, &from, &in_left, &to, &out_left), 0);
	iconv_close(cd);
	return folder_holds(f, out, sizeof out - out_left);
}

static void test_no_plaintext_and_no_temporary_file(void **state)
{
	struct folder *f = *state;
	KEY_AUTO k = key_of(key_bytes, 1);
	const char *canary = "極秘カナリア七三一";
	const char *encodings[] = {"UTF-8", "UTF-16LE", "UTF-16BE", "SHIFT_JIS"};
	sqlite3 *db = open_new(f, "a.db", &k);
	/* The search itself can find: a plain file with the canary. */
	assert_int_equal(folder_write(f, "plain", canary, strlen(canary)), 0);
	assert_true(holds_text(f, canary, "UTF-8"));
	assert_int_equal(unlink(folder_path(f, "plain")), 0);

	run(db, "PRAGMA cache_size=10; CREATE TABLE t(id INTEGER PRIMARY KEY, b BLOB, s TEXT)");
	run(db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
		"INSERT INTO t SELECT i, NULL, '極秘カナリア七三一' || (i * 7919 % 20011) FROM n");
	run(db, "CREATE INDEX by_text ON t(s)");
	run(db, "CREATE VIRTUAL TABLE w USING fts5(s); INSERT INTO w SELECT s FROM t WHERE id < 500");
	run(db, "CREATE TEMP TABLE x AS SELECT DISTINCT s FROM t ORDER BY s DESC");
	run(db, "BEGIN; SAVEPOINT a; UPDATE t SET s = s || 'x'; ROLLBACK TO a; UPDATE t SET s = s || 'y' WHERE id % 2; COMMIT");
	assert_int_equal(folder_count(f), 2); /* a.db, a.db-wal */
	for (size_t i = 0; i < HS_ARRAY_LEN(encodings); i++)
		assert_false(holds_text(f, canary, encodings[i]));
	run(db, "PRAGMA wal_checkpoint(TRUNCATE)");
	for (size_t i = 0; i < HS_ARRAY_LEN(encodings); i++)
		assert_false(holds_text(f, canary, encodings[i]));
	/* VACUUM INTO would need a path without a key and a journal: it fails closed. ATTACH likewise. */
	char sql[PATH_MAX + 64];
	(void)snprintf(sql, sizeof sql, "VACUUM INTO '%s'", folder_path(f, "copy.db"));
	assert_int_not_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	(void)snprintf(sql, sizeof sql, "ATTACH '%s' AS z", folder_path(f, "copy.db"));
	assert_int_not_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(access(folder_path(f, "copy.db"), F_OK), -1);
	/* Nothing deleted but still open in another folder either. */
	for (int fd = 3; fd < 64; fd++) {
		char link[64], target[PATH_MAX] = "";
		(void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
		if (readlink(link, target, sizeof target - 1) > 0)
			assert_null(strstr(target, "etilqs_"));
	}
	assert_whole(db);
	sqlite3_close(db);
}

static void test_backup_has_its_own_key(void **state)
{
	struct folder *f = *state;
	KEY_AUTO k = key_of(key_bytes, 1);
	KEY_AUTO k2 = key_of(other_bytes, 5);
	struct hs_err err = HS_ERR_INIT;
	sqlite3 *db = open_new(f, "a.db", &k), *copy;
	fill(db, 400);
	run(db, "DELETE FROM t WHERE id % 3 = 0");
	assert_int_equal(hs_db_backup(db, folder_path(f, "b.db"), &k2, &err), 0);
	assert_int_equal(hs_db_backup(db, folder_path(f, "b.db"), &k2, &err), -EEXIST);
	assert_int_equal(folder_count(f), 3);
	assert_int_equal(hs_db_open(folder_path(f, "b.db"), &k, 0, &copy, &err), -EBADMSG);
	assert_int_equal(hs_db_open(folder_path(f, "b.db"), &k2, 0, &copy, &err), 0);
	assert_int_equal(number(copy, "SELECT count(*) FROM t"), number(db, "SELECT count(*) FROM t"));
	assert_whole(copy);
	run(copy, "INSERT INTO t VALUES(100000, NULL, 'more')");
	sqlite3_close(copy);
	sqlite3_close(db);
}

/* --- nonces: linked with --wrap, so that a generator that repeats can be put in --- */

static bool constant_nonce;
void __real_randombytes_buf(void *buf, size_t n);
void __wrap_randombytes_buf(void *buf, size_t n);
void __wrap_randombytes_buf(void *buf, size_t n)
{
	if (constant_nonce)
		memset(buf, 7, n);
	else
		__real_randombytes_buf(buf, n);
}

static int compare_nonces(const void *a, const void *b)
{
	return memcmp(a, b, 24);
}

static size_t repeated_nonces(struct folder *f, const char *name)
{
	HS_BUF_AUTO file = HS_BUF_INIT;
	HS_BUF_AUTO all = HS_BUF_INIT;
	char wal[64];
	assert_int_equal(folder_read(f, name, &file), 0);
	for (size_t at = 0; at + HS_DB_PAGE_SIZE <= file.len; at += HS_DB_PAGE_SIZE)
		assert_int_equal(hs_buf_append(&all, file.data + at + HS_RESERVE_NONCE, 24), 0);
	(void)snprintf(wal, sizeof wal, "%s-wal", name);
	assert_int_equal(folder_read(f, wal, &file), 0);
	for (size_t at = 32; at + 4120 <= file.len; at += 4120)
		assert_int_equal(hs_buf_append(&all, file.data + at + 24 + HS_RESERVE_NONCE, 24), 0);
	size_t n = all.len / 24, repeats = 0;
	assert_true(n > 50);
	qsort(all.data, n, 24, compare_nonces);
	for (size_t i = 1; i < n; i++)
		repeats += compare_nonces(all.data + i * 24, all.data + (i - 1) * 24) == 0;
	return repeats;
}

static void test_no_nonce_repeats_and_a_mutant_shows(void **state)
{
	struct folder *f = *state;
	KEY_AUTO k = key_of(key_bytes, 1);
	sqlite3 *db = open_new(f, "a.db", &k);
	fill(db, 500);
	run(db, "PRAGMA wal_checkpoint(FULL); UPDATE t SET s = 'again'");
	assert_int_equal(repeated_nonces(f, "a.db"), 0);
	constant_nonce = true;
	run(db, "UPDATE t SET s = 'and again'");
	constant_nonce = false;
	assert_true(repeated_nonces(f, "a.db") > 0);
	sqlite3_close(db);
}

/* --- many connections --- */

struct worker {
	const char *path;
	const struct hs_db_key *key;
	bool writer;
	int failures;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	sqlite3 *db = NULL;
	if (hs_db_open(w->path, w->key, w->writer ? 0 : HS_DB_READER, &db, NULL) < 0) {
		w->failures++;
		return NULL;
	}
	for (int i = 0; i < 40; i++) {
		const char *sql = w->writer ? "BEGIN IMMEDIATE; UPDATE t SET s = s + 1; COMMIT" : "SELECT count(*), sum(length(b)) FROM t";
		w->failures += sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK;
		if (w->writer && i % 16 == 0)
			w->failures += sqlite3_exec(db, "PRAGMA wal_checkpoint(PASSIVE)", NULL, NULL, NULL) != SQLITE_OK;
	}
	w->failures += sqlite3_close(db) != SQLITE_OK;
	return NULL;
}

static void test_many_connections_of_one_process(void **state)
{
	struct folder *f = *state;
	KEY_AUTO k = key_of(key_bytes, 1);
	char path[PATH_MAX + 256];
	(void)snprintf(path, sizeof path, "%s", folder_path(f, "a.db"));
	sqlite3 *db = open_new(f, "a.db", &k);
	fill(db, 100);
	run(db, "UPDATE t SET s = 0");
	struct worker workers[6];
	pthread_t threads[6];
	for (size_t i = 0; i < 6; i++) {
		workers[i] = (struct worker){.path = path, .key = &k, .writer = i < 2};
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (size_t i = 0; i < 6; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(workers[i].failures, 0);
	}
	assert_int_equal(number(db, "SELECT count(*) FROM t WHERE s = 80"), 100);
	assert_int_equal(folder_count(f), 2); /* no -shm */
	assert_whole(db);
	sqlite3_close(db);
}

static void test_one_owner_of_a_folder(void **state)
{
	struct folder *f = *state;
	struct hs_err err = HS_ERR_INIT;
	int fd = hs_dir_lock(f->path, &err);
	assert_true(fd >= 0);
	assert_int_equal(hs_dir_lock(f->path, &err), -EBUSY); /* OFD locks: also within one process */
	assert_string_equal(err.code, "dir.owned");
	hs_close(&fd);
	fd = hs_dir_lock(f->path, &err);
	assert_true(fd >= 0);
	hs_close(&fd);
	assert_true(hs_dir_lock("/nonexistent", &err) < 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_create_open_write_reopen),
		T(test_recovery_from_the_log_of_a_killed_process),
		T(test_spilled_transactions_rewrite_checksums),
		T(test_wrong_keys_and_foreign_files),
		T(test_every_flipped_byte_is_told),
		T(test_swapped_pages_and_pages_of_another_database),
		T(test_a_torn_first_page_is_mended_by_the_log),
		T(test_a_forged_journal_is_not_there),
		T(test_no_plaintext_and_no_temporary_file),
		T(test_backup_has_its_own_key),
		T(test_no_nonce_repeats_and_a_mutant_shows),
		T(test_many_connections_of_one_process),
		T(test_one_owner_of_a_folder),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
