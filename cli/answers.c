#include "cli/answers.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/progress.h"

bool hs_answers_held(size_t query)
{
	return query % HS_ANSWERS_HELD_EVERY == HS_ANSWERS_HELD_EVERY - 1;
}

json_t *hs_answers_held_documents(const struct hs_beir *set)
{
	json_t *held = json_object(), *query;
	size_t i;
	json_array_foreach(set->queries, i, query)
	{
		const char *id = json_string_value(json_object_get(query, "_id")), *document;
		json_t *grade;
		if (!held || !hs_answers_held(i))
			continue;
		json_object_foreach(json_object_get(set->gold, id), document, grade)
		{
			if (json_object_set_new(held, document, json_true()) < 0) {
				json_decref(held);
				return NULL;
			}
		}
	}
	return held;
}

/* Full-width ASCII to ASCII, ASCII to lower case; white space and commas dropped. */
static int plain(const char *s, struct hs_buf *out)
{
	size_t n = strlen(s);
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		size_t len = hs_utf8_decode(s + i, n - i, &cp);
		if (len == 0)
			return -EILSEQ;
		i += len;
		if (cp >= 0xff01 && cp <= 0xff5e)
			cp -= 0xfee0;
		if (cp >= 'A' && cp <= 'Z')
			cp += 'a' - 'A';
		if (cp == ' ' || cp == '\t' || cp == '\n' || cp == '\r' || cp == 0x3000 || cp == ',' || cp == 0x3001)
			continue;
		char bytes[4];
		int rc = hs_buf_append(out, bytes, hs_utf8_encode(cp, bytes));
		if (rc < 0)
			return rc;
	}
	return 0;
}

bool hs_answers_hold(const char *text, const json_t *answers)
{
	HS_BUF_AUTO hay = HS_BUF_INIT;
	if (plain(text, &hay) < 0 || !hs_buf_cstr(&hay))
		return false;
	size_t i;
	json_t *answer;
	json_array_foreach(answers, i, answer)
	{
		HS_BUF_AUTO needle = HS_BUF_INIT;
		const char *gold = json_string_value(answer);
		if (gold && plain(gold, &needle) == 0 && needle.len > 0 && memmem(hay.data, hay.len, needle.data, needle.len))
			return true;
	}
	return false;
}

static bool any_quote_holds(const json_t *cited, const json_t *answers)
{
	size_t i;
	json_t *one;
	json_array_foreach(cited, i, one)
	{
		const char *quote = json_string_value(json_object_get(one, "quote"));
		if (quote && hs_answers_hold(quote, answers))
			return true;
	}
	return false;
}

static bool names_gold(const json_t *evidence, const json_t *names, const json_t *gold)
{
	size_t i;
	json_t *one;
	json_array_foreach(evidence, i, one)
	{
		const char *document = json_string_value(json_object_get(one, "document"));
		const char *name = document ? json_string_value(json_object_get(names, document)) : NULL;
		if (name && json_object_get(gold, name))
			return true;
	}
	return false;
}

static void count(const json_t *reply, const json_t *answers, const json_t *names, const json_t *gold, bool held,
		  struct hs_answers_figures *f)
{
	const json_t *more = json_object_get(reply, "hisho");
	const char *outcome = json_string_value(json_object_get(more, "outcome"));
	const json_t *message = json_object_get(json_array_get(json_object_get(reply, "choices"), 0), "message");
	const char *text = json_string_value(json_object_get(message, "content"));
	bool silent = !outcome || strcmp(outcome, "not_found") == 0;
	if (held) {
		f->held++;
		f->silent += silent;
		return;
	}
	f->asked++;
	f->evident += any_quote_holds(json_object_get(more, "evidence"), answers);
	f->answered += !silent;
	bool found = names_gold(json_object_get(more, "evidence"), names, gold);
	bool contained = !silent && text && hs_answers_hold(text, answers);
	f->found += found;
	f->contained += contained;
	f->contained_found += contained && found;
	f->cited += !silent && any_quote_holds(json_object_get(more, "citations"), answers);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

int hs_answers_measure(const struct hs_beir *set, const json_t *names, size_t n, hs_answers_ask_fn ask, void *ctx,
		       struct hs_answers_figures *ret, struct hs_err *err)
{
	size_t total = json_array_size(set->queries), n_ms = 0;
	n = HS_MIN(n, total);
	double *ms = calloc(n + 1, sizeof *ms);
	if (!ms)
		return -ENOMEM;
	*ret = (struct hs_answers_figures){0};
	struct hs_progress progress;
	hs_progress_begin(&progress, n);
	int rc = 0;
	for (size_t k = 0; k < n && rc == 0; k++) {
		/* Evenly spread, and one in four of those held back. */
		size_t i = k * total / n / HS_ANSWERS_HELD_EVERY * HS_ANSWERS_HELD_EVERY + k % HS_ANSWERS_HELD_EVERY;
		const json_t *query = json_array_get(set->queries, HS_MIN(i, total - 1));
		const json_t *answers = json_object_get(query, "answers");
		bool held = hs_answers_held(HS_MIN(i, total - 1));
		if (json_array_size(answers) == 0)
			continue;
		json_t *reply = NULL;
		uint64_t began = hs_monotonic_us();
		rc = ask(ctx, held, json_string_value(json_object_get(query, "text")), &reply, err);
		if (rc == 0) {
			ms[n_ms++] = (double)(hs_monotonic_us() - began) / 1000;
			count(reply, answers, names, json_object_get(set->gold, json_string_value(json_object_get(query, "_id"))), held,
			      ret);
		}
		json_decref(reply);
		hs_progress_show(&progress, k + 1, _("answered"));
	}
	hs_progress_end(&progress);
	qsort(ms, n_ms, sizeof *ms, by_value);
	ret->median_ms = n_ms ? ms[n_ms / 2] : 0;
	free(ms);
	return rc;
}
