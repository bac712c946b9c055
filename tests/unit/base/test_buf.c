#include "base/buf.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/test.h"

static void test_append_and_consume(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(hs_buf_append(&b, "0123456789", 10), 0);
	assert_int_equal(b.len, 10000);
	hs_buf_consume(&b, 9995);
	assert_string_equal(hs_buf_cstr(&b), "56789");
	assert_int_equal(b.len, 5);
}

static void test_limit_keeps_what_was_there(void **state)
{
	HS_BUF_AUTO b = {.limit = 8};
	assert_int_equal(hs_buf_append_str(&b, "12345"), 0);
	assert_int_equal(hs_buf_append_str(&b, "6789"), -EMSGSIZE);
	assert_string_equal(hs_buf_cstr(&b), "12345");
	assert_int_equal(hs_buf_reserve(&b, SIZE_MAX), -EMSGSIZE);
}

static void test_printf(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	assert_int_equal(hs_buf_printf(&b, "%s=%d;", "頁", 7), 0);
	assert_int_equal(hs_buf_printf(&b, "%s", ""), 0);
	assert_string_equal(hs_buf_cstr(&b), "頁=7;");
}

static void test_json_strings_are_whole(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {{"", "\"\""},
		     {"規程 \"A\\\n\x7f", "\"規程 \\\"A\\\\\\u000a\\u007f\""},
		     {"規\xe7\xa8", "\"規??\""}, /* cut within a character */
		     {"\xff程", "\"?程\""}};
	for (size_t i = 0; i < HS_ARRAY_LEN(cases); i++) {
		HS_BUF_AUTO b = HS_BUF_INIT;
		assert_int_equal(hs_buf_append_json(&b, cases[i].in), 0);
		assert_string_equal(hs_buf_cstr(&b), cases[i].out);
	}
	struct hs_buf full = {.limit = 3};
	assert_int_equal(hs_buf_append_json(&full, "ab"), -EMSGSIZE);
	hs_buf_finish(&full);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append_and_consume),
		cmocka_unit_test(test_limit_keeps_what_was_there),
		cmocka_unit_test(test_printf),
	    cmocka_unit_test(test_json_strings_are_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
