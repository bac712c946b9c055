#include "base/clock.h"

#include <string.h>

#include "tests/unit/test.h"

static void check_parse(const char *text, bool ok, int64_t expected)
{
	int64_t ms = -1;
	assert_int_equal(hs_time_parse(text, strlen(text), &ms), ok);
	assert_int_equal(ms, ok ? expected : -1);
}

static void test_parse(void **state)
{
	check_parse("1970-01-01", true, 0);
	check_parse("2026-04-01T00:00:00Z", true, 1775001600000);
	check_parse("2026-04-01T09:00:00+09:00", true, 1775001600000);
	check_parse("2026-04-01T00:00:00.25Z", true, 1775001600250);
	check_parse("2026-02-31", false, 0);
	check_parse("2026-13-01", false, 0);
	check_parse("2026-04-01T24:00:00Z", false, 0);
	check_parse("2026-04-01T00:00:00", false, 0);
	check_parse("", false, 0);
	check_parse("2026-04-01 ", false, 0);
}

static void test_format_is_the_inverse_of_parse(void **state)
{
	const int64_t times[] = {0, 1, 999, 1775001600250, -1, 253402300799999};
	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
		char text[HS_TIME_TEXT_LEN + 1];
		hs_time_format(times[i], text);
		check_parse(text, true, times[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_format_is_the_inverse_of_parse),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
