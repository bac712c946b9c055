#include "inference/tok/split.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "tests/unit/test.h"

/* The words of text, joined by bars. */
static void check(const char *rule_name, const char *text, const char *expected)
{
	const struct hs_split_rule *rule = hs_split_find(rule_name, strlen(rule_name));
	HS_BUF_AUTO b = HS_BUF_INIT;
	assert_non_null(rule);
	size_t n = strlen(text);
	struct hs_split walk;
	hs_split_begin(&walk, rule, text, n);
	for (size_t at = 0, len; at < n; at += len) {
		len = hs_split_next(&walk);
		assert_in_range(len, 1, n - at);
		if (at)
			assert_int_equal(hs_buf_append_byte(&b, '|'), 0);
		assert_int_equal(hs_buf_append(&b, text + at, len), 0);
	}
	assert_string_equal(hs_buf_cstr(&b), expected);
}

static void test_qwen2(void **state)
{
	check("qwen2", "Hello world", "Hello| world");
	check("qwen2", "旅費は3,000円です。", "旅費は|3|,|0|0|0|円です|。");
	check("qwen2", "I'm WE'RE don''t 'x", "I|'m| WE|'RE| don|''|t| '|x");
	check("qwen2", "a  b   c", "a| | b|  | c");
	check("qwen2", "end  ", "end|  ");
	check("qwen2", "a \r\n\n b", "a| \r\n\n| b");
	check("qwen2", "a\n  \n  b", "a|\n  \n| | b");
	check("qwen2", "x!!\n\ny", "x|!!\n\n|y");
	check("qwen2", " !? ①", " !?| |①");
	check("qwen2", "\tab", "\tab");
	check("qwen2", "か\u3099き", "か|\u3099き");
	check("qwen2", "\u3000全角", "\u3000全角");
	check("qwen2", "'", "'");
	check("qwen2", "'l", "'l");
}

static void test_others(void **state)
{
	check("llama-bpe", "12345", "123|45");
	check("gpt-2", "I'M 12345  x\n", "I|'|M| 12345| | x|\n");
	check("gpt-2", " \n\n x", " \n\n| x");
	assert_null(hs_split_find("qwen", 4));
	assert_null(hs_split_find("qwen22", 6));
	assert_null(hs_split_find("", 0));
}

static void test_cased(void **state)
{
	check("gpt-4o", "HTMLParser's iPhone12345 ÉCOLE", "HTMLParser's| i|Phone|123|45| ÉCOLE");
	check("gpt-4o", "それはABCです", "それはABCです");
	check("gpt-4o", "あABC", "あ|ABC"); /* upper-case letters are given back to where a word can end */
	check("gpt-4o", "DON'T don't", "DON'T| don't");
	check("gpt-4o", "a//\n/b", "a|//\n/|b");
	check("gpt-4o", "\u0301ABC x", "\u0301|ABC| x");
	check("gpt-4o", "ǅa aǅ", "ǅa| a|ǅ");
	check("gpt-4o", "  x \n y", " | x| \n| y");
	check("llama4", "'s", "'s");
	check("tekken", "DON'T 12", "DON|'T| |1|2");
	check("tekken", "aB/\n", "a|B|/\n");
}

static void test_thousands(void **state)
{
	check("cohere2moe", "1234567 12 123 1234", "1|234|567| |12| |123| |1|234");
	check("cohere2moe", "1234567円", "123|456|7|円"); /* a letter follows: no boundary, so threes from the left */
	check("cohere2moe", "12345a 12345。", "123|45|a| |12|345|。");
	check("tiny_aya", "１２３４", "１|２３４");
	check("tiny_aya", "9\u00bd 9①", "9\u00bd| |9|①"); /* the fraction counts as a word's character, the circled digit not */
}

static void test_passes(void **state)
{
	check("command-r", "abc 123x", "abc| |1|2|3|x");
	check("command-r", "I'm  x\n\n", "I|'m| | x|\n\n");
	check("deepseek-v3", "漢字かなkana12345。", "漢字かな|kana|123|45|。");
	check("deepseek-v3", "x=.foo(a) !!\n", "x|=.|foo|(a|)| !!\n");
	check("deepseek-v3", "か\u3099き", "か\u3099き");
	check("deepseek-coder", "a漢字b\r\n1 ,", "a|漢字|b|\r|\n|1| ,");
	check("deepseek-coder", "。漢 漢", "。|漢| |漢");
	check("default", "a$b 1234 (x)", "a|$|b| |123|4| |(|x|)");
	check("default", "it's", "it|'|s");
	check("qwen35", "か\u3099き 1", "か\u3099き| |1");
	check("starcoder", "x12", "x|1|2");
}

/* Work is in proportion to the text, also where a pass looks far ahead. Otherwise this takes for ever. */
static void test_long_runs(void **state)
{
	static const char *const fill[] = {"1", "あA", "A", " ", "\n", "'", "1a", "\u0301A", ".", "\u3000"};
	size_t n = 1 << 16;
	char *text = malloc(n + 8);
	assert_non_null(text);
	for (size_t i = 0; hs_split_at(i); i++)
		for (size_t k = 0; k < HS_ARRAY_LEN(fill); k++) {
			size_t unit = strlen(fill[k]), len = 0;
			for (; len + unit <= n; len += unit)
				memcpy(text + len, fill[k], unit);
			text[len++] = 'x';
			struct hs_split walk;
			hs_split_begin(&walk, hs_split_at(i), text, len);
			size_t at = 0;
			for (size_t word; (word = hs_split_next(&walk)) > 0;)
				at += word;
			assert_int_equal(at, len);
		}
	free(text);
}

/* By every rule, every text of two difficult characters is cut into words that cover it. */
static void test_progress(void **state)
{
	static const char *const chars[] = {"a", "1",  " ",      "\n",     "\r", "\t", "'",
					    "s", "あ", "\u3099", "\u3000", "①",  "。", "\U0001f642"};
	for (size_t r = 0; hs_split_at(r); r++)
		for (size_t i = 0; i < HS_ARRAY_LEN(chars); i++)
			for (size_t k = 0; k < HS_ARRAY_LEN(chars); k++) {
				char text[16];
				struct hs_split walk;
				int n = snprintf(text, sizeof text, "%s%s", chars[i], chars[k]);
				size_t at = 0;
				hs_split_begin(&walk, hs_split_at(r), text, (size_t)n);
				for (size_t len; (len = hs_split_next(&walk)) > 0;)
					at += len;
				assert_int_equal(at, n);
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_qwen2),     cmocka_unit_test(test_others), cmocka_unit_test(test_cased),
		cmocka_unit_test(test_thousands), cmocka_unit_test(test_passes), cmocka_unit_test(test_long_runs),
		cmocka_unit_test(test_progress),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
