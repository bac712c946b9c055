/*
 * From segments to one prompt of tokens: each segment is tokenised apart, so that data can neither make a special token nor
 * melt into the instructions around it; what does not fit the budget is dropped whole, largest priority number first. Pure
 * logic over a tokeniser.
 */
#ifndef HISHO_DAEMON_INFER_FIT_H
#define HISHO_DAEMON_INFER_FIT_H

#include "daemon/messages.h"
#include "inference/tok/tokenizer.h"

struct hs_chat { /* how a model marks turns: <begin>role\ncontent<end>\n */
	hs_tok_id begin, end;
};

/* From a model's own template text. -ENOTSUP naming the template's beginning where it is not one that is known. */
int hs_chat_init(struct hs_chat *c, const struct hs_tokenizer *t, const char *template, size_t n,
		 struct hs_err *err) HS_MUST_CHECK;

/*
 * Append the prompt to ids, the assistant's turn begun; kept[i] says which segments are in it. -EMSGSIZE
 * "model.prompt_too_long" where those of priority 0 alone exceed the budget; -EILSEQ where a text is not UTF-8; -ENOMEM.
 */
int hs_fit(const struct hs_chat *c, const struct hs_tokenizer *t, const struct hs_msg_generate *ask, uint32_t budget,
	   struct hs_tok_ids *ids, uint8_t kept[static HS_MSG_SEGMENTS_MAX], struct hs_err *err) HS_MUST_CHECK;

#endif
