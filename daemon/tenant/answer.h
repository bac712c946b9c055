/*
 * An answer as it grows: the evidence that it may rest on, text that a model (or the documents themselves) offers, and the
 * sentences that were released. Pure logic: knows no process, no clock and no channel. One thread at a time.
 */
#ifndef HISHO_DAEMON_TENANT_ANSWER_H
#define HISHO_DAEMON_TENANT_ANSWER_H

#include "base/arena.h"
#include "daemon/tenant/answerable.h"
#include "daemon/tenant/chat_events.h"
#include "daemon/tenant/prompt.h"
#include "retrieval/check.h"
#include "retrieval/evidence.h"
#include "text/analyze.h"

#define HS_ANSWER_TEXT_MAX (64u * 1024u)
#define HS_ANSWER_CITATIONS_MAX 64
#define HS_ANSWER_PARTS_MAX 256 /* sentences of the texts of a JSON answer */
#define HS_ANSWER_QUOTES_MAX 2 /* sentences that answer in the documents' own words */

struct hs_answer {
	struct hs_arena *arena;  /* the request's */
	const char *question;    /* lives as long as the answer */
	const struct hs_results *results;
	float odds;              /* that an answer is there: from what was found */
	struct hs_check *check;  /* made for the first sentence */

	struct hs_cited *evidence; /* numbered from 1, best first */
	struct hs_prompt_passage *passages; /* the same, as the prompt shows them: the rows of a table read out */
	const char **above; /* of each, what stands above it: for the check */
	size_t n_evidence;

	struct hs_buf offered; /* text that is not judged yet */
	size_t sentence_start, sentence_end; /* of offered: the sentence under judgement */
	struct hs_buf released;
	struct hs_cited citations[HS_ANSWER_CITATIONS_MAX];
	struct hs_answer_span {
		uint32_t at, to; /* bytes of released */
	} spans[HS_ANSWER_CITATIONS_MAX]; /* of the sentence that each citation stands behind, its mark included */
	size_t n_citations;
	bool quotable; /* the documents' own sentences may answer */
	bool declined; /* the model itself says that the passages do not say */
	struct hs_quote {
		size_t evidence;
		uint32_t start, end; /* bytes of the canonical text */
		const char *text;
	} quotes[HS_ANSWER_QUOTES_MAX];
	size_t n_quotes, next_quote;
	enum hs_outcome outcome;
	/* An answer in JSON: judged when it is whole, its texts one by one, and released whole or not at all. */
	bool json, parsed, withheld, on_topic; /* on_topic: one of its texts answers the question */
	struct hs_buf leaves;                  /* its texts' sentences */
	struct hs_answer_span *parts;          /* of them; (n_parts), in the arena */
	size_t n_parts, next_part;
};

struct hs_verdict { /* of one sentence */
	bool supported;
	enum hs_check_why why;
	bool answers;         /* it can be an answer to the question: hs_check_result */
	size_t evidence;      /* index of what supports it */
	uint32_t start, end;  /* the cited bytes of the canonical text */
	const char *version;  /* of the evidence */
	float overlap, held;  /* share of the sentence's words, and of the question's idf, that it holds */
};

/* Characters of evidence that keep a prompt's prefill within its time, at that many tokens a second (0: not known). */
size_t hs_answer_budget(float prefill_rate);

/* Group the chosen sentences into numbered passages. Results and evidence must outlive the answer. */
int hs_answer_begin(struct hs_answer *a, struct hs_arena *arena, const char *question, const struct hs_results *results,
		    const struct hs_evidence *evidence) HS_MUST_CHECK;
void hs_answer_finish(struct hs_answer *a);

/* The passages as the prompt takes them: out holds HS_PROMPT_PASSAGES_MAX. */
void hs_answer_passages(const struct hs_answer *a, struct hs_prompt_passage *out);

/* Forget the evidence that did not enter the prompt, and number what is left. */
void hs_answer_keep(struct hs_answer *a, const bool *entered);

int hs_answer_push(struct hs_answer *a, const char *text, size_t len) HS_MUST_CHECK;

/* Offer the best sentences of the evidence themselves, where the answer is quotable. */
int hs_answer_quote(struct hs_answer *a, const struct hs_evidence *evidence) HS_MUST_CHECK;

/*
 * The model has written all of it, and nothing of it can be shown: offer the best sentence of the evidence, where the answer is
 * there surely and the model did not decline.
 */
int hs_answer_fall_back(struct hs_answer *a, const struct hs_evidence *evidence) HS_MUST_CHECK;

/* Is there a sentence to judge? `last`: what is left counts as one though its end is missing. */
bool hs_answer_next(struct hs_answer *a, bool last);

/* Judge the sentence: is it supported by the evidence, and where? */
int hs_answer_check(struct hs_answer *a, struct hs_analyzer *analyzer, struct hs_verdict *ret) HS_MUST_CHECK;

/* Act on the verdict. *ret_text: what is released, with its mark, or NULL; *ret_citation with it. Both live in the answer. */
int hs_answer_take(struct hs_answer *a, const struct hs_verdict *v, const char **ret_text,
		   const struct hs_cited **ret_citation) HS_MUST_CHECK;

/* The JSON is whole, and no text of it is left to judge: it is released, or the answer is none. */
int hs_answer_end_json(struct hs_answer *a) HS_MUST_CHECK;

/* All that was released, terminated. */
const char *hs_answer_text(const struct hs_answer *a);

/* BLAKE2b-256 of what was released. */
void hs_answer_hash(const struct hs_answer *a, uint8_t out[static 32]);

#endif
