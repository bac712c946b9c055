#include "cli/answers.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/test.h"

static struct hs_beir make_set(void)
{
	struct hs_beir set = {json_array(), json_array(), json_object()};
	for (int i = 0; i < 8; i++) {
		char id[8], document[8];
		snprintf(id, sizeof id, "q%d", i);
		snprintf(document, sizeof document, "d%d", i / 2);
		json_array_append_new(set.queries, json_pack("{s:s, s:s, s:[s]}", "_id", id, "text", id, "answers", "10,000円"));
		json_object_set_new(set.gold, id, json_pack("{s:i}", document, 1));
	}
	return set;
}

static void test_text_is_compared_by_what_it_says(void **state)
{
	json_t *answers = json_pack("[s, s]", "10,000円", "RW-1600");
	assert_true(hs_answers_hold("上限は１００００円です", answers));
	assert_true(hs_answers_hold("型番 rw-1600 を使う", answers));
	assert_false(hs_answers_hold("上限は1000円です", answers));
	assert_false(hs_answers_hold("", answers));
	assert_false(hs_answers_hold("\xff", answers));
	json_t *none = json_array();
	assert_false(hs_answers_hold("何でも", none));
	json_decref(answers);
	json_decref(none);
}

static void test_one_query_in_four_is_held_with_its_documents(void **state)
{
	struct hs_beir set = make_set();
	json_t *held = hs_answers_held_documents(&set);
	assert_int_equal(json_object_size(held), 2); /* d1 of q3, d3 of q7 */
	assert_non_null(json_object_get(held, "d1"));
	assert_non_null(json_object_get(held, "d3"));
	json_decref(held);
	hs_beir_finish(&set);
}

/* A person who is told everything that they may read: silent where the gold is held back, right elsewhere; q1 errs. */
static int ask(void *ctx, bool held, const char *question, json_t **ret, struct hs_err *err)
{
	++*(int *)ctx;
	const char *text = strcmp(question, "q1") == 0 ? "99円です[1]" : "10000円です[1]";
	*ret = json_pack("{s:[{s:{s:s}}], s:{s:s, s:[{s:s, s:s}], s:[{s:s}]}}", "choices", "message", "content", text, "hisho", "outcome",
			 held ? "not_found" : "answered", "evidence", "document", "doc_x", "quote", "上限は10,000円", "citations", "quote",
			 strcmp(question, "q1") == 0 ? "別の文" : "上限は10,000円");
	return *ret ? 0 : -ENOMEM;
}

static void test_figures(void **state)
{
	struct hs_beir set = make_set();
	struct hs_answers_figures f;
	int asked = 0;
	json_t *names = json_pack("{s:s}", "doc_x", "d0"); /* gold of q0 and q1 */
	assert_int_equal(hs_answers_measure(&set, names, 8, ask, &asked, &f, NULL), 0);
	assert_int_equal(asked, 8);
	assert_int_equal(f.asked, 6);
	assert_int_equal(f.answered, 6);
	assert_int_equal(f.contained, 5);
	assert_int_equal(f.found, 2);
	assert_int_equal(f.contained_found, 1);
	assert_int_equal(f.evident, 6);
	assert_int_equal(f.cited, 5);
	assert_int_equal(f.held, 2);
	assert_int_equal(f.silent, 2);
	asked = 0;
	assert_int_equal(hs_answers_measure(&set, names, 100, ask, &asked, &f, NULL), 0);
	assert_int_equal(asked, 8); /* no more than there are */
	json_decref(names);
	hs_beir_finish(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_is_compared_by_what_it_says),
		cmocka_unit_test(test_one_query_in_four_is_held_with_its_documents),
		cmocka_unit_test(test_figures),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
