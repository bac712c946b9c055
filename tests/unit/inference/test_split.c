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
	for (size_t at = 0, len; at < n; at += len) {
		len = hs_split_next(rule, text + at, n - at);
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

/* Every two-character text over difficult characters is cut into words that cover it. */
static void test_progress(void **state)
{
	static const char *const chars[] = {"a", "1",  " ",      "\n",     "\r", "\t", "'",
					    "s", "あ", "\u3099", "\u3000", "①",  "。", "\U0001f642"};
	const struct hs_split_rule *rule = hs_split_find("qwen2", 5);
	assert_non_null(rule);
	for (size_t i = 0; i < HS_ARRAY_LEN(chars); i++)
		for (size_t k = 0; k < HS_ARRAY_LEN(chars); k++) {
			char text[16];
			int n = snprintf(text, sizeof text, "%s%s", chars[i], chars[k]);
			size_t at = 0;
			while (at < (size_t)n) {
				size_t len = hs_split_next(rule, text + at, (size_t)n - at);
				assert_in_range(len, 1, (size_t)n - at);
				at += len;
			}
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_qwen2),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_progress),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
