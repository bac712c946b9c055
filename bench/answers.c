/*
 * Answers without a daemon, in three steps whose results are kept, so that what comes after the model can be worked on without
 * running it again. Every step reads and writes lines of JSON.
 *
 *   hisho-answers find SET EMBEDDER N [FROM] > found    hybrid search for N questions, spread over the set from its FROM-th
 *                                                      on, each once with its gold documents and once with them hidden
 *                                                      (only so, where the set knows no answer)
 *   hisho-answers write GENERATOR BUDGET < found > written   chooses evidence of BUDGET characters and lets the model write
 *   hisho-answers judge [-v] < written > signals       checks the sentences; figures go to standard error, and what an
 *                                                      answerability check may look at (bench/fit_answerable.py) to standard
 * output
 *
 * `found` may go to judge at once: then the documents' own sentences answer.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "base/arena.h"
#include "base/clock.h"
#include "bench/scratch_store.h"
#include "cli/answers.h"
#include "daemon/infer/fit.h"
#include "daemon/infer/models.h"
#include "daemon/tenant/answer.h"

#define PASSAGES 8 /* as the daemon seeks */
#define ANSWER_TOKENS 96
#define PROMPT_TOKENS 4096
#define ARENA (8u << 20)

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

static double number_of(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

/* --- find --- */

static json_t *hits_json(const struct scratch_store *s, const struct hs_results *r, const json_t *gold)
{
	json_t *list = json_array();
	for (size_t i = 0; i < r->count; i++) {
		const struct hs_hit *h = &r->hits[i];
		const struct scratch_name *name = scratch_name(s, &h->document);
		json_t *hit =
		    json_pack("{s:s, s:b, s:s, s:s, s:I, s:I, s:s%}", "document", name ? name->own : "?", "gold",
			      name && json_object_get(gold, name->own), "title", h->title, "context", h->context, "chunk",
			      (json_int_t)h->chunk, "start", (json_int_t)h->start, "text", h->text, h->text_len);
		if (!hit || json_array_append_new(list, hit) < 0)
			scratch_die("memory", NULL);
	}
	return list;
}

static json_t *terms_json(const struct hs_results *r)
{
	json_t *list = json_array();
	for (size_t i = 0; i < r->n_terms; i++)
		if (json_array_append_new(
			list, json_pack("[s%, f]", r->terms[i].term, (size_t)r->terms[i].len, (double)r->terms[i].idf)) < 0)
			scratch_die("memory", NULL);
	return list;
}

/* The classes that hold no gold document of the question. */
static size_t classes_without(const struct scratch_store *s, const json_t *gold, uint32_t *out)
{
	size_t n = 0;
	for (uint32_t c = 0; c < s->n_classes; c++) {
		bool holds = false;
		for (size_t i = 0; i < s->n_names; i++)
			holds |= s->names[i].class_id == s->classes[c] && json_object_get(gold, s->names[i].own);
		if (!holds)
			out[n++] = s->classes[c];
	}
	return n;
}

static void find_one(struct scratch_store *s, struct hs_model *m, const struct hs_grant *g, const json_t *query,
		     const json_t *gold, bool hide)
{
	char *text = (char *)text_of(query, "text");
	float *vector = scratch_vectors(m, "query: ", &text, 1);
	uint32_t classes[SCRATCH_CLASSES_MAX];
	struct hs_query q = {.mode = HS_SEARCH_HYBRID,
			     .text = text,
			     .len = strlen(text),
			     .k = PASSAGES,
			     .vector = vector,
			     .dimensions = SCRATCH_DIMENSIONS,
			     .hybrid_weight = -1,
			     .now_ms = hs_now_ms()};
	struct hs_results r;
	struct hs_err err = HS_ERR_INIT;
	if (hide) {
		q.n_classes = classes_without(s, gold, classes);
		q.classes = classes;
	}
	if (hs_search(s->reader, g, &q, &r, &err) < 0)
		scratch_die("search", &err);
	json_t *line =
	    json_pack("{s:s, s:s, s:O, s:b, s:f, s:f, s:o, s:o}", "id", text_of(query, "_id"), "question", text, "answers",
		      json_object_get(query, "answers"), "hidden", hide, "coverage", (double)r.signals.coverage, "dense",
		      (double)r.signals.dense_best, "hits", hits_json(s, &r, gold), "terms", terms_json(&r));
	if (!line || json_dumpf(line, stdout, JSON_COMPACT) < 0)
		scratch_die("write", NULL);
	putchar('\n');
	json_decref(line);
	hs_results_finish(&r);
	free(vector);
}

static int find(int argc, char **argv)
{
	struct hs_err err = HS_ERR_INIT;
	struct hs_beir set;
	struct scratch_store s;
	struct hs_model *m;
	const struct hs_model_options options = {0};
	if (argc < 3)
		return 2;
	size_t n = strtoul(argv[2], NULL, 10), from = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
	if (hs_beir_load(argv[0], &set, &err) < 0 || hs_model_load(argv[1], &options, &m, &err) < 0)
		scratch_die(argv[0], &err);
	scratch_open(&s, argv[0], SCRATCH_CLASSES_MAX, 0);
	(void)scratch_embed(&s, m);
	size_t total = json_array_size(set.queries), left = total > from ? total - from : 0;
	n = HS_MIN(n, left);
	struct hs_grant *g = scratch_grant(&s);
	uint64_t granted = hs_monotonic_ms();
	for (size_t k = 0; k < n; k++) {
		const json_t *query = json_array_get(set.queries, from + k * left / n);
		const json_t *gold = json_object_get(set.gold, text_of(query, "_id"));
		if (hs_monotonic_ms() - granted > HS_GRANT_MAX_AGE_MS / 2) {
			hs_grant_destroy(g);
			g = scratch_grant(&s);
			granted = hs_monotonic_ms();
		}
		if (json_array_size(json_object_get(query, "answers")) > 0 && json_object_size(gold) > 0)
			find_one(&s, m, g, query, gold, false);
		find_one(&s, m, g, query, gold, true);
	}
	hs_grant_destroy(g);
	hs_model_destroy(m);
	scratch_close(&s);
	hs_beir_finish(&set);
	return 0;
}

/* --- what was found, again as the daemon has it --- */

struct asked {
	json_t *line;
	struct hs_arena *arena;
	struct hs_results results;
	struct hs_evidence evidence;
	struct hs_answer answer;
};

static void asked_init(struct asked *a, json_t *line, size_t budget)
{
	const json_t *hits = json_object_get(line, "hits"), *terms = json_object_get(line, "terms"), *one;
	size_t i;
	*a = (struct asked){.line = line, .arena = hs_arena_create(ARENA)};
	struct hs_results *r = &a->results;
	r->hits = hs_arena_calloc(a->arena, json_array_size(hits) + 1, sizeof *r->hits);
	r->terms = hs_arena_calloc(a->arena, json_array_size(terms) + 1, sizeof *r->terms);
	if (!r->hits || !r->terms)
		scratch_die("memory", NULL);
	json_array_foreach(hits, i, one)
	{
		struct hs_hit *h = &r->hits[r->count++];
		*h = (struct hs_hit){.chunk = (uint32_t)number_of(one, "chunk"),
				     .start = (uint32_t)number_of(one, "start"),
				     .title = text_of(one, "title"),
				     .context = text_of(one, "context"),
				     .text = text_of(one, "text"),
				     .text_len = json_string_length(json_object_get(one, "text"))};
		h->end = h->start + (uint32_t)h->text_len;
		(void)snprintf(h->version.s, sizeof h->version.s, "%s", text_of(one, "document")); /* may be cut */
		h->document = h->version;
	}
	json_array_foreach(terms, i, one)
	{
		const json_t *term = json_array_get(one, 0);
		r->terms[r->n_terms++] = (struct hs_query_term){.term = json_string_value(term),
								.len = (uint32_t)json_string_length(term),
								.idf = (float)json_number_value(json_array_get(one, 1))};
	}
	r->signals = (struct hs_search_signals){.coverage = (float)number_of(line, "coverage"),
						.dense_best = (float)number_of(line, "dense")};
	if (hs_evidence_select(r, text_of(line, "question"), strlen(text_of(line, "question")), budget, &a->evidence) < 0 ||
	    hs_answer_begin(&a->answer, a->arena, text_of(line, "question"), r, &a->evidence) < 0)
		scratch_die(text_of(line, "id"), NULL);
}

static void asked_finish(struct asked *a)
{
	hs_answer_finish(&a->answer);
	hs_evidence_finish(&a->evidence);
	hs_arena_destroy(a->arena);
	json_decref(a->line);
}

static json_t *next_line(char **line, size_t *cap)
{
	if (getline(line, cap, stdin) <= 0)
		return NULL;
	json_t *j = json_loads(*line, 0, NULL);
	if (!j)
		scratch_die("not JSON", NULL);
	return j;
}

/* --- write --- */

static void fit_prompt(const struct hs_served_model *g, const struct hs_msg_generate *ask, struct hs_tok_ids *ids)
{
	struct hs_err err = HS_ERR_INIT;
	uint8_t kept[HS_MSG_SEGMENTS_MAX];
	const struct tm always = {.tm_year = 126, .tm_mday = 1}; /* a template may name the day */
	if (hs_fit(&g->chat, hs_model_tokenizer(g->model), ask, PROMPT_TOKENS, &always, ids, kept, &err) < 0)
		scratch_die("prompt", &err);
}

static double logprob(const float *logits, uint32_t n, hs_tok_id id)
{
	double most = logits[0], sum = 0;
	for (uint32_t i = 1; i < n; i++)
		most = fmax(most, (double)logits[i]);
	for (uint32_t i = 0; i < n; i++)
		sum += exp((double)logits[i] - most);
	return (double)logits[id] - most - log(sum);
}

static const float *forward(struct hs_sequence *s, const hs_tok_id *ids, size_t n)
{
	const float *logits;
	if (hs_sequence_forward(s, ids, (uint32_t)n, NULL, NULL, &logits) < 0)
		scratch_die("forward", NULL);
	return logits;
}

/* How much rather the model says yes than no when it is asked whether the answer is there. */
static double ask_whether(const struct hs_served_model *g, struct hs_sequence *s, struct hs_msg_generate *ask,
			  const struct hs_tok_ids *before)
{
	static const char probe[] = "\n\n資料の中にこの質問の答えは書かれていますか。「はい」か「いいえ」だけで答えてください。";
	const struct hs_tokenizer *t = hs_model_tokenizer(g->model);
	struct hs_tok_ids ids = {0}, yes = {0};
	size_t same = 0;
	ask->segments[ask->n_segments++] =
	    (struct hs_segment){HS_SEGMENT_USER, HS_SEGMENT_INSTRUCTION, HS_CACHE_NONE, 0, {probe, sizeof probe - 1}};
	fit_prompt(g, ask, &ids);
	while (same < ids.count - 1 && same < before->count && ids.ids[same] == before->ids[same])
		same++;
	hs_sequence_truncate(s, (uint32_t)same);
	const float *logits = forward(s, ids.ids + same, ids.count - same);
	if (hs_tok_encode(t, "はい", strlen("はい"), &yes) < 0)
		scratch_die("yes", NULL);
	size_t no = yes.count;
	if (hs_tok_encode(t, "いいえ", strlen("いいえ"), &yes) < 0)
		scratch_die("no", NULL);
	double rather = (double)logits[yes.ids[0]] - (double)logits[yes.ids[no]];
	hs_tok_ids_finish(&ids);
	hs_tok_ids_finish(&yes);
	return rather;
}

static void write_one(const struct hs_served_model *g, struct asked *a)
{
	const struct hs_tokenizer *t = hs_model_tokenizer(g->model);
	uint32_t n_vocab = hs_model_info(g->model)->n_vocab;
	struct hs_prompt_passage passages[HS_PROMPT_PASSAGES_MAX];
	const struct hs_chat_request request = {
	    .question = (char *)a->answer.question, .search = (char *)a->answer.question, .style = (char *)""};
	struct hs_msg_generate *ask = hs_arena_alloc(a->arena, sizeof *ask);
	struct hs_tok_ids ids = {0};
	struct hs_detok detok = {.begun = false};
	HS_BUF_AUTO text = HS_BUF_INIT;
	struct hs_sequence *s;
	double least = 0, sum = 0;
	uint32_t n = 0;
	struct hs_shown shown;
	hs_answer_passages(&a->answer, passages);
	if (!ask || hs_prompt_build(a->arena, &request, passages, (uint32_t)a->answer.n_evidence, ask) < 0)
		scratch_die("prompt", NULL);
	fit_prompt(g, ask, &ids);
	if (hs_sequence_create(g->model, (uint32_t)ids.count + ANSWER_TOKENS + 64, &s) < 0)
		scratch_die("sequence", NULL);
	uint64_t begin = hs_monotonic_ms();
	hs_shown_begin(&shown, &g->chat, &ids);
	const float *logits = forward(s, ids.ids, ids.count);
	uint64_t read = hs_monotonic_ms() - begin;
	for (; n < ANSWER_TOKENS; n++) {
		struct hs_sampler greedy = {0};
		hs_tok_id id = hs_sample(&greedy, logits, n_vocab, NULL);
		if (id < 0 || hs_shown_token(&shown, &g->chat, t, id))
			break;
		double p = logprob(logits, n_vocab, id);
		least = fmin(least, p);
		sum += p;
		if (hs_detok_push(&detok, t, id, &text) < 0)
			scratch_die("text", NULL);
		logits = forward(s, &id, 1);
	}
	if (hs_detok_flush(&detok, &text) < 0 || !hs_buf_cstr(&text))
		scratch_die("text", NULL);
	json_t *written = json_pack("{s:s, s:f, s:f, s:f, s:I, s:I, s:I}", "text", (const char *)text.data, "least", least,
				    "mean", n ? sum / n : 0, "yes", ask_whether(g, s, ask, &ids), "prompt_tokens",
				    (json_int_t)ids.count, "read_ms", (json_int_t)read, "tokens", (json_int_t)n);
	if (!written || json_object_set_new(a->line, "written", written) < 0)
		scratch_die("memory", NULL);
	hs_sequence_destroy(s);
	hs_tok_ids_finish(&ids);
}

static int write_all(int argc, char **argv)
{
	struct hs_err err = HS_ERR_INIT;
	struct hs_served_model g = {0};
	char *line = NULL;
	size_t cap = 0;
	json_t *j;
	if (argc < 2)
		return 2;
	const struct hs_model_options options = {0};
	if (hs_served_model_load(&g, argv[0], HS_SERVED_GENERATOR, &options, &err) < 0)
		scratch_die(argv[0], &err);
	while ((j = next_line(&line, &cap))) {
		struct asked a;
		asked_init(&a, j, strtoul(argv[1], NULL, 10));
		if (a.answer.n_evidence > 0)
			write_one(&g, &a);
		if (json_object_set_new(j, "budget", json_integer((json_int_t)strtol(argv[1], NULL, 10))) < 0 ||
		    json_dumpf(j, stdout, JSON_COMPACT) < 0)
			scratch_die("write", NULL);
		putchar('\n');
		(void)fflush(stdout); /* so that a long run can be looked at; its end is checked by the shell */
		asked_finish(&a);
	}
	free(line);
	struct hs_models finished = {.generator = g};
	hs_models_finish(&finished);
	return 0;
}

/* --- judge --- */

struct figures {
	size_t asked, gold_found, evident, answered, right, right_found, cited;
	size_t hidden, silent;
	size_t sentences, released, hold, hold_released; /* the model's own sentences; those that hold a gold answer */
};

static bool holds(const char *text, size_t n, const json_t *answers)
{
	char *copy = strndup(text, n);
	bool yes = copy && hs_answers_hold(copy, answers);
	free(copy);
	return yes;
}

static bool falls_back(struct asked *a)
{
	if (hs_answer_fall_back(&a->answer, &a->evidence) < 0)
		scratch_die("memory", NULL);
	return hs_answer_next(&a->answer, true);
}

static void judge_one(struct hs_analyzer *analyzer, struct asked *a, bool verbose, struct figures *f)
{
	const json_t *answers = json_object_get(a->line, "answers"), *written = json_object_get(a->line, "written"), *hit;
	bool hidden = json_is_true(json_object_get(a->line, "hidden")), found = false, evident = false, cited = false;
	size_t i;
	struct hs_answer *answer = &a->answer;
	const char *text = text_of(written, "text");
	json_array_foreach(json_object_get(a->line, "hits"), i, hit) found |= json_is_true(json_object_get(hit, "gold"));
	for (i = 0; i < answer->n_evidence; i++)
		evident |= holds(answer->evidence[i].quote, answer->evidence[i].quote_len, answers);
	bool worth = written ? hs_answerable(&a->results, &a->evidence) : hs_answerable_by_quotes(&a->results, &a->evidence);
	if (hs_answer_push(answer, text, strlen(text)) < 0)
		scratch_die("memory", NULL);
	if (!written) {
		answer->quotable = worth;
		if (hs_answer_quote(answer, &a->evidence) < 0)
			scratch_die("memory", NULL);
	}
	float overlap = 0, held = 0;
	while (hs_answer_next(answer, true) || falls_back(a)) {
		struct hs_verdict v;
		const char *released;
		const struct hs_cited *citation;
		size_t start = answer->sentence_start, n = answer->sentence_end - start;
		bool quoted = answer->next_quote < answer->n_quotes;
		bool says = written && !quoted && holds((const char *)answer->offered.data + start, n, answers);
		if (hs_answer_check(answer, analyzer, &v) < 0)
			scratch_die("check", NULL);
		f->sentences += !quoted;
		if (v.why == HS_CHECK_SUPPORTED && v.answers && overlap <= 0) {
			overlap = v.overlap;
			held = v.held;
		}
		f->released += v.supported && !quoted;
		f->hold += says;
		f->hold_released += says && v.supported;
		if (verbose && says && !v.supported)
			fprintf(stderr, "REJECTED why %d: %.*s\n", (int)v.why, (int)n,
				(const char *)answer->offered.data + start);
		if (hs_answer_take(answer, &v, &released, &citation) < 0)
			scratch_die("take", NULL);
		cited |= citation && holds(citation->quote, citation->quote_len, answers);
	}
	const char *told = hs_answer_text(answer);
	bool silent = !worth || answer->outcome == HS_OUTCOME_NOT_FOUND, right = !silent && hs_answers_hold(told, answers);
	if (hidden) {
		f->hidden++;
		f->silent += silent;
	} else {
		f->asked++;
		f->gold_found += found;
		f->evident += evident;
		f->answered += !silent;
		f->right += right;
		f->right_found += right && found;
		f->cited += cited;
	}
	if (verbose)
		fprintf(stderr, "%s%s%s%s %s -> %s | gold %s | wrote %s\n", hidden ? "hidden " : "", found ? "" : "lost ",
			evident ? "" : "unseen ",
			right    ? "right"
			: silent ? "silent"
			: cited  ? "wrong"
				 : "WRONG",
			text_of(a->line, "question"), told, json_string_value(json_array_get(answers, 0)), text);
	printf(
	    "{\"id\":\"%s\",\"hidden\":%d,\"gold\":%d,\"evident\":%d,\"right\":%d,\"silent\":%d,\"coverage\":%.4f,\"dense\":%.4f,"
	    "\"evidence\":%.4f,\"words\":%.4f,\"lead\":%.4f,\"yes\":%.4f,\"least\":%.4f,\"mean\":%.4f,\"checked\":%d,\"overlap\":"
	    "%.4f,\"held\":%.4f,\"cited\":"
	    "%d,\"written\":%d}\n",
	    text_of(a->line, "id"), hidden, found, evident, written ? hs_answers_hold(text, answers) : 0, silent,
	    number_of(a->line, "coverage"), number_of(a->line, "dense"), (double)a->evidence.coverage, (double)a->evidence.words,
	    (double)a->evidence.lead, number_of(written, "yes"), number_of(written, "least"), number_of(written, "mean"),
	    answer->n_citations > 0, (double)overlap, (double)held, cited, written != NULL);
}

static int judge_all(int argc, char **argv)
{
	struct hs_err err = HS_ERR_INIT;
	struct hs_analyzer *analyzer;
	struct figures f = {0};
	char *line = NULL;
	size_t cap = 0;
	json_t *j;
	if (hs_analyzer_create(HS_DICT_DIR_DEFAULT, &analyzer, &err) < 0)
		scratch_die("dictionary", &err);
	const char *budget = getenv("BUDGET");
	while ((j = next_line(&line, &cap))) {
		struct asked a;
		size_t kept = (size_t)number_of(j, "budget");
		asked_init(&a, j, budget ? strtoul(budget, NULL, 10) : kept ? kept : 300);
		judge_one(analyzer, &a, argc > 0 && strcmp(argv[0], "-v") == 0, &f);
		asked_finish(&a);
	}
	fprintf(stderr,
		"asked %zu: gold among the hits %zu, evidence holds the answer %zu, answered %zu, right %zu (%zu where the gold "
		"was found), "
		"cited span holds it %zu; gold hidden %zu: silent %zu; sentences written %zu, released %zu; of those that hold "
		"the answer "
		"%zu, released %zu\n",
		f.asked, f.gold_found, f.evident, f.answered, f.right, f.right_found, f.cited, f.hidden, f.silent, f.sentences,
		f.released, f.hold, f.hold_released);
	free(line);
	hs_analyzer_destroy(analyzer);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} steps[] = {{"find", find}, {"write", write_all}, {"judge", judge_all}};
	int rc = 2;
	for (size_t i = 0; argc > 1 && i < HS_ARRAY_LEN(steps); i++)
		if (strcmp(argv[1], steps[i].name) == 0)
			rc = steps[i].run(argc - 2, argv + 2);
	if (rc == 2)
		fprintf(stderr, "usage: hisho-answers find SET EMBEDDER N [FROM] | write GENERATOR BUDGET | judge [-v]\n");
	return rc;
}
