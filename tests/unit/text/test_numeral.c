#include "text/numeral.h"

#include <string.h>

#include "tests/unit/test.h"

/* The numeral at the start of s, behind `before`, in digits; "" where it stays. */
static const char *parsed(uint32_t before, const char *s)
{
	static char digits[HS_NUMERAL_DIGITS_MAX + 1];
	digits[0] = '\0';
	if (hs_numeral_parse(s, strlen(s), before, digits) == 0)
		digits[0] = '\0';
	return digits;
}

static void test_numbers(void **state)
{
	assert_string_equal(parsed(0, "二千二十四年"), "2024");
	assert_string_equal(parsed(0, "二〇二四年度"), "2024");
	assert_string_equal(parsed(0, "二○二四年"), "2024");
	assert_string_equal(parsed(0, "一九四五年"), "1945");
	assert_string_equal(parsed(0, "千九百円"), "1900");
	assert_string_equal(parsed(0, "五十人"), "50");
	assert_string_equal(parsed(0, "三十万円"), "30");
	assert_string_equal(parsed(0, "百万円"), "100");
	assert_string_equal(parsed(0, "三年間"), "3");
	assert_string_equal(parsed(0, "十月"), "10");
	assert_string_equal(parsed(0, "八月十五日"), "8");
	assert_string_equal(parsed(0, "三か月"), "");
	assert_string_equal(parsed(0, "十二か月"), "12");
	assert_string_equal(parsed(0, "二十世紀"), "20");
}

static void test_ordinals(void **state)
{
	const uint32_t dai = 0x7b2c;
	assert_string_equal(parsed(dai, "二十四条"), "24");
	assert_string_equal(parsed(dai, "一条の二"), "1");
	assert_string_equal(parsed(dai, "二四条"), "24");
	assert_string_equal(parsed(dai, "三回"), "3");
	assert_string_equal(parsed(dai, "一人者"), "");
	assert_string_equal(parsed(dai, "三者"), "");
}

static void test_words_stay(void **state)
{
	static const char *const words[] = {"一人", "十分", "三日月", "四条河原町", "三条市", "二条城", "一時的", "百人一首", "千年",
					    "一つ", "五十嵐", "三十三間堂", "一石二鳥", "二三人", "八十二銀行", "四日市", "〇", "一二三", "十百円"};
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		assert_string_equal(parsed(0, words[i]), "");
	assert_string_equal(parsed(0x6570, "十人"), ""); /* 数十人 */
	assert_string_equal(parsed('3', "十人"), "");
	assert_string_equal(parsed(0, "十5円"), "");
	assert_string_equal(parsed(0, ""), "");
}

static void test_runs(void **state)
{
	assert_int_equal(hs_numeral_run("一二三四", 12), 12);
	assert_int_equal(hs_numeral_run("年", 3), 0);
	char many[3 * 40 + 4] = "";
	for (int i = 0; i < 40; i++)
		memcpy(many + 3 * i, "一", 3);
	memcpy(many + 120, "年", 4);
	assert_string_equal(parsed(0, many), "");
	assert_int_equal(hs_numeral_run(many, strlen(many)), 120);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_ordinals),
		cmocka_unit_test(test_words_stay),
		cmocka_unit_test(test_runs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
