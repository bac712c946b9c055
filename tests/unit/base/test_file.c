#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/test.h"

static char folder[64];

static int make_folder(void **state)
{
	(void)snprintf(folder, sizeof folder, "/tmp/hisho-test-file-XXXXXX"); /* fits */
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	char path[128];
	snprintf(path, sizeof path, "%s/f", folder);
	unlink(path);
	return rmdir(folder);
}

static void test_replace_then_read(void **state)
{
	HS_FD_AUTO dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(hs_file_replace(dir, "f", "first", 5, 0600), 0);
	assert_int_equal(hs_file_replace(dir, "f", "second", 6, 0600), 0);
	HS_BUF_AUTO b = HS_BUF_INIT;
	assert_int_equal(hs_file_read(dir, "f", 100, &b), 0);
	assert_string_equal(hs_buf_cstr(&b), "second");
	struct stat st;
	assert_int_equal(fstatat(dir, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_read_refuses_what_is_too_large(void **state)
{
	HS_FD_AUTO dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(hs_file_replace(dir, "f", "0123456789", 10, 0600), 0);
	HS_BUF_AUTO b = HS_BUF_INIT;
	assert_int_equal(hs_file_read(dir, "f", 9, &b), -EFBIG);
	assert_int_equal(hs_file_read(dir, "missing", 9, &b), -ENOENT);
}

static void test_mkdirs(void **state)
{
	char path[128];
	snprintf(path, sizeof path, "%s/a/b", folder);
	assert_int_equal(hs_mkdirs(path, 0700), 0);
	assert_int_equal(hs_mkdirs(path, 0700), 0);
	assert_int_equal(rmdir(path), 0);
	snprintf(path, sizeof path, "%s/a", folder);
	assert_int_equal(rmdir(path), 0);
}

static void test_temporary_names(void **state)
{
	assert_true(hs_file_is_temporary("log.abcdefghijk27.new", "log"));
	assert_true(hs_file_is_temporary("log.abcdefghijk27.new", NULL));
	static const char *const others[] = {"log", "log.new", "log.abcdefghijk27", "log.abcdefghijk2.new", "log.abcdefghijk21.new",
					     "logs.abcdefghijk27.new", "log.x.abcdefghijk27.new", ".abcdefghijk27.new", "", "x"};
	for (size_t i = 0; i < HS_ARRAY_LEN(others); i++)
		assert_false(hs_file_is_temporary(others[i], "log"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replace_then_read),
		cmocka_unit_test(test_read_refuses_what_is_too_large),
		cmocka_unit_test(test_mkdirs),
		cmocka_unit_test(test_temporary_names),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
