/*
 * Decoding: an answer token by token, several answers in one forward pass, and drafts from an answer's own context that a
 * pass confirms (inference/lookup.h). What is chosen does not depend on drafts or on neighbours: a draft only decides how
 * many tokens' logits a pass computes.
 *
 *   init -> pick, choose -> (true: pick, choose again) -> advance -> pick, choose ..
 *
 * Who says before an advance how it will pick (hs_decoding_expect) lets the device choose where it can: then no logits come back
 * from it.
 */
#ifndef HISHO_INFERENCE_DECODING_H
#define HISHO_INFERENCE_DECODING_H

#include "inference/engine.h"

struct hs_decoding {
	struct hs_sequence *sequence; /* the caller's */
	hs_tok_id *ids;               /* (count of room) prompt and answer so far */
	size_t count, room;
	/* The last pass: what it appended, the logits after each, and which of these stand now. */
	hs_tok_id step[HS_FORWARD_LOGITS_MAX];
	const float *rows[HS_FORWARD_LOGITS_MAX]; /* NULL: choices says what comes after it */
	struct hs_choice choices[HS_FORWARD_LOGITS_MAX];
	struct hs_choice expected; /* n_ids 0: nothing */
	uint32_t n_step, row;
	uint32_t draft_most; /* 0: no drafts */
	uint32_t n_passes, n_drafted, n_confirmed;
};

/*
 * sequence holds the n prompt ids, logits are of the last one; at most max_tokens more are chosen, and the sequence has room
 * for them. -ENOMEM.
 */
int hs_decoding_init(struct hs_decoding *d, struct hs_sequence *sequence, const hs_tok_id *prompt, size_t n, uint32_t max_tokens,
		     const float *logits, bool drafts) HS_MUST_CHECK;
void hs_decoding_finish(struct hs_decoding *d); /* wipes; of a zeroed one nothing is done */

/* (n_vocab) to choose the next token from, where nothing was expected. Not between a choose that returned false and an advance.
 */
const float *hs_decoding_logits(const struct hs_decoding *d);

/*
 * The next pick will be by this sampler, of ids below n_ids that `allowed` has: it stays valid until then. Without a mask later
 * picks are by the same sampler, as it will be then.
 */
void hs_decoding_expect(struct hs_decoding *d, const struct hs_sampler *s, uint32_t n_ids, const uint32_t *allowed);

/* What hs_sample says of the logits that stand: here, or on the device as was expected. */
hs_tok_id hs_decoding_pick(const struct hs_decoding *d, struct hs_sampler *s, uint32_t n_ids, const uint32_t *allowed);

/* What hs_logprob says of the id that was picked, of a vocabulary of n. */
float hs_decoding_logprob(const struct hs_decoding *d, uint32_t n, hs_tok_id id);

/* The next token is id. True where its logits stand already; otherwise an advance comes next. */
bool hs_decoding_choose(struct hs_decoding *d, hs_tok_id id);

/* One pass for n decodings of one model, at most HS_FORWARD_STEPS_MAX. On an error all are as before; as hs_forward. */
int hs_decoding_advance(struct hs_decoding *const *list, uint32_t n, hs_yield_fn yield, void *arg) HS_MUST_CHECK;

#endif
