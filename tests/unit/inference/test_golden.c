/*
 * Every family of the table against what Hugging Face transformers compute in fp32 from the same weights: a tiny random
 * model, written here from a fixed seed. tests/golden.py made the numbers; with HISHO_GOLDEN_OUT set, this program only
 * writes the models there for it.
 *
 * The numbers are compared with the reference that keeps keys and values unrounded; the fast paths are then compared with
 * the reference that rounds them, since their caches do.
 */
#include <stdio.h>

#include "inference/cpu/cpu.h"
#include "tests/unit/inference/tiny.h"
#include "tests/unit/test.h"

#define N_IDS 40  /* longer than the windows */
#define N_STEPS 3 /* logits after so many last tokens are kept */
#define N_VALUES 256

static struct hs_yield never;

static void llama_base(struct hs_gguf_writer *w)
{
	hs_gguf_put_f32(w, "llama.rope.freq_base", 50000);
}

static void qwen2_yarn(struct hs_gguf_writer *w)
{
	hs_gguf_put_str(w, "qwen2.rope.scaling.type", "yarn");
	hs_gguf_put_f32(w, "qwen2.rope.scaling.factor", 4);
	hs_gguf_put_u32(w, "qwen2.rope.scaling.original_context_length", 16);
}

static void qwen3_linear(struct hs_gguf_writer *w)
{
	hs_gguf_put_str(w, "qwen3.rope.scaling.type", "linear");
	hs_gguf_put_f32(w, "qwen3.rope.scaling.factor", 2);
}

static void gemma3_bases(struct hs_gguf_writer *w)
{
	hs_gguf_put_f32(w, "gemma3.rope.freq_base", 1000000);
	hs_gguf_put_f32(w, "gemma3.rope.scaling.factor", 8);
	hs_gguf_put_str(w, "gemma3.rope.scaling.type", "linear");
}

static void gpt_oss_yarn(struct hs_gguf_writer *w)
{
	hs_gguf_put_f32(w, "gpt-oss.rope.freq_base", 150000);
	hs_gguf_put_str(w, "gpt-oss.rope.scaling.type", "yarn");
	hs_gguf_put_f32(w, "gpt-oss.rope.scaling.factor", 8);
	hs_gguf_put_u32(w, "gpt-oss.rope.scaling.original_context_length", 12);
}

static void modern_bases(struct hs_gguf_writer *w)
{
	hs_gguf_put_f32(w, "modern-bert.rope.freq_base", 160000);
	hs_gguf_put_u32(w, "modern-bert.attention.sliding_window_pattern", 3);
}

#define TINY(n_layers, n_kv_heads, ...)                                                                                          \
	{                                                                                                                        \
		.type = HS_F32, .layers = n_layers, .embd = 64, .heads = 4, .kv_heads = n_kv_heads, .ff = 96, .vocab = 60,       \
		.context = 64, .eps = 1e-5f, __VA_ARGS__                                                                         \
	}

static const struct golden {
	const char *name;
	struct tiny tiny;
	void (*more)(struct hs_gguf_writer *w);
} goldens[] = {
    {"llama", TINY(2, 2, .arch = "llama", .rope_freqs = true), llama_base},
    {"llama-experts", TINY(2, 2, .arch = "llama", .experts = 5, .used = 2), NULL},
    {"qwen2", TINY(2, 2, .arch = "qwen2"), NULL},
    {"qwen2-yarn", TINY(2, 2, .arch = "qwen2", .tied = true), qwen2_yarn},
    {"qwen3", TINY(2, 2, .arch = "qwen3", .head_dim = 24), qwen3_linear},
    {"qwen3-last", TINY(2, 2, .arch = "qwen3", .head_dim = 24, .pool = 3), NULL},
    {"qwen3moe", TINY(2, 2, .arch = "qwen3moe", .head_dim = 24, .experts = 6, .used = 3), NULL},
    {"gemma2", TINY(2, 2, .arch = "gemma2", .head_dim = 24, .window = 8), NULL},
    {"gemma3", TINY(7, 2, .arch = "gemma3", .head_dim = 24, .window = 8), gemma3_bases},
    {"gpt-oss", TINY(2, 2, .arch = "gpt-oss", .head_dim = 24, .window = 8, .experts = 6, .used = 3), gpt_oss_yarn},
    {"gpt2", TINY(2, 4, .arch = "gpt2"), NULL},
    {"command-r", TINY(2, 2, .arch = "command-r"), NULL},
    {"command-r-plus", TINY(2, 2, .arch = "command-r", .with = HS_F_QK_NORM_HEADS), NULL},
    {"cohere2", TINY(5, 2, .arch = "cohere2", .window = 8), NULL},
    {"bert", TINY(2, 4, .arch = "bert"), NULL},
    {"bert-rank", TINY(2, 4, .arch = "bert", .labels = 1, .pool = 2), NULL},
    {"modern-bert", TINY(4, 4, .arch = "modern-bert", .window = 8), modern_bases},
    {"modern-bert-rank", TINY(4, 4, .arch = "modern-bert", .window = 8, .labels = 3), modern_bases},
};

struct model {
	struct hs_buf file;
	struct hs_gguf *g;
	struct hs_weights *w;
};

static void open_model(struct model *m, const struct golden *golden, enum hs_tensor_type type)
{
	struct hs_err err = HS_ERR_INIT;
	struct tiny t = golden->tiny;
	*m = (struct model){0};
	t.type = type;
	if (type != HS_F32) { /* blocks */
		t.embd = t.ff = 256;
		t.layers = 2; /* noise grows with each */
		t.head_dim = t.head_dim ? 64 : 0;
		t.used = t.experts; /* near a tie, the least noise would choose another expert */
	}
	assert_int_equal(tiny_write(t, golden->more, &m->file), 0);
	assert_int_equal(hs_gguf_open_memory(m->file.data, m->file.len, &m->g, &err), 0);
	int rc = hs_weights_bind(m->g, &m->w, &err);
	if (rc < 0)
		print_error("%s: %s: %s\n", golden->name, err.object, err.hint);
	assert_int_equal(rc, 0);
}

static void close_model(struct model *m)
{
	hs_weights_destroy(m->w);
	hs_gguf_close(m->g);
	hs_buf_finish(&m->file);
}

/* Logits after each of the last tokens, or what three texts encode to: (N_VALUES). Returns how many. */
static size_t run(const struct hs_backend *b, struct hs_backend_model *bm, const struct hs_weights *w, float *out)
{
	int32_t ids[N_IDS];
	for (uint32_t i = 0; i < N_IDS; i++)
		ids[i] = (int32_t)(i * 31 % w->hyper.n_vocab);
	if (w->hyper.pool != HS_POOL_NONE) {
		static const uint32_t starts[] = {0, 25, 26, N_IDS};
		assert_int_equal(b->encode(bm, ids, starts, 3, &never, out), 0);
		return 3 * (size_t)hs_encoded_len(&w->hyper);
	}
	struct hs_backend_sequence *s = NULL;
	assert_int_equal(b->sequence_create(bm, N_IDS, &s), 0);
	for (uint32_t step = 0, at = 0; step < N_STEPS; step++) {
		const float *logits;
		uint32_t n = N_IDS - N_STEPS + 1 + step - at;
		assert_int_equal(tiny_forward(b, s, at, ids + at, n, &never, &logits), 0);
		memcpy(out + (size_t)step * w->hyper.n_vocab, logits, w->hyper.n_vocab * sizeof *out);
		at += n;
	}
	b->sequence_destroy(s);
	return (size_t)N_STEPS * w->hyper.n_vocab;
}

static void run_plainly(const struct hs_backend *b, const struct hs_weights *w, float *out)
{
	struct hs_backend_model *bm = NULL;
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(b->open(w, 1, &bm, &err), 0);
	(void)run(b, bm, w, out);
	b->close(bm);
}

static double relative(const float *want, const float *got, size_t n)
{
	double worst = 0, most = 0;
	for (size_t i = 0; i < n; i++) {
		worst = fmax(worst, fabs((double)want[i] - (double)got[i]));
		most = fmax(most, fabs((double)want[i]));
	}
	return worst / most;
}

static size_t read_numbers(const char *name, float *out)
{
	char path[512];
	snprintf(path, sizeof path, "%s/tests/unit/inference/data/golden/%s.txt",
		 getenv("HISHO_SOURCE_ROOT") ? getenv("HISHO_SOURCE_ROOT") : ".", name);
	FILE *f = fopen(path, "re");
	if (!f)
		print_error("no %s\n", path);
	assert_non_null(f);
	size_t n = 0;
	while (n < N_VALUES && fscanf(f, "%f", &out[n]) == 1)
		n++;
	fclose(f);
	return n;
}

static void write_model(const struct golden *golden, const struct model *m)
{
	char path[512];
	snprintf(path, sizeof path, "%s/%s.gguf", getenv("HISHO_GOLDEN_OUT"), golden->name);
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(m->file.data, 1, m->file.len, f), m->file.len);
	assert_int_equal(fclose(f), 0);
}

static void test_families(void **state)
{
	const struct hs_kernels *tables[3];
	size_t n_tables = hs_kernels_list(tables);
	for (size_t i = 0; i < HS_ARRAY_LEN(goldens); i++) {
		struct model m;
		open_model(&m, &goldens[i], HS_F32);
		if (getenv("HISHO_GOLDEN_OUT")) {
			write_model(&goldens[i], &m);
			close_model(&m);
			continue;
		}
		static float theirs[N_VALUES], exact[N_VALUES], rounded[N_VALUES], fast[N_VALUES];
		size_t n = read_numbers(goldens[i].name, theirs);
		run_plainly(&hs_backend_exact, m.w, exact);
		run_plainly(&hs_backend_reference, m.w, rounded);
		double ours = relative(theirs, exact, n), cache = relative(exact, rounded, n);
		for (size_t t = 0; t < n_tables; t++) {
			struct hs_backend_model *bm = NULL;
			struct hs_err err = HS_ERR_INIT;
			assert_int_equal(hs_cpu_open(m.w, tables[t], 2, &bm, &err), 0);
			assert_int_equal(run(&hs_backend_cpu, bm, m.w, fast), n);
			hs_cpu_close(bm);
			print_message("%s: reference %.1e of transformers, halves in the cache %.1e, %s %.1e of the reference\n",
				      goldens[i].name, ours, cache, tables[t]->name, relative(rounded, fast, n));
			assert_true(ours < 1e-4);
			/* a key or value that lies between two halves may go to the other one */
			assert_true(relative(rounded, fast, n) < fmax(1e-4, cache / 2));
		}
		close_model(&m);
	}
}

static double log_sum(const float *v, size_t n)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += exp((double)v[i]);
	return log(sum);
}

/* Quantised weights: the fast path's bytes against the reference on the same weights. */
static void test_quantised_families(void **state)
{
	static const enum hs_tensor_type types[] = {HS_Q4_K, HS_Q8_0, HS_MXFP4};
	for (size_t i = 0; i < HS_ARRAY_LEN(goldens) * HS_ARRAY_LEN(types); i++) {
		const struct golden *golden = &goldens[i / HS_ARRAY_LEN(types)];
		enum hs_tensor_type type = types[i % HS_ARRAY_LEN(types)];
		struct model m;
		struct hs_backend_model *bm = NULL;
		struct hs_err err = HS_ERR_INIT;
		static float want[3 * 256], got[3 * 256];
		open_model(&m, golden, type);
		run_plainly(&hs_backend_reference, m.w, want);
		assert_int_equal(hs_cpu_open(m.w, hs_kernels_choose(), 2, &bm, &err), 0);
		size_t n = run(&hs_backend_cpu, bm, m.w, got), vocab = m.w->hyper.n_vocab;
		hs_cpu_close(bm);
		if (m.w->hyper.pool != HS_POOL_NONE) {
			print_message("%s %s: %.1e\n", golden->name, hs_tensor_type_name(type), relative(want, got, n));
			assert_true(relative(want, got, n) < 5e-2);
		}
		double kl = 0;
		for (size_t step = 0; step < N_STEPS && m.w->hyper.pool == HS_POOL_NONE; step++) {
			const float *a = want + step * vocab, *b = got + step * vocab;
			double la = log_sum(a, vocab), lb = log_sum(b, vocab);
			size_t top_a = 0, top_b = 0;
			for (size_t k = 0; k < vocab; k++) {
				kl += exp((double)a[k] - la) * ((double)a[k] - la - (double)b[k] + lb) / N_STEPS;
				top_a = a[k] > a[top_a] ? k : top_a;
				top_b = b[k] > b[top_b] ? k : top_b;
			}
			assert_true(top_a == top_b || a[top_a] - a[top_b] < 0.05f); /* as good as equal */
		}
		if (m.w->hyper.pool == HS_POOL_NONE)
			print_message("%s %s: KL %.1e\n", golden->name, hs_tensor_type_name(type), kl);
		assert_true(kl < 1e-3);
		close_model(&m);
	}
}

static void run_in_steps(struct hs_backend_model *bm, const struct hs_weights *w, uint32_t step, float *out)
{
	int32_t ids[N_IDS];
	for (uint32_t i = 0; i < N_IDS; i++)
		ids[i] = (int32_t)(i * 31 % w->hyper.n_vocab);
	if (w->hyper.pool != HS_POOL_NONE) { /* texts of `step` tokens, all together, or each alone where it is 0 */
		static const uint32_t starts[] = {0, 8, 16, 24, 32, 40};
		size_t len = hs_encoded_len(&w->hyper);
		for (uint32_t i = 0; i < 5; i += step ? 5 : 1) {
			uint32_t own[2] = {0, 8};
			assert_int_equal(
			    hs_backend_cpu.encode(bm, ids + starts[i], step ? starts : own, step ? 5 : 1, &never, out + i * len),
			    0);
		}
		return;
	}
	struct hs_backend_sequence *s = NULL;
	const float *logits = NULL;
	assert_int_equal(hs_backend_cpu.sequence_create(bm, N_IDS, &s), 0);
	for (uint32_t at = 0; at < N_IDS; at += step)
		assert_int_equal(tiny_forward(&hs_backend_cpu, s, at, ids + at, HS_MIN(step, N_IDS - at), &never, &logits), 0);
	memcpy(out, logits, w->hyper.n_vocab * sizeof *out);
	hs_backend_cpu.sequence_destroy(s);
}

/* Windows, experts, shared passes: however the work is cut, the same bits. */
static void test_bits_do_not_depend_on_cuts(void **state)
{
	for (size_t i = 0; i < HS_ARRAY_LEN(goldens); i++) {
		struct model m;
		open_model(&m, &goldens[i], HS_Q8_0);
		static float whole[5 * 256], cut[5 * 256];
		bool encodes = m.w->hyper.pool != HS_POOL_NONE;
		memset(whole, 0, sizeof whole);
		for (unsigned threads = 1; threads <= 3; threads += 2) {
			struct hs_backend_model *bm = NULL;
			struct hs_err err = HS_ERR_INIT;
			assert_int_equal(hs_cpu_open(m.w, hs_kernels_choose(), threads, &bm, &err), 0);
			if (threads == 1)
				run_in_steps(bm, m.w, N_IDS, whole);
			for (uint32_t step = encodes ? 0 : 1; step <= 14; step += encodes ? 14 : 6) {
				memset(cut, 0, sizeof cut);
				run_in_steps(bm, m.w, step, cut);
				assert_memory_equal(whole, cut, sizeof cut);
			}
			hs_cpu_close(bm);
		}
		close_model(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_families),
	    cmocka_unit_test(test_quantised_families),
	    cmocka_unit_test(test_bits_do_not_depend_on_cuts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
