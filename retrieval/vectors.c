#include "retrieval/vectors.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static uint32_t stride_of(uint32_t dimensions)
{
	return (dimensions + HS_VECTOR_ROW_ALIGN - 1) / HS_VECTOR_ROW_ALIGN * HS_VECTOR_ROW_ALIGN;
}

static size_t data_bytes(uint32_t stride, uint32_t rows)
{
	return ((size_t)stride * rows + HS_VECTOR_ROW_ALIGN) / HS_VECTOR_ROW_ALIGN * HS_VECTOR_ROW_ALIGN;
}

struct hs_vectors *hs_vectors_create(uint32_t dimensions, uint32_t rows)
{
	struct hs_vectors *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	rows = (rows + 15) / 16 * 16;
	v->dimensions = dimensions;
	v->stride = stride_of(dimensions);
	v->rows = rows;
	v->scale = calloc((size_t)rows + 1, sizeof(*v->scale));
	v->data = aligned_alloc(HS_VECTOR_ROW_ALIGN, data_bytes(v->stride, rows));
	if (!v->scale || !v->data) {
		hs_vectors_destroy(v);
		return NULL;
	}
	memset(v->data, 0, data_bytes(v->stride, rows));
	return v;
}

void hs_vectors_destroy(struct hs_vectors *v)
{
	if (!v)
		return;
	free(v->scale);
	free(v->data);
	free(v);
}

struct hs_vectors *hs_vectors_clone(const struct hs_vectors *v, uint32_t rows)
{
	struct hs_vectors *copy = hs_vectors_create(v->dimensions, HS_MAX(rows, v->rows));

	if (!copy)
		return NULL;
	memcpy(copy->scale, v->scale, v->rows * sizeof(*v->scale));
	memcpy(copy->data, v->data, (size_t)v->stride * v->rows);
	return copy;
}

uint64_t hs_vectors_bytes(const struct hs_vectors *v)
{
	return sizeof(*v) + (uint64_t)v->rows * (v->stride + sizeof(*v->scale));
}

/* The largest magnitude; negative where a component is not finite. */
static float largest(const float *v, uint32_t n)
{
	float most = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (!isfinite(v[i]))
			return -1;
		most = fmaxf(most, fabsf(v[i]));
	}
	return most;
}

float hs_vector_quantise(const float *v, uint32_t dimensions, int8_t *out)
{
	float most = largest(v, dimensions);

	if (!(most > 0) || !isfinite(127 / most)) {
		memset(out, 0, dimensions);
		return 0;
	}
	for (uint32_t i = 0; i < dimensions; i++)
		out[i] = (int8_t)lrintf(v[i] * (127 / most));
	return most / 127;
}

int hs_vector_query_init(struct hs_vector_query *q, const float *v, uint32_t dimensions)
{
	float most = largest(v, dimensions), top;

	*q = (struct hs_vector_query){.dimensions = dimensions, .stride = stride_of(dimensions)};
	/* The sum of dimensions products of 127 and the largest component must fit 31 bits. */
	top = fminf(32767, floorf(2147483647.f / 128 / (float)q->stride));
	if (dimensions == 0 || !(most > 0) || !isfinite(top / most))
		return -EINVAL;
	q->q = aligned_alloc(64, ((size_t)q->stride * sizeof(*q->q) + 63) / 64 * 64);
	if (!q->q)
		return -ENOMEM;
	memset(q->q, 0, q->stride * sizeof(*q->q));
	for (uint32_t i = 0; i < dimensions; i++)
		q->q[i] = (int16_t)lrintf(v[i] * (top / most));
	q->scale = most / top;
	return 0;
}

void hs_vector_query_finish(struct hs_vector_query *q)
{
	free(q->q);
	q->q = NULL;
}

int32_t hs_vector_dot_plain(const struct hs_vector_query *q, const int8_t *row)
{
	int32_t sum = 0;

	for (uint32_t i = 0; i < q->stride; i++)
		sum += (int32_t)q->q[i] * row[i];
	return sum;
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static int32_t dot_avx2(const struct hs_vector_query *q, const int8_t *row)
{
	__m256i a = _mm256_setzero_si256(), b = _mm256_setzero_si256();
	__m128i sum;

	for (uint32_t i = 0; i < q->stride; i += 32) {
		__m256i bytes = _mm256_load_si256((const __m256i *)(row + i));
		__m256i low = _mm256_cvtepi8_epi16(_mm256_castsi256_si128(bytes));
		__m256i high = _mm256_cvtepi8_epi16(_mm256_extracti128_si256(bytes, 1));

		a = _mm256_add_epi32(a, _mm256_madd_epi16(low, _mm256_load_si256((const __m256i *)(q->q + i))));
		b = _mm256_add_epi32(b, _mm256_madd_epi16(high, _mm256_load_si256((const __m256i *)(q->q + i + 16))));
	}
	a = _mm256_add_epi32(a, b);
	sum = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
	sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
	sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
	return _mm_cvtsi128_si32(sum);
}

int32_t hs_vector_dot(const struct hs_vector_query *q, const int8_t *row)
{
	return __builtin_cpu_supports("avx2") ? dot_avx2(q, row) : hs_vector_dot_plain(q, row);
}
#else
int32_t hs_vector_dot(const struct hs_vector_query *q, const int8_t *row)
{
	return hs_vector_dot_plain(q, row);
}
#endif
