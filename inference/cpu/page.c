#include <math.h>
#include <unistd.h>

#include "inference/cpu/kv.h"
#include "inference/quant/half.h"

#define CODE_MAX 127.0f

struct hs_page_form hs_page_form(const struct hs_hyper *h, uint32_t n_layers, bool q8)
{
	size_t system = (size_t)sysconf(_SC_PAGESIZE);
	struct hs_page_form f = {.n_layers = n_layers,
				 .n_heads = h->n_kv_heads,
				 .head_dim = h->head_dim,
				 .blocks = (h->head_dim + HS_BLOCK - 1) / HS_BLOCK,
				 .q8 = q8,
				 .each = q8 ? 1 : 2};
	size_t scales = q8 ? f.blocks * HS_PAGE_POSITIONS * sizeof(float) : 0;
	f.values = HS_PAGE_POSITIONS * f.head_dim * f.each;
	f.key_scales = f.values + HS_PAGE_POSITIONS * HS_ROUND16(f.head_dim) * f.each;
	f.value_scales = f.key_scales + scales;
	f.head = f.value_scales + scales;
	f.page = (n_layers * f.n_heads * f.head + system - 1) / system * system;
	return f;
}

static float scale_of(const float *x, uint32_t n)
{
	float most = 0;
	for (uint32_t i = 0; i < n; i++)
		most = fmaxf(most, fabsf(x[i]));
	return most / CODE_MAX;
}

/* Codes of n numbers, `step` apart. What is no number, or has no scale, becomes 0. */
static void put_codes(int8_t *out, size_t step, const float *x, uint32_t n, float scale)
{
	float inverse = scale > 0 ? 1 / scale : 0;
	for (uint32_t i = 0; i < n; i++) {
		float code = rintf(x[i] * inverse);
		out[i * step] = (int8_t)(code > CODE_MAX ? CODE_MAX : code >= -CODE_MAX ? code : code < 0 ? -CODE_MAX : 0);
	}
}

static void put_blocks(const struct hs_page_form *f, int8_t *out, size_t step, const float *x, float *scales)
{
	for (uint32_t at = 0; at < f->head_dim; at += HS_BLOCK, scales += HS_PAGE_POSITIONS) {
		uint32_t n = HS_MIN(f->head_dim - at, (uint32_t)HS_BLOCK);
		*scales = scale_of(x + at, n);
		put_codes(out + at * step, step, x + at, n, *scales);
	}
}

static void put_halves(uint16_t *out, size_t step, const float *x, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		out[i * step] = hs_half_from_float(x[i]);
}

void hs_page_store(const struct hs_page_form *f, uint8_t *const *pages, uint32_t layer, uint32_t position, const float *k,
		   const float *v)
{
	uint32_t at = position % HS_PAGE_POSITIONS;
	uint8_t *head = pages[position / HS_PAGE_POSITIONS] + layer * f->n_heads * f->head;
	for (uint32_t i = 0; i < f->n_heads; i++, head += f->head, k += f->head_dim, v += f->head_dim) {
		void *key = head + (at / 16 * f->head_dim * 16 + at % 16) * f->each;
		void *value = head + f->values + at * HS_ROUND16(f->head_dim) * f->each;
		if (f->q8) {
			put_blocks(f, key, 16, k, (float *)(void *)(head + f->key_scales) + at);
			put_blocks(f, value, 1, v, (float *)(void *)(head + f->value_scales) + at);
		} else {
			put_halves(key, 16, k, f->head_dim);
			put_halves(value, 1, v, f->head_dim);
		}
	}
}
