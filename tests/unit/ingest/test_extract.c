#include "ingest/extract/extract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

static struct hs_document d;
static struct hs_err err;

static int tear_down(void **state)
{
	hs_document_finish(&d);
	return 0;
}

static int extract_bytes(const char *name, const char *media, const void *bytes, size_t n)
{
	hs_document_finish(&d);
	err = HS_ERR_INIT;
	const struct hs_extract_input in = {.data = bytes, .len = n, .name = name, .media = media};
	int rc = hs_extract_document(&in, &d, &err);
	if (rc == 0)
		assert_int_equal(hs_document_check(&d, NULL), 0);
	else
		assert_string_equal(err.hint[0] ? "hint" : "", "hint");
	return rc;
}

static int extract(const char *name, const char *text)
{
	return extract_bytes(name, "", text, strlen(text));
}

/* The blocks as lines: kind letter, level, text. */
static const char *blocks(void)
{
	static char out[4096];
	size_t n = 0;
	out[0] = '\0';
	for (size_t i = 0; i < d.n_blocks; i++) {
		const struct hs_block *b = &d.blocks[i];
		n += (size_t)snprintf(out + n, sizeof out - n, "%c%u:%.*s\n", "PHLTRC"[b->kind], b->level, (int)(b->end - b->start),
				      d.text + b->start);
	}
	return out;
}

static void test_text(void **state)
{
	assert_int_equal(extract("a.txt", "旅費規程\r\n\r\n第1章 総則\r\n（目的）\r\n第1条 定める。\r\n２　別に。\r\n\r\n段落一行目\r\n二行目\r\n"), 0);
	assert_string_equal(blocks(), "H1:旅費規程\nH3:第1章 総則\nP0:（目的）\n第1条 定める。\nP0:２　別に。\nP0:段落一行目\n二行目\n");
	assert_string_equal(d.title, "旅費規程");
	assert_string_equal(d.charset, "UTF-8");
	assert_string_equal(d.format, "text");
	assert_int_equal(d.blocks[1].src_start, 16);
	assert_int_equal(extract("c.txt", "医療法人\n夜勤勤務基準（看護部）　2026年改定\n\n第1条　定める。"), 0);
	assert_string_equal(d.title, "夜勤勤務基準");
	assert_int_equal(extract("d.txt", "2026年11月9日\n社員各位\n\n　　休業のお知らせ\n\n記"), 0);
	assert_string_equal(d.title, "休業のお知らせ");
	assert_int_equal(extract("e.txt", "本文です。規程について話す。\n\n続き。"), 0);
	assert_string_equal(d.title, "");
	assert_int_equal(extract("b.txt", "一行だけ"), 0);
	assert_string_equal(blocks(), "P0:一行だけ\n");
}

static void test_text_tables(void **state)
{
	assert_int_equal(extract("a.txt", "表:\n項目 | 金額\n売上 | 1,030\n原価 | 896\n終わり"), 0);
	assert_string_equal(blocks(), "P0:表:\nT0:項目\t金額\nR0:売上\t1,030\nR0:原価\t896\nP0:終わり\n");
	assert_int_equal(extract("a.txt", "a | b\nただの文"), 0);
	assert_string_equal(blocks(), "P0:a | b\nただの文\n");
}

static void test_charsets_map_to_source_lines(void **state)
{
	const char sjis[] = "\x94\xe9\x8f\x91\n\n\x94\xe9\x8f\x91\x94\xe9\n";
	assert_int_equal(extract_bytes("a.txt", "", sjis, sizeof sjis - 1), 0);
	assert_string_equal(d.charset, "CP932");
	assert_int_equal(d.n_blocks, 2);
	assert_int_equal(d.blocks[0].src_start, 0);
	assert_int_equal(d.blocks[1].src_start, 6);
	assert_int_equal(d.blocks[1].src_end, 13);
	const char utf16[] = "\xff\xfe" "a\0\n\0\n\0" "b\0c\0";
	assert_int_equal(extract_bytes("a.txt", "", utf16, sizeof utf16 - 1), 0);
	assert_int_equal(d.blocks[1].src_start, 8);
	assert_int_equal(d.blocks[1].src_end, 12);
	assert_int_equal(extract_bytes("a.txt", "text/plain; charset=Shift_JIS", "\xb1\xb2\xb3\xb4", 4), 0);
	assert_string_equal(d.text, "ｱｲｳｴ");
}

static void test_markdown(void **state)
{
	assert_int_equal(extract("a.md", "---\ntitle: \"題\"\n---\n# 見出し #\n\n本文の\n続き **強調** [字](http://x/)。\n\n"
					 "| 品 | 値 |\n|---|--:|\n| 甲 | `1` |\n\n- 一\n  - 二\n1. 三\n\n下線\n----\n\n```\ncode\n  x\n```\n> 引用\n"),
			 0);
	assert_string_equal(blocks(), "H1:見出し\nP0:本文の続き 強調 字。\nT0:品\t値\nR0:甲\t1\nL0:一\nL1:二\nL0:1. 三\nH2:下線\nC0:code\n  x\nP0:引用\n");
	assert_string_equal(d.title, "題");
	assert_int_equal(extract("a.md", "snake_case と 2 * 3 と \\*星\\*\n\n```\n閉じない"), 0);
	assert_string_equal(blocks(), "P0:snake_case と 2 * 3 と *星*\nC0:閉じない\n");
}

static void test_html(void **state)
{
	assert_int_equal(extract("a.html", "<title> 題 &amp; 名 </title><style>no</style><script>no()</script><h2>見出し</h2><p>日本\n語 a\nb"
					   "<p>x<br>y<table><tr><th>品<th>値<tr><td>甲<p>乙</td><td>1</table><dl><dt>語<dd>意</dl>"
					   "<ul><li>一<ul><li>二</ul></ul><pre>c\n d</pre>尾"),
			 0);
	assert_string_equal(blocks(), "H2:見出し\nP0:日本語 a b\nP0:x\ny\nT0:品\t値\nR0:甲 乙\t1\nL0:語\nL1:意\nL0:一\nL1:二\nC0:c\n d\nP0:尾\n");
	assert_string_equal(d.title, "題 & 名");
	assert_int_equal(extract("noname", "<!DOCTYPE html><p>x"), 0);
	assert_string_equal(d.format, "html");
	const char sjis[] = "<meta charset=Shift_JIS><p>\xb1\xb2</p>";
	assert_int_equal(extract_bytes("a.htm", "", sjis, sizeof sjis - 1), 0);
	assert_string_equal(blocks(), "P0:ｱｲ\n");
	assert_int_equal(extract("a.html", "<p hidden>見えない<p>見える<span style='Display : none'>これも</span>。"
					   "<table><thead><tr><td>甲<td>乙</thead><tr><td>1<td>2</table>"),
			 0);
	assert_string_equal(blocks(), "P0:見える。\nT0:甲\t乙\nR0:1\t2\n");
	assert_int_equal(extract("a.html", "<script>only</script>"), -ENODATA);
	assert_string_equal(err.code, "doc.empty");
}

static void repeat(const char *piece, size_t times, const char *name, int want, const char *code)
{
	size_t len = strlen(piece);
	char *bytes = malloc(len * times + 4);
	assert_non_null(bytes);
	for (size_t i = 0; i < times; i++)
		memcpy(bytes + i * len, piece, len);
	memcpy(bytes + len * times, "end", 3);
	assert_int_equal(extract_bytes(name, "", bytes, len * times + 3), want);
	if (want < 0)
		assert_string_equal(err.code, code);
	free(bytes);
}

static void test_nested_html(void **state)
{
	repeat("<div>", 100000, "a.html", -EINVAL, "doc.too_deep");
	repeat("<ul><li>", 100000, "a.html", -EINVAL, "doc.too_deep");
	repeat("<x-y>", 100000, "a.html", -EINVAL, "doc.too_deep");
	repeat("<div>", 1500, "a.html", 0, NULL);
	repeat("<p>x", 100000, "a.html", 0, NULL); /* never closed, but never nested */
	repeat("<div></span>", 1900, "a.html", 0, NULL);
	repeat("<table><tr><td>", 1500, "a.html", 0, NULL);
}

static void test_csv(void **state)
{
	assert_int_equal(extract("a.csv", "氏名,部署\r\n\"山田, 太\n郎\",\"\"\"総務\"\"\"\r\n佐藤,\n"), 0);
	assert_string_equal(blocks(), "T0:氏名\t部署\nR0:山田, 太 郎\t\"総務\"\nR0:佐藤\n");
	assert_int_equal(extract("a.tsv", "1\t2\n3\t4\n"), 0);
	assert_string_equal(blocks(), "R0:1\t2\nR0:3\t4\n");
	assert_int_equal(extract("a.csv", "a,b\n\"open"), -EINVAL);
	assert_string_equal(err.code, "doc.csv_quote");
	assert_non_null(strstr(err.object, "row 2"));
}

static void test_bad_input(void **state)
{
	assert_int_equal(extract("a.txt", ""), -ENODATA);
	assert_string_equal(err.code, "doc.empty");
	assert_int_equal(extract("a.txt", " \n　\n"), -ENODATA);
	assert_int_equal(extract("a.pdf", "PK\x03\x04zip"), -EINVAL);
	assert_string_equal(err.code, "doc.type_mismatch");
	assert_non_null(strstr(err.object, "zip"));
	assert_int_equal(extract("a.pdf", "hello"), -EINVAL);
	assert_string_equal(err.code, "doc.type_mismatch");
	assert_int_equal(extract("a.txt", "PK\x03\x04zip"), -ENOTSUP);
	assert_string_equal(err.code, "doc.unsupported");
	assert_int_equal(extract("a.docx", "text"), -EINVAL);
	assert_string_equal(err.code, "doc.type_mismatch");
	assert_int_equal(extract_bytes("a.txt", "", "a\0b", 3), -EILSEQ);
	assert_string_equal(err.code, "doc.binary");
	assert_int_equal(extract("a.txt", "\xff\xff\xff"), -EILSEQ);
	assert_string_equal(err.code, "doc.charset");
	const struct hs_extract_input huge = {.data = (const uint8_t *)"", .len = (size_t)2 << 30, .name = "big.txt", .media = ""};
	assert_int_equal(hs_extract_document(&huge, &d, &err), -EFBIG);
	assert_string_equal(err.code, "doc.too_large");
}

static void test_one_long_line(void **state)
{
	repeat("長い行", 10u * 1024 * 1024 / 9, "a.txt", 0, NULL);
	assert_int_equal(d.n_blocks, 1);
	repeat("long ", 2u * 1024 * 1024, "a.md", 0, NULL);
	repeat("a\t", 1u << 20, "a.csv", 0, NULL);
}

static void test_route(void **state)
{
	assert_true(hs_extract_is_pdf((const uint8_t *)"%PDF-1.7", 8));
	assert_true(hs_extract_is_pdf((const uint8_t *)"junk\n%PDF-1.7", 13));
	assert_false(hs_extract_is_pdf((const uint8_t *)"PK\x03\x04", 4));
	assert_false(hs_extract_is_pdf((const uint8_t *)"", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_text_tables),
		cmocka_unit_test(test_charsets_map_to_source_lines),
		cmocka_unit_test(test_markdown),
		cmocka_unit_test(test_html),
		cmocka_unit_test(test_nested_html),
		cmocka_unit_test(test_csv),
		cmocka_unit_test(test_bad_input),
		cmocka_unit_test(test_one_long_line),
		cmocka_unit_test(test_route),
	};
	return cmocka_run_group_tests(tests, NULL, tear_down);
}
