#include "inference/cuda/pages.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct page {
	uint64_t owner;
	uint32_t next;    /* of the free ones */
	uint32_t holders; /* sequences */
	bool used;        /* also while it is wiped */
};

struct hs_pages {
	struct hs_device *device;
	uint8_t *pool;
	enum hs_gpu_cache_type type;
	uint32_t head_dim, n_heads, n;
	pthread_mutex_t lock; /* guards what follows */
	uint32_t first_free, n_free, n_used;
	struct page *pages; /* (n) */
};

#define NO_PAGE UINT32_MAX

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
	*p =
	    (struct hs_pages){.device = d, .type = type, .head_dim = head_dim, .n_heads = n_heads, .n = n, .first_free = NO_PAGE};
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
	return (uint64_t)head_bytes(p) * p->n_heads;
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
		*page = (struct page){.used = true, .holders = 1, .next = NO_PAGE};
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
	for (uint32_t i = 0; i < n; i++) {
		struct page *page = &p->pages[pages[i]];
		hs_assert(page->holders == 1 || page->owner == owner);
		page->owner = owner;
	}
	pthread_mutex_unlock(&p->lock);
}

/* How many of n pages nobody holds any more: first[..]. */
static uint32_t let_go(struct hs_pages *p, const uint32_t *pages, uint32_t n, uint32_t *last)
{
	uint32_t n_last = 0;
	pthread_mutex_lock(&p->lock);
	for (uint32_t i = 0; i < n; i++) {
		struct page *page = &p->pages[pages[i]];
		hs_assert(page->used && page->holders);
		if (--page->holders == 0)
			last[n_last++] = pages[i];
	}
	pthread_mutex_unlock(&p->lock);
	return n_last;
}

void hs_pages_give(struct hs_pages *p, const uint32_t *pages, uint32_t n)
{
	/* Ordered on the stream: whoever takes a page next computes after it was wiped. */
	uint32_t last[64];
	bool wiped[64];
	for (uint32_t at = 0; at < n; at += HS_ARRAY_LEN(last)) {
		uint32_t n_last = let_go(p, pages + at, HS_MIN(n - at, (uint32_t)HS_ARRAY_LEN(last)), last);
		for (uint32_t i = 0; i < n_last; i++)
			wiped[i] = hs_device_zero(p->device, p->pool + last[i] * hs_pages_bytes(p), hs_pages_bytes(p), 1, 0) == 0;
		pthread_mutex_lock(&p->lock);
		for (uint32_t i = 0; i < n_last; i++) {
			struct page *page = &p->pages[last[i]];
			p->n_used--;
			*page = (struct page){.next = p->first_free};
			if (!wiped[i]) /* the device is lost: nobody gets it again */
				continue;
			p->first_free = last[i];
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
		n += p->pages[i].holders && p->pages[i].owner == owner;
	pthread_mutex_unlock(&p->lock);
	return n;
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

/* `page` is held once more, where it belongs to whom `own` belongs. */
static bool hold(struct hs_pages *p, uint32_t page, uint32_t own)
{
	pthread_mutex_lock(&p->lock);
	bool same = p->pages[page].owner == p->pages[own].owner;
	p->pages[page].holders += same;
	pthread_mutex_unlock(&p->lock);
	return same;
}

int hs_pages_copy(struct hs_pages *p, uint32_t *to, const uint32_t *from, uint32_t n)
{
	int rc = 0;
	for (uint32_t at = 0, i = 0; at < n && rc == 0; at += HS_GPU_PAGE_POSITIONS, i++) {
		uint32_t count = HS_MIN(n - at, HS_GPU_PAGE_POSITIONS);
		if (count == HS_GPU_PAGE_POSITIONS && hold(p, from[i], to[i])) {
			hs_pages_give(p, &to[i], 1);
			to[i] = from[i];
		} else {
			rc = copy_part(p, to[i], from[i], count);
		}
	}
	return rc;
}

static bool is_shared(struct hs_pages *p, uint32_t page, uint64_t *ret_owner)
{
	pthread_mutex_lock(&p->lock);
	bool yes = p->pages[page].holders > 1;
	*ret_owner = p->pages[page].owner;
	pthread_mutex_unlock(&p->lock);
	return yes;
}

int hs_pages_part(struct hs_pages *p, uint32_t *pages, uint32_t from, uint32_t to)
{
	uint64_t owner;
	int rc = 0;
	for (uint32_t i = from / HS_GPU_PAGE_POSITIONS; i * HS_GPU_PAGE_POSITIONS < to && rc == 0; i++) {
		uint32_t own, kept = i == from / HS_GPU_PAGE_POSITIONS ? from % HS_GPU_PAGE_POSITIONS : 0;
		if (!is_shared(p, pages[i], &owner))
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
