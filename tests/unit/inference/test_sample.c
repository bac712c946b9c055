#include "inference/engine.h"

#include <math.h>

#include "tests/unit/test.h"

static void test_greedy_takes_the_first_of_the_greatest(void **state)
{
	static const float v[] = {1, 3, 3, -2}, nan_first[] = {NAN, -5, NAN, -4}, all_nan[] = {NAN, NAN};
	struct hs_sampler s = {0};
	assert_int_equal(hs_sample(&s, v, 4, NULL), 1);
	assert_int_equal(hs_sample(&s, nan_first, 4, NULL), 3);
	assert_int_equal(hs_sample(&s, all_nan, 2, NULL), 1);
	s.temperature = NAN;
	assert_int_equal(hs_sample(&s, v, 4, NULL), 1);
}

static void test_seed_alone_decides(void **state)
{
	float v[5000];
	for (size_t i = 0; i < 5000; i++)
		v[i] = sinf((float)i * 12.9898f) * 3;
	struct hs_sampler a = {.temperature = 1, .top_p = 0.9f, .top_k = 40, .rng = 7}, b = a, c = a;
	unsigned differ = 0;
	c.rng = 8;
	for (int i = 0; i < 200; i++) {
		hs_tok_id one = hs_sample(&a, v, 5000, NULL);
		assert_int_equal(one, hs_sample(&b, v, 5000, NULL));
		differ += one != hs_sample(&c, v, 5000, NULL);
	}
	assert_true(differ > 100);
}

/* How often each of n comes in many draws. */
static void draw_many(struct hs_sampler s, const float *v, uint32_t n, unsigned draws, unsigned *counts)
{
	for (uint32_t i = 0; i < n; i++)
		counts[i] = 0;
	for (unsigned i = 0; i < draws; i++)
		counts[hs_sample(&s, v, n, NULL)]++;
}

static void test_frequencies_follow_the_weights(void **state)
{
	const float v[] = {logf(1), logf(4), logf(3), logf(2)}; /* of 10 */
	unsigned counts[4];
	draw_many((struct hs_sampler){.temperature = 1, .rng = 1}, v, 4, 20000, counts);
	for (int i = 0; i < 4; i++)
		assert_in_range(counts[i], (unsigned)(2000 * expf(v[i])) - 300, (unsigned)(2000 * expf(v[i])) + 300);
	draw_many((struct hs_sampler){.temperature = 1, .rng = 1, .top_k = 2}, v, 4, 7000, counts);
	assert_int_equal(counts[0] + counts[3], 0);
	assert_in_range(counts[1], 3700, 4300);
	draw_many((struct hs_sampler){.temperature = 1, .rng = 1, .top_p = 0.65f}, v, 4, 7000, counts); /* 4 + 3 reach 6.5 */
	assert_int_equal(counts[0] + counts[3], 0);
	draw_many((struct hs_sampler){.temperature = 1, .rng = 1, .top_p = 0.01f}, v, 4, 100, counts);
	assert_int_equal(counts[1], 100);
	draw_many((struct hs_sampler){.temperature = 0.01f, .rng = 1}, v, 4, 100, counts);
	assert_int_equal(counts[1], 100);
}

static void test_odd_logits_are_survived(void **state)
{
	static const float infinite[] = {1, INFINITY, 2}, hidden[] = {-INFINITY, NAN, 1}, all_nan[] = {NAN, NAN};
	struct hs_sampler s = {.temperature = 1, .rng = 3};
	for (int i = 0; i < 50; i++) {
		assert_int_equal(hs_sample(&s, infinite, 3, NULL), 1);
		assert_int_equal(hs_sample(&s, hidden, 3, NULL), 2);
		assert_in_range(hs_sample(&s, all_nan, 2, NULL), 0, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_greedy_takes_the_first_of_the_greatest),
	    cmocka_unit_test(test_seed_alone_decides),
	    cmocka_unit_test(test_frequencies_follow_the_weights),
	    cmocka_unit_test(test_odd_logits_are_survived),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
