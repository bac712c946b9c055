/*
 * From a question to evidence: the question's embedding (where there is an embedder, and in time), search on a reader thread,
 * the best passages put in order by a reranker (where there is one, and in time), and the choice of sentences on a reader thread.
 * Shared by /v1/search and the answer.
 *
 * The reranker sees what the search gave and nothing else: passages that the grant allows, each looked up again. It orders, and
 * neither adds nor removes; where it is away, slow or late, the order of the search stands, and `reranked` says so.
 */
#ifndef HISHO_DAEMON_TENANT_RETRIEVE_H
#define HISHO_DAEMON_TENANT_RETRIEVE_H

#include "daemon/tenant/exchange.h"
#include "retrieval/evidence.h"

/* Evidence is owed within 300 ms, 600 beside a running generation: past this, a question is searched by words alone. */
#define HS_QUERY_EMBED_MS 400

/*
 * A reranker has so long, and so many passages at most; fewer where its measured rate does not let it read them in that time.
 * It is not asked for fewer than two.
 */
#define HS_RERANK_MS 600
#define HS_RERANK_PASSAGES_MAX 20u
#define HS_RERANKS_MAX 4u /* of a tenant at one time; a search beyond it keeps its order */

struct hs_retrieval {
	struct hs_exchange *x;
	const char *text;       /* lives in the exchange's arena */
	enum hs_search_mode mode;
	uint32_t k, per_document;
	size_t budget;          /* characters of evidence; 0: none is chosen */
	void (*done)(struct hs_retrieval *r, int rc);

	/* filled before done(0) */
	struct hs_results results;
	struct hs_evidence evidence;
	bool reranked;

	float *vector;
	uint32_t dimensions;
	uint64_t infer_request; /* of the embedding, then of the reranking */
	bool reranks;            /* there is a reranker to be asked */
	uint32_t n_asked;        /* passages that it was given */
	bool counted;            /* among the tenant's rerankings */
	uv_timer_t *timer;
};

/* Starts; done is called once from the loop unless this fails. The exchange must carry a grant. */
int hs_retrieve(struct hs_retrieval *r) HS_MUST_CHECK;

/* Stop waiting for infer. done is not called any more. */
void hs_retrieval_cancel(struct hs_retrieval *r);
void hs_retrieval_finish(struct hs_retrieval *r);

/* How many of the passages a reranker of that rate (tokens a second) reads in its time; a character counts as a token. */
uint32_t hs_rerank_affordable(const struct hs_hit *hits, size_t count, size_t question_len, float rate);

/* The first n hits by their scores, best first; equal ones stay as they were. */
void hs_rerank_order(struct hs_hit *hits, const float *scores, uint32_t n);

#endif
