/* Segments in the database: what a transaction built, and merging. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "retrieval/internal.h"

/* Room for this many segments in one merge; a transaction's own are merged long before. */
#define PARTS_MAX 256

static int store_segment(struct hs_store *s, struct hs_segment *segment, struct hs_err *err)
{
	HS_BUF_AUTO data = {.limit = HS_SEGMENT_BYTES_MAX};
	uint8_t hash[HS_STORE_HASH_LEN];
	int rc = hs_segment_encode(segment, &data);

	if (rc < 0)
		return hs_fail_errno(err, rc, "index.segment_size", "a segment");
	(void)crypto_generichash(hash, sizeof(hash), data.data, data.len, NULL, 0); /* fails for bad lengths only */
	rc = hs_execute(&s->statements, err, "INSERT INTO segments(level, generation, hash, data) VALUES(?1, ?2, ?3, ?4)", "iibb",
			(int64_t)segment->level, s->generation, hash, sizeof(hash), data.data, data.len);
	if (rc == 0)
		segment->id = sqlite3_last_insert_rowid(s->db);
	return rc;
}

/* Takes over the segment. */
static int add_segment(struct hs_store *s, struct hs_segment *segment, struct hs_err *err)
{
	int rc = store_segment(s, segment, err);

	if (rc == 0)
		rc = hs_index_push_segment(s->work, segment);
	if (rc < 0)
		hs_segment_destroy(segment);
	return rc;
}

int hs_store_flush(struct hs_store *s, struct hs_err *err)
{
	struct hs_segment *segment = NULL;
	int rc;

	if (hs_postings_builder_empty(s->builder))
		return 0;
	rc = hs_postings_builder_finish(s->builder, &segment);
	if (rc < 0)
		return rc;
	s->builder_chunks = 0;
	return add_segment(s, segment, err);
}

/* What is in the index or is to be: (n_extents, HS_EXTENT_WORDS). */
static uint64_t *alive_bits(const struct hs_store *s, size_t *ret_words)
{
	const struct hs_index *x = s->work;
	uint64_t *bits = calloc(x->n_extents + 1ul, HS_EXTENT_WORDS * sizeof(*bits));
	const uint32_t *staged;
	size_t n_staged = hs_store_staged(s, &staged);

	if (!bits)
		return NULL;
	for (uint32_t i = 0; i < x->n_extents; i++)
		if (x->extents[i])
			memcpy(bits + (size_t)i * HS_EXTENT_WORDS, x->extents[i]->alive, sizeof(x->extents[i]->alive));
	for (size_t i = 0; i < n_staged; i++)
		bits[staged[i] / 64] |= 1ull << (staged[i] % 64);
	*ret_words = (size_t)x->n_extents * HS_EXTENT_WORDS;
	return bits;
}

static bool segment_empty(const struct hs_segment *s)
{
	return s->field[HS_FIELD_WORDS].n_terms == 0 && s->field[HS_FIELD_BIGRAMS].n_terms == 0;
}

/* Replace segments by their merger, in the open transaction. */
static int merge_parts(struct hs_store *s, const struct hs_segment *const *parts, size_t n, uint32_t level, struct hs_err *err)
{
	struct hs_segment *merged = NULL;
	size_t words = 0;
	uint64_t *alive = alive_bits(s, &words);
	int64_t ids[PARTS_MAX];
	int rc = alive ? hs_segment_merge(parts, n, alive, words, &merged) : -ENOMEM;

	free(alive);
	if (rc < 0)
		return hs_fail_errno(err, rc, "index.merge", "segments");
	for (size_t i = 0; i < n; i++)
		ids[i] = parts[i]->id;
	merged->level = level;
	if (segment_empty(merged))
		hs_segment_destroy(merged);
	else
		rc = add_segment(s, merged, err);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rc = hs_execute(&s->statements, err, "DELETE FROM segments WHERE id = ?1", "i", ids[i]);
		if (rc == 0)
			hs_index_drop_segment(s->work, ids[i]);
	}
	return rc;
}

int hs_store_merge(struct hs_store *s, uint64_t max_bytes, bool *ret_merged, struct hs_err *err)
{
	*ret_merged = false;
	for (uint32_t level = 0; level < 16; level++) {
		const struct hs_segment *parts[HS_MERGE_FANOUT];
		uint64_t bytes = 0;
		size_t n = 0;

		for (uint32_t i = 0; i < s->work->n_segments && n < HS_MERGE_FANOUT; i++) {
			const struct hs_segment *part = s->work->segments[i];

			if (part->level != level)
				continue;
			parts[n++] = part;
			bytes += part->bytes;
		}
		if (n < HS_MERGE_FANOUT || bytes > max_bytes || bytes > HS_SEGMENT_BYTES_MAX)
			continue;
		*ret_merged = true;
		return merge_parts(s, parts, n, level + 1, err);
	}
	return 0;
}

static bool holds_dead(const uint64_t *alive, size_t n_words, const struct hs_segment *segment)
{
	for (int field = 0; field < HS_FIELDS; field++) {
		const struct hs_field_postings *f = &segment->field[field];

		for (uint32_t g = 0; g < f->n_groups; g++)
			for (uint32_t p = f->group_start[g]; p < f->group_start[g + 1]; p++) {
				uint32_t ordinal = f->group_extent[g] * HS_EXTENT_ORDINALS + f->low[p];

				if (ordinal / 64 >= n_words || !(alive[ordinal / 64] >> (ordinal % 64) & 1))
					return true;
			}
	}
	return false;
}

int hs_store_rewrite_dead(struct hs_store *s, uint32_t max_segments, bool *ret_any, struct hs_err *err)
{
	size_t words = 0;
	uint64_t *alive = alive_bits(s, &words);
	int rc = alive ? 0 : -ENOMEM;

	*ret_any = false;
	/* Rewriting appends: the segments that were there before stand first, and drop out one by one. */
	for (uint32_t left = s->work->n_segments, i = 0; rc == 0 && left > 0 && max_segments > 0; left--) {
		const struct hs_segment *part = s->work->segments[i];

		if (!holds_dead(alive, words, part)) {
			i++;
			continue;
		}
		rc = merge_parts(s, &part, 1, part->level, err);
		*ret_any = *ret_any || rc == 0;
		max_segments--;
	}
	free(alive);
	return rc;
}
