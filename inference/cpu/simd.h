/*
 * One set of vector words for three machines: AVX-512 with VNNI, AVX2 with FMA and F16C, and plain C (a vector of one).
 * kernels.c is compiled once for each; everything here is static.
 *
 *   vf   W floats             vi   W 32-bit lanes, each an integer or 4 bytes of one weight row
 *   dot(part, w, a): in every lane, add the products of 4 unsigned bytes of w and 4 signed bytes of a. AVX2 has no
 *        instruction that adds them to 32 bits: there `part` is two sums of 16 bits a lane until `settle`.
 *   settle(part, scale, sum): sum += scale * part, lane by lane; part starts anew. The scales come from scale_u8, scale_one,
 *        scale_first or scale_second only: on AVX2 they too are two numbers of 16 bits a lane.
 *   pairs: two numbers of 16 bits a lane, for pair_dot(sum, pairs, two): sum += pairs[0] * two[0] + pairs[1] * two[1].
 *
 * Every word gives the same bits on the three machines, and sums have one order: 16 lanes, then those one after another.
 */
#ifndef HISHO_INFERENCE_SIMD_H
#define HISHO_INFERENCE_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "inference/quant/half.h"

/* clang-format off: a word a line */
#define INLINE static inline __attribute__((always_inline))

INLINE int32_t load_i32(const void *p)
{
	int32_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>

#define W 16
#define BLOCK 8 /* tokens or queries that share one pass over weights or keys */
typedef __m512 vf;
typedef __m512i vi;

INLINE vf vf_zero(void)
{
	return _mm512_setzero_ps();
}
INLINE vf vf_set(float v)
{
	return _mm512_set1_ps(v);
}
INLINE vf vf_load(const float *p)
{
	return _mm512_loadu_ps(p);
}
INLINE void vf_store(float *p, vf v)
{
	_mm512_storeu_ps(p, v);
}
INLINE vf vf_fma(vf a, vf b, vf c)
{
	return _mm512_fmadd_ps(a, b, c);
}
INLINE vf vf_max(vf a, vf b)
{
	return _mm512_max_ps(a, b);
}
INLINE vf vf_min(vf a, vf b)
{
	return _mm512_min_ps(a, b);
}
INLINE vf vf_abs(vf a)
{
	return _mm512_abs_ps(a);
}
INLINE vf vf_round(vf a)
{
	return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
INLINE vf vf_from_half(const void *p)
{
	return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}
INLINE vf vf_from_bf16(const void *p)
{
	return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16));
}
INLINE vf vf_from_u8(const uint8_t *p)
{
	return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)p)));
}
INLINE vf vf_from_s8(const uint8_t *p)
{
	return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)p)));
}
INLINE vf vf_from_int(vi a)
{
	return _mm512_cvtepi32_ps(a);
}
/* v * 2^n for whole n */
INLINE vf vf_scale2(vf v, vf n)
{
	vi shift = _mm512_slli_epi32(_mm512_cvtps_epi32(n), 23);
	return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(v), shift));
}

INLINE vi vi_zero(void)
{
	return _mm512_setzero_si512();
}
INLINE vi vi_load(const void *p)
{
	return _mm512_loadu_si512(p);
}
INLINE vi vi_set(int32_t v)
{
	return _mm512_set1_epi32(v);
}
INLINE vi vi_and(vi a, vi b)
{
	return _mm512_and_si512(a, b);
}
INLINE vi vi_or(vi a, vi b)
{
	return _mm512_or_si512(a, b);
}
INLINE vi vi_add(vi a, vi b)
{
	return _mm512_add_epi32(a, b);
}
INLINE vi vi_sub(vi a, vi b)
{
	return _mm512_sub_epi32(a, b);
}
#define vi_shr(a, n) _mm512_srli_epi32(a, n)
#define vi_shl(a, n) _mm512_slli_epi32(a, n)
INLINE vi vi_from_float(vf a)
{
	return _mm512_cvtps_epi32(a);
} /* to nearest even */
INLINE void vi_store_s8(int8_t *p, vi a)
{
	_mm_storeu_si128((void *)p, _mm512_cvtsepi32_epi8(a));
}
INLINE int32_t vi_sum(vi a)
{
	return _mm512_reduce_add_epi32(a);
}

INLINE void dot(vi *part, vi w, const int8_t *a)
{
	*part = _mm512_dpbusd_epi32(*part, w, vi_set(load_i32(a)));
}
INLINE void settle(vi *part, vi scale, vi *sum)
{
	*sum = vi_add(*sum, _mm512_mullo_epi32(*part, scale));
	*part = vi_zero();
}
INLINE vi scale_one(void)
{
	return vi_set(1);
}
INLINE vi scale_u8(const uint8_t *p)
{
	return _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)p));
}
INLINE vi scale_first(vi pairs)
{
	return _mm512_srai_epi32(_mm512_slli_epi32(pairs, 16), 16);
}
INLINE vi scale_second(vi pairs)
{
	return _mm512_srai_epi32(pairs, 16);
}
INLINE vi pairs_u8(const uint8_t *p)
{
	return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const void *)p));
}
INLINE vi pairs_s8(const uint8_t *p)
{
	return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const void *)p));
}
INLINE void pair_dot(vi *sum, vi pairs, const int16_t *two)
{
	*sum = vi_add(*sum, _mm512_madd_epi16(pairs, vi_set(load_i32(two))));
}
#define OFFSET8 128 /* 8-bit codes are taken as unsigned */
INLINE vi code8(vi raw)
{
	return raw;
}
INLINE void dot8(vi *sum, vi w, const int8_t *a)
{
	dot(sum, w, a);
}

#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include <immintrin.h>

#define W 8
#define BLOCK 4
typedef __m256 vf;
typedef __m256i vi;

INLINE vf vf_zero(void)
{
	return _mm256_setzero_ps();
}
INLINE vf vf_set(float v)
{
	return _mm256_set1_ps(v);
}
INLINE vf vf_load(const float *p)
{
	return _mm256_loadu_ps(p);
}
INLINE void vf_store(float *p, vf v)
{
	_mm256_storeu_ps(p, v);
}
INLINE vf vf_fma(vf a, vf b, vf c)
{
	return _mm256_fmadd_ps(a, b, c);
}
INLINE vf vf_max(vf a, vf b)
{
	return _mm256_max_ps(a, b);
}
INLINE vf vf_min(vf a, vf b)
{
	return _mm256_min_ps(a, b);
}
INLINE vf vf_abs(vf a)
{
	return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
INLINE vf vf_round(vf a)
{
	return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
INLINE vf vf_from_half(const void *p)
{
	return _mm256_cvtph_ps(_mm_loadu_si128(p));
}
INLINE vf vf_from_bf16(const void *p)
{
	return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
}
INLINE vf vf_from_u8(const uint8_t *p)
{
	return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)p)));
}
INLINE vf vf_from_s8(const uint8_t *p)
{
	return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)p)));
}
INLINE vf vf_from_int(vi a)
{
	return _mm256_cvtepi32_ps(a);
}
INLINE vf vf_scale2(vf v, vf n)
{
	vi shift = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
	return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(v), shift));
}

INLINE vi vi_zero(void)
{
	return _mm256_setzero_si256();
}
INLINE vi vi_load(const void *p)
{
	return _mm256_loadu_si256(p);
}
INLINE vi vi_set(int32_t v)
{
	return _mm256_set1_epi32(v);
}
INLINE vi vi_and(vi a, vi b)
{
	return _mm256_and_si256(a, b);
}
INLINE vi vi_or(vi a, vi b)
{
	return _mm256_or_si256(a, b);
}
INLINE vi vi_add(vi a, vi b)
{
	return _mm256_add_epi32(a, b);
}
INLINE vi vi_sub(vi a, vi b)
{
	return _mm256_sub_epi32(a, b);
}
#define vi_shr(a, n) _mm256_srli_epi32(a, n)
#define vi_shl(a, n) _mm256_slli_epi32(a, n)
INLINE vi vi_from_float(vf a)
{
	return _mm256_cvtps_epi32(a);
}
INLINE void vi_store_s8(int8_t *p, vi a)
{
	__m128i words = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
	_mm_storel_epi64((void *)p, _mm_packs_epi16(words, words));
}
INLINE int32_t vi_sum(vi a)
{
	__m128i s = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
	s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
	return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

INLINE void dot(vi *part, vi w, const int8_t *a)
{
	*part = _mm256_add_epi16(*part, _mm256_maddubs_epi16(w, vi_set(load_i32(a))));
}
INLINE void settle(vi *part, vi scale, vi *sum)
{
	*sum = vi_add(*sum, _mm256_madd_epi16(*part, scale));
	*part = vi_zero();
}
INLINE vi scale_one(void)
{
	return _mm256_set1_epi16(1);
}
INLINE vi scale_u8(const uint8_t *p)
{
	const vi twice = _mm256_setr_epi8(0, -1, 0, -1, 1, -1, 1, -1, 2, -1, 2, -1, 3, -1, 3, -1, 4, -1, 4, -1, 5, -1, 5, -1, 6, -1, 6, -1,
					  7, -1, 7, -1);
	int64_t eight;
	memcpy(&eight, p, sizeof eight);
	return _mm256_shuffle_epi8(_mm256_set1_epi64x(eight), twice);
}
INLINE vi scale_first(vi pairs)
{
	return vi_or(_mm256_and_si256(pairs, vi_set(0xffff)), _mm256_slli_epi32(pairs, 16));
}
INLINE vi scale_second(vi pairs)
{
	return vi_or(_mm256_andnot_si256(vi_set(0xffff), pairs), _mm256_srli_epi32(pairs, 16));
}
INLINE vi pairs_u8(const uint8_t *p)
{
	return _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)p));
}
INLINE vi pairs_s8(const uint8_t *p)
{
	return _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)p));
}
INLINE void pair_dot(vi *sum, vi pairs, const int16_t *two)
{
	*sum = vi_add(*sum, _mm256_madd_epi16(pairs, vi_set(load_i32(two))));
}
#define OFFSET8 0 /* 8-bit codes are taken as signed: unsigned ones would overflow 16 bits */
INLINE vi code8(vi raw)
{
	return _mm256_xor_si256(raw, _mm256_set1_epi8(-128));
}
INLINE void dot8(vi *sum, vi w, const int8_t *a)
{
	__m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(vi_set(load_i32(a)), w));
	*sum = vi_add(*sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#else

#define W 1
#define BLOCK 4
typedef float vf;
typedef uint32_t vi;

INLINE vf vf_zero(void)
{
	return 0;
}
INLINE vf vf_set(float v)
{
	return v;
}
INLINE vf vf_load(const float *p)
{
	return *p;
}
INLINE void vf_store(float *p, vf v)
{
	*p = v;
}
INLINE vf vf_fma(vf a, vf b, vf c)
{
	return fmaf(a, b, c);
}
INLINE vf vf_max(vf a, vf b)
{
	return a > b ? a : b;
}
INLINE vf vf_min(vf a, vf b)
{
	return a < b ? a : b;
}
INLINE vf vf_abs(vf a)
{
	return fabsf(a);
}
INLINE vf vf_round(vf a)
{
	return rintf(a);
}
INLINE vf vf_from_half(const void *p)
{
	return hs_load_half(p);
}
INLINE vf vf_from_bf16(const void *p)
{
	return hs_bf16_to_float(hs_load_u16(p));
}
INLINE vf vf_from_u8(const uint8_t *p)
{
	return *p;
}
INLINE vf vf_from_s8(const uint8_t *p)
{
	return (int8_t)*p;
}
INLINE vf vf_from_int(vi a)
{
	return (float)(int32_t)a;
}
INLINE vf vf_scale2(vf v, vf n)
{
	return hs_float_from_bits(hs_float_bits(v) + ((uint32_t)(int32_t)n << 23));
}

INLINE vi vi_zero(void)
{
	return 0;
}
INLINE vi vi_load(const void *p)
{
	return (uint32_t)load_i32(p);
}
INLINE vi vi_set(int32_t v)
{
	return (uint32_t)v;
}
INLINE vi vi_and(vi a, vi b)
{
	return a & b;
}
INLINE vi vi_or(vi a, vi b)
{
	return a | b;
}
INLINE vi vi_add(vi a, vi b)
{
	return a + b;
}
INLINE vi vi_sub(vi a, vi b)
{
	return a - b;
}
#define vi_shr(a, n) ((a) >> (n))
#define vi_shl(a, n) ((a) << (n))
INLINE vi vi_from_float(vf a)
{
	return a == a ? (uint32_t)(int32_t)rintf(a) : 0;
} /* callers bound a to bytes */
INLINE void vi_store_s8(int8_t *p, vi a)
{
	*p = (int8_t)(int32_t)a;
}
INLINE int32_t vi_sum(vi a)
{
	return (int32_t)a;
}

INLINE void dot(vi *part, vi w, const int8_t *a)
{
	int32_t s = 0;
	for (int i = 0; i < 4; i++)
		s += (int32_t)(w >> 8 * i & 255) * a[i];
	*part += (uint32_t)s;
}
INLINE void settle(vi *part, vi scale, vi *sum)
{
	*sum += *part * scale;
	*part = 0;
}
INLINE vi scale_one(void)
{
	return 1;
}
INLINE vi scale_u8(const uint8_t *p)
{
	return *p;
}
INLINE int32_t low_half(vi pairs)
{
	return (int16_t)(pairs & 0xffff);
}
INLINE int32_t high_half(vi pairs)
{
	return (int16_t)(pairs >> 16);
}
INLINE vi scale_first(vi pairs)
{
	return (uint32_t)low_half(pairs);
}
INLINE vi scale_second(vi pairs)
{
	return (uint32_t)high_half(pairs);
}
INLINE vi pairs_u8(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 16;
}
INLINE vi pairs_s8(const uint8_t *p)
{
	return (uint16_t)(int8_t)p[0] | (uint32_t)(uint16_t)(int8_t)p[1] << 16;
}
INLINE void pair_dot(vi *sum, vi pairs, const int16_t *two)
{
	*sum += (uint32_t)(low_half(pairs) * two[0] + high_half(pairs) * two[1]);
}
#define OFFSET8 128
INLINE vi code8(vi raw)
{
	return raw;
}
INLINE void dot8(vi *sum, vi w, const int8_t *a)
{
	dot(sum, w, a);
}

#endif

INLINE vf vf_mul(vf a, vf b)
{
	return a * b;
}
INLINE vf vf_add(vf a, vf b)
{
	return a + b;
}
INLINE vf vf_sub(vf a, vf b)
{
	return a - b;
}
INLINE vf vf_div(vf a, vf b)
{
	return a / b;
}

/* The sum of 16 lanes, one after another. */
#define SUMS (16 / W)
INLINE float vf_sum(const vf a[static SUMS])
{
	float lanes[16], s = 0;
	for (int i = 0; i < SUMS; i++)
		vf_store(lanes + i * W, a[i]);
	for (int i = 0; i < 16; i++)
		s += lanes[i];
	return s;
}
INLINE float vf_most(vf a)
{
	float lanes[W], most;
	vf_store(lanes, a);
	most = lanes[0];
	for (int i = 1; i < W; i++)
		most = lanes[i] > most ? lanes[i] : most;
	return most;
}

/* e^x for x in -87 .. 88 (clamped), relative error below 2e-7: 2^n e^r, |r| <= ln 2 / 2, Taylor's polynomial of degree 7. */
INLINE vf vf_exp(vf x)
{
	x = vf_min(vf_max(x, vf_set(-87)), vf_set(88));
	vf n = vf_round(vf_mul(x, vf_set(1.44269504088896341f)));
	vf r = vf_fma(n, vf_set(-0.693359375f), x);
	r = vf_fma(n, vf_set(2.12194440e-4f), r);
	vf p = vf_set(1.0f / 5040);
	p = vf_fma(p, r, vf_set(1.0f / 720));
	p = vf_fma(p, r, vf_set(1.0f / 120));
	p = vf_fma(p, r, vf_set(1.0f / 24));
	p = vf_fma(p, r, vf_set(1.0f / 6));
	p = vf_fma(p, r, vf_set(0.5f));
	p = vf_fma(p, r, vf_set(1));
	p = vf_fma(p, r, vf_set(1));
	return vf_scale2(p, n);
}

#endif
