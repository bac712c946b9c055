/* Experts: which ones a token goes to, where its visits lie, and what they say put together. */
#include "inference/cuda/ops.h"

#define THREADS 256u
#define WARPS (THREADS / 32)
#define CHUNK 1024u /* choices that are looked at together */

/* Greater floats have greater keys; NaN has the least. */
static __device__ uint32_t key_of(float x)
{
	uint32_t bits = op_bits_of_float(x + 0.0f); /* one zero */
	if (x != x)
		return 0;
	return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* A warp a token: rows receives the experts, best first. */
static __global__ __launch_bounds__(THREADS) void choose(const float *scores, uint32_t stride, struct hs_gpu_routes r)
{
	uint32_t token = blockIdx.x * WARPS + threadIdx.x / 32;
	if (token >= r.tokens)
		return;
	scores += (size_t)token * stride;
	uint64_t after = ~(uint64_t)0; /* the last one that was chosen: the next is the greatest below it */
	float total = 0, top = 0, shares[HS_GPU_EXPERTS_USED_MAX];
	UNROLL
	for (uint32_t k = 0; k < HS_GPU_EXPERTS_USED_MAX; k++) {
		if (k >= r.used)
			break;
		uint64_t best = 0;
		for (uint32_t e = op_lane(); e < r.experts; e += 32) {
			uint64_t key = (uint64_t)key_of(scores[e]) << 32 | (0xffffffffu - e);
			if (key < after && key > best)
				best = key;
		}
		for (int lanes = 16; lanes; lanes /= 2) {
			uint64_t other = SHUFFLE_XOR(best, lanes);
			best = other > best ? other : best;
		}
		after = best;
		uint32_t expert = 0xffffffffu - (uint32_t)best;
		if (k == 0)
			top = scores[expert];
		shares[k] = expf(scores[expert] - top);
		total += shares[k];
		if (op_lane() == 0)
			r.rows[(size_t)token * r.used + k] = expert;
	}
	UNROLL
	for (uint32_t k = 0; k < HS_GPU_EXPERTS_USED_MAX; k++)
		if (k < r.used && op_lane() == 0)
			r.shares[(size_t)token * r.used + k] = shares[k] / total;
}

/* One block, a thread an expert: each counts its visits, then gives them their places in the tokens' order. */
static __global__ __launch_bounds__(HS_GPU_EXPERTS_MAX) void plan(struct hs_gpu_routes r)
{
	SHARED(uint32_t, chosen, CHUNK);
	SHARED(uint32_t, counts, HS_GPU_EXPERTS_MAX);
	uint32_t n = r.tokens * r.used, expert = threadIdx.x, count = 0, at = 0;
	for (int placing = 0; placing < 2; placing++) {
		for (uint32_t base = 0; base < n; base += CHUNK) {
			uint32_t end = n - base < CHUNK ? n - base : CHUNK;
			for (uint32_t i = threadIdx.x; i < end; i += blockDim.x)
				chosen[i] = r.rows[base + i];
			SYNC();
			for (uint32_t i = 0; i < end; i++) {
				if (chosen[i] != expert)
					continue;
				if (placing) {
					r.visits[at] = (base + i) / r.used;
					r.rows[base + i] = at++;
				} else {
					count++;
				}
			}
			if (!PLANTED(13))
				SYNC();
		}
		if (placing)
			return;
		counts[expert] = count;
		SYNC();
		for (uint32_t e = 0; e < expert; e++)
			at += counts[e];
		if (expert < r.experts)
			r.starts[expert] = at;
		if (expert == r.experts - 1)
			r.starts[r.experts] = at + count;
	}
}

int hs_gpu_route(hs_gpu_stream stream, const float *scores, uint32_t stride, const struct hs_gpu_routes *routes)
{
	const struct hs_gpu_routes *r = routes;
	if (r->tokens == 0 || r->tokens > HS_GPU_TOKENS_MAX || r->experts == 0 || r->experts > HS_GPU_EXPERTS_MAX ||
	    r->used == 0 || r->used > r->experts || r->used > HS_GPU_EXPERTS_USED_MAX || stride < r->experts)
		return -EINVAL;
	int rc = op_launch(choose, dim3((r->tokens + WARPS - 1) / WARPS), dim3(THREADS), stream, scores, stride, *r);
	return rc ? rc : op_launch(plan, dim3(1), dim3(hs_gpu_round(r->experts, 32)), stream, *r);
}

static __global__ __launch_bounds__(THREADS) void gather(struct hs_gpu_routes r, const float *said, uint32_t said_stride,
							 float *x, uint32_t stride, uint32_t n)
{
	uint32_t c = blockIdx.x * THREADS + threadIdx.x;
	size_t first = (size_t)blockIdx.y * r.used;
	if (c >= n)
		return;
	float sum = 0;
	for (uint32_t k = 0; k < r.used; k++)
		sum = fmaf(r.shares[first + k], said[(size_t)r.rows[first + k] * said_stride + c], sum);
	x[(size_t)blockIdx.y * stride + c] += sum;
}

int hs_gpu_gather_experts(hs_gpu_stream stream, const struct hs_gpu_routes *routes, const float *said, uint32_t said_stride,
			  float *x, uint32_t stride, uint32_t n)
{
	if (routes->tokens == 0 || routes->tokens > HS_GPU_TOKENS_MAX || n == 0 || n > said_stride || n > stride)
		return -EINVAL;
	return op_launch(gather, dim3((n + THREADS - 1) / THREADS, routes->tokens), dim3(THREADS), stream, *routes, said,
			 said_stride, x, stride, n);
}
