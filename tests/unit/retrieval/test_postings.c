#include "retrieval/postings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

static uint32_t next(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*state >> 33);
}

/* Chunks [first, first + n) with words drawn by a seed that their ordinal gives. */
static struct hs_segment *build(uint32_t first, uint32_t n, uint32_t step)
{
	struct hs_postings_builder *b = hs_postings_builder_create();
	struct hs_segment *s = NULL;

	assert_non_null(b);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t seed = first + (uint64_t)i * step;

		for (int w = 0; w < 40; w++) {
			char word[16];
			int len = snprintf(word, sizeof(word), "語%u", next(&seed) % 300);

			assert_int_equal(hs_postings_builder_add(b, w % 2 ? HS_FIELD_BIGRAMS : HS_FIELD_WORDS, word, (size_t)len), 0);
		}
		hs_postings_builder_end(b, first + i * step);
	}
	assert_int_equal(hs_postings_builder_finish(b, &s), 0);
	assert_true(hs_postings_builder_empty(b));
	hs_postings_builder_destroy(b);
	return s;
}

static void assert_same(const struct hs_segment *a, const struct hs_segment *b)
{
	for (int i = 0; i < HS_FIELDS; i++) {
		const struct hs_field_postings *x = &a->field[i], *y = &b->field[i];

		assert_int_equal(x->n_terms, y->n_terms);
		assert_int_equal(x->n_groups, y->n_groups);
		assert_int_equal(x->n_postings, y->n_postings);
		assert_memory_equal(x->term_at, y->term_at, (x->n_terms + 1) * 4);
		assert_memory_equal(x->group_at, y->group_at, (x->n_terms + 1) * 4);
		assert_memory_equal(x->group_start, y->group_start, (x->n_groups + 1) * 4);
		if (x->n_terms == 0)
			continue;
		assert_memory_equal(x->terms, y->terms, x->term_at[x->n_terms]);
		assert_memory_equal(x->group_extent, y->group_extent, x->n_groups * 4);
		assert_memory_equal(x->low, y->low, x->n_postings);
		assert_memory_equal(x->tf, y->tf, x->n_postings);
	}
}

static void test_terms_are_found_with_their_places(void **state)
{
	struct hs_postings_builder *b = hs_postings_builder_create();
	struct hs_segment *s = NULL;
	uint32_t first, end;

	for (int i = 0; i < 300; i++)
		assert_int_equal(hs_postings_builder_add(b, HS_FIELD_WORDS, "多", 3), 0);
	hs_postings_builder_end(b, 700);
	assert_int_equal(hs_postings_builder_add(b, HS_FIELD_WORDS, "多", 3), 0);
	assert_int_equal(hs_postings_builder_add(b, HS_FIELD_WORDS, "一", 3), 0);
	hs_postings_builder_end(b, 3); /* ordinals may come in any order */
	assert_int_equal(hs_postings_builder_finish(b, &s), 0);
	assert_true(hs_field_find(&s->field[0], "多", 3, &first, &end));
	assert_int_equal(end - first, 2);
	assert_int_equal(s->field[0].group_extent[first], 0);
	assert_int_equal(s->field[0].low[s->field[0].group_start[first]], 3);
	assert_int_equal(s->field[0].group_extent[first + 1], 2);
	assert_int_equal(s->field[0].low[s->field[0].group_start[first + 1]], 700 - 512);
	assert_int_equal(s->field[0].tf[s->field[0].group_start[first + 1]], 255); /* saturated */
	assert_false(hs_field_find(&s->field[0], "無", 3, &first, &end));
	assert_false(hs_field_find(&s->field[0], "", 0, &first, &end));
	assert_false(hs_field_find(&s->field[1], "多", 3, &first, &end));
	hs_segment_destroy(s);
	hs_postings_builder_destroy(b);
}

/* Term number i of many, some of which share more bytes than a fence's key holds. Ascending where i is. */
static size_t numbered(unsigned i, char *out, size_t cap)
{
	return (size_t)snprintf(out, cap, i % 3 ? "語%03u" : "長い共通の前置き%03u", i);
}

static void find_all(const struct hs_segment *s, unsigned n)
{
	char term[64];
	uint32_t first, end;

	for (unsigned i = 0; i < n + 5; i++) {
		size_t len = numbered(i, term, sizeof(term));

		assert_int_equal(hs_field_find(&s->field[0], term, len, &first, &end), i < n && i % 5 != 0);
		assert_false(hs_field_find(&s->field[0], term, len - 1, &first, &end));
		term[len] = 'x';
		assert_false(hs_field_find(&s->field[0], term, len + 1, &first, &end));
	}
	assert_false(hs_field_find(&s->field[0], "\xff\xff\xff\xff\xff\xff\xff\xff\xff", 9, &first, &end));
	assert_false(hs_field_find(&s->field[0], "", 0, &first, &end));
}

static void test_each_of_many_terms_is_found_and_no_other(void **state)
{
	for (unsigned n = 0; n < 200; n = n < 40 ? n + 1 : n + 53) {
		struct hs_postings_builder *b = hs_postings_builder_create();
		struct hs_segment *s = NULL, *decoded = NULL, *merged = NULL;
		HS_BUF_AUTO bytes = HS_BUF_INIT;
		char term[64];

		for (unsigned i = 0; i < n; i++) /* every fifth is not there */
			if (i % 5 != 0)
				assert_int_equal(hs_postings_builder_add(b, HS_FIELD_WORDS, term, numbered(i, term, sizeof(term))), 0);
		hs_postings_builder_end(b, 1);
		assert_int_equal(hs_postings_builder_finish(b, &s), 0);
		find_all(s, n);
		assert_int_equal(hs_segment_encode(s, &bytes), 0);
		assert_int_equal(hs_segment_decode(bytes.data, bytes.len, 256, &decoded, NULL), 0);
		find_all(decoded, n);
		assert_int_equal(hs_segment_merge((const struct hs_segment *const[]){decoded}, 1, NULL, 0, &merged), 0);
		find_all(merged, n);
		hs_segment_destroy(s);
		hs_segment_destroy(decoded);
		hs_segment_destroy(merged);
		hs_postings_builder_destroy(b);
	}
}

static void test_long_and_empty_terms_are_passed_over(void **state)
{
	struct hs_postings_builder *b = hs_postings_builder_create();
	struct hs_segment *s = NULL;
	char word[300];

	memset(word, 'a', sizeof(word));
	assert_int_equal(hs_postings_builder_add(b, HS_FIELD_WORDS, word, 0), 0);
	assert_int_equal(hs_postings_builder_add(b, HS_FIELD_WORDS, word, 256), 0);
	hs_postings_builder_end(b, 0);
	assert_true(hs_postings_builder_empty(b));
	assert_int_equal(hs_postings_builder_add(b, HS_FIELD_WORDS, word, 255), 0);
	hs_postings_builder_end(b, 0);
	assert_int_equal(hs_postings_builder_finish(b, &s), 0);
	assert_int_equal(s->field[0].n_terms, 1);
	hs_segment_destroy(s);
	hs_postings_builder_destroy(b);
}

static void test_encoding_gives_back_the_same(void **state)
{
	struct hs_segment *s = build(100, 900, 1), *back = NULL;
	HS_BUF_AUTO b = HS_BUF_INIT;

	assert_int_equal(hs_segment_encode(s, &b), 0);
	assert_int_equal(hs_segment_decode(b.data, b.len, 1000, &back, NULL), 0);
	assert_same(s, back);
	hs_segment_destroy(back);
	/* An ordinal that was never given out is refused: the masks have no bit for it. */
	assert_int_equal(hs_segment_decode(b.data, b.len, 512, &back, NULL), -EBADMSG);
	hs_segment_destroy(s);
}

static void test_damage_is_refused_or_harmless(void **state)
{
	struct hs_segment *s = build(0, 12, 37), *back;
	struct hs_err err = HS_ERR_INIT;
	HS_BUF_AUTO b = HS_BUF_INIT;

	assert_int_equal(hs_segment_encode(s, &b), 0);
	for (size_t n = 0; n < b.len; n++) {
		assert_int_equal(hs_segment_decode(b.data, n, 512, &back, &err), -EBADMSG);
		assert_string_equal(err.code, "index.segment");
	}
	for (size_t bit = 0; bit < b.len * 8; bit++) {
		b.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		back = NULL;
		if (hs_segment_decode(b.data, b.len, 512, &back, NULL) == 0) {
			for (int i = 0; i < HS_FIELDS; i++) { /* whatever it says now, it stays within bounds and in order */
				const struct hs_field_postings *f = &back->field[i];

				for (uint32_t g = 0; g < f->n_groups; g++) {
					assert_true(f->group_extent[g] < 2);
					assert_true(f->group_start[g] < f->group_start[g + 1]);
				}
			}
			hs_segment_destroy(back);
		}
		b.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	hs_segment_destroy(s);
}

static void test_merging_equals_building_at_once(void **state)
{
	struct hs_segment *parts[3] = {build(0, 300, 3), build(1, 300, 3), build(2, 300, 3)}, *all = build(0, 900, 1), *merged = NULL;

	assert_int_equal(hs_segment_merge((const struct hs_segment *const *)parts, 3, NULL, 0, &merged), 0);
	assert_same(all, merged);
	for (int i = 0; i < 3; i++)
		hs_segment_destroy(parts[i]);
	hs_segment_destroy(all);
	hs_segment_destroy(merged);
}

static void test_merging_leaves_the_dead_out(void **state)
{
	struct hs_segment *all = build(0, 512, 1), *rest = build(256, 256, 1), *merged = NULL;
	uint64_t alive[8] = {0, 0, 0, 0, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
	const struct hs_segment *part = all;

	assert_int_equal(hs_segment_merge(&part, 1, alive, 8, &merged), 0);
	assert_same(rest, merged);
	hs_segment_destroy(merged);
	/* Beyond the bits nothing lives. */
	assert_int_equal(hs_segment_merge(&part, 1, alive, 4, &merged), 0);
	assert_int_equal(merged->field[0].n_terms + merged->field[1].n_terms, 0);
	hs_segment_destroy(merged);
	hs_segment_destroy(all);
	hs_segment_destroy(rest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_terms_are_found_with_their_places),
		cmocka_unit_test(test_each_of_many_terms_is_found_and_no_other),
		cmocka_unit_test(test_long_and_empty_terms_are_passed_over),
		cmocka_unit_test(test_encoding_gives_back_the_same),
		cmocka_unit_test(test_damage_is_refused_or_harmless),
		cmocka_unit_test(test_merging_equals_building_at_once),
		cmocka_unit_test(test_merging_leaves_the_dead_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
