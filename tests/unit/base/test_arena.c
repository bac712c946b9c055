#include "base/arena.h"

#include <string.h>

#include "tests/unit/test.h"

static void test_memory_is_zeroed_and_aligned(void **state)
{
	struct hs_arena *a = hs_arena_create(1 << 20);
	for (size_t n = 1; n < 40000; n = n * 3 + 1) {
		unsigned char *p = hs_arena_alloc(a, n);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xff, n);
	}
	hs_arena_destroy(a);
}

static void test_limit_and_overflow_refuse(void **state)
{
	struct hs_arena *a = hs_arena_create(100);
	assert_non_null(hs_arena_alloc(a, 64));
	assert_null(hs_arena_alloc(a, 64));
	assert_null(hs_arena_alloc(a, SIZE_MAX));
	assert_null(hs_arena_calloc(a, SIZE_MAX / 2, 4));
	hs_arena_destroy(a);
	hs_arena_destroy(NULL);
}

static void test_strndup_terminates(void **state)
{
	struct hs_arena *a = hs_arena_create(4096);
	assert_string_equal(hs_arena_strndup(a, "秘書です", 6), "秘書");
	hs_arena_destroy(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory_is_zeroed_and_aligned),
		cmocka_unit_test(test_limit_and_overflow_refuse),
		cmocka_unit_test(test_strndup_terminates),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
