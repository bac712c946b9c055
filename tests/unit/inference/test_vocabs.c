/*
 * Published vocabularies against the ids that their makers' own tokenisers give: the files NAME.gguf of $HISHO_VOCABS, each with
 * .inp (texts between lines of "__ggml_vocab_test__") and .out (a line of ids for each), as llama.cpp's source has them in
 * models/. Vocabularies of a pre-tokeniser that the table lacks must be refused by its name. Where the vocabulary's own tokeniser
 * composes its text (NFC) and these lists were made without, texts that are not composed are left out.
 */
#include <dirent.h>
#include <fcntl.h>

#include "inference/tok/split.h"
#include "inference/tok/unicode.h"
#include "tests/unit/inference/support.h"
#include "tests/unit/test.h"

static const char separator[] = "\n__ggml_vocab_test__\n";

static bool composes(const struct hs_gguf *g)
{
	struct hs_gguf_str pre;
	const struct hs_split_rule *rule = NULL;
	if (hs_gguf_get_str(g, "tokenizer.ggml.pre", &pre))
		rule = hs_split_find(pre.s, pre.len);
	return rule && rule->nfc;
}

static int check_texts(const struct hs_tokenizer *t, bool composed_only, const char *path)
{
	char name[600];
	HS_BUF_AUTO inputs = HS_BUF_INIT;
	HS_BUF_AUTO outputs = HS_BUF_INIT;
	HS_BUF_AUTO got = HS_BUF_INIT;
	int wrong = 0;
	snprintf(name, sizeof name, "%s.inp", path);
	if (hs_file_read(AT_FDCWD, name, 1 << 20, &inputs) < 0)
		return 0;
	snprintf(name, sizeof name, "%s.out", path);
	assert_int_equal(hs_file_read(AT_FDCWD, name, 1 << 20, &outputs), 0);
	const char *in = hs_buf_cstr(&inputs), *out = hs_buf_cstr(&outputs);
	while (*in) {
		const char *end = strstr(in, separator), *line = strchr(out, '\n');
		size_t n = end ? (size_t)(end - in) : strlen(in);
		size_t len = line ? (size_t)(line - out) : strlen(out);
		size_t lead = *out == ' ';
		const char *ids = ids_text(t, in, n, &got);
		if ((!composed_only || hs_is_composed(in, n)) &&
		    (strlen(ids) != len - lead || memcmp(ids, out + lead, len - lead) != 0)) {
			print_message("# %s: \"%.*s\" gives %s, not %.*s\n", strrchr(path, '/') + 1, (int)n, in, ids, (int)len,
				      out);
			wrong++;
		}
		in += n + (end ? sizeof separator - 1 : 0);
		out += len + (line != NULL);
	}
	return wrong;
}

/* The text of every special token, inside a document and alone: none comes out (but unknown, where the kind has that). */
static int check_specials(const struct hs_tokenizer *t, const struct hs_gguf *g, const char *name)
{
	size_t n = hs_tokenizer_vocab(t), tried = 0;
	int wrong = 0;
	uint64_t unknown = UINT64_MAX;
	struct hs_gguf_str *texts = calloc(n, sizeof *texts);
	assert_non_null(texts);
	assert_true(hs_gguf_get_str_array(g, "tokenizer.ggml.tokens", texts, n));
	(void)hs_gguf_get_u64(g, "tokenizer.ggml.unknown_token_id", &unknown); /* some have none */
	for (size_t i = 0; i < n; i++) {
		HS_BUF_AUTO document = HS_BUF_INIT;
		struct hs_tok_ids ids = {0};
		if (!hs_tok_is_special(t, (hs_tok_id)i))
			continue;
		assert_int_equal(hs_buf_append(&document, texts[i].s, texts[i].len), 0);
		assert_int_equal(hs_buf_printf(&document, "契約は%.*s第3条 a%.*s\n", (int)texts[i].len, texts[i].s,
					       (int)texts[i].len, texts[i].s),
				 0);
		assert_int_equal(hs_tok_encode(t, (const char *)document.data, document.len, &ids), 0);
		for (size_t k = 0; k < ids.count; k++)
			if (hs_tok_is_special(t, ids.ids[k]) && (uint64_t)ids.ids[k] != unknown) {
				print_message("# %s: \"%.*s\" gives %d\n", name, (int)texts[i].len, texts[i].s, (int)ids.ids[k]);
				wrong++;
			}
		hs_tok_ids_finish(&ids);
		tried++;
	}
	assert_true(tried > 0);
	free(texts);
	return wrong;
}

static void test_specials_of_models(void **state)
{
	static const char *const names[] = {"qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", "gemma-3-270m-q4_k_m.gguf"};
	int found = 0, wrong = 0;
	for (size_t i = 0; i < HS_ARRAY_LEN(names); i++) {
		char path[512];
		struct hs_gguf *g = NULL;
		struct hs_tokenizer *t = NULL;
		struct hs_err err = HS_ERR_INIT;
		if (!find_model(names[i], path, sizeof path))
			continue;
		assert_int_equal(hs_gguf_open(path, &g, &err), 0);
		assert_int_equal(hs_tokenizer_create(g, &t, &err), 0);
		wrong += check_specials(t, g, names[i]);
		hs_tokenizer_destroy(t);
		hs_gguf_close(g);
		found++;
	}
	if (!found) {
		print_message("# no model in $HISHO_MODELS or the cache\n");
		skip();
	}
	assert_int_equal(wrong, 0);
}

static void test_published_ids(void **state)
{
	const char *root = getenv("HISHO_VOCABS");
	DIR *dir = root ? opendir(root) : NULL;
	if (!dir) {
		print_message("# no $HISHO_VOCABS with *.gguf, *.gguf.inp and *.gguf.out\n");
		skip();
	}
	int wrong = 0, checked = 0;
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		char path[512];
		const char *dot = strrchr(e->d_name, '.');
		struct hs_gguf *g = NULL;
		struct hs_tokenizer *t = NULL;
		struct hs_err err = HS_ERR_INIT;
		if (!dot || strcmp(dot, ".gguf") != 0)
			continue;
		snprintf(path, sizeof path, "%s/%s", root, e->d_name);
		assert_int_equal(hs_gguf_open(path, &g, &err), 0);
		if (hs_tokenizer_create(g, &t, &err) == 0) {
			wrong += check_texts(t, composes(g), path) + check_specials(t, g, e->d_name);
			checked++;
		} else {
			print_message("# %s: refused: %s\n", e->d_name, err.object);
			if (strncmp(err.object, "tokenizer.ggml.pre", 18) != 0 &&
			    strncmp(err.object, "tokenizer.ggml.model", 20) != 0)
				wrong++;
		}
		hs_tokenizer_destroy(t);
		hs_gguf_close(g);
	}
	(void)closedir(dir);
	print_message("# %d vocabularies\n", checked);
	assert_true(checked > 0);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_published_ids), cmocka_unit_test(test_specials_of_models)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
