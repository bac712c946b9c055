/* Weights from hostile files: every count, shape and tensor that a file could get wrong is refused by name. */
#include <errno.h>

#include "inference/model/weights.h"
#include "tests/unit/inference/tiny.h"
#include "tests/unit/test.h"

static void expect(struct tiny t, void (*more)(struct hs_gguf_writer *w), int rc, const char *object)
{
	HS_BUF_AUTO file = HS_BUF_INIT;
	struct hs_gguf *g = NULL;
	struct hs_weights *w = NULL;
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(tiny_write(t, more, &file), 0);
	assert_int_equal(hs_gguf_open_memory(file.data, file.len, &g, &err), 0);
	assert_int_equal(hs_weights_bind(g, &w, &err), rc);
	if (rc < 0) {
		assert_null(w);
		assert_string_equal(err.object, object);
		assert_true(err.hint[0] != 0);
	}
	hs_weights_destroy(w);
	hs_gguf_close(g);
}

static struct tiny bert(void)
{
	struct tiny t = TINY_F32;
	t.arch = "bert";
	t.kv_heads = t.heads;
	return t;
}

static void test_good_files(void **state)
{
	struct tiny llama = TINY_F32;
	llama.arch = "llama";
	expect(TINY_F32, NULL, 0, NULL);
	expect(llama, NULL, 0, NULL);
	expect(bert(), NULL, 0, NULL);
}

static void test_every_missing_tensor(void **state)
{
	static const char *const names[] = {"token_embd.weight",        "output_norm.weight",    "blk.0.attn_norm.weight",
					    "blk.1.attn_q.weight",      "blk.0.attn_k.weight",   "blk.0.attn_v.weight",
					    "blk.0.attn_q.bias",        "blk.1.attn_k.bias",     "blk.0.attn_v.bias",
					    "blk.0.attn_output.weight", "blk.0.ffn_norm.weight", "blk.1.ffn_gate.weight",
					    "blk.0.ffn_up.weight",      "blk.1.ffn_down.weight"};
	static const char *const bert_names[] = {"position_embd.weight",        "token_types.weight",
						 "token_embd_norm.weight",      "token_embd_norm.bias",
						 "blk.0.attn_output.bias",      "blk.1.attn_output_norm.weight",
						 "blk.0.attn_output_norm.bias", "blk.0.ffn_up.bias",
						 "blk.0.ffn_down.bias",         "blk.1.layer_output_norm.bias"};
	for (size_t i = 0; i < HS_ARRAY_LEN(names); i++) {
		struct tiny t = TINY_F32;
		t.without = names[i];
		expect(t, NULL, -EINVAL, names[i]);
	}
	for (size_t i = 0; i < HS_ARRAY_LEN(bert_names); i++) {
		struct tiny t = bert();
		t.without = bert_names[i];
		expect(t, NULL, -EINVAL, bert_names[i]);
	}
}

static void more_layers(struct hs_gguf_writer *w)
{
	static const float v[40];
	hs_gguf_put_tensor(w, "blk.2.attn_norm.weight", HS_F32, 1, (const uint64_t[]){40}, v);
}

static void more_experts(struct hs_gguf_writer *w)
{
	static const float v[40 * 4];
	hs_gguf_put_tensor(w, "blk.0.ffn_gate_inp.weight", HS_F32, 2, (const uint64_t[]){40, 4}, v);
}

static void wide_embedding(struct hs_gguf_writer *w)
{
	static const float v[41 * 37];
	hs_gguf_put_tensor(w, "token_embd.weight", HS_F32, 2, (const uint64_t[]){41, 37}, v);
}

static void deep_bias(struct hs_gguf_writer *w)
{
	static const float v[80];
	hs_gguf_put_tensor(w, "blk.0.attn_q.bias", HS_F32, 2, (const uint64_t[]){40, 2}, v);
}

static void short_head(struct hs_gguf_writer *w)
{
	static const float v[40 * 36];
	hs_gguf_put_tensor(w, "output.weight", HS_F32, 2, (const uint64_t[]){40, 36}, v);
}

static void half_norm(struct hs_gguf_writer *w)
{
	static const uint16_t v[40];
	hs_gguf_put_tensor(w, "output_norm.weight", HS_F16, 1, (const uint64_t[]){40}, v);
}

static void negative_freqs(struct hs_gguf_writer *w)
{
	static const float v[5] = {1, 1, -1, 1, 1};
	hs_gguf_put_tensor(w, "rope_freqs.weight", HS_F32, 1, (const uint64_t[]){5}, v);
}

static void test_wrong_tensors(void **state)
{
	struct tiny t = TINY_F32;
	expect(t, more_layers, -ENOTSUP, "blk.2.attn_norm.weight");
	expect(t, more_experts, -ENOTSUP, "blk.0.ffn_gate_inp.weight");
	expect(t, negative_freqs, -ENOTSUP, "rope_freqs.weight"); /* qwen2 has none */
	t.without = "token_embd.weight";
	expect(t, wide_embedding, -EINVAL, "token_embd.weight");
	t.without = "blk.0.attn_q.bias";
	expect(t, deep_bias, -EINVAL, "blk.0.attn_q.bias");
	t.without = "output.weight";
	expect(t, short_head, -EINVAL, "output.weight");
	t.without = "output_norm.weight";
	expect(t, half_norm, -EINVAL, "output_norm.weight");
	t.without = NULL;
	t.nan_in = "blk.1.ffn_norm.weight";
	expect(t, NULL, -EINVAL, "blk.1.ffn_norm.weight");
	t = TINY_F32;
	t.arch = "llama";
	expect(t, negative_freqs, -EINVAL, "rope_freqs.weight");
}

static void yarn(struct hs_gguf_writer *w)
{
	hs_gguf_put_str(w, "qwen2.rope.scaling.type", "yarn");
}

static void linear_by_zero(struct hs_gguf_writer *w)
{
	hs_gguf_put_str(w, "qwen2.rope.scaling.type", "linear");
	hs_gguf_put_f32(w, "qwen2.rope.scaling.factor", 0);
}

static void linear(struct hs_gguf_writer *w)
{
	hs_gguf_put_str(w, "qwen2.rope.scaling.type", "linear");
	hs_gguf_put_f32(w, "qwen2.rope.scaling.factor", 4);
}

static void partial_rope(struct hs_gguf_writer *w)
{
	hs_gguf_put_u32(w, "qwen2.rope.dimension_count", 4);
}

static void nan_base(struct hs_gguf_writer *w)
{
	hs_gguf_put_f32(w, "qwen2.rope.freq_base", NAN);
}

static void odd_key(struct hs_gguf_writer *w)
{
	hs_gguf_put_u32(w, "qwen2.attention.key_length", 7);
}

static void huge_key(struct hs_gguf_writer *w)
{
	hs_gguf_put_u32(w, "qwen2.attention.key_length", UINT32_MAX);
}

static void other_value(struct hs_gguf_writer *w)
{
	hs_gguf_put_u32(w, "qwen2.attention.value_length", 8);
}

static void test_wrong_numbers(void **state)
{
	struct tiny t = TINY_F32;
	expect(t, linear, 0, NULL);
	expect(t, yarn, -EINVAL, "qwen2.rope.scaling.factor");
	expect(t, linear_by_zero, -EINVAL, "qwen2.rope.scaling.factor");
	expect(t, partial_rope, -ENOTSUP, "qwen2.rope.dimension_count");
	expect(t, nan_base, -EINVAL, "qwen2.rope.freq_base");
	expect(t, odd_key, -EINVAL, "qwen2.embedding_length");
	expect(t, huge_key, -EINVAL, "qwen2.attention.key_length");
	expect(t, other_value, -ENOTSUP, "qwen2.attention.value_length");
	t.eps = NAN;
	expect(t, NULL, -EINVAL, "qwen2.attention.layer_norm_rms_epsilon");
	t.eps = -1;
	expect(t, NULL, -EINVAL, "qwen2.attention.layer_norm_rms_epsilon");
	t = TINY_F32;
	t.eps_key = "attention.other";
	expect(t, NULL, -EINVAL, "qwen2.attention.layer_norm_rms_epsilon");
	t = TINY_F32;
	t.context = HS_CONTEXT_MAX + 1;
	expect(t, NULL, -EINVAL, "qwen2.context_length");
	t = TINY_F32;
	t.arch = "mamba";
	expect(t, NULL, -ENOTSUP, "general.architecture mamba");
}

enum kind { ABSENT, WHOLE, REAL, WORD, TRUTH, LIST };

/* One field of one family, put in place of the right one, and what the reader must make of it. */
struct lie {
	const char *arch, *key;
	enum kind kind;
	double number;
	const char *word;
	int rc;
};

static const struct lie *told;

static void tell(struct hs_gguf_writer *w)
{
	char key[96];
	static const bool list[2] = {true, false};
	snprintf(key, sizeof key, "%s.%s", told->arch, told->key);
	if (told->kind == WHOLE)
		hs_gguf_put_u32(w, key, (uint32_t)told->number);
	if (told->kind == REAL)
		hs_gguf_put_f32(w, key, (float)told->number);
	if (told->kind == WORD)
		hs_gguf_put_str(w, key, told->word);
	if (told->kind == TRUTH)
		hs_gguf_put_bool(w, key, told->number != 0);
	if (told->kind == LIST)
		hs_gguf_put_bool_array(w, key, list, (size_t)told->number);
}

static struct tiny family(const char *arch)
{
	struct tiny t = TINY_F32;
	bool experts = strcmp(arch, "gpt-oss") == 0 || strcmp(arch, "qwen3moe") == 0;
	const struct hs_arch *row = hs_arch_find((struct hs_gguf_str){.s = arch, .len = strlen(arch)});
	t.arch = arch;
	t.embd = 48;
	t.ff = 32;
	t.experts = experts ? 4 : 0;
	t.used = experts ? 2 : 0;
	t.window = row->has & HS_F_WINDOWS ? 8 : 0;
	t.kv_heads = row->causal && strcmp(arch, "gpt2") != 0 ? 2 : 4;
	return t;
}

static void test_every_family_loads(void **state)
{
	size_t n = 0;
	for (; hs_arch_at(n); n++)
		expect(family(hs_arch_at(n)->name), NULL, 0, NULL);
	assert_int_equal(n, 12);
}

static void flat_bias(struct hs_gguf_writer *w)
{
	static const float v[144];
	hs_gguf_put_tensor(w, "blk.1.attn_qkv.bias", HS_F32, 2, (const uint64_t[]){144, 1}, v);
}

static void flat_norm(struct hs_gguf_writer *w)
{
	static const float v[12] = {1};
	hs_gguf_put_tensor(w, "blk.1.attn_q_norm.weight", HS_F32, 3, (const uint64_t[]){12, 1, 1}, v);
}

/* A vector that says it has more dimensions, of one, is the same vector. */
static void test_vectors_of_more_dimensions(void **state)
{
	static const struct {
		const char *arch, *tensor;
		void (*more)(struct hs_gguf_writer *w);
	} cases[] = {{"gpt2", "blk.1.attn_qkv.bias", flat_bias}, {"qwen3", "blk.1.attn_q_norm.weight", flat_norm}};
	for (size_t i = 0; i < HS_ARRAY_LEN(cases); i++) {
		HS_BUF_AUTO file = HS_BUF_INIT;
		struct hs_gguf *g = NULL;
		struct hs_weights *w = NULL;
		struct hs_err err = HS_ERR_INIT;
		struct tiny t = family(cases[i].arch);
		t.without = cases[i].tensor;
		assert_int_equal(tiny_write(t, cases[i].more, &file), 0);
		assert_int_equal(hs_gguf_open_memory(file.data, file.len, &g, &err), 0);
		assert_int_equal(hs_weights_bind(g, &w, &err), 0);
		const struct hs_layer *l = &w->layers[1];
		if (l->vb) { /* the last third of 144 */
			assert_int_equal(l->vb->dims[0], 48);
			assert_int_equal(l->vb->dims[1], 1);
			assert_int_equal(l->vb->bytes, 48 * 4);
			assert_ptr_equal(l->vb->data, hs_gguf_find_tensor(g, cases[i].tensor)->data + 2 * 48 * 4);
		} else {
			assert_int_equal(l->q_norm->dims[1], 1);
		}
		hs_weights_destroy(w);
		hs_gguf_close(g);
	}
}

/* Take each tensor of each family's file away: only a head may be missed. */
static void test_every_tensor_of_every_family_is_missed(void **state)
{
	for (size_t i = 0; hs_arch_at(i); i++) {
		HS_BUF_AUTO file = HS_BUF_INIT;
		struct hs_gguf *g = NULL;
		assert_int_equal(tiny_write(family(hs_arch_at(i)->name), NULL, &file), 0);
		assert_int_equal(hs_gguf_open_memory(file.data, file.len, &g, NULL), 0);
		for (size_t k = 0; k < hs_gguf_tensor_count(g); k++) {
			char name[80];
			struct tiny t = family(hs_arch_at(i)->name);
			const struct hs_gguf_str s = hs_gguf_tensor_at(g, k)->name;
			snprintf(name, sizeof name, "%.*s", (int)s.len, s.s);
			t.without = name;
			bool may = strcmp(name, "output.weight") == 0 && (hs_arch_at(i)->may & HS_F_HEAD);
			expect(t, NULL, may ? 0 : -EINVAL, name);
		}
		hs_gguf_close(g);
	}
}

static void test_lying_fields(void **state)
{
	static const struct lie lies[] = {
	    {"gemma3", "block_count", ABSENT, 0, NULL, -EINVAL},
	    {"gemma3", "block_count", WHOLE, 0, NULL, -EINVAL},
	    {"gemma3", "block_count", WHOLE, HS_LAYERS_MAX + 1, NULL, -EINVAL},
	    {"gemma3", "block_count", WORD, 0, "2", -EINVAL},
	    {"gemma3", "embedding_length", WHOLE, HS_EMBD_MAX + 1, NULL, -EINVAL},
	    {"gemma3", "context_length", WHOLE, 0, NULL, -EINVAL},
	    {"gemma3", "feed_forward_length", REAL, 32, NULL, -EINVAL},
	    {"gemma3", "attention.head_count", WHOLE, HS_HEADS_MAX + 1, NULL, -EINVAL},
	    {"gemma3", "attention.head_count_kv", WHOLE, 3, NULL, -EINVAL},
	    {"gemma3", "attention.head_count_kv", WHOLE, 0, NULL, -EINVAL},
	    {"gemma3", "attention.head_count_kv", LIST, 2, NULL, -EINVAL},
	    {"gemma3", "attention.sliding_window", WHOLE, HS_CONTEXT_MAX + 1, NULL, -EINVAL},
	    {"gemma3", "attention.sliding_window", WORD, 0, "512", -EINVAL},
	    {"gemma3", "attention.sliding_window", ABSENT, 0, NULL, 0},
	    {"gemma3", "attention.sliding_window_pattern", WHOLE, 0, NULL, -EINVAL},
	    {"gemma3", "attention.sliding_window_pattern", LIST, 1, NULL, -EINVAL},
	    {"gemma3", "attention.sliding_window_pattern", LIST, 2, NULL, 0},
	    {"gemma3", "rope.freq_base_swa", REAL, -1, NULL, -EINVAL},
	    {"gemma3", "rope.freq_base", REAL, 0, NULL, -EINVAL},
	    {"gemma3", "rope.scaling.factor", REAL, NAN, NULL, -EINVAL},
	    {"gemma3", "rope.scaling.type", WORD, 0, "longrope", -ENOTSUP},
	    {"gemma3", "final_logit_softcapping", REAL, INFINITY, NULL, -EINVAL},
	    {"gemma3", "attn_logit_softcapping", REAL, 50, NULL, -ENOTSUP},
	    {"gemma3", "attn_logit_softcapping", REAL, 0, NULL, 0},
	    {"gemma3", "attention.causal", TRUTH, 0, NULL, -ENOTSUP},
	    {"gemma3", "attention.causal", TRUTH, 1, NULL, 0},
	    {"gemma2", "attn_logit_softcapping", ABSENT, 0, NULL, -EINVAL},
	    {"gemma2", "attn_logit_softcapping", REAL, -50, NULL, -EINVAL},
	    {"gemma2", "final_logit_softcapping", ABSENT, 0, NULL, -EINVAL},
	    {"gpt-oss", "attention.sliding_window", ABSENT, 0, NULL, -EINVAL},
	    {"gpt-oss", "attention.sliding_window", WHOLE, 0, NULL, -EINVAL},
	    {"gpt-oss", "expert_count", ABSENT, 0, NULL, -EINVAL},
	    {"gpt-oss", "expert_count", WHOLE, HS_EXPERTS_MAX + 1, NULL, -EINVAL},
	    {"gpt-oss", "expert_used_count", WHOLE, 5, NULL, -EINVAL},
	    {"gpt-oss", "expert_used_count", WHOLE, 0, NULL, -EINVAL},
	    {"gpt-oss", "expert_feed_forward_length", WHOLE, 33, NULL, -ENOTSUP},
	    {"gpt-oss", "expert_gating_func", WHOLE, 2, NULL, -ENOTSUP},
	    {"gpt-oss", "expert_weights_norm", TRUTH, 0, NULL, -ENOTSUP},
	    {"gpt-oss", "expert_weights_scale", REAL, 2.5, NULL, -ENOTSUP},
	    {"gpt-oss", "expert_shared_count", WHOLE, 1, NULL, -ENOTSUP},
	    {"llama", "expert_count", WHOLE, 4, NULL, -EINVAL},
	    {"llama", "expert_count", WHOLE, 0, NULL, 0},
	    {"llama", "attention.sliding_window", WHOLE, 4096, NULL, -ENOTSUP},
	    {"llama", "logit_scale", REAL, 0.5, NULL, -ENOTSUP},
	    {"llama", "rope.dimension_count", WHOLE, 4, NULL, -ENOTSUP},
	    {"llama", "pooling_type", WHOLE, 1, NULL, -ENOTSUP},
	    {"llama", "pooling_type", WHOLE, 9, NULL, -ENOTSUP},
	    {"command-r", "logit_scale", ABSENT, 0, NULL, -EINVAL},
	    {"command-r", "logit_scale", REAL, NAN, NULL, -EINVAL},
	    {"cohere2", "attention.sliding_window", ABSENT, 0, NULL, -EINVAL},
	    {"modern-bert", "hidden_activation", WORD, 0, "silu", -ENOTSUP},
	    {"modern-bert", "hidden_activation", WORD, 0, "gelu", 0},
	    {"modern-bert", "pooling_type", ABSENT, 0, NULL, -EINVAL},
	    {"modern-bert", "pooling_type", WHOLE, 3, NULL, -ENOTSUP},
	    {"modern-bert", "attention.causal", TRUTH, 1, NULL, -ENOTSUP},
	    {"modern-bert", "attention.layer_norm_epsilon", REAL, 2, NULL, -EINVAL},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(lies); i++) {
		char object[96];
		struct tiny t = family(lies[i].arch);
		/* what is missing is named; a lie about one field may show in one that must agree with it */
		const char *shown = strcmp(lies[i].arch, "llama") == 0 && strcmp(lies[i].key, "expert_count") == 0
					? "expert_used_count"
					: lies[i].key;
		snprintf(object, sizeof object, "%s.%s", lies[i].arch, shown);
		t.without_key = lies[i].key;
		told = &lies[i];
		expect(t, lies[i].kind == ABSENT ? NULL : tell, lies[i].rc, object);
	}
}

static void tell_yarn_only(struct hs_gguf_writer *w)
{
	hs_gguf_put_str(w, "qwen3.rope.scaling.type", "yarn");
	tell(w);
}

static void tell_yarn(struct hs_gguf_writer *w)
{
	hs_gguf_put_f32(w, "qwen3.rope.scaling.factor", 4);
	tell_yarn_only(w);
}

static void test_yarn(void **state)
{
	static const struct lie lies[] = {
	    {"qwen3", "rope.scaling.factor", REAL, 0.5, NULL, -EINVAL},
	    {"qwen3", "rope.scaling.original_context_length", WHOLE, 0, NULL, -EINVAL},
	    {"qwen3", "rope.scaling.yarn_beta_slow", REAL, 64, NULL, -EINVAL},
	    {"qwen3", "rope.scaling.yarn_beta_fast", REAL, NAN, NULL, -EINVAL},
	    {"qwen3", "rope.scaling.attn_factor", REAL, 0, NULL, -EINVAL},
	    {"qwen3", "rope.scaling.yarn_log_multiplier", REAL, 0.1, NULL, -ENOTSUP},
	    {"qwen3", "rope.scaling.yarn_ext_factor", REAL, 0.5, NULL, -ENOTSUP},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(lies); i++) {
		char object[96];
		snprintf(object, sizeof object, "%s.%s", lies[i].arch, lies[i].key);
		told = &lies[i];
		expect(family("qwen3"), i == 0 ? tell_yarn_only : tell_yarn, lies[i].rc, object);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good_files),
	    cmocka_unit_test(test_every_missing_tensor),
	    cmocka_unit_test(test_wrong_tensors),
	    cmocka_unit_test(test_wrong_numbers),
	    cmocka_unit_test(test_every_family_loads),
	    cmocka_unit_test(test_every_tensor_of_every_family_is_missed),
	    cmocka_unit_test(test_vectors_of_more_dimensions),
	    cmocka_unit_test(test_lying_fields),
	    cmocka_unit_test(test_yarn),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
