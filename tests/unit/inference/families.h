/* Every family of the table as a tiny random model, and what it computes. */
#ifndef HISHO_TESTS_INFERENCE_FAMILIES_H
#define HISHO_TESTS_INFERENCE_FAMILIES_H

#include "tests/unit/inference/tiny.h"
#include "tests/unit/test.h"

static struct hs_yield never;

#define N_IDS 40  /* longer than the windows */
#define N_STEPS 3 /* logits after so many last tokens are kept */
#define N_VALUES 256

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

static inline void open_model(struct model *m, const struct golden *golden, enum hs_tensor_type type)
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

static inline void close_model(struct model *m)
{
	hs_weights_destroy(m->w);
	hs_gguf_close(m->g);
	hs_buf_finish(&m->file);
}

static inline void fill_ids(const struct hs_weights *w, int32_t ids[static N_IDS])
{
	for (uint32_t i = 0; i < N_IDS; i++)
		ids[i] = (int32_t)(i * 31 % w->hyper.n_vocab);
}

/* Logits of an empty sequence after each of the last tokens. Returns how many. */
static inline size_t run_sequence(const struct hs_backend *b, struct hs_backend_sequence *s, const struct hs_weights *w, float *out)
{
	int32_t ids[N_IDS];
	fill_ids(w, ids);
	for (uint32_t step = 0, at = 0; step < N_STEPS; step++) {
		const float *logits;
		uint32_t n = N_IDS - N_STEPS + 1 + step - at;
		assert_int_equal(tiny_forward(b, s, at, ids + at, n, &never, &logits), 0);
		memcpy(out + (size_t)step * w->hyper.n_vocab, logits, w->hyper.n_vocab * sizeof *out);
		at += n;
	}
	return (size_t)N_STEPS * w->hyper.n_vocab;
}

/* Logits after each of the last tokens, or what three texts encode to: (N_VALUES). Returns how many. */
static inline size_t run(const struct hs_backend *b, struct hs_backend_model *bm, const struct hs_weights *w, float *out)
{
	if (w->hyper.pool != HS_POOL_NONE) {
		static const uint32_t starts[] = {0, 25, 26, N_IDS};
		int32_t ids[N_IDS];
		fill_ids(w, ids);
		assert_int_equal(b->encode(bm, ids, starts, 3, &never, out), 0);
		return 3 * (size_t)hs_encoded_len(&w->hyper);
	}
	struct hs_backend_sequence *s = NULL;
	assert_int_equal(b->sequence_create(bm, N_IDS, &s), 0);
	size_t n = run_sequence(b, s, w, out);
	b->sequence_destroy(s);
	return n;
}

static inline void run_plainly(const struct hs_backend *b, const struct hs_weights *w, float *out)
{
	struct hs_backend_model *bm = NULL;
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(b->open(w, 1, &bm, &err), 0);
	(void)run(b, bm, w, out);
	b->close(bm);
}

/* For tests/golden.py: a file into the folder that HISHO_GOLDEN_OUT names. */
static inline void write_golden(const char *name, const char *suffix, const struct hs_buf *file)
{
	char path[512];
	snprintf(path, sizeof path, "%s/%s%s", getenv("HISHO_GOLDEN_OUT"), name, suffix);
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(file->data, 1, file->len, f), file->len);
	assert_int_equal(fclose(f), 0);
}

static inline double relative(const float *want, const float *got, size_t n)
{
	double worst = 0, most = 0;
	for (size_t i = 0; i < n; i++) {
		worst = fmax(worst, fabs((double)want[i] - (double)got[i]));
		most = fmax(most, fabs((double)want[i]));
	}
	return worst / most;
}

static inline double log_sum(const float *v, size_t n)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += exp((double)v[i]);
	return log(sum);
}

#endif
