#include "daemon/tenant/denials.h"

#include "tests/unit/test.h"

static void test_a_flood_is_counted_and_not_written(void **state)
{
	struct hs_denials d = {0};
	uint64_t skipped = 99;
	for (int i = 0; i < HS_DENIALS_BURST; i++) {
		assert_true(hs_denials_take(&d, 1000, &skipped));
		assert_int_equal(skipped, 0);
	}
	for (int i = 0; i < 500; i++)
		assert_false(hs_denials_take(&d, 1000 + HS_DENIALS_MS - 1, &skipped));
	assert_true(hs_denials_take(&d, 1000 + HS_DENIALS_MS, &skipped));
	assert_int_equal(skipped, 500);
	assert_false(hs_denials_take(&d, 1000 + HS_DENIALS_MS, &skipped));
}

static void test_a_day_has_a_limit(void **state)
{
	struct hs_denials d = {0};
	uint64_t skipped;
	int written = 0;
	for (int64_t now = 0; now < 24 * 3600 * 1000LL; now += 500)
		written += hs_denials_take(&d, now, &skipped);
	assert_in_range(written, 8640, 8640 + HS_DENIALS_BURST);
}

static void test_a_clock_set_back_stops_nothing(void **state)
{
	struct hs_denials d = {0};
	uint64_t skipped;
	for (int i = 0; i < 2 * HS_DENIALS_BURST; i++)
		(void)hs_denials_take(&d, 1000 * 1000 * 1000, &skipped);
	assert_false(hs_denials_take(&d, 0, &skipped));
	assert_true(hs_denials_take(&d, HS_DENIALS_MS, &skipped));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_flood_is_counted_and_not_written),
		cmocka_unit_test(test_a_day_has_a_limit),
		cmocka_unit_test(test_a_clock_set_back_stops_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
