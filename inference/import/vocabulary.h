/*
 * A vocabulary on its way to GGUF: from tokenizer.json (what HF tokenizers write; Unigram and WordPiece) or from a SentencePiece
 * model. A step of its pipeline that our tokenisers have not is refused by name: leaving it out would give other tokens.
 * Internal to import/.
 */
#ifndef HISHO_INFERENCE_VOCABULARY_H
#define HISHO_INFERENCE_VOCABULARY_H

#include "base/arena.h"
#include "inference/import/read.h"
#include "inference/tok/vocab.h"

#define HS_TOKENIZER_FILE_MAX ((size_t)64 << 20) /* of either kind */
#define HS_PAIR_MARKS_MAX 4u

struct hs_pair_marks { /* special tokens at one place */
	int32_t ids[HS_PAIR_MARKS_MAX];
	size_t n;
};

struct hs_vocabulary {
	struct hs_arena *arena; /* of texts that are in no file */
	json_t *json;           /* where the other texts lie */
	struct hs_gguf_str *texts;
	float *scores;
	uint8_t *kinds; /* enum hs_vocab_kind, 0: no token of this number yet */
	size_t n, cap;
	uint8_t *charsmap;
	size_t charsmap_len;
	bool wordpiece, lowercase, strip_accents;
	bool prefix, collapse; /* as in struct hs_sp */
	int32_t bos, eos, unk; /* HS_TOK_NONE: none */
	/* How two texts stand together, where the file says it; second_type: the second one's tokens are of another type. */
	bool has_pair, second_type;
	struct hs_pair_marks before, between, after;
};

int hs_vocabulary_init(struct hs_vocabulary *v, struct hs_err *err) HS_MUST_CHECK;
void hs_vocabulary_finish(struct hs_vocabulary *v);

/* Token id is this text, which outlives v. Another text at the same number is refused; the kind is the last one's. */
int hs_vocabulary_set(struct hs_vocabulary *v, uint64_t id, struct hs_gguf_str text, float score, enum hs_vocab_kind kind,
		      struct hs_err *err) HS_MUST_CHECK;

/* The file's content outlives v. fairseq: an XLM-R's numbers (<s> <pad> </s> <unk>, pieces from the fourth on, <mask>). */
int hs_vocabulary_read_json(struct hs_vocabulary *v, const struct hs_import_bytes *file, struct hs_err *err) HS_MUST_CHECK;
int hs_vocabulary_read_sentencepiece(struct hs_vocabulary *v, const struct hs_import_bytes *file, bool fairseq,
				     struct hs_err *err) HS_MUST_CHECK;

/* All fields "tokenizer.ggml.*", and "hisho.rerank.*" where pair. v outlives the writing. */
int hs_vocabulary_put(struct hs_vocabulary *v, bool pair, struct hs_gguf_writer *w, struct hs_err *err) HS_MUST_CHECK;

#endif
