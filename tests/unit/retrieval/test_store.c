#include "retrieval/store.h"

#include <errno.h>

#include "retrieval/schema.h"
#include "tests/unit/retrieval/fixture.h"

static int64_t number(struct fixture *f, const char *sql)
{
	sqlite3_stmt *st = NULL;
	int64_t n;

	assert_int_equal(sqlite3_prepare_v2(hs_store_db(f->store), sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int64(st, 0);
	(void)sqlite3_finalize(st);
	return n;
}

static void sql(struct fixture *f, const char *text)
{
	assert_int_equal(sqlite3_exec(hs_store_db(f->store), text, NULL, NULL, NULL), SQLITE_OK);
}

static void test_a_document_is_found_when_its_transaction_commits(void **state)
{
	struct fixture *f = *state;
	struct fixture_put p = {.title = "旅費規程", .text = "宿泊費は一泊一万二千円を上限とする。", .class_id = 1};
	struct hs_id document, version;

	SKIP_WITHOUT_DICTIONARY(f);
	p.class_id = f->notices;
	must(hs_store_begin(f->store, err));
	must(fixture_try_put(f, &p, &document, &version, err));
	hs_store_rollback(f->store);
	assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, "宿泊費の上限"), 0);
	document = fixture_put(f, f->notices, p.title, p.text);
	for (int round = 0; round < 2; round++) { /* also after a restart */
		struct hs_results r = fixture_ask(f, "suzuki", HS_SEARCH_LEXICAL, "宿泊費の上限");

		assert_int_equal(r.count, 1);
		assert_string_equal(r.hits[0].document.s, document.s);
		assert_string_equal(r.hits[0].title, "旅費規程");
		assert_int_equal(r.hits[0].text_len, strlen(p.text));
		assert_string_equal(r.hits[0].text, p.text);
		assert_int_equal(r.hits[0].start, 0);
		assert_int_equal(r.hits[0].end, strlen(p.text));
		hs_results_finish(&r);
		assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_PHRASE, "「宿泊費」"), 1);
		fixture_reopen(f);
	}
}

/* One text twice: all that is counted of each passage is the same, and FTS5 finds its own tokens in the texts. */
static void test_words_made_ahead_are_those_made_in_time(void **state)
{
	struct fixture *f = *state;
	SKIP_WITHOUT_DICTIONARY(f);
	for (int ahead = 0; ahead < 2; ahead++) {
		const struct fixture_put p = {.title = "出張の旅費規程", .text = "出張の旅費は実費とする。宿泊料は一泊一万円である。サーバー室には入らない。",
					      .class_id = 1, .chunk = 30, .source = ahead ? "src_b" : "src_a", .ahead = ahead};
		struct hs_id document, version;
		must(hs_store_begin(f->store, err));
		must(fixture_try_put(f, &p, &document, &version, err));
		must(hs_store_commit(f->store, err));
	}
	assert_true(number(f, "SELECT count(*) FROM chunks") >= 6);
	assert_int_equal(number(f, "SELECT count(DISTINCT document) FROM chunks"), 2);
	assert_int_equal(number(f, "SELECT count(*) FROM chunks a JOIN chunks b ON a.idx = b.idx AND a.document < b.document"
				   " WHERE a.words = b.words AND a.bigrams = b.bigrams AND a.words > 0 AND a.bigrams > 0"),
			 number(f, "SELECT count(*) / 2 FROM chunks"));
	assert_int_equal(sqlite3_exec(hs_store_db(f->store), "INSERT INTO chunks_fts(chunks_fts, rank) VALUES('integrity-check', 1)",
				      NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(number(f, "SELECT count(DISTINCT length(data)) FROM segments WHERE level = 0"), 1);
}

/* What may be forgotten stands after the process ends, and the audit log, which copies the sequence, is not ahead of the disk. */
static void test_an_unsynced_commit_does_not_count(void **state)
{
	struct fixture *f = *state;
	SKIP_WITHOUT_DICTIONARY(f);
	uint64_t before = hs_store_commit_seq(f->store);
	must(hs_store_begin_unsynced(f->store, err));
	assert_int_equal(number(f, "PRAGMA synchronous"), 1);
	sql(f, "INSERT INTO meta VALUES('test', 7)");
	must(hs_store_commit(f->store, err));
	assert_int_equal(number(f, "PRAGMA synchronous"), 2);
	assert_int_equal(hs_store_commit_seq(f->store), before);
	must(hs_store_begin_unsynced(f->store, err));
	assert_int_equal(hs_store_begin(f->store, NULL), -EINVAL);
	hs_store_rollback(f->store);
	assert_int_equal(number(f, "PRAGMA synchronous"), 2);
	fixture_reopen(f);
	assert_int_equal(number(f, "SELECT value FROM meta WHERE key = 'test'"), 7);
	assert_int_equal(hs_store_commit_seq(f->store), before);
	must(hs_store_begin(f->store, err));
	sql(f, "UPDATE meta SET value = 8 WHERE key = 'test'");
	must(hs_store_commit(f->store, err));
	assert_int_equal(hs_store_commit_seq(f->store), before + 1);
}

static void test_a_new_version_replaces_and_the_old_one_stays_readable(void **state)
{
	struct fixture *f = *state;
	struct fixture_put p = {.title = "規程", .text = "旧版はタクシーを認める。"};
	struct hs_id document, first, second;
	struct hs_version_row row;
	HS_BUF_AUTO bytes = HS_BUF_INIT;
	struct hs_grant *g;

	SKIP_WITHOUT_DICTIONARY(f);
	p.class_id = f->notices;
	must(hs_store_begin(f->store, err));
	must(fixture_try_put(f, &p, &document, &first, err));
	must(hs_store_commit(f->store, err));
	p.text = "新版は自転車を認める。";
	p.document = &document;
	p.file = true;
	must(hs_store_begin(f->store, err));
	must(fixture_try_put(f, &p, &document, &second, err));
	must(hs_store_commit(f->store, err));
	for (int round = 0; round < 2; round++) {
		assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, "タクシー"), 0);
		assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_PHRASE, "タクシー"), 0);
		assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, "自転車"), 1);
		fixture_reopen(f);
	}
	g = fixture_grant(f, "suzuki", T0);
	must(hs_store_version(f->reader, g, HS_RIGHT_ASK, T0, first.s, &row, err));
	assert_false(row.present);
	assert_true(row.canonical.inside);
	must(hs_store_blob_bytes(f->reader, &row.canonical.id, &bytes, err));
	assert_int_equal(bytes.len, sizeof FIXTURE_SEALED);
	assert_memory_equal(bytes.data, FIXTURE_SEALED, bytes.len);
	must(hs_store_version(f->reader, g, HS_RIGHT_DOWNLOAD, T0, document.s, &row, err));
	assert_false(row.canonical.inside);
	assert_int_equal(hs_store_blob_bytes(f->reader, &row.canonical.id, &bytes, NULL), -ENOENT);
	assert_true(row.present);
	assert_string_equal(row.version.s, second.s);
	assert_int_equal(row.canonical.wrapped_len, 40);
	assert_int_equal(row.original.wrapped_len, 0);
	hs_grant_destroy(g);
}

struct forgotten {
	int n;
};

static void forget(void *ctx, const char *blob)
{
	struct forgotten *f = ctx;

	assert_true(hs_id_valid(blob, strlen(blob), "blb_"));
	f->n++;
}

static void test_deletion_holds_at_once_and_a_purge_leaves_no_word(void **state)
{
	struct fixture *f = *state;
	struct forgotten forgotten = {0};
	struct hs_store_progress progress;
	struct hs_id document;
	struct hs_err why = HS_ERR_INIT;

	SKIP_WITHOUT_DICTIONARY(f);
	(void)fixture_put(f, f->notices, "残る", "こちらは残る文書である。");
	document = fixture_put(f, f->notices, "消える", "カナリアkqzvx9の巣は秘密である。");
	assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, "kqzvx9"), 1);
	fixture_delete(f, &document);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, "kqzvx9"), 0);
		assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_PHRASE, "kqzvx9"), 0);
		hs_store_progress(f->store, &progress);
		assert_int_equal(progress.documents, 1);
		assert_true(progress.dirty > 0);
		fixture_reopen(f);
	}
	must(hs_store_begin(f->store, err));
	assert_int_equal(hs_store_delete(f->store, &document, T0, &why), -ENOENT);
	assert_string_equal(why.code, "doc.unknown");
	hs_store_rollback(f->store);
	must(hs_store_purge(f->store, 0, forget, &forgotten, err));
	assert_int_equal(forgotten.n, 1);
	hs_store_progress(f->store, &progress);
	assert_int_equal(progress.dirty, 0);
	assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, "残る文書"), 1);
	assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_PHRASE, "残る"), 1);
	fixture_reopen(f);
	{
		FILE *file = fopen(f->path, "re");
		char *bytes = NULL;
		long len;

		assert_non_null(file);
		assert_int_equal(fseek(file, 0, SEEK_END), 0);
		len = ftell(file);
		rewind(file);
		bytes = malloc((size_t)len);
		assert_int_equal(fread(bytes, 1, (size_t)len, file), len);
		(void)fclose(file);
		assert_null(memmem(bytes, (size_t)len, "kqzvx9", 6)); /* postings keep bigrams apart: whole words only in FTS5 and texts */
		assert_null(memmem(bytes, (size_t)len, "カナリア", strlen("カナリア")));
		free(bytes);
	}
}

static void test_replaced_versions_go_when_their_time_is_over(void **state)
{
	struct fixture *f = *state;
	struct fixture_put p = {.title = "規程", .text = "初版。"};
	struct forgotten forgotten = {0};
	struct hs_id document, first, second;
	struct hs_version_row row;
	HS_BUF_AUTO bytes = HS_BUF_INIT;
	struct hs_grant *g;

	SKIP_WITHOUT_DICTIONARY(f);
	p.class_id = f->notices;
	must(hs_store_begin(f->store, err));
	must(fixture_try_put(f, &p, &document, &first, err));
	p.document = &document;
	p.text = "第二版。";
	must(fixture_try_put(f, &p, &document, &second, err)); /* in the same transaction */
	must(hs_store_commit(f->store, err));
	g = fixture_grant(f, "suzuki", T0);
	must(hs_store_purge(f->store, T0, forget, &forgotten, err)); /* replaced at T0: kept */
	must(hs_store_version(f->reader, g, HS_RIGHT_ASK, T0, first.s, &row, err));
	must(hs_store_blob_bytes(f->reader, &row.canonical.id, &bytes, err));
	must(hs_store_purge(f->store, T0 + 1, forget, &forgotten, err));
	assert_int_equal(forgotten.n, 1);
	assert_int_equal(hs_store_blob_bytes(f->reader, &row.canonical.id, &bytes, NULL), -ENOENT);
	assert_int_equal(hs_store_version(f->reader, g, HS_RIGHT_ASK, T0, first.s, &row, NULL), -ENOENT);
	must(hs_store_version(f->reader, g, HS_RIGHT_ASK, T0, second.s, &row, err));
	hs_grant_destroy(g);
}

static void test_reclassifying_holds_at_once_in_both_directions(void **state)
{
	struct fixture *f = *state;
	struct hs_id document;

	SKIP_WITHOUT_DICTIONARY(f);
	document = fixture_put(f, f->pay, "給与", "部長の給与は月額八十万円である。");
	assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, "部長の給与"), 0);
	assert_int_equal(fixture_count(f, "sato", HS_SEARCH_LEXICAL, "部長の給与"), 1);
	must(hs_store_begin(f->store, err));
	must(hs_store_reclassify(f->store, &document, f->notices, err));
	must(hs_store_commit(f->store, err));
	for (int settled = 0; settled < 3; settled++) {
		assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, "部長の給与"), 1);
		assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_PHRASE, "給与"), 1);
		if (settled == 0)
			fixture_reopen(f); /* the move is remembered */
		else
			fixture_settle(f, T0);
	}
	assert_int_equal(number(f, "SELECT count(*) FROM chunks c JOIN extents e ON e.extent = c.ordinal / 256"
				   " JOIN documents d ON d.id = c.document WHERE d.class_id <> e.class_id AND c.dead = 0"), 0);
	must(hs_store_begin(f->store, err));
	must(hs_store_reclassify(f->store, &document, f->pay, err));
	must(hs_store_commit(f->store, err));
	for (int settled = 0; settled < 2; settled++) {
		assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, "部長の給与"), 0);
		assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_PHRASE, "給与"), 0);
		assert_int_equal(fixture_count(f, "sato", HS_SEARCH_LEXICAL, "部長の給与"), 1);
		fixture_settle(f, T0);
	}
}

static void test_expiry_hides_at_the_instant(void **state)
{
	struct fixture *f = *state;
	struct fixture_put p = {.title = "期限", .text = "この告知は期限までしか有効でない。", .expires = T0 + 1000};
	struct hs_store_progress progress;
	struct hs_id document, version;
	struct hs_results r;
	struct hs_grant *g;

	SKIP_WITHOUT_DICTIONARY(f);
	p.class_id = f->notices;
	must(hs_store_begin(f->store, err));
	must(fixture_try_put(f, &p, &document, &version, err));
	must(hs_store_commit(f->store, err));
	for (int round = 0; round < 2; round++) {
		for (int64_t late = 0; late < 2; late++) {
			struct hs_query q = {.mode = HS_SEARCH_LEXICAL, .text = "告知", .len = strlen("告知"), .k = 5,
					     .now_ms = T0 + 999 + late};
			struct hs_version_row row;

			g = fixture_grant(f, "tanaka", T0);
			must(hs_search(f->reader, g, &q, &r, err));
			assert_int_equal(r.count, late ? 0 : 1);
			hs_results_finish(&r);
			assert_int_equal(hs_store_version(f->reader, g, HS_RIGHT_ASK, q.now_ms, version.s, &row, NULL),
					 late ? -ENOENT : 0);
			hs_grant_destroy(g);
		}
		fixture_reopen(f);
	}
	fixture_settle(f, T0 + 2000); /* deleted for good */
	hs_store_progress(f->store, &progress);
	assert_int_equal(progress.documents, 0);
}

static int count_row(void *ctx, const struct hs_document_row *row)
{
	struct forgotten *n = ctx;

	n->n++;
	return row->title[0] ? 0 : 1; /* a title is what admins do not see */
}

static void test_forbidden_is_as_missing(void **state)
{
	struct fixture *f = *state;
	struct forgotten n = {0};
	struct hs_version_row row;
	struct hs_document_row found;
	struct hs_id secret, none = hs_id_new("doc_");
	struct hs_err forbidden = HS_ERR_INIT, missing = HS_ERR_INIT;
	struct hs_grant *g;

	SKIP_WITHOUT_DICTIONARY(f);
	secret = fixture_put(f, f->pay, "給与", "秘密の給与。");
	(void)fixture_put(f, f->notices, "告知", "社内の告知。");
	g = fixture_grant(f, "suzuki", T0);
	assert_int_equal(hs_store_version(f->reader, g, HS_RIGHT_ASK, T0, secret.s, &row, &forbidden), -ENOENT);
	assert_int_equal(hs_store_version(f->reader, g, HS_RIGHT_ASK, T0, none.s, &row, &missing), -ENOENT);
	assert_string_equal(forbidden.code, missing.code);
	assert_string_equal(forbidden.hint, missing.hint);
	must(hs_store_list(f->reader, g, T0, "", 100, count_row, &n, err));
	assert_int_equal(n.n, 1);
	/* May ask, may not download: 営業 gives asking only. */
	secret = fixture_put(f, f->secrets, "商談", "商談の記録。");
	hs_grant_destroy(g);
	g = fixture_grant(f, "suzuki", T0);
	must(hs_store_version(f->reader, g, HS_RIGHT_ASK, T0, secret.s, &row, err));
	assert_int_equal(hs_store_version(f->reader, g, HS_RIGHT_DOWNLOAD, T0, secret.s, &row, NULL), -ENOENT);
	n.n = 0;
	assert_int_equal(hs_store_admin_list(f->reader, "", 1, count_row, &n, NULL), 1); /* no title */
	must(hs_store_admin_find(f->reader, secret.s, &found, err));
	assert_string_equal(found.title, "");
	assert_int_equal(found.class_id, f->secrets);
	hs_grant_destroy(g);
}

static void test_lists_go_on_where_they_stopped(void **state)
{
	struct fixture *f = *state;
	struct forgotten n = {0};
	struct hs_id ids[5];
	struct hs_grant *g;

	SKIP_WITHOUT_DICTIONARY(f);
	for (int i = 0; i < 5; i++)
		ids[i] = fixture_put(f, i == 2 ? f->pay : f->notices, "題", "文。");
	g = fixture_grant(f, "tanaka", T0);
	must(hs_store_list(f->reader, g, T0, "", 2, count_row, &n, err)); /* 4, 3 */
	assert_int_equal(n.n, 2);
	must(hs_store_list(f->reader, g, T0, ids[3].s, 2, count_row, &n, err)); /* 1, 0 */
	assert_int_equal(n.n, 4);
	must(hs_store_list(f->reader, g, T0, ids[0].s, 2, count_row, &n, err));
	assert_int_equal(n.n, 4);
	hs_grant_destroy(g);
}

struct seen {
	struct hs_id ids[8];
	size_t n;
};

static int see_row(void *ctx, const struct hs_document_row *row)
{
	struct seen *s = ctx;

	s->ids[s->n++] = row->document;
	return 0;
}

/* Others file and delete while somebody turns the pages. */
static void test_lists_repeat_and_skip_nothing_that_stays(void **state)
{
	struct fixture *f = *state;
	struct seen seen = {0};
	struct hs_id ids[6], hidden;
	struct hs_err why = HS_ERR_INIT;
	struct hs_grant *g;

	SKIP_WITHOUT_DICTIONARY(f);
	hidden = fixture_put(f, f->pay, "題", "文。");
	for (int i = 0; i < 5; i++)
		ids[i] = fixture_put(f, f->notices, "題", "文。");
	g = fixture_grant(f, "tanaka", T0);
	must(hs_store_list(f->reader, g, T0, "", 2, see_row, &seen, err)); /* 4, 3 */
	ids[5] = fixture_put(f, f->notices, "題", "文。"); /* in front of what was shown */
	fixture_delete(f, &ids[3]);
	for (int purged = 0; purged < 2; purged++) {
		assert_int_equal(hs_store_list(f->reader, g, T0, ids[3].s, 2, see_row, &seen, &why), -ENOENT);
		assert_string_equal(why.code, "doc.unknown");
		assert_int_equal(hs_store_admin_list(f->reader, ids[3].s, 2, see_row, &seen, &why), -ENOENT);
		must(hs_store_purge(f->store, 0, NULL, NULL, err));
	}
	must(hs_store_list(f->reader, g, T0, ids[4].s, 8, see_row, &seen, err)); /* the one before it: 2, 1, 0 */
	assert_int_equal(seen.n, 5);
	for (int i = 0; i < 5; i++)
		assert_string_equal(seen.ids[i].s, ids[4 - i].s);
	/* Going on from what one may not read is as going on from what never was. */
	assert_int_equal(hs_store_list(f->reader, g, T0, hidden.s, 2, see_row, &seen, &why), -ENOENT);
	assert_string_equal(why.code, "doc.unknown");
	assert_int_equal(hs_store_list(f->reader, g, T0, "doc_nobody", 2, see_row, &seen, &why), -ENOENT);
	hs_grant_destroy(g);
}

static void test_sources_name_one_living_document(void **state)
{
	struct fixture *f = *state;
	struct fixture_put p = {.title = "題", .text = "文。", .source = "folder/a.txt"};
	struct hs_id document, found, version;
	struct hs_err why = HS_ERR_INIT;
	uint8_t mac[HS_STORE_HASH_LEN];

	SKIP_WITHOUT_DICTIONARY(f);
	p.class_id = f->notices;
	must(hs_store_begin(f->store, err));
	must(fixture_try_put(f, &p, &document, &version, err));
	assert_int_equal(hs_store_by_source(f->store, "snd_x", "folder/a.txt", &found, mac), 0);
	assert_string_equal(found.s, document.s);
	assert_int_equal(fixture_try_put(f, &p, &found, &version, &why), -EEXIST);
	hs_store_rollback(f->store);
	assert_int_equal(hs_store_by_source(f->store, "snd_x", "folder/a.txt", &found, NULL), -ENOENT);
	must(hs_store_begin(f->store, err));
	must(fixture_try_put(f, &p, &document, &version, err));
	must(hs_store_delete(f->store, &document, T0, err));
	must(fixture_try_put(f, &p, &document, &version, err)); /* its place is free again */
	must(hs_store_commit(f->store, err));
	assert_int_equal(hs_store_by_source(f->store, "snd_y", "folder/a.txt", &found, NULL), -ENOENT);
	assert_int_equal(hs_store_by_source(f->store, "snd_x", "", &found, NULL), -ENOENT);
}

static void test_bad_puts_are_refused_by_name(void **state)
{
	struct fixture *f = *state;
	struct hs_document d = {.text = (char *)"漢字", .len = 6};
	struct hs_chunk chunk = {.start = 0, .end = 6, .context = (char *)""};
	struct hs_id blob = hs_id_new("blb_"), none = hs_id_new("doc_"), document, version;
	uint8_t hash[HS_STORE_HASH_LEN] = {0};
	struct hs_put p = {.class_id = 1, .title = "", .sender = "", .source = "", .submission = "", .text_hash = hash, .canonical = &blob,
			   .read = &d, .chunks = &chunk, .n_chunks = 1};
	struct hs_err why = HS_ERR_INIT;

	SKIP_WITHOUT_DICTIONARY(f);
	assert_int_equal(hs_store_put(f->store, &p, &document, &version, &why), -EINVAL);
	assert_string_equal(why.code, "store.no_transaction");
	must(hs_store_begin(f->store, err));
	assert_int_equal(hs_store_put(f->store, &p, &document, &version, &why), -ENOENT);
	assert_string_equal(why.code, "blob.unknown");
	p.class_id = HS_CLASSES_MAX + 1;
	assert_int_equal(hs_store_put(f->store, &p, &document, &version, &why), -EINVAL);
	assert_string_equal(why.code, "doc.class");
	p.class_id = f->notices;
	chunk.end = 7;
	assert_int_equal(hs_store_put(f->store, &p, &document, &version, &why), -EINVAL);
	chunk.end = 4; /* inside a character */
	assert_int_equal(hs_store_put(f->store, &p, &document, &version, &why), -EINVAL);
	assert_string_equal(why.code, "doc.chunk");
	p.n_chunks = 0;
	assert_int_equal(hs_store_put(f->store, &p, &document, &version, &why), -EINVAL);
	assert_string_equal(why.code, "doc.empty");
	p.n_chunks = 1;
	chunk.end = 6;
	d.text = (char *)"\xff\xfe\xff\xfe\xff\xfe";
	assert_int_equal(hs_store_put(f->store, &p, &document, &version, &why), -EILSEQ);
	d.text = (char *)"漢字";
	p.document = &none;
	assert_int_equal(hs_store_put(f->store, &p, &document, &version, &why), -ENOENT);
	assert_string_equal(why.code, "doc.unknown");
	hs_store_rollback(f->store);
}

static void test_damage_and_strange_versions_are_refused_by_name(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *damage, *code;
		int rc;
	} cases[] = {
		{"UPDATE segments SET data = zeroblob(length(data))", "index.segment", -EBADMSG},
		{"UPDATE segments SET hash = zeroblob(32)", "index.segment", -EBADMSG},
		{"UPDATE chunks SET ordinal = 99999999", "index.row", -EBADMSG},
		{"UPDATE extents SET class_id = 5000", "index.row", -EBADMSG},
		{"PRAGMA user_version = 99", "store.schema_newer", -ENOTSUP},
		{"PRAGMA application_id = 7", "store.foreign", -EBADMSG},
		{"UPDATE generations SET normalizer = 999", "index.generation", -ESTALE},
		{"UPDATE generations SET dict_hash = zeroblob(32)", "index.generation", -ESTALE},
	};

	SKIP_WITHOUT_DICTIONARY(f);
	(void)fixture_put(f, f->notices, "題", "壊れる前の文。");
	for (size_t i = 0; i < HS_ARRAY_LEN(cases); i++) {
		struct hs_err why = HS_ERR_INIT;
		char copy[60], into[96];
		sqlite3 *db;

		(void)snprintf(copy, sizeof(copy), "%.56s.%zu", f->path, i);
		(void)snprintf(into, sizeof(into), "VACUUM INTO '%s'", copy);
		sql(f, into);
		assert_int_equal(sqlite3_open(copy, &db), SQLITE_OK);
		assert_int_equal(sqlite3_exec(db, cases[i].damage, NULL, NULL, NULL), SQLITE_OK);
		assert_int_equal(sqlite3_close(db), SQLITE_OK);
		{
			struct fixture damaged = {.analyzer = f->analyzer};

			(void)snprintf(damaged.path, sizeof(damaged.path), "%s", copy);
			assert_int_equal(fixture_open(&damaged, false, &why), cases[i].rc);
			assert_string_equal(why.code, cases[i].code);
			fixture_close(&damaged);
		}
		for (int s = 0; s < 3; s++) {
			char path[128];

			(void)snprintf(path, sizeof(path), "%s%s", copy, (const char *const[]){"", "-wal", "-shm"}[s]);
			(void)unlink(path);
		}
	}
}

static void test_another_dictionary_is_indexed_anew_when_asked(void **state)
{
	struct fixture *f = *state;
	struct hs_id gone;

	SKIP_WITHOUT_DICTIONARY(f);
	(void)fixture_put(f, f->notices, "規程", "出張の宿泊費を定める。");
	(void)fixture_put(f, f->pay, "給与", "部長の給与を定める。");
	gone = fixture_put(f, f->notices, "古い", "廃止された規程。");
	fixture_delete(f, &gone);
	sql(f, "UPDATE generations SET dict_hash = zeroblob(32)");
	fixture_close(f);
	must(fixture_open(f, true, err));
	assert_int_equal(number(f, "SELECT count(*) FROM generations"), 2);
	assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, "宿泊費"), 1);
	assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_PHRASE, "宿泊費"), 1);
	assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, "部長の給与"), 0);
	assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, "廃止"), 0);
	assert_int_equal(fixture_count(f, "sato", HS_SEARCH_PHRASE, "給与"), 1);
	fixture_reopen(f);
	assert_int_equal(fixture_count(f, "sato", HS_SEARCH_LEXICAL, "部長の給与"), 1);
}

static void test_many_transactions_merge_and_reload(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 5;
	struct hs_id ids[300];
	bool alive[300] = {0};
	size_t left = 0;

	SKIP_WITHOUT_DICTIONARY(f);
	for (int i = 0; i < 300; i++) {
		char text[128];

		(void)snprintf(text, sizeof(text), "共通の語と番号%dの文書。", i);
		ids[i] = fixture_put(f, i % 3 == 0 ? f->pay : f->notices, "題", text);
		alive[i] = true;
		if (i % 5 == 4) {
			uint32_t victim = fixture_random(&seed) % (uint32_t)i;

			if (alive[victim])
				fixture_delete(f, &ids[victim]);
			alive[victim] = false;
		}
		if (i == 150)
			must(hs_store_purge(f->store, 0, NULL, NULL, err));
	}
	for (int i = 0; i < 300; i++)
		left += alive[i];
	assert_true(number(f, "SELECT count(*) FROM segments") < 24);
	for (int round = 0; round < 3; round++) {
		struct hs_grant *g = fixture_grant(f, "sato", T0);
		struct hs_query q = {.mode = HS_SEARCH_LEXICAL, .text = "共通の語", .len = strlen("共通の語"), .k = 200, .now_ms = T0};
		struct hs_store_progress progress;
		struct hs_results r;

		must(hs_search(f->reader, g, &q, &r, err));
		assert_int_equal(r.count, HS_MIN(left, (size_t)200));
		hs_results_finish(&r);
		hs_grant_destroy(g);
		hs_store_progress(f->store, &progress);
		assert_int_equal(progress.documents, left);
		if (round == 0)
			fixture_reopen(f);
		else
			must(hs_store_purge(f->store, 0, NULL, NULL, err));
	}
	assert_int_equal(number(f, "SELECT count(*) FROM chunks_fts WHERE chunks_fts MATCH '共通'"), left);
}

static void test_empty_extents_are_given_out_again(void **state)
{
	struct fixture *f = *state;
	struct hs_id document;

	SKIP_WITHOUT_DICTIONARY(f);
	document = fixture_put(f, f->pay, "題", "最初の文書。");
	fixture_delete(f, &document);
	must(hs_store_purge(f->store, 0, NULL, NULL, err));
	assert_int_equal(number(f, "SELECT count(*) FROM extents"), 0);
	(void)fixture_put(f, f->notices, "題", "次の文書。");
	assert_int_equal(number(f, "SELECT extent FROM extents"), 0);
	assert_int_equal(fixture_count(f, "tanaka", HS_SEARCH_LEXICAL, "次の文書"), 1);
	assert_int_equal(fixture_count(f, "tanaka", HS_SEARCH_LEXICAL, "最初"), 0);
}

static void test_vectors_come_behind(void **state)
{
	struct fixture *f = *state;
	uint8_t model[HS_STORE_HASH_LEN] = {3}, other[HS_STORE_HASH_LEN] = {4};
	float vectors[3][4] = {{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}};
	struct hs_store_progress progress;
	struct hs_pending_list list;
	struct hs_id gone;
	struct hs_err why = HS_ERR_INIT;

	SKIP_WITHOUT_DICTIONARY(f);
	assert_int_equal(hs_store_pending(f->store, 0, 10, &list, &why), -EINVAL);
	must(hs_store_begin(f->store, err));
	must(hs_store_use_model(f->store, model, 4, err));
	must(hs_store_commit(f->store, err));
	(void)fixture_put(f, f->notices, "一", "一つ目。");
	gone = fixture_put(f, f->notices, "二", "二つ目。");
	(void)fixture_put(f, f->pay, "三", "三つ目。");
	must(hs_store_pending(f->store, 0, 10, &list, err));
	assert_int_equal(list.count, 3);
	assert_string_equal(list.items[0].text, "一\n一つ目。");
	fixture_delete(f, &gone); /* while it was being embedded */
	must(hs_store_begin(f->store, err));
	must(hs_store_put_vectors(f->store, list.items, vectors[0], 3, err));
	must(hs_store_commit(f->store, err));
	hs_pending_list_finish(&list);
	for (int round = 0; round < 2; round++) {
		hs_store_progress(f->store, &progress);
		assert_int_equal(progress.vectors, 2);
		must(hs_store_pending(f->store, 0, 10, &list, err));
		assert_int_equal(list.count, 0);
		hs_pending_list_finish(&list);
		fixture_reopen(f);
	}
	/* A rolled-back change of model leaves the old one. */
	must(hs_store_begin(f->store, err));
	must(hs_store_use_model(f->store, other, 8, err));
	hs_store_rollback(f->store);
	hs_store_progress(f->store, &progress);
	assert_int_equal(progress.vectors, 2);
	must(hs_store_begin(f->store, err));
	must(hs_store_use_model(f->store, other, 8, err));
	must(hs_store_commit(f->store, err));
	hs_store_progress(f->store, &progress);
	assert_int_equal(progress.vectors, 0);
	fixture_settle(f, T0);
	assert_int_equal(number(f, "SELECT count(*) FROM vectors"), 0);
	assert_int_equal(number(f, "SELECT count(*) FROM vector_models"), 1);
	/* A vector of zeros is a broken model, not a passage without meaning. */
	must(hs_store_pending(f->store, 0, 1, &list, err));
	must(hs_store_begin(f->store, err));
	assert_int_equal(hs_store_put_vectors(f->store, list.items, (float[8]){0}, 1, &why), -EINVAL);
	hs_store_rollback(f->store);
	hs_pending_list_finish(&list);
}

static void test_an_index_beyond_its_memory_is_refused_and_the_old_one_serves(void **state)
{
	struct fixture *f = *state;
	struct hs_store_options o = {.connect = fixture_connect, .memory_max = 60000};
	struct hs_err why = HS_ERR_INIT;
	struct hs_id document, version;
	char *text = calloc(1, 400001);
	struct fixture_put p = {.title = "大", .text = text};
	int rc = 0;

	if (f->skip)
		free(text);
	SKIP_WITHOUT_DICTIONARY(f);
	(void)fixture_put(f, f->notices, "小", "小さな文書。");
	fixture_close(f);
	o.connect_ctx = f;
	o.analyzer = f->analyzer;
	must(hs_store_open(&o, &f->store, err));
	must(hs_reader_create(f->store, &f->reader, err));
	for (size_t i = 0; i + 8 < 400000; i += 8)
		(void)snprintf(text + i, 9, "%c%c%cxyz1 ", (char)('a' + i % 26), (char)('a' + i / 26 % 26), (char)('a' + i / 676 % 26));
	p.class_id = f->notices;
	p.chunk = 2000;
	must(hs_store_begin(f->store, err));
	rc = fixture_try_put(f, &p, &document, &version, &why);
	if (rc == 0)
		rc = hs_store_commit(f->store, &why);
	assert_int_equal(rc, -ENOMEM);
	assert_string_equal(why.code, "index.memory");
	assert_int_equal(fixture_count(f, "tanaka", HS_SEARCH_LEXICAL, "小さな文書"), 1);
	free(text);
}

static void test_commits_count_and_empty_ones_do_not(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	SKIP_WITHOUT_DICTIONARY(f);
	before = hs_store_commit_seq(f->store);
	must(hs_store_begin(f->store, err));
	must(hs_store_commit(f->store, err));
	assert_int_equal(hs_store_commit_seq(f->store), before);
	(void)fixture_put(f, f->notices, "題", "文。");
	assert_int_equal(hs_store_commit_seq(f->store), before + 1);
	fixture_reopen(f);
	assert_int_equal(hs_store_commit_seq(f->store), before + 1);
	assert_true(number(f, "SELECT value FROM meta WHERE key = 'clock_high'") > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
		T(test_a_document_is_found_when_its_transaction_commits), T(test_words_made_ahead_are_those_made_in_time),
		T(test_an_unsynced_commit_does_not_count),
		T(test_a_new_version_replaces_and_the_old_one_stays_readable),
		T(test_deletion_holds_at_once_and_a_purge_leaves_no_word),
		T(test_replaced_versions_go_when_their_time_is_over),
		T(test_reclassifying_holds_at_once_in_both_directions),
		T(test_expiry_hides_at_the_instant),
		T(test_forbidden_is_as_missing),
		T(test_lists_go_on_where_they_stopped),
		T(test_lists_repeat_and_skip_nothing_that_stays),
		T(test_sources_name_one_living_document),
		T(test_bad_puts_are_refused_by_name),
		T(test_damage_and_strange_versions_are_refused_by_name),
		T(test_another_dictionary_is_indexed_anew_when_asked),
		T(test_many_transactions_merge_and_reload),
		T(test_empty_extents_are_given_out_again),
		T(test_vectors_come_behind),
		T(test_an_index_beyond_its_memory_is_refused_and_the_old_one_serves),
		T(test_commits_count_and_empty_ones_do_not),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
