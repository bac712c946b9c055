#include "daemon/tenant/answerable.h"

#include <math.h>

/*
 * hisho-answers find jaquad-dev E5_SMALL 364, find niilc E5_SMALL 150; write QWEN_1.5B 300 for 40 of the first; judge; then
 * bench/fit_answerable.py jaquad-dev.sig niilc.sig demo.sig: half of the questions of the first two fit, the rest test.
 * By words alone, without words and lead: docs/answers.md says why.
 */
static const struct weights {
	float coverage, evidence, words, lead, dense, constant;
	float least; /* one in twenty answerable questions lies below */
} by_words = {2.244f, 4.086f, 0, 0, 0, -2.846f, -1.06f},
  by_both = {0.424f, 2.661f, 1.140f, 2.235f, 19.624f, -19.274f, -0.99f};

static const struct {
	float before, held, overlap, constant;
	float least;
} after = {1.229f, 2.544f, 0.800f, -1.147f, -0.70f};

#define QUOTE_LEAST (-0.3f) /* odds of 3 to 4 */
#define SURE_LEAST 0.8f     /* odds of 9 to 4: one in ten unanswerable questions lies above */

static const struct weights *weights_for(const struct hs_results *results)
{
	return results->signals.dense_best > 0 ? &by_both : &by_words;
}

float hs_answerable_odds(const struct hs_results *results, const struct hs_evidence *evidence)
{
	const struct hs_search_signals *s = &results->signals;
	const struct weights *w = weights_for(results);
	if (evidence->count == 0)
		return -INFINITY;
	return w->coverage * s->coverage + w->evidence * evidence->coverage + w->words * evidence->words +
	       w->lead * evidence->lead + w->dense * s->dense_best + w->constant;
}

bool hs_answerable(const struct hs_results *results, const struct hs_evidence *evidence)
{
	return hs_answerable_odds(results, evidence) >= weights_for(results)->least;
}

bool hs_answerable_by_quotes(const struct hs_results *results, const struct hs_evidence *evidence)
{
	return hs_answerable_odds(results, evidence) >= QUOTE_LEAST;
}

bool hs_answerable_surely(float odds)
{
	return odds >= SURE_LEAST;
}

bool hs_answers_question(float odds, float held, float overlap)
{
	return after.before * odds + after.held * held + after.overlap * overlap + after.constant >= after.least;
}
