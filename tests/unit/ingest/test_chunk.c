#include "ingest/chunk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "ingest/extract/extract.h"
#include "ingest/outline.h"
#include "tests/unit/test.h"

static struct hs_document d;
static struct hs_chunks chunks;
static const char *filed_as; /* NULL: under its own title */

static int tear_down(void **state)
{
	hs_chunks_finish(&chunks);
	hs_document_finish(&d);
	return 0;
}

static void cut(const char *name, const char *text, size_t n, uint32_t max_chars)
{
	(void)tear_down(NULL);
	const struct hs_extract_input in = {.data = (const uint8_t *)text, .len = n, .name = name, .media = ""};
	assert_int_equal(hs_extract_document(&in, &d, NULL), 0);
	const struct hs_chunk_options options = {.max_chars = max_chars, .title = filed_as ? filed_as : d.title};
	assert_int_equal(hs_chunk(&d, &options, &chunks, NULL), 0);
}

static void is(size_t i, const char *context, const char *text)
{
	assert_true(i < chunks.count);
	const struct hs_chunk *c = &chunks.items[i];
	assert_string_equal(c->context, context);
	assert_int_equal(c->end - c->start, strlen(text));
	assert_memory_equal(d.text + c->start, text, strlen(text));
}

/* What holds for any document: ranges in order and within the limit, no word lost. */
static void assert_sound(uint32_t max_chars)
{
	char *covered = calloc(1, d.len + 1);
	assert_non_null(covered);
	uint32_t last = 0;
	for (size_t i = 0; i < chunks.count; i++) {
		const struct hs_chunk *c = &chunks.items[i];
		assert_true(c->start < c->end && c->end <= d.len && c->start >= last);
		last = c->start;
		assert_true(hs_utf8_valid(d.text + c->start, c->end - c->start, NULL));
		assert_true(hs_utf8_valid(c->context, strlen(c->context), NULL));
		assert_true(strlen(c->context) < HS_CHUNK_CONTEXT_MAX);
		assert_true(hs_utf8_count(d.text + c->start, c->end - c->start) <= max_chars);
		memset(covered + c->start, 1, c->end - c->start);
	}
	for (size_t i = 0; i < d.n_blocks; i++) {
		enum hs_outline plain = hs_outline_line(d.text + d.blocks[i].start, d.blocks[i].end - d.blocks[i].start, NULL);
		if (d.blocks[i].kind == HS_BLOCK_HEADING || (plain != HS_OUTLINE_NONE && plain < HS_OUTLINE_ARTICLE))
			continue; /* in contexts */
		for (uint32_t at = d.blocks[i].start; at < d.blocks[i].end; at++)
			assert_true(covered[at] || strchr(" \n\t", d.text[at]) || memcmp(d.text + at, "　", 3) == 0 ||
				    ((unsigned char)d.text[at] & 0xc0) == 0x80);
	}
	free(covered);
}

static void test_regulation(void **state)
{
	static const char text[] = "旅費規程\n\n第1章 総則\n（目的）\n第1条 旅費を定める。\n第2条（範囲）社員に適用する。\n２　役員は別に定める。\n"
				   "第2章 出張\n第3条 第1条に従う。\n附則\n令和6年から施行する。";
	cut("a.txt", text, sizeof text - 1, 0);
	assert_int_equal(chunks.count, 4);
	is(0, "第1章 総則 > （目的） 第1条", "（目的）\n第1条 旅費を定める。");
	is(1, "第1章 総則 > 第2条（範囲）", "第2条（範囲）社員に適用する。\n２　役員は別に定める。");
	is(2, "第2章 出張 > 第3条", "第3条 第1条に従う。");
	is(3, "附則", "令和6年から施行する。");
}

static void test_title_is_no_context(void **state)
{
	static const char text[] = "株式会社　甲　就業規則\n\n第1章 総則\n第1条 定める。\n";
	cut("a.txt", text, sizeof text - 1, 0);
	assert_string_equal(d.title, "株式会社 甲 就業規則"); /* with other spaces */
	is(0, "第1章 総則 > 第1条", "第1条 定める。");
	filed_as = "file1"; /* what it calls itself must be found all the same */
	cut("a.txt", text, sizeof text - 1, 0);
	is(0, "株式会社　甲　就業規則 > 第1章 総則 > 第1条", "第1条 定める。");
	static const char html[] = "<title>製品FAQ</title><h2>価格</h2><p>百円です。";
	cut("a.html", html, sizeof html - 1, 0);
	is(0, "製品FAQ > 価格", "百円です。");
	filed_as = "製品FAQ";
	cut("a.html", html, sizeof html - 1, 0);
	is(0, "価格", "百円です。");
	filed_as = NULL;
}

static void test_long_article_by_paragraphs(void **state)
{
	char text[4096] = "第9条（長い条）最初の項である。\n";
	for (int i = 2; i < 12; i++)
		(void)snprintf(text + strlen(text), sizeof text - strlen(text), "%d　この項は二十文字ほどの長さを持つ文である。\n", i);
	cut("a.txt", text, strlen(text), 60);
	assert_true(chunks.count > 3);
	for (size_t i = 0; i < chunks.count; i++) {
		assert_string_equal(chunks.items[i].context, "第9条（長い条）");
		assert_true(i == 0 || (d.text[chunks.items[i].start] >= '1' && d.text[chunks.items[i].start] <= '9'));
		assert_true(i == 0 || chunks.items[i].start >= chunks.items[i - 1].end); /* no overlap in articles */
	}
	assert_sound(60);
}

static void test_prose_overlaps_one_sentence(void **state)
{
	char text[4096] = "";
	for (int i = 0; i < 40; i++)
		(void)snprintf(text + strlen(text), sizeof text - strlen(text), "%02d番目。", i);
	cut("a.txt", text, strlen(text), 60);
	assert_true(chunks.count >= 4);
	for (size_t i = 1; i < chunks.count; i++)
		assert_int_equal(chunks.items[i - 1].end - chunks.items[i].start, strlen("00番目。"));
	assert_sound(60);
}

static void test_never_across_headings(void **state)
{
	static const char text[] = "# 題\n\n短い。\n\n## 甲\n\n甲の文。\n\n## 空\n\n## 乙\n\n乙の文。\n";
	cut("a.md", text, sizeof text - 1, 0);
	assert_int_equal(chunks.count, 4);
	is(0, "", "短い。");
	is(1, "甲", "甲の文。");
	is(2, "", "空"); /* a heading over nothing can still be found */
	is(3, "乙", "乙の文。");
}

static void test_table_rows_keep_their_header(void **state)
{
	char text[8192] = "氏名,部署\n";
	for (int i = 0; i < 100; i++)
		(void)snprintf(text + strlen(text), sizeof text - strlen(text), "社員%03d,総務部第%d課\n", i, i % 7 + 1);
	cut("a.csv", text, strlen(text), 100);
	assert_true(chunks.count > 10);
	assert_string_equal(chunks.items[0].context, "");
	for (size_t i = 1; i < chunks.count; i++) {
		assert_string_equal(chunks.items[i].context, "氏名 部署");
		assert_memory_equal(d.text + chunks.items[i].start, "社員", 6);
	}
	assert_sound(100);
	static const char mixed[] = "## 表\n\n前文。\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n後文。\n";
	cut("a.md", mixed, sizeof mixed - 1, 0);
	assert_int_equal(chunks.count, 1);
	is(0, "表", "前文。\na\tb\n1\t2\n後文。");
}

static void test_long_things_are_cut(void **state)
{
	const size_t n = 3 * 50000;
	char *text = malloc(n);
	assert_non_null(text);
	for (size_t i = 0; i < n; i += 3)
		memcpy(text + i, i % 150 ? "長" : "、", 3);
	cut("a.txt", text, n, 0);
	assert_sound(HS_CHUNK_CHARS_DEFAULT);
	assert_true(chunks.count >= 50000 / HS_CHUNK_CHARS_DEFAULT);
	cut("a.csv", text, n, 0);
	assert_sound(HS_CHUNK_CHARS_DEFAULT);
	free(text);
}

/* Lines of every kind in every order. */
static void test_properties(void **state)
{
	static const char *const lines[] = {"# 見出し", "## 節", "本文です。次の文です。", "", "- 項目", "| a | b |", "|---|---|", "| 1 | 2 |",
					    "```", "第3条（何か）　定める。", "２　前項。", "（目的）", "第1章 総則", "附則", "長い長い長い長い長い長い長い長い長い長い長い長い長い長い長い長い長い長い長い長い文。", "> 引用", "---"};
	uint64_t seed = 7777777;
	for (int round = 0; round < 2000; round++) {
		char text[4096] = "始。\n";
		for (int k = 0; k < 30; k++) {
			seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
			strncat(text, lines[seed % (sizeof lines / sizeof lines[0])], 512);
			strncat(text, "\n", 2);
		}
		cut(round % 2 ? "a.md" : "a.txt", text, strlen(text), 50);
		assert_sound(50);
	}
}

static void test_too_many(void **state)
{
	const size_t rows = HS_CHUNKS_MAX + 10;
	char *text = malloc(rows * 102 + 1), *p = text;
	assert_non_null(text);
	for (size_t i = 0; i < rows; i++, p += 102) {
		memset(p, 'x', 102);
		p[50] = ';';
		p[101] = '\n';
	}
	(void)tear_down(NULL);
	const struct hs_extract_input in = {.data = (const uint8_t *)text, .len = (size_t)(p - text), .name = "a.csv", .media = ""};
	assert_int_equal(hs_extract_document(&in, &d, NULL), 0);
	struct hs_err err = HS_ERR_INIT;
	const struct hs_chunk_options options = {.max_chars = 110};
	assert_int_equal(hs_chunk(&d, &options, &chunks, &err), -EFBIG);
	assert_string_equal(err.code, "doc.too_much_text");
	assert_null(chunks.items);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_regulation),
		cmocka_unit_test(test_title_is_no_context),
		cmocka_unit_test(test_long_article_by_paragraphs),
		cmocka_unit_test(test_prose_overlaps_one_sentence),
		cmocka_unit_test(test_never_across_headings),
		cmocka_unit_test(test_table_rows_keep_their_header),
		cmocka_unit_test(test_long_things_are_cut),
		cmocka_unit_test(test_properties),
		cmocka_unit_test(test_too_many),
	};
	return cmocka_run_group_tests(tests, NULL, tear_down);
}
