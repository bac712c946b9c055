#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "inference/cpu/pass.h"
#include "inference/quant/half.h"

#define CODE_MAX 127.0f

static size_t keys_len(const struct hs_cache *c)
{
	return c->n_heads * c->tiles * c->head_dim * 16;
}

static size_t values_len(const struct hs_cache *c)
{
	return c->n_heads * c->tiles * 16 * HS_ROUND16(c->head_dim);
}

static size_t scales_len(const struct hs_cache *c)
{
	return c->n_heads * c->blocks * c->tiles * 16;
}

int hs_cache_init(struct hs_cache *c, const struct hs_hyper *h, uint32_t n_layers, uint32_t positions, bool q8)
{
	*c = (struct hs_cache){.n_heads = h->n_kv_heads,
			       .head_dim = h->head_dim,
			       .tiles = HS_ROUND16(positions) / 16,
			       .each = q8 ? 1 : 2,
			       .n_layers = n_layers,
			       .blocks = (h->head_dim + HS_BLOCK - 1) / HS_BLOCK};
	c->keys = calloc(n_layers, keys_len(c) * c->each);
	c->values = calloc(n_layers, values_len(c) * c->each);
	if (q8)
		c->scales = calloc(2 * (size_t)n_layers, scales_len(c) * sizeof *c->scales);
	return c->keys && c->values && (c->scales || !q8) ? 0 : -ENOMEM;
}

void hs_cache_finish(struct hs_cache *c, uint32_t n_layers)
{
	if (c->keys)
		explicit_bzero(c->keys, n_layers * keys_len(c) * c->each);
	if (c->values)
		explicit_bzero(c->values, n_layers * values_len(c) * c->each);
	if (c->scales)
		explicit_bzero(c->scales, 2 * n_layers * scales_len(c) * sizeof *c->scales);
	free(c->keys);
	free(c->values);
	free(c->scales);
}

uint8_t *hs_cache_keys(const struct hs_cache *c, uint32_t layer, uint32_t head)
{
	return c->keys + (layer * keys_len(c) + head * c->tiles * c->head_dim * 16) * c->each;
}

uint8_t *hs_cache_values(const struct hs_cache *c, uint32_t layer, uint32_t head)
{
	return c->values + (layer * values_len(c) + head * c->tiles * 16 * HS_ROUND16(c->head_dim)) * c->each;
}

float *hs_cache_scales(const struct hs_cache *c, bool values, uint32_t layer, uint32_t head)
{
	return c->scales ? c->scales + (layer + (values ? c->n_layers : 0)) * scales_len(c) + head * c->blocks * c->tiles * 16 : NULL;
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

static void put_blocks(const struct hs_cache *c, int8_t *out, size_t step, const float *x, float *scales)
{
	for (uint32_t at = 0; at < c->head_dim; at += HS_BLOCK, scales += c->tiles * 16) {
		uint32_t n = HS_MIN(c->head_dim - at, (uint32_t)HS_BLOCK);
		*scales = scale_of(x + at, n);
		put_codes(out + at * step, step, x + at, n, *scales);
	}
}

static void put_halves(uint16_t *out, size_t step, const float *x, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		out[i * step] = hs_half_from_float(x[i]);
}

void hs_cache_store(struct hs_cache *c, uint32_t layer, uint32_t position, const float *k, const float *v)
{
	for (uint32_t head = 0; head < c->n_heads; head++, k += c->head_dim, v += c->head_dim) {
		uint8_t *key = hs_cache_keys(c, layer, head) + (position / 16 * c->head_dim * 16 + position % 16) * c->each;
		uint8_t *value = hs_cache_values(c, layer, head) + position * HS_ROUND16(c->head_dim) * c->each;
		if (c->scales) {
			put_blocks(c, (int8_t *)key, 16, k, hs_cache_scales(c, false, layer, head) + position);
			put_blocks(c, (int8_t *)value, 1, v, hs_cache_scales(c, true, layer, head) + position);
		} else {
			put_halves((uint16_t *)(void *)key, 16, k, c->head_dim);
			put_halves((uint16_t *)(void *)value, 1, v, c->head_dim);
		}
	}
}

void hs_cache_wipe(struct hs_cache *c, uint32_t n_layers, uint32_t from, uint32_t to)
{
	size_t value = HS_ROUND16(c->head_dim) * c->each;
	for (uint32_t l = 0; l < n_layers; l++)
		for (uint32_t head = 0; head < c->n_heads; head++) {
			uint8_t *keys = hs_cache_keys(c, l, head);
			for (uint32_t at = from; at < to; at++)
				for (uint32_t i = 0; i < c->head_dim; i++)
					explicit_bzero(keys + (at / 16 * c->head_dim * 16 + 16 * i + at % 16) * c->each, c->each);
			explicit_bzero(hs_cache_values(c, l, head) + from * value, (to - from) * value);
			for (uint32_t b = 0; b < 2 * c->blocks && c->scales; b++)
				explicit_bzero(hs_cache_scales(c, b & 1, l, head) + b / 2 * c->tiles * 16 + from,
					       (to - from) * sizeof *c->scales);
		}
}

void hs_cache_copy(struct hs_cache *c, const struct hs_cache *from, uint32_t n_layers, uint32_t n)
{
	/* Whole tiles of keys: what lies past n is overwritten or, like all past a sequence's end, not seen. */
	size_t keys = HS_ROUND16(n) * c->head_dim * c->each, values = n * HS_ROUND16(c->head_dim) * c->each;
	for (uint32_t l = 0; l < n_layers; l++)
		for (uint32_t head = 0; head < c->n_heads; head++) {
			memcpy(hs_cache_keys(c, l, head), hs_cache_keys(from, l, head), keys);
			memcpy(hs_cache_values(c, l, head), hs_cache_values(from, l, head), values);
			for (uint32_t b = 0; b < 2 * c->blocks && c->scales; b++)
				memcpy(hs_cache_scales(c, b & 1, l, head) + b / 2 * c->tiles * 16,
				       hs_cache_scales(from, b & 1, l, head) + b / 2 * from->tiles * 16, n * sizeof *c->scales);
		}
}
