#include "cli/client.h"
#include "cli/output.h"
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>

static char *safe(const char *s)
{
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);
	assert_non_null(out);
	hs_print_safe(out, s, strlen(s));
	fclose(out);
	return text;
}

static void test_nothing_moves_the_terminal(void **state)
{
	char *text = safe("旅費\033[2J規程\b\x7f\xc2\x9b"
			  "1m\n\t終");
	assert_string_equal(text, "旅費?[2J規程???1m\n\t終");
	free(text);
}

static void test_escape_leaves_only_plain_characters(void **state)
{
	HS_BUF_AUTO out = HS_BUF_INIT;
	assert_int_equal(hs_url_escape(&out, "a/b?c=d&e#f 秘.-_"), 0);
	assert_string_equal(hs_buf_cstr(&out), "a%2Fb%3Fc%3Dd%26e%23f%20%E7%A7%98.-_");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_nothing_moves_the_terminal),
	    cmocka_unit_test(test_escape_leaves_only_plain_characters),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
