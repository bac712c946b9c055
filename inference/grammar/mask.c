#include "inference/grammar/mask.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	uint32_t at, len; /* of bytes */
	hs_tok_id id;
	uint32_t common; /* bytes that it begins with as the one before */
};

struct hs_mask_vocab {
	const struct hs_tokenizer *t;
	struct entry *entries; /* sorted by bytes; (n) */
	size_t n, n_vocab;
	char *bytes;
};

struct kept {
	struct hs_grammar_state key;
	size_t key_len; /* 0: a free place */
	uint64_t used;
	bool any; /* a token may come */
	uint32_t *bits;
};

struct hs_mask {
	const struct hs_mask_vocab *v;
	struct hs_grammar *g;
	hs_tok_id *ends;
	size_t n_ends;
	struct hs_grammar_state state;
	struct hs_grammar_state path[HS_MASK_TOKEN_MAX + 1]; /* after each byte of a token */
	struct kept kept[HS_MASKS_KEPT];
	uint64_t tick;
};

static int compare_entries(const void *a, const void *b, void *bytes)
{
	const struct entry *x = a, *y = b;
	int order = memcmp((char *)bytes + x->at, (char *)bytes + y->at, HS_MIN(x->len, y->len));
	return order ? order : x->len != y->len ? (x->len < y->len ? -1 : 1) : x->id - y->id;
}

int hs_mask_vocab_create(const struct hs_tokenizer *t, struct hs_mask_vocab **ret)
{
	HS_BUF_AUTO bytes = HS_BUF_INIT;
	struct hs_mask_vocab *v = calloc(1, sizeof *v);
	if (!v)
		return -ENOMEM;
	v->t = t;
	v->n_vocab = hs_tokenizer_vocab(t);
	v->entries = calloc(v->n_vocab + 1, sizeof *v->entries);
	int rc = v->entries ? 0 : -ENOMEM;
	for (size_t id = 0; rc == 0 && id < v->n_vocab; id++) {
		size_t at = bytes.len;
		if (hs_tok_is_special(t, (hs_tok_id)id))
			continue;
		rc = hs_tok_bytes(t, (hs_tok_id)id, &bytes);
		if (rc == 0 && bytes.len > at && bytes.len - at <= HS_MASK_TOKEN_MAX)
			v->entries[v->n++] = (struct entry){.at = (uint32_t)at, .len = (uint32_t)(bytes.len - at), .id = (hs_tok_id)id};
	}
	if (rc == 0)
		rc = hs_buf_append(&bytes, "", 1); /* so that there is one */
	if (rc < 0) {
		hs_mask_vocab_destroy(v);
		return rc;
	}
	v->bytes = (char *)bytes.data;
	bytes = HS_BUF_INIT;
	qsort_r(v->entries, v->n, sizeof *v->entries, compare_entries, v->bytes);
	for (size_t i = 1; i < v->n; i++) {
		struct entry *e = &v->entries[i], *before = e - 1;
		while (e->common < HS_MIN(e->len, before->len) &&
		       v->bytes[e->at + e->common] == v->bytes[before->at + e->common])
			e->common++;
	}
	*ret = v;
	return 0;
}

void hs_mask_vocab_destroy(struct hs_mask_vocab *v)
{
	if (!v)
		return;
	free(v->entries);
	free(v->bytes);
	free(v);
}

int hs_mask_create(const struct hs_mask_vocab *v, struct hs_grammar *g, const hs_tok_id *ends, size_t n_ends, struct hs_mask **ret)
{
	struct hs_mask *m = calloc(1, sizeof *m);
	if (!m || !(m->ends = calloc(n_ends + 1, sizeof *m->ends))) {
		free(m);
		hs_grammar_destroy(g);
		return -ENOMEM;
	}
	m->v = v;
	m->g = g;
	memcpy(m->ends, ends, n_ends * sizeof *ends);
	m->n_ends = n_ends;
	hs_grammar_begin(g, &m->state);
	*ret = m;
	return 0;
}

void hs_mask_destroy(struct hs_mask *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < HS_MASKS_KEPT; i++)
		free(m->kept[i].bits);
	hs_grammar_destroy(m->g);
	free(m->ends);
	explicit_bzero(m, sizeof *m);
	free(m);
}

static void set(uint32_t *bits, hs_tok_id id)
{
	bits[id / 32] |= 1u << id % 32;
}

static bool specials_may_come(const struct hs_mask *m)
{
	return hs_grammar_is_free(m->g) && hs_grammar_may_end(m->g, &m->state);
}

/* One walk over the sorted tokens: a state after each byte, and how many bytes of the token before could be taken. */
static bool fill(struct hs_mask *m, uint32_t *bits)
{
	const struct hs_mask_vocab *v = m->v;
	bool any = false;
	uint32_t good = 0; /* bytes of the last token that was walked; its byte `good` was refused, or it had no more */
	memset(bits, 0, (v->n_vocab + 31) / 32 * sizeof *bits);
	hs_grammar_copy(&m->path[0], &m->state);
	for (size_t i = 0; i < v->n; i++) {
		const struct entry *e = &v->entries[i];
		if (e->common > good) /* the refused byte is this token's too */
			continue;
		good = e->common;
		while (good < e->len) {
			hs_grammar_copy(&m->path[good + 1], &m->path[good]);
			if (!hs_grammar_byte(m->g, &m->path[good + 1], (uint8_t)v->bytes[e->at + good]))
				break;
			good++;
		}
		if (good == e->len) {
			set(bits, e->id);
			any = true;
		}
	}
	for (size_t id = 0; specials_may_come(m) && id < v->n_vocab; id++) {
		if (hs_tok_is_special(v->t, (hs_tok_id)id))
			set(bits, (hs_tok_id)id);
	}
	for (size_t i = 0; hs_grammar_may_end(m->g, &m->state) && i < m->n_ends; i++) {
		if (m->ends[i] < 0 || (size_t)m->ends[i] >= v->n_vocab)
			continue;
		set(bits, m->ends[i]);
		any = true;
	}
	return any;
}

const uint32_t *hs_mask_bits(struct hs_mask *m)
{
	struct hs_grammar_state key;
	size_t len = hs_grammar_key(m->g, &m->state, HS_MASK_TOKEN_MAX, &key);
	struct kept *place = &m->kept[0];
	for (struct kept *k = m->kept; k < m->kept + HS_MASKS_KEPT; k++) {
		if (k->key_len == len && memcmp(&k->key, &key, len) == 0) {
			k->used = ++m->tick;
			return k->any ? k->bits : NULL;
		}
		if (k->used < place->used)
			place = k;
	}
	if (!place->bits && !(place->bits = calloc((m->v->n_vocab + 31) / 32 + 1, sizeof *place->bits)))
		return NULL;
	place->any = fill(m, place->bits);
	memcpy(&place->key, &key, len);
	place->key_len = len;
	place->used = ++m->tick;
	return place->any ? place->bits : NULL;
}

bool hs_mask_take(struct hs_mask *m, hs_tok_id id)
{
	HS_CLEANUP(hs_buf_wipe) struct hs_buf bytes = HS_BUF_INIT;
	struct hs_grammar_state next;
	for (size_t i = 0; i < m->n_ends; i++)
		if (m->ends[i] == id)
			return hs_grammar_may_end(m->g, &m->state);
	if (id < 0 || (size_t)id >= m->v->n_vocab)
		return false;
	if (hs_tok_is_special(m->v->t, id))
		return specials_may_come(m);
	if (hs_tok_bytes(m->v->t, id, &bytes) < 0 ||
	    bytes.len == 0 || bytes.len > HS_MASK_TOKEN_MAX)
		return false;
	hs_grammar_copy(&next, &m->state);
	for (size_t i = 0; i < bytes.len; i++)
		if (!hs_grammar_byte(m->g, &next, bytes.data[i]))
			return false;
	hs_grammar_copy(&m->state, &next);
	return true;
}

bool hs_mask_is_over(const struct hs_mask *m)
{
	return hs_grammar_is_over(m->g, &m->state);
}

bool hs_mask_may_end(const struct hs_mask *m)
{
	return hs_grammar_may_end(m->g, &m->state);
}
