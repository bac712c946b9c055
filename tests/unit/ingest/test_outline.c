#include "ingest/outline.h"

#include <string.h>

#include "tests/unit/test.h"

static void is(enum hs_outline want, const char *label, const char *line)
{
	size_t n = 0;
	assert_int_equal(hs_outline_line(line, strlen(line), &n), want);
	assert_int_equal(n, strlen(label));
	assert_memory_equal(line, label, n);
}

static void test_headings(void **state)
{
	is(HS_OUTLINE_CHAPTER, "第1章 総則", "第1章 総則");
	is(HS_OUTLINE_CHAPTER, "　第十二章　雑則", "　第十二章　雑則");
	is(HS_OUTLINE_PART, "第二編 債権", "第二編 債権");
	is(HS_OUTLINE_SECTION, "第３節の２ 休職", "第３節の２ 休職");
	is(HS_OUTLINE_SUBSECTION, "第1款 通則", "第1款 通則");
	is(HS_OUTLINE_CHAPTER, "附　則", "附　則");
	is(HS_OUTLINE_CHAPTER, "附則（令和6年4月1日）", "附則（令和6年4月1日）");
}

static void test_articles(void **state)
{
	is(HS_OUTLINE_ARTICLE, "第24条（宿泊費）", "第24条（宿泊費）　宿泊費は次のとおりとする。");
	is(HS_OUTLINE_ARTICLE, "第二十四条の二", "第二十四条の二　削除");
	is(HS_OUTLINE_ARTICLE, "第 5 条 (目的)", "第 5 条 (目的)");
	is(HS_OUTLINE_ARTICLE, "第３条", "第３条　この規程において");
	is(HS_OUTLINE_PARAGRAPH, "", "２　前項の規定は");
	is(HS_OUTLINE_PARAGRAPH, "", "10 次の各号");
	is(HS_OUTLINE_PARAGRAPH, "", "②　会社は");
}

static void test_references_are_none(void **state)
{
	is(HS_OUTLINE_NONE, "", "第24条に定める手続きは");
	is(HS_OUTLINE_NONE, "", "第24条第2項の規定により");
	is(HS_OUTLINE_NONE, "", "第3章では、次のことを述べる");
	is(HS_OUTLINE_NONE, "", "第3章 これは文であって見出しではない。");
	is(HS_OUTLINE_NONE, "", "第一に重要なこと");
	is(HS_OUTLINE_NONE, "", "1 一つ目");
	is(HS_OUTLINE_NONE, "", "2024年");
	is(HS_OUTLINE_NONE, "", "3.14");
	is(HS_OUTLINE_NONE, "", "");
	is(HS_OUTLINE_NONE, "", "第");
	is(HS_OUTLINE_NONE, "", "\xff\xfe");
}

static void test_captions(void **state)
{
	assert_true(hs_outline_caption("（目的）", strlen("（目的）")));
	assert_true(hs_outline_caption(" (目的) ", strlen(" (目的) ")));
	assert_false(hs_outline_caption("（目的）本文", strlen("（目的）本文")));
	assert_false(hs_outline_caption("（開いたまま", strlen("（開いたまま")));
	assert_false(hs_outline_caption("", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headings),
		cmocka_unit_test(test_articles),
		cmocka_unit_test(test_references_are_none),
		cmocka_unit_test(test_captions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
