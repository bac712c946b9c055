/* What cases are made of: numbers, matrices in the GPU's layout, comparisons. */
#include <stdarg.h>
#include <stdio.h>

#include "inference/quant/half.h"
#include "tests/cuda_on_host/device.h"

const char *wrong(const char *format, ...)
{
	static char text[2][1024]; /* the argument may be the last one's result */
	static unsigned which;
	va_list arguments;
	va_start(arguments, format);
	which = !which;
	(void)vsnprintf(text[which], sizeof text[which], format, arguments); /* may be cut */
	va_end(arguments);
	return text[which];
}

/* splitmix64 (Steele, Lea, Flood 2014) */
uint64_t make_bits(struct maker *k)
{
	uint64_t z = k->rng += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

double make_uniform(struct maker *k)
{
	return (double)(make_bits(k) >> 11) * 0x1p-52 - 1;
}

std::vector<float> make_floats(struct maker *k, size_t n, double size)
{
	std::vector<float> v(n);
	for (float &x : v)
		x = (float)(size * make_uniform(k));
	return v;
}

const char *compare(const char *what, const std::vector<float> &got, const std::vector<double> &want, double tolerance)
{
	for (size_t i = 0; i < want.size(); i++)
		if (!(fabs((double)got[i] - want[i]) <= tolerance * (1 + fabs(want[i]))))
			return wrong("%s: number %zu of %zu is %.9g instead of %.9g", what, i, want.size(), (double)got[i],
				     want[i]);
	return nullptr;
}

static uint16_t make_half(struct maker *k, double from, double to)
{
	return hs_half_from_float((float)(from + (to - from) * (make_uniform(k) + 1) / 2));
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

/* One row of a tile, from random codes; values (32). */
static void make_row(struct maker *k, enum hs_gpu_type type, uint8_t *tile, unsigned row, double *values)
{
	static const int numbers[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
	uint8_t *codes = tile + hs_gpu_codes_at(type);
	uint16_t scale = make_half(k, 0.001, 0.02), other = make_half(k, -0.2, 0.02);
	double s = (double)hs_half_to_float(scale), o = (double)hs_half_to_float(other);
	if (type == HS_GPU_Q4 || type == HS_GPU_Q5 || type == HS_GPU_Q6) {
		put16(tile + 4 * row, scale);
		put16(tile + 4 * row + 2, other);
	} else if (type == HS_GPU_Q8) {
		put16(tile + 2 * row, scale);
	} else if (type == HS_GPU_MX4) {
		tile[row] = (uint8_t)(118 + make_bits(k) % 8);
		s = ldexp(1, tile[row] - 128);
	}
	for (unsigned c = 0; c < 32; c++) {
		unsigned code = (unsigned)make_bits(k), i = c % 16 / 4, j = c % 4;
		uint8_t *planes = tile + HS_GPU_PLANES_AT;
		switch (type) {
		case HS_GPU_Q4:
		case HS_GPU_Q5:
		case HS_GPU_Q6:
			codes[row * 16 + c % 16] |= (uint8_t)((code & 15) << (c < 16 ? 0 : 4));
			if (type == HS_GPU_Q4) {
				values[c] = s * (code & 15) + o;
			} else if (type == HS_GPU_Q5) {
				planes[4 * row + j] |= (uint8_t)((code >> 4 & 1) << c / 4);
				values[c] = s * (code & 31) + o;
			} else {
				planes[8 * row + (c < 16 ? 0 : 4) + j] |= (uint8_t)((code >> 4 & 3) << 2 * i);
				values[c] = (c < 16 ? s : o) * ((int)(code & 63) - 32);
			}
			break;
		case HS_GPU_Q8:
			codes[row * 32 + c] = (uint8_t)(code % 255 - 127);
			values[c] = s * (int8_t)codes[row * 32 + c];
			break;
		case HS_GPU_MX4:
			codes[row * 16 + 4 * i + (c < 16 ? 0 : 2) + j / 2] |= (uint8_t)((code & 15) << (j % 2 ? 4 : 0));
			values[c] = s * numbers[code & 15];
			break;
		case HS_GPU_F16:
		case HS_GPU_BF16: {
			uint16_t v = type == HS_GPU_F16 ? make_half(k, -0.2, 0.2)
							: (uint16_t)(hs_float_bits((float)make_uniform(k)) >> 16);
			put16(codes + (row * 32 + c) * 2, v);
			values[c] = (double)(type == HS_GPU_F16 ? hs_half_to_float(v) : hs_bf16_to_float(v));
			break;
		}
		case HS_GPU_F32: {
			float v = (float)make_uniform(k);
			memcpy(codes + (row * 32 + c) * 4, &v, sizeof v);
			values[c] = (double)v;
			break;
		}
		}
	}
}

struct made_matrix make_matrix(struct maker *k, enum hs_gpu_type type, uint32_t rows, uint32_t columns, uint32_t experts,
			       bool bias)
{
	struct made_matrix made = {};
	uint64_t bytes = hs_gpu_matrix_bytes(type, rows, columns);
	std::vector<uint8_t> data(experts * bytes);
	made.values.resize((size_t)experts * rows * columns);
	for (uint32_t e = 0; e < experts; e++)
		for (uint32_t row = 0; row < rows; row++)
			for (uint32_t c = 0; c < columns; c += 32) {
				double values[32];
				make_row(k, type, data.data() + e * bytes + hs_gpu_tile_at(type, columns, row, c), row % 16,
					 values);
				for (uint32_t i = 0; i < 32 && c + i < columns; i++)
					made.values[((size_t)e * rows + row) * columns + c + i] = values[i];
			}
	std::vector<float> biases = make_floats(k, (size_t)experts * rows, bias ? 1 : 0);
	made.bias.assign(biases.begin(), biases.end());
	made.m = {type, rows, columns, device_array(data), bias ? device_array(biases) : nullptr};
	return made;
}

struct made_acts make_acts(struct maker *k, uint32_t rows, uint32_t columns, double size)
{
	struct made_acts made = {};
	uint32_t stride = hs_gpu_round(columns, 32);
	std::vector<float> x((size_t)rows * stride), scales((size_t)rows * stride / 32), sums(scales.size());
	std::vector<int8_t> q(x.size());
	for (uint32_t r = 0; r < rows; r++)
		for (uint32_t c = 0; c < stride; c++) {
			size_t at = (size_t)r * stride + c;
			if (c % 32 == 0)
				scales[at / 32] = (float)(size / 127 * (0.5 + fabs(make_uniform(k))));
			q[at] = c < columns ? (int8_t)(make_bits(k) % 255 - 127) : 0;
			x[at] = c < columns ? (float)(size * make_uniform(k)) : 0;
			sums[at / 32] += scales[at / 32] * (float)q[at];
			if (c < columns) {
				made.floats.push_back((double)x[at]);
				made.bytes.push_back((double)scales[at / 32] * q[at]);
			}
		}
	made.a = {stride, device_array(x), device_array(q), device_array(scales), device_array(sums)};
	return made;
}
