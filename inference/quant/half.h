/* Half-precision and bfloat16 numbers as their bits: IEEE 754 binary16, and the upper half of binary32. */
#ifndef HISHO_INFERENCE_HALF_H
#define HISHO_INFERENCE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float hs_float_from_bits(uint32_t bits)
{
	float f;
	memcpy(&f, &bits, sizeof f);
	return f;
}

static inline uint32_t hs_float_bits(float f)
{
	uint32_t bits;
	memcpy(&bits, &f, sizeof bits);
	return bits;
}

/*
 * A half's exponent and mantissa, moved to a float's place, are 2^112 too small; multiplying puts normal and
 * subnormal numbers right at once, and only infinity and NaN need their exponent filled.
 */
static inline float hs_half_to_float(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff) << 13;
	if (rest >= 0x7c00u << 13)
		return hs_float_from_bits(sign | 0x7f800000u | rest);
	float f = hs_float_from_bits(rest) * 0x1p112f;
	return hs_float_from_bits(sign | hs_float_bits(f));
}

/* To nearest, ties to even; what is too large becomes the largest finite half, so that zero times it stays zero. */
static inline uint16_t hs_half_from_float(float f)
{
	uint32_t bits = hs_float_bits(f);
	uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
	uint32_t rest = bits & 0x7fffffffu;
	if (rest > 0x7f800000u)
		return sign | 0x7e00;
	if (rest >= 0x477fe000u) /* 65504 and above */
		return sign | 0x7bff;
	if (rest < 0x38800000u) { /* below 2^-14: let the adder shift and round */
		float shifted = hs_float_from_bits(rest) + 0.5f;
		return sign | (uint16_t)(hs_float_bits(shifted) - 0x3f000000u);
	}
	rest += 0xc8000fffu + (rest >> 13 & 1); /* re-bias, round half to even */
	return sign | (uint16_t)(rest >> 13);
}

static inline float hs_bf16_to_float(uint16_t b)
{
	return hs_float_from_bits((uint32_t)b << 16);
}

static inline uint16_t hs_load_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline float hs_load_half(const uint8_t *p)
{
	return hs_half_to_float(hs_load_u16(p));
}

#endif
