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
	struct hs_model *m = NULL;
	struct hs_err err;
	const struct hs_model_options options = {.n_threads = 2, .reference = reference};
	assert_int_equal(tiny_write(t, NULL, &file), 0);
	assert_int_equal(load_bytes(&file, &options, &m, &err), rc);
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

/* Fill a new sequence with n ids that begin at id `first`. */
static struct hs_sequence *filled(struct hs_model *m, uint32_t max_tokens, hs_tok_id first, uint32_t n)
{
	hs_tok_id ids[256];
	struct hs_sequence *s = NULL;
	const float *logits;
	for (uint32_t i = 0; i < n; i++)
		ids[i] = (first + 5 * (hs_tok_id)i) % 37;
	assert_int_equal(hs_sequence_create(m, max_tokens, &s), 0);
	if (n)
		assert_int_equal(hs_sequence_forward(s, ids, n, NULL, NULL, &logits), 0);
	return s;
}

/* Sequences of several lengths in one call, each with its own number of tokens and logits, give what each gives alone. */
static void check_together(struct hs_model *m)
{
	enum { N = 3 };
	static const uint32_t before[N] = {0, 30, 100}, tokens[N] = {5, 1, 20}, logits[N] = {3, 1, 4}, room[N] = {40, 256, 150};
	struct hs_step together[N];
	hs_tok_id ids[20];
	for (uint32_t i = 0; i < 20; i++)
		ids[i] = (hs_tok_id)(i * 11 % 37);
	for (int i = 0; i < N; i++)
		together[i] = (struct hs_step){
		    .sequence = filled(m, room[i], i, before[i]), .ids = ids + i, .n = tokens[i], .n_logits = logits[i]};
	together[2].ids = ids;
	assert_int_equal(hs_forward(together, N, NULL, NULL), 0);
	for (int i = 0; i < N; i++) {
		struct hs_sequence *alone = filled(m, room[i], i, before[i]);
		for (uint32_t k = 0; k < tokens[i]; k++) {
			const float *one;
			assert_int_equal(hs_sequence_forward(alone, together[i].ids + k, 1, NULL, NULL, &one), 0);
			if (k + logits[i] >= tokens[i])
				assert_memory_equal(one, together[i].logits[k + logits[i] - tokens[i]], 37 * sizeof *one);
		}
		assert_int_equal(hs_sequence_len(alone), hs_sequence_len(together[i].sequence));
		hs_sequence_destroy(alone);
	}
	for (int i = 0; i < N; i++)
		hs_sequence_destroy(together[i].sequence);
}

static void test_together_is_as_alone(void **state)
{
	struct hs_model *m = load_tiny(TINY_F32, false, 0), *r = load_tiny(TINY_F32, true, 0);
	check_together(m);
	check_together(r);
	hs_model_destroy(r);
	hs_model_destroy(m);
}

static void test_logits_of_a_cut_prefill(void **state)
{
	struct hs_model *m = load_tiny(TINY_F32, false, 0);
	hs_tok_id ids[80];
	for (uint32_t i = 0; i < 80; i++)
		ids[i] = (hs_tok_id)(i * 3 % 37);
	for (uint32_t n = 60; n <= 80; n++) {
		struct hs_sequence *s = filled(m, 90, 0, 0), *again = filled(m, 90, 0, 0);
		struct hs_step step = {.sequence = s, .ids = ids, .n = n, .n_logits = 8};
		const float *last;
		assert_int_equal(hs_forward(&step, 1, NULL, NULL), 0);
		for (uint32_t k = 0; k < n; k++) {
			assert_int_equal(hs_sequence_forward(again, ids + k, 1, NULL, NULL, &last), 0);
			if (k + 8 >= n)
				assert_memory_equal(last, step.logits[k + 8 - n], 37 * sizeof *last);
		}
		hs_sequence_destroy(s);
		hs_sequence_destroy(again);
	}
	hs_model_destroy(m);
}

static void test_steps_are_refused(void **state)
{
	struct hs_model *m = load_tiny(TINY_F32, false, 0), *other = load_tiny(TINY_F32, false, 0);
	static const hs_tok_id ids[70] = {0};
	struct hs_sequence *a = filled(m, 100, 0, 4), *b = filled(m, 100, 0, 4), *c = filled(other, 100, 0, 4),
			   *small = filled(m, 5, 0, 4);
	const struct {
		struct hs_step steps[2];
		int rc;
	} cases[] = {
	    {{{.sequence = a, .ids = ids, .n = 1}, {.sequence = a, .ids = ids, .n = 1}}, -EINVAL},
	    {{{.sequence = a, .ids = ids, .n = 1}, {.sequence = c, .ids = ids, .n = 1}}, -EINVAL},
	    {{{.sequence = a, .ids = ids, .n = 1}, {.sequence = b, .ids = ids, .n = 64}}, -EINVAL},
	    {{{.sequence = a, .ids = ids, .n = 1}, {.sequence = b, .ids = ids, .n = 0}}, -EINVAL},
	    {{{.sequence = a, .ids = ids, .n = 1, .n_logits = 2}, {.sequence = b, .ids = ids, .n = 1}}, -EINVAL},
	    {{{.sequence = a, .ids = ids, .n = 9, .n_logits = 4}, {.sequence = b, .ids = ids, .n = 9, .n_logits = 5}}, -EINVAL},
	    {{{.sequence = a, .ids = ids, .n = 1}, {.sequence = small, .ids = ids, .n = 2}}, -ENOSPC},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(cases); i++) {
		struct hs_step steps[2] = {cases[i].steps[0], cases[i].steps[1]};
		assert_int_equal(hs_forward(steps, 2, NULL, NULL), cases[i].rc);
		assert_true(hs_sequence_len(a) == 4 && hs_sequence_len(b) == 4 && hs_sequence_len(small) == 4);
	}
	hs_sequence_destroy(small);
	hs_sequence_destroy(c);
	hs_sequence_destroy(b);
	hs_sequence_destroy(a);
	hs_model_destroy(other);
	hs_model_destroy(m);
}

/* A prefix taken over from another sequence gives what computing it gives, also where it ends within a tile of 16. */
static void test_copied_prefix_is_as_computed(void **state)
{
	for (int reference = 0; reference < 2; reference++) {
		struct hs_model *m = load_tiny(TINY_F32, reference, 0);
		struct hs_sequence *from = filled(m, 100, 0, 90);
		for (uint32_t n = 1; n < 90; n += 11) {
			struct hs_sequence *warm = filled(m, 120, 0, 0), *cold = filled(m, 120, 0, n);
			static const hs_tok_id more[] = {9, 8, 7};
			const float *a, *b;
			hs_sequence_copy(warm, from, n);
			assert_int_equal(hs_sequence_len(warm), n);
			assert_int_equal(hs_sequence_forward(warm, more, 3, NULL, NULL, &a), 0);
			assert_int_equal(hs_sequence_forward(cold, more, 3, NULL, NULL, &b), 0);
			assert_memory_equal(a, b, 37 * sizeof *a);
			hs_sequence_destroy(cold);
			hs_sequence_destroy(warm);
		}
		assert_int_equal(hs_sequence_len(from), 90);
		hs_sequence_destroy(from);
		hs_model_destroy(m);
	}
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

/*
 * Greedy continuations by another engine (llama.cpp, without flash attention). Lines: "P ids" of a prompt, "G ids" of what
 * follows, "L leads": by how much each of these ids led the next best. With quantised activations no two orders of a sum
 * agree to the last digit, and what one layer rounds differently the next ones carry on: that engine's own two ways of
 * attention give logits that differ by up to NEAR. So an id must be the same where it led by more, and elsewhere ours may be
 * another one only if it leads by less.
 */
#define NEAR 0.5f

static size_t read_numbers(const char *line, float *numbers, size_t max)
{
	size_t n = 0;
	char *end;
	for (const char *p = line + 1; n < max; p = end) {
		float v = strtof(p, &end);
		if (end == p)
			break;
		numbers[n++] = v;
	}
	return n;
}

struct golden {
	float prompt[512], ids[64], leads[64];
	size_t n_prompt, n;
};

static void check_continuation(struct hs_model *m, const struct golden *g, unsigned *n_firm)
{
	struct hs_sequence *s = NULL;
	struct hs_sampler greedy = {0};
	const float *logits = NULL;
	assert_int_equal(hs_sequence_create(m, 640, &s), 0);
	for (size_t i = 0; i < g->n_prompt; i++) {
		hs_tok_id id = (hs_tok_id)g->prompt[i];
		struct hs_step step = {.sequence = s, .ids = &id, .n = 1, .n_logits = i + 1 == g->n_prompt};
		if (i % 32 == 0 && g->n_prompt - i > 32) { /* the prompt in chunks, as infer does it */
			hs_tok_id chunk[32];
			for (int k = 0; k < 32; k++)
				chunk[k] = (hs_tok_id)g->prompt[i + (size_t)k];
			step = (struct hs_step){.sequence = s, .ids = chunk, .n = 32};
			i += 31;
			assert_int_equal(hs_forward(&step, 1, NULL, NULL), 0);
			continue;
		}
		assert_int_equal(hs_forward(&step, 1, NULL, NULL), 0);
		logits = step.logits[0];
	}
	for (size_t i = 0; i < g->n; i++) {
		hs_tok_id theirs = (hs_tok_id)g->ids[i], ours = hs_sample(&greedy, logits, hs_model_info(m)->n_vocab, NULL);
		if (g->leads[i] > NEAR) {
			assert_int_equal(ours, theirs);
			(*n_firm)++;
		} else {
			assert_true(logits[ours] - logits[theirs] <= NEAR);
		}
		assert_int_equal(hs_sequence_forward(s, &theirs, 1, NULL, NULL, &logits), 0);
	}
	hs_sequence_destroy(s);
}

static void check_golden(const char *model, const char *golden)
{
	char path[512];
	static char line[16384];
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
	unsigned n_firm = 0, n_prompts = 0;
	static struct golden g;
	while (fgets(line, sizeof line, f)) {
		if (line[0] == 'P')
			g.n_prompt = read_numbers(line, g.prompt, HS_ARRAY_LEN(g.prompt));
		if (line[0] == 'G')
			g.n = read_numbers(line, g.ids, HS_ARRAY_LEN(g.ids));
		if (line[0] != 'L')
			continue;
		assert_int_equal(read_numbers(line, g.leads, HS_ARRAY_LEN(g.leads)), g.n);
		assert_true(g.n > 0 && g.n_prompt > 0);
		check_continuation(m, &g, &n_firm);
		n_prompts++;
	}
	fclose(f);
	assert_true(n_prompts >= 6 && n_firm >= 64);
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
	    cmocka_unit_test(test_together_is_as_alone),
	    cmocka_unit_test(test_logits_of_a_cut_prefill),
	    cmocka_unit_test(test_steps_are_refused),
	    cmocka_unit_test(test_copied_prefix_is_as_computed),
	    cmocka_unit_test(test_embeds),
	    cmocka_unit_test(test_long_texts_are_cut),
	    cmocka_unit_test(test_small_model_says_what_others_say),
	    cmocka_unit_test(test_default_model_says_what_others_say),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
