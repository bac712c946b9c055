/*
 * Ranking quality without a daemon: load a set in BEIR form straight into a scratch store, ask every query with a grant,
 * and print recall, MRR and nDCG. For work on ranking; `hisho eval` measures the whole product.
 *
 *   hisho-eval-store SET_DIR [RUN.tsv]      CHUNK=n: characters a passage
 *
 * With MODEL=FILE (an embedder of 384 dimensions, GGUF) it embeds the set and asks by vectors and in hybrid mode too.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "ingest/chunk.h"
#include "ingest/extract/extract.h"
#include "inference/engine.h"
#include "policy/classes.h"
#include "policy/principal.h"
#include "policy/resolve.h"
#include "policy/rules.h"
#include "retrieval/metrics.h"
#include "retrieval/search.h"

#define DIMENSIONS 384

static const char policy_yaml[] =
	"version: 1\ncollections: [eval]\nusers: [{name: reader}]\n"
	"rules: [{id: all, allow: [ask], who: {users: [reader]}, collections: [eval], level: {up_to: 極秘}}]\n";

struct names { /* public id to the set's own */
	struct name {
		struct hs_id id;
		char own[64];
	} *items;
	size_t n;
};

static _Noreturn void die(const char *what, const struct hs_err *err)
{
	fprintf(stderr, "hisho-eval-store: %s: %s %s\n", what, err ? err->code : "", err ? err->object : "");
	exit(1);
}

static int connect_plain(void *ctx, bool writer, sqlite3 **ret, struct hs_err *err)
{
	if (sqlite3_open_v2(ctx, ret, writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
		return -EIO;
	return sqlite3_exec(*ret, "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF", NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;
}

static int name_compare(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->id.s, ((const struct name *)b)->id.s);
}

static const char *own_name(const struct names *names, const struct hs_id *id)
{
	struct name key = {.id = *id};
	const struct name *found = bsearch(&key, names->items, names->n, sizeof(key), name_compare);

	return found ? found->own : "?";
}

static uint32_t set_up_policy(struct hs_store *s)
{
	struct hs_err err = HS_ERR_INIT;
	struct hs_policy_change change;
	uint32_t class_id;

	if (hs_store_begin(s, &err) < 0 ||
	    hs_policy_apply(hs_store_db(s), policy_yaml, strlen(policy_yaml), "local_0", hs_now_ms(), false, &change, NULL, &err) < 0 ||
	    hs_class_intern(hs_store_db(s), "eval", "公開", "", &class_id, &err) < 0 || hs_store_commit(s, &err) < 0)
		die("policy", &err);
	return class_id;
}

static struct hs_grant *make_grant(struct hs_store *s)
{
	static const uint8_t key[HS_GATE_KEY_LEN] = {1};
	struct hs_gate *gate = hs_gate_create("ten_eval", key);
	struct hs_err err = HS_ERR_INIT;
	struct hs_credential c;
	struct hs_principal who;
	struct hs_grant *g = NULL;
	int64_t now = hs_now_ms();

	if (!gate || hs_store_begin(s, &err) < 0 ||
	    hs_token_add(gate, hs_store_db(s), "reader", HS_SCOPE_ASK, "", now + 1000000, now, &c, &err) < 0 ||
	    hs_authenticate(gate, hs_store_db(s), &c, now, &who, &err) < 0 ||
	    hs_policy_resolve(hs_store_db(s), &who, now, &g, &err) < 0 || hs_store_commit(s, &err) < 0)
		die("grant", &err);
	hs_gate_destroy(gate);
	return g;
}

static void put(struct hs_store *s, uint32_t class_id, json_t *row, uint32_t size, struct names *names)
{
	const char *title = json_string_value(json_object_get(row, "title")), *text = json_string_value(json_object_get(row, "text"));
	struct hs_extract_input in = {.data = (const uint8_t *)text, .len = strlen(text), .name = "x.txt", .media = "text/plain"};
	struct hs_chunk_options options = {.max_chars = size};
	struct hs_blob_row blob = {.id = hs_id_new("blb_"), .wrapped_len = 1};
	struct hs_document d = {0};
	struct hs_chunks chunks = {0};
	uint8_t hash[HS_STORE_HASH_LEN] = {0};
	struct hs_put p = {.class_id = class_id, .title = title ? title : "", .sender = "", .source = "", .submission = "",
			   .now_ms = hs_now_ms(), .text_hash = hash, .canonical = &blob.id, .read = &d};
	struct hs_err err = HS_ERR_INIT;
	struct hs_id version;
	struct name *name = &names->items[names->n];

	if (hs_extract_document(&in, &d, &err) < 0 || hs_chunk(&d, &options, &chunks, &err) < 0)
		die(json_string_value(json_object_get(row, "_id")), &err);
	p.chunks = chunks.items;
	p.n_chunks = chunks.count;
	if (hs_store_blob_add(s, &blob, &err) < 0 || hs_store_put(s, &p, &name->id, &version, &err) < 0)
		die("put", &err);
	(void)snprintf(name->own, sizeof(name->own), "%s", json_string_value(json_object_get(row, "_id")));
	names->n++;
	hs_chunks_finish(&chunks);
	hs_document_finish(&d);
}

static void load(struct hs_store *s, const char *set, uint32_t size, struct names *names)
{
	uint32_t class_id = set_up_policy(s);
	struct hs_err err = HS_ERR_INIT;
	char path[4096], *line = NULL;
	size_t cap = 0, n = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/corpus.jsonl", set);
	f = fopen(path, "re");
	if (!f)
		die(path, NULL);
	names->items = calloc(1 << 20, sizeof(*names->items));
	if (!names->items || hs_store_begin(s, &err) < 0)
		die("begin", &err);
	while (getline(&line, &cap, f) > 0) {
		json_t *row = json_loads(line, 0, NULL);

		put(s, class_id, row, size, names);
		json_decref(row);
		if (++n % 100 == 0 && (hs_store_commit(s, &err) < 0 || hs_store_begin(s, &err) < 0))
			die("commit", &err);
	}
	if (hs_store_commit(s, &err) < 0)
		die("commit", &err);
	free(line);
	(void)fclose(f);
	qsort(names->items, names->n, sizeof(*names->items), name_compare);
}

struct judged {
	char query[64], document[64];
};

static size_t read_judged(const char *set, struct judged **ret)
{
	char path[4096], line[512];
	size_t n = 0;
	int grade;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/qrels.tsv", set);
	f = fopen(path, "re");
	if (!f)
		die(path, NULL);
	*ret = calloc(1 << 17, sizeof(**ret));
	while (*ret && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63[^\t]\t%63[^\t]\t%d", (*ret)[n].query, (*ret)[n].document, &grade) == 3 && grade > 0)
			n++;
	(void)fclose(f);
	return n;
}

static int u64_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Texts behind a prefix to vectors, 32 at once. */
static float *embed_texts(struct hs_model *model, const char *prefix, char **texts, size_t n)
{
	float *out = malloc((n + 1) * DIMENSIONS * sizeof(*out));

	if (!out)
		die("memory", NULL);
	for (size_t at = 0; at < n; at += 32) {
		char *lines[32];
		size_t lens[32], count = n - at < 32 ? n - at : 32;

		for (size_t i = 0; i < count; i++) {
			lens[i] = (size_t)asprintf(&lines[i], "%s%s", prefix, texts[at + i]);
			if (!lines[i])
				die("memory", NULL);
		}
		if (hs_embed(model, (const char *const *)lines, lens, (uint32_t)count, NULL, NULL, out + at * DIMENSIONS) < 0)
			die("embed", NULL);
		for (size_t i = 0; i < count; i++)
			free(lines[i]);
	}
	return out;
}

static void embed_passages(struct hs_store *s, struct hs_model *model)
{
	static const uint8_t hash[HS_STORE_HASH_LEN] = {1};
	struct hs_err err = HS_ERR_INIT;
	struct hs_pending_list list;
	uint64_t t = hs_monotonic_ms();
	size_t done = 0;

	if (hs_store_begin(s, &err) < 0 || hs_store_use_model(s, hash, DIMENSIONS, &err) < 0 || hs_store_commit(s, &err) < 0)
		die("model", &err);
	for (;;) {
		char *texts[256];
		float *vectors;

		if (hs_store_pending(s, 0, 256, &list, &err) < 0)
			die("pending", &err);
		if (list.count == 0)
			break;
		for (size_t i = 0; i < list.count; i++)
			texts[i] = list.items[i].text;
		vectors = embed_texts(model, "passage: ", texts, list.count);
		if (hs_store_begin(s, &err) < 0 || hs_store_put_vectors(s, list.items, vectors, list.count, &err) < 0 ||
		    hs_store_commit(s, &err) < 0)
			die("vectors", &err);
		done += list.count;
		free(vectors);
		hs_pending_list_finish(&list);
	}
	hs_pending_list_finish(&list);
	printf("%zu passages embedded in %.1f s\n", done, (double)(hs_monotonic_ms() - t) / 1000);
}

struct asking {
	const char *set;
	enum hs_search_mode mode;
	const float *vectors;
	float weight;
	FILE *run;
};

static void ask(struct hs_store *s, struct hs_reader *r, const struct names *names, const struct asking *a)
{
	struct judged *judged;
	size_t n_judged = read_judged(a->set, &judged), cap = 0, n = 0;
	uint64_t *times = calloc(1 << 17, sizeof(*times)), made = hs_monotonic_ms();
	struct hs_metrics m = {0};
	struct hs_metrics_mean mean;
	struct hs_grant *g = make_grant(s);
	char path[4096], *line = NULL;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/queries.jsonl", a->set);
	f = fopen(path, "re");
	if (!f || !times)
		die(path, NULL);
	while (getline(&line, &cap, f) > 0) {
		json_t *row = json_loads(line, 0, NULL);
		const char *text = json_string_value(json_object_get(row, "text")), *id = json_string_value(json_object_get(row, "_id"));
		struct hs_query q = {.mode = a->mode, .text = text, .len = strlen(text), .k = 100, .per_document = 1,
				     .hybrid_weight = a->weight, .dimensions = DIMENSIONS,
				     .vector = a->vectors ? a->vectors + n * DIMENSIONS : NULL};
		const char *ranked[100], *gold[64];
		struct hs_results results;
		struct hs_err err = HS_ERR_INIT;
		size_t n_gold = 0;
		uint64_t t;

		if (hs_monotonic_ms() - made > HS_GRANT_MAX_AGE_MS / 2) {
			hs_grant_destroy(g);
			g = make_grant(s);
			made = hs_monotonic_ms();
		}
		q.now_ms = hs_now_ms();
		t = hs_monotonic_us();
		if (hs_search(r, g, &q, &results, &err) < 0)
			die("search", &err);
		times[n++] = hs_monotonic_us() - t;
		for (size_t i = 0; i < results.count; i++)
			ranked[i] = own_name(names, &results.hits[i].document);
		if (a->run) {
			fprintf(a->run, "%s\t", id);
			for (size_t i = 0; i < results.count; i++)
				fprintf(a->run, "%s%s", i ? " " : "", ranked[i]);
			fprintf(a->run, "\n");
		}
		for (size_t i = 0; i < n_judged && n_gold < 64; i++)
			if (strcmp(judged[i].query, id) == 0)
				gold[n_gold++] = judged[i].document;
		hs_metrics_add(&m, gold, n_gold, ranked, results.count);
		hs_results_finish(&results);
		json_decref(row);
	}
	mean = hs_metrics_mean(&m);
	qsort(times, n, sizeof(*times), u64_compare);
	printf("mode %d weight %.1f  queries %zu  R@1 %.1f  R@10 %.1f  R@100 %.1f  MRR %.1f  nDCG@10 %.1f  ±%.1f  p50 %.2f  p95 %.2f ms\n",
	       (int)a->mode, (double)a->weight, m.queries, mean.recall[0], mean.recall[2], mean.recall[3], mean.mrr, mean.ndcg,
	       mean.spread, (double)times[n / 2] / 1000, (double)times[n * 95 / 100] / 1000);
	free(line);
	free(times);
	free(judged);
	(void)fclose(f);
	hs_grant_destroy(g);
}

static float *embed_queries(struct hs_model *model, const char *set)
{
	char path[4096], *line = NULL, **texts = calloc(1 << 17, sizeof(*texts));
	size_t cap = 0, n = 0;
	float *vectors;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/queries.jsonl", set);
	f = fopen(path, "re");
	if (!f || !texts)
		die(path, NULL);
	while (getline(&line, &cap, f) > 0) {
		json_t *row = json_loads(line, 0, NULL);

		texts[n] = strdup(json_string_value(json_object_get(row, "text")));
		if (!texts[n++])
			die("memory", NULL);
		json_decref(row);
	}
	vectors = embed_texts(model, "query: ", texts, n);
	while (n > 0)
		free(texts[--n]);
	free(texts);
	free(line);
	(void)fclose(f);
	return vectors;
}

static void ask_in_all_modes(struct hs_store *s, struct hs_reader *r, const struct names *names, struct asking a)
{
	const char *path = getenv("MODEL");
	struct hs_model_options options = {0};
	struct hs_err err = HS_ERR_INIT;
	struct hs_model *model;
	float *queries;

	ask(s, r, names, &a);
	if (!path)
		return;
	if (hs_model_load(path, &options, &model, &err) < 0)
		die(path, &err);
	embed_passages(s, model);
	queries = embed_queries(model, a.set);
	a.vectors = queries;
	a.run = NULL;
	a.mode = HS_SEARCH_VECTOR;
	ask(s, r, names, &a);
	a.mode = HS_SEARCH_HYBRID;
	for (int w = 3; w <= 6; w++) {
		a.weight = (float)w / 10;
		ask(s, r, names, &a);
	}
	free(queries);
	hs_model_destroy(model);
}

int main(int argc, char **argv)
{
	const char *size = getenv("CHUNK");
	char dir[] = "/tmp/hisho-eval-XXXXXX", path[64];
	struct hs_store_options options = {.connect = connect_plain, .connect_ctx = path};
	struct hs_store_progress progress;
	struct hs_err err = HS_ERR_INIT;
	struct names names = {0};
	struct hs_reader *r;
	struct hs_store *s;
	FILE *run = NULL;
	uint64_t t;

	if (argc < 2 || !mkdtemp(dir)) {
		fprintf(stderr, "usage: hisho-eval-store SET_DIR [RUN.tsv]\n");
		return 2;
	}
	(void)snprintf(path, sizeof(path), "%s/index.db", dir);
	if (hs_analyzer_create(HS_DICT_DIR_DEFAULT, &options.analyzer, &err) < 0 || hs_store_open(&options, &s, &err) < 0)
		die("open", &err);
	t = hs_monotonic_ms();
	load(s, argv[1], size ? (uint32_t)strtoul(size, NULL, 10) : 0, &names);
	hs_store_progress(s, &progress);
	printf("%s: %llu documents, %llu passages, %.1f s, %.1f MiB of index\n", argv[1], (unsigned long long)progress.documents,
	       (unsigned long long)progress.chunks, (double)(hs_monotonic_ms() - t) / 1000, (double)progress.memory / (1 << 20));
	if (hs_reader_create(s, &r, &err) < 0)
		die("reader", &err);
	if (argc > 2)
		run = fopen(argv[2], "we");
	ask_in_all_modes(s, r, &names, (struct asking){.set = argv[1], .mode = HS_SEARCH_LEXICAL, .weight = -1, .run = run});
	if (run)
		(void)fclose(run);
	hs_reader_destroy(r);
	hs_store_close(s);
	hs_analyzer_destroy(options.analyzer);
	free(names.items);
	for (const char *const *name = (const char *const[]){"index.db", "index.db-wal", "index.db-shm", NULL}; *name; name++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, *name);
		(void)unlink(path);
	}
	(void)rmdir(dir);
	return 0;
}
