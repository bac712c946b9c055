/*
 * The next token of each row, as hs_sample (inference/sample.c) chooses it. First a block for each slice of the vocabulary finds
 * its best token, and what all of it weigh; then a block a row joins the slices in order. Logits become numbers whose order is
 * theirs, the smaller id first among equals, so that the best 1024 are found by their bytes from the top down, without ties.
 */
#include "inference/cuda/ops.h"

#define THREADS 512u
#define SURVEYORS 256u
#define EACH (HS_GPU_SLICE / SURVEYORS) /* ids that one of them looks at */
#define ID_BITS 21
#define ID_MASK (HS_GPU_VOCAB_MAX - 1)
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

static __device__ __forceinline__ const uint32_t *mask_of(const struct hs_gpu_sampling *s, uint32_t row)
{
	uint32_t mask = s->wishes[row].mask;
	return mask == HS_GPU_NO_MASK ? NULL : s->allowed + (size_t)mask * s->allowed_stride;
}

static __global__ __launch_bounds__(SURVEYORS) void survey(struct hs_gpu_sampling s)
{
	SHARED(uint64_t, bests, SURVEYORS / 32);
	SHARED(float, tops, SURVEYORS / 32);
	SHARED(double, sums, SURVEYORS / 32);
	uint32_t row = blockIdx.y, first = blockIdx.x * HS_GPU_SLICE + threadIdx.x;
	const float *logits = s.logits + (size_t)row * s.stride;
	const uint32_t *allowed = mask_of(&s, row);
	uint64_t best = 0;
	float top = -INFINITY;
	double sum = 0;
	for (uint32_t i = 0; i < EACH && first + i * SURVEYORS < s.n_vocab; i++) {
		uint64_t key = key_of(logits, allowed, first + i * SURVEYORS);
		best = key > best ? key : best;
		top = fmaxf(top, logits[first + i * SURVEYORS]);
	}
	for (int lanes = 16; lanes; lanes /= 2) {
		uint64_t other = SHUFFLE_XOR(best, lanes);
		best = other > best ? other : best;
	}
	top = op_warp_max(top);
	if (op_lane() == 0) {
		bests[threadIdx.x / 32] = best;
		tops[threadIdx.x / 32] = top;
	}
	SYNC();
	for (unsigned i = 0; i < SURVEYORS / 32; i++)
		top = fmaxf(top, tops[i]);
	for (uint32_t i = 0; i < EACH && first + i * SURVEYORS < s.n_vocab; i++) {
		float x = logits[first + i * SURVEYORS];
		sum += (double)(x == -INFINITY ? 0 : expf(x - top));
	}
	for (int lanes = 16; lanes; lanes /= 2)
		sum += SHUFFLE_XOR(sum, lanes);
	if (op_lane() == 0)
		sums[threadIdx.x / 32] = sum;
	SYNC();
	if (threadIdx.x)
		return;
	for (unsigned i = 1; i < SURVEYORS / 32; i++) {
		best = bests[i] > best ? bests[i] : best;
		sum += sums[i];
	}
	s.slices[(size_t)row * gridDim.x + blockIdx.x] = {best, sum, top};
}

/* The whole of a row's slices, joined in order. */
static __device__ struct hs_gpu_slice join(const struct hs_gpu_slice *slices, uint32_t n)
{
	struct hs_gpu_slice all = slices[0];
	for (uint32_t i = 1; i < n; i++) {
		all.best = slices[i].best > all.best ? slices[i].best : all.best;
		all.top = fmaxf(all.top, slices[i].top);
	}
	all.sum = 0;
	for (uint32_t i = 0; i < n; i++)
		all.sum +=
		    slices[i].top == -INFINITY ? slices[i].sum : slices[i].sum * exp((double)slices[i].top - (double)all.top);
	return all;
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
static __device__ double draw(uint64_t state)
{
	uint64_t z = state + 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

/* By thread 0: the index of the candidate that a point among the weights falls on. */
static __device__ uint32_t pick(const double *weights, uint32_t n, float top_p, uint64_t state)
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

static __global__ __launch_bounds__(THREADS) void sample(struct hs_gpu_sampling s, uint32_t slices)
{
	SHARED(uint64_t, keys, HS_GPU_CANDIDATES);
	SHARED(double, weights, HS_GPU_CANDIDATES);
	SHARED(uint32_t, count, 1);
	uint32_t row = blockIdx.x;
	const struct hs_gpu_wish *wish = &s.wishes[row];
	const float *logits = s.logits + (size_t)row * s.stride;
	const uint32_t *allowed = mask_of(&s, row);
	struct hs_gpu_slice all = join(s.slices + (size_t)row * slices, slices);
	uint32_t id = all.best ? id_of(all.best) : 0, most = wish->top_k;
	float top = logits[id];
	if (all.best && wish->temperature > 0 && top - top == 0) {
		if (most == 0 || most > HS_GPU_CANDIDATES)
			most = HS_GPU_CANDIDATES;
		uint64_t least = threshold(&s, logits, allowed, most);
		for (uint32_t i = threadIdx.x; i < HS_GPU_CANDIDATES; i += THREADS)
			keys[i] = 0;
		if (threadIdx.x == 0)
			*count = 0;
		SYNC();
		for (uint32_t i = threadIdx.x; i < s.n_vocab; i += THREADS) {
			uint64_t key = key_of(logits, allowed, i);
			if (key >= least)
				keys[op_atomic_add(count, 1)] = key;
		}
		SYNC();
		sort(keys);
		for (uint32_t i = threadIdx.x; i < *count; i += THREADS)
			weights[i] = exp(((double)logits[id_of(keys[i])] - (double)top) / (double)wish->temperature);
		SYNC();
		if (threadIdx.x == 0)
			id = id_of(keys[pick(weights, *count, wish->top_p, wish->state)]);
	}
	bool is = all.best && id < s.n_vocab;
	if (threadIdx.x == 0)
		s.chosen[row] = {is ? (int32_t)id : -1, is ? logits[id] - all.top - (float)log(all.sum) : NAN};
}

int hs_gpu_sample(hs_gpu_stream stream, const struct hs_gpu_sampling *s)
{
	if (s->rows == 0 || s->rows > HS_GPU_TOKENS_MAX || s->n_vocab == 0 || s->n_vocab > HS_GPU_VOCAB_MAX ||
	    s->stride < s->n_vocab || (s->allowed && s->allowed_stride < (s->n_vocab + 31) / 32))
		return -EINVAL;
	uint32_t slices = (s->n_vocab + HS_GPU_SLICE - 1) / HS_GPU_SLICE;
	int rc = op_launch(survey, dim3(slices, s->rows), dim3(SURVEYORS), stream, *s);
	return rc ? rc : op_launch(sample, dim3(s->rows), dim3(THREADS), stream, *s, slices);
}
