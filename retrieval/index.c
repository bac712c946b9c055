#include "retrieval/index.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "policy/classes.h"

static unsigned ref(unsigned *refs)
{
	return __atomic_add_fetch(refs, 1, __ATOMIC_RELAXED);
}

static bool unref(unsigned *refs)
{
	return __atomic_sub_fetch(refs, 1, __ATOMIC_ACQ_REL) == 0;
}

static void extent_unref(struct hs_extent *e)
{
	if (!e || !unref(&e->refs))
		return;
	hs_vectors_destroy(e->vectors);
	free(e->overrides);
	free(e);
}

static void segment_unref(struct hs_segment *s)
{
	if (s && unref(&s->refs))
		hs_segment_destroy(s);
}

struct hs_index *hs_index_create(void)
{
	struct hs_index *x = calloc(1, sizeof(*x));

	if (x)
		x->refs = 1;
	return x;
}

struct hs_index *hs_index_ref(struct hs_index *x)
{
	ref(&x->refs);
	return x;
}

void hs_index_unref(struct hs_index *x)
{
	if (!x || !unref(&x->refs))
		return;
	for (uint32_t i = 0; i < x->n_extents; i++)
		extent_unref(x->extents[i]);
	for (uint32_t i = 0; i < x->n_segments; i++)
		segment_unref(x->segments[i]);
	free(x->extents);
	free(x->segments);
	free(x);
}

struct hs_index *hs_index_clone(const struct hs_index *x)
{
	struct hs_index *copy = malloc(sizeof(*copy));

	if (!copy)
		return NULL;
	*copy = (struct hs_index){.refs = 1, /* not x's, which readers change meanwhile */
				  .n_extents = x->n_extents,
				  .cap_extents = x->n_extents,
				  .extents = malloc((x->n_extents + 1ul) * sizeof(struct hs_extent *)),
				  .n_segments = x->n_segments,
				  .cap_segments = x->n_segments,
				  .segments = malloc((x->n_segments + 1ul) * sizeof(struct hs_segment *)),
				  .dimensions = x->dimensions,
				  .n_vectors = x->n_vectors,
				  .n_chunks = x->n_chunks,
				  .n_documents = x->n_documents};
	if (!copy->extents || !copy->segments) {
		free(copy->extents);
		free(copy->segments);
		free(copy);
		return NULL;
	}
	for (uint32_t i = 0; i < x->n_extents; i++) {
		copy->extents[i] = x->extents[i];
		if (x->extents[i])
			ref(&x->extents[i]->refs);
	}
	for (uint32_t i = 0; i < x->n_segments; i++) {
		copy->segments[i] = x->segments[i];
		ref(&x->segments[i]->refs);
	}
	return copy;
}

static int grow_extents(struct hs_index *x, uint32_t need)
{
	uint32_t cap = HS_MAX(x->cap_extents * 2, 16u);
	struct hs_extent **more;

	if (need <= x->n_extents)
		return 0;
	if (need > x->cap_extents) {
		cap = HS_MAX(cap, need);
		more = realloc(x->extents, cap * sizeof(struct hs_extent *));
		if (!more)
			return -ENOMEM;
		x->extents = more;
		x->cap_extents = cap;
	}
	memset(x->extents + x->n_extents, 0, (need - x->n_extents) * sizeof(struct hs_extent *));
	x->n_extents = need;
	return 0;
}

static struct hs_extent *extent_clone(const struct hs_extent *e)
{
	const size_t behind = offsetof(struct hs_extent, class_id); /* the count of references, which readers change meanwhile */
	struct hs_extent *copy = malloc(sizeof(*copy));

	if (!copy)
		return NULL;
	memcpy((char *)copy + behind, (const char *)e + behind, sizeof(*copy) - behind);
	copy->refs = 1;
	copy->vectors = NULL;
	copy->overrides = NULL;
	if (e->vectors)
		copy->vectors = hs_vectors_clone(e->vectors, e->vectors->rows);
	if (e->n_overrides)
		copy->overrides = malloc(e->n_overrides * sizeof(*e->overrides));
	if ((e->vectors && !copy->vectors) || (e->n_overrides && !copy->overrides)) {
		extent_unref(copy);
		return NULL;
	}
	if (e->n_overrides)
		memcpy(copy->overrides, e->overrides, e->n_overrides * sizeof(*e->overrides));
	return copy;
}

struct hs_extent *hs_index_extent(struct hs_index *x, uint32_t extent)
{
	struct hs_extent *e;

	if (grow_extents(x, extent + 1) < 0)
		return NULL;
	e = x->extents[extent];
	if (e && __atomic_load_n(&e->refs, __ATOMIC_ACQUIRE) == 1)
		return e;
	if (e) {
		struct hs_extent *copy = extent_clone(e);

		if (!copy)
			return NULL;
		extent_unref(e);
		e = copy;
	} else {
		e = calloc(1, sizeof(*e));
		if (!e)
			return NULL;
		e->refs = 1;
	}
	x->extents[extent] = e;
	return e;
}

void hs_index_free_extent(struct hs_index *x, uint32_t extent)
{
	extent_unref(x->extents[extent]);
	x->extents[extent] = NULL;
}

static void set_bit(uint64_t *bits, uint32_t i)
{
	bits[i / 64] |= 1ull << (i % 64);
}

static void clear_bit(uint64_t *bits, uint32_t i)
{
	bits[i / 64] &= ~(1ull << (i % 64));
}

static bool get_bit(const uint64_t *bits, uint32_t i)
{
	return bits[i / 64] >> (i % 64) & 1;
}

int hs_index_add(struct hs_index *x, const struct hs_index_chunk *c)
{
	struct hs_extent *e = hs_index_extent(x, c->ordinal / HS_EXTENT_ORDINALS);
	uint32_t low = c->ordinal % HS_EXTENT_ORDINALS;

	if (!e)
		return -ENOMEM;
	hs_assert(!get_bit(e->alive, low));
	set_bit(e->alive, low);
	e->n_alive++;
	x->n_chunks++;
	e->document[low] = c->document;
	e->head[low] = c->head;
	if (c->head == c->ordinal) {
		set_bit(e->heads, low);
		e->n_heads++;
		x->n_documents++;
	}
	for (int f = 0; f < HS_FIELDS; f++) {
		e->length[f][low] = (uint16_t)HS_MIN(c->length[f], UINT16_MAX);
		e->sum[f] += e->length[f][low];
	}
	return 0;
}

int hs_index_set_whole(struct hs_index *x, uint32_t head, const uint64_t whole[static HS_FIELDS])
{
	struct hs_extent *e = hs_index_extent(x, head / HS_EXTENT_ORDINALS);

	if (!e)
		return -ENOMEM;
	for (int f = 0; f < HS_FIELDS; f++)
		e->whole[f][head % HS_EXTENT_ORDINALS] = (uint32_t)HS_MIN(whole[f], UINT32_MAX);
	return 0;
}

int hs_index_kill(struct hs_index *x, uint32_t ordinal)
{
	struct hs_extent *e;
	uint32_t low = ordinal % HS_EXTENT_ORDINALS;
	int rc;

	if (!hs_index_alive(x, ordinal))
		return 0;
	rc = hs_index_set_vector(x, ordinal, 0, NULL);
	if (rc < 0)
		return rc;
	e = hs_index_extent(x, ordinal / HS_EXTENT_ORDINALS);
	if (!e)
		return -ENOMEM;
	rc = hs_index_override(x, ordinal, e->document[low], e->class_id, 0);
	if (rc < 0)
		return rc;
	clear_bit(e->alive, low);
	e->n_alive--;
	x->n_chunks--;
	if (get_bit(e->heads, low)) {
		clear_bit(e->heads, low);
		e->n_heads--;
		x->n_documents--;
	}
	for (int f = 0; f < HS_FIELDS; f++)
		e->sum[f] -= e->length[f][low];
	return 0;
}

int hs_index_override(struct hs_index *x, uint32_t ordinal, uint32_t document, uint32_t class_id, int64_t expires)
{
	struct hs_extent *e = hs_index_extent(x, ordinal / HS_EXTENT_ORDINALS);
	uint32_t low = ordinal % HS_EXTENT_ORDINALS, i;
	struct hs_override *more;

	if (!e)
		return -ENOMEM;
	for (i = 0; i < e->n_overrides && e->overrides[i].document != document; i++)
		;
	if (class_id == e->class_id && expires == 0) {
		if (i == e->n_overrides)
			return 0;
		clear_bit(e->overrides[i].mask, low);
		for (int w = 0; w < HS_EXTENT_WORDS; w++)
			if (e->overrides[i].mask[w])
				return 0;
		e->overrides[i] = e->overrides[--e->n_overrides];
		return 0;
	}
	if (i == e->n_overrides) {
		more = realloc(e->overrides, (i + 1ul) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		e->overrides = more;
		e->overrides[e->n_overrides++] = (struct hs_override){.document = document};
	}
	e->overrides[i].class_id = class_id;
	e->overrides[i].expires = expires;
	set_bit(e->overrides[i].mask, low);
	return 0;
}

bool hs_index_moved(const struct hs_index *x, uint32_t ordinal)
{
	const struct hs_extent *e = x->extents[ordinal / HS_EXTENT_ORDINALS];

	for (uint32_t i = 0; i < e->n_overrides; i++)
		if (e->overrides[i].class_id != e->class_id && get_bit(e->overrides[i].mask, ordinal % HS_EXTENT_ORDINALS))
			return true;
	return false;
}

int hs_index_set_vector(struct hs_index *x, uint32_t ordinal, float scale, const int8_t *v)
{
	uint32_t low = ordinal % HS_EXTENT_ORDINALS, extent = ordinal / HS_EXTENT_ORDINALS;
	struct hs_extent *e = extent < x->n_extents ? x->extents[extent] : NULL;
	bool had = e && e->vectors && low < e->vectors->rows && e->vectors->scale[low] != 0;

	if (scale == 0 && !had)
		return 0;
	e = hs_index_extent(x, extent);
	if (!e)
		return -ENOMEM;
	if (!e->vectors || low >= e->vectors->rows || e->vectors->dimensions != x->dimensions) {
		/* Double, so that rows that come one by one cost a constant share of copying each. */
		uint32_t rows = e->vectors ? HS_MIN(HS_MAX(e->vectors->rows * 2, low + 1), HS_EXTENT_ORDINALS) : low + 1;
		bool same = e->vectors && e->vectors->dimensions == x->dimensions;
		struct hs_vectors *more = same ? hs_vectors_clone(e->vectors, rows) : hs_vectors_create(x->dimensions, rows);

		if (!more)
			return -ENOMEM;
		hs_vectors_destroy(e->vectors);
		e->vectors = more;
	}
	e->vectors->scale[low] = scale;
	if (scale == 0)
		memset(e->vectors->data + (size_t)low * e->vectors->stride, 0, e->vectors->stride);
	else
		memcpy(e->vectors->data + (size_t)low * e->vectors->stride, v, x->dimensions);
	x->n_vectors += (scale != 0) - (uint64_t)had;
	return 0;
}

int hs_index_push_segment(struct hs_index *x, struct hs_segment *s)
{
	if (x->n_segments >= x->cap_segments) {
		uint32_t cap = HS_MAX(x->cap_segments * 2, 16u);
		struct hs_segment **more = realloc(x->segments, cap * sizeof(struct hs_segment *));

		if (!more)
			return -ENOMEM;
		x->segments = more;
		x->cap_segments = cap;
	}
	s->refs = 1;
	x->segments[x->n_segments++] = s;
	return 0;
}

void hs_index_drop_segment(struct hs_index *x, int64_t id)
{
	for (uint32_t i = 0; i < x->n_segments; i++) {
		if (x->segments[i]->id != id)
			continue;
		segment_unref(x->segments[i]);
		memmove(x->segments + i, x->segments + i + 1, (x->n_segments - i - 1) * sizeof(struct hs_segment *));
		x->n_segments--;
		return;
	}
}

uint64_t hs_index_memory(const struct hs_index *x)
{
	uint64_t bytes = sizeof(*x) + x->cap_extents * sizeof(struct hs_extent *) + x->cap_segments * sizeof(struct hs_segment *);

	for (uint32_t i = 0; i < x->n_extents; i++) {
		if (!x->extents[i])
			continue;
		bytes += sizeof(struct hs_extent) + x->extents[i]->n_overrides * sizeof(struct hs_override);
		if (x->extents[i]->vectors)
			bytes += hs_vectors_bytes(x->extents[i]->vectors);
	}
	for (uint32_t i = 0; i < x->n_segments; i++)
		bytes += x->segments[i]->bytes;
	return bytes;
}

/* --- views --- */

struct class_set {
	uint64_t bits[(HS_CLASSES_MAX + 64) / 64];
};

static bool in_set(const struct class_set *set, uint32_t id)
{
	return id <= HS_CLASSES_MAX && get_bit(set->bits, id);
}

static void fill_set(struct class_set *set, const struct hs_grant *g, const uint32_t *wanted, size_t n_wanted)
{
	const uint32_t *ids;
	size_t n = hs_grant_classes(g, &ids);

	memset(set, 0, sizeof(*set));
	for (size_t i = 0, w = 0; i < n; i++) {
		while (wanted && w < n_wanted && wanted[w] < ids[i])
			w++;
		if (ids[i] <= HS_CLASSES_MAX && (!wanted || (w < n_wanted && wanted[w] == ids[i])))
			set_bit(set->bits, ids[i]);
	}
}

static void mask_extent(const struct hs_extent *e, const struct class_set *set, int64_t now_ms, uint64_t *mask)
{
	bool whole = in_set(set, e->class_id);

	for (int w = 0; w < HS_EXTENT_WORDS; w++)
		mask[w] = whole ? e->alive[w] : 0;
	for (uint32_t i = 0; i < e->n_overrides; i++) {
		const struct hs_override *o = &e->overrides[i];
		bool shows = in_set(set, o->class_id) && (o->expires == 0 || o->expires > now_ms);

		for (int w = 0; w < HS_EXTENT_WORDS; w++)
			mask[w] = shows ? mask[w] | (o->mask[w] & e->alive[w]) : mask[w] & ~o->mask[w];
	}
}

/* Add what the mask shows of an extent to the counts. Returns whether it shows anything. */
static bool count_extent(struct hs_sight *v, const struct hs_extent *e, const uint64_t *mask)
{
	uint32_t n = 0;

	for (int w = 0; w < HS_EXTENT_WORDS; w++) {
		n += (uint32_t)__builtin_popcountll(mask[w]);
		v->n_documents += (uint32_t)__builtin_popcountll(mask[w] & e->heads[w]);
	}
	v->n_chunks += n;
	if (n == e->n_alive) {
		for (int f = 0; f < HS_FIELDS; f++)
			v->sum[f] += e->sum[f];
		return n > 0;
	}
	for (int w = 0; w < HS_EXTENT_WORDS; w++)
		for (uint64_t bits = mask[w]; bits; bits &= bits - 1)
			for (int f = 0; f < HS_FIELDS; f++)
				v->sum[f] += e->length[f][w * 64 + __builtin_ctzll(bits)];
	return n > 0;
}

int hs_sight_init(struct hs_sight *v, struct hs_index *x, const struct hs_grant *g, const uint32_t *classes, size_t n_classes,
		 int64_t now_ms)
{
	struct class_set set;
	uint32_t next = x->n_extents;

	*v = (struct hs_sight){0};
	v->mask = calloc(x->n_extents + 1ul, HS_EXTENT_WORDS * sizeof(*v->mask));
	v->next = malloc((x->n_extents + 1ul) * sizeof(*v->next));
	if (!v->mask || !v->next) {
		free(v->mask);
		free(v->next);
		*v = (struct hs_sight){0};
		return -ENOMEM;
	}
	v->index = hs_index_ref(x);
	fill_set(&set, g, classes, n_classes);
	v->next[x->n_extents] = x->n_extents;
	for (uint32_t i = x->n_extents; i-- > 0;) {
		const struct hs_extent *e = x->extents[i];

		if (e && e->n_alive > 0) {
			mask_extent(e, &set, now_ms, v->mask + (size_t)i * HS_EXTENT_WORDS);
			if (count_extent(v, e, v->mask + (size_t)i * HS_EXTENT_WORDS))
				next = i;
		}
		v->next[i] = next;
	}
	return 0;
}

void hs_sight_finish(struct hs_sight *v)
{
	free(v->mask);
	free(v->next);
	hs_index_unref((struct hs_index *)v->index); /* taken in init; const only to those who look */
	*v = (struct hs_sight){0};
}
