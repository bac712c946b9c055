/* The twins: what each operation of ops.h means, lane by lane, over the fibers of tests/cuda_on_host. Included by ops.h only. */
#ifndef HISHO_INFERENCE_CUDA_OPS_HOST_H
#define HISHO_INFERENCE_CUDA_OPS_HOST_H

#include <string.h>

#include "inference/quant/half.h"
#include "tests/cuda_on_host/host.h"

#define UNROLL
#define UNROLL_4
#define PLANTED(n) (hs_host_plant == (n))

/* The key is one object a declaration, and a template's instance. */
#define SHARED(type, name, count)                                                                                                \
	static const char name##_key = 0;                                                                                        \
	type *name = static_cast<type *>(hs_host_shared(&name##_key, sizeof(type) * (count), OP_SITE))

#define SYNC() hs_host_barrier(OP_SITE)
#define SYNC_WARP() hs_host_collective(FULL, OP_SITE, nullptr, nullptr)
#define SHUFFLE(value, lane) op_shuffle(FULL, value, lane, OP_SITE)
#define SHUFFLE_XOR(value, lanes) op_shuffle(FULL, value, op_lane() ^ (unsigned)(lanes), OP_SITE)
#define SHUFFLE_XOR_IN(mask, value, lanes) op_shuffle(mask, value, op_lane() ^ (unsigned)(lanes), OP_SITE)
#define BALLOT(predicate) op_ballot(predicate, OP_SITE)

static inline unsigned op_lane(void)
{
	return hs_host_lane();
}

template <typename T> struct op_shuffle_operand {
	T value, result;
	unsigned from;
};

template <typename T> static void op_resolve_shuffle(void *const operands[32])
{
	for (unsigned i = 0; i < 32; i++) {
		op_shuffle_operand<T> *o = static_cast<op_shuffle_operand<T> *>(operands[i]);
		if (!o)
			continue;
		const op_shuffle_operand<T> *from = static_cast<op_shuffle_operand<T> *>(operands[o->from % 32]);
		if (from)
			o->result = from->value;
		else /* of a lane that is not of the mask: undefined */
			memset(static_cast<void *>(&o->result), hs_host_mode.poison, sizeof o->result);
	}
}

template <typename T> static T op_shuffle(uint32_t mask, T value, unsigned from, const char *site)
{
	op_shuffle_operand<T> o = {value, value, from};
	hs_host_collective(mask, site, &o, op_resolve_shuffle<T>);
	return o.result;
}

static inline void op_resolve_ballot(void *const operands[32])
{
	uint32_t votes = 0;
	for (unsigned i = 0; i < 32; i++)
		votes |= (uint32_t)(*static_cast<uint32_t *>(operands[i]) != 0) << i;
	for (unsigned i = 0; i < 32; i++)
		*static_cast<uint32_t *>(operands[i]) = votes;
}

static inline uint32_t op_ballot(bool predicate, const char *site)
{
	uint32_t o = predicate;
	hs_host_collective(FULL, site, &o, op_resolve_ballot);
	return o;
}

static inline int8_t op_byte(uint32_t word, unsigned i)
{
	return (int8_t)(word >> 8 * i);
}

static inline int op_dp4a(int a, int b, int c)
{
	for (unsigned i = 0; i < 4; i++)
		c += op_byte((uint32_t)a, i) * op_byte((uint32_t)b, i);
	return c;
}

static inline uint32_t op_permute(uint32_t low, uint32_t high, uint32_t select)
{
	uint32_t result = 0;
	for (unsigned i = 0; i < 4; i++, select >>= 4) {
		unsigned n = select & 7;
		uint32_t byte = (n < 4 ? low : high) >> 8 * (n % 4) & 0xff;
		if (select & 8)
			byte = byte & 0x80 ? 0xff : 0;
		result |= byte << 8 * i;
	}
	return result;
}

/* A product's operands of one lane; `words` of A: 4 or 2. */
template <typename D> struct op_mma_operand {
	D *d;
	const uint32_t *a, *b;
};

/*
 * d = d + A B. Words of A: `halves` of k, each two rows; `per` numbers a word. `add` adds the products of a word of A and one of
 * B.
 */
template <typename D, int halves, D (*add)(D, uint32_t, uint32_t)> static void op_resolve_mma(void *const operands[32])
{
	for (unsigned lane = 0; lane < 32; lane++) {
		const op_mma_operand<D> *o = static_cast<op_mma_operand<D> *>(operands[lane]);
		unsigned g = lane / 4, t = lane % 4;
		for (unsigned i = 0; i < 4; i++) {
			D sum = o->d[i];
			for (unsigned half = 0; half < halves; half++)
				for (unsigned k = 0; k < 4; k++) {
					const op_mma_operand<D> *x = static_cast<op_mma_operand<D> *>(operands[4 * g + k]);
					const op_mma_operand<D> *y =
					    static_cast<op_mma_operand<D> *>(operands[4 * (2 * t + i % 2) + k]);
					sum = add(sum, x->a[2 * half + i / 2], y->b[half]);
				}
			o->d[i] = sum;
		}
	}
}

static inline int32_t op_add_bytes(int32_t sum, uint32_t a, uint32_t b)
{
	return op_dp4a((int)a, (int)b, sum);
}

static inline float op_add_halves(float sum, uint32_t a, uint32_t b)
{
	sum += hs_half_to_float((uint16_t)a) * hs_half_to_float((uint16_t)b);
	return sum + hs_half_to_float((uint16_t)(a >> 16)) * hs_half_to_float((uint16_t)(b >> 16));
}

static inline float op_add_bf16(float sum, uint32_t a, uint32_t b)
{
	sum += hs_bf16_to_float((uint16_t)a) * hs_bf16_to_float((uint16_t)b);
	return sum + hs_bf16_to_float((uint16_t)(a >> 16)) * hs_bf16_to_float((uint16_t)(b >> 16));
}

template <typename D, int halves, D (*add)(D, uint32_t, uint32_t)>
static void op_mma(D d[4], const uint32_t *a, const uint32_t *b, const char *site)
{
	op_mma_operand<D> o = {d, a, b};
	hs_host_collective(FULL, site, &o, op_resolve_mma<D, halves, add>);
}

#define MMA_S8_K32(d, a, b) (op_mma<int32_t, 2, op_add_bytes>(d, a, b, OP_SITE))
#define MMA_S8_K16(d, a, b) (op_mma<int32_t, 1, op_add_bytes>(d, a, b, OP_SITE))
#define MMA_F16(d, a, b) (op_mma<float, 2, op_add_halves>(d, a, b, OP_SITE))
#define MMA_BF16(d, a, b) (op_mma<float, 2, op_add_bf16>(d, a, b, OP_SITE))

/* A row is read when its lane arrives: nothing but a barrier before makes other lanes' writes seen. */
struct op_matrix_operand {
	uint16_t row[8];
	uint32_t *words;
};

template <bool transposed> static void op_resolve_load(void *const operands[32])
{
	for (unsigned lane = 0; lane < 32; lane++) {
		op_matrix_operand *o = static_cast<op_matrix_operand *>(operands[lane]);
		for (unsigned i = 0; i < 4; i++) {
			uint32_t word = 0;
			for (unsigned k = 0; k < 2; k++) {
				unsigned row = lane / 4, column = 2 * (lane % 4) + k;
				const op_matrix_operand *from =
				    static_cast<op_matrix_operand *>(operands[8 * i + (transposed ? column : row)]);
				word |= (uint32_t)from->row[transposed ? row : column] << 16 * k;
			}
			o->words[i] = word;
		}
	}
}

template <bool transposed> static void op_load(uint32_t words[4], const void *row, const char *site)
{
	op_matrix_operand o;
	if ((uintptr_t)row % 16)
		hs_host_fail("%s: a matrix row that is not aligned to 16 bytes", site);
	memcpy(o.row, row, sizeof o.row);
	o.words = words;
	hs_host_collective(FULL, site, &o, op_resolve_load<transposed>);
}

#define LOAD_MATRIX(words, row) op_load<false>(words, row, OP_SITE)
#define LOAD_MATRIX_T(words, row) op_load<true>(words, row, OP_SITE)

#define COPY_ASYNC(to, from, valid) hs_host_copy_async(to, from, 16, valid, OP_SITE)

static inline void op_copy_commit(void)
{
	hs_host_copy_commit();
}

template <int pending> static void op_copy_wait(void)
{
	hs_host_copy_wait(pending);
}

static inline uint32_t op_atomic_add(uint32_t *p, uint32_t value)
{
	hs_host_preempt();
	uint32_t before = __atomic_fetch_add(p, value, __ATOMIC_RELAXED); /* orders nothing else */
	hs_host_preempt();
	return before;
}

static inline void op_fence(void)
{
	hs_host_preempt();
	hs_host_fence();
}

static inline uint32_t op_load_now(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline float op_half_to_float(uint16_t h)
{
	return hs_half_to_float(h);
}

static inline uint16_t op_finite_half(float f)
{
	return hs_half_from_float(f);
}

static inline uint16_t op_float_to_bf16(float f)
{
	uint32_t bits = hs_float_bits(f);
	if (f != f)
		return 0x7fc0;
	return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

static inline float op_float_of_bits(uint32_t bits)
{
	return hs_float_from_bits(bits);
}

static inline uint32_t op_bits_of_float(float f)
{
	return hs_float_bits(f);
}

#define SPIN() hs_host_spin(OP_SITE)

template <typename... P, typename... A>
static int op_launch(void (*kernel)(P...), dim3 grid, dim3 block, hs_gpu_stream stream, A... arguments)
{
	return hs_host_launch(kernel, grid, block, false, stream, arguments...) == 0 ? 0 : -EIO;
}

template <typename... P>
static int op_launch_together(void (*kernel)(P...), dim3 grid, dim3 block, hs_gpu_stream stream, P... arguments)
{
	return hs_host_launch(kernel, grid, block, true, stream, arguments...) == 0 ? 0 : -EIO;
}

#endif
