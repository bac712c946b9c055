/* Vectors behind words: the model, what waits for one, and what came. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/wire.h"
#include "retrieval/internal.h"

static int drop_from_index(struct hs_index *x)
{
	for (uint32_t i = 0; i < x->n_extents; i++) {
		struct hs_extent *e = x->extents[i];

		if (!e || !e->vectors)
			continue;
		e = hs_index_extent(x, i);
		if (!e)
			return -ENOMEM;
		hs_vectors_destroy(e->vectors);
		e->vectors = NULL;
	}
	x->n_vectors = 0;
	return 0;
}

/* The model's row; made where it is new. */
static int model_row(struct hs_store *s, const uint8_t *hash, uint32_t dimensions, int64_t *ret, struct hs_err *err)
{
	int rc;

	{
		HS_STMT_AUTO *st = hs_statement(&s->statements, "SELECT id, dimensions FROM vector_models WHERE hash = ?1", err);

		rc = st ? hs_bind(st, "b", hash, (size_t)HS_STORE_HASH_LEN) : -EIO;
		if (rc == 0)
			rc = hs_step(st, err);
		if (rc > 0) {
			*ret = sqlite3_column_int64(st, 0);
			if (sqlite3_column_int64(st, 1) != dimensions)
				return hs_fail(err, EINVAL, "index.dimensions", HS_N_("The embedding model has changed its dimensions under one hash."),
					       "%u", dimensions);
			return 0;
		}
	}
	if (rc == 0)
		rc = hs_execute(&s->statements, err, "INSERT INTO vector_models(hash, dimensions, used, created) VALUES(?1, ?2, 0, ?3)", "bii",
				hash, (size_t)HS_STORE_HASH_LEN, (int64_t)dimensions, hs_now_ms());
	*ret = sqlite3_last_insert_rowid(s->db);
	return rc;
}

int hs_store_use_model(struct hs_store *s, const uint8_t hash[static HS_STORE_HASH_LEN], uint32_t dimensions, struct hs_err *err)
{
	int64_t model = 0;
	int rc = hs_store_check_open(s, err);

	if (rc < 0)
		return rc;
	if (dimensions < 1 || dimensions > HS_STORE_DIMENSIONS_MAX)
		return hs_fail(err, EINVAL, "index.dimensions", HS_N_("The embedding model's dimensions are out of range."), "%u", dimensions);
	if (s->model && memcmp(s->model_hash, hash, HS_STORE_HASH_LEN) == 0 && s->work->dimensions == dimensions)
		return 0;
	rc = model_row(s, hash, dimensions, &model, err);
	if (rc == 0)
		rc = hs_execute(&s->statements, err, "UPDATE vector_models SET used = (id = ?1)", "i", model);
	if (rc == 0)
		rc = drop_from_index(s->work);
	if (rc < 0)
		return rc;
	s->work->dimensions = dimensions;
	s->model = model;
	memcpy(s->model_hash, hash, HS_STORE_HASH_LEN);
	return hs_store_load_vectors(s, s->work, err); /* of an earlier use of the same model */
}

void hs_pending_list_finish(struct hs_pending_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->items[i].text);
	free(l->items);
	*l = (struct hs_pending_list){0};
}

/* The next ordinal from `from` on that lives and has no vector; UINT32_MAX: none. From memory: most ordinals have one. */
static uint32_t next_pending(const struct hs_index *x, uint32_t from)
{
	for (uint32_t i = from / HS_EXTENT_ORDINALS; i < x->n_extents; i++) {
		const struct hs_extent *e = x->extents[i];
		uint32_t low = i == from / HS_EXTENT_ORDINALS ? from % HS_EXTENT_ORDINALS : 0;

		for (; e && low < e->used; low++)
			if ((e->alive[low / 64] >> (low % 64) & 1) &&
			    (!e->vectors || low >= e->vectors->rows || e->vectors->scale[low] == 0))
				return i * HS_EXTENT_ORDINALS + low;
	}
	return UINT32_MAX;
}

/* Appends the chunk at an ordinal. */
static int add_pending(struct hs_store *s, struct hs_pending_list *l, uint32_t ordinal, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&s->statements,
					"SELECT c.version, t.head, t.text FROM chunks c JOIN chunk_texts t ON t.ordinal = c.ordinal"
					" WHERE c.ordinal = ?1 AND c.dead = 0", err);
	struct hs_pending *p = &l->items[l->count];
	const char *head, *text;
	size_t head_len, text_len;
	int rc = st ? hs_bind(st, "i", (int64_t)ordinal) : -EIO;

	if (rc == 0)
		rc = hs_step(st, err);
	if (rc <= 0)
		return rc;
	head = (const char *)sqlite3_column_text(st, 1);
	text = (const char *)sqlite3_column_text(st, 2);
	head_len = (size_t)sqlite3_column_bytes(st, 1);
	text_len = (size_t)sqlite3_column_bytes(st, 2);
	p->text = head && text ? malloc(head_len + text_len + 2) : NULL;
	if (!p->text)
		return -ENOMEM;
	p->ordinal = ordinal;
	p->version = sqlite3_column_int64(st, 0);
	memcpy(p->text, head, head_len);
	p->len = head_len;
	if (head_len > 0)
		p->text[p->len++] = '\n';
	memcpy(p->text + p->len, text, text_len);
	p->len += text_len;
	p->text[p->len] = 0;
	l->count++;
	return 0;
}

int hs_store_pending(struct hs_store *s, uint32_t from, size_t max, struct hs_pending_list *ret, struct hs_err *err)
{
	const struct hs_index *x = s->open ? s->work : s->live;
	struct hs_pending_list list = {0};
	int rc = 0;

	if (s->model == 0)
		return hs_fail(err, EINVAL, "index.model", HS_N_("No embedding model is in use."), "store");
	list.items = calloc(max + 1, sizeof(*list.items));
	if (!list.items)
		return -ENOMEM;
	for (uint32_t o = next_pending(x, from); rc == 0 && o != UINT32_MAX && list.count < max; o = next_pending(x, o + 1))
		rc = add_pending(s, &list, o, err);
	if (rc < 0) {
		hs_pending_list_finish(&list);
		return rc;
	}
	*ret = list;
	return 0;
}

/* Is this still the chunk that was to be embedded? */
static int still_there(struct hs_store *s, const struct hs_pending *p, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&s->statements, "SELECT 1 FROM chunks WHERE ordinal = ?1 AND version = ?2 AND dead = 0", err);
	int rc = st ? hs_bind(st, "ii", (int64_t)p->ordinal, p->version) : -EIO;

	return rc == 0 ? hs_step(st, err) : rc;
}

int hs_store_put_vectors(struct hs_store *s, const struct hs_pending *items, const float *vectors, size_t n, struct hs_err *err)
{
	uint8_t row[4 + HS_STORE_DIMENSIONS_MAX];
	uint32_t dimensions;
	int rc = hs_store_check_open(s, err);

	if (rc < 0)
		return rc;
	dimensions = s->work->dimensions;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		float scale = hs_vector_quantise(vectors + i * dimensions, dimensions, (int8_t *)row + 4);
		uint32_t bits;

		if (scale == 0)
			return hs_fail(err, EINVAL, "index.vector", HS_N_("The embedding model gave a vector that is zero or not finite."),
				       "vector %zu of %zu", i, n);
		memcpy(&bits, &scale, sizeof(bits));
		hs_le32_store(row, bits);
		rc = still_there(s, &items[i], err);
		if (rc <= 0)
			continue;
		rc = hs_execute(&s->statements, err, "INSERT OR REPLACE INTO vectors(model, ordinal, data) VALUES(?1, ?2, ?3)", "iib", s->model,
				(int64_t)items[i].ordinal, row, hs_vector_row_len(dimensions));
		if (rc == 0)
			rc = hs_index_set_vector(s->work, items[i].ordinal, scale, (const int8_t *)row + 4);
	}
	return rc;
}
