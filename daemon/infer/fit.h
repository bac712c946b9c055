/*
 * From segments to one prompt of tokens. The model's chat template writes the prompt around them; what comes out of it is
 * tokenised by where it came from: special tokens are read in the template's own text only, each segment is tokenised apart,
 * so that data can neither make a special token nor melt into the instructions around it. What does not fit the budget is
 * dropped whole, largest priority number first. Pure logic over a tokeniser.
 */
#ifndef HISHO_DAEMON_INFER_FIT_H
#define HISHO_DAEMON_INFER_FIT_H

#include "daemon/messages.h"
#include "inference/template/chat.h"
#include "inference/template/harmony.h"
#include "inference/tok/marks.h"
#include "inference/tok/tokenizer.h"

#define HS_CHAT_ENDS_MAX 16u

struct hs_chat { /* how a model is talked to */
	struct hs_chat_form *form;
	struct hs_tok_marks *marks;
	hs_tok_id bos; /* stands first even where the template does not write it; HS_TOK_NONE: as the template says */
	hs_tok_id ends[HS_CHAT_ENDS_MAX]; /* a turn is over where the model writes one of them */
	size_t n_ends;
	bool channels; /* answers in Harmony's channels */
	hs_tok_id harmony[HS_HARMONY_N_MARKS];
	hs_tok_id think, think_end; /* HS_TOK_NONE where the vocabulary has no such marks */
	struct hs_err notice;       /* num is set where a form of ours stands in for a missing or broken template */
};

/*
 * From a model's own template (n 0: it carries none). add_bos: what the file says of prompts. A missing template is replaced
 * by a form of ours; so is one that cannot be used, where the vocabulary's marks tell which form the model knows; otherwise
 * it fails as hs_chat_form_create does.
 */
int hs_chat_init(struct hs_chat *c, const struct hs_tokenizer *t, const char *template, size_t n, bool add_bos,
		 struct hs_err *err) HS_MUST_CHECK;
void hs_chat_finish(struct hs_chat *c);

/*
 * Append the prompt to ids, the assistant's turn begun; kept[i] says which segments are in it. -EMSGSIZE
 * "model.prompt_too_long" where those of priority 0 alone exceed the budget; -EILSEQ where a text is not UTF-8; -ENOMEM;
 * what hs_chat_form_render fails with.
 */
int hs_fit(const struct hs_chat *c, const struct hs_tokenizer *t, const struct hs_msg_generate *ask, uint32_t budget,
	   const struct tm *now, struct hs_tok_ids *ids, uint8_t kept[static HS_MSG_SEGMENTS_MAX],
	   struct hs_err *err) HS_MUST_CHECK;

/* How far the prompt that was fitted to `kept` can be used again: its leading tokens */
struct hs_fit_scopes {
	uint32_t shared; /* that hold no data */
	uint32_t user;   /* that the cache key covers; at least `shared` */
};
int hs_fit_scopes(const struct hs_chat *c, const struct hs_tokenizer *t, const struct hs_msg_generate *ask, const struct tm *now,
		  const uint8_t kept[static HS_MSG_SEGMENTS_MAX], const struct hs_tok_ids *prompt,
		  struct hs_fit_scopes *ret) HS_MUST_CHECK;

/* What of an answer is shown, token by token: not what the model thinks aside, be it in channels or between marks. */
struct hs_shown {
	struct hs_harmony harmony;
	bool thinks;
};

/* prompt: that was fitted; it may have begun a thought. */
void hs_shown_begin(struct hs_shown *s, const struct hs_chat *c, const struct hs_tok_ids *prompt);

/* A token came, its text told by hs_shown_text before. True: the turn is over. */
bool hs_shown_token(struct hs_shown *s, const struct hs_chat *c, const struct hs_tokenizer *t, hs_tok_id id);
bool hs_shown_text(struct hs_shown *s, const struct hs_chat *c, const void *text, size_t n); /* may it be released? */

#endif
