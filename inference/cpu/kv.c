#include "inference/cpu/kv.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NO_PAGE UINT32_MAX

struct page {
	uint64_t owner;
	uint32_t next;    /* of the free ones */
	uint32_t holders; /* sequences */
};

struct hs_kv {
	struct hs_page_form form;
	uint8_t *pool;
	uint32_t n;
	pthread_mutex_t lock; /* guards what follows */
	uint32_t first_free, n_free;
	struct page *pages; /* (n) */
};

static uint64_t megabytes(uint64_t bytes)
{
	return (bytes + 999999) / 1000000;
}

/* As many as a half of the machine's memory holds, at most what all that the daemon does needs. */
static int plan(const struct hs_page_form *form, uint32_t context, uint32_t *ret, struct hs_err *err)
{
	uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE), room = memory / 2 / form->page;
	uint32_t least = hs_pages_for(HS_MIN(context, HS_KV_POSITIONS_MIN));
	if (room < least)
		return hs_fail(
		    err, ENOMEM, "model.memory", HS_N_("the machine has too little memory for this model: take a smaller one"),
		    "keys and values of %u positions %llu MB, half of the memory %llu MB", least * HS_PAGE_POSITIONS,
		    (unsigned long long)megabytes(least * (uint64_t)form->page), (unsigned long long)megabytes(memory / 2));
	*ret = (uint32_t)HS_MIN(room, (uint64_t)hs_pages_for(HS_KV_POSITIONS_MAX));
	return 0;
}

int hs_kv_create(const struct hs_page_form *form, uint32_t context, struct hs_kv **ret, struct hs_err *err)
{
	struct hs_kv *a = calloc(1, sizeof *a);
	if (!a)
		return hs_fail_errno(err, -ENOMEM, "model.load", "keys and values");
	*a = (struct hs_kv){.form = *form, .first_free = NO_PAGE};
	(void)pthread_mutex_init(&a->lock, NULL); /* cannot fail with default attributes */
	int rc = plan(form, context, &a->n, err);
	if (rc == 0) {
		void *pool =
		    mmap(NULL, a->n * form->page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		a->pool = pool == MAP_FAILED ? NULL : pool;
		a->pages = calloc(a->n, sizeof *a->pages);
		if (!a->pool || !a->pages)
			rc = hs_fail_errno(err, -ENOMEM, "model.load", "keys and values");
	}
	if (rc < 0) {
		hs_kv_destroy(a);
		return rc;
	}
	for (uint32_t i = a->n; i-- > 0;) { /* the first is taken first */
		a->pages[i].next = a->first_free;
		a->first_free = i;
	}
	a->n_free = a->n;
	*ret = a;
	return 0;
}

void hs_kv_destroy(struct hs_kv *a)
{
	if (!a)
		return;
	for (uint32_t i = 0; a->pages && i < a->n; i++)
		if (a->pages[i].holders) /* what is free was wiped */
			explicit_bzero(a->pool + i * a->form.page, a->form.page);
	if (a->pool)
		(void)munmap(a->pool, a->n * a->form.page); /* it is ours */
	(void)pthread_mutex_destroy(&a->lock);              /* nobody holds it */
	free(a->pages);
	free(a);
}

const struct hs_page_form *hs_kv_form(const struct hs_kv *a)
{
	return &a->form;
}

uint32_t hs_kv_count(const struct hs_kv *a)
{
	return a->n;
}

static struct page *page_at(const struct hs_kv *a, const uint8_t *memory)
{
	size_t i = (size_t)(memory - a->pool) / a->form.page;
	hs_assert(memory >= a->pool && i < a->n);
	return &a->pages[i];
}

int hs_kv_take(struct hs_kv *a, uint32_t n, uint8_t **ret)
{
	pthread_mutex_lock(&a->lock);
	int rc = n <= a->n_free ? 0 : -ENOMEM;
	for (uint32_t i = 0; i < n && rc == 0; i++) {
		struct page *page = &a->pages[a->first_free];
		hs_assert(page->holders == 0);
		ret[i] = a->pool + a->first_free * a->form.page;
		a->first_free = page->next;
		a->n_free--;
		*page = (struct page){.holders = 1, .next = NO_PAGE};
	}
	pthread_mutex_unlock(&a->lock);
	return rc;
}

void hs_kv_own(struct hs_kv *a, uint8_t *const *pages, uint32_t n, uint64_t owner)
{
	pthread_mutex_lock(&a->lock);
	for (uint32_t i = 0; i < n; i++) {
		struct page *page = page_at(a, pages[i]);
		hs_assert(page->holders == 1 || page->owner == owner);
		page->owner = owner;
	}
	pthread_mutex_unlock(&a->lock);
}

static bool is_last(struct hs_kv *a, struct page *page)
{
	pthread_mutex_lock(&a->lock);
	hs_assert(page->holders);
	bool last = page->holders == 1;
	if (!last)
		page->holders--;
	pthread_mutex_unlock(&a->lock);
	return last;
}

void hs_kv_give(struct hs_kv *a, uint8_t *const *pages, uint32_t n)
{
	for (uint32_t i = n; i-- > 0;) {
		struct page *page = page_at(a, pages[i]);
		if (!is_last(a, page)) /* whoever is last, is alone with it: only a holder shares it */
			continue;
		explicit_bzero(pages[i], a->form.page);
		(void)madvise(pages[i], a->form.page, MADV_DONTNEED); /* only thrift: it reads zero either way */
		pthread_mutex_lock(&a->lock);
		*page = (struct page){.next = a->first_free};
		a->first_free = (uint32_t)(page - a->pages);
		a->n_free++;
		pthread_mutex_unlock(&a->lock);
	}
}

uint32_t hs_kv_used(struct hs_kv *a)
{
	pthread_mutex_lock(&a->lock);
	uint32_t n = a->n - a->n_free;
	pthread_mutex_unlock(&a->lock);
	return n;
}

uint32_t hs_kv_of(struct hs_kv *a, uint64_t owner)
{
	uint32_t n = 0;
	pthread_mutex_lock(&a->lock);
	for (uint32_t i = 0; i < a->n; i++)
		n += a->pages[i].holders && a->pages[i].owner == owner;
	pthread_mutex_unlock(&a->lock);
	return n;
}

/* One head's positions [first, end) of a page. */
static void wipe_head(const struct hs_page_form *f, uint8_t *head, uint32_t first, uint32_t end)
{
	size_t row = HS_ROUND16(f->head_dim) * f->each;
	for (uint32_t at = first; at < end; at++)
		for (uint32_t c = 0; c < f->head_dim; c++)
			explicit_bzero(head + (at / 16 * f->head_dim * 16 + 16 * c + at % 16) * f->each, f->each);
	explicit_bzero(head + f->values + first * row, (end - first) * row);
	for (uint32_t b = 0; b < f->blocks && f->q8; b++) {
		size_t at = (b * HS_PAGE_POSITIONS + first) * sizeof(float);
		explicit_bzero(head + f->key_scales + at, (end - first) * sizeof(float));
		explicit_bzero(head + f->value_scales + at, (end - first) * sizeof(float));
	}
}

/* Positions [first, end) of a page. */
static void wipe_part(const struct hs_page_form *f, uint8_t *page, uint32_t first, uint32_t end)
{
	for (uint32_t i = 0; i < f->n_layers * f->n_heads; i++)
		wipe_head(f, page + i * f->head, first, end);
}

/* The first n positions: what lies behind is not another's to see. */
static void copy_part(const struct hs_page_form *f, uint8_t *to, const uint8_t *from, uint32_t n)
{
	memcpy(to, from, f->page);
	if (n < HS_PAGE_POSITIONS)
		wipe_part(f, to, n, HS_PAGE_POSITIONS);
}

/* `page` is held once more, where it belongs to whom `own` belongs. */
static bool hold(struct hs_kv *a, struct page *page, const struct page *own)
{
	pthread_mutex_lock(&a->lock);
	bool same = page->owner == own->owner;
	page->holders += same;
	pthread_mutex_unlock(&a->lock);
	return same;
}

void hs_kv_copy(struct hs_kv *a, uint8_t **to, uint8_t *const *from, uint32_t n)
{
	for (uint32_t at = 0, i = 0; at < n; at += HS_PAGE_POSITIONS, i++) {
		uint32_t count = HS_MIN(n - at, HS_PAGE_POSITIONS);
		if (count == HS_PAGE_POSITIONS && hold(a, page_at(a, from[i]), page_at(a, to[i]))) {
			hs_kv_give(a, &to[i], 1);
			to[i] = from[i];
		} else {
			copy_part(&a->form, to[i], from[i], count);
		}
	}
}

static bool is_shared(struct hs_kv *a, const uint8_t *memory, uint64_t *ret_owner)
{
	pthread_mutex_lock(&a->lock);
	const struct page *page = page_at(a, memory);
	bool yes = page->holders > 1;
	*ret_owner = page->owner;
	pthread_mutex_unlock(&a->lock);
	return yes;
}

int hs_kv_wipe(struct hs_kv *a, uint8_t **pages, uint32_t from, uint32_t to)
{
	for (uint32_t at = from, end; at < to; at = end) {
		uint32_t i = at / HS_PAGE_POSITIONS, first = at % HS_PAGE_POSITIONS;
		uint64_t owner;
		uint8_t *own;
		end = HS_MIN((i + 1) * HS_PAGE_POSITIONS, to);
		if (!is_shared(a, pages[i], &owner)) {
			wipe_part(&a->form, pages[i], first, first + (end - at));
			continue;
		}
		int rc = hs_kv_take(a, 1, &own);
		if (rc < 0)
			return rc;
		hs_kv_own(a, &own, 1, owner);
		if (first)
			copy_part(&a->form, own, pages[i], first);
		hs_kv_give(a, &pages[i], 1);
		pages[i] = own;
	}
	return 0;
}
