#include "inference/cpu/kv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "inference/model/page_book.h"

struct hs_kv {
	struct hs_page_form form;
	uint8_t *pool;
	uint32_t n;
	struct hs_page_book *book;
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
	a->form = *form;
	int rc = plan(form, context, &a->n, err);
	if (rc == 0) {
		void *pool =
		    mmap(NULL, a->n * form->page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		a->pool = pool == MAP_FAILED ? NULL : pool;
		if (!a->pool || hs_page_book_create(a->n, &a->book) < 0)
			rc = hs_fail_errno(err, -ENOMEM, "model.load", "keys and values");
	}
	if (rc < 0) {
		hs_kv_destroy(a);
		return rc;
	}
	*ret = a;
	return 0;
}

void hs_kv_destroy(struct hs_kv *a)
{
	if (!a)
		return;
	for (uint32_t i = 0; a->book && i < a->n; i++)
		if (hs_page_book_is_held(a->book, i)) /* what is free was wiped */
			explicit_bzero(a->pool + i * a->form.page, a->form.page);
	if (a->pool)
		(void)munmap(a->pool, a->n * a->form.page); /* it is ours */
	hs_page_book_destroy(a->book);
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

static uint32_t number_of(const struct hs_kv *a, const uint8_t *memory)
{
	size_t i = (size_t)(memory - a->pool) / a->form.page;
	hs_assert(memory >= a->pool && i < a->n);
	return (uint32_t)i;
}

int hs_kv_take(struct hs_kv *a, uint32_t n, uint8_t **ret)
{
	uint32_t taken[HS_KV_POSITIONS_MAX / HS_PAGE_POSITIONS];
	int rc = n <= a->n ? hs_page_book_take(a->book, n, taken) : -ENOMEM;
	for (uint32_t i = 0; i < n && rc == 0; i++)
		ret[i] = a->pool + taken[i] * a->form.page;
	return rc;
}

void hs_kv_own(struct hs_kv *a, uint8_t *const *pages, uint32_t n, uint64_t owner)
{
	for (uint32_t i = 0; i < n; i++)
		hs_page_book_own(a->book, number_of(a, pages[i]), owner);
}

void hs_kv_give(struct hs_kv *a, uint8_t *const *pages, uint32_t n)
{
	for (uint32_t i = n; i-- > 0;) {
		uint32_t page = number_of(a, pages[i]);
		if (!hs_page_book_let_go(a->book, page))
			continue;
		explicit_bzero(pages[i], a->form.page);
		(void)madvise(pages[i], a->form.page, MADV_DONTNEED); /* only thrift: it reads zero either way */
		hs_page_book_give_back(a->book, page, true);
	}
}

uint32_t hs_kv_used(struct hs_kv *a)
{
	return hs_page_book_used(a->book);
}

uint32_t hs_kv_of(struct hs_kv *a, uint64_t owner)
{
	return hs_page_book_of(a->book, owner);
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

void hs_kv_copy(struct hs_kv *a, uint8_t **to, uint8_t *const *from, uint32_t n)
{
	for (uint32_t at = 0, i = 0; at < n; at += HS_PAGE_POSITIONS, i++) {
		uint32_t count = HS_MIN(n - at, HS_PAGE_POSITIONS);
		if (count == HS_PAGE_POSITIONS && hs_page_book_share(a->book, number_of(a, from[i]), number_of(a, to[i]))) {
			hs_kv_give(a, &to[i], 1);
			to[i] = from[i];
		} else {
			copy_part(&a->form, to[i], from[i], count);
		}
	}
}

int hs_kv_wipe(struct hs_kv *a, uint8_t **pages, uint32_t from, uint32_t to)
{
	for (uint32_t at = from, end; at < to; at = end) {
		uint32_t i = at / HS_PAGE_POSITIONS, first = at % HS_PAGE_POSITIONS;
		uint64_t owner;
		uint8_t *own;
		end = HS_MIN((i + 1) * HS_PAGE_POSITIONS, to);
		if (!hs_page_book_is_shared(a->book, number_of(a, pages[i]), &owner)) {
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
