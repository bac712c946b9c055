#include "base/utf8.h"

#include <string.h>

#include "tests/unit/test.h"

static void test_every_code_point_survives(void **state)
{
	for (uint32_t cp = 0; cp <= 0x10ffff; cp++) {
		char bytes[4];
		size_t n = hs_utf8_encode(cp, bytes);
		if (cp >= 0xd800 && cp <= 0xdfff) {
			assert_int_equal(n, 0);
			continue;
		}
		uint32_t back;
		assert_int_equal(hs_utf8_decode(bytes, n, &back), n);
		assert_int_equal(back, cp);
		for (size_t cut = 0; cut < n; cut++)
			assert_int_equal(hs_utf8_decode(bytes, cut, &back), 0);
	}
}

static void test_malformed_bytes_are_found(void **state)
{
	const char *bad[] = {"a\x80", "a\xc0\x80", "a\xc1\xbf", "a\xe0\x80\x80", "a\xed\xa0\x80", "a\xf0\x80\x80\x80",
			     "a\xf4\x90\x80\x80", "a\xf5\x80\x80\x80", "a\xe3\x81", "a\xff"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		size_t at = 99;
		assert_false(hs_utf8_valid(bad[i], strlen(bad[i]), &at));
		assert_int_equal(at, 1);
	}
	assert_true(hs_utf8_valid("秘書𠮷", strlen("秘書𠮷"), NULL));
}

static void test_cut_and_count(void **state)
{
	const char *s = "あい𠮷";
	assert_int_equal(hs_utf8_cut(s, 10), 10);
	assert_int_equal(hs_utf8_cut(s, 9), 6);
	assert_int_equal(hs_utf8_cut(s, 4), 3);
	assert_int_equal(hs_utf8_cut(s, 0), 0);
	assert_int_equal(hs_utf8_count(s, strlen(s)), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_code_point_survives),
		cmocka_unit_test(test_malformed_bytes_are_found),
		cmocka_unit_test(test_cut_and_count),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
