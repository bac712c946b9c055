#include "inference/quant/quant.h"

#include <math.h>
#include <string.h>

#include "inference/quant/half.h"
#include "tests/unit/test.h"

static void test_halves(void **state)
{
	for (uint32_t h = 0; h < 0x10000; h++) {
		float f = hs_half_to_float((uint16_t)h);
		uint32_t exponent = h >> 10 & 31, mantissa = h & 1023;
		double want = exponent == 0    ? ldexp(mantissa, -24)
			      : exponent == 31 ? (mantissa ? NAN : INFINITY)
					       : ldexp(1024 + mantissa, (int)exponent - 25);
		if (isnan(want)) {
			assert_true(isnan(f));
			assert_true(isnan(hs_half_to_float(hs_half_from_float(f))));
			continue;
		}
		assert_true((double)f == (h & 0x8000 ? -want : want));
		assert_int_equal(hs_half_from_float(f), exponent == 31 ? (h & 0x8000) | 0x7bff : h);
	}
	assert_int_equal(hs_half_from_float(1 + 0x1p-11f), 0x3c00); /* a tie goes to even */
	assert_int_equal(hs_half_from_float(1 + 3 * 0x1p-11f), 0x3c02);
	assert_int_equal(hs_half_from_float(1 + 0x1p-11f + 0x1p-20f), 0x3c01);
	assert_int_equal(hs_half_from_float(1e30f), 0x7bff);
	assert_int_equal(hs_half_from_float(0x1p-25f), 0);
	assert_true(hs_bf16_to_float(0x3fc0) == 1.5f);
}

/* Blocks of every type, bit by bit: each element's bits are set alone in an otherwise empty block. */
struct place {
	size_t byte, bit;
};

static float value_with(const struct hs_quant *q, const uint8_t *base, const struct place *bits, size_t n_bits, size_t element)
{
	uint8_t block[256];
	float out[HS_K_BLOCK];
	memcpy(block, base, q->block_bytes);
	for (size_t i = 0; i < n_bits; i++)
		block[bits[i].byte] |= (uint8_t)(1u << bits[i].bit);
	q->dequantise(block, out, q->block);
	return out[element];
}

static void put_half(uint8_t *p, float f)
{
	uint16_t h = hs_half_from_float(f);
	p[0] = (uint8_t)h;
	p[1] = (uint8_t)(h >> 8);
}

static void test_q4_0_and_q5_0(void **state)
{
	uint8_t base[64] = {0};
	put_half(base, 0.5f);
	for (size_t i = 0; i < 32; i++)
		for (size_t b = 0; b < 4; b++) {
			struct place at4 = {2 + i % 16, b + (i / 16) * 4}, at5 = {6 + i % 16, b + (i / 16) * 4};
			assert_true(value_with(&hs_quant_q4_0, base, &at4, 1, i) == 0.5f * ((float)(1 << b) - 8));
			assert_true(value_with(&hs_quant_q5_0, base, &at5, 1, i) == 0.5f * ((float)(1 << b) - 16));
		}
	for (size_t i = 0; i < 32; i++) {
		struct place high = {2 + i / 8, i % 8};
		assert_true(value_with(&hs_quant_q5_0, base, &high, 1, i) == 0);
		assert_true(value_with(&hs_quant_q5_0, base, &high, 1, (i + 1) % 32) == -8);
	}
}

static void test_q8_0(void **state)
{
	uint8_t block[2 * 34];
	float out[64];
	put_half(block, 0.25f);
	put_half(block + 34, -2);
	for (size_t i = 0; i < 32; i++) {
		block[2 + i] = (uint8_t)(i * 8);
		block[36 + i] = (uint8_t)(128 + i);
	}
	hs_quant_q8_0.dequantise(block, out, 64);
	for (size_t i = 0; i < 32; i++) {
		assert_true(out[i] == 0.25f * (float)(int8_t)(i * 8));
		assert_true(out[32 + i] == -2 * ((float)i - 128));
	}
	uint8_t codes[32];
	hs_q8_0_codes(block, codes);
	assert_int_equal(codes[0], 128);
	assert_int_equal(codes[31], (uint8_t)(31 * 8) - 128);
}

/* Every nibble as the numbers of OCP's MX specification: 1 sign, 2 exponent and 1 mantissa bits; scales are 2^(e - 127). */
static void test_mxfp4(void **state)
{
	static const uint8_t scales[] = {0, 1, 100, 127, 128, 240};
	for (size_t k = 0; k < HS_ARRAY_LEN(scales); k++) {
		uint8_t block[17] = {scales[k]};
		float out[32];
		for (size_t i = 0; i < 16; i++)
			block[1 + i] = (uint8_t)(i | (15 - i) << 4);
		hs_quant_mxfp4.dequantise(block, out, 32);
		for (unsigned i = 0; i < 32; i++) {
			unsigned n = i < 16 ? i : 31 - i, exponent = n >> 1 & 3, mantissa = n & 1;
			double v = exponent ? ldexp(1 + 0.5 * mantissa, (int)exponent - 1) : 0.5 * mantissa;
			assert_true((double)out[i] == ldexp(n & 8 ? -v : v, scales[k] - 127));
		}
	}
}

/* The 12 packed bytes, made from the 16 numbers by the layout's own words. */
static void pack_scales(const uint8_t s[8], const uint8_t m[8], uint8_t out[12])
{
	for (size_t i = 0; i < 4; i++) {
		out[i] = (uint8_t)(s[i] | (s[4 + i] >> 4) << 6);
		out[4 + i] = (uint8_t)(m[i] | (m[4 + i] >> 4) << 6);
		out[8 + i] = (uint8_t)((s[4 + i] & 15) | (m[4 + i] & 15) << 4);
	}
}

static void test_q4_k_and_q5_k(void **state)
{
	static const uint8_t s[8] = {1, 63, 17, 32, 5, 48, 62, 33}, m[8] = {0, 9, 63, 31, 16, 47, 1, 60};
	uint8_t base[176] = {0}, packed[12], s2[8], m2[8];
	pack_scales(s, m, packed);
	hs_k_scales(packed, s2, m2);
	assert_memory_equal(s, s2, 8);
	assert_memory_equal(m, m2, 8);
	put_half(base, 0.125f);
	put_half(base + 2, 0.5f);
	memcpy(base + 4, packed, 12);
	for (size_t i = 0; i < 256; i++) {
		size_t g = i / 32, in = i % 32;
		float low = 0.5f * m[g];
		for (size_t b = 0; b < 4; b++) {
			struct place at4 = {16 + g / 2 * 32 + in, b + (g & 1) * 4}, at5 = {48 + g / 2 * 32 + in, b + (g & 1) * 4};
			float want = 0.125f * s[g] * (float)(1 << b) - low;
			assert_true(value_with(&hs_quant_q4_k, base, &at4, 1, i) == want);
			assert_true(value_with(&hs_quant_q5_k, base, &at5, 1, i) == want);
		}
		struct place high = {16 + in, g};
		assert_true(value_with(&hs_quant_q5_k, base, &high, 1, i) == 0.125f * s[g] * 16 - low);
		assert_true(value_with(&hs_quant_q5_k, base, &high, 1, i ^ 1) == 0.125f * s[g] * 0 - low);
	}
}

static void test_q6_k(void **state)
{
	uint8_t base[210] = {0};
	for (size_t i = 0; i < 16; i++)
		base[192 + i] = (uint8_t)(i * 17 - 128);
	put_half(base + 208, 0.5f);
	for (size_t i = 0; i < 256; i++) {
		size_t half = i / 128, part = i / 32 % 4, in = i % 32;
		float d = 0.5f * (float)(int8_t)base[192 + i / 16];
		for (size_t b = 0; b < 6; b++) {
			struct place at = {half * 64 + (part & 1) * 32 + in, b + (part >> 1) * 4};
			if (b >= 4)
				at = (struct place){128 + half * 32 + in, 2 * part + b - 4};
			assert_true(value_with(&hs_quant_q6_k, base, &at, 1, i) == d * ((float)(1 << b) - 32));
		}
	}
}

static void test_plain_types(void **state)
{
	static const float f[3] = {1.5f, -2, 0};
	float out[3];
	hs_quant_f32.dequantise((const uint8_t *)f, out, 3);
	assert_memory_equal(f, out, sizeof f);
	static const uint8_t h[6] = {0x00, 0x3e, 0x00, 0xc0, 0, 0}, b[6] = {0xc0, 0x3f, 0x00, 0xc0, 0, 0};
	hs_quant_f16.dequantise(h, out, 3);
	assert_memory_equal(f, out, sizeof f);
	hs_quant_bf16.dequantise(b, out, 3);
	assert_memory_equal(f, out, sizeof f);
}

static void test_table_agrees_with_the_reader(void **state)
{
	static const enum hs_tensor_type types[] = {HS_F32,  HS_F16,  HS_Q4_0, HS_Q5_0, HS_Q8_0, HS_MXFP4, HS_BF16,
						    HS_Q4_K, HS_Q5_K, HS_Q6_K, HS_BF16};
	for (size_t i = 0; i < HS_ARRAY_LEN(types); i++) {
		const struct hs_quant *q = hs_quant_find(types[i]);
		assert_non_null(q);
		assert_int_equal(q->type, types[i]);
		assert_int_equal(hs_tensor_type_bytes(types[i], q->block * 3), q->block_bytes * 3);
	}
	assert_null(hs_quant_find((enum hs_tensor_type)3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_halves),
	    cmocka_unit_test(test_q4_0_and_q5_0),
	    cmocka_unit_test(test_q8_0),
	    cmocka_unit_test(test_mxfp4),
	    cmocka_unit_test(test_q4_k_and_q5_k),
	    cmocka_unit_test(test_q6_k),
	    cmocka_unit_test(test_plain_types),
	    cmocka_unit_test(test_table_agrees_with_the_reader),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
