#include "inference/import/encoder.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/wire.h"
#include "inference/import/safetensors.h"
#include "inference/import/vocabulary.h"
#include "inference/model/weights.h"
#include "inference/quant/half.h"
#include "inference/quant/quant.h"

struct family {
	const char *model_type, *arch, *prefix; /* prefix: before the names, where the model is a part of another */
	bool xlm_roberta;                       /* the first positions are no text's */
};

static const struct family families[] = {
    {"bert", "bert", "bert.", false},
    {"xlm-roberta", "bert", "roberta.", true},
    {"modernbert", "modern-bert", "model.", false},
};

struct source {
	const struct family *family;
	const struct hs_encoder_options *options;
	json_t *config;
	struct hs_safetensors tensors;
	struct hs_arena *memory;
	struct hs_gguf_writer *w;
	bool classifier, prefixed;
	int64_t hidden, layers, heads, ff, vocab, positions, types, labels, skipped; /* skipped: rows of positions */
};

struct tensor_name {
	const char *from, *to;                                                                 /* of a layer: behind its number */
	enum { ONE_EMBD, ONE_FF, EMBD_EMBD, EMBD_FF, FF_EMBD, EMBD_QKV, EMBD_FF_TWICE } shape; /* columns, rows */
	bool optional;                                                                         /* in layer 0 */
};

static const struct tensor_name bert_layer[] = {
    {"attention.self.query.weight", "attn_q.weight", EMBD_EMBD},
    {"attention.self.query.bias", "attn_q.bias", ONE_EMBD},
    {"attention.self.key.weight", "attn_k.weight", EMBD_EMBD},
    {"attention.self.key.bias", "attn_k.bias", ONE_EMBD},
    {"attention.self.value.weight", "attn_v.weight", EMBD_EMBD},
    {"attention.self.value.bias", "attn_v.bias", ONE_EMBD},
    {"attention.output.dense.weight", "attn_output.weight", EMBD_EMBD},
    {"attention.output.dense.bias", "attn_output.bias", ONE_EMBD},
    {"attention.output.LayerNorm.weight", "attn_output_norm.weight", ONE_EMBD},
    {"attention.output.LayerNorm.bias", "attn_output_norm.bias", ONE_EMBD},
    {"intermediate.dense.weight", "ffn_up.weight", EMBD_FF},
    {"intermediate.dense.bias", "ffn_up.bias", ONE_FF},
    {"output.dense.weight", "ffn_down.weight", FF_EMBD},
    {"output.dense.bias", "ffn_down.bias", ONE_EMBD},
    {"output.LayerNorm.weight", "layer_output_norm.weight", ONE_EMBD},
    {"output.LayerNorm.bias", "layer_output_norm.bias", ONE_EMBD},
};

static const struct tensor_name modern_layer[] = {
    {"attn_norm.weight", "attn_norm.weight", ONE_EMBD, .optional = true},
    {"attn.Wqkv.weight", "attn_qkv.weight", EMBD_QKV},
    {"attn.Wo.weight", "attn_output.weight", EMBD_EMBD},
    {"mlp_norm.weight", "ffn_norm.weight", ONE_EMBD},
    {"mlp.Wi.weight", "ffn_up.weight", EMBD_FF_TWICE},
    {"mlp.Wo.weight", "ffn_down.weight", FF_EMBD},
};

static bool is_bert(const struct source *s)
{
	return strcmp(s->family->arch, "bert") == 0;
}

/* Q8_0 as ggml rounds it: the largest magnitude becomes 127. */
static void write_q8_0(const float *x, size_t n, uint8_t *out)
{
	for (; n; n -= HS_BLOCK, x += HS_BLOCK, out += HS_Q8_0_BYTES) {
		float most = 0;
		for (size_t i = 0; i < HS_BLOCK; i++)
			most = fmaxf(most, fabsf(x[i]));
		float d = most / 127, inverse = d > 0 ? 1 / d : 0;
		hs_le16_store(out, hs_half_from_float(d));
		for (size_t i = 0; i < HS_BLOCK; i++)
			out[2 + i] = (uint8_t)(int8_t)lrintf(x[i] * inverse);
	}
}

static void write_row(const float *x, size_t n, enum hs_tensor_type type, uint8_t *out)
{
	if (type == HS_Q8_0)
		write_q8_0(x, n, out);
	for (size_t i = 0; type == HS_F16 && i < n; i++)
		hs_le16_store(out + 2 * i, hs_half_from_float(x[i]));
	for (size_t i = 0; type == HS_F32 && i < n; i++)
		hs_le32_store(out + 4 * i, hs_float_bits(x[i]));
}

/* What a number must be within: a half keeps it, and the scale of a block of it. */
static bool all_fit(const float *x, size_t n, enum hs_tensor_type type)
{
	float most = type == HS_F32 ? 3e38f : 65504;
	for (size_t i = 0; i < n; i++)
		if (!(fabsf(x[i]) <= most)) /* NaN fails too */
			return false;
	return true;
}

/* The tensor as (rows, columns), from row `skip` on. Vectors (1 row) are F32. */
static int put_tensor(struct source *s, const char *from, const char *to, uint64_t columns, uint64_t rows, uint64_t skip,
		      struct hs_err *err)
{
	struct hs_safetensor *t = hs_safetensors_find(&s->tensors, from);
	bool vector = rows == 1 && t && t->n_dims == 1;
	if (!t)
		return hs_import_bad(err, HS_N_("the tensor is missing"), "%s", from);
	if (t->kind == HS_ST_OTHER)
		return hs_import_unsupported(err, HS_N_("the weights are not F32, F16 or BF16"), "%s", from);
	if (vector ? t->dims[0] != columns : t->n_dims != 2 || t->dims[1] != columns || t->dims[0] != rows + skip)
		return hs_import_bad(err, HS_N_("the tensor's shape does not follow from config.json"), "%s", from);
	t->used = true;
	enum hs_tensor_type type = vector                                              ? HS_F32
				   : s->options->type == HS_Q8_0 && columns % HS_BLOCK ? HS_F16
										       : s->options->type;
	size_t row_bytes = hs_tensor_type_bytes(type, columns);
	float *row = calloc(columns, sizeof *row);
	uint8_t *out = hs_arena_calloc(s->memory, (size_t)rows, row_bytes);
	if (!row || !out) {
		free(row);
		return hs_fail_errno(err, -ENOMEM, "import.read", from);
	}
	bool fit = true;
	for (uint64_t i = 0; i < rows && fit; i++) {
		hs_safetensor_floats(t, (skip + i) * columns, (size_t)columns, row);
		fit = all_fit(row, (size_t)columns, type);
		if (fit)
			write_row(row, (size_t)columns, type, out + i * row_bytes);
	}
	free(row);
	if (!fit)
		return hs_import_bad(err, HS_N_("a weight is no finite number, or too large for the type: try --type f32"), "%s",
				     from);
	const uint64_t dims[2] = {columns, rows};
	hs_gguf_put_tensor(s->w, to, type, vector ? 1 : 2, dims, out);
	return 0;
}

/* The same for a name of the model itself, which in a classifier's file stands behind the family's prefix. */
static int put(struct source *s, const char *from, const char *to, uint64_t columns, uint64_t rows, uint64_t skip,
	       struct hs_err *err)
{
	char name[160];
	(void)snprintf(name, sizeof name, "%s%s", s->prefixed ? s->family->prefix : "", from); /* our own words */
	return put_tensor(s, name, to, columns, rows, skip, err);
}

static int put_layer(struct source *s, int64_t l, const struct tensor_name *names, size_t n, struct hs_err *err)
{
	uint64_t embd = (uint64_t)s->hidden, ff = (uint64_t)s->ff;
	const uint64_t shapes[][2] = {
	    [ONE_EMBD] = {embd, 1},           [ONE_FF] = {ff, 1},     [EMBD_EMBD] = {embd, embd},
	    [EMBD_FF] = {embd, ff},           [FF_EMBD] = {ff, embd}, [EMBD_QKV] = {embd, 3 * embd},
	    [EMBD_FF_TWICE] = {embd, 2 * ff},
	};
	int rc = 0;
	for (size_t i = 0; i < n && rc == 0; i++) {
		char from[128], to[64], whole[160];
		(void)snprintf(from, sizeof from, is_bert(s) ? "encoder.layer.%lld.%s" : "layers.%lld.%s", (long long)l,
			       names[i].from); /* our own words */
		(void)snprintf(to, sizeof to, "blk.%lld.%s", (long long)l, names[i].to);
		(void)snprintf(whole, sizeof whole, "%s%s", s->prefixed ? s->family->prefix : "", from);
		if (names[i].optional && l == 0 && !hs_safetensors_find(&s->tensors, whole))
			continue;
		rc = put_tensor(s, whole, to, shapes[names[i].shape][0], shapes[names[i].shape][1], 0, err);
	}
	return rc;
}

/* Tensors that an encoder of texts does not use: what it was trained with, and tables that follow from the shape. */
static bool is_idle(const struct source *s, const char *name)
{
	static const char *const begins[] = {"cls.predictions.", "lm_head.", "decoder."};
	static const char *const parts[] = {"embeddings.position_ids", "embeddings.token_type_ids"};
	static const char *const embedder_only[] = {"pooler.dense.", "head.dense.", "head.norm."};
	size_t n = strlen(s->family->prefix);
	for (size_t i = 0; i < HS_ARRAY_LEN(begins); i++)
		if (strncmp(name, begins[i], strlen(begins[i])) == 0)
			return true;
	if (s->prefixed && strncmp(name, s->family->prefix, n) == 0)
		name += n;
	for (size_t i = 0; i < HS_ARRAY_LEN(parts); i++)
		if (strcmp(name, parts[i]) == 0)
			return true;
	for (size_t i = 0; !s->classifier && i < HS_ARRAY_LEN(embedder_only); i++)
		if (strncmp(name, embedder_only[i], strlen(embedder_only[i])) == 0)
			return true;
	return false;
}

static int put_classifier(struct source *s, struct hs_err *err)
{
	uint64_t embd = (uint64_t)s->hidden, labels = (uint64_t)s->labels;
	bool modern = !is_bert(s), pooler = is_bert(s) && !s->family->xlm_roberta;
	const char *dense = modern ? "head.dense.weight" : pooler ? "bert.pooler.dense.weight" : "classifier.dense.weight";
	const char *bias = modern ? "head.dense.bias" : pooler ? "bert.pooler.dense.bias" : "classifier.dense.bias";
	const char *out = modern || pooler ? "classifier.weight" : "classifier.out_proj.weight";
	const char *out_bias = modern || pooler ? "classifier.bias" : "classifier.out_proj.bias";
	int rc = put_tensor(s, dense, "cls.weight", embd, embd, 0, err);
	if (rc == 0 && (!modern || hs_safetensors_find(&s->tensors, bias)))
		rc = put_tensor(s, bias, "cls.bias", embd, 1, 0, err);
	if (rc == 0 && modern)
		rc = put_tensor(s, "head.norm.weight", "cls.norm.weight", embd, 1, 0, err);
	if (rc == 0)
		rc = put_tensor(s, out, "cls.output.weight", embd, labels, 0, err);
	return rc < 0 ? rc : put_tensor(s, out_bias, "cls.output.bias", labels, 1, 0, err);
}

static int put_tensors(struct source *s, struct hs_err *err)
{
	uint64_t embd = (uint64_t)s->hidden, vocab = (uint64_t)s->vocab;
	bool modern = !is_bert(s);
	int rc = put(s, modern ? "embeddings.tok_embeddings.weight" : "embeddings.word_embeddings.weight", "token_embd.weight",
		     embd, vocab, 0, err);
	if (rc == 0)
		rc = put(s, modern ? "embeddings.norm.weight" : "embeddings.LayerNorm.weight", "token_embd_norm.weight", embd, 1,
			 0, err);
	if (rc == 0 && modern)
		rc = put(s, "final_norm.weight", "output_norm.weight", embd, 1, 0, err);
	if (rc == 0 && !modern)
		rc = put(s, "embeddings.LayerNorm.bias", "token_embd_norm.bias", embd, 1, 0, err);
	if (rc == 0 && !modern)
		rc = put(s, "embeddings.position_embeddings.weight", "position_embd.weight", embd,
			 (uint64_t)(s->positions - s->skipped), (uint64_t)s->skipped, err);
	if (rc == 0 && !modern)
		rc = put(s, "embeddings.token_type_embeddings.weight", "token_types.weight", embd, (uint64_t)s->types, 0, err);
	for (int64_t l = 0; l < s->layers && rc == 0; l++)
		rc = modern ? put_layer(s, l, modern_layer, HS_ARRAY_LEN(modern_layer), err)
			    : put_layer(s, l, bert_layer, HS_ARRAY_LEN(bert_layer), err);
	if (rc == 0 && s->classifier)
		rc = put_classifier(s, err);
	for (size_t i = 0; i < s->tensors.n && rc == 0; i++)
		if (!s->tensors.tensors[i].used && !is_idle(s, s->tensors.tensors[i].name))
			rc = hs_import_unsupported(err, HS_N_("the architecture has no place for this tensor"), "%s",
						   s->tensors.tensors[i].name);
	return rc;
}

/* Settings of config.json that the engine knows with one value only. */
static int refuse_others(const struct source *s, struct hs_err *err)
{
	static const struct {
		const char *key, *only;
	} texts[] = {{"hidden_act", "gelu"},
		     {"hidden_activation", "gelu"},
		     {"classifier_activation", "gelu"},
		     {"position_embedding_type", "absolute"}};
	static const char *const flags[] = {"attention_bias", "mlp_bias", "norm_bias", "is_decoder", "add_cross_attention"};
	for (size_t i = 0; i < HS_ARRAY_LEN(texts); i++) {
		bool rope = !is_bert(s) && strcmp(texts[i].key, "position_embedding_type") == 0; /* says nothing there */
		if (hs_import_text(s->config, texts[i].key) && !hs_import_is(s->config, texts[i].key, texts[i].only) && !rope)
			return hs_import_unsupported(err, HS_N_("the engine knows this architecture with another value only"),
						     "%s", texts[i].key);
	}
	for (size_t i = 0; i < HS_ARRAY_LEN(flags); i++)
		if (json_is_true(json_object_get(s->config, flags[i])))
			return hs_import_unsupported(err, HS_N_("the engine knows this architecture with another value only"),
						     "%s", flags[i]);
	return 0;
}

/* {"full_attention": {"rope_theta": ...}} of newer files, or a number of its own in older ones. */
static int put_theta(const struct source *s, const char *old_key, const char *kind, double otherwise, const char *key,
		     struct hs_err *err)
{
	const json_t *rope = json_object_get(json_object_get(s->config, "rope_parameters"), kind);
	double theta = otherwise;
	int rc = hs_import_real(s->config, old_key, 1.001, 1e12, false, &theta, err);
	if (rc == 0 && rope) {
		if (hs_import_text(rope, "rope_type") && !hs_import_is(rope, "rope_type", "default"))
			return hs_import_unsupported(err, HS_N_("rotations that are scaled are not known here"), "%s",
						     "rope_type");
		rc = hs_import_real(rope, "rope_theta", 1.001, 1e12, true, &theta, err);
	}
	if (rc == 0)
		hs_gguf_put_f32(s->w, key, (float)theta);
	return rc;
}

static int put_windows(const struct source *s, struct hs_err *err)
{
	int64_t window = 128, period = 3;
	const json_t *kinds = json_object_get(s->config, "layer_types");
	int rc = hs_import_whole(s->config, "local_attention", 1, HS_CONTEXT_MAX, false, &window, err);
	if (rc == 0)
		rc = hs_import_whole(s->config, "global_attn_every_n_layers", 1, HS_LAYERS_MAX, false, &period, err);
	for (size_t i = 0; rc == 0 && i < json_array_size(kinds); i++) {
		const char *kind = json_string_value(json_array_get(kinds, i));
		if (!kind || strcmp(kind, (int64_t)i % period ? "sliding_attention" : "full_attention") != 0)
			rc = hs_import_unsupported(err,
						   HS_N_("the first of each group of layers sees everything, the others windows"),
						   "layer_types, %zu", i);
	}
	if (rc < 0)
		return rc;
	hs_gguf_put_u32(s->w, "modern-bert.attention.sliding_window", (uint32_t)window);
	hs_gguf_put_u32(s->w, "modern-bert.attention.sliding_window_pattern", (uint32_t)period);
	rc = put_theta(s, "global_rope_theta", "full_attention", 160000, "modern-bert.rope.freq_base", err);
	return rc < 0 ? rc : put_theta(s, "local_rope_theta", "sliding_attention", 10000, "modern-bert.rope.freq_base_swa", err);
}

static int read_pool(const struct source *s, const struct hs_encoder_files *files, uint32_t *ret, struct hs_err *err)
{
	static const char *const others[] = {"pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens",
					     "pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken"};
	json_t *pooling = NULL;
	bool mean = false, first = false, other = false;
	if (s->classifier) {
		const char *own = is_bert(s) ? "cls" : hs_import_text(s->config, "classifier_pooling");
		*ret = own && strcmp(own, "mean") == 0 ? 1 : 2;
		return own && strcmp(own, "cls") != 0 && *ret == 2
			   ? hs_import_unsupported(err, HS_N_("a classifier reads the mean or the first token"), "%s",
						   "classifier_pooling")
			   : 0;
	}
	if (!files->pooling.data) {
		*ret = s->options->pool == HS_IMPORT_POOL_FIRST ? 2 : 1;
		return s->options->pool ? 0
					: hs_import_bad(err, HS_N_("no file says how tokens become one vector: give --pooling"),
							"%s", "1_Pooling/config.json");
	}
	int rc = hs_import_json(&files->pooling, HS_ENCODER_CONFIG_MAX, "1_Pooling/config.json", &pooling, err);
	if (rc == 0)
		rc = hs_import_flag(pooling, "pooling_mode_mean_tokens", &mean, err);
	if (rc == 0)
		rc = hs_import_flag(pooling, "pooling_mode_cls_token", &first, err);
	for (size_t i = 0; i < HS_ARRAY_LEN(others) && rc == 0; i++)
		rc = hs_import_flag(pooling, others[i], &other, err);
	json_decref(pooling);
	if (rc == 0 && (mean == first || other))
		rc = hs_import_unsupported(err, HS_N_("embedders take the mean of the tokens or the first one"), "%s",
					   "1_Pooling/config.json");
	*ret = mean ? 1 : 2;
	return rc;
}

/* modules.json: what an embedder consists of, in order. */
static int check_modules(const struct hs_encoder_files *files, struct hs_err *err)
{
	static const char *const known[] = {"Transformer", "Pooling", "Normalize"};
	json_error_t at;
	if (!files->modules.data)
		return 0;
	json_t *list = files->modules.len <= HS_ENCODER_CONFIG_MAX
			   ? json_loadb(files->modules.data, files->modules.len, JSON_REJECT_DUPLICATES, &at)
			   : NULL;
	int rc = json_is_array(list) ? 0 : hs_import_bad(err, HS_N_("this is not a JSON list"), "%s", "modules.json");
	for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
		const char *type = hs_import_text(json_array_get(list, i), "type"), *dot = type ? strrchr(type, '.') : NULL;
		bool fine = false;
		for (size_t k = 0; k < HS_ARRAY_LEN(known); k++)
			fine |= dot && strcmp(dot + 1, known[k]) == 0;
		if (!fine)
			rc = hs_import_unsupported(err, HS_N_("the embedder has a part that the engine has not"),
						   "modules.json, %s", type ? type : "?");
	}
	json_decref(list);
	return rc;
}

static int put_parameters(const struct source *s, const struct hs_encoder_files *files, struct hs_err *err)
{
	const char *arch = s->family->arch;
	const struct {
		const char *suffix;
		int64_t value;
	} counts[] = {{"block_count", s->layers},
		      {"context_length", s->positions - s->skipped},
		      {"embedding_length", s->hidden},
		      {"feed_forward_length", s->ff},
		      {"attention.head_count", s->heads}};
	char key[80];
	double eps = is_bert(s) ? 1e-12 : 1e-5;
	uint32_t pool = 1;
	int rc = hs_import_real(s->config, is_bert(s) ? "layer_norm_eps" : "norm_eps", 1e-30, 0.1, false, &eps, err);
	if (rc == 0)
		rc = read_pool(s, files, &pool, err);
	if (rc < 0)
		return rc;
	hs_gguf_put_str(s->w, "general.architecture", arch);
	if (s->options->name)
		hs_gguf_put_str(s->w, "general.name", s->options->name);
	for (size_t i = 0; i < HS_ARRAY_LEN(counts); i++) {
		(void)snprintf(key, sizeof key, "%s.%s", arch, counts[i].suffix); /* our own words */
		hs_gguf_put_u32(s->w, key, (uint32_t)counts[i].value);
	}
	(void)snprintf(key, sizeof key, "%s.attention.layer_norm_epsilon", arch);
	hs_gguf_put_f32(s->w, key, (float)eps);
	(void)snprintf(key, sizeof key, "%s.attention.causal", arch);
	hs_gguf_put_bool(s->w, key, false);
	(void)snprintf(key, sizeof key, s->classifier ? "%s.classifier.pooling_type" : "%s.pooling_type", arch);
	hs_gguf_put_u32(s->w, key, pool);
	const char *const prefixes[] = {s->options->query_prefix, s->options->passage_prefix};
	for (size_t i = 0; i < HS_ARRAY_LEN(prefixes); i++)
		if (prefixes[i] && strlen(prefixes[i]) > HS_EMBED_PREFIX_MAX)
			return hs_import_bad(err, HS_N_("a prefix has 31 bytes at most"), "%.64s", prefixes[i]);
	if (!s->classifier && s->options->query_prefix)
		hs_gguf_put_str(s->w, "hisho.embed.query_prefix", s->options->query_prefix);
	if (!s->classifier && s->options->passage_prefix)
		hs_gguf_put_str(s->w, "hisho.embed.passage_prefix", s->options->passage_prefix);
	return is_bert(s) ? 0 : put_windows(s, err);
}

static int read_config(struct source *s, struct hs_err *err)
{
	const char *model_type = hs_import_text(s->config, "model_type");
	for (size_t i = 0; model_type && i < HS_ARRAY_LEN(families); i++)
		if (strcmp(model_type, families[i].model_type) == 0)
			s->family = &families[i];
	if (!s->family)
		return hs_import_unsupported(err, HS_N_("encoders of bert, xlm-roberta and modernbert can be imported"),
					     "config.json, model_type %s", model_type ? model_type : "?");
	const json_t *names = json_object_get(s->config, "architectures");
	const char *architecture = json_string_value(json_array_get(names, 0));
	size_t n = architecture ? strlen(architecture) : 0;
	static const char tail[] = "ForSequenceClassification";
	s->classifier = n >= sizeof tail - 1 && strcmp(architecture + n - (sizeof tail - 1), tail) == 0;
	int64_t pad = 1;
	int rc;
	if ((rc = refuse_others(s, err)) < 0 ||
	    (rc = hs_import_whole(s->config, "hidden_size", 2, HS_EMBD_MAX, true, &s->hidden, err)) < 0 ||
	    (rc = hs_import_whole(s->config, "num_hidden_layers", 1, HS_LAYERS_MAX, true, &s->layers, err)) < 0 ||
	    (rc = hs_import_whole(s->config, "num_attention_heads", 1, HS_HEADS_MAX, true, &s->heads, err)) < 0 ||
	    (rc = hs_import_whole(s->config, "intermediate_size", 1, HS_FF_MAX, true, &s->ff, err)) < 0 ||
	    (rc = hs_import_whole(s->config, "vocab_size", 1, HS_VOCAB_TOKENS_MAX, true, &s->vocab, err)) < 0 ||
	    (rc = hs_import_whole(s->config, "max_position_embeddings", 1, HS_CONTEXT_MAX, true, &s->positions, err)) < 0)
		return rc;
	s->types = is_bert(s) ? 2 : 0;
	if (is_bert(s) && (rc = hs_import_whole(s->config, "type_vocab_size", 1, 16, false, &s->types, err)) < 0)
		return rc;
	if (s->family->xlm_roberta) {
		if ((rc = hs_import_whole(s->config, "pad_token_id", 0, 1024, false, &pad, err)) < 0)
			return rc;
		s->skipped = pad + 1;
	}
	if (s->positions <= s->skipped)
		return hs_import_bad(err, HS_N_("the number is out of range"), "%s", "max_position_embeddings");
	return 0;
}

/* Labels are what the last matrix has rows of. */
static int read_labels(struct source *s, struct hs_err *err)
{
	const char *name = s->family->xlm_roberta ? "classifier.out_proj.weight" : "classifier.weight";
	const struct hs_safetensor *t = s->classifier ? hs_safetensors_find(&s->tensors, name) : NULL;
	char with[96];
	(void)snprintf(with, sizeof with, "%s%s", s->family->prefix,
		       is_bert(s) ? "embeddings.word_embeddings.weight" : "embeddings.tok_embeddings.weight"); /* our own words */
	s->prefixed = hs_safetensors_find(&s->tensors, with) != NULL;
	if (!s->classifier)
		return 0;
	if (!t || t->dims[0] > HS_LABELS_MAX)
		return hs_import_bad(err, HS_N_("the tensor is missing, or has more than 64 labels"), "%s", name);
	s->labels = (int64_t)t->dims[0];
	return 0;
}

static int put_vocabulary(const struct source *s, const struct hs_encoder_files *files, struct hs_vocabulary *v,
			  struct hs_err *err)
{
	int rc = files->tokenizer.data ? hs_vocabulary_read_json(v, &files->tokenizer, err)
		 : files->sentencepiece.data
		     ? hs_vocabulary_read_sentencepiece(v, &files->sentencepiece, s->family->xlm_roberta, err)
		     : hs_import_bad(err, HS_N_("the folder has no tokenizer.json and no SentencePiece model"), "%s",
				     "tokenizer.json");
	if (rc < 0)
		return rc;
	if (v->n > (uint64_t)s->vocab)
		return hs_import_bad(err, HS_N_("the tokeniser has more tokens than the embedding has rows"), "%s", "vocab_size");
	if (s->classifier && v->second_type && s->types > 1)
		return hs_import_unsupported(err, HS_N_("a reranker that tells its two texts apart by token types"), "%s",
					     "type_vocab_size");
	return hs_vocabulary_put(v, s->classifier, s->w, err);
}

int hs_encoder_convert(const struct hs_encoder_files *files, const struct hs_encoder_options *o, struct hs_arena *memory,
		       struct hs_gguf_writer *w, struct hs_err *err)
{
	struct source s = {.options = o, .memory = memory, .w = w};
	struct hs_vocabulary v = {0};
	int rc = hs_import_json(&files->config, HS_ENCODER_CONFIG_MAX, "config.json", &s.config, err);
	if (rc == 0)
		rc = read_config(&s, err);
	if (rc == 0)
		rc = hs_safetensors_open(&files->tensors, &s.tensors, err);
	if (rc == 0)
		rc = read_labels(&s, err);
	if (rc == 0 && !s.classifier)
		rc = check_modules(files, err);
	if (rc == 0)
		rc = put_parameters(&s, files, err);
	if (rc == 0)
		rc = hs_vocabulary_init(&v, err);
	if (rc == 0)
		rc = put_vocabulary(&s, files, &v, err);
	if (rc == 0)
		rc = put_tensors(&s, err);
	hs_vocabulary_finish(&v);
	hs_safetensors_close(&s.tensors);
	json_decref(s.config);
	return rc;
}

/* A file of the folder, mapped; absent: data stays NULL where it may be. */
static int map_file(int dir, const char *name, size_t max, bool required, struct hs_import_bytes *ret, struct hs_err *err)
{
	struct stat st;
	HS_FD_AUTO fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && !required)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return hs_fail_errno(err, -errno, "model.import", name);
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (uint64_t)st.st_size > max)
		return hs_import_bad(err, HS_N_("not a file, empty, or larger than such files are"), "%s", name);
	void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return hs_fail_errno(err, -errno, "model.import", name);
	*ret = (struct hs_import_bytes){data, (size_t)st.st_size};
	return 0;
}

static void unmap(struct hs_import_bytes *b)
{
	if (b->data)
		(void)munmap((void *)(uintptr_t)b->data, b->len); /* ours and whole */
}

static int map_folder(const char *folder, struct hs_encoder_files *f, struct hs_err *err)
{
	HS_FD_AUTO dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return hs_fail_errno(err, -errno, "model.import", folder);
	int rc = map_file(dir, "config.json", HS_ENCODER_CONFIG_MAX, true, &f->config, err);
	if (rc == 0)
		rc = map_file(dir, "model.safetensors", HS_ENCODER_FILE_MAX, true, &f->tensors, err);
	if (rc == 0)
		rc = map_file(dir, "tokenizer.json", HS_TOKENIZER_FILE_MAX, false, &f->tokenizer, err);
	if (rc == 0)
		rc = map_file(dir, "tokenizer.model", HS_TOKENIZER_FILE_MAX, false, &f->sentencepiece, err);
	if (rc == 0 && !f->sentencepiece.data)
		rc = map_file(dir, "sentencepiece.bpe.model", HS_TOKENIZER_FILE_MAX, false, &f->sentencepiece, err);
	if (rc == 0)
		rc = map_file(dir, "modules.json", HS_ENCODER_CONFIG_MAX, false, &f->modules, err);
	return rc < 0 ? rc : map_file(dir, "1_Pooling/config.json", HS_ENCODER_CONFIG_MAX, false, &f->pooling, err);
}

int hs_encoder_import(const char *folder, const char *path_out, const struct hs_encoder_options *o, struct hs_err *err)
{
	struct hs_encoder_files f = {0};
	struct hs_gguf_writer *w = hs_gguf_writer_create();
	struct hs_arena *memory = hs_arena_create(HS_ENCODER_FILE_MAX * 2);
	int rc = w && memory ? map_folder(folder, &f, err) : hs_fail_errno(err, -ENOMEM, "model.import", folder);
	if (rc == 0)
		rc = hs_encoder_convert(&f, o, memory, w, err);
	if (rc == 0)
		rc = hs_import_save(w, path_out, err);
	hs_gguf_writer_destroy(w);
	hs_arena_destroy(memory);
	unmap(&f.config);
	unmap(&f.tensors);
	unmap(&f.tokenizer);
	unmap(&f.sentencepiece);
	unmap(&f.modules);
	unmap(&f.pooling);
	return rc;
}
