/* The GPU's tiles, read back as layout.h says they are read, against what the file's blocks mean. */
#include "inference/cuda/repack.h"

#include "tests/unit/inference/tiles.h"
#include "tests/unit/inference/tiny.h"
#include "tests/unit/test.h"

/* rows random rows of a type. */
static uint8_t *random_rows(enum hs_tensor_type type, uint32_t columns, uint32_t rows, struct hs_gguf_tensor *t)
{
	struct tiny_maker k = {.rng = 77 + (uint64_t)type};
	const struct hs_quant *q = hs_quant_find(type);
	size_t n = (size_t)columns / q->block * rows;
	uint8_t *data = malloc(n * q->block_bytes);
	assert_non_null(data);
	for (size_t i = 0; i < n; i++)
		tiny_block(&k, type, data + i * q->block_bytes, 0.1f);
	*t = (struct hs_gguf_tensor){
	    .type = type, .n_dims = 2, .dims = {columns, rows, 1, 1}, .data = data, .bytes = n * q->block_bytes};
	return data;
}

/* Rows [first, first + rows) of a tensor of `all` rows, packed in pieces of `step` strips. */
static void check(enum hs_tensor_type type, uint32_t columns, uint32_t all, uint32_t first, uint32_t rows, uint32_t step)
{
	struct hs_gguf_tensor t;
	uint8_t *data = random_rows(type, columns, all, &t);
	const struct hs_quant *q = hs_quant_find(type);
	enum hs_gpu_type gpu = HS_GPU_F32;
	assert_true(hs_gpu_type_of(type, &gpu));
	size_t bytes = hs_gpu_matrix_bytes(gpu, rows, columns), strip_bytes = hs_gpu_matrix_bytes(gpu, 16, columns);
	uint8_t *out = malloc(bytes);
	float *want = calloc(columns, sizeof *want);
	assert_true(out && want);
	memset(out, 0xa5, bytes);
	for (uint32_t s = 0; s < (rows + 15) / 16; s += step)
		hs_gpu_pack(&t, first, rows, s, HS_MIN(s + step, (rows + 15) / 16), out + s * strip_bytes);
	bool exact = type != HS_Q4_K && type != HS_Q5_K && type != HS_Q6_K;
	for (uint32_t r = 0; r < hs_gpu_round(rows, 16); r++) {
		if (r < rows)
			q->dequantise(data + (first + r) * (columns / q->block) * q->block_bytes, want, columns);
		for (uint32_t c = 0; c < hs_gpu_round(columns, 32); c++) {
			float slack, got = tile_value(gpu, out, columns, r, c, &slack),
				     wants = r < rows && c < columns ? want[c] : 0;
			if (!(fabsf(got - wants) <= (exact ? 0 : slack)))
				print_error("%s row %u column %u: %g, not %g\n", hs_tensor_type_name(type), r, c, (double)got,
					    (double)wants);
			assert_true(fabsf(got - wants) <= (exact ? 0 : slack));
		}
	}
	free(want);
	free(out);
	free(data);
}

static void test_values(void **state)
{
	static const enum hs_tensor_type types[] = {HS_F32,  HS_F16,  HS_BF16, HS_Q4_0, HS_Q5_0,
						    HS_Q8_0, HS_Q4_K, HS_Q5_K, HS_Q6_K, HS_MXFP4};
	for (size_t i = 0; i < HS_ARRAY_LEN(types); i++) {
		uint32_t block = hs_quant_find(types[i])->block;
		check(types[i], 256, 32, 0, 32, 2);
		check(types[i], 512, 37, 0, 37, 1);  /* a strip that is not full */
		check(types[i], 256, 60, 20, 20, 3); /* one of several in a tensor */
		check(types[i], 256, 1, 0, 1, 1);
		if (block == 1)
			check(types[i], 43, 21, 3, 17, 1); /* columns that are no whole tile */
		if (block == 32)
			check(types[i], 96, 21, 3, 17, 1);
	}
}

static void test_halves_that_overflow_stay_finite(void **state)
{
	uint8_t block[HS_Q4_0_BYTES], tile[320];
	struct hs_gguf_tensor t = {.type = HS_Q4_0, .n_dims = 2, .dims = {32, 1, 1, 1}, .data = block, .bytes = sizeof block};
	float slack;
	memset(block, 0xff, sizeof block);
	tiny_half(block, 65504);
	hs_gpu_pack(&t, 0, 1, 0, 1, tile);
	assert_true(isfinite(tile_value(HS_GPU_Q4, tile, 32, 0, 0, &slack)));
}

static void test_every_type_of_the_engine_has_one(void **state)
{
	enum hs_gpu_type gpu;
	for (int type = 0; type < 64; type++)
		assert_true(hs_gpu_type_of((enum hs_tensor_type)type, &gpu) ==
			    (hs_quant_find((enum hs_tensor_type)type) != NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_values),
	    cmocka_unit_test(test_halves_that_overflow_stay_finite),
	    cmocka_unit_test(test_every_type_of_the_engine_has_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
