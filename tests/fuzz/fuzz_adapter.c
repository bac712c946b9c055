/*
 * Adapters from hostile files: a tiny valid adapter of a tiny valid model is patched where the input says, read, bound to the
 * model's weights, packed and run. Input: patches of {offset, 3 bytes; xor}.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "inference/cpu/cpu.h"
#include "tests/unit/inference/tiny.h"

static struct hs_weights *weights;
static struct hs_backend_model *model;
static struct hs_buf base;

/* Pairs for every matrix of the first layer that can be adapted. */
static int write_adapter(const struct hs_gguf *g)
{
	static const char *const names[] = {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"};
	static const float ones[16 * 16] = {1, 1, 1, 1};
	struct hs_gguf_writer *w = hs_gguf_writer_create();
	if (!w)
		return -1;
	hs_gguf_put_str(w, "general.type", "adapter");
	hs_gguf_put_str(w, "general.architecture", "qwen2");
	hs_gguf_put_str(w, "adapter.type", "lora");
	hs_gguf_put_f32(w, "adapter.lora.alpha", 4);
	for (size_t i = 0; i < HS_ARRAY_LEN(names); i++) {
		char name[64];
		snprintf(name, sizeof name, "blk.0.%s.weight", names[i]);
		const struct hs_gguf_tensor *t = hs_gguf_find_tensor(g, name);
		uint64_t a[2] = {t->dims[0], 2}, b[2] = {2, t->dims[1]};
		snprintf(name, sizeof name, "blk.0.%s.weight.lora_a", names[i]);
		hs_gguf_put_tensor(w, name, HS_F32, 2, a, ones);
		snprintf(name, sizeof name, "blk.0.%s.weight.lora_b", names[i]);
		hs_gguf_put_tensor(w, name, HS_F32, 2, b, ones);
	}
	int rc = hs_gguf_write_buf(w, &base);
	hs_gguf_writer_destroy(w);
	return rc;
}

static void prepare(void)
{
	static struct hs_buf file;
	static struct hs_gguf *g; /* the weights point into it */
	struct tiny t = TINY_F32;
	t.embd = t.ff = 16;
	t.context = 16;
	if (tiny_write(t, NULL, &file) < 0 || hs_gguf_open_memory(file.data, file.len, &g, NULL) < 0 ||
	    hs_weights_bind(g, &weights, NULL) < 0 || hs_cpu_open(weights, hs_kernels_choose(), 1, &model, NULL) < 0 ||
	    write_adapter(g) < 0)
		abort();
}

static void run(const struct hs_backend_adapter *a)
{
	static const int32_t ids[4] = {0, 1, 2, 3};
	struct hs_yield never = {0};
	struct hs_backend_sequence *s = NULL;
	const float *logits;
	if (hs_cpu_sequence_create(model, 4, &s) < 0)
		return;
	hs_cpu_adapt(s, a);
	(void)!tiny_forward(&hs_backend_cpu, s, 0, ids, 4, &never, &logits); /* only a crash is news */
	hs_cpu_sequence_destroy(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!model)
		prepare();
	uint8_t *file = malloc(base.len);
	if (!file)
		return 0;
	memcpy(file, base.data, base.len);
	for (size_t i = 0; i + 4 <= size; i += 4)
		file[(data[i] | (size_t)data[i + 1] << 8 | (size_t)data[i + 2] << 16) % base.len] ^= data[i + 3];
	struct hs_gguf *g = NULL;
	struct hs_lora *lora = NULL;
	struct hs_backend_adapter *a = NULL;
	if (hs_gguf_open_memory(file, base.len, &g, NULL) == 0 && hs_lora_bind(g, weights, &lora, NULL) == 0 &&
	    hs_cpu_adapter_open(model, lora, &a) == 0)
		run(a);
	hs_cpu_adapter_close(a);
	hs_lora_destroy(lora);
	hs_gguf_close(g);
	free(file);
	return 0;
}
