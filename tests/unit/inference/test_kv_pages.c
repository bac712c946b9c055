/* Pages of keys and values: zero when they change hands, held together within one owner only, never written while shared. */
#include "inference/cpu/kv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

#define P HS_PAGE_POSITIONS
#define HEADS 2u
#define DIM 40u

static struct hs_kv *make(bool q8)
{
	const struct hs_hyper h = {.n_kv_heads = HEADS, .head_dim = DIM};
	const struct hs_page_form form = hs_page_form(&h, 3, q8);
	struct hs_err err = HS_ERR_INIT;
	struct hs_kv *a = NULL;
	assert_int_equal(hs_kv_create(&form, 4096, &a, &err), 0);
	return a;
}

/* Something else at every position and of every `mark`, in all layers. */
static void fill(const struct hs_kv *a, uint8_t **pages, uint32_t from, uint32_t to, uint32_t mark)
{
	float k[HEADS * DIM], v[HEADS * DIM];
	for (uint32_t layer = 0; layer < 3; layer++)
		for (uint32_t at = from; at < to; at++) {
			for (uint32_t i = 0; i < HEADS * DIM; i++) {
				k[i] = 1 + (float)((i + at + layer + mark) % 97);
				v[i] = 100 + k[i];
			}
			hs_page_store(hs_kv_form(a), pages, layer, at, k, v);
		}
}

static bool is_zero(const struct hs_kv *a, const uint8_t *page)
{
	for (size_t i = 0; i < hs_kv_form(a)->page; i++)
		if (page[i])
			return false;
	return true;
}

static void test_next_owner_reads_zero(void **state)
{
	for (int q8 = 0; q8 < 2; q8++) {
		struct hs_kv *a = make(q8);
		uint8_t *mine[3], *next[3];
		assert_int_equal(hs_kv_take(a, 3, mine), 0);
		hs_kv_own(a, mine, 3, 7);
		fill(a, mine, 0, 3 * P, 1);
		assert_true(hs_kv_used(a) == 3 && hs_kv_of(a, 7) == 3 && hs_kv_of(a, 8) == 0);
		hs_kv_give(a, mine, 3);
		for (int i = 0; i < 3; i++)
			assert_true(is_zero(a, mine[i])); /* at once, not when it is taken again */
		assert_true(hs_kv_used(a) == 0 && hs_kv_of(a, 7) == 0);
		assert_int_equal(hs_kv_take(a, 3, next), 0);
		assert_ptr_equal(next[0], mine[0]); /* the test would show nothing of others */
		hs_kv_own(a, next, 3, 8);
		hs_kv_give(a, next, 3);
		hs_kv_destroy(a);
	}
}

static void test_of_one_owner_are_shared(void **state)
{
	for (int q8 = 0; q8 < 2; q8++) {
		struct hs_kv *a = make(q8);
		size_t page = hs_kv_form(a)->page;
		uint8_t *from[3], *to[3], *other[3], *was = malloc(2 * page), *own;
		assert_int_equal(hs_kv_take(a, 3, from), 0);
		assert_int_equal(hs_kv_take(a, 3, to), 0);
		assert_int_equal(hs_kv_take(a, 3, other), 0);
		hs_kv_own(a, from, 3, 7);
		hs_kv_own(a, to, 3, 7);
		hs_kv_own(a, other, 3, 8);
		own = to[2];
		fill(a, from, 0, 3 * P, 1);
		hs_kv_copy(a, to, from, 2 * P + 5);
		assert_true(to[0] == from[0] && to[1] == from[1] && to[2] == own); /* a part of a page is a copy */
		assert_int_equal(hs_kv_of(a, 7), 4);
		hs_kv_copy(a, other, from, 2 * P + 5); /* of another owner all are copies */
		assert_true(other[0] != from[0] && hs_kv_of(a, 8) == 3);
		assert_memory_equal(other[0], from[0], page);
		assert_memory_equal(other[2], to[2], page);
		/* Behind the last position that was wanted stands nothing: with that wiped, the page is as new. */
		assert_int_equal(hs_kv_wipe(a, other, 2 * P, 2 * P + 5), 0);
		assert_true(is_zero(a, other[2]));
		/* Who forgets part of a shared page gets its own; the other keeps what it had, to the last byte. */
		assert_non_null(was);
		memcpy(was, from[0], page);
		memcpy(was + page, from[1], page);
		assert_int_equal(hs_kv_wipe(a, to, P - 3, 2 * P), 0);
		assert_true(to[0] != from[0] && to[1] != from[1] && is_zero(a, to[1]));
		fill(a, to, P - 3, 2 * P, 50);
		assert_memory_equal(from[0], was, page);
		assert_memory_equal(from[1], was + page, page);
		fill(a, to, P - 3, P, 1);
		assert_memory_equal(to[0], was, page);
		hs_kv_give(a, from, 3);
		assert_int_equal(hs_kv_of(a, 7), 3);
		hs_kv_give(a, to, 3);
		hs_kv_give(a, other, 3);
		assert_int_equal(hs_kv_used(a), 0);
		free(was);
		hs_kv_destroy(a);
	}
}

static void test_a_shared_page_lives_as_long_as_one_holds_it(void **state)
{
	struct hs_kv *a = make(false);
	uint8_t *from[1], *to[1];
	assert_int_equal(hs_kv_take(a, 1, from), 0);
	assert_int_equal(hs_kv_take(a, 1, to), 0);
	fill(a, from, 0, P, 1);
	hs_kv_copy(a, to, from, P);
	hs_kv_give(a, from, 1);
	assert_true(to[0] == from[0] && !is_zero(a, to[0]));
	hs_kv_give(a, to, 1);
	assert_true(is_zero(a, to[0]));
	hs_kv_destroy(a);
}

static void test_all_or_none(void **state)
{
	struct hs_kv *a = make(true);
	uint32_t n = hs_kv_count(a);
	uint8_t **pages = calloc(n, sizeof *pages), *one;
	assert_non_null(pages);
	assert_int_equal(hs_kv_take(a, n + 1, pages), -ENOMEM);
	assert_int_equal(hs_kv_used(a), 0);
	assert_int_equal(hs_kv_take(a, n, pages), 0);
	assert_int_equal(hs_kv_take(a, 1, &one), -ENOMEM);
	hs_kv_give(a, pages, n);
	assert_int_equal(hs_kv_take(a, 1, &one), 0);
	hs_kv_give(a, &one, 1);
	free(pages);
	hs_kv_destroy(a);
}

/* A machine that cannot hold one context refuses the model, and says the sum. */
static void test_too_little_memory(void **state)
{
	const struct hs_page_form form = {.page = (size_t)1 << 44};
	struct hs_err err = HS_ERR_INIT;
	struct hs_kv *a = NULL;
	assert_int_equal(hs_kv_create(&form, 4096, &a, &err), -ENOMEM);
	assert_string_equal(err.code, "model.memory");
	assert_non_null(strstr(err.object, "MB"));
	assert_null(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_next_owner_reads_zero),
					   cmocka_unit_test(test_of_one_owner_are_shared),
					   cmocka_unit_test(test_a_shared_page_lives_as_long_as_one_holds_it),
					   cmocka_unit_test(test_all_or_none), cmocka_unit_test(test_too_little_memory)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
