/* Merging, purging and committing over the encrypted database: failures at every step, kills, canaries. */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/unit/retrieval/fixture.h"

/* --- every step fails once --- */

struct countdown {
	int left;
};

static int interrupt(void *ctx)
{
	struct countdown *c = ctx;

	return c->left-- <= 0;
}

static int change(struct fixture *f, const struct hs_id *old, struct hs_id *ret, struct hs_err *err)
{
	struct fixture_put p = {.title = "新", .text = "追加された文書である。章を分ける。", .class_id = f->notices, .chunk = 20};
	struct hs_id version;
	int rc = hs_store_begin(f->store, err);

	if (rc < 0)
		return rc;
	rc = fixture_try_put(f, &p, ret, &version, err);
	if (rc == 0)
		rc = hs_store_delete(f->store, old, T0, err);
	if (rc == 0)
		rc = hs_store_reclassify(f->store, ret, f->secrets, err);
	if (rc == 0)
		return hs_store_commit(f->store, err);
	hs_store_rollback(f->store);
	return rc;
}

static void test_a_transaction_that_fails_anywhere_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct hs_id old, added;
	struct hs_store_progress before, after;
	int failures = 0, rc = -1;

	SKIP_WITHOUT_DICTIONARY(f);
	for (int i = 0; i < 7; i++) /* the eighth segment makes them merge */
		old = fixture_put(f, f->notices, "古", "元からある文書である。");
	hs_store_progress(f->store, &before);
	for (int step = 0; rc < 0; step = step + 1 + step / 8) {
		struct countdown c = {.left = step};
		struct hs_err why = HS_ERR_INIT;

		sqlite3_progress_handler(hs_store_db(f->store), 10, interrupt, &c);
		rc = change(f, &old, &added, &why);
		sqlite3_progress_handler(hs_store_db(f->store), 0, NULL, NULL);
		if (rc == 0)
			break;
		failures++;
		assert_int_not_equal(rc, -EBADMSG);
		hs_store_progress(f->store, &after);
		assert_int_equal(after.documents, before.documents);
		assert_int_equal(after.chunks, before.chunks);
		assert_int_equal(after.dirty, before.dirty);
		assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, "元からある文書"), 7);
		assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_PHRASE, "追加"), 0);
	}
	assert_true(failures > 20);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_PHRASE, "元"), 6);
		assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_PHRASE, "追加"), 1);
		assert_int_equal(fixture_count(f, "tanaka", HS_SEARCH_PHRASE, "追加"), 0);
		fixture_reopen(f);
	}
}

static void test_upkeep_that_fails_anywhere_loses_nothing(void **state)
{
	struct fixture *f = *state;
	struct hs_id ids[40];
	int failures = 0;

	SKIP_WITHOUT_DICTIONARY(f);
	for (int i = 0; i < 40; i++)
		ids[i] = fixture_put(f, f->notices, "題", i % 2 ? "奇数の文書である。" : "偶数の文書である。");
	must(hs_store_begin(f->store, err));
	for (int i = 0; i < 40; i += 4) {
		must(hs_store_delete(f->store, &ids[i], T0, err));
		must(hs_store_reclassify(f->store, &ids[i + 1], f->secrets, err));
	}
	must(hs_store_commit(f->store, err));
	for (int step = 0, done = 0; done < 2; step = step + 1 + step / 8) {
		struct countdown c = {.left = step};
		struct hs_err why = HS_ERR_INIT;
		bool more = false;
		int rc;

		sqlite3_progress_handler(hs_store_db(f->store), 20, interrupt, &c);
		rc = done ? hs_store_purge(f->store, 0, NULL, NULL, &why) : hs_store_maintain(f->store, T0, &more, &why);
		sqlite3_progress_handler(hs_store_db(f->store), 0, NULL, NULL);
		assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, "文書である"), 30);
		assert_int_equal(fixture_count(f, "tanaka", HS_SEARCH_PHRASE, "奇数"), 10);
		if (rc < 0)
			failures++;
		else if (!more)
			done++, step = 0;
	}
	assert_true(failures > 20);
	fixture_reopen(f);
	assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, "文書である"), 30);
	assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_PHRASE, "偶数"), 10);
}

/* The words of what was deleted leave one segment a step; the purge that follows changes nothing that is found. */
static void test_the_dead_leave_segment_by_segment(void **state)
{
	struct fixture *f = *state;
	struct hs_id ids[5];
	bool more = true;
	unsigned steps = 0;

	SKIP_WITHOUT_DICTIONARY(f);
	for (int i = 0; i < 5; i++) /* a segment a transaction, too few to merge */
		ids[i] = fixture_put(f, f->notices, "題", "消える文書である。");
	must(hs_store_begin(f->store, err));
	for (int i = 0; i < 3; i++)
		must(hs_store_delete(f->store, &ids[i], T0, err));
	must(hs_store_commit(f->store, err));
	for (; more; steps++) {
		must(hs_store_maintain(f->store, T0, &more, err));
		assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, "消える文書"), 2);
	}
	assert_int_equal(steps, 4); /* three segments, and the step that finds no more */
	must(hs_store_purge(f->store, 0, NULL, NULL, err));
	assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, "消える文書"), 2);
	fixture_reopen(f);
	assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, "消える文書"), 2);
}

/* --- kills --- */

/* In a child: put documents and tell of each that was acknowledged, until killed. */
static _Noreturn void put_until_killed(struct fixture *f, int tell)
{
	struct hs_err err = HS_ERR_INIT;

	if (fixture_open(f, false, &err) < 0)
		_exit(2);
	for (unsigned i = 0;; i++) {
		struct fixture_put p = {.title = "題", .text = "殺されるまで書かれる文書。", .class_id = f->notices};
		struct hs_id document, version;

		if (hs_store_begin(f->store, &err) < 0 || fixture_try_put(f, &p, &document, &version, &err) < 0 ||
		    hs_store_commit(f->store, &err) < 0 || write(tell, "x", 1) != 1)
			_exit(3);
		if (i % 11 == 10 && hs_store_purge(f->store, 0, NULL, NULL, &err) < 0)
			_exit(4);
	}
}

static void test_what_was_acknowledged_survives_kills(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 3;
	size_t acknowledged = 0;

	SKIP_WITHOUT_DICTIONARY(f);
	fixture_close(f);
	for (int round = 0; round < 8; round++) {
		struct hs_store_progress progress;
		int fds[2], status;
		uint32_t after = 1 + fixture_random(&seed) % 30;
		char byte;
		pid_t child;

		assert_int_equal(pipe(fds), 0);
		child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			(void)close(fds[0]);
			put_until_killed(f, fds[1]);
		}
		(void)close(fds[1]);
		for (uint32_t i = 0; i < after; i++)
			assert_int_equal(read(fds[0], &byte, 1), 1);
		assert_int_equal(kill(child, SIGKILL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		acknowledged += after;
		while (read(fds[0], &byte, 1) == 1)
			acknowledged++;
		(void)close(fds[0]);
		must(fixture_open(f, false, err));
		hs_store_progress(f->store, &progress);
		assert_true(progress.documents >= acknowledged); /* the last may be written and not told of */
		assert_true(progress.documents <= acknowledged + (size_t)round + 1);
		assert_true(fixture_count(f, "tanaka", HS_SEARCH_PHRASE, "文書") == HS_MIN(progress.documents, 50u));
		fixture_close(f);
	}
	must(fixture_open(f, false, err));
}

/* --- nothing in the clear --- */

static void seek(const char *path, const char *const *canaries)
{
	FILE *file = fopen(path, "re");
	char *bytes;
	long len;

	if (!file)
		return;
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	len = ftell(file);
	rewind(file);
	bytes = malloc((size_t)len + 1);
	assert_int_equal(fread(bytes, 1, (size_t)len, file), len);
	(void)fclose(file);
	for (; *canaries; canaries++)
		if (len > 0 && memmem(bytes, (size_t)len, *canaries, strlen(*canaries)))
			fail_msg("%s holds %s", path, *canaries);
	free(bytes);
}

static void test_no_word_lies_in_the_clear(void **state)
{
	static const char *const canaries[] = {"kqzvx9", "金糸雀", "CREATE TABLE", "SQLite format", "usr_", "doc_", NULL};
	struct fixture *f = *state;
	char path[96];

	SKIP_WITHOUT_DICTIONARY(f);
	(void)fixture_put(f, f->notices, "金糸雀の題", "金糸雀はkqzvx9と鳴く。");
	assert_int_equal(fixture_count(f, "tanaka", HS_SEARCH_PHRASE, "kqzvx9"), 1);
	for (int i = 0; i < 3; i++) {
		(void)snprintf(path, sizeof(path), "%s%s", f->path, (const char *const[]){"", "-wal", "-shm"}[i]);
		seek(path, canaries);
	}
	fixture_close(f);
	seek(f->path, canaries);
	must(fixture_open(f, false, err));
	assert_int_equal(fixture_count(f, "tanaka", HS_SEARCH_PHRASE, "kqzvx9"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup_sealed, fixture_teardown)
		T(test_a_transaction_that_fails_anywhere_changes_nothing),
		T(test_upkeep_that_fails_anywhere_loses_nothing),
		T(test_the_dead_leave_segment_by_segment),
		T(test_what_was_acknowledged_survives_kills),
		T(test_no_word_lies_in_the_clear),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
