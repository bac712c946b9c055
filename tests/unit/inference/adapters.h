/* Tiny random adapters for tiny models, always the same bytes for the same words. */
#ifndef HISHO_TESTS_INFERENCE_ADAPTERS_H
#define HISHO_TESTS_INFERENCE_ADAPTERS_H

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "inference/lora/lora.h"
#include "tests/unit/inference/families.h"

struct tiny_adapter {
	uint64_t seed;
	uint32_t rank;
	enum hs_tensor_type type;
	float alpha;
	/* What is wrong with it, or NULL: */
	const char *arch;           /* another than the model's */
	const char *general, *kind; /* general.type, adapter.type */
	const char *without;        /* a tensor that is left out */
	const char *more;           /* a tensor that is there beside the others */
	const char *nan_in;
	const char *wide;       /* a tensor with one more row */
	const char *text_field; /* a field more */
	bool no_alpha;
};

#define TINY_ADAPTER                                                                                                             \
	((struct tiny_adapter){.seed = 1, .rank = 5, .type = HS_F32, .alpha = 8, .general = "adapter", .kind = "lora"})

struct tiny_adapter_maker {
	struct tiny_maker k;
	const struct tiny_adapter *a;
};

static inline void adapter_tensor(struct tiny_adapter_maker *m, const char *name, uint64_t columns, uint64_t rows, float size)
{
	const struct tiny_adapter *a = m->a;
	if (a->without && strcmp(a->without, name) == 0)
		return;
	if (a->wide && strcmp(a->wide, name) == 0)
		rows++;
	uint64_t dims[2] = {columns, rows};
	size_t n = columns * rows, each = a->type == HS_F32 ? 4 : 2;
	uint8_t *data = calloc(n, each);
	assert_non_null(data);
	m->k.kept[m->k.n_kept++] = data;
	for (size_t i = 0; i < n; i++) {
		float v = a->nan_in && strcmp(a->nan_in, name) == 0 && i == n - 1 ? NAN : size * tiny_uniform(&m->k);
		uint32_t bits;
		memcpy(&bits, &v, 4);
		if (a->type == HS_F32)
			memcpy(data + 4 * i, &v, 4);
		else if (a->type == HS_F16)
			tiny_half(data + 2 * i, v);
		else
			memcpy(data + 2 * i, (const uint8_t *)&bits + 2, 2); /* BF16 */
	}
	hs_gguf_put_tensor(m->k.w, name, a->type, 2, dims, data);
}

/* A pair for a matrix, where the model has it. */
static inline void adapter_pair(struct tiny_adapter_maker *m, const struct hs_gguf *g, uint32_t layer, const char *name)
{
	char base[64], tensor[80];
	snprintf(base, sizeof base, "blk.%u.%s.weight", layer, name);
	const struct hs_gguf_tensor *t = hs_gguf_find_tensor(g, base);
	if (!t)
		return;
	snprintf(tensor, sizeof tensor, "%s.lora_a", base);
	adapter_tensor(m, tensor, t->dims[0], m->a->rank, 0.3f);
	snprintf(tensor, sizeof tensor, "%s.lora_b", base);
	adapter_tensor(m, tensor, m->a->rank, t->dims[1], 0.1f);
}

/* The file's bytes, appended to out: every matrix of the model that can be adapted is. */
static inline void adapter_write(const struct tiny_adapter *a, const struct hs_gguf *g, const char *arch, uint32_t layers,
				 struct hs_buf *out)
{
	static const char *const names[] = {"attn_q",      "attn_k",   "attn_v", "attn_qkv",
					    "attn_output", "ffn_gate", "ffn_up", "ffn_down"};
	struct tiny_adapter_maker m = {.k = {.w = hs_gguf_writer_create(), .rng = a->seed}, .a = a};
	hs_gguf_put_str(m.k.w, "general.architecture", a->arch ? a->arch : arch);
	hs_gguf_put_str(m.k.w, "general.name", "tiny");
	if (a->general)
		hs_gguf_put_str(m.k.w, "general.type", a->general);
	if (a->kind)
		hs_gguf_put_str(m.k.w, "adapter.type", a->kind);
	if (!a->no_alpha)
		hs_gguf_put_f32(m.k.w, "adapter.lora.alpha", a->alpha);
	if (a->text_field)
		hs_gguf_put_str(m.k.w, a->text_field, "text");
	for (uint32_t l = 0; l < layers; l++)
		for (size_t i = 0; i < HS_ARRAY_LEN(names); i++)
			adapter_pair(&m, g, l, names[i]);
	if (a->more)
		adapter_tensor(&m, a->more, 4, 4, 1);
	assert_int_equal(hs_gguf_write_buf(m.k.w, out), 0);
	for (size_t i = 0; i < m.k.n_kept; i++)
		free(m.k.kept[i]);
	hs_gguf_writer_destroy(m.k.w);
}

struct adapter {
	struct hs_buf file;
	struct hs_gguf *g;
	struct hs_lora *lora;
};

static inline int open_adapter(struct adapter *to, const struct tiny_adapter *a, const struct model *m, struct hs_err *err)
{
	*to = (struct adapter){0};
	*err = HS_ERR_INIT;
	adapter_write(a, m->g, m->w->arch->name, m->w->hyper.n_layers, &to->file);
	int rc = hs_gguf_open_memory(to->file.data, to->file.len, &to->g, err);
	return rc < 0 ? rc : hs_lora_bind(to->g, m->w, &to->lora, err);
}

static inline void close_adapter(struct adapter *a)
{
	hs_lora_destroy(a->lora);
	hs_gguf_close(a->g);
	hs_buf_finish(&a->file);
}

/* An adapter's file for a tiny model of two layers: its path, which the caller unlinks. */
static inline void adapter_file(struct tiny t, const struct tiny_adapter *a, char path[static 32])
{
	struct hs_buf base = HS_BUF_INIT, file = HS_BUF_INIT;
	struct hs_gguf *g = NULL;
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(tiny_write(t, NULL, &base), 0);
	assert_int_equal(hs_gguf_open_memory(base.data, base.len, &g, &err), 0);
	adapter_write(a, g, t.arch, t.layers, &file);
	(void)snprintf(path, 32, "/tmp/hisho-adapter-XXXXXX");
	int fd = mkostemp(path, O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(hs_fd_write_all(fd, file.data, file.len), 0);
	close(fd);
	hs_gguf_close(g);
	hs_buf_finish(&base);
	hs_buf_finish(&file);
}

#endif
