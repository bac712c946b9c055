/*
 * What every tokeniser kind shares: the tokens' texts, kinds and scores, and a look-up by text. Internal to tok/.
 *
 * Immutable after creation. Everything is copied: a vocabulary outlives the file that it was read from.
 */
#ifndef HISHO_INFERENCE_VOCAB_H
#define HISHO_INFERENCE_VOCAB_H

#include "inference/tok/tokenizer.h"
#include "inference/tok/trie.h"

#define HS_VOCAB_TOKENS_MAX (1u << 20)
#define HS_VOCAB_TEXT_MAX 4096u /* bytes of one token */

enum hs_vocab_kind { /* the file's own numbers (tokenizer.ggml.token_type) */
		     HS_VOCAB_NORMAL = 1,
		     HS_VOCAB_UNKNOWN = 2,
		     HS_VOCAB_CONTROL = 3,
		     HS_VOCAB_USER = 4,
		     HS_VOCAB_UNUSED = 5,
		     HS_VOCAB_BYTE = 6,
};

struct hs_vocab {
	uint32_t n;
	char *texts;       /* joined */
	uint32_t *offsets; /* (n + 1) into texts */
	uint8_t *kinds;    /* (n) enum hs_vocab_kind; whatever is special is HS_VOCAB_CONTROL or HS_VOCAB_UNKNOWN */
	float *scores;     /* (n), NULL where the file has none */
	uint64_t seed;     /* of the hash: a file cannot choose its collisions */
	uint32_t *slots;   /* open addressing: index + 1, 0 free; of equal texts the first is found */
	uint32_t mask;
	hs_tok_id bos, eos, unk; /* HS_TOK_NONE where the file names none */
	bool has_added;
	struct hs_trie added; /* added pieces of plain text (runs of spaces, tags of HTML): taken whole, wherever they stand */
};

int hs_vocab_init(struct hs_vocab *v, const struct hs_gguf *g, struct hs_err *err) HS_MUST_CHECK;
void hs_vocab_finish(struct hs_vocab *v);

/* The first token with exactly this text, whatever its kind; HS_TOK_NONE where there is none. */
hs_tok_id hs_vocab_find(const struct hs_vocab *v, const char *text, size_t n);

static inline const char *hs_vocab_text(const struct hs_vocab *v, hs_tok_id id, size_t *ret_len)
{
	*ret_len = v->offsets[id + 1] - v->offsets[id];
	return v->texts + v->offsets[id];
}

/*
 * Never made from data: control and unknown tokens; what the file names as the beginning or end of a text or a turn;
 * added tokens that name something (<...>, [...]), and any token in the form of a control token (<|...|>).
 */
static inline bool hs_vocab_is_special(const struct hs_vocab *v, hs_tok_id id)
{
	return v->kinds[id] == HS_VOCAB_CONTROL || v->kinds[id] == HS_VOCAB_UNKNOWN;
}

/* Of plain text: what a segmentation may give. */
static inline bool hs_vocab_is_text(const struct hs_vocab *v, hs_tok_id id)
{
	return v->kinds[id] == HS_VOCAB_NORMAL || v->kinds[id] == HS_VOCAB_USER;
}

#define HS_SPACE_MARK "\xe2\x96\x81" /* U+2581, how SentencePiece spells a space in pieces */
#define HS_SPACE_MARK_LEN 3

/*
 * A trie of the pieces of text of the wanted kinds (a bit for each kind), values: ids. Where spaces_as_mark, added pieces
 * are entered with U+2581 for each space, as SentencePiece spells them. -ENODATA where there are none.
 */
int hs_vocab_trie(const struct hs_vocab *v, unsigned kinds, bool spaces_as_mark, struct hs_trie *ret) HS_MUST_CHECK;

/* Make v->added. */
int hs_vocab_find_added(struct hs_vocab *v, bool spaces_as_mark, struct hs_err *err) HS_MUST_CHECK;

/* The longest added piece that begins at text: its length, 0 where none does. */
size_t hs_vocab_match_added(const struct hs_vocab *v, const char *text, size_t n, hs_tok_id *ret_id);

/* Append one id. */
int hs_tok_ids_push(struct hs_tok_ids *ids, hs_tok_id id) HS_MUST_CHECK;

#endif
