#include "daemon/tenant/retrieve.h"

#include <string.h>

#include "tests/unit/test.h"

static struct hs_hit hit(uint32_t chunk, const char *text)
{
	return (struct hs_hit){.chunk = chunk, .text = text, .text_len = strlen(text)};
}

/* Best first; of equal scores the one that search had put before stays before; what was not scored stays behind. */
static void test_order_follows_scores(void **state)
{
	struct hs_hit hits[6];
	const float scores[] = {-1, 2, 2, 7.5f, -3};
	const uint32_t want[] = {3, 1, 2, 0, 4, 5};
	for (uint32_t i = 0; i < 6; i++)
		hits[i] = hit(i, "x");
	hs_rerank_order(hits, scores, 5);
	for (uint32_t i = 0; i < 6; i++)
		assert_int_equal(hits[i].chunk, want[i]);
	hs_rerank_order(hits, scores, 0);
	assert_int_equal(hits[0].chunk, 3);
}

/* Scores that rise and fall by chance: the order is theirs, and nobody is lost. */
static void test_order_of_many(void **state)
{
	struct hs_hit hits[HS_RERANK_PASSAGES_MAX];
	float scores[HS_RERANK_PASSAGES_MAX];
	uint32_t seen = 0, x = 7;
	for (uint32_t i = 0; i < HS_RERANK_PASSAGES_MAX; i++) {
		x = x * 1664525 + 1013904223;
		scores[i] = (float)(x >> 28);
		hits[i] = hit(i, "x");
	}
	hs_rerank_order(hits, scores, HS_RERANK_PASSAGES_MAX);
	for (uint32_t i = 0; i < HS_RERANK_PASSAGES_MAX; i++) {
		seen |= 1u << hits[i].chunk;
		if (i == 0)
			continue;
		float before = scores[hits[i - 1].chunk], here = scores[hits[i].chunk];
		assert_true(before > here || (before == here && hits[i - 1].chunk < hits[i].chunk));
	}
	assert_int_equal(seen, (1u << HS_RERANK_PASSAGES_MAX) - 1);
}

/* As many as the measured rate reads in the time, each with the question; none where the rate is not known. */
static void test_time_bounds_passages(void **state)
{
	struct hs_hit hits[40];
	for (uint32_t i = 0; i < 40; i++)
		hits[i] = hit(i, "出張旅費は精算する。");    /* 10 characters */
	const float a_passage = 15 * 1000.0f / HS_RERANK_MS; /* tokens a second for one, with a question of 5 */
	assert_int_equal(hs_rerank_affordable(hits, 40, 5, 0), 0);
	assert_int_equal(hs_rerank_affordable(hits, 40, 5, a_passage * 0.9f), 0);
	assert_int_equal(hs_rerank_affordable(hits, 40, 5, a_passage * 3.5f), 3);
	assert_int_equal(hs_rerank_affordable(hits, 2, 5, a_passage * 3.5f), 2);
	assert_int_equal(hs_rerank_affordable(hits, 40, 5, 1e9f), HS_RERANK_PASSAGES_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_order_follows_scores),
	    cmocka_unit_test(test_order_of_many),
	    cmocka_unit_test(test_time_bounds_passages),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
