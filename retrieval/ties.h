/*
 * Inside this room: is a thing that a sentence names said of what the sentence says it of? A number may stand in the passage and
 * belong to another row, another column, another clause; who and whom may be exchanged.
 *
 * Each number, name and noun of the sentence is looked for in the passage, and what stands around it there is compared with
 * what stands around it in the sentence: words by their side and distance, the case particle; in a table the words of the row's
 * and the column's header. Where another thing of its kind fits clearly better into that place, the sentence has put the wrong
 * one there.
 */
#ifndef HISHO_RETRIEVAL_TIES_H
#define HISHO_RETRIEVAL_TIES_H

#include "retrieval/claim.h"

struct hs_scene { /* a passage, as the ties see it */
	const struct hs_claim *claims;
	size_t n;
	size_t from, to;                 /* those that are to support the sentence, exclusive */
	const struct hs_claim **headers; /* of each claim that is a row: its header row, itself where it is one; or NULL */
};

/*
 * By how many cells a row lies to the right of its header: 1 where the header has one fewer, because its first cell is empty and
 * white space at the ends of a line is trimmed.
 */
static inline size_t hs_row_shift(const struct hs_claim *row, const struct hs_claim *header)
{
	return header->n_cells + 1 == row->n_cells ? 1 : 0;
}

bool hs_tied(const struct hs_claim *question, const struct hs_claim *s, const struct hs_scene *scene);

#endif
