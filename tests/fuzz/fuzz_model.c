/*
 * Models from hostile files: a tiny valid file of one of the architectures is patched where the input says, read, bound to
 * its weights, packed and run. Input: one byte for the architecture, then patches of {offset, 3 bytes; xor}.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "inference/cpu/cpu.h"
#include "tests/unit/inference/tiny.h"

static void run(const struct hs_weights *w, struct hs_backend_model *m)
{
	static const int32_t ids[4] = {0, 1, 2, 3};
	static const uint32_t starts[3] = {0, 1, 4};
	struct hs_yield never = {0};
	if (w->hyper.n_vocab < 4 || w->hyper.context < 4)
		return;
	if (w->hyper.pool != HS_POOL_NONE) {
		float *out = calloc(2, hs_encoded_len(&w->hyper) * sizeof *out);
		if (out)
			(void)!hs_cpu_encode(m, ids, starts, 2, &never, out); /* only a crash is news */
		free(out);
		return;
	}
	struct hs_backend_sequence *s = NULL;
	const float *logits;
	if (hs_cpu_sequence_create(m, 4, &s) < 0)
		return;
	(void)!tiny_forward(&hs_backend_cpu, s, 0, ids, 4, &never, &logits); /* only a crash is news */
	hs_cpu_sequence_destroy(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct hs_buf bases[16];
	if (size < 1)
		return 0;
	size_t row = 0, n_rows = 0;
	while (hs_arch_at(n_rows))
		n_rows++;
	row = data[0] % n_rows;
	const struct hs_buf *base = &bases[row];
	if (!base->len) {
		const struct hs_arch *arch = hs_arch_at(row);
		struct tiny t = TINY_F32;
		t.arch = arch->name;
		t.embd = t.ff = 16;
		t.layers = 2;
		t.context = 16;
		t.experts = arch->has & HS_F_EXPERTS ? 3 : 0;
		t.used = 2;
		t.window = arch->has & HS_F_WINDOWS ? 2 : 0;
		t.labels = arch->may & HS_F_CLASSIFIER ? 2 : 0;
		t.kv_heads = arch->causal && strcmp(arch->name, "gpt2") != 0 ? t.kv_heads : t.heads;
		if (tiny_write(t, NULL, &bases[row]) < 0)
			abort();
	}
	uint8_t *file = malloc(base->len);
	if (!file)
		return 0;
	memcpy(file, base->data, base->len);
	for (size_t i = 1; i + 4 <= size; i += 4)
		file[(data[i] | (size_t)data[i + 1] << 8 | (size_t)data[i + 2] << 16) % base->len] ^= data[i + 3];
	struct hs_gguf *g = NULL;
	struct hs_weights *w = NULL;
	struct hs_backend_model *m = NULL;
	if (hs_gguf_open_memory(file, base->len, &g, NULL) == 0 && hs_weights_bind(g, &w, NULL) == 0 &&
	    hs_cpu_open(w, hs_kernels_choose(), 1, &m, NULL) == 0)
		run(w, m);
	hs_cpu_close(m);
	hs_weights_destroy(w);
	hs_gguf_close(g);
	free(file);
	return 0;
}
