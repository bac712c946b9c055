#include "inference/template/chat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define MARK_MAX 256u /* bytes of the text of bos and eos */
#define TURN_MAX 256u /* kept of what the template writes between turns */

struct hs_chat_form {
	struct hs_template *template;
	char name[48];
	char bos[MARK_MAX], eos[MARK_MAX];
	bool system_in_user;
	char turn_end[TURN_MAX], turn_begin[TURN_MAX];
};

/* --- rendering --- */

static struct hs_tvalue *own(struct hs_render *r, const char *s)
{
	return hs_tvalue_text(r, s, strlen(s), 0);
}

static void push_message(struct hs_render *r, struct hs_tvalue *list, enum hs_chat_role role, struct hs_tvalue *content)
{
	static const char *const names[] = {
	    [HS_CHAT_SYSTEM] = "system", [HS_CHAT_USER] = "user", [HS_CHAT_ASSISTANT] = "assistant"};
	struct hs_tvalue *m = hs_tvalue_dict(r);
	hs_tvalue_put(r, m, "role", own(r, names[role]));
	hs_tvalue_put(r, m, "content", content);
	hs_tvalue_push(r, list, m);
}

/* The text of a system message, a blank line, and that of the user's message behind it. */
static struct hs_tvalue *both(struct hs_render *r, const struct hs_chat_message *system, const struct hs_chat_message *user)
{
	size_t n = system->n_parts + 1 + user->n_parts;
	struct hs_template_part *parts = calloc(n, sizeof *parts);
	if (!parts)
		return NULL;
	memcpy(parts, system->parts, system->n_parts * sizeof *parts);
	parts[system->n_parts] = (struct hs_template_part){"\n\n", 2, 0};
	memcpy(parts + system->n_parts + 1, user->parts, user->n_parts * sizeof *parts);
	struct hs_tvalue *v = hs_tvalue_joined(r, parts, n);
	free(parts);
	return v;
}

static void set_messages(const struct hs_chat_form *f, struct hs_render *r, const struct hs_chat_message *messages, size_t n)
{
	struct hs_tvalue *list = hs_tvalue_list(r);
	for (size_t i = 0; i < n; i++) {
		const struct hs_chat_message *m = &messages[i];
		if (f->system_in_user && m->role == HS_CHAT_SYSTEM && i + 1 < n && messages[i + 1].role == HS_CHAT_USER) {
			push_message(r, list, HS_CHAT_USER, both(r, m, &messages[i + 1]));
			i++;
			continue;
		}
		enum hs_chat_role role = f->system_in_user && m->role == HS_CHAT_SYSTEM ? HS_CHAT_USER : m->role;
		push_message(r, list, role, hs_tvalue_joined(r, m->parts, m->n_parts));
	}
	hs_render_set(r, "messages", list);
}

int hs_chat_form_render(const struct hs_chat_form *f, const struct hs_chat_message *messages, size_t n, const struct tm *now,
			struct hs_chat_prompt *ret, struct hs_err *err)
{
	struct hs_render *r = hs_render_create(f->template);
	if (!r)
		return hs_fail_errno(err, -ENOMEM, "template.failed", f->name);
	hs_render_set_time(r, now);
	set_messages(f, r, messages, n);
	hs_render_set(r, "add_generation_prompt", hs_tvalue_bool(r, true));
	hs_render_set(r, "bos_token", own(r, f->bos));
	hs_render_set(r, "eos_token", own(r, f->eos));
	hs_render_set(r, "tools", hs_tvalue_none(r));
	hs_render_set(r, "documents", hs_tvalue_none(r));
	/* answers are quoted from passages: models that can leave out their thinking are asked to, the others to keep it short */
	hs_render_set(r, "enable_thinking", hs_tvalue_bool(r, false));
	hs_render_set(r, "reasoning_effort", own(r, "low"));
	int rc = hs_render_run(r, &ret->out, err);
	if (rc < 0)
		hs_render_destroy(r);
	else
		ret->r = r;
	return rc;
}

/* --- trying it out --- */

#define WORD "word"

/* Did a text come out whole and once, as data? And where the template goes on behind it. */
static bool came_out(const struct hs_template_output *out, uint16_t source, size_t *ret_end)
{
	unsigned times = 0;
	for (size_t i = 0, from = 0; i < out->n_runs; from = out->runs[i++].end) {
		if (out->runs[i].source != source)
			continue;
		size_t len = out->runs[i].end - from;
		if (len != strlen(WORD) || memcmp(out->text + from, WORD, len) != 0)
			return false;
		*ret_end = out->runs[i].end;
		times++;
	}
	return times == 1;
}

/* The template's own text that begins at from, cut at a character. */
static void keep(const struct hs_template_output *out, size_t from, char ret[static TURN_MAX])
{
	size_t i = 0;
	while (i < out->n_runs && out->runs[i].end <= from)
		i++;
	if (i == out->n_runs || out->runs[i].source != 0)
		return;
	size_t n = hs_utf8_cut(out->text + from, HS_MIN(out->runs[i].end - from, TURN_MAX - 1));
	memcpy(ret, out->text + from, n);
	ret[n] = '\0';
}

/* Render n turns of one word each; does each word come out? A failure of the template is told in err. */
static bool try(struct hs_chat_form *f, const enum hs_chat_role *roles, size_t n, struct hs_err *err)
{
	static const struct tm new_year = {.tm_year = 126, .tm_mday = 1, .tm_wday = 4};
	struct hs_template_part parts[4] = {0};
	struct hs_chat_message messages[4] = {0};
	struct hs_chat_prompt prompt;
	for (size_t i = 0; i < n; i++) {
		parts[i] = (struct hs_template_part){WORD, strlen(WORD), (uint16_t)(i + 1)};
		messages[i] = (struct hs_chat_message){roles[i], &parts[i], 1};
	}
	if (hs_chat_form_render(f, messages, n, &new_year, &prompt, err) < 0)
		return false;
	bool all = true;
	for (size_t i = 0; all && i < n; i++) {
		size_t end = 0;
		all = came_out(&prompt.out, (uint16_t)(i + 1), &end);
		if (all && roles[i] == HS_CHAT_ASSISTANT)
			keep(&prompt.out, end, f->turn_end);
		else if (all && n == 1)
			keep(&prompt.out, end, f->turn_begin);
	}
	hs_render_destroy(prompt.r);
	if (!all)
		(void)hs_fail(err, EINVAL, "template.failed", HS_N_("the chat template leaves out what is said"), "%s", f->name);
	return all;
}

static int try_out(struct hs_chat_form *f, struct hs_err *err)
{
	static const enum hs_chat_role system[] = {HS_CHAT_SYSTEM, HS_CHAT_USER};
	static const enum hs_chat_role turns[] = {HS_CHAT_USER, HS_CHAT_ASSISTANT, HS_CHAT_USER};
	struct hs_err ignored = HS_ERR_INIT;
	if (!try(f, turns, 1, err))
		return err && err->num ? -err->num : -EINVAL;
	if (!try(f, system, 2, &ignored)) {
		f->system_in_user = true;
		if (!try(f, system, 2, err))
			return err && err->num ? -err->num : -EINVAL;
	}
	(void)try(f, turns, 3, &ignored); /* a template of one turn is of use */
	return 0;
}

int hs_chat_form_create(const char *name, const char *text, size_t n, const char *bos, const char *eos, struct hs_chat_form **ret,
			struct hs_err *err)
{
	struct hs_chat_form *f = calloc(1, sizeof *f);
	if (!f)
		return hs_fail_errno(err, -ENOMEM, "template.load", name);
	(void)snprintf(f->name, sizeof f->name, "%s", name); /* a longer one is cut */
	int rc = 0;
	if (snprintf(f->bos, sizeof f->bos, "%s", bos) >= (int)MARK_MAX ||
	    snprintf(f->eos, sizeof f->eos, "%s", eos) >= (int)MARK_MAX)
		rc = hs_fail(err, EMSGSIZE, "template.limit", HS_N_("the chat template asks for more than any may have"),
			     "MARK_MAX");
	if (rc == 0)
		rc = hs_template_create(text, n, &f->template, err);
	if (rc == 0)
		rc = try_out(f, err);
	if (rc < 0) {
		hs_chat_form_destroy(f);
		return rc;
	}
	*ret = f;
	return 0;
}

void hs_chat_form_destroy(struct hs_chat_form *f)
{
	if (!f)
		return;
	hs_template_destroy(f->template);
	free(f);
}

const char *hs_chat_form_name(const struct hs_chat_form *f)
{
	return f->name;
}

const char *hs_chat_form_turn_end(const struct hs_chat_form *f)
{
	return f->turn_end;
}

const char *hs_chat_form_turn_begin(const struct hs_chat_form *f)
{
	return f->turn_begin;
}
