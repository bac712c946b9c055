#include "inference/grammar/grammar.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inference/grammar/node.h"

enum took { NO, TOOK, OVER }; /* OVER: it had ended before this byte, which is its parent's */

static struct hs_grammar_frame *top(struct hs_grammar_state *s)
{
	return &s->frames[s->depth - 1];
}

static void push(struct hs_grammar_state *s, uint16_t node)
{
	hs_assert(s->depth < HS_ARRAY_LEN(s->frames));
	s->frames[s->depth++] = (struct hs_grammar_frame){.node = node};
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* --- free text --- */

enum { TEXT_PLAIN, TEXT_BRACKET, TEXT_NUMBER };

/* Does a supplied number begin with the digits of v? */
static bool begins_citation(const struct hs_grammar *g, uint32_t v)
{
	for (uint32_t i = 0; i < g->n_citations && v > 0; i++) {
		uint32_t id = g->citations[i];
		while (id > v)
			id /= 10;
		if (id == v)
			return true;
	}
	return false;
}

static bool is_citation(const struct hs_grammar *g, uint32_t v)
{
	for (uint32_t i = 0; i < g->n_citations; i++)
		if (g->citations[i] == v)
			return true;
	return false;
}

static enum took take_text(const struct hs_grammar *g, struct hs_grammar_frame *f, uint8_t c)
{
	if (is_digit(c) && f->phase != TEXT_PLAIN) {
		if (f->count > UINT32_MAX / 10 - 1 || !begins_citation(g, f->count * 10 + c - '0'))
			return NO;
		f->count = f->count * 10 + c - '0';
		f->phase = TEXT_NUMBER;
		return TOOK;
	}
	if (f->phase == TEXT_NUMBER && (c != ']' || !is_citation(g, f->count)))
		return NO;
	f->count = 0;
	f->phase = c == '[' ? TEXT_BRACKET : TEXT_PLAIN;
	return TOOK;
}

/* --- strings --- */

enum { STRING_BEGIN, STRING_IN, STRING_ESCAPE, STRING_HEX, STRING_REST };

static bool full(const struct hs_node *n, const struct hs_grammar_frame *f)
{
	return n->bounded && f->count >= n->most;
}

static void character_ends(const struct hs_node *n, struct hs_grammar_frame *f)
{
	f->phase = STRING_IN;
	f->aux = 0;
	f->set = 0;
	f->count += n->bounded;
}

/* The first byte of a character: how many follow, and what the next may be (Unicode, table 3-7). */
static enum took begin_character(const struct hs_node *n, struct hs_grammar_frame *f, uint8_t c)
{
	uint64_t low = 0x80, high = 0xbf;
	if (c < 0x20 || (c >= 0x80 && c < 0xc2) || c > 0xf4)
		return NO;
	if (c < 0x80) {
		character_ends(n, f);
		return TOOK;
	}
	if (c == 0xe0)
		low = 0xa0;
	else if (c == 0xed)
		high = 0x9f;
	else if (c == 0xf0)
		low = 0x90;
	else if (c == 0xf4)
		high = 0x8f;
	f->phase = STRING_REST;
	f->aux = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
	f->set = low | high << 8;
	return TOOK;
}

static int hex_of(uint8_t c)
{
	if (is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* \uXXXX: no half of a pair, and not the zero byte, which many readers do not take. aux digits were read; set: their value. */
static enum took take_hex(const struct hs_node *n, struct hs_grammar_frame *f, uint8_t c)
{
	int digit = hex_of(c);
	if (digit < 0)
		return NO;
	f->set = f->set << 4 | (unsigned)digit;
	f->aux++;
	if ((f->aux == 2 && f->set >= 0xd8 && f->set <= 0xdf) || (f->aux == 4 && f->set == 0))
		return NO;
	if (f->aux == 4)
		character_ends(n, f);
	return TOOK;
}

static enum took take_string(const struct hs_node *n, struct hs_grammar_state *s, struct hs_grammar_frame *f, uint8_t c)
{
	switch (f->phase) {
	case STRING_BEGIN:
		f->phase = STRING_IN;
		return c == '"' ? TOOK : NO;
	case STRING_IN:
		if (c == '"') {
			s->depth--;
			return TOOK;
		}
		if (full(n, f))
			return NO;
		if (c == '\\') {
			f->phase = STRING_ESCAPE;
			return TOOK;
		}
		return begin_character(n, f, c);
	case STRING_ESCAPE:
		if (c == 'u') {
			f->phase = STRING_HEX;
			return TOOK;
		}
		if (!strchr("\"\\/bfnrt", c) || c == '\0')
			return NO;
		character_ends(n, f);
		return TOOK;
	case STRING_HEX:
		return take_hex(n, f, c);
	default:
		if (c < (f->set & 0xff) || c > f->set >> 8)
			return NO;
		f->set = 0x80 | 0xbf << 8;
		if (--f->aux == 0)
			character_ends(n, f);
		return TOOK;
	}
}

/* --- one of several texts: set is the range of those that still agree, count how many bytes do --- */

static bool text_is(const struct hs_grammar *g, uint32_t i, uint32_t at, uint8_t c)
{
	const struct hs_text *t = &g->texts[i];
	return at < t->len && (uint8_t)g->bytes[t->at + at] == c;
}

static bool literal_is_whole(const struct hs_grammar *g, const struct hs_grammar_frame *f)
{
	return f->phase && g->texts[f->set & UINT32_MAX].len == f->count; /* the shortest is the first */
}

static enum took take_literal(const struct hs_grammar *g, const struct hs_node *n, struct hs_grammar_state *s,
			      struct hs_grammar_frame *f, uint8_t c)
{
	uint64_t from = f->phase ? f->set & UINT32_MAX : n->first, to = f->phase ? f->set >> 32 : n->first + n->n;
	uint64_t low = from;
	while (low < to && !text_is(g, (uint32_t)low, f->count, c))
		low++;
	uint64_t high = low;
	while (high < to && text_is(g, (uint32_t)high, f->count, c))
		high++;
	if (low == high)
		return literal_is_whole(g, f) ? OVER : NO;
	f->phase = 1;
	f->set = low | high << 32;
	f->count++;
	if (high == low + 1 && literal_is_whole(g, f))
		s->depth--;
	return TOOK;
}

/* --- objects and arrays --- */

enum {
	IN_BEGIN,
	IN_FIRST,   /* after the bracket */
	IN_NAME,    /* of a property: set is which may still be meant, count how many bytes were read */
	IN_NAMED,   /* the colon comes */
	IN_COLON,   /* a space may come */
	IN_VALUE,   /* the value comes */
	IN_BETWEEN, /* after a value */
	IN_COMMA,   /* a space may come */
	IN_NEXT,    /* the next comes */
};

/* The properties from `from` on that may come next: up to the first that must. */
static uint64_t may_come(const struct hs_grammar *g, const struct hs_node *n, uint32_t from)
{
	uint64_t set = 0;
	for (uint32_t i = from; i < n->n; i++) {
		set |= 1ull << i;
		if (g->properties[n->first + i].required)
			break;
	}
	return set;
}

static bool may_close(const struct hs_grammar *g, const struct hs_node *n, const struct hs_grammar_frame *f)
{
	for (uint32_t i = f->aux; i < n->n; i++)
		if (g->properties[n->first + i].required)
			return false;
	return true;
}

/* A quotation mark came: a name begins. */
static enum took begin_name(const struct hs_grammar *g, const struct hs_node *n, struct hs_grammar_frame *f)
{
	f->count = 0;
	f->set = may_come(g, n, f->aux);
	f->phase = IN_NAME;
	return f->set ? TOOK : NO;
}

static enum took take_name(const struct hs_grammar *g, const struct hs_node *n, struct hs_grammar_frame *f, uint8_t c)
{
	uint64_t left = 0;
	for (uint32_t i = 0; i < n->n; i++) {
		const struct hs_text *name = &g->properties[n->first + i].name;
		if (!(f->set >> i & 1) || f->count >= name->len || (uint8_t)g->bytes[name->at + f->count] != c)
			continue;
		left |= 1ull << i;
		if (f->count + 1 == name->len) { /* the mark that ends it: no other name has it here */
			f->aux = (uint8_t)(i + 1);
			f->phase = IN_NAMED;
		}
	}
	f->set = left;
	f->count++;
	if (f->phase == IN_NAMED) {
		f->set = 0;
		f->count = 0;
	}
	return left || f->phase == IN_NAMED ? TOOK : NO;
}

static enum took take_object(const struct hs_grammar *g, const struct hs_node *n, struct hs_grammar_state *s,
			     struct hs_grammar_frame *f, uint8_t c)
{
	switch (f->phase) {
	case IN_BEGIN:
		f->phase = IN_FIRST;
		return c == '{' ? TOOK : NO;
	case IN_NAME:
		return take_name(g, n, f, c);
	case IN_NAMED:
		f->phase = IN_COLON;
		return c == ':' ? TOOK : NO;
	case IN_COLON:
		if (c == ' ') {
			f->phase = IN_VALUE;
			return TOOK;
		}
		/* fallthrough */
	case IN_VALUE:
		f->phase = IN_BETWEEN;
		push(s, g->properties[n->first + f->aux - 1].node);
		return OVER; /* the value takes it */
	case IN_COMMA:
		if (c == ' ') {
			f->phase = IN_NEXT;
			return TOOK;
		}
		/* fallthrough */
	case IN_NEXT:
		return c == '"' ? begin_name(g, n, f) : NO;
	default:
		if (c == '}' && may_close(g, n, f)) {
			s->depth--;
			return TOOK;
		}
		if (f->phase == IN_FIRST)
			return c == '"' ? begin_name(g, n, f) : NO;
		f->phase = IN_COMMA;
		return c == ',' && f->aux < n->n ? TOOK : NO;
	}
}

static enum took begin_item(const struct hs_node *n, struct hs_grammar_state *s, struct hs_grammar_frame *f)
{
	f->count++;
	f->phase = IN_BETWEEN;
	push(s, n->child);
	return OVER; /* the item takes it */
}

static enum took take_array(const struct hs_node *n, struct hs_grammar_state *s, struct hs_grammar_frame *f, uint8_t c)
{
	switch (f->phase) {
	case IN_BEGIN:
		f->phase = IN_FIRST;
		return c == '[' ? TOOK : NO;
	case IN_COMMA:
		if (c == ' ') {
			f->phase = IN_NEXT;
			return TOOK;
		}
		/* fallthrough */
	case IN_NEXT:
		return begin_item(n, s, f);
	default:
		if (c == ']' && f->count >= n->least) {
			s->depth--;
			return TOOK;
		}
		if (f->count >= n->most)
			return NO;
		if (f->phase == IN_FIRST)
			return begin_item(n, s, f);
		f->phase = IN_COMMA;
		return c == ',' ? TOOK : NO;
	}
}

/* OVER: whatever stands on top now is asked. */
static enum took take(const struct hs_grammar *g, struct hs_grammar_state *s, uint8_t c)
{
	struct hs_grammar_frame *f = top(s);
	const struct hs_node *n = &g->nodes[f->node];
	enum took took;
	switch (n->kind) {
	case HS_NODE_TEXT:
		return take_text(g, f, c);
	case HS_NODE_STRING:
		return take_string(n, s, f, c);
	case HS_NODE_OBJECT:
		return take_object(g, n, s, f, c);
	case HS_NODE_ARRAY:
		return take_array(n, s, f, c);
	default:
		took = take_literal(g, n, s, f, c);
		if (took == OVER)
			s->depth--;
		return took;
	}
}

void hs_grammar_begin(const struct hs_grammar *g, struct hs_grammar_state *ret)
{
	*ret = (struct hs_grammar_state){0};
	push(ret, 0);
}

bool hs_grammar_byte(const struct hs_grammar *g, struct hs_grammar_state *s, uint8_t c)
{
	bool pristine = s->depth == 1 && s->frames[0].phase == 0 && s->frames[0].count == 0 && s->frames[0].node == 0;
	if (c == ' ' && pristine && !s->spaced && g->nodes[0].kind != HS_NODE_TEXT) {
		s->spaced = 1;
		return true;
	}
	while (s->depth > 0) {
		enum took took = take(g, s, c);
		if (took != OVER)
			return took == TOOK;
	}
	return false;
}

static bool frame_may_end(const struct hs_grammar *g, const struct hs_grammar_frame *f)
{
	switch (g->nodes[f->node].kind) {
	case HS_NODE_TEXT:
		return f->phase != TEXT_NUMBER;
	case HS_NODE_LITERALS:
		return literal_is_whole(g, f);
	default:
		return false;
	}
}

bool hs_grammar_may_end(const struct hs_grammar *g, const struct hs_grammar_state *s)
{
	return s->depth == 0 || (s->depth == 1 && frame_may_end(g, &s->frames[0]));
}

bool hs_grammar_is_over(const struct hs_grammar *g, const struct hs_grammar_state *s)
{
	return s->depth == 0;
}

bool hs_grammar_is_free(const struct hs_grammar *g)
{
	return g->nodes[0].kind == HS_NODE_TEXT;
}

void hs_grammar_copy(struct hs_grammar_state *to, const struct hs_grammar_state *from)
{
	memcpy(to, from, offsetof(struct hs_grammar_state, frames) + from->depth * sizeof *from->frames);
}

size_t hs_grammar_key(const struct hs_grammar *g, const struct hs_grammar_state *from, uint32_t longest,
		      struct hs_grammar_state *ret)
{
	hs_grammar_copy(ret, from);
	for (uint32_t i = 0; i < ret->depth; i++) {
		struct hs_grammar_frame *f = &ret->frames[i];
		const struct hs_node *n = &g->nodes[f->node];
		/* A string whose end is farther than a token reaches, and an array that is long enough and far from full. */
		if (n->kind == HS_NODE_STRING && n->bounded && n->most - f->count > longest)
			f->count = 0;
		if (n->kind == HS_NODE_ARRAY && f->count > n->least && n->most - f->count > longest)
			f->count = n->least + 1;
	}
	return offsetof(struct hs_grammar_state, frames) + ret->depth * sizeof *ret->frames;
}

int hs_grammar_citations(const uint32_t *ids, size_t n, struct hs_grammar **ret)
{
	if (n > HS_GRAMMAR_CITATIONS_MAX)
		return -E2BIG;
	struct hs_grammar *g = calloc(1, sizeof *g);
	if (!g || !(g->nodes = calloc(1, sizeof *g->nodes))) {
		free(g);
		return -ENOMEM;
	}
	g->n_nodes = 1;
	g->nodes[0].kind = HS_NODE_TEXT;
	g->n_citations = (uint32_t)n;
	if (n)
		memcpy(g->citations, ids, n * sizeof *ids);
	*ret = g;
	return 0;
}

void hs_grammar_destroy(struct hs_grammar *g)
{
	if (!g)
		return;
	free(g->nodes);
	free(g->texts);
	free(g->properties);
	free(g->bytes);
	free(g);
}
