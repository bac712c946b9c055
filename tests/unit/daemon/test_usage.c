#include "daemon/tenant/usage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/unit/test.h"

#define DAY (24 * 60 * 60 * 1000LL)
#define NOON (20000 * DAY + DAY / 2)

static int make_dir(char path[static 64])
{
	(void)snprintf(path, 64, "/tmp/hisho-usage-XXXXXX");
	assert_non_null(mkdtemp(path));
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	return dir;
}

static void remove_dir(const char *path, int dir)
{
	(void)unlinkat(dir, HS_USAGE_FILE, 0);
	(void)close(dir);
	assert_int_equal(rmdir(path), 0);
}

static struct hs_limits limits_of(uint64_t day, uint64_t queue)
{
	struct hs_limits l = hs_limits_default;
	l.of[HS_LIMIT_TOKENS_PER_DAY] = day;
	l.of[HS_LIMIT_QUEUE] = queue;
	return l;
}

static void test_a_restart_forgets_nothing(void **state)
{
	char path[64];
	int dir = make_dir(path);
	struct hs_limits l = limits_of(1000, 1);
	struct hs_usage u;
	struct hs_err err = HS_ERR_INIT;
	unsigned retry = 0;
	int64_t day;
	bool bad;
	assert_int_equal(hs_usage_init(&u, &l, dir, NOON, &bad), 0);
	assert_int_equal(hs_usage_take(&u, 700, NOON, &day, &retry, &err), 0);
	assert_int_equal(hs_usage_save(&u), 0);
	hs_usage_finish(&u);

	assert_int_equal(hs_usage_init(&u, &l, dir, NOON, &bad), 0);
	assert_false(bad);
	assert_int_equal(hs_usage_today(&u, NOON), 700);
	assert_int_equal(hs_usage_take(&u, 301, NOON, &day, &retry, &err), -EBUSY);
	assert_string_equal(err.code, "limit.tokens_per_day");
	assert_int_equal(retry, DAY / 2000);
	assert_int_equal(hs_usage_refusals(&u), 1);
	hs_usage_return(&u, day, 500);
	assert_int_equal(hs_usage_take(&u, 301, NOON, &day, &retry, &err), 0);
	assert_int_equal(hs_usage_save(&u), 0);
	hs_usage_finish(&u);

	assert_int_equal(hs_usage_init(&u, &l, dir, NOON + DAY, &bad), 0); /* the next day */
	assert_int_equal(hs_usage_today(&u, NOON + DAY), 0);
	assert_int_equal(hs_usage_take(&u, 1000, NOON + DAY, &day, &retry, &err), 0);
	hs_usage_finish(&u);
	remove_dir(path, dir);
}

static void test_what_cannot_be_read_is_used_up(void **state)
{
	char path[64];
	int dir = make_dir(path);
	struct hs_limits l = limits_of(1000, 1);
	struct hs_usage u;
	struct hs_err err = HS_ERR_INIT;
	HS_BUF_AUTO whole = HS_BUF_INIT;
	unsigned retry = 0;
	int64_t day;
	bool bad;
	assert_int_equal(hs_usage_init(&u, &l, dir, NOON, &bad), 0);
	assert_int_equal(hs_usage_take(&u, 10, NOON, &day, &retry, &err), 0);
	assert_int_equal(hs_usage_save(&u), 0);
	hs_usage_finish(&u);
	assert_int_equal(hs_file_read(dir, HS_USAGE_FILE, 64, &whole), 0);
	assert_int_equal(whole.len, HS_USAGE_LEN);
	for (size_t i = 0; i <= whole.len; i++) { /* each byte in turn, then one too few */
		uint8_t bytes[HS_USAGE_LEN];
		memcpy(bytes, whole.data, sizeof bytes);
		if (i < whole.len)
			bytes[i] ^= 0x10;
		assert_int_equal(hs_file_replace(dir, HS_USAGE_FILE, bytes, sizeof bytes - (i == whole.len), 0600), 0);
		assert_int_equal(hs_usage_init(&u, &l, dir, NOON, &bad), 0);
		assert_true(bad);
		assert_int_equal(hs_usage_take(&u, 1, NOON, &day, &retry, &err), -EBUSY);
		assert_int_equal(hs_usage_take(&u, 1, NOON + DAY, &day, &retry, &err), 0);
		hs_usage_finish(&u);
	}
	l.of[HS_LIMIT_TOKENS_PER_DAY] = 0; /* where nothing is limited, the file is nobody's concern */
	assert_int_equal(hs_usage_init(&u, &l, dir, NOON, &bad), 0);
	assert_false(bad);
	hs_usage_finish(&u);
	remove_dir(path, dir);
}

static void test_the_queue(void **state)
{
	struct hs_limits l = limits_of(1000, 3);
	struct hs_usage u;
	struct hs_err err = HS_ERR_INIT;
	unsigned retry = 0;
	int64_t day;
	bool bad;
	assert_int_equal(hs_usage_init(&u, &l, -1, NOON, &bad), 0); /* no folder: no number of this day */
	hs_usage_finish(&u);
	l.of[HS_LIMIT_TOKENS_PER_DAY] = 0;
	assert_int_equal(hs_usage_init(&u, &l, -1, NOON, &bad), 0);
	assert_int_equal(hs_usage_queue(&u, 4, NOON, &retry, &err), 0); /* two are answered, two wait */
	assert_int_equal(hs_usage_queue(&u, 5, NOON, &retry, &err), -EBUSY);
	assert_string_equal(err.code, "limit.queue");
	assert_in_range(retry, 1, 3600);
	hs_usage_answered(&u, 400000);
	hs_usage_answered(&u, 400000);
	unsigned longer;
	assert_int_equal(hs_usage_queue(&u, 5, NOON, &longer, &err), -EBUSY);
	assert_true(longer > retry);
	hs_usage_refused(&u, "limit.generation_seconds");
	hs_usage_refused(&u, "policy.changed");
	hs_usage_refused(&u, "");
	assert_int_equal(hs_usage_refusals(&u), 3);
	hs_usage_finish(&u);

	l.of[HS_LIMIT_TOKENS_PER_MINUTE] = 100; /* what must be refused is refused before anything is searched */
	assert_int_equal(hs_usage_init(&u, &l, -1, NOON, &bad), 0);
	assert_int_equal(hs_usage_take(&u, 100, NOON, &day, &retry, &err), 0);
	assert_int_equal(hs_usage_queue(&u, 0, NOON, &retry, &err), -EBUSY);
	assert_string_equal(err.code, "limit.tokens_per_minute");
	assert_int_equal(hs_usage_queue(&u, 0, NOON + 1000, &retry, &err), 0);
	hs_usage_finish(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_restart_forgets_nothing),
					   cmocka_unit_test(test_what_cannot_be_read_is_used_up), cmocka_unit_test(test_the_queue)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
