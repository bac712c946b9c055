/*
 * Each operation of ops.h alone, on numbers that look random: on the host its twin against plain sums over whole matrices, on a
 * GPU the instruction against the very same. Fragments are laid out here by the formulas of the PTX ISA, not by the kernels'
 * code.
 */
#include "inference/cuda/ops.h"
#include "tests/cuda_on_host/device.h"

#define WORDS 8u /* that a lane takes, and gives */

enum op { BYTES_32, BYTES_16, HALVES, BF16S, MATRIX, MATRIX_T, DOT, PERMUTE, TO_HALF, FROM_HALF, TO_BF16, LANES, COPY };

static __global__ __launch_bounds__(32) void run(int op, const uint32_t *in, uint32_t *out)
{
	SHARED(uint32_t, shared, 32 * WORDS);
	unsigned lane = op_lane();
	uint32_t a[WORDS], d[WORDS] = {};
	for (unsigned i = 0; i < WORDS; i++)
		a[i] = in[lane * WORDS + i];
	float f[4] = {0.5f, 1, -2, 3};
	int32_t n[4] = {1, -2, 3, 4};
	switch (op) {
	case BYTES_32:
		MMA_S8_K32(n, a, a + 4);
		break;
	case BYTES_16:
		MMA_S8_K16(n, a, a + 4);
		break;
	case HALVES:
		MMA_F16(f, a, a + 4);
		break;
	case BF16S:
		MMA_BF16(f, a, a + 4);
		break;
	case MATRIX:
	case MATRIX_T:
		for (unsigned i = 0; i < 4; i++) /* another lane's row */
			shared[(31 - lane) * 4 + i] = in[(31 - lane) * WORDS + i];
		if (!PLANTED(8))
			SYNC();
		if (op == MATRIX)
			LOAD_MATRIX(d, shared + lane * 4);
		else
			LOAD_MATRIX_T(d, shared + lane * 4);
		break;
	case DOT:
		d[0] = (uint32_t)op_dp4a((int)a[0], (int)a[1], (int)a[2]);
		break;
	case PERMUTE:
		d[0] = op_permute(a[0], a[1], a[2] & 0xffff);
		break;
	case TO_HALF:
		d[0] = op_float_to_half(op_float_of_bits(a[0]));
		break;
	case FROM_HALF:
		d[0] = op_bits_of_float(op_half_to_float((uint16_t)a[0]));
		break;
	case TO_BF16:
		d[0] = op_float_to_bf16(op_float_of_bits(a[0]));
		break;
	case LANES:
		d[0] = SHUFFLE(a[0], a[1] % 32);
		d[1] = SHUFFLE_XOR(a[0], 5);
		d[2] = BALLOT(a[2] & 1);
		break;
	case COPY: /* four words, and four that are not valid */
		COPY_ASYNC(shared + lane * 4, in + lane * WORDS, true);
		op_copy_commit();
		COPY_ASYNC(shared + 128 + lane * 4, in, false);
		op_copy_commit();
		op_copy_wait<1>();
		for (unsigned i = 0; i < 4; i++)
			d[i] = shared[lane * 4 + i];
		op_copy_wait<0>();
		for (unsigned i = 0; i < 4; i++)
			d[4 + i] = shared[128 + lane * 4 + i];
		break;
	}
	for (unsigned i = 0; i < 4 && op <= BYTES_16; i++)
		d[i] = (uint32_t)n[i];
	for (unsigned i = 0; i < 4 && op >= HALVES && op <= BF16S; i++)
		d[i] = op_bits_of_float(f[i]);
	for (unsigned i = 0; i < WORDS; i++)
		out[lane * WORDS + i] = d[i];
}

static std::vector<uint32_t> result_of(enum op op, const std::vector<uint32_t> &in)
{
	uint32_t *out = device_room<uint32_t>(32 * WORDS);
	if (op_launch(run, dim3(1), dim3(32), (hs_gpu_stream) nullptr, (int)op, (const uint32_t *)device_array(in), out))
		return std::vector<uint32_t>(32 * WORDS, 0xdeadbeef);
	return device_result(out, 32 * WORDS);
}

static std::vector<uint32_t> random_words(struct maker *k)
{
	std::vector<uint32_t> v(32 * WORDS);
	for (uint32_t &w : v)
		w = (uint32_t)make_bits(k);
	return v;
}

/* Products of bytes: the PTX ISA's rows and columns of each byte of each register. */
static const char *bytes(enum op op)
{
	struct maker k = {(uint64_t)op + 1};
	const unsigned size = op == BYTES_32 ? 32 : 16;
	int8_t a[16][32], b[32][8];
	std::vector<uint32_t> in(32 * WORDS);
	for (unsigned row = 0; row < 16; row++)
		for (unsigned c = 0; c < size; c++) {
			a[row][c] = (int8_t)make_bits(&k);
			unsigned lane = row % 8 * 4 + c % 16 / 4, reg = row / 8 + c / 16 * 2;
			in[lane * WORDS + reg] |= (uint32_t)(uint8_t)a[row][c] << c % 4 * 8;
		}
	for (unsigned c = 0; c < size; c++)
		for (unsigned column = 0; column < 8; column++) {
			b[c][column] = (int8_t)make_bits(&k);
			in[(column * 4 + c % 16 / 4) * WORDS + 4 + c / 16] |= (uint32_t)(uint8_t)b[c][column] << c % 4 * 8;
		}
	std::vector<uint32_t> out = result_of(op, in);
	static const int32_t start[4] = {1, -2, 3, 4};
	for (unsigned row = 0; row < 16; row++)
		for (unsigned column = 0; column < 8; column++) {
			unsigned lane = row % 8 * 4 + column / 2, reg = row / 8 * 2 + column % 2;
			int32_t want = start[reg];
			for (unsigned c = 0; c < size; c++)
				want += a[row][c] * b[c][column];
			if ((int32_t)out[lane * WORDS + reg] != want)
				return wrong("row %u, column %u is %d instead of %d", row, column,
					     (int32_t)out[lane * WORDS + reg], want);
		}
	return nullptr;
}

/* Products of 16-bit numbers whose bits are sign and a few of the mantissa, so that sums in float are exact in any order. */
static const char *halves(enum op op)
{
	struct maker k = {(uint64_t)op + 1};
	double a[16][16], b[16][8];
	std::vector<uint32_t> in(32 * WORDS);
	for (unsigned row = 0; row < 24; row++) /* 16 rows of A, then 8 columns of B */
		for (unsigned c = 0; c < 16; c++) {
			uint32_t bits = (uint32_t)make_bits(&k), whole = bits & 7;
			uint32_t number = op == HALVES ? 0x3c00 | whole << 7 : 0x3f80 | whole << 4; /* 1 + whole / 8 */
			double value = (1 + whole / 8.0) * (bits & 8 ? -1 : 1);
			number |= bits & 8 ? 0x8000 : 0;
			if (row < 16) {
				a[row][c] = value;
				in[(row % 8 * 4 + c % 8 / 2) * WORDS + row / 8 + c / 8 * 2] |= number << c % 2 * 16;
			} else {
				b[c][row - 16] = value;
				in[((row - 16) * 4 + c % 8 / 2) * WORDS + 4 + c / 8] |= number << c % 2 * 16;
			}
		}
	std::vector<uint32_t> out = result_of(op, in);
	static const double start[4] = {0.5, 1, -2, 3};
	for (unsigned row = 0; row < 16; row++)
		for (unsigned column = 0; column < 8; column++) {
			unsigned at = (row % 8 * 4 + column / 2) * WORDS + row / 8 * 2 + column % 2;
			double want = start[row / 8 * 2 + column % 2];
			float got;
			for (unsigned c = 0; c < 16; c++)
				want += a[row][c] * b[c][column];
			memcpy(&got, &out[at], sizeof got);
			if ((double)got != want)
				return wrong("row %u, column %u is %g instead of %g", row, column, (double)got, want);
		}
	return nullptr;
}

static const char *products(void)
{
	const char *failure = bytes(BYTES_32);
	failure = failure ? failure : bytes(BYTES_16);
	failure = failure ? failure : halves(HALVES);
	return failure ? failure : halves(BF16S);
}

static const char *matrices(void)
{
	struct maker k = {5};
	std::vector<uint32_t> in = random_words(&k), plain = result_of(MATRIX, in), turned = result_of(MATRIX_T, in);
	for (unsigned lane = 0; lane < 32; lane++)
		for (unsigned i = 0; i < 4; i++)
			for (unsigned half = 0; half < 2; half++) {
				unsigned row = lane / 4, column = lane % 4 * 2 + half; /* row r of matrix i is lane 8 i + r's */
				uint32_t want = in[(8 * i + row) * WORDS + column / 2] >> column % 2 * 16 & 0xffff;
				uint32_t want_t = in[(8 * i + column) * WORDS + row / 2] >> row % 2 * 16 & 0xffff;
				if ((plain[lane * WORDS + i] >> 16 * half & 0xffff) != want ||
				    (turned[lane * WORDS + i] >> 16 * half & 0xffff) != want_t)
					return wrong("lane %u, word %u", lane, i);
			}
	return nullptr;
}

static const char *words(void)
{
	struct maker k = {6};
	for (int turn = 0; turn < 8; turn++) {
		std::vector<uint32_t> in = random_words(&k), dot = result_of(DOT, in), permuted = result_of(PERMUTE, in);
		std::vector<uint32_t> lanes = result_of(LANES, in), copied = result_of(COPY, in);
		uint32_t votes = 0;
		for (unsigned lane = 0; lane < 32; lane++)
			votes |= (in[lane * WORDS + 2] & 1) << lane;
		for (unsigned lane = 0; lane < 32; lane++) {
			const uint32_t *x = &in[lane * WORDS];
			uint32_t sum = x[2], bytes = 0;
			for (unsigned i = 0; i < 4; i++) {
				sum += (uint32_t)((int8_t)(x[0] >> 8 * i) * (int8_t)(x[1] >> 8 * i));
				unsigned select = x[2] >> 4 * i & 15;
				uint32_t byte = (uint32_t)(((uint64_t)x[1] << 32 | x[0]) >> 8 * (select & 7)) & 255;
				bytes |= (select & 8 ? (byte & 128 ? 255u : 0u) : byte) << 8 * i;
				if (copied[lane * WORDS + i] != x[i] || copied[lane * WORDS + 4 + i] != 0)
					return wrong("copy of lane %u", lane);
			}
			if (dot[lane * WORDS] != sum || permuted[lane * WORDS] != bytes)
				return wrong("dot or permutation of lane %u", lane);
			if (lanes[lane * WORDS] != in[x[1] % 32 * WORDS] || lanes[lane * WORDS + 1] != in[(lane ^ 5) * WORDS] ||
			    lanes[lane * WORDS + 2] != votes)
				return wrong("shuffle or vote of lane %u", lane);
		}
	}
	return nullptr;
}

/* The value of a finite half. */
static double half_value(uint32_t h)
{
	double fraction = (h & 1023) / 1024.0;
	int exponent = (int)(h >> 10 & 31);
	return (h & 0x8000 ? -1 : 1) * (exponent ? ldexp(1 + fraction, exponent - 15) : ldexp(fraction, -14));
}

static const char *conversions(void)
{
	struct maker k = {7};
	for (int turn = 0; turn < 16; turn++) {
		std::vector<uint32_t> in = random_words(&k);
		for (unsigned lane = 0; lane < 32; lane++) /* around the halves' range, and beyond it */
			in[lane * WORDS] = (in[lane * WORDS] & 0x807fffffu) | (100u + (uint32_t)make_bits(&k) % 45) << 23;
		std::vector<uint32_t> to = result_of(TO_HALF, in), bf = result_of(TO_BF16, in), from = result_of(FROM_HALF, in);
		for (unsigned lane = 0; lane < 32; lane++) {
			float x, back, wide;
			memcpy(&x, &in[lane * WORDS], sizeof x);
			uint32_t h = to[lane * WORDS], high = bf[lane * WORDS] << 16, source = in[lane * WORDS] & 0xffff;
			memcpy(&back, &from[lane * WORDS], sizeof back);
			memcpy(&wide, &high, sizeof wide);
			double cut = fmin(fmax((double)x, -65504), 65504), off = fabs(half_value(h) - cut);
			if ((h & 0x7c00) == 0x7c00 || off > fabs(half_value(h ^ 1) - cut) ||
			    off > ldexp(fabs(cut), -11) + ldexp(1, -25))
				return wrong("%g becomes the half %04x", (double)x, h);
			if (fabs((double)wide - (double)x) > ldexp(fabs((double)x), -8))
				return wrong("%g becomes the bfloat16 %g", (double)x, (double)wide);
			if ((source & 0x7c00) != 0x7c00 && (double)back != half_value(source))
				return wrong("the half %04x becomes %g", source, (double)back);
		}
	}
	return nullptr;
}

#define ROUNDS 6u
#define BLOCKS 4u

/* Each block adds what two others had in the round before. */
static __global__ __launch_bounds__(32) void rounds(uint32_t *counter, uint32_t *values)
{
	for (uint32_t round = 1; round <= ROUNDS; round++) {
		const uint32_t *before = values + (round - 1) * BLOCKS;
		if (threadIdx.x == 3)
			values[round * BLOCKS + blockIdx.x] =
			    before[(blockIdx.x + 1) % BLOCKS] * 3 + before[(blockIdx.x + 2) % BLOCKS];
		if (!PLANTED(16))
			op_grid_barrier(counter, round);
	}
}

static const char *grid_barrier(void)
{
	std::vector<uint32_t> values = {1, 20, 300, 4000};
	uint32_t *counter = device_array(std::vector<uint32_t>(1)), *at = device_room<uint32_t>((ROUNDS + 1) * BLOCKS);
	device_put(at, values.data(), BLOCKS * sizeof(uint32_t));
	if (op_launch_together(rounds, dim3(BLOCKS), dim3(32), (hs_gpu_stream) nullptr, counter, at))
		return "the launch was refused";
	for (uint32_t round = 0; round < ROUNDS; round++)
		for (uint32_t i = 0; i < BLOCKS; i++)
			values.push_back(values[round * BLOCKS + (i + 1) % BLOCKS] * 3 +
					 values[round * BLOCKS + (i + 2) % BLOCKS]);
	return device_result(at, values.size()) == values ? nullptr : "a block read what another had not written";
}

/* Ones times ones: each round adds the length of a row to each of 32 sums of a thread. */
static const char *rates(void)
{
	const uint32_t blocks = 3, n = blocks * HS_GPU_RATE_THREADS, rounds = 5;
	for (int bytes = 0; bytes < 2; bytes++) {
		uint32_t *out = device_room<uint32_t>(n);
		if (hs_gpu_rate(nullptr, bytes, blocks, rounds, out))
			return "the launch was refused";
		uint64_t sum = 0;
		for (uint32_t x : device_result(out, n)) {
			if (x != 32 * rounds * (bytes ? 32 : 16))
				return wrong("a sum is %u", x);
			sum += x;
		}
		if (2 * sum != hs_gpu_rate_operations(bytes, blocks, rounds))
			return wrong("%llu operations", (unsigned long long)sum);
	}
	return nullptr;
}

const std::vector<struct device_case> cases_of_ops = {
    {"products", products},       {"matrices", matrices},         {"words", words},
    {"conversions", conversions}, {"grid barrier", grid_barrier}, {"rates", rates}};
