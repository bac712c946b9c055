/* Each kernel of each table against sums in double of the very numbers that it was given. */
#include "inference/cpu/kernels.h"

#include "tests/unit/inference/tiny.h"
#include "tests/unit/test.h"

#define ROWS 37 /* two whole panels and a part */
#define TOKENS 19
#define STRIDE 512

struct input {
	float x[TOKENS * STRIDE], d[TOKENS * STRIDE / 32], s32[TOKENS * STRIDE / 32], s16[TOKENS * STRIDE / 16];
	int8_t q[TOKENS * STRIDE];
	struct hs_acts acts;
};

static struct input *make_input(struct tiny_maker *k, uint32_t columns)
{
	struct input *in = calloc(1, sizeof *in);
	assert_non_null(in);
	for (uint32_t t = 0; t < TOKENS; t++)
		for (uint32_t c = 0; c < columns && t != 3; c++) /* the fourth token is all zero */
			in->x[t * STRIDE + c] = tiny_uniform(k) * (float)(1 + t);
	in->acts = (struct hs_acts){
	    .columns = columns, .stride = STRIDE, .x = in->x, .q = in->q, .d = in->d, .s32 = in->s32, .s16 = in->s16};
	return in;
}

static void test_quantise(void **state)
{
	const struct hs_kernels *tables[3];
	size_t n_tables = hs_kernels_list(tables);
	struct tiny_maker k = {.rng = 5};
	struct input *in = make_input(&k, STRIDE);
	for (size_t i = 0; i < n_tables; i++)
		for (uint32_t t = 0; t < TOKENS; t++) {
			tables[i]->quantise(&in->acts, t);
			for (uint32_t c = 0; c < STRIDE; c++) {
				size_t at = t * STRIDE + c;
				float d = in->d[at / 32];
				assert_true(fabsf(d * (float)in->q[at] - in->x[at]) <= 0.501f * d);
			}
			for (uint32_t c = 0; c < STRIDE; c += 16) {
				size_t at = t * STRIDE + c;
				int sum = 0;
				for (uint32_t j = 0; j < 16; j++)
					sum += in->q[at + j];
				assert_true(in->s16[at / 16] == in->d[at / 32] * (float)sum);
			}
		}
	free(in);
}

static void check_multiply(const struct hs_kernels *kernels, enum hs_tensor_type type, bool add)
{
	const struct hs_quant *q = hs_quant_find(type);
	struct tiny_maker k = {.rng = 99 + type};
	uint32_t columns = q->block == 1 ? 77 : q->block == 32 ? 96 : 512;
	size_t row_bytes = columns / q->block * q->block_bytes;
	uint8_t *data = malloc(ROWS * row_bytes);
	assert_non_null(data);
	for (size_t i = 0; i < ROWS * row_bytes / q->block_bytes; i++)
		tiny_block(&k, type, data + i * q->block_bytes, 1);
	float bias[ROWS];
	for (int i = 0; i < ROWS; i++)
		bias[i] = tiny_uniform(&k);
	const struct hs_gguf_tensor t = {
	    .type = type, .n_dims = 2, .dims = {columns, ROWS, 1, 1}, .data = data, .bytes = ROWS * row_bytes};
	const struct hs_gguf_tensor b = {.type = HS_F32, .n_dims = 1, .dims = {ROWS, 1, 1, 1}, .data = (const uint8_t *)bias};
	struct hs_packed p;
	assert_int_equal(hs_packed_init(&p, &t, &b), 0);
	for (uint32_t i = 0; i < p.n_panels; i++)
		hs_packed_fill(&p, &t, i);
	struct input *in = make_input(&k, columns);
	for (uint32_t i = 0; i < TOKENS; i++)
		kernels->quantise(&in->acts, i);
	static float y[TOKENS * 64], w[512];
	for (size_t i = 0; i < HS_ARRAY_LEN(y); i++)
		y[i] = 2;
	const struct hs_product product = {.w = &p, .a = &in->acts, .y = y, .stride = 64, .add = add};
	kernels->multiply(&product, 0, 2, 0, 11);
	kernels->multiply(&product, 2, 3, 0, 11);
	kernels->multiply(&product, 0, 3, 11, TOKENS);
	for (uint32_t r = 0; r < ROWS; r++) {
		q->dequantise(data + r * row_bytes, w, columns);
		for (uint32_t n = 0; n < TOKENS; n++) {
			double sum = (double)bias[r] + (add ? 2 : 0), size = 1;
			for (uint32_t c = 0; c < columns; c++) {
				size_t at = n * STRIDE + c;
				double x = q->block == 1 ? (double)in->x[at] : (double)in->d[at / 32] * in->q[at];
				sum += (double)w[c] * x;
				size += fabs((double)w[c] * x);
			}
			assert_true(fabs(sum - (double)y[n * 64 + r]) < 2e-6 * size);
		}
	}
	free(in);
	hs_packed_finish(&p);
	free(data);
}

static void test_multiply(void **state)
{
	static const enum hs_tensor_type types[] = {HS_F32,  HS_F16,  HS_BF16, HS_Q4_0, HS_Q5_0,
						    HS_Q8_0, HS_Q4_K, HS_Q5_K, HS_Q6_K};
	const struct hs_kernels *tables[3];
	size_t n_tables = hs_kernels_list(tables);
	for (size_t i = 0; i < n_tables; i++)
		for (size_t k = 0; k < HS_ARRAY_LEN(types); k++) {
			check_multiply(tables[i], types[k], false);
			check_multiply(tables[i], types[k], true);
		}
}

static void test_activate(void **state)
{
	const struct hs_kernels *tables[3];
	size_t n_tables = hs_kernels_list(tables);
	for (size_t i = 0; i < n_tables; i++) {
		float silu[1024], gelu[1024], gate[1024];
		for (int k = 0; k < 1024; k++) {
			gate[k] = gelu[k] = (float)(k - 512) / 24;
			silu[k] = 2;
		}
		tables[i]->activate(HS_ACT_SILU, gate, silu, 1024);
		tables[i]->activate(HS_ACT_GELU, NULL, gelu, 1024);
		for (int k = 0; k < 1024; k++) {
			double v = (double)(float)(k - 512) / 24;
			assert_true(fabs((double)silu[k] - 2 * v / (1 + exp(-v))) < 1e-5);
			assert_true(fabs((double)gelu[k] - 0.5 * v * (1 + erf(v / sqrt(2)))) < 5e-6);
		}
	}
}

static void test_normalise(void **state)
{
	const struct hs_kernels *tables[3];
	size_t n_tables = hs_kernels_list(tables);
	struct tiny_maker k = {.rng = 1};
	float x[100], weight[100], bias[100], y[100];
	for (int i = 0; i < 100; i++) {
		x[i] = 3 + tiny_uniform(&k);
		weight[i] = tiny_uniform(&k);
		bias[i] = tiny_uniform(&k);
	}
	for (size_t i = 0; i < n_tables; i++)
		for (size_t n = 1; n <= 100; n += 3)
			for (int kind = HS_NORM_RMS; kind <= HS_NORM_LAYER; kind++) {
				double mean = 0, square = 0;
				for (size_t c = 0; c < n && kind == HS_NORM_LAYER; c++)
					mean += (double)x[c] / (double)n;
				for (size_t c = 0; c < n; c++)
					square += ((double)x[c] - mean) * ((double)x[c] - mean) / (double)n;
				tables[i]->normalise((enum hs_norm)kind, x, weight, kind ? bias : NULL, 1e-3f, n, y);
				for (size_t c = 0; c < n; c++) {
					double want = ((double)x[c] - mean) / sqrt(square + 1e-3) * (double)weight[c];
					assert_true(fabs((double)y[c] - want - (kind ? (double)bias[c] : 0)) < 2e-5);
				}
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_quantise),
	    cmocka_unit_test(test_multiply),
	    cmocka_unit_test(test_activate),
	    cmocka_unit_test(test_normalise),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
