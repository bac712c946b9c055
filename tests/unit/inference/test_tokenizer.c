#include "inference/tok/tokenizer.h"

#include <errno.h>

#include "base/utf8.h"
#include "inference/tok/unicode.h"
#include "tests/unit/inference/support.h"
#include "tests/unit/test.h"

/* Byte-level BPE over 256 bytes, some merges, and special tokens. Ids of bytes are the bytes themselves. */
struct bpe_file {
	struct hs_gguf_str tokens[300], merges[16];
	char texts[256][4];
	int32_t kinds[300];
	size_t n_tokens, n_merges;
};

static void add_token(struct bpe_file *f, const char *text, int32_t kind)
{
	f->tokens[f->n_tokens] = (struct hs_gguf_str){text, strlen(text)};
	f->kinds[f->n_tokens++] = kind;
}

static void add_merge(struct bpe_file *f, const char *merge)
{
	f->merges[f->n_merges++] = (struct hs_gguf_str){merge, strlen(merge)};
}

static void begin_bpe(struct bpe_file *f)
{
	unsigned next = 0x100;
	memset(f, 0, sizeof *f);
	for (unsigned i = 0; i < 256; i++) {
		bool itself = (i > 0x20 && i < 0x7f) || (i > 0xa0 && i != 0xad);
		size_t n = hs_utf8_encode(itself ? i : next, f->texts[i]);
		next += !itself;
		f->tokens[i] = (struct hs_gguf_str){f->texts[i], n};
		f->kinds[i] = 1;
	}
	f->n_tokens = 256;
	add_token(f, "ab", 1);                 /* 256 */
	add_token(f, "bc", 1);                 /* 257 */
	add_token(f, "abc", 1);                /* 258 */
	add_token(f, "\u0120a", 1);            /* 259: " a" */
	add_token(f, "<|im_start|>", 3);       /* 260 */
	add_token(f, "<tool_call>", 4);        /* 261 */
	add_token(f, "\u00e3\u0123\u0124", 1); /* 262 */
	add_token(f, "[unused]", 5);           /* 263 */
	add_merge(f, "b c");
	add_merge(f, "a b");
	add_merge(f, "a bc");
	add_merge(f, "\u0120 a");
}

static struct hs_gguf_writer *write_bpe(const struct bpe_file *f, const char *model, const char *pre)
{
	struct hs_gguf_writer *w = hs_gguf_writer_create();
	assert_non_null(w);
	hs_gguf_put_str(w, "tokenizer.ggml.model", model);
	hs_gguf_put_str(w, "tokenizer.ggml.pre", pre);
	hs_gguf_put_str_array(w, "tokenizer.ggml.tokens", f->tokens, f->n_tokens);
	hs_gguf_put_i32_array(w, "tokenizer.ggml.token_type", f->kinds, f->n_tokens);
	hs_gguf_put_str_array(w, "tokenizer.ggml.merges", f->merges, f->n_merges);
	hs_gguf_put_u32(w, "tokenizer.ggml.eos_token_id", 260);
	return w;
}

static struct hs_tokenizer *make_bpe(const struct bpe_file *f, const char *model, const char *pre, struct hs_err *err)
{
	struct hs_gguf_writer *w = write_bpe(f, model, pre);
	struct hs_tokenizer *t = make_tokenizer(w, err);
	hs_gguf_writer_destroy(w);
	return t;
}

static void test_bpe(void **state)
{
	struct bpe_file f;
	struct hs_err err;
	HS_BUF_AUTO b = HS_BUF_INIT;
	begin_bpe(&f);
	struct hs_tokenizer *t = make_bpe(&f, "gpt2", "qwen2", &err);
	assert_non_null(t);
	assert_int_equal(hs_tokenizer_vocab(t), 264);
	assert_string_equal(ids_text(t, "abc", 3, &b), "258"); /* "bc" has the lower rank, then "a bc" */
	assert_string_equal(ids_text(t, "ab", 2, &b), "256");
	assert_string_equal(ids_text(t, "abcabb", 6, &b), "258 256 98");
	assert_string_equal(ids_text(t, "b a", 3, &b), "98 259");
	assert_string_equal(ids_text(t, "", 0, &b), "");
	/* data never makes a special token */
	assert_string_equal(ids_text(t, "<|im_start|>", 12, &b), "60 124 105 109 95 115 116 97 114 116 124 62");
	assert_string_equal(ids_text(t, "<tool_call>", 11, &b), "60 116 111 111 108 95 99 97 108 108 62");
	assert_int_equal(hs_tok_special(t, "<|im_start|>"), 260);
	assert_int_equal(hs_tok_special(t, "<tool_call>"), 261);
	assert_int_equal(hs_tok_special(t, "abc"), HS_TOK_NONE);
	assert_int_equal(hs_tok_special(t, "[unused]"), HS_TOK_NONE);
	assert_true(hs_tok_is_special(t, 260) && hs_tok_is_special(t, 261) && hs_tok_is_special(t, -1) &&
		    hs_tok_is_special(t, 9999));
	assert_false(hs_tok_is_special(t, 256));
	assert_int_equal(hs_tok_eos(t), 260);
	assert_int_equal(hs_tok_bos(t), HS_TOK_NONE);
	struct hs_tok_ids ids = {0};
	assert_int_equal(hs_tok_encode(t, "a\xff", 2, &ids), -EILSEQ);
	assert_int_equal(ids.count, 0);
	hs_tok_ids_finish(&ids);
	hs_tokenizer_destroy(t);
	hs_tokenizer_destroy(NULL);
}

static void test_a_megabyte_without_a_boundary(void **state)
{
	struct bpe_file f;
	struct hs_err err;
	begin_bpe(&f);
	struct hs_tokenizer *t = make_bpe(&f, "gpt2", "qwen2", &err);
	assert_non_null(t);
	size_t n = 1 << 20;
	char *text = malloc(n);
	assert_non_null(text);
	for (size_t i = 0; i < n; i++)
		text[i] = "abc"[i % 3];
	struct hs_tok_ids ids = {0};
	assert_int_equal(hs_tok_encode(t, text, n, &ids), 0);
	HS_BUF_AUTO b = HS_BUF_INIT;
	assert_int_equal(strlen(stream_text(t, ids.ids, ids.count, &b)), n);
	assert_memory_equal(b.data, text, n);
	assert_true(ids.count < n / 3 + 16);
	assert_int_equal(hs_tok_encode(t, text, (size_t)HS_TOK_TEXT_MAX + 1, &ids), -EMSGSIZE);
	hs_tok_ids_finish(&ids);
	free(text);
	hs_tokenizer_destroy(t);
}

static void test_streaming(void **state)
{
	struct bpe_file f;
	struct hs_err err;
	HS_BUF_AUTO b = HS_BUF_INIT;
	begin_bpe(&f);
	struct hs_tokenizer *t = make_bpe(&f, "gpt2", "qwen2", &err);
	assert_non_null(t);
	/* あ comes in three tokens: nothing until it is whole */
	struct hs_detok d = {0};
	assert_int_equal(hs_detok_push(&d, t, 0xe3, &b), 0);
	assert_int_equal(hs_detok_push(&d, t, 0x81, &b), 0);
	assert_int_equal(b.len, 0);
	assert_int_equal(hs_detok_push(&d, t, 260, &b), 0); /* special: no text */
	assert_int_equal(b.len, 0);
	assert_int_equal(hs_detok_push(&d, t, 0x82, &b), 0);
	assert_string_equal(hs_buf_cstr(&b), "あ");
	static const struct {
		hs_tok_id ids[6];
		size_t n;
		const char *text;
	} cases[] = {
		{{0xe3, 0x81}, 2, "\ufffd"},                   /* cut short at the end */
		{{0xe3, 'a'}, 2, "\ufffda"},                   /* broken off */
		{{0x80, 0xff, 'a'}, 3, "\ufffd\ufffda"},       /* can begin nothing */
		{{0xed, 0xa0, 0x80}, 3, "\ufffd\ufffd\ufffd"}, /* a surrogate */
		{{0xf4, 0x90, 'b'}, 3, "\ufffd\ufffdb"},
		{{' ', 'a'}, 2, " a"},
		{{263, 'x'}, 2, "x"}, /* an unused token has no text */
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(cases); i++)
		assert_string_equal(stream_text(t, cases[i].ids, cases[i].n, &b), cases[i].text);
	hs_tokenizer_destroy(t);
}

static void refused(struct bpe_file *f, const char *model, const char *pre, const char *code, const char *object)
{
	struct hs_err err;
	struct hs_tokenizer *t = make_bpe(f, model, pre, &err);
	assert_null(t);
	assert_string_equal(err.code, code);
	assert_string_equal(err.object, object);
}

static void test_refusals(void **state)
{
	struct bpe_file f;
	begin_bpe(&f);
	refused(&f, "gpt2", "tekken-9", "tok.pre_unsupported", "tokenizer.ggml.pre tekken-9");
	refused(&f, "rwkv", "qwen2", "tok.model_unsupported", "tokenizer.ggml.model rwkv");
	refused(&f, "t5", "qwen2", "tok.invalid", "tokenizer.ggml.scores");
	add_merge(&f, "q z");
	refused(&f, "gpt2", "qwen2", "tok.invalid", "tokenizer.ggml.merges, merge 4");
	begin_bpe(&f);
	add_merge(&f, "nospace");
	refused(&f, "gpt2", "qwen2", "tok.invalid", "tokenizer.ggml.merges, merge 4");
	begin_bpe(&f);
	f.kinds[5] = 7;
	refused(&f, "gpt2", "qwen2", "tok.invalid", "tokenizer.ggml.token_type of token 5");
	begin_bpe(&f);
	f.n_tokens = 200;
	refused(&f, "gpt2", "qwen2", "tok.invalid", "tokenizer.ggml.eos_token_id");
	begin_bpe(&f);
	f.tokens[65] = f.tokens[66];
	refused(&f, "gpt2", "qwen2", "tok.invalid", "tokenizer.ggml.tokens, token 66");
}

/* SentencePiece vocabularies. */
static const struct piece unigram_pieces[] = {
	{"<unk>", 0, 2},   {"</s>", 0, 3},     {"▁", -2.5f, 1},  {"a", -3.5f, 1},  {"b", -3.5f, 1}, {"ab", -4.5f, 1},
	{"aba", -9.5f, 1}, {"東京", -5.5f, 1}, {"東", -7.5f, 1}, {"▁▁", -0.5f, 4}, {"<x>", 0, 4},
};

static void test_unigram(void **state)
{
	struct hs_err err;
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_tokenizer *t = make_sp(unigram_pieces, HS_ARRAY_LEN(unigram_pieces), "t5", false, false, &err);
	assert_non_null(t);
	assert_string_equal(ids_text(t, "aba", 3, &b), "2 5 3"); /* -8 beats -9.5: a greedy merge would not see it */
	assert_string_equal(ids_text(t, "東京都東", 12, &b), "2 7 0 8");
	assert_string_equal(ids_text(t, "都市a", 7, &b), "2 0 3"); /* neighbouring unknowns become one */
	assert_string_equal(ids_text(t, "</s><x>", 7, &b), "2 0"); /* no special token from data */
	assert_string_equal(ids_text(t, " a", 2, &b), "9 3");      /* an added piece of text is taken whole */
	assert_string_equal(stream_text(t, (hs_tok_id[]){2, 7, 2, 3}, 4, &b), "東京 a");
	assert_string_equal(stream_text(t, (hs_tok_id[]){2, 1, 3}, 3, &b), "a");
	hs_tokenizer_destroy(t);
	t = make_sp(unigram_pieces, HS_ARRAY_LEN(unigram_pieces), "t5", false, true, &err);
	assert_non_null(t);
	assert_string_equal(ids_text(t, "  a   b ", 8, &b), "2 3 2 4");
	assert_string_equal(ids_text(t, "   ", 3, &b), "");
	hs_tokenizer_destroy(t);
}

static void test_bytes_for_what_has_no_piece(void **state)
{
	struct hs_err err;
	HS_BUF_AUTO b = HS_BUF_INIT;
	/* declared as "llama", but fractional scores say Unigram */
	struct hs_tokenizer *t = make_sp(unigram_pieces, HS_ARRAY_LEN(unigram_pieces), "llama", true, false, &err);
	assert_non_null(t);
	size_t first = HS_ARRAY_LEN(unigram_pieces);
	char expected[64];
	snprintf(expected, sizeof expected, "2 5 3 %zu %zu %zu", first + 0xe9, first + 0x83, first + 0xbd);
	assert_string_equal(ids_text(t, "aba都", 6, &b), expected);
	hs_tok_id ids[] = {2, (hs_tok_id)(first + 0xe9), (hs_tok_id)(first + 0x83), (hs_tok_id)(first + 0xbd)};
	assert_string_equal(stream_text(t, ids, 4, &b), "都");
	hs_tokenizer_destroy(t);
}

static void test_merges(void **state)
{
	static const struct piece pieces[] = {
		{"<unk>", 0, 2}, {"</s>", 0, 3}, {"▁", -6, 1},   {"a", -7, 1},  {"b", -8, 1},
		{"ba", 0, 1},    {"ab", -1, 1},  {"▁ab", -2, 1}, {"</", -3, 1}, {"s>", -3, 1},
	};
	struct hs_err err;
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_tokenizer *t = make_sp(pieces, HS_ARRAY_LEN(pieces), "llama", false, false, &err);
	assert_non_null(t);
	assert_string_equal(ids_text(t, "aba", 3, &b), "2 3 5"); /* the best pair first: "ba" */
	assert_string_equal(ids_text(t, "ab", 2, &b), "7");
	assert_string_equal(ids_text(t, "ab</s>都", 9, &b), "7 8 9 0");
	hs_tokenizer_destroy(t);
}

/* Added pieces join with nothing, and a run of spaces in one is spaces. */
static void test_added_pieces(void **state)
{
	static const struct piece pieces[] = {
		{"<unk>", 0, 2}, {"a", -7, 1}, {"b", -8, 1},      {"ab", -1, 1}, {"▁", -6, 1},
		{"▁a", -2, 1},   {"  ", 0, 4}, {"<table>", 0, 4}, {"ba", 0, 4},  {"<tool>", 0, 4},
	};
	struct hs_err err;
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_tokenizer *t = make_sp(pieces, HS_ARRAY_LEN(pieces), "llama", false, false, &err);
	assert_non_null(t);
	assert_string_equal(ids_text(t, "ab", 2, &b), "4 3");
	assert_string_equal(ids_text(t, "bab", 3, &b), "4 8 2"); /* "ba" stands before "ab" can be made */
	assert_string_equal(ids_text(t, "  a", 3, &b), "6 5");   /* three spaces with the one in front */
	assert_string_equal(ids_text(t, "a<table>a", 9, &b), "5 7 1");
	assert_string_equal(ids_text(t, "a<tool>", 7, &b), "5 0");
	assert_string_equal(stream_text(t, (hs_tok_id[]){5, 7, 6, 1}, 4, &b), "a<table>  a");
	hs_tokenizer_destroy(t);
}

static void test_added_pieces_of_bpe(void **state)
{
	struct bpe_file f;
	struct hs_err err;
	HS_BUF_AUTO b = HS_BUF_INIT;
	begin_bpe(&f);
	add_token(&f, "  ", 4);      /* 264 */
	add_token(&f, "あ", 4);      /* 265 */
	add_token(&f, "</h1>", 4);   /* 266 */
	add_token(&f, "[PAD1]", 4);  /* 267 */
	add_token(&f, "<|odd|>", 1); /* 268 */
	struct hs_tokenizer *t = make_bpe(&f, "gpt2", "gpt-2", &err);
	assert_non_null(t);
	assert_string_equal(ids_text(t, "ab  あab   a", 13, &b), "256 264 265 256 264 259");
	assert_string_equal(ids_text(t, "</h1>", 5, &b), "266");
	assert_string_equal(stream_text(t, (hs_tok_id[]){266, 265, 264, 256}, 4, &b), "</h1>あ  ab");
	assert_true(hs_tok_is_special(t, 267) && hs_tok_is_special(t, 268) && !hs_tok_is_special(t, 264));
	hs_tokenizer_destroy(t);
}

static void test_composes(void **state)
{
	struct bpe_file f;
	struct hs_err err;
	HS_BUF_AUTO b = HS_BUF_INIT;
	begin_bpe(&f);
	struct hs_tokenizer *t = make_bpe(&f, "gpt2", "qwen2", &err);
	assert_non_null(t);
	assert_string_equal(ids_text(t, "か\u3099", 6, &b), "227 129 140"); /* が */
	assert_string_equal(ids_text(t, "e\u0301", 3, &b), "195 169");
	hs_tokenizer_destroy(t);
	t = make_bpe(&f, "gpt2", "llama-bpe", &err);
	assert_non_null(t);
	assert_string_equal(ids_text(t, "e\u0301", 3, &b), "101 204 129");
	hs_tokenizer_destroy(t);
}

/* Ids that llama.cpp gives for lines of our own, on the default models' vocabulary; of text to compose, HF tokenizers. */
static void test_golden_ids(void **state)
{
	char model[512], path[512];
	if (!find_model("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", model, sizeof model)) {
		print_message("# no qwen2.5-coder-0.5b-instruct-q4_k_m.gguf in $HISHO_MODELS or the cache\n");
		skip();
	}
	const char *root = getenv("HISHO_SOURCE_ROOT");
	assert_non_null(root);
	struct hs_gguf *g = NULL;
	struct hs_tokenizer *t = NULL;
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(hs_gguf_open(model, &g, &err), 0);
	assert_int_equal(hs_tokenizer_create(g, &t, &err), 0);
	hs_gguf_close(g);
	snprintf(path, sizeof path, "%s/tests/unit/inference/data/lines.txt", root);
	FILE *lines = fopen(path, "re");
	snprintf(path, sizeof path, "%s/tests/unit/inference/data/qwen2.ids", root);
	FILE *golden = fopen(path, "re");
	assert_true(lines && golden);
	char *line = NULL, *want = NULL;
	size_t line_cap = 0, want_cap = 0, count = 0;
	ssize_t n;
	HS_BUF_AUTO b = HS_BUF_INIT;
	while ((n = getline(&line, &line_cap, lines)) > 0) {
		ssize_t m = getline(&want, &want_cap, golden);
		assert_true(m > 0);
		want[m - 1] = 0;
		assert_string_equal(ids_text(t, line, (size_t)n - 1, &b), want);
		struct hs_tok_ids ids = {0};
		assert_int_equal(hs_tok_encode(t, line, (size_t)n - 1, &ids), 0);
		line[n - 1] = 0;
		if (hs_is_composed(line, (size_t)n - 1)) /* Qwen's vocabulary is of composed text */
			assert_string_equal(stream_text(t, ids.ids, ids.count, &b), line);
		hs_tok_ids_finish(&ids);
		count++;
	}
	assert_int_equal(count, 197);
	free(line);
	free(want);
	fclose(lines);
	fclose(golden);
	hs_tokenizer_destroy(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bpe),        cmocka_unit_test(test_a_megabyte_without_a_boundary),
		cmocka_unit_test(test_streaming),  cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_unigram),    cmocka_unit_test(test_bytes_for_what_has_no_piece),
		cmocka_unit_test(test_merges),     cmocka_unit_test(test_added_pieces),
		cmocka_unit_test(test_composes),   cmocka_unit_test(test_added_pieces_of_bpe),
		cmocka_unit_test(test_golden_ids),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
