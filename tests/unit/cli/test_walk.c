/* What is named and is no document is told of; what lies below a folder and is none is passed over. */
#include "cli/walk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/test.h"

struct seen {
	unsigned files, failed;
	struct hs_err err;
};

static int see(void *ctx, const struct hs_walk_file *file, const struct hs_err *err)
{
	struct seen *s = ctx;
	(void)file;
	s->files += err == NULL;
	s->failed += err != NULL;
	if (err)
		s->err = *err;
	return 0;
}

static void test_a_named_pipe_is_told_of_and_one_below_is_passed_over(void **state)
{
	(void)state;
	char dir[] = "/tmp/hisho-walk.XXXXXX", pipe_path[64];
	struct hs_err err = HS_ERR_INIT;
	struct seen s = {0};
	assert_non_null(mkdtemp(dir));
	(void)snprintf(pipe_path, sizeof pipe_path, "%s/pipe", dir); /* fits */
	assert_int_equal(mkfifo(pipe_path, 0600), 0);
	assert_int_equal(hs_walk(dir, see, &s, &err), 0);
	assert_int_equal(s.files + s.failed, 0);
	assert_int_equal(hs_walk(pipe_path, see, &s, &err), 0);
	assert_int_equal(s.files, 0);
	assert_int_equal(s.failed, 1);
	assert_string_equal(s.err.code, "file.kind");
	assert_int_equal(unlink(pipe_path), 0);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_named_pipe_is_told_of_and_one_below_is_passed_over),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
