/*
 * From the messages of a conversation to a model's prompt: the model's own chat template, or one of ours for models that
 * carry none. A form is tried out when it is made, so that a template that cannot do its work is refused at load and not at
 * the first question. Immutable afterwards, shared by threads.
 */
#ifndef HISHO_INFERENCE_TEMPLATE_CHAT_H
#define HISHO_INFERENCE_TEMPLATE_CHAT_H

#include "inference/template/template.h"
#include "inference/tok/tokenizer.h"

enum hs_chat_role {
	HS_CHAT_SYSTEM,
	HS_CHAT_USER,
	HS_CHAT_ASSISTANT,
};

struct hs_chat_message {
	enum hs_chat_role role;
	const struct hs_template_part *parts; /* sources other than 0 */
	size_t n_parts;
};

struct hs_chat_form;

/* bos, eos: texts of the tokenizer's own marks, "" where it has none; copied. name: of the form in messages; copied. */
int hs_chat_form_create(const char *name, const char *text, size_t n, const char *bos, const char *eos, struct hs_chat_form **ret,
			struct hs_err *err) HS_MUST_CHECK;
void hs_chat_form_destroy(struct hs_chat_form *f); /* takes NULL */
const char *hs_chat_form_name(const struct hs_chat_form *f);
/*
 * What the template writes behind the words of an earlier turn of the assistant, "" where it takes none, and between the
 * last words of the user and the assistant's turn: the marks in them end an answer when the model writes them.
 */
const char *hs_chat_form_turn_end(const struct hs_chat_form *f);
const char *hs_chat_form_turn_begin(const struct hs_chat_form *f);

/*
 * The prompt of the messages, the assistant's turn begun. Where the template takes no system message, its text stands
 * before the first user's. ret->r is the caller's to destroy; the output lives as long as it.
 */
struct hs_chat_prompt {
	struct hs_render *r;
	struct hs_template_output out;
};
int hs_chat_form_render(const struct hs_chat_form *f, const struct hs_chat_message *messages, size_t n, const struct tm *now,
			struct hs_chat_prompt *ret, struct hs_err *err) HS_MUST_CHECK;

/*
 * Ours. A row is for models whose vocabulary has all its marks as special tokens; the last one, which needs none, is the
 * instruction form that most Japanese base models were tuned with.
 */
struct hs_chat_builtin {
	const char *name, *text;
	const char *marks[3]; /* NULL where fewer */
};
extern const struct hs_chat_builtin hs_chat_builtins[];
extern const size_t hs_chat_n_builtins;
/* The first row whose marks the tokeniser has. Never NULL. */
const struct hs_chat_builtin *hs_chat_builtin_for(const struct hs_tokenizer *t);

#endif
