/*
 * Who has which page of keys and values: what a backend's arena knows of its pages, whatever memory they lie in. A page is free,
 * or one or several sequences hold it, all of one owner. From any thread; in terms of a page's number.
 */
#ifndef HISHO_INFERENCE_PAGE_BOOK_H
#define HISHO_INFERENCE_PAGE_BOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

struct hs_page_book;

int hs_page_book_create(uint32_t n, struct hs_page_book **ret) HS_MUST_CHECK; /* all are free. -ENOMEM */
void hs_page_book_destroy(struct hs_page_book *b);                            /* takes NULL */

/* n pages, each with one holder and no owner yet: ret (n). -ENOMEM where so many are not free: then none is taken. */
int hs_page_book_take(struct hs_page_book *b, uint32_t n, uint32_t *ret) HS_MUST_CHECK;
void hs_page_book_own(struct hs_page_book *b, uint32_t page, uint64_t owner);

/* One holder less. True: it was the last, and nobody gets the page before its memory is wiped and it is given back. */
bool hs_page_book_let_go(struct hs_page_book *b, uint32_t page) HS_MUST_CHECK;
/* wiped: false where it could not be: then nobody gets it again. */
void hs_page_book_give_back(struct hs_page_book *b, uint32_t page, bool wiped);

/* A holder more, where the page belongs to whom `own` belongs; false, and none more, where it does not. */
bool hs_page_book_share(struct hs_page_book *b, uint32_t page, uint32_t own) HS_MUST_CHECK;
/* Does more than one hold it? */
bool hs_page_book_is_shared(struct hs_page_book *b, uint32_t page, uint64_t *ret_owner);
bool hs_page_book_is_held(struct hs_page_book *b, uint32_t page);

uint32_t hs_page_book_used(struct hs_page_book *b); /* a page that several hold is one; until it was given back */
uint32_t hs_page_book_of(struct hs_page_book *b, uint64_t owner);

#endif
