/* The structure that Japanese regulations carry in their words: 第1章 総則, 第24条（宿泊費）, ２　前項の…, 附則. Pure. */
#ifndef HISHO_INGEST_OUTLINE_H
#define HISHO_INGEST_OUTLINE_H

#include <stdbool.h>
#include <stddef.h>

enum hs_outline { /* in order of rank: a lower one stands above a higher one */
	HS_OUTLINE_NONE = 0,
	HS_OUTLINE_PART = 1,       /* 編 */
	HS_OUTLINE_CHAPTER = 2,    /* 章, 附則 */
	HS_OUTLINE_SECTION = 3,    /* 節 */
	HS_OUTLINE_SUBSECTION = 4, /* 款 */
	HS_OUTLINE_DIVISION = 5,   /* 目 */
	HS_OUTLINE_ARTICLE = 6,    /* 条 */
	HS_OUTLINE_PARAGRAPH = 7,  /* 項 inside an article: "２　", "2. ", "②" */
};

/*
 * What the line (n bytes of UTF-8, without its end) starts. *ret_label, where not NULL: the bytes that name it: the whole
 * line of a heading, "第24条（宿泊費）" of an article. A sentence that begins with 第24条に is none.
 */
enum hs_outline hs_outline_line(const char *s, size_t n, size_t *ret_label);

/* Is the line a caption in brackets that stands alone, "（目的）", as laws put it above the article? */
bool hs_outline_caption(const char *s, size_t n);

#endif
