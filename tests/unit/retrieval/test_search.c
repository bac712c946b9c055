#include "retrieval/search.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>

#include "base/buf.h"
#include "tests/unit/retrieval/fixture.h"

#define DIM 16

static const char *const words[] = {
	"旅費", "宿泊", "給与", "規程", "部長", "出張", "経費", "申請", "承認", "会議", "議事録", "契約", "製品", "価格", "納期", "品質",
	"検査", "工場", "営業", "人事", "評価", "休暇", "残業", "通勤", "保険", "年金", "退職", "採用", "研修", "安全", "Tokyo", "ISO9001",
};

static void random_text(uint64_t *seed, char *out, size_t cap, uint32_t n_words)
{
	size_t len = 0;

	for (uint32_t i = 0; i < n_words; i++)
		len += (size_t)snprintf(out + len, cap - len, "%s%s", words[fixture_random(seed) % HS_ARRAY_LEN(words)],
					i % 7 == 6 ? "である。" : "の");
}

static struct hs_id put_random(struct fixture *f, uint32_t class_id, uint64_t *seed, uint32_t n_words, size_t chunk)
{
	char text[8192];
	const char *title = words[fixture_random(seed) % HS_ARRAY_LEN(words)];
	struct fixture_put p = {.title = title, .text = text, .class_id = class_id, .chunk = chunk};
	struct hs_id document, version;

	random_text(seed, text, sizeof(text), n_words);
	must(fixture_try_put(f, &p, &document, &version, err));
	return document;
}

static void random_vector(uint64_t *seed, float *v)
{
	float sum = 0;

	for (int i = 0; i < DIM; i++) {
		v[i] = (float)(fixture_random(seed) % 2001) / 1000 - 1;
		sum += v[i] * v[i];
	}
	for (int i = 0; i < DIM; i++)
		v[i] /= sqrtf(sum) + 1e-6f;
}

/* A vector for each chunk that has none, from what it says: the same text gets the same vector. */
static void embed_all(struct fixture *f)
{
	struct hs_pending_list list;
	float *vectors;

	must(hs_store_pending(f->store, 0, 100000, &list, err));
	vectors = calloc(list.count + 1, sizeof(float) * DIM);
	for (size_t i = 0; i < list.count; i++) {
		uint64_t seed = 7;

		for (size_t c = 0; c < list.items[i].len; c++)
			seed = seed * 31 + (uint8_t)list.items[i].text[c];
		random_vector(&seed, vectors + i * DIM);
	}
	must(hs_store_begin(f->store, err));
	must(hs_store_put_vectors(f->store, list.items, vectors, list.count, err));
	must(hs_store_commit(f->store, err));
	hs_pending_list_finish(&list);
	free(vectors);
}

static void use_model(struct fixture *f)
{
	uint8_t model[HS_STORE_HASH_LEN] = {3};

	must(hs_store_begin(f->store, err));
	must(hs_store_use_model(f->store, model, DIM, err));
	must(hs_store_commit(f->store, err));
}

/* --- noninterference --- */

/* All that a person could see or time apart from time itself, and the signals that stay inside. */
static void write_down(const struct hs_results *r, struct hs_buf *out)
{
	for (size_t i = 0; i < r->count; i++) {
		const struct hs_hit *h = &r->hits[i];

		must(hs_buf_printf(out, "%s %s %u %u %u %u %s|%s|%.*s\n", h->document.s, h->version.s, h->class_id, h->chunk, h->start,
				   h->end, h->title, h->context, (int)h->text_len, h->text));
	}
	for (size_t i = 0; i < r->n_terms; i++)
		must(hs_buf_printf(out, "%.*s %a\n", (int)r->terms[i].len, r->terms[i].term, (double)r->terms[i].idf));
	must(hs_buf_printf(out, "%a %a\n", (double)r->signals.coverage, (double)r->signals.dense_best));
}

static void ask_everything(struct fixture *f, const char *user, struct hs_buf *out)
{
	static const enum hs_search_mode modes[] = {HS_SEARCH_LEXICAL, HS_SEARCH_VECTOR, HS_SEARCH_HYBRID, HS_SEARCH_PHRASE};
	struct hs_grant *g = fixture_grant(f, user, T0);
	uint64_t seed = 77;

	for (uint32_t i = 0; i < 24; i++) {
		char text[256];
		float vector[DIM];
		struct hs_query q = {.mode = modes[i % 4], .text = text, .k = 20, .now_ms = T0, .vector = vector, .dimensions = DIM,
				     .hybrid_weight = -1, .per_document = i / 4 % 3};
		struct hs_results r;

		random_text(&seed, text, sizeof(text), q.mode == HS_SEARCH_PHRASE ? 1 : 4);
		if (q.mode == HS_SEARCH_PHRASE)
			text[strlen(text) - strlen("の")] = 0;
		q.len = strlen(text);
		random_vector(&seed, vector);
		must(hs_search(f->reader, g, &q, &r, err));
		write_down(&r, out);
		hs_results_finish(&r);
	}
	hs_grant_destroy(g);
}

/* Do something to documents that suzuki may not see. */
static void disturb(struct fixture *f, uint64_t *seed, struct hs_id *hidden, size_t *n_hidden)
{
	uint32_t what = fixture_random(seed) % 8;

	must(hs_store_begin(f->store, err));
	if (what < 5 || *n_hidden < 4) {
		hidden[(*n_hidden)++] = put_random(f, f->pay, seed, 5 + fixture_random(seed) % 200, 300);
		must(hs_store_commit(f->store, err));
		return;
	}
	if (what == 5) {
		must(hs_store_delete(f->store, &hidden[--*n_hidden], T0, err));
		must(hs_store_commit(f->store, err));
		return;
	}
	hs_store_rollback(f->store);
	if (what == 6)
		embed_all(f);
	else if (fixture_random(seed) % 2)
		must(hs_store_purge(f->store, 0, NULL, NULL, err));
	else
		fixture_settle(f, T0);
}

static void test_hidden_documents_change_no_byte(void **state)
{
	struct fixture *f = *state;
	struct hs_id hidden[256];
	size_t n_hidden = 0;
	uint64_t seed = 11;
	HS_BUF_AUTO before = HS_BUF_INIT;

	SKIP_WITHOUT_DICTIONARY(f);
	use_model(f);
	must(hs_store_begin(f->store, err));
	for (int i = 0; i < 120; i++)
		(void)put_random(f, i % 2 ? f->notices : f->secrets, &seed, 10 + fixture_random(&seed) % 150, 300);
	must(hs_store_commit(f->store, err));
	embed_all(f);
	ask_everything(f, "suzuki", &before);
	assert_true(before.len > 20000);
	for (int round = 0; round < 60; round++) {
		HS_BUF_AUTO after = HS_BUF_INIT;

		disturb(f, &seed, hidden, &n_hidden);
		if (round == 30)
			fixture_reopen(f);
		if (round % 3)
			continue;
		ask_everything(f, "suzuki", &after);
		assert_int_equal(after.len, before.len);
		assert_memory_equal(after.data, before.data, before.len);
	}
	/* Out of reach is as removed: with a grant that does not see them, or when they are really gone, every byte is the same. */
	assert_true(n_hidden > 0);
	while (n_hidden > 0)
		fixture_delete(f, &hidden[--n_hidden]);
	for (int purged = 0; purged < 2; purged++) {
		HS_BUF_AUTO after = HS_BUF_INIT;

		ask_everything(f, "suzuki", &after);
		assert_int_equal(after.len, before.len);
		assert_memory_equal(after.data, before.data, before.len);
		must(hs_store_purge(f->store, 0, NULL, NULL, err));
	}
	hidden[n_hidden++] = fixture_put(f, f->pay, "賞与", "賞与は年二回とする。");
	{ /* The test can fail: who sees the disturbed class gets other bytes. */
		HS_BUF_AUTO other = HS_BUF_INIT;

		ask_everything(f, "sato", &other);
		assert_true(other.len != before.len || memcmp(other.data, before.data, before.len) != 0);
	}
}

/* --- ranking against a plain computation --- */

struct plain { /* one document of one chunk */
	struct hs_id id;
	struct hs_tokens tokens[2];
	double length[2], score[2], fused;
	bool visible;
};

static double frequency(const struct hs_tokens *t, const char *term, size_t len)
{
	double n = 0;

	for (size_t i = 0; i < t->count; i++)
		n += t->items[i].content && t->items[i].term_len == len && memcmp(t->terms + t->items[i].term, term, len) == 0;
	return n;
}

static void tokenise(struct hs_tagger *tagger, const char *text, struct hs_tokens ret[2])
{
	assert_int_equal(hs_tokenize_words(tagger, text, strlen(text), &ret[0]), 0);
	assert_int_equal(hs_tokenize_bigrams(text, strlen(text), &ret[1]), 0);
}

/* BM25 as the books write it, over the visible documents only, in doubles. */
static void score_plainly(struct plain *docs, size_t n, const struct hs_tokens query[2])
{
	double top[2] = {0};

	for (int field = 0; field < 2; field++) {
		double mean = 0, count = 0;

		for (size_t d = 0; d < n; d++) {
			docs[d].score[field] = 0;
			mean += docs[d].visible ? docs[d].length[field] : 0;
			count += docs[d].visible;
		}
		mean /= count;
		for (size_t t = 0; t < query[field].count; t++) {
			const struct hs_token *token = &query[field].items[t];
			const char *term = query[field].terms + token->term;
			double df = 0, idf;
			bool repeated = false;

			for (size_t u = 0; u < t; u++)
				repeated |= query[field].items[u].content && query[field].items[u].term_len == token->term_len &&
					    memcmp(query[field].terms + query[field].items[u].term, term, token->term_len) == 0;
			if (repeated || !token->content)
				continue;
			for (size_t d = 0; d < n; d++)
				df += docs[d].visible && frequency(&docs[d].tokens[field], term, token->term_len) > 0;
			idf = log(1 + (count - df + 0.5) / (df + 0.5));
			for (size_t d = 0; d < n; d++) {
				double tf = frequency(&docs[d].tokens[field], term, token->term_len);

				docs[d].score[field] += idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * docs[d].length[field] / mean));
			}
		}
		for (size_t d = 0; d < n; d++)
			top[field] = fmax(top[field], docs[d].visible ? docs[d].score[field] : 0);
	}
	for (size_t d = 0; d < n; d++)
		docs[d].fused = docs[d].visible ? 0.5 * docs[d].score[0] / top[0] + 0.5 * docs[d].score[1] / top[1] : 0;
}

static const struct plain *plain_of(const struct plain *docs, size_t n, const struct hs_id *id)
{
	for (size_t d = 0; d < n; d++)
		if (strcmp(docs[d].id.s, id->s) == 0)
			return &docs[d];
	return NULL;
}

static void test_ranking_is_bm25_over_what_is_seen(void **state)
{
	struct fixture *f = *state;
	enum { N = 150 };
	static struct plain docs[N];
	struct hs_tagger *tagger;
	uint64_t seed = 3;

	SKIP_WITHOUT_DICTIONARY(f);
	must(hs_tagger_create(f->analyzer, &tagger));
	must(hs_store_begin(f->store, err));
	for (int i = 0; i < N; i++) {
		char text[4096];
		struct fixture_put p = {.title = "", .text = text};
		struct hs_id version;

		random_text(&seed, text, sizeof(text), 5 + fixture_random(&seed) % 100);
		docs[i] = (struct plain){.visible = i % 3 != 0};
		p.class_id = docs[i].visible ? f->secrets : f->pay;
		must(fixture_try_put(f, &p, &docs[i].id, &version, err));
		tokenise(tagger, text, docs[i].tokens);
		for (int field = 0; field < 2; field++)
			for (size_t t = 0; t < docs[i].tokens[field].count; t++)
				docs[i].length[field] += docs[i].tokens[field].items[t].content;
	}
	must(hs_store_commit(f->store, err));
	for (int round = 0; round < 20; round++) {
		struct hs_tokens query[2] = {0};
		char text[512];
		struct hs_results r;
		double before = 2;

		random_text(&seed, text, sizeof(text), 3);
		tokenise(tagger, text, query);
		score_plainly(docs, N, query);
		r = fixture_ask(f, "suzuki", HS_SEARCH_LEXICAL, text);
		assert_int_equal(r.count, 50);
		for (size_t i = 0; i < r.count; i++) {
			const struct plain *d = plain_of(docs, N, &r.hits[i].document);

			assert_non_null(d);
			assert_true(d->visible);
			assert_true(d->fused < before + 1e-5); /* in order, up to the rounding of floats */
			before = d->fused;
		}
		for (size_t d = 0; d < N; d++) { /* and nothing better was left out */
			bool given = false;

			for (size_t i = 0; i < r.count; i++)
				given |= strcmp(r.hits[i].document.s, docs[d].id.s) == 0;
			assert_true(given || docs[d].fused < before + 1e-5);
		}
		hs_results_finish(&r);
		hs_tokens_finish(&query[0]);
		hs_tokens_finish(&query[1]);
	}
	for (int i = 0; i < N; i++) {
		hs_tokens_finish(&docs[i].tokens[0]);
		hs_tokens_finish(&docs[i].tokens[1]);
	}
	hs_tagger_destroy(tagger);
}

/* --- many classes --- */

static void many_collections(struct fixture *f, int n, int seen)
{
	HS_BUF_AUTO yaml = HS_BUF_INIT;

	must(hs_buf_printf(&yaml, "version: 1\ncollections: ["));
	for (int i = 0; i < n; i++)
		must(hs_buf_printf(&yaml, "%sc%d", i ? ", " : "", i));
	must(hs_buf_printf(&yaml, "]\nusers: [{name: all}, {name: some}]\nrules:\n"
				  "  - {id: a, allow: [ask], who: {users: [all]}, collections: ['*'], level: {up_to: 極秘}}\n"
				  "  - {id: b, allow: [ask], who: {users: [some]}, collections: ["));
	for (int i = 0; i < seen; i++)
		must(hs_buf_printf(&yaml, "%sc%d", i ? ", " : "", i * (n / seen)));
	must(hs_buf_printf(&yaml, "], level: {up_to: 極秘}}\n"));
	fixture_policy_apply(f, hs_buf_cstr(&yaml));
}

struct exact {
	struct hs_id id;
	float vector[DIM];
	double cosine;
	bool visible;
};

static int by_cosine(const void *a, const void *b)
{
	const struct exact *x = a, *y = b;

	if (x->visible != y->visible)
		return x->visible ? -1 : 1;
	return x->cosine > y->cosine ? -1 : x->cosine < y->cosine;
}

/* Recall at 10 of the vector leg against exact cosines, where the asker sees `seen` of 100 classes. */
static void recall_under_a_mask(struct fixture *f, int seen)
{
	enum { N = 2000, CLASSES = 100 };
	struct exact *docs = calloc(N, sizeof(*docs));
	struct hs_pending_list list;
	float *vectors = calloc(N, sizeof(float) * DIM);
	struct hs_grant *g;
	uint64_t seed = 5;
	size_t found = 0;

	must(hs_store_begin(f->store, err));
	many_collections(f, CLASSES, seen);
	for (int i = 0; i < N; i++) {
		char collection[16], text[32];
		struct fixture_put p = {.title = "", .text = text};
		struct hs_id version;

		(void)snprintf(collection, sizeof(collection), "c%d", i % CLASSES);
		(void)snprintf(text, sizeof(text), "文書%d", i);
		p.class_id = fixture_class(f, collection);
		docs[i].visible = i % CLASSES % (CLASSES / seen) == 0;
		must(fixture_try_put(f, &p, &docs[i].id, &version, err));
		random_vector(&seed, docs[i].vector);
	}
	must(hs_store_commit(f->store, err));
	use_model(f);
	must(hs_store_pending(f->store, 0, N, &list, err));
	assert_int_equal(list.count, N);
	for (int i = 0; i < N; i++)
		memcpy(vectors + (size_t)i * DIM, docs[strtol(list.items[i].text + strlen("文書"), NULL, 10)].vector, sizeof(float) * DIM);
	must(hs_store_begin(f->store, err));
	must(hs_store_put_vectors(f->store, list.items, vectors, N, err));
	must(hs_store_commit(f->store, err));
	hs_pending_list_finish(&list);
	g = fixture_grant(f, "some", T0);
	for (int round = 0; round < 20; round++) {
		float vector[DIM];
		struct hs_query q = {.mode = HS_SEARCH_VECTOR, .text = "", .k = 10, .now_ms = T0, .vector = vector, .dimensions = DIM};
		struct hs_results r;

		random_vector(&seed, vector);
		for (int i = 0; i < N; i++) {
			docs[i].cosine = 0;
			for (int d = 0; d < DIM; d++)
				docs[i].cosine += (double)vector[d] * (double)docs[i].vector[d];
		}
		qsort(docs, N, sizeof(*docs), by_cosine);
		must(hs_search(f->reader, g, &q, &r, err));
		assert_int_equal(r.count, 10);
		for (size_t i = 0; i < r.count; i++)
			for (int d = 0; d < 10; d++)
				found += strcmp(docs[d].id.s, r.hits[i].document.s) == 0;
		hs_results_finish(&r);
	}
	assert_true(found >= 190); /* int8 rounds: 0.95 of exact */
	hs_grant_destroy(g);
	free(vectors);
	free(docs);
}

static void test_recall_under_one_percent(void **state)
{
	SKIP_WITHOUT_DICTIONARY((struct fixture *)*state);
	recall_under_a_mask(*state, 1);
}

static void test_recall_under_ten_percent(void **state)
{
	SKIP_WITHOUT_DICTIONARY((struct fixture *)*state);
	recall_under_a_mask(*state, 10);
}

static void test_as_many_classes_as_a_tenant_may_have(void **state)
{
	struct fixture *f = *state;
	static const char *const levels[] = {"公開", "社外秘", "秘", "極秘"};
	uint32_t id = 0;

	SKIP_WITHOUT_DICTIONARY(f);
	must(hs_store_begin(f->store, err));
	many_collections(f, 1023, 1);
	for (int i = 0; i < 1023 * 4; i++) { /* three classes there are */
		char collection[16];
		struct fixture_put p = {.title = "", .text = "共通の文書。"};
		struct hs_id document, version;

		(void)snprintf(collection, sizeof(collection), "c%d", i / 4);
		must(hs_class_intern(hs_store_db(f->store), collection, levels[i % 4], "", &id, err));
		p.class_id = id;
		must(fixture_try_put(f, &p, &document, &version, err));
	}
	assert_int_equal(id, 1023 * 4 + 3);
	must(hs_store_commit(f->store, err));
	fixture_reopen(f);
	assert_int_equal(fixture_count(f, "some", HS_SEARCH_LEXICAL, "共通"), 4);
	assert_int_equal(fixture_count(f, "some", HS_SEARCH_PHRASE, "共通"), 4);
	assert_int_equal(fixture_count(f, "all", HS_SEARCH_LEXICAL, "共通"), 50);
}

/* --- the gate --- */

static void test_the_row_decides_whatever_the_index_says(void **state)
{
	static const char *const changes[] = {
		"UPDATE documents SET class_id = 3", "UPDATE documents SET deleted = 1", "UPDATE documents SET expires = 5",
		"UPDATE chunks SET dead = 1", "UPDATE documents SET version = version + 1", "UPDATE documents SET class_id = 0",
	};
	struct fixture *f = *state;

	SKIP_WITHOUT_DICTIONARY(f);
	assert_int_equal(f->pay, 3);
	(void)fixture_put(f, f->notices, "題", "門を試す文書。");
	for (size_t i = 0; i < HS_ARRAY_LEN(changes); i++) {
		sqlite3 *db = hs_store_db(f->store);

		assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, "門を試す"), 1);
		assert_int_equal(sqlite3_exec(db, "CREATE TABLE d AS SELECT * FROM documents; CREATE TABLE c AS SELECT * FROM chunks", NULL,
					      NULL, NULL), SQLITE_OK);
		assert_int_equal(sqlite3_exec(db, changes[i], NULL, NULL, NULL), SQLITE_OK);
		assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, "門を試す"), 0);
		assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_PHRASE, "門"), 0);
		assert_int_equal(sqlite3_exec(db, "UPDATE documents SET (class_id, deleted, expires, version) = (SELECT class_id, deleted,"
						  " expires, version FROM d); UPDATE chunks SET dead = 0; DROP TABLE d; DROP TABLE c",
					      NULL, NULL, NULL), SQLITE_OK);
	}
}

static void test_stale_grants_are_refused(void **state)
{
	struct fixture *f = *state;
	struct hs_query q = {.mode = HS_SEARCH_LEXICAL, .text = "文", .len = 3, .k = 5, .now_ms = T0};
	struct hs_err why = HS_ERR_INIT;
	struct hs_results r;
	struct hs_grant *g;

	SKIP_WITHOUT_DICTIONARY(f);
	g = fixture_grant(f, "suzuki", T0);
	must(hs_search(f->reader, g, &q, &r, err));
	hs_results_finish(&r);
	q.now_ms = T0 + HS_GRANT_MAX_AGE_MS + 1;
	assert_int_equal(hs_search(f->reader, g, &q, &r, &why), -ESTALE);
	assert_string_equal(why.code, "grant.stale");
	q.now_ms = T0;
	must(hs_store_begin(f->store, err));
	fixture_policy_apply(f, "version: 1\ncollections: [全社]\nusers: [{name: suzuki}]\n");
	must(hs_store_commit(f->store, err));
	assert_int_equal(hs_search(f->reader, g, &q, &r, &why), -ESTALE);
	hs_grant_destroy(g);
}

static void test_questions_out_of_bounds_are_refused_by_name(void **state)
{
	struct fixture *f = *state;
	static char long_text[HS_SEARCH_TEXT_MAX + 2];
	const float vector[DIM] = {1}, zero[DIM] = {0};
	struct {
		struct hs_query q;
		const char *code;
	} cases[] = {
		{{.mode = HS_SEARCH_LEXICAL, .text = "x", .len = 1, .k = 0}, "search.k"},
		{{.mode = HS_SEARCH_LEXICAL, .text = "x", .len = 1, .k = 201}, "search.k"},
		{{.mode = HS_SEARCH_LEXICAL, .text = "\xff", .len = 1, .k = 5}, "search.text"},
		{{.mode = HS_SEARCH_LEXICAL, .text = "a\0b", .len = 3, .k = 5}, "search.text"},
		{{.mode = HS_SEARCH_LEXICAL, .text = long_text, .len = HS_SEARCH_TEXT_MAX + 1, .k = 5}, "search.text"},
		{{.mode = HS_SEARCH_VECTOR, .text = "x", .len = 1, .k = 5}, "search.vector"},
		{{.mode = HS_SEARCH_VECTOR, .text = "x", .len = 1, .k = 5, .vector = vector, .dimensions = 3}, "search.vector"},
		{{.mode = HS_SEARCH_VECTOR, .text = "x", .len = 1, .k = 5, .vector = zero, .dimensions = DIM}, "search.vector"},
		{{.mode = 0, .text = "x", .len = 1, .k = 5}, "search.mode"},
		{{.mode = 9, .text = "x", .len = 1, .k = 5}, "search.mode"},
		{{.mode = HS_SEARCH_PHRASE, .text = "(", .len = 1, .k = 5}, "search.syntax"},
		{{.mode = HS_SEARCH_PHRASE, .text = "", .len = 0, .k = 5}, "search.syntax"},
	};
	struct hs_grant *g;

	SKIP_WITHOUT_DICTIONARY(f);
	memset(long_text, 'a', sizeof(long_text) - 1);
	use_model(f);
	(void)fixture_put(f, f->notices, "題", "文。");
	embed_all(f);
	g = fixture_grant(f, "suzuki", T0);
	for (size_t i = 0; i < HS_ARRAY_LEN(cases); i++) {
		struct hs_err why = HS_ERR_INIT;
		struct hs_results r;

		cases[i].q.now_ms = T0;
		assert_int_equal(hs_search(f->reader, g, &cases[i].q, &r, &why), -EINVAL);
		assert_string_equal(why.code, cases[i].code);
	}
	hs_grant_destroy(g);
}

static void test_empty_and_strange_questions_find_nothing(void **state)
{
	struct fixture *f = *state;
	static const char *const texts[] = {"", "。。。", "する", "zzzzqqqq", "\xf0\x9f\x98\x80", "\xe3\x80\x80"};

	SKIP_WITHOUT_DICTIONARY(f);
	assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, "無"), 0); /* an empty store */
	(void)fixture_put(f, f->notices, "題名", "普通の文書。");
	for (size_t i = 0; i < HS_ARRAY_LEN(texts); i++)
		assert_int_equal(fixture_count(f, "suzuki", HS_SEARCH_LEXICAL, texts[i]), 0);
}

static void test_passages_of_a_document_are_bounded_and_classes_chosen(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 8;
	struct hs_grant *g;

	SKIP_WITHOUT_DICTIONARY(f);
	must(hs_store_begin(f->store, err));
	for (int i = 0; i < 6; i++)
		(void)put_random(f, i % 2 ? f->notices : f->secrets, &seed, 200, 200);
	must(hs_store_commit(f->store, err));
	g = fixture_grant(f, "suzuki", T0);
	for (uint32_t bound = 0; bound < 4; bound++) {
		struct hs_query q = {.mode = HS_SEARCH_LEXICAL, .text = "旅費の規程", .len = strlen("旅費の規程"), .k = 100, .now_ms = T0,
				     .per_document = bound, .classes = &f->secrets, .n_classes = bound == 3};
		struct hs_results r;

		if (bound != 3)
			q.classes = NULL;
		must(hs_search(f->reader, g, &q, &r, err));
		for (size_t i = 0; i < r.count; i++) {
			uint32_t same = 0;

			for (size_t j = 0; j < r.count; j++)
				same += strcmp(r.hits[i].document.s, r.hits[j].document.s) == 0;
			assert_true(bound == 0 || same <= bound);
			assert_true(bound != 3 || r.hits[i].class_id == f->secrets);
			assert_true(r.hits[i].end > r.hits[i].start);
		}
		if (bound == 1)
			assert_int_equal(r.count, 6);
		hs_results_finish(&r);
	}
	hs_grant_destroy(g);
}

static void test_hybrid_falls_back_and_mixes(void **state)
{
	struct fixture *f = *state;
	float vector[DIM] = {1};
	struct hs_query q = {.mode = HS_SEARCH_HYBRID, .text = "りんご", .len = strlen("りんご"), .k = 5, .now_ms = T0, .vector = vector,
			     .dimensions = DIM, .hybrid_weight = -1};
	struct hs_pending_list list;
	float vectors[2][DIM] = {{0, 1}, {1}};
	struct hs_results r;
	struct hs_grant *g;

	SKIP_WITHOUT_DICTIONARY(f);
	use_model(f);
	(void)fixture_put(f, f->notices, "", "りんごの価格。");
	(void)fixture_put(f, f->notices, "", "林檎の値段。");
	g = fixture_grant(f, "suzuki", T0);
	must(hs_search(f->reader, g, &q, &r, err)); /* nothing is embedded yet */
	assert_int_equal(r.count, 1);
	assert_false(r.vectors_used);
	hs_results_finish(&r);
	must(hs_store_pending(f->store, 0, 2, &list, err));
	must(hs_store_begin(f->store, err));
	must(hs_store_put_vectors(f->store, list.items, vectors[0], 2, err));
	must(hs_store_commit(f->store, err));
	hs_pending_list_finish(&list);
	must(hs_search(f->reader, g, &q, &r, err));
	assert_int_equal(r.count, 2);
	assert_true(r.vectors_used);
	assert_true(r.signals.dense_best > 0.99f);
	assert_string_equal(r.hits[0].text, "りんごの価格。"); /* equal shares: the older document first */
	hs_results_finish(&r);
	q.hybrid_weight = 0.9f;
	must(hs_search(f->reader, g, &q, &r, err));
	assert_string_equal(r.hits[0].text, "林檎の値段。");
	hs_results_finish(&r);
	hs_grant_destroy(g);
}

/* Two documents of the same words. By meaning alone the nearest passage decides; beside words the opening has a say. */
static void test_a_documents_opening_has_a_say(void **state)
{
	struct fixture *f = *state;
	float vector[DIM] = {1}, vectors[4][DIM] = {{0.1f, 0.995f}, {0.9f, 0.436f}, {0.8f, 0.6f}, {0.85f, 0.527f}};
	struct fixture_put p = {.title = "", .text = "りんごの価格。りんごの値段。", .class_id = 1, .chunk = 21};
	struct hs_id documents[2], version;
	struct hs_pending_list list;

	SKIP_WITHOUT_DICTIONARY(f);
	use_model(f);
	p.class_id = f->notices;
	must(hs_store_begin(f->store, err));
	for (int i = 0; i < 2; i++) {
		p.source = i ? "src_opening" : "src_detail";
		must(fixture_try_put(f, &p, &documents[i], &version, err));
	}
	must(hs_store_commit(f->store, err));
	must(hs_store_pending(f->store, 0, 8, &list, err));
	assert_int_equal(list.count, 4);
	must(hs_store_begin(f->store, err));
	must(hs_store_put_vectors(f->store, list.items, vectors[0], 4, err));
	must(hs_store_commit(f->store, err));
	hs_pending_list_finish(&list);
	struct hs_grant *g = fixture_grant(f, "suzuki", T0);
	for (int beside = 0; beside < 2; beside++) {
		struct hs_query q = {.mode = beside ? HS_SEARCH_HYBRID : HS_SEARCH_VECTOR, .text = "りんご", .len = strlen("りんご"), .k = 5,
				     .now_ms = T0, .vector = vector, .dimensions = DIM, .hybrid_weight = 0.5f};
		struct hs_results r;

		must(hs_search(f->reader, g, &q, &r, err));
		assert_true(r.count >= 2);
		assert_string_equal(r.hits[0].document.s, documents[beside].s);
		hs_results_finish(&r);
	}
	hs_grant_destroy(g);
}

/* --- beside a writer --- */

struct racer {
	struct fixture *f;
	struct hs_grant *g;
	int stop;
	size_t asked, shown;
};

static void *race(void *arg)
{
	struct racer *racer = arg;

	while (!__atomic_load_n(&racer->stop, __ATOMIC_ACQUIRE) || racer->asked < 20) {
		struct hs_query q = {.mode = racer->asked % 2 ? HS_SEARCH_LEXICAL : HS_SEARCH_PHRASE, .text = "公開", .len = strlen("公開"),
				     .k = 50, .now_ms = T0};
		struct hs_results r;

		if (hs_search(racer->f->reader, racer->g, &q, &r, NULL) < 0)
			return arg;
		for (size_t i = 0; i < r.count; i++)
			if (r.hits[i].class_id != racer->f->notices || strstr(r.hits[i].text, "極秘"))
				return arg;
		racer->asked++;
		racer->shown += r.count;
		hs_results_finish(&r);
	}
	return NULL;
}

static void test_searches_beside_a_writer_show_nothing_hidden(void **state)
{
	struct fixture *f = *state;
	struct racer racer = {.f = f};
	struct hs_id last;
	pthread_t thread;
	void *failed;

	SKIP_WITHOUT_DICTIONARY(f);
	last = fixture_put(f, f->notices, "", "公開の文書。");
	racer.g = fixture_grant(f, "tanaka", T0);
	assert_int_equal(pthread_create(&thread, NULL, race, &racer), 0);
	for (int i = 0; i < 150; i++) {
		struct hs_id id = fixture_put(f, i % 2 ? f->notices : f->pay, "", i % 2 ? "公開の文書。" : "公開しない極秘の文書。");

		if (i % 7 == 0)
			fixture_delete(f, &last);
		if (i % 40 == 0)
			must(hs_store_purge(f->store, 0, NULL, NULL, err));
		if (i % 7 != 0)
			continue;
		last = id;
	}
	__atomic_store_n(&racer.stop, 1, __ATOMIC_RELEASE);
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	assert_true(racer.shown > 0);
	hs_grant_destroy(racer.g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
		T(test_hidden_documents_change_no_byte),
		T(test_ranking_is_bm25_over_what_is_seen),
		T(test_recall_under_one_percent),
		T(test_recall_under_ten_percent),
		T(test_as_many_classes_as_a_tenant_may_have),
		T(test_the_row_decides_whatever_the_index_says),
		T(test_stale_grants_are_refused),
		T(test_questions_out_of_bounds_are_refused_by_name),
		T(test_empty_and_strange_questions_find_nothing),
		T(test_passages_of_a_document_are_bounded_and_classes_chosen),
		T(test_hybrid_falls_back_and_mixes),
		T(test_a_documents_opening_has_a_say),
		T(test_searches_beside_a_writer_show_nothing_hidden),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
