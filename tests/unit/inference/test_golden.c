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
#include "tests/unit/inference/families.h"
#include "tests/unit/test.h"

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

static void test_families(void **state)
{
	const struct hs_kernels *tables[3];
	size_t n_tables = hs_kernels_list(tables);
	for (size_t i = 0; i < HS_ARRAY_LEN(goldens); i++) {
		struct model m;
		open_model(&m, &goldens[i], HS_F32);
		if (getenv("HISHO_GOLDEN_OUT")) {
			write_golden(goldens[i].name, ".gguf", &m.file);
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
	fill_ids(w, ids);
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
