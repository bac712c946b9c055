#include "retrieval/fts.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/retrieval/fixture.h"

static void test_what_is_written_becomes_quoted_strings(void **state)
{
	static const struct {
		const char *text, *expression, *plain;
	} cases[] = {
		{"旅費", "(\"旅費\")", "旅費\n"},
		{"旅費 規程", "(\"旅費\" AND \"規程\")", "旅費\n規程\n"},
		{"旅費　規程", "(\"旅費\" AND \"規程\")", "旅費\n規程\n"},
		{"旅費 AND 規程", "(\"旅費\" AND \"規程\")", "旅費\n規程\n"},
		{"旅費 OR 規程 AND 出張", "(\"旅費\") OR (\"規程\" AND \"出張\")", "旅費\n規程\n出張\n"},
		{"旅費 ＯＲ 規程", "(\"旅費\") OR (\"規程\")", "旅費\n規程\n"},
		{"旅費 NOT 出張", "(\"旅費\" NOT \"出張\")", "旅費\n"},
		{"「旅費 規程」", "(\"旅費 規程\")", "旅費 規程\n"},
		{"\"a b\" *", "(\"a b\"*)", "a b\n"},
		{"出張*", "(\"出張\"*)", "出張\n"},
		{"出張＊", "(\"出張\"*)", "出張\n"},
		{"（旅費 OR 交通費）規程", "(((\"旅費\") OR (\"交通費\")) AND \"規程\")", "旅費\n交通費\n規程\n"},
		{"and or not", "(\"and\" AND \"or\" AND \"not\")", "and\nor\nnot\n"},
		{"「a\"b」", "(\"a\"\"b\")", "a\"b\n"},
		{"text:秘", "(\"text:秘\")", "text:秘\n"},
		{"^a + b {c} -d", "(\"^a\" AND \"+\" AND \"b\" AND \"{c}\" AND \"-d\")", "^a\n+\nb\n{c}\n-d\n"},
		{"NEAR(a b)", "(\"NEAR\" AND ((\"a\" AND \"b\")))", "NEAR\na\nb\n"},
	};

	for (size_t i = 0; i < HS_ARRAY_LEN(cases); i++) {
		HS_BUF_AUTO out = HS_BUF_INIT;
		HS_BUF_AUTO plain = HS_BUF_INIT;
		struct hs_err why = HS_ERR_INIT;

		if (hs_fts_expression(cases[i].text, strlen(cases[i].text), &out, &plain, &why) < 0)
			fail_msg("%s: %s %s", cases[i].text, why.code, why.object);
		assert_string_equal(hs_buf_cstr(&out), cases[i].expression);
		assert_string_equal(hs_buf_cstr(&plain), cases[i].plain);
	}
}

static void test_what_does_not_parse_says_where(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{"", "a word is missing at character 1"},
		{"   ", "a word is missing"},
		{"AND a", "an operator without a word before it at character 1"},
		{"a OR", "a word is missing at character 5"},
		{"a AND AND b", "an operator"},
		{"NOT a", "an operator"},
		{"(a", "a parenthesis that does not close at character 1"},
		{"a)", "a parenthesis that nothing opened at character 2"},
		{"()", "a parenthesis that nothing opened"},
		{"*", "* without a word"},
		{"a **", "* without a word"},
		{"\"a", "a quotation that does not end at character 1"},
		{"旅費 「規程", "a quotation that does not end at character 4"},
		{"\"\"", "an empty phrase"},
		{"a」", "a closing quotation mark that nothing opened at character 2"},
		{"a NOT b c", "a part that does not fit"},
	};

	for (size_t i = 0; i < HS_ARRAY_LEN(cases); i++) {
		HS_BUF_AUTO out = HS_BUF_INIT;
		struct hs_err why = HS_ERR_INIT;

		assert_int_equal(hs_fts_expression(cases[i].text, strlen(cases[i].text), &out, NULL, &why), -EINVAL);
		assert_string_equal(why.code, "search.syntax");
		if (strncmp(why.object, cases[i].says, strlen(cases[i].says)) != 0)
			fail_msg("%s: %s", cases[i].text, why.object);
		assert_int_equal(out.len, 0);
	}
}

static void test_depth_and_width_are_bounded(void **state)
{
	HS_BUF_AUTO text = HS_BUF_INIT;
	HS_BUF_AUTO out = HS_BUF_INIT;
	struct hs_err why = HS_ERR_INIT;

	for (int i = 0; i <= HS_FTS_PARTS_MAX; i++)
		must(hs_buf_append_str(&text, "a "));
	assert_int_equal(hs_fts_expression((char *)text.data, text.len, &out, NULL, &why), -EINVAL);
	text.len = 0;
	for (int i = 0; i < 100000; i++)
		must(hs_buf_append_byte(&text, '('));
	assert_int_equal(hs_fts_expression((char *)text.data, text.len, &out, NULL, &why), -EINVAL);
	assert_int_equal(strncmp(why.object, "parentheses too deep", 20), 0);
	assert_int_equal(hs_fts_expression("a\0b", 3, &out, NULL, &why), -EINVAL);
	assert_string_equal(why.code, "search.text");
	assert_int_equal(hs_fts_expression("\xff", 1, &out, NULL, &why), -EINVAL);
}

static void test_exact_matching(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *text;
		size_t n;
	} cases[] = {
		{"旅費", 2}, {"「旅費規程」", 1}, {"「規程旅費」", 0}, {"旅費 AND 出張", 1}, {"旅費 OR 出張", 3}, {"旅費 NOT 出張", 1},
		{"出張*", 2}, {"Hish*", 1}, {"hisho", 1}, {"ＨＩＳＨＯ", 1}, {"Hish", 0}, {"(旅費 OR 出張) NOT 規程", 1},
		{"head:旅費", 0}, {"text : 旅費", 0}, {"chunks_fts", 0}, {"\"旅費\" \"規程\"", 2}, {"給与", 0}, {"-旅費", 2},
	};

	SKIP_WITHOUT_DICTIONARY(f);
	(void)fixture_put(f, f->notices, "", "旅費規程を定める。");
	(void)fixture_put(f, f->notices, "", "旅費は出張の規程による。");
	(void)fixture_put(f, f->notices, "", "出張の申請はHishoで行う。");
	(void)fixture_put(f, f->pay, "給与", "給与の旅費と出張とHishoの規程。");
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < HS_ARRAY_LEN(cases); i++) {
			size_t n = fixture_count(f, "tanaka", HS_SEARCH_PHRASE, cases[i].text);

			if (n != cases[i].n)
				fail_msg("%s: %zu, not %zu", cases[i].text, n, cases[i].n);
		}
		fixture_reopen(f); /* the tokenizer is registered on every connection */
	}
}

static void test_a_connection_without_the_tokenizer_cannot_read_the_table(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db;

	SKIP_WITHOUT_DICTIONARY(f);
	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_not_equal(sqlite3_exec(db, "SELECT * FROM chunks_fts", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_written_becomes_quoted_strings),
		cmocka_unit_test(test_what_does_not_parse_says_where),
		cmocka_unit_test(test_depth_and_width_are_bounded),
		cmocka_unit_test_setup_teardown(test_exact_matching, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_a_connection_without_the_tokenizer_cannot_read_the_table, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
