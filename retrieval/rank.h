/*
 * Ranking over a view: BM25 of two fields at two levels, vectors, and their mixture.
 *
 * BM25 with the idf of Lucene, log(1 + (N - df + 0.5) / (df + 0.5)); N, df and the mean length are counted over the view.
 * The question is scored against each chunk and, from the same postings, against each whole document. A field's scores are
 * divided by its best; words and bigrams weigh half each. A passage is worth document_share of its document's score and the
 * rest of its own, so the order of passages and the order of documents (by their best passage) come from one number.
 * Vectors: cosines, scaled so that the hundredth document's is 0 and the best is 1; a document's is its best chunk's, beside
 * words the mean of its best and its first chunk's.
 *
 * A score depends on the view only, bit for bit: terms are added in the question's order, sums are made of integers.
 */
#ifndef HISHO_RETRIEVAL_RANK_H
#define HISHO_RETRIEVAL_RANK_H

#include "retrieval/index.h"
#include "text/analyze.h"

#define HS_RANK_DENSE_DEPTH 100

struct hs_rank_params {
	float k1, b;
	float document_share; /* 0: passages only, 1: whole documents only */
	float hybrid_weight;  /* of vectors in the mixture */
};
#define HS_RANK_DEFAULTS ((struct hs_rank_params){.k1 = 1.2f, .b = 0.75f, .document_share = 0.5f, .hybrid_weight = 0.5f})

struct hs_rank_term {
	const char *s;
	uint32_t len;
	float idf; /* filled by hs_rank_words: among chunks of the view */
};

struct hs_rank_terms { /* distinct, in the question's order */
	struct hs_rank_term *items;
	size_t count;
};

struct hs_ranked {
	uint32_t ordinal, document;
	float score;
};

/* Scratch for one thread's rankings; grows with the index and is kept. */
struct hs_ranker;
struct hs_ranker *hs_ranker_create(void) HS_MUST_CHECK;
void hs_ranker_destroy(struct hs_ranker *r); /* takes NULL */

/*
 * Begin a ranking over a view, which outlives it. Then hs_rank_words or hs_rank_vectors or both, then hs_rank_finish.
 * stop (or NULL) is looked at now and then: where it is set, the call ends with -ECANCELED.
 */
int hs_rank_begin(struct hs_ranker *r, const struct hs_sight *v, const struct hs_rank_params *p, const int *stop) HS_MUST_CHECK;

/* terms: one list a field; their idf are filled in. */
int hs_rank_words(struct hs_ranker *r, struct hs_rank_terms terms[static HS_FIELDS]) HS_MUST_CHECK;

/* *ret_best: the best cosine, 0 where no chunk of the view has a vector. */
int hs_rank_vectors(struct hs_ranker *r, const struct hs_vector_query *q, float *ret_best) HS_MUST_CHECK;

/* Only ordinals whose bit is set (n_extents words of HS_EXTENT_WORDS) may be returned; those without a score score 0. */
void hs_rank_restrict(struct hs_ranker *r, const uint64_t *only);

/* All scores are known: mix them. Then hs_rank_next gives the passages. */
int hs_rank_finish(struct hs_ranker *r) HS_MUST_CHECK;

/*
 * The next best passage; ties by document, then by place. per_document: at most so many of each document, 0: any; the same
 * in all calls of a ranking. False at the end. Sorts as far as it is asked.
 */
bool hs_rank_next(struct hs_ranker *r, uint32_t per_document, struct hs_ranked *ret) HS_MUST_CHECK;

/* Share of the words' idf that this ordinal's chunk holds, 0..1; after hs_rank_words. */
float hs_rank_coverage(const struct hs_ranker *r, uint32_t ordinal);

#endif
