/* Exact scores of many byte vectors with many queries, by tensor cores: a warp has 16 vectors and 8 queries at a time. */
#include "inference/cuda/ops.h"

#define WARPS 4u
#define THREADS (WARPS * 32)
#define ROWS 16u
#define CHUNK 128u          /* bytes of each vector that are staged together */
#define STRIDE (CHUNK + 16) /* so that rows of a matrix lie in different banks */
#define TILES 4             /* of 8 queries that a warp keeps */

struct alignas(16) bytes16 {
	uint32_t w[4];
};

static __global__ __launch_bounds__(THREADS) void scan(const int8_t *vectors, uint64_t n_vectors, const int8_t *queries,
						       uint32_t n_queries, uint32_t dim, int32_t *scores)
{
	SHARED(uint8_t, staged, WARPS * ROWS * STRIDE);
	uint8_t *mine = staged + threadIdx.x / 32 * ROWS * STRIDE;
	unsigned lane = op_lane(), g = lane / 4, t = lane % 4;
	uint64_t first = ((uint64_t)blockIdx.x * WARPS + threadIdx.x / 32) * ROWS;
	uint32_t query = blockIdx.y * TILES * 8;
	int32_t sums[TILES][4] = {};
	for (uint32_t at = 0; at < dim; at += CHUNK) {
		uint32_t end = dim - at < CHUNK ? dim - at : CHUNK;
		if (at)
			SYNC_WARP(); /* all have read what is written over */
		for (uint32_t i = lane; i < ROWS * (CHUNK / 16); i += 32) {
			uint64_t vector = first + i / (CHUNK / 16);
			uint32_t c = i % (CHUNK / 16) * 16;
			bytes16 b = {{0, 0, 0, 0}};
			if (vector < n_vectors && c < end)
				b = *reinterpret_cast<const bytes16 *>(vectors + vector * dim + at + c);
			*reinterpret_cast<bytes16 *>(mine + i / (CHUNK / 16) * STRIDE + c) = b;
		}
		if (!PLANTED(8))
			SYNC_WARP();
		for (uint32_t c = 0; c < end; c += 32) {
			uint32_t a[4];
			LOAD_MATRIX(a, mine + lane % 16 * STRIDE + c + lane / 16 * 16);
			UNROLL
			for (unsigned n = 0; n < TILES; n++) {
				uint32_t b[2] = {0, 0};
				if (query + n * 8 + g < n_queries) {
					const int8_t *q = queries + (size_t)(query + n * 8 + g) * dim + at + c + 4 * t;
					b[0] = *reinterpret_cast<const uint32_t *>(q);
					b[1] = *reinterpret_cast<const uint32_t *>(q + 16);
				}
				MMA_S8_K32(sums[n], a, b);
			}
		}
	}
	UNROLL
	for (unsigned n = 0; n < TILES; n++)
		for (unsigned i = 0; i < 4; i++) {
			uint64_t vector = first + g + i / 2 * 8;
			uint32_t q = query + n * 8 + 2 * t + i % 2;
			if (vector < n_vectors && q < n_queries)
				scores[q * n_vectors + vector] = sums[n][i];
		}
}

int hs_gpu_scan(hs_gpu_stream stream, const int8_t *vectors, uint64_t n_vectors, const int8_t *queries, uint32_t n_queries,
		uint32_t dim, int32_t *scores)
{
	uint64_t blocks = (n_vectors + WARPS * ROWS - 1) / (WARPS * ROWS);
	if (n_vectors == 0 || blocks > INT32_MAX || n_queries == 0 || n_queries > 65535 * TILES * 8 || dim == 0 || dim % 32 ||
	    dim > 4096)
		return -EINVAL;
	return op_launch(scan, dim3((unsigned)blocks, (n_queries + TILES * 8 - 1) / (TILES * 8)), dim3(THREADS), stream, vectors,
			 n_vectors, queries, n_queries, dim, scores);
}
