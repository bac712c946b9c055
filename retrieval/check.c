#include "retrieval/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "retrieval/ties.h"
#include "text/sentence.h"

#define WINDOW_MAX 3    /* sentences that may support one sentence together */
#define THRESHOLD 0.62f /* share of words that must be found; measured: docs/answer-check.md */
#define SIZE_COST 0.15f /* of overlap, that each further sentence must add */
#define NEAR 0.06f      /* windows whose overlap differs by no more speak of the same */

struct passage {
	struct hs_claim *claims;
	size_t n;
	struct hs_claim context; /* words and text of the title and headings */
	struct hs_claim header;  /* the last line of the context, where it is a row: the header of a table that goes on here */
	const struct hs_claim **headers; /* of each claim that is a row */
};

struct hs_check {
	struct hs_tagger *tagger;
	struct passage *passages;
	size_t n;
	struct hs_claim question;
};

/* --- making a check --- */

/* Each row gets its header: the first row of its table, or the one that the context ends with. */
static int find_headers(struct hs_tagger *t, const struct hs_check_passage *in, struct passage *p)
{
	const char *line = in->context_len ? memrchr(in->context, '\n', in->context_len) : NULL;
	const struct hs_claim *header = NULL;
	p->headers = calloc(p->n + 1, sizeof *p->headers);
	if (!p->headers)
		return -ENOMEM;
	if (line) {
		int rc = hs_claim_init(t, line + 1, (size_t)(in->context + in->context_len - line - 1), &p->header);
		if (rc)
			return rc;
	}
	for (size_t k = 0; k < p->n; k++) {
		const struct hs_claim *c = &p->claims[k];
		if (!c->n_cells) {
			header = NULL;
			continue;
		}
		bool given = k == 0 && p->header.n_cells == c->n_cells &&
			     (p->header.norm.len != c->norm.len || memcmp(p->header.norm.text, c->norm.text, c->norm.len) != 0);
		if (!header)
			header = given ? &p->header : c;
		p->headers[k] = header;
		int rc = header == c ? 0 : hs_claim_read_units(&p->claims[k], header, hs_row_shift(c, header));
		if (rc)
			return rc;
	}
	return 0;
}

static int passage_init(struct hs_tagger *t, const struct hs_check_passage *in, struct passage *p)
{
	struct hs_sentence s;
	size_t at = 0, cap = 0;
	if (in->len > HS_CHECK_PASSAGE_MAX)
		return -EMSGSIZE;
	if (!hs_utf8_valid(in->text, in->len, NULL))
		return -EILSEQ;
	int rc = in->context ? hs_claim_init(t, in->context, in->context_len, &p->context) : 0;
	while (!rc && hs_sentence_next(in->text, in->len, &at, &s)) {
		if (p->n == cap) {
			cap = cap ? cap * 2 : 8;
			struct hs_claim *grown = realloc(p->claims, cap * sizeof(*grown));
			if (!grown)
				return -ENOMEM;
			p->claims = grown;
		}
		rc = hs_claim_init(t, in->text + s.start, s.end - s.start, &p->claims[p->n]);
		if (rc)
			return rc;
		p->claims[p->n].start = (uint32_t)s.start;
		p->claims[p->n].end = (uint32_t)s.end;
		p->n++;
	}
	return rc ? rc : find_headers(t, in, p);
}

static bool claim_spells(const struct hs_claim *c, const char *s, size_t n)
{
	return c->norm.text && memmem(c->norm.text, c->norm.len, s, n) != NULL;
}

static bool spells_any(const struct hs_claim *c, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (claim_spells(c, words[i], strlen(words[i])))
			return true;
	return false;
}

/* Does it ask for a thing, rather than whether? */
static bool is_open(const struct hs_claim *question)
{
	static const char *const asks_what[] = {"何",   "なに",   "なん",   "誰",     "だれ", "どこ", "いつ",
						"どの", "どんな", "いくら", "いくつ", "なぜ", "どう", "どのよう"};
	return spells_any(question, asks_what, HS_ARRAY_LEN(asks_what));
}

int hs_check_create(struct hs_analyzer *a, const char *question, size_t question_len, const struct hs_check_passage *passages,
		    size_t n_passages, struct hs_check **ret)
{
	if (n_passages > HS_CHECK_PASSAGES_MAX || question_len > HS_CHECK_PASSAGE_MAX)
		return -EMSGSIZE;
	struct hs_check *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->passages = calloc(n_passages + 1, sizeof(*c->passages));
	int rc = c->passages ? hs_tagger_create(a, &c->tagger) : -ENOMEM;
	if (!rc && question)
		rc = hs_claim_init(c->tagger, question, question_len, &c->question);
	c->question.open = !rc && question && is_open(&c->question);
	for (; !rc && c->n < n_passages; c->n++)
		rc = passage_init(c->tagger, &passages[c->n], &c->passages[c->n]);
	if (rc) {
		hs_check_destroy(c);
		return rc;
	}
	*ret = c;
	return 0;
}

void hs_check_destroy(struct hs_check *c)
{
	if (!c)
		return;
	for (size_t i = 0; c->passages && i < c->n; i++) {
		for (size_t k = 0; k < c->passages[i].n; k++)
			hs_claim_finish(&c->passages[i].claims[k]);
		free(c->passages[i].claims);
		hs_claim_finish(&c->passages[i].context);
		hs_claim_finish(&c->passages[i].header);
		free(c->passages[i].headers);
	}
	hs_claim_finish(&c->question);
	free(c->passages);
	hs_tagger_destroy(c->tagger);
	free(c);
}

/* --- looking for a sentence in a run of sentences --- */

struct window {
	const struct passage *p;
	size_t from, to; /* claims, exclusive */
};

static bool window_has(const struct window *w, uint64_t lemma)
{
	for (size_t k = w->from; k < w->to; k++)
		if (hs_claim_has(&w->p->claims[k], lemma) || (w->p->headers[k] && hs_claim_has(w->p->headers[k], lemma)))
			return true;
	return w->p->context.words && hs_claim_has(&w->p->context, lemma);
}

/* Does the passage, anywhere, or what stands above it, spell this? A name is given once and then understood. */
static bool passage_spells(const struct passage *p, const char *s, size_t n)
{
	for (size_t k = 0; k < p->n; k++)
		if (claim_spells(&p->claims[k], s, n))
			return true;
	return claim_spells(&p->context, s, n);
}

static bool window_spells(const struct window *w, const char *s, size_t n)
{
	for (size_t k = w->from; k < w->to; k++)
		if (claim_spells(&w->p->claims[k], s, n) || (w->p->headers[k] && claim_spells(w->p->headers[k], s, n)))
			return true;
	return claim_spells(&w->p->context, s, n);
}

/* A number that stands above what it is said of: in a title, a heading, a table's header. */
static bool quantity_above(const struct hs_quantities *above, const struct hs_quantity *q)
{
	for (size_t i = 0; i < above->count; i++)
		if (hs_same_quantity(q, &above->items[i]) && (!q->compare || q->compare == above->items[i].compare))
			return true;
	return false;
}

/* 上限, 最低 ... in a table's header: its numbers are bounds, without saying so themselves. */
static bool bound_by_header(const struct hs_claim *header, enum hs_compare compare)
{
	static const char *const most[] = {"上限", "最大", "最高", "限度"}, *const least[] = {"下限", "最低", "最小"};
	bool found = false;
	for (size_t i = 0; header && compare == HS_COMPARE_LE && i < HS_ARRAY_LEN(most); i++)
		found |= claim_spells(header, most[i], strlen(most[i]));
	for (size_t i = 0; header && compare == HS_COMPARE_GE && i < HS_ARRAY_LEN(least); i++)
		found |= claim_spells(header, least[i], strlen(least[i]));
	return found;
}

/*
 * Is the number in the window as often as the sentence says it up to here (times)? A comparator that the sentence leaves out
 * is no contradiction; another one is.
 */
static enum hs_check_why quantity_in(const struct window *w, const struct hs_quantity *q, size_t times)
{
	enum hs_check_why why = HS_CHECK_NUMBER;
	for (size_t k = w->from; k < w->to; k++) {
		const struct hs_quantities *have = &w->p->claims[k].quantities;
		for (size_t i = 0; i < have->count; i++) {
			if (!hs_same_quantity(q, &have->items[i]))
				continue;
			bool agrees = !q->compare || q->compare == have->items[i].compare ||
				      (!have->items[i].compare && bound_by_header(w->p->headers[k], q->compare));
			if (agrees && --times == 0)
				return HS_CHECK_SUPPORTED;
			why = HS_CHECK_COMPARATOR;
		}
	}
	bool above = times == 1 && quantity_above(&w->p->context.quantities, q);
	for (size_t k = w->from; times == 1 && k < w->to; k++)
		above |= w->p->headers[k] && quantity_above(&w->p->headers[k]->quantities, q);
	return above ? HS_CHECK_SUPPORTED : why;
}

/*
 * A number that the question brought may be said again where the window has none of its kind: 天皇賞で1着だったのは. Where the
 * window has another one of the kind, it must be the window's: 5万円 for 10万円.
 */
static bool only_asked(const struct hs_claim *question, const struct hs_quantity *q, const struct window *w)
{
	bool asked = false;
	for (size_t i = 0; i < question->quantities.count; i++) {
		const struct hs_quantity *x = &question->quantities.items[i];
		asked |= x->value == q->value && x->unit == q->unit && x->compare == q->compare;
	}
	for (size_t k = w->from; asked && k < w->to; k++)
		for (size_t i = 0; i < w->p->claims[k].quantities.count; i++)
			asked &= w->p->claims[k].quantities.items[i].unit != q->unit;
	return asked;
}

static enum hs_check_why check_quantities(const struct hs_claim *question, const struct hs_claim *s, const struct window *w)
{
	const struct hs_quantity *q = s->quantities.items;
	for (size_t i = 0; i < s->quantities.count; i++) {
		size_t times = 1;
		for (size_t k = 0; k < i; k++)
			times += q[k].value == q[i].value && q[k].unit == q[i].unit && q[k].compare == q[i].compare;
		enum hs_check_why why = quantity_in(w, &q[i], times);
		if (why != HS_CHECK_SUPPORTED && !only_asked(question, &q[i], w))
			return why;
	}
	return HS_CHECK_SUPPORTED;
}

/* The normalised spellings of a sentence's tokens: made once, looked for in every window. */
struct spelling {
	const char *text;
	size_t len;
};

static int spell_all(const struct hs_claim *s, const char *text, struct hs_buf *bytes, struct spelling **ret)
{
	size_t *at = calloc(s->tokens.count + 1, sizeof(*at));
	struct spelling *list = calloc(s->tokens.count + 1, sizeof(*list));
	int rc = at && list ? 0 : -ENOMEM;
	for (size_t i = 0; !rc && i < s->tokens.count; i++) {
		const struct hs_token *t = &s->tokens.items[i];
		struct hs_norm norm;
		rc = hs_normalize(text + t->start, t->end - t->start, &norm);
		if (rc)
			break;
		at[i] = bytes->len;
		list[i].len = norm.len;
		rc = hs_buf_append(bytes, norm.text, norm.len);
		hs_norm_finish(&norm);
	}
	for (size_t i = 0; !rc && i < s->tokens.count; i++)
		list[i].text = bytes->data ? (const char *)bytes->data + at[i] : "";
	free(at);
	if (rc)
		free(list);
	else
		*ret = list;
	return rc;
}

static bool ascii_word(const char *s, size_t n)
{
	bool letters = false;
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)s[i] >= 0x80)
			return false;
		letters |= s[i] >= 'a' && s[i] <= 'z';
	}
	return letters && n >= 2;
}

static bool is_name(const struct hs_claim *s, const struct spelling *spelled, size_t i)
{
	const char *text = spelled[i].text;
	size_t n = spelled[i].len;
	return (s->words[i].proper && !hs_era_name(text, n)) || ascii_word(text, n);
}

/* Does the window name anyone or anything that the sentence does not? Then it may speak of that one. */
static bool names_another(const struct hs_claim *s, const struct window *w)
{
	for (size_t k = w->from; k < w->to; k++) {
		const struct hs_claim *c = &w->p->claims[k];
		for (size_t i = 0; i < c->tokens.count; i++)
			if (c->words[i].proper && !hs_claim_has(s, c->words[i].lemma))
				return true;
	}
	return false;
}

/*
 * Names must be spelled in the passage: what the dictionary calls a proper noun, and words in Latin letters. One that the
 * question brought may be said again where the window names no other: documents leave their subject out.
 */
static bool check_names(const struct hs_claim *question, const struct hs_claim *s, const struct spelling *spelled,
			const struct window *w)
{
	for (size_t i = 0; i < s->tokens.count; i++) {
		if (!is_name(s, spelled, i) || passage_spells(w->p, spelled[i].text, spelled[i].len))
			continue;
		/* 日本国内 for 国内: where a document names no country, it is this one. */
		bool brought = claim_spells(question, spelled[i].text, spelled[i].len) ||
			       (spelled[i].len == strlen("日本") && !strncmp(spelled[i].text, "日本", spelled[i].len));
		if (!brought || names_another(s, w))
			return false;
	}
	return true;
}

/* Does the question take the denial for granted? 再利用されないのは何? */
static bool granted(const struct hs_claim *question, const struct hs_word *x)
{
	bool found = false;
	for (size_t i = 0; question->open && !x->main && i < question->tokens.count; i++) {
		const struct hs_word *q = &question->words[i];
		found |= q->content && q->lemma == x->lemma && q->negated && !q->main;
	}
	return found;
}

/*
 * Nothing that the sentence asserts may be denied in the window, and the other way round. Looked at: what it ends in, what
 * it denies, and words of opposed pairs; other words are only mentioned.
 */
static bool check_polarity(const struct hs_claim *question, const struct hs_claim *s, const struct window *w)
{
	for (size_t i = 0; i < s->tokens.count; i++) {
		const struct hs_word *x = &s->words[i];
		if (!x->content && !x->opposed)
			continue;
		if (!x->main && !x->negated && !x->opposed)
			continue;
		bool met = false, agreed = false;
		for (size_t k = w->from; k < w->to; k++) {
			const struct hs_claim *c = &w->p->claims[k];
			for (size_t j = 0; j < c->tokens.count; j++) {
				if (c->words[j].lemma != x->lemma)
					continue;
				met = true;
				agreed |= c->words[j].negated == x->negated;
			}
		}
		/* A denial of something that the window does not even mention is not supported either. */
		if (met ? !agreed : x->negated && !x->opposed && !granted(question, x))
			return false;
	}
	return true;
}

/* A duty is no permission: of each pair, the window must not speak in the other alone. */
static bool check_modality(const struct hs_claim *s, const struct window *w)
{
	uint32_t have = 0;
	for (size_t k = w->from; k < w->to; k++)
		have |= w->p->claims[k].modality;
	uint32_t want = s->modality;
	for (int pair = 0; pair < 2; pair++, want >>= 2, have >>= 2)
		for (uint32_t one = 1; one <= 2; one++)
			if ((want & one) && !(have & one) && (have & (one ^ 3u)))
				return false;
	return true;
}

/* The share of a word's character pairs that the window spells: 開業日 for 開業. */
static float spelled_share(const struct window *w, const char *s, size_t n)
{
	size_t pairs = 0, found = 0;
	uint32_t cp;
	for (size_t i = 0; i < n;) {
		size_t a = hs_utf8_decode(s + i, n - i, &cp);
		size_t b = a && i + a < n ? hs_utf8_decode(s + i + a, n - i - a, &cp) : 0;
		if (!a || !b)
			break;
		pairs++;
		found += window_spells(w, s + i, a + b);
		i += a;
	}
	return pairs ? (float)found / (float)pairs : 0;
}

/*
 * The share of the sentence's content words that the window holds, by their length. What the question supplied is left out
 * of it (-1 where nothing remains), but not of *ret_nearness, by which the window that speaks of the matter is found.
 */
static float overlap_of(const struct hs_check *c, const struct hs_claim *s, const struct spelling *spelled,
			const struct window *w, float *ret_nearness)
{
	float all = 0, found = 0, whole = 0, near = 0;
	for (size_t i = 0; i < s->tokens.count; i++) {
		const struct hs_word *x = &s->words[i];
		/* Numbers are looked at one by one elsewhere. */
		if (!x->content || !spelled[i].len || (spelled[i].text[0] >= '0' && spelled[i].text[0] <= '9') ||
		    hs_era_name(spelled[i].text, spelled[i].len))
			continue;
		float weight = (float)HS_MIN(hs_utf8_count(spelled[i].text, spelled[i].len), (size_t)4);
		float share = window_has(w, x->lemma) ? 1 : spelled_share(w, spelled[i].text, spelled[i].len);
		whole += weight;
		near += weight * share;
		if (share < 1 && c->question.words && hs_claim_has(&c->question, x->lemma))
			continue;
		all += weight;
		found += weight * share;
	}
	*ret_nearness = whole > 0 ? near / whole : 0;
	return all > 0 ? found / all : -1;
}

static struct hs_check_result judge(const struct hs_check *c, const struct hs_claim *s, const struct spelling *spelled,
				    const struct window *w, float *ret_nearness)
{
	float overlap = overlap_of(c, s, spelled, w, ret_nearness);
	enum hs_check_why numbers = check_quantities(&c->question, s, w);
	struct hs_check_result r = {
	    .passage = (size_t)(w->p - c->passages),
	    .overlap = overlap < 0 ? 0 : overlap,
	    .start = w->p->claims[w->from].start,
	    .end = w->p->claims[w->to - 1].end,
	    .why = HS_CHECK_SUPPORTED,
	};
	if (overlap < 0 && s->quantities.count == 0)
		r.why = HS_CHECK_EMPTY;
	else if (overlap >= 0 && overlap < THRESHOLD)
		r.why = HS_CHECK_UNSUPPORTED;
	else if (numbers != HS_CHECK_SUPPORTED)
		r.why = numbers;
	else if (!check_names(&c->question, s, spelled, w))
		r.why = HS_CHECK_NAME;
	else if (!check_polarity(&c->question, s, w) || !check_modality(s, w))
		r.why = HS_CHECK_POLARITY;
	else if (!hs_tied(&c->question, s, &(struct hs_scene){w->p->claims, w->p->n, w->from, w->to, w->p->headers}))
		r.why = HS_CHECK_TIE;
	return r;
}

struct best {
	struct hs_check_result nearest, support;
	float worth, support_worth;
};

/*
 * Which window speaks of what the sentence speaks of is decided by the words; only among windows that are about equally
 * near may one that supports it win. Otherwise a wrong number would find its like somewhere in a long passage.
 */
static void consider(const struct hs_check_result *r, float nearness, size_t size, struct best *b)
{
	float w = nearness - SIZE_COST * (float)(size - 1);
	bool supports = r->why == HS_CHECK_SUPPORTED;
	if (w > b->worth) {
		b->worth = w;
		b->nearest = *r;
	}
	if (supports && w > b->support_worth) {
		b->support_worth = w;
		b->support = *r;
	}
}

/* A question asserts nothing. */
static bool asks(const struct hs_norm *norm)
{
	size_t n = norm->len;
	while (n && strchr(" .!\n", norm->text[n - 1]))
		n--;
	if (n >= 3 && !strncmp(norm->text + n - 3, "。", 3))
		n -= 3;
	return (n && norm->text[n - 1] == '?') || (n >= 3 && !strncmp(norm->text + n - 3, "か", 3));
}

/* Can the sentence be an answer at all? hs_check_result.answers. */
static bool can_answer(const struct hs_claim *question, const struct hs_claim *s)
{
	static const char *const asks_which[] = {"どちら", "どっち", "どれ"};
	if (!question->norm.text)
		return true;
	/* The turn before, where it helps the search, stands in a line above: what is asked for stands in the last one. */
	const char *line = memrchr(question->norm.text, '\n', question->norm.len);
	size_t above = line ? (size_t)(line + 1 - question->norm.text) : 0;
	uint32_t unit = hs_unit_asked(question->norm.text + above, question->norm.len - above);
	bool of_unit = !unit || s->quantities.count == 0, brings = false;
	for (size_t i = 0; i < s->quantities.count; i++) {
		bool asked = false;
		for (size_t k = 0; k < question->quantities.count; k++)
			asked |= hs_same_quantity(&s->quantities.items[i], &question->quantities.items[k]);
		brings |= !asked;
		of_unit |= !asked && hs_same_dimension(s->quantities.items[i].unit, unit);
	}
	for (size_t i = 0; i < s->tokens.count; i++)
		brings |= s->words[i].content && !hs_claim_has(question, s->words[i].lemma);
	if (!question->open || spells_any(question, asks_which, HS_ARRAY_LEN(asks_which)))
		brings = true;
	return of_unit && brings;
}

int hs_check_sentence(struct hs_check *c, const char *text, size_t len, struct hs_check_result *ret)
{
	struct hs_claim s;
	struct best b = {.worth = -10, .support_worth = -10};
	if (len > HS_CHECK_SENTENCE_MAX)
		return -EMSGSIZE;
	int rc = hs_claim_init(c->tagger, text, len, &s);
	if (rc)
		return rc;
	s.focus = c->question.open ? hs_claim_focus(&s) : (uint32_t)s.tokens.count;
	HS_BUF_AUTO bytes = HS_BUF_INIT;
	struct spelling *spelled = NULL;
	rc = spell_all(&s, text, &bytes, &spelled);
	for (size_t size = 1; !rc && size <= WINDOW_MAX; size++) {
		for (size_t p = 0; p < c->n; p++) {
			for (size_t from = 0; from + size <= c->passages[p].n; from++) {
				struct window w = {.p = &c->passages[p], .from = from, .to = from + size};
				float nearness;
				struct hs_check_result r = judge(c, &s, spelled, &w, &nearness);
				consider(&r, nearness, size, &b);
			}
		}
	}
	struct hs_check_result best = b.support_worth >= b.worth - NEAR ? b.support : b.nearest;
	if (s.tokens.count == 0 || asks(&s.norm))
		best.why = HS_CHECK_EMPTY;
	best.answers = can_answer(&c->question, &s);
	free(spelled);
	hs_buf_wipe(&bytes);
	hs_claim_finish(&s);
	if (!rc)
		*ret = best;
	return rc;
}
