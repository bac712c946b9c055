#include "daemon/infer/fit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_A_TOKEN_MAX 64u /* a text longer than this times the budget cannot fit and is not even tokenised */

static const char *const role_names[] = {
	[HS_SEGMENT_SYSTEM] = "system\n", [HS_SEGMENT_USER] = "user\n", [HS_SEGMENT_ASSISTANT] = "assistant\n"};

int hs_chat_init(struct hs_chat *c, const struct hs_tokenizer *t, const char *template, size_t n, struct hs_err *err)
{
	static const char marker[] = "<|im_start|>";
	c->begin = hs_tok_special(t, marker);
	c->end = hs_tok_special(t, "<|im_end|>");
	if (c->begin >= 0 && c->end >= 0 && memmem(template, n, marker, sizeof marker - 1))
		return 0;
	return hs_fail(err, ENOTSUP, "model.template_unsupported", HS_N_("only models with the ChatML template can answer"),
		       "tokenizer.chat_template %.*s", (int)HS_MIN(n, 60u), template);
}

struct part { /* of the list of all segments' tokens */
	size_t from, count;
};

static int push(struct hs_tok_ids *ids, hs_tok_id id)
{
	if (ids->count == ids->cap) {
		size_t cap = ids->cap ? ids->cap * 2 : 256;
		hs_tok_id *more = reallocarray(ids->ids, cap, sizeof *more);
		if (!more)
			return -ENOMEM;
		ids->ids = more;
		ids->cap = cap;
	}
	ids->ids[ids->count++] = id;
	return 0;
}

static int open_turn(const struct hs_chat *c, const struct hs_tokenizer *t, enum hs_segment_role role, struct hs_tok_ids *out)
{
	int rc = push(out, c->begin);
	return rc < 0 ? rc : hs_tok_encode(t, role_names[role], strlen(role_names[role]), out);
}

static int close_turn(const struct hs_chat *c, const struct hs_tokenizer *t, struct hs_tok_ids *out)
{
	int rc = push(out, c->end);
	return rc < 0 ? rc : hs_tok_encode(t, "\n", 1, out);
}

/* Marks and roles around the segments: a message each time the role changes, and the assistant's beginning. */
static int put_prompt(const struct hs_chat *c, const struct hs_tokenizer *t, const struct hs_msg_generate *ask,
		      const struct part *parts, const struct hs_tok_ids *all, const uint8_t *kept, struct hs_tok_ids *out)
{
	int rc = 0;
	enum hs_segment_role role = 0;
	for (uint32_t i = 0; rc == 0 && i < ask->n_segments; i++) {
		if (!kept[i])
			continue;
		if (role != ask->segments[i].role) {
			rc = role ? close_turn(c, t, out) : 0;
			role = ask->segments[i].role;
			if (rc == 0)
				rc = open_turn(c, t, role, out);
		}
		for (size_t k = 0; rc == 0 && k < parts[i].count; k++)
			rc = push(out, all->ids[parts[i].from + k]);
	}
	if (rc == 0 && role)
		rc = close_turn(c, t, out);
	return rc < 0 ? rc : open_turn(c, t, HS_SEGMENT_ASSISTANT, out);
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
			rc = hs_tok_encode(t, s->text.s, s->text.len, all);
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
	   struct hs_tok_ids *ids, uint8_t kept[static HS_MSG_SEGMENTS_MAX], struct hs_err *err)
{
	struct part parts[HS_MSG_SEGMENTS_MAX];
	struct hs_tok_ids all = {0};
	memset(kept, 0, HS_MSG_SEGMENTS_MAX);
	int rc = encode_all(t, ask, budget, parts, &all, kept);
	while (rc == 0) {
		ids->count = 0;
		rc = put_prompt(c, t, ask, parts, &all, kept, ids);
		if (rc < 0 || ids->count <= budget)
			break;
		if (!drop_one(ask, kept))
			rc = -EMSGSIZE;
	}
	if (all.ids)
		explicit_bzero(all.ids, all.cap * sizeof *all.ids); /* document text, all but spelt */
	hs_tok_ids_finish(&all);
	if (rc == -EMSGSIZE)
		return hs_fail(err, EMSGSIZE, "model.prompt_too_long", HS_N_("ask a shorter question"), "%u tokens", budget);
	return rc < 0 ? hs_fail_errno(err, rc, "model.prompt", "segments") : 0;
}
