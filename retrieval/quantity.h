/*
 * Inside this room: the numbers of a text, with unit and comparator, in a form that compares. Pure, over normalised UTF-8.
 *
 * Eras become western years, 午後 becomes 24 hours, 3万5千 becomes 35000, 2024/4/1 becomes 年, 月 and 日. Units that mean the
 * same are one unit (％ and パーセント, 名 and 人); a unit that the table does not know is its first character.
 */
#ifndef HISHO_RETRIEVAL_QUANTITY_H
#define HISHO_RETRIEVAL_QUANTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

enum hs_compare {
	HS_COMPARE_NONE = 0,
	HS_COMPARE_GE, /* 以上, から, 以降, 最低 */
	HS_COMPARE_GT, /* 超, を超える, を上回る */
	HS_COMPARE_LE, /* 以下, 以内, まで, 以前, 最大 */
	HS_COMPARE_LT, /* 未満, を下回る */
	HS_COMPARE_BEFORE, /* 3日前 */
	HS_COMPARE_AFTER,  /* 3日後 */
};

struct hs_quantity {
	uint64_t value; /* thousandths; longer numbers: a hash of their digits */
	uint32_t unit;  /* 0: none */
	enum hs_compare compare;
	uint32_t start, end; /* bytes of the normalised text, unit included */
};

struct hs_quantities { /* zeroed, then owned by the caller */
	struct hs_quantity *items;
	size_t count, cap;
};

int hs_quantities_find(const char *text, size_t n, struct hs_quantities *ret) HS_MUST_CHECK; /* appends; 0 or -ENOMEM */
int hs_quantities_push(struct hs_quantities *q, struct hs_quantity x) HS_MUST_CHECK;
void hs_quantities_finish(struct hs_quantities *q);

/* The unit that a normalised question asks for: 何人, 何年, 何メートル; 年 for いつ. 0: none, or any. */
uint32_t hs_unit_asked(const char *text, size_t n);

/* Do two units measure the same: 日 and 週, m and km, 円 and ドル? No unit may be any. */
bool hs_same_dimension(uint32_t a, uint32_t b);

/* 令和, 平成 ...: part of a date, which is compared as a number. */
bool hs_era_name(const char *s, size_t n);

#endif
