#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inference/cpu/pass.h"
#include "inference/quant/half.h"

static size_t keys_len(const struct hs_cache *c)
{
	return c->n_heads * c->tiles * c->head_dim * 16;
}

static size_t values_len(const struct hs_cache *c)
{
	return c->n_heads * c->tiles * 16 * HS_ROUND16(c->head_dim);
}

int hs_cache_init(struct hs_cache *c, const struct hs_hyper *h, uint32_t n_layers, uint32_t positions)
{
	*c = (struct hs_cache){.n_heads = h->n_kv_heads, .head_dim = h->head_dim, .tiles = HS_ROUND16(positions) / 16};
	c->keys = calloc(n_layers, keys_len(c) * sizeof *c->keys);
	c->values = calloc(n_layers, values_len(c) * sizeof *c->values);
	return c->keys && c->values ? 0 : -ENOMEM;
}

void hs_cache_finish(struct hs_cache *c, uint32_t n_layers)
{
	if (c->keys)
		explicit_bzero(c->keys, n_layers * keys_len(c) * sizeof *c->keys);
	if (c->values)
		explicit_bzero(c->values, n_layers * values_len(c) * sizeof *c->values);
	free(c->keys);
	free(c->values);
}

const uint16_t *hs_cache_keys(const struct hs_cache *c, uint32_t layer, uint32_t head)
{
	return c->keys + layer * keys_len(c) + head * c->tiles * c->head_dim * 16;
}

const uint16_t *hs_cache_values(const struct hs_cache *c, uint32_t layer, uint32_t head)
{
	return c->values + layer * values_len(c) + head * c->tiles * 16 * HS_ROUND16(c->head_dim);
}

void hs_cache_store(struct hs_cache *c, uint32_t layer, uint32_t position, const float *k, const float *v)
{
	for (uint32_t head = 0; head < c->n_heads; head++, k += c->head_dim, v += c->head_dim) {
		uint16_t *key = (uint16_t *)hs_cache_keys(c, layer, head) + position / 16 * c->head_dim * 16 + position % 16;
		uint16_t *value = (uint16_t *)hs_cache_values(c, layer, head) + position * HS_ROUND16(c->head_dim);
		for (uint32_t i = 0; i < c->head_dim; i++) {
			key[16 * i] = hs_half_from_float(k[i]);
			value[i] = hs_half_from_float(v[i]);
		}
	}
}

void hs_cache_wipe(struct hs_cache *c, uint32_t n_layers, uint32_t from, uint32_t to)
{
	size_t value = HS_ROUND16(c->head_dim);
	for (uint32_t l = 0; l < n_layers; l++)
		for (uint32_t head = 0; head < c->n_heads; head++) {
			volatile uint16_t *keys = (volatile uint16_t *)hs_cache_keys(c, l, head);
			for (uint32_t at = from; at < to; at++)
				for (uint32_t i = 0; i < c->head_dim; i++)
					keys[at / 16 * c->head_dim * 16 + 16 * i + at % 16] = 0;
			explicit_bzero((uint16_t *)hs_cache_values(c, l, head) + from * value,
				       (to - from) * value * sizeof(uint16_t));
		}
}

void hs_cache_copy(struct hs_cache *c, const struct hs_cache *from, uint32_t n_layers, uint32_t n)
{
	/* Whole tiles of keys: what lies past n is overwritten or, like all past a sequence's end, not seen. */
	size_t keys = HS_ROUND16(n) * c->head_dim, values = n * HS_ROUND16(c->head_dim);
	for (uint32_t l = 0; l < n_layers; l++)
		for (uint32_t head = 0; head < c->n_heads; head++) {
			memcpy((uint16_t *)hs_cache_keys(c, l, head), hs_cache_keys(from, l, head), keys * sizeof(uint16_t));
			memcpy((uint16_t *)hs_cache_values(c, l, head), hs_cache_values(from, l, head),
			       values * sizeof(uint16_t));
		}
}
