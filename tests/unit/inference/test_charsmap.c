#include "inference/tok/charsmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

#define STR(literal)                                                                                                             \
	{                                                                                                                        \
		literal, sizeof(literal) - 1                                                                                     \
	}

static void test_trie_finds_every_key(void **state)
{
	enum { N = 5000 };
	struct hs_trie_key *keys = calloc(N, sizeof *keys);
	char(*texts)[16] = calloc(N, sizeof *texts);
	assert_true(keys && texts);
	for (uint32_t i = 0; i < N; i++) {
		int len = snprintf(texts[i], sizeof texts[i], "%x%s", i * 2654435761u % 100000u, i % 3 ? "あ" : "");
		keys[i] = (struct hs_trie_key){.text = {texts[i], (size_t)len}, .value = i};
	}
	qsort(keys, N, sizeof *keys, hs_trie_key_compare);
	size_t n = 0;
	for (size_t i = 0; i < N; i++)
		if (n == 0 || hs_trie_key_compare(&keys[n - 1], &keys[i]) != 0)
			keys[n++] = keys[i];
	struct hs_trie t;
	assert_int_equal(hs_trie_build(&t, keys, n), 0);
	for (size_t i = 0; i < n; i++) {
		size_t place = hs_trie_root(&t);
		uint32_t value = UINT32_MAX;
		bool has = false;
		for (size_t k = 0; k < keys[i].text.len; k++)
			assert_true(hs_trie_step(&t, &place, (uint8_t)keys[i].text.s[k], &value, &has));
		assert_true(has);
		assert_int_equal(value, keys[i].value);
	}
	size_t place = hs_trie_root(&t);
	uint32_t value;
	bool has;
	assert_false(hs_trie_step(&t, &place, 'z', &value, &has));
	assert_false(hs_trie_step(&t, &place, 0, &value, &has));
	hs_trie_finish(&t);
	free(keys);
	free(texts);
}

static void test_trie_refuses_bad_keys(void **state)
{
	struct hs_trie t;
	assert_int_equal(hs_trie_build(&t, (struct hs_trie_key[]){{STR("b"), 0}, {STR("a"), 1}}, 2), -EINVAL);
	assert_int_equal(hs_trie_build(&t, (struct hs_trie_key[]){{STR("a"), 0}, {STR("a"), 1}}, 2), -EINVAL);
	assert_int_equal(hs_trie_build(&t, (struct hs_trie_key[]){{STR(""), 0}}, 1), -EINVAL);
	assert_int_equal(hs_trie_build(&t, (struct hs_trie_key[]){{STR("a\0"), 0}}, 1), -EINVAL);
	assert_int_equal(hs_trie_build(&t, (struct hs_trie_key[]){{STR("a"), UINT32_MAX}}, 1), -EINVAL);
	assert_int_equal(hs_trie_build(&t, NULL, 0), 0);
	hs_trie_finish(&t);
}

static void make_map(struct hs_buf *out)
{
	struct hs_charsmap_rule rules[] = {
		{STR("ｶ"), STR("カ")},    {STR("ｶﾞ"), STR("ガ")}, {STR("㈱"), STR("(株)")},
		{STR("\u200b"), STR("")}, {STR("ｶ"), STR("x")},
	};
	assert_int_equal(hs_charsmap_write(rules, HS_ARRAY_LEN(rules), out), 0);
}

static void expect(const struct hs_charsmap *m, const char *text, size_t len, const char *to)
{
	struct hs_gguf_str s = {"", 0};
	assert_int_equal(hs_charsmap_match(m, text, strlen(text), &s), len);
	if (len) {
		assert_int_equal(s.len, strlen(to));
		assert_memory_equal(s.s, to, s.len);
	}
}

static void test_map(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_charsmap m;
	struct hs_err err = HS_ERR_INIT;
	make_map(&b);
	assert_int_equal(hs_charsmap_init(&m, b.data, b.len, &err), 0);
	expect(&m, "ｶｶﾞ", 3, "カ");
	expect(&m, "ｶﾞｶ", 6, "ガ");
	expect(&m, "㈱", 3, "(株)");
	expect(&m, "\u200bx", 3, "");
	expect(&m, "カ", 0, "");
	expect(&m, "", 0, "");
	hs_charsmap_finish(&m);
}

static void test_hostile_maps(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	make_map(&b);
	struct hs_charsmap m;
	struct hs_err err = HS_ERR_INIT;
	for (size_t n = 0; n < b.len; n += n < 16 ? 1 : 97)
		if (hs_charsmap_init(&m, b.data, n, &err) == 0)
			hs_charsmap_finish(&m);
	assert_int_equal(hs_charsmap_init(&m, b.data, 7, &err), -EINVAL);
	assert_int_equal(hs_charsmap_init(&m, b.data, b.len - 1, &err), -EINVAL);
	/* flipped units: walking must stay inside, and never end inside a character */
	for (size_t i = 4; i < b.len - 1; i++) {
		b.data[i] ^= 0xff;
		if (hs_charsmap_init(&m, b.data, b.len, &err) == 0) {
			static const char text[] = "ｶﾞ㈱\u200bあzｶ";
			for (size_t at = 0; at < sizeof text - 1; at += 3) {
				struct hs_gguf_str s;
				size_t len = hs_charsmap_match(&m, text + at, sizeof text - 1 - at, &s);
				assert_in_range(len, 0, sizeof text - 1 - at);
			}
			hs_charsmap_finish(&m);
		}
		b.data[i] ^= 0xff;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trie_finds_every_key),
		cmocka_unit_test(test_trie_refuses_bad_keys),
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_hostile_maps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
