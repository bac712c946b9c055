/* Pages of keys and values: nobody reads what another left there. */
#include "inference/cuda/pages.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/test.h"

#define HEAD_BYTES (16u * 64) /* 16 positions of 32 halves */
#define N_HEADS 6u
#define PAGE (HEAD_BYTES * N_HEADS)
#define N_PAGES 70u

static struct hs_device *device;
static struct hs_pages *pages;

static int open_pages(void **state)
{
	struct hs_err err = HS_ERR_INIT;
	hs_host_device = (struct hs_host_device){.memory = 1u << 24, .calls_left = -1};
	return hs_device_open(0, &device, &err) < 0 || hs_pages_create(device, HEAD_BYTES, N_HEADS, N_PAGES, &pages) < 0;
}

static int close_pages(void **state)
{
	hs_host_device.calls_left = -1;
	hs_pages_destroy(pages);
	hs_device_close(device);
	return 0;
}

static uint8_t *page_at(uint32_t page)
{
	return hs_pages_pool(pages) + page * hs_pages_bytes(pages);
}

/* What a position's part of a head holds: 64 equal bytes. */
static void fill(uint32_t page, uint8_t value)
{
	memset(page_at(page), value, PAGE);
}

static bool is_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

static void test_a_page_given_to_another_reads_zero(void **state)
{
	uint32_t mine[3], theirs[N_PAGES];
	assert_int_equal(hs_pages_take(pages, 3, mine), 0);
	hs_pages_own(pages, mine, 3, 7);
	for (uint32_t i = 0; i < 3; i++)
		fill(mine[i], 0xee);
	assert_int_equal(hs_pages_of(pages, 7), 3);
	assert_int_equal(hs_pages_of(pages, 0), 0);
	hs_pages_give(pages, mine, 3);
	assert_int_equal(hs_pages_of(pages, 7), 0);
	assert_int_equal(hs_pages_take(pages, N_PAGES, theirs), 0);
	hs_pages_own(pages, theirs, N_PAGES, 8);
	for (uint32_t i = 0; i < N_PAGES; i++)
		assert_true(is_zero(page_at(theirs[i]), PAGE));
	hs_pages_give(pages, theirs, N_PAGES); /* more than one round of it */
	assert_int_equal(hs_pages_used(pages), 0);
}

static void test_all_or_none(void **state)
{
	uint32_t a[N_PAGES], b[N_PAGES];
	assert_int_equal(hs_pages_take(pages, 40, a), 0);
	assert_int_equal(hs_pages_take(pages, 31, b), -ENOMEM);
	assert_int_equal(hs_pages_used(pages), 40);
	assert_int_equal(hs_pages_take(pages, 30, b), 0);
	for (uint32_t i = 0; i < 40; i++)
		for (uint32_t k = 0; k < 30; k++)
			assert_true(a[i] != b[k]);
	assert_int_equal(hs_pages_take(pages, 1, b), -ENOMEM);
	assert_int_equal(hs_pages_take(pages, 0, b), 0);
}

/* Positions 5 .. 40 of a sequence of three pages, and nothing else. */
static void test_wipe_reaches_its_positions_only(void **state)
{
	uint32_t p[4];
	assert_int_equal(hs_pages_take(pages, 4, p), 0);
	for (uint32_t i = 0; i < 4; i++)
		fill(p[i], 0xee);
	assert_int_equal(hs_pages_wipe(pages, p, 5, 41), 0);
	assert_int_equal(hs_pages_wipe(pages, p, 41, 41), 0);
	for (uint32_t at = 0; at < 64; at++)
		for (uint32_t h = 0; h < N_HEADS; h++) {
			const uint8_t *part = page_at(p[at / 16]) + h * HEAD_BYTES + at % 16 * 64;
			bool gone = at >= 5 && at < 41;
			assert_true(gone ? is_zero(part, 64) : part[0] == 0xee && part[63] == 0xee);
		}
}

/* 21 positions become another sequence's; what lies behind them does not. */
static void test_copy_takes_no_more_than_it_may(void **state)
{
	uint32_t from[2], to[2];
	assert_int_equal(hs_pages_take(pages, 2, from), 0);
	assert_int_equal(hs_pages_take(pages, 2, to), 0);
	fill(from[0], 0x11);
	fill(from[1], 0x22);
	assert_int_equal(hs_pages_copy(pages, to, from, 21), 0);
	assert_memory_equal(page_at(to[0]), page_at(from[0]), PAGE);
	for (uint32_t h = 0; h < N_HEADS; h++) {
		const uint8_t *head = page_at(to[1]) + h * HEAD_BYTES;
		assert_memory_equal(head, page_at(from[1]) + h * HEAD_BYTES, 5 * 64);
		assert_true(is_zero(head + 5 * 64, 11 * 64));
	}
}

/* A page that could not be wiped is nobody's any more. */
static void test_lost_device(void **state)
{
	uint32_t p[N_PAGES];
	assert_int_equal(hs_pages_take(pages, 10, p), 0);
	hs_host_device.calls_left = 1;
	hs_pages_give(pages, p, 10);
	assert_int_equal(hs_pages_used(pages), 0);
	assert_int_equal(hs_pages_take(pages, N_PAGES - 9, p), -ENOMEM);
	assert_int_equal(hs_pages_wipe(pages, p, 0, 4), -ENODEV);
}

static void test_no_memory(void **state)
{
	struct hs_pages *more = NULL;
	assert_int_equal(hs_pages_create(device, HEAD_BYTES, N_HEADS, 100000, &more), -ENOMEM);
	assert_null(more);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_a_page_given_to_another_reads_zero, open_pages, close_pages),
	    cmocka_unit_test_setup_teardown(test_all_or_none, open_pages, close_pages),
	    cmocka_unit_test_setup_teardown(test_wipe_reaches_its_positions_only, open_pages, close_pages),
	    cmocka_unit_test_setup_teardown(test_copy_takes_no_more_than_it_may, open_pages, close_pages),
	    cmocka_unit_test_setup_teardown(test_lost_device, open_pages, close_pages),
	    cmocka_unit_test_setup_teardown(test_no_memory, open_pages, close_pages),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
