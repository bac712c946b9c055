/*
 * Evidence: from passages to the sentences that a small model can use, under a budget of characters.
 *
 * A sentence is worth the share of the question's idf that its bigrams hold, plus a part of its neighbours', less a fifth for
 * each passage that ranks before its own: the search knows more than the words. Where the question asks for a number or a time
 * (何人, 何年, いつ), a sentence without one is worth less. The best ones are taken until the budget is spent, and are given back
 * in reading order within each passage, passages best first. Near copies of a sentence are taken once.
 *
 * A row of a table (cells joined by tabs) says what it says only under its header row: it is weighed together with it, carries
 * it along, and the header row is not taken for itself.
 */
#ifndef HISHO_RETRIEVAL_EVIDENCE_H
#define HISHO_RETRIEVAL_EVIDENCE_H

#include "retrieval/search.h"

#define HS_EVIDENCE_SENTENCES_MAX 4096 /* looked at in one call */
#define HS_EVIDENCE_COVERAGE 300       /* so that coverage means the same on a fast machine with a large budget */

struct hs_evidence_sentence {
	uint32_t hit;        /* index into the results */
	uint32_t start, end; /* bytes of the canonical text */
	const char *text;    /* into the hit's text; end - start bytes */
	const char *header;  /* of a table's row: its header row, in the hit's text or context; NULL elsewhere */
	uint32_t header_len;
	float worth;         /* stays inside the tenant process */
};

struct hs_evidence {
	struct hs_evidence_sentence *items;
	size_t count;
	size_t characters; /* taken */
	float coverage;    /* share of the question's idf that the best of them hold together, up to HS_EVIDENCE_COVERAGE characters */
	float words; /* share of the question's words (runs of one script) that the same sentences and their headings spell */
	float lead;  /* by how much of the idf the first passage holds more than any other that does not repeat it */
};

struct hs_evidence_text {
	const char *s;
	size_t len;
};

/* question: as it was searched for. budget: characters (code points); at least one sentence is taken where there is any. Results
 * must outlive ret. */
int hs_evidence_select(const struct hs_results *results, const char *question, size_t question_len, size_t budget,
		       struct hs_evidence *ret) HS_MUST_CHECK;

/* The share of the question's idf that texts hold together: a cited sentence, say, and what stands above it. */
int hs_evidence_held(const struct hs_results *results, const struct hs_evidence_text *texts, size_t n, float *ret) HS_MUST_CHECK;
void hs_evidence_finish(struct hs_evidence *e);

#endif
