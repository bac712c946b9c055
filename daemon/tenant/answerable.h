/*
 * Is the answer there? Small logistic models over signals of the search and of the sentence check, as log-odds. Pure; their
 * weights, and what they are worth on other sets, are made by bench/fit_answerable.py (docs/answers.md).
 */
#ifndef HISHO_DAEMON_TENANT_ANSWERABLE_H
#define HISHO_DAEMON_TENANT_ANSWERABLE_H

#include <stdbool.h>

#include "retrieval/evidence.h"

/* Before anything is written: log-odds from what was found. -INFINITY without evidence. */
float hs_answerable_odds(const struct hs_results *results, const struct hs_evidence *evidence);

/* Worth asking the model, whose sentences are looked at again? */
bool hs_answerable(const struct hs_results *results, const struct hs_evidence *evidence);

/* Without a model: may the documents' own sentences stand as the answer? Nothing looks at them again. */
bool hs_answerable_by_quotes(const struct hs_results *results, const struct hs_evidence *evidence);

/* Is it there so surely that the documents' own sentence answers where the model's could not be shown? odds: those before. */
bool hs_answerable_surely(float odds);

/*
 * After a sentence was written and found supported: does it answer the question? odds: those before. held: the share of the
 * question's idf in the cited sentences and what stands above them. overlap: the share of the sentence's words found there.
 */
bool hs_answers_question(float odds, float held, float overlap);

#endif
