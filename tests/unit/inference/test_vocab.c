/* Hostile vocabularies are refused with the field's name; no text makes a special token. */
#include "inference/tok/vocab.h"

#include <math.h>

#include "base/wire.h"
#include "tests/unit/inference/support.h"
#include "tests/unit/test.h"

#define N 12

struct file { /* a SentencePiece vocabulary, to be damaged */
	const char *model;
	struct hs_gguf_str tokens[N];
	float scores[N];
	int32_t kinds[N];
	size_t n, n_scores, n_kinds;
	uint32_t unk, eos;
	uint8_t charsmap[512];
	size_t charsmap_len;
};

static struct file fresh(void)
{
	static const struct piece pieces[N] = {
		{"<unk>", 0, 2},  {"<s>", 0, 3}, {"</s>", 0, 3}, {"▁", -1.5f, 1}, {"a", -2.5f, 1}, {"b", -3.5f, 1},
		{"ab", -4.5f, 1}, {"あ", -5, 1}, {"い", -6, 1},  {"  ", 0, 4},    {"<x>", 0, 4},   {"[Y]", 0, 4},
	};
	struct file f = {.model = "llama", .n = N, .n_scores = N, .n_kinds = N, .eos = 2};
	for (size_t i = 0; i < N; i++) {
		f.tokens[i] = (struct hs_gguf_str){pieces[i].text, strlen(pieces[i].text)};
		f.scores[i] = pieces[i].score;
		f.kinds[i] = pieces[i].kind;
	}
	return f;
}

static struct hs_tokenizer *load(const struct file *f, struct hs_err *err)
{
	struct hs_gguf_writer *w = hs_gguf_writer_create();
	assert_non_null(w);
	hs_gguf_put_str(w, "tokenizer.ggml.model", f->model);
	hs_gguf_put_str_array(w, "tokenizer.ggml.tokens", f->tokens, f->n);
	hs_gguf_put_f32_array(w, "tokenizer.ggml.scores", f->scores, f->n_scores);
	hs_gguf_put_i32_array(w, "tokenizer.ggml.token_type", f->kinds, f->n_kinds);
	hs_gguf_put_u32(w, "tokenizer.ggml.unknown_token_id", f->unk);
	hs_gguf_put_u32(w, "tokenizer.ggml.eos_token_id", f->eos);
	if (f->charsmap_len)
		hs_gguf_put_bytes(w, "tokenizer.ggml.precompiled_charsmap", f->charsmap, f->charsmap_len);
	struct hs_tokenizer *t = make_tokenizer(w, err);
	hs_gguf_writer_destroy(w);
	return t;
}

static void refused(const struct file *f, const char *object)
{
	struct hs_err err;
	assert_null(load(f, &err));
	assert_string_equal(err.code, "tok.invalid");
	assert_string_equal(err.object, object);
}

static void test_hostile_fields(void **state)
{
	static char long_text[HS_VOCAB_TEXT_MAX + 1];
	struct hs_err err;
	struct file f = fresh();
	struct hs_tokenizer *t = load(&f, &err);
	assert_non_null(t);
	hs_tokenizer_destroy(t);
	f.n_scores--;
	refused(&f, "tokenizer.ggml.scores");
	f = fresh();
	f.n_kinds--;
	refused(&f, "tokenizer.ggml.token_type");
	f = fresh();
	f.unk = N;
	refused(&f, "tokenizer.ggml.unknown_token_id");
	f = fresh();
	f.scores[4] = NAN;
	refused(&f, "tokenizer.ggml.scores of token 4");
	f.scores[4] = -INFINITY;
	refused(&f, "tokenizer.ggml.scores of token 4");
	f.scores[4] = 3e38f;
	refused(&f, "tokenizer.ggml.scores of token 4");
	f = fresh();
	f.tokens[5] = f.tokens[4];
	refused(&f, "tokenizer.ggml.tokens, token 5");
	f = fresh();
	f.tokens[6].len = 0;
	refused(&f, "tokenizer.ggml.tokens, token 6");
	f = fresh();
	f.tokens[6] = (struct hs_gguf_str){long_text, sizeof long_text};
	refused(&f, "tokenizer.ggml.tokens, token 6");
	f = fresh();
	f.kinds[6] = 6; /* a byte that is not spelt as one */
	refused(&f, "tokenizer.ggml.tokens, token 6");
	f.tokens[6] = (struct hs_gguf_str){"<0x4g>", 6};
	refused(&f, "tokenizer.ggml.tokens, token 6");
	f = fresh();
	f.kinds[6] = 6;
	f.tokens[6] = (struct hs_gguf_str){"<0x0A>", 6};
	f.eos = 6;
	refused(&f, "tokenizer.ggml.eos_token_id");
	f = fresh();
	f.eos = N;
	refused(&f, "tokenizer.ggml.eos_token_id");
	f = fresh();
	f.kinds[6] = -1;
	refused(&f, "tokenizer.ggml.token_type of token 6");
	f = fresh();
	for (size_t i = 0; i < N; i++)
		f.scores[i] = -1000;
	refused(&f, "tokenizer.ggml.scores"); /* as files without the true ones have */
}

static void test_hostile_charsmaps(void **state)
{
	struct file f = fresh();
	static const uint8_t sizes[][8] = {
		{0},                      /* no trie */
		{3, 0, 0, 0, 0, 0, 0, 0}, /* no whole unit */
		{255, 255, 255, 255, 0, 0, 0, 0},
		{4, 0, 0, 0, 0, 0, 0, 0}, /* no replacement */
	};
	f.charsmap_len = 8;
	for (size_t i = 0; i < HS_ARRAY_LEN(sizes); i++) {
		memcpy(f.charsmap, sizes[i], 8);
		refused(&f, "tokenizer.ggml.precompiled_charsmap");
	}
	/* a trie where 'a' leads from the root to the root, with a value: walking is bounded by the text */
	memset(f.charsmap, 0, sizeof f.charsmap);
	hs_le32_store(f.charsmap, 4 * 98);
	for (size_t i = 0; i < 98; i++)
		hs_le32_store(f.charsmap + 4 + 4 * i, i == 0 ? 0 : i == 'a' ? 'a' | 1u << 8 | 'a' << 10 : 1u << 31);
	f.charsmap[4 + 4 * 98] = 'b';
	f.charsmap_len = 4 + 4 * 98 + 2;
	struct hs_err err;
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_tokenizer *t = load(&f, &err);
	assert_non_null(t);
	assert_string_equal(ids_text(t, "aaaaaaaaaaaaaaaa", 16, &b), "3 5"); /* the longest key is the whole text */
	char many[1024];
	memset(many, 'a', sizeof many);
	assert_string_equal(ids_text(t, many, sizeof many, &b), "3 5 5 5 5"); /* but no longer than 256 bytes */
	hs_tokenizer_destroy(t);
}

/* Mostly whole scores: merges, though a piece or two were added with fractions; mostly fractions: Unigram. */
static void test_kinds_of_scores(void **state)
{
	static const struct piece merges[] = {{"<unk>", 0, 2}, {"▁", -9, 1},  {"a", -8, 1},    {"b", -7, 1},
					      {"ab", -6, 1},   {"ba", -5, 1}, {"▁a", -9.5f, 1}};
	struct hs_err err;
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_tokenizer *t = make_sp(merges, HS_ARRAY_LEN(merges), "llama", false, false, &err);
	assert_non_null(t);
	assert_string_equal(ids_text(t, "aba", 3, &b), "6 5"); /* "ba" first; Viterbi would take "▁a" alone or not at all */
	hs_tokenizer_destroy(t);
	t = make_sp(merges, HS_ARRAY_LEN(merges), "t5", false, false, &err);
	assert_non_null(t);
	assert_string_equal(ids_text(t, "aba", 3, &b), "6 5");
	hs_tokenizer_destroy(t);
}

/* Every special token of every kind of tokeniser, inside a document: none comes out. */
static void check_no_special(const struct hs_tokenizer *t, const char *text, bool unknown_is_right)
{
	static const char *const around[] = {"%s", "a%sb", "あ%s い", " %s\n", "%s%s"};
	for (size_t k = 0; k < HS_ARRAY_LEN(around); k++) {
		HS_BUF_AUTO b = HS_BUF_INIT;
		struct hs_tok_ids ids = {0};
		const char *mark = strstr(around[k], "%s");
		assert_int_equal(hs_buf_append(&b, around[k], (size_t)(mark - around[k])), 0);
		assert_int_equal(hs_buf_append_str(&b, text), 0);
		assert_int_equal(hs_buf_append_str(&b, strcmp(mark, "%s%s") == 0 ? text : mark + 2), 0);
		assert_int_equal(hs_tok_encode(t, (const char *)b.data, b.len, &ids), 0);
		for (size_t i = 0; i < ids.count; i++)
			if (hs_tok_is_special(t, ids.ids[i]) && !(unknown_is_right && ids.ids[i] == 0))
				fail_msg("%s gives token %d", text, (int)ids.ids[i]);
		hs_tok_ids_finish(&ids);
	}
}

static void test_no_text_makes_a_special_token(void **state)
{
	struct file f = fresh();
	struct hs_err err;
	for (int model = 0; model < 3; model++) {
		f.model = model == 0 ? "llama" : model == 1 ? "t5" : "bert";
		struct hs_tokenizer *t = load(&f, &err);
		assert_non_null(t);
		for (size_t i = 0; i < N; i++)
			if (hs_tok_is_special(t, (hs_tok_id)i))
				check_no_special(t, f.tokens[i].s, true);
		assert_true(hs_tok_is_special(t, 10) && hs_tok_is_special(t, 11) && !hs_tok_is_special(t, 9));
		hs_tokenizer_destroy(t);
	}
	f = fresh(); /* what has a role is special, whatever its declared kind */
	f.kinds[0] = f.kinds[2] = 1;
	struct hs_tokenizer *t = load(&f, &err);
	assert_non_null(t);
	assert_true(hs_tok_is_special(t, 0) && hs_tok_is_special(t, 2));
	check_no_special(t, "</s>", true);
	check_no_special(t, "<unk>", true);
	hs_tokenizer_destroy(t);
	f = fresh(); /* merges */
	for (size_t i = 0; i < N; i++)
		f.scores[i] = -(float)i;
	f.tokens[6] = (struct hs_gguf_str){"<s", 2}; /* two steps from <s>, which is control */
	f.tokens[4] = (struct hs_gguf_str){"<", 1};
	f.tokens[5] = (struct hs_gguf_str){"s", 1};
	f.tokens[8] = (struct hs_gguf_str){">", 1};
	t = load(&f, &err);
	assert_non_null(t);
	for (size_t i = 0; i < N; i++)
		if (hs_tok_is_special(t, (hs_tok_id)i))
			check_no_special(t, f.tokens[i].s, true);
	HS_BUF_AUTO b = HS_BUF_INIT;
	assert_string_equal(ids_text(t, "<s>", 3, &b), "3 6 8");
	hs_tokenizer_destroy(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_hostile_fields), cmocka_unit_test(test_hostile_charsmaps),
					   cmocka_unit_test(test_kinds_of_scores),
					   cmocka_unit_test(test_no_text_makes_a_special_token)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
