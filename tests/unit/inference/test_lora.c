/*
 * Adapters: what they add, against the reference in double precision, and against Hugging Face's transformers and peft where
 * data/golden/NAME-lora.txt holds numbers of theirs (tests/golden.py); that neighbours in a batch change no bit; that what does not
 * fit is refused by name.
 *
 * With HISHO_GOLDEN_OUT set, this program only writes the adapters there.
 */
#include <stdio.h>

#include "inference/cpu/cpu.h"
#include "tests/unit/inference/adapters.h"

/* As `run`, with an adapter. */
static size_t run_adapted(const struct hs_backend *b, struct hs_backend_model *bm, const struct hs_weights *w,
			  const struct hs_lora *lora, float *out)
{
	struct hs_backend_adapter *a = NULL;
	struct hs_backend_sequence *s = NULL;
	assert_int_equal(b->adapter_open(bm, lora, &a), 0);
	assert_int_equal(b->sequence_create(bm, N_IDS, &s), 0);
	b->adapt(s, a);
	size_t n = run_sequence(b, s, w, out);
	b->sequence_destroy(s);
	b->adapter_close(a);
	return n;
}

static void run_adapted_plainly(const struct hs_backend *b, const struct hs_weights *w, const struct hs_lora *lora, float *out)
{
	struct hs_backend_model *bm = NULL;
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(b->open(w, 1, &bm, &err), 0);
	(void)run_adapted(b, bm, w, lora, out);
	b->close(bm);
}

/* Theirs, where there are any. */
static bool read_theirs(const char *name, float *out, size_t n)
{
	char path[512];
	snprintf(path, sizeof path, "%s/tests/unit/inference/data/golden/%s-lora.txt",
		 getenv("HISHO_SOURCE_ROOT") ? getenv("HISHO_SOURCE_ROOT") : ".", name);
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	size_t read = 0;
	while (read < n && fscanf(f, "%f", &out[read]) == 1)
		read++;
	fclose(f);
	assert_int_equal(read, n);
	return true;
}

static void test_families(void **state)
{
	const struct hs_kernels *tables[3];
	size_t n_tables = hs_kernels_list(tables);
	unsigned n_theirs = 0;
	for (size_t i = 0; i < HS_ARRAY_LEN(goldens); i++) {
		struct model m;
		struct adapter a;
		struct hs_err err;
		open_model(&m, &goldens[i], HS_F32);
		if (m.w->hyper.pool != HS_POOL_NONE) {
			close_model(&m);
			continue;
		}
		assert_int_equal(open_adapter(&a, &TINY_ADAPTER, &m, &err), 0);
		if (getenv("HISHO_GOLDEN_OUT")) {
			write_golden(goldens[i].name, "-lora.gguf", &a.file);
			close_adapter(&a);
			close_model(&m);
			continue;
		}
		static float theirs[N_VALUES], exact[N_VALUES], rounded[N_VALUES], fast[N_VALUES], bare[N_VALUES];
		size_t n = (size_t)N_STEPS * m.w->hyper.n_vocab;
		run_adapted_plainly(&hs_backend_exact, m.w, a.lora, exact);
		run_adapted_plainly(&hs_backend_reference, m.w, a.lora, rounded);
		run_plainly(&hs_backend_reference, m.w, bare);
		assert_true(relative(bare, rounded, n) > 1e-2); /* it does something */
		if (read_theirs(goldens[i].name, theirs, n)) {
			print_message("%s: reference %.1e of transformers and peft\n", goldens[i].name,
				      relative(theirs, exact, n));
			assert_true(relative(theirs, exact, n) < 1e-4);
			n_theirs++;
		}
		double cache = relative(exact, rounded, n);
		for (size_t t = 0; t < n_tables; t++) {
			struct hs_backend_model *bm = NULL;
			assert_int_equal(hs_cpu_open(m.w, tables[t], 2, &bm, &err), 0);
			assert_int_equal(run_adapted(&hs_backend_cpu, bm, m.w, a.lora, fast), n);
			hs_cpu_close(bm);
			print_message("%s: %s %.1e of the reference\n", goldens[i].name, tables[t]->name,
				      relative(rounded, fast, n));
			assert_true(relative(rounded, fast, n) < fmax(1e-4, cache / 2)); /* as in test_golden.c */
		}
		close_adapter(&a);
		close_model(&m);
	}
	assert_int_equal(n_theirs, 4); /* ADAPTED in tests/golden.py */
}

#define N_MIXED 8

/* Sequences with this adapter, that one, or none: what each gives alone, all give together, bit for bit, in either order. */
static void test_neighbours_change_no_bit(void **state)
{
	static const enum hs_tensor_type types[] = {HS_F32, HS_Q8_0, HS_Q4_K};
	for (size_t i = 0; i < HS_ARRAY_LEN(goldens) * HS_ARRAY_LEN(types); i++) {
		struct model m;
		struct adapter files[2];
		struct hs_err err = HS_ERR_INIT;
		struct hs_backend_adapter *adapters[3] = {NULL};
		struct hs_backend_model *bm = NULL;
		open_model(&m, &goldens[i / HS_ARRAY_LEN(types)], types[i % HS_ARRAY_LEN(types)]);
		if (m.w->hyper.pool != HS_POOL_NONE) {
			close_model(&m);
			continue;
		}
		struct tiny_adapter other = TINY_ADAPTER;
		other.seed = 99;
		other.rank = 19;
		other.type = HS_F16;
		assert_int_equal(open_adapter(&files[0], &TINY_ADAPTER, &m, &err), 0);
		assert_int_equal(open_adapter(&files[1], &other, &m, &err), 0);
		assert_int_equal(hs_cpu_open(m.w, hs_kernels_choose(), 2, &bm, &err), 0);
		for (size_t k = 0; k < 2; k++)
			assert_int_equal(hs_cpu_adapter_open(bm, files[k].lora, &adapters[k]), 0);
		static float alone[N_MIXED][256];
		size_t vocab = m.w->hyper.n_vocab;
		int32_t ids[N_MIXED][7];
		for (uint32_t k = 0; k < N_MIXED; k++)
			for (uint32_t t = 0; t < 7; t++)
				ids[k][t] = (int32_t)((t * 31 + k / 3) % vocab); /* the same ids of three with other adapters */
		for (int round = 0; round < 3; round++) { /* each alone; together; together from the last on */
			struct hs_backend_sequence *s[N_MIXED];
			struct hs_backend_step steps[N_MIXED];
			for (uint32_t k = 0; k < N_MIXED; k++) {
				uint32_t which = round == 2 ? N_MIXED - 1 - k : k, n = 1 + which % 7;
				assert_int_equal(hs_cpu_sequence_create(bm, 16, &s[k]), 0);
				if (adapters[which % 3])
					hs_cpu_adapt(s[k], adapters[which % 3]);
				steps[k] = (struct hs_backend_step){.s = s[k], .ids = ids[which], .n = n, .n_logits = 1};
				if (round == 0) {
					assert_int_equal(hs_cpu_forward(&steps[k], 1, &never), 0);
					memcpy(alone[k], steps[k].logits, vocab * sizeof(float));
				}
			}
			if (round > 0)
				assert_int_equal(hs_cpu_forward(steps, N_MIXED, &never), 0);
			for (uint32_t k = 0; k < N_MIXED && round > 0; k++)
				assert_memory_equal(alone[round == 2 ? N_MIXED - 1 - k : k], steps[k].logits,
						    vocab * sizeof(float));
			for (uint32_t k = 0; k < N_MIXED; k++)
				hs_cpu_sequence_destroy(s[k]);
		}
		for (size_t k = 0; k < 2; k++) {
			hs_cpu_adapter_close(adapters[k]);
			close_adapter(&files[k]);
		}
		hs_cpu_close(bm);
		close_model(&m);
	}
}

static void refuses(const struct model *m, struct tiny_adapter a, const char *code, const char *object)
{
	struct adapter file;
	struct hs_err err;
	int rc = open_adapter(&file, &a, m, &err);
	assert_true(rc < 0);
	assert_string_equal(err.code, code);
	assert_string_equal(err.object, object);
	close_adapter(&file);
}

static void test_refused_by_name(void **state)
{
	struct model m;
	struct tiny_adapter a = TINY_ADAPTER, ok = a;
	open_model(&m, &goldens[0], HS_F32);
	assert_string_equal(goldens[0].name, "llama");
#define WITH(field, value) (a = ok, a.field = value, a)
	refuses(&m, WITH(general, NULL), "adapter.invalid", "general.type");
	refuses(&m, WITH(general, "model"), "adapter.invalid", "general.type");
	refuses(&m, WITH(kind, "ia3"), "adapter.unsupported", "adapter.type");
	refuses(&m, WITH(arch, "qwen2"), "adapter.invalid", "general.architecture");
	refuses(&m, WITH(no_alpha, true), "adapter.invalid", "adapter.lora.alpha");
	refuses(&m, WITH(alpha, NAN), "adapter.invalid", "adapter.lora.alpha");
	refuses(&m, WITH(alpha, INFINITY), "adapter.invalid", "adapter.lora.alpha");
	refuses(&m, WITH(alpha, 0), "adapter.invalid", "adapter.lora.alpha");
	refuses(&m, WITH(text_field, "adapter.alora.invocation_tokens"), "adapter.unsupported",
		"adapter.alora.invocation_tokens");
	refuses(&m, WITH(text_field, "adapter.lora.prompt_prefix"), "adapter.unsupported", "adapter.lora.prompt_prefix");
	refuses(&m, WITH(rank, HS_LORA_RANK_MAX + 1), "adapter.unsupported", "blk.0.attn_q.weight.lora_a");
	refuses(&m, WITH(without, "blk.1.attn_v.weight.lora_b"), "adapter.invalid", "blk.1.attn_v.weight.lora_b");
	refuses(&m, WITH(without, "blk.1.ffn_up.weight.lora_a"), "adapter.invalid", "blk.1.ffn_up.weight.lora_a");
	refuses(&m, WITH(wide, "blk.0.ffn_down.weight.lora_b"), "adapter.invalid", "blk.0.ffn_down.weight.lora_b");
	refuses(&m, WITH(wide, "blk.0.attn_k.weight.lora_a"), "adapter.invalid",
		"blk.0.attn_k.weight.lora_b"); /* of another rank */
	refuses(&m, WITH(nan_in, "blk.1.attn_output.weight.lora_b"), "adapter.invalid", "blk.1.attn_output.weight.lora_b");
	refuses(&m, WITH(nan_in, "blk.0.ffn_gate.weight.lora_a"), "adapter.invalid", "blk.0.ffn_gate.weight.lora_a");
	refuses(&m, WITH(more, "blk.2.attn_q.weight.lora_a"), "adapter.unsupported", "blk.2.attn_q.weight.lora_a");
	refuses(&m, WITH(more, "token_embd.weight.lora_a"), "adapter.unsupported", "token_embd.weight.lora_a");
	refuses(&m, WITH(more, "blk.0.attn_q.weight"), "adapter.unsupported", "blk.0.attn_q.weight");
#undef WITH
	close_model(&m);
}

/* Which rank and how many matrices; fused ones count once. */
static void test_counts(void **state)
{
	for (size_t i = 0; i < HS_ARRAY_LEN(goldens); i++) {
		struct model m;
		struct adapter a;
		struct hs_err err;
		open_model(&m, &goldens[i], HS_F32);
		assert_int_equal(open_adapter(&a, &TINY_ADAPTER, &m, &err), 0);
		assert_int_equal(a.lora->rank_max, 5);
		assert_int_equal(a.lora->n_pairs * 2, hs_gguf_tensor_count(a.g));
		close_adapter(&a);
		close_model(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_families),
	    cmocka_unit_test(test_neighbours_change_no_bit),
	    cmocka_unit_test(test_refused_by_name),
	    cmocka_unit_test(test_counts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
