#include "daemon/infer/fit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_TEXT_MAX 256u   /* bytes of the text of bos and eos */
#define BYTES_A_TOKEN_MAX 64u /* a text longer than this times the budget cannot fit and is not even tokenised */

/* --- the form --- */

static void add_end(struct hs_chat *c, const struct hs_tokenizer *t, hs_tok_id id)
{
	if (!hs_tok_is_special(t, id) || id == c->think || id == c->think_end || c->n_ends == HS_CHAT_ENDS_MAX)
		return;
	for (size_t i = 0; i < c->n_ends; i++)
		if (c->ends[i] == id)
			return;
	c->ends[c->n_ends++] = id;
}

static int add_ends(struct hs_chat *c, const struct hs_tokenizer *t, const char *text)
{
	struct hs_tok_ids ids = {0};
	int rc = hs_tok_marks_encode(c->marks, text, strlen(text), &ids);
	for (size_t i = 0; rc == 0 && i < ids.count; i++)
		add_end(c, t, ids.ids[i]);
	hs_tok_ids_finish(&ids);
	return rc;
}

/* The text of a special token of the tokeniser's, "" where it has none or one that is too long to be one. */
static const char *text_of(const struct hs_tokenizer *t, hs_tok_id id, char out[static TOKEN_TEXT_MAX])
{
	size_t n;
	const char *s = hs_tok_special_text(t, id, &n);
	(void)snprintf(out, TOKEN_TEXT_MAX, "%.*s", s && n < TOKEN_TEXT_MAX ? (int)n : 0, s ? s : ""); /* fits */
	return out;
}

static int make_form(struct hs_chat *c, const struct hs_tokenizer *t, const char *template, size_t n, const char *bos,
		     const char *eos, struct hs_err *err)
{
	const struct hs_chat_builtin *ours = hs_chat_builtin_for(t);
	struct hs_err why = HS_ERR_INIT;
	int rc = 0;
	if (n > 0) {
		rc = hs_chat_form_create("tokenizer.chat_template", template, n, bos, eos, &c->form, &why);
		if (rc == 0)
			return 0;
		if (!ours->marks[0] || rc == -ENOMEM) { /* nothing says that the model knows a form of ours */
			if (err)
				*err = why;
			return rc;
		}
		c->notice = why;
	} else {
		(void)hs_fail(&c->notice, ENODATA, "model.template_ours",
			      HS_N_("the model carries no chat template: one of ours is used"), "%s", ours->name);
	}
	return hs_chat_form_create(ours->name, ours->text, strlen(ours->text), bos, eos, &c->form, err);
}

int hs_chat_init(struct hs_chat *c, const struct hs_tokenizer *t, const char *template, size_t n, bool add_bos,
		 struct hs_err *err)
{
	char bos[TOKEN_TEXT_MAX], eos[TOKEN_TEXT_MAX];
	*c = (struct hs_chat){.bos = add_bos ? hs_tok_bos(t) : HS_TOK_NONE, .notice = HS_ERR_INIT};
	c->think = hs_tok_special(t, "<think>");
	c->think_end = hs_tok_special(t, "</think>");
	int rc = make_form(c, t, template, n, text_of(t, hs_tok_bos(t), bos), text_of(t, hs_tok_eos(t), eos), err);
	if (rc < 0)
		return rc;
	rc = hs_tok_marks_create(t, &c->marks);
	c->channels = hs_harmony_find(t, c->harmony);
	add_end(c, t, hs_tok_eos(t));
	add_end(c, t, hs_tok_bos(t));
	if (rc == 0)
		rc = add_ends(c, t, hs_chat_form_turn_end(c->form));
	if (rc == 0)
		rc = add_ends(c, t, hs_chat_form_turn_begin(c->form));
	if (rc < 0)
		hs_chat_finish(c);
	return rc < 0 ? hs_fail_errno(err, rc, "model.prompt", "tokenizer.chat_template") : 0;
}

void hs_chat_finish(struct hs_chat *c)
{
	hs_chat_form_destroy(c->form);
	hs_tok_marks_destroy(c->marks);
	*c = (struct hs_chat){0};
}

/* --- the prompt --- */

struct part { /* of the list of all segments' tokens */
	size_t from, count;
};

static int push_all(struct hs_tok_ids *ids, const hs_tok_id *more, size_t n)
{
	if (n > ids->cap - ids->count) {
		size_t cap = ids->count + n + HS_MAX(ids->cap, 256u);
		hs_tok_id *larger = reallocarray(ids->ids, cap, sizeof *larger);
		if (!larger)
			return -ENOMEM;
		ids->ids = larger;
		ids->cap = cap;
	}
	if (n)
		memcpy(ids->ids + ids->count, more, n * sizeof *more);
	ids->count += n;
	return 0;
}

/* The kept segments as messages: one each time the role changes. Sources are the segments' numbers from 1. */
static size_t make_messages(const struct hs_msg_generate *ask, const uint8_t *kept, struct hs_template_part *parts,
			    struct hs_chat_message *messages)
{
	static const enum hs_chat_role roles[] = {
	    [HS_SEGMENT_SYSTEM] = HS_CHAT_SYSTEM, [HS_SEGMENT_USER] = HS_CHAT_USER, [HS_SEGMENT_ASSISTANT] = HS_CHAT_ASSISTANT};
	size_t n = 0;
	for (uint32_t i = 0; i < ask->n_segments; i++) {
		const struct hs_segment *s = &ask->segments[i];
		if (!kept[i])
			continue;
		if (n == 0 || messages[n - 1].role != roles[s->role])
			messages[n++] = (struct hs_chat_message){.role = roles[s->role], .parts = &parts[i]};
		struct hs_chat_message *m = &messages[n - 1];
		parts[m->parts - parts + (ptrdiff_t)m->n_parts++] =
		    (struct hs_template_part){s->text.s, s->text.len, (uint16_t)(i + 1)};
	}
	return n;
}

/* A run of the prompt: the template's own, or a segment, whose tokens are there already where it came out whole. */
static int put_run(const struct hs_chat *c, const struct hs_tokenizer *t, const struct hs_msg_generate *ask,
		   const struct part *parts, const struct hs_tok_ids *all, uint16_t source, const char *text, size_t n,
		   struct hs_tok_ids *out)
{
	if (source == 0)
		return hs_tok_marks_encode(c->marks, text, n, out);
	const struct hs_slice *whole = &ask->segments[source - 1].text;
	const struct part *known = &parts[source - 1];
	bool begins = out->count == 0 || hs_tok_is_special(t, out->ids[out->count - 1]);
	if (begins && hs_tok_leads_with_space(t))
		return hs_tok_encode(t, text, n, out);
	if (n == whole->len && memcmp(text, whole->s, n) == 0)
		return push_all(out, all->ids + known->from, known->count);
	return hs_tok_encode_on(t, text, n, out);
}

static int put_prompt(const struct hs_chat *c, const struct hs_tokenizer *t, const struct hs_msg_generate *ask,
		      const struct part *parts, const struct hs_tok_ids *all, const uint8_t *kept, const struct tm *now,
		      struct hs_tok_ids *out, struct hs_err *err)
{
	struct hs_template_part text[HS_MSG_SEGMENTS_MAX];
	struct hs_chat_message messages[HS_MSG_SEGMENTS_MAX];
	struct hs_chat_prompt prompt;
	size_t n = make_messages(ask, kept, text, messages), from = 0;
	int rc = hs_chat_form_render(c->form, messages, n, now, &prompt, err);
	if (rc < 0)
		return rc;
	const struct hs_template_output *o = &prompt.out;
	for (size_t i = 0; rc == 0 && i < o->n_runs; from = o->runs[i++].end)
		rc = put_run(c, t, ask, parts, all, o->runs[i].source, o->text + from, o->runs[i].end - from, out);
	hs_render_destroy(prompt.r);
	if (rc == 0 && c->bos != HS_TOK_NONE && (out->count == 0 || out->ids[0] != c->bos)) {
		rc = push_all(out, &c->bos, 1);
		if (rc == 0) {
			memmove(out->ids + 1, out->ids, (out->count - 1) * sizeof *out->ids);
			out->ids[0] = c->bos;
		}
	}
	return rc;
}

static int encode_all(const struct hs_tokenizer *t, const struct hs_msg_generate *ask, uint32_t budget, struct part *parts,
		      struct hs_tok_ids *all, uint8_t *kept)
{
	int rc = 0;
	for (uint32_t i = 0; rc == 0 && i < ask->n_segments; i++) {
		const struct hs_segment *s = &ask->segments[i];
		kept[i] = s->text.len / BYTES_A_TOKEN_MAX <= budget;
		if (!kept[i] && s->priority == 0)
			return -EMSGSIZE;
		parts[i].from = all->count;
		if (kept[i])
			rc = hs_tok_encode_on(t, s->text.s, s->text.len, all);
		parts[i].count = all->count - parts[i].from;
	}
	return rc;
}

/* Drop the kept segment of the largest priority number, of equal ones the last. False where only priority 0 is left. */
static bool drop_one(const struct hs_msg_generate *ask, uint8_t *kept)
{
	uint32_t worst = UINT32_MAX;
	for (uint32_t i = 0; i < ask->n_segments; i++)
		if (kept[i] && ask->segments[i].priority > 0 &&
		    (worst == UINT32_MAX || ask->segments[i].priority >= ask->segments[worst].priority))
			worst = i;
	if (worst == UINT32_MAX)
		return false;
	uint8_t priority = ask->segments[worst].priority;
	kept[worst] = 0;
	/* neighbours of the same number belong together: a heading and its text */
	for (uint32_t i = worst; i > 0 && ask->segments[i - 1].priority == priority && kept[i - 1]; i--)
		kept[i - 1] = 0;
	return true;
}

int hs_fit(const struct hs_chat *c, const struct hs_tokenizer *t, const struct hs_msg_generate *ask, uint32_t budget,
	   const struct tm *now, struct hs_tok_ids *ids, uint8_t kept[static HS_MSG_SEGMENTS_MAX], struct hs_err *err)
{
	struct part parts[HS_MSG_SEGMENTS_MAX];
	struct hs_tok_ids all = {0};
	bool told = false;
	memset(kept, 0, HS_MSG_SEGMENTS_MAX);
	int rc = encode_all(t, ask, budget, parts, &all, kept);
	while (rc == 0) {
		ids->count = 0;
		rc = put_prompt(c, t, ask, parts, &all, kept, now, ids, err);
		if (rc < 0) {
			told = err && err->num;
			break;
		}
		if (ids->count <= budget)
			break;
		if (!drop_one(ask, kept))
			rc = -EMSGSIZE;
	}
	if (all.ids)
		explicit_bzero(all.ids, all.cap * sizeof *all.ids); /* document text, all but spelt */
	hs_tok_ids_finish(&all);
	if (rc == -EMSGSIZE && !told)
		return hs_fail(err, EMSGSIZE, "model.prompt_too_long", HS_N_("ask a shorter question"), "%u tokens", budget);
	return rc < 0 ? hs_fail_errno(err, rc, "model.prompt", "segments") : 0;
}

/* --- the answer --- */

void hs_shown_begin(struct hs_shown *s, const struct hs_chat *c, const struct hs_tok_ids *prompt)
{
	*s = (struct hs_shown){0};
	for (size_t i = prompt->count; c->think != HS_TOK_NONE && i-- > 0;) {
		if (prompt->ids[i] != c->think && prompt->ids[i] != c->think_end)
			continue;
		s->thinks = prompt->ids[i] == c->think;
		return;
	}
}

bool hs_shown_token(struct hs_shown *s, const struct hs_chat *c, const struct hs_tokenizer *t, hs_tok_id id)
{
	if (id == HS_TOK_NONE)
		return true;
	for (size_t i = 0; c->channels && i < HS_HARMONY_N_MARKS; i++)
		if (id == c->harmony[i])
			return hs_harmony_push_mark(&s->harmony, (enum hs_harmony_mark)i);
	for (size_t i = 0; i < c->n_ends; i++)
		if (id == c->ends[i])
			return true;
	if (id == c->think || id == c->think_end)
		s->thinks = id == c->think;
	return false;
}

bool hs_shown_text(struct hs_shown *s, const struct hs_chat *c, const void *text, size_t n)
{
	if (c->channels)
		return hs_harmony_push_text(&s->harmony, text, n);
	return !s->thinks;
}

/*
 * Tokens that stay the same whatever the segments beyond `scope` say: those that the prompt has in common with one where such
 * segments were replaced by a word of ours. So what counts as shared is made of nothing else, by construction.
 */
static int common_beginning(const struct hs_chat *c, const struct hs_tokenizer *t, const struct hs_msg_generate *ask,
			    const struct tm *now, const uint8_t *kept, const struct hs_tok_ids *prompt,
			    bool (*is_within)(enum hs_cache_scope), uint32_t *ret)
{
	static const char word[] = "0";
	uint8_t all[HS_MSG_SEGMENTS_MAX];
	struct hs_tok_ids ids = {0};
	struct hs_msg_generate *other = malloc(sizeof *other);
	if (!other)
		return -ENOMEM;
	*other = *ask;
	other->n_segments = 0;
	for (uint32_t i = 0; i < ask->n_segments; i++) {
		if (!kept[i])
			continue;
		struct hs_segment *s = &other->segments[other->n_segments++];
		*s = ask->segments[i];
		if (!is_within(s->scope))
			s->text = (struct hs_slice){.s = word, .len = sizeof word - 1};
	}
	struct hs_err err = HS_ERR_INIT;
	int rc = hs_fit(c, t, other, UINT32_MAX, now, &ids, all, &err);
	*ret = 0;
	while (rc == 0 && *ret < ids.count && *ret < prompt->count && ids.ids[*ret] == prompt->ids[*ret])
		++*ret;
	if (ids.ids)
		explicit_bzero(ids.ids, ids.cap * sizeof *ids.ids);
	hs_tok_ids_finish(&ids);
	free(other);
	return rc;
}

static bool is_template(enum hs_cache_scope scope)
{
	return scope == HS_CACHE_TEMPLATE;
}

static bool is_kept(enum hs_cache_scope scope)
{
	return scope != HS_CACHE_NONE;
}

int hs_fit_scopes(const struct hs_chat *c, const struct hs_tokenizer *t, const struct hs_msg_generate *ask, const struct tm *now,
		  const uint8_t kept[static HS_MSG_SEGMENTS_MAX], const struct hs_tok_ids *prompt, struct hs_fit_scopes *ret)
{
	struct hs_fit_scopes scopes;
	int rc = common_beginning(c, t, ask, now, kept, prompt, is_template, &scopes.shared);
	if (rc == 0)
		rc = common_beginning(c, t, ask, now, kept, prompt, is_kept, &scopes.user);
	if (rc < 0)
		return rc;
	scopes.user = HS_MAX(scopes.user, scopes.shared);
	*ret = scopes;
	return 0;
}
