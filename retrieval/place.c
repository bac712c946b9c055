/* Where a document's chunks go: ordinals in the extents of its class, postings, FTS5; and how they are taken out. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "retrieval/fts.h"
#include "retrieval/internal.h"

static int store_extent(struct hs_store *s, uint32_t extent, struct hs_err *err)
{
	const struct hs_extent *e = s->work->extents[extent];

	return hs_execute(&s->statements, err, "INSERT INTO extents(extent, class_id, used) VALUES(?1, ?2, ?3)"
			  " ON CONFLICT(extent) DO UPDATE SET class_id = excluded.class_id, used = excluded.used",
			  "iii", (int64_t)extent, (int64_t)e->class_id, (int64_t)e->used);
}

/* The extent that the class fills, or the lowest unused one. */
static int open_extent(struct hs_store *s, uint32_t class_id, uint32_t *ret, struct hs_err *err)
{
	uint32_t i = s->open_extent[class_id];
	struct hs_extent *e;

	if (i > 0 && s->work->extents[i - 1] && s->work->extents[i - 1]->class_id == class_id &&
	    s->work->extents[i - 1]->used < HS_EXTENT_ORDINALS) {
		*ret = i - 1;
		return hs_index_extent(s->work, i - 1) ? 0 : -ENOMEM;
	}
	for (i = s->free_hint; i < s->work->n_extents && s->work->extents[i]; i++)
		;
	s->free_hint = i;
	if (i >= HS_STORE_ORDINALS_MAX / HS_EXTENT_ORDINALS)
		return hs_fail(err, ENOSPC, "index.ordinals", HS_N_("The tenant holds as many passages as one index can: start another tenant."),
			       "%u", HS_STORE_ORDINALS_MAX);
	e = hs_index_extent(s->work, i);
	if (!e)
		return -ENOMEM;
	e->class_id = class_id;
	s->open_extent[class_id] = i + 1;
	*ret = i;
	return 0;
}

static int ordinal_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

int hs_store_allocate(struct hs_store *s, uint32_t class_id, uint32_t n, uint32_t *ordinals, struct hs_err *err)
{
	for (uint32_t got = 0; got < n;) {
		uint32_t extent = 0, take;
		int rc = open_extent(s, class_id, &extent, err);

		if (rc < 0)
			return rc;
		take = HS_MIN(n - got, HS_EXTENT_ORDINALS - s->work->extents[extent]->used);
		for (uint32_t i = 0; i < take; i++)
			ordinals[got++] = extent * HS_EXTENT_ORDINALS + s->work->extents[extent]->used++;
		rc = store_extent(s, extent, err);
		if (rc < 0)
			return rc;
	}
	/* Within a document places ascend with ordinals, whatever holes were filled: ties of rank then do not tell of others. */
	qsort(ordinals, n, sizeof(*ordinals), ordinal_compare);
	return 0;
}

/* Words and bigrams of a head, which passages that follow each other often share. */
static int tokenise_head(struct hs_store *s, const char *head, size_t len)
{
	int rc;

	if (s->head.len == len && len > 0 && memcmp(s->head.data, head, len) == 0)
		return 0;
	s->head.len = 0;
	hs_tokens_clear(&s->head_words);
	hs_tokens_clear(&s->head_bigrams);
	if (len == 0)
		return 0;
	rc = hs_tokenize(s->tagger, head, len, &s->head_words, &s->head_bigrams);
	return rc < 0 ? rc : hs_buf_append(&s->head, head, len);
}

static int build_field(struct hs_store *s, enum hs_field field, const struct hs_tokens *tokens, uint32_t *length)
{
	for (size_t i = 0; i < tokens->count; i++) {
		const struct hs_token *t = &tokens->items[i];
		int rc;

		if (!t->content)
			continue;
		rc = hs_postings_builder_add(s->builder, field, tokens->terms + t->term, t->term_len);
		if (rc < 0)
			return rc;
		(*length)++;
	}
	return 0;
}

static int tokenise(struct hs_store *s, const struct hs_placed *p)
{
	int rc = tokenise_head(s, p->head, p->head_len);

	hs_tokens_clear(&s->text_words);
	hs_tokens_clear(&s->text_bigrams);
	return rc < 0 || p->text_len == 0 ? rc : hs_tokenize(s->tagger, p->text, p->text_len, &s->text_words, &s->text_bigrams);
}

int hs_store_index_chunk(struct hs_store *s, struct hs_placed *p, struct hs_err *err)
{
	const struct hs_passage_tokens own = {&s->head_words, &s->head_bigrams, &s->text_words, &s->text_bigrams};
	const struct hs_passage_tokens *t = p->tokens ? p->tokens : &own;
	int rc = p->tokens ? 0 : tokenise(s, p);

	p->length[HS_FIELD_WORDS] = p->length[HS_FIELD_BIGRAMS] = 0;
	if (rc == 0)
		rc = build_field(s, HS_FIELD_WORDS, t->head_words, &p->length[HS_FIELD_WORDS]);
	if (rc == 0)
		rc = build_field(s, HS_FIELD_WORDS, t->text_words, &p->length[HS_FIELD_WORDS]);
	if (rc == 0)
		rc = build_field(s, HS_FIELD_BIGRAMS, t->head_bigrams, &p->length[HS_FIELD_BIGRAMS]);
	if (rc == 0)
		rc = build_field(s, HS_FIELD_BIGRAMS, t->text_bigrams, &p->length[HS_FIELD_BIGRAMS]);
	if (rc < 0)
		return hs_fail_errno(err, rc, "index.words", "a passage");
	hs_postings_builder_end(s->builder, p->ordinal);
	s->builder_chunks++;
	hs_fts_remember(s->fts, (const struct hs_fts_memo[HS_FTS_MEMOS]){{p->head, p->head_len, t->head_words},
									{p->text, p->text_len, t->text_words}});
	rc = hs_execute(&s->statements, err, "INSERT INTO chunks_fts(rowid, head, text) VALUES(?1, ?2, ?3)", "itt",
			(int64_t)p->ordinal, p->head, p->text);
	hs_fts_remember(s->fts, (const struct hs_fts_memo[HS_FTS_MEMOS]){{0}});
	return rc;
}

int hs_store_unindex_fts(struct hs_store *s, uint32_t ordinal, const char *head, const char *text, struct hs_err *err)
{
	return hs_execute(&s->statements, err, "INSERT INTO chunks_fts(chunks_fts, rowid, head, text) VALUES('delete', ?1, ?2, ?3)",
			  "itt", (int64_t)ordinal, head, text);
}

int hs_store_kill_chunks(struct hs_store *s, int64_t document, struct hs_err *err)
{
	int rc;

	{
		HS_STMT_AUTO *st = hs_statement(&s->statements, "SELECT ordinal FROM chunks WHERE document = ?1 AND dead = 0 ORDER BY idx", err);

		rc = st ? hs_bind(st, "i", document) : -EIO;
		while (rc == 0 && (rc = hs_step(st, err)) > 0) {
			rc = hs_index_kill(s->work, (uint32_t)sqlite3_column_int64(st, 0));
			s->work_dirty++;
		}
	}
	if (rc < 0)
		return rc;
	return hs_execute(&s->statements, err, "UPDATE chunks SET dead = 1 WHERE document = ?1 AND dead = 0", "i", document);
}
