/*
 * Tokenisers, made from a GGUF's metadata: byte-level BPE ("gpt2", with a known pre-tokeniser), SentencePiece by merges
 * ("llama") or by the best segmentation ("t5", and Unigram vocabularies that are declared as "llama"), WordPiece ("bert").
 * Unknown models and pre-tokenisers are refused by name, never guessed; docs/models.md has the table and what was checked.
 *
 * Data can never make a special token: hs_tok_encode looks at no special token at all. Template parts name theirs by
 * hs_tok_special. A tokeniser is immutable after creation and shared by threads.
 */
#ifndef HISHO_INFERENCE_TOKENIZER_H
#define HISHO_INFERENCE_TOKENIZER_H

#include "base/buf.h"
#include "inference/gguf/gguf.h"

typedef int32_t hs_tok_id;
#define HS_TOK_NONE (-1)

struct hs_tokenizer;

struct hs_tok_ids { /* a growing list; freed by hs_tok_ids_finish */
	hs_tok_id *ids;
	size_t count, cap;
};

int hs_tokenizer_create(const struct hs_gguf *g, struct hs_tokenizer **ret, struct hs_err *err) HS_MUST_CHECK;
void hs_tokenizer_destroy(struct hs_tokenizer *t);
size_t hs_tokenizer_vocab(const struct hs_tokenizer *t);

#define HS_TOK_TEXT_MAX (16u * 1024u * 1024u) /* bytes of one text */

/*
 * Append the ids of n bytes of text, with no special tokens and no bos or eos. -EILSEQ where it is not valid UTF-8,
 * -EMSGSIZE past HS_TOK_TEXT_MAX, -ENOMEM; on failure out is as it was.
 */
int hs_tok_encode(const struct hs_tokenizer *t, const char *text, size_t n, struct hs_tok_ids *out) HS_MUST_CHECK;
/* The same for a part that stands behind others, none of them special: no space is put before it, those at its ends stay. */
int hs_tok_encode_on(const struct hs_tokenizer *t, const char *text, size_t n, struct hs_tok_ids *out) HS_MUST_CHECK;

/*
 * Special: control and unknown tokens, what the file names as the beginning or end of something, and tokens that the model's
 * makers added by name ("<|im_start|>", "<tool_call>", "[INST]"); added pieces of plain text (runs of spaces, "<table>") are not.
 */
/* The id of a special token by its exact text ("<|im_start|>"), HS_TOK_NONE where the vocabulary has none such. */
hs_tok_id hs_tok_special(const struct hs_tokenizer *t, const char *text);
/* The text of a special token, not terminated; NULL where the id is none. */
const char *hs_tok_special_text(const struct hs_tokenizer *t, hs_tok_id id, size_t *ret_len);
bool hs_tok_is_special(const struct hs_tokenizer *t, hs_tok_id id);
hs_tok_id hs_tok_bos(const struct hs_tokenizer *t);
hs_tok_id hs_tok_eos(const struct hs_tokenizer *t);

/*
 * Bytes of a token as text; special tokens give nothing. A token may be part of a character: a stream joins bytes and
 * cuts at characters (hs_detok_*).
 */
int hs_tok_bytes(const struct hs_tokenizer *t, hs_tok_id id, struct hs_buf *out) HS_MUST_CHECK;

/* Streaming: append the token; what is whole characters moves to out, the rest waits. Flush replaces a broken rest by U+FFFD. */
struct hs_detok {
	uint8_t rest[16];
	size_t rest_len;
	bool begun; /* the leading space of a SentencePiece text is dropped once */
};
bool hs_tok_leads_with_space(const struct hs_tokenizer *t); /* encoding puts a space before the text */
int hs_detok_push(struct hs_detok *d, const struct hs_tokenizer *t, hs_tok_id id, struct hs_buf *out) HS_MUST_CHECK;
int hs_detok_flush(struct hs_detok *d, struct hs_buf *out) HS_MUST_CHECK;

void hs_tok_ids_finish(struct hs_tok_ids *ids);

#endif
