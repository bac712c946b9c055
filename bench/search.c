/*
 * search: hybrid questions over 10,000 passages of an encrypted store, without the question's embedding; one reader. The
 * passages are made up from pairs of characters, few of them frequent and most of them rare; vectors are random. The limit is
 * 30 ms at the 95th percentile. Once with one visible class, once with 1,000 visible of 2,000.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "bench/bench.h"
#include "crypto/db.h"
#include "policy/classes.h"
#include "policy/resolve.h"
#include "policy/rules.h"
#include "retrieval/search.h"

#define PASSAGES 10000
#define DIMENSIONS 384
#define QUESTIONS 200
#define LIMIT_MS 30

#define CHARACTERS 2000 /* from U+4E00 on */

struct scratch {
	char dir[40], path[64];
	struct hs_db_key key;
	struct hs_analyzer *analyzer;
	struct hs_store *store;
	struct hs_reader *reader;
};

static uint32_t draw(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*state >> 33);
}

/* The cube makes few characters frequent and most of them rare, about as text is. */
static size_t write_character(uint64_t *seed, char *out)
{
	double u = (double)(draw(seed) % 100000) / 100000;

	return hs_utf8_encode(0x4e00 + (uint32_t)(u * u * u * CHARACTERS), out);
}

static size_t write_text(uint64_t *seed, unsigned words, char *out, size_t cap)
{
	size_t len = 0;

	for (unsigned i = 0; i < words && len + 16 < cap; i++) {
		len += write_character(seed, out + len);
		len += write_character(seed, out + len);
		len += (size_t)snprintf(out + len, cap - len, "%s", i % 9 == 8 ? "。" : "の");
	}
	return len;
}

static void write_vector(uint64_t *seed, float *v)
{
	double sum = 0;

	for (int i = 0; i < DIMENSIONS; i++) {
		v[i] = (float)(draw(seed) % 20001) / 10000 - 1;
		sum += (double)v[i] * (double)v[i];
	}
	for (int i = 0; i < DIMENSIONS; i++)
		v[i] /= (float)sqrt(sum);
}

static int connect_sealed(void *ctx, bool writer, sqlite3 **ret, struct hs_err *err)
{
	struct scratch *s = ctx;

	return hs_db_open(s->path, &s->key, writer ? 0 : HS_DB_READER, ret, err);
}

static int apply_policy(struct scratch *s, unsigned classes, struct hs_err *err)
{
	HS_BUF_AUTO yaml = HS_BUF_INIT;
	struct hs_policy_change change;
	int rc = hs_buf_printf(&yaml, "version: 1\nusers: [{name: u}]\ncollections: [");

	for (unsigned i = 0; rc == 0 && i < HS_MAX(classes / 2, 1u); i++)
		rc = hs_buf_printf(&yaml, "%sc%u", i ? ", " : "", i);
	if (rc == 0)
		rc = hs_buf_printf(&yaml, "]\nrules: [{id: r, allow: [ask], who: {users: [u]}, collections: ['*'], level: {up_to: %s}}]\n",
				   classes > 1 ? "公開" : "極秘");
	return rc < 0 ? rc : hs_policy_apply(hs_store_db(s->store), (char *)yaml.data, yaml.len, "local_0", hs_now_ms(), false, &change,
					     NULL, err);
}

static int put(struct scratch *s, unsigned i, unsigned classes, uint64_t *seed, struct hs_err *err)
{
	char text[4096], collection[16];
	struct hs_document d = {.text = text, .title = (char *)"", .len = write_text(seed, 95, text, sizeof(text))};
	struct hs_chunk chunk = {.end = (uint32_t)d.len, .context = (char *)""};
	struct hs_blob_row blob = {.id = hs_id_new("blb_"), .wrapped_len = 48};
	uint8_t hash[HS_STORE_HASH_LEN] = {0};
	struct hs_put p = {.title = "", .sender = "", .source = "", .submission = "", .text_hash = hash, .canonical = &blob.id, .read = &d,
			   .chunks = &chunk, .n_chunks = 1, .now_ms = hs_now_ms()};
	struct hs_id document, version;
	int rc;

	(void)snprintf(collection, sizeof(collection), "c%u", i % classes / 2);
	rc = hs_class_intern(hs_store_db(s->store), collection, i % classes % 2 ? "極秘" : "公開", "", &p.class_id, err);
	if (rc == 0)
		rc = hs_store_blob_add(s->store, &blob, NULL, 0, err);
	return rc < 0 ? rc : hs_store_put(s->store, &p, &document, &version, err);
}

static int embed(struct scratch *s, uint64_t *seed, struct hs_err *err)
{
	static const uint8_t model[HS_STORE_HASH_LEN] = {1};
	struct hs_pending_list list = {0};
	float *vectors = malloc(sizeof(float) * DIMENSIONS * PASSAGES);
	int rc = vectors ? hs_store_begin(s->store, err) : -ENOMEM;

	if (rc == 0)
		rc = hs_store_use_model(s->store, model, DIMENSIONS, err);
	if (rc == 0)
		rc = hs_store_pending(s->store, 0, PASSAGES, &list, err);
	for (size_t i = 0; rc == 0 && i < list.count; i++)
		write_vector(seed, vectors + i * DIMENSIONS);
	if (rc == 0)
		rc = hs_store_put_vectors(s->store, list.items, vectors, list.count, err);
	if (rc == 0)
		rc = hs_store_commit(s->store, err);
	hs_pending_list_finish(&list);
	free(vectors);
	return rc;
}

/* As the service's upkeep does behind the intake: segments that are too large to merge inside a transaction. */
static int settle(struct scratch *s, struct hs_err *err)
{
	bool more = true;
	int rc = 0;

	while (rc == 0 && more)
		rc = hs_store_maintain(s->store, hs_now_ms(), &more, err);
	return rc;
}

static int fill(struct scratch *s, unsigned classes, struct hs_err *err)
{
	uint64_t seed = 1;
	int rc = hs_store_begin(s->store, err);

	if (rc == 0)
		rc = apply_policy(s, classes, err);
	for (unsigned i = 0; rc == 0 && i < PASSAGES; i++) {
		rc = put(s, i, classes, &seed, err);
		if (rc == 0 && i % 100 == 99)
			rc = hs_store_commit(s->store, err);
		if (rc == 0 && i % 100 == 99)
			rc = hs_store_begin(s->store, err);
	}
	if (rc == 0)
		rc = hs_store_commit(s->store, err);
	if (rc == 0)
		rc = embed(s, &seed, err);
	return rc < 0 ? rc : settle(s, err);
}

static int open_scratch(struct scratch *s, struct hs_err *err)
{
	struct hs_store_options o = {.connect = connect_sealed, .connect_ctx = s};
	int rc;

	memcpy(s->dir, "/tmp/hisho-bench-XXXXXX", 24);
	if (!mkdtemp(s->dir))
		return hs_fail_errno(err, -errno, "bench.scratch", s->dir);
	(void)snprintf(s->path, sizeof(s->path), "%s/index.db", s->dir);
	s->key = (struct hs_db_key){.key = hs_key_create(), .generation = 1};
	rc = s->key.key ? hs_db_create(s->path, &s->key, err) : -ENOMEM;
	if (rc == 0)
		rc = hs_analyzer_create(HS_DICT_DIR_DEFAULT, &s->analyzer, err);
	o.analyzer = s->analyzer;
	if (rc == 0)
		rc = hs_store_open(&o, &s->store, err);
	return rc < 0 ? rc : hs_reader_create(s->store, &s->reader, err);
}

static void close_scratch(struct scratch *s)
{
	static const char *const suffixes[] = {"", "-wal", NULL};

	hs_reader_destroy(s->reader);
	hs_store_close(s->store);
	hs_analyzer_destroy(s->analyzer);
	hs_key_destroy((struct hs_key *)s->key.key);
	for (const char *const *suffix = suffixes; *s->path && *suffix; suffix++) {
		char path[80];

		(void)snprintf(path, sizeof(path), "%s%s", s->path, *suffix);
		(void)unlink(path); /* what is not there need not go */
	}
	if (*s->path)
		(void)rmdir(s->dir); /* a folder in /tmp that stays harms nobody */
}

static int make_grant(struct scratch *s, struct hs_grant **ret, struct hs_err *err)
{
	static const uint8_t key[HS_GATE_KEY_LEN] = {1};
	struct hs_gate *gate = hs_gate_create("ten_bench", key);
	sqlite3 *db = hs_store_db(s->store);
	struct hs_credential c;
	struct hs_principal who;
	int64_t now = hs_now_ms();
	int rc = gate ? hs_store_begin(s->store, err) : -ENOMEM;

	if (rc == 0)
		rc = hs_token_add(gate, db, "u", HS_SCOPE_ASK, "", now + 100000, now, &c, err);
	if (rc == 0)
		rc = hs_authenticate(gate, db, &c, now, &who, err);
	if (rc == 0)
		rc = hs_policy_resolve(db, &who, now, ret, err);
	hs_store_rollback(s->store);
	hs_gate_destroy(gate);
	return rc;
}

/* This thread's own time: what other programs on the machine do does not show in it. */
static double thread_ms(void)
{
	struct timespec t = {0};

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* cannot fail for one's own thread */
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int ask(struct scratch *s, double *times, double *own, struct hs_err *err)
{
	struct hs_grant *g = NULL;
	uint64_t seed = 99;
	int rc = make_grant(s, &g, err);

	for (unsigned i = 0; rc == 0 && i < QUESTIONS; i++) {
		char text[256];
		float vector[DIMENSIONS];
		struct hs_query q = {.mode = HS_SEARCH_HYBRID, .text = text, .len = write_text(&seed, 6, text, sizeof(text)), .k = 20,
				     .vector = vector, .dimensions = DIMENSIONS, .hybrid_weight = -1, .now_ms = hs_now_ms()};
		struct hs_results r;
		uint64_t t;

		write_vector(&seed, vector);
		t = hs_monotonic_us();
		own[i] = -thread_ms();
		rc = hs_search(s->reader, g, &q, &r, err);
		own[i] += thread_ms();
		times[i] = (double)(hs_monotonic_us() - t) / 1000;
		if (rc == 0 && (!r.vectors_used || r.count == 0))
			rc = hs_fail(err, EIO, "bench.search", "", "a question found nothing");
		if (rc == 0)
			hs_results_finish(&r);
	}
	hs_grant_destroy(g);
	return rc;
}

static int measure(unsigned classes, const char *const names[3], struct bench_report *r, struct hs_err *err)
{
	struct scratch s = {0};
	struct hs_store_progress progress;
	double times[QUESTIONS], own[QUESTIONS];
	int rc = open_scratch(&s, err);

	if (rc == 0)
		rc = fill(&s, classes, err);
	if (rc == 0)
		rc = ask(&s, times, own, err);
	if (rc == 0) {
		hs_store_progress(s.store, &progress);
		bench_add(r, (struct bench_figure){.name = names[0], .unit = "ms", .ours = bench_median(times, QUESTIONS)});
		bench_add(r, (struct bench_figure){.name = names[1], .unit = "ms", .ours = times[QUESTIONS * 95 / 100], .other = LIMIT_MS,
						   .other_name = "limit"}); /* sorted by the median */
		(void)bench_median(own, QUESTIONS);
		bench_add(r, (struct bench_figure){.name = names[2], .unit = "ms", .ours = own[QUESTIONS * 95 / 100]});
		bench_add(r, (struct bench_figure){.name = "index in memory", .unit = "MiB", .ours = (double)progress.memory / (1 << 20)});
	}
	close_scratch(&s);
	return rc;
}

int bench_search(const struct bench_options *o, struct bench_report *r, struct hs_err *err)
{
	int rc;

	(void)o;
	(void)snprintf(r->about, sizeof(r->about), "hybrid, %d passages of 200 characters, encrypted, %d questions, one thread", PASSAGES,
		       QUESTIONS);
	rc = measure(1, (const char *const[]){"one class, p50", "one class, p95", "one class, p95 of CPU"}, r, err);
	if (rc < 0)
		return rc;
	return measure(2000, (const char *const[]){"1,000 classes, p50", "1,000 classes, p95", "1,000 classes, p95 of CPU"}, r, err);
}
