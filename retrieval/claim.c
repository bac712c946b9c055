#include "retrieval/claim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define TOKENS_MAX 4096 /* of one sentence */
#define THINGS_MAX 1024 /* of one sentence; what comes behind is tied to nothing */

/* Weights of words around a thing: each further word counts less, never less than the floor. */
#define FADING 0.8f
#define FLOOR 0.3f
#define BEHIND_COMMA 0.8f     /* of what lies behind a comma */
#define BEHIND_RIVAL 0.5f     /* of what lies behind another number of the same unit: it speaks of that one first */
#define WORDS_BESIDE_NUMBER 1 /* in a cell that is a number for all that: 20%以内 */
#define PARTICLE 1.5f

void hs_claim_finish(struct hs_claim *c)
{
	if (c->norm.text)
		explicit_bzero(c->norm.text, c->norm.len);
	if (c->tokens.terms)
		explicit_bzero(c->tokens.terms, c->tokens.terms_len);
	hs_norm_finish(&c->norm);
	hs_tokens_finish(&c->tokens);
	free(c->words);
	free(c->cells);
	free(c->things);
	hs_quantities_finish(&c->quantities);
	*c = (struct hs_claim){0};
}

bool hs_claim_has(const struct hs_claim *c, uint64_t lemma)
{
	for (size_t i = 0; i < c->tokens.count; i++)
		if (c->words[i].lemma == lemma)
			return true;
	return false;
}

bool hs_same_quantity(const struct hs_quantity *a, const struct hs_quantity *b)
{
	return a->value == b->value && (a->unit == b->unit || !a->unit || !b->unit);
}

/* The bytes of an item's number at the start, which counts nothing: "1. ", "(2) ", "3、", "・4)". */
static size_t item_number(const char *s, size_t n)
{
	size_t i = 0;
	while (i < n && strchr(" (-*#", s[i]))
		i++;
	size_t digits = i;
	while (i < n && i - digits < 3 && s[i] >= '0' && s[i] <= '9')
		i++;
	if (i == digits || i == n)
		return 0;
	if (n - i >= 3 && !strncmp(s + i, "、", 3))
		return i + 3;
	return (s[i] == '.' || s[i] == ')') && !(i + 1 < n && s[i + 1] >= '0' && s[i + 1] <= '9') ? i + 1 : 0;
}

static bool term_is(const struct hs_claim *c, size_t i, const char *what)
{
	const struct hs_token *t = &c->tokens.items[i];
	return t->term_len == strlen(what) && !memcmp(c->tokens.terms + t->term, what, t->term_len);
}

/* --- cells --- */

/* Where a cell of a row ends: at a tab, or at a bar between spaces as people type tables into plain text. */
static size_t cell_break(const char *text, size_t n, size_t i)
{
	if (text[i] == '\t')
		return 1;
	if (i == 0 && n > 2 && !memcmp(text, "| ", 2)) /* its first cell is empty, and what was before the bar is trimmed */
		return 2;
	return i + 3 <= n && !memcmp(text + i, " | ", 3) ? 3 : 0;
}

static int find_cells(const char *text, size_t n, struct hs_claim *c)
{
	size_t breaks = 0, start = 0, token = 0;
	for (size_t i = 0; i < n; i++)
		breaks += cell_break(text, n, i) > 0;
	if (breaks == 0)
		return 0;
	c->cells = calloc(HS_CLAIM_CELLS_MAX, sizeof *c->cells);
	if (!c->cells)
		return -ENOMEM;
	for (size_t i = 0; i <= n && c->n_cells < HS_CLAIM_CELLS_MAX; i++) {
		size_t len = i < n ? cell_break(text, n, i) : 1;
		if (len == 0)
			continue;
		struct hs_cell *cell = &c->cells[c->n_cells++];
		*cell = (struct hs_cell){.start = (uint32_t)start, .end = (uint32_t)i, .first = (uint32_t)token};
		while (token < c->tokens.count && c->tokens.items[token].start < i) {
			token++;
			cell->n++;
		}
		start = i + len;
	}
	return 0;
}

static uint32_t cell_of(const struct hs_claim *c, uint32_t byte)
{
	for (size_t k = 0; k + 1 < c->n_cells; k++)
		if (byte < c->cells[k + 1].start)
			return (uint32_t)k;
	return c->n_cells ? (uint32_t)c->n_cells - 1 : 0;
}

/* --- things --- */

static uint64_t quantity_word(const struct hs_quantity *q)
{
	return (q->value * 0x9e3779b97f4a7c15u) ^ ((uint64_t)q->unit << 32) ^ 0x5bd1e995u;
}

/* The tokens that a number covers; false where it has none of its own. */
static bool tokens_of(const struct hs_claim *c, const struct hs_quantity *q, uint32_t *ret_first, uint32_t *ret_last)
{
	uint32_t start, end, found = 0;
	*ret_first = *ret_last = 0;
	if (q->end > c->norm.len || q->start >= q->end)
		return false;
	hs_norm_source(&c->norm, q->start, q->end, &start, &end);
	for (uint32_t i = 0; i < c->tokens.count; i++) {
		if (c->tokens.items[i].start >= end || c->tokens.items[i].end <= start)
			continue;
		if (!found++)
			*ret_first = i;
		*ret_last = i;
	}
	return found > 0;
}

/* Case particles, in classes. 0: none. */
static uint64_t particle_class(const struct hs_claim *c, size_t i)
{
	static const struct {
		const char *term;
		uint64_t class;
	} table[] = {{"は", HS_PARTICLE_TOPIC},
		     {"も", HS_PARTICLE_TOPIC},
		     {"が", HS_PARTICLE_SUBJECT},
		     {"を", 2},
		     {"に", 3},
		     {"へ", 3},
		     {"と", 4},
		     {"で", 5},
		     {"から", 6},
		     {"より", 7},
		     {"の", 8},
		     {"によって", 9},
		     {"により", 9},
		     {"による", 9}};
	if (i >= c->tokens.count)
		return 0;
	for (size_t k = 0; k < HS_ARRAY_LEN(table); k++)
		if (term_is(c, i, table[k].term))
			return table[k].class;
	return 0;
}

struct marks {            /* per token, while things are found */
	uint32_t *number; /* 1 + index of the number that covers it */
};

/* Does the text between two neighbouring tokens hold a comma? */
static bool comma_between(const char *text, const struct hs_claim *c, size_t i)
{
	size_t from = c->tokens.items[i].end, to = c->tokens.items[i + 1].start;
	for (size_t k = from; k + 3 <= to; k++)
		if (!memcmp(text + k, "、", 3) || !memcmp(text + k, "，", 3))
			return true;
	return false;
}

/* What stands on one side of a thing: words and numbers, fading. In a row, nothing: its cells say it. */
static void look_around(const char *text, const struct hs_claim *c, const struct marks *m, struct hs_thing *t, int side)
{
	float weight = 1, factor = 1;
	uint32_t found = 0, before = 0;
	size_t at = side < 0 ? t->first : t->last, last = SIZE_MAX; /* the word before, in our direction */
	while (found < HS_CLAIM_AROUND) {
		if (side < 0 ? at == 0 : at + 1 >= c->tokens.count)
			break;
		if (comma_between(text, c, side < 0 ? at - 1 : at))
			factor *= BEHIND_COMMA;
		at = side < 0 ? at - 1 : at + 1;
		uint64_t word;
		if (m->number[at]) {
			if (m->number[at] == before)
				continue;
			before = m->number[at];
			const struct hs_quantity *q = &c->quantities.items[before - 1];
			word = quantity_word(q);
			if (t->kind == HS_THING_NUMBER && q->unit == c->quantities.items[t->quantity].unit) {
				t->near[t->n_near++] =
				    (struct hs_near){word, HS_MAX(weight, FLOOR) * factor * BEHIND_RIVAL, side, (uint32_t)at};
				factor *= BEHIND_RIVAL;
				found++;
				continue;
			}
			last = SIZE_MAX;
		} else if (hs_era_name(c->tokens.terms + c->tokens.items[at].term, c->tokens.items[at].term_len)) {
			continue;
		} else if (c->words[at].content || c->words[at].opposed) {
			word = c->words[at].lemma;
		} else {
			continue;
		}
		/* Words that touch are one step away together: 方式採用 is as near as 採用. */
		bool touches = last != SIZE_MAX && (side < 0 ? c->tokens.items[at].end == c->tokens.items[last].start
							     : c->tokens.items[last].end == c->tokens.items[at].start);
		if (found > 0 && !touches)
			weight *= FADING;
		t->near[t->n_near++] = (struct hs_near){word, HS_MAX(weight, FLOOR) * factor, side, (uint32_t)at};
		last = at;
		found++;
	}
}

static void look_at(const char *text, const struct hs_claim *c, const struct marks *m, struct hs_thing *t)
{
	uint64_t particle = particle_class(c, t->last + 1);
	t->cell = cell_of(c, c->tokens.items[t->first].start);
	if (c->n_cells) {
		const struct hs_cell *cell = &c->cells[t->cell];
		t->whole_cell = cell->first == t->first && cell->first + cell->n == t->last + 1;
		return;
	}
	if (particle)
		t->near[t->n_near++] = (struct hs_near){particle, PARTICLE, 0, t->last + 1};
	look_around(text, c, m, t, -1);
	look_around(text, c, m, t, 1);
}

/* A run of content words that touch one another, from token i on, with one proper noun at most: 長野県 and 塩尻市 are two. */
static uint32_t run_end(const struct hs_claim *c, const struct marks *m, uint32_t i)
{
	bool proper = c->words[i].proper != HS_NAME_NONE;
	while (i + 1 < c->tokens.count && c->words[i + 1].content && !m->number[i + 1] &&
	       c->tokens.items[i + 1].start == c->tokens.items[i].end && !(proper && c->words[i + 1].proper)) {
		i++;
		proper |= c->words[i].proper != HS_NAME_NONE;
	}
	return i;
}

/* Is there nothing between two things but what enumerates: commas, dots, と, や, および? */
static bool enumerated(const struct hs_claim *c, const struct hs_thing *a, const struct hs_thing *b)
{
	static const char *const joints[] = {"と", "や", "及び", "および", "並びに", "又は", "または", "か"};
	for (uint32_t i = a->last + 1; i < b->first; i++) {
		bool joint = false;
		for (size_t k = 0; k < HS_ARRAY_LEN(joints); k++)
			joint |= term_is(c, i, joints[k]);
		if (!joint)
			return false;
	}
	return true;
}

static int find_things(const char *text, struct hs_claim *c)
{
	struct marks m = {calloc(c->tokens.count + 1, sizeof *m.number)};
	size_t most = HS_MIN(c->tokens.count, (size_t)THINGS_MAX);
	c->things = calloc(most + 1, sizeof *c->things);
	if (!m.number || !c->things) {
		free(m.number);
		return -ENOMEM;
	}
	for (uint32_t k = 0; k < c->quantities.count; k++) {
		uint32_t first, last;
		if (!tokens_of(c, &c->quantities.items[k], &first, &last))
			continue;
		if (c->n_things < most)
			c->things[c->n_things++] = (struct hs_thing){.kind = HS_THING_NUMBER,
								     .quantity = k,
								     .first = first,
								     .last = last,
								     .key = quantity_word(&c->quantities.items[k])};
		for (uint32_t i = first; i <= last; i++)
			m.number[i] = k + 1;
	}
	for (uint32_t i = 0; i < c->tokens.count && c->n_things < most; i++) {
		if (!c->words[i].content || m.number[i] ||
		    hs_era_name(c->tokens.terms + c->tokens.items[i].term, c->tokens.items[i].term_len))
			continue;
		uint32_t last = run_end(c, &m, i);
		struct hs_thing t = {.kind = HS_THING_NOUN, .first = i, .last = last, .key = 14695981039346656037u};
		for (uint32_t k = i; k <= last; k++) {
			if (t.kind == HS_THING_NOUN && c->words[k].proper) {
				t.kind = HS_THING_NAME;
				t.name = c->words[k].proper;
				t.key = c->words[k].lemma;
			} else if (t.kind == HS_THING_NOUN) {
				t.key = (t.key ^ c->words[k].lemma) * 1099511628211u;
			}
		}
		c->things[c->n_things++] = t;
		i = last;
	}
	for (size_t k = 0; k < c->n_cells; k++) {
		struct hs_cell *cell = &c->cells[k];
		uint32_t numbers = 0, others = 0;
		for (uint32_t i = cell->first; i < cell->first + cell->n; i++) {
			numbers += m.number[i] > 0;
			others += !m.number[i] && c->words[i].content;
		}
		cell->counts = numbers > 0 && others <= WORDS_BESIDE_NUMBER;
	}
	uint32_t chain = 0;
	for (size_t i = 0; i < c->n_things; i++) {
		struct hs_thing *t = &c->things[i];
		look_at(text, c, &m, t);
		t->chain =
		    i > 0 && t->kind != HS_THING_NUMBER && c->things[i - 1].kind == t->kind && enumerated(c, &c->things[i - 1], t)
			? chain
			: ++chain;
	}
	free(m.number);
	return 0;
}

/* One with a case particle in it says more than what its topic is. */
uint32_t hs_claim_focus(const struct hs_claim *c)
{
	static const char *const copulas[] = {"です", "だ", "で", "ある"};
	uint32_t n = (uint32_t)c->tokens.count, end = n, at;
	for (bool copula = true; copula && end > 0; end -= copula) {
		copula = false;
		for (size_t k = 0; k < HS_ARRAY_LEN(copulas); k++)
			copula |= term_is(c, end - 1, copulas[k]);
	}
	for (at = end; at > 0 && particle_class(c, at - 1) != HS_PARTICLE_TOPIC; at--)
		if (particle_class(c, at - 1) && !term_is(c, at - 1, "の") && !term_is(c, at - 1, "と"))
			return n;
	return at > 0 && at < end && (c->words[end - 1].content || end < n) ? at : n;
}

/* 百万円, 千円, %, 人 between brackets in a header's cell: the unit of the numbers below it. */
static bool unit_of_header(const struct hs_claim *header, const struct hs_cell *cell, double *ret_scale, uint32_t *ret_unit)
{
	struct hs_quantities q = {0};
	bool found = false;
	for (size_t i = 0; i < header->norm.len && !found; i++) {
		if (header->norm.text[i] != '(' || header->norm.map[i] < cell->start || header->norm.map[i] >= cell->end)
			continue;
		const char *inside = header->norm.text + i + 1, *end = memchr(inside, ')', header->norm.len - i - 1);
		char one[32];
		if (!strncmp(inside, "単位:", strlen("単位:")))
			inside += strlen("単位:");
		/* The normaliser makes 100万円 of 百万円; 円 or % stands without a number. */
		int n = end ? snprintf(one, sizeof one, "%s%.*s", *inside >= '0' && *inside <= '9' ? "" : "1",
				       (int)HS_MIN(end - inside, 24), inside)
			    : 0;
		if (n <= 0 || hs_quantities_find(one, (size_t)n, &q) < 0)
			break;
		found = q.count == 1 && q.items[0].unit && q.items[0].end == (uint32_t)n;
		if (found) {
			*ret_scale = (double)q.items[0].value / 1000;
			*ret_unit = q.items[0].unit;
		}
		hs_quantities_finish(&q);
	}
	return found;
}

int hs_claim_read_units(struct hs_claim *row, const struct hs_claim *header, size_t shift)
{
	size_t n = row->n_things;
	struct hs_thing *things = reallocarray(row->things, 2 * n + 1, sizeof *things);
	if (!things)
		return -ENOMEM;
	row->things = things;
	for (size_t i = 0; i < n; i++) {
		struct hs_thing t = things[i];
		double scale;
		uint32_t unit;
		if (t.kind != HS_THING_NUMBER || row->quantities.items[t.quantity].unit || t.cell < shift ||
		    t.cell - shift >= header->n_cells || !unit_of_header(header, &header->cells[t.cell - shift], &scale, &unit))
			continue;
		struct hs_quantity q = row->quantities.items[t.quantity];
		if ((double)q.value * scale > 1e18)
			continue;
		q.value = (uint64_t)((double)q.value * scale);
		q.unit = unit;
		int rc = hs_quantities_push(&row->quantities, q);
		if (rc < 0)
			return rc;
		t.quantity = (uint32_t)row->quantities.count - 1;
		t.key = quantity_word(&q);
		row->things[row->n_things++] = t;
	}
	return 0;
}

int hs_claim_init(struct hs_tagger *t, const char *text, size_t n, struct hs_claim *ret)
{
	struct hs_claim c = {.end = (uint32_t)n};
	size_t skip = 0;
	int rc = hs_normalize(text, n, &c.norm);
	if (!rc)
		rc = hs_tokenize_words(t, text, n, &c.tokens);
	if (!rc && c.tokens.count > TOKENS_MAX)
		rc = -EMSGSIZE;
	if (!rc) {
		skip = item_number(c.norm.text, c.norm.len);
		c.words = calloc(c.tokens.count + 1, sizeof(*c.words));
		rc = c.words ? hs_quantities_find(c.norm.text + skip, c.norm.len - skip, &c.quantities) : -ENOMEM;
	}
	if (!rc) {
		for (size_t i = 0; i < c.quantities.count; i++) { /* from where the item's number ends */
			c.quantities.items[i].start += (uint32_t)skip;
			c.quantities.items[i].end += (uint32_t)skip;
		}
		hs_polarity_mark(text, n, &c.tokens, c.words);
		c.modality = hs_modality_find(c.norm.text, c.norm.len);
		rc = find_cells(text, n, &c);
	}
	for (size_t i = 0; !rc && i < c.tokens.count; i++)
		c.passive |= term_is(&c, i, "れる") || term_is(&c, i, "られる");
	if (!rc)
		rc = find_things(text, &c);
	if (rc) {
		hs_claim_finish(&c);
		return rc;
	}
	*ret = c;
	return 0;
}
