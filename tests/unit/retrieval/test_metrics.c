#include "retrieval/metrics.h"

#include <math.h>

#include "tests/unit/test.h"

static void near(double got, double want)
{
	if (fabs(got - want) > 1e-9)
		fail_msg("%.12f is not %.12f", got, want);
}

static void test_one_gold_document(void **state)
{
	struct hs_metrics m = {0};
	struct hs_metrics_mean mean;

	hs_metrics_add(&m, (const char *const[]){"a"}, 1, (const char *const[]){"x", "a", "y"}, 3);
	mean = hs_metrics_mean(&m);
	near(mean.recall[0], 0);
	near(mean.recall[1], 100);
	near(mean.recall[3], 100);
	near(mean.mrr, 50);
	near(mean.ndcg, 100 / log2(3));
	near(mean.spread, 0);
}

static void test_several_gold_and_two_queries(void **state)
{
	struct hs_metrics m = {0};
	struct hs_metrics_mean mean;
	double ndcg = (1 + 1 / log2(4)) / (1 + 1 / log2(3));

	hs_metrics_add(&m, (const char *const[]){"a", "b"}, 2, (const char *const[]){"a", "x", "b"}, 3);
	hs_metrics_add(&m, (const char *const[]){"q"}, 1, NULL, 0);
	mean = hs_metrics_mean(&m);
	near(mean.recall[0], 25);
	near(mean.recall[1], 50);
	near(mean.mrr, 50);
	near(mean.ndcg, 50 * ndcg);
	near(mean.spread, 196 * (ndcg / 2) / sqrt(2));
}

static void test_places_beyond_ten_do_not_gain(void **state)
{
	struct hs_metrics m = {0};
	const char *ranked[11] = {"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "a"};
	struct hs_metrics_mean mean;

	hs_metrics_add(&m, (const char *const[]){"a"}, 1, ranked, 11);
	mean = hs_metrics_mean(&m);
	near(mean.ndcg, 0);
	near(mean.mrr, 0);
	near(mean.recall[2], 0);
	near(mean.recall[3], 100);
}

static void test_a_query_without_gold_is_not_counted(void **state)
{
	struct hs_metrics m = {0};

	hs_metrics_add(&m, NULL, 0, (const char *const[]){"a"}, 1);
	assert_int_equal(m.queries, 0);
	near(hs_metrics_mean(&m).ndcg, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_gold_document),
		cmocka_unit_test(test_several_gold_and_two_queries),
		cmocka_unit_test(test_places_beyond_ten_do_not_gain),
		cmocka_unit_test(test_a_query_without_gold_is_not_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
