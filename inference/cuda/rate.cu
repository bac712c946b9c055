/* How many products a second a GPU does on registers alone, by the instructions that multiply.cu is made of: a bench's limit. */
#include "inference/cuda/ops.h"

#define CHAINS 8 /* of a warp, none of which waits for another */

template <bool bytes> static __global__ __launch_bounds__(HS_GPU_RATE_THREADS) void rate(uint32_t rounds, uint32_t *out)
{
	const uint32_t ones = bytes ? 0x01010101u : 0x3f803f80u;
	const uint32_t a[4] = {ones, ones, ones, ones}, b[2] = {ones, ones};
	float floats[CHAINS][4] = {};
	int32_t whole[CHAINS][4] = {};
	for (uint32_t i = 0; i < rounds; i++) {
		UNROLL
		for (unsigned k = 0; k < CHAINS; k++) {
			if (bytes)
				MMA_S8_K32(whole[k], a, b);
			else
				MMA_BF16(floats[k], a, b);
		}
	}
	uint32_t sum = 0;
	UNROLL
	for (unsigned k = 0; k < CHAINS; k++)
		for (unsigned i = 0; i < 4; i++)
			sum += bytes ? (uint32_t)whole[k][i] : (uint32_t)floats[k][i];
	out[blockIdx.x * HS_GPU_RATE_THREADS + threadIdx.x] = sum;
}

uint64_t hs_gpu_rate_operations(int bytes, uint32_t blocks, uint32_t rounds)
{
	return (uint64_t)blocks * (HS_GPU_RATE_THREADS / 32) * CHAINS * rounds * (2u * 16 * 8 * (bytes ? 32 : 16));
}

int hs_gpu_rate(hs_gpu_stream stream, int bytes, uint32_t blocks, uint32_t rounds, uint32_t *out)
{
	if (blocks == 0 || rounds > 1u << 16) /* floats count no further */
		return -EINVAL;
	if (bytes)
		return op_launch(rate<true>, dim3(blocks), dim3(HS_GPU_RATE_THREADS), stream, rounds, out);
	return op_launch(rate<false>, dim3(blocks), dim3(HS_GPU_RATE_THREADS), stream, rounds, out);
}
