#include "base/arena.h"

#include <stdint.h>
#include <string.h>

#define BLOCK_LEN (16u * 1024u)
#define ALIGN _Alignof(max_align_t)

struct block {
	struct block *next;
	size_t len, used;
	_Alignas(max_align_t) uint8_t data[];
};

struct hs_arena {
	struct block *blocks; /* newest first */
	size_t handed_out, limit;
};

struct hs_arena *hs_arena_create(size_t limit)
{
	struct hs_arena *a = calloc(1, sizeof *a);
	if (a)
		a->limit = limit;
	return a;
}

void hs_arena_destroy(struct hs_arena *a)
{
	if (!a)
		return;
	for (struct block *b = a->blocks, *next; b; b = next) {
		next = b->next;
		explicit_bzero(b->data, b->used); /* requests hold questions and passages */
		free(b);
	}
	free(a);
}

void *hs_arena_alloc(struct hs_arena *a, size_t n)
{
	if (n > SIZE_MAX - ALIGN)
		return NULL;
	n = (n + ALIGN - 1) / ALIGN * ALIGN;
	if (n > a->limit - a->handed_out)
		return NULL;
	struct block *b = a->blocks;
	if (!b || n > b->len - b->used) {
		size_t len = HS_MAX(n, BLOCK_LEN);
		b = calloc(1, sizeof *b + len);
		if (!b)
			return NULL;
		b->len = len;
		b->next = a->blocks;
		a->blocks = b;
	}
	void *p = b->data + b->used;
	b->used += n;
	a->handed_out += n;
	return p;
}

void *hs_arena_calloc(struct hs_arena *a, size_t count, size_t size)
{
	if (size && count > SIZE_MAX / size)
		return NULL;
	return hs_arena_alloc(a, count * size);
}

char *hs_arena_strndup(struct hs_arena *a, const char *s, size_t n)
{
	if (n == SIZE_MAX)
		return NULL;
	char *p = hs_arena_alloc(a, n + 1);
	if (p && n)
		memcpy(p, s, n);
	return p;
}
