#include "base/err.h"

#include <errno.h>
#include <string.h>

#include "base/utf8.h"
#include "tests/unit/test.h"

static void test_fail_fills_everything(void **state)
{
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(hs_fail(&err, EINVAL, "doc.empty", "Give a file with text.", "%s:%d", "a\nb.txt", 7), -EINVAL);
	assert_int_equal(err.num, EINVAL);
	char text[256];
	assert_string_equal(hs_err_text(&err, text, sizeof text), "doc.empty: a?b.txt:7: Give a file with text.");
}

static void test_long_objects_are_cut_between_characters(void **state)
{
	struct hs_err err = HS_ERR_INIT;
	static const char character[] = "秘";
	char name[120 * (sizeof character - 1) + 1];
	for (size_t i = 0; i < sizeof name - 1; i++)
		name[i] = character[i % (sizeof character - 1)];
	name[sizeof name - 1] = '\0';
	(void)hs_fail(&err, EINVAL, "x.y", "", "%s", name);
	assert_true(strlen(err.object) >= sizeof err.object - 4);
	assert_true(hs_utf8_valid(err.object, strlen(err.object), NULL));
}

static void test_null_err_is_fine(void **state)
{
	assert_int_equal(hs_fail(NULL, ENOMEM, "x.y", "", "z"), -ENOMEM);
	assert_int_equal(hs_fail_errno(NULL, -EIO, "x.y", "z"), -EIO);
}

static void test_errno_keeps_the_first_story(void **state)
{
	struct hs_err err = HS_ERR_INIT;
	(void)hs_fail(&err, EINVAL, "first", "", "a");
	assert_int_equal(hs_fail_errno(&err, -EIO, "second", "b"), -EIO);
	assert_string_equal(err.code, "first");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fail_fills_everything),
		cmocka_unit_test(test_long_objects_are_cut_between_characters),
		cmocka_unit_test(test_null_err_is_fine),
		cmocka_unit_test(test_errno_keeps_the_first_story),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
