#include "inference/cuda/pages.h"

#include <errno.h>
#include <stdlib.h>

#include "inference/model/page_book.h"

struct hs_pages {
	struct hs_device *device;
	uint8_t *pool;
	enum hs_gpu_cache_type type;
	uint32_t head_dim, n_heads, n;
	struct hs_page_book *book;
};

static uint32_t head_bytes(const struct hs_pages *p)
{
	return hs_gpu_page_head_bytes(p->type, p->head_dim);
}

int hs_pages_create(struct hs_device *d, enum hs_gpu_cache_type type, uint32_t head_dim, uint32_t n_heads, uint32_t n,
		    struct hs_pages **ret)
{
	struct hs_pages *p = calloc(1, sizeof *p);
	if (!p)
		return -ENOMEM;
	*p = (struct hs_pages){.device = d, .type = type, .head_dim = head_dim, .n_heads = n_heads, .n = n};
	void *pool = NULL;
	int rc = hs_page_book_create(n, &p->book);
	if (rc == 0)
		rc = hs_device_alloc(d, n * hs_pages_bytes(p), &pool);
	p->pool = pool;
	if (rc < 0) {
		hs_pages_destroy(p);
		return rc;
	}
	*ret = p;
	return 0;
}

void hs_pages_destroy(struct hs_pages *p)
{
	if (!p)
		return;
	hs_device_free(p->device, p->pool, p->n * hs_pages_bytes(p));
	hs_page_book_destroy(p->book);
	free(p);
}

uint8_t *hs_pages_pool(const struct hs_pages *p)
{
	return p->pool;
}

uint64_t hs_pages_bytes(const struct hs_pages *p)
{
	return (uint64_t)head_bytes(p) * p->n_heads;
}

uint32_t hs_pages_count(const struct hs_pages *p)
{
	return p->n;
}

int hs_pages_take(struct hs_pages *p, uint32_t n, uint32_t *ret)
{
	return hs_page_book_take(p->book, n, ret);
}

void hs_pages_own(struct hs_pages *p, const uint32_t *pages, uint32_t n, uint64_t owner)
{
	for (uint32_t i = 0; i < n; i++)
		hs_page_book_own(p->book, pages[i], owner);
}

void hs_pages_give(struct hs_pages *p, const uint32_t *pages, uint32_t n)
{
	uint64_t bytes = hs_pages_bytes(p);
	/* Ordered on the stream: whoever takes a page next computes after it was wiped. Not wiped: the device is lost. */
	for (uint32_t i = 0; i < n; i++)
		if (hs_page_book_let_go(p->book, pages[i]))
			hs_page_book_give_back(p->book, pages[i],
					       hs_device_zero(p->device, p->pool + pages[i] * bytes, bytes, 1, 0) == 0);
}

uint32_t hs_pages_used(struct hs_pages *p)
{
	return hs_page_book_used(p->book);
}

uint32_t hs_pages_of(struct hs_pages *p, uint64_t owner)
{
	return hs_page_book_of(p->book, owner);
}

/* Positions [first, end) of a page, as up to two pieces of every head: their scales and their bytes where they are bytes. */
struct pieces {
	struct {
		uint64_t at, bytes; /* from the pool's beginning */
	} list[2];
	unsigned n;
};

static struct pieces pieces_of(const struct hs_pages *p, uint32_t page, uint32_t first, uint32_t end)
{
	uint64_t width = hs_gpu_round(p->head_dim, 32), at = page * hs_pages_bytes(p);
	struct pieces s = {.n = p->type == HS_GPU_CACHE_F16 ? 1 : 2};
	uint64_t size = s.n == 1 ? 2 * width : width / 16, behind = at + HS_GPU_PAGE_POSITIONS * size;
	s.list[0].at = at + first * size;
	s.list[0].bytes = (end - first) * size;
	s.list[1].at = behind + first * width;
	s.list[1].bytes = (end - first) * width;
	return s;
}

static int wipe_part(struct hs_pages *p, uint32_t page, uint32_t first, uint32_t end)
{
	struct pieces s = pieces_of(p, page, first, end);
	int rc = 0;
	if (end - first == HS_GPU_PAGE_POSITIONS)
		return hs_device_zero(p->device, p->pool + page * hs_pages_bytes(p), hs_pages_bytes(p), 1, 0);
	for (unsigned i = 0; i < s.n && rc == 0; i++)
		rc = hs_device_zero(p->device, p->pool + s.list[i].at, s.list[i].bytes, p->n_heads, head_bytes(p));
	return rc;
}

/* The first n positions, and nothing of what lies behind: it may be another owner's. */
static int copy_part(struct hs_pages *p, uint32_t to, uint32_t from, uint32_t n)
{
	struct pieces new = pieces_of(p, to, 0, n), old = pieces_of(p, from, 0, n);
	int rc = 0;
	if (n == HS_GPU_PAGE_POSITIONS)
		return hs_device_copy(p->device, p->pool + to * hs_pages_bytes(p), p->pool + from * hs_pages_bytes(p),
				      hs_pages_bytes(p), 1, 0);
	for (unsigned i = 0; i < new.n &&rc == 0; i++)
		rc = hs_device_copy(p->device, p->pool + new.list[i].at, p->pool + old.list[i].at, new.list[i].bytes, p->n_heads,
				    head_bytes(p));
	return rc;
}

int hs_pages_wipe(struct hs_pages *p, const uint32_t *pages, uint32_t from, uint32_t to)
{
	int rc = 0;
	for (uint32_t at = from, end; at < to && rc == 0; at = end) {
		uint32_t first = at % HS_GPU_PAGE_POSITIONS;
		end = HS_MIN(at - first + HS_GPU_PAGE_POSITIONS, to);
		rc = wipe_part(p, pages[at / HS_GPU_PAGE_POSITIONS], first, first + (end - at));
	}
	return rc;
}

int hs_pages_copy(struct hs_pages *p, uint32_t *to, const uint32_t *from, uint32_t n)
{
	int rc = 0;
	for (uint32_t at = 0, i = 0; at < n && rc == 0; at += HS_GPU_PAGE_POSITIONS, i++) {
		uint32_t count = HS_MIN(n - at, HS_GPU_PAGE_POSITIONS);
		if (count == HS_GPU_PAGE_POSITIONS && hs_page_book_share(p->book, from[i], to[i])) {
			hs_pages_give(p, &to[i], 1);
			to[i] = from[i];
		} else {
			rc = copy_part(p, to[i], from[i], count);
		}
	}
	return rc;
}

int hs_pages_part(struct hs_pages *p, uint32_t *pages, uint32_t from, uint32_t to)
{
	uint64_t owner;
	int rc = 0;
	for (uint32_t i = from / HS_GPU_PAGE_POSITIONS; i * HS_GPU_PAGE_POSITIONS < to && rc == 0; i++) {
		uint32_t own, kept = i == from / HS_GPU_PAGE_POSITIONS ? from % HS_GPU_PAGE_POSITIONS : 0;
		if (!hs_page_book_is_shared(p->book, pages[i], &owner))
			continue;
		rc = hs_pages_take(p, 1, &own);
		if (rc < 0)
			return rc;
		hs_pages_own(p, &own, 1, owner);
		rc = copy_part(p, own, pages[i], kept);
		hs_pages_give(p, &pages[i], 1);
		pages[i] = own;
	}
	return rc;
}
