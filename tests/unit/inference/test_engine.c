#include "inference/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/unit/inference/support.h"
#include "tests/unit/inference/tiny.h"
#include "tests/unit/test.h"

static struct hs_model *load_tiny(struct tiny t, bool reference, int rc)
{
	HS_BUF_AUTO file = HS_BUF_INIT;
	char path[] = "/tmp/hisho-model-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(tiny_write(t, NULL, &file), 0);
	assert_int_equal(hs_fd_write_all(fd, file.data, file.len), 0);
	struct hs_model *m = NULL;
	struct hs_err err = HS_ERR_INIT;
	const struct hs_model_options options = {.n_threads = 2, .reference = reference};
	assert_int_equal(hs_model_load(path, &options, &m, &err), rc);
	close(fd);
	unlink(path);
	return m;
}

static struct tiny encoder(void)
{
	struct tiny t = TINY_F32;
	t.arch = "bert";
	t.kv_heads = t.heads;
	return t;
}

static void test_info(void **state)
{
	struct hs_model *m = load_tiny(TINY_F32, false, 0);
	const struct hs_model_info *i = hs_model_info(m);
	assert_string_equal(i->architecture, "qwen2");
	assert_true(i->n_layers == 2 && i->n_embd == 40 && i->n_heads == 4 && i->n_kv_heads == 2 && i->n_ff == 52);
	assert_true(i->n_vocab == 37 && i->context == 256 && !i->encoder);
	assert_int_equal(i->file_bytes, i->n_params * 4);
	assert_int_equal(hs_tok_eos(hs_model_tokenizer(m)), 2);
	hs_model_destroy(m);
	hs_model_destroy(NULL);
	struct tiny t = TINY_F32;
	t.without = "output_norm.weight";
	assert_null(load_tiny(t, false, -EINVAL));
}

static void test_forward_refuses(void **state)
{
	struct hs_model *m = load_tiny(TINY_F32, false, 0);
	struct hs_sequence *s = NULL;
	const float *logits;
	float out[40];
	assert_int_equal(hs_sequence_create(m, 0, &s), -EINVAL);
	assert_int_equal(hs_sequence_create(m, 257, &s), -EINVAL);
	assert_int_equal(hs_embed(m, NULL, NULL, 0, NULL, NULL, out), -EINVAL);
	assert_int_equal(hs_sequence_create(m, 4, &s), 0);
	assert_int_equal(hs_sequence_forward(s, (const hs_tok_id[]){1}, 0, NULL, NULL, &logits), -EINVAL);
	assert_int_equal(hs_sequence_forward(s, (const hs_tok_id[]){-1}, 1, NULL, NULL, &logits), -EINVAL);
	assert_int_equal(hs_sequence_forward(s, (const hs_tok_id[]){37}, 1, NULL, NULL, &logits), -EINVAL);
	assert_int_equal(hs_sequence_forward(s, (const hs_tok_id[]){1, 2, 3, 4, 5}, 5, NULL, NULL, &logits), -ENOSPC);
	assert_int_equal(hs_sequence_len(s), 0);
	assert_int_equal(hs_sequence_forward(s, (const hs_tok_id[]){1, 2, 3, 4}, 4, NULL, NULL, &logits), 0);
	assert_int_equal(hs_sequence_forward(s, (const hs_tok_id[]){1}, 1, NULL, NULL, &logits), -ENOSPC);
	hs_sequence_destroy(s);
	hs_sequence_destroy(NULL);
	hs_model_destroy(m);
	m = load_tiny(encoder(), false, 0);
	assert_int_equal(hs_sequence_create(m, 4, &s), -EINVAL);
	hs_model_destroy(m);
}

static void test_truncated_is_as_if_never_there(void **state)
{
	for (int reference = 0; reference < 2; reference++) {
		struct hs_model *m = load_tiny(TINY_F32, reference, 0);
		struct hs_sequence *s = NULL;
		const float *logits;
		float first[37];
		assert_int_equal(hs_sequence_create(m, 64, &s), 0);
		assert_int_equal(hs_sequence_forward(s, (const hs_tok_id[]){5, 6, 7, 8, 9}, 5, NULL, NULL, &logits), 0);
		memcpy(first, logits, sizeof first);
		assert_int_equal(hs_sequence_forward(s, (const hs_tok_id[]){10, 11, 12}, 3, NULL, NULL, &logits), 0);
		assert_memory_not_equal(first, logits, sizeof first);
		hs_sequence_truncate(s, 100); /* nothing there */
		assert_int_equal(hs_sequence_len(s), 8);
		hs_sequence_truncate(s, 3);
		assert_int_equal(hs_sequence_len(s), 3);
		assert_int_equal(hs_sequence_forward(s, (const hs_tok_id[]){8, 9}, 2, NULL, NULL, &logits), 0);
		assert_memory_equal(first, logits, sizeof first);
		hs_sequence_destroy(s);
		hs_model_destroy(m);
	}
}

/* A yield that computes on the same model, and cancels when told to. */
struct visitor {
	struct hs_model *m;
	unsigned calls;
	bool cancel;
};

static int visit(void *arg)
{
	struct visitor *v = arg;
	v->calls++;
	if (v->cancel)
		return 1;
	if (v->calls > 3)
		return 0;
	if (hs_model_info(v->m)->encoder) {
		float out[256];
		const char *text = "abc";
		assert_int_equal(hs_embed(v->m, &text, (const size_t[]){3}, 1, NULL, NULL, out), 0);
		return 0;
	}
	struct hs_sequence *s = NULL;
	const float *logits;
	assert_int_equal(hs_sequence_create(v->m, 8, &s), 0);
	assert_int_equal(hs_sequence_forward(s, (const hs_tok_id[]){3, 4, 5}, 3, NULL, NULL, &logits), 0);
	hs_sequence_destroy(s);
	return 0;
}

/* Large enough to be asked while it works, on any machine that the tests run on: half a GFLOP and more. */
static struct tiny slow_model(void)
{
	struct tiny t = TINY_F32;
	t.embd = 512;
	t.ff = 2048;
	t.vocab = 90;
	t.layers = 6;
	t.context = 1000;
	return t;
}

static void test_yields_and_cancels(void **state)
{
	struct hs_model *m = load_tiny(slow_model(), false, 0);
	struct hs_sequence *s = NULL, *again = NULL;
	static hs_tok_id ids[900];
	const float *logits;
	static float alone[90];
	for (int i = 0; i < 900; i++)
		ids[i] = i * 7 % 90;
	assert_int_equal(hs_sequence_create(m, 900, &s), 0);
	assert_int_equal(hs_sequence_create(m, 900, &again), 0);
	assert_int_equal(hs_sequence_forward(s, ids, 900, NULL, NULL, &logits), 0);
	memcpy(alone, logits, sizeof alone);
	struct visitor v = {.m = m};
	assert_int_equal(hs_sequence_forward(again, ids, 100, visit, &v, &logits), 0);
	assert_int_equal(hs_sequence_forward(again, ids + 100, 799, visit, &v, &logits), 0);
	assert_true(v.calls > 0);
	v.cancel = true;
	hs_sequence_truncate(again, 100);
	assert_int_equal(hs_sequence_forward(again, ids + 100, 800, visit, &v, &logits), -ECANCELED);
	assert_int_equal(hs_sequence_len(again), 100);
	assert_int_equal(hs_sequence_forward(again, ids + 100, 800, NULL, NULL, &logits), 0);
	assert_memory_equal(alone, logits, sizeof alone);
	hs_sequence_destroy(again);
	hs_sequence_destroy(s);
	hs_model_destroy(m);
}

static void test_embeds(void **state)
{
	static const char *const texts[] = {"query: abc", "", "a much longer passage: xyz", "abc"};
	static const size_t lens[] = {10, 0, 26, 3};
	float fast[4 * 40], reference[4 * 40], one[40];
	struct hs_model *m = load_tiny(encoder(), false, 0), *r = load_tiny(encoder(), true, 0);
	assert_int_equal(hs_embed(m, texts, lens, 4, NULL, NULL, fast), 0);
	assert_int_equal(hs_embed(r, texts, lens, 4, NULL, NULL, reference), 0);
	for (int i = 0; i < 4; i++) {
		double dot = 0;
		for (int k = 0; k < 40; k++)
			dot += (double)fast[40 * i + k] * (double)reference[40 * i + k];
		assert_true(fabs(dot - 1) < 1e-5);
	}
	assert_int_equal(hs_embed(m, texts + 2, lens + 2, 1, NULL, NULL, one), 0);
	assert_memory_equal(one, fast + 80, sizeof one);
	assert_int_equal(hs_embed(m, texts, lens, 0, NULL, NULL, one), 0);
	assert_int_equal(hs_embed(m, (const char *const[]){"\xff"}, (const size_t[]){1}, 1, NULL, NULL, one), -EILSEQ);
	hs_model_destroy(r);
	hs_model_destroy(m);
}

static void test_long_texts_are_cut(void **state)
{
	struct hs_model *m = load_tiny(encoder(), false, 0);
	static char text[3000];
	float cut[40], longer[40];
	memset(text, 'a', sizeof text);
	text[2999] = 'b';
	const char *p = text;
	assert_int_equal(hs_embed(m, &p, (const size_t[]){1000}, 1, NULL, NULL, cut), 0);
	assert_int_equal(hs_embed(m, &p, (const size_t[]){3000}, 1, NULL, NULL, longer), 0);
	assert_memory_equal(cut, longer, sizeof cut);
	hs_model_destroy(m);
}

/* Greedy continuations that another engine gives as well. Lines: "P ids" of a prompt, then "G ids" of what follows. */
static size_t read_ids(const char *line, hs_tok_id *ids, size_t max)
{
	size_t n = 0;
	char *end;
	for (const char *p = line + 1; n < max; p = end) {
		long v = strtol(p, &end, 10);
		if (end == p)
			break;
		ids[n++] = (hs_tok_id)v;
	}
	return n;
}

static void check_golden(const char *model, const char *golden)
{
	char path[512], line[8192];
	if (!find_model(model, path, sizeof path)) {
		print_message("no %s in $HISHO_MODELS or the cache\n", model);
		skip();
	}
	struct hs_model *m = NULL;
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(hs_model_load(path, NULL, &m, &err), 0);
	snprintf(path, sizeof path, "%s/tests/unit/inference/data/%s",
		 getenv("HISHO_SOURCE_ROOT") ? getenv("HISHO_SOURCE_ROOT") : ".", golden);
	FILE *f = fopen(path, "re");
	assert_non_null(f);
	unsigned n_checked = 0;
	hs_tok_id prompt[256], want[64];
	size_t n_prompt = 0;
	while (fgets(line, sizeof line, f)) {
		if (line[0] == 'P')
			n_prompt = read_ids(line, prompt, HS_ARRAY_LEN(prompt));
		if (line[0] != 'G')
			continue;
		size_t n = read_ids(line, want, HS_ARRAY_LEN(want));
		assert_true(n > 0 && n_prompt > 0);
		struct hs_sequence *s = NULL;
		struct hs_sampler greedy = {0};
		const float *logits;
		assert_int_equal(hs_sequence_create(m, 512, &s), 0);
		assert_int_equal(hs_sequence_forward(s, prompt, (uint32_t)n_prompt, NULL, NULL, &logits), 0);
		for (size_t i = 0; i < n; i++) {
			hs_tok_id id = hs_sample(&greedy, logits, hs_model_info(m)->n_vocab);
			assert_int_equal(id, want[i]);
			assert_int_equal(hs_sequence_forward(s, &id, 1, NULL, NULL, &logits), 0);
		}
		hs_sequence_destroy(s);
		n_checked++;
	}
	fclose(f);
	assert_true(n_checked > 0);
	hs_model_destroy(m);
}

static void test_small_model_says_what_others_say(void **state)
{
	check_golden("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", "greedy-0.5b.ids");
}

static void test_default_model_says_what_others_say(void **state)
{
	check_golden("qwen2.5-coder-1.5b-instruct-q4_k_m.gguf", "greedy-1.5b.ids");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_info),
	    cmocka_unit_test(test_forward_refuses),
	    cmocka_unit_test(test_truncated_is_as_if_never_there),
	    cmocka_unit_test(test_yields_and_cancels),
	    cmocka_unit_test(test_embeds),
	    cmocka_unit_test(test_long_texts_are_cut),
	    cmocka_unit_test(test_small_model_says_what_others_say),
	    cmocka_unit_test(test_default_model_says_what_others_say),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
