/*
 * A double-array trie of 32-bit units, in the layout that SentencePiece's precompiled character maps use, so that one
 * walker reads maps from files and one builder makes both the vocabulary's trie and maps for files. Internal to inference/.
 *
 * A unit: bits 0..7 its label, 8 whether a value hangs on it, 9 whether the offset is scaled by 256, 10..30 the offset;
 * bit 31 marks a unit that holds a value (bits 0..30) or nothing. A child by byte c lies at (place ^ offset ^ c), a value
 * at (place ^ offset). Keys hold no byte 0.
 */
#ifndef HISHO_INFERENCE_TRIE_H
#define HISHO_INFERENCE_TRIE_H

#include "base/err.h"
#include "inference/gguf/gguf.h"

struct hs_trie {
	uint32_t *units;      /* where owned */
	const uint8_t *bytes; /* the same, little-endian and unaligned, where it is a file's */
	size_t n_units;
};

struct hs_trie_key {
	struct hs_gguf_str text;
	uint32_t value; /* < 2^31 */
};

/* keys: n, sorted by bytes, no two equal, none empty or with a byte 0. -EINVAL where they are not; -EFBIG; -ENOMEM. */
int hs_trie_build(struct hs_trie *t, const struct hs_trie_key *keys, size_t n) HS_MUST_CHECK;

/* Over a file's units, which may be hostile: walking stays inside. bytes outlive the trie. */
void hs_trie_over(struct hs_trie *t, const uint8_t *bytes, size_t n_units);
void hs_trie_finish(struct hs_trie *t);

int hs_trie_key_compare(const void *a, const void *b); /* for qsort of struct hs_trie_key */

/* Walking: *place starts at hs_trie_root(t); false where no key goes on with c. */
size_t hs_trie_root(const struct hs_trie *t);
bool hs_trie_step(const struct hs_trie *t, size_t *place, uint8_t c, uint32_t *ret_value, bool *ret_has_value);

#endif
