/* Tiny random models of every architecture, always the same bytes for the same words. */
#ifndef HISHO_TESTS_INFERENCE_TINY_H
#define HISHO_TESTS_INFERENCE_TINY_H

#include <math.h>
#include <string.h>

#include "inference/gguf/writer.h"
#include "inference/quant/half.h"
#include "inference/quant/quant.h"

struct tiny {
	const char *arch;
	enum hs_tensor_type type; /* of the matrices */
	uint32_t layers, embd, heads, kv_heads, ff, vocab, context;
	bool tied, rope_freqs;
	const char *without; /* a tensor that is left out */
	const char *nan_in;  /* a tensor with a NaN */
	const char *eps_key; /* instead of the right one */
	float eps;
};

#define TINY_F32                                                                                                                 \
	((struct tiny){.arch = "qwen2",                                                                                          \
		       .type = HS_F32,                                                                                           \
		       .layers = 2,                                                                                              \
		       .embd = 40,                                                                                               \
		       .heads = 4,                                                                                               \
		       .kv_heads = 2,                                                                                            \
		       .ff = 52,                                                                                                 \
		       .vocab = 37,                                                                                              \
		       .context = 256,                                                                                           \
		       .eps = 1e-5f})
#define TINY_K                                                                                                                   \
	((struct tiny){.arch = "qwen2",                                                                                          \
		       .type = HS_Q4_K,                                                                                          \
		       .layers = 2,                                                                                              \
		       .embd = 256,                                                                                              \
		       .heads = 4,                                                                                               \
		       .kv_heads = 2,                                                                                            \
		       .ff = 512,                                                                                                \
		       .vocab = 90,                                                                                             \
		       .context = 256,                                                                                           \
		       .eps = 1e-5f})

struct tiny_maker {
	struct hs_gguf_writer *w;
	struct tiny t;
	uint64_t rng;
	void *kept[256]; /* data until the file is written */
	size_t n_kept;
};

static inline uint32_t tiny_random(struct tiny_maker *k)
{
	k->rng = k->rng * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(k->rng >> 33);
}

static inline float tiny_uniform(struct tiny_maker *k)
{
	return (float)tiny_random(k) / (float)(1u << 30) - 1;
}

static inline void tiny_half(uint8_t *p, float v)
{
	uint16_t h = hs_half_from_float(v);
	p[0] = (uint8_t)h;
	p[1] = (uint8_t)(h >> 8);
}

/* One random block whose values have a deviation of about `size`. */
static inline void tiny_block(struct tiny_maker *k, enum hs_tensor_type type, uint8_t *p, float size)
{
	const struct hs_quant *q = hs_quant_find(type);
	float v = size * 1.7f * tiny_uniform(k), d = size * (1 + 0.3f * tiny_uniform(k));
	for (uint32_t i = 0; i < q->block_bytes; i++)
		p[i] = (uint8_t)tiny_random(k);
	if (type == HS_F32)
		memcpy(p, &v, sizeof v);
	else if (type == HS_F16)
		tiny_half(p, v);
	else if (type == HS_BF16)
		p[0] = (uint8_t)(hs_float_bits(v) >> 16), p[1] = (uint8_t)(hs_float_bits(v) >> 24);
	else if (type == HS_Q4_0 || type == HS_Q5_0 || type == HS_Q8_0)
		tiny_half(p, d / (type == HS_Q4_0 ? 4.6f : type == HS_Q5_0 ? 9.2f : 74));
	else if (type == HS_Q6_K)
		tiny_half(p + 208, d / 1300);
	else {
		float codes = type == HS_Q4_K ? 1 : 2;
		tiny_half(p, d / (200 * codes));
		tiny_half(p + 2, d / 200 * 7.5f);
	}
}

static inline void tiny_tensor(struct tiny_maker *k, const char *name, enum hs_tensor_type type, uint32_t columns, uint32_t rows,
			       float size, float centre)
{
	if (k->t.without && strcmp(k->t.without, name) == 0)
		return;
	const struct hs_quant *q = hs_quant_find(type);
	size_t n = (size_t)columns / q->block * (rows ? rows : 1);
	uint8_t *data = malloc(n * q->block_bytes);
	for (size_t i = 0; i < n; i++)
		tiny_block(k, type, data + i * q->block_bytes, size);
	for (size_t i = 0; centre != 0 && i < n; i++) {
		float v;
		memcpy(&v, data + 4 * i, 4);
		v += centre;
		memcpy(data + 4 * i, &v, 4);
	}
	if (k->t.nan_in && strcmp(k->t.nan_in, name) == 0)
		memset(data, 0xff, 4);
	hs_gguf_put_tensor(k->w, name, type, rows ? 2 : 1, (const uint64_t[]){columns, rows}, data);
	k->kept[k->n_kept++] = data;
}

static inline void tiny_layer(struct tiny_maker *k, uint32_t l)
{
	const struct tiny *t = &k->t;
	bool bert = strcmp(t->arch, "bert") == 0, bias = bert || strcmp(t->arch, "qwen2") == 0;
	uint32_t hd = t->embd / t->heads, kv = t->kv_heads * hd;
	float e = 1 / sqrtf((float)t->embd), f = 1 / sqrtf((float)t->ff);
	const struct {
		const char *name;
		bool there, matrix;
		uint32_t columns, rows;
		float size, centre;
	} parts[] = {
	    {"attn_norm.weight", !bert, false, t->embd, 0, 0.2f, 1},
	    {"attn_q.weight", true, true, t->embd, t->embd, 2 * e, 0},
	    {"attn_k.weight", true, true, t->embd, kv, 2 * e, 0},
	    {"attn_v.weight", true, true, t->embd, kv, e, 0},
	    {"attn_q.bias", bias, false, t->embd, 0, 0.3f, 0},
	    {"attn_k.bias", bias, false, kv, 0, 0.3f, 0},
	    {"attn_v.bias", bias, false, kv, 0, 0.3f, 0},
	    {"attn_output.weight", true, true, t->embd, t->embd, e, 0},
	    {"attn_output.bias", bert, false, t->embd, 0, 0.1f, 0},
	    {"attn_output_norm.weight", bert, false, t->embd, 0, 0.2f, 1},
	    {"attn_output_norm.bias", bert, false, t->embd, 0, 0.1f, 0},
	    {"ffn_norm.weight", !bert, false, t->embd, 0, 0.2f, 1},
	    {"ffn_gate.weight", !bert, true, t->embd, t->ff, e, 0},
	    {"ffn_up.weight", true, true, t->embd, t->ff, e, 0},
	    {"ffn_up.bias", bert, false, t->ff, 0, 0.1f, 0},
	    {"ffn_down.weight", true, true, t->ff, t->embd, f, 0},
	    {"ffn_down.bias", bert, false, t->embd, 0, 0.1f, 0},
	    {"layer_output_norm.weight", bert, false, t->embd, 0, 0.2f, 1},
	    {"layer_output_norm.bias", bert, false, t->embd, 0, 0.1f, 0},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(parts); i++) {
		char name[64];
		snprintf(name, sizeof name, "blk.%u.%s", l, parts[i].name);
		if (parts[i].there)
			tiny_tensor(k, name, parts[i].matrix ? t->type : HS_F32, parts[i].columns, parts[i].rows, parts[i].size,
				    parts[i].centre);
	}
}

static inline void tiny_hyper(struct tiny_maker *k)
{
	const struct tiny *t = &k->t;
	bool bert = strcmp(t->arch, "bert") == 0;
	char key[96];
	const struct {
		const char *key;
		uint32_t value;
	} counts[] = {{"block_count", t->layers},         {"embedding_length", t->embd},
		      {"feed_forward_length", t->ff},     {"context_length", t->context},
		      {"attention.head_count", t->heads}, {"attention.head_count_kv", t->kv_heads}};
	hs_gguf_put_str(k->w, "general.architecture", t->arch);
	for (size_t i = 0; i < HS_ARRAY_LEN(counts); i++) {
		snprintf(key, sizeof key, "%s.%s", t->arch, counts[i].key);
		hs_gguf_put_u32(k->w, key, counts[i].value);
	}
	snprintf(key, sizeof key, "%s.%s", t->arch,
		 t->eps_key ? t->eps_key
		 : bert     ? "attention.layer_norm_epsilon"
			    : "attention.layer_norm_rms_epsilon");
	hs_gguf_put_f32(k->w, key, t->eps);
	if (bert)
		hs_gguf_put_u32(k->w, "bert.pooling_type", 1);
}

/* A tokeniser of single letters: ids 0 .. 2 are unknown, bos and eos. */
static inline void tiny_tokenizer(struct tiny_maker *k)
{
	struct hs_gguf_str tokens[128] = {{"<unk>", 5}, {"<s>", 3}, {"</s>", 4}, {"\xe2\x96\x81", 3}};
	static const char letters[] =
	    "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ!#$%&()*+,-./:;<=>?@[]^_{|}~";
	float scores[128] = {0};
	int32_t kinds[128] = {2, 3, 3, 1};
	for (uint32_t i = 4; i < k->t.vocab; i++) {
		tokens[i] = (struct hs_gguf_str){&letters[i - 4], 1};
		scores[i] = -1 - 0.01f * (float)i;
		kinds[i] = 1;
	}
	scores[3] = -2;
	hs_gguf_put_str(k->w, "tokenizer.ggml.model", "t5");
	hs_gguf_put_str_array(k->w, "tokenizer.ggml.tokens", tokens, k->t.vocab);
	hs_gguf_put_f32_array(k->w, "tokenizer.ggml.scores", scores, k->t.vocab);
	hs_gguf_put_i32_array(k->w, "tokenizer.ggml.token_type", kinds, k->t.vocab);
	hs_gguf_put_u32(k->w, "tokenizer.ggml.unknown_token_id", 0);
	hs_gguf_put_u32(k->w, "tokenizer.ggml.bos_token_id", 1);
	hs_gguf_put_u32(k->w, "tokenizer.ggml.eos_token_id", 2);
}

/* The file's bytes, appended to out; more metadata may be put by `more` first. */
static inline int tiny_write(struct tiny t, void (*more)(struct hs_gguf_writer *w), struct hs_buf *out)
{
	struct tiny_maker k = {.w = hs_gguf_writer_create(), .t = t, .rng = 12345};
	bool bert = strcmp(t.arch, "bert") == 0;
	tiny_hyper(&k);
	tiny_tokenizer(&k);
	if (more)
		more(k.w);
	tiny_tensor(&k, "token_embd.weight", t.type, t.embd, t.vocab, t.tied ? 0.1f : 0.5f, 0);
	if (bert) {
		tiny_tensor(&k, "position_embd.weight", HS_F32, t.embd, t.context, 0.2f, 0);
		tiny_tensor(&k, "token_types.weight", HS_F32, t.embd, 2, 0.2f, 0);
		tiny_tensor(&k, "token_embd_norm.weight", HS_F32, t.embd, 0, 0.2f, 1);
		tiny_tensor(&k, "token_embd_norm.bias", HS_F32, t.embd, 0, 0.1f, 0);
	} else {
		tiny_tensor(&k, "output_norm.weight", HS_F32, t.embd, 0, 0.2f, 1);
		if (!t.tied)
			tiny_tensor(&k, "output.weight", t.type, t.embd, t.vocab, 0.5f / sqrtf((float)t.embd), 0);
		if (t.rope_freqs)
			tiny_tensor(&k, "rope_freqs.weight", HS_F32, t.embd / t.heads / 2, 0, 0.4f, 2);
	}
	for (uint32_t l = 0; l < t.layers; l++)
		tiny_layer(&k, l);
	int rc = hs_gguf_write_buf(k.w, out);
	for (size_t i = 0; i < k.n_kept; i++)
		free(k.kept[i]);
	hs_gguf_writer_destroy(k.w);
	return rc;
}

#endif
