/*
 * The Harmony format of gpt-oss and of models that follow it (https://cookbook.openai.com/articles/openai-harmony): the
 * assistant's turn is a sequence of messages, each with a header that names its channel,
 *
 *   <|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>final<|message|>...<|return|>
 *
 * Only the final channel is meant for people: analysis may say what the model was told not to. The parser sees special
 * tokens apart from text, so that text that merely spells a mark changes nothing; whatever it does not understand stays
 * hidden.
 */
#ifndef HISHO_INFERENCE_TEMPLATE_HARMONY_H
#define HISHO_INFERENCE_TEMPLATE_HARMONY_H

#include "inference/tok/tokenizer.h"

enum hs_harmony_mark {
	HS_HARMONY_START,
	HS_HARMONY_CHANNEL,
	HS_HARMONY_MESSAGE,
	HS_HARMONY_END,
	HS_HARMONY_RETURN,
	HS_HARMONY_CALL,
	HS_HARMONY_CONSTRAIN,
	HS_HARMONY_N_MARKS
};

enum hs_harmony_channel {
	HS_HARMONY_NONE, /* between messages, in a header, or a channel that is not known */
	HS_HARMONY_ANALYSIS,
	HS_HARMONY_COMMENTARY, /* or anything that is addressed to a tool */
	HS_HARMONY_FINAL,
};

#define HS_HARMONY_HEADER_MAX 128u /* bytes of a header; a longer one names no channel */

struct hs_harmony { /* zeroed: the prompt has begun the assistant's turn */
	enum { HS_HARMONY_IN_ROLE, HS_HARMONY_IN_CHANNEL, HS_HARMONY_IN_BODY, HS_HARMONY_BETWEEN } state;
	enum hs_harmony_channel channel; /* of the body that is being read */
	bool to_tool, later;             /* later: not the first message, whose role the prompt has written */
	char header[HS_HARMONY_HEADER_MAX];
	size_t len;
};

/* The ids of the marks. False where the vocabulary lacks one of those that every message needs. */
bool hs_harmony_find(const struct hs_tokenizer *t, hs_tok_id ret[static HS_HARMONY_N_MARKS]);

/* A special token came. True: the turn is over. */
bool hs_harmony_push_mark(struct hs_harmony *h, enum hs_harmony_mark mark);
/* Text came. True: it belongs to the final channel, and may be released. */
bool hs_harmony_push_text(struct hs_harmony *h, const char *s, size_t n);

#endif
