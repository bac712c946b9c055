#include "base/translate.h"

#include <string.h>

#include "base/macros.h"
#include "tests/unit/test.h"

static bool wants(const char *s)
{
	return hs_wants_japanese(s, strlen(s));
}

static void test_the_language_is_the_most_wanted(void **state)
{
	static const char *const japanese[] = {"ja",
					       "ja-JP",
					       "JA",
					       "ja-JP,ja;q=0.9,en-US;q=0.8,en;q=0.7",
					       "fr, ja;q=0.2",
					       "en;q=0.5, ja",
					       "en;q=0.5,ja;q=0.51",
					       "ja;q=0.5,en;q=0.5",
					       "en;q=0, ja;q=0.001",
					       "  ja ; q=1.0"};
	static const char *const english[] = {"",           ",",
					      ";",          "en",
					      "en,ja",      "en-GB,ja;q=0.9",
					      "jap",        "ja;q=0",
					      "ja;q=0.000", "ja;q=",
					      "ja;q",       "ja;x=1",
					      "j",          "fr",
					      "*",          "de;q=1,en;q=0.1,ja;q=0.05",
					      ",,,",        "ja;q=9",
					      "ja;q=0.x"};
	for (size_t i = 0; i < HS_ARRAY_LEN(japanese); i++)
		assert_true(wants(japanese[i]));
	for (size_t i = 0; i < HS_ARRAY_LEN(english); i++)
		assert_false(wants(english[i]));
	assert_true(hs_wants_japanese("japan", 2)); /* not terminated */
}

static void test_a_sentence_in_both_languages(void **state)
{
	const char *busy = "The service is busy. Try again shortly.";
	assert_ptr_equal(hs_translate(busy, false), busy);
	assert_non_null(strstr(hs_translate(busy, true), "混み合って"));
	assert_string_equal(hs_translate("yes", true), "はい");
	assert_string_equal(hs_translate("Accept-Language: en", true),
			    "Accept-Language: ja"); /* the first and the last are found too */
}

static void test_what_is_not_in_the_catalogue_stays(void **state)
{
	assert_string_equal(hs_translate("no such sentence", true), "no such sentence");
	assert_string_equal(hs_translate("", true), ""); /* and not the catalogue's head */
	assert_null(hs_translate(NULL, true));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_language_is_the_most_wanted),
	    cmocka_unit_test(test_a_sentence_in_both_languages),
	    cmocka_unit_test(test_what_is_not_in_the_catalogue_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
