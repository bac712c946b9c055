#include "retrieval/rank.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct list {
	uint32_t *items;
	size_t n, cap;
};

struct hs_ranker {
	const struct hs_sight *view;
	struct hs_rank_params params;
	const int *stop;
	const uint64_t *only;
	size_t ordinals; /* room of the arrays below, which are all zero between rankings */
	float *chunk[HS_FIELDS];  /* BM25 of chunks */
	float *whole[HS_FIELDS];  /* BM25 of documents, at their heads */
	float *coverage;          /* idf of the words that the chunk holds */
	float *cosine;            /* of chunks; NAN-free, 0 where none */
	float *dense;             /* best cosine of documents, at their heads; offset by 2, so that 0 is "none" */
	uint32_t *frequency;      /* of one term in documents, at their heads */
	uint8_t *seen;            /* SEEN_* */
	struct list chunks, heads; /* that words touched */
	struct list embedded, dense_heads;
	struct list found, found_heads; /* of one term */
	uint8_t *found_tf; /* (found.cap) */
	float *order;             /* scratch of the hundredth's search */
	size_t order_cap;
	struct hs_ranked *ranked;
	size_t n_ranked, cap_ranked;
	size_t n_sorted, given; /* of ranked: best first so far; handed out */
	double idf_sum;
	bool words, vectors;
};

enum {
	SEEN_CHUNK = 1,
	SEEN_HEAD = 2,
	SEEN_CANDIDATE = 4,
};

static int push(struct list *l, uint32_t v)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 1024;
		uint32_t *more = realloc(l->items, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		l->items = more;
		l->cap = cap;
	}
	l->items[l->n++] = v;
	return 0;
}

struct hs_ranker *hs_ranker_create(void)
{
	return calloc(1, sizeof(struct hs_ranker));
}

static void free_arrays(struct hs_ranker *r)
{
	for (int f = 0; f < HS_FIELDS; f++) {
		free(r->chunk[f]);
		free(r->whole[f]);
		r->chunk[f] = r->whole[f] = NULL;
	}
	free(r->coverage);
	free(r->cosine);
	free(r->dense);
	free(r->frequency);
	free(r->seen);
	r->coverage = r->cosine = r->dense = NULL;
	r->frequency = NULL;
	r->seen = NULL;
	r->ordinals = 0;
}

void hs_ranker_destroy(struct hs_ranker *r)
{
	if (!r)
		return;
	free_arrays(r);
	free(r->chunks.items);
	free(r->heads.items);
	free(r->embedded.items);
	free(r->dense_heads.items);
	free(r->found.items);
	free(r->found_heads.items);
	free(r->found_tf);
	free(r->order);
	free(r->ranked);
	free(r);
}

static int make_arrays(struct hs_ranker *r, size_t n)
{
	free_arrays(r);
	for (int f = 0; f < HS_FIELDS; f++) {
		r->chunk[f] = calloc(n, sizeof(float));
		r->whole[f] = calloc(n, sizeof(float));
		if (!r->chunk[f] || !r->whole[f])
			return -ENOMEM;
	}
	r->coverage = calloc(n, sizeof(float));
	r->cosine = calloc(n, sizeof(float));
	r->dense = calloc(n, sizeof(float));
	r->frequency = calloc(n, sizeof(uint32_t));
	r->seen = calloc(n, 1);
	if (!r->coverage || !r->cosine || !r->dense || !r->frequency || !r->seen)
		return -ENOMEM;
	r->ordinals = n;
	return 0;
}

/* Leave the arrays as they were found: zero, touching only what the last ranking touched. */
static void reset(struct hs_ranker *r)
{
	for (size_t i = 0; i < r->chunks.n; i++) {
		uint32_t o = r->chunks.items[i];

		for (int f = 0; f < HS_FIELDS; f++)
			r->chunk[f][o] = 0;
		r->coverage[o] = 0;
		r->seen[o] = 0;
	}
	for (size_t i = 0; i < r->heads.n; i++) {
		for (int f = 0; f < HS_FIELDS; f++)
			r->whole[f][r->heads.items[i]] = 0;
		r->seen[r->heads.items[i]] = 0;
	}
	for (size_t i = 0; i < r->embedded.n; i++) {
		r->cosine[r->embedded.items[i]] = 0;
		r->seen[r->embedded.items[i]] = 0;
	}
	for (size_t i = 0; i < r->dense_heads.n; i++)
		r->dense[r->dense_heads.items[i]] = 0;
	for (size_t i = 0; i < r->found_heads.n; i++)
		r->frequency[r->found_heads.items[i]] = 0;
	r->chunks.n = r->heads.n = r->embedded.n = r->dense_heads.n = r->found.n = r->found_heads.n = 0;
	r->n_ranked = r->n_sorted = r->given = 0;
	r->idf_sum = 0;
	r->words = r->vectors = false;
	r->only = NULL;
}

int hs_rank_begin(struct hs_ranker *r, const struct hs_sight *v, const struct hs_rank_params *p, const int *stop)
{
	size_t n = HS_MAX((size_t)v->index->n_extents, (size_t)1) * HS_EXTENT_ORDINALS;

	if (r->ordinals > 0)
		reset(r);
	if (n > r->ordinals && make_arrays(r, n + n / 4) < 0) {
		free_arrays(r);
		return -ENOMEM;
	}
	r->view = v;
	r->params = *p;
	if (v->n_chunks == v->n_documents) /* each document is one passage: both levels say the same */
		r->params.document_share = 0;
	r->stop = stop;
	return 0;
}

static bool stopped(const struct hs_ranker *r)
{
	return r->stop && __atomic_load_n(r->stop, __ATOMIC_RELAXED);
}

/* The first group in [g, end) whose extent is at least `extent`: doubling steps, then halving ones. */
static uint32_t gallop(const uint32_t *extents, uint32_t g, uint32_t end, uint32_t extent)
{
	uint32_t step = 1, low = g, high;

	while (g < end && extents[g] < extent) {
		low = g + 1;
		g = end - g > step ? g + step : end;
		step *= 2;
	}
	high = g;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (extents[mid] < extent)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int reserve_found(struct hs_ranker *r, size_t n)
{
	size_t cap = HS_MAX(n, r->found.cap * 2);
	uint32_t *items;
	uint8_t *tf;

	if (n <= r->found.cap)
		return 0;
	items = realloc(r->found.items, cap * sizeof(*items));
	if (items)
		r->found.items = items;
	tf = realloc(r->found_tf, cap);
	if (tf)
		r->found_tf = tf;
	if (!items || !tf)
		return -ENOMEM;
	r->found.cap = cap;
	return 0;
}

/* The visible postings of a term in a segment, appended to found and found_tf. */
static int find_in(struct hs_ranker *r, const struct hs_field_postings *f, const struct hs_rank_term *term)
{
	const struct hs_sight *v = r->view;
	uint32_t g, end;

	if (!hs_field_find(f, term->s, term->len, &g, &end))
		return 0;
	while (g < end) {
		uint32_t extent = f->group_extent[g], shown;

		if (extent >= v->index->n_extents)
			break;
		shown = v->next[extent];
		if (shown != extent) {
			g = gallop(f->group_extent, g, end, shown);
			continue;
		}
		if (reserve_found(r, r->found.n + HS_EXTENT_ORDINALS) < 0)
			return -ENOMEM;
		for (uint32_t p = f->group_start[g]; p < f->group_start[g + 1]; p++) {
			uint32_t ordinal = extent * HS_EXTENT_ORDINALS + f->low[p];

			r->found.items[r->found.n] = ordinal; /* kept where it is seen: a branch that cannot be foretold costs more */
			r->found_tf[r->found.n] = f->tf[p];
			r->found.n += hs_sight_sees(v, ordinal);
		}
		g++;
	}
	return 0;
}

static float idf_of(uint64_t n, uint64_t df)
{
	return (float)log(1.0 + ((double)(n - df) + 0.5) / ((double)df + 0.5));
}

/* BM25's share of a term: idf and k1 + 1 are multiplied in, the length's part of the divisor is linear in the length. */
struct curve {
	float factor, base, slope;
};

static struct curve curve_of(const struct hs_rank_params *p, float idf, float mean)
{
	return (struct curve){.factor = idf * (p->k1 + 1), .base = p->k1 * (1 - p->b), .slope = p->k1 * p->b / mean};
}

static float worth(const struct curve *c, float tf, float length)
{
	return c->factor * tf / (tf + c->base + c->slope * length);
}

static int add_documents(struct hs_ranker *r, int field, float mean)
{
	const struct hs_sight *v = r->view;
	const struct hs_extent *e = NULL;
	uint32_t extent = UINT32_MAX;
	struct curve curve;

	for (size_t i = 0; i < r->found_heads.n; i++)
		r->frequency[r->found_heads.items[i]] = 0;
	r->found_heads.n = 0;
	for (size_t i = 0; i < r->found.n; i++) {
		uint32_t o = r->found.items[i], head;

		if (o / HS_EXTENT_ORDINALS != extent) {
			extent = o / HS_EXTENT_ORDINALS;
			e = v->index->extents[extent];
		}
		head = e->head[o % HS_EXTENT_ORDINALS];
		if (r->frequency[head] == 0 && push(&r->found_heads, head) < 0)
			return -ENOMEM;
		r->frequency[head] += r->found_tf[i];
	}
	curve = curve_of(&r->params, idf_of(v->n_documents, r->found_heads.n), mean);
	extent = UINT32_MAX;
	for (size_t i = 0; i < r->found_heads.n; i++) {
		uint32_t head = r->found_heads.items[i];

		if (head / HS_EXTENT_ORDINALS != extent) {
			extent = head / HS_EXTENT_ORDINALS;
			e = v->index->extents[extent];
		}
		if (!(r->seen[head] & SEEN_HEAD)) {
			if (push(&r->heads, head) < 0)
				return -ENOMEM;
			r->seen[head] |= SEEN_HEAD;
		}
		r->whole[field][head] += worth(&curve, (float)r->frequency[head], (float)e->whole[field][head % HS_EXTENT_ORDINALS]);
	}
	return 0;
}

static int add_chunks(struct hs_ranker *r, int field, float idf, float mean)
{
	const struct hs_sight *v = r->view;
	const struct curve curve = curve_of(&r->params, idf, mean);
	const struct hs_extent *e = NULL;
	uint32_t extent = UINT32_MAX;

	for (size_t i = 0; i < r->found.n; i++) {
		uint32_t o = r->found.items[i];

		if (o / HS_EXTENT_ORDINALS != extent) {
			extent = o / HS_EXTENT_ORDINALS;
			e = v->index->extents[extent];
		}
		if (!(r->seen[o] & SEEN_CHUNK)) {
			if (push(&r->chunks, o) < 0)
				return -ENOMEM;
			r->seen[o] |= SEEN_CHUNK;
		}
		r->chunk[field][o] += worth(&curve, (float)r->found_tf[i], (float)e->length[field][o % HS_EXTENT_ORDINALS]);
		if (field == HS_FIELD_WORDS)
			r->coverage[o] += idf;
	}
	return 0;
}

int hs_rank_words(struct hs_ranker *r, struct hs_rank_terms terms[static HS_FIELDS])
{
	const struct hs_sight *v = r->view;

	r->words = true;
	for (int field = 0; field < HS_FIELDS; field++) {
		float mean_chunk = (float)((double)v->sum[field] / (double)HS_MAX(v->n_chunks, 1u));
		float mean_whole = (float)((double)v->sum[field] / (double)HS_MAX(v->n_documents, 1u));

		for (size_t t = 0; t < terms[field].count; t++) {
			struct hs_rank_term *term = &terms[field].items[t];
			int rc = 0;

			if (stopped(r))
				return -ECANCELED;
			r->found.n = 0;
			for (uint32_t s = 0; rc == 0 && s < v->index->n_segments; s++)
				rc = find_in(r, &v->index->segments[s]->field[field], term);
			if (rc < 0)
				return rc;
			term->idf = idf_of(v->n_chunks, r->found.n);
			if (field == HS_FIELD_WORDS)
				r->idf_sum += term->idf;
			rc = add_chunks(r, field, term->idf, HS_MAX(mean_chunk, 1e-6f));
			if (rc == 0 && r->params.document_share > 0)
				rc = add_documents(r, field, HS_MAX(mean_whole, 1e-6f));
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

/* 2 keeps the stored value positive, so that 0 says "no vector" */
#define DENSE_OFFSET 2.0f

static int scan_extent(struct hs_ranker *r, const struct hs_vector_query *q, uint32_t extent)
{
	const struct hs_extent *e = r->view->index->extents[extent];
	const struct hs_vectors *vectors = e->vectors;

	if (!vectors || vectors->dimensions != q->dimensions)
		return 0;
	for (uint32_t w = 0; w < HS_EXTENT_WORDS; w++) {
		for (uint64_t bits = r->view->mask[(size_t)extent * HS_EXTENT_WORDS + w]; bits; bits &= bits - 1) {
			uint32_t low = w * 64 + (uint32_t)__builtin_ctzll(bits), o = extent * HS_EXTENT_ORDINALS + low;
			uint32_t head = e->head[low];
			float cosine;

			if (low >= vectors->rows || vectors->scale[low] == 0)
				continue;
			cosine = (float)hs_vector_dot(q, vectors->data + (size_t)low * vectors->stride) * vectors->scale[low] * q->scale;
			cosine = fmaxf(-1, fminf(1, cosine));
			if (push(&r->embedded, o) < 0 || (r->dense[head] == 0 && push(&r->dense_heads, head) < 0))
				return -ENOMEM;
			r->cosine[o] = cosine;
			r->dense[head] = fmaxf(r->dense[head], cosine + DENSE_OFFSET);
		}
	}
	return 0;
}

int hs_rank_vectors(struct hs_ranker *r, const struct hs_vector_query *q, float *ret_best)
{
	const struct hs_sight *v = r->view;
	float best = -1;

	for (uint32_t e = v->next[0]; e < v->index->n_extents; e = v->next[e + 1]) {
		int rc = stopped(r) ? -ECANCELED : scan_extent(r, q, e);

		if (rc < 0)
			return rc;
	}
	for (size_t i = 0; i < r->embedded.n; i++)
		best = fmaxf(best, r->cosine[r->embedded.items[i]]);
	r->vectors = r->embedded.n > 0;
	*ret_best = r->vectors ? best : 0;
	return 0;
}

void hs_rank_restrict(struct hs_ranker *r, const uint64_t *only)
{
	r->only = only;
}

/* Where the scale of cosines begins and ends: the hundredth document's (or the last's) and the best's. */
struct dense_scale {
	float low, high;
};

static void swap(float *a, float *b)
{
	float t = *a;

	*a = *b;
	*b = t;
}

/* The k-th largest (from 0) of n values, by partitioning (Hoare 1961). */
static float kth_largest(float *a, size_t n, size_t k)
{
	size_t low = 0, high = n - 1;

	while (low < high) {
		float pivot = a[low + (high - low) / 2];
		size_t i = low, j = high;

		while (i <= j) {
			while (a[i] > pivot)
				i++;
			while (a[j] < pivot)
				j--;
			if (i <= j) {
				swap(&a[i++], &a[j]);
				if (j == 0)
					break;
				j--;
			}
		}
		if (k <= j)
			high = j;
		else if (k >= i)
			low = i;
		else
			break;
	}
	return a[k];
}

/*
 * A document's cosine: its best passage's, and beside words the mean of that and its first passage's. Words tell the
 * passage that answers; what the document is about its opening tells, and later passages often do not repeat it. Vectors
 * alone must tell the passage too, and there the best alone is better.
 */
static float document_cosine(const struct hs_ranker *r, uint32_t head)
{
	float best = r->dense[head] - DENSE_OFFSET, first = r->cosine[head];

	return r->words && first != 0 ? 0.5f * best + 0.5f * first : best; /* 0: not embedded yet */
}

static int measure(struct hs_ranker *r, struct dense_scale *ret)
{
	size_t n = r->dense_heads.n, k;

	*ret = (struct dense_scale){0, 0};
	if (n == 0)
		return 0;
	if (n > r->order_cap) {
		float *more = realloc(r->order, n * 2 * sizeof(*more));

		if (!more)
			return -ENOMEM;
		r->order = more;
		r->order_cap = n * 2;
	}
	ret->high = 0;
	for (size_t i = 0; i < n; i++) {
		r->order[i] = document_cosine(r, r->dense_heads.items[i]);
		ret->high = i == 0 ? r->order[i] : fmaxf(ret->high, r->order[i]);
	}
	k = HS_MIN(n, (size_t)HS_RANK_DENSE_DEPTH) - 1;
	ret->low = kth_largest(r->order, n, k);
	return 0;
}

static float scaled(const struct dense_scale *s, float cosine)
{
	if (s->high <= s->low)
		return cosine >= s->high ? 1 : 0;
	return fmaxf(0, (cosine - s->low) / (s->high - s->low));
}

struct tops {
	float chunk[HS_FIELDS], whole[HS_FIELDS];
	float fused_chunk, fused_whole;
};

static float fuse(const float *const a[static HS_FIELDS], const float top[static HS_FIELDS], uint32_t at)
{
	float sum = 0;

	for (int f = 0; f < HS_FIELDS; f++)
		if (top[f] > 0)
			sum += 0.5f * a[f][at] / top[f];
	return sum;
}

static void find_tops(const struct hs_ranker *r, struct tops *t)
{
	const float *const chunk[HS_FIELDS] = {r->chunk[0], r->chunk[1]}, *const whole[HS_FIELDS] = {r->whole[0], r->whole[1]};

	*t = (struct tops){0};
	for (int f = 0; f < HS_FIELDS; f++) {
		for (size_t i = 0; i < r->chunks.n; i++)
			t->chunk[f] = fmaxf(t->chunk[f], r->chunk[f][r->chunks.items[i]]);
		for (size_t i = 0; i < r->heads.n; i++)
			t->whole[f] = fmaxf(t->whole[f], r->whole[f][r->heads.items[i]]);
	}
	for (size_t i = 0; i < r->chunks.n; i++)
		t->fused_chunk = fmaxf(t->fused_chunk, fuse(chunk, t->chunk, r->chunks.items[i]));
	for (size_t i = 0; i < r->heads.n; i++)
		t->fused_whole = fmaxf(t->fused_whole, fuse(whole, t->whole, r->heads.items[i]));
}

static float lexical_score(const struct hs_ranker *r, const struct tops *t, uint32_t o, uint32_t head)
{
	const float *const chunk[HS_FIELDS] = {r->chunk[0], r->chunk[1]}, *const whole[HS_FIELDS] = {r->whole[0], r->whole[1]};
	float share = r->params.document_share, score = 0;

	if (t->fused_whole > 0)
		score += share * fuse(whole, t->whole, head) / t->fused_whole;
	if (t->fused_chunk > 0)
		score += (1 - share) * fuse(chunk, t->chunk, o) / t->fused_chunk;
	return score;
}

static float dense_score(const struct hs_ranker *r, const struct dense_scale *s, uint32_t o, uint32_t head)
{
	float share = r->params.document_share, score = 0;

	if (r->dense[head] > 0)
		score += share * scaled(s, document_cosine(r, head));
	/* A chunk that is not embedded yet has its document's score only. */
	if (r->seen[o] & SEEN_CANDIDATE && r->dense[head] > 0 && r->cosine[o] != 0)
		score += (1 - share) * scaled(s, r->cosine[o]);
	return score;
}

static bool better(const struct hs_ranked *a, const struct hs_ranked *b)
{
	if (a->score != b->score)
		return a->score > b->score;
	if (a->document != b->document)
		return a->document < b->document;
	return a->ordinal < b->ordinal;
}

static int ranked_compare(const void *a, const void *b)
{
	return better(a, b) ? -1 : better(b, a) ? 1 : 0;
}

static int add_candidate(struct hs_ranker *r, const struct tops *t, const struct dense_scale *s, uint32_t o)
{
	const struct hs_extent *e = r->view->index->extents[o / HS_EXTENT_ORDINALS];
	uint32_t head = e->head[o % HS_EXTENT_ORDINALS];
	float weight = r->vectors ? (r->words ? r->params.hybrid_weight : 1) : 0, score = 0;

	if (r->seen[o] & SEEN_CANDIDATE || (r->only && !(r->only[o / 64] >> (o % 64) & 1)))
		return 0;
	r->seen[o] |= SEEN_CANDIDATE;
	if (weight < 1)
		score += (1 - weight) * lexical_score(r, t, o, head);
	if (weight > 0)
		score += weight * dense_score(r, s, o, head);
	if (score <= 0 && !r->only)
		return 0;
	if (r->n_ranked == r->cap_ranked) {
		size_t cap = r->cap_ranked ? r->cap_ranked * 2 : 1024;
		struct hs_ranked *more = realloc(r->ranked, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		r->ranked = more;
		r->cap_ranked = cap;
	}
	r->ranked[r->n_ranked++] = (struct hs_ranked){.ordinal = o, .document = e->document[o % HS_EXTENT_ORDINALS], .score = score};
	return 0;
}

/* Candidates that nothing touched but that the restriction names: exact matches of words that do not rank. */
static int add_restricted(struct hs_ranker *r, const struct tops *t, const struct dense_scale *s)
{
	const struct hs_sight *v = r->view;

	for (uint32_t e = v->next[0]; e < v->index->n_extents; e = v->next[e + 1]) {
		for (uint32_t w = 0; w < HS_EXTENT_WORDS; w++) {
			size_t word = (size_t)e * HS_EXTENT_WORDS + w;

			for (uint64_t bits = v->mask[word] & r->only[word]; bits; bits &= bits - 1) {
				uint32_t o = (uint32_t)word * 64 + (uint32_t)__builtin_ctzll(bits);

				/* embedded is the list that reset clears `seen` by */
				if (push(&r->embedded, o) < 0 || add_candidate(r, t, s, o) < 0)
					return -ENOMEM;
			}
		}
	}
	return 0;
}

int hs_rank_finish(struct hs_ranker *r)
{
	struct dense_scale scale;
	struct tops tops;
	int rc = measure(r, &scale);

	find_tops(r, &tops);
	for (size_t i = 0; i < r->found_heads.n; i++)
		r->frequency[r->found_heads.items[i]] = 0;
	r->found_heads.n = 0;
	r->n_ranked = r->n_sorted = r->given = 0;
	for (size_t i = 0; rc == 0 && i < r->chunks.n; i++)
		rc = add_candidate(r, &tops, &scale, r->chunks.items[i]);
	for (size_t i = 0; rc == 0 && i < r->embedded.n; i++)
		rc = add_candidate(r, &tops, &scale, r->embedded.items[i]);
	if (rc == 0 && r->only)
		rc = add_restricted(r, &tops, &scale);
	return rc;
}

/* Bring the best n of a to its front, in any order (Hoare's selection). */
static void select_best(struct hs_ranked *a, size_t len, size_t n)
{
	size_t low = 0, high = len - 1;

	while (low < high) {
		struct hs_ranked pivot = a[low + (high - low) / 2], t;
		size_t i = low, j = high;

		for (;;) {
			while (better(&a[i], &pivot))
				i++;
			while (better(&pivot, &a[j]))
				j--;
			if (i >= j)
				break;
			t = a[i];
			a[i++] = a[j];
			a[j--] = t;
		}
		/* The order is total, so [low, j] is not worse than (j, high]. */
		if (n <= j)
			high = j;
		else
			low = j + 1;
	}
}

/* Order some more: as many as were ordered already, at least SORT_FIRST. */
#define SORT_FIRST 256
static void sort_more(struct hs_ranker *r)
{
	size_t left = r->n_ranked - r->n_sorted, n = HS_MIN(left, HS_MAX(r->n_sorted, (size_t)SORT_FIRST));
	struct hs_ranked *rest = r->ranked + r->n_sorted;

	if (n < left)
		select_best(rest, left, n);
	qsort(rest, n, sizeof(*rest), ranked_compare);
	r->n_sorted += n;
}

bool hs_rank_next(struct hs_ranker *r, uint32_t per_document, struct hs_ranked *ret)
{
	while (r->given < r->n_ranked) {
		uint32_t o, head;

		if (r->given == r->n_sorted)
			sort_more(r);
		*ret = r->ranked[r->given++];
		if (per_document == 0)
			return true;
		o = ret->ordinal;
		head = r->view->index->extents[o / HS_EXTENT_ORDINALS]->head[o % HS_EXTENT_ORDINALS];
		if (r->frequency[head] >= per_document)
			continue;
		if (r->frequency[head] == 0 && push(&r->found_heads, head) < 0)
			return false; /* no memory: what was given stands */
		r->frequency[head]++;
		return true;
	}
	return false;
}

float hs_rank_coverage(const struct hs_ranker *r, uint32_t ordinal)
{
	return r->idf_sum > 0 ? (float)HS_MIN(1.0, r->coverage[ordinal] / r->idf_sum) : 0;
}
