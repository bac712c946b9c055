/* The cpu backend against the reference, for every architecture, tensor type and set of kernels that this machine has. */
#include <errno.h>

#include "inference/cpu/cpu.h"
#include "tests/unit/inference/tiny.h"
#include "tests/unit/test.h"

struct model {
	struct hs_buf file;
	struct hs_gguf *g;
	struct hs_weights *w;
};

static struct hs_yield never;

static void open_tiny(struct model *m, struct tiny t)
{
	*m = (struct model){0};
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(tiny_write(t, NULL, &m->file), 0);
	assert_int_equal(hs_gguf_open_memory(m->file.data, m->file.len, &m->g, &err), 0);
	int rc = hs_weights_bind(m->g, &m->w, &err);
	if (rc < 0)
		print_error("%s: %s\n", err.object, err.hint);
	assert_int_equal(rc, 0);
}

static void close_tiny(struct model *m)
{
	hs_weights_destroy(m->w);
	hs_gguf_close(m->g);
	hs_buf_finish(&m->file);
}

#define N_IDS 70 /* more than one chunk of a prefill */

static void make_ids(uint32_t vocab, int32_t ids[static N_IDS])
{
	for (uint32_t i = 0; i < N_IDS; i++)
		ids[i] = (int32_t)(i * 31 % vocab);
}

/* Logits after n ids, given `step` at a time (0: all at once): out (vocab). */
static void run_sequence(const struct hs_backend *b, struct hs_backend_model *bm, const struct model *m, uint32_t n,
			 uint32_t step, float *out)
{
	int32_t ids[N_IDS];
	make_ids(m->w->hyper.n_vocab, ids);
	struct hs_backend_sequence *s = NULL;
	assert_int_equal(b->sequence_create(bm, N_IDS + 3, &s), 0);
	const float *logits = NULL;
	for (uint32_t at = 0; at < n; at += step ? step : n)
		assert_int_equal(tiny_forward(b, s, at, ids + at, HS_MIN(step ? step : n, n - at), &never, &logits), 0);
	memcpy(out, logits, m->w->hyper.n_vocab * sizeof *out);
	b->sequence_destroy(s);
}

/* Logits, or for encoders three texts' embeddings, of the reference and of some kernels: (values). */
static size_t values(const struct hs_backend *b, struct hs_backend_model *bm, const struct model *m, float *out)
{
	if (m->w->arch->causal) {
		run_sequence(b, bm, m, N_IDS, 0, out);
		return m->w->hyper.n_vocab;
	}
	int32_t ids[N_IDS];
	make_ids(m->w->hyper.n_vocab, ids);
	static const uint32_t starts[] = {0, 33, 34, N_IDS};
	assert_int_equal(b->encode(bm, ids, starts, 3, &never, out), 0);
	return 3 * (size_t)m->w->hyper.n_embd;
}

struct difference {
	double relative, kl;
	bool same_top;
};

static double log_sum(const float *v, size_t n)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += exp((double)v[i]);
	return log(sum);
}

static struct difference compare(const float *want, const float *got, size_t n)
{
	double worst = 0, most = 0, lw = log_sum(want, n), lg = log_sum(got, n);
	size_t top_want = 0, top_got = 0;
	struct difference d = {0};
	for (size_t i = 0; i < n; i++) {
		worst = fmax(worst, fabs((double)want[i] - (double)got[i]));
		most = fmax(most, fabs((double)want[i]));
		d.kl += exp((double)want[i] - lw) * (((double)want[i] - lw) - ((double)got[i] - lg));
		top_want = want[i] > want[top_want] ? i : top_want;
		top_got = got[i] > got[top_got] ? i : top_got;
	}
	d.relative = worst / most;
	d.same_top = top_want == top_got;
	return d;
}

/* Against the reference, every kernel table; the worst of them. */
static struct difference against_reference(struct tiny t)
{
	struct model m;
	open_tiny(&m, t);
	float want[1024], got[1024];
	struct hs_backend_model *ref = NULL;
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(hs_backend_reference.open(m.w, 1, &ref, &err), 0);
	size_t n = values(&hs_backend_reference, ref, &m, want);
	hs_backend_reference.close(ref);
	const struct hs_kernels *tables[3];
	struct difference worst = {.same_top = true};
	size_t n_tables = hs_kernels_list(tables);
	for (size_t i = 0; i < n_tables; i++) {
		struct hs_backend_model *fast = NULL;
		assert_int_equal(hs_cpu_open(m.w, tables[i], 2, &fast, &err), 0);
		assert_int_equal(values(&hs_backend_cpu, fast, &m, got), n);
		hs_cpu_close(fast);
		struct difference d = compare(want, got, n);
		print_message("%s %s %s: relative %.2e KL %.2e\n", t.arch, hs_tensor_type_name(t.type), tables[i]->name,
			      d.relative, d.kl);
		worst.relative = fmax(worst.relative, d.relative);
		worst.kl = fmax(worst.kl, d.kl);
		worst.same_top = worst.same_top && d.same_top;
	}
	close_tiny(&m);
	return worst;
}

static void test_float_weights(void **state)
{
	struct tiny qwen = TINY_F32, llama = TINY_F32, tied = TINY_F32, bert = TINY_F32;
	llama.arch = "llama";
	llama.rope_freqs = true;
	tied.tied = true;
	bert.arch = "bert";
	bert.kv_heads = bert.heads;
	assert_true(against_reference(qwen).relative < 1e-4);
	assert_true(against_reference(llama).relative < 1e-4);
	assert_true(against_reference(tied).relative < 1e-4);
	assert_true(against_reference(bert).relative < 1e-4);
}

static void test_quantised_weights(void **state)
{
	static const enum hs_tensor_type types[] = {HS_F16, HS_BF16, HS_Q4_0, HS_Q5_0, HS_Q8_0, HS_Q4_K, HS_Q5_K, HS_Q6_K};
	for (size_t i = 0; i < HS_ARRAY_LEN(types); i++) {
		struct tiny t = TINY_K, bert = TINY_K;
		t.type = bert.type = types[i];
		bert.arch = "bert";
		bert.kv_heads = bert.heads;
		struct difference d = against_reference(t);
		assert_true(d.kl < 1e-3 && d.relative < 0.1);
		assert_true(d.same_top);
		assert_true(against_reference(bert).relative < 3e-2);
	}
}

/* Every way to cut the work gives the same bits. */
static void test_results_do_not_depend_on_threads_or_chunks(void **state)
{
	static const enum hs_tensor_type types[] = {HS_F32, HS_F16, HS_Q4_0, HS_Q5_0, HS_Q8_0, HS_Q4_K, HS_Q5_K, HS_Q6_K};
	const struct hs_kernels *tables[3];
	size_t n_tables = hs_kernels_list(tables);
	for (size_t i = 0; i < HS_ARRAY_LEN(types) * n_tables; i++) {
		struct tiny t = TINY_K;
		t.type = types[i / n_tables];
		struct model m;
		open_tiny(&m, t);
		float whole[128], cut[128];
		struct hs_err err = HS_ERR_INIT;
		for (unsigned threads = 1; threads <= 3; threads += 2) {
			struct hs_backend_model *bm = NULL;
			assert_int_equal(hs_cpu_open(m.w, tables[i % n_tables], threads, &bm, &err), 0);
			static const uint32_t steps[] = {0, 1, 7, 64};
			for (size_t k = 0; k < HS_ARRAY_LEN(steps); k++) {
				run_sequence(&hs_backend_cpu, bm, &m, N_IDS, steps[k], threads == 1 && k == 0 ? whole : cut);
				if (threads > 1 || k > 0)
					assert_memory_equal(whole, cut, t.vocab * sizeof *whole);
			}
			hs_cpu_close(bm);
		}
		close_tiny(&m);
	}
}

static void test_embeddings_do_not_depend_on_neighbours(void **state)
{
	struct tiny t = TINY_K;
	t.arch = "bert";
	t.kv_heads = t.heads;
	t.context = 600;
	struct model m;
	open_tiny(&m, t);
	static int32_t ids[1000];
	static const uint32_t starts[] = {0, 1, 18, 600, 601, 700, 716, 1000}; /* one text longer than a pass's usual budget */
	static float together[7 * 256], alone[256];
	for (int32_t i = 0; i < 1000; i++)
		ids[i] = i * 17 % 90;
	const struct hs_kernels *tables[3];
	size_t n_tables = hs_kernels_list(tables);
	for (size_t i = 0; i < n_tables; i++) {
		struct hs_backend_model *bm = NULL;
		struct hs_err err = HS_ERR_INIT;
		assert_int_equal(hs_cpu_open(m.w, tables[i], 2, &bm, &err), 0);
		assert_int_equal(hs_cpu_encode(bm, ids, starts, 7, &never, together), 0);
		for (size_t k = 0; k < 7; k++) {
			uint32_t own[] = {0, starts[k + 1] - starts[k]};
			double norm = 0;
			assert_int_equal(hs_cpu_encode(bm, ids + starts[k], own, 1, &never, alone), 0);
			assert_memory_equal(alone, together + k * 256, sizeof alone);
			for (size_t c = 0; c < 256; c++)
				norm += (double)alone[c] * (double)alone[c];
			assert_true(fabs(norm - 1) < 1e-5);
		}
		hs_cpu_close(bm);
	}
	close_tiny(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_float_weights),
	    cmocka_unit_test(test_quantised_weights),
	    cmocka_unit_test(test_results_do_not_depend_on_threads_or_chunks),
	    cmocka_unit_test(test_embeddings_do_not_depend_on_neighbours),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
