/*
 * The numbers of a GGUF file's "<architecture>.*" fields. Each is read with its bounds; one that asks for something that the
 * family's row has not is refused, because the pass would leave it out.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "inference/model/reader.h"

static const char *key_of(struct hs_reader *r, const char *suffix)
{
	(void)snprintf(r->key, sizeof r->key, "%s.%s", r->arch->name, suffix); /* both are our own words and short */
	return r->key;
}

static int read_count(struct hs_reader *r, const char *suffix, uint32_t max, bool required, uint32_t *ret)
{
	uint64_t v;
	if (!hs_gguf_get_u64(r->g, key_of(r, suffix), &v)) {
		if (!required && !hs_gguf_has(r->g, r->key))
			return 0;
		return hs_model_bad(r->err, HS_N_("the field is missing or not a number"), r->key);
	}
	if (v == 0 || v > max)
		return hs_model_bad(r->err, HS_N_("the number is zero or beyond what the engine takes"), r->key);
	*ret = (uint32_t)v;
	return 0;
}

static int read_real(struct hs_reader *r, const char *suffix, float low, float high, bool required, float *ret)
{
	float v;
	if (!hs_gguf_get_f32(r->g, key_of(r, suffix), &v)) {
		if (!required && !hs_gguf_has(r->g, r->key))
			return 0;
		return hs_model_bad(r->err, HS_N_("the field is missing or not a number"), r->key);
	}
	if (!(v >= low && v <= high)) /* NaN fails too */
		return hs_model_bad(r->err, HS_N_("the number is out of range"), r->key);
	*ret = v;
	return 0;
}

static bool str_is(struct hs_gguf_str s, const char *want)
{
	return s.len == strlen(want) && memcmp(s.s, want, s.len) == 0;
}

/* Fields that some families have and this one has not: absent, or a value that means nothing. */
static int refuse_other_features(struct hs_reader *r)
{
	static const struct {
		const char *suffix;
		unsigned feature;
		double nothing;
	} fields[] = {
	    {"attention.sliding_window", HS_F_WINDOWS, 0},
	    {"attention.scale", HS_F_ALWAYS, 0},
	    {"attn_logit_softcapping", HS_F_ATTN_CAP, 0},
	    {"final_logit_softcapping", HS_F_FINAL_CAP, 0},
	    {"router_logit_softcapping", HS_F_ALWAYS, 0},
	    {"logit_scale", HS_F_LOGIT_SCALE, 1},
	    {"embedding_scale", HS_F_ALWAYS, 1},
	    {"residual_scale", HS_F_ALWAYS, 1},
	    {"expert_count", HS_F_EXPERTS, 0},
	    {"expert_shared_count", HS_F_ALWAYS, 0},
	    {"expert_shared_feed_forward_length", HS_F_ALWAYS, 0},
	    {"expert_group_count", HS_F_ALWAYS, 1},
	    {"expert_weights_scale", HS_F_ALWAYS, 1},
	    {"leading_dense_block_count", HS_F_ALWAYS, 0},
	    {"interleave_moe_layer_step", HS_F_ALWAYS, 1},
	    {"nextn_predict_layers", HS_F_ALWAYS, 0},
	    {"rope.scaling.alpha", HS_F_ALWAYS, 0},
	    {"rope.scaling.yarn_log_multiplier", HS_F_ALWAYS, 0},
	    {"rope.scaling.yarn_attn_factor", HS_F_ALWAYS, 1},
	    {"rope.scaling.yarn_ext_factor", HS_F_ALWAYS, 1},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(fields); i++) {
		if (fields[i].feature && ((r->has | r->may) & fields[i].feature))
			continue;
		float real;
		uint64_t whole;
		const char *key = key_of(r, fields[i].suffix);
		if (!hs_gguf_has(r->g, key) ||
		    (hs_gguf_get_f32(r->g, key, &real) && (real == 0 || (double)real == fields[i].nothing)) ||
		    (hs_gguf_get_u64(r->g, key, &whole) && (whole == 0 || (double)whole == fields[i].nothing)))
			continue;
		return hs_model_unsupported(r->err, HS_N_("the engine knows no such feature in this architecture"), key);
	}
	static const char *const acts[] = {
	    [HS_ACT_SILU] = "silu", [HS_ACT_GELU] = "gelu", [HS_ACT_GELU_TANH] = "gelu_pytorch_tanh"};
	struct hs_gguf_str act;
	if (hs_gguf_get_str(r->g, key_of(r, "hidden_activation"), &act) &&
	    (r->arch->act >= HS_ARRAY_LEN(acts) || !str_is(act, acts[r->arch->act])))
		return hs_model_unsupported(r->err, HS_N_("the engine knows this architecture with another activation only"),
					    r->key);
	bool causal;
	if (hs_gguf_get_bool(r->g, key_of(r, "attention.causal"), &causal) && causal != r->arch->causal)
		return hs_model_unsupported(r->err, HS_N_("the engine knows this architecture with the other direction only"),
					    r->key);
	return 0;
}

static int read_scaling(struct hs_reader *r, struct hs_turning *t, uint32_t context)
{
	struct hs_gguf_str type = {.s = "linear", .len = 6}; /* what a bare factor means */
	bool named = hs_gguf_get_str(r->g, key_of(r, "rope.scaling.type"), &type);
	if (named && str_is(type, "none"))
		return 0;
	t->yarn = str_is(type, "yarn");
	if (!t->yarn && !str_is(type, "linear"))
		return hs_model_unsupported(r->err, HS_N_("only linear and yarn rope scaling are supported"), r->key);
	int rc = read_real(r, "rope.scaling.factor", 1e-3f, 1e6f, named, &t->divisor);
	if (rc < 0 || !t->yarn)
		return rc;
	t->original = context;
	t->beta_fast = 32;
	t->beta_slow = 1;
	float factor = 1;
	if (t->divisor < 1)
		return hs_model_bad(r->err, HS_N_("the number is out of range"), key_of(r, "rope.scaling.factor"));
	if ((rc = read_count(r, "rope.scaling.original_context_length", HS_CONTEXT_MAX, false, &t->original)) < 0 ||
	    (rc = read_real(r, "rope.scaling.yarn_beta_fast", 1e-3f, 1e6f, false, &t->beta_fast)) < 0 ||
	    (rc = read_real(r, "rope.scaling.yarn_beta_slow", 1e-3f, t->beta_fast, false, &t->beta_slow)) < 0 ||
	    (rc = read_real(r, "rope.scaling.attn_factor", 1e-3f, 1e3f, false, &factor)) < 0)
		return rc;
	t->gain = factor * (1 + 0.1f * logf(t->divisor));
	return 0;
}

static int read_rope(struct hs_reader *r, struct hs_hyper *h)
{
	h->far = h->near = (struct hs_turning){.base = 10000, .divisor = 1, .gain = 1};
	if (r->arch->rope == HS_ROPE_NONE)
		return 0;
	uint64_t dims;
	if (hs_gguf_get_u64(r->g, key_of(r, "rope.dimension_count"), &dims) && dims != h->head_dim)
		return hs_model_unsupported(r->err, HS_N_("rotation of a part of a head is not supported"), r->key);
	int rc = read_real(r, "rope.freq_base", 1.001f, 1e12f, false, &h->far.base);
	if (rc < 0 || (rc = read_scaling(r, &h->far, h->context)) < 0)
		return rc;
	if (r->arch->near_base > 0)
		h->near.base = r->arch->near_base;
	else
		h->near = h->far;
	return read_real(r, "rope.freq_base_swa", 1.001f, 1e12f, false, &h->near.base);
}

static int read_pool(struct hs_reader *r, struct hs_hyper *h)
{
	static const enum hs_pooling kinds[] = {HS_POOL_NONE, HS_POOL_MEAN, HS_POOL_FIRST, HS_POOL_LAST};
	const struct hs_gguf_tensor *labels = hs_gguf_find_tensor(r->g, "cls.output.weight");
	const char *key = key_of(r, labels ? "classifier.pooling_type" : "pooling_type");
	uint64_t pool = r->arch->causal ? 0 : labels ? 2 : 4;
	bool named = hs_gguf_get_u64(r->g, key, &pool);
	if (!named && !r->arch->causal && !(labels && r->has & HS_F_POST_NORM)) /* a bert scores by its first token */
		return hs_model_bad(r->err, HS_N_("the field is missing or not a number"), key);
	if (pool > 3 || (r->arch->causal && pool != 0 && pool != 3) || (!r->arch->causal && (pool == 0 || pool == 3)))
		return hs_model_unsupported(
		    r->err,
		    HS_N_("encoders pool by mean (1) or first token (2), generators not at all (0) or by the last token (3)"),
		    key);
	h->pool = kinds[pool];
	if (!labels)
		r->may &= ~(unsigned)HS_F_CLASSIFIER;
	if (!labels || !(r->may & HS_F_CLASSIFIER))
		return 0; /* a tensor without a place is refused by name */
	if (labels->dims[1] > HS_LABELS_MAX)
		return hs_model_bad(r->err, HS_N_("the classifier has more labels than the engine takes"), "cls.output.weight");
	h->n_labels = (uint32_t)labels->dims[1];
	return 0;
}

static int read_heads(struct hs_reader *r, struct hs_hyper *h)
{
	int rc = read_count(r, "attention.head_count", HS_HEADS_MAX, true, &h->n_heads);
	if (rc < 0)
		return rc;
	h->n_kv_heads = h->n_heads;
	if ((rc = read_count(r, "attention.head_count_kv", HS_HEADS_MAX, false, &h->n_kv_heads)) < 0)
		return rc;
	if (h->n_heads % h->n_kv_heads)
		return hs_model_bad(r->err, HS_N_("the query heads do not divide among the key heads"), r->key);
	h->head_dim = h->n_embd / h->n_heads;
	uint32_t value_dim = h->head_dim;
	if ((rc = read_count(r, "attention.key_length", HS_HEAD_DIM_MAX, false, &h->head_dim)) < 0 ||
	    (value_dim = h->head_dim, rc = read_count(r, "attention.value_length", HS_HEAD_DIM_MAX, false, &value_dim)) < 0)
		return rc;
	if (value_dim != h->head_dim)
		return hs_model_unsupported(r->err, HS_N_("values of another length than keys are not supported"), r->key);
	if (h->head_dim == 0 || h->head_dim > HS_HEAD_DIM_MAX || h->head_dim % 2)
		return hs_model_bad(r->err, HS_N_("a head's length must be even and from 2 to 512"),
				    key_of(r, "embedding_length"));
	h->attn_scale = 1 / sqrtf((float)(h->n_layers == r->arch->wide_layers ? h->n_embd / h->n_heads : h->head_dim));
	return 0;
}

/* Feed-forward: one part, or experts; r->has gets the one that it is. */
static int read_feed_forward(struct hs_reader *r, struct hs_hyper *h)
{
	uint64_t count = 0;
	bool must = r->has & HS_F_EXPERTS,
	     may = (r->may & HS_F_EXPERTS) && hs_gguf_get_u64(r->g, key_of(r, "expert_count"), &count) && count;
	int rc = read_count(r, "feed_forward_length", HS_FF_MAX, !must, &h->n_ff);
	r->may &= ~(unsigned)HS_F_EXPERTS;
	if (rc < 0 || (!must && !may))
		return rc;
	r->has = (r->has & ~(unsigned)(HS_F_DENSE | HS_F_GATED)) | HS_F_EXPERTS;
	uint64_t gating = 0;
	bool norm = true;
	if (hs_gguf_get_u64(r->g, key_of(r, "expert_gating_func"), &gating) && gating != 0 && gating != 1 && gating != 3)
		return hs_model_unsupported(r->err, HS_N_("experts are weighed by a softmax only"), r->key);
	if (hs_gguf_get_bool(r->g, key_of(r, "expert_weights_norm"), &norm) && !norm)
		return hs_model_unsupported(r->err, HS_N_("experts' weights must sum to one"), r->key);
	if ((rc = read_count(r, "expert_count", HS_EXPERTS_MAX, true, &h->n_experts)) < 0 ||
	    (rc = read_count(r, "expert_used_count", HS_MIN(h->n_experts, (uint32_t)HS_EXPERTS_USED_MAX), true,
			     &h->n_experts_used)) < 0 ||
	    (rc = read_count(r, "expert_feed_forward_length", HS_FF_MAX, must, &h->n_ff)) < 0)
		return rc;
	if (h->n_ff % 16)
		return hs_model_unsupported(r->err, HS_N_("an expert's length must be a multiple of 16"), r->key);
	if (h->n_embd % 16)
		return hs_model_unsupported(r->err, HS_N_("with experts it must be a multiple of 16"),
					    key_of(r, "embedding_length"));
	return 0;
}

static int read_factors(struct hs_reader *r, struct hs_hyper *h)
{
	int rc;
	h->embd_scale = r->has & HS_F_SCALED_EMBD ? sqrtf((float)h->n_embd) : 1;
	h->logit_scale = 1;
	if ((rc = read_real(r, r->arch->eps_key, 0, 1, true, &h->eps)) < 0)
		return rc;
	if (r->has & HS_F_LOGIT_SCALE && (rc = read_real(r, "logit_scale", 1e-6f, 1e6f, true, &h->logit_scale)) < 0)
		return rc;
	if (r->has & HS_F_ATTN_CAP && (rc = read_real(r, "attn_logit_softcapping", 1e-3f, 1e6f, true, &h->attn_cap)) < 0)
		return rc;
	if ((r->has | r->may) & HS_F_FINAL_CAP)
		return read_real(r, "final_logit_softcapping", 1e-3f, 1e6f, r->has & HS_F_FINAL_CAP, &h->final_cap);
	return 0;
}

int hs_read_hyper(struct hs_reader *r, struct hs_hyper *h)
{
	int rc;
	if ((rc = refuse_other_features(r)) < 0 || (rc = read_count(r, "block_count", HS_LAYERS_MAX, true, &h->n_layers)) < 0 ||
	    (rc = read_count(r, "embedding_length", HS_EMBD_MAX, true, &h->n_embd)) < 0 ||
	    (rc = read_count(r, "context_length", HS_CONTEXT_MAX, true, &h->context)) < 0 || (rc = read_heads(r, h)) < 0 ||
	    (rc = read_feed_forward(r, h)) < 0 || (rc = read_factors(r, h)) < 0 || (rc = read_rope(r, h)) < 0)
		return rc;
	const struct hs_gguf_tensor *embd = hs_gguf_find_tensor(r->g, "token_embd.weight");
	if (!embd)
		return hs_model_bad(r->err, HS_N_("the tensor is missing"), "token_embd.weight");
	if (embd->dims[1] > HS_VOCAB_MAX)
		return hs_model_bad(r->err, HS_N_("the vocabulary is beyond what the engine takes"), "token_embd.weight");
	h->n_vocab = (uint32_t)embd->dims[1];
	return read_pool(r, h);
}

/* A file that names each layer: near (n_layers), 1 where it has a window. */
static int read_pattern(struct hs_reader *r, uint32_t n_layers, bool *near)
{
	size_t len = 0;
	uint32_t period = r->arch->period;
	bool array = hs_gguf_get_array_len(r->g, key_of(r, "attention.sliding_window_pattern"), &len);
	if (array && (len != n_layers || !hs_gguf_get_bool_array(r->g, r->key, near, n_layers)))
		return hs_model_bad(r->err, HS_N_("the list must say true or false for each layer"), r->key);
	if (array)
		return 0;
	int rc = read_count(r, "attention.sliding_window_pattern", HS_LAYERS_MAX, false, &period);
	if (rc < 0)
		return rc;
	uint32_t far = r->arch->far_first ? 0 : period - 1;
	for (uint32_t i = 0; i < n_layers; i++)
		near[i] = i % period != far;
	return 0;
}

int hs_read_windows(struct hs_reader *r, const struct hs_hyper *h, struct hs_layer *layers)
{
	uint32_t window = r->arch->window;
	if (!(r->has & HS_F_WINDOWS))
		return 0;
	/* A gemma3 file without the field has no windows; the other families' must have it. */
	uint64_t given = 1;
	bool none = r->arch->near_base > 0 && (!hs_gguf_has(r->g, key_of(r, "attention.sliding_window")) ||
					       (hs_gguf_get_u64(r->g, r->key, &given) && given == 0));
	if (none)
		return 0;
	int rc = read_count(r, "attention.sliding_window", HS_CONTEXT_MAX, window == 0, &window);
	bool *near = rc < 0 ? NULL : calloc(h->n_layers, sizeof *near);
	if (rc == 0)
		rc = near ? read_pattern(r, h->n_layers, near) : hs_fail_errno(r->err, -ENOMEM, "model.load", "weights");
	for (uint32_t i = 0; i < h->n_layers && rc == 0; i++) {
		layers[i].window = near[i] ? window : 0;
		layers[i].turns = near[i] ? HS_TURN_NEAR : r->has & HS_F_ROPE_NEAR ? HS_TURN_NOT : HS_TURN_FAR;
	}
	free(near);
	return rc;
}
