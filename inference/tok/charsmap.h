/*
 * SentencePiece's precompiled character map: u32 bytes of the trie, the trie's units, then the replacements, each ended
 * by a byte 0; a key's value is its replacement's offset. The longest key at a place wins. Internal to inference/.
 */
#ifndef HISHO_INFERENCE_CHARSMAP_H
#define HISHO_INFERENCE_CHARSMAP_H

#include "base/buf.h"
#include "inference/tok/trie.h"

struct hs_charsmap {
	uint8_t *blob; /* a copy of the file's bytes */
	struct hs_trie trie;
	const char *replacements;
	size_t replacements_len;
};

/* data: the file's bytes, copied. -EINVAL with err where the parts do not fit together. */
int hs_charsmap_init(struct hs_charsmap *m, const uint8_t *data, size_t n, struct hs_err *err) HS_MUST_CHECK;
void hs_charsmap_finish(struct hs_charsmap *m);

/* The longest key at text: its length and its replacement; 0 where none matches. Longer than 256 bytes neither counts. */
size_t hs_charsmap_match(const struct hs_charsmap *m, const char *text, size_t n, struct hs_gguf_str *ret);

struct hs_charsmap_rule {
	struct hs_gguf_str from, to; /* UTF-8; from not empty */
	size_t order;                /* set by hs_charsmap_write */
};

/* Append the blob of n rules (sorted here; of equal keys the first stands). -EINVAL for one of more than 256 bytes. */
int hs_charsmap_write(struct hs_charsmap_rule *rules, size_t n, struct hs_buf *out) HS_MUST_CHECK;

#endif
