/*
 * SentencePiece BPE: added pieces, which join with nothing, and characters; then the neighbours whose joined text is the
 * piece of the highest score, leftmost first. A heap of candidates and a linked list, as for byte-level BPE; memory is O(n).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "inference/tok/sp.h"

#define NONE UINT32_MAX

struct symbol { /* a span of the text; length 0: joined to the one before */
	uint32_t at, length, prev, next;
	hs_tok_id joined; /* with the next symbol; HS_TOK_NONE: they do not join */
	hs_tok_id added;  /* HS_TOK_NONE but for an added piece */
};

struct candidate {
	float score;
	uint32_t left;
	hs_tok_id joined;
};

struct run {
	const struct hs_vocab *v;
	const char *text;
	struct symbol *symbols;
	struct candidate *heap;
	size_t heap_len;
};

static bool before(struct candidate a, struct candidate b)
{
	return a.score != b.score ? a.score > b.score : a.left < b.left;
}

static void heap_push(struct run *r, struct candidate c)
{
	size_t at = r->heap_len++;
	while (at > 0 && before(c, r->heap[(at - 1) / 2])) {
		r->heap[at] = r->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	r->heap[at] = c;
}

static struct candidate heap_pop(struct run *r)
{
	struct candidate top = r->heap[0], last = r->heap[--r->heap_len];
	size_t at = 0;
	for (size_t child; (child = 2 * at + 1) < r->heap_len; at = child) {
		if (child + 1 < r->heap_len && before(r->heap[child + 1], r->heap[child]))
			child++;
		if (!before(r->heap[child], last))
			break;
		r->heap[at] = r->heap[child];
	}
	r->heap[at] = last;
	return top;
}

/* The piece of text that a span spells. */
static hs_tok_id piece(const struct run *r, uint32_t at, uint32_t length)
{
	hs_tok_id id = length <= HS_VOCAB_TEXT_MAX ? hs_vocab_find(r->v, r->text + at, length) : HS_TOK_NONE;
	return id >= 0 && hs_vocab_is_text(r->v, id) ? id : HS_TOK_NONE;
}

static void offer(struct run *r, uint32_t left)
{
	struct symbol *s = &r->symbols[left];
	const struct symbol *next = s->next == NONE ? NULL : &r->symbols[s->next];
	bool free_both = next && s->added < 0 && next->added < 0;
	s->joined = free_both ? piece(r, s->at, s->length + next->length) : HS_TOK_NONE;
	if (s->joined >= 0)
		heap_push(r, (struct candidate){r->v->scores[s->joined], left, s->joined});
}

static void merge_all(struct run *r, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		offer(r, i);
	while (r->heap_len) {
		struct candidate c = heap_pop(r);
		struct symbol *s = &r->symbols[c.left];
		if (s->length == 0 || s->joined != c.joined)
			continue; /* one of the two has been joined since */
		struct symbol *gone = &r->symbols[s->next];
		s->length += gone->length;
		s->next = gone->next;
		gone->length = 0;
		if (s->next != NONE)
			r->symbols[s->next].prev = c.left;
		offer(r, c.left);
		if (s->prev != NONE)
			offer(r, s->prev);
	}
}

static int emit(const struct hs_sp *sp, const struct run *r, struct hs_tok_ids *out)
{
	int rc = 0;
	bool was_unknown = false;
	for (uint32_t i = 0; rc == 0 && i != NONE; i = r->symbols[i].next) {
		const struct symbol *s = &r->symbols[i];
		hs_tok_id id = s->added >= 0 ? s->added : piece(r, s->at, s->length);
		if (id == HS_TOK_NONE) {
			rc = hs_sp_push_unknown(sp, r->v, r->text + s->at, s->length, &was_unknown, out);
		} else {
			rc = hs_tok_ids_push(out, id);
			was_unknown = false;
		}
	}
	return rc;
}

int hs_sp_merge(const struct hs_sp *sp, const struct hs_vocab *v, const char *text, size_t n, struct hs_tok_ids *out)
{
	size_t chars = hs_utf8_count(text, n);
	struct run r = {.v = v, .text = text};
	r.symbols = calloc(chars, sizeof *r.symbols);
	r.heap = calloc(chars, 3 * sizeof *r.heap);
	int rc = r.symbols && r.heap ? 0 : -ENOMEM;
	if (rc == 0) {
		uint32_t count = 0, cp;
		for (size_t at = 0, len; at < n; at += len, count++) {
			hs_tok_id added = HS_TOK_NONE;
			len = hs_vocab_match_added(v, text + at, n - at, &added);
			if (len == 0)
				len = hs_utf8_decode(text + at, n - at, &cp);
			r.symbols[count] = (struct symbol){(uint32_t)at, (uint32_t)len, count ? count - 1 : NONE,
							   count + 1,    HS_TOK_NONE,   added};
		}
		r.symbols[count - 1].next = NONE;
		merge_all(&r, count);
		rc = emit(sp, &r, out);
	}
	free(r.symbols);
	free(r.heap);
	return rc;
}
