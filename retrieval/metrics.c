#include "retrieval/metrics.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/macros.h"

static const size_t cuts[4] = {1, 5, 10, 100};

static bool is_gold(const char *const *gold, size_t n, const char *id)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(gold[i], id) == 0)
			return true;
	return false;
}

void hs_metrics_add(struct hs_metrics *m, const char *const *gold, size_t n_gold, const char *const *ranked, size_t n_ranked)
{
	double gain = 0, ideal = 0;
	size_t first = 0, cut = 0, found = 0;

	if (n_gold == 0)
		return;
	for (size_t i = 0; i < HS_MAX(n_ranked, (size_t)100); i++) {
		/* Recall counts a document once, wherever it is repeated; a gain is given at each place. */
		bool hit = i < n_ranked && is_gold(gold, n_gold, ranked[i]);

		found += hit && !is_gold(ranked, i, ranked[i]);
		if (hit && i < 10) {
			gain += 1 / log2((double)i + 2);
			first = first ? first : i + 1;
		}
		if (cut < HS_ARRAY_LEN(cuts) && i + 1 == cuts[cut])
			m->recall[cut++] += (double)found / (double)n_gold;
	}
	for (size_t i = 0; i < HS_MIN(n_gold, (size_t)10); i++)
		ideal += 1 / log2((double)i + 2);
	m->mrr += first ? 1.0 / (double)first : 0;
	m->ndcg += gain / ideal;
	m->ndcg_square += gain / ideal * (gain / ideal);
	m->queries++;
}

struct hs_metrics_mean hs_metrics_mean(const struct hs_metrics *m)
{
	struct hs_metrics_mean mean = {0};
	double n = (double)m->queries, variance;

	if (m->queries == 0)
		return mean;
	for (size_t i = 0; i < HS_ARRAY_LEN(cuts); i++)
		mean.recall[i] = 100 * m->recall[i] / n;
	mean.mrr = 100 * m->mrr / n;
	mean.ndcg = 100 * m->ndcg / n;
	variance = m->ndcg_square / n - (m->ndcg / n) * (m->ndcg / n);
	mean.spread = 196 * sqrt(fmax(0, variance)) / sqrt(n);
	return mean;
}
