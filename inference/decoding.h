/*
 * Decoding: an answer token by token, several answers in one forward pass, and drafts from an answer's own context that a
 * pass confirms (inference/lookup.h). What is chosen does not depend on drafts or on neighbours: a draft only decides how
 * many tokens' logits a pass computes.
 *
 *   init -> logits, choose -> (true: logits, choose again) -> advance -> logits, choose ..
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
	const float *rows[HS_FORWARD_LOGITS_MAX];
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

/* (n_vocab) to choose the next token from. Not between a choose that returned false and an advance. */
const float *hs_decoding_logits(const struct hs_decoding *d);

/* The next token is id. True where its logits stand already; otherwise an advance comes next. */
bool hs_decoding_choose(struct hs_decoding *d, hs_tok_id id);

/* One pass for n decodings of one model, at most HS_FORWARD_STEPS_MAX. On an error all are as before; as hs_forward. */
int hs_decoding_advance(struct hs_decoding *const *list, uint32_t n, hs_yield_fn yield, void *arg) HS_MUST_CHECK;

#endif
