/*
 * The segmentation of the highest sum of scores. Sums are kept and compared in single precision, as
 * SentencePiece does, so that ties and near-ties fall alike: of equal sums the longest last piece stands.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "inference/tok/sp.h"

#define UNKNOWN_PENALTY 10.0f /* of a character without a piece: below the worst piece */
#define ADDED_BONUS 0.1f      /* of an added piece, for each byte but the first: the longer stands before the shorter */

struct best { /* of the text up to a byte */
	float sum;
	uint32_t length; /* of its last piece; 0: not reached yet */
	hs_tok_id id;    /* HS_TOK_NONE: a character without a piece */
};

static void offer(struct best *b, float sum, size_t length, hs_tok_id id)
{
	if (b->length && !(sum > b->sum))
		return;
	*b = (struct best){.sum = sum, .length = (uint32_t)length, .id = id};
}

static void forward(const struct hs_sp *sp, const struct hs_vocab *v, const char *text, size_t n, struct best *best)
{
	for (size_t at = 0, len; at < n; at += len) {
		size_t place = hs_trie_root(&sp->pieces);
		uint32_t cp, id = 0;
		bool has_value, whole_char = false;
		float here = best[at].sum;
		len = hs_utf8_decode(text + at, n - at, &cp);
		for (size_t i = at; i < n && hs_trie_step(&sp->pieces, &place, (uint8_t)text[i], &id, &has_value); i++) {
			if (!has_value)
				continue;
			size_t length = i + 1 - at;
			float score = v->kinds[id] == HS_VOCAB_USER ? (float)(length - 1) * ADDED_BONUS : v->scores[id];
			offer(&best[i + 1], score + here, length, (hs_tok_id)id);
			whole_char |= length == len;
		}
		if (!whole_char)
			offer(&best[at + len], sp->worst - UNKNOWN_PENALTY + here, len, HS_TOK_NONE);
	}
}

int hs_sp_viterbi(const struct hs_sp *sp, const struct hs_vocab *v, const char *text, size_t n, struct hs_tok_ids *out)
{
	struct best *best = calloc(n + 1, sizeof *best);
	int rc = 0;
	bool was_unknown = false;
	if (!best)
		return -ENOMEM;
	forward(sp, v, text, n, best);
	uint32_t length = 0; /* of the piece that begins at a boundary: the way back, turned around */
	for (size_t at = n; at > 0;) {
		uint32_t back = best[at].length;
		best[at].length = length;
		length = back;
		at -= back;
	}
	best[0].length = length;
	for (size_t at = 0; rc == 0 && at < n;) {
		length = best[at].length;
		hs_tok_id id = best[at + length].id;
		if (id == HS_TOK_NONE) {
			rc = hs_sp_push_unknown(sp, v, text + at, length, &was_unknown, out);
		} else {
			rc = hs_tok_ids_push(out, id);
			was_unknown = false;
		}
		at += length;
	}
	free(best);
	return rc;
}
