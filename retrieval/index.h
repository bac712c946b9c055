/*
 * The index in memory: what a search ranks by, as immutable snapshots that share their parts.
 *
 * Ordinals (one a chunk) are given out in extents of 256 that belong to one access class. An extent holds, for each of its
 * ordinals, the document, the lengths and the vector; a document that expires, or that was moved to another class while
 * its entries still lie in the old one, stands in its extents' overrides. A writer copies the extents that it changes;
 * searches go on over the snapshot that they took. Everything here is counted by references: hs_index_unref.
 *
 * Memory: 5.3 KiB an extent, (dimensions + 4) bytes a vector (rows rounded up to 16), postings as retrieval/postings.h.
 */
#ifndef HISHO_RETRIEVAL_INDEX_H
#define HISHO_RETRIEVAL_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/grant.h"
#include "retrieval/postings.h"
#include "retrieval/vectors.h"

#define HS_EXTENT_WORDS (HS_EXTENT_ORDINALS / 64)

struct hs_override { /* where a document's chunks in this extent are not as the extent says */
	uint32_t document;
	uint32_t class_id; /* of the document, now */
	int64_t expires;   /* 0: never */
	uint64_t mask[HS_EXTENT_WORDS];
};

struct hs_extent {
	unsigned refs;
	uint32_t class_id;
	uint32_t used;                     /* ordinals given out */
	uint64_t alive[HS_EXTENT_WORDS];   /* chunks that stand in the database, of present versions */
	uint64_t heads[HS_EXTENT_WORDS];   /* first chunks of their documents; within alive */
	uint32_t document[HS_EXTENT_ORDINALS]; /* the database's integer */
	uint32_t head[HS_EXTENT_ORDINALS]; /* the ordinal of the document's first chunk */
	uint16_t length[HS_FIELDS][HS_EXTENT_ORDINALS];     /* tokens of each chunk, saturated */
	uint32_t whole[HS_FIELDS][HS_EXTENT_ORDINALS];      /* at heads: tokens of the whole document */
	uint64_t sum[HS_FIELDS];           /* of length over alive */
	uint32_t n_alive, n_heads;         /* alive ones */
	struct hs_vectors *vectors;        /* or NULL */
	struct hs_override *overrides;
	uint32_t n_overrides;
};

struct hs_index {
	unsigned refs;
	uint32_t n_extents, cap_extents;
	struct hs_extent **extents; /* NULL where there is none */
	uint32_t n_segments, cap_segments;
	struct hs_segment **segments;
	uint32_t dimensions;        /* of the vectors; 0: none */
	uint64_t n_vectors, n_chunks, n_documents;
};

struct hs_index *hs_index_create(void) HS_MUST_CHECK;
struct hs_index *hs_index_ref(struct hs_index *x);
void hs_index_unref(struct hs_index *x); /* takes NULL */

/* A copy for a writer: shares all parts. */
struct hs_index *hs_index_clone(const struct hs_index *x) HS_MUST_CHECK;

/* The extent, made or copied so that the caller of this index (which has one reference) may write it. NULL on -ENOMEM. */
struct hs_extent *hs_index_extent(struct hs_index *x, uint32_t extent) HS_MUST_CHECK;

/* Forget an extent in which nothing lives. */
void hs_index_free_extent(struct hs_index *x, uint32_t extent);

/* A chunk at an ordinal. */
struct hs_index_chunk {
	uint32_t ordinal, head, document;
	uint32_t length[HS_FIELDS];
};
int hs_index_add(struct hs_index *x, const struct hs_index_chunk *c) HS_MUST_CHECK;
int hs_index_kill(struct hs_index *x, uint32_t ordinal) HS_MUST_CHECK;

/* At a document's head: the tokens of all of it. */
int hs_index_set_whole(struct hs_index *x, uint32_t head, const uint64_t whole[static HS_FIELDS]) HS_MUST_CHECK;

/* Say how a document's chunk is not as its extent: class_id as the extent's and expires 0 take the override away. */
int hs_index_override(struct hs_index *x, uint32_t ordinal, uint32_t document, uint32_t class_id, int64_t expires) HS_MUST_CHECK;

/* scale 0 takes the vector away. */
int hs_index_set_vector(struct hs_index *x, uint32_t ordinal, float scale, const int8_t *v) HS_MUST_CHECK;

/* Takes over the segment's reference. */
int hs_index_push_segment(struct hs_index *x, struct hs_segment *s) HS_MUST_CHECK;
void hs_index_drop_segment(struct hs_index *x, int64_t id);

/* A document's chunk still lies where another class's chunks lie. */
bool hs_index_moved(const struct hs_index *x, uint32_t ordinal);

uint64_t hs_index_memory(const struct hs_index *x);

static inline bool hs_index_alive(const struct hs_index *x, uint32_t ordinal)
{
	uint32_t e = ordinal / HS_EXTENT_ORDINALS, low = ordinal % HS_EXTENT_ORDINALS;

	return e < x->n_extents && x->extents[e] && (x->extents[e]->alive[low / 64] >> (low % 64) & 1);
}

/*
 * What a grant sees of a snapshot, now: a bit per ordinal, and the counts over these bits that ranking needs. All
 * statistics come from here, so nothing that is not seen can show in a score.
 */
struct hs_sight {
	const struct hs_index *index; /* a reference is held */
	uint64_t *mask;               /* (n_extents, HS_EXTENT_WORDS) */
	uint32_t *next;               /* (n_extents + 1): the first extent from here on that shows anything; n_extents: none */
	uint64_t n_chunks, n_documents;
	uint64_t sum[HS_FIELDS];
};

/* classes: ascending, or NULL for all that are granted. */
int hs_sight_init(struct hs_sight *v, struct hs_index *x, const struct hs_grant *g, const uint32_t *classes, size_t n_classes,
		 int64_t now_ms) HS_MUST_CHECK;
void hs_sight_finish(struct hs_sight *v);

static inline bool hs_sight_sees(const struct hs_sight *v, uint32_t ordinal)
{
	return v->mask[ordinal / 64] >> (ordinal % 64) & 1;
}

#endif
