/* Tiny random models of every architecture, always the same bytes for the same words. */
#ifndef HISHO_TESTS_INFERENCE_TINY_H
#define HISHO_TESTS_INFERENCE_TINY_H

#include <math.h>
#include <string.h>

#include "inference/gguf/writer.h"
#include "inference/model/backend.h"
#include "inference/model/arch.h"
#include "inference/quant/half.h"
#include "inference/quant/quant.h"

struct tiny {
	const char *arch;
	enum hs_tensor_type type; /* of the matrices */
	uint32_t layers, embd, heads, kv_heads, ff, vocab, context;
	uint32_t head_dim;      /* 0: embd / heads */
	uint32_t window;        /* where the family has windows; 0: none is named */
	uint32_t experts, used; /* 0: the family's own: 0, or 4 of which 2 */
	uint32_t labels, pool;  /* of a classifier; pooling_type (0: mean for encoders) */
	unsigned with;          /* features that the family may have, beside the head */
	bool tied, rope_freqs;
	const char *without;     /* a tensor that is left out */
	const char *nan_in;      /* a tensor with a NaN */
	const char *eps_key;     /* instead of the right one */
	const char *without_key; /* a field that is left out, without the architecture's name */
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
		       .vocab = 90,                                                                                              \
		       .context = 256,                                                                                           \
		       .eps = 1e-5f})

struct tiny_maker {
	struct hs_gguf_writer *w;
	struct tiny t;
	uint64_t rng;
	void *kept[512]; /* data until the file is written */
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
	else if (type == HS_MXFP4)
		p[0] = (uint8_t)(125 + (int)floorf(log2f(d)));
	else {
		float codes = type == HS_Q4_K ? 1 : 2;
		tiny_half(p, d / (200 * codes));
		tiny_half(p + 2, d / 200 * 7.5f);
	}
}

static inline void tiny_tensor(struct tiny_maker *k, const char *name, enum hs_tensor_type type, uint32_t columns, uint32_t rows,
			       uint32_t depth, float size, float centre)
{
	if (k->t.without && strcmp(k->t.without, name) == 0)
		return;
	const struct hs_quant *q = hs_quant_find(type);
	size_t n = (size_t)columns / q->block * (rows ? rows : 1) * (depth ? depth : 1);
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
	hs_gguf_put_tensor(k->w, name, type, depth ? 3 : rows ? 2 : 1, (const uint64_t[]){columns, rows, depth}, data);
	k->kept[k->n_kept++] = data;
}

static inline unsigned tiny_features(const struct tiny *t)
{
	const struct hs_arch *arch = hs_arch_find((struct hs_gguf_str){.s = t->arch, .len = strlen(t->arch)});
	unsigned has = (arch ? arch->has : HS_F_PRE_NORM | HS_F_FFN_NORM | HS_F_DENSE | HS_F_GATED) | t->with;
	if (t->experts)
		has = (has & ~(unsigned)(HS_F_DENSE | HS_F_GATED)) | HS_F_EXPERTS;
	if (!t->tied && arch && (arch->may & HS_F_HEAD) && !t->pool)
		has |= HS_F_HEAD;
	return has | (t->rope_freqs ? HS_F_ROPE_FREQS : 0) | (t->labels ? HS_F_CLASSIFIER : 0);
}

struct tiny_part {
	const char *name;
	unsigned feature; /* all of these */
	uint32_t columns, rows, depth;
	float size, centre;
};

static inline void tiny_parts(struct tiny_maker *k, const char *prefix, const struct tiny_part *parts, size_t n)
{
	unsigned has = tiny_features(&k->t);
	for (size_t i = 0; i < n; i++) {
		const struct tiny_part *p = &parts[i];
		char name[64];
		snprintf(name, sizeof name, "%s%s", prefix, p->name);
		bool fused = has & HS_F_FUSED_QKV, plain = strncmp(p->name, "attn_q.", 7) == 0 ||
							   strncmp(p->name, "attn_k.", 7) == 0 ||
							   strncmp(p->name, "attn_v.", 7) == 0;
		if ((has & p->feature) != p->feature || (fused && plain) ||
		    ((has & HS_F_FUSED_GATE) && (p->feature == HS_F_GATED || p->feature == HS_F_DENSE) &&
		     strstr(p->name, "down") == NULL))
			continue;
		if ((has & HS_F_BARE_FIRST) && strcmp(name, "blk.0.attn_norm.weight") == 0)
			continue;
		bool matrix = p->rows && !strstr(p->name, "bias") && !strstr(p->name, "norm") && !strstr(p->name, "gate_inp");
		tiny_tensor(k, name, matrix ? k->t.type : HS_F32, p->columns, p->rows, p->depth, p->size, p->centre);
	}
}

static inline void tiny_layer(struct tiny_maker *k, uint32_t l)
{
	const struct tiny *t = &k->t;
	uint32_t hd = t->head_dim ? t->head_dim : t->embd / t->heads, q = t->heads * hd, kv = t->kv_heads * hd;
	float e = 1 / sqrtf((float)t->embd), f = 1 / sqrtf((float)t->ff);
	const uint32_t d = t->embd, ff = t->ff, n = t->experts;
	const struct tiny_part parts[] = {
	    {"attn_norm.weight", HS_F_PRE_NORM, d, 0, 0, 0.2f, 1},
	    {"attn_norm.bias", HS_F_PRE_NORM | HS_F_NORM_BIAS, d, 0, 0, 0.1f, 0},
	    {"attn_q.weight", 0, d, q, 0, 2 * e, 0},
	    {"attn_k.weight", 0, d, kv, 0, 2 * e, 0},
	    {"attn_v.weight", 0, d, kv, 0, e, 0},
	    {"attn_q.bias", HS_F_QKV_BIAS, q, 0, 0, 0.3f, 0},
	    {"attn_k.bias", HS_F_QKV_BIAS, kv, 0, 0, 0.3f, 0},
	    {"attn_v.bias", HS_F_QKV_BIAS, kv, 0, 0, 0.3f, 0},
	    {"attn_qkv.weight", HS_F_FUSED_QKV, d, q + 2 * kv, 0, 1.5f * e, 0},
	    {"attn_qkv.bias", HS_F_FUSED_QKV | HS_F_QKV_BIAS, q + 2 * kv, 0, 0, 0.3f, 0},
	    {"attn_q_norm.weight", HS_F_QK_NORM, hd, 0, 0, 0.3f, 1},
	    {"attn_k_norm.weight", HS_F_QK_NORM, hd, 0, 0, 0.3f, 1},
	    {"attn_q_norm.weight", HS_F_QK_NORM_HEADS, hd, t->heads, 0, 0.3f, 1},
	    {"attn_k_norm.weight", HS_F_QK_NORM_HEADS, hd, t->kv_heads, 0, 0.3f, 1},
	    {"attn_sinks.weight", HS_F_SINKS, t->heads, 0, 0, 1, 0.5f},
	    {"attn_output.weight", 0, q, d, 0, e, 0},
	    {"attn_output.bias", HS_F_OUT_BIAS, d, 0, 0, 0.1f, 0},
	    {"attn_output_norm.weight", HS_F_POST_NORM, d, 0, 0, 0.2f, 1},
	    {"attn_output_norm.bias", HS_F_POST_NORM, d, 0, 0, 0.1f, 0},
	    {"post_attention_norm.weight", HS_F_SUB_NORM, d, 0, 0, 0.2f, 1},
	    {"post_attention_norm.weight", HS_F_FFN_NORM_LATE, d, 0, 0, 0.2f, 1},
	    {"ffn_norm.weight", HS_F_FFN_NORM, d, 0, 0, 0.2f, 1},
	    {"ffn_norm.bias", HS_F_FFN_NORM | HS_F_NORM_BIAS, d, 0, 0, 0.1f, 0},
	    {"ffn_gate.weight", HS_F_GATED, d, ff, 0, e, 0},
	    {"ffn_up.weight", HS_F_DENSE, d, ff, 0, e, 0},
	    {"ffn_up.weight", HS_F_FUSED_GATE, d, 2 * ff, 0, e, 0},
	    {"ffn_up.bias", HS_F_DENSE | HS_F_FFN_BIAS, ff, 0, 0, 0.1f, 0},
	    {"ffn_down.weight", HS_F_DENSE, ff, d, 0, f, 0},
	    {"ffn_down.bias", HS_F_DENSE | HS_F_FFN_BIAS, d, 0, 0, 0.1f, 0},
	    {"ffn_gate_inp.weight", HS_F_EXPERTS, d, n, 0, 2 * e, 0},
	    {"ffn_gate_inp.bias", HS_F_EXPERTS | HS_F_FFN_BIAS, n, 0, 0, 0.3f, 0},
	    {"ffn_gate_exps.weight", HS_F_EXPERTS, d, ff, n, e, 0},
	    {"ffn_up_exps.weight", HS_F_EXPERTS, d, ff, n, e, 0},
	    {"ffn_down_exps.weight", HS_F_EXPERTS, ff, d, n, f, 0},
	    {"ffn_gate_exps.bias", HS_F_EXPERTS | HS_F_FFN_BIAS, ff, n, 0, 0.3f, 0},
	    {"ffn_up_exps.bias", HS_F_EXPERTS | HS_F_FFN_BIAS, ff, n, 0, 0.3f, 0},
	    {"ffn_down_exps.bias", HS_F_EXPERTS | HS_F_FFN_BIAS, d, n, 0, 0.3f, 0},
	    {"layer_output_norm.weight", HS_F_POST_NORM, d, 0, 0, 0.2f, 1},
	    {"layer_output_norm.bias", HS_F_POST_NORM, d, 0, 0, 0.1f, 0},
	    {"post_ffw_norm.weight", HS_F_SUB_NORM, d, 0, 0, 0.2f, 1},
	};
	char prefix[16];
	snprintf(prefix, sizeof prefix, "blk.%u.", l);
	tiny_parts(k, prefix, parts, HS_ARRAY_LEN(parts));
}

static inline void tiny_hyper(struct tiny_maker *k)
{
	const struct tiny *t = &k->t;
	const struct hs_arch *arch = hs_arch_find((struct hs_gguf_str){.s = t->arch, .len = strlen(t->arch)});
	unsigned has = tiny_features(t);
	char key[96];
	const struct {
		const char *key;
		bool there;
		uint32_t value;
	} counts[] = {{"block_count", true, t->layers},
		      {"embedding_length", true, t->embd},
		      {"feed_forward_length", true, t->ff},
		      {"context_length", true, t->context},
		      {"attention.head_count", true, t->heads},
		      {"attention.head_count_kv", true, t->kv_heads},
		      {"attention.key_length", t->head_dim, t->head_dim},
		      {"attention.value_length", t->head_dim, t->head_dim},
		      {"attention.sliding_window", t->window, t->window},
		      {"expert_count", t->experts, t->experts},
		      {"expert_used_count", t->experts, t->used},
		      {"expert_feed_forward_length", t->experts, t->ff},
		      {"pooling_type", (arch && !arch->causal) || t->pool, t->pool ? t->pool : 1},
		      {"classifier.pooling_type", t->labels, t->pool ? t->pool : 1}};
	const struct {
		const char *key;
		bool there;
		float value;
	} reals[] = {{t->eps_key ? t->eps_key
		      : arch     ? arch->eps_key
				 : "attention.layer_norm_rms_epsilon",
		      true, t->eps},
		     {"logit_scale", has & HS_F_LOGIT_SCALE, 0.125f},
		     {"attn_logit_softcapping", has & HS_F_ATTN_CAP, 2},
		     {"final_logit_softcapping", has & HS_F_FINAL_CAP, 30}};
	hs_gguf_put_str(k->w, "general.architecture", t->arch);
	for (size_t i = 0; i < HS_ARRAY_LEN(counts); i++) {
		snprintf(key, sizeof key, "%s.%s", t->arch, counts[i].key);
		if (counts[i].there && !(t->without_key && strcmp(t->without_key, counts[i].key) == 0))
			hs_gguf_put_u32(k->w, key, counts[i].value);
	}
	for (size_t i = 0; i < HS_ARRAY_LEN(reals); i++) {
		snprintf(key, sizeof key, "%s.%s", t->arch, reals[i].key);
		if (reals[i].there && !(t->without_key && strcmp(t->without_key, reals[i].key) == 0))
			hs_gguf_put_f32(k->w, key, reals[i].value);
	}
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
	float e = 1 / sqrtf((float)t.embd);
	uint32_t hd = t.head_dim ? t.head_dim : t.embd / t.heads;
	const struct tiny_part parts[] = {
	    {"token_embd_norm.weight", HS_F_EMBD_NORM, t.embd, 0, 0, 0.2f, 1},
	    {"token_embd_norm.bias", HS_F_EMBD_NORM | HS_F_NORM_BIAS, t.embd, 0, 0, 0.1f, 0},
	    {"output_norm.weight", HS_F_PRE_NORM, t.embd, 0, 0, 0.2f, 1},
	    {"output_norm.bias", HS_F_PRE_NORM | HS_F_NORM_BIAS, t.embd, 0, 0, 0.1f, 0},
	    {"output.weight", HS_F_HEAD, t.embd, t.vocab, 0, 0.5f * e, 0},
	    {"rope_freqs.weight", HS_F_ROPE_FREQS, hd / 2, 0, 0, 0.4f, 2},
	    {"cls.weight", HS_F_CLASSIFIER, t.embd, t.embd, 0, e, 0},
	    {"cls.bias", HS_F_CLASSIFIER | HS_F_POST_NORM, t.embd, 0, 0, 0.2f, 0},
	    {"cls.norm.weight", HS_F_CLASSIFIER | HS_F_PRE_NORM, t.embd, 0, 0, 0.2f, 1},
	    {"cls.output.weight", HS_F_CLASSIFIER, t.embd, t.labels, 0, e, 0},
	    {"cls.output.bias", HS_F_CLASSIFIER, t.labels, 0, 0, 0.2f, 0},
	};
	tiny_hyper(&k);
	tiny_tokenizer(&k);
	if (more)
		more(k.w);
	tiny_tensor(&k, "token_embd.weight", t.type, t.embd, t.vocab, 0, t.tied ? 0.05f : 0.5f, 0);
	if (tiny_features(&t) & HS_F_POSITIONS)
		tiny_tensor(&k, "position_embd.weight", HS_F32, t.embd, t.context, 0, 0.2f, 0);
	if (tiny_features(&t) & HS_F_TYPES)
		tiny_tensor(&k, "token_types.weight", HS_F32, t.embd, 2, 0, 0.2f, 0);
	tiny_parts(&k, "", parts, HS_ARRAY_LEN(parts));
	for (uint32_t l = 0; l < t.layers; l++)
		tiny_layer(&k, l);
	int rc = hs_gguf_write_buf(k.w, out);
	for (size_t i = 0; i < k.n_kept; i++)
		free(k.kept[i]);
	hs_gguf_writer_destroy(k.w);
	return rc;
}

/* One step of one sequence: *ret_logits of its last token. */
static inline int tiny_forward(const struct hs_backend *b, struct hs_backend_sequence *s, uint32_t position, const int32_t *ids,
		       uint32_t n, struct hs_yield *y, const float **ret_logits)
{
	struct hs_backend_step step = {.s = s, .position = position, .ids = ids, .n = n, .n_logits = 1};
	int rc = b->forward(&step, 1, y);
	*ret_logits = step.logits;
	return rc;
}

#endif
