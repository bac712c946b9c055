#include "inference/model/weights.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "inference/quant/quant.h"

/* What a dimension of a tensor must equal. */
enum dim { D_NONE, D_EMBD, D_QUERY, D_KV, D_FF, D_VOCAB, D_CONTEXT, D_HALF_HEAD, D_ANY };

struct slot {
	const char *name; /* layers': after "blk.N." */
	size_t offset;    /* of the pointer in struct hs_weights or struct hs_layer */
	enum dim columns, rows;
	unsigned feature;
};

#define W(field) offsetof(struct hs_weights, field)
#define L(field) offsetof(struct hs_layer, field)

static const struct slot model_slots[] = {
    {"token_embd.weight", W(embd), D_EMBD, D_VOCAB, HS_F_ALWAYS},
    {"position_embd.weight", W(positions), D_EMBD, D_CONTEXT, HS_F_POSITIONS},
    {"token_types.weight", W(types), D_EMBD, D_ANY, HS_F_TYPES},
    {"token_embd_norm.weight", W(embd_norm.weight), D_EMBD, D_NONE, HS_F_EMBD_NORM},
    {"token_embd_norm.bias", W(embd_norm.bias), D_EMBD, D_NONE, HS_F_EMBD_NORM},
    {"output_norm.weight", W(final_norm.weight), D_EMBD, D_NONE, HS_F_PRE_NORM},
    {"output.weight", W(head), D_EMBD, D_VOCAB, HS_F_HEAD},
    {"rope_freqs.weight", W(rope_freqs), D_HALF_HEAD, D_NONE, HS_F_ROPE_FREQS},
};

static const struct slot layer_slots[] = {
    {"attn_norm.weight", L(attn_norm.weight), D_EMBD, D_NONE, HS_F_PRE_NORM},
    {"attn_q.weight", L(q), D_EMBD, D_QUERY, HS_F_ALWAYS},
    {"attn_k.weight", L(k), D_EMBD, D_KV, HS_F_ALWAYS},
    {"attn_v.weight", L(v), D_EMBD, D_KV, HS_F_ALWAYS},
    {"attn_q.bias", L(qb), D_QUERY, D_NONE, HS_F_QKV_BIAS},
    {"attn_k.bias", L(kb), D_KV, D_NONE, HS_F_QKV_BIAS},
    {"attn_v.bias", L(vb), D_KV, D_NONE, HS_F_QKV_BIAS},
    {"attn_output.weight", L(o), D_QUERY, D_EMBD, HS_F_ALWAYS},
    {"attn_output.bias", L(ob), D_EMBD, D_NONE, HS_F_OUT_BIAS},
    {"attn_output_norm.weight", L(attn_out_norm.weight), D_EMBD, D_NONE, HS_F_POST_NORM},
    {"attn_output_norm.bias", L(attn_out_norm.bias), D_EMBD, D_NONE, HS_F_POST_NORM},
    {"ffn_norm.weight", L(ffn_norm.weight), D_EMBD, D_NONE, HS_F_PRE_NORM},
    {"ffn_gate.weight", L(gate), D_EMBD, D_FF, HS_F_GATED},
    {"ffn_up.weight", L(up), D_EMBD, D_FF, HS_F_ALWAYS},
    {"ffn_up.bias", L(upb), D_FF, D_NONE, HS_F_FFN_BIAS},
    {"ffn_down.weight", L(down), D_FF, D_EMBD, HS_F_ALWAYS},
    {"ffn_down.bias", L(downb), D_EMBD, D_NONE, HS_F_FFN_BIAS},
    {"layer_output_norm.weight", L(out_norm.weight), D_EMBD, D_NONE, HS_F_POST_NORM},
    {"layer_output_norm.bias", L(out_norm.bias), D_EMBD, D_NONE, HS_F_POST_NORM},
};

static int bad(struct hs_err *err, const char *hint, const char *object)
{
	return hs_fail(err, EINVAL, "model.invalid", hint, "%s", object);
}

static int unsupported(struct hs_err *err, const char *hint, const char *object)
{
	return hs_fail(err, ENOTSUP, "model.unsupported", hint, "%s", object);
}

struct reader {
	const struct hs_gguf *g;
	const struct hs_arch *arch;
	struct hs_err *err;
	bool *bound; /* (tensors of the file) */
	char key[128];
};

static const char *key_of(struct reader *r, const char *suffix)
{
	(void)snprintf(r->key, sizeof r->key, "%s.%s", r->arch->name, suffix); /* both are our own words and short */
	return r->key;
}

static int read_count(struct reader *r, const char *suffix, uint32_t max, bool required, uint32_t *ret)
{
	uint64_t v;
	if (!hs_gguf_get_u64(r->g, key_of(r, suffix), &v))
		return required ? bad(r->err, HS_N_("the field is missing or not a number"), r->key) : 0;
	if (v == 0 || v > max)
		return bad(r->err, HS_N_("the number is zero or beyond what the engine takes"), r->key);
	*ret = (uint32_t)v;
	return 0;
}

static int read_real(struct reader *r, const char *suffix, float low, float high, bool required, float *ret)
{
	float v;
	if (!hs_gguf_get_f32(r->g, key_of(r, suffix), &v))
		return required ? bad(r->err, HS_N_("the field is missing or not a number"), r->key) : 0;
	if (!(v >= low && v <= high)) /* NaN fails too */
		return bad(r->err, HS_N_("the number is out of range"), r->key);
	*ret = v;
	return 0;
}

static bool str_is(struct hs_gguf_str s, const char *want)
{
	return s.len == strlen(want) && memcmp(s.s, want, s.len) == 0;
}

static int read_rope(struct reader *r, struct hs_hyper *h)
{
	h->rope_base = 10000;
	h->rope_divisor = 1;
	if (r->arch->rope == HS_ROPE_NONE)
		return 0;
	int rc = read_real(r, "rope.freq_base", 1, 1e12f, false, &h->rope_base);
	if (rc < 0)
		return rc;
	uint64_t dims;
	if (hs_gguf_get_u64(r->g, key_of(r, "rope.dimension_count"), &dims) && dims != h->head_dim)
		return unsupported(r->err, HS_N_("rotation of a part of a head is not supported"), r->key);
	struct hs_gguf_str type;
	if (!hs_gguf_get_str(r->g, key_of(r, "rope.scaling.type"), &type) || str_is(type, "none"))
		return 0;
	if (!str_is(type, "linear"))
		return unsupported(r->err, HS_N_("only linear rope scaling is supported"), r->key);
	return read_real(r, "rope.scaling.factor", 1e-3f, 1e6f, true, &h->rope_divisor);
}

static int read_pool(struct reader *r, struct hs_hyper *h)
{
	h->pool = HS_POOL_NONE;
	if (r->arch->causal)
		return 0;
	uint64_t pool;
	if (!hs_gguf_get_u64(r->g, key_of(r, "pooling_type"), &pool))
		return bad(r->err, HS_N_("the field is missing or not a number"), r->key);
	if (pool != 1 && pool != 2)
		return unsupported(r->err, HS_N_("only mean (1) and first-token (2) pooling are supported"), r->key);
	h->pool = pool == 1 ? HS_POOL_MEAN : HS_POOL_FIRST;
	return 0;
}

static int read_heads(struct reader *r, struct hs_hyper *h)
{
	int rc = read_count(r, "attention.head_count", HS_HEADS_MAX, true, &h->n_heads);
	if (rc < 0)
		return rc;
	h->n_kv_heads = h->n_heads;
	if ((rc = read_count(r, "attention.head_count_kv", HS_HEADS_MAX, false, &h->n_kv_heads)) < 0)
		return rc;
	if (h->n_heads % h->n_kv_heads)
		return bad(r->err, HS_N_("the query heads do not divide among the key heads"), r->key);
	h->head_dim = h->n_embd / h->n_heads;
	uint32_t value_dim = h->head_dim;
	if ((rc = read_count(r, "attention.key_length", HS_HEAD_DIM_MAX, false, &h->head_dim)) < 0 ||
	    (value_dim = h->head_dim, rc = read_count(r, "attention.value_length", HS_HEAD_DIM_MAX, false, &value_dim)) < 0)
		return rc;
	if (value_dim != h->head_dim)
		return unsupported(r->err, HS_N_("values of another length than keys are not supported"), r->key);
	if (h->head_dim == 0 || h->head_dim > HS_HEAD_DIM_MAX || h->head_dim % 2)
		return bad(r->err, HS_N_("a head's length must be even and from 2 to 512"), key_of(r, "embedding_length"));
	return 0;
}

static int read_hyper(struct reader *r, struct hs_hyper *h)
{
	int rc;
	if ((rc = read_count(r, "block_count", HS_LAYERS_MAX, true, &h->n_layers)) < 0 ||
	    (rc = read_count(r, "embedding_length", HS_EMBD_MAX, true, &h->n_embd)) < 0 ||
	    (rc = read_count(r, "feed_forward_length", HS_FF_MAX, true, &h->n_ff)) < 0 ||
	    (rc = read_count(r, "context_length", HS_CONTEXT_MAX, true, &h->context)) < 0 || (rc = read_heads(r, h)) < 0 ||
	    (rc = read_real(r, r->arch->eps_key, 0, 1, true, &h->eps)) < 0 || (rc = read_rope(r, h)) < 0)
		return rc;
	const struct hs_gguf_tensor *embd = hs_gguf_find_tensor(r->g, "token_embd.weight");
	if (!embd)
		return bad(r->err, HS_N_("the tensor is missing"), "token_embd.weight");
	if (embd->dims[1] > HS_VOCAB_MAX)
		return bad(r->err, HS_N_("the vocabulary is beyond what the engine takes"), "token_embd.weight");
	h->n_vocab = (uint32_t)embd->dims[1];
	return read_pool(r, h);
}

static uint64_t dim_value(const struct hs_hyper *h, enum dim d)
{
	switch (d) {
	case D_EMBD:
		return h->n_embd;
	case D_QUERY:
		return (uint64_t)h->n_heads * h->head_dim;
	case D_KV:
		return (uint64_t)h->n_kv_heads * h->head_dim;
	case D_FF:
		return h->n_ff;
	case D_VOCAB:
		return h->n_vocab;
	case D_CONTEXT:
		return h->context;
	case D_HALF_HEAD:
		return h->head_dim / 2;
	case D_NONE:
	case D_ANY:
		break;
	}
	return 1;
}

static bool shape_fits(const struct hs_gguf_tensor *t, const struct hs_hyper *h, const struct slot *s)
{
	if (t->dims[0] != dim_value(h, s->columns) || t->dims[2] != 1 || t->dims[3] != 1)
		return false;
	return s->rows == D_ANY || t->dims[1] == dim_value(h, s->rows);
}

static bool all_finite(const struct hs_gguf_tensor *t)
{
	for (uint64_t i = 0; i < t->dims[0]; i++) {
		float v;
		memcpy(&v, t->data + 4 * i, sizeof v);
		if (!isfinite(v))
			return false;
	}
	return true;
}

/* Fill one slot of `base` and mark its tensor as bound. */
static int bind(const struct reader *r, const struct hs_hyper *h, const struct slot *s, const char *name, void *base)
{
	bool required = s->feature == HS_F_ALWAYS || (r->arch->has & s->feature);
	if (!required && !(r->arch->may & s->feature))
		return 0;
	const struct hs_gguf_tensor *t = hs_gguf_find_tensor(r->g, name);
	if (!t)
		return required ? bad(r->err, HS_N_("the tensor is missing"), name) : 0;
	if (!shape_fits(t, h, s))
		return bad(r->err, HS_N_("the tensor's shape does not follow from the hyper-parameters"), name);
	if (!hs_quant_find(t->type))
		return unsupported(r->err, HS_N_("the engine does not compute with this type"), name);
	if (s->rows == D_NONE && (t->type != HS_F32 || !all_finite(t)))
		return bad(r->err, HS_N_("a vector must be of finite F32 numbers"), name);
	memcpy((char *)base + s->offset, &t, sizeof(const void *));
	r->bound[t - hs_gguf_tensor_at(r->g, 0)] = true;
	return 0;
}

static int bind_all(const struct reader *r, struct hs_weights *w)
{
	for (size_t i = 0; i < HS_ARRAY_LEN(model_slots); i++) {
		int rc = bind(r, &w->hyper, &model_slots[i], model_slots[i].name, w);
		if (rc < 0)
			return rc;
	}
	for (uint32_t l = 0; l < w->hyper.n_layers; l++)
		for (size_t i = 0; i < HS_ARRAY_LEN(layer_slots); i++) {
			char name[80];
			(void)snprintf(name, sizeof name, "blk.%u.%s", l, layer_slots[i].name); /* fits: our own words */
			int rc = bind(r, &w->hyper, &layer_slots[i], name, &w->layers[l]);
			if (rc < 0)
				return rc;
		}
	for (size_t i = 0; i < hs_gguf_tensor_count(r->g); i++) {
		const struct hs_gguf_tensor *t = hs_gguf_tensor_at(r->g, i);
		if (!r->bound[i])
			return hs_fail(r->err, ENOTSUP, "model.unsupported",
				       HS_N_("the architecture has no place for this tensor"), "%.*s", (int)t->name.len,
				       t->name.s);
		w->n_params += t->dims[0] * t->dims[1];
	}
	if (!w->head && w->arch->causal)
		w->head = w->embd;
	return 0;
}

static int check_rope_freqs(const struct hs_weights *w, struct hs_err *err)
{
	for (uint32_t i = 0; w->rope_freqs && i < w->hyper.head_dim / 2; i++) {
		float v;
		memcpy(&v, w->rope_freqs->data + 4 * i, sizeof v);
		if (!(v > 0))
			return bad(err, HS_N_("a frequency's divisor must be positive"), "rope_freqs.weight");
	}
	return 0;
}

int hs_weights_bind(const struct hs_gguf *g, struct hs_weights **ret, struct hs_err *err)
{
	struct hs_gguf_str name;
	if (!hs_gguf_get_str(g, "general.architecture", &name))
		return bad(err, HS_N_("the field is missing"), "general.architecture");
	struct reader r = {.g = g, .arch = hs_arch_find(name), .err = err};
	if (!r.arch)
		return hs_fail(err, ENOTSUP, "model.unsupported", HS_N_("the engine knows qwen2, llama and bert"),
			       "general.architecture %.*s", (int)HS_MIN(name.len, (size_t)64), name.s);
	struct hs_weights *w = calloc(1, sizeof *w);
	if (!w)
		return hs_fail_errno(err, -ENOMEM, "model.load", "weights");
	w->arch = r.arch;
	int rc = read_hyper(&r, &w->hyper);
	if (rc == 0) {
		w->layers = calloc(w->hyper.n_layers, sizeof *w->layers);
		r.bound = calloc(hs_gguf_tensor_count(g), sizeof *r.bound);
		rc = w->layers && r.bound ? bind_all(&r, w) : hs_fail_errno(err, -ENOMEM, "model.load", "weights");
	}
	free(r.bound);
	if (rc == 0)
		rc = check_rope_freqs(w, err);
	if (rc < 0) {
		hs_weights_destroy(w);
		return rc;
	}
	*ret = w;
	return 0;
}

void hs_weights_destroy(struct hs_weights *w)
{
	if (!w)
		return;
	free(w->layers);
	free(w);
}

void hs_rope_frequencies(const struct hs_weights *w, double *out)
{
	const struct hs_hyper *h = &w->hyper;
	for (uint32_t i = 0; i < h->head_dim / 2; i++) {
		float divisor = 1;
		if (w->rope_freqs)
			memcpy(&divisor, w->rope_freqs->data + 4 * i, sizeof divisor);
		out[i] = pow(h->rope_base, -2.0 * i / h->head_dim) / h->rope_divisor / divisor;
	}
}

void hs_tensor_row(const struct hs_gguf_tensor *t, uint64_t row, float *out)
{
	const struct hs_quant *q = hs_quant_find(t->type);
	hs_assert(q && row < t->dims[1]);
	q->dequantise(t->data + row * (t->dims[0] / q->block * q->block_bytes), out, (size_t)t->dims[0]);
}
