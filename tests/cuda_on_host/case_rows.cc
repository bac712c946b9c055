/* Norms, activations, embeddings, rotations, pooling: each row against the same in double. */
#include "tests/cuda_on_host/device.h"

static const double none = -1e30;

struct norm_shape {
	enum hs_gpu_norm kind;
	uint32_t rows, heads, n;
	bool weight, bias, per_head, residual, bytes;
};

/* Bytes give back their row to half a step, and tell their own sum. */
static const char *check_bytes(const struct hs_gpu_acts *a, uint32_t rows, uint32_t n, const std::vector<double> &want)
{
	uint32_t stride = a->stride, used = hs_gpu_round(n, 32);
	std::vector<int8_t> q((size_t)rows * stride);
	std::vector<float> scale(q.size() / 32), sum(q.size() / 32);
	for (size_t at = 0; at < q.size(); at += stride) { /* what pads a stride further stays as it was */
		device_take(q.data() + at, a->q + at, used);
		device_take(scale.data() + at / 32, a->scale + at / 32, used / 8);
		device_take(sum.data() + at / 32, a->sum + at / 32, used / 8);
	}
	for (uint32_t r = 0; r < rows; r++)
		for (uint32_t group = 0; group < used / 32; group++) {
			size_t at = ((size_t)r * stride + group * 32) / 32;
			int total = 0;
			for (uint32_t c = group * 32; c < group * 32 + 32; c++) {
				double x = c < n ? want[(size_t)r * n + c] : 0, step = (double)scale[at];
				int8_t code = q[(size_t)r * stride + c];
				total += code;
				if (!(fabs(step * code - x) <= 0.501 * step + 1e-6))
					return wrong("byte %u of row %u is %d times %g instead of %g", c, r, code, step, x);
			}
			if (sum[at] != scale[at] * (float)total)
				return wrong("the sum of group %u of row %u is %g", group, r, (double)sum[at]);
		}
	return nullptr;
}

static const char *norm(const struct norm_shape *s)
{
	struct maker k = {s->n * 3u + s->rows};
	uint32_t tokens = s->rows / s->heads, width = s->heads * s->n, stride = hs_gpu_round(width, 32) + 32;
	std::vector<float> x = make_floats(&k, (size_t)tokens * stride, 3), weight = make_floats(&k, width, 1),
			   bias = make_floats(&k, width, 1);
	std::vector<float> residual = make_floats(&k, x.size(), 2);
	std::vector<double> want;
	for (uint32_t row = 0; row < s->rows; row++) {
		size_t at = (size_t)(row / s->heads) * stride + (size_t)(row % s->heads) * s->n;
		size_t weight_at = s->per_head ? (size_t)(row % s->heads) * s->n : 0;
		double mean = 0, square = 0;
		for (uint32_t c = 0; c < s->n && s->kind == HS_GPU_NORM_LAYER; c++)
			mean += (double)x[at + c] / s->n;
		for (uint32_t c = 0; c < s->n; c++)
			square += ((double)x[at + c] - mean) * ((double)x[at + c] - mean) / s->n;
		double scale = s->kind == HS_GPU_NORM_NONE ? 1 : 1 / sqrt(square + 1e-5);
		for (uint32_t c = 0; c < s->n; c++) {
			double v = ((double)x[at + c] - mean) * scale;
			if (s->kind != HS_GPU_NORM_NONE)
				v = v * (s->weight ? (double)weight[weight_at + c] : 1) +
				    (s->bias ? (double)bias[weight_at + c] : 0);
			want.push_back(v + (s->residual ? (double)residual[at + c] : 0));
		}
	}
	struct hs_gpu_norm_job job = {};
	job.kind = s->kind;
	job.in = device_array(x);
	job.stride = stride;
	job.rows = s->rows;
	job.heads = s->heads;
	job.n = s->n;
	job.weight = s->weight ? device_array(weight) : nullptr;
	job.bias = s->bias ? device_array(bias) : nullptr;
	job.weight_per_head = s->per_head;
	job.eps = 1e-5f;
	job.out.stride = stride;
	job.out.x = s->residual ? device_array(residual) : device_room<float>(x.size());
	job.residual = s->residual ? job.out.x : nullptr;
	if (s->bytes) {
		job.out.q = device_room<int8_t>(x.size());
		job.out.scale = device_room<float>(x.size() / 32);
		job.out.sum = device_room<float>(x.size() / 32);
	}
	if (hs_gpu_normalise(nullptr, &job))
		return "the launch was refused";
	std::vector<float> out((size_t)tokens * stride), got;
	for (uint32_t t = 0; t < tokens; t++)
		device_take(out.data() + (size_t)t * stride, job.out.x + (size_t)t * stride,
			    (s->heads == 1 ? hs_gpu_round(s->n, 32) : width) * sizeof(float));
	for (uint32_t row = 0; row < s->rows; row++)
		for (uint32_t c = 0; c < s->n; c++)
			got.push_back(out[(size_t)(row / s->heads) * stride + (size_t)(row % s->heads) * s->n + c]);
	for (uint32_t t = 0; t < tokens && s->heads == 1; t++)
		for (uint32_t c = s->n; c < hs_gpu_round(s->n, 32); c++)
			if (out[(size_t)t * stride + c] != 0)
				return "the padding of a row is not zero";
	const char *failure = compare("norm", got, want, 3e-6);
	std::vector<double> rounded(got.begin(), got.end());
	return failure || !s->bytes ? failure : check_bytes(&job.out, s->rows, s->n, rounded);
}

static const char *norms(void)
{
	static const struct norm_shape shapes[] = {
	    {HS_GPU_NORM_RMS, 3, 1, 64, true, false, false, false, false},
	    {HS_GPU_NORM_RMS, 9, 1, 40, true, false, false, true, true},
	    {HS_GPU_NORM_LAYER, 2, 1, 600, true, true, false, false, false},
	    {HS_GPU_NORM_RMS, 2, 1, 545, true, false, false, false, false},
	    {HS_GPU_NORM_RMS, 12, 4, 24, true, false, false, false, false},
	    {HS_GPU_NORM_LAYER, 6, 3, 33, true, false, true, false, false},
	    {HS_GPU_NORM_NONE, 1, 1, 64, false, false, false, false, true},
	};
	for (const struct norm_shape &s : shapes) {
		const char *failure = norm(&s);
		if (failure)
			return wrong("%u rows of %u: %s", s.rows, s.n, failure);
	}
	return nullptr;
}

static const char *norm_bytes(void)
{
	struct norm_shape s = {HS_GPU_NORM_RMS, 2, 1, 700, true, true, false, false, true};
	return norm(&s);
}

/* In place, as after an embedding; a row of zeros gives zeros, not NaN. */
static const char *norm_of_zeros(void)
{
	struct hs_gpu_norm_job job = {};
	float *x = device_array(std::vector<float>(64));
	job.kind = HS_GPU_NORM_NONE;
	job.in = x;
	job.stride = job.out.stride = 64;
	job.rows = job.heads = 1;
	job.n = 64;
	job.out.x = x;
	job.out.q = device_room<int8_t>(64);
	job.out.scale = device_room<float>(2);
	job.out.sum = device_room<float>(2);
	if (hs_gpu_normalise(nullptr, &job))
		return "the launch was refused";
	return check_bytes(&job.out, 1, 64, std::vector<double>(64));
}

static double activation(enum hs_gpu_act act, double gate, double up)
{
	double v = gate == none ? up : gate, y = v;
	if (act == HS_GPU_ACT_SWIGLU_CLAMPED) {
		double g = fmin(gate, 7), u = fmax(fmin(up, 7), -7);
		return g / (1 + exp(-1.702 * g)) * (u + 1);
	}
	if (act == HS_GPU_ACT_SILU)
		y = v / (1 + exp(-v));
	if (act == HS_GPU_ACT_GELU)
		y = 0.5 * v * (1 + erf(v / sqrt(2)));
	if (act == HS_GPU_ACT_GELU_TANH)
		y = 0.5 * v * (1 + tanh(sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
	if (act == HS_GPU_ACT_TANH)
		y = tanh(v);
	return gate == none ? y : y * up;
}

static const char *activations(void)
{
	const uint32_t rows = 2, n = 300, stride = 320;
	for (int act = HS_GPU_ACT_SILU; act <= HS_GPU_ACT_NONE; act++)
		for (int gated = act == HS_GPU_ACT_SWIGLU_CLAMPED; gated < 2; gated++) {
			struct maker k = {(uint64_t)act};
			std::vector<float> gate = make_floats(&k, rows * stride, 9), up = make_floats(&k, rows * stride, 9);
			std::vector<double> want, rounded;
			struct hs_gpu_acts out = {stride, device_array(up), device_room<int8_t>(rows * stride),
						  device_room<float>(rows * stride / 32), device_room<float>(rows * stride / 32)};
			if (hs_gpu_activate(nullptr, (enum hs_gpu_act)act, gated ? device_array(gate) : nullptr, out.x, stride,
					    rows, n, &out))
				return "the launch was refused";
			std::vector<float> x = device_result(out.x, rows * stride), got;
			for (uint32_t i = 0; i < rows * stride; i++) {
				if (i % stride >= n) {
					if (x[i] != 0)
						return "the padding of a row is not zero";
					continue;
				}
				want.push_back(activation((enum hs_gpu_act)act, gated ? (double)gate[i] : none, (double)up[i]));
				got.push_back(x[i]);
			}
			const char *failure = compare("activation", got, want, 2e-6);
			rounded.assign(got.begin(), got.end());
			if (!failure)
				failure = check_bytes(&out, rows, n, rounded);
			if (failure)
				return wrong("activation %d: %s", act, failure);
		}
	return nullptr;
}

static const char *sums(void)
{
	const uint32_t rows = 3, n = 290, stride = 320;
	struct maker k = {3};
	std::vector<float> x = make_floats(&k, (rows - 1) * stride + n, 1), y = make_floats(&k, x.size(), 1);
	std::vector<double> want(x.begin(), x.end());
	float *at = device_array(x);
	for (size_t i = 0; i < x.size(); i++)
		if (i % stride < n)
			want[i] += (double)y[i];
	if (hs_gpu_add(nullptr, at, device_array(y), stride, rows, n))
		return "the launch was refused";
	const char *failure = compare("sum", device_result(at, x.size()), want, 1e-7);
	if (failure)
		return failure;
	for (size_t i = 0; i < x.size(); i++)
		if (i % stride < n)
			want[i] = 5 * tanh(0.5 * want[i] / 5);
	if (hs_gpu_scale(nullptr, at, stride, rows, n, 0.5f, 5))
		return "the launch was refused";
	return compare("cap", device_result(at, x.size()), want, 1e-6);
}

static const char *embeddings(void)
{
	const uint32_t columns = 72, stride = 96, tokens = 3;
	static const enum hs_gpu_type types[] = {HS_GPU_Q4,  HS_GPU_Q5,  HS_GPU_Q6,   HS_GPU_Q8,
						 HS_GPU_MX4, HS_GPU_F16, HS_GPU_BF16, HS_GPU_F32};
	for (enum hs_gpu_type type : types) {
		struct maker k = {type + 40u};
		struct made_matrix m = make_matrix(&k, type, 50, columns, 1, false);
		struct made_matrix learned = make_matrix(&k, HS_GPU_F32, 9, columns, 1, false);
		struct made_matrix kinds = make_matrix(&k, HS_GPU_F16, 2, columns, 1, false);
		std::vector<int32_t> ids = {0, 49, 17};
		std::vector<uint32_t> positions = {8, 0, 3};
		std::vector<double> want;
		bool more = type == HS_GPU_Q8;
		for (uint32_t t = 0; t < tokens; t++)
			for (uint32_t c = 0; c < stride; c++)
				want.push_back(
				    c >= columns ? 0
						 : 2 * m.values[(size_t)ids[t] * columns + c] +
						       (more ? learned.values[positions[t] * columns + c] + kinds.values[c] : 0));
		float *x = device_room<float>(tokens * stride);
		if (hs_gpu_embed(nullptr, &m.m, device_array(ids), tokens, 2, more ? &learned.m : nullptr,
				 device_array(positions), more ? &kinds.m : nullptr, x, stride))
			return "the launch was refused";
		const char *failure = compare("embedding", device_result(x, tokens * stride), want, 1e-6);
		if (failure)
			return wrong("type %d: %s", type, failure);
	}
	return nullptr;
}

static const char *rotations(void)
{
	const uint32_t heads = 5, half = 12, tokens = 3, stride = 128;
	std::vector<double> frequencies;
	for (uint32_t i = 0; i < half; i++)
		frequencies.push_back(pow(10000, -2.0 * i / (2 * half)));
	std::vector<uint32_t> positions = {0, 5, 100000};
	for (int kind = HS_GPU_ROPE_HALF; kind <= HS_GPU_ROPE_INTERLEAVED; kind++) {
		struct maker k = {(uint64_t)kind};
		std::vector<float> x = make_floats(&k, tokens * stride, 1);
		std::vector<double> want(x.begin(), x.end());
		for (uint32_t t = 0; t < tokens; t++)
			for (uint32_t i = 0; i < heads * half; i++) {
				double *row = want.data() + t * stride + i / half * 2 * half,
				       angle = positions[t] * frequencies[i % half];
				double *a = row + (kind == HS_GPU_ROPE_HALF ? i % half : 2 * (i % half));
				double *b = a + (kind == HS_GPU_ROPE_HALF ? half : 1), was = *a;
				*a = 1.5 * (was * cos(angle) - *b * sin(angle));
				*b = 1.5 * (was * sin(angle) + *b * cos(angle));
			}
		float *at = device_array(x), *c = device_room<float>(tokens * half), *s = device_room<float>(tokens * half);
		if (hs_gpu_turn(nullptr, device_array(frequencies), half, 1.5, device_array(positions), tokens, c, s) ||
		    hs_gpu_rotate(nullptr, (enum hs_gpu_rope)kind, at, stride, tokens, heads, 2 * half, c, s))
			return "a launch was refused";
		const char *failure = compare("rotation", device_result(at, x.size()), want, 1e-6);
		if (failure)
			return wrong("kind %d: %s", kind, failure);
	}
	return nullptr;
}

static const char *pooling(void)
{
	const uint32_t n = 70, stride = 96, texts = 3;
	std::vector<uint32_t> starts = {0, 1, 4, 9};
	struct maker k = {11};
	std::vector<float> x = make_floats(&k, starts[texts] * stride, 1);
	for (int kind = HS_GPU_POOL_MEAN; kind <= HS_GPU_POOL_LAST; kind++)
		for (int unit = 0; unit < 2; unit++) {
			std::vector<double> want(texts * stride);
			for (uint32_t i = 0; i < texts; i++) {
				double square = 0;
				for (uint32_t c = 0; c < n; c++) {
					double sum = 0;
					for (uint32_t t = starts[i]; t < starts[i + 1]; t++)
						sum += (double)x[t * stride + c] / (starts[i + 1] - starts[i]);
					if (kind != HS_GPU_POOL_MEAN)
						sum = (double)
						    x[(kind == HS_GPU_POOL_FIRST ? starts[i] : starts[i + 1] - 1) * stride + c];
					want[i * stride + c] = sum;
					square += sum * sum;
				}
				for (uint32_t c = 0; c < n && unit; c++)
					want[i * stride + c] /= sqrt(square);
			}
			float *out = device_room<float>(texts * stride);
			if (hs_gpu_pool(nullptr, (enum hs_gpu_pooling)kind, device_array(x), stride, device_array(starts), texts,
					n, unit, out, stride))
				return "the launch was refused";
			const char *failure = compare("pooled", device_result(out, texts * stride), want, 1e-6);
			if (failure)
				return wrong("kind %d: %s", kind, failure);
		}
	return nullptr;
}

const std::vector<struct device_case> cases_of_rows = {
    {"norms", norms},     {"norms to bytes", norm_bytes}, {"a row of zeros", norm_of_zeros}, {"activations", activations},
    {"sums, caps", sums}, {"embeddings", embeddings},     {"rotations", rotations},          {"pooling", pooling},
};
