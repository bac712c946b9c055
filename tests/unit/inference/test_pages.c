/* Pages of keys and values: nobody reads what another left there. */
#include "inference/cuda/pages.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/test.h"

#define HEAD_BYTES (16u * 64) /* 16 positions of 32 halves */
#define N_HEADS 6u
#define PAGE (HEAD_BYTES * N_HEADS)
#define N_PAGES 70u
#define Q8_HEAD (16u * (2 + 32)) /* the same as bytes: scales first */

static struct hs_device *device;
static struct hs_pages *pages;

static int open_pages(void **state)
{
	struct hs_err err = HS_ERR_INIT;
	hs_host_device = (struct hs_host_device){.memory = 1u << 24, .calls_left = -1};
	return hs_device_open(0, &device, &err) < 0 ||
	       hs_pages_create(device, HS_GPU_CACHE_F16, 32, N_HEADS, N_PAGES, &pages) < 0;
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
	hs_pages_own(pages, to, 2, 5); /* not whose they were */
	assert_int_equal(hs_pages_copy(pages, to, from, 21), 0);
	assert_true(to[0] != from[0]);
	assert_memory_equal(page_at(to[0]), page_at(from[0]), PAGE);
	for (uint32_t h = 0; h < N_HEADS; h++) {
		const uint8_t *head = page_at(to[1]) + h * HEAD_BYTES;
		assert_memory_equal(head, page_at(from[1]) + h * HEAD_BYTES, 5 * 64);
		assert_true(is_zero(head + 5 * 64, 11 * 64));
	}
}

/* Whole pages are held together by sequences of one owner, until the last of them gives them back. */
static void test_one_owner_shares(void **state)
{
	uint32_t a[3], b[3], c[3], rest[N_PAGES];
	assert_int_equal(hs_pages_take(pages, 3, a), 0);
	assert_int_equal(hs_pages_take(pages, 3, b), 0);
	hs_pages_own(pages, a, 3, 7);
	hs_pages_own(pages, b, 3, 7);
	for (uint32_t i = 0; i < 3; i++)
		fill(a[i], (uint8_t)(0x11 * (i + 1)));
	assert_int_equal(hs_pages_copy(pages, b, a, 40), 0);
	assert_true(b[0] == a[0] && b[1] == a[1] && b[2] != a[2]);
	assert_memory_equal(page_at(b[2]), page_at(a[2]), 8 * 64);
	assert_int_equal(hs_pages_of(pages, 7), 4);
	assert_int_equal(hs_pages_used(pages), 4);

	/* b forgets what lies behind 20: a's page stays as it is */
	assert_int_equal(hs_pages_part(pages, b, 20, 40), 0);
	assert_int_equal(hs_pages_wipe(pages, b, 20, 40), 0);
	assert_true(b[0] == a[0] && b[1] != a[1]);
	for (uint32_t h = 0; h < N_HEADS; h++) {
		assert_memory_equal(page_at(b[1]) + h * HEAD_BYTES, page_at(a[1]) + h * HEAD_BYTES, 4 * 64);
		assert_true(is_zero(page_at(b[1]) + h * HEAD_BYTES + 4 * 64, 12 * 64));
		assert_int_equal(page_at(a[1])[h * HEAD_BYTES + 16 * 64 - 1], 0x22);
	}
	assert_int_equal(hs_pages_of(pages, 7), 5);

	hs_pages_give(pages, a, 3);
	assert_int_equal(page_at(b[0])[0], 0x11); /* b still holds it */
	assert_int_equal(hs_pages_of(pages, 7), 3);
	assert_int_equal(hs_pages_take(pages, N_PAGES - 3, rest), 0);
	for (uint32_t i = 0; i < N_PAGES - 3; i++)
		assert_true(rest[i] != b[0] && is_zero(page_at(rest[i]), PAGE));
	/* no page is left to part with */
	hs_pages_give(pages, rest, 3);
	assert_int_equal(hs_pages_take(pages, 3, c), 0);
	hs_pages_own(pages, c, 3, 7);
	assert_int_equal(hs_pages_copy(pages, c, b, 16), 0);
	assert_int_equal(hs_pages_take(pages, 1, rest), 0);
	assert_int_equal(hs_pages_part(pages, c, 3, 16), -ENOMEM);
	assert_int_equal(page_at(b[0])[0], 0x11);
	hs_pages_give(pages, b, 3);
	assert_int_equal(page_at(c[0])[0], 0x11);
	hs_pages_give(pages, c, 3);
	assert_int_equal(hs_pages_of(pages, 7), 0);
	assert_int_equal(hs_pages_take(pages, 5, rest), 0);
	for (uint32_t i = 0; i < 5; i++)
		assert_true(is_zero(page_at(rest[i]), PAGE));
}

/* Of pages of bytes a position is its scales and its bytes. */
static void test_pages_of_bytes(void **state)
{
	struct hs_pages *q8 = NULL;
	uint32_t from[2], to[2];
	assert_int_equal(hs_pages_create(device, HS_GPU_CACHE_Q8, 32, N_HEADS, 8, &q8), 0);
	assert_int_equal(hs_pages_bytes(q8), N_HEADS * Q8_HEAD);
	assert_int_equal(hs_pages_take(q8, 2, from), 0);
	assert_int_equal(hs_pages_take(q8, 2, to), 0);
	hs_pages_own(q8, to, 2, 5);
	memset(hs_pages_pool(q8) + from[0] * hs_pages_bytes(q8), 0x33, 2 * N_HEADS * Q8_HEAD);
	assert_int_equal(hs_pages_copy(q8, to, from, 21), 0);
	assert_int_equal(hs_pages_wipe(q8, from, 21, 32), 0);
	for (uint32_t h = 0; h < N_HEADS; h++)
		for (int which = 0; which < 2; which++) {
			const uint8_t *head = hs_pages_pool(q8) + (which ? to : from)[1] * hs_pages_bytes(q8) + h * Q8_HEAD;
			for (uint32_t at = 0; at < 16; at++)
				assert_true(head[2 * at] == (at < 5 ? 0x33 : 0) && head[2 * at + 1] == head[2 * at] &&
					    head[32 + 32 * at] == head[2 * at] && head[32 + 32 * at + 31] == head[2 * at]);
		}
	hs_pages_destroy(q8);
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
	assert_int_equal(hs_pages_create(device, HS_GPU_CACHE_F16, 32, N_HEADS, 100000, &more), -ENOMEM);
	assert_null(more);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_a_page_given_to_another_reads_zero, open_pages, close_pages),
	    cmocka_unit_test_setup_teardown(test_all_or_none, open_pages, close_pages),
	    cmocka_unit_test_setup_teardown(test_wipe_reaches_its_positions_only, open_pages, close_pages),
	    cmocka_unit_test_setup_teardown(test_copy_takes_no_more_than_it_may, open_pages, close_pages),
	    cmocka_unit_test_setup_teardown(test_one_owner_shares, open_pages, close_pages),
	    cmocka_unit_test_setup_teardown(test_pages_of_bytes, open_pages, close_pages),
	    cmocka_unit_test_setup_teardown(test_lost_device, open_pages, close_pages),
	    cmocka_unit_test_setup_teardown(test_no_memory, open_pages, close_pages),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
