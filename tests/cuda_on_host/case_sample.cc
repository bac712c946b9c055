/* Sampling against the same choice made by sorting: greedy, top-k, top-p, masks, ties, and rows without a number. */
#include <algorithm>

#include "tests/cuda_on_host/device.h"

struct row {
	float temperature, top_p;
	uint32_t top_k;
	bool masked;
};

static double draw(uint64_t *state)
{
	struct maker k = {*state};
	double point = (double)(make_bits(&k) >> 11) * 0x1p-53;
	*state = k.rng;
	return point;
}

static int32_t choose(const struct row *r, const float *logits, const uint32_t *allowed, uint32_t n, uint64_t *state)
{
	std::vector<uint32_t> ids;
	for (uint32_t i = 0; i < n; i++)
		if (logits[i] == logits[i] && (!allowed || (allowed[i / 32] >> i % 32 & 1)))
			ids.push_back(i);
	std::stable_sort(ids.begin(), ids.end(), [logits](uint32_t a, uint32_t b) { return logits[a] > logits[b]; });
	if (ids.empty())
		return -1;
	if (!(r->temperature > 0) || std::isinf(logits[ids[0]]))
		return (int32_t)ids[0];
	uint32_t most = r->top_k && r->top_k < 1024 ? r->top_k : 1024, m = 0;
	if (ids.size() > most)
		ids.resize(most);
	std::vector<double> weights;
	double total = 0, kept = 0;
	for (uint32_t id : ids) {
		weights.push_back(exp(((double)logits[id] - (double)logits[ids[0]]) / (double)r->temperature));
		total += weights.back();
	}
	double enough = r->top_p > 0 && r->top_p < 1 ? (double)r->top_p * total : total;
	while (m < ids.size() && kept < enough)
		kept += weights[m++];
	double point = draw(state) * kept;
	for (uint32_t i = 0; i + 1 < m; i++) {
		if (point < weights[i])
			return (int32_t)ids[i];
		point -= weights[i];
	}
	return (int32_t)ids[m ? m - 1 : 0];
}

static double logprob(const float *logits, uint32_t n, uint32_t id)
{
	double top = -INFINITY, sum = 0;
	for (uint32_t i = 0; i < n; i++)
		top = fmax(top, (double)logits[i]);
	for (uint32_t i = 0; i < n; i++)
		sum += exp((double)logits[i] - top);
	return (double)logits[id] - top - log(sum);
}

/* kind 1: many equal logits; 2: none is a number; 3: infinity on top; 4: whole slices of nothing */
static const char *vocabulary(uint32_t n, int kind)
{
	static const struct row rows[] = {{0, 1, 0, false},       {0, 1, 0, true},     {1, 1, 0, false},
					  {0.7f, 0.9f, 40, true}, {2, 0.5f, 3, false}, {1.5f, 1, 1024, true},
					  {1, 0.95f, 5000, false}};
	const uint32_t n_rows = sizeof rows / sizeof rows[0], stride = hs_gpu_round(n, 32) + 32, words = (n + 31) / 32;
	struct maker k = {n + (uint64_t)kind};
	std::vector<float> logits = make_floats(&k, n_rows * stride, 5);
	std::vector<uint32_t> allowed;
	std::vector<struct hs_gpu_wish> wishes;
	for (float &x : logits)
		x = kind == 1 ? floorf(x) * 0 + (x > 4 ? 1 : 0) : kind == 2 ? NAN : x;
	for (uint32_t i = 0; i < n_rows; i++) {
		if (kind == 3)
			logits[i * stride + n / 2] = INFINITY;
		for (uint32_t id = 0; kind == 4 && id + 3 < n; id++)
			logits[i * stride + id] = -INFINITY;
		uint32_t mask = rows[i].masked ? (uint32_t)allowed.size() / words : HS_GPU_NO_MASK;
		for (uint32_t w = 0; w < words && rows[i].masked; w++)
			allowed.push_back((uint32_t)make_bits(&k) | (w + 1 == words ? 1 : 0));
		wishes.push_back({rows[i].temperature, rows[i].top_p, rows[i].top_k, mask, make_bits(&k)});
	}
	const uint32_t slices = (n + HS_GPU_SLICE - 1) / HS_GPU_SLICE;
	struct hs_gpu_sampling s = {device_array(logits),
				    stride,
				    n_rows,
				    n,
				    device_array(wishes),
				    device_array(allowed),
				    words,
				    device_room<struct hs_gpu_slice>(n_rows * slices),
				    device_room<struct hs_gpu_chosen>(n_rows)};
	if (hs_gpu_sample(nullptr, &s))
		return "the launch was refused";
	std::vector<struct hs_gpu_chosen> got = device_result(s.chosen, n_rows);
	for (uint32_t i = 0; i < n_rows; i++) {
		const float *row = logits.data() + i * stride;
		int32_t want =
		    choose(&rows[i], row, rows[i].masked ? allowed.data() + wishes[i].mask * words : NULL, n, &wishes[i].state);
		if (got[i].id != want)
			return wrong("vocabulary of %u, kind %d, row %u: %d instead of %d", n, kind, i, got[i].id, want);
		double said = (double)got[i].logprob, is = want < 0 ? NAN : logprob(row, n, (uint32_t)want);
		if (std::isnan(said) != std::isnan(is) || fabs(said - is) > 2e-6 * (1 + fabs(is)))
			return wrong("vocabulary of %u, kind %d, row %u: log %.9g instead of %.9g", n, kind, i, said, is);
	}
	return nullptr;
}

static const char *vocabularies(void)
{
	for (int kind = 0; kind < 5; kind++) {
		const char *failure = vocabulary(kind == 0 ? 3001 : kind == 4 ? 2 * HS_GPU_SLICE + 5 : 1500, kind);
		if (!failure)
			failure = vocabulary(33, kind);
		if (failure)
			return failure;
	}
	return vocabulary(1, 0);
}

/* A grammar that leaves one id, and one that leaves none. */
static const char *masks(void)
{
	const uint32_t n = 100;
	struct maker k = {4};
	std::vector<float> logits = make_floats(&k, 2 * 128, 5);
	std::vector<uint32_t> allowed(8);
	std::vector<struct hs_gpu_wish> wishes = {{1, 1, 0, 0, 1}, {0, 1, 0, 1, 2}};
	allowed[2] = 1u << 9;
	struct hs_gpu_sampling s = {device_array(logits),
				    128,
				    2,
				    n,
				    device_array(wishes),
				    device_array(allowed),
				    4,
				    device_room<struct hs_gpu_slice>(2),
				    device_room<struct hs_gpu_chosen>(2)};
	if (hs_gpu_sample(nullptr, &s))
		return "the launch was refused";
	std::vector<struct hs_gpu_chosen> got = device_result(s.chosen, 2);
	return got[0].id == 73 && got[1].id == -1 ? nullptr : wrong("%d and %d instead of 73 and -1", got[0].id, got[1].id);
}

const std::vector<struct device_case> cases_of_sample = {{"vocabularies", vocabularies}, {"masks", masks}};
