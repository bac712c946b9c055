#include "cli/beir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

#define FILE_MAX (2048ull * 1024 * 1024)

static int read_file(const char *folder, const char *name, struct hs_buf *out, struct hs_err *err)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof path, "%s/%s", folder, name);
	if (n < 0 || n >= (int)sizeof path)
		return hs_fail(err, ENAMETOOLONG, "eval.set", "", "%s", folder);
	int rc = hs_file_read(AT_FDCWD, path, FILE_MAX, out);
	if (rc < 0)
		return hs_fail_errno(err, rc, "eval.set", path);
	return hs_buf_cstr(out) ? 0 : hs_fail_errno(err, -ENOMEM, "eval.set", path);
}

static int load_lines(const char *folder, const char *name, json_t **ret, struct hs_err *err)
{
	HS_BUF_AUTO text = HS_BUF_INIT;
	int rc = read_file(folder, name, &text, err);
	if (rc < 0)
		return rc;
	json_t *list = json_array();
	size_t line_no = 1;
	for (const char *at = (const char *)text.data, *end = at + text.len; at < end; line_no++) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		size_t n = (size_t)((stop ? stop : end) - at);
		json_t *row = n ? json_loadb(at, n, 0, NULL) : NULL;
		if (n && (!json_string_value(json_object_get(row, "_id")) || !json_string_value(json_object_get(row, "text")) ||
			  json_array_append(list, row) < 0)) {
			json_decref(row);
			json_decref(list);
			return hs_fail(err, EINVAL, "eval.set", HS_N_("a line is an object with _id and text"), "%s: %zu", name,
				       line_no);
		}
		json_decref(row);
		at += n + 1;
	}
	*ret = list;
	return 0;
}

/* "query<TAB>document<TAB>grade"; the first line is a heading. */
static int load_gold(const char *folder, json_t **ret, struct hs_err *err)
{
	HS_BUF_AUTO text = HS_BUF_INIT;
	struct hs_err first = HS_ERR_INIT;
	if (read_file(folder, "qrels.tsv", &text, &first) < 0) {
		int rc = read_file(folder, "qrels/test.tsv", &text, err);
		if (rc < 0)
			return rc;
	}
	json_t *gold = json_object();
	char *save = NULL, *line = strtok_r((char *)text.data, "\n", &save);
	while ((line = strtok_r(NULL, "\n", &save)) != NULL) {
		char *fields = NULL;
		const char *query = strtok_r(line, "\t\r", &fields), *document = strtok_r(NULL, "\t\r", &fields);
		const char *grade = strtok_r(NULL, "\t\r", &fields);
		if (!query || !document || !grade || strtol(grade, NULL, 10) <= 0)
			continue;
		json_t *of_query = json_object_get(gold, query);
		if (!of_query) {
			of_query = json_object();
			if (json_object_set_new(gold, query, of_query) < 0)
				goto out_of_memory;
		}
		if (json_object_set_new(of_query, document, json_true()) < 0)
			goto out_of_memory;
	}
	*ret = gold;
	return 0;
out_of_memory:
	json_decref(gold);
	return hs_fail_errno(err, -ENOMEM, "eval.set", folder);
}

int hs_beir_load(const char *folder, struct hs_beir *ret, struct hs_err *err)
{
	struct hs_beir b = {0};
	int rc = load_lines(folder, "corpus.jsonl", &b.corpus, err);
	if (rc == 0)
		rc = load_lines(folder, "queries.jsonl", &b.queries, err);
	if (rc == 0)
		rc = load_gold(folder, &b.gold, err);
	if (rc < 0)
		hs_beir_finish(&b);
	else
		*ret = b;
	return rc;
}

void hs_beir_finish(struct hs_beir *b)
{
	json_decref(b->corpus);
	json_decref(b->queries);
	json_decref(b->gold);
	*b = (struct hs_beir){0};
}

static void add_query(const json_t *gold, const json_t *ranked, struct hs_beir_figures *f)
{
	size_t relevant = json_object_size(gold), found = 0;
	double gain = 0, ideal = 0;
	for (size_t i = 0; i < HS_MIN(relevant, 10); i++)
		ideal += 1 / log2((double)i + 2);
	for (size_t i = 0; i < HS_BEIR_DEPTH; i++) {
		const char *document = json_string_value(json_array_get(ranked, i));
		if (document && json_object_get(gold, document)) {
			found++;
			if (i < 10)
				gain += 1 / log2((double)i + 2);
			if (i < 10 && found == 1)
				f->mrr_10 += 1 / ((double)i + 1);
		}
		double recall = (double)found / (double)relevant;
		if (i == 0)
			f->recall_1 += recall;
		else if (i == 4)
			f->recall_5 += recall;
		else if (i == 9)
			f->recall_10 += recall;
	}
	f->recall_100 += (double)found / (double)relevant;
	f->ndcg_10 += gain / ideal;
	f->queries++;
}

void hs_beir_score(const struct hs_beir *b, const json_t *run, struct hs_beir_figures *ret)
{
	struct hs_beir_figures f = {0};
	const char *query;
	json_t *gold;
	json_object_foreach(b->gold, query, gold) add_query(gold, json_object_get(run, query), &f);
	double n = f.queries ? (double)f.queries : 1;
	double *const means[] = {&f.recall_1, &f.recall_5, &f.recall_10, &f.recall_100, &f.mrr_10, &f.ndcg_10};
	for (size_t i = 0; i < HS_ARRAY_LEN(means); i++)
		*means[i] /= n;
	*ret = f;
}
