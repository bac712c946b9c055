/*
 * Import of encoders as their makers publish them: a folder with config.json, model.safetensors and tokenizer.json (or a
 * SentencePiece tokenizer.model, sentencepiece.bpe.model), to GGUF of architecture "bert" (BERT, XLM-R: e5, bge, their
 * rerankers) or "modern-bert" (ruri-v3 and its reranker). docs/formats/encoders.md tells what is read and what is refused.
 *
 * Files are not trusted: every size, offset, kind and count is checked, a tensor or a field that has no place is refused by
 * name. The same files give the same bytes.
 */
#ifndef HISHO_INFERENCE_IMPORT_ENCODER_H
#define HISHO_INFERENCE_IMPORT_ENCODER_H

#include "inference/import/read.h"

struct hs_arena;

#define HS_EMBED_PREFIX_MAX 31u /* bytes; what hisho-infer keeps */
#define HS_ENCODER_CONFIG_MAX ((size_t)1 << 20)
#define HS_ENCODER_FILE_MAX ((size_t)16 << 30)

struct hs_encoder_files {
	struct hs_import_bytes config, tensors, tokenizer, sentencepiece;
	struct hs_import_bytes modules, pooling; /* modules.json, 1_Pooling/config.json: what an embedder does with its tokens */
};

struct hs_encoder_options {
	enum hs_tensor_type type;                  /* of matrices: HS_F32, HS_F16 or HS_Q8_0 (HS_F16 where rows do not fit) */
	const char *query_prefix, *passage_prefix; /* of an embedder's texts; NULL: none */
	const char *name;                          /* general.name */
	enum { HS_IMPORT_POOL_BY_FILE, HS_IMPORT_POOL_MEAN, HS_IMPORT_POOL_FIRST } pool; /* where no file says it */
};

/*
 * Check everything and fill w, whose tensor data lie in memory from then on. -EINVAL or -ENOTSUP with err naming the field or
 * tensor; -ENOMEM.
 */
int hs_encoder_convert(const struct hs_encoder_files *files, const struct hs_encoder_options *o, struct hs_arena *memory,
		       struct hs_gguf_writer *w, struct hs_err *err) HS_MUST_CHECK;

/* From a folder to a file; path_out appears whole, synced and read by the engine's own checks, or not at all. */
int hs_encoder_import(const char *folder, const char *path_out, const struct hs_encoder_options *o,
		      struct hs_err *err) HS_MUST_CHECK;

#endif
