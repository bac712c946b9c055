#include "daemon/limits.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/test.h"

#define DAY (24 * 60 * 60 * 1000LL)

static void test_text(void **state)
{
	char text[HS_LIMITS_TEXT_MAX];
	struct hs_limits l, back;
	assert_true(hs_limits_parse("", &l));
	assert_memory_equal(&l, &hs_limits_default, sizeof l);
	assert_true(hs_limits_parse("queue=0,tokens_per_day=1000000,generations=4", &l));
	assert_int_equal(l.of[HS_LIMIT_QUEUE], 0);
	assert_int_equal(l.of[HS_LIMIT_TOKENS_PER_DAY], 1000000);
	assert_int_equal(l.of[HS_LIMIT_CONTEXT], hs_limits_default.of[HS_LIMIT_CONTEXT]);
	hs_limits_format(&l, text);
	assert_true(hs_limits_parse(text, &back));
	assert_memory_equal(&l, &back, sizeof l);
	for (size_t i = 0; i < HS_LIMIT_N; i++)
		l.of[i] = UINT64_MAX; /* the longest text is whole, and one that can be */
	hs_limits_format(&l, text);
	assert_true(strlen(text) + 1 < HS_LIMITS_TEXT_MAX);
	assert_true(hs_limits_parse(text, &back));
	static const char *const bad[] = {"queue",      "queue=",	"queue=-1",	      "queue=1,",	   "queue=65",
					  "quene=1",	"generations=0", "generations=5",     "queue=1;context=1", "context=1e3",
					  "=1",		"queue=1 ",	 "queue=1,,context=9", "context=255",	   "queue=99999999999999999999"};
	for (size_t i = 0; i < HS_ARRAY_LEN(bad); i++) {
		back = l;
		assert_false(hs_limits_parse(bad[i], &back));
		assert_memory_equal(&back, &l, sizeof l);
	}
}

static void test_a_day(void **state)
{
	struct hs_limits l = hs_limits_default;
	struct hs_token_count c = {0};
	enum hs_limit which = HS_LIMIT_N;
	uint64_t retry;
	l.of[HS_LIMIT_TOKENS_PER_DAY] = 100;
	const int64_t noon = 20000 * DAY + DAY / 2;
	assert_true(hs_token_count_admits(&c, &l, 100, 0, noon, &which, &retry));
	assert_false(hs_token_count_admits(&c, &l, 101, 0, noon, &which, &retry));
	hs_token_count_take(&c, &l, 60, noon);
	assert_true(hs_token_count_admits(&c, &l, 40, 0, noon, &which, &retry));
	assert_false(hs_token_count_admits(&c, &l, 41, 0, noon, &which, &retry));
	assert_int_equal(which, HS_LIMIT_TOKENS_PER_DAY);
	assert_int_equal(retry, DAY / 2000);
	assert_true(hs_token_count_admits(&c, &l, 41, 1, noon, &which, &retry)); /* what may be owed */
	hs_token_count_return(&c, 20000, 10);
	assert_int_equal(c.of_day, 50);
	assert_false(hs_token_count_admits(&c, &l, 100, 0, noon - DAY, &which, &retry)); /* a clock set back opens no day */
	assert_true(hs_token_count_admits(&c, &l, 100, 0, noon + DAY / 2, &which, &retry));
	hs_token_count_take(&c, &l, 100, noon + DAY / 2);
	hs_token_count_return(&c, 20000, 50); /* yesterday's gives nothing to today */
	assert_int_equal(c.of_day, 100);
	assert_false(hs_token_count_admits(&c, &l, UINT64_MAX, 0, noon + DAY / 2, &which, &retry));
}

static void test_a_minute(void **state)
{
	struct hs_limits l = hs_limits_default;
	struct hs_token_count c = {0};
	enum hs_limit which = HS_LIMIT_N;
	uint64_t retry;
	int64_t now = 20000 * DAY;
	l.of[HS_LIMIT_TOKENS_PER_MINUTE] = 600;
	assert_true(hs_token_count_admits(&c, &l, 10000, 0, now, &which, &retry)); /* larger than a minute's: owed */
	hs_token_count_take(&c, &l, 1200, now);
	assert_false(hs_token_count_admits(&c, &l, 1, 0, now + 60000, &which, &retry));
	assert_int_equal(which, HS_LIMIT_TOKENS_PER_MINUTE);
	assert_in_range(retry, 1, 2);
	assert_true(hs_token_count_admits(&c, &l, 100, 0, now + 60000 + (int64_t)retry * 1000 + 9000, &which, &retry));
	now += 120000;
	assert_true(hs_token_count_admits(&c, &l, 600, 0, now, &which, &retry));
	hs_token_count_take(&c, &l, 300, now);
	assert_false(hs_token_count_admits(&c, &l, 600, 0, now, &which, &retry));
	assert_true(hs_token_count_admits(&c, &l, 600, 0, now + 30000, &which, &retry));
	assert_true(hs_token_count_admits(&c, &l, 600, 0, now + 1000 * DAY, &which, &retry)); /* no more than full */
	hs_token_count_take(&c, &l, 600, now + 1000 * DAY);
	assert_false(hs_token_count_admits(&c, &l, 600, 0, now, &which, &retry)); /* nor does time that goes back refill */
}

static void test_refusals(void **state)
{
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(hs_limit_fail(&err, HS_LIMIT_TOKENS_PER_MINUTE, 600, 7), -EBUSY);
	assert_string_equal(err.code, "limit.tokens_per_minute");
	assert_string_equal(err.object, "tokens_per_minute: 600, again in 7 s");
	assert_string_equal(err.hint, hs_limit_hint("limit.tokens_per_minute"));
	assert_string_equal(hs_limit_hint("policy.changed"), "");
	assert_string_equal(hs_limit_hint(""), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_text), cmocka_unit_test(test_a_day), cmocka_unit_test(test_a_minute),
					   cmocka_unit_test(test_refusals)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
