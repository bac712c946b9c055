/*
 * What kernels are made of: the only header that they include beside kernels.h, and the only place with assembly or launches.
 * Each operation has a device form and a plain twin for the host (ops_host.h), where fibers stand for threads. Fragments of
 * tensor-core products are those of the PTX ISA (9.7.15, "matrix fragments for mma.m16n8k16" and ".m16n8k32"): lane = 4 g + t
 * holds
 *
 *   A (16 rows)     word 0: row g, 1: row g + 8, then the same rows of the second half of k; word w's k run from
 *                   t * (32 bits / width) on
 *   B (8 columns)   word 0: column g, the first half of k; word 1: the second
 *   C, D            0, 1: row g, columns 2 t, 2 t + 1; 2, 3: row g + 8
 */
#ifndef HISHO_INFERENCE_CUDA_OPS_H
#define HISHO_INFERENCE_CUDA_OPS_H

#include <errno.h>
#include <float.h>
#include <math.h>

#include "inference/cuda/kernels.h"

#define OP_STRING2(x) #x
#define OP_STRING(x) OP_STRING2(x)
#define OP_SITE __FILE__ ":" OP_STRING(__LINE__)

#define FULL 0xffffffffu

#if defined(__CUDACC__)

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#define UNROLL _Pragma("unroll")
#define UNROLL_4 _Pragma("unroll 4")
#define PLANTED(n) 0 /* bugs are planted on the host only */

/* An array of the block. */
#define SHARED(type, name, count) __shared__ __align__(128) type name[count]

#define SYNC() __syncthreads()
#define SYNC_WARP() __syncwarp()
#define SHUFFLE(value, lane) __shfl_sync(FULL, value, lane)
#define SHUFFLE_XOR(value, lanes) __shfl_xor_sync(FULL, value, lanes)
#define SHUFFLE_XOR_IN(mask, value, lanes) __shfl_xor_sync(mask, value, lanes)
#define BALLOT(predicate) __ballot_sync(FULL, predicate)

static __device__ __forceinline__ unsigned op_lane(void)
{
	return threadIdx.x % 32;
}

/* c plus the products of four signed bytes. */
static __device__ __forceinline__ int op_dp4a(int a, int b, int c)
{
	return __dp4a(a, b, c);
}

/* Bytes of {low, high} that the four nibbles of `select` name, as PRMT; bit 3 of a nibble fills with the byte's sign. */
static __device__ __forceinline__ uint32_t op_permute(uint32_t low, uint32_t high, uint32_t select)
{
	return __byte_perm(low, high, select);
}

/* d += A B of signed bytes, 16 x 8 x 32 and 16 x 8 x 16. */
#define MMA_S8_K32(d, a, b) op_mma_s8_k32(d, a, b)
static __device__ __forceinline__ void op_mma_s8_k32(int32_t d[4], const uint32_t a[4], const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
	asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	    : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
	    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else /* 8 x 8 x 16 four times: integers add up the same in any order */
	for (int half = 0; half < 2; half++) {
		asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
		    : "+r"(d[0]), "+r"(d[1])
		    : "r"(a[2 * half]), "r"(b[half]));
		asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
		    : "+r"(d[2]), "+r"(d[3])
		    : "r"(a[2 * half + 1]), "r"(b[half]));
	}
#endif
}

#define MMA_S8_K16(d, a, b) op_mma_s8_k16(d, a, b)
static __device__ __forceinline__ void op_mma_s8_k16(int32_t d[4], const uint32_t a[2], const uint32_t b[1])
{
#if __CUDA_ARCH__ >= 800
	asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
	    : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
	    : "r"(a[0]), "r"(a[1]), "r"(b[0]));
#else
	asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
	    : "+r"(d[0]), "+r"(d[1])
	    : "r"(a[0]), "r"(b[0]));
	asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
	    : "+r"(d[2]), "+r"(d[3])
	    : "r"(a[1]), "r"(b[0]));
#endif
}

/* d += A B of halves, 16 x 8 x 16. */
#define MMA_F16(d, a, b) op_mma_f16(d, a, b)
static __device__ __forceinline__ void op_mma_f16(float d[4], const uint32_t a[4], const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
	asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
	    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
	for (int half = 0; half < 2; half++)
		asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
		    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
		    : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
#endif
}

/* Values as bfloat16. GPUs before sm_80 multiply lane by lane. */
#define MMA_BF16(d, a, b) op_mma_bf16(d, a, b)
static __device__ __forceinline__ void op_mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2])
{
#if __CUDA_ARCH__ >= 800
	asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
	    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
	unsigned g = op_lane() / 4, t = op_lane() % 4;
	for (unsigned word = 0; word < 8; word++) /* k = 2 word, 2 word + 1 */
		for (unsigned i = 0; i < 4; i++) {
			uint32_t x = __shfl_sync(FULL, word < 4 ? a[i / 2] : a[2 + i / 2], 4 * g + word % 4);
			uint32_t y = __shfl_sync(FULL, b[word / 4], 4 * (2 * t + i % 2) + word % 4);
			d[i] += __uint_as_float(x << 16) * __uint_as_float(y << 16);
			d[i] += __uint_as_float(x & 0xffff0000u) * __uint_as_float(y & 0xffff0000u);
		}
#endif
}

/* Four 8 x 8 matrices of halves: lane l names row l % 8 of matrix l / 8; word i is matrix i's, as B's words (or transposed). */
#define LOAD_MATRIX(words, row) op_load_matrix(words, row)
static __device__ __forceinline__ void op_load_matrix(uint32_t words[4], const void *row)
{
	uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
		     : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
		     : "r"(at)
		     : "memory");
}

#define LOAD_MATRIX_T(words, row) op_load_matrix_t(words, row)
static __device__ __forceinline__ void op_load_matrix_t(uint32_t words[4], const void *row)
{
	uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
		     : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
		     : "r"(at)
		     : "memory");
}

/* Copy 16 bytes to shared memory, or zero them; they are there after a wait that leaves fewer groups pending than were begun
 * since. */
#define COPY_ASYNC(to, from, valid) op_copy_async(to, from, valid)
static __device__ __forceinline__ void op_copy_async(void *to, const void *from, bool valid)
{
#if __CUDA_ARCH__ >= 800
	uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(valid ? 16 : 0) : "memory");
#else
	*(uint4 *)to = valid ? *(const uint4 *)from : make_uint4(0, 0, 0, 0);
#endif
}

static __device__ __forceinline__ void op_copy_commit(void)
{
#if __CUDA_ARCH__ >= 800
	asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int pending> static __device__ __forceinline__ void op_copy_wait(void)
{
#if __CUDA_ARCH__ >= 800
	asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}

static __device__ __forceinline__ uint32_t op_atomic_add(uint32_t *p, uint32_t value)
{
	return atomicAdd(p, value);
}

static __device__ __forceinline__ void op_fence(void)
{
	__threadfence();
}

static __device__ __forceinline__ uint32_t op_load_now(const uint32_t *p)
{
	return *(const volatile uint32_t *)p;
}

static __device__ __forceinline__ float op_half_to_float(uint16_t h)
{
	return __half2float(__ushort_as_half(h));
}

static __device__ __forceinline__ uint16_t op_finite_half(float f)
{
	return __half_as_ushort(__float2half_rn(f));
}

static __device__ __forceinline__ uint16_t op_float_to_bf16(float f)
{
	return __bfloat16_as_ushort(__float2bfloat16_rn(f));
}

static __device__ __forceinline__ float op_float_of_bits(uint32_t bits)
{
	return __uint_as_float(bits);
}

static __device__ __forceinline__ uint32_t op_bits_of_float(float f)
{
	return __float_as_uint(f);
}

/* In a loop that waits for another block. */
#define SPIN() ((void)0)

template <typename... P, typename... A>
static int op_launch(void (*kernel)(P...), dim3 grid, dim3 block, hs_gpu_stream stream, A... arguments)
{
	kernel<<<grid, block, 0, (cudaStream_t)stream>>>(arguments...);
	return cudaGetLastError() == cudaSuccess ? 0 : -EIO;
}

/* All blocks at a time, which the device must have room for. The arguments have the parameters' very types. */
template <typename... P>
static int op_launch_together(void (*kernel)(P...), dim3 grid, dim3 block, hs_gpu_stream stream, P... arguments)
{
	void *list[] = {(void *)&arguments...};
	return cudaLaunchCooperativeKernel((const void *)kernel, grid, block, list, 0, (cudaStream_t)stream) == cudaSuccess
		   ? 0
		   : -EIO;
}

#else

#include "inference/cuda/ops_host.h"

#endif

/* Halves that are finite: what is too large becomes the largest, so that zero times it stays zero. */
static __device__ __forceinline__ uint16_t op_float_to_half(float f)
{
	return op_finite_half(f > 65504.0f ? 65504.0f : f < -65504.0f ? -65504.0f : f);
}

static __device__ __forceinline__ float op_bf16_to_float(uint16_t b)
{
	return op_float_of_bits((uint32_t)b << 16);
}

static __device__ __forceinline__ uint32_t op_halves(float low, float high)
{
	return op_float_to_half(low) | (uint32_t)op_float_to_half(high) << 16;
}

/* The same sum (or maximum) in every lane; pairs are added in one fixed order. */
static __device__ __forceinline__ float op_warp_sum(float x)
{
	for (int lanes = 16; lanes; lanes /= 2)
		x += SHUFFLE_XOR(x, lanes);
	return x;
}

static __device__ __forceinline__ float op_warp_max(float x)
{
	for (int lanes = 16; lanes; lanes /= 2)
		x = fmaxf(x, SHUFFLE_XOR(x, lanes));
	return x;
}

/*
 * All blocks of a launch wait for each other; what they wrote before is seen after. counter starts at zero, `round` counts the
 * barriers from 1.
 */
static __device__ __forceinline__ void op_grid_barrier(uint32_t *counter, uint32_t round)
{
	SYNC();
	if (threadIdx.x == 0) {
		op_fence();
		(void)op_atomic_add(counter, 1);
		while (op_load_now(counter) < gridDim.x * round)
			SPIN();
		op_fence();
	}
	SYNC();
}

#endif
