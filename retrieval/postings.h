/*
 * Postings: for each term of two fields, the chunks that hold it and how often (docs/formats/postings.md).
 *
 * A segment is immutable. Its terms are sorted; a term's postings stand together, in ascending ordinals, grouped by
 * extent (256 ordinals of one access class), so that ranking passes over the extents that an asker may not see without
 * looking at a posting of theirs. In memory a posting takes two bytes, a group eight, a term twelve and its own length.
 * A segment is made by a builder, by decoding what the database keeps, or by merging others.
 */
#ifndef HISHO_RETRIEVAL_POSTINGS_H
#define HISHO_RETRIEVAL_POSTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define HS_EXTENT_ORDINALS 256
#define HS_TERM_MAX 255                    /* bytes; longer words are not indexed */
#define HS_SEGMENT_BYTES_MAX (768u << 20)  /* encoded */
#define HS_SEGMENT_MAGIC 0x31537048u       /* "HpS1" */

enum hs_field {
	HS_FIELD_WORDS = 0,
	HS_FIELD_BIGRAMS = 1,
};
#define HS_FIELDS 2

struct hs_field_postings {
	uint32_t n_terms, n_groups, n_postings;
	uint32_t *term_at;      /* (n_terms + 1): where each term starts in terms */
	uint32_t *group_at;     /* (n_terms + 1): first group of each term */
	uint32_t *group_extent; /* (n_groups) */
	uint32_t *group_start;  /* (n_groups + 1): first posting of each group */
	uint8_t *low;           /* (n_postings): ordinal & 255 */
	uint8_t *tf;            /* (n_postings): 1..255, saturated */
	char *terms;
	uint64_t *fence;        /* (n_terms / 16 + 1): the first bytes of every 16th term */
};

struct hs_segment {
	struct hs_field_postings field[HS_FIELDS];
	uint64_t bytes; /* of memory */
	int64_t id;     /* the database's; 0 until stored */
	uint32_t level; /* of merging: 0 for what a transaction wrote */
	unsigned refs;  /* the index's */
};

void hs_segment_destroy(struct hs_segment *s); /* takes NULL */

/* The term's groups [*ret_first, *ret_end), or false. */
bool hs_field_find(const struct hs_field_postings *f, const char *term, size_t len, uint32_t *ret_first, uint32_t *ret_end);

/* The encoded form. */
int hs_segment_encode(const struct hs_segment *s, struct hs_buf *out) HS_MUST_CHECK;

/* Hostile bytes are refused whole: -EBADMSG "index.segment". ordinals: every posting must lie below. */
int hs_segment_decode(const void *data, size_t len, uint32_t ordinals, struct hs_segment **ret, struct hs_err *err) HS_MUST_CHECK;

/*
 * Merge segments whose ordinals do not overlap. alive: bit per ordinal (64 a word), n_words long; postings of others are
 * left out. NULL keeps all.
 */
int hs_segment_merge(const struct hs_segment *const *parts, size_t n, const uint64_t *alive, size_t n_words,
		     struct hs_segment **ret) HS_MUST_CHECK;

struct hs_postings_builder;
struct hs_postings_builder *hs_postings_builder_create(void) HS_MUST_CHECK;
void hs_postings_builder_destroy(struct hs_postings_builder *b); /* takes NULL */

/* One occurrence of a term in the chunk that hs_postings_builder_end closes. Terms over HS_TERM_MAX are passed over. */
int hs_postings_builder_add(struct hs_postings_builder *b, enum hs_field field, const char *term, size_t len) HS_MUST_CHECK;
void hs_postings_builder_end(struct hs_postings_builder *b, uint32_t ordinal);
bool hs_postings_builder_empty(const struct hs_postings_builder *b);

/* Make the segment of what was added; the builder is empty afterwards. */
int hs_postings_builder_finish(struct hs_postings_builder *b, struct hs_segment **ret) HS_MUST_CHECK;

#endif
