/*
 * From a question to evidence: the question's embedding (where there is an embedder, and in time), then search and
 * sentence selection on a reader thread. Shared by /v1/search and the answer.
 */
#ifndef HISHO_DAEMON_TENANT_RETRIEVE_H
#define HISHO_DAEMON_TENANT_RETRIEVE_H

#include "daemon/tenant/exchange.h"
#include "retrieval/evidence.h"

/* Evidence is owed within 300 ms, 600 beside a running generation: past this, a question is searched by words alone. */
#define HS_QUERY_EMBED_MS 400

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

	float *vector;
	uint32_t dimensions;
	uint64_t embed_request;
	uv_timer_t *timer;
};

/* Starts; done is called once from the loop unless this fails. The exchange must carry a grant. */
int hs_retrieve(struct hs_retrieval *r) HS_MUST_CHECK;

/* Stop waiting for an embedding. done is not called any more. */
void hs_retrieval_cancel(struct hs_retrieval *r);
void hs_retrieval_finish(struct hs_retrieval *r);

/* Run the search part on a reader thread: for callers that are there already. */
int hs_retrieve_now(struct hs_retrieval *r, struct hs_reader *reader) HS_MUST_CHECK;

#endif
