/* A store over a plain database in a scratch folder, with a policy of several classes; short forms over both. */
#ifndef HISHO_TESTS_RETRIEVAL_FIXTURE_H
#define HISHO_TESTS_RETRIEVAL_FIXTURE_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/db.h"
#include "policy/classes.h"
#include "policy/principal.h"
#include "policy/resolve.h"
#include "policy/rules.h"
#include "retrieval/search.h"
#include "tests/unit/test.h"

#define T0 1800000000000LL /* the tests' now: 2027-01-15 */

struct fixture {
	char dir[32], path[64];
	struct hs_analyzer *analyzer;
	struct hs_store *store;
	struct hs_reader *reader;
	uint32_t notices, secrets, pay; /* classes: all see notices; sato sees all three; suzuki sees notices and secrets */
	bool skip; /* there is no dictionary here */
	struct hs_db_key key; /* key.key NULL: a plain database */
};

static const char fixture_policy[] =
	"version: 1\n"
	"collections: [全社, 営業, 人事]\n"
	"users: [{name: sato}, {name: suzuki}, {name: tanaka}]\n"
	"rules:\n"
	"  - {id: all, allow: [ask, download], who: {everyone: true}, collections: [全社], level: {up_to: 極秘}}\n"
	"  - {id: sales, allow: [ask], who: {users: [sato, suzuki]}, collections: [営業], level: {up_to: 極秘}}\n"
	"  - {id: hr, allow: [ask, download], who: {users: [sato]}, collections: [人事], level: {up_to: 極秘}}\n";

#define must(call)                                                                                                     \
	do {                                                                                                           \
		struct hs_err err_ = HS_ERR_INIT, *err = &err_;                                                        \
		int rc_ = (call);                                                                                      \
		if (rc_ < 0)                                                                                           \
			fail_msg("%s: %d %s: %s", #call, rc_, err->code, err->object);                                 \
	} while (0)

static inline int fixture_connect(void *ctx, bool writer, sqlite3 **ret, struct hs_err *err)
{
	struct fixture *f = ctx;
	int flags;

	if (f->key.key)
		return hs_db_open(f->path, &f->key, writer ? 0 : HS_DB_READER, ret, err);
	flags = writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;

	if (sqlite3_open_v2(f->path, ret, flags, NULL) != SQLITE_OK ||
	    (writer && sqlite3_exec(*ret, "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF", NULL, NULL, NULL) != SQLITE_OK)) {
		(void)sqlite3_close_v2(*ret);
		return hs_fail(err, EIO, "test.open", "", "%s", f->path);
	}
	return 0;
}

static inline int fixture_open(struct fixture *f, bool rebuild, struct hs_err *err)
{
	struct hs_store_options o = {.connect = fixture_connect, .connect_ctx = f, .analyzer = f->analyzer, .rebuild = rebuild};
	int rc = hs_store_open(&o, &f->store, err);

	return rc < 0 ? rc : hs_reader_create(f->store, &f->reader, err);
}

static inline void fixture_close(struct fixture *f)
{
	hs_reader_destroy(f->reader);
	hs_store_close(f->store);
	f->reader = NULL;
	f->store = NULL;
}

static inline void fixture_reopen(struct fixture *f)
{
	fixture_close(f);
	must(fixture_open(f, false, err));
}

static inline uint32_t fixture_class(struct fixture *f, const char *collection)
{
	uint32_t id;

	must(hs_class_intern(hs_store_db(f->store), collection, "社外秘", "", &id, err));
	return id;
}

static inline void fixture_policy_apply(struct fixture *f, const char *yaml)
{
	struct hs_policy_change change;

	must(hs_policy_apply(hs_store_db(f->store), yaml, strlen(yaml), "local_0", T0, false, &change, NULL, err));
}

static inline int fixture_setup_as(void **state, bool sealed)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	*state = f;
	if (access(HS_DICT_DIR_DEFAULT, R_OK) != 0) {
		f->skip = true;
		return 0;
	}
	memcpy(f->dir, "/tmp/hisho-store-XXXXXX", 24);
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof(f->path), "%s/index.db", f->dir);
	must(hs_analyzer_create(HS_DICT_DIR_DEFAULT, &f->analyzer, err));
	if (sealed) {
		f->key = (struct hs_db_key){.key = hs_key_create(), .generation = 1};
		assert_non_null(f->key.key);
		must(hs_db_create(f->path, &f->key, err));
	}
	must(fixture_open(f, false, err));
	must(hs_store_begin(f->store, err));
	fixture_policy_apply(f, fixture_policy);
	f->notices = fixture_class(f, "全社");
	f->secrets = fixture_class(f, "営業");
	f->pay = fixture_class(f, "人事");
	must(hs_store_commit(f->store, err));
	return 0;
}

static inline int fixture_setup(void **state)
{
	return fixture_setup_as(state, false);
}

static inline int fixture_setup_sealed(void **state)
{
	return fixture_setup_as(state, true);
}

static inline int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	fixture_close(f);
	hs_analyzer_destroy(f->analyzer);
	hs_key_destroy((struct hs_key *)f->key.key); /* made in setup */
	for (int i = 0; !f->skip && i < 3; i++) {
		char path[80];

		(void)snprintf(path, sizeof(path), "%s%s", f->path, (const char *const[]){"", "-wal", "-shm"}[i]);
		(void)unlink(path);
	}
	if (!f->skip)
		(void)rmdir(f->dir);
	free(f);
	return 0;
}

#define SKIP_WITHOUT_DICTIONARY(f)                                                                                     \
	do {                                                                                                           \
		if ((f)->skip) {                                                                                       \
			print_message("skipped: no MeCab dictionary in " HS_DICT_DIR_DEFAULT "\n");                    \
			skip();                                                                                        \
		}                                                                                                      \
	} while (0)

/* The grant of a user, by a token made for the occasion. */
static inline struct hs_grant *fixture_grant(struct fixture *f, const char *user, int64_t now)
{
	static const uint8_t key[HS_GATE_KEY_LEN] = {7};
	struct hs_gate *gate = hs_gate_create("ten_test", key);
	struct hs_credential c;
	struct hs_principal who;
	struct hs_grant *g = NULL;

	must(hs_store_begin(f->store, err));
	must(hs_token_add(gate, hs_store_db(f->store), user, HS_SCOPE_ALL, "", now + 1000000000LL, now, &c, err));
	must(hs_authenticate(gate, hs_store_db(f->store), &c, now, &who, err));
	must(hs_policy_resolve(hs_store_db(f->store), &who, now, &g, err));
	hs_store_rollback(f->store); /* the token is not needed any more; a user may have only so many */
	hs_gate_destroy(gate);
	return g;
}

#define FIXTURE_SEALED "sealed bytes"

struct fixture_put {
	const char *title, *text;
	uint32_t class_id;
	size_t chunk;               /* bytes a chunk, cut at characters; 0: one chunk */
	const struct hs_id *document;
	const char *source;
	int64_t expires;
	bool ahead; /* make the words before */
	bool file;  /* the blob's bytes lie in a file; else beside its row: FIXTURE_SEALED */
};

/* Within a transaction that the caller has begun. */
static inline int fixture_try_put(struct fixture *f, const struct fixture_put *p, struct hs_id *ret_document,
				  struct hs_id *ret_version, struct hs_err *err)
{
	struct hs_chunk chunks[512];
	struct hs_document d = {.title = (char *)p->title, .text = (char *)p->text, .len = strlen(p->text), .format = (char *)"text",
				.charset = (char *)"UTF-8", .extractor = (char *)"text/1"};
	struct hs_blob_row blob = {.id = hs_id_new("blb_"), .wrapped_len = 40, .length = d.len};
	uint8_t hash[HS_STORE_HASH_LEN] = {1};
	struct hs_put put = {.document = p->document, .class_id = p->class_id, .title = p->title ? p->title : "", .sender = "snd_x",
			     .source = p->source ? p->source : "", .submission = "", .expires = p->expires, .now_ms = T0,
			     .text_hash = hash, .canonical = &blob.id, .read = &d, .chunks = chunks};
	int rc = hs_store_blob_add(f->store, &blob, p->file ? NULL : FIXTURE_SEALED, sizeof FIXTURE_SEALED, err);

	for (size_t at = 0; at < d.len && put.n_chunks < HS_ARRAY_LEN(chunks);) {
		size_t end = p->chunk && d.len - at > p->chunk ? at + p->chunk : d.len;

		while (end < d.len && ((uint8_t)p->text[end] & 0xc0) == 0x80)
			end++;
		chunks[put.n_chunks++] = (struct hs_chunk){.start = (uint32_t)at, .end = (uint32_t)end, .context = (char *)""};
		at = end;
	}
	struct hs_words *words = NULL;
	struct hs_tagger *tagger = NULL;

	if (rc == 0 && p->ahead) {
		rc = hs_tagger_create(f->analyzer, &tagger);
		if (rc == 0)
			rc = hs_words_create(tagger, put.title, &d, chunks, put.n_chunks, &words);
		put.words = words;
	}
	if (rc == 0)
		rc = hs_store_put(f->store, &put, ret_document, ret_version, err);
	hs_words_destroy(words);
	hs_tagger_destroy(tagger);
	return rc;
}

static inline struct hs_id fixture_put(struct fixture *f, uint32_t class_id, const char *title, const char *text)
{
	struct fixture_put p = {.title = title, .text = text, .class_id = class_id};
	struct hs_id document, version;

	must(hs_store_begin(f->store, err));
	must(fixture_try_put(f, &p, &document, &version, err));
	must(hs_store_commit(f->store, err));
	return document;
}

static inline void fixture_delete(struct fixture *f, const struct hs_id *document)
{
	must(hs_store_begin(f->store, err));
	must(hs_store_delete(f->store, document, T0, err));
	must(hs_store_commit(f->store, err));
}

static inline void fixture_settle(struct fixture *f, int64_t now)
{
	for (bool more = true; more;)
		must(hs_store_maintain(f->store, now, &more, err));
}

static inline struct hs_results fixture_ask(struct fixture *f, const char *user, enum hs_search_mode mode, const char *text)
{
	struct hs_grant *g = fixture_grant(f, user, T0);
	struct hs_query q = {.mode = mode, .text = text, .len = strlen(text), .k = 50, .now_ms = T0, .hybrid_weight = -1};
	struct hs_results r = {0};

	must(hs_search(f->reader, g, &q, &r, err));
	hs_grant_destroy(g);
	return r;
}

/* How many passages the user finds. */
static inline size_t fixture_count(struct fixture *f, const char *user, enum hs_search_mode mode, const char *text)
{
	struct hs_results r = fixture_ask(f, user, mode, text);
	size_t n = r.count;

	hs_results_finish(&r);
	return n;
}

/* A small generator for tests that repeat: the state is the seed. */
static inline uint32_t fixture_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*state >> 33);
}

#endif
