#include "inference/tok/trie.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"

#define BLOCK 256u
#define OPEN_BLOCKS 16u /* a search looks at the last so many blocks: bounded work for each node */
#define UNITS_MAX (1u << 27)
#define EMPTY (1u << 31)

static uint32_t unit_at(const struct hs_trie *t, size_t i)
{
	return t->units ? t->units[i] : hs_le32_load(t->bytes + 4 * i);
}

static size_t offset_of(uint32_t unit)
{
	return (size_t)(unit >> 10 & 0x1fffffu) << ((unit & 1u << 9) >> 6);
}

size_t hs_trie_root(const struct hs_trie *t)
{
	return t->n_units ? offset_of(unit_at(t, 0)) : SIZE_MAX;
}

bool hs_trie_step(const struct hs_trie *t, size_t *place, uint8_t c, uint32_t *ret_value, bool *ret_has_value)
{
	size_t at = *place ^ c;
	if (c == 0 || at >= t->n_units)
		return false;
	uint32_t unit = unit_at(t, at);
	if ((unit & (EMPTY | 0xffu)) != c)
		return false;
	*place = at ^ offset_of(unit);
	*ret_has_value = (unit >> 8 & 1u) && *place < t->n_units;
	if (*ret_has_value)
		*ret_value = unit_at(t, *place) & ~EMPTY;
	return true;
}

void hs_trie_over(struct hs_trie *t, const uint8_t *bytes, size_t n_units)
{
	*t = (struct hs_trie){.bytes = bytes, .n_units = n_units};
}

void hs_trie_finish(struct hs_trie *t)
{
	free(t->units);
	*t = (struct hs_trie){0};
}

int hs_trie_key_compare(const void *a, const void *b)
{
	const struct hs_trie_key *x = a, *y = b;
	size_t n = HS_MIN(x->text.len, y->text.len);
	int order = n ? memcmp(x->text.s, y->text.s, n) : 0;
	return order ? order : (x->text.len > y->text.len) - (x->text.len < y->text.len);
}

struct builder {
	const struct hs_trie_key *keys;
	uint32_t *units;
	uint8_t *taken; /* of each place: TAKEN a unit lies there, BASE it is some node's (place ^ offset) */
	size_t n_units, cap;
	size_t first_free; /* no free place before it inside the open blocks */
};

enum { TAKEN = 1, BASE = 2 };

static int add_block(struct builder *b)
{
	if (b->n_units + BLOCK > UNITS_MAX)
		return -EFBIG;
	if (b->n_units + BLOCK > b->cap) {
		size_t cap = b->cap ? b->cap * 2 : 64 * BLOCK;
		uint32_t *units = reallocarray(b->units, cap, sizeof *units);
		if (units)
			b->units = units;
		uint8_t *taken = realloc(b->taken, cap);
		if (taken)
			b->taken = taken;
		if (!units || !taken)
			return -ENOMEM;
		b->cap = cap;
	}
	memset(b->taken + b->n_units, 0, BLOCK);
	for (size_t i = 0; i < BLOCK; i++)
		b->units[b->n_units + i] = EMPTY;
	b->n_units += BLOCK;
	return 0;
}

/* An offset is kept in 21 bits, or scaled, when its low byte must be zero. */
static bool fits(size_t offset)
{
	return offset < (1u << 21) || (offset & 0xff) == 0;
}

static bool can_stand(const struct builder *b, size_t base, size_t parent, const uint8_t *labels, size_t n)
{
	if (b->taken[base] & BASE || !fits(base ^ parent))
		return false;
	for (size_t i = 0; i < n; i++)
		if (b->taken[base ^ labels[i]] & TAKEN)
			return false;
	return true;
}

/* A base whose places for all labels are free; a base, its children and its value lie in one block. */
static int find_base(struct builder *b, size_t parent, const uint8_t *labels, size_t n, size_t *ret)
{
	size_t floor = b->n_units > OPEN_BLOCKS * BLOCK ? b->n_units - OPEN_BLOCKS * BLOCK : 0;
	b->first_free = HS_MAX(b->first_free, floor);
	while (b->first_free < b->n_units && b->taken[b->first_free] & TAKEN)
		b->first_free++;
	for (;;) {
		for (size_t at = b->first_free; at < b->n_units; at++)
			if (!(b->taken[at] & TAKEN) && can_stand(b, at ^ labels[0], parent, labels, n)) {
				*ret = at ^ labels[0];
				return 0;
			}
		int rc = add_block(b);
		if (rc < 0)
			return rc;
	}
}

struct range { /* the keys from begin to end share depth bytes, and their node lies at place */
	size_t begin, end, depth, place;
};

/* Give the node of r its base, and append its children to the stack. */
static int place_children(struct builder *b, const struct range *r, struct range *children, size_t *ret_n)
{
	uint8_t labels[BLOCK];
	size_t starts[BLOCK + 1], n = 0;
	for (size_t i = r->begin; i < r->end; i++) {
		const struct hs_gguf_str *text = &b->keys[i].text;
		uint8_t label = text->len > r->depth ? (uint8_t)text->s[r->depth] : 0;
		if (n && labels[n - 1] == label && label == 0)
			return -EINVAL; /* two equal keys */
		if (n && label < labels[n - 1])
			return -EINVAL;
		if (text->len > r->depth && label == 0)
			return -EINVAL;
		if (!n || labels[n - 1] != label) {
			starts[n] = i;
			labels[n++] = label;
		}
	}
	starts[n] = r->end;
	size_t base;
	int rc = find_base(b, r->place, labels, n, &base);
	if (rc < 0)
		return rc;
	size_t offset = base ^ r->place;
	b->units[r->place] |= offset < (1u << 21) ? (uint32_t)offset << 10 : (uint32_t)offset << 2 | 1u << 9;
	b->taken[base] |= BASE;
	*ret_n = 0;
	for (size_t i = 0; i < n; i++) {
		size_t place = base ^ labels[i];
		b->taken[place] |= TAKEN;
		if (labels[i] == 0) {
			b->units[place] = EMPTY | b->keys[starts[i]].value;
			b->units[r->place] |= 1u << 8;
		} else {
			b->units[place] = labels[i];
			children[(*ret_n)++] = (struct range){starts[i], starts[i + 1], r->depth + 1, place};
		}
	}
	return 0;
}

static int build(struct builder *b, size_t n)
{
	struct range *stack = NULL;
	size_t len = 0, cap = 0;
	int rc = add_block(b);
	if (rc < 0)
		return rc;
	b->units[0] = 0;
	b->taken[0] = TAKEN;
	if (n > 0) {
		cap = 4 * BLOCK;
		stack = calloc(cap, sizeof *stack);
		if (!stack)
			return -ENOMEM;
		stack[len++] = (struct range){0, n, 0, 0};
	}
	while (rc == 0 && len > 0) {
		if (len + BLOCK > cap) {
			struct range *more = reallocarray(stack, cap * 2, sizeof *more);
			if (!more) {
				rc = -ENOMEM;
				break;
			}
			stack = more;
			cap *= 2;
		}
		struct range top = stack[--len];
		size_t children;
		rc = place_children(b, &top, stack + len, &children);
		if (rc == 0)
			len += children;
	}
	free(stack);
	return rc;
}

int hs_trie_build(struct hs_trie *t, const struct hs_trie_key *keys, size_t n)
{
	struct builder b = {.keys = keys};
	for (size_t i = 0; i < n; i++)
		if (keys[i].text.len == 0 || keys[i].value & EMPTY)
			return -EINVAL;
	int rc = build(&b, n);
	free(b.taken);
	if (rc < 0) {
		free(b.units);
		return rc;
	}
	*t = (struct hs_trie){.units = b.units, .n_units = b.n_units};
	return 0;
}
