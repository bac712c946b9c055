/*
 * Attention by tensor cores over pages. A warp has 16 queries (consecutive numbers token * group + head of one key head) and
 * takes the positions by 64: scores, their own maximum, weights, their values; then it joins what it had with that (Dao
 * et al., "FlashAttention-2", 2023, with a fixed step). A query alone gets one block for each 64 positions, whose parts `join`
 * puts together by the same steps in the same order, so the bits are the same.
 */
#include "inference/cuda/ops.h"

#define LENGTH HS_GPU_SPLIT
#define ROWS 16u /* queries of a warp */
#define NOTHING (-INFINITY)

struct args {
	struct hs_gpu_attention a;
	uint32_t group, chunks, splits; /* chunks: of a view's queries */
};

/* A running result of one query: what is joined has the maximum m, the weights' sum l and some values. */
struct joining {
	float m, old, fresh; /* old, fresh: the factors of what was there and of what comes */
};

static __device__ __forceinline__ struct joining join_at(float m, float fresh_m)
{
	struct joining j = {fmaxf(m, fresh_m), 0, 0};
	j.old = m == NOTHING ? 0 : expf(m - j.m);
	j.fresh = fresh_m == NOTHING ? 0 : expf(fresh_m - j.m);
	return j;
}

/* The positions that token i of a view sees. */
struct span {
	uint32_t from, to;
};

static __device__ __forceinline__ struct span span_of(const struct hs_gpu_attention *a, const struct hs_gpu_view *v, uint32_t i)
{
	uint32_t own = v->origin + i, reach = a->causal ? a->window - 1 : a->window / 2;
	struct span s = {0, a->causal ? own + 1 : v->visible};
	if (a->window) {
		s.from = own > reach ? own - reach : 0;
		if (!a->causal && s.to - own > reach + 1)
			s.to = own + reach + 1;
	}
	if (PLANTED(15))
		s.from = s.from ? s.from - 1 : 0;
	return s;
}

/* 64 positions from `at` of one head's keys or values to shared memory (rows of `row` halves); those from `end` on are zero. */
template <int width, int row>
static __device__ void load(const struct args *g, const struct hs_gpu_view *v, uint32_t head, uint32_t at, uint32_t end,
			    uint16_t *to)
{
	const struct hs_gpu_cache *c = &g->a.cache;
	uint32_t real = hs_gpu_round(c->head_dim, 32);
	for (uint32_t i = threadIdx.x; i < LENGTH * (width / 8); i += blockDim.x) {
		uint32_t position = at + i / (width / 8), column = i % (width / 8) * 8;
		bool valid = position < end && column < real;
		const uint8_t *page = c->pool;
		if (valid)
			page += g->a.pages[v->first_page + position / HS_GPU_PAGE_POSITIONS] * c->page_bytes + c->layer_at +
				(uint64_t)head * hs_gpu_page_head_bytes(c->type, c->head_dim);
		uint16_t *there = to + i / (width / 8) * row + column;
		position %= HS_GPU_PAGE_POSITIONS;
		if (c->type == HS_GPU_CACHE_F16) {
			COPY_ASYNC(there, valid ? page + ((size_t)position * real + column) * 2 : page, valid);
			continue;
		}
		uint32_t words[4] = {0, 0, 0, 0};
		if (valid) {
			float scale =
			    op_half_to_float(reinterpret_cast<const uint16_t *>(page)[position * (real / 32) + column / 32]);
			const int8_t *q = reinterpret_cast<const int8_t *>(page) + HS_GPU_PAGE_POSITIONS * (real / 32) * 2 +
					  (size_t)position * real + column;
			for (int k = 0; k < 4; k++)
				words[k] = op_halves(scale * (float)q[2 * k], scale * (float)q[2 * k + 1]);
		}
		for (int k = 0; k < 4; k++)
			reinterpret_cast<uint32_t *>(there)[k] = words[k];
	}
	if (PLANTED(9) && threadIdx.x == 0)
		to[LENGTH * row] = 0;
	op_copy_commit();
}

/* What a lane knows of its two queries, rows lane / 4 and lane / 4 + 8 of the warp's. */
struct queries {
	struct span spans[2];
	uint32_t tokens[2], heads[2]; /* row in q and number of the head; heads from n_heads on: no query */
};

static __device__ struct queries queries_of(const struct args *g, const struct hs_gpu_view *v, uint32_t head, uint32_t first)
{
	struct queries q;
	for (unsigned i = 0; i < 2; i++) {
		uint32_t number = first + op_lane() / 4 + 8 * i, token = number / g->group;
		bool is = token < v->n;
		q.tokens[i] = v->token + (is ? token : 0);
		q.heads[i] = is ? head * g->group + number % g->group : g->a.n_heads;
		q.spans[i] = is ? span_of(&g->a, v, token) : span{0xffffffffu, 0};
	}
	return q;
}

/* Two floats as halves, and what these leave, so that a product loses nothing that matters. */
static __device__ __forceinline__ void split_pair(float x, float y, uint32_t *high, uint32_t *low)
{
	*high = op_halves(x, y);
	*low = op_halves(x - op_half_to_float((uint16_t)*high), y - op_half_to_float((uint16_t)(*high >> 16)));
}

/* Word i of A of columns 16 k .. of the queries, scaled. */
static __device__ __forceinline__ void load_query(const struct args *g, const struct queries *q, unsigned k, unsigned i,
						  uint32_t *high, uint32_t *low)
{
	const uint32_t dim = g->a.cache.head_dim, c = k * 16 + i / 2 * 8 + 2 * (op_lane() % 4), r = i % 2;
	bool is = q->heads[r] < g->a.n_heads;
	const float *x = g->a.q + (size_t)q->tokens[r] * g->a.stride + (is ? q->heads[r] : 0) * dim;
	split_pair(is && c < dim ? x[c] * g->a.scale : 0, is && c + 1 < dim ? x[c + 1] * g->a.scale : 0, high, low);
}

/* Queries of heads up to 128 wide stay in registers; those of wider ones are read again for each split. */
template <int width> struct kept {
	static constexpr bool all = width <= 128;
	uint32_t high[all ? width / 16 : 1][4], low[all ? width / 16 : 1][4];
};

template <int width>
static __device__ __forceinline__ void load_queries(const struct args *g, const struct queries *q, unsigned k,
						    struct kept<width> *to)
{
	UNROLL
	for (unsigned i = 0; i < 4; i++)
		load_query(g, q, k, i, &to->high[to->all ? k : 0][i], &to->low[to->all ? k : 0][i]);
}

/* Scores of 64 positions: D of eight products of 8 positions each; -infinity where a query does not see. */
template <int width, int row>
static __device__ __forceinline__ void score(const struct args *g, const struct queries *q, struct kept<width> *a,
					     const uint16_t *keys, uint32_t at, float s[8][4])
{
	unsigned lane = op_lane();
	UNROLL
	for (unsigned n = 0; n < 8; n++)
		for (unsigned i = 0; i < 4; i++)
			s[n][i] = 0;
	UNROLL
	for (unsigned k = 0; k < width / 16; k++) {
		if (!a->all)
			load_queries<width>(g, q, k, a);
		UNROLL
		for (unsigned n = 0; n < 8; n += 2) {
			uint32_t b[4];
			LOAD_MATRIX(b, keys + (n * 8 + lane / 16 * 8 + lane % 8) * row + k * 16 + lane / 8 % 2 * 8);
			UNROLL
			for (unsigned i = 0; i < 2; i++) {
				MMA_F16(s[n + i], a->high[a->all ? k : 0], b + 2 * i);
				MMA_F16(s[n + i], a->low[a->all ? k : 0], b + 2 * i);
			}
		}
	}
	UNROLL
	for (unsigned n = 0; n < 8; n++)
		UNROLL
	for (unsigned i = 0; i < 4; i++) {
		uint32_t position = at + n * 8 + 2 * (lane % 4) + i % 2;
		if (g->a.cap > 0)
			s[n][i] = g->a.cap * tanhf(s[n][i] / g->a.cap);
		if (position < q->spans[i / 2].from || position >= q->spans[i / 2].to)
			s[n][i] = NOTHING;
	}
}

/* What the positions of a split weigh: words of A of four products of 16 positions. */
struct weights {
	uint32_t high[4][4], low[4][4];
};

/* Scores to weights, their maximum m and sum l. */
static __device__ __forceinline__ void soften(float s[8][4], float m[2], float l[2], struct weights *w)
{
	for (unsigned r = 0; r < 2; r++) {
		m[r] = NOTHING;
		UNROLL
		for (unsigned n = 0; n < 8; n++)
			m[r] = fmaxf(m[r], fmaxf(s[n][2 * r], s[n][2 * r + 1]));
		m[r] = fmaxf(m[r], SHUFFLE_XOR(m[r], 1));
		m[r] = fmaxf(m[r], SHUFFLE_XOR(m[r], 2));
		l[r] = 0;
		UNROLL
		for (unsigned n = 0; n < 8; n++)
			for (unsigned i = 2 * r; i < 2 * r + 2; i++) {
				s[n][i] = s[n][i] == NOTHING ? 0 : expf(s[n][i] - m[r]);
				l[r] += s[n][i];
			}
		l[r] += SHUFFLE_XOR(l[r], 1);
		l[r] += SHUFFLE_XOR(l[r], 2);
	}
	UNROLL
	for (unsigned n = 0; n < 4; n++)
		for (unsigned i = 0; i < 4; i++)
			split_pair(s[2 * n + i / 2][i % 2 * 2], s[2 * n + i / 2][i % 2 * 2 + 1], &w->high[n][i], &w->low[n][i]);
}

/* The values of 16 columns from c on, of 64 positions: D of two products. */
template <int row>
static __device__ __forceinline__ void weigh(const struct weights *w, const uint16_t *values, unsigned c, float d[2][4])
{
	unsigned lane = op_lane();
	for (unsigned i = 0; i < 8; i++)
		d[i / 4][i % 4] = 0;
	UNROLL
	for (unsigned n = 0; n < 4; n++) {
		uint32_t b[4];
		LOAD_MATRIX_T(b, values + (n * 16 + lane / 8 % 2 * 8 + lane % 8) * row + c + lane / 16 * 8);
		UNROLL
		for (unsigned i = 0; i < 2; i++) {
			MMA_F16(d[i], w->high[n], b + 2 * i);
			MMA_F16(d[i], w->low[n], b + 2 * i);
		}
	}
}

/* Where one query's part of a split goes: {values (width), m, l}. */
static __device__ float *partial_at(const struct args *g, uint32_t view, uint32_t head, uint32_t split)
{
	uint32_t size = hs_gpu_round(g->a.cache.head_dim, 32) + 2;
	return g->a.partial + (((size_t)view * g->a.n_heads + head) * g->splits + split) * size;
}

/* The share of a sink, and the factor of what is joined with it. */
static __device__ float finish(const struct hs_gpu_attention *a, uint32_t head, float m, float l)
{
	if (a->sinks) {
		struct joining j = join_at(m, a->sinks[head]);
		l = l * j.old + j.fresh;
		return l > 0 ? j.old / l : 0;
	}
	return l > 0 ? 1 / l : 0;
}

template <int width, int warps, bool alone> static __global__ __launch_bounds__(warps * 32) void attend(struct args g)
{
	constexpr int row = width + 8; /* so that rows of a matrix lie in different banks */
	constexpr bool both = 2 * LENGTH * row * 2 <= 47104;
	SHARED(uint16_t, keys, LENGTH * row);
	SHARED(uint16_t, more, both ? LENGTH * row : 8);
	uint16_t *values = both ? more : keys;
	const struct hs_gpu_view *v = g.a.views + blockIdx.x / g.chunks;
	uint32_t head = blockIdx.y, block_first = blockIdx.x % g.chunks * warps * ROWS;
	if (block_first >= v->n * g.group)
		return;
	/* From the first position that the block's first token sees to the last of its last. */
	uint32_t last = (block_first + warps * ROWS - 1) / g.group < v->n ? (block_first + warps * ROWS - 1) / g.group : v->n - 1;
	struct span first_span = span_of(&g.a, v, block_first / g.group), last_span = span_of(&g.a, v, last);
	uint32_t split = alone ? blockIdx.z : first_span.from / LENGTH, splits_end = (last_span.to + LENGTH - 1) / LENGTH;
	if (alone && (split < first_span.from / LENGTH || split >= splits_end))
		return;
	struct queries q = queries_of(&g, v, head, block_first + threadIdx.x / 32 * ROWS);
	struct kept<width> kept;
	float sums[width / 8][4] = {}, m[2] = {NOTHING, NOTHING}, l[2] = {0, 0};
	UNROLL
	for (unsigned k = 0; k < (kept.all ? width / 16 : 0); k++)
		load_queries<width>(&g, &q, k, &kept);
	for (; split < (alone ? blockIdx.z + 1 : splits_end); split++) {
		float s[8][4], fresh_m[2], fresh_l[2];
		struct weights weights;
		load<width, row>(&g, v, head, split * LENGTH, last_span.to, keys);
		if (both)
			load<width, row>(&g, v, g.a.cache.n_kv_heads + head, split * LENGTH, last_span.to, values);
		if (!both)
			op_copy_wait<0>();
		else if (PLANTED(5))
			op_copy_wait<2>();
		else
			op_copy_wait<1>();
		if (!PLANTED(6))
			SYNC();
		score<width, row>(&g, &q, &kept, keys, split * LENGTH, s);
		if (!both) {
			SYNC();
			load<width, row>(&g, v, g.a.cache.n_kv_heads + head, split * LENGTH, last_span.to, values);
		}
		soften(s, fresh_m, fresh_l, &weights);
		op_copy_wait<0>();
		SYNC();
		struct joining j[2] = {join_at(m[0], fresh_m[0]), join_at(m[1], fresh_m[1])};
		for (unsigned r = 0; r < 2; r++) {
			l[r] = fmaf(fresh_l[r], j[r].fresh, l[r] * j[r].old);
			m[r] = j[r].m;
		}
		UNROLL
		for (unsigned c = 0; c < width / 16; c++) {
			float d[2][4];
			weigh<row>(&weights, values, c * 16, d);
			UNROLL
			for (unsigned i = 0; i < 8; i++) {
				float *sum = &sums[2 * c + i / 4][i % 4];
				*sum =
				    alone ? d[i / 4][i % 4] : fmaf(d[i / 4][i % 4], j[i % 4 / 2].fresh, *sum * j[i % 4 / 2].old);
			}
		}
		if (alone) {
			for (unsigned r = 0; r < 2; r++)
				if (q.heads[r] < g.a.n_heads && op_lane() % 4 == 0) {
					float *p = partial_at(&g, blockIdx.x / g.chunks, q.heads[r], split) +
						   hs_gpu_round(g.a.cache.head_dim, 32);
					p[0] = fresh_m[r];
					p[1] = fresh_l[r];
				}
		}
		if (!PLANTED(7))
			SYNC();
	}
	for (unsigned r = 0; r < 2; r++) {
		if (q.heads[r] >= g.a.n_heads)
			continue;
		float *to, factor = 1;
		if (alone) {
			to = partial_at(&g, blockIdx.x / g.chunks, q.heads[r], blockIdx.z);
		} else {
			to = g.a.out + (size_t)q.tokens[r] * g.a.stride + q.heads[r] * g.a.cache.head_dim;
			factor = finish(&g.a, q.heads[r], m[r], l[r]);
		}
		UNROLL
		for (unsigned c = 0; c < width / 8; c++)
			for (unsigned i = 0; i < 2; i++) {
				uint32_t column = c * 8 + 2 * (op_lane() % 4) + i;
				if (column < g.a.cache.head_dim)
					to[column] = sums[c][2 * r + i] * factor;
			}
	}
}

/* Queries that stand alone: a warp a query, lanes its columns. */
static __global__ __launch_bounds__(128) void join(struct args g)
{
	uint32_t head = blockIdx.y * 4 + threadIdx.x / 32, dim = g.a.cache.head_dim, width = hs_gpu_round(dim, 32);
	const struct hs_gpu_view *v = g.a.views + blockIdx.x;
	if (head >= g.a.n_heads || v->n == 0)
		return;
	struct span s = span_of(&g.a, v, 0);
	float sums[HS_GPU_HEAD_DIM_MAX / 32] = {}, m = NOTHING, l = 0;
	for (uint32_t split = s.from / LENGTH; split < (s.to + LENGTH - 1) / LENGTH; split++) {
		const float *p = partial_at(&g, blockIdx.x, head, split);
		struct joining j = join_at(m, p[width]);
		l = fmaf(p[width + 1], j.fresh, l * j.old);
		m = j.m;
		UNROLL
		for (unsigned i = 0; i < HS_GPU_HEAD_DIM_MAX / 32; i++)
			if (i * 32 + op_lane() < dim)
				sums[i] = fmaf(p[i * 32 + op_lane()], j.fresh, sums[i] * j.old);
	}
	float factor = finish(&g.a, head, m, l), *to = g.a.out + (size_t)v->token * g.a.stride + head * dim;
	UNROLL
	for (unsigned i = 0; i < HS_GPU_HEAD_DIM_MAX / 32; i++)
		if (i * 32 + op_lane() < dim)
			to[i * 32 + op_lane()] = sums[i] * factor;
}

/* The floats that pad a row to a multiple of 32. */
static __global__ __launch_bounds__(32) void pad(struct args g)
{
	const struct hs_gpu_view *v = g.a.views + blockIdx.x;
	uint32_t n = g.a.n_heads * g.a.cache.head_dim, c = n + threadIdx.x;
	for (uint32_t i = 0; i < v->n && c < hs_gpu_round(n, 32); i++)
		g.a.out[(size_t)(v->token + i) * g.a.stride + c] = 0;
}

static uint32_t splits_of(const struct hs_gpu_attention *a)
{
	return (a->longest + LENGTH - 1) / LENGTH;
}

uint64_t hs_gpu_partial_floats(const struct hs_gpu_attention *a)
{
	return a->most_tokens == 1 ? (uint64_t)a->n_views * a->n_heads * splits_of(a) * (hs_gpu_round(a->cache.head_dim, 32) + 2)
				   : 0;
}

template <int width> static int launch(hs_gpu_stream stream, struct args *g)
{
	const struct hs_gpu_attention *a = &g->a;
	if (a->most_tokens > 1) {
		g->chunks = (a->most_tokens * g->group + 4 * ROWS - 1) / (4 * ROWS);
		return op_launch(attend<width, 4, false>, dim3(a->n_views * g->chunks, a->cache.n_kv_heads), dim3(128), stream,
				 *g);
	}
	g->chunks = (g->group + ROWS - 1) / ROWS;
	int rc =
	    op_launch(attend<width, 1, true>, dim3(a->n_views * g->chunks, a->cache.n_kv_heads, g->splits), dim3(32), stream, *g);
	return rc ? rc : op_launch(join, dim3(a->n_views, (a->n_heads + 3) / 4), dim3(128), stream, *g);
}

int hs_gpu_attend(hs_gpu_stream stream, const struct hs_gpu_attention *a)
{
	uint32_t dim = a->cache.head_dim, kv = a->cache.n_kv_heads, splits = splits_of(a);
	if (a->n_views == 0 || a->n_views > HS_GPU_TOKENS_MAX || kv == 0 || a->n_heads == 0 || a->n_heads % kv || dim == 0 ||
	    dim > HS_GPU_HEAD_DIM_MAX || (uint64_t)a->n_heads * dim > a->stride || a->most_tokens == 0 ||
	    a->most_tokens > HS_GPU_VIEW_TOKENS || splits == 0 || splits > 65535 || (a->most_tokens == 1 && !a->partial) ||
	    a->cache.page_bytes % 16 || a->cache.layer_at % 16)
		return -EINVAL;
	struct args g = {*a, a->n_heads / kv, 1, splits};
	int rc = 0;
	if (a->n_heads * dim % 32)
		rc = op_launch(pad, dim3(a->n_views), dim3(32), stream, g);
	if (rc)
		return rc;
	return dim <= 32    ? launch<32>(stream, &g)
	       : dim <= 64  ? launch<64>(stream, &g)
	       : dim <= 128 ? launch<128>(stream, &g)
	       : dim <= 160 ? launch<160>(stream, &g)
			    : launch<256>(stream, &g);
}
