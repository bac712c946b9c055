#include "cli/cli.h"
#include "tests/unit/test.h"

#include <string.h>

static int never(struct hs_cli *cli, int argc, char **argv)
{
	return HS_EXIT_FAILED;
}

static const struct hs_verb verb = {"demo", never, "ARG", "a verb of this test"};

static int first, exit_code;

/* words: NULL-terminated */
static bool parse(struct hs_cli *cli, const struct hs_option *options, size_t n, const char *const *words)
{
	static char *argv[32];
	int argc = 0;
	argv[argc++] = (char *)"demo";
	for (; *words; words++)
		argv[argc++] = (char *)*words; /* getopt permutes the pointers and writes no character */
	argv[argc] = NULL;
	first = 0;
	exit_code = -1;
	return hs_cli_parse(cli, &verb, options, n, argc, argv, &first, &exit_code);
}
#define PARSE(cli, options, ...) parse(cli, options, HS_ARRAY_LEN(options), (const char *const[]){__VA_ARGS__, NULL})

static void test_values_arrive(void **state)
{
	const char *text = NULL;
	uint32_t n = 0;
	bool flag = false;
	struct hs_option_list list = {0};
	const struct hs_option options[] = {
	    {"text", HS_OPTION_STRING, &text, ""},
	    {"n", HS_OPTION_COUNT, &n, ""},
	    {"flag", HS_OPTION_FLAG, &flag, ""},
	    {"list", HS_OPTION_LIST, &list, ""},
	};
	struct hs_cli cli = {0};
	assert_true(
	    PARSE(&cli, options, "--text", "a b", "X", "--n=7", "--flag", "--list", "p", "--list=q", "--tenant", "t", "--json"));
	assert_string_equal(text, "a b");
	assert_int_equal(n, 7);
	assert_true(flag && cli.json);
	assert_string_equal(cli.tenant, "t");
	assert_int_equal(list.count, 2);
	assert_string_equal(list.items[1], "q");
	assert_int_equal(first, 11); /* "X" was moved behind the options; argc is 12 */
}

static void test_wrong_values_are_refused(void **state)
{
	uint32_t n = 5;
	const struct hs_option options[] = {{"n", HS_OPTION_COUNT, &n, ""}};
	static const char *const wrong[] = {"0", "-1", "", "x", "7x", "4294967296", "99999999999999999999"};
	for (size_t i = 0; i < HS_ARRAY_LEN(wrong); i++) {
		struct hs_cli cli = {0};
		assert_false(PARSE(&cli, options, "--n", wrong[i]));
		assert_int_equal(exit_code, HS_EXIT_USAGE);
		assert_int_equal(n, 5);
	}
	struct hs_cli cli = {0};
	assert_false(PARSE(&cli, options, "--unknown"));
	assert_int_equal(exit_code, HS_EXIT_USAGE);
}

static void test_a_list_has_an_end(void **state)
{
	struct hs_option_list list = {.count = HS_OPTION_LIST_MAX};
	const struct hs_option options[] = {{"list", HS_OPTION_LIST, &list, ""}};
	struct hs_cli cli = {0};
	assert_false(PARSE(&cli, options, "--list", "one more"));
	assert_int_equal(exit_code, HS_EXIT_USAGE);
	assert_int_equal(list.count, HS_OPTION_LIST_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_values_arrive),
	    cmocka_unit_test(test_wrong_values_are_refused),
	    cmocka_unit_test(test_a_list_has_an_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
