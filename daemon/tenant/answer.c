#include "daemon/tenant/answer.h"

#include <errno.h>
#include <string.h>

#include <jansson.h>
#include <sodium.h>

#include "text/sentence.h"

/* Seconds that an employee waits for the prompt to be read, and what a prompt costs beside its passages. */
#define PREFILL_SECONDS 4.0f
#define PROMPT_TOKENS_BESIDE 100.0f
#define TOKENS_PER_CHARACTER 0.65f /* Japanese text under the qwen2 vocabulary */
#define BUDGET_LEAST 200
#define BUDGET_MOST 4000
#define BUDGET_UNKNOWN 300

/*
 * A quote is of the best passage, unless another's sentence is worth so much more that the best passage's is beside the
 * question.
 */
#define BEST_PASSAGE_WORTH 0.5f

/* A second quote must be nearly as good as the first. */
#define SECOND_QUOTE_WORTH 0.9f

size_t hs_answer_budget(float prefill_rate)
{
	if (!(prefill_rate > 0))
		return BUDGET_UNKNOWN;
	float characters = (prefill_rate * PREFILL_SECONDS - PROMPT_TOKENS_BESIDE) / TOKENS_PER_CHARACTER;
	return (size_t)HS_MIN(HS_MAX(characters, (float)BUDGET_LEAST), (float)BUDGET_MOST);
}

/* A cell's end: the next tab, or the row's end. */
static const char *cell_end(const char *at, const char *end)
{
	const char *tab = memchr(at, '\t', (size_t)(end - at));
	return tab ? tab : end;
}

static size_t count_tabs(const char *s, size_t n)
{
	size_t tabs = 0;
	for (size_t i = 0; i < n; i++)
		tabs += s[i] == '\t';
	return tabs;
}

/* A row of a table as a person would read it out: "項目: 値、項目: 値". Returns the bytes written, at most row_room(). */
static size_t read_out_row(const struct hs_evidence_sentence *s, char *out)
{
	const char *cell = s->text, *cells_end = s->text + (s->end - s->start);
	const char *name = s->header, *names_end = s->header + s->header_len;
	char *p = out;
	/* A header whose first cell is empty has lost it with the white space around its line: its names begin a cell later. */
	bool lost = count_tabs(name, s->header_len) + 1 == count_tabs(cell, (size_t)(cells_end - cell));
	while (cell < cells_end) {
		const char *to = cell_end(cell, cells_end), *name_to = lost               ? name
								       : name < names_end ? cell_end(name, names_end)
											  : names_end;
		if (to > cell) {
			static const char comma[] = "、", colon[] = ": ";
			if (p != out)
				p = mempcpy(p, comma, sizeof comma - 1);
			p = mempcpy(p, name, (size_t)(name_to - name));
			if (name_to > name)
				p = mempcpy(p, colon, sizeof colon - 1);
			p = mempcpy(p, cell, (size_t)(to - cell));
		}
		cell = to < cells_end ? to + 1 : cells_end;
		if (!lost)
			name = name_to < names_end ? name_to + 1 : names_end;
		lost = false;
	}
	return (size_t)(p - out);
}

static size_t row_room(const struct hs_evidence_sentence *s)
{
	return (size_t)(s->end - s->start) * 5 + s->header_len + 8; /* each cell, however short, brings two separators */
}

/* A chosen sentence as the prompt and a quotation show it. */
static size_t read_out(const struct hs_evidence_sentence *s, char *out)
{
	if (s->header)
		return read_out_row(s, out);
	memcpy(out, s->text, s->end - s->start);
	return s->end - s->start;
}

/* The sentences of one hit, as one text: neighbours as they stand, gaps as a line end. */
static char *join_sentences(struct hs_arena *arena, const struct hs_evidence_sentence *s, size_t n, size_t *ret_len)
{
	size_t cap = 1;
	for (size_t i = 0; i < n; i++)
		cap += s[i].header ? row_room(&s[i]) : s[i].end - s[i].start + 1;
	char *text = hs_arena_alloc(arena, cap), *p = text;
	if (!text)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			*p++ = '\n';
		p += read_out(&s[i], p);
	}
	*p = '\0';
	*ret_len = (size_t)(p - text);
	return text;
}

/* What stands above a passage and gives its words their meaning: title, headings, the names of a table's columns. */
static const char *text_above(struct hs_arena *arena, const struct hs_hit *hit, const struct hs_evidence_sentence *s, size_t n)
{
	const char *header = "";
	int header_len = 0;
	for (size_t i = 0; i < n; i++) {
		if (s[i].header) {
			header = s[i].header;
			header_len = (int)s[i].header_len;
		}
	}
	size_t cap = strlen(hit->title) + strlen(hit->context) + (size_t)header_len + 3;
	char *text = hs_arena_alloc(arena, cap);
	if (text)
		(void)snprintf(text, cap, "%s\n%s\n%.*s", hit->title, hit->context, header_len, header); /* cap was made for it */
	return text;
}

int hs_answer_begin(struct hs_answer *a, struct hs_arena *arena, const char *question, const struct hs_results *results,
		    const struct hs_evidence *evidence)
{
	*a = (struct hs_answer){.arena = arena,
				.question = question,
				.results = results,
				.odds = hs_answerable_odds(results, evidence),
				.offered.limit = HS_ANSWER_TEXT_MAX,
				.released.limit = HS_ANSWER_TEXT_MAX};
	a->evidence = hs_arena_calloc(arena, evidence->count + 1, sizeof *a->evidence);
	a->passages = hs_arena_calloc(arena, evidence->count + 1, sizeof *a->passages);
	a->above = hs_arena_calloc(arena, evidence->count + 1, sizeof *a->above);
	if (!a->evidence || !a->passages || !a->above)
		return -ENOMEM;
	for (size_t i = 0; i < evidence->count && a->n_evidence < HS_PROMPT_PASSAGES_MAX;) {
		const struct hs_evidence_sentence *first = &evidence->items[i];
		size_t n = 1;
		while (i + n < evidence->count && first[n].hit == first->hit)
			n++;
		const struct hs_hit *hit = &results->hits[first->hit];
		size_t len = 0;
		char *text = join_sentences(arena, first, n, &len);
		a->above[a->n_evidence] = text_above(arena, hit, first, n);
		if (!text || !a->above[a->n_evidence])
			return -ENOMEM;
		uint32_t start = first->start, end = first[n - 1].end;
		a->passages[a->n_evidence] = (struct hs_prompt_passage){hit->title, hit->context, text, len};
		a->evidence[a->n_evidence] = (struct hs_cited){.n = (unsigned)a->n_evidence + 1,
							       .document = hit->document.s,
							       .version = hit->version.s,
							       .start = start,
							       .end = end,
							       .page = hit->page,
							       .title = hit->title,
							       .context = hit->context,
							       .quote = hit->text + (start - hit->start),
							       .quote_len = end - start};
		a->n_evidence++;
		i += n;
	}
	return 0;
}

void hs_answer_finish(struct hs_answer *a)
{
	hs_check_destroy(a->check);
	a->check = NULL;
	hs_buf_wipe(&a->offered);
	hs_buf_wipe(&a->released);
	hs_buf_wipe(&a->leaves);
}

void hs_answer_passages(const struct hs_answer *a, struct hs_prompt_passage *out)
{
	memcpy(out, a->passages, a->n_evidence * sizeof *out);
}

void hs_answer_keep(struct hs_answer *a, const bool *entered)
{
	size_t kept = 0;
	for (size_t i = 0; i < a->n_evidence; i++) {
		if (!entered[i])
			continue;
		a->evidence[kept] = a->evidence[i];
		a->passages[kept] = a->passages[i];
		a->above[kept] = a->above[i];
		a->evidence[kept].n = (unsigned)kept + 1;
		kept++;
	}
	a->n_evidence = kept;
}

int hs_answer_push(struct hs_answer *a, const char *text, size_t len)
{
	return hs_buf_append(&a->offered, text, len);
}

int hs_answer_quote(struct hs_answer *a, const struct hs_evidence *evidence)
{
	const struct hs_evidence_sentence *best[HS_ANSWER_QUOTES_MAX] = {NULL};
	if (!a->quotable)
		return 0;
	const struct hs_evidence_sentence *first = NULL; /* of the best passage, which stands first */
	for (size_t i = 0; i < evidence->count; i++) {
		const struct hs_evidence_sentence *s = &evidence->items[i];
		if (s->hit == evidence->items[0].hit && (!first || s->worth > first->worth))
			first = s;
		if (!best[0] || s->worth > best[0]->worth) {
			best[1] = best[0];
			best[0] = s;
		} else if (!best[1] || s->worth > best[1]->worth) {
			best[1] = s;
		}
	}
	if (first && first != best[0] && first->worth >= BEST_PASSAGE_WORTH * best[0]->worth) {
		best[0] = first;
		best[1] = NULL; /* what is worth more beside it is about something else */
	}
	for (size_t i = 0; i < HS_ANSWER_QUOTES_MAX && best[i]; i++) {
		if (i > 0 && best[i]->worth < SECOND_QUOTE_WORTH * best[0]->worth)
			break;
		size_t e = 0;
		while (e < a->n_evidence && !(a->evidence[e].start <= best[i]->start && best[i]->end <= a->evidence[e].end &&
					      best[i]->text >= a->evidence[e].quote &&
					      best[i]->text < a->evidence[e].quote + a->evidence[e].quote_len))
			e++;
		char *text = hs_arena_alloc(a->arena, best[i]->header ? row_room(best[i]) : best[i]->end - best[i]->start + 1);
		if (!text)
			return -ENOMEM;
		text[read_out(best[i], text)] = '\0';
		if (e < a->n_evidence)
			a->quotes[a->n_quotes++] = (struct hs_quote){e, best[i]->start, best[i]->end, text};
	}
	return 0;
}

int hs_answer_fall_back(struct hs_answer *a, const struct hs_evidence *evidence)
{
	if (a->json || a->n_citations || a->n_quotes || a->declined || !hs_answerable_surely(a->odds))
		return 0;
	a->quotable = true;
	return hs_answer_quote(a, evidence);
}

static bool add_text(struct hs_answer *a, const char *text, size_t n)
{
	size_t at = 0;
	struct hs_sentence s;
	while (hs_sentence_next(text, n, &at, &s)) {
		uint32_t begin = (uint32_t)a->leaves.len;
		if (a->n_parts == HS_ANSWER_PARTS_MAX || hs_buf_append(&a->leaves, text + s.start, s.end - s.start) < 0)
			return false;
		a->parts[a->n_parts++] = (struct hs_answer_span){begin, (uint32_t)a->leaves.len};
	}
	return true;
}

/* What says nothing (null, no text) needs no support; what cannot be checked as a sentence is not let through. */
static bool add_texts(struct hs_answer *a, const json_t *value)
{
	const char *name;
	json_t *below;
	bool good = true;
	if (json_is_string(value))
		return add_text(a, json_string_value(value), json_string_length(value));
	for (size_t i = 0; i < json_array_size(value) && good; i++)
		good = add_texts(a, json_array_get(value, i));
	json_object_foreach((json_t *)value, name, below)
		good = good && add_texts(a, below);
	return good && (json_is_null(value) || json_is_array(value) || json_is_object(value));
}

static void parse_json(struct hs_answer *a)
{
	json_t *root = json_loadb((const char *)a->offered.data, a->offered.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
	a->parts = hs_arena_calloc(a->arena, HS_ANSWER_PARTS_MAX, sizeof *a->parts);
	a->leaves.limit = HS_ANSWER_TEXT_MAX;
	a->parsed = true;
	a->withheld = !root || !a->parts || !add_texts(a, root);
	json_decref(root);
}

/* The sentence under judgement. */
static const char *sentence_of(const struct hs_answer *a, size_t *ret_len)
{
	*ret_len = a->sentence_end - a->sentence_start;
	return (const char *)(a->json ? a->leaves.data : a->offered.data) + a->sentence_start;
}

static bool next_part(struct hs_answer *a)
{
	if (!a->parsed)
		parse_json(a);
	if (a->withheld || a->next_part == a->n_parts)
		return false;
	a->sentence_start = a->parts[a->next_part].at;
	a->sentence_end = a->parts[a->next_part++].to;
	return true;
}

bool hs_answer_next(struct hs_answer *a, bool last)
{
	if (a->json)
		return last && next_part(a);
	if (a->next_quote < a->n_quotes)
		return true;
	const char *text = (const char *)a->offered.data;
	size_t at = 0;
	struct hs_sentence s;
	if (a->offered.len == 0 || !hs_sentence_next(text, a->offered.len, &at, &s))
		return false;
	if (at >= a->offered.len && !last && !hs_sentence_ended(text, a->offered.len))
		return false;
	a->sentence_start = s.start;
	a->sentence_end = s.end;
	return true;
}

static int make_check(struct hs_answer *a, struct hs_analyzer *analyzer)
{
	struct hs_check_passage passages[HS_PROMPT_PASSAGES_MAX];
	for (size_t i = 0; i < a->n_evidence; i++) {
		const struct hs_cited *e = &a->evidence[i];
		passages[i] = (struct hs_check_passage){e->quote, e->quote_len, a->above[i], strlen(a->above[i])};
	}
	return hs_check_create(analyzer, a->question, strlen(a->question), passages, a->n_evidence, &a->check);
}

int hs_answer_check(struct hs_answer *a, struct hs_analyzer *analyzer, struct hs_verdict *ret)
{
	*ret = (struct hs_verdict){0};
	if (a->next_quote < a->n_quotes) {
		const struct hs_quote *q = &a->quotes[a->next_quote];
		*ret = (struct hs_verdict){
		    true, HS_CHECK_SUPPORTED, true, q->evidence, q->start, q->end, a->evidence[q->evidence].version};
		return 0;
	}
	struct hs_check_result result;
	size_t len;
	const char *sentence = sentence_of(a, &len);
	int rc = a->check ? 0 : make_check(a, analyzer);
	if (rc == 0)
		rc = hs_check_sentence(a->check, sentence, len, &result);
	if (rc < 0)
		return rc;
	ret->why = result.why;
	if (result.why != HS_CHECK_SUPPORTED)
		return 0;
	const struct hs_cited *e = &a->evidence[result.passage];
	const char *above = a->above[result.passage];
	const struct hs_evidence_text texts[] = {{e->quote + result.start, result.end - result.start}, {above, strlen(above)}};
	*ret = (struct hs_verdict){true,
				   result.why,
				   result.answers,
				   result.passage,
				   e->start + result.start,
				   e->start + result.end,
				   e->version,
				   result.overlap,
				   0};
	rc = hs_evidence_held(a->results, texts, HS_ARRAY_LEN(texts), &ret->held);
	/* What the documents say may still be no answer to what was asked. Sentences behind an answer only add to it. */
	if (rc == 0 && a->n_citations == 0 && !a->json)
		ret->supported = result.answers && hs_answers_question(a->odds, ret->held, ret->overlap);
	return rc;
}

static struct hs_cited cited(const struct hs_answer *a, const struct hs_verdict *v)
{
	struct hs_cited c = a->evidence[v->evidence];
	c.quote += v->start - c.start;
	c.quote_len = v->end - v->start;
	c.start = v->start;
	c.end = v->end;
	return c;
}

static void take_part(struct hs_answer *a, const struct hs_verdict *v)
{
	a->withheld = a->withheld || !v->supported || a->n_citations == HS_ANSWER_CITATIONS_MAX;
	a->on_topic = a->on_topic || (v->answers && hs_answers_question(a->odds, v->held, v->overlap));
	if (!a->withheld)
		a->citations[a->n_citations++] = cited(a, v);
}

int hs_answer_end_json(struct hs_answer *a)
{
	if (a->withheld || !a->on_topic || a->n_citations == 0) {
		a->n_citations = 0;
		return 0;
	}
	int rc = hs_buf_append(&a->released, a->offered.data, a->offered.len);
	if (rc == 0)
		a->outcome = HS_OUTCOME_ANSWERED;
	return rc;
}

int hs_answer_take(struct hs_answer *a, const struct hs_verdict *v, const char **ret_text, const struct hs_cited **ret_citation)
{
	if (a->json) {
		*ret_text = NULL;
		*ret_citation = NULL;
		take_part(a, v);
		return 0;
	}
	const char *sentence;
	size_t len;
	bool quote = a->next_quote < a->n_quotes;
	*ret_text = NULL;
	*ret_citation = NULL;
	if (quote) {
		sentence = a->quotes[a->next_quote++].text;
		len = strlen(sentence);
	} else {
		sentence = (const char *)a->offered.data + a->sentence_start;
		len = a->sentence_end - a->sentence_start;
	}
	if (v->supported && a->n_citations < HS_ANSWER_CITATIONS_MAX) {
		struct hs_cited *c = &a->citations[a->n_citations];
		*c = cited(a, v);
		size_t at = a->released.len;
		int rc = hs_buf_printf(&a->released, "%s%.*s[%u]", at ? "\n" : "", (int)len, sentence, c->n);
		if (rc < 0)
			return rc;
		*ret_text = hs_arena_strndup(a->arena, (const char *)a->released.data + at, a->released.len - at);
		if (!*ret_text)
			return -ENOMEM;
		a->spans[a->n_citations] = (struct hs_answer_span){(uint32_t)(at + (at > 0)), (uint32_t)a->released.len};
		*ret_citation = c;
		a->n_citations++;
		a->outcome = quote ? HS_OUTCOME_EXTRACTED : HS_OUTCOME_ANSWERED;
	}
	if (!quote) {
		size_t at = 0;
		struct hs_sentence s;
		a->declined |=
		    len >= strlen(hs_not_found_text) && strncmp(sentence, hs_not_found_text, strlen(hs_not_found_text)) == 0;
		(void)hs_sentence_next((const char *)a->offered.data, a->offered.len, &at, &s); /* the one just judged */
		hs_buf_consume(&a->offered, at);
	}
	return 0;
}

const char *hs_answer_text(const struct hs_answer *a)
{
	const char *text = hs_buf_cstr((struct hs_buf *)&a->released);
	return text ? text : "";
}

void hs_answer_hash(const struct hs_answer *a, uint8_t out[static 32])
{
	(void)crypto_generichash(out, 32, a->released.data, a->released.len, NULL, 0); /* fails for wrong lengths only */
}
