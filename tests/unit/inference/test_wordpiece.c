#include "inference/tok/tokenizer.h"

#include "tests/unit/inference/support.h"
#include "tests/unit/test.h"

static const struct piece pieces[] = {
	{"[UNK]", 0, 3}, {"[CLS]", 0, 3}, {"[SEP]", 0, 3}, {"▁un", 0, 1}, {"aff", 0, 1}, {"able", 0, 1},
	{"▁", 0, 1},     {"▁東", 0, 1},   {"▁京", 0, 1},   {"▁.", 0, 1},  {"▁[", 0, 1},  {"▁]", 0, 1},
	{"▁cls", 0, 1},  {"▁cafe", 0, 1}, {"▁か", 0, 1},   {"き", 0, 1},  {"▁。", 0, 1}, {"a", 0, 1},
	{"▁unaf", 0, 1}, {"▁が", 0, 1},   {"▁É", 0, 1},    {"▁Ab", 0, 1}, {"▁i", 0, 1},  {"\u0307", 0, 1},
};

static struct hs_tokenizer *make(void)
{
	struct hs_err err;
	struct hs_tokenizer *t = make_sp(pieces, HS_ARRAY_LEN(pieces), "bert", false, false, &err);
	assert_non_null(t);
	return t;
}

static void test_words(void **state)
{
	static const struct {
		const char *text, *ids;
	} cases[] = {
		{"unaffable", "0"},     /* "unaf" is the longest beginning, and "fable" is no piece: no way back */
		{"Unable", "3 5"},      /* lower case */
		{"un able", "3 0"},     /* "able" begins no word */
		{"東京.東", "7 8 9 7"}, /* ideographs and punctuation stand alone */
		{"Caf\u00e9 cafe\u0301", "13 13"},
		{"が\u3000かき。", "14 14 15 16"}, /* a voiced mark is an accent */
		{"[CLS]", "10 12 11"},             /* no special token from data */
		{"u\u00adn\tun\0", "3 3"},         /* a soft hyphen is a control character */
		{"\u0130", "22"},
		{"  ", ""},
		{"▁", "0"},
		{"zz un", "0 3"},
	};
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_tokenizer *t = make();
	for (size_t i = 0; i < HS_ARRAY_LEN(cases); i++)
		assert_string_equal(ids_text(t, cases[i].text, strlen(cases[i].text), &b), cases[i].ids);
	assert_string_equal(stream_text(t, (hs_tok_id[]){1, 3, 4, 5, 7, 2}, 6, &b), "unaffable 東");
	hs_tokenizer_destroy(t);
}

static void test_long_words(void **state)
{
	char text[200] = "un";
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_tokenizer *t = make();
	memset(text + 2, 'a', 99);
	assert_string_equal(ids_text(t, text, 101, &b), "0"); /* over 100 characters */
	assert_int_equal(strncmp(ids_text(t, text, 100, &b), "3 17 17", 7), 0);
	hs_tokenizer_destroy(t);
}

static void test_as_the_file_says(void **state)
{
	struct hs_gguf_writer *w = hs_gguf_writer_create();
	struct hs_gguf_str tokens[HS_ARRAY_LEN(pieces)];
	struct hs_err err;
	HS_BUF_AUTO b = HS_BUF_INIT;
	assert_non_null(w);
	for (size_t i = 0; i < HS_ARRAY_LEN(pieces); i++)
		tokens[i] = (struct hs_gguf_str){pieces[i].text, strlen(pieces[i].text)};
	hs_gguf_put_str(w, "tokenizer.ggml.model", "bert");
	hs_gguf_put_str_array(w, "tokenizer.ggml.tokens", tokens, HS_ARRAY_LEN(pieces));
	hs_gguf_put_bool(w, "tokenizer.ggml.normalizer.lowercase", false);
	assert_null(make_tokenizer(w, &err));
	assert_string_equal(err.object, "tokenizer.ggml.unknown_token_id");
	hs_gguf_put_u32(w, "tokenizer.ggml.unknown_token_id", 0);
	struct hs_tokenizer *t = make_tokenizer(w, &err);
	assert_non_null(t);
	assert_string_equal(ids_text(t, "É Ab が unable", strlen("É Ab が unable"), &b), "20 21 19 3 5");
	hs_tokenizer_destroy(t);
	hs_gguf_writer_destroy(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_words), cmocka_unit_test(test_long_words),
					   cmocka_unit_test(test_as_the_file_says)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
