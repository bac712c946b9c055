#include "retrieval/vectors.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

static float noise(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (float)(int32_t)(*state >> 32) / 2147483648.f;
}

static void test_paths_agree_bit_for_bit(void **state)
{
	static const uint32_t dimensions[] = {1, 31, 32, 33, 384, 768, 1000, 4096};
	uint64_t seed = 1;

	for (size_t d = 0; d < HS_ARRAY_LEN(dimensions); d++) {
		struct hs_vectors *rows = hs_vectors_create(dimensions[d], 16);
		struct hs_vector_query q;
		float v[4096];

		assert_non_null(rows);
		for (uint32_t i = 0; i < dimensions[d]; i++)
			v[i] = noise(&seed);
		assert_int_equal(hs_vector_query_init(&q, v, dimensions[d]), 0);
		for (uint32_t r = 0; r < 16; r++) {
			const int8_t *row = rows->data + r * rows->stride;

			for (uint32_t i = 0; i < dimensions[d]; i++)
				v[i] = noise(&seed);
			assert_true(hs_vector_quantise(v, dimensions[d], rows->data + r * rows->stride) > 0);
			assert_int_equal(hs_vector_dot(&q, row), hs_vector_dot_plain(&q, row));
		}
		hs_vector_query_finish(&q);
		hs_vectors_destroy(rows);
	}
}

static void test_the_largest_sums_do_not_overflow(void **state)
{
	float ones[4096];

	for (uint32_t i = 0; i < 4096; i++)
		ones[i] = i % 2 ? -1.f : 1.f;
	for (uint32_t d = 32; d <= 4096; d *= 2) {
		struct hs_vectors *rows = hs_vectors_create(d, 1);
		struct hs_vector_query q;
		float scale = hs_vector_quantise(ones, d, rows->data), got;

		assert_int_equal(hs_vector_query_init(&q, ones, d), 0);
		got = (float)hs_vector_dot(&q, rows->data) * scale * q.scale;
		assert_true(fabsf(got - (float)d) < 0.01f * (float)d);
		hs_vector_query_finish(&q);
		hs_vectors_destroy(rows);
	}
}

static void test_rounding_keeps_cosines_close(void **state)
{
	uint64_t seed = 9;

	for (int round = 0; round < 200; round++) {
		struct hs_vectors *row = hs_vectors_create(384, 1);
		struct hs_vector_query q;
		float a[384], b[384], aa = 0, bb = 0, ab = 0;

		for (int i = 0; i < 384; i++) {
			a[i] = noise(&seed);
			b[i] = a[i] * 0.5f + noise(&seed) * 0.5f;
			aa += a[i] * a[i];
			bb += b[i] * b[i];
		}
		for (int i = 0; i < 384; i++) {
			a[i] /= sqrtf(aa);
			b[i] /= sqrtf(bb);
			ab += a[i] * b[i];
		}
		assert_int_equal(hs_vector_query_init(&q, a, 384), 0);
		assert_true(fabsf((float)hs_vector_dot(&q, row->data)) == 0);
		float scale = hs_vector_quantise(b, 384, row->data);
		assert_true(fabsf((float)hs_vector_dot(&q, row->data) * scale * q.scale - ab) < 0.005f);
		hs_vector_query_finish(&q);
		hs_vectors_destroy(row);
	}
}

static void test_what_is_no_vector_is_refused(void **state)
{
	float v[4] = {0};
	struct hs_vector_query q;
	int8_t row[4] = {9, 9, 9, 9};

	assert_true(hs_vector_quantise(v, 4, row) == 0);
	assert_int_equal(row[3], 0);
	assert_int_equal(hs_vector_query_init(&q, v, 4), -EINVAL);
	v[2] = NAN;
	assert_true(hs_vector_quantise(v, 4, row) == 0);
	assert_int_equal(hs_vector_query_init(&q, v, 4), -EINVAL);
	v[2] = INFINITY;
	assert_true(hs_vector_quantise(v, 4, row) == 0);
	v[2] = 1e-44f; /* its inverse is not finite */
	assert_true(hs_vector_quantise(v, 4, row) == 0);
	assert_int_equal(hs_vector_query_init(&q, v, 4), -EINVAL);
	assert_int_equal(hs_vector_query_init(&q, v, 0), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths_agree_bit_for_bit),
		cmocka_unit_test(test_the_largest_sums_do_not_overflow),
		cmocka_unit_test(test_rounding_keeps_cosines_close),
		cmocka_unit_test(test_what_is_no_vector_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
