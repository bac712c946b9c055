/* Products of every weight type with one token and with many: against sums in double, and the same bits however many there are.
 */
#include "tests/cuda_on_host/device.h"

static const enum hs_gpu_type types[] = {HS_GPU_Q4,  HS_GPU_Q5,  HS_GPU_Q6,   HS_GPU_Q8,
					 HS_GPU_MX4, HS_GPU_F16, HS_GPU_BF16, HS_GPU_F32};

static double row_product(const struct made_matrix *w, const std::vector<double> &x, uint32_t row, uint32_t token)
{
	double sum = w->bias[row];
	for (uint32_t c = 0; c < w->m.columns; c++)
		sum += w->values[(size_t)row * w->m.columns + c] * x[(size_t)token * w->m.columns + c];
	return sum;
}

static const char *one(enum hs_gpu_type type, uint32_t rows, uint32_t columns, uint32_t tokens, bool add, bool bias)
{
	struct maker k = {rows * 7919u + columns * 31u + tokens + type};
	struct made_matrix w = make_matrix(&k, type, rows, columns, 1, bias);
	struct made_acts x = make_acts(&k, tokens, columns, 2);
	uint32_t stride = hs_gpu_round(rows, 32);
	std::vector<float> before = make_floats(&k, (size_t)tokens * stride, 1);
	std::vector<double> want(before.size());
	for (uint32_t t = 0; t < tokens; t++)
		for (uint32_t r = 0; r < stride; r++) {
			size_t at = (size_t)t * stride + r;
			want[at] = add ? (double)before[at] : 0;
			if (r < rows)
				want[at] += row_product(&w, type < HS_GPU_F16 ? x.bytes : x.floats, r, t);
		}
	float *y = add ? device_array(before) : device_room<float>(before.size());
	if (hs_gpu_multiply(nullptr, &w.m, &x.a, tokens, y, stride, add))
		return "the launch was refused";
	std::vector<float> got = device_result(y, before.size());
	const char *failure = compare("product", got, want, type == HS_GPU_BF16 ? 3e-4 : 2e-5 /* 16 bits of a token's numbers */);
	if (failure)
		return wrong("type %d, %u x %u, %u tokens: %s", type, rows, columns, tokens, failure);
	/* Each token alone gives the same bits. */
	for (uint32_t t = 0; t < tokens && !add && tokens > 1; t += 7) {
		struct hs_gpu_acts a = x.a;
		a.x += (size_t)t * a.stride;
		a.q += (size_t)t * a.stride;
		a.scale += (size_t)t * a.stride / 32;
		a.sum += (size_t)t * a.stride / 32;
		float *alone = device_room<float>(stride);
		if (hs_gpu_multiply(nullptr, &w.m, &a, 1, alone, stride, 0))
			return "the launch of one token was refused";
		if (memcmp(device_result(alone, stride).data(), got.data() + (size_t)t * stride, stride * sizeof(float)) != 0)
			return wrong("type %d: token %u of %u has other bits alone", type, t, tokens);
	}
	return nullptr;
}

static const char *one_token(void)
{
	for (enum hs_gpu_type type : types) {
		const char *failure = one(type, 37, 96, 1, false, true);
		if (!failure)
			failure = one(type, 16, 288, 1, true, false);
		if (failure)
			return failure;
	}
	return nullptr;
}

static const char *few_tokens(void)
{
	for (enum hs_gpu_type type : types) {
		const char *failure = one(type, 33, 320, 3, false, false);
		if (!failure)
			failure = one(type, 16, 40, 8, true, true);
		if (failure)
			return failure;
	}
	return nullptr;
}

static const char *many_tokens(void)
{
	for (enum hs_gpu_type type : types) {
		const char *failure = one(type, 18, 64, 27, false, true);
		if (failure)
			return failure;
	}
	return one(HS_GPU_Q4, 40, 96, 70, false, true);
}

static const char *many_tokens_q6(void)
{
	return one(HS_GPU_Q6, 48, 64, 65, false, true);
}

static const char *refusals(void)
{
	struct maker k = {1};
	struct made_matrix w = make_matrix(&k, HS_GPU_Q4, 16, 32, 1, false);
	struct made_acts x = make_acts(&k, 1, 32, 1);
	float *y = device_room<float>(32);
	struct hs_gpu_acts none = x.a;
	none.q = nullptr;
	if (hs_gpu_multiply(nullptr, &w.m, &none, 1, y, 32, 0) == 0 || hs_gpu_multiply(nullptr, &w.m, &x.a, 0, y, 32, 0) == 0 ||
	    hs_gpu_multiply(nullptr, &w.m, &x.a, 1, y, 16, 0) == 0)
		return "a launch that cannot be was taken";
	return hs_gpu_multiply(nullptr, &w.m, &x.a, 1, y, 32, 0) ? "a good launch was refused" : nullptr;
}

const std::vector<struct device_case> cases_of_multiply = {
    {"one token", one_token},      {"a few tokens", few_tokens},
    {"many tokens", many_tokens},  {"many tokens, Q6", many_tokens_q6},
    {"what is refused", refusals},
};
