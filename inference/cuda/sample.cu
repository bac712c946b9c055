/*
 * The next token of each row, as hs_sample (inference/sample.c) chooses it. A block a row. Logits become numbers whose order is
 * theirs, the smaller id first among equals, so that the best 1024 are found by their bytes from the top down, without ties.
 */
#include "inference/cuda/ops.h"

#define THREADS 512u
#define ID_BITS 21
#define ID_MASK ((1u << ID_BITS) - 1)
#define BITS 56 /* seven bytes hold 32 bits of a logit and 21 of an id */

/* 0: not to be chosen. */
static __device__ uint64_t key_of(const float *logits, const uint32_t *allowed, uint32_t id)
{
	float x = logits[id] + 0.0f; /* one zero */
	if (x != x || (allowed && !(allowed[id / 32] >> id % 32 & 1)))
		return 0;
	uint32_t bits = op_bits_of_float(x), order = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
	return (uint64_t)order << ID_BITS | (ID_MASK - id);
}

static __device__ uint32_t id_of(uint64_t key)
{
	return ID_MASK - (uint32_t)(key & ID_MASK);
}

/* The greatest key of the block, in every thread. */
static __device__ uint64_t greatest(uint64_t key)
{
	SHARED(uint64_t, best, THREADS / 32);
	for (int lanes = 16; lanes; lanes /= 2) {
		uint64_t other = SHUFFLE_XOR(key, lanes);
		key = other > key ? other : key;
	}
	if (op_lane() == 0)
		best[threadIdx.x / 32] = key;
	SYNC();
	for (unsigned i = 0; i < THREADS / 32; i++)
		key = best[i] > key ? best[i] : key;
	SYNC();
	return key;
}

/* The least key of the `most` greatest ones (1: all that are not 0). */
static __device__ uint64_t threshold(const struct hs_gpu_sampling *s, const float *logits, const uint32_t *allowed, uint32_t most)
{
	SHARED(uint32_t, counts, 256);
	SHARED(uint64_t, found, 2); /* the bytes so far, and how many are wanted among those that share them */
	uint64_t prefix = 0, wanted = most;
	for (int shift = BITS - 8; shift >= 0; shift -= 8) {
		if (threadIdx.x < 256 && !PLANTED(10))
			counts[threadIdx.x] = 0;
		SYNC();
		for (uint32_t id = threadIdx.x; id < s->n_vocab; id += THREADS) {
			uint64_t key = key_of(logits, allowed, id);
			if (key && key >> shift >> 8 == prefix)
				(void)op_atomic_add(&counts[key >> shift & 255], 1);
		}
		SYNC();
		if (threadIdx.x == 0) {
			int byte = 255;
			for (; byte > 0 && counts[byte] < wanted; byte--)
				wanted -= counts[byte];
			found[0] = prefix << 8 | (uint64_t)byte;
			found[1] = wanted;
		}
		SYNC();
		prefix = found[0];
		wanted = found[1];
		if (counts[prefix & 255] <= wanted) /* all that share these bytes */
			return prefix << shift ? prefix << shift : 1;
		SYNC();
	}
	return prefix;
}

/* Sort the shared keys, greatest first: a bitonic network (Batcher, 1968). */
static __device__ void sort(uint64_t *keys)
{
	for (uint32_t size = 2; size <= HS_GPU_CANDIDATES; size *= 2)
		for (uint32_t step = size / 2; step; step /= 2) {
			for (uint32_t i = threadIdx.x; i < HS_GPU_CANDIDATES / 2; i += THREADS) {
				uint32_t a = i / step * 2 * step + i % step, b = a + step;
				bool down = (a & size) == 0;
				uint64_t x = keys[a], y = keys[b];
				if (down ? x < y : x > y) {
					keys[a] = y;
					keys[b] = x;
				}
			}
			SYNC();
		}
}

/* splitmix64 (Steele, Lea, Flood 2014): the upper 53 bits as a number in [0, 1) */
static __device__ double draw(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

/* By thread 0: the index of the candidate that a point among the weights falls on. */
static __device__ uint32_t pick(const double *weights, uint32_t n, float top_p, uint64_t *state)
{
	double total = 0, kept = 0;
	for (uint32_t i = 0; i < n; i++)
		total += weights[i];
	double enough = top_p > 0 && top_p < 1 ? (double)top_p * total : total;
	uint32_t m = 0;
	while (m < n && kept < enough) /* the fewest whose weight reaches top_p */
		kept += weights[m++];
	double point = draw(state) * kept;
	for (uint32_t i = 0; i + 1 < m; i++) {
		if (point < weights[i])
			return i;
		point -= weights[i];
	}
	return m ? m - 1 : 0;
}

static __global__ __launch_bounds__(THREADS) void sample(struct hs_gpu_sampling s)
{
	SHARED(uint64_t, keys, HS_GPU_CANDIDATES);
	SHARED(double, weights, HS_GPU_CANDIDATES);
	SHARED(uint32_t, count, 1);
	uint32_t row = blockIdx.x, most = s.top_ks[row];
	const float *logits = s.logits + (size_t)row * s.stride;
	const uint32_t *allowed = s.allowed ? s.allowed + (size_t)row * s.allowed_stride : NULL;
	float temperature = s.temperatures[row];
	uint64_t best = 0;
	for (uint32_t id = threadIdx.x; id < s.n_vocab; id += THREADS) {
		uint64_t key = key_of(logits, allowed, id);
		best = key > best ? key : best;
	}
	best = greatest(best);
	float top = best ? logits[id_of(best)] : 0;
	if (!best || !(temperature > 0) || top - top != 0) {
		if (threadIdx.x == 0)
			s.ids[row] = best ? (int32_t)id_of(best) : -1;
		return;
	}
	if (most == 0 || most > HS_GPU_CANDIDATES)
		most = HS_GPU_CANDIDATES;
	uint64_t least = threshold(&s, logits, allowed, most);
	for (uint32_t i = threadIdx.x; i < HS_GPU_CANDIDATES; i += THREADS)
		keys[i] = 0;
	if (threadIdx.x == 0)
		*count = 0;
	SYNC();
	for (uint32_t id = threadIdx.x; id < s.n_vocab; id += THREADS) {
		uint64_t key = key_of(logits, allowed, id);
		if (key >= least)
			keys[op_atomic_add(count, 1)] = key;
	}
	SYNC();
	sort(keys);
	for (uint32_t i = threadIdx.x; i < *count; i += THREADS)
		weights[i] = exp(((double)logits[id_of(keys[i])] - (double)top) / (double)temperature);
	SYNC();
	if (threadIdx.x == 0)
		s.ids[row] = (int32_t)id_of(keys[pick(weights, *count, s.top_ps[row], &s.states[row])]);
}

int hs_gpu_sample(hs_gpu_stream stream, const struct hs_gpu_sampling *s)
{
	if (s->rows == 0 || s->n_vocab == 0 || s->n_vocab > ID_MASK + 1 || s->stride < s->n_vocab ||
	    (s->allowed && s->allowed_stride < (s->n_vocab + 31) / 32))
		return -EINVAL;
	return op_launch(sample, dim3(s->rows), dim3(THREADS), stream, *s);
}
