#include "retrieval/search.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/utf8.h"
#include "policy/schema.h"
#include "retrieval/fts.h"
#include "retrieval/internal.h"
#include "retrieval/reading.h"
#include "retrieval/schema.h"

#define RESULTS_BYTES_MAX (32u << 20)

struct search { /* one call's */
	struct hs_reader *r;
	const struct hs_grant *g;
	const struct hs_query *q;
	struct hs_index *index;
	struct hs_sight view;
	struct hs_tokens tokens[HS_FIELDS];
	struct hs_rank_terms terms[HS_FIELDS];
	struct hs_vector_query vector;
	struct hs_buf expression, plain;
	uint64_t *only;
	struct hs_results results;
};

static int check(const struct hs_query *q, struct hs_err *err)
{
	size_t bad = 0;

	if (q->k < 1 || q->k > HS_SEARCH_K_MAX)
		return hs_fail(err, EINVAL, "search.k", HS_N_("Ask for 1 to 200 passages."), "%u", q->k);
	if (q->len > HS_SEARCH_TEXT_MAX)
		return hs_fail(err, EINVAL, "search.text", HS_N_("The question is too long: shorten it."), "%zu bytes", q->len);
	if (q->len > 0 && (memchr(q->text, 0, q->len) || !hs_utf8_valid(q->text, q->len, &bad)))
		return hs_fail(err, EINVAL, "search.text", HS_N_("Send the question as UTF-8 text."), "byte %zu", bad);
	switch (q->mode) {
	case HS_SEARCH_LEXICAL:
	case HS_SEARCH_HYBRID:
	case HS_SEARCH_PHRASE:
		return 0;
	case HS_SEARCH_VECTOR:
		if (!q->vector)
			return hs_fail(err, EINVAL, "search.vector", HS_N_("Vector search needs the question's vector."), "none");
		return 0;
	}
	return hs_fail(err, EINVAL, "search.mode", HS_N_("Choose lexical, vector, hybrid or phrase."), "%d", (int)q->mode);
}

/* The distinct content terms in their order. Where a question has none that count, all its words are taken. */
static int distinct(const struct hs_tokens *tokens, struct hs_rank_terms *ret)
{
	bool any = false;

	for (size_t i = 0; i < tokens->count; i++)
		any = any || tokens->items[i].content;
	ret->count = 0;
	ret->items = calloc(HS_MIN(tokens->count, (size_t)HS_SEARCH_TERMS_MAX) + 1, sizeof(*ret->items));
	if (!ret->items)
		return -ENOMEM;
	for (size_t i = 0; i < tokens->count && ret->count < HS_SEARCH_TERMS_MAX; i++) {
		const struct hs_token *t = &tokens->items[i];
		const char *s = tokens->terms + t->term;
		size_t known = 0;

		if ((any && !t->content) || t->term_len == 0 || t->term_len > HS_TERM_MAX)
			continue;
		while (known < ret->count && (ret->items[known].len != t->term_len || memcmp(ret->items[known].s, s, t->term_len) != 0))
			known++;
		if (known == ret->count)
			ret->items[ret->count++] = (struct hs_rank_term){.s = s, .len = t->term_len};
	}
	return 0;
}

static int analyse(struct search *x, const char *text, size_t len)
{
	int rc = len > 0 ? hs_tokenize_words(x->r->tagger, text, len, &x->tokens[HS_FIELD_WORDS]) : 0;

	if (rc == 0 && len > 0)
		rc = hs_tokenize_bigrams(text, len, &x->tokens[HS_FIELD_BIGRAMS]);
	for (int f = 0; rc == 0 && f < HS_FIELDS; f++)
		rc = distinct(&x->tokens[f], &x->terms[f]);
	return rc;
}

/* Phrase mode: which visible chunks match exactly. */
static int match(struct search *x, struct hs_err *err)
{
	HS_STMT_AUTO *st = NULL;
	size_t words = (size_t)x->index->n_extents * HS_EXTENT_WORDS;
	const char *expression = hs_buf_cstr(&x->expression);
	int rc;

	x->only = calloc(words + 1, sizeof(*x->only));
	if (!x->only || !expression)
		return -ENOMEM;
	st = hs_statement(&x->r->statements, "SELECT rowid FROM chunks_fts WHERE chunks_fts MATCH ?1", err);
	rc = st ? hs_bind(st, "t", expression) : -EIO;
	while (rc == 0 && (rc = hs_step(st, err)) > 0) {
		int64_t ordinal = sqlite3_column_int64(st, 0);

		if (ordinal >= 0 && (uint64_t)ordinal / 64 < words && hs_sight_sees(&x->view, (uint32_t)ordinal))
			x->only[ordinal / 64] |= 1ull << (ordinal % 64);
		rc = 0;
	}
	if (rc == 0)
		hs_rank_restrict(x->r->ranker, x->only);
	return rc;
}

static int rank(struct search *x, struct hs_err *err)
{
	const struct hs_query *q = x->q;
	struct hs_rank_params params = HS_RANK_DEFAULTS;
	struct hs_ranker *ranker = x->r->ranker;
	bool wants_vectors = (q->mode == HS_SEARCH_VECTOR || q->mode == HS_SEARCH_HYBRID) && q->vector && x->index->n_vectors > 0;
	int rc;

	if (q->hybrid_weight >= 0)
		params.hybrid_weight = HS_MIN(q->hybrid_weight, 1.0f);
	if (wants_vectors && q->dimensions != x->index->dimensions)
		return hs_fail(err, EINVAL, "search.vector", HS_N_("The question was embedded by another model than the documents."),
			       "%u dimensions, the index has %u", q->dimensions, x->index->dimensions);
	rc = hs_rank_begin(ranker, &x->view, &params, &x->r->stop);
	if (rc == 0 && q->mode == HS_SEARCH_PHRASE)
		rc = match(x, err);
	if (rc == 0 && q->mode != HS_SEARCH_VECTOR)
		rc = hs_rank_words(ranker, x->terms);
	if (rc == 0 && wants_vectors) {
		rc = hs_vector_query_init(&x->vector, q->vector, q->dimensions);
		if (rc == -EINVAL)
			return hs_fail(err, EINVAL, "search.vector", HS_N_("The question's vector is zero or not finite."), "vector");
		if (rc == 0)
			rc = hs_rank_vectors(ranker, &x->vector, &x->results.signals.dense_best);
		x->results.vectors_used = rc == 0;
	}
	return rc;
}

static int fill_hit(struct search *x, sqlite3_stmt *st, struct hs_hit *hit)
{
	struct hs_arena *a = x->results.arena;

	*hit = (struct hs_hit){
		.class_id = (uint32_t)sqlite3_column_int64(st, 2),
		.chunk = (uint32_t)sqlite3_column_int64(st, 5),
		.start = (uint32_t)sqlite3_column_int64(st, 6),
		.end = (uint32_t)sqlite3_column_int64(st, 7),
		.page = (uint32_t)sqlite3_column_int64(st, 8),
		.text_len = (size_t)sqlite3_column_bytes(st, 11),
	};
	hs_column_text(st, 0, hit->document.s, sizeof(hit->document.s));
	hs_column_text(st, 1, hit->version.s, sizeof(hit->version.s));
	hit->title = hs_arena_strndup(a, (const char *)sqlite3_column_text(st, 9), (size_t)sqlite3_column_bytes(st, 9));
	hit->context = hs_arena_strndup(a, (const char *)sqlite3_column_text(st, 10), (size_t)sqlite3_column_bytes(st, 10));
	hit->text = hs_arena_strndup(a, (const char *)sqlite3_column_text(st, 11), hit->text_len);
	return hit->title && hit->context && hit->text ? 0 : -ENOMEM;
}

/* 1: a hit; 0: not to be shown, or gone. The row is read now, whatever the index said. */
static int look_up(struct search *x, const struct hs_ranked *ranked, struct hs_hit *hit, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&x->r->statements,
					"SELECT d.public, v.public, d.class_id, d.deleted, d.expires, c.idx, c.start, c.end, c.page, d.title,"
					" t.context, t.text FROM chunks c JOIN documents d ON d.id = c.document JOIN versions v ON v.id = c.version"
					" JOIN chunk_texts t ON t.ordinal = c.ordinal WHERE c.ordinal = ?1 AND c.document = ?2 AND c.dead = 0"
					" AND v.id = d.version", err);
	int rc = st ? hs_bind(st, "ii", (int64_t)ranked->ordinal, (int64_t)ranked->document) : -EIO;

	if (rc == 0)
		rc = hs_step(st, err);
	if (rc <= 0)
		return rc;
	if (!hs_reading_allows(x->g, HS_RIGHT_ASK, sqlite3_column_int64(st, 2), sqlite3_column_int64(st, 3),
			       sqlite3_column_int64(st, 4), x->q->now_ms))
		return 0;
	rc = fill_hit(x, st, hit);
	return rc < 0 ? rc : 1;
}

/* Has the asked class set room for this hit? A document may have moved since the snapshot. */
static bool wanted(const struct hs_query *q, uint32_t class_id)
{
	if (!q->classes)
		return true;
	for (size_t i = 0; i < q->n_classes; i++)
		if (q->classes[i] == class_id)
			return true;
	return false;
}

static int collect(struct search *x, struct hs_err *err)
{
	struct hs_ranked ranked;
	int rc = hs_rank_finish(x->r->ranker);

	if (rc < 0)
		return rc;
	x->results.hits = hs_arena_calloc(x->results.arena, x->q->k, sizeof(*x->results.hits));
	if (!x->results.hits)
		return -ENOMEM;
	while (x->results.count < x->q->k && hs_rank_next(x->r->ranker, x->q->per_document, &ranked)) {
		struct hs_hit *hit = &x->results.hits[x->results.count];

		if (__atomic_load_n(&x->r->stop, __ATOMIC_RELAXED))
			return -ECANCELED;
		rc = look_up(x, &ranked, hit, err);
		if (rc < 0)
			return rc;
		if (rc == 0 || !wanted(x->q, hit->class_id))
			continue;
		if (x->results.count++ == 0 && x->q->mode != HS_SEARCH_VECTOR)
			x->results.signals.coverage = hs_rank_coverage(x->r->ranker, ranked.ordinal);
	}
	return 0;
}

static int keep_terms(struct search *x)
{
	const struct hs_rank_terms *bigrams = &x->terms[HS_FIELD_BIGRAMS];
	struct hs_results *ret = &x->results;

	ret->terms = hs_arena_calloc(ret->arena, bigrams->count + 1, sizeof(*ret->terms));
	if (!ret->terms)
		return -ENOMEM;
	for (size_t i = 0; i < bigrams->count; i++) {
		ret->terms[i] = (struct hs_query_term){.term = hs_arena_strndup(ret->arena, bigrams->items[i].s, bigrams->items[i].len),
						       .len = bigrams->items[i].len, .idf = bigrams->items[i].idf};
		if (!ret->terms[i].term)
			return -ENOMEM;
	}
	ret->n_terms = bigrams->count;
	return 0;
}

/*
 * The snapshot is taken before the database is looked at: what was deleted in between is then missed by the gate, and
 * nothing that is shown can be older than the moment of asking.
 */
static int run(struct search *x, struct hs_err *err)
{
	const struct hs_query *q = x->q;
	int rc;

	if (q->mode == HS_SEARCH_PHRASE) {
		rc = hs_fts_expression(q->text, q->len, &x->expression, &x->plain, err);
		if (rc == 0)
			rc = analyse(x, (const char *)x->plain.data, x->plain.len);
	} else {
		rc = analyse(x, q->text, q->len);
	}
	if (rc < 0)
		return rc;
	x->index = hs_store_snapshot(x->r->store);
	rc = hs_reading_begin(x->r, x->g, q->now_ms, err);
	if (rc < 0)
		return rc;
	rc = hs_sight_init(&x->view, x->index, x->g, q->classes, q->n_classes, q->now_ms);
	if (rc == 0)
		rc = rank(x, err);
	if (rc == 0)
		rc = collect(x, err);
	if (rc == 0)
		rc = keep_terms(x);
	hs_reading_end(x->r);
	return rc;
}

int hs_search(struct hs_reader *r, const struct hs_grant *g, const struct hs_query *q, struct hs_results *ret,
	      struct hs_err *err)
{
	struct search x = {.r = r, .g = g, .q = q};
	int rc = check(q, err);

	if (rc < 0)
		return rc;
	__atomic_store_n(&r->stop, 0, __ATOMIC_RELAXED);
	x.results.arena = hs_arena_create(RESULTS_BYTES_MAX);
	rc = x.results.arena ? run(&x, err) : -ENOMEM;
	for (int f = 0; f < HS_FIELDS; f++) {
		free(x.terms[f].items);
		hs_tokens_finish(&x.tokens[f]);
	}
	hs_vector_query_finish(&x.vector);
	hs_buf_finish(&x.expression);
	hs_buf_finish(&x.plain);
	free(x.only);
	hs_sight_finish(&x.view);
	hs_index_unref(x.index);
	if (rc < 0) {
		hs_results_finish(&x.results);
		return err && err->num == 0 ? hs_fail_errno(err, rc, "search.failed", "search") : rc;
	}
	*ret = x.results;
	return 0;
}

void hs_results_finish(struct hs_results *r)
{
	hs_arena_destroy(r->arena);
	*r = (struct hs_results){0};
}

void hs_reader_cancel(struct hs_reader *r)
{
	__atomic_store_n(&r->stop, 1, __ATOMIC_RELAXED);
	sqlite3_interrupt(r->db);
}
