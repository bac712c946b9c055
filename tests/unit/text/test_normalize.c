#include "text/normalize.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "tests/unit/test.h"

static struct hs_norm norm;

static const char *with(unsigned rules, const char *s)
{
	assert_int_equal(hs_normalize_into(s, strlen(s), rules, &norm), 0);
	return norm.text;
}

static const char *all(const char *s)
{
	return with(HS_NORM_RULES_ALL, s);
}

static int finish(void **state)
{
	hs_norm_finish(&norm);
	return 0;
}

static void test_width_and_case(void **state)
{
	assert_string_equal(with(0, "ＡＢＣ１２３"), "abc123");
	assert_string_equal(with(0, "Hello World"), "hello world");
	assert_string_equal(with(0, "ｶﾞｷﾞｸﾞﾊﾟｰ"), "ガギグパー");
	assert_string_equal(with(0, "①㈱㌔"), "1(株)キロ");
	assert_string_equal(with(0, "か\u3099"), "が");
	assert_string_equal(with(0, "Straße"), "strasse");
	assert_string_equal(with(0, "全角　空白"), "全角 空白");
	assert_string_equal(with(0, ""), "");
}

static void test_invisible_characters_go(void **state)
{
	assert_string_equal(with(0, "東\u200b京\ufeff都"), "東京都");
	assert_string_equal(with(0, "葛\U000e0100城"), "葛城");
	assert_string_equal(with(0, "co\u00adoperate"), "cooperate");
}

static void test_dashes_and_waves(void **state)
{
	assert_string_equal(with(HS_NORM_DASHES, "1–2—3―4−5‐6－7"), "1-2-3-4-5-6-7");
	assert_string_equal(with(HS_NORM_DASHES, "9時〜10時～"), "9時~10時~");
	assert_string_equal(with(0, "1–2"), "1–2");
}

static void test_long_vowel(void **state)
{
	assert_string_equal(with(HS_NORM_LONG_VOWEL, "サーーーバー"), "サーバー");
	assert_string_equal(with(HS_NORM_LONG_VOWEL, "ｻｰｰﾊﾞｰ"), "サーバー");
	assert_string_equal(with(0, "ーー"), "ーー");
}

static void test_thousands(void **state)
{
	const unsigned rule = HS_NORM_THOUSANDS;
	assert_string_equal(with(rule, "1,234,567円"), "1234567円");
	assert_string_equal(with(rule, "１，２３４"), "1234");
	assert_string_equal(with(rule, "12,34"), "12,34");
	assert_string_equal(with(rule, "1,2345"), "1,2345");
	assert_string_equal(with(rule, "1234,567"), "1234,567");
	assert_string_equal(with(rule, "1,234, 5,678."), "1234, 5678.");
	assert_string_equal(with(rule, "1,234,"), "1234,");
	assert_string_equal(with(rule, "3.141,592"), "3.141,592");
	assert_string_equal(with(rule, ",123"), ",123");
	assert_string_equal(with(rule, "1,"), "1,");
	assert_string_equal(with(0, "1,234"), "1,234");
}

static void test_numerals(void **state)
{
	const unsigned rule = HS_NORM_NUMERALS;
	assert_string_equal(with(rule, "二千二十四年四月一日"), "2024年4月1日");
	assert_string_equal(with(rule, "第二十四条第三項"), "第24条第3項");
	assert_string_equal(with(rule, "十万五千円"), "10万5000円");
	assert_string_equal(with(rule, "一人で十分に"), "一人で十分に");
	assert_string_equal(with(rule, "九一二三四五六七八九一二三四五六七年"), "九一二三四五六七八九一二三四五六七年");
	assert_string_equal(with(0, "第二十四条"), "第二十四条");
}

static void test_variants(void **state)
{
	assert_string_equal(with(HS_NORM_VARIANTS, "國學院の髙橋さん"), "国学院の高橋さん");
	assert_string_equal(with(0, "國"), "國");
}

static void test_map_points_home(void **state)
{
	const char *src = "ＡＢ㈱か\u3099二十四条";
	(void)all(src);
	assert_string_equal(norm.text, "ab(株)が24条");
	const uint32_t want[] = {0, 3, 6, 6, 6, 6, 6, 9, 9, 9, 15, 15, 24, 24, 24, 27};
	assert_int_equal(norm.len + 1, sizeof want / sizeof want[0]);
	assert_memory_equal(norm.map, want, sizeof want);
	uint32_t from, to;
	hs_norm_source(&norm, 3, 6, &from, &to); /* 株 */
	assert_int_equal(from, 6);
	assert_int_equal(to, 9);
	hs_norm_source(&norm, 10, 11, &from, &to);
	assert_int_equal(from, 15);
	assert_int_equal(to, 24);
}

/* Pieces that meet the rules in every order: what comes out must be valid, mapped home, and nearly a fixed point. */
static void test_properties(void **state)
{
	static const char *const pieces[] = {"第", "二", "十", "千", "〇", "年", "条", "1", "23", ",", "456", "，", "ー", "サ", "バ", "ｶ", "ﾞ",
					     "\u3099", "\u200b", "Ａ", "b", "—", "〜", "國", "㍿", "。", " ", "\n", "é", "e\u0301", "\U0001f600",
					     "ß", "İ", "\u0323", "万", "円", "○"};
	uint64_t seed = 88172645463325252ull;
	for (int round = 0; round < 3000; round++) {
		char src[256];
		size_t n = 0;
		for (int k = 0; k < 12; k++) {
			seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
			const char *piece = pieces[seed % (sizeof pieces / sizeof pieces[0])];
			memcpy(src + n, piece, strlen(piece));
			n += strlen(piece);
		}
		assert_int_equal(hs_normalize_into(src, n, HS_NORM_RULES_ALL, &norm), 0);
		assert_true(hs_utf8_valid(norm.text, norm.len, NULL));
		assert_int_equal(norm.map[norm.len], n);
		for (size_t i = 0; i < norm.len; i++) {
			assert_true(norm.map[i] <= norm.map[i + 1]);
			assert_true(norm.map[i] < n && ((unsigned char)src[norm.map[i]] & 0xc0) != 0x80);
			uint32_t from, to;
			hs_norm_source(&norm, i, i + 1, &from, &to);
			assert_true(from < to && to <= n);
		}
		/* Fold alone is a fixed point. */
		struct hs_norm once = {0}, twice = {0};
		assert_int_equal(hs_normalize_into(src, n, 0, &once), 0);
		assert_int_equal(hs_normalize_into(once.text, once.len, 0, &twice), 0);
		assert_string_equal(once.text, twice.text);
		hs_norm_finish(&once);
		hs_norm_finish(&twice);
	}
}

static void test_bad_input(void **state)
{
	struct hs_norm untouched = {0};
	assert_int_equal(hs_normalize("\xe3\x81", 2, &untouched), -EILSEQ);
	assert_int_equal(hs_normalize("a\xff", 2, &untouched), -EILSEQ);
	assert_int_equal(hs_normalize("か\xe3", 4, &untouched), -EILSEQ);
	assert_null(untouched.text);
	assert_int_equal(hs_normalize("", (size_t)HS_NORM_INPUT_MAX + 1, &untouched), -EMSGSIZE);
	assert_null(untouched.text);
}

/* A million marks on one letter: linear time, valid result. */
static void test_endless_marks(void **state)
{
	const size_t marks = 1000000;
	char *src = malloc(1 + marks * 2);
	assert_non_null(src);
	src[0] = 'e';
	for (size_t i = 0; i < marks; i++)
		memcpy(src + 1 + 2 * i, i % 2 ? "\u0301" : "\u0323", 2);
	assert_int_equal(hs_normalize_into(src, 1 + marks * 2, HS_NORM_RULES_ALL, &norm), 0);
	assert_true(hs_utf8_valid(norm.text, norm.len, NULL));
	free(src);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_width_and_case),
		cmocka_unit_test(test_invisible_characters_go),
		cmocka_unit_test(test_dashes_and_waves),
		cmocka_unit_test(test_long_vowel),
		cmocka_unit_test(test_thousands),
		cmocka_unit_test(test_numerals),
		cmocka_unit_test(test_variants),
		cmocka_unit_test(test_map_points_home),
		cmocka_unit_test(test_properties),
		cmocka_unit_test(test_bad_input),
		cmocka_unit_test(test_endless_marks),
	};
	return cmocka_run_group_tests(tests, NULL, finish);
}
