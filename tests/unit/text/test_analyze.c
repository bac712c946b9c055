#include "text/analyze.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"
#include "tests/unit/test.h"
#include "text/chartab.h"
#include "text/normalize.h"

static struct hs_analyzer *analyzer;
static struct hs_tagger *tagger;
static struct hs_tokens words, bigrams;

static int set_up(void **state)
{
	const char *dir = getenv("HISHO_DICT") ? getenv("HISHO_DICT") : HS_DICT_DIR_DEFAULT;
	if (access(dir, R_OK) < 0)
		return 0; /* the tests skip */
	struct hs_err err = HS_ERR_INIT;
	if (hs_analyzer_create(dir, &analyzer, &err) < 0 || hs_tagger_create(analyzer, &tagger) < 0)
		return -1;
	return 0;
}

static int tear_down(void **state)
{
	hs_tagger_destroy(tagger);
	hs_analyzer_destroy(analyzer);
	hs_tokens_finish(&words);
	hs_tokens_finish(&bigrams);
	return 0;
}

#define NEED_DICTIONARY()                                                                                                    \
	do {                                                                                                                 \
		if (!tagger) {                                                                                               \
			print_message("skipped: no MeCab dictionary in " HS_DICT_DIR_DEFAULT "\n");                          \
			skip();                                                                                              \
		}                                                                                                            \
	} while (0)

/* Terms joined by "/"; content words marked by "*". */
static const char *joined(const struct hs_tokens *t)
{
	static char out[8192];
	size_t n = 0;
	out[0] = '\0';
	for (size_t i = 0; i < t->count; i++)
		n += (size_t)snprintf(out + n, sizeof out - n, "%s%.*s%s", i ? "/" : "", (int)t->items[i].term_len,
				      t->terms + t->items[i].term, t->items[i].content ? "*" : "");
	return out;
}

static const char *words_of(const char *s)
{
	hs_tokens_clear(&words);
	assert_int_equal(hs_tokenize_words(tagger, s, strlen(s), &words), 0);
	return joined(&words);
}

static const char *bigrams_of(const char *s)
{
	hs_tokens_clear(&bigrams);
	assert_int_equal(hs_tokenize_bigrams(s, strlen(s), &bigrams), 0);
	return joined(&bigrams);
}

static void test_words(void **state)
{
	NEED_DICTIONARY();
	assert_string_equal(words_of("東京都に行った。"), "東京*/都*/に/行く*/た");
	assert_string_equal(words_of("宿泊費の上限は何円ですか？"), "宿泊*/費*/の/上限*/は/何/円*/です/か");
	assert_string_equal(words_of("サーバー"), "サーバ*");
	assert_string_equal(words_of("サーバ"), "サーバ*");
	assert_string_equal(words_of("キー"), "キー*");
	assert_string_equal(words_of("1964年"), "1964*/年*");
	assert_string_equal(words_of("1,234円"), "1234*/円*");
	assert_string_equal(words_of("「」、（）!?…---"), "");
	assert_string_equal(words_of(""), "");
}

/* Offsets are the source's, through normalisation. */
static void test_word_offsets(void **state)
{
	NEED_DICTIONARY();
	const char *src = "ﾃｽﾄは㍿の\u200b１，０００円";
	(void)words_of(src);
	for (size_t i = 0; i < words.count; i++) {
		const struct hs_token *t = &words.items[i];
		if (memcmp(words.terms + t->term, "1000", 4) == 0) {
			assert_memory_equal(src + t->start, "１，０００", strlen("１，０００"));
			assert_int_equal(t->end - t->start, strlen("１，０００"));
			return;
		}
	}
	fail_msg("no token 1000 in %s", joined(&words));
}

static void test_bigrams(void **state)
{
	assert_string_equal(bigrams_of("東京都"), "東京*/京都*");
	assert_string_equal(bigrams_of("東京、都"), "東京*/都*");
	assert_string_equal(bigrams_of("a b"), "a*/b*");
	assert_string_equal(bigrams_of("ＡＢ"), "ab*");
	assert_string_equal(bigrams_of("。、"), "");
	assert_string_equal(bigrams_of(""), "");
	assert_string_equal(bigrams_of("㍿"), "株式*/式会*/会社*");
	assert_int_equal(bigrams.items[2].start, 0);
	assert_int_equal(bigrams.items[2].end, 3);
}

/* Every word character of the source lies in some token: nothing that can be searched is lost. */
static void assert_tiled(const char *src, size_t n, const struct hs_tokens *tokens, bool ordered)
{
	char *covered = calloc(1, n + 1);
	assert_non_null(covered);
	uint32_t last = 0;
	for (size_t i = 0; i < tokens->count; i++) {
		const struct hs_token *t = &tokens->items[i];
		assert_true(t->start < t->end && t->end <= n);
		assert_true(((unsigned char)src[t->start] & 0xc0) != 0x80);
		assert_true(t->end == n || ((unsigned char)src[t->end] & 0xc0) != 0x80);
		assert_true(t->term_len > 0 && t->term + t->term_len <= tokens->terms_len);
		assert_true(hs_utf8_valid(tokens->terms + t->term, t->term_len, NULL));
		assert_true(t->start >= last);
		last = ordered ? t->start : 0;
		memset(covered + t->start, 1, t->end - t->start);
	}
	for (size_t i = 0; i < n;) {
		uint32_t cp = 0;
		size_t len = hs_utf8_decode(src + i, n - i, &cp);
		if ((hs_char_flags(cp) & HS_CHAR_WORD) && (hs_char_flags(cp) & HS_CHAR_SELF))
			assert_true(covered[i]);
		i += len;
	}
	free(covered);
}

static void test_tokens_tile(void **state)
{
	NEED_DICTIONARY();
	static const char *const pieces[] = {"東京", "は", "第", "二十", "条", "1", "2,345", "。", "、", "abc", "XYZ-9", "カタカナー", "ー", "\n", " ",
					     "　", "㍿", "ｶﾞ", "国", "行った", "美しく", "😀", "é", "\u3099", "…", "〇", "々", "$", "𠮷"};
	uint64_t seed = 424242424242ull;
	for (int round = 0; round < 300; round++) {
		char src[2048];
		size_t n = 0;
		for (int k = 0; k < 60; k++) {
			seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
			const char *piece = pieces[seed % (sizeof pieces / sizeof pieces[0])];
			memcpy(src + n, piece, strlen(piece));
			n += strlen(piece);
		}
		hs_tokens_clear(&words);
		hs_tokens_clear(&bigrams);
		assert_int_equal(hs_tokenize(tagger, src, n, &words, &bigrams), 0);
		assert_tiled(src, n, &words, true);
		assert_tiled(src, n, &bigrams, true);
		/* one code for both calls */
		struct hs_tokens again = {0};
		assert_int_equal(hs_tokenize_bigrams(src, n, &again), 0);
		assert_int_equal(again.count, bigrams.count);
		assert_memory_equal(again.terms, bigrams.terms, again.terms_len);
		hs_tokens_finish(&again);
	}
}

/* Sizes that break a naive caller of MeCab: megabytes without a full stop, 100,000 letters, 4 KiB boundaries. */
static void test_long_input(void **state)
{
	NEED_DICTIONARY();
	const size_t n = 3 * 700000;
	char *src = malloc(n);
	assert_non_null(src);
	for (size_t i = 0; i < n; i += 3)
		memcpy(src + i, i % 21 ? "東" : "の", 3);
	hs_tokens_clear(&words);
	assert_int_equal(hs_tokenize_words(tagger, src, n, &words), 0);
	assert_tiled(src, n, &words, true);
	memset(src, 'a', 100000);
	memset(src + 50000, '7', 300);
	hs_tokens_clear(&words);
	assert_int_equal(hs_tokenize_words(tagger, src, 100000, &words), 0);
	assert_tiled(src, 100000, &words, true);
	assert_true(words.count < 100000 / 200);
	free(src);
}

static void test_appends_and_takes_back(void **state)
{
	NEED_DICTIONARY();
	(void)words_of("東京");
	size_t count = words.count;
	assert_int_equal(hs_tokenize_words(tagger, "大阪", 6, &words), 0);
	assert_int_equal(words.count, count * 2);
	assert_int_equal(hs_tokenize_words(tagger, "大阪\xff", 7, &words), -EILSEQ);
	assert_int_equal(words.count, count * 2);
	assert_string_equal(joined(&words), "東京*/大阪*");
}

static void test_dictionary_errors(void **state)
{
	struct hs_analyzer *a = NULL;
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(hs_analyzer_create("/nonexistent", &a, &err), -ENOENT);
	assert_string_equal(err.code, "dict.missing");
	char dir[] = "/tmp/hisho-dict-XXXXXX";
	assert_non_null(mkdtemp(dir));
	assert_int_equal(hs_analyzer_create(dir, &a, &err), -ENOENT);
	assert_non_null(strstr(err.object, "char.bin"));
	assert_null(a);
	assert_int_equal(rmdir(dir), 0);
	hs_analyzer_destroy(NULL);
	hs_tagger_destroy(NULL);
}

static void test_dictionary_hash(void **state)
{
	NEED_DICTIONARY();
	uint8_t first[HS_DICT_HASH_LEN], zero[HS_DICT_HASH_LEN] = {0};
	hs_analyzer_dict_hash(analyzer, first);
	assert_memory_not_equal(first, zero, sizeof first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_word_offsets),
		cmocka_unit_test(test_bigrams),
		cmocka_unit_test(test_tokens_tile),
		cmocka_unit_test(test_long_input),
		cmocka_unit_test(test_appends_and_takes_back),
		cmocka_unit_test(test_dictionary_errors),
		cmocka_unit_test(test_dictionary_hash),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
