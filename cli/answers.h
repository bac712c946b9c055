/*
 * Measuring answers over a BEIR set whose queries carry gold answers: is a gold answer contained, does the cited span hold
 * one, and does Hisho stay silent where the gold passage is out of the asking person's reach?
 *
 * Every fourth query (by its place in the set) is asked as a person who may not read the documents held back: those that
 * are gold for such a query. Text is compared as NFKC would: widths, commas and spaces aside.
 */
#ifndef HISHO_CLI_ANSWERS_H
#define HISHO_CLI_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/err.h"
#include "cli/beir.h"

#define HS_ANSWERS_HELD_EVERY 4

/* Is the i-th query one whose gold passages are held back? */
bool hs_answers_held(size_t query);

/* The documents held back: a JSON object whose keys are their ids. NULL out of memory. */
json_t *hs_answers_held_documents(const struct hs_beir *set) HS_MUST_CHECK;

struct hs_answers_figures {
	size_t asked, answered, contained; /* queries whose gold passage may be read */
	size_t found, contained_found;     /* of them: the evidence names a gold document; and a gold answer is contained, too */
	size_t evident;                    /* of them: the evidence holds a gold answer */
	size_t cited;                      /* answered, and a cited span holds a gold answer */
	size_t held, silent;               /* queries whose gold passage is held back; those told that nothing is there */
	double median_ms;
};

/* Ask a question as the full person or the one without; *ret is the reply of /v1/chat/completions. */
typedef int (*hs_answers_ask_fn)(void *ctx, bool held, const char *question, json_t **ret, struct hs_err *err);

/* n queries with answers, evenly spread over the set. names: the set's id of each document that was filed. */
int hs_answers_measure(const struct hs_beir *set, const json_t *names, size_t n, hs_answers_ask_fn ask, void *ctx,
		       struct hs_answers_figures *ret, struct hs_err *err) HS_MUST_CHECK;

/* Does text hold one of the answers (an array of strings)? */
bool hs_answers_hold(const char *text, const json_t *answers);

#endif
