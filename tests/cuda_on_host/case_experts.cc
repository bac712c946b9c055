/* Experts: the choice, the order of visits, products by expert, and the sum of what they say. */
#include <algorithm>

#include "tests/cuda_on_host/device.h"

struct wanted {
	std::vector<uint32_t> experts; /* (tokens, used) best first */
	std::vector<double> shares;
};

static struct wanted choose(const std::vector<float> &scores, uint32_t stride, uint32_t tokens, uint32_t n, uint32_t used)
{
	struct wanted w;
	for (uint32_t t = 0; t < tokens; t++) {
		std::vector<uint32_t> order(n);
		double total = 0;
		const float *s = scores.data() + t * stride;
		for (uint32_t e = 0; e < n; e++)
			order[e] = e;
		std::stable_sort(order.begin(), order.end(), [s](uint32_t a, uint32_t b) { return s[a] > s[b]; });
		for (uint32_t k = 0; k < used; k++)
			total += exp((double)s[order[k]] - (double)s[order[0]]);
		for (uint32_t k = 0; k < used; k++) {
			w.experts.push_back(order[k]);
			w.shares.push_back(exp((double)s[order[k]] - (double)s[order[0]]) / total);
		}
	}
	return w;
}

static const char *check_routes(const struct hs_gpu_routes *r, const struct wanted *w)
{
	uint32_t n = r->tokens * r->used, at = 0;
	std::vector<uint32_t> visits = device_result(r->visits, n), starts = device_result(r->starts, r->experts + 1);
	std::vector<uint32_t> rows = device_result(r->rows, n);
	for (uint32_t e = 0; e < r->experts; e++) {
		if (starts[e] != at)
			return wrong("expert %u starts at %u instead of %u", e, starts[e], at);
		for (uint32_t i = 0; i < n; i++)
			if (w->experts[i] == e) {
				if (visits[at] != i / r->used || rows[i] != at)
					return wrong("visit %u is token %u's instead of %u's, whose row says %u", at, visits[at],
						     i / r->used, rows[i]);
				at++;
			}
	}
	return starts[r->experts] == n ? compare("shares", device_result(r->shares, n), w->shares, 1e-6)
				       : "the visits do not add up";
}

static struct hs_gpu_routes make_routes(uint32_t tokens, uint32_t experts, uint32_t used)
{
	return {tokens,
		experts,
		used,
		device_room<uint32_t>(tokens * used),
		device_room<uint32_t>(experts + 1),
		device_room<uint32_t>(tokens * used),
		device_room<float>(tokens * used)};
}

static const char *route(uint32_t tokens, uint32_t experts, uint32_t used, bool ties)
{
	struct maker k = {tokens + experts};
	uint32_t stride = hs_gpu_round(experts, 32);
	std::vector<float> scores = make_floats(&k, tokens * stride, 3);
	for (float &s : scores)
		s = ties ? floorf(s) : s;
	struct hs_gpu_routes r = make_routes(tokens, experts, used);
	if (hs_gpu_route(nullptr, device_array(scores), stride, &r))
		return "the launch was refused";
	struct wanted w = choose(scores, stride, tokens, experts, used);
	return check_routes(&r, &w);
}

static const char *routes(void)
{
	const char *failure = route(5, 8, 2, true);
	if (!failure)
		failure = route(300, 40, 4, false); /* more choices than are looked at together */
	return failure ? failure : route(1, 3, 3, false);
}

/* Gate, activation left out, and down of a small layer. */
static const char *layer(enum hs_gpu_type type, uint32_t tokens)
{
	const uint32_t experts = 5, used = 2, embd = 64, ff = 48, ff_stride = 64;
	struct maker k = {tokens + 77u};
	std::vector<float> scores = make_floats(&k, tokens * 32, 2);
	struct hs_gpu_routes r = make_routes(tokens, experts, used);
	struct made_matrix up = make_matrix(&k, type, ff, embd, experts, true),
			   down = make_matrix(&k, HS_GPU_F32, embd, ff, experts, false);
	struct made_acts x = make_acts(&k, tokens, embd, 1);
	const std::vector<double> &in = type < HS_GPU_F16 ? x.bytes : x.floats;
	std::vector<float> before = make_floats(&k, tokens * embd, 1);
	float *middle = device_room<float>(tokens * used * ff_stride), *said = device_room<float>(tokens * used * embd);
	float *sum = device_array(before);
	struct hs_gpu_acts a = {ff_stride, middle, nullptr, nullptr, nullptr};
	if (hs_gpu_route(nullptr, device_array(scores), 32, &r) ||
	    hs_gpu_multiply_experts(nullptr, &up.m, &x.a, &r, 1, middle, ff_stride) ||
	    hs_gpu_multiply_experts(nullptr, &down.m, &a, &r, 0, said, embd) ||
	    hs_gpu_gather_experts(nullptr, &r, said, embd, sum, embd, embd))
		return "a launch was refused";
	struct wanted w = choose(scores, 32, tokens, experts, used);
	std::vector<double> want(before.begin(), before.end());
	for (uint32_t i = 0; i < tokens * used; i++) {
		double inner[48];
		uint32_t e = w.experts[i];
		for (uint32_t f = 0; f < ff; f++) {
			inner[f] = up.bias[e * ff + f];
			for (uint32_t c = 0; c < embd; c++)
				inner[f] += up.values[((size_t)e * ff + f) * embd + c] * in[i / used * embd + c];
		}
		for (uint32_t c = 0; c < embd; c++)
			for (uint32_t f = 0; f < ff; f++)
				want[i / used * embd + c] +=
				    w.shares[i] * down.values[((size_t)e * embd + c) * ff + f] * inner[f];
	}
	const char *failure = check_routes(&r, &w);
	return failure ? failure : compare("experts", device_result(sum, tokens * embd), want, 5e-5);
}

static const char *layers(void)
{
	static const enum hs_gpu_type types[] = {HS_GPU_MX4, HS_GPU_Q4, HS_GPU_F16, HS_GPU_F32};
	for (enum hs_gpu_type type : types)
		for (uint32_t tokens : {1u, 6u, 30u}) {
			const char *failure = layer(type, tokens);
			if (failure)
				return wrong("type %d, %u tokens: %s", type, tokens, failure);
		}
	return nullptr;
}

const std::vector<struct device_case> cases_of_experts = {{"routes", routes}, {"layers", layers}};
