#include "retrieval/ties.h"

#include <string.h>

#include "base/utf8.h"

/* How much better another thing must fit. Tuned on mutated and true sentences: docs/answer-check.md. */
#define PROSE_MARGIN 0.6f
#define FOCUS_MARGIN 0.15f    /* where the sentence says no more of it than that it is what the rest is about */
#define PROSE_SHARE 0.25f     /* of how well the thing itself fits, in addition */
#define EXCHANGED_MARGIN 0.7f /* where the sentence has the other one, too */
#define ROW_MARGIN 0.15f

#define ASKED 0.3f        /* weight of a word that only the question brings */
#define OTHER_SIDE 0.3f   /* of a word that stands on the other side of the thing */
#define FURTHER_CELL 0.6f /* of a row's other cells, against its first */
#define AWAY 0.05f        /* what a token's distance takes from a word's weight, around a cell of words */
#define CELL_LEAST 4      /* bytes of a cell that is looked for in the sentence */
#define BRIEF_MAX 96
#define LOOKED_AT_MAX 64 /* things of one sentence; a longer one is not vouched for */

#define TOPIC_FOR_ANOTHER 0.5f /* of は where the other has を, に ... */

#define ANY_SIDE 2

struct brief { /* what is said of a thing, by the sentence and the question */
	const struct hs_thing *thing;
	const struct hs_quantity *quantity;
	bool focus; /* it stands in the sentence's focus */
	bool voice; /* sentence and passage are both active or both passive: particles can be compared */
	struct hs_near near[BRIEF_MAX];
	size_t n;
};

static void brief_make(const struct hs_claim *question, const struct hs_claim *s, const struct hs_thing *t, struct brief *b)
{
	b->thing = t;
	b->quantity = t->kind == HS_THING_NUMBER ? &s->quantities.items[t->quantity] : NULL;
	b->n = 0;
	b->focus = t->first >= s->focus;
	for (size_t i = 0; i < t->n_near; i++) {
		struct hs_near near = t->near[i];
		if (near.side == 0 && b->focus)
			continue;
		if (near.side != 0 && (b->focus || near.token >= s->focus))
			near.side = ANY_SIDE;
		b->near[b->n++] = near;
	}
	for (size_t i = 0; i < question->n_things; i++) {
		const struct hs_thing *q = &question->things[i];
		for (uint32_t k = q->first; k <= q->last && b->n < BRIEF_MAX; k++) {
			uint64_t word = q->kind == HS_THING_NUMBER ? q->key : question->words[k].lemma;
			if (q->kind == HS_THING_NUMBER ? k == q->first && q->key != t->key : !hs_claim_has(s, word))
				b->near[b->n++] = (struct hs_near){word, ASKED, ANY_SIDE};
		}
	}
}

/* --- prose --- */

static float particle_share(uint64_t a, uint64_t b)
{
	if (a == b || (HS_MIN(a, b) == HS_PARTICLE_SUBJECT && HS_MAX(a, b) == HS_PARTICLE_TOPIC))
		return 1;
	return HS_MAX(a, b) == HS_PARTICLE_TOPIC ? TOPIC_FOR_ANOTHER : 0;
}

/* How much of what stands at x the word at y gives. */
static float share_of(const struct brief *b, const struct hs_near *x, const struct hs_near *y)
{
	if (x->side == 0 || y->side == 0)
		return x->side == y->side && b->voice ? particle_share(x->word, y->word) : 0;
	if (x->word != y->word)
		return 0;
	return x->side == y->side || x->side == ANY_SIDE ? 1 : OTHER_SIDE;
}

static float fit_prose(const struct brief *b, const struct hs_thing *there)
{
	float sum = 0;
	for (size_t i = 0; i < b->n; i++) {
		float best = 0;
		for (uint32_t k = 0; k < there->n_near; k++)
			best = HS_MAX(best, share_of(b, &b->near[i], &there->near[k]) *
						HS_MIN(b->near[i].weight, there->near[k].weight));
		sum += best;
	}
	return sum;
}

/* --- rows --- */

static float said(const struct brief *b, uint64_t word)
{
	float best = 0;
	for (size_t i = 0; i < b->n; i++)
		if (b->near[i].side != 0 && b->near[i].word == word)
			best = HS_MAX(best, b->near[i].weight);
	return best;
}

static uint32_t characters(const struct hs_claim *c, uint32_t token)
{
	return (uint32_t)hs_utf8_count(c->tokens.terms + c->tokens.items[token].term, c->tokens.items[token].term_len);
}

/* How much of a cell's words the sentence says near the thing, times the share of the cell that this is. */
static float fit_cell(const struct brief *b, const struct hs_claim *row, uint32_t cell)
{
	float sum = 0, all = 0, met = 0;
	for (size_t i = 0; i < row->n_things; i++) {
		const struct hs_thing *t = &row->things[i];
		if (t->cell != cell)
			continue;
		for (uint32_t k = t->first; k <= (t->kind == HS_THING_NUMBER ? t->first : t->last); k++) {
			float weight = said(b, t->kind == HS_THING_NUMBER ? t->key : row->words[k].lemma),
			      n = (float)characters(row, k);
			sum += weight;
			all += n;
			met += weight > 0 ? n : 0;
		}
	}
	return all > 0 ? sum * met / all : 0;
}

/* How well the name of a cell's column is said. */
static float fit_column(const struct brief *b, const struct hs_claim *row, const struct hs_claim *header, uint32_t cell)
{
	size_t shift = header ? hs_row_shift(row, header) : 0;
	return header && cell >= shift && cell - shift < header->n_cells ? fit_cell(b, header, (uint32_t)(cell - shift)) : 0;
}

/* Is another column of the same row named rather than this one? */
static bool another_column(const struct brief *b, const struct hs_claim *row, const struct hs_claim *header, uint32_t cell)
{
	float own = fit_column(b, row, header, cell);
	for (uint32_t k = 1; cell > 0 && k < row->n_cells; k++)
		if (k != cell && fit_column(b, row, header, k) > own + ROW_MARGIN)
			return true;
	return false;
}

static float fit_row(const struct brief *b, const struct hs_claim *row, const struct hs_claim *header, uint32_t cell)
{
	float sum = 0, further = 0;
	for (uint32_t k = 0; k < row->n_cells; k++) {
		if (k == cell || (row->cells[k].counts && k > 0 && cell > 0))
			continue;
		float fit = fit_cell(b, row, k);
		if (k == 0)
			sum += fit;
		else
			further = HS_MAX(further, fit);
	}
	return sum + fit_column(b, row, header, cell) + FURTHER_CELL * further;
}

/* --- is another thing meant? --- */

struct found {
	bool in_row, in_prose;
	bool free;        /* it stands in a header or within the text of a cell: that is no value of a row and column */
	bool named;       /* the row is named by sentence or question */
	float row, prose; /* how well the thing itself fits where it stands */
	uint32_t column;
	const struct hs_claim *row_at, *header;
	uint32_t chain;
	const struct hs_claim *chain_in;
};

static bool same_thing(const struct brief *b, const struct hs_claim *c, const struct hs_thing *t)
{
	if (b->quantity)
		return t->kind == HS_THING_NUMBER && hs_same_quantity(b->quantity, &c->quantities.items[t->quantity]);
	return t->kind != HS_THING_NUMBER && t->key == b->thing->key;
}

/* Has its first cell words by which it could be meant? A rank of one letter has none. */
static bool names_row(const struct hs_claim *row)
{
	for (size_t i = 0; i < row->n_things; i++)
		if (row->things[i].cell == 0)
			return true;
	return false;
}

static struct found find(const struct brief *b, const struct hs_scene *p)
{
	struct found f = {.row = 0};
	for (size_t k = 0; k < p->n; k++) {
		const struct hs_claim *c = &p->claims[k];
		for (size_t i = 0; i < c->n_things; i++) {
			const struct hs_thing *t = &c->things[i];
			if (!same_thing(b, c, t))
				continue;
			if (c->n_cells && (p->headers[k] == c || !c->cells[t->cell].counts)) {
				f.free = true;
				continue;
			}
			if (c->n_cells && b->quantity) {
				float fit = fit_row(b, c, p->headers[k], t->cell);
				if (f.in_row && fit <= f.row)
					continue;
				f.row = fit;
				f.in_row = true;
				f.named = t->cell == 0 || fit_cell(b, c, 0) > 0 || !names_row(c);
				f.column = t->cell;
				f.row_at = c;
				f.header = p->headers[k];
			} else if (!c->n_cells) {
				float fit = fit_prose(b, t);
				if (f.in_prose && fit <= f.prose)
					continue;
				f.prose = fit;
				f.in_prose = true;
				f.chain = t->chain;
				f.chain_in = c;
			}
		}
	}
	return f;
}

/* May it stand where the other stands? In a table, any number for a number. */
static bool rivals_in_row(const struct brief *b, const struct found *f, const struct hs_claim *c, const struct hs_thing *t)
{
	return b->quantity && t->kind == HS_THING_NUMBER && c->cells[t->cell].counts && (t->cell == 0) == (f->column == 0);
}

/* A ship stands in no town's place. People and places share their names. */
static bool alike(enum hs_name_kind a, enum hs_name_kind b)
{
	return (a == HS_NAME_GENERAL) == (b == HS_NAME_GENERAL) || HS_MAX(a, b) == HS_NAME_ORGANIZATION;
}

/* In prose: a number of the same unit, another name. */
static bool rivals_in_prose(const struct brief *b, const struct found *f, const struct hs_claim *c, const struct hs_thing *t)
{
	if (b->quantity)
		return t->kind == HS_THING_NUMBER && c->quantities.items[t->quantity].unit == b->quantity->unit;
	return b->thing->kind == HS_THING_NAME && t->kind == HS_THING_NAME && alike(b->thing->name, t->name) &&
	       !(c == f->chain_in && t->chain == f->chain);
}

/* A name that the sentence says in a place of its own is no rival: whether the two are exchanged is asked apart. */
static bool has_name(const struct hs_claim *s, const struct hs_thing *t)
{
	for (size_t i = 0; i < s->n_things; i++)
		if (s->things[i].kind == HS_THING_NAME && s->things[i].key == t->key)
			return true;
	return false;
}

static bool another_fits(const struct hs_claim *s, const struct brief *b, const struct hs_scene *p, const struct found *f)
{
	if (f->free)
		return false;
	bool row_lost = f->in_row && another_column(b, f->row_at, f->header, f->column), prose_lost = false;
	for (size_t k = 0; k < p->n; k++) {
		const struct hs_claim *c = &p->claims[k];
		if (c->n_cells && p->headers[k] == c)
			continue;
		for (size_t i = 0; i < c->n_things; i++) {
			const struct hs_thing *t = &c->things[i];
			if (same_thing(b, c, t) || (t->kind == HS_THING_NAME && has_name(s, t)))
				continue;
			if (f->in_row && c->n_cells && rivals_in_row(b, f, c, t))
				row_lost |= fit_row(b, c, p->headers[k], t->cell) > f->row + ROW_MARGIN;
			else if (f->in_prose && !c->n_cells && rivals_in_prose(b, f, c, t))
				prose_lost |=
				    fit_prose(b, t) > f->prose * (1 + PROSE_SHARE) + (b->focus ? FOCUS_MARGIN : PROSE_MARGIN);
		}
	}
	return (f->in_row || f->in_prose) && (row_lost || !f->in_row) && (prose_lost || !f->in_prose);
}

/* --- who and whom --- */

struct fits {                                     /* of thing i of the sentence into the places of thing j */
	float best[LOOKED_AT_MAX][LOOKED_AT_MAX]; /* negative: j stands nowhere in what is to support the sentence */
	uint32_t chain[LOOKED_AT_MAX];            /* where i itself fits best */
};

static void fit_all(const struct hs_claim *question, const struct hs_claim *s, const struct hs_scene *p, size_t n, bool voice,
		    struct fits *f)
{
	for (size_t i = 0; i < n; i++) {
		struct brief b = {.voice = voice};
		brief_make(question, s, &s->things[i], &b);
		for (size_t j = 0; j < n; j++)
			f->best[i][j] = -1;
		for (size_t k = p->from; k < p->to; k++) {
			for (size_t t = 0; t < p->claims[k].n_things && !p->claims[k].n_cells; t++) {
				const struct hs_thing *there = &p->claims[k].things[t];
				float fit = -1;
				for (size_t j = 0; j < n && there->kind != HS_THING_NUMBER; j++) {
					if (s->things[j].key != there->key)
						continue;
					fit = fit < 0 ? fit_prose(&b, there) : fit;
					if (j == i && fit > f->best[i][j])
						f->chain[i] = (uint32_t)k << 16 ^ there->chain;
					f->best[i][j] = HS_MAX(f->best[i][j], fit);
				}
			}
		}
	}
}

/*
 * What an open question says of its topic, and the sentence repeats before its focus, is taken for granted: A社を買収したのは誰
 * asserts a purchase. Which thing stands in the focus is what is asserted.
 */
static bool granted(const struct hs_claim *question, const struct hs_claim *s, const struct hs_thing *t)
{
	if (s->focus >= s->tokens.count || t->first >= s->focus)
		return false;
	for (size_t i = 0; i < question->n_things; i++)
		if (question->things[i].kind == t->kind && question->things[i].key == t->key)
			return true;
	return false;
}

/* Would two things of the sentence fit the passage better if they changed places? */
static bool exchanged(const struct hs_claim *question, const struct hs_claim *s, const struct hs_scene *p, size_t n, bool voice)
{
	struct fits f;
	fit_all(question, s, p, n, voice, &f);
	for (size_t i = 0; i < n; i++) {
		for (size_t j = i + 1; j < n; j++) {
			const struct hs_thing *x = &s->things[i], *y = &s->things[j];
			if (x->kind == HS_THING_NUMBER || y->kind == HS_THING_NUMBER || x->key == y->key || x->chain == y->chain)
				continue;
			bool x_granted = granted(question, s, x), y_granted = granted(question, s, y);
			if ((x_granted && y_granted) || (x->kind != y->kind && (x_granted || y_granted)))
				continue;
			if (f.best[i][i] < 0 || f.best[j][j] < 0 || f.chain[i] == f.chain[j])
				continue;
			if (f.best[i][j] + f.best[j][i] > f.best[i][i] + f.best[j][j] + EXCHANGED_MARGIN)
				return true;
		}
	}
	return false;
}

/* --- cells of words --- */

/* Where the sentence spells the whole cell: its tokens. */
static bool spells_cell(const struct hs_claim *s, const struct hs_claim *row, uint32_t cell, struct hs_thing *ret)
{
	const struct hs_cell *x = &row->cells[cell];
	size_t from = 0, to, n;
	while (from < row->norm.len && row->norm.map[from] < x->start)
		from++;
	for (to = from; to < row->norm.len && row->norm.map[to] < x->end; to++)
		;
	n = to - from;
	const char *at = x->n > 0 && n >= CELL_LEAST ? memmem(s->norm.text, s->norm.len, row->norm.text + from, n) : NULL;
	if (!at)
		return false;
	uint32_t start, end, found = 0;
	hs_norm_source(&s->norm, (size_t)(at - s->norm.text), (size_t)(at - s->norm.text) + n, &start, &end);
	*ret = (struct hs_thing){.kind = HS_THING_NOUN};
	for (uint32_t i = 0; i < s->tokens.count; i++) {
		if (s->tokens.items[i].start < start || s->tokens.items[i].end > end)
			continue;
		if (!found++)
			ret->first = i;
		ret->last = i;
	}
	return found > 0;
}

/* What the sentence says around a run of its tokens, with no regard to order. */
static void brief_around(const struct hs_claim *question, const struct hs_claim *s, struct hs_thing *t, struct brief *b)
{
	t->n_near = 0;
	brief_make(question, s, t, b);
	for (size_t i = 0; i < s->n_things && b->n < BRIEF_MAX; i++) {
		const struct hs_thing *x = &s->things[i];
		for (uint32_t k = x->first; k <= x->last && b->n < BRIEF_MAX; k++) {
			if (k >= t->first && k <= t->last)
				continue;
			uint32_t away = k < t->first ? t->first - k : k - t->last;
			uint64_t word = x->kind == HS_THING_NUMBER ? x->key : s->words[k].lemma;
			b->near[b->n++] = (struct hs_near){word, HS_MAX(1 - AWAY * (float)away, ASKED), ANY_SIDE};
		}
	}
}

/* A cell that the sentence spells must be the one that its row's and column's names lead to, among the cells of its column. */
static bool cell_tied(const struct hs_claim *question, const struct hs_claim *s, const struct hs_scene *p, size_t at,
		      uint32_t cell)
{
	struct hs_thing span;
	struct brief b = {.voice = false};
	const struct hs_claim *header = p->headers[at];
	if (p->claims[at].cells[cell].counts || !spells_cell(s, &p->claims[at], cell, &span))
		return true;
	for (uint32_t k = 0; k < p->claims[at].n_cells; k++) {
		struct hs_thing wider;
		if (k != cell && spells_cell(s, &p->claims[at], k, &wider) && wider.first <= span.first &&
		    wider.last >= span.last && wider.last - wider.first > span.last - span.first)
			return true; /* エドキサバン in エドキサバン錠30mg: it is that cell that is said */
	}
	brief_around(question, s, &span, &b);
	float own = fit_row(&b, &p->claims[at], header, cell), other = 0;
	for (size_t k = 0; k < p->n; k++) {
		const struct hs_claim *row = &p->claims[k];
		if (row->n_cells == 0 || p->headers[k] != header || row == header || cell >= row->n_cells)
			continue;
		struct hs_thing same;
		float fit = fit_row(&b, row, header, cell);
		if (spells_cell(s, row, cell, &same))
			own = HS_MAX(own, fit);
		else
			other = HS_MAX(other, fit);
	}
	return other <= own + ROW_MARGIN && !another_column(&b, &p->claims[at], header, cell);
}

bool hs_tied(const struct hs_claim *question, const struct hs_claim *s, const struct hs_scene *scene)
{
	bool passive = false;
	for (size_t k = scene->from; k < scene->to; k++)
		passive |= scene->claims[k].passive;
	size_t n = s->n_things;
	if (n > LOOKED_AT_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		struct brief b = {.voice = passive == s->passive};
		if (granted(question, s, &s->things[i]))
			continue;
		brief_make(question, s, &s->things[i], &b);
		struct found f = find(&b, scene);
		/* 一般社員の宿泊料 of a table whose rows are regions: nothing says that it is this one's. */
		if (f.in_row && !f.in_prose && !f.free && !f.named && !s->n_cells)
			return false;
		if (another_fits(s, &b, scene, &f))
			return false;
	}
	if (exchanged(question, s, scene, n, passive == s->passive))
		return false;
	for (size_t k = scene->from; k < scene->to; k++) {
		const struct hs_claim *row = &scene->claims[k];
		for (uint32_t cell = 0; scene->headers[k] != row && cell < row->n_cells; cell++)
			if (!cell_tied(question, s, scene, k, cell))
				return false;
	}
	return true;
}
