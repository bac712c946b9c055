/* Each kernel of each table against sums in double of the very numbers that it was given, and bit for bit against the others. */
#include "inference/cpu/kv.h"

#include "tests/unit/inference/tiny.h"
#include "tests/unit/test.h"

#define ROWS 37 /* two whole panels and a part */
#define TOKENS 19
#define STRIDE 512

struct input {
	float x[TOKENS * STRIDE], d32[TOKENS * STRIDE / 32], d256[TOKENS * STRIDE / 256];
	int8_t q32[TOKENS * STRIDE], q256[TOKENS * STRIDE];
	int16_t sums32[TOKENS * STRIDE / 32], sums16k[TOKENS * STRIDE / 16], sums32k[TOKENS * STRIDE / 32];
	struct hs_acts acts;
};

static struct input *make_input(struct tiny_maker *k, uint32_t columns)
{
	struct input *in = calloc(1, sizeof *in);
	assert_non_null(in);
	for (uint32_t t = 0; t < TOKENS; t++)
		for (uint32_t c = 0; c < columns && t != 3; c++) /* the fourth token is all zero */
			in->x[t * STRIDE + c] = tiny_uniform(k) * (float)(1 + t);
	in->acts = (struct hs_acts){.columns = columns,
				    .stride = STRIDE,
				    .x = in->x,
				    .forms = HS_FORM_32 | (columns % 256 ? 0 : HS_FORM_256),
				    .q32 = in->q32,
				    .d32 = in->d32,
				    .sums32 = in->sums32,
				    .q256 = in->q256,
				    .d256 = in->d256,
				    .sums16k = in->sums16k,
				    .sums32k = in->sums32k};
	return in;
}

static int sum_of(const int8_t *q, int n)
{
	int sum = 0;
	for (int i = 0; i < n; i++)
		sum += q[i];
	return sum;
}

static void test_quantise(void **state)
{
	const struct hs_kernels *tables[3];
	size_t n_tables = hs_kernels_list(tables);
	struct tiny_maker k = {.rng = 5};
	struct input *in = make_input(&k, STRIDE), *first = malloc(sizeof *first);
	assert_non_null(first);
	for (size_t i = 0; i < n_tables; i++) {
		for (uint32_t t = 0; t < TOKENS; t++)
			tables[i]->quantise(&in->acts, t);
		for (size_t at = 0; at < TOKENS * STRIDE; at++) {
			float d = in->d32[at / 32], dk = in->d256[at / 256];
			/* the scale is rounded to half precision: 2^-11 of up to 127 steps */
			assert_true(fabsf(d * (float)in->q32[at] - in->x[at]) <= 0.57f * d);
			assert_true(fabsf(dk * (float)in->q256[at] - in->x[at]) <= 0.501f * dk);
		}
		for (size_t at = 0; at < TOKENS * STRIDE; at += 32) {
			assert_int_equal(in->sums32[at / 32], sum_of(in->q32 + at, 32));
			assert_int_equal(in->sums32k[at / 32], sum_of(in->q256 + at, 32));
			assert_int_equal(in->sums16k[at / 16], sum_of(in->q256 + at, 16));
			assert_int_equal(in->sums16k[at / 16 + 1], sum_of(in->q256 + at + 16, 16));
		}
		if (i == 0)
			*first = *in;
		assert_memory_equal(first, in, offsetof(struct input, acts));
	}
	free(first);
	free(in);
}

/* ret_y (TOKENS * 64): the products of rows and tokens, for comparing tables */
static void check_multiply(const struct hs_kernels *kernels, enum hs_tensor_type type, bool add, float *y)
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
	static float w[512];
	for (size_t i = 0; i < TOKENS * 64; i++)
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
				double x = q->block == 1    ? (double)in->x[at]
					   : q->block == 32 ? (double)in->d32[at / 32] * in->q32[at]
							    : (double)in->d256[at / 256] * in->q256[at];
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
						    HS_Q8_0, HS_Q4_K, HS_Q5_K, HS_Q6_K, HS_MXFP4};
	const struct hs_kernels *tables[3];
	size_t n_tables = hs_kernels_list(tables);
	static float first[TOKENS * 64], y[TOKENS * 64];
	for (size_t k = 0; k < HS_ARRAY_LEN(types); k++)
		for (size_t i = 0; i < n_tables; i++) {
			check_multiply(tables[i], types[k], false, y);
			check_multiply(tables[i], types[k], true, y);
			if (i == 0)
				memcpy(first, y, sizeof y);
			assert_memory_equal(first, y, sizeof y);
		}
}

enum { DIM = 40, ROW = 48, GROUP = 3, KEYS = 70, QUERIES = 11, HEAD = GROUP * DIM };

static double number_at(const struct hs_attention *a, size_t numbers, size_t i, size_t scales, uint32_t c, uint32_t position)
{
	const uint8_t *page = a->pages[position / HS_PAGE_POSITIONS];
	const float *scale = (const float *)(const void *)(page + scales);
	if (!a->bytes)
		return (double)hs_half_to_float(((const uint16_t *)(const void *)(page + numbers))[i]);
	return (double)((const int8_t *)(page + numbers))[i] *
	       (double)scale[c / HS_BLOCK * HS_PAGE_POSITIONS + position % HS_PAGE_POSITIONS];
}

static double key_at(const struct hs_attention *a, uint32_t c, uint32_t position)
{
	size_t at = position % HS_PAGE_POSITIONS;
	return number_at(a, a->keys, at / 16 * DIM * 16 + 16 * c + at % 16, a->key_scales, c, position);
}

static double value_at(const struct hs_attention *a, uint32_t c, uint32_t position)
{
	return number_at(a, a->values, position % HS_PAGE_POSITIONS * ROW + c, a->value_scales, c, position);
}

/* What one query sees, by the definition: out (DIM). */
static void attend_plainly(const struct hs_attention *a, uint32_t token, uint32_t head, double out[static DIM])
{
	double weight[KEYS], total = a->sinks ? exp((double)a->sinks[head]) : 0;
	int64_t own = (int64_t)a->origin + token, reach = a->causal ? a->window - 1 : a->window / 2;
	for (int64_t at = 0; at < KEYS; at++) {
		double s = 0;
		for (uint32_t c = 0; c < DIM; c++)
			s += (double)a->q[token * HEAD + head * DIM + c] * key_at(a, c, (uint32_t)at);
		s *= (double)a->scale;
		if (a->cap > 0)
			s = (double)a->cap * tanh(s / (double)a->cap);
		bool seen = a->causal ? at <= own : at < (int64_t)a->visible;
		if (a->window && llabs(own - at) > reach)
			seen = false;
		total += weight[at] = seen ? exp(s) : 0;
	}
	for (uint32_t c = 0; c < DIM; c++) {
		out[c] = 0;
		for (uint32_t at = 0; at < KEYS; at++)
			out[c] += weight[at] / total * value_at(a, c, at);
	}
}

/* Grouped heads, a head_dim that is no multiple of 16, more queries than a block; windows, caps, sinks, both directions. */
static void test_attend(void **state)
{
	const struct hs_kernels *tables[3];
	size_t n_tables = hs_kernels_list(tables);
	struct tiny_maker k = {.rng = 8};
	static float q[QUERIES * HEAD], out[QUERIES * HEAD + 16], first[QUERIES * HEAD + 16], scores[HS_QUERY_BLOCK * 96];
	/* Pages of two heads, in no order; it is the second that is asked. */
	const struct hs_hyper hyper = {.n_kv_heads = 2, .head_dim = DIM};
	uint8_t *memory[2], *pages[2][(KEYS + HS_PAGE_POSITIONS - 1) / HS_PAGE_POSITIONS];
	struct hs_page_form forms[2];
	static const float sinks[GROUP] = {-1, 0.5f, 2};
	static const uint32_t windows[] = {0, 1, 7, 16, 40, 200};
	for (size_t i = 0; i < HS_ARRAY_LEN(q); i++)
		q[i] = tiny_uniform(&k) * 3;
	for (int q8 = 0; q8 < 2; q8++) {
		size_t n = HS_ARRAY_LEN(pages[q8]);
		forms[q8] = hs_page_form(&hyper, 1, q8);
		assert_non_null(memory[q8] = calloc(n, forms[q8].page));
		for (size_t i = 0; i < n; i++)
			pages[q8][i] = memory[q8] + (n - 1 - i) * forms[q8].page;
		for (uint32_t at = 0; at < KEYS; at++) {
			float keys[2 * DIM], values[2 * DIM];
			for (size_t c = 0; c < 2 * DIM; c++) {
				keys[c] = tiny_uniform(&k) * 2;
				values[c] = tiny_uniform(&k);
			}
			hs_page_store(&forms[q8], pages[q8], 0, at, keys, values);
		}
	}
	for (size_t kind = 0; kind < 16 * HS_ARRAY_LEN(windows) * n_tables; kind++) {
		size_t table = kind % n_tables, form = kind / n_tables / 2;
		bool in_bytes = kind / n_tables % 2;
		const struct hs_page_form *f = &forms[in_bytes];
		const struct hs_attention a = {.q = q,
					       .out = out,
					       .stride = HEAD,
					       .head_dim = DIM,
					       .group = GROUP,
					       .pages = (const uint8_t *const *)pages[in_bytes],
					       .keys = f->head,
					       .values = f->head + f->values,
					       .bytes = in_bytes,
					       .key_scales = f->head + f->key_scales,
					       .value_scales = f->head + f->value_scales,
					       .origin = KEYS - QUERIES,
					       .visible = KEYS,
					       .window = windows[form / 8],
					       .causal = form & 1,
					       .cap = form & 2 ? 1.5f : 0,
					       .sinks = form & 4 ? sinks : NULL,
					       .scale = 0.2f,
					       .scores = scores,
					       .scores_stride = 96};
		memset(out, 0, sizeof out);
		tables[table]->attend(&a, 0, QUERIES);
		for (uint32_t t = 0; t < QUERIES; t++)
			for (uint32_t h = 0; h < GROUP; h++) {
				double want[DIM];
				attend_plainly(&a, t, h, want);
				for (uint32_t c = 0; c < DIM; c++)
					assert_true(fabs(want[c] - (double)out[t * HEAD + h * DIM + c]) < 1e-5);
			}
		if (table == 0)
			memcpy(first, out, sizeof out);
		assert_memory_equal(first, out, sizeof out);
	}
	free(memory[0]);
	free(memory[1]);
}

static void test_activate(void **state)
{
	const struct hs_kernels *tables[3];
	size_t n_tables = hs_kernels_list(tables);
	for (size_t i = 0; i < n_tables; i++) {
		float silu[1024], gelu[1024], gate[1024];
		static float first[2][1024];
		for (int k = 0; k < 1024; k++) {
			gate[k] = gelu[k] = (float)(k - 512) / 24;
			silu[k] = 2;
		}
		tables[i]->activate(HS_ACT_SILU, gate, silu, 1024);
		tables[i]->activate(HS_ACT_GELU, NULL, gelu, 1024);
		float tanhs[1024], clamped[1024], caps[1024];
		for (int k = 0; k < 1024; k++) {
			tanhs[k] = caps[k] = (float)(k - 512) / 24;
			clamped[k] = (float)(300 - k) / 30;
		}
		tables[i]->activate(HS_ACT_GELU_TANH, NULL, tanhs, 1024);
		tables[i]->activate(HS_ACT_SWIGLU_CLAMPED, gate, clamped, 1024);
		tables[i]->cap(caps, 1024, 5);
		for (int k = 0; k < 1024; k++) {
			double v = (double)(float)(k - 512) / 24;
			assert_true(fabs((double)silu[k] - 2 * v / (1 + exp(-v))) < 1e-5);
			assert_true(fabs((double)gelu[k] - 0.5 * v * (1 + erf(v / sqrt(2)))) < 5e-6);
			assert_true(fabs((double)tanhs[k] - 0.5 * v * (1 + tanh(sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)))) <
				    5e-6);
			double g = fmin(v, 7), u = fmin(fmax((double)(float)(300 - k) / 30, -7), 7);
			assert_true(fabs((double)clamped[k] - g / (1 + exp(-1.702 * g)) * (u + 1)) < 1e-4);
			assert_true(fabs((double)caps[k] - 5 * tanh(v / 5)) < 5e-6);
		}
		if (i == 0) {
			memcpy(first[0], silu, sizeof silu);
			memcpy(first[1], gelu, sizeof gelu);
		}
		assert_memory_equal(first[0], silu, sizeof silu);
		assert_memory_equal(first[1], gelu, sizeof gelu);
	}
}

static void test_normalise(void **state)
{
	const struct hs_kernels *tables[3];
	size_t n_tables = hs_kernels_list(tables);
	struct tiny_maker k = {.rng = 1};
	float x[100], weight[100], bias[100], y[100], first[100][2][100];
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
				if (i == 0)
					memcpy(first[n - 1][kind], y, n * sizeof *y);
				assert_memory_equal(first[n - 1][kind], y, n * sizeof *y);
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_quantise), cmocka_unit_test(test_multiply),  cmocka_unit_test(test_attend),
	    cmocka_unit_test(test_activate), cmocka_unit_test(test_normalise),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
