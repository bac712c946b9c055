/* Databases of released versions are brought forward, whole or not at all. */
#include <fcntl.h>

#include "base/file.h"
#include "retrieval/conversations.h"
#include "retrieval/fts.h"
#include "retrieval/schema.h"
#include "tests/unit/retrieval/fixture.h"

static void run_sql(sqlite3 *db, const char *text)
{
	char *why = NULL;

	if (sqlite3_exec(db, text, NULL, NULL, &why) != SQLITE_OK)
		fail_msg("%s", why);
}

/* The database of 0.1.0, at path. */
static void write_old(struct fixture *f, const char *path)
{
	const char *root = getenv("HISHO_SOURCE_ROOT");
	HS_BUF_AUTO sql = HS_BUF_INIT;
	char file[512];
	sqlite3 *db;

	(void)snprintf(file, sizeof(file), "%s/tests/unit/retrieval/schema_1.sql", root ? root : ".");
	must(hs_file_read(AT_FDCWD, file, 1 << 20, &sql));
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	must(hs_fts_register(db, f->analyzer, NULL, err));
	run_sql(db, hs_buf_cstr(&sql));
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int append_object(void *ctx, int n, char **values, char **names)
{
	struct hs_buf *out = ctx;

	return hs_buf_printf(out, "%s %s: %s\n", values[0], values[1], values[2] ? values[2] : "");
}

/* Every table and index as the database has it, in order of their names. */
static const char *describe(sqlite3 *db, struct hs_buf *out)
{
	assert_int_equal(
	    sqlite3_exec(db, "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name", append_object, out, NULL),
	    SQLITE_OK);
	return hs_buf_cstr(out);
}

static int64_t number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st;
	int64_t n;

	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int64(st, 0);
	(void)sqlite3_finalize(st);
	return n;
}

static void remove_db(const char *path)
{
	for (int i = 0; i < 3; i++) {
		char name[128];

		(void)snprintf(name, sizeof(name), "%s%s", path, (const char *const[]){"", "-wal", "-shm"}[i]);
		(void)unlink(name);
	}
}

static void test_version_1_is_brought_forward(void **state)
{
	struct fixture *f = *state;
	struct fixture old = {.analyzer = f->analyzer};
	HS_BUF_AUTO fresh = HS_BUF_INIT;
	HS_BUF_AUTO moved = HS_BUF_INIT;

	SKIP_WITHOUT_DICTIONARY(f);
	(void)snprintf(old.path, sizeof(old.path), "%.50s.old", f->path);
	write_old(f, old.path);
	must(fixture_open(&old, true, err));
	sqlite3 *db = hs_store_db(old.store);

	assert_int_equal(number(db, "PRAGMA user_version"), HS_SCHEMA_VERSION);
	assert_int_equal(number(db, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
	assert_string_equal(describe(db, &moved), describe(hs_store_db(f->store), &fresh));

	/* What was there is there: documents, the policy that says who reads them, their words. */
	assert_int_equal(number(db, "SELECT count(*) FROM versions"), 2);
	assert_int_equal(fixture_count(&old, "sato", HS_SEARCH_LEXICAL, "賞与"), 1);
	assert_int_equal(fixture_count(&old, "suzuki", HS_SEARCH_LEXICAL, "賞与"), 0);
	assert_int_equal(fixture_count(&old, "suzuki", HS_SEARCH_LEXICAL, "休憩"), 1);

	/* And what the new version keeps can be kept. */
	struct hs_asked q = {.user = "usr_x",
			     .conversation = hs_id_new("cnv_"),
			     .message = hs_id_new("msg_"),
			     .fresh = true,
			     .text = "賞与はいつ",
			     .len = strlen("賞与はいつ"),
			     .now_ms = T0};

	must(hs_store_begin(old.store, err));
	must(hs_conversation_ask(old.store, &q, err));
	must(hs_store_commit(old.store, err));
	fixture_reopen(&old);
	assert_int_equal(number(hs_store_db(old.store), "SELECT count(*) FROM messages"), 1);
	fixture_close(&old);
	remove_db(old.path);
}

static int deny_conversations(void *ctx, int action, const char *name, const char *b, const char *c, const char *d)
{
	return action == SQLITE_CREATE_INDEX && strcmp(name, "feedback_created") == 0 ? SQLITE_DENY : SQLITE_OK;
}

/* The last statement fails: the database is the old one still, and opens the next time. */
static void test_a_migration_that_fails_changes_nothing(void **state)
{
	struct fixture *f = *state;
	char path[64];
	sqlite3 *db;
	HS_BUF_AUTO before = HS_BUF_INIT;
	HS_BUF_AUTO after = HS_BUF_INIT;
	struct hs_err why = HS_ERR_INIT;

	SKIP_WITHOUT_DICTIONARY(f);
	(void)snprintf(path, sizeof(path), "%.50s.old", f->path);
	write_old(f, path);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	must(hs_fts_register(db, f->analyzer, NULL, err));
	(void)describe(db, &before);
	assert_int_equal(sqlite3_set_authorizer(db, deny_conversations, NULL), SQLITE_OK);
	assert_true(hs_schema_migrate(db, &why) < 0);
	assert_int_equal(sqlite3_set_authorizer(db, NULL, NULL), SQLITE_OK);
	assert_string_equal(describe(db, &after), hs_buf_cstr(&before));
	assert_int_equal(number(db, "PRAGMA user_version"), 1);
	must(hs_schema_migrate(db, err));
	assert_int_equal(number(db, "PRAGMA user_version"), HS_SCHEMA_VERSION);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	remove_db(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_version_1_is_brought_forward, fixture_setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_a_migration_that_fails_changes_nothing, fixture_setup, fixture_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
