/*
 * Ranking quality without a daemon: load a set in BEIR form straight into a scratch store, ask every query with a grant,
 * and print recall, MRR and nDCG. For work on ranking; `hisho eval` measures the whole product.
 *
 *   hisho-eval-store SET_DIR [RUN.tsv]      CHUNK=n: characters a passage
 *
 * With MODEL=FILE (an embedder of 384 dimensions, GGUF) it embeds the set and asks by vectors and in hybrid mode too. With
 * VECTORS=FILE what was embedded is kept there, a file a model, and not embedded again: the second run takes seconds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "bench/scratch_store.h"
#include "retrieval/metrics.h"

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
		scratch_die(path, NULL);
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

struct asking {
	const char *set;
	enum hs_search_mode mode;
	const float *vectors;
	float weight;
	FILE *run;
};

static void ask(struct scratch_store *s, const struct asking *a)
{
	struct judged *judged;
	size_t n_judged = read_judged(a->set, &judged), cap = 0, n = 0;
	uint64_t *times = calloc(1 << 17, sizeof(*times)), made = hs_monotonic_ms();
	struct hs_metrics m = {0};
	struct hs_metrics_mean mean;
	struct hs_grant *g = scratch_grant(s);
	char path[4096], *line = NULL;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/queries.jsonl", a->set);
	f = fopen(path, "re");
	if (!f || !times)
		scratch_die(path, NULL);
	while (getline(&line, &cap, f) > 0) {
		json_t *row = json_loads(line, 0, NULL);
		const char *text = json_string_value(json_object_get(row, "text")),
			   *id = json_string_value(json_object_get(row, "_id"));
		struct hs_query q = {.mode = a->mode,
				     .text = text,
				     .len = strlen(text),
				     .k = 100,
				     .per_document = 1,
				     .hybrid_weight = a->weight,
				     .dimensions = SCRATCH_DIMENSIONS,
				     .vector = a->vectors ? a->vectors + n * SCRATCH_DIMENSIONS : NULL};
		const char *ranked[100], *gold[64];
		struct hs_results results;
		struct hs_err err = HS_ERR_INIT;
		size_t n_gold = 0;
		uint64_t t;

		if (hs_monotonic_ms() - made > HS_GRANT_MAX_AGE_MS / 2) {
			hs_grant_destroy(g);
			g = scratch_grant(s);
			made = hs_monotonic_ms();
		}
		q.now_ms = hs_now_ms();
		t = hs_monotonic_us();
		if (hs_search(s->reader, g, &q, &results, &err) < 0)
			scratch_die("search", &err);
		times[n++] = hs_monotonic_us() - t;
		for (size_t i = 0; i < results.count; i++) {
			const struct scratch_name *name = scratch_name(s, &results.hits[i].document);

			ranked[i] = name ? name->own : "?";
		}
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
	printf("mode %d weight %.1f  queries %zu  R@1 %.1f  R@10 %.1f  R@100 %.1f  MRR %.1f  nDCG@10 %.1f  ±%.1f  p50 %.2f  p95 "
	       "%.2f ms\n",
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
		scratch_die(path, NULL);
	while (getline(&line, &cap, f) > 0) {
		json_t *row = json_loads(line, 0, NULL);

		texts[n] = strdup(json_string_value(json_object_get(row, "text")));
		if (!texts[n++])
			scratch_die("memory", NULL);
		json_decref(row);
	}
	vectors = scratch_vectors(model, "query: ", texts, n);
	while (n > 0)
		free(texts[--n]);
	free(texts);
	free(line);
	(void)fclose(f);
	return vectors;
}

static void ask_in_all_modes(struct scratch_store *s, struct asking a)
{
	const char *path = getenv("MODEL");
	struct hs_model_options options = {0};
	struct hs_err err = HS_ERR_INIT;
	struct hs_model *model;
	float *queries;

	ask(s, &a);
	if (!path)
		return;
	if (hs_model_load(path, &options, &model, &err) < 0)
		scratch_die(path, &err);
	uint64_t t = hs_monotonic_ms();
	size_t embedded = scratch_embed(s, model);
	printf("%zu passages embedded in %.1f s\n", embedded, (double)(hs_monotonic_ms() - t) / 1000);
	queries = embed_queries(model, a.set);
	a.vectors = queries;
	a.run = NULL;
	a.mode = HS_SEARCH_VECTOR;
	ask(s, &a);
	a.mode = HS_SEARCH_HYBRID;
	for (int w = 3; w <= 6; w++) {
		a.weight = (float)w / 10;
		ask(s, &a);
	}
	free(queries);
	hs_model_destroy(model);
}

int main(int argc, char **argv)
{
	const char *size = getenv("CHUNK");
	struct hs_store_progress progress;
	struct scratch_store s;
	FILE *run = NULL;
	uint64_t t = hs_monotonic_ms();

	if (argc < 2) {
		fprintf(stderr, "usage: hisho-eval-store SET_DIR [RUN.tsv]\n");
		return 2;
	}
	scratch_open(&s, argv[1], 1, size ? (uint32_t)strtoul(size, NULL, 10) : 0);
	hs_store_progress(s.store, &progress);
	printf("%s: %llu documents, %llu passages, %.1f s, %.1f MiB of index\n", argv[1], (unsigned long long)progress.documents,
	       (unsigned long long)progress.chunks, (double)(hs_monotonic_ms() - t) / 1000, (double)progress.memory / (1 << 20));
	if (argc > 2)
		run = fopen(argv[2], "we");
	ask_in_all_modes(&s, (struct asking){.set = argv[1], .mode = HS_SEARCH_LEXICAL, .weight = -1, .run = run});
	if (run)
		(void)fclose(run);
	scratch_close(&s);
	return 0;
}
