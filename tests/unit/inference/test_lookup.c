#include "inference/lookup.h"

#include <string.h>

#include "tests/unit/test.h"

static uint32_t draft(const char *text, uint32_t most, char *out)
{
	hs_tok_id ids[64], drafted[64];
	size_t n = strlen(text);
	for (size_t i = 0; i < n; i++)
		ids[i] = text[i];
	uint32_t count = hs_lookup_draft(ids, n, most, drafted);
	for (uint32_t i = 0; i < count; i++)
		out[i] = (char)drafted[i];
	out[count] = '\0';
	return count;
}

static void test_draft(void **state)
{
	static const struct {
		const char *text, *want;
		uint32_t most;
	} cases[] = {
	    {"", "", 4},
	    {"a", "", 4},
	    {"aa", "", 4},         /* one token is not enough */
	    {"xaya", "", 4},       /* nor here */
	    {"abXYab", "XYab", 4}, /* two are */
	    {"abXYab", "X", 1},
	    {"abXYab", "", 0},
	    {"abcdEabcFabc", "Fabc", 4},  /* of equal matches the latest */
	    {"abcdEbcdFabcd", "Ebcd", 4}, /* a longer match before a later one */
	    {"aaa", "a", 4},              /* what it meets may be its own end */
	    {"ababab", "ab", 4},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(cases); i++) {
		char out[64];
		(void)draft(cases[i].text, cases[i].most, out);
		assert_string_equal(out, cases[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_draft)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
