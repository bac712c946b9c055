/*
 * The check of an answer, sentence by sentence: does a passage of the evidence say this?
 *
 * A small model copies most of the time, and errs in small things: a number, a date, a unit, a name, a "not", 以上 for 未満.
 * A sentence is supported by a run of sentences of one passage that holds enough of its words, all of its numbers with their
 * units and comparators, all of its names, and does not say the opposite. Eras and western years, half and full width,
 * 午後3時 and 15時 are the same. What the sentence takes from the question is not held against it, but names and numbers
 * must not stand where the passage has others. Each is tied to its row, column, clause and role (ties.h). This is a filter
 * of form, not understanding.
 *
 * A check is made once a question over its evidence, and used by one thread. It copies what it keeps.
 */
#ifndef HISHO_RETRIEVAL_CHECK_H
#define HISHO_RETRIEVAL_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "text/analyze.h"

#define HS_CHECK_PASSAGES_MAX 256
#define HS_CHECK_PASSAGE_MAX (256u * 1024u) /* bytes */
#define HS_CHECK_SENTENCE_MAX 4096          /* bytes */

struct hs_check;

struct hs_check_passage { /* a range of canonical text; UTF-8 */
	const char *text;
	size_t len;
	const char *context; /* title and headings above it: may supply names and words, is never cited; or NULL */
	size_t context_len;
};

enum hs_check_why {
	HS_CHECK_UNSUPPORTED = 0, /* too little of it stands in any passage */
	HS_CHECK_SUPPORTED,
	HS_CHECK_NUMBER,     /* a number, date or unit that the passage does not have */
	HS_CHECK_COMPARATOR, /* the number is there, its 以上, 未満, まで ... is another */
	HS_CHECK_NAME,       /* a proper noun that the passage does not have */
	HS_CHECK_POLARITY,   /* the passage says the opposite */
	HS_CHECK_TIE,        /* all of it is there, but said of another: another row or column, who and whom exchanged */
	HS_CHECK_EMPTY,      /* no claim in it: no words to look for */
};

struct hs_check_result {
	enum hs_check_why why;
	size_t passage;      /* index of the one that supports it, or came nearest */
	uint32_t start, end; /* bytes within that passage's text: whole sentences */
	float overlap;       /* share of the sentence's words found there, 0..1; stays inside the tenant process */
	/*
	 * False where it cannot answer the question: it brings no word and no number that the question does not have (unless that
	 * asks which of two, or yes or no), or it brings numbers and none of the unit that is asked for (何人, 何年).
	 */
	bool answers;
};

/* question: what was asked, or NULL. -ENOMEM, -EMSGSIZE, -EILSEQ (a text is not UTF-8). */
int hs_check_create(struct hs_analyzer *a, const char *question, size_t question_len, const struct hs_check_passage *passages,
		    size_t n_passages, struct hs_check **ret) HS_MUST_CHECK;
void hs_check_destroy(struct hs_check *c); /* takes NULL; wipes */

/* Judge one sentence of the answer. Errors as hs_check_create. */
int hs_check_sentence(struct hs_check *c, const char *text, size_t len, struct hs_check_result *ret) HS_MUST_CHECK;

#endif
