/*
 * A BEIR folder: corpus.jsonl {_id, title, text}, queries.jsonl {_id, text, answers?}, qrels.tsv or qrels/test.tsv; and the
 * usual figures of a run over it, defined as trec_eval and BEIR do for binary relevance.
 */
#ifndef HISHO_CLI_BEIR_H
#define HISHO_CLI_BEIR_H

#include <jansson.h>

#include "base/err.h"

struct hs_beir {
	json_t *corpus;  /* array of {_id, title, text} */
	json_t *queries; /* array of {_id, text, answers} */
	json_t *gold;    /* object: query id -> object: document id -> grade, those > 0 */
};

int hs_beir_load(const char *folder, struct hs_beir *ret, struct hs_err *err) HS_MUST_CHECK;
void hs_beir_finish(struct hs_beir *b);

#define HS_BEIR_DEPTH 100 /* documents of a query that count */

struct hs_beir_figures { /* means over the queries that have gold documents, 0..1 */
	size_t queries;
	double recall_1, recall_5, recall_10, recall_100, mrr_10, ndcg_10;
};

/* run: object, query id -> array of document ids, best first, without repetition. */
void hs_beir_score(const struct hs_beir *b, const json_t *run, struct hs_beir_figures *ret);

#endif
