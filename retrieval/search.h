/*
 * Search: a question and a grant to ranked passages.
 *
 * Words rank by BM25 over two fields (MeCab words and character bigrams), whose counts (N, df, mean length) are taken
 * over what the grant sees, at query time; meaning ranks by int8 vectors; hybrid mixes both. Every passage is looked up
 * again in the database before it is returned: class, deletion, expiry, document by document. Nothing tells a forbidden
 * document from a missing one, and no score leaves the tenant process.
 */
#ifndef HISHO_RETRIEVAL_SEARCH_H
#define HISHO_RETRIEVAL_SEARCH_H

#include "retrieval/store.h"

#define HS_SEARCH_K_MAX 200
#define HS_SEARCH_TEXT_MAX 8192     /* bytes of a question */
#define HS_SEARCH_TERMS_MAX 512     /* distinct terms of one field; the rest of a question is passed over */

enum hs_search_mode {
	HS_SEARCH_LEXICAL = 1,
	HS_SEARCH_VECTOR = 2,
	HS_SEARCH_HYBRID = 3, /* falls back to lexical where no vector is given or none is stored */
	HS_SEARCH_PHRASE = 4, /* "..." phrases, word*, AND OR NOT ( ): exact matching, newest first */
};

struct hs_query {
	enum hs_search_mode mode;
	const char *text; /* UTF-8 */
	size_t len;
	const float *vector; /* L2-normalised, of the store's model; or NULL */
	uint32_t dimensions;
	uint32_t k;             /* passages wanted, 1..HS_SEARCH_K_MAX */
	uint32_t per_document;  /* at most so many passages of one document; 0: no bound. 1 makes a ranking of documents */
	const uint32_t *classes; /* only these among the granted, ascending; NULL: all granted */
	size_t n_classes;
	int64_t now_ms;
	float hybrid_weight; /* of the vectors, 0..1; negative: the default, 0.5 */
};

struct hs_hit { /* strings are owned by the results */
	struct hs_id document, version;
	uint32_t class_id;
	uint32_t chunk;      /* index within the version, from 0 */
	uint32_t start, end; /* bytes of the canonical text */
	uint32_t page;       /* 0: no pages */
	const char *title, *context;
	const char *text; /* the canonical text from start to end */
	size_t text_len;
};

struct hs_query_term { /* a bigram of the question and what it is worth among what the asker sees */
	const char *term;
	uint32_t len;
	float idf;
};

/*
 * What an answerability check may look at. It is made from visible passages only, but it is still a score: it stays
 * inside the tenant process.
 */
struct hs_search_signals {
	float dense_best;  /* best cosine; 0 where vectors took no part */
	float coverage;    /* share of the question's idf that the best passage holds, words */
};

struct hs_results {
	struct hs_hit *hits; /* best first: the index is the rank */
	size_t count;
	struct hs_query_term *terms;
	size_t n_terms;
	struct hs_search_signals signals;
	bool vectors_used;
	struct hs_arena *arena;
};

/*
 * -ESTALE "grant.stale": resolve the grant again. -EINVAL "search.syntax" (phrase mode; err->object says where),
 * "search.text", "search.vector" (dimensions are not the model's), "search.k". -ECANCELED: hs_reader_cancel.
 */
int hs_search(struct hs_reader *r, const struct hs_grant *g, const struct hs_query *q, struct hs_results *ret,
	      struct hs_err *err) HS_MUST_CHECK;
void hs_results_finish(struct hs_results *r);

/* From another thread: the search that runs on this reader ends soon with -ECANCELED. */
void hs_reader_cancel(struct hs_reader *r);

#endif
