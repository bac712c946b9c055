#include "retrieval/evidence.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "retrieval/quantity.h"
#include "text/analyze.h"
#include "text/chartab.h"
#include "text/normalize.h"
#include "text/sentence.h"

/* Measured on jaquad-dev and niilc: docs/answers.md. What follows a sentence goes on about it more often than what stands before.
 */
#define BEFORE_SHARE 0.2f
#define BEHIND_SHARE 0.4f
#define RANK_COST 0.2f /* of a sentence's worth, for each passage that ranks before its own */
#define RANK_LEAST 0.1f
#define UNMEASURED 0.6f /* is left of its worth, where it has no number of what is asked for */
#define SAME_SHARE 0.9 /* of the smaller sentence's bigrams: a near copy */

struct candidate {
	uint32_t hit, start, end; /* bytes within the hit's text */
	float own, worth;
	uint32_t characters;
	uint64_t *terms; /* which of the question's terms it holds */
	uint32_t *set;   /* hashes of its bigrams, sorted, distinct */
	uint32_t n_set;
	const char *header; /* of a row of a table */
	uint32_t header_len;
	bool measures;                  /* it has a number of what is asked for, or no such thing is asked for */
	bool is_header, taken, counted; /* counted: among the best that coverage is taken of */
};

struct selection {
	const struct hs_results *results;
	struct candidate *items;
	size_t n;
	size_t words; /* of a term set */
	float idf_sum;
	struct hs_norm question; /* its last line: the turn before may stand above it, to help the search */
	uint32_t unit;           /* that the question asks for, or 0 */
	struct hs_tokens tokens;
};

static uint32_t hash_term(const char *s, size_t n)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)s[i]) * 16777619u;
	return h;
}

static int u32_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int weigh(struct selection *s, struct candidate *c)
{
	const struct hs_hit *hit = &s->results->hits[c->hit];
	uint32_t kept = 0;
	size_t own;
	int rc;

	s->tokens.count = 0;
	s->tokens.terms_len = 0;
	rc = hs_tokenize_bigrams(hit->text + c->start, c->end - c->start, &s->tokens);
	own = s->tokens.count; /* what tells a row from its neighbours: not the header that they share */
	if (rc == 0 && c->header)
		rc = hs_tokenize_bigrams(c->header, c->header_len, &s->tokens);
	if (rc < 0)
		return rc;
	c->terms = calloc(s->words + 1, sizeof(*c->terms));
	c->set = calloc(own + 1, sizeof(*c->set));
	if (!c->terms || !c->set)
		return -ENOMEM;
	for (size_t i = 0; i < s->tokens.count; i++) {
		const struct hs_token *t = &s->tokens.items[i];

		if (i < own)
			c->set[i] = hash_term(s->tokens.terms + t->term, t->term_len);
		for (size_t q = 0; q < s->results->n_terms; q++) {
			const struct hs_query_term *term = &s->results->terms[q];

			if (term->len != t->term_len || memcmp(term->term, s->tokens.terms + t->term, t->term_len) != 0)
				continue;
			if (!(c->terms[q / 64] >> (q % 64) & 1))
				c->own += term->idf;
			c->terms[q / 64] |= 1ull << (q % 64);
			break;
		}
	}
	qsort(c->set, own, sizeof(*c->set), u32_compare);
	for (size_t i = 0; i < own; i++)
		if (i == 0 || c->set[i] != c->set[kept - 1])
			c->set[kept++] = c->set[i];
	c->n_set = kept;
	c->own = s->idf_sum > 0 ? c->own / s->idf_sum : 0;
	c->characters = (uint32_t)hs_utf8_count(hit->text + c->start, c->end - c->start);
	return 0;
}

static bool is_row(const char *text, size_t n)
{
	return memchr(text, '\t', n) != NULL;
}

/*
 * Find the header of the row c, given the candidate before it. The first row of a table is its header, unless the chunk
 * goes on with a table whose header stands in the last line of the context.
 */
static void place_in_table(struct selection *s, struct candidate *c)
{
	const struct hs_hit *hit = &s->results->hits[c->hit];
	const struct candidate *before = s->n > 0 && s->items[s->n - 1].hit == c->hit ? &s->items[s->n - 1] : NULL;

	if (!is_row(hit->text + c->start, c->end - c->start))
		return;
	if (before && before->is_header) {
		c->header = hit->text + before->start;
		c->header_len = before->end - before->start;
	} else if (before && before->header) {
		c->header = before->header;
		c->header_len = before->header_len;
	} else {
		const char *line = strrchr(hit->context, '\n');

		if (!before && line && is_row(line + 1, strlen(line + 1))) {
			c->header = line + 1;
			c->header_len = (uint32_t)strlen(line + 1);
		} else {
			c->is_header = true;
		}
	}
}

/* Of a row of a table the header may have the unit: there, any number counts. */
static int measure(const struct selection *s, struct candidate *c)
{
	struct hs_quantities found = {0};
	struct hs_norm norm;

	c->measures = s->unit == 0;
	if (c->measures)
		return 0;
	int rc = hs_normalize(s->results->hits[c->hit].text + c->start, c->end - c->start, &norm);
	if (rc < 0)
		return rc;
	rc = hs_quantities_find(norm.text, norm.len, &found);
	for (size_t i = 0; rc == 0 && i < found.count; i++)
		c->measures |= c->header || (found.items[i].unit != 0 && hs_same_dimension(found.items[i].unit, s->unit));
	hs_quantities_finish(&found);
	hs_norm_finish(&norm);
	return rc;
}

/* Prose goes on about its matter; a table's row says nothing of the rows beside it. */
static int split(struct selection *s)
{
	for (uint32_t h = 0; h < s->results->count; h++) {
		const struct hs_hit *hit = &s->results->hits[h];
		struct hs_sentence sentence;
		size_t at = 0;

		while (s->n < HS_EVIDENCE_SENTENCES_MAX && hs_sentence_next(hit->text, hit->text_len, &at, &sentence)) {
			struct candidate *c = &s->items[s->n];
			int rc;

			if (sentence.end <= sentence.start)
				continue;
			*c = (struct candidate){.hit = h, .start = (uint32_t)sentence.start, .end = (uint32_t)sentence.end};
			place_in_table(s, c);
			s->n++;
			rc = weigh(s, c);
			if (rc == 0)
				rc = measure(s, c);
			if (rc < 0)
				return rc;
		}
	}
	for (size_t i = 0; i < s->n; i++) {
		struct candidate *c = &s->items[i];

		c->worth = c->own;
		if (c->header) {
			c->worth *= 1 + BEFORE_SHARE + BEHIND_SHARE;
		} else {
			if (i > 0 && s->items[i - 1].hit == c->hit)
				c->worth += BEFORE_SHARE * s->items[i - 1].own;
			if (i + 1 < s->n && s->items[i + 1].hit == c->hit)
				c->worth += BEHIND_SHARE * s->items[i + 1].own;
		}
		if (!c->measures)
			c->worth *= UNMEASURED;
		c->worth *= HS_MAX(1 - RANK_COST * (float)c->hit, RANK_LEAST);
	}
	return 0;
}

static bool near_copy(const struct candidate *a, const struct candidate *b)
{
	uint32_t i = 0, j = 0, same = 0, least = HS_MIN(a->n_set, b->n_set), most = HS_MAX(a->n_set, b->n_set);

	if (least == 0 || least * 10 < most * 8) /* a short sentence inside a long one is no copy of it */
		return false;
	while (i < a->n_set && j < b->n_set) {
		same += a->set[i] == b->set[j];
		if (a->set[i] < b->set[j])
			i++;
		else if (a->set[i] > b->set[j])
			j++;
		else {
			i++;
			j++;
		}
	}
	return same >= SAME_SHARE * least;
}

/* Overlapping passages of one version give the same sentence twice. */
static bool same_place(const struct selection *s, const struct candidate *a, const struct candidate *b)
{
	const struct hs_hit *x = &s->results->hits[a->hit], *y = &s->results->hits[b->hit];

	return strcmp(x->version.s, y->version.s) == 0 && x->start + a->start < y->start + b->end &&
	       y->start + b->start < x->start + a->end;
}

static bool known(const struct selection *s, const struct candidate *c)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->items[i].taken && (same_place(s, &s->items[i], c) || near_copy(&s->items[i], c)))
			return true;
	return false;
}

static _Thread_local const struct candidate *by_worth; /* qsort has no argument for it */

static int worth_compare(const void *a, const void *b)
{
	const struct candidate *x = &by_worth[*(const uint32_t *)a], *y = &by_worth[*(const uint32_t *)b];

	if (x->worth != y->worth)
		return x->worth > y->worth ? -1 : 1;
	return u32_compare(a, b);
}

static size_t take(struct selection *s, uint32_t *order, size_t budget, size_t *ret_count)
{
	size_t spent = 0, counted = 0, count = 0;

	for (size_t i = 0; i < s->n; i++)
		order[i] = (uint32_t)i;
	by_worth = s->items;
	qsort(order, s->n, sizeof(*order), worth_compare);
	for (size_t i = 0; i < s->n; i++) {
		struct candidate *c = &s->items[order[i]];

		if (count > 0 && (c->worth <= 0 || spent + c->characters > budget))
			continue;
		if (c->is_header && order[i] + 1 < s->n && s->items[order[i] + 1].hit == c->hit && s->items[order[i] + 1].header)
			continue; /* its rows bring it */
		if (known(s, c))
			continue;
		c->taken = true;
		c->counted = count == 0 || counted + c->characters <= HS_EVIDENCE_COVERAGE;
		counted += c->counted ? c->characters : 0;
		spent += c->characters;
		count++;
	}
	*ret_count = count;
	return spent;
}

static int read_question(struct selection *s, const char *question, size_t len)
{
	const char *line = len ? memrchr(question, '\n', len) : NULL;

	if (line) {
		len -= (size_t)(line + 1 - question);
		question = line + 1;
	}
	int rc = hs_normalize(question, len, &s->question);
	if (rc == 0)
		s->unit = hs_unit_asked(s->question.text, s->question.len);
	return rc;
}

static float share_of_terms(const struct selection *s, const uint64_t *held)
{
	float sum = 0;

	for (size_t q = 0; q < s->results->n_terms; q++)
		if (held[q / 64] >> (q % 64) & 1)
			sum += s->results->terms[q].idf;
	return s->idf_sum > 0 ? HS_MIN(1.0f, sum / s->idf_sum) : 0;
}

/* The share of the question's idf that the sentences of a passage hold. held: room for a term set. */
static float share_of_hit(const struct selection *s, uint32_t hit, uint64_t *held)
{
	memset(held, 0, (s->words + 1) * sizeof(*held));
	for (size_t i = 0; i < s->n; i++)
		for (size_t w = 0; w < s->words && s->items[i].hit == hit; w++)
			held[w] |= s->items[i].terms[w];
	return share_of_terms(s, held);
}

/* Does the passage say again what the sentence says? */
static bool repeats(const struct selection *s, uint32_t hit, const struct candidate *c)
{
	bool found = false;

	for (size_t i = 0; i < s->n; i++)
		found |= s->items[i].hit == hit && near_copy(&s->items[i], c);
	return found;
}

/* The same rule in two versions of a document is no reason for doubt: a passage that repeats the first's best sentence is left
 * out. */
static float lead_of_first(const struct selection *s, uint64_t *held)
{
	const struct candidate *best = NULL;
	float next = 0;

	for (size_t i = 0; i < s->n; i++)
		if (s->items[i].hit == 0 && (!best || s->items[i].worth > best->worth))
			best = &s->items[i];
	for (uint32_t h = 1; best && h < s->results->count; h++)
		if (!repeats(s, h, best))
			next = HS_MAX(next, share_of_hit(s, h, held));
	return best ? share_of_hit(s, 0, held) - next : 0;
}

/* The end of the run of characters of one script at i: a word, roughly. *ret_n: its characters; 0: no script that makes words. */
static size_t run_end(const struct hs_norm *q, size_t i, size_t *ret_n)
{
	uint32_t cp, script = 0;

	for (*ret_n = 0; i < q->len; (*ret_n)++) {
		size_t n = hs_utf8_decode(q->text + i, q->len - i, &cp);
		uint32_t own = hs_char_flags(cp) & (HS_CHAR_HAN | HS_CHAR_KATAKANA);

		if (!own && cp < 0x80)
			own = hs_char_flags(cp) & HS_CHAR_WORD;
		if (*ret_n == 0)
			script = own;
		else if (own != script)
			break;
		i += n;
		if (!script)
			break;
	}
	return i;
}

/* The share of the question's words, of two characters at least, that the counted sentences or what stands above them spell. */
static int words_spelt(const struct selection *s, float *ret)
{
	struct hs_norm text = {0};
	struct hs_buf all = HS_BUF_INIT;
	size_t words = 0, spelt = 0, n;
	int rc = 0;

	for (size_t i = 0; i < s->n && rc == 0; i++) {
		const struct candidate *c = &s->items[i];
		const struct hs_hit *hit = &s->results->hits[c->hit];

		if (c->taken && c->counted)
			rc = hs_buf_printf(&all, "%.*s\n%s\n%s\n", (int)(c->end - c->start), hit->text + c->start, hit->title,
					   hit->context);
	}
	if (rc == 0)
		rc = hs_normalize((const char *)all.data, all.len, &text);
	for (size_t i = 0; i < s->question.len && rc == 0;) {
		size_t end = run_end(&s->question, i, &n);

		if (n >= 2) {
			words++;
			spelt += memmem(text.text, text.len, s->question.text + i, end - i) != NULL;
		}
		i = end;
	}
	if (rc == 0) {
		*ret = words > 0 ? (float)spelt / (float)words : 1;
		hs_norm_finish(&text);
	}
	hs_buf_wipe(&all);
	return rc;
}

static int give(const struct selection *s, size_t count, size_t spent, struct hs_evidence *ret)
{
	struct hs_evidence e = {.characters = spent};
	uint64_t *held = calloc(s->words + 1, sizeof(*held));
	int rc;

	e.items = calloc(count + 1, sizeof(*e.items));
	if (!held || !e.items) {
		free(held);
		free(e.items);
		return -ENOMEM;
	}
	for (size_t i = 0; i < s->n; i++) {
		const struct candidate *c = &s->items[i];
		const struct hs_hit *hit = &s->results->hits[c->hit];

		if (!c->taken)
			continue;
		for (size_t w = 0; w < s->words && c->counted; w++)
			held[w] |= c->terms[w];
		e.items[e.count++] = (struct hs_evidence_sentence){.hit = c->hit, .start = hit->start + c->start, .end = hit->start + c->end,
								   .text = hit->text + c->start, .header = c->header,
								   .header_len = c->header_len, .worth = c->worth};
	}
	e.coverage = share_of_terms(s, held);
	e.lead = lead_of_first(s, held);
	rc = words_spelt(s, &e.words);
	free(held);
	if (rc == 0)
		*ret = e;
	else
		free(e.items);
	return rc;
}

int hs_evidence_select(const struct hs_results *results, const char *question, size_t question_len, size_t budget,
		       struct hs_evidence *ret)
{
	struct selection s = {.results = results, .words = (results->n_terms + 63) / 64};
	uint32_t *order = calloc(HS_EVIDENCE_SENTENCES_MAX, sizeof(*order));
	size_t count = 0, spent;
	int rc;

	s.items = calloc(HS_EVIDENCE_SENTENCES_MAX, sizeof(*s.items));
	for (size_t q = 0; q < results->n_terms; q++)
		s.idf_sum += results->terms[q].idf;
	rc = s.items && order ? read_question(&s, question, question_len) : -ENOMEM;
	if (rc == 0)
		rc = split(&s);
	if (rc == 0) {
		spent = take(&s, order, budget, &count);
		rc = give(&s, count, spent, ret);
	}
	for (size_t i = 0; s.items && i < s.n; i++) {
		free(s.items[i].terms);
		free(s.items[i].set);
	}
	free(s.items);
	free(order);
	hs_tokens_finish(&s.tokens);
	hs_norm_finish(&s.question);
	return rc;
}

void hs_evidence_finish(struct hs_evidence *e)
{
	free(e->items);
	*e = (struct hs_evidence){0};
}

int hs_evidence_held(const struct hs_results *results, const struct hs_evidence_text *texts, size_t n, float *ret)
{
	struct hs_tokens tokens = {0};
	float held = 0, all = 0;
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = hs_tokenize_bigrams(texts[i].s, texts[i].len, &tokens);
	for (size_t q = 0; q < results->n_terms && rc == 0; q++) {
		const struct hs_query_term *term = &results->terms[q];
		bool found = false;

		for (size_t i = 0; i < tokens.count && !found; i++)
			found = term->len == tokens.items[i].term_len &&
				memcmp(term->term, tokens.terms + tokens.items[i].term, term->len) == 0;
		all += term->idf;
		held += found ? term->idf : 0;
	}
	hs_tokens_finish(&tokens);
	if (rc == 0)
		*ret = all > 0 ? held / all : 0;
	return rc;
}
