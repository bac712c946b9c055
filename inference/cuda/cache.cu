/* Keys and values into pages, and pages back to zero. */
#include "inference/cuda/ops.h"

#define THREADS 256u

/* A warp has 32 columns of one head of one token: blockIdx.z 0 keys, 1 values. */
static __global__ __launch_bounds__(THREADS) void store(struct hs_gpu_cache c, const float *k, const float *v, uint32_t stride,
							const uint32_t *positions, const uint32_t *pages,
							const uint32_t *page_starts)
{
	uint32_t width = hs_gpu_round(c.head_dim, 32), groups = width / 32, token = blockIdx.y, lane = op_lane();
	uint32_t job = blockIdx.x * (THREADS / 32) + threadIdx.x / 32, head = job / groups, column = job % groups * 32 + lane;
	if (head >= c.n_kv_heads)
		return;
	const float *from = (blockIdx.z ? v : k) + (size_t)token * stride + (size_t)head * c.head_dim;
	uint32_t at = positions[token] % HS_GPU_PAGE_POSITIONS, bytes = hs_gpu_page_head_bytes(c.type, c.head_dim);
	uint8_t *page = c.pool + pages[page_starts[token] + positions[token] / HS_GPU_PAGE_POSITIONS] * c.page_bytes +
			c.layer_at + (uint64_t)(blockIdx.z * c.n_kv_heads + head) * bytes;
	float x = column < c.head_dim ? from[column] : 0;
	if (c.type == HS_GPU_CACHE_F16) {
		reinterpret_cast<uint16_t *>(page)[at * width + column] = op_float_to_half(x);
		return;
	}
	/* The scale as it is stored, so that the bytes are the nearest to it; too small a one is zero, and so are they. */
	uint16_t half = op_float_to_half(op_warp_max(fabsf(x)) / 127);
	float scale = op_half_to_float(half), q = scale > 0 ? rintf(x / scale) : 0;
	if (lane == 0)
		reinterpret_cast<uint16_t *>(page)[at * groups + column / 32] = half;
	page[HS_GPU_PAGE_POSITIONS * groups * 2 + at * width + column] = (uint8_t)(int8_t)fminf(fmaxf(q, -127.0f), 127.0f);
}

int hs_gpu_store(hs_gpu_stream stream, const struct hs_gpu_cache *c, const float *k, const float *v, uint32_t stride,
		 uint32_t tokens, const uint32_t *positions, const uint32_t *pages, const uint32_t *page_starts)
{
	if (tokens == 0 || tokens > HS_GPU_TOKENS_MAX || c->n_kv_heads == 0 || c->head_dim == 0 ||
	    c->head_dim > HS_GPU_HEAD_DIM_MAX || c->page_bytes % 16 || c->layer_at % 16 ||
	    (uint64_t)c->n_kv_heads * c->head_dim > stride)
		return -EINVAL;
	uint32_t jobs = c->n_kv_heads * (hs_gpu_round(c->head_dim, 32) / 32);
	return op_launch(store, dim3((jobs + THREADS / 32 - 1) / (THREADS / 32), tokens, 2), dim3(THREADS), stream, *c, k, v,
			 stride, positions, pages, page_starts);
}

static __global__ __launch_bounds__(THREADS) void wipe(uint8_t *pool, uint64_t page_bytes, const uint32_t *pages)
{
	uint64_t words = page_bytes / 8, step = (uint64_t)gridDim.x * THREADS;
	uint64_t *page = reinterpret_cast<uint64_t *>(pool + pages[blockIdx.y] * page_bytes);
	for (uint64_t i = blockIdx.x * THREADS + threadIdx.x; i < words; i += step)
		page[i] = 0;
}

int hs_gpu_wipe(hs_gpu_stream stream, uint8_t *pool, uint64_t page_bytes, const uint32_t *pages, uint32_t n_pages)
{
	if (n_pages == 0 || n_pages > HS_GPU_TOKENS_MAX || page_bytes == 0 || page_bytes % 16)
		return -EINVAL;
	uint64_t blocks = (page_bytes / 8 + THREADS - 1) / THREADS;
	return op_launch(wipe, dim3(blocks < 64 ? (unsigned)blocks : 64, n_pages), dim3(THREADS), stream, pool, page_bytes,
			 pages);
}
