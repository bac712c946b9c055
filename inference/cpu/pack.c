#include "inference/cpu/packed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "inference/quant/half.h"

#define NIBBLES 256 /* bytes of a group's nibbles: 32 columns of 16 rows */
#define PLANE 64

/* Bytes of `span` columns of a panel. */
struct unit {
	enum hs_tensor_type type;
	uint32_t span;
	size_t bytes;
};

static const struct unit units[] = {
    {HS_F32, 1, 64},
    {HS_F16, 1, 32},
    {HS_BF16, 1, 32},
    {HS_Q4_0, HS_BLOCK, 32 + NIBBLES},
    {HS_Q5_0, HS_BLOCK, 32 + PLANE + NIBBLES},
    {HS_MXFP4, HS_BLOCK, 64 + PLANE + NIBBLES},
    {HS_Q8_0, HS_BLOCK, 32 + 2 * NIBBLES},
    {HS_Q4_K, HS_K_BLOCK, 320 + 8 * NIBBLES},
    {HS_Q5_K, HS_K_BLOCK, 320 + 8 * (PLANE + NIBBLES)},
    {HS_Q6_K, HS_K_BLOCK, 288 + 8 * (2 * PLANE + NIBBLES)},
};

size_t hs_packed_panel_bytes(enum hs_tensor_type type, uint32_t columns)
{
	for (size_t i = 0; i < HS_ARRAY_LEN(units); i++)
		if (units[i].type == type)
			return columns % units[i].span ? 0 : (size_t)columns / units[i].span * units[i].bytes;
	return 0;
}

int hs_packed_init(struct hs_packed *p, const struct hs_gguf_tensor *t, const struct hs_gguf_tensor *b)
{
	*p = (struct hs_packed){.type = t->type, .rows = (uint32_t)t->dims[1], .columns = (uint32_t)t->dims[0]};
	p->n_panels = (p->rows + HS_PANEL - 1) / HS_PANEL;
	p->panel_bytes = hs_packed_panel_bytes(p->type, p->columns);
	hs_assert(p->panel_bytes && p->n_panels <= SIZE_MAX / p->panel_bytes);
	size_t bytes = p->n_panels * p->panel_bytes;
	void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (data == MAP_FAILED)
		return -ENOMEM;
	p->data = data;
	(void)madvise(data, bytes, MADV_HUGEPAGE); /* only faster */
	if (b) {
		p->bias = calloc((size_t)p->n_panels * HS_PANEL, sizeof *p->bias);
		if (!p->bias)
			return -ENOMEM;
		memcpy(p->bias, b->data, p->rows * sizeof *p->bias);
	}
	return 0;
}

void hs_packed_finish(struct hs_packed *p)
{
	if (p->data)
		(void)munmap(p->data, p->n_panels * p->panel_bytes); /* the mapping is ours and whole */
	free(p->bias);
	*p = (struct hs_packed){0};
}

static uint32_t load_lane(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

static void store_lane(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof v);
}

/* Codes of 32 columns of row r; `out` is the group's planes (if any), then its nibbles. bits: 4, 5 or 6. */
static void put_group(uint8_t *out, const uint8_t codes[static HS_BLOCK], uint32_t r, unsigned bits)
{
	uint32_t planes[2] = {0, 0};
	uint8_t *nibbles = out + (bits - 4) * PLANE;
	for (uint32_t i = 0; i < 8; i++) {
		uint32_t c = load_lane(codes + 4 * i);
		if (bits == 5)
			planes[0] |= (c >> 4 & 0x01010101u) << i;
		if (bits == 6)
			planes[i / 4] |= (c >> 4 & 0x03030303u) << 2 * (i % 4);
	}
	for (uint32_t i = 0; i < bits - 4; i++)
		store_lane(out + i * PLANE + 4 * r, planes[i]);
	for (uint32_t i = 0; i < 4; i++) {
		uint32_t low = load_lane(codes + 4 * i) & 0x0f0f0f0fu, high = load_lane(codes + 4 * i + 16) & 0x0f0f0f0fu;
		store_lane(nibbles + i * 64 + 4 * r, low | high << 4);
	}
}

static void put_q4_0(uint8_t *out, const uint8_t *block, uint32_t r)
{
	uint8_t codes[HS_BLOCK];
	hs_q4_0_codes(block, codes);
	memcpy(out + 2 * r, block, 2);
	put_group(out + 32, codes, r, 4);
}

static void put_q5_0(uint8_t *out, const uint8_t *block, uint32_t r)
{
	uint8_t codes[HS_BLOCK];
	hs_q5_0_codes(block, codes);
	memcpy(out + 2 * r, block, 2);
	put_group(out + 32, codes, r, 5);
}

static void put_mxfp4(uint8_t *out, const uint8_t *block, uint32_t r)
{
	uint8_t codes[HS_BLOCK];
	float scale = hs_mxfp4_scale(block);
	hs_mxfp4_codes(block, codes);
	memcpy(out + 4 * r, &scale, 4);
	put_group(out + 64, codes, r, 5);
}

static void put_q8_0(uint8_t *out, const uint8_t *block, uint32_t r)
{
	uint8_t codes[HS_BLOCK];
	hs_q8_0_codes(block, codes);
	memcpy(out + 2 * r, block, 2);
	for (uint32_t i = 0; i < 8; i++)
		store_lane(out + 32 + i * 64 + 4 * r, load_lane(codes + 4 * i));
}

static void put_scales(uint8_t *out, const uint8_t *block, uint32_t r)
{
	uint8_t scales[8], mins[8];
	hs_k_scales(block + 4, scales, mins);
	memcpy(out + 2 * r, block, 2);
	memcpy(out + 32 + 2 * r, block + 2, 2);
	for (uint32_t g = 0; g < 8; g++) {
		out[64 + 16 * g + r] = scales[g];
		out[192 + 32 * (g / 2) + 2 * r + g % 2] = mins[g];
	}
}

/* The nibbles as they lie, four at a time: a start waits for this more than for anything else. */
static void put_q4_k(uint8_t *out, const uint8_t *block, uint32_t r)
{
	const uint8_t *q = block + 16;
	put_scales(out, block, r);
	for (uint32_t pair = 0; pair < 4; pair++, q += HS_BLOCK) {
		uint8_t *even = out + 320 + 2 * pair * NIBBLES + 4 * r, *odd = even + NIBBLES;
		for (uint32_t i = 0; i < 4; i++) {
			uint32_t low = load_lane(q + 4 * i), high = load_lane(q + 4 * i + 16);
			store_lane(even + i * 64, (low & 0x0f0f0f0fu) | (high & 0x0f0f0f0fu) << 4);
			store_lane(odd + i * 64, (low >> 4 & 0x0f0f0f0fu) | (high & 0xf0f0f0f0u));
		}
	}
}

static void put_q5_k(uint8_t *out, const uint8_t *block, uint32_t r)
{
	uint8_t codes[HS_K_BLOCK];
	hs_q5_k_codes(block, codes);
	put_scales(out, block, r);
	for (uint32_t g = 0; g < 8; g++)
		put_group(out + 320 + g * (PLANE + NIBBLES), codes + g * HS_BLOCK, r, 5);
}

static void put_q6_k(uint8_t *out, const uint8_t *block, uint32_t r)
{
	uint8_t codes[HS_K_BLOCK];
	hs_q6_k_codes(block, codes);
	memcpy(out + 2 * r, block + HS_Q6_K_SCALES + 16, 2);
	for (uint32_t g = 0; g < 16; g++)
		out[32 + 32 * (g / 2) + 2 * r + g % 2] = block[HS_Q6_K_SCALES + g];
	for (uint32_t g = 0; g < 8; g++)
		put_group(out + 288 + g * (2 * PLANE + NIBBLES), codes + g * HS_BLOCK, r, 6);
}

static void put_plain(uint8_t *out, const uint8_t *row, uint32_t r, uint32_t columns, size_t each)
{
	for (size_t c = 0; c < columns; c++)
		memcpy(out + (c * HS_PANEL + r) * each, row + c * each, each);
}

void hs_packed_fill(struct hs_packed *p, const struct hs_gguf_tensor *t, uint32_t panel)
{
	static void (*const puts[])(uint8_t *, const uint8_t *, uint32_t) = {
	    [HS_Q4_0] = put_q4_0, [HS_Q5_0] = put_q5_0, [HS_Q8_0] = put_q8_0,
	    [HS_Q4_K] = put_q4_k, [HS_Q5_K] = put_q5_k, [HS_Q6_K] = put_q6_k, [HS_MXFP4] = put_mxfp4,
	};
	const struct hs_quant *q = hs_quant_find(p->type);
	size_t n_blocks = p->columns / q->block, row_bytes = n_blocks * q->block_bytes;
	uint8_t *out = p->data + panel * p->panel_bytes;
	uint32_t n = HS_MIN(p->rows - panel * HS_PANEL, (uint32_t)HS_PANEL);
	for (uint32_t r = 0; r < n; r++) {
		const uint8_t *row = t->data + ((size_t)panel * HS_PANEL + r) * row_bytes;
		if (q->block == 1) {
			put_plain(out, row, r, p->columns, q->block_bytes);
			continue;
		}
		for (size_t b = 0; b < n_blocks; b++)
			puts[p->type](out + b * (p->panel_bytes / n_blocks), row + b * q->block_bytes, r);
	}
}
