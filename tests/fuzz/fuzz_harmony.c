/*
 * Any turn of marks and texts through the Harmony parser: what it releases is a final channel's, by a second reading of the
 * whole header; cutting a text elsewhere changes nothing. Input: a byte says a mark (128 and above) or the length of a text.
 */
#include <stdint.h>
#include <string.h>

#include "inference/template/harmony.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reading { /* of the message that is open, kept whole */
	char header[4096];
	size_t len;
	unsigned channels, messages;
	bool lost; /* something came that no final message has */
};

static bool is_final(const struct reading *r)
{
	size_t from = 0;
	while (from < r->len && r->header[from] == ' ')
		from++;
	size_t rest = r->len - from;
	return !r->lost && r->channels == 1 && r->messages == 1 && r->len <= HS_HARMONY_HEADER_MAX && rest >= 5 &&
	       memcmp(r->header + from, "final", 5) == 0 && (rest == 5 || r->header[from + 5] == ' ') &&
	       !memmem(r->header, r->len, " to=", 4);
}

static void read_mark(struct reading *r, enum hs_harmony_mark mark)
{
	if (mark == HS_HARMONY_START)
		*r = (struct reading){0};
	else if (mark == HS_HARMONY_CHANNEL)
		r->channels++, r->len = 0, r->lost |= r->messages > 0;
	else if (mark == HS_HARMONY_MESSAGE)
		r->messages++;
	else if (mark == HS_HARMONY_CONSTRAIN && r->channels == 1 && r->messages == 0 && r->len < sizeof r->header)
		r->header[r->len++] = ' ';
	else if (mark != HS_HARMONY_CONSTRAIN)
		r->lost = true;
}

static void read_text(struct reading *r, const char *s, size_t n)
{
	if (r->messages > 0 || n > sizeof r->header - r->len) {
		r->lost |= r->messages == 0;
		return;
	}
	memcpy(r->header + r->len, s, n);
	r->len += n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct harmony_pair {
		struct hs_harmony whole, cut;
	} h = {0};
	struct reading r = {0};
	for (size_t at = 0; at < size;) {
		uint8_t op = data[at++];
		if (op >= 128) {
			enum hs_harmony_mark mark = op % HS_HARMONY_N_MARKS;
			bool over = hs_harmony_push_mark(&h.whole, mark);
			hs_assert(over == hs_harmony_push_mark(&h.cut, mark));
			if (over)
				return 0;
			read_mark(&r, mark);
			continue;
		}
		size_t n = op < size - at ? op : size - at;
		const char *s = (const char *)data + at;
		bool shown = hs_harmony_push_text(&h.whole, s, n), begun = n > 1 && hs_harmony_push_text(&h.cut, s, n / 2);
		bool ended = hs_harmony_push_text(&h.cut, s + (n > 1 ? n / 2 : 0), n - (n > 1 ? n / 2 : 0));
		hs_assert(shown == ended && (n <= 1 || shown == begun));
		read_text(&r, s, n);
		hs_assert(!shown || is_final(&r));
		hs_assert(h.whole.len <= HS_HARMONY_HEADER_MAX && h.whole.state == h.cut.state &&
			  h.whole.channel == h.cut.channel);
		at += n;
	}
	return 0;
}
