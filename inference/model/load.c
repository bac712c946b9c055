#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "inference/model/reader.h"
#include "inference/quant/quant.h"

/* What a dimension of a tensor must equal. */
enum dim {
	D_ONE,
	D_EMBD,
	D_QUERY,
	D_KV,
	D_QKV,
	D_FF,
	D_FF_TWICE,
	D_VOCAB,
	D_CONTEXT,
	D_HEAD,
	D_HALF_HEAD,
	D_HEADS,
	D_KV_HEADS,
	D_EXPERTS,
	D_LABELS,
	D_ANY
};

enum { MATRIX, VECTOR }; /* a vector is small, of finite F32 numbers, and used as it is */

struct slot {
	const char *name; /* layers': after "blk.N." */
	size_t offset;    /* of the pointer in struct hs_weights or struct hs_layer */
	int kind;
	enum dim columns, rows, depth;
	unsigned feature; /* all of these bits, */
	unsigned unless;  /* and none of these */
};

#define W(field) offsetof(struct hs_weights, field)
#define L(field) offsetof(struct hs_layer, field)
#define M(columns, rows) MATRIX, columns, rows, D_ONE
#define V(n) VECTOR, n, D_ONE, D_ONE
#define EXPERTS(columns, rows) MATRIX, columns, rows, D_EXPERTS

static const struct slot model_slots[] = {
    {"token_embd.weight", W(embd), M(D_EMBD, D_VOCAB), HS_F_ALWAYS},
    {"position_embd.weight", W(positions), M(D_EMBD, D_CONTEXT), HS_F_POSITIONS},
    {"token_types.weight", W(types), M(D_EMBD, D_ANY), HS_F_TYPES},
    {"token_embd_norm.weight", W(embd_norm.weight), V(D_EMBD), HS_F_EMBD_NORM},
    {"token_embd_norm.bias", W(embd_norm.bias), V(D_EMBD), HS_F_EMBD_NORM | HS_F_NORM_BIAS},
    {"output_norm.weight", W(final_norm.weight), V(D_EMBD), HS_F_PRE_NORM},
    {"output_norm.bias", W(final_norm.bias), V(D_EMBD), HS_F_PRE_NORM | HS_F_NORM_BIAS},
    {"output.weight", W(head), M(D_EMBD, D_VOCAB), HS_F_HEAD},
    {"rope_freqs.weight", W(rope_freqs), V(D_HALF_HEAD), HS_F_ROPE_FREQS},
    {"cls.weight", W(cls), M(D_EMBD, D_EMBD), HS_F_CLASSIFIER},
    {"cls.bias", W(clsb), V(D_EMBD), HS_F_CLASSIFIER},
    {"cls.norm.weight", W(cls_norm), V(D_EMBD), HS_F_CLASSIFIER},
    {"cls.output.weight", W(cls_out), M(D_EMBD, D_LABELS), HS_F_CLASSIFIER},
    {"cls.output.bias", W(cls_outb), V(D_LABELS), HS_F_CLASSIFIER},
};

static const struct slot layer_slots[] = {
    {"attn_norm.weight", L(attn_norm.weight), V(D_EMBD), HS_F_PRE_NORM},
    {"attn_norm.bias", L(attn_norm.bias), V(D_EMBD), HS_F_PRE_NORM | HS_F_NORM_BIAS},
    {"attn_q.weight", L(q), M(D_EMBD, D_QUERY), HS_F_ALWAYS, HS_F_FUSED_QKV},
    {"attn_k.weight", L(k), M(D_EMBD, D_KV), HS_F_ALWAYS, HS_F_FUSED_QKV},
    {"attn_v.weight", L(v), M(D_EMBD, D_KV), HS_F_ALWAYS, HS_F_FUSED_QKV},
    {"attn_q.bias", L(qb), V(D_QUERY), HS_F_QKV_BIAS, HS_F_FUSED_QKV},
    {"attn_k.bias", L(kb), V(D_KV), HS_F_QKV_BIAS, HS_F_FUSED_QKV},
    {"attn_v.bias", L(vb), V(D_KV), HS_F_QKV_BIAS, HS_F_FUSED_QKV},
    {"attn_qkv.weight", L(q), M(D_EMBD, D_QKV), HS_F_FUSED_QKV},
    {"attn_qkv.bias", L(qb), V(D_QKV), HS_F_FUSED_QKV | HS_F_QKV_BIAS},
    {"attn_q_norm.weight", L(q_norm), V(D_HEAD), HS_F_QK_NORM},
    {"attn_k_norm.weight", L(k_norm), V(D_HEAD), HS_F_QK_NORM},
    {"attn_q_norm.weight", L(q_norm), VECTOR, D_HEAD, D_HEADS, D_ONE, HS_F_QK_NORM_HEADS},
    {"attn_k_norm.weight", L(k_norm), VECTOR, D_HEAD, D_KV_HEADS, D_ONE, HS_F_QK_NORM_HEADS},
    {"attn_sinks.weight", L(sinks), V(D_HEADS), HS_F_SINKS},
    {"attn_output.weight", L(o), M(D_QUERY, D_EMBD), HS_F_ALWAYS},
    {"attn_output.bias", L(ob), V(D_EMBD), HS_F_OUT_BIAS},
    {"attn_output_norm.weight", L(attn_out_norm.weight), V(D_EMBD), HS_F_POST_NORM},
    {"attn_output_norm.bias", L(attn_out_norm.bias), V(D_EMBD), HS_F_POST_NORM},
    {"post_attention_norm.weight", L(attn_sub_norm), V(D_EMBD), HS_F_SUB_NORM},
    {"post_attention_norm.weight", L(ffn_norm.weight), V(D_EMBD), HS_F_FFN_NORM_LATE},
    {"ffn_norm.weight", L(ffn_norm.weight), V(D_EMBD), HS_F_FFN_NORM},
    {"ffn_norm.bias", L(ffn_norm.bias), V(D_EMBD), HS_F_FFN_NORM | HS_F_NORM_BIAS},
    {"ffn_gate.weight", L(gate), M(D_EMBD, D_FF), HS_F_GATED, HS_F_FUSED_GATE},
    {"ffn_up.weight", L(up), M(D_EMBD, D_FF), HS_F_DENSE, HS_F_FUSED_GATE},
    {"ffn_up.weight", L(gate), M(D_EMBD, D_FF_TWICE), HS_F_FUSED_GATE},
    {"ffn_up.bias", L(upb), V(D_FF), HS_F_DENSE | HS_F_FFN_BIAS},
    {"ffn_down.weight", L(down), M(D_FF, D_EMBD), HS_F_DENSE},
    {"ffn_down.bias", L(downb), V(D_EMBD), HS_F_DENSE | HS_F_FFN_BIAS},
    {"ffn_gate_inp.weight", L(router), M(D_EMBD, D_EXPERTS), HS_F_EXPERTS},
    {"ffn_gate_inp.bias", L(routerb), V(D_EXPERTS), HS_F_EXPERTS | HS_F_FFN_BIAS},
    {"ffn_gate_exps.weight", L(gate), EXPERTS(D_EMBD, D_FF), HS_F_EXPERTS},
    {"ffn_up_exps.weight", L(up), EXPERTS(D_EMBD, D_FF), HS_F_EXPERTS},
    {"ffn_down_exps.weight", L(down), EXPERTS(D_FF, D_EMBD), HS_F_EXPERTS},
    {"ffn_gate_exps.bias", L(gateb), VECTOR, D_FF, D_EXPERTS, D_ONE, HS_F_EXPERTS | HS_F_FFN_BIAS},
    {"ffn_up_exps.bias", L(upb), VECTOR, D_FF, D_EXPERTS, D_ONE, HS_F_EXPERTS | HS_F_FFN_BIAS},
    {"ffn_down_exps.bias", L(downb), VECTOR, D_EMBD, D_EXPERTS, D_ONE, HS_F_EXPERTS | HS_F_FFN_BIAS},
    {"layer_output_norm.weight", L(out_norm.weight), V(D_EMBD), HS_F_POST_NORM},
    {"layer_output_norm.bias", L(out_norm.bias), V(D_EMBD), HS_F_POST_NORM},
    {"post_ffw_norm.weight", L(ffn_sub_norm), V(D_EMBD), HS_F_SUB_NORM},
};

static uint64_t dim_value(const struct hs_hyper *h, enum dim d)
{
	uint64_t query = (uint64_t)h->n_heads * h->head_dim, kv = (uint64_t)h->n_kv_heads * h->head_dim;
	switch (d) {
	case D_EMBD:
		return h->n_embd;
	case D_QUERY:
		return query;
	case D_KV:
		return kv;
	case D_QKV:
		return query + 2 * kv;
	case D_FF:
		return h->n_ff;
	case D_FF_TWICE:
		return 2 * (uint64_t)h->n_ff;
	case D_VOCAB:
		return h->n_vocab;
	case D_CONTEXT:
		return h->context;
	case D_HEAD:
		return h->head_dim;
	case D_HALF_HEAD:
		return h->head_dim / 2;
	case D_HEADS:
		return h->n_heads;
	case D_KV_HEADS:
		return h->n_kv_heads;
	case D_EXPERTS:
		return h->n_experts;
	case D_LABELS:
		return h->n_labels;
	case D_ONE:
	case D_ANY:
		break;
	}
	return 1;
}

static bool shape_fits(const struct hs_gguf_tensor *t, const struct hs_hyper *h, const struct slot *s)
{
	if (t->dims[0] != dim_value(h, s->columns) || t->dims[2] != dim_value(h, s->depth) || t->dims[3] != 1)
		return false;
	return s->rows == D_ANY || t->dims[1] == dim_value(h, s->rows);
}

static bool all_finite(const struct hs_gguf_tensor *t)
{
	for (uint64_t i = 0; i < t->dims[0] * t->dims[1]; i++) {
		float v;
		memcpy(&v, t->data + 4 * i, sizeof v);
		if (!isfinite(v))
			return false;
	}
	return true;
}

static bool slot_counts(unsigned features, const struct slot *s)
{
	return (features & s->feature) == s->feature && !(features & s->unless);
}

/* Fill one slot of `base` and mark its tensor as bound. */
static int bind(struct hs_reader *r, const struct hs_hyper *h, const struct slot *s, bool optional, const char *name, void *base)
{
	bool required = slot_counts(r->has, s) && !optional;
	if (!required && !slot_counts(r->has | r->may, s))
		return 0;
	const struct hs_gguf_tensor *t = hs_gguf_find_tensor(r->g, name);
	if (!t)
		return required ? hs_model_bad(r->err, HS_N_("the tensor is missing"), name) : 0;
	if (!shape_fits(t, h, s))
		return hs_model_bad(r->err, HS_N_("the tensor's shape does not follow from the hyper-parameters"), name);
	if (!hs_quant_find(t->type))
		return hs_model_unsupported(r->err, HS_N_("the engine does not compute with this type"), name);
	if (s->kind == VECTOR && (t->type != HS_F32 || !all_finite(t)))
		return hs_model_bad(r->err, HS_N_("a vector must be of finite F32 numbers"), name);
	memcpy((char *)base + s->offset, &t, sizeof(const void *));
	r->bound[t - hs_gguf_tensor_at(r->g, 0)] = true;
	r->found |= s->feature;
	return 0;
}

static int bind_layer(struct hs_reader *r, const struct hs_hyper *h, uint32_t l, struct hs_layer *layer)
{
	char name[80];
	for (size_t i = 0; i < HS_ARRAY_LEN(layer_slots); i++) {
		bool bare = l == 0 && (r->has & HS_F_BARE_FIRST) && layer_slots[i].offset == L(attn_norm.weight);
		(void)snprintf(name, sizeof name, "blk.%u.%s", l, layer_slots[i].name); /* fits: our own words */
		int rc = bind(r, h, &layer_slots[i], bare, name, layer);
		if (rc < 0)
			return rc;
	}
	if (!layer->q_norm == !layer->k_norm)
		return 0;
	(void)snprintf(name, sizeof name, "blk.%u.attn_%c_norm.weight", l, layer->q_norm ? 'k' : 'q');
	return hs_model_bad(r->err, HS_N_("the tensor is missing"), name);
}

static int bind_all(struct hs_reader *r, struct hs_weights *w)
{
	for (size_t i = 0; i < HS_ARRAY_LEN(model_slots); i++) {
		int rc = bind(r, &w->hyper, &model_slots[i], false, model_slots[i].name, w);
		if (rc < 0)
			return rc;
	}
	for (uint32_t l = 0; l < w->hyper.n_layers; l++) {
		int rc = bind_layer(r, &w->hyper, l, &w->layers[l]);
		if (rc < 0)
			return rc;
	}
	for (size_t i = 0; i < hs_gguf_tensor_count(r->g); i++) {
		const struct hs_gguf_tensor *t = hs_gguf_tensor_at(r->g, i);
		if (!r->bound[i])
			return hs_fail(r->err, ENOTSUP, "model.unsupported",
				       HS_N_("the architecture has no place for this tensor"), "%.*s", (int)t->name.len,
				       t->name.s);
		w->n_params += t->dims[0] * t->dims[1] * t->dims[2];
	}
	if (!w->head && w->arch->causal && w->hyper.pool == HS_POOL_NONE)
		w->head = w->embd;
	return 0;
}

/* Rows [row, row + n) of a tensor, or for a vector its elements, as one of its own. */
static const struct hs_gguf_tensor *part(struct hs_weights *w, const struct hs_gguf_tensor *t, uint64_t row, uint64_t n)
{
	struct hs_gguf_tensor *p = &w->parts[w->n_parts++];
	bool vector = t->dims[1] == 1; /* however many dimensions the file gives it; matrices with parts have more rows */
	size_t bytes = (size_t)(vector ? 4 : hs_tensor_type_bytes(t->type, t->dims[0]));
	*p = *t;
	p->data = t->data + row * bytes;
	p->bytes = n * bytes;
	p->dims[vector ? 0 : 1] = n;
	p->dims[2] = 1;
	return p;
}

#define PARTS_A_LAYER 8

/* One matrix a place, as struct hs_layer promises. */
static void cut_layer(struct hs_weights *w, unsigned has, struct hs_layer *l)
{
	const struct hs_hyper *h = &w->hyper;
	uint64_t query = (uint64_t)h->n_heads * h->head_dim, kv = (uint64_t)h->n_kv_heads * h->head_dim;
	if (has & HS_F_FUSED_QKV) {
		const struct hs_gguf_tensor *all = l->q, *bias = l->qb;
		l->q = part(w, all, 0, query);
		l->k = part(w, all, query, kv);
		l->v = part(w, all, query + kv, kv);
		l->qb = bias ? part(w, bias, 0, query) : NULL;
		l->kb = bias ? part(w, bias, query, kv) : NULL;
		l->vb = bias ? part(w, bias, query + kv, kv) : NULL;
	}
	if (has & HS_F_FUSED_GATE) {
		const struct hs_gguf_tensor *both = l->gate;
		l->gate = part(w, both, 0, h->n_ff);
		l->up = part(w, both, h->n_ff, h->n_ff);
	}
	if (has & HS_F_EXPERTS) {
		l->gate = part(w, l->gate, 0, l->gate->dims[1] * h->n_experts);
		l->up = part(w, l->up, 0, l->up->dims[1] * h->n_experts);
		l->down = part(w, l->down, 0, l->down->dims[1] * h->n_experts);
	}
}

static int check_rope_freqs(const struct hs_weights *w, struct hs_err *err)
{
	for (uint32_t i = 0; w->rope_freqs && i < w->hyper.head_dim / 2; i++) {
		float v;
		memcpy(&v, w->rope_freqs->data + 4 * i, sizeof v);
		if (!(v > 0))
			return hs_model_bad(err, HS_N_("a frequency's divisor must be positive"), "rope_freqs.weight");
	}
	return 0;
}

static int read_layers(struct hs_reader *r, struct hs_weights *w)
{
	w->layers = calloc(w->hyper.n_layers, sizeof *w->layers);
	w->parts = calloc((size_t)w->hyper.n_layers * PARTS_A_LAYER, sizeof *w->parts);
	r->bound = calloc(hs_gguf_tensor_count(r->g), sizeof *r->bound);
	if (!w->layers || !w->parts || !r->bound)
		return hs_fail_errno(r->err, -ENOMEM, "model.load", "weights");
	int rc = hs_read_windows(r, &w->hyper, w->layers);
	if (rc < 0 || (rc = bind_all(r, w)) < 0)
		return rc;
	w->features = r->has | r->found;
	for (uint32_t l = 0; l < w->hyper.n_layers; l++)
		cut_layer(w, r->has, &w->layers[l]);
	return check_rope_freqs(w, r->err);
}

static int unknown_architecture(struct hs_gguf_str name, struct hs_err *err)
{
	return hs_fail(err, ENOTSUP, "model.unsupported",
		       HS_N_("the engine knows other architectures: see docs/models.md, or hisho model info"),
		       "general.architecture %.*s", (int)HS_MIN(name.len, (size_t)64), name.s);
}

int hs_weights_bind(const struct hs_gguf *g, struct hs_weights **ret, struct hs_err *err)
{
	struct hs_gguf_str name;
	if (!hs_gguf_get_str(g, "general.architecture", &name))
		return hs_model_bad(err, HS_N_("the field is missing"), "general.architecture");
	struct hs_reader r = {.g = g, .arch = hs_arch_find(name), .err = err};
	if (!r.arch)
		return unknown_architecture(name, err);
	struct hs_weights *w = calloc(1, sizeof *w);
	if (!w)
		return hs_fail_errno(err, -ENOMEM, "model.load", "weights");
	w->arch = r.arch;
	r.has = r.arch->has;
	r.may = r.arch->may;
	int rc = hs_read_hyper(&r, &w->hyper);
	if (rc == 0)
		rc = read_layers(&r, w);
	free(r.bound);
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
	free(w->parts);
	free(w);
}

/* The pair (of d / 2) that turns `turns` times within the original context: Peng et al. 2023, equation 17 onwards. */
static double pair_of_turns(const struct hs_turning *t, uint32_t d, double turns)
{
	return d * log(t->original / (turns * 2 * M_PI)) / (2 * log((double)t->base));
}

void hs_rope_frequencies(const struct hs_weights *w, enum hs_turns turns, double *out)
{
	const struct hs_turning *t = turns == HS_TURN_NEAR ? &w->hyper.near : &w->hyper.far;
	uint32_t d = w->hyper.head_dim;
	double low = 0, high = 0;
	if (t->yarn) {
		low = pair_of_turns(t, d, (double)t->beta_fast);
		high = pair_of_turns(t, d, (double)t->beta_slow);
		low = fmax(w->arch->whole_yarn ? low : floor(low), 0);
		high = fmin(w->arch->whole_yarn ? high : ceil(high), d - 1);
		high = fmax(high, low + 1e-3);
	}
	for (uint32_t i = 0; i < d / 2; i++) {
		float divisor = 1;
		if (w->rope_freqs)
			memcpy(&divisor, w->rope_freqs->data + 4 * i, sizeof divisor);
		double own = pow((double)t->base, -2.0 * i / d) / (double)divisor;
		double slow = t->yarn ? fmin(fmax((i - low) / (high - low), 0), 1) : 1;
		out[i] = own * (1 - slow) + own / (double)t->divisor * slow;
	}
}

void hs_tensor_row(const struct hs_gguf_tensor *t, uint64_t row, float *out)
{
	const struct hs_quant *q = hs_quant_find(t->type);
	hs_assert(q && row < t->dims[1]);
	q->dequantise(t->data + row * (t->dims[0] / q->block * q->block_bytes), out, (size_t)t->dims[0]);
}
