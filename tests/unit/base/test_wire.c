#include "base/wire.h"

#include <string.h>

#include "tests/unit/test.h"

static void test_round_trip(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	assert_int_equal(hs_put_u8(&b, 0x12) | hs_put_u16(&b, 0x3456) | hs_put_u32(&b, 0x789abcde) | hs_put_u64(&b, UINT64_MAX - 1), 0);
	assert_int_equal(hs_put_f32(&b, -1.5f) | hs_put_str(&b, "秘書", 6) | hs_put_str(&b, NULL, 0), 0);
	struct hs_wire w = hs_wire_over(b.data, b.len);
	assert_int_equal(hs_wire_u8(&w), 0x12);
	assert_int_equal(hs_wire_u16(&w), 0x3456);
	assert_int_equal(hs_wire_u32(&w), 0x789abcde);
	assert_true(hs_wire_u64(&w) == UINT64_MAX - 1);
	assert_true(hs_wire_f32(&w) == -1.5f);
	size_t n;
	const char *s = hs_wire_str(&w, 6, &n);
	assert_int_equal(n, 6);
	assert_memory_equal(s, "秘書", 6);
	(void)hs_wire_str(&w, 6, &n);
	assert_int_equal(n, 0);
	assert_true(hs_wire_done(&w));
}

static void test_failure_is_sticky(void **state)
{
	const uint8_t bytes[] = {5, 0, 0, 0, 'a', 'b'};
	struct hs_wire w = hs_wire_over(bytes, sizeof bytes);
	size_t n = 77;
	assert_null(hs_wire_str(&w, 100, &n));
	assert_int_equal(n, 0);
	assert_true(w.failed);
	assert_int_equal(hs_wire_u8(&w), 0);
	assert_false(hs_wire_done(&w));
}

static void test_limits_and_leftovers(void **state)
{
	const uint8_t bytes[] = {2, 0, 0, 0, 'a', 'b', 'c'};
	struct hs_wire w = hs_wire_over(bytes, sizeof bytes);
	size_t n;
	assert_null(hs_wire_str(&w, 1, &n));
	w = hs_wire_over(bytes, sizeof bytes);
	assert_non_null(hs_wire_str(&w, 2, &n));
	assert_false(hs_wire_done(&w));
	assert_null(hs_wire_bytes(&w, SIZE_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_failure_is_sticky),
		cmocka_unit_test(test_limits_and_leftovers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
