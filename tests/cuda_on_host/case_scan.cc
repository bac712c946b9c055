/* Scores of byte vectors: exact. */
#include "tests/cuda_on_host/device.h"

static const char *scan(uint32_t dim, uint32_t n_vectors, uint32_t n_queries)
{
	struct maker k = {dim + n_vectors};
	std::vector<int8_t> vectors(n_vectors * dim), queries(n_queries * dim);
	for (int8_t &x : vectors)
		x = (int8_t)make_bits(&k);
	for (int8_t &x : queries)
		x = (int8_t)make_bits(&k);
	int32_t *scores = device_room<int32_t>(n_vectors * n_queries);
	if (hs_gpu_scan(nullptr, device_array(vectors), n_vectors, device_array(queries), n_queries, dim, scores))
		return "the launch was refused";
	std::vector<int32_t> got = device_result(scores, n_vectors * n_queries);
	for (uint32_t q = 0; q < n_queries; q++)
		for (uint32_t v = 0; v < n_vectors; v++) {
			int32_t want = 0;
			for (uint32_t c = 0; c < dim; c++)
				want += vectors[v * dim + c] * queries[q * dim + c];
			if (got[q * n_vectors + v] != want)
				return wrong("vector %u, query %u: %d instead of %d", v, q, got[q * n_vectors + v], want);
		}
	return nullptr;
}

static const char *scans(void)
{
	const char *failure = scan(32, 5, 1);
	if (!failure)
		failure = scan(160, 70, 35);
	return failure ? failure : scan(384, 16, 8);
}

const std::vector<struct device_case> cases_of_scan = {{"scans", scans}};
