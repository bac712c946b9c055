/*
 * The prompt of an answer, as ordered segments: instructions that never change first (they may be cached for all), then
 * the passages, the best one last and the last to be dropped, then the question. Instructions and document text are separate
 * segments, and infer tokenises each apart: no document can speak as the system.
 */
#ifndef HISHO_DAEMON_TENANT_PROMPT_H
#define HISHO_DAEMON_TENANT_PROMPT_H

#include "base/arena.h"
#include "daemon/messages.h"
#include "daemon/tenant/chat_request.h"

struct hs_prompt_passage { /* chosen sentences of one document, in reading order */
	const char *title, *context;
	const char *text;
	size_t len;
};

/* The index of the segment of a passage, one of n, in what hs_prompt_build made: what KEPT says about it. */
uint32_t hs_prompt_segment_of(uint32_t passage, uint32_t n);

/* Strings live in the arena or are the caller's. passages: best first, at most HS_PROMPT_PASSAGES_MAX. 0, -ENOMEM. */
#define HS_PROMPT_PASSAGES_MAX 32
int hs_prompt_build(struct hs_arena *arena, const struct hs_chat_request *request, const struct hs_prompt_passage *passages,
		    uint32_t n, struct hs_msg_generate *ret) HS_MUST_CHECK;

#endif
