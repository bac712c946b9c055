/*
 * Matrices times tokens, for one token or many, with the same sums: the columns' groups of 32 are dealt to eight slices (group g
 * to slice g % 8), each slice adds its groups in ascending order, and slices are joined in pairs. Products of a group are whole
 * numbers, so it does not matter which instruction makes them: one token takes dp4a (a lane a row and slice), more take tensor
 * cores (a warp a slice). F16 and BF16 take tensor cores for any number of tokens, the tokens being split into two halves each.
 */
#include "inference/cuda/weights.cuh"

#define SLICES 8u
#define THREADS (SLICES * 32u)
#define COLUMNS_A_TILE 8u /* tokens that one product takes */

struct job {
	struct hs_gpu_matrix m;
	struct hs_gpu_acts a;
	uint32_t tokens, groups;
	float *y;
	uint32_t y_stride;
	int add;
	/* Of experts: NULL and zero otherwise. */
	const uint32_t *starts, *visits;
	uint64_t expert_bytes;
	int by_token;
};

/* The rows of y that a block's expert (or everyone) has, and where its matrix is. */
struct part {
	uint32_t from, to;
	const uint8_t *data;
	const float *bias;
};

static __device__ struct part part_of(const struct job *j)
{
	struct part p = {0, j->tokens, static_cast<const uint8_t *>(j->m.data), j->m.bias};
	if (j->starts) {
		p.from = j->starts[blockIdx.z];
		p.to = j->starts[blockIdx.z + 1];
		p.data += blockIdx.z * j->expert_bytes;
		p.bias = p.bias ? p.bias + (size_t)blockIdx.z * j->m.rows : NULL;
	}
	return p;
}

/* The row of the activations that row v of y is made of. */
static __device__ uint32_t source_of(const struct job *j, uint32_t v)
{
	return j->starts && j->by_token ? j->visits[v] : v;
}

/* y[token][row] from a finished sum; the rows that pad the last tile to 32 are zero. */
static __device__ void put(const struct job *j, const struct part *p, uint32_t token, uint32_t row, float sum)
{
	float *y = j->y + (size_t)token * j->y_stride + row;
	if (row >= j->m.rows) {
		if (!j->add && row < hs_gpu_round(j->m.rows, 32))
			*y = 0;
		return;
	}
	sum += p->bias ? p->bias[row] : 0;
	*y = j->add ? *y + sum : sum;
}

/* The last tile's block also clears what its rows leave of 32. */
static __device__ void put_padding(const struct job *j, uint32_t row_tile, uint32_t from, uint32_t to)
{
	uint32_t row = (row_tile + 1) * 16 + threadIdx.x % 16;
	if (j->add || (row_tile + 1) * 16 < j->m.rows || row_tile % 2)
		return;
	for (uint32_t token = from + threadIdx.x / 16; token < to; token += blockDim.x / 16)
		j->y[(size_t)token * j->y_stride + row] = 0;
}

/* ---- one token ---- */

template <int type>
static __device__ __forceinline__ void dot_group(const uint8_t *tile, unsigned row, const int8_t *q, int dots[2])
{
	const uint8_t *codes = tile + hs_gpu_codes_at((enum hs_gpu_type)type) + row * (type == HS_GPU_Q8 ? 32 : 16);
	words16 a = *reinterpret_cast<const words16 *>(q), b = *reinterpret_cast<const words16 *>(q + 16);
	words16 w = *reinterpret_cast<const words16 *>(codes), more = w;
	uint32_t plane0 = 0, plane1 = 0;
	if (type == HS_GPU_Q8)
		more = *reinterpret_cast<const words16 *>(codes + 16);
	if (type == HS_GPU_Q5)
		plane0 = word_at(tile + HS_GPU_PLANES_AT + 4 * row);
	if (type == HS_GPU_Q6) {
		plane0 = word_at(tile + HS_GPU_PLANES_AT + 8 * row);
		plane1 = word_at(tile + HS_GPU_PLANES_AT + 8 * row + 4);
	}
	dots[0] = dots[1] = 0;
	UNROLL
	for (unsigned t = 0; t < 4; t++) {
		uint32_t first, second;
		codes_of<type>(w.w[t], more.w[t], plane0, plane1, t, &first, &second);
		int *other = type == HS_GPU_Q6 ? &dots[1] : &dots[0];
		dots[0] = op_dp4a((int)first, (int)a.w[t], dots[0]);
		*other = op_dp4a((int)second, (int)b.w[t], *other);
	}
}

/* A warp has 4 rows: lane 8 r + s slice s of row r. A block has 4 warps, a tile's 16 rows. */
template <int type> static __global__ __launch_bounds__(128) void multiply_one(struct job j)
{
	struct part p = part_of(&j);
	unsigned slice = op_lane() % SLICES, row = threadIdx.x / 32 * 4 + op_lane() / SLICES;
	const uint8_t *tile = p.data + (size_t)blockIdx.x * j.groups * hs_gpu_tile_bytes((enum hs_gpu_type)type);
	for (uint32_t v = p.from + blockIdx.y; v < p.to; v += gridDim.y) {
		size_t token = source_of(&j, v);
		const int8_t *q = j.a.q + token * j.a.stride;
		const float *scales = j.a.scale + token * (j.a.stride / 32), *sums = j.a.sum + token * (j.a.stride / 32);
		float sum = 0;
		UNROLL_4 /* so that several loads are on their way */
		    for (uint32_t g = slice; g < j.groups; g += SLICES)
		{
			const uint8_t *at = tile + (size_t)g * hs_gpu_tile_bytes((enum hs_gpu_type)type);
			int dots[2];
			dot_group<type>(at, row, q + g * 32, dots);
			sum = add_group<type>(sum, scale_of<type>(at, row), scales[g], sums[g], dots[0], dots[1]);
		}
		for (int lanes = 1; lanes < (int)SLICES; lanes *= 2)
			sum += SHUFFLE_XOR(sum, lanes);
		if (slice == 0)
			put(&j, &p, v, blockIdx.x * 16 + row, sum);
		put_padding(&j, blockIdx.x, v, v + 1);
	}
}

/* The same with floats. */
static __global__ __launch_bounds__(128) void multiply_floats(struct job j)
{
	struct part p = part_of(&j);
	unsigned slice = op_lane() % SLICES, row = threadIdx.x / 32 * 4 + op_lane() / SLICES;
	const float *tile = reinterpret_cast<const float *>(p.data) + (size_t)blockIdx.x * j.groups * 512 + row * 32;
	for (uint32_t v = p.from + blockIdx.y; v < p.to; v += gridDim.y) {
		const float *x = j.a.x + (size_t)source_of(&j, v) * j.a.stride;
		float sum = 0;
		for (uint32_t g = slice; g < j.groups; g += SLICES)
			for (unsigned c = 0; c < 32; c++)
				sum = fmaf(tile[(size_t)g * 512 + c], x[g * 32 + c], sum);
		for (int lanes = 1; lanes < (int)SLICES; lanes *= 2)
			sum += SHUFFLE_XOR(sum, lanes);
		if (slice == 0)
			put(&j, &p, v, blockIdx.x * 16 + row, sum);
		put_padding(&j, blockIdx.x, v, v + 1);
	}
}

/* ---- more tokens ---- */

/* What a warp holds of the tokens' group: lane 4 g + t has words of token g, and the scales of tokens 2 t and 2 t + 1. */
struct token_group {
	uint32_t b[2];
	float scale[2], sum[2];
};

static __device__ __forceinline__ void load_tokens(const struct job *j, const struct part *p, uint32_t first, uint32_t group,
						   struct token_group *ret)
{
	unsigned g = op_lane() / 4, t = op_lane() % 4;
	*ret = {};
	if (first + g < p->to) {
		const int8_t *q = j->a.q + (size_t)source_of(j, first + g) * j->a.stride + group * 32 + 4 * t;
		ret->b[0] = *reinterpret_cast<const uint32_t *>(q);
		ret->b[1] = *reinterpret_cast<const uint32_t *>(q + 16);
	}
	for (unsigned i = 0; i < 2; i++)
		if (first + 2 * t + i < p->to) {
			size_t at = (size_t)source_of(j, first + 2 * t + i) * (j->a.stride / 32) + group;
			ret->scale[i] = j->a.scale[at];
			ret->sum[i] = j->a.sum[at];
		}
}

template <int type>
static __device__ __forceinline__ void load_weights(const uint8_t *tile, uint32_t a[4], struct row_scale scales[2])
{
	unsigned g = op_lane() / 4, t = op_lane() % 4;
	for (unsigned i = 0; i < 2; i++) {
		unsigned row = g + 8 * i;
		const uint8_t *codes =
		    tile + hs_gpu_codes_at((enum hs_gpu_type)type) + row * (type == HS_GPU_Q8 ? 32 : 16) + 4 * t;
		uint32_t word = word_at(codes), more = 0, plane0 = 0, plane1 = 0;
		if (type == HS_GPU_Q8)
			more = word_at(codes + 16);
		if (type == HS_GPU_Q5)
			plane0 = word_at(tile + HS_GPU_PLANES_AT + 4 * row);
		if (type == HS_GPU_Q6) {
			plane0 = word_at(tile + HS_GPU_PLANES_AT + 8 * row);
			plane1 = word_at(tile + HS_GPU_PLANES_AT + 8 * row + 4);
		}
		codes_of<type>(word, more, plane0, plane1, PLANTED(4) ? g % 4 : t, &a[i], &a[2 + i]);
		scales[i] = scale_of<type>(tile, row);
	}
}

/* sums[0..3] as a product's D: rows g, g + 8 and tokens 2 t, 2 t + 1. */
template <int type>
static __device__ __forceinline__ void add_product(float sums[4], const uint32_t a[4], const struct row_scale scales[2],
						   const struct token_group *x)
{
	int32_t first[4] = {0, 0, 0, 0}, second[4] = {0, 0, 0, 0};
	if (type == HS_GPU_Q6) {
		MMA_S8_K16(first, a, x->b);
		MMA_S8_K16(second, a + 2, x->b + 1);
	} else {
		MMA_S8_K32(first, a, x->b);
	}
	for (unsigned i = 0; i < 4; i++)
		sums[i] = add_group<type>(sums[i], scales[i / 2], x->scale[i % 2], x->sum[i % 2], first[i], second[i]);
}

/* Join a tile's slices and write it: D of `tiles` products of each warp. */
template <int tiles>
static __device__ void join_slices(const struct job *j, const struct part *p, uint32_t row_tile, uint32_t first,
				   float sums[tiles][4])
{
	SHARED(float, parts, SLICES * 16 * (tiles * COLUMNS_A_TILE + 1));
	const uint32_t width = tiles * COLUMNS_A_TILE + 1, size = 16 * width;
	unsigned slice = threadIdx.x / 32, g = op_lane() / 4, t = op_lane() % 4;
	for (unsigned n = 0; n < tiles; n++)
		for (unsigned i = 0; i < 4; i++)
			parts[slice * size + (g + i / 2 * 8) * width + n * COLUMNS_A_TILE + 2 * t + i % 2] = sums[n][i];
	if (!PLANTED(3))
		SYNC();
	for (unsigned i = threadIdx.x; i < 16 * tiles * COLUMNS_A_TILE; i += THREADS) {
		uint32_t row = i % 16, token = i / 16;
		const float *s = parts + row * width + token;
		float sum = ((s[0] + s[size]) + (s[2 * size] + s[3 * size])) +
			    ((s[4 * size] + s[5 * size]) + (s[6 * size] + s[7 * size]));
		if (first + token < p->to)
			put(j, p, first + token, row_tile * 16 + row, sum);
	}
	SYNC();
	put_padding(j, row_tile, first, first + tiles * COLUMNS_A_TILE < p->to ? first + tiles * COLUMNS_A_TILE : p->to);
}

/* A block has `row_tiles` tiles of rows and `tiles` of tokens; its warps are the slices. */
template <int type, int row_tiles, int tiles> static __global__ __launch_bounds__(THREADS) void multiply_many(struct job j)
{
	struct part p = part_of(&j);
	uint32_t n_row_tiles = (j.m.rows + 15) / 16, row_tile = blockIdx.x * row_tiles,
		 tile_bytes = hs_gpu_tile_bytes((enum hs_gpu_type)type);
	for (uint32_t first = p.from + blockIdx.y * tiles * COLUMNS_A_TILE; first < p.to;
	     first += gridDim.y * tiles * COLUMNS_A_TILE) {
		float sums[row_tiles][tiles][4] = {};
		for (uint32_t g = threadIdx.x / 32; g < j.groups; g += SLICES) {
			uint32_t a[row_tiles][4];
			struct row_scale scales[row_tiles][2];
			UNROLL
			for (unsigned r = 0; r < row_tiles; r++) /* past the last row: the last tile again, thrown away */
				load_weights<type>(
				    p.data +
					((size_t)(row_tile + r < n_row_tiles ? row_tile + r : n_row_tiles - 1) * j.groups + g) *
					    tile_bytes,
				    a[r], scales[r]);
			UNROLL
			for (unsigned n = 0; n < tiles; n++) {
				struct token_group x;
				load_tokens(&j, &p, first + n * COLUMNS_A_TILE, g, &x);
				UNROLL
				for (unsigned r = 0; r < row_tiles; r++)
					add_product<type>(sums[r][n], a[r], scales[r], &x);
			}
		}
		UNROLL
		for (unsigned r = 0; r < row_tiles; r++)
			if (row_tile + r < n_row_tiles)
				join_slices<tiles>(&j, &p, row_tile + r, first, sums[r]);
	}
}

/* A token's two neighbouring columns as 16-bit numbers, and what these leave. */
template <int type> static __device__ __forceinline__ void split_pair(const float *x, uint32_t *high, uint32_t *low)
{
	uint32_t bits[2], rest[2];
	for (unsigned i = 0; i < 2; i++) {
		bits[i] = type == HS_GPU_F16 ? op_float_to_half(x[i]) : op_float_to_bf16(x[i]);
		float left =
		    x[i] - (type == HS_GPU_F16 ? op_half_to_float((uint16_t)bits[i]) : op_bf16_to_float((uint16_t)bits[i]));
		rest[i] = type == HS_GPU_F16 ? op_float_to_half(left) : op_float_to_bf16(left);
	}
	*high = bits[0] | bits[1] << 16;
	*low = rest[0] | rest[1] << 16;
}

template <int type, int tiles> static __global__ __launch_bounds__(THREADS) void multiply_halves(struct job j)
{
	struct part p = part_of(&j);
	unsigned lane_row = op_lane() / 4, t = op_lane() % 4;
	for (uint32_t first = p.from + blockIdx.y * tiles * COLUMNS_A_TILE; first < p.to;
	     first += gridDim.y * tiles * COLUMNS_A_TILE) {
		float sums[tiles][4] = {};
		for (uint32_t g = threadIdx.x / 32; g < j.groups; g += SLICES)
			for (unsigned half = 0; half < 2; half++) {
				const uint8_t *tile = p.data + ((size_t)blockIdx.x * j.groups + g) * 1024 + half * 32 + 4 * t;
				uint32_t a[4] = {word_at(tile + lane_row * 64), word_at(tile + (lane_row + 8) * 64),
						 word_at(tile + lane_row * 64 + 16), word_at(tile + (lane_row + 8) * 64 + 16)};
				for (unsigned n = 0; n < tiles; n++) {
					uint32_t high[2] = {0, 0}, low[2] = {0, 0}, token = first + n * COLUMNS_A_TILE + lane_row;
					if (token < p.to) {
						const float *x = j.a.x + (size_t)source_of(&j, token) * j.a.stride + g * 32 +
								 half * 16 + 2 * t;
						split_pair<type>(x, &high[0], &low[0]);
						split_pair<type>(x + 8, &high[1], &low[1]);
					}
					if (type == HS_GPU_F16) {
						MMA_F16(sums[n], a, high);
						MMA_F16(sums[n], a, low);
					} else {
						MMA_BF16(sums[n], a, high);
						MMA_BF16(sums[n], a, low);
					}
				}
			}
		join_slices<tiles>(&j, &p, blockIdx.x, first, sums);
	}
}

/* ---- launches ---- */

#define GRID_Y_MAX 65535u

static uint32_t chunks_of(uint32_t tokens, uint32_t size)
{
	uint32_t n = (tokens + size - 1) / size;
	return n < GRID_Y_MAX ? n : GRID_Y_MAX;
}

/* most: the most tokens that one matrix meets; usual: how many it meets usually. */
template <int type> static int launch(hs_gpu_stream stream, const struct job *j, uint32_t most, uint32_t usual, uint32_t experts)
{
	uint32_t tiles = (j->m.rows + 15) / 16;
	if (usual == 1)
		return op_launch(multiply_one<type>, dim3(tiles, chunks_of(most, 1), experts), dim3(128), stream, *j);
	if (usual <= 8)
		return op_launch(multiply_many<type, 1, 1>, dim3(tiles, chunks_of(most, 8), experts), dim3(THREADS), stream, *j);
	if (usual <= 32)
		return op_launch(multiply_many<type, 1, 4>, dim3(tiles, chunks_of(most, 32), experts), dim3(THREADS), stream, *j);
	return op_launch(multiply_many<type, 2, 8>, dim3((tiles + 1) / 2, chunks_of(most, 64), experts), dim3(THREADS), stream,
			 *j);
}

template <int type>
static int launch_halves(hs_gpu_stream stream, const struct job *j, uint32_t most, uint32_t usual, uint32_t experts)
{
	uint32_t tiles = (j->m.rows + 15) / 16;
	if (usual <= 8)
		return op_launch(multiply_halves<type, 1>, dim3(tiles, chunks_of(most, 8), experts), dim3(THREADS), stream, *j);
	return op_launch(multiply_halves<type, 4>, dim3(tiles, chunks_of(most, 32), experts), dim3(THREADS), stream, *j);
}

static int run(hs_gpu_stream stream, struct job *j, uint32_t most, uint32_t usual, uint32_t experts)
{
	const struct hs_gpu_matrix *m = &j->m;
	bool floats = m->type >= HS_GPU_F16;
	j->groups = hs_gpu_round(m->columns, 32) / 32;
	if (m->rows == 0 || m->columns == 0 || m->columns > HS_GPU_COLUMNS_MAX || most == 0 || most > HS_GPU_TOKENS_MAX ||
	    j->a.stride % 32 || j->a.stride < j->groups * 32 || (!j->add && j->y_stride < hs_gpu_round(m->rows, 32)) ||
	    j->y_stride < m->rows || (floats ? !j->a.x : !(j->a.q && j->a.scale && j->a.sum)))
		return -EINVAL;
	switch (m->type) {
	case HS_GPU_Q4:
		return launch<HS_GPU_Q4>(stream, j, most, usual, experts);
	case HS_GPU_Q5:
		return launch<HS_GPU_Q5>(stream, j, most, usual, experts);
	case HS_GPU_Q6:
		return launch<HS_GPU_Q6>(stream, j, most, usual, experts);
	case HS_GPU_Q8:
		return launch<HS_GPU_Q8>(stream, j, most, usual, experts);
	case HS_GPU_MX4:
		return launch<HS_GPU_MX4>(stream, j, most, usual, experts);
	case HS_GPU_F16:
		return launch_halves<HS_GPU_F16>(stream, j, most, usual, experts);
	case HS_GPU_BF16:
		return launch_halves<HS_GPU_BF16>(stream, j, most, usual, experts);
	case HS_GPU_F32:
		return op_launch(multiply_floats, dim3((m->rows + 15) / 16, chunks_of(most, 1), experts), dim3(128), stream, *j);
	}
	return -EINVAL;
}

int hs_gpu_multiply(hs_gpu_stream stream, const struct hs_gpu_matrix *m, const struct hs_gpu_acts *a, uint32_t tokens, float *y,
		    uint32_t y_stride, int add)
{
	struct job j = {};
	j.m = *m;
	j.a = *a;
	j.tokens = tokens;
	j.y = y;
	j.y_stride = y_stride;
	j.add = add;
	return run(stream, &j, tokens, tokens, 1);
}

int hs_gpu_multiply_experts(hs_gpu_stream stream, const struct hs_gpu_matrix *m, const struct hs_gpu_acts *a,
			    const struct hs_gpu_routes *routes, int by_token, float *y, uint32_t y_stride)
{
	struct job j = {};
	if (routes->experts == 0 || routes->experts > HS_GPU_EXPERTS_MAX || routes->used == 0)
		return -EINVAL;
	j.m = *m;
	j.a = *a;
	j.y = y;
	j.y_stride = y_stride;
	j.starts = routes->starts;
	j.visits = routes->visits;
	j.expert_bytes = hs_gpu_matrix_bytes(m->type, m->rows, m->columns);
	j.by_token = by_token;
	uint32_t usual = (uint32_t)(((uint64_t)routes->tokens * routes->used + routes->experts - 1) / routes->experts);
	return run(stream, &j, routes->tokens, usual, routes->experts);
}
