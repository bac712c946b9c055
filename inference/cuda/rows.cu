/* What treats each row alone: norms, activations, sums, embeddings, rotations, pooling. */
#include "inference/cuda/weights.cuh"

#define THREADS 256u
#define WARPS (THREADS / 32)

/* The sum over `warps` warps that share a row, in every thread; warps are added in ascending order. */
template <int warps> static __device__ float row_sum(float x)
{
	SHARED(float, parts, WARPS);
	x = op_warp_sum(x);
	if (warps == 1)
		return x;
	if (op_lane() == 0)
		parts[threadIdx.x / 32] = x;
	if (!PLANTED(1))
		SYNC();
	float sum = 0;
	for (int i = 0; i < warps; i++)
		sum += parts[i];
	if (!PLANTED(2))
		SYNC();
	return sum;
}

/* x, of the columns that a warp holds together, to bytes: columns past the row's end are zero. */
static __device__ void put(const struct hs_gpu_acts *out, size_t at, size_t group, float x)
{
	if (out->q) {
		float top = op_warp_max(fabsf(x)), inverse = top > 0 ? 127 / top : 0, scale = top / 127;
		int q = (int)rintf(x * inverse);
		out->q[at] = (int8_t)q;
		float sum = op_warp_sum((float)q);
		if (op_lane() == 0) {
			out->scale[group] = scale;
			out->sum[group] = scale * sum;
		}
	}
	if (out->x)
		out->x[at] = x;
}

template <int warps> static __global__ __launch_bounds__(THREADS) void normalise(struct hs_gpu_norm_job j)
{
	uint32_t warp = threadIdx.x / 32, row = blockIdx.x * (WARPS / warps) + (warps == 1 ? warp : 0);
	uint32_t first = (warps == 1 ? 0 : warp) * 32 + op_lane();
	if (row >= j.rows)
		return;
	size_t at = (size_t)(row / j.heads) * j.stride + (size_t)(row % j.heads) * j.n;
	size_t out_at = (size_t)(row / j.heads) * j.out.stride + (size_t)(row % j.heads) * j.n;
	size_t weight_at = j.weight_per_head ? (size_t)(row % j.heads) * j.n : 0;
	const float *in = j.in + at;
	float mean = 0, scale = 1;
	if (j.kind == HS_GPU_NORM_LAYER) {
		for (uint32_t c = first; c < j.n; c += 32 * warps)
			mean += in[c];
		mean = row_sum<warps>(mean) / (float)j.n;
	}
	if (j.kind != HS_GPU_NORM_NONE) {
		float square = 0;
		for (uint32_t c = first; c < j.n; c += 32 * warps)
			square = fmaf(in[c] - mean, in[c] - mean, square);
		scale = 1 / sqrtf(row_sum<warps>(square) / (float)j.n + j.eps);
	}
	uint32_t end = j.heads == 1 ? hs_gpu_round(j.n, 32) : j.n;
	for (uint32_t c = first; c < end; c += 32 * warps) {
		float x = 0;
		if (c < j.n) {
			x = in[c];
			if (j.kind != HS_GPU_NORM_NONE)
				x = (x - mean) * scale * (j.weight ? j.weight[weight_at + c] : 1) +
				    (j.bias ? j.bias[weight_at + c] : 0);
			if (j.residual)
				x = j.residual[at + c] + x;
		}
		if (PLANTED(12) && c % 32 >= 16)
			continue;
		put(&j.out, out_at + c, (out_at + c) / 32, x);
	}
}

int hs_gpu_normalise(hs_gpu_stream stream, const struct hs_gpu_norm_job *job)
{
	if (job->rows == 0 || job->n == 0 || job->heads == 0 || job->n > HS_GPU_COLUMNS_MAX || job->stride % 32 ||
	    job->out.stride % 32 || (job->heads > 1 && job->out.q) || (job->out.q && !(job->out.scale && job->out.sum)))
		return -EINVAL;
	if (job->n <= 512)
		return op_launch(normalise<1>, dim3((job->rows + WARPS - 1) / WARPS), dim3(THREADS), stream, *job);
	return op_launch(normalise<WARPS>, dim3(job->rows), dim3(THREADS), stream, *job);
}

static __device__ float activated(enum hs_gpu_act act, float v)
{
	switch (act) {
	case HS_GPU_ACT_SILU:
		return v / (1 + expf(-v));
	case HS_GPU_ACT_GELU:
		return 0.5f * v * (1 + erff(v * 0.70710678118654752f));
	case HS_GPU_ACT_GELU_TANH:
		return v / (1 + expf(-1.5957691216057308f * fmaf(v * v * v, 0.044715f, v)));
	case HS_GPU_ACT_TANH:
		return tanhf(v);
	default:
		return v;
	}
}

/* g sigmoid(1.702 g) (u + 1) with g at most 7 and u within 7 of zero, as gpt-oss has it. */
static __device__ float swiglu_clamped(float g, float u)
{
	g = fminf(g, 7.0f);
	u = fminf(fmaxf(u, -7.0f), 7.0f);
	return g / (1 + expf(-1.702f * g)) * (u + 1);
}

static __global__ __launch_bounds__(THREADS) void activate(enum hs_gpu_act act, const float *gate, const float *up,
							   uint32_t stride, uint32_t n, struct hs_gpu_acts out)
{
	uint32_t row = blockIdx.y, c = (blockIdx.x * WARPS + threadIdx.x / 32) * 32 + op_lane();
	if (c - op_lane() >= n)
		return;
	float x = 0;
	if (c < n) {
		x = up[(size_t)row * stride + c];
		if (!gate)
			x = activated(act, x);
		else if (act == HS_GPU_ACT_SWIGLU_CLAMPED)
			x = swiglu_clamped(gate[(size_t)row * stride + c], x);
		else
			x = activated(act, gate[(size_t)row * stride + c]) * x;
	}
	size_t at = (size_t)row * out.stride + c;
	put(&out, at, at / 32, x);
}

int hs_gpu_activate(hs_gpu_stream stream, enum hs_gpu_act act, const float *gate, const float *up, uint32_t stride, uint32_t rows,
		    uint32_t n, const struct hs_gpu_acts *out)
{
	if (rows == 0 || rows > HS_GPU_TOKENS_MAX || n == 0 || n > HS_GPU_COLUMNS_MAX || stride % 32 || out->stride % 32 ||
	    (act == HS_GPU_ACT_SWIGLU_CLAMPED && !gate) || (out->q && !(out->scale && out->sum)))
		return -EINVAL;
	return op_launch(activate, dim3((n + THREADS - 1) / THREADS, rows), dim3(THREADS), stream, act, gate, up, stride, n,
			 *out);
}

static __global__ __launch_bounds__(THREADS) void add(float *x, const float *y, uint32_t stride, uint32_t n)
{
	uint32_t c = blockIdx.x * THREADS + threadIdx.x;
	size_t at = (size_t)blockIdx.y * stride + c;
	if (c < n || (PLANTED(14) && c == n))
		x[at] += y[at];
}

int hs_gpu_add(hs_gpu_stream stream, float *x, const float *y, uint32_t stride, uint32_t rows, uint32_t n)
{
	if (rows == 0 || rows > HS_GPU_TOKENS_MAX || n == 0 || n > HS_GPU_COLUMNS_MAX)
		return -EINVAL;
	return op_launch(add, dim3((n + THREADS - 1) / THREADS, rows), dim3(THREADS), stream, x, y, stride, n);
}

static __global__ __launch_bounds__(THREADS) void scale(float *x, uint32_t stride, uint32_t n, float factor, float cap)
{
	uint32_t c = blockIdx.x * THREADS + threadIdx.x;
	if (c >= n)
		return;
	float v = x[(size_t)blockIdx.y * stride + c] * factor;
	x[(size_t)blockIdx.y * stride + c] = cap > 0 ? cap * tanhf(v / cap) : v;
}

int hs_gpu_scale(hs_gpu_stream stream, float *x, uint32_t stride, uint32_t rows, uint32_t n, float factor, float cap)
{
	if (rows == 0 || rows > HS_GPU_TOKENS_MAX || n == 0)
		return -EINVAL;
	return op_launch(scale, dim3((n + THREADS - 1) / THREADS, rows), dim3(THREADS), stream, x, stride, n, factor, cap);
}

static __device__ float weight_at(const struct hs_gpu_matrix *m, uint32_t row, uint32_t c)
{
	const uint8_t *data = static_cast<const uint8_t *>(m->data);
	switch (m->type) {
	case HS_GPU_Q4:
		return value_of<HS_GPU_Q4>(data, m->columns, row, c);
	case HS_GPU_Q5:
		return value_of<HS_GPU_Q5>(data, m->columns, row, c);
	case HS_GPU_Q6:
		return value_of<HS_GPU_Q6>(data, m->columns, row, c);
	case HS_GPU_Q8:
		return value_of<HS_GPU_Q8>(data, m->columns, row, c);
	case HS_GPU_MX4:
		return value_of<HS_GPU_MX4>(data, m->columns, row, c);
	case HS_GPU_F16:
		return value_of<HS_GPU_F16>(data, m->columns, row, c);
	case HS_GPU_BF16:
		return value_of<HS_GPU_BF16>(data, m->columns, row, c);
	default:
		return value_of<HS_GPU_F32>(data, m->columns, row, c);
	}
}

static __global__ __launch_bounds__(THREADS) void embed(struct hs_gpu_matrix m, const int32_t *ids, float factor,
							struct hs_gpu_matrix learned, const uint32_t *positions,
							struct hs_gpu_matrix types, float *x, uint32_t stride)
{
	uint32_t token = blockIdx.y, c = blockIdx.x * THREADS + threadIdx.x;
	if (c >= hs_gpu_round(m.columns, 32))
		return;
	float v = 0;
	if (c < m.columns) {
		v = weight_at(&m, (uint32_t)ids[token], c) * factor;
		if (learned.data)
			v += weight_at(&learned, positions[token], c);
		if (types.data)
			v += weight_at(&types, 0, c);
	}
	x[(size_t)token * stride + c] = v;
}

int hs_gpu_embed(hs_gpu_stream stream, const struct hs_gpu_matrix *m, const int32_t *ids, uint32_t tokens, float factor,
		 const struct hs_gpu_matrix *learned, const uint32_t *positions, const struct hs_gpu_matrix *types, float *x,
		 uint32_t stride)
{
	struct hs_gpu_matrix none = {HS_GPU_F32, 0, 0, NULL, NULL};
	if (tokens == 0 || tokens > HS_GPU_TOKENS_MAX || m->columns == 0 || stride < hs_gpu_round(m->columns, 32) ||
	    (learned && (!positions || learned->columns != m->columns)) || (types && types->columns != m->columns))
		return -EINVAL;
	return op_launch(embed, dim3((hs_gpu_round(m->columns, 32) + THREADS - 1) / THREADS, tokens), dim3(THREADS), stream, *m,
			 ids, factor, learned ? *learned : none, positions, types ? *types : none, x, stride);
}

static __global__ __launch_bounds__(THREADS) void turn(const double *frequencies, uint32_t pairs, double gain,
						       const uint32_t *positions, uint32_t tokens, float *cosines, float *sines)
{
	uint32_t i = blockIdx.x * THREADS + threadIdx.x;
	if (i >= tokens * pairs)
		return;
	double angle = positions[i / pairs] * frequencies[i % pairs];
	cosines[i] = (float)(gain * cos(angle));
	sines[i] = (float)(gain * sin(angle));
}

int hs_gpu_turn(hs_gpu_stream stream, const double *frequencies, uint32_t pairs, double gain, const uint32_t *positions,
		uint32_t tokens, float *cosines, float *sines)
{
	if (tokens == 0 || tokens > HS_GPU_TOKENS_MAX || pairs == 0 || pairs > HS_GPU_HEAD_DIM_MAX / 2)
		return -EINVAL;
	return op_launch(turn, dim3((tokens * pairs + THREADS - 1) / THREADS), dim3(THREADS), stream, frequencies, pairs, gain,
			 positions, tokens, cosines, sines);
}

static __global__ __launch_bounds__(THREADS) void rotate(enum hs_gpu_rope kind, float *x, uint32_t stride, uint32_t heads,
							 uint32_t half, const float *cosines, const float *sines)
{
	uint32_t token = blockIdx.y, n = blockIdx.x * THREADS + threadIdx.x, head = n / half, i = n % half;
	if (head >= heads)
		return;
	float *row = x + (size_t)token * stride + (size_t)head * 2 * half;
	float *a = row + (kind == HS_GPU_ROPE_HALF ? i : 2 * i), *b = kind == HS_GPU_ROPE_HALF ? a + half : a + 1;
	float c = cosines[(size_t)token * half + i], s = sines[(size_t)token * half + i], was = *a;
	*a = was * c - *b * s;
	*b = was * s + *b * c;
}

int hs_gpu_rotate(hs_gpu_stream stream, enum hs_gpu_rope kind, float *x, uint32_t stride, uint32_t tokens, uint32_t heads,
		  uint32_t head_dim, const float *cosines, const float *sines)
{
	if (kind == HS_GPU_ROPE_NONE || tokens == 0 || tokens > HS_GPU_TOKENS_MAX || heads == 0 || head_dim == 0 ||
	    head_dim % 2 || head_dim > HS_GPU_HEAD_DIM_MAX || (uint64_t)heads * head_dim > stride)
		return -EINVAL;
	uint32_t half = head_dim / 2;
	return op_launch(rotate, dim3((heads * half + THREADS - 1) / THREADS, tokens), dim3(THREADS), stream, kind, x, stride,
			 heads, half, cosines, sines);
}

/* A block a text: each thread keeps its columns; their squares are added up for the length. */
static __global__ __launch_bounds__(THREADS) void pool(enum hs_gpu_pooling kind, const float *x, uint32_t stride,
						       const uint32_t *starts, uint32_t n, int unit, float *out,
						       uint32_t out_stride)
{
	uint32_t from = starts[blockIdx.x], to = starts[blockIdx.x + 1];
	float *row = out + (size_t)blockIdx.x * out_stride, square = 0;
	if (kind == HS_GPU_POOL_FIRST)
		to = from + 1;
	if (kind == HS_GPU_POOL_LAST)
		from = to - 1;
	for (uint32_t c = threadIdx.x; c < n; c += THREADS) {
		double sum = 0;
		for (uint32_t t = from; t < to; t++)
			sum += (double)x[(size_t)t * stride + c];
		float v = (float)(sum / (to - from));
		row[c] = v;
		square = fmaf(v, v, square);
	}
	for (uint32_t c = n + threadIdx.x; c < hs_gpu_round(n, 32) && c < out_stride; c += THREADS)
		row[c] = 0;
	if (PLANTED(11) && threadIdx.x >= n)
		return;
	square = row_sum<WARPS>(square);
	for (uint32_t c = threadIdx.x; unit && c < n; c += THREADS)
		row[c] = square > 0 ? row[c] / sqrtf(square) : 0;
}

int hs_gpu_pool(hs_gpu_stream stream, enum hs_gpu_pooling kind, const float *x, uint32_t stride, const uint32_t *starts,
		uint32_t texts, uint32_t n, int unit, float *out, uint32_t out_stride)
{
	if (kind == HS_GPU_POOL_NONE || texts == 0 || n == 0 || n > stride || n > out_stride)
		return -EINVAL;
	return op_launch(pool, dim3(texts), dim3(THREADS), stream, kind, x, stride, starts, n, unit, out, out_stride);
}
