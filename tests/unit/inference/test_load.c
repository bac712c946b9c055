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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good_files),
	    cmocka_unit_test(test_every_missing_tensor),
	    cmocka_unit_test(test_wrong_tensors),
	    cmocka_unit_test(test_wrong_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
