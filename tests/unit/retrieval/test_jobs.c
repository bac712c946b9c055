/* Jobs: what is begun again and what is final, how long a job waits, what of the failed ones is listed and forgotten. */
#include "retrieval/jobs.h"
#include "tests/unit/retrieval/fixture.h"

static sqlite3 *db_of(struct fixture *f)
{
	return hs_store_db(f->store);
}

static struct hs_id add(struct fixture *f, const char *kind, const char *source)
{
	struct hs_id id;
	must(hs_store_job_add(f->store, kind, "snd_a", source, "sealed", 6, T0, &id, err));
	return id;
}

static bool begin(struct fixture *f, int64_t now, struct hs_store_job *ret)
{
	HS_BUF_AUTO detail = HS_BUF_INIT;
	struct hs_err err = HS_ERR_INIT;
	int rc = hs_store_job_begin(f->store, NULL, 0, now, ret, &detail, &err);
	if (rc == -ENOENT)
		return false;
	assert_int_equal(rc, 0);
	assert_int_equal(detail.len, 6);
	return true;
}

static void fail_with(struct fixture *f, const struct hs_store_job *job, enum hs_store_job_blame blame, int64_t now)
{
	struct hs_err why = HS_ERR_INIT;
	(void)hs_fail(&why, EIO, "doc.some", "", "row 7");
	must(hs_store_job_failed(f->store, job->key, &why, blame, now, err));
}

static struct hs_store_job get(struct fixture *f, const struct hs_id *id)
{
	struct hs_store_job job;
	must(hs_store_job_get(db_of(f), id->s, NULL, &job, err));
	return job;
}

static void test_the_document_s_fault_is_final(void **state)
{
	struct fixture *f = *state;
	struct hs_store_job job;
	SKIP_WITHOUT_DICTIONARY(f);
	struct hs_id id = add(f, "put", "src_1");
	assert_true(begin(f, T0, &job));
	fail_with(f, &job, HS_STORE_JOB_DOCUMENT, T0);
	job = get(f, &id);
	assert_int_equal(job.state, HS_STORE_JOB_FAILED);
	assert_string_equal(job.error_code, "doc.some");
	assert_string_equal(job.error_object, "row 7");
	assert_string_equal(job.source, "src_1");
	assert_false(begin(f, INT64_MAX, &job));
}

static unsigned tries_until_failed(struct fixture *f, enum hs_store_job_blame blame, unsigned at_most)
{
	struct hs_store_job job;
	int64_t now = T0;
	unsigned tries = 0;
	while (tries < at_most && begin(f, now, &job)) {
		tries++;
		fail_with(f, &job, blame, now);
		now += HS_STORE_JOB_WAIT_MAX_MS;
	}
	return tries;
}

static void test_suspects_and_losses_are_counted(void **state)
{
	struct fixture *f = *state;
	SKIP_WITHOUT_DICTIONARY(f);
	struct hs_id suspect = add(f, "put", "src_1");
	assert_int_equal(tries_until_failed(f, HS_STORE_JOB_SUSPECT, 100), HS_STORE_JOB_ATTEMPTS);
	assert_int_equal(get(f, &suspect).state, HS_STORE_JOB_FAILED);
	struct hs_id lost = add(f, "put", "src_2");
	assert_int_equal(tries_until_failed(f, HS_STORE_JOB_LOST, 100), HS_STORE_JOB_LOSSES);
	assert_int_equal(get(f, &lost).state, HS_STORE_JOB_FAILED);
}

static void test_the_host_s_fault_costs_no_attempt(void **state)
{
	struct fixture *f = *state;
	struct hs_store_job job;
	SKIP_WITHOUT_DICTIONARY(f);
	struct hs_id id = add(f, "put", "src_1");
	assert_int_equal(tries_until_failed(f, HS_STORE_JOB_HOST, 1000), 1000);
	job = get(f, &id);
	assert_int_equal(job.state, HS_STORE_JOB_OPEN);
	assert_int_equal(job.attempts, 0);
	assert_string_equal(job.error_code, "doc.some"); /* why it waits */
}

/* 5 s, 10 s, 20 s, ... up to the named limit; what waits for an extractor's return does not wait it out. */
static void test_waits_grow_and_end(void **state)
{
	struct fixture *f = *state;
	struct hs_store_job job;
	int64_t now = T0, wait = HS_STORE_JOB_WAIT_MS;
	SKIP_WITHOUT_DICTIONARY(f);
	(void)add(f, "put", "src_1");
	for (int i = 0; i < 40; i++) {
		assert_true(begin(f, now, &job));
		fail_with(f, &job, HS_STORE_JOB_HOST, now);
		assert_false(begin(f, now + wait - 1, &job));
		now += wait;
		wait = HS_MIN(2 * wait, (int64_t)HS_STORE_JOB_WAIT_MAX_MS);
	}
	assert_int_equal(wait, HS_STORE_JOB_WAIT_MAX_MS);
	assert_true(begin(f, now, &job));
	fail_with(f, &job, HS_STORE_JOB_HOST, now);
	assert_false(begin(f, now, &job));
	must(hs_store_jobs_hurry(db_of(f), err));
	assert_true(begin(f, now, &job));
	fail_with(f, &job, HS_STORE_JOB_HOST, now);
	assert_true(begin(f, now + HS_STORE_JOB_WAIT_MS, &job)); /* and the waits begin anew */
}

static void test_an_end_that_was_not_written_costs_no_attempt(void **state)
{
	struct fixture *f = *state;
	struct hs_store_job job;
	SKIP_WITHOUT_DICTIONARY(f);
	struct hs_id id = add(f, "put", "src_1");
	for (int i = 0; i < 20; i++) {
		assert_true(begin(f, T0, &job));
		must(hs_store_jobs_reopen(db_of(f), T0, err));
	}
	assert_int_equal(get(f, &id).attempts, 0);
	for (int i = 0; i < HS_STORE_JOB_ATTEMPTS; i++) { /* but a process that died under it does */
		assert_true(begin(f, T0, &job));
		must(hs_store_jobs_recover(db_of(f), T0, err));
	}
	assert_false(begin(f, INT64_MAX, &job));
	assert_string_equal(get(f, &id).error_code, "job.interrupted");
}

struct listed {
	size_t count;
	struct hs_id ids[8];
};

static int list_one(void *ctx, const struct hs_store_job *job)
{
	struct listed *l = ctx;
	l->ids[l->count++] = job->id;
	return 0;
}

static struct listed list(struct fixture *f, const char *after, size_t limit)
{
	struct listed l = {0};
	must(hs_store_jobs_failed(db_of(f), after, limit, list_one, &l, err));
	return l;
}

static void test_failed_jobs_are_counted_listed_and_forgotten(void **state)
{
	struct fixture *f = *state;
	struct hs_store_job job;
	struct hs_id ids[5];
	uint64_t open, failed;
	SKIP_WITHOUT_DICTIONARY(f);
	for (int i = 0; i < 5; i++) {
		char source[16];
		(void)snprintf(source, sizeof source, "src_%d", i);
		ids[i] = add(f, "put", source);
		assert_true(begin(f, T0, &job));
		fail_with(f, &job, HS_STORE_JOB_DOCUMENT, T0);
	}
	struct listed l = list(f, "", 3);
	assert_int_equal(l.count, 3);
	assert_string_equal(l.ids[0].s, ids[0].s);
	l = list(f, l.ids[2].s, 3);
	assert_int_equal(l.count, 2);
	assert_string_equal(l.ids[1].s, ids[4].s);
	struct hs_err unknown = HS_ERR_INIT;
	assert_int_equal(hs_store_jobs_failed(db_of(f), "job_nobody", 3, list_one, &l, &unknown), -ENOENT);
	must(hs_store_job_counts(db_of(f), &open, &failed, err));
	assert_int_equal(open, 0);
	assert_int_equal(failed, 5);

	/* The same source again: while it waits, the old failure stands; once it is done, it is forgotten. */
	(void)add(f, "put", "src_2");
	must(hs_store_job_counts(db_of(f), &open, &failed, err));
	assert_int_equal(open, 1);
	assert_int_equal(failed, 5);
	assert_true(begin(f, T0, &job));
	must(hs_store_job_done(f->store, job.key, "doc_x", T0, err));
	must(hs_store_job_counts(db_of(f), &open, &failed, err));
	assert_int_equal(open, 0);
	assert_int_equal(failed, 4);
	struct hs_err gone = HS_ERR_INIT;
	assert_int_equal(hs_store_job_get(db_of(f), ids[2].s, NULL, &job, &gone), -ENOENT);
	(void)add(f, "delete", "src_4");
	assert_true(begin(f, T0, &job));
	must(hs_store_job_done(f->store, job.key, "", T0, err));
	assert_int_equal(list(f, "", 10).count, 3);

	/* One that fails again is there once, under its newest job. */
	struct hs_id again = add(f, "put", "src_0");
	assert_true(begin(f, T0, &job));
	fail_with(f, &job, HS_STORE_JOB_DOCUMENT, T0);
	l = list(f, "", 10);
	assert_int_equal(l.count, 3);
	assert_string_equal(l.ids[2].s, again.s);
}

static int64_t number(struct fixture *f, const char *sql)
{
	sqlite3_stmt *st;
	assert_int_equal(sqlite3_prepare_v2(db_of(f), sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	int64_t n = sqlite3_column_int64(st, 0);
	(void)sqlite3_finalize(st);
	return n;
}

static unsigned sweep_all(struct fixture *f, int64_t now)
{
	bool more;
	unsigned steps = 0;
	do {
		must(hs_store_jobs_sweep(db_of(f), now, &more, err));
		steps++;
	} while (more);
	return steps;
}

/* A thousand that are done, one after the other, from T0 on; in front of them one that failed and one that waits. */
static void test_what_is_done_is_swept(void **state)
{
	struct fixture *f = *state;
	struct hs_store_job job;
	SKIP_WITHOUT_DICTIONARY(f);
	struct hs_id bad = add(f, "put", "src_bad");
	assert_true(begin(f, T0, &job));
	fail_with(f, &job, HS_STORE_JOB_DOCUMENT, T0);
	struct hs_id open = add(f, "put", "src_open");
	char sql[512];
	(void)snprintf(sql, sizeof sql,
		       "INSERT INTO jobs(public, kind, state, by, name, created, updated) WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT"
		       " i + 1 FROM n WHERE i < 2999) SELECT 'job_' || i, 'put', 2, 'snd_a', 'src_' || i, %lld + i, %lld + i FROM n",
		       (long long)T0, (long long)T0);
	assert_int_equal(sqlite3_exec(db_of(f), sql, NULL, NULL, NULL), SQLITE_OK);

	assert_int_equal(sweep_all(f, T0 + HS_STORE_JOBS_KEPT_MS), 1);
	assert_int_equal(number(f, "SELECT count(*) FROM jobs WHERE state = 2"), 3000);
	assert_int_equal(sweep_all(f, T0 + HS_STORE_JOBS_KEPT_MS + 2500), 3); /* in bounded steps */
	assert_int_equal(number(f, "SELECT count(*) FROM jobs WHERE state = 2"), 500);
	assert_int_equal(number(f, "SELECT min(updated) FROM jobs WHERE state = 2"), T0 + 2500);
	assert_int_equal(get(f, &bad).state, HS_STORE_JOB_FAILED);
	assert_int_equal(get(f, &open).state, HS_STORE_JOB_OPEN);

	/* More than are kept: the newest stay. Of the failed ones, too. */
	for (int kind = HS_STORE_JOB_DONE; kind <= HS_STORE_JOB_FAILED; kind++) {
		(void)snprintf(sql, sizeof sql,
			       "INSERT INTO jobs(public, kind, state, by, name, created, updated) WITH RECURSIVE n(i) AS (SELECT 0 UNION"
			       " ALL SELECT i + 1 FROM n WHERE i < %d - 1) SELECT 'job_%d_' || i, 'put', %d, 'snd_a', 'new_' || i, %lld, %lld"
			       " FROM n", HS_STORE_JOBS_KEPT_MAX, kind, kind, (long long)T0 + 10000, (long long)T0 + 10000);
		assert_int_equal(sqlite3_exec(db_of(f), sql, NULL, NULL, NULL), SQLITE_OK);
		(void)sweep_all(f, T0 + 10000);
		(void)snprintf(sql, sizeof sql, "SELECT count(*) FROM jobs WHERE state = %d AND name LIKE 'new_%%'", kind);
		assert_int_equal(number(f, sql), HS_STORE_JOBS_KEPT_MAX);
		(void)snprintf(sql, sizeof sql, "SELECT count(*) FROM jobs WHERE state = %d", kind);
		assert_int_equal(number(f, sql), HS_STORE_JOBS_KEPT_MAX);
	}
	assert_int_equal(get(f, &open).state, HS_STORE_JOB_OPEN);
}

static void test_a_failed_one_is_dismissed(void **state)
{
	struct fixture *f = *state;
	struct hs_store_job job;
	struct hs_err why = HS_ERR_INIT;
	SKIP_WITHOUT_DICTIONARY(f);
	struct hs_id bad = add(f, "put", "src_bad");
	assert_int_equal(hs_store_job_dismiss(db_of(f), bad.s, &why), -ENOENT); /* it waits, and may succeed */
	assert_true(begin(f, T0, &job));
	fail_with(f, &job, HS_STORE_JOB_DOCUMENT, T0);
	must(hs_store_job_dismiss(db_of(f), bad.s, err));
	assert_int_equal(list(f, "", 10).count, 0);
	assert_int_equal(hs_store_job_dismiss(db_of(f), bad.s, &why), -ENOENT);
}

static void test_one_kind_may_be_begun_alone(void **state)
{
	struct fixture *f = *state;
	struct hs_store_job job;
	HS_BUF_AUTO detail = HS_BUF_INIT;
	struct hs_err none = HS_ERR_INIT;
	SKIP_WITHOUT_DICTIONARY(f);
	(void)add(f, "put", "src_1");
	assert_int_equal(hs_store_job_begin(f->store, "delete", 0, T0, &job, &detail, &none), -ENOENT);
	struct hs_id id = add(f, "delete", "src_1");
	must(hs_store_job_begin(f->store, "delete", 0, T0, &job, &detail, err));
	assert_string_equal(job.id.s, id.s);
}

static void test_what_was_tried_before_or_is_large_goes_alone(void **state)
{
	struct fixture *f = *state;
	struct hs_store_job job;
	HS_BUF_AUTO detail = HS_BUF_INIT;
	struct hs_err none = HS_ERR_INIT;
	SKIP_WITHOUT_DICTIONARY(f);
	struct hs_id first = add(f, "put", "src_1");
	(void)add(f, "put", "src_2");
	assert_int_equal(hs_store_job_begin(f->store, NULL, 5, T0, &job, &detail, &none), -EBUSY); /* six bytes */
	assert_int_equal(detail.len, 0);
	must(hs_store_job_begin(f->store, NULL, 6, T0, &job, &detail, err));
	assert_string_equal(job.id.s, first.s);
	must(hs_store_jobs_recover(db_of(f), T0, err)); /* the process ended under it */
	assert_int_equal(hs_store_job_begin(f->store, NULL, 6, T0, &job, &detail, &none), -EBUSY);
	assert_int_equal(get(f, &first).state, HS_STORE_JOB_OPEN);
	must(hs_store_job_begin(f->store, NULL, 0, T0, &job, &detail, err));
	assert_string_equal(job.id.s, first.s);
	assert_int_equal(job.attempts, 2);
	must(hs_store_job_begin(f->store, NULL, 6, T0, &job, &detail, err)); /* the second was never tried */
}

/* How often the connection's one statement that begins with sql ran; 0 where it was not kept. */
static int runs_of(struct fixture *f, const char *sql)
{
	sqlite3_stmt *st = NULL;
	while ((st = sqlite3_next_stmt(db_of(f), st)))
		if (strncmp(sqlite3_sql(st), sql, strlen(sql)) == 0)
			return sqlite3_stmt_status(st, SQLITE_STMTSTATUS_RUN, 0);
	return 0;
}

static void test_statements_are_prepared_once_and_hold_no_transaction(void **state)
{
	struct fixture *f = *state;
	struct hs_store_job job;
	SKIP_WITHOUT_DICTIONARY(f);
	for (int i = 0; i < 2; i++) {
		(void)add(f, "put", "src_1");
		assert_true(begin(f, T0, &job));
		must(hs_store_job_done(f->store, job.key, "doc_x", T0, err));
	}
	static const char *const kept[] = {"INSERT INTO jobs", "UPDATE jobs SET state = 1", "UPDATE jobs SET state = 2",
					   "DELETE FROM jobs WHERE state = 3 AND id <"};
	for (size_t i = 0; i < HS_ARRAY_LEN(kept); i++)
		assert_int_equal(runs_of(f, kept[i]), 2);
	sqlite3_stmt *st = NULL;
	while ((st = sqlite3_next_stmt(db_of(f), st)))
		assert_false(sqlite3_stmt_busy(st));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_the_document_s_fault_is_final, fixture_setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_what_was_tried_before_or_is_large_goes_alone, fixture_setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_suspects_and_losses_are_counted, fixture_setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_the_host_s_fault_costs_no_attempt, fixture_setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_waits_grow_and_end, fixture_setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_an_end_that_was_not_written_costs_no_attempt, fixture_setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_failed_jobs_are_counted_listed_and_forgotten, fixture_setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_what_is_done_is_swept, fixture_setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_a_failed_one_is_dismissed, fixture_setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_statements_are_prepared_once_and_hold_no_transaction, fixture_setup,
					    fixture_teardown),
	    cmocka_unit_test_setup_teardown(test_one_kind_may_be_begun_alone, fixture_setup, fixture_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
