#include "inference/tok/marks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inference/tok/vocab.h"

struct mark {
	const char *s; /* the tokeniser's */
	size_t len;
	hs_tok_id id;
};

struct hs_tok_marks {
	const struct hs_tokenizer *t;
	struct mark *v; /* (n) in the order of their bytes */
	size_t n;
	uint64_t first[4]; /* a bit for each byte that one of them begins with */
};

static int compare(const void *a, const void *b)
{
	const struct mark *x = a, *y = b;
	int c = memcmp(x->s, y->s, HS_MIN(x->len, y->len));
	return c ? c : (x->len > y->len) - (x->len < y->len);
}

int hs_tok_marks_create(const struct hs_tokenizer *t, struct hs_tok_marks **ret)
{
	struct hs_tok_marks *m = calloc(1, sizeof *m);
	size_t n = hs_tokenizer_vocab(t);
	if (!m || !(m->v = calloc(n + 1, sizeof *m->v))) {
		free(m);
		return -ENOMEM;
	}
	m->t = t;
	for (size_t i = 0; i < n; i++) {
		struct mark *k = &m->v[m->n];
		k->id = (hs_tok_id)i;
		if (!(k->s = hs_tok_special_text(t, k->id, &k->len)) || k->len == 0)
			continue;
		m->first[(uint8_t)*k->s / 64] |= UINT64_C(1) << (uint8_t)*k->s % 64;
		m->n++;
	}
	qsort(m->v, m->n, sizeof *m->v, compare);
	*ret = m;
	return 0;
}

void hs_tok_marks_destroy(struct hs_tok_marks *m)
{
	if (!m)
		return;
	free(m->v);
	free(m);
}

/* The longest mark that text begins with: the last of those in order that are not behind it, or one of its prefixes. */
static const struct mark *match(const struct hs_tok_marks *m, const char *text, size_t n)
{
	if (n == 0 || !(m->first[(uint8_t)*text / 64] >> (uint8_t)*text % 64 & 1))
		return NULL;
	const struct mark wanted = {.s = text, .len = n};
	size_t low = 0, high = m->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (compare(&m->v[middle], &wanted) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	/* marks before it in order share ever less of its beginning */
	while (low-- > 0 && m->v[low].s[0] == *text)
		if (m->v[low].len <= n && memcmp(m->v[low].s, text, m->v[low].len) == 0)
			return &m->v[low];
	return NULL;
}

/* A text begins, with the space that some vocabularies put before it, at the beginning and behind a special token. */
static int encode(const struct hs_tok_marks *m, const char *text, size_t n, struct hs_tok_ids *out)
{
	bool begins = out->count == 0 || hs_tok_is_special(m->t, out->ids[out->count - 1]);
	return begins ? hs_tok_encode(m->t, text, n, out) : hs_tok_encode_on(m->t, text, n, out);
}

int hs_tok_marks_encode(const struct hs_tok_marks *m, const char *text, size_t n, struct hs_tok_ids *out)
{
	size_t from = 0, begin = out->count;
	int rc = 0;
	for (size_t at = 0; rc == 0 && at < n;) {
		const struct mark *k = match(m, text + at, n - at);
		if (!k) {
			at++;
			continue;
		}
		if (at > from)
			rc = encode(m, text + from, at - from, out);
		if (rc == 0)
			rc = hs_tok_ids_push(out, k->id);
		from = at += k->len;
	}
	if (rc == 0 && from < n)
		rc = encode(m, text + from, n - from, out);
	if (rc < 0)
		out->count = begin;
	return rc;
}
