#include "inference/cpu/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "tests/unit/test.h"

#define CHUNKS 5000

static struct hs_yield never;

struct count {
	_Atomic uint32_t runs[CHUNKS];
	_Atomic uint32_t inside[16]; /* chunks that a worker runs at this moment */
	_Atomic bool clash;
};

static void count_chunk(void *arg, uint32_t chunk, unsigned worker)
{
	struct count *c = arg;
	if (atomic_fetch_add(&c->inside[worker], 1) != 0)
		atomic_store(&c->clash, true);
	atomic_fetch_add(&c->runs[chunk], 1);
	atomic_fetch_sub(&c->inside[worker], 1);
}

static void test_every_chunk_runs_once(void **state)
{
	static const uint32_t sizes[] = {0, 1, 2, 3, 17, CHUNKS};
	for (unsigned threads = 1; threads <= 5; threads += 2) {
		struct hs_pool *p = NULL;
		assert_int_equal(hs_pool_create(threads, &p), 0);
		assert_int_equal(hs_pool_threads(p), threads);
		for (unsigned round = 0; round < 300; round++) {
			struct count c;
			uint32_t n = sizes[round % HS_ARRAY_LEN(sizes)];
			memset(&c, 0, sizeof c);
			assert_true(hs_pool_run(p, count_chunk, &c, n, &never));
			for (uint32_t i = 0; i < CHUNKS; i++)
				assert_int_equal(c.runs[i], i < n);
			assert_false(c.clash);
		}
		hs_pool_destroy(p);
	}
	hs_pool_destroy(NULL);
}

/* A yield that is due at once: it runs another job on the same pool, and stops at its third call where told to. */
struct nested {
	struct hs_pool *p;
	struct hs_yield *y;
	unsigned calls, stop_at;
};

static int run_another(void *arg)
{
	struct nested *n = arg;
	static struct count other;
	memset(&other, 0, sizeof other);
	assert_true(hs_pool_run(n->p, count_chunk, &other, 20, &never));
	for (uint32_t i = 0; i < 20; i++)
		assert_int_equal(other.runs[i], 1);
	return ++n->calls == n->stop_at ? -1 : 0;
}

static void slow_chunk(void *arg, uint32_t chunk, unsigned worker)
{
	struct count *c = arg;
	uint64_t until = hs_monotonic_us() + HS_YIELD_US / 4;
	(void)worker;
	atomic_fetch_add(&c->runs[chunk], 1);
	while (hs_monotonic_us() < until)
		;
}

static void test_yield_pauses_and_stops(void **state)
{
	for (unsigned threads = 1; threads <= 3; threads++) {
		struct nested n = {.stop_at = 0};
		struct hs_yield y = {.fn = run_another, .arg = &n};
		struct count c;
		assert_int_equal(hs_pool_create(threads, &n.p), 0);
		memset(&c, 0, sizeof c);
		assert_true(hs_pool_run(n.p, slow_chunk, &c, 24, &y));
		assert_true(n.calls >= 1);
		for (uint32_t i = 0; i < 24; i++)
			assert_int_equal(c.runs[i], 1);
		memset(&c, 0, sizeof c);
		n.stop_at = n.calls + 1;
		y.last_us = 0;
		assert_false(hs_pool_run(n.p, slow_chunk, &c, 1000, &y));
		assert_int_equal(c.runs[999], 0);
		hs_pool_destroy(n.p);
	}
}

static void *second_caller(void *arg)
{
	for (unsigned i = 0; i < 200; i++) {
		struct count c;
		memset(&c, 0, sizeof c);
		if (!hs_pool_run(arg, count_chunk, &c, 40, &never))
			return arg;
		for (uint32_t k = 0; k < 40; k++)
			if (c.runs[k] != 1)
				return arg;
	}
	return NULL;
}

static void test_two_callers_take_turns(void **state)
{
	struct hs_pool *p = NULL;
	pthread_t other;
	void *failed;
	assert_int_equal(hs_pool_create(3, &p), 0);
	assert_int_equal(pthread_create(&other, NULL, second_caller, p), 0);
	assert_null(second_caller(p));
	assert_int_equal(pthread_join(other, &failed), 0);
	assert_null(failed);
	hs_pool_destroy(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_chunk_runs_once),
	    cmocka_unit_test(test_yield_pauses_and_stops),
	    cmocka_unit_test(test_two_callers_take_turns),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
