/*
 * Folders of tiny encoders as their makers publish them, for the importer's tests: the random models of tiny.h under the names
 * that HF transformers give their tensors, with config.json, tokenizer.json and a SentencePiece model of the same pieces.
 */
#ifndef HISHO_TESTS_INFERENCE_ENCODERS_H
#define HISHO_TESTS_INFERENCE_ENCODERS_H

#include <errno.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/wire.h"
#include "inference/import/encoder.h"
#include "tests/unit/inference/tiny.h"

enum encoder_kind { ENCODER_BERT, ENCODER_XLMR_RANK, ENCODER_BERT_RANK, ENCODER_MODERN, ENCODER_MODERN_RANK, ENCODER_KINDS };

struct encoder_folder {
	struct hs_buf config, tensors, tokenizer, sentencepiece, modules, pooling;
	struct hs_buf gguf; /* what the import must give: the same tensors, byte for byte */
};

static inline void encoder_folder_finish(struct encoder_folder *f)
{
	struct hs_buf *const all[] = {&f->config,  &f->tensors, &f->tokenizer, &f->sentencepiece,
				      &f->modules, &f->pooling, &f->gguf};
	for (size_t i = 0; i < HS_ARRAY_LEN(all); i++)
		hs_buf_finish(all[i]);
}

static inline struct hs_import_bytes encoder_bytes(const struct hs_buf *b)
{
	return (struct hs_import_bytes){b->len ? b->data : NULL, b->len};
}

static inline struct hs_encoder_files encoder_folder_files(const struct encoder_folder *f)
{
	return (struct hs_encoder_files){.config = encoder_bytes(&f->config),
					 .tensors = encoder_bytes(&f->tensors),
					 .tokenizer = encoder_bytes(&f->tokenizer),
					 .sentencepiece = encoder_bytes(&f->sentencepiece),
					 .modules = encoder_bytes(&f->modules),
					 .pooling = encoder_bytes(&f->pooling)};
}

/* Bytes of the header of its tensors. */
static inline size_t encoder_folder_header(const struct encoder_folder *f)
{
	return (size_t)hs_le64_load(f->tensors.data);
}

static inline bool encoder_is_modern(enum encoder_kind kind)
{
	return kind == ENCODER_MODERN || kind == ENCODER_MODERN_RANK;
}

static inline bool encoder_ranks(enum encoder_kind kind)
{
	return kind == ENCODER_XLMR_RANK || kind == ENCODER_BERT_RANK || kind == ENCODER_MODERN_RANK;
}

/* HF's name of a tensor of the GGUF. */
static inline void encoder_name(enum encoder_kind kind, const char *ours, char *out, size_t len)
{
	static const char *const bert[][2] = {
	    {"token_embd.weight", "embeddings.word_embeddings.weight"},
	    {"position_embd.weight", "embeddings.position_embeddings.weight"},
	    {"token_types.weight", "embeddings.token_type_embeddings.weight"},
	    {"token_embd_norm", "embeddings.LayerNorm"},
	    {"attn_q", "attention.self.query"},
	    {"attn_k", "attention.self.key"},
	    {"attn_v", "attention.self.value"},
	    {"attn_output_norm", "attention.output.LayerNorm"},
	    {"attn_output", "attention.output.dense"},
	    {"ffn_up", "intermediate.dense"},
	    {"ffn_down", "output.dense"},
	    {"layer_output_norm", "output.LayerNorm"},
	};
	static const char *const modern[][2] = {
	    {"token_embd.weight", "embeddings.tok_embeddings.weight"},
	    {"token_embd_norm", "embeddings.norm"},
	    {"output_norm", "final_norm"},
	    {"attn_norm", "attn_norm"},
	    {"attn_qkv", "attn.Wqkv"},
	    {"attn_output", "attn.Wo"},
	    {"ffn_norm", "mlp_norm"},
	    {"ffn_up", "mlp.Wi"},
	    {"ffn_down", "mlp.Wo"},
	};
	static const char *const heads[][4] = {
	    /* ours, of XLM-R, BERT, ModernBERT */
	    {"cls.weight", "classifier.dense.weight", "bert.pooler.dense.weight", "head.dense.weight"},
	    {"cls.bias", "classifier.dense.bias", "bert.pooler.dense.bias", ""},
	    {"cls.norm.weight", "", "", "head.norm.weight"},
	    {"cls.output.weight", "classifier.out_proj.weight", "classifier.weight", "classifier.weight"},
	    {"cls.output.bias", "classifier.out_proj.bias", "classifier.bias", "classifier.bias"},
	};
	bool is_modern = encoder_is_modern(kind);
	for (size_t i = 0; i < HS_ARRAY_LEN(heads); i++)
		if (strcmp(ours, heads[i][0]) == 0) {
			snprintf(out, len, "%s", heads[i][kind == ENCODER_XLMR_RANK ? 1 : kind == ENCODER_BERT_RANK ? 2 : 3]);
			return;
		}
	const char *prefix = !encoder_ranks(kind) ? "" : is_modern ? "model." : kind == ENCODER_BERT_RANK ? "bert." : "roberta.";
	unsigned layer = 0;
	int at = 0;
	char begin[64] = "";
	if (sscanf(ours, "blk.%u.%n", &layer, &at) == 1 && at > 0)
		snprintf(begin, sizeof begin, is_modern ? "layers.%u." : "encoder.layer.%u.", layer);
	const char *const(*rows)[2] = is_modern ? modern : bert;
	for (size_t i = 0; i < (is_modern ? HS_ARRAY_LEN(modern) : HS_ARRAY_LEN(bert)); i++) {
		size_t n = strlen(rows[i][0]);
		if (strncmp(ours + at, rows[i][0], n) == 0 && (ours[at + n] == '.' || ours[at + n] == 0)) {
			snprintf(out, len, "%s%s%s%s", prefix, begin, rows[i][1], ours + at + n);
			return;
		}
	}
	snprintf(out, len, "unknown.%s", ours);
}

/* model.safetensors of the GGUF's tensors, in its order. An XLM-R's positions begin with two rows that no text has. */
static inline int encoder_put_tensors(enum encoder_kind kind, const struct hs_buf *gguf, struct hs_buf *out)
{
	HS_BUF_AUTO header = HS_BUF_INIT;
	HS_BUF_AUTO data = HS_BUF_INIT;
	struct hs_gguf *g = NULL;
	int rc = hs_gguf_open_memory(gguf->data, gguf->len, &g, NULL);
	if (rc == 0)
		rc = hs_buf_append_str(&header, "{\"__metadata__\": {\"format\": \"pt\"}");
	for (size_t i = 0; rc == 0 && i < hs_gguf_tensor_count(g); i++) {
		const struct hs_gguf_tensor *t = hs_gguf_tensor_at(g, i);
		char ours[80], theirs[160], shape[64];
		snprintf(ours, sizeof ours, "%.*s", (int)t->name.len, t->name.s);
		encoder_name(kind, ours, theirs, sizeof theirs);
		uint64_t skip = kind == ENCODER_XLMR_RANK && strcmp(ours, "position_embd.weight") == 0 ? 2 : 0;
		size_t begin = data.len;
		if (t->n_dims == 1)
			snprintf(shape, sizeof shape, "%llu", (unsigned long long)t->dims[0]);
		else
			snprintf(shape, sizeof shape, "%llu, %llu", (unsigned long long)(t->dims[1] + skip),
				 (unsigned long long)t->dims[0]);
		rc = hs_buf_append(&data, t->data, (size_t)(skip * t->dims[0] * 4)); /* any numbers */
		if (rc == 0)
			rc = hs_buf_append(&data, t->data, t->bytes);
		if (rc == 0)
			rc = hs_buf_printf(&header,
					   ", \"%s\": {\"dtype\": \"F32\", \"shape\": [%s], \"data_offsets\": [%zu, %zu]}",
					   theirs, shape, begin, data.len);
	}
	hs_gguf_close(g);
	if (rc == 0)
		rc = hs_buf_append_str(&header, "}");
	if (rc == 0)
		rc = hs_put_u64(out, header.len);
	if (rc == 0)
		rc = hs_buf_append(out, header.data, header.len);
	return rc < 0 ? rc : hs_buf_append(out, data.data, data.len);
}

static inline int encoder_put_config(enum encoder_kind kind, const struct tiny *t, struct hs_buf *out)
{
	static const char *const types[] = {"bert", "xlm-roberta", "bert", "modernbert", "modernbert"};
	static const char *const names[] = {"BertModel", "XLMRobertaForSequenceClassification", "BertForSequenceClassification",
					    "ModernBertModel", "ModernBertForSequenceClassification"};
	int rc =
	    hs_buf_printf(out,
			  "{\"model_type\": \"%s\", \"architectures\": [\"%s\"], \"hidden_size\": %u, \"num_hidden_layers\": %u, "
			  "\"num_attention_heads\": %u, \"intermediate_size\": %u, \"vocab_size\": %u, "
			  "\"max_position_embeddings\": %u",
			  types[kind], names[kind], t->embd, t->layers, t->heads, t->ff, t->vocab,
			  t->context + (kind == ENCODER_XLMR_RANK ? 2 : 0));
	if (rc == 0)
		rc = encoder_is_modern(kind)
			 ? hs_buf_append_str(out,
					     ", \"norm_eps\": 1e-5, \"local_attention\": 8, \"global_attn_every_n_layers\": 3, "
					     "\"global_rope_theta\": 10000.0, \"local_rope_theta\": 10000.0, "
					     "\"hidden_activation\": \"gelu\", \"classifier_pooling\": \"mean\"}")
			 : hs_buf_printf(out, ", \"layer_norm_eps\": 1e-5, \"type_vocab_size\": 2, \"hidden_act\": \"gelu\"%s}",
					 kind == ENCODER_XLMR_RANK ? ", \"pad_token_id\": 1" : "");
	return rc;
}

/* tiny.h's letters, with the scores that its GGUF has. */
static inline int encoder_put_tokenizer(const struct hs_buf *gguf, struct hs_buf *json, struct hs_buf *proto)
{
	struct hs_gguf *g = NULL;
	struct hs_gguf_str tokens[128];
	float scores[128];
	size_t n = 0;
	int rc = hs_gguf_open_memory(gguf->data, gguf->len, &g, NULL);
	if (rc == 0 && !(hs_gguf_get_array_len(g, "tokenizer.ggml.tokens", &n) && n <= HS_ARRAY_LEN(tokens) &&
			 hs_gguf_get_str_array(g, "tokenizer.ggml.tokens", tokens, n) &&
			 hs_gguf_get_f32_array(g, "tokenizer.ggml.scores", scores, n)))
		rc = -EINVAL;
	if (rc == 0)
		rc = hs_buf_append_str(
		    json, "{\"model\": {\"type\": \"Unigram\", \"unk_id\": 0, \"byte_fallback\": false, \"vocab\": [");
	for (size_t i = 0; rc == 0 && i < n; i++) {
		uint8_t piece[] = {0x0a, (uint8_t)(tokens[i].len + 9), 0x0a, (uint8_t)tokens[i].len};
		rc = hs_buf_printf(json, "%s[\"%.*s\", %.9g]", i ? ", " : "", (int)tokens[i].len, tokens[i].s, (double)scores[i]);
		if (rc == 0)
			rc = hs_buf_append(proto, piece, sizeof piece);
		if (rc == 0)
			rc = hs_buf_append(proto, tokens[i].s, tokens[i].len);
		if (rc == 0)
			rc = hs_put_u8(proto, 0x15);
		if (rc == 0)
			rc = hs_put_f32(proto, scores[i]);
		if (rc == 0)
			rc = hs_put_u8(proto, 0x18);
		if (rc == 0)
			rc = hs_put_u8(proto, i == 0 ? 2 : i < 3 ? 3 : 1);
	}
	hs_gguf_close(g);
	if (rc == 0) /* normalizer_spec {add_dummy_prefix 1, remove_extra_whitespaces 0} */
		rc = hs_buf_append(proto, "\x1a\x04\x18\x01\x20\x00", 6);
	if (rc == 0)
		rc = hs_buf_append_str(
		    json,
		    "]}, \"normalizer\": null, \"added_tokens\": ["
		    "{\"id\": 0, \"content\": \"<unk>\", \"special\": true}, {\"id\": 1, \"content\": \"<s>\", \"special\": "
		    "true}, "
		    "{\"id\": 2, \"content\": \"</s>\", \"special\": true}], "
		    "\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"\xe2\x96\x81\", \"prepend_scheme\": "
		    "\"always\"}, "
		    "\"post_processor\": {\"type\": \"TemplateProcessing\", "
		    "\"single\": [{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", "
		    "\"type_id\": 0}}, "
		    "{\"SpecialToken\": {\"id\": \"</s>\", \"type_id\": 0}}], "
		    "\"pair\": [{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", "
		    "\"type_id\": 0}}, "
		    "{\"SpecialToken\": {\"id\": \"</s>\", \"type_id\": 0}}, {\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": "
		    "0}}, "
		    "{\"Sequence\": {\"id\": \"B\", \"type_id\": 0}}, {\"SpecialToken\": {\"id\": \"</s>\", \"type_id\": 0}}], "
		    "\"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [1]}, \"</s>\": {\"id\": \"</s>\", \"ids\": "
		    "[2]}}}}");
	return rc;
}

static inline bool encoder_folder_make(struct encoder_folder *f, enum encoder_kind kind)
{
	struct tiny t = TINY_F32;
	t.arch = encoder_is_modern(kind) ? "modern-bert" : "bert";
	t.kv_heads = t.heads;
	t.embd = 32;
	t.layers = encoder_is_modern(kind) ? 4 : 2;
	t.context = 64;
	t.window = encoder_is_modern(kind) ? 8 : 0;
	t.labels = encoder_ranks(kind) ? 1 : 0;
	t.pool = encoder_ranks(kind) && !encoder_is_modern(kind) ? 2 : 1;
	return tiny_write(t, NULL, &f->gguf) == 0 && encoder_put_tensors(kind, &f->gguf, &f->tensors) == 0 &&
	       encoder_put_config(kind, &t, &f->config) == 0 &&
	       encoder_put_tokenizer(&f->gguf, &f->tokenizer, &f->sentencepiece) == 0 &&
	       hs_buf_append_str(&f->pooling, "{\"pooling_mode_mean_tokens\": true, \"pooling_mode_cls_token\": false}") == 0 &&
	       hs_buf_append_str(&f->modules, "[{\"type\": \"sentence_transformers.models.Transformer\"}, "
					      "{\"type\": \"sentence_transformers.models.Pooling\"}]") == 0;
}

#endif
