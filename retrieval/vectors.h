/*
 * Vectors: int8 with one scale each, in ordinal order, scanned whole where the mask shows them.
 *
 * A vector's largest component becomes 127; the question stays at 16 bits, and products are summed in integers, so that
 * every code path gives the same bits. Exact up to the rounding of the stored side. Rows lie in blocks, one an extent.
 */
#ifndef HISHO_RETRIEVAL_VECTORS_H
#define HISHO_RETRIEVAL_VECTORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

#define HS_VECTOR_ROW_ALIGN 32 /* rows are padded with zeros to a multiple */

struct hs_vectors {
	uint32_t dimensions, stride;
	uint32_t rows;   /* there are; ordinals from here on have none */
	float *scale;    /* (rows): 0 where the chunk has no vector */
	int8_t *data;    /* (rows, stride) */
};

struct hs_vectors *hs_vectors_create(uint32_t dimensions, uint32_t rows) HS_MUST_CHECK;
void hs_vectors_destroy(struct hs_vectors *v); /* takes NULL */
struct hs_vectors *hs_vectors_clone(const struct hs_vectors *v, uint32_t rows) HS_MUST_CHECK; /* with at least so many rows */
uint64_t hs_vectors_bytes(const struct hs_vectors *v);

/* out: (dimensions). Returns the scale; 0 for a vector of zeros, or one with components that are not finite. */
float hs_vector_quantise(const float *v, uint32_t dimensions, int8_t *out);

/* The encoded row of the database: f32 scale, then the components. */
static inline size_t hs_vector_row_len(uint32_t dimensions)
{
	return 4 + (size_t)dimensions;
}

struct hs_vector_query {
	float scale;
	uint32_t dimensions, stride;
	int16_t *q; /* (stride), padded with zeros */
};

/* -EINVAL where the question's vector is all zeros or not finite. */
int hs_vector_query_init(struct hs_vector_query *q, const float *v, uint32_t dimensions) HS_MUST_CHECK;
void hs_vector_query_finish(struct hs_vector_query *q);

/* row: (stride) int8; its product with the question, in integers. The fastest path that this machine has. */
int32_t hs_vector_dot(const struct hs_vector_query *q, const int8_t *row);
int32_t hs_vector_dot_plain(const struct hs_vector_query *q, const int8_t *row); /* the oracle of the tests */

#endif
