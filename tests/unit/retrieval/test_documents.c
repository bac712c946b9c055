/* A long document that is indexed by steps: not to be seen before its end, then as if it had been put at once; not left behind. */
#include "tests/unit/retrieval/fixture.h"

#define LINES (2 * HS_STAGE_STEP + 100) /* three steps */

/* One passage a line. */
struct long_document {
	struct hs_document read;
	struct hs_chunk *chunks;
	struct hs_blob_row blob;
	uint8_t hash[HS_STORE_HASH_LEN];
	struct hs_put put;
};

static void long_init(struct long_document *l, struct fixture *f, const char *word)
{
	char *text = calloc(LINES, 96);
	size_t at = 0;

	assert_non_null(text);
	*l = (struct long_document){.blob = {.id = hs_id_new("blb_"), .wrapped_len = 40, .length = 1}};
	l->chunks = calloc(LINES, sizeof(*l->chunks));
	assert_non_null(l->chunks);
	for (int i = 0; i < LINES; i++) {
		int n = snprintf(text + at, 96, "%sの第%d条は旅費を定める。\n", word, i);

		l->chunks[i] = (struct hs_chunk){.start = (uint32_t)at, .end = (uint32_t)(at + (size_t)n), .context = (char *)""};
		at += (size_t)n;
	}
	l->read = (struct hs_document){.title = (char *)"長い規程", .text = text, .len = at, .format = (char *)"text",
				       .charset = (char *)"UTF-8", .extractor = (char *)"text/1"};
	l->put = (struct hs_put){.class_id = f->notices, .title = "長い規程", .sender = "snd_x", .source = word, .submission = "",
				 .now_ms = T0, .text_hash = l->hash, .canonical = &l->blob.id, .read = &l->read, .chunks = l->chunks,
				 .n_chunks = LINES};
}

static void long_finish(struct long_document *l)
{
	free(l->read.text);
	free(l->chunks);
}

static int64_t number(struct fixture *f, const char *sql)
{
	sqlite3_stmt *st;

	assert_int_equal(sqlite3_prepare_v2(hs_store_db(f->store), sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	int64_t n = sqlite3_column_int64(st, 0);
	(void)sqlite3_finalize(st);
	return n;
}

static void put_now(struct fixture *f, struct long_document *l)
{
	struct hs_id document, version;

	must(hs_store_begin(f->store, err));
	must(hs_store_blob_add(f->store, &l->blob, NULL, 0, err));
	must(hs_store_put(f->store, &l->put, &document, &version, err));
	must(hs_store_commit(f->store, err));
}

static bool step(struct fixture *f, struct hs_stage *stage)
{
	bool more = false;

	must(hs_store_begin(f->store, err));
	must(hs_stage_step(stage, &more, err));
	must(hs_store_commit(f->store, err));
	return more;
}

static void check_fts(struct fixture *f)
{
	assert_int_equal(sqlite3_exec(hs_store_db(f->store), "INSERT INTO chunks_fts(chunks_fts, rank) VALUES('integrity-check', 1)",
				      NULL, NULL, NULL), SQLITE_OK);
}

static int found(struct fixture *f, const char *word)
{
	return fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, word) + fixture_count(f, "suzuki", HS_SEARCH_PHRASE, word);
}

/* Small documents enough that segments merge, one that is deleted, upkeep and a purge: what others do between two steps. */
static void live_on(struct fixture *f)
{
	struct hs_id gone = fixture_put(f, f->notices, "消える", "消える文書である。");
	bool more = true;

	for (int i = 0; i < 9; i++)
		(void)fixture_put(f, f->notices, "短い", "短い文書である。");
	fixture_delete(f, &gone);
	while (more)
		must(hs_store_maintain(f->store, T0, &more, err));
	must(hs_store_purge(f->store, 0, NULL, NULL, err));
}

static void test_a_staged_document_is_as_one_put_at_once(void **state)
{
	struct fixture *f = *state;
	struct long_document whole, staged;
	struct hs_stage *stage = NULL;
	struct hs_store_progress before, after;
	int steps = 0;

	SKIP_WITHOUT_DICTIONARY(f);
	long_init(&whole, f, "kqzvxa");
	long_init(&staged, f, "wjybmc");
	put_now(f, &whole);
	hs_store_progress(f->store, &before);
	int expected = found(f, "kqzvxa");
	assert_true(expected > 0);

	must(hs_stage_create(f->store, &staged.put, &stage));
	for (bool more = true; more; steps++) {
		more = step(f, stage);
		assert_int_equal(found(f, "wjybmc"), 0);
		live_on(f);
		assert_int_equal(found(f, "wjybmc"), 0);
	}
	assert_int_equal(steps, 3);
	hs_store_progress(f->store, &after);
	assert_int_equal(after.chunks, before.chunks + 27);
	assert_int_equal(number(f, "SELECT count(*) FROM chunks WHERE dead = 1 AND document = 0"), LINES);

	/* Its last transaction fails, and is made again. */
	staged.put.stage = stage;
	for (int again = 0; again < 2; again++) {
		struct hs_id document, version;

		must(hs_store_begin(f->store, err));
		must(hs_store_blob_add(f->store, &staged.blob, NULL, 0, err));
		must(hs_store_put(f->store, &staged.put, &document, &version, err));
		if (again)
			must(hs_store_commit(f->store, err));
		else
			hs_store_rollback(f->store);
		assert_int_equal(found(f, "wjybmc"), again ? expected : 0);
	}
	hs_stage_destroy(stage);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(found(f, "wjybmc"), expected);
		assert_int_equal(found(f, "kqzvxa"), expected);
		assert_int_equal(number(f, "SELECT count(*) FROM chunks a JOIN chunks b ON a.idx = b.idx AND a.document < b.document AND"
					   " a.words = b.words AND a.bigrams = b.bigrams AND a.start = b.start AND a.end = b.end"
					   " WHERE a.idx > 0 AND a.dead = 0 AND b.dead = 0"), LINES - 1);
		live_on(f);
		check_fts(f);
		assert_int_equal(number(f, "SELECT count(*) FROM chunks WHERE dead <> 0"), 0);
		fixture_reopen(f);
	}
	long_finish(&whole);
	long_finish(&staged);
}

static void test_what_was_never_put_is_never_seen_and_goes(void **state)
{
	struct fixture *f = *state;
	struct long_document l;
	struct hs_stage *stage = NULL;
	struct hs_store_progress progress;
	bool more;

	SKIP_WITHOUT_DICTIONARY(f);
	long_init(&l, f, "wjybmc");
	for (int steps = 1; steps <= 3; steps++) {
		must(hs_stage_create(f->store, &l.put, &stage));
		for (int i = 0; i < steps; i++)
			(void)step(f, stage);
		if (steps < 3) { /* the next one is not committed */
			must(hs_store_begin(f->store, err));
			must(hs_stage_step(stage, &more, err));
			hs_store_rollback(f->store);
		}
		hs_stage_destroy(stage);
		if (steps == 2)
			fixture_reopen(f); /* a crash */
		assert_int_equal(found(f, "wjybmc"), 0);
		hs_store_progress(f->store, &progress);
		assert_true(progress.dirty > 0);
		live_on(f);
		assert_int_equal(number(f, "SELECT (SELECT count(*) FROM chunks WHERE document = 0) + (SELECT count(*) FROM chunk_texts WHERE"
					   " ordinal NOT IN (SELECT ordinal FROM chunks))"), 0);
		check_fts(f);
		hs_store_progress(f->store, &progress);
		assert_int_equal(progress.dirty, 0);
		/* Neither do its words stay in a segment: the next document to have them is found alone. */
		assert_int_equal(found(f, "wjybmc"), 0);
	}
	put_now(f, &l);
	assert_true(found(f, "wjybmc") > 0);
	long_finish(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_staged_document_is_as_one_put_at_once, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_what_was_never_put_is_never_seen_and_goes, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
