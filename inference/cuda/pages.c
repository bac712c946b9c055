#include "inference/cuda/pages.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct page {
	uint64_t owner;
	uint32_t next; /* of the free ones */
	bool used;
};

struct hs_pages {
	struct hs_device *device;
	uint8_t *pool;
	uint32_t head_bytes, n_heads, n;
	pthread_mutex_t lock; /* guards what follows */
	uint32_t first_free, n_free, n_used;
	struct page *pages; /* (n) */
};

#define NO_PAGE UINT32_MAX

int hs_pages_create(struct hs_device *d, uint32_t head_bytes, uint32_t n_heads, uint32_t n, struct hs_pages **ret)
{
	struct hs_pages *p = calloc(1, sizeof *p);
	if (!p)
		return -ENOMEM;
	*p = (struct hs_pages){.device = d, .head_bytes = head_bytes, .n_heads = n_heads, .n = n, .first_free = NO_PAGE};
	(void)pthread_mutex_init(&p->lock, NULL); /* cannot fail with default attributes */
	p->pages = calloc(HS_MAX(n, 1u), sizeof *p->pages);
	void *pool = NULL;
	int rc = p->pages ? hs_device_alloc(d, n * hs_pages_bytes(p), &pool) : -ENOMEM;
	p->pool = pool;
	if (rc < 0) {
		hs_pages_destroy(p);
		return rc;
	}
	for (uint32_t i = n; i-- > 0;) { /* the first is taken first */
		p->pages[i].next = p->first_free;
		p->first_free = i;
	}
	p->n_free = n;
	*ret = p;
	return 0;
}

void hs_pages_destroy(struct hs_pages *p)
{
	if (!p)
		return;
	hs_device_free(p->device, p->pool, p->n * hs_pages_bytes(p));
	(void)pthread_mutex_destroy(&p->lock); /* nobody holds it */
	free(p->pages);
	free(p);
}

uint8_t *hs_pages_pool(const struct hs_pages *p)
{
	return p->pool;
}

uint64_t hs_pages_bytes(const struct hs_pages *p)
{
	return (uint64_t)p->head_bytes * p->n_heads;
}

uint32_t hs_pages_count(const struct hs_pages *p)
{
	return p->n;
}

int hs_pages_take(struct hs_pages *p, uint32_t n, uint32_t *ret)
{
	pthread_mutex_lock(&p->lock);
	int rc = n <= p->n_free ? 0 : -ENOMEM;
	for (uint32_t i = 0; i < n && rc == 0; i++) {
		struct page *page = &p->pages[p->first_free];
		hs_assert(!page->used);
		ret[i] = p->first_free;
		p->first_free = page->next;
		*page = (struct page){.used = true, .next = NO_PAGE};
	}
	if (rc == 0) {
		p->n_free -= n;
		p->n_used += n;
	}
	pthread_mutex_unlock(&p->lock);
	return rc;
}

void hs_pages_own(struct hs_pages *p, const uint32_t *pages, uint32_t n, uint64_t owner)
{
	pthread_mutex_lock(&p->lock);
	for (uint32_t i = 0; i < n; i++)
		p->pages[pages[i]].owner = owner;
	pthread_mutex_unlock(&p->lock);
}

void hs_pages_give(struct hs_pages *p, const uint32_t *pages, uint32_t n)
{
	/* Ordered on the stream: whoever takes a page next computes after it was wiped. */
	bool wiped[64];
	for (uint32_t at = 0; at < n; at += HS_ARRAY_LEN(wiped)) {
		uint32_t end = HS_MIN(n - at, (uint32_t)HS_ARRAY_LEN(wiped));
		for (uint32_t i = 0; i < end; i++)
			wiped[i] =
			    hs_device_zero(p->device, p->pool + pages[at + i] * hs_pages_bytes(p), hs_pages_bytes(p), 1, 0) == 0;
		pthread_mutex_lock(&p->lock);
		for (uint32_t i = 0; i < end; i++) {
			struct page *page = &p->pages[pages[at + i]];
			hs_assert(page->used);
			p->n_used--;
			*page = (struct page){.next = p->first_free};
			if (!wiped[i]) /* the device is lost: nobody gets it again */
				continue;
			p->first_free = pages[at + i];
			p->n_free++;
		}
		pthread_mutex_unlock(&p->lock);
	}
}

uint32_t hs_pages_used(struct hs_pages *p)
{
	pthread_mutex_lock(&p->lock);
	uint32_t n = p->n_used;
	pthread_mutex_unlock(&p->lock);
	return n;
}

uint32_t hs_pages_of(struct hs_pages *p, uint64_t owner)
{
	uint32_t n = 0;
	pthread_mutex_lock(&p->lock);
	for (uint32_t i = 0; i < p->n; i++)
		n += p->pages[i].used && p->pages[i].owner == owner;
	pthread_mutex_unlock(&p->lock);
	return n;
}

/* Part of a page, as pieces of every head: positions [first, end) of `HS_GPU_PAGE_POSITIONS`. */
struct piece {
	uint64_t at, bytes;
};

static struct piece piece_of(const struct hs_pages *p, uint32_t page, uint32_t first, uint32_t end)
{
	uint64_t position = p->head_bytes / HS_GPU_PAGE_POSITIONS; /* of f16 pages, whose positions lie one after the other */
	return (struct piece){.at = page * hs_pages_bytes(p) + first * position, .bytes = (end - first) * position};
}

int hs_pages_wipe(struct hs_pages *p, const uint32_t *pages, uint32_t from, uint32_t to)
{
	int rc = 0;
	for (uint32_t at = from, end; at < to && rc == 0; at = end) {
		uint32_t first = at % HS_GPU_PAGE_POSITIONS;
		end = HS_MIN(at - first + HS_GPU_PAGE_POSITIONS, to);
		struct piece piece = piece_of(p, pages[at / HS_GPU_PAGE_POSITIONS], first, first + (end - at));
		if (piece.bytes == p->head_bytes)
			rc = hs_device_zero(p->device, p->pool + piece.at, hs_pages_bytes(p), 1, 0);
		else
			rc = hs_device_zero(p->device, p->pool + piece.at, piece.bytes, p->n_heads, p->head_bytes);
	}
	return rc;
}

int hs_pages_copy(struct hs_pages *p, const uint32_t *to, const uint32_t *from, uint32_t n)
{
	int rc = 0;
	for (uint32_t at = 0; at < n && rc == 0; at += HS_GPU_PAGE_POSITIONS) {
		uint32_t i = at / HS_GPU_PAGE_POSITIONS, end = HS_MIN(n - at, HS_GPU_PAGE_POSITIONS);
		struct piece old = piece_of(p, from[i], 0, end), new = piece_of(p, to[i], 0, end);
		if (end == HS_GPU_PAGE_POSITIONS)
			rc = hs_device_copy(p->device, p->pool + new.at, p->pool + old.at, hs_pages_bytes(p), 1, 0);
		else /* and nothing of what lies behind: it may be another owner's */
			rc = hs_device_copy(p->device, p->pool + new.at, p->pool + old.at, old.bytes, p->n_heads, p->head_bytes);
	}
	return rc;
}
