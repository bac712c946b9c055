#include "text/sentence.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

static void assert_sentences(const char *text, const char *const *want)
{
	size_t at = 0, n = strlen(text);
	struct hs_sentence s;
	for (; *want; want++) {
		assert_true(hs_sentence_next(text, n, &at, &s));
		assert_int_equal(s.end - s.start, strlen(*want));
		assert_memory_equal(text + s.start, *want, strlen(*want));
	}
	assert_false(hs_sentence_next(text, n, &at, &s));
	assert_false(hs_sentence_next(text, n, &at, &s));
}
#define SENTENCES(text, ...) assert_sentences(text, (const char *const[]){__VA_ARGS__, NULL})

static void test_splits(void **state)
{
	SENTENCES("一つ目。二つ目！三つ目？", "一つ目。", "二つ目！", "三つ目？");
	SENTENCES("「はい。」と言った。次。", "「はい。」と言った。", "次。");
	SENTENCES("（注。）です。", "（注。）です。");
	SENTENCES("本当!? はい。", "本当!?", "はい。");
	SENTENCES("え？！　そう。", "え？！", "そう。");
	SENTENCES("見出し\n本文。\n\n終わり", "見出し", "本文。", "終わり");
	SENTENCES("Pi is 3.14. See www.example.jp. End", "Pi is 3.14.", "See www.example.jp.", "End");
	SENTENCES("（閉じない。次の行\n次。", "（閉じない。次の行", "次。");
	SENTENCES("閉じ）だけ。次。", "閉じ）だけ。", "次。");
	size_t at = 0;
	struct hs_sentence s;
	assert_false(hs_sentence_next("", 0, &at, &s));
	assert_false(hs_sentence_next(" 　\n", 5, &at, &s));
}

static void test_ended(void **state)
{
	assert_true(hs_sentence_ended("はい。", strlen("はい。")));
	assert_true(hs_sentence_ended("はい。\n", strlen("はい。\n")));
	assert_false(hs_sentence_ended("「はい。", strlen("「はい。")));
	assert_false(hs_sentence_ended("はい", strlen("はい")));
	assert_false(hs_sentence_ended("値は3.", strlen("値は3.")));
	assert_true(hs_sentence_ended("It is so. ", strlen("It is so. ")));
	assert_false(hs_sentence_ended("", 0));
}

/* Long text without an end is cut on characters, and every byte but white space is in some sentence. */
static void test_long(void **state)
{
	const size_t n = 3 * 10001;
	char *text = malloc(n);
	assert_non_null(text);
	for (size_t i = 0; i < n; i += 3)
		memcpy(text + i, "あ", 3);
	size_t at = 0, total = 0;
	struct hs_sentence s;
	while (hs_sentence_next(text, n, &at, &s)) {
		assert_true(s.end - s.start <= HS_SENTENCE_MAX);
		assert_int_equal((s.end - s.start) % 3, 0);
		assert_int_equal(s.start, total);
		total += s.end - s.start;
	}
	assert_int_equal(total, n);
	free(text);
}

static void test_invalid_bytes_still_move(void **state)
{
	size_t at = 0;
	struct hs_sentence s;
	assert_true(hs_sentence_next("\xff\xfe\x80", 3, &at, &s));
	assert_int_equal(at, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_splits),
		cmocka_unit_test(test_ended),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_invalid_bytes_still_move),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
