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

/* kind 1: many equal logits; 2: none is a number; 3: infinity on top */
static const char *vocabulary(uint32_t n, int kind)
{
	static const struct row rows[] = {{0, 1, 0, false},       {0, 1, 0, true},     {1, 1, 0, false},
					  {0.7f, 0.9f, 40, true}, {2, 0.5f, 3, false}, {1.5f, 1, 1024, true},
					  {1, 0.95f, 5000, false}};
	const uint32_t n_rows = sizeof rows / sizeof rows[0], stride = hs_gpu_round(n, 32) + 32, words = (n + 31) / 32;
	struct maker k = {n + (uint64_t)kind};
	std::vector<float> logits = make_floats(&k, n_rows * stride, 5), temperatures, top_ps;
	std::vector<uint32_t> allowed(n_rows * words), top_ks;
	std::vector<uint64_t> states;
	for (float &x : logits)
		x = kind == 1 ? floorf(x) * 0 + (x > 4 ? 1 : 0) : kind == 2 ? NAN : x;
	for (uint32_t i = 0; i < n_rows; i++) {
		if (kind == 3)
			logits[i * stride + n / 2] = INFINITY;
		for (uint32_t w = 0; w < words; w++)
			allowed[i * words + w] = rows[i].masked ? (uint32_t)make_bits(&k) : 0xffffffffu;
		temperatures.push_back(rows[i].temperature);
		top_ps.push_back(rows[i].top_p);
		top_ks.push_back(rows[i].top_k);
		states.push_back(make_bits(&k));
	}
	struct hs_gpu_sampling s = {device_array(logits),
				    stride,
				    n_rows,
				    n,
				    device_array(temperatures),
				    device_array(top_ps),
				    device_array(top_ks),
				    device_array(states),
				    device_array(allowed),
				    words,
				    device_room<int32_t>(n_rows)};
	if (hs_gpu_sample(nullptr, &s))
		return "the launch was refused";
	std::vector<int32_t> ids = device_result(s.ids, n_rows);
	std::vector<uint64_t> after = device_result(s.states, n_rows);
	for (uint32_t i = 0; i < n_rows; i++) {
		int32_t want = choose(&rows[i], logits.data() + i * stride, allowed.data() + i * words, n, &states[i]);
		if (ids[i] != want || after[i] != states[i])
			return wrong("vocabulary of %u, kind %d, row %u: %d instead of %d", n, kind, i, ids[i], want);
	}
	return nullptr;
}

static const char *vocabularies(void)
{
	for (int kind = 0; kind < 4; kind++) {
		const char *failure = vocabulary(kind == 0 ? 3001 : 1500, kind);
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
	std::vector<float> logits = make_floats(&k, 2 * 128, 5), temperatures = {1, 0}, top_ps = {1, 1};
	std::vector<uint32_t> allowed(8), top_ks = {0, 0};
	std::vector<uint64_t> states = {1, 2};
	allowed[2] = 1u << 9;
	struct hs_gpu_sampling s = {device_array(logits),
				    128,
				    2,
				    n,
				    device_array(temperatures),
				    device_array(top_ps),
				    device_array(top_ks),
				    device_array(states),
				    device_array(allowed),
				    4,
				    device_room<int32_t>(2)};
	if (hs_gpu_sample(nullptr, &s))
		return "the launch was refused";
	std::vector<int32_t> ids = device_result(s.ids, 2);
	return ids[0] == 73 && ids[1] == -1 ? nullptr : wrong("%d and %d instead of 73 and -1", ids[0], ids[1]);
}

const std::vector<struct device_case> cases_of_sample = {{"vocabularies", vocabularies}, {"masks", masks}};
