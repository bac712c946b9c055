#include "inference/model/page_book.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define NO_PAGE UINT32_MAX

struct page {
	uint64_t owner;
	uint32_t next;    /* of the free ones */
	uint32_t holders; /* sequences */
};

struct hs_page_book {
	pthread_mutex_t lock; /* guards what follows */
	uint32_t n, first_free, n_free, n_used;
	struct page pages[]; /* (n) */
};

int hs_page_book_create(uint32_t n, struct hs_page_book **ret)
{
	struct hs_page_book *b = calloc(1, sizeof *b + n * sizeof *b->pages);
	if (!b)
		return -ENOMEM;
	(void)pthread_mutex_init(&b->lock, NULL); /* cannot fail with default attributes */
	b->n = b->n_free = n;
	b->first_free = NO_PAGE;
	for (uint32_t i = n; i-- > 0;) { /* the first is taken first */
		b->pages[i].next = b->first_free;
		b->first_free = i;
	}
	*ret = b;
	return 0;
}

void hs_page_book_destroy(struct hs_page_book *b)
{
	if (!b)
		return;
	(void)pthread_mutex_destroy(&b->lock); /* nobody holds it */
	free(b);
}

int hs_page_book_take(struct hs_page_book *b, uint32_t n, uint32_t *ret)
{
	pthread_mutex_lock(&b->lock);
	int rc = n <= b->n_free ? 0 : -ENOMEM;
	for (uint32_t i = 0; i < n && rc == 0; i++) {
		struct page *page = &b->pages[b->first_free];
		hs_assert(page->holders == 0);
		ret[i] = b->first_free;
		b->first_free = page->next;
		*page = (struct page){.holders = 1, .next = NO_PAGE};
	}
	if (rc == 0) {
		b->n_free -= n;
		b->n_used += n;
	}
	pthread_mutex_unlock(&b->lock);
	return rc;
}

void hs_page_book_own(struct hs_page_book *b, uint32_t page, uint64_t owner)
{
	struct page *p = &b->pages[page];
	pthread_mutex_lock(&b->lock);
	hs_assert(p->holders == 1 || p->owner == owner);
	p->owner = owner;
	pthread_mutex_unlock(&b->lock);
}

bool hs_page_book_let_go(struct hs_page_book *b, uint32_t page)
{
	pthread_mutex_lock(&b->lock);
	hs_assert(b->pages[page].holders);
	bool last = --b->pages[page].holders == 0;
	pthread_mutex_unlock(&b->lock);
	return last;
}

void hs_page_book_give_back(struct hs_page_book *b, uint32_t page, bool wiped)
{
	pthread_mutex_lock(&b->lock);
	hs_assert(b->pages[page].holders == 0);
	b->n_used--;
	b->pages[page] = (struct page){.next = b->first_free};
	if (wiped) {
		b->first_free = page;
		b->n_free++;
	}
	pthread_mutex_unlock(&b->lock);
}

bool hs_page_book_share(struct hs_page_book *b, uint32_t page, uint32_t own)
{
	pthread_mutex_lock(&b->lock);
	bool same = b->pages[page].owner == b->pages[own].owner;
	b->pages[page].holders += same;
	pthread_mutex_unlock(&b->lock);
	return same;
}

bool hs_page_book_is_shared(struct hs_page_book *b, uint32_t page, uint64_t *ret_owner)
{
	pthread_mutex_lock(&b->lock);
	bool yes = b->pages[page].holders > 1;
	*ret_owner = b->pages[page].owner;
	pthread_mutex_unlock(&b->lock);
	return yes;
}

bool hs_page_book_is_held(struct hs_page_book *b, uint32_t page)
{
	pthread_mutex_lock(&b->lock);
	bool yes = b->pages[page].holders > 0;
	pthread_mutex_unlock(&b->lock);
	return yes;
}

uint32_t hs_page_book_used(struct hs_page_book *b)
{
	pthread_mutex_lock(&b->lock);
	uint32_t n = b->n_used;
	pthread_mutex_unlock(&b->lock);
	return n;
}

uint32_t hs_page_book_of(struct hs_page_book *b, uint64_t owner)
{
	uint32_t n = 0;
	pthread_mutex_lock(&b->lock);
	for (uint32_t i = 0; i < b->n; i++)
		n += b->pages[i].holders && b->pages[i].owner == owner;
	pthread_mutex_unlock(&b->lock);
	return n;
}
