#include "daemon/tenant/answerable.h"

#include <math.h>

#include "tests/unit/test.h"

static bool worth(float coverage, float dense, float evidence)
{
	struct hs_evidence e = {.count = 1, .coverage = evidence, .words = evidence};
	struct hs_results r = {.signals = {.coverage = coverage, .dense_best = dense}};
	return hs_answerable(&r, &e);
}

static void test_what_holds_little_of_the_question_is_not_asked(void **state)
{
	assert_true(worth(0.9f, 0.91f, 0.6f));
	assert_false(worth(0.1f, 0.83f, 0.1f));
	assert_true(worth(0.9f, 0, 0.6f)); /* by words alone */
	assert_false(worth(0.1f, 0, 0.1f));
	assert_true(worth(0.2f, 0.95f, 0.3f)); /* meaning makes up for words */
}

static void test_what_sets_the_first_passage_apart_speaks_for_it(void **state)
{
	struct hs_results r = {.signals = {.coverage = 0.7f, .dense_best = 0.88f}};
	struct hs_evidence like_others = {.count = 1, .coverage = 0.6f, .words = 0.6f}, apart = like_others, spelt = like_others;
	apart.lead = 0.3f;
	spelt.words = 1;
	assert_true(hs_answerable_odds(&r, &apart) > hs_answerable_odds(&r, &like_others));
	assert_true(hs_answerable_odds(&r, &spelt) > hs_answerable_odds(&r, &like_others));
	assert_true(hs_answerable_surely(1));
	assert_false(hs_answerable_surely(0));
	assert_false(hs_answerable_surely(NAN));
}

static void test_nothing_found_is_not_answerable(void **state)
{
	struct hs_evidence none = {0};
	struct hs_results r = {.signals = {.coverage = 1, .dense_best = 1}};
	assert_false(hs_answerable(&r, &none));
	assert_false(hs_answerable_by_quotes(&r, &none));
	assert_false(hs_answers_question(hs_answerable_odds(&r, &none), 1, 1));
}

static void test_quotes_need_more_than_a_model_does(void **state)
{
	bool model_only = false;
	for (int i = 0; i <= 100; i++) {
		struct hs_evidence e = {.count = 1, .coverage = (float)i / 100};
		struct hs_results r = {.signals = {.coverage = (float)i / 100}};
		assert_true(hs_answerable(&r, &e) || !hs_answerable_by_quotes(&r, &e));
		model_only |= hs_answerable(&r, &e) && !hs_answerable_by_quotes(&r, &e);
	}
	assert_true(model_only);
}

static void test_a_sentence_must_be_near_what_was_asked(void **state)
{
	assert_true(hs_answers_question(0, 0.5f, 1));
	assert_false(hs_answers_question(-1, 0, 0.62f));
	assert_true(hs_answers_question(3, 0, 1)); /* all that was found speaks for it */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_holds_little_of_the_question_is_not_asked),
	    cmocka_unit_test(test_what_sets_the_first_passage_apart_speaks_for_it),
	    cmocka_unit_test(test_nothing_found_is_not_answerable),
	    cmocka_unit_test(test_quotes_need_more_than_a_model_does),
	    cmocka_unit_test(test_a_sentence_must_be_near_what_was_asked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
