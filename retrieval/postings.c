#include "retrieval/postings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"

#define VARINT_MAX 5u /* bytes of one of 32 bits */
#define FENCE_EVERY 16u /* terms that one key of the fence stands for */

static void field_finish(struct hs_field_postings *f)
{
	free(f->term_at);
	free(f->group_at);
	free(f->group_extent);
	free(f->group_start);
	free(f->low);
	free(f->tf);
	free(f->terms);
	free(f->fence);
	*f = (struct hs_field_postings){0};
}

void hs_segment_destroy(struct hs_segment *s)
{
	if (!s)
		return;
	for (int i = 0; i < HS_FIELDS; i++)
		field_finish(&s->field[i]);
	free(s);
}

/* Room for a field of known size; the sentinels of the offset tables are the caller's to fill. */
static int field_alloc(struct hs_field_postings *f, uint32_t n_terms, uint32_t n_groups, uint32_t n_postings, size_t terms_len)
{
	f->term_at = calloc((size_t)n_terms + 1, sizeof(*f->term_at));
	f->group_at = calloc((size_t)n_terms + 1, sizeof(*f->group_at));
	f->group_extent = calloc((size_t)n_groups + 1, sizeof(*f->group_extent));
	f->group_start = calloc((size_t)n_groups + 1, sizeof(*f->group_start));
	f->low = malloc((size_t)n_postings + 1);
	f->tf = malloc((size_t)n_postings + 1);
	f->terms = malloc(terms_len + 1);
	f->fence = calloc((size_t)n_terms / FENCE_EVERY + 1, sizeof(*f->fence));
	if (!f->fence || !f->term_at || !f->group_at || !f->group_extent || !f->group_start || !f->low || !f->tf || !f->terms) {
		field_finish(f);
		return -ENOMEM;
	}
	return 0;
}

static uint64_t field_bytes(const struct hs_field_postings *f)
{
	return 8ull * (f->n_terms / FENCE_EVERY + 1ull) + 8ull * (f->n_terms + 1ull) + 8ull * (f->n_groups + 1ull) +
	       2ull * f->n_postings + f->term_at[f->n_terms];
}

static void count_bytes(struct hs_segment *s)
{
	s->bytes = sizeof(*s);
	for (int i = 0; i < HS_FIELDS; i++)
		s->bytes += field_bytes(&s->field[i]);
}

static int term_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int c = memcmp(a, b, HS_MIN(a_len, b_len));

	return c != 0 ? c : (a_len > b_len) - (a_len < b_len);
}

/* A term's first bytes as a number: terms that ascend have keys that do not descend. */
static uint64_t key_of(const char *term, size_t len)
{
	uint64_t key = 0;

	for (size_t i = 0; i < sizeof(key); i++)
		key = key << 8 | (i < len ? (uint8_t)term[i] : 0);
	return key;
}

/* The terms stand. */
static void build_fence(struct hs_field_postings *f)
{
	for (uint32_t t = 0; t < f->n_terms; t += FENCE_EVERY)
		f->fence[t / FENCE_EVERY] = key_of(f->terms + f->term_at[t], f->term_at[t + 1] - f->term_at[t]);
}

/* How many of the fence's keys are below (or, with `equal`, not above) the key. */
static uint32_t count_below(const struct hs_field_postings *f, uint64_t key, bool equal)
{
	uint32_t lo = 0, hi = (f->n_terms + FENCE_EVERY - 1) / FENCE_EVERY;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (f->fence[mid] < key || (equal && f->fence[mid] == key))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool hs_field_find(const struct hs_field_postings *f, const char *term, size_t len, uint32_t *ret_first, uint32_t *ret_end)
{
	/* The fence fits into the cache, where the terms do not: it leaves few of them to look at. */
	uint64_t key = key_of(term, len);
	uint32_t before = count_below(f, key, false), upto = count_below(f, key, true);
	uint32_t lo = before > 0 ? (before - 1) * FENCE_EVERY : 0, hi = HS_MIN(f->n_terms, upto * FENCE_EVERY);

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int c = term_compare(f->terms + f->term_at[mid], f->term_at[mid + 1] - f->term_at[mid], term, len);

		if (c == 0) {
			*ret_first = f->group_at[mid];
			*ret_end = f->group_at[mid + 1];
			return true;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

/* --- encoding --- */

/* At most so many bytes: the caller has reserved them. */
static size_t field_encoded_max(const struct hs_field_postings *f)
{
	return 4 * sizeof(uint32_t) + (2ul + VARINT_MAX) * f->n_terms + (1ul + VARINT_MAX) * f->n_groups + 2ul * f->n_postings +
	       f->term_at[f->n_terms];
}

static uint8_t *put_varint(uint8_t *p, uint32_t v)
{
	while (v >= 0x80) {
		*p++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*p++ = (uint8_t)v;
	return p;
}

static uint8_t *put_bytes(uint8_t *p, const void *data, size_t n)
{
	memcpy(p, data, n);
	return p + n;
}

static uint8_t *encode_groups(const struct hs_field_postings *f, uint32_t first, uint32_t end, uint8_t *p)
{
	uint32_t before = 0;

	p = put_varint(p, end - first);
	for (uint32_t g = first; g < end; g++) {
		uint32_t start = f->group_start[g], n = f->group_start[g + 1] - start;

		p = put_varint(p, f->group_extent[g] - before);
		before = f->group_extent[g];
		*p++ = (uint8_t)(n - 1);
		p = put_bytes(p, f->low + start, n);
		p = put_bytes(p, f->tf + start, n);
	}
	return p;
}

static uint8_t *encode_field(const struct hs_field_postings *f, uint8_t *p)
{
	const uint32_t counts[] = {f->n_terms, f->n_groups, f->n_postings, f->term_at[f->n_terms]};
	const char *before = "";
	size_t before_len = 0;

	for (size_t i = 0; i < HS_ARRAY_LEN(counts); i++, p += sizeof(counts[0]))
		hs_le32_store(p, counts[i]);
	for (uint32_t i = 0; i < f->n_terms; i++) {
		const char *term = f->terms + f->term_at[i];
		size_t len = f->term_at[i + 1] - f->term_at[i], shared = 0;

		while (shared < len && shared < before_len && term[shared] == before[shared])
			shared++;
		*p++ = (uint8_t)shared;
		*p++ = (uint8_t)(len - shared);
		p = put_bytes(p, term + shared, len - shared);
		p = encode_groups(f, f->group_at[i], f->group_at[i + 1], p);
		before = term;
		before_len = len;
	}
	return p;
}

int hs_segment_encode(const struct hs_segment *s, struct hs_buf *out)
{
	size_t most = 0;
	uint8_t *p;
	int rc = hs_put_u32(out, HS_SEGMENT_MAGIC);

	if (rc == 0)
		rc = hs_put_u32(out, HS_FIELDS);
	for (int i = 0; i < HS_FIELDS; i++)
		most += field_encoded_max(&s->field[i]);
	if (rc == 0)
		rc = hs_buf_reserve(out, most);
	if (rc < 0)
		return rc;
	p = out->data + out->len;
	for (int i = 0; i < HS_FIELDS; i++)
		p = encode_field(&s->field[i], p);
	hs_assert((size_t)(p - out->data) <= out->len + most);
	out->len = (size_t)(p - out->data);
	return 0;
}

/* Sticky like hs_wire: zero after the first failure. */
static uint32_t get_varint(struct hs_wire *w)
{
	uint32_t v = 0;

	for (int shift = 0; shift < 35; shift += 7) {
		uint8_t byte = hs_wire_u8(w);

		if (w->failed || (shift == 28 && byte > 0x0f))
			break;
		v |= (uint32_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return v;
	}
	w->failed = true;
	return 0;
}

/* --- decoding: everything is checked, because a search trusts what it finds in memory --- */

struct field_reader {
	struct hs_field_postings *f;
	uint32_t extents; /* every group lies below */
	uint32_t terms_len;
	uint32_t groups, postings, bytes; /* so far */
};

static bool decode_group(struct hs_wire *w, struct field_reader *r, bool first)
{
	struct hs_field_postings *f = r->f;
	uint32_t delta = get_varint(w), n = (uint32_t)hs_wire_u8(w) + 1, extent = delta;
	const uint8_t *low, *tf;

	if (w->failed || r->groups == f->n_groups || n > f->n_postings - r->postings)
		return false;
	if (!first) {
		uint32_t before = f->group_extent[r->groups - 1];

		if (delta == 0 || delta > UINT32_MAX - before)
			return false;
		extent = before + delta;
	}
	if (extent >= r->extents)
		return false;
	low = hs_wire_bytes(w, n);
	tf = hs_wire_bytes(w, n);
	if (w->failed)
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (tf[i] == 0 || (i > 0 && low[i] <= low[i - 1]))
			return false;
	memcpy(f->low + r->postings, low, n);
	memcpy(f->tf + r->postings, tf, n);
	f->group_extent[r->groups] = extent;
	f->group_start[r->groups] = r->postings;
	r->groups++;
	r->postings += n;
	return true;
}

static bool decode_term(struct hs_wire *w, struct field_reader *r, uint32_t i)
{
	struct hs_field_postings *f = r->f;
	uint32_t shared = hs_wire_u8(w), rest = hs_wire_u8(w), groups;
	uint32_t before_at = i > 0 ? f->term_at[i - 1] : 0, before_len = r->bytes - before_at;
	const uint8_t *bytes = hs_wire_bytes(w, rest);

	if (w->failed || shared > before_len || shared + rest == 0 || shared + rest > HS_TERM_MAX ||
	    shared + rest > r->terms_len - r->bytes)
		return false;
	f->term_at[i] = r->bytes;
	memcpy(f->terms + r->bytes, f->terms + before_at, shared);
	memcpy(f->terms + r->bytes + shared, bytes, rest);
	if (i > 0 && term_compare(f->terms + before_at, before_len, f->terms + r->bytes, shared + rest) >= 0)
		return false;
	r->bytes += shared + rest;
	groups = get_varint(w);
	if (w->failed || groups == 0 || groups > f->n_groups - r->groups)
		return false;
	f->group_at[i] = r->groups;
	for (uint32_t g = 0; g < groups; g++)
		if (!decode_group(w, r, g == 0))
			return false;
	return true;
}

static int decode_field(struct hs_wire *w, uint32_t extents, struct hs_field_postings *f)
{
	uint32_t n_terms = hs_wire_u32(w), n_groups = hs_wire_u32(w), n_postings = hs_wire_u32(w), terms_len = hs_wire_u32(w);
	struct field_reader r = {.f = f, .extents = extents, .terms_len = terms_len};
	size_t left = w->len - w->at;
	int rc;

	/* Each term takes at least 3 bytes here, each group 4, each posting 2: the counts cannot ask for more than is there. */
	if (w->failed || n_terms > left / 3 || n_groups > left / 4 || n_postings > left / 2 ||
	    terms_len > (uint64_t)n_terms * HS_TERM_MAX)
		return -EBADMSG;
	rc = field_alloc(f, n_terms, n_groups, n_postings, terms_len);
	if (rc < 0)
		return rc;
	f->n_terms = n_terms;
	f->n_groups = n_groups;
	f->n_postings = n_postings;
	for (uint32_t i = 0; i < n_terms; i++)
		if (!decode_term(w, &r, i))
			return -EBADMSG;
	if (r.groups != n_groups || r.postings != n_postings || r.bytes != terms_len)
		return -EBADMSG;
	f->term_at[n_terms] = r.bytes;
	f->group_at[n_terms] = n_groups;
	f->group_start[n_groups] = n_postings;
	build_fence(f);
	return 0;
}

int hs_segment_decode(const void *data, size_t len, uint32_t ordinals, struct hs_segment **ret, struct hs_err *err)
{
	struct hs_wire w = hs_wire_over(data, len);
	uint32_t extents = ordinals / HS_EXTENT_ORDINALS + (ordinals % HS_EXTENT_ORDINALS != 0);
	struct hs_segment *s;
	int rc = 0;

	if (len > HS_SEGMENT_BYTES_MAX || hs_wire_u32(&w) != HS_SEGMENT_MAGIC || hs_wire_u32(&w) != HS_FIELDS)
		return hs_fail(err, EBADMSG, "index.segment", HS_N_("A part of the index is damaged; rebuild the index."), "header");
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	for (int i = 0; rc == 0 && i < HS_FIELDS; i++)
		rc = decode_field(&w, extents, &s->field[i]);
	if (rc == 0 && !hs_wire_done(&w))
		rc = -EBADMSG;
	if (rc < 0) {
		hs_segment_destroy(s);
		if (rc == -EBADMSG)
			return hs_fail(err, EBADMSG, "index.segment", HS_N_("A part of the index is damaged; rebuild the index."),
				       "at byte %zu of %zu", w.at, len);
		return rc;
	}
	count_bytes(s);
	*ret = s;
	return 0;
}

/* --- building --- */

struct builder_term {
	uint32_t at, len, hash;
	uint32_t last; /* its latest posting + 1: of the open chunk where it lies beyond the field's `open` */
};

struct builder_posting {
	uint32_t term, ordinal;
	uint8_t tf;
};

struct builder_field {
	struct builder_term *terms;
	size_t n_terms, cap_terms;
	uint32_t *table; /* open addressing: term + 1, 0 free */
	size_t slots;
	char *bytes;
	size_t n_bytes, cap_bytes;
	struct builder_posting *postings;
	size_t n_postings, cap_postings;
	size_t open; /* first posting of the open chunk: its ordinal is not known yet */
};

struct hs_postings_builder {
	struct builder_field field[HS_FIELDS];
};

static int grow(void **items, size_t *cap, size_t need, size_t size)
{
	size_t want = *cap ? *cap : 256;
	void *more;

	if (need <= *cap)
		return 0;
	while (want < need)
		want *= 2;
	more = realloc(*items, want * size);
	if (!more)
		return -ENOMEM;
	*items = more;
	*cap = want;
	return 0;
}

struct hs_postings_builder *hs_postings_builder_create(void)
{
	return calloc(1, sizeof(struct hs_postings_builder));
}

static void builder_field_finish(struct builder_field *f)
{
	free(f->terms);
	free(f->table);
	free(f->bytes);
	free(f->postings);
	*f = (struct builder_field){0};
}

void hs_postings_builder_destroy(struct hs_postings_builder *b)
{
	if (!b)
		return;
	for (int i = 0; i < HS_FIELDS; i++)
		builder_field_finish(&b->field[i]);
	free(b);
}

static uint32_t hash_bytes(const char *s, size_t n)
{
	uint32_t h = 2166136261u; /* FNV-1a: terms are short, and the table is rebuilt for each transaction */

	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)s[i]) * 16777619u;
	return h;
}

static int rehash(struct builder_field *f)
{
	size_t slots = f->slots ? f->slots * 2 : 1024;
	uint32_t *table = calloc(slots, sizeof(*table));

	if (!table)
		return -ENOMEM;
	for (size_t i = 0; i < f->n_terms; i++) {
		size_t at = f->terms[i].hash & (slots - 1);

		while (table[at])
			at = (at + 1) & (slots - 1);
		table[at] = (uint32_t)i + 1;
	}
	free(f->table);
	f->table = table;
	f->slots = slots;
	return 0;
}

static int intern(struct builder_field *f, const char *term, size_t len, uint32_t *ret)
{
	uint32_t hash = hash_bytes(term, len);
	size_t at;

	if (f->n_terms * 2 >= f->slots && rehash(f) < 0)
		return -ENOMEM;
	for (at = hash & (f->slots - 1); f->table[at]; at = (at + 1) & (f->slots - 1)) {
		const struct builder_term *t = &f->terms[f->table[at] - 1];

		if (t->hash == hash && t->len == len && memcmp(f->bytes + t->at, term, len) == 0) {
			*ret = f->table[at] - 1;
			return 0;
		}
	}
	if (f->n_bytes + len > UINT32_MAX || f->n_terms >= UINT32_MAX / 2)
		return -EFBIG;
	if (grow((void **)&f->terms, &f->cap_terms, f->n_terms + 1, sizeof(*f->terms)) < 0 ||
	    grow((void **)&f->bytes, &f->cap_bytes, f->n_bytes + len, 1) < 0)
		return -ENOMEM;
	memcpy(f->bytes + f->n_bytes, term, len);
	f->terms[f->n_terms] = (struct builder_term){.at = (uint32_t)f->n_bytes, .len = (uint32_t)len, .hash = hash};
	f->n_bytes += len;
	f->table[at] = (uint32_t)++f->n_terms;
	*ret = (uint32_t)f->n_terms - 1;
	return 0;
}

int hs_postings_builder_add(struct hs_postings_builder *b, enum hs_field field, const char *term, size_t len)
{
	struct builder_field *f = &b->field[field];
	uint32_t id, last;
	int rc;

	if (len == 0 || len > HS_TERM_MAX)
		return 0;
	rc = intern(f, term, len, &id);
	if (rc < 0)
		return rc;
	last = f->terms[id].last;
	if (last > f->open) { /* again in this chunk */
		f->postings[last - 1].tf = (uint8_t)HS_MIN(f->postings[last - 1].tf + 1, 255);
		return 0;
	}
	if (f->n_postings >= UINT32_MAX - 1)
		return -EFBIG;
	if (grow((void **)&f->postings, &f->cap_postings, f->n_postings + 1, sizeof(*f->postings)) < 0)
		return -ENOMEM;
	f->postings[f->n_postings++] = (struct builder_posting){.term = id, .tf = 1};
	f->terms[id].last = (uint32_t)f->n_postings;
	return 0;
}

void hs_postings_builder_end(struct hs_postings_builder *b, uint32_t ordinal)
{
	for (int i = 0; i < HS_FIELDS; i++) {
		struct builder_field *f = &b->field[i];

		for (; f->open < f->n_postings; f->open++)
			f->postings[f->open].ordinal = ordinal;
	}
}

bool hs_postings_builder_empty(const struct hs_postings_builder *b)
{
	return b->field[HS_FIELD_WORDS].n_postings == 0 && b->field[HS_FIELD_BIGRAMS].n_postings == 0;
}

static int posting_compare(const void *a, const void *b)
{
	const struct builder_posting *x = a, *y = b;

	return (x->ordinal > y->ordinal) - (x->ordinal < y->ordinal);
}

/*
 * Postings in the order of the terms' ranks, ascending within each. Counting keeps the order in which they came, and chunks
 * mostly come in ascending ordinals: few terms are left to sort.
 */
static int sort_postings(struct builder_field *b, const uint32_t *rank)
{
	uint32_t *at = calloc(b->n_terms + 2, sizeof(*at));
	struct builder_posting *sorted = malloc((b->n_postings + 1) * sizeof(*sorted));

	if (!at || !sorted) {
		free(at);
		free(sorted);
		return -ENOMEM;
	}
	for (size_t i = 0; i < b->n_postings; i++) {
		b->postings[i].term = rank[b->postings[i].term];
		at[b->postings[i].term + 1]++;
	}
	for (size_t t = 0; t < b->n_terms; t++)
		at[t + 1] += at[t];
	for (size_t i = 0; i < b->n_postings; i++)
		sorted[at[b->postings[i].term]++] = b->postings[i];
	free(at);
	free(b->postings);
	b->postings = sorted;
	b->cap_postings = b->n_postings + 1;
	for (size_t first = 0, end; first < b->n_postings; first = end) {
		bool ascending = true;

		for (end = first + 1; end < b->n_postings && sorted[end].term == sorted[first].term; end++)
			ascending = ascending && sorted[end - 1].ordinal < sorted[end].ordinal;
		if (!ascending)
			qsort(sorted + first, end - first, sizeof(*sorted), posting_compare);
	}
	return 0;
}

/* qsort has no argument for the bytes that the terms point into. Most terms differ in their first eight bytes. */
struct sort_term {
	uint64_t key;
	const char *s;
	uint32_t len, id;
};

static int sort_term_compare(const void *a, const void *b)
{
	const struct sort_term *x = a, *y = b;

	return x->key != y->key ? (x->key > y->key ? 1 : -1) : term_compare(x->s, x->len, y->s, y->len);
}

static size_t count_groups(const struct builder_posting *p, size_t n)
{
	size_t groups = 0;

	for (size_t i = 0; i < n; i++)
		groups += i == 0 || p[i].term != p[i - 1].term ||
			  p[i].ordinal / HS_EXTENT_ORDINALS != p[i - 1].ordinal / HS_EXTENT_ORDINALS;
	return groups;
}

/* Terms whose postings all went (none does today) would be left without groups: the caller keeps terms with postings only. */
static void fill_field(const struct builder_field *b, const struct sort_term *sorted, struct hs_field_postings *f)
{
	uint32_t bytes = 0, groups = 0, at = 0;

	for (uint32_t t = 0; t < f->n_terms; t++) {
		memcpy(f->terms + bytes, sorted[t].s, sorted[t].len);
		f->term_at[t] = bytes;
		f->group_at[t] = groups;
		bytes += sorted[t].len;
		for (uint32_t first = at; at < f->n_postings && b->postings[at].term == t; at++) {
			uint32_t extent = b->postings[at].ordinal / HS_EXTENT_ORDINALS;

			if (at == first || extent != f->group_extent[groups - 1]) {
				f->group_extent[groups] = extent;
				f->group_start[groups++] = at;
			}
			f->low[at] = (uint8_t)(b->postings[at].ordinal % HS_EXTENT_ORDINALS);
			f->tf[at] = b->postings[at].tf;
		}
	}
	f->term_at[f->n_terms] = bytes;
	f->group_at[f->n_terms] = groups;
	f->group_start[groups] = at;
	build_fence(f);
}

static int finish_field(struct builder_field *b, struct hs_field_postings *f)
{
	struct sort_term *sorted = malloc((b->n_terms + 1) * sizeof(*sorted));
	uint32_t *rank = malloc((b->n_terms + 1) * sizeof(*rank));
	size_t groups;
	int rc = -ENOMEM;

	if (!sorted || !rank)
		goto out;
	for (size_t i = 0; i < b->n_terms; i++)
		sorted[i] = (struct sort_term){.key = key_of(b->bytes + b->terms[i].at, b->terms[i].len), .s = b->bytes + b->terms[i].at,
					       .len = b->terms[i].len, .id = (uint32_t)i};
	qsort(sorted, b->n_terms, sizeof(*sorted), sort_term_compare);
	for (size_t i = 0; i < b->n_terms; i++)
		rank[sorted[i].id] = (uint32_t)i;
	rc = sort_postings(b, rank);
	if (rc < 0)
		goto out;
	groups = count_groups(b->postings, b->n_postings);
	rc = field_alloc(f, (uint32_t)b->n_terms, (uint32_t)groups, (uint32_t)b->n_postings, b->n_bytes);
	if (rc < 0)
		goto out;
	f->n_terms = (uint32_t)b->n_terms;
	f->n_groups = (uint32_t)groups;
	f->n_postings = (uint32_t)b->n_postings;
	fill_field(b, sorted, f);
out:
	free(sorted);
	free(rank);
	return rc;
}

int hs_postings_builder_finish(struct hs_postings_builder *b, struct hs_segment **ret)
{
	struct hs_segment *s = calloc(1, sizeof(*s));
	int rc = s ? 0 : -ENOMEM;

	for (int i = 0; rc == 0 && i < HS_FIELDS; i++) {
		hs_assert(b->field[i].open == b->field[i].n_postings);
		rc = finish_field(&b->field[i], &s->field[i]);
	}
	if (rc < 0) {
		hs_segment_destroy(s);
		return rc;
	}
	for (int i = 0; i < HS_FIELDS; i++)
		builder_field_finish(&b->field[i]);
	count_bytes(s);
	*ret = s;
	return 0;
}

/* --- merging --- */

struct merge_part {
	const struct hs_field_postings *f;
	uint32_t term; /* next to give */
	uint64_t key;  /* its first bytes */
};

struct merge_group {
	uint32_t extent, start, n;
	const struct hs_field_postings *f;
};

struct merge {
	struct merge_part *parts;
	size_t n;
	const uint64_t *alive;
	size_t n_words;
	struct merge_group *groups; /* of one term */
	size_t cap_groups;
	struct hs_field_postings *out;
	uint32_t terms, n_groups, postings, bytes; /* so far */
};

static bool is_alive(const struct merge *m, uint32_t ordinal)
{
	return !m->alive || (ordinal / 64 < m->n_words && (m->alive[ordinal / 64] >> (ordinal % 64) & 1));
}

static int merge_group_compare(const void *a, const void *b)
{
	const struct merge_group *x = a, *y = b;

	return (x->extent > y->extent) - (x->extent < y->extent);
}

static void end_group(struct merge *m, uint32_t extent, uint32_t before)
{
	if (m->postings > before) {
		m->out->group_extent[m->n_groups] = extent;
		m->out->group_start[m->n_groups++] = before;
	}
}

/* Groups of one extent whose postings follow each other: parts were mostly written one after the other. */
static void append_groups(struct merge *m, const struct merge_group *g, size_t n)
{
	struct hs_field_postings *f = m->out;
	uint32_t before = m->postings;

	for (size_t i = 0; i < n; i++) {
		for (uint32_t p = g[i].start; p < g[i].start + g[i].n; p++) {
			if (!is_alive(m, g->extent * HS_EXTENT_ORDINALS + g[i].f->low[p]))
				continue;
			f->low[m->postings] = g[i].f->low[p];
			f->tf[m->postings++] = g[i].f->tf[p];
		}
	}
	end_group(m, g->extent, before);
}

/* Groups of one extent whose postings interleave. Counting by low byte sorts them. */
static void interleave_groups(struct merge *m, const struct merge_group *g, size_t n)
{
	uint8_t tf[HS_EXTENT_ORDINALS] = {0};
	struct hs_field_postings *f = m->out;
	uint32_t before = m->postings;

	for (size_t i = 0; i < n; i++)
		for (uint32_t p = g[i].start; p < g[i].start + g[i].n; p++)
			if (is_alive(m, g->extent * HS_EXTENT_ORDINALS + g[i].f->low[p]))
				tf[g[i].f->low[p]] = g[i].f->tf[p];
	for (uint32_t low = 0; low < HS_EXTENT_ORDINALS; low++) {
		if (tf[low] == 0)
			continue;
		f->low[m->postings] = (uint8_t)low;
		f->tf[m->postings++] = tf[low];
	}
	end_group(m, g->extent, before);
}

static void merge_extent(struct merge *m, const struct merge_group *g, size_t n)
{
	bool follow = true;

	for (size_t i = 1; i < n && follow; i++)
		follow = g[i - 1].f->low[g[i - 1].start + g[i - 1].n - 1] < g[i].f->low[g[i].start];
	if (follow)
		append_groups(m, g, n);
	else
		interleave_groups(m, g, n);
}

static const char *term_at(const struct merge_part *p, size_t *ret_len)
{
	*ret_len = p->f->term_at[p->term + 1] - p->f->term_at[p->term];
	return p->f->terms + p->f->term_at[p->term];
}

static void take_key(struct merge_part *p)
{
	size_t len;

	if (p->term < p->f->n_terms) {
		const char *term = term_at(p, &len);

		p->key = key_of(term, len);
	}
}

/* Compares the term that a part has next with another. Few need more than their first bytes. */
static int compare_next(const struct merge_part *p, uint64_t key, const char *term, size_t len)
{
	size_t own_len;
	const char *own = term_at(p, &own_len);

	return p->key != key ? (p->key > key ? 1 : -1) : term_compare(own, own_len, term, len);
}

/* The smallest term that any part has next. NULL at the end. */
static const char *smallest(const struct merge *m, uint64_t *ret_key, size_t *ret_len)
{
	const char *term = NULL;

	for (size_t i = 0; i < m->n; i++) {
		const struct merge_part *p = &m->parts[i];

		if (p->term == p->f->n_terms || (term && compare_next(p, *ret_key, term, *ret_len) >= 0))
			continue;
		term = term_at(p, ret_len);
		*ret_key = p->key;
	}
	return term;
}

/* The groups that a part has of its next term, behind those of the parts before. */
static int take_groups(struct merge *m, struct merge_part *p, size_t *n, bool *ascending)
{
	const struct hs_field_postings *f = p->f;
	uint32_t first = f->group_at[p->term], end = f->group_at[p->term + 1];

	if (grow((void **)&m->groups, &m->cap_groups, *n + end - first, sizeof(*m->groups)) < 0)
		return -ENOMEM;
	for (uint32_t g = first; g < end; g++) {
		if (*n > 0 && f->group_extent[g] < m->groups[*n - 1].extent)
			*ascending = false;
		m->groups[(*n)++] = (struct merge_group){.extent = f->group_extent[g], .start = f->group_start[g],
							 .n = f->group_start[g + 1] - f->group_start[g], .f = f};
	}
	p->term++;
	take_key(p);
	return 0;
}

/* The next term with its groups in all parts. 0 at the end. */
static int merge_term(struct merge *m)
{
	uint64_t key = 0;
	size_t len = 0, n = 0;
	const char *term = smallest(m, &key, &len);
	uint32_t groups_before = m->n_groups;
	bool ascending = true;

	if (!term)
		return 0;
	for (size_t i = 0; i < m->n; i++) {
		struct merge_part *p = &m->parts[i];

		if (p->term < p->f->n_terms && compare_next(p, key, term, len) == 0 && take_groups(m, p, &n, &ascending) < 0)
			return -ENOMEM;
	}
	if (!ascending)
		qsort(m->groups, n, sizeof(*m->groups), merge_group_compare);
	for (size_t at = 0, end; at < n; at = end) {
		for (end = at + 1; end < n && m->groups[end].extent == m->groups[at].extent; end++)
			;
		merge_extent(m, m->groups + at, end - at);
	}
	if (m->n_groups > groups_before) { /* a term of the dead goes with them */
		memcpy(m->out->terms + m->bytes, term, len);
		m->out->term_at[m->terms] = m->bytes;
		m->out->group_at[m->terms++] = groups_before;
		m->bytes += (uint32_t)len;
	}
	return 1;
}

static void *shrink(void *p, size_t size)
{
	void *smaller = realloc(p, size ? size : 1);

	return smaller ? smaller : p;
}

static int merge_field(struct merge *m, struct hs_field_postings *out)
{
	uint64_t terms = 0, groups = 0, postings = 0, bytes = 0;
	int rc;

	for (size_t i = 0; i < m->n; i++) {
		const struct hs_field_postings *f = m->parts[i].f;

		terms += f->n_terms;
		groups += f->n_groups;
		postings += f->n_postings;
		bytes += f->term_at[f->n_terms];
	}
	if (terms > UINT32_MAX || groups > UINT32_MAX || postings > UINT32_MAX || bytes > UINT32_MAX)
		return -EFBIG;
	rc = field_alloc(out, (uint32_t)terms, (uint32_t)groups, (uint32_t)postings, bytes);
	if (rc < 0)
		return rc;
	m->out = out;
	while ((rc = merge_term(m)) > 0)
		;
	if (rc < 0)
		return rc;
	out->n_terms = m->terms;
	out->n_groups = m->n_groups;
	out->n_postings = m->postings;
	out->term_at[m->terms] = m->bytes;
	out->group_at[m->terms] = m->n_groups;
	out->group_start[m->n_groups] = m->postings;
	build_fence(out);
	out->term_at = shrink(out->term_at, (m->terms + 1ul) * sizeof(*out->term_at));
	out->group_at = shrink(out->group_at, (m->terms + 1ul) * sizeof(*out->group_at));
	out->group_extent = shrink(out->group_extent, (m->n_groups + 1ul) * sizeof(*out->group_extent));
	out->group_start = shrink(out->group_start, (m->n_groups + 1ul) * sizeof(*out->group_start));
	out->low = shrink(out->low, m->postings + 1ul);
	out->tf = shrink(out->tf, m->postings + 1ul);
	out->terms = shrink(out->terms, m->bytes + 1ul);
	return 0;
}

int hs_segment_merge(const struct hs_segment *const *parts, size_t n, const uint64_t *alive, size_t n_words,
		     struct hs_segment **ret)
{
	struct hs_segment *s = calloc(1, sizeof(*s));
	struct merge_part *cursors = calloc(n + 1, sizeof(*cursors));
	int rc = s && cursors ? 0 : -ENOMEM;

	for (int i = 0; rc == 0 && i < HS_FIELDS; i++) {
		struct merge m = {.parts = cursors, .n = n, .alive = alive, .n_words = n_words};

		for (size_t p = 0; p < n; p++)
			cursors[p] = (struct merge_part){.f = &parts[p]->field[i]};
		for (size_t p = 0; p < n; p++)
			take_key(&cursors[p]);
		rc = merge_field(&m, &s->field[i]);
		free(m.groups);
	}
	free(cursors);
	if (rc < 0) {
		hs_segment_destroy(s);
		return rc;
	}
	count_bytes(s);
	*ret = s;
	return 0;
}
