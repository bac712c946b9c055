/*
 * How well the answer's check (retrieval/check.h) tells what a passage says from what it does not: judges cases that
 * bench/check_mutations.py makes, and counts.
 *
 * usage: hisho-check-cases [-v] < cases.jsonl
 * A case is a line {"kind", "question", "sentence", "passages": [...], "supported": bool}. -v prints those judged wrongly.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"
#include "retrieval/check.h"

#define KINDS_MAX 32
#define PASSAGES_MAX 16

struct kind {
	char name[32];
	bool supported;
	size_t n, right;
	size_t why[HS_CHECK_EMPTY + 1];
};

static struct kind kinds[KINDS_MAX];

static struct kind *kind_of(const char *name, bool supported)
{
	for (size_t i = 0; i < KINDS_MAX; i++) {
		if (!kinds[i].name[0]) {
			(void)snprintf(kinds[i].name, sizeof(kinds[i].name), "%s", name);
			kinds[i].supported = supported;
		}
		if (!strcmp(kinds[i].name, name) && kinds[i].supported == supported)
			return &kinds[i];
	}
	return NULL;
}

static int judge(struct hs_analyzer *a, const json_t *c, bool verbose)
{
	struct hs_check_passage passages[PASSAGES_MAX] = {0};
	struct hs_check_result r;
	struct hs_check *check;
	const json_t *list = json_object_get(c, "passages"), *p;
	const char *question = json_string_value(json_object_get(c, "question"));
	const char *sentence = json_string_value(json_object_get(c, "sentence"));
	struct kind *k = kind_of(json_string_value(json_object_get(c, "kind")), json_is_true(json_object_get(c, "supported")));
	size_t n = 0, i;
	if (!sentence || !k)
		return -1;
	json_array_foreach(list, i, p)
	{
		if (n == PASSAGES_MAX)
			break;
		passages[n].text = json_string_value(p);
		passages[n++].len = json_string_length(p);
	}
	if (hs_check_create(a, question, question ? strlen(question) : 0, passages, n, &check))
		return -1;
	int rc = hs_check_sentence(check, sentence, strlen(sentence), &r);
	hs_check_destroy(check);
	if (rc)
		return rc;
	bool supported = r.why == HS_CHECK_SUPPORTED;
	k->n++;
	k->why[r.why]++;
	k->right += supported == k->supported;
	if (verbose && supported != k->supported)
		printf("WRONG %s: why %d, overlap %.2f\n  S: %s\n  P: %.*s\n", k->name, r.why, (double)r.overlap, sentence,
		       (int)(r.end - r.start), passages[r.passage].text + r.start);
	return 0;
}

int main(int argc, char **argv)
{
	struct hs_analyzer *a;
	struct hs_err err = HS_ERR_INIT;
	char *line = NULL, text[512];
	size_t cap = 0, n = 0, right[2] = {0}, all[2] = {0};
	if (hs_analyzer_create(HS_DICT_DIR_DEFAULT, &a, &err)) {
		fprintf(stderr, "%s\n", hs_err_text(&err, text, sizeof(text)));
		return 1;
	}
	uint64_t start = hs_monotonic_us();
	while (getline(&line, &cap, stdin) > 0) {
		json_t *c = json_loads(line, 0, NULL);
		if (!c || judge(a, c, argc > 1 && !strcmp(argv[1], "-v"))) {
			fprintf(stderr, "case %zu cannot be judged\n", n + 1);
			return 1;
		}
		json_decref(c);
		n++;
	}
	double ms = (double)(hs_monotonic_us() - start) / 1000;
	free(line);
	hs_analyzer_destroy(a);
	printf("%-16s %-6s %6s %6s  unsupported number comparator name polarity tie empty\n", "kind", "truth", "cases", "right");
	for (size_t i = 0; i < KINDS_MAX && kinds[i].name[0]; i++) {
		const struct kind *k = &kinds[i];
		all[k->supported] += k->n;
		right[k->supported] += k->right;
		printf("%-16s %-6s %6zu %5.1f%%  %zu %zu %zu %zu %zu %zu %zu\n", k->name, k->supported ? "true" : "false", k->n,
		       100.0 * (double)k->right / (double)k->n, k->why[HS_CHECK_UNSUPPORTED], k->why[HS_CHECK_NUMBER],
		       k->why[HS_CHECK_COMPARATOR], k->why[HS_CHECK_NAME], k->why[HS_CHECK_POLARITY], k->why[HS_CHECK_TIE],
		       k->why[HS_CHECK_EMPTY]);
	}
	if (!all[0] || !all[1])
		return 1;
	printf("caught %.1f%% of %zu mutations; rejected %.1f%% of %zu true sentences; %.2f ms a case\n",
	       100.0 * (double)right[0] / (double)all[0], all[0], 100.0 - 100.0 * (double)right[1] / (double)all[1], all[1],
	       ms / (double)n);
	return 0;
}
