/*
 * Ranking quality of a run against judged documents: recall at 1, 5, 10 and 100, MRR at 10, nDCG at 10 with binary gains.
 * Järvelin and Kekäläinen 2002 for nDCG: gain 1 / log2(rank + 1), ideal over min(10, judged).
 */
#ifndef HISHO_RETRIEVAL_METRICS_H
#define HISHO_RETRIEVAL_METRICS_H

#include <stddef.h>

struct hs_metrics { /* zeroed to start; sums until hs_metrics_mean */
	size_t queries;
	double recall[4]; /* at 1, 5, 10, 100 */
	double mrr, ndcg;
	double ndcg_square; /* for the spread */
};

/* One query: gold and ranked are document ids; duplicates in ranked count at each place where they stand. */
void hs_metrics_add(struct hs_metrics *m, const char *const *gold, size_t n_gold, const char *const *ranked, size_t n_ranked);

struct hs_metrics_mean { /* percent */
	double recall[4], mrr, ndcg;
	double spread; /* 95% interval of ndcg, half its width */
};
struct hs_metrics_mean hs_metrics_mean(const struct hs_metrics *m);

#endif
