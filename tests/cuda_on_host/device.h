/*
 * Where cases run: memory of the device with arrays put there and taken back, and the sweep over orders. On the host (device.cc)
 * the "device" is the process's own memory with poison and guards; on a GPU (device.cu) it is the GPU's, and a sweep is one run.
 */
#ifndef HISHO_TESTS_CUDA_ON_HOST_DEVICE_H
#define HISHO_TESTS_CUDA_ON_HOST_DEVICE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <vector>

#include "inference/cuda/kernels.h"

void *device_new(size_t bytes); /* filled with poison */
void device_take(void *to, const void *from, size_t bytes);
void device_look(void *to, const void *from, size_t bytes); /* the same, of what may differ from run to run */
void device_put(void *to, const void *from, size_t bytes);

template <typename T> T *device_array(const std::vector<T> &v)
{
	T *p = static_cast<T *>(device_new(v.size() * sizeof(T)));
	device_put(p, v.data(), v.size() * sizeof(T));
	return p;
}

template <typename T> T *device_room(size_t n)
{
	return static_cast<T *>(device_new(n * sizeof(T)));
}

template <typename T> std::vector<T> device_result(const T *p, size_t n)
{
	std::vector<T> v(n);
	device_take(v.data(), p, n * sizeof(T));
	return v;
}

/* A case: launches kernels and compares with sums in double. NULL where all is well, otherwise what is not. */
typedef const char *(*case_fn)(void);
struct device_case {
	const char *name;
	case_fn run;
};
extern const std::vector<struct device_case> cases_of_ops, cases_of_rows, cases_of_multiply, cases_of_experts, cases_of_attend,
    cases_of_sample;

/* Run a case in every mode; what it takes back must be the same bytes in each. */
const char *sweep(case_fn run, unsigned orders);

/* Why nothing can run, or NULL. */
const char *device_missing(void);

/* A sentence in a buffer of its own, for cases to return. */
const char *wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Numbers that look random. */
struct maker {
	uint64_t rng;
};
uint64_t make_bits(struct maker *k);
double make_uniform(struct maker *k); /* -1 to 1 */
std::vector<float> make_floats(struct maker *k, size_t n, double size);

/* NULL where |got - want| <= tolerance * (1 + |want|) for all. */
const char *compare(const char *what, const std::vector<float> &got, const std::vector<double> &want, double tolerance);

/* A matrix in the layout of layout.h, and what its values are. */
struct made_matrix {
	struct hs_gpu_matrix m; /* on the device */
	std::vector<double> values, bias;
};
/* experts matrices after one another; values (experts, rows, columns). */
struct made_matrix make_matrix(struct maker *k, enum hs_gpu_type type, uint32_t rows, uint32_t columns, uint32_t experts,
			       bool bias);

/* Rows of floats as every form of activations, with what the bytes mean. */
struct made_acts {
	struct hs_gpu_acts a;
	std::vector<double> floats, bytes; /* (rows, columns) */
};
struct made_acts make_acts(struct maker *k, uint32_t rows, uint32_t columns, double size);

#endif
