#include "inference/template/harmony.h"

#include <string.h>

bool hs_harmony_find(const struct hs_tokenizer *t, hs_tok_id ret[static HS_HARMONY_N_MARKS])
{
	static const char *const texts[HS_HARMONY_N_MARKS] = {
	    [HS_HARMONY_START] = "<|start|>",         [HS_HARMONY_CHANNEL] = "<|channel|>",
	    [HS_HARMONY_MESSAGE] = "<|message|>",     [HS_HARMONY_END] = "<|end|>",
	    [HS_HARMONY_RETURN] = "<|return|>",       [HS_HARMONY_CALL] = "<|call|>",
	    [HS_HARMONY_CONSTRAIN] = "<|constrain|>",
	};
	bool all = true;
	for (size_t i = 0; i < HS_HARMONY_N_MARKS; i++) {
		ret[i] = hs_tok_special(t, texts[i]);
		all = all && (ret[i] != HS_TOK_NONE || i > HS_HARMONY_END);
	}
	return all;
}

/* Is the first word of the header this one? Vocabularies that put a space before a text may have put one here. */
static bool names(const struct hs_harmony *h, const char *word)
{
	size_t n = strlen(word), from = 0;
	while (from < h->len && h->header[from] == ' ')
		from++;
	return h->len - from >= n && memcmp(h->header + from, word, n) == 0 && (h->len - from == n || h->header[from + n] == ' ');
}

static enum hs_harmony_channel channel_of(const struct hs_harmony *h)
{
	if (h->to_tool || memmem(h->header, h->len, " to=", 4))
		return HS_HARMONY_COMMENTARY;
	return names(h, "final")        ? HS_HARMONY_FINAL
	       : names(h, "analysis")   ? HS_HARMONY_ANALYSIS
	       : names(h, "commentary") ? HS_HARMONY_COMMENTARY
					: HS_HARMONY_NONE;
}

/* The role is over: it must be the assistant's, whom it may let speak to a tool. */
static bool role_is_ours(struct hs_harmony *h)
{
	h->to_tool = memmem(h->header, h->len, " to=", 4) != NULL;
	return h->later ? names(h, "assistant") : h->len == 0 || h->to_tool;
}

bool hs_harmony_push_mark(struct hs_harmony *h, enum hs_harmony_mark mark)
{
	switch (mark) {
	case HS_HARMONY_START:
		*h = (struct hs_harmony){.later = true};
		return false;
	case HS_HARMONY_CHANNEL:
		if (h->state != HS_HARMONY_IN_ROLE)
			break;
		if (!role_is_ours(h))
			return true; /* it speaks for somebody else */
		h->state = HS_HARMONY_IN_CHANNEL;
		h->len = 0;
		return false;
	case HS_HARMONY_CONSTRAIN: /* "json" follows: part of the header, behind the channel's name */
		return h->state == HS_HARMONY_IN_CHANNEL && (hs_harmony_push_text(h, " ", 1), false);
	case HS_HARMONY_MESSAGE:
		if (h->state == HS_HARMONY_IN_ROLE && !role_is_ours(h))
			return true;
		h->channel = h->state == HS_HARMONY_IN_CHANNEL ? channel_of(h) : HS_HARMONY_NONE;
		h->state = HS_HARMONY_IN_BODY;
		return false;
	case HS_HARMONY_END:
		if (h->channel == HS_HARMONY_FINAL)
			return true; /* the answer is complete */
		break;
	default:
		return true;
	}
	h->channel = HS_HARMONY_NONE;
	h->state = HS_HARMONY_BETWEEN;
	return false;
}

bool hs_harmony_push_text(struct hs_harmony *h, const char *s, size_t n)
{
	if (h->state == HS_HARMONY_IN_BODY)
		return h->channel == HS_HARMONY_FINAL;
	if (h->state == HS_HARMONY_BETWEEN)
		return false;
	if (n > sizeof h->header - h->len) { /* no header is so long: nothing of this message is shown */
		h->state = HS_HARMONY_BETWEEN;
		return false;
	}
	memcpy(h->header + h->len, s, n);
	h->len += n;
	return false;
}
