#include "inference/tok/bpe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/utf8.h"
#include "inference/tok/unicode.h"

#define MERGES_MAX (1u << 21)
#define WORD_ON_STACK 192u
#define FREE UINT32_MAX

/*
 * The byte alphabet: printable Latin-1 characters stand for themselves, the 68 others are numbered from U+0100 on, in
 * byte order (as GPT-2's vocabulary has them).
 */
static uint32_t spelling_of(uint8_t byte)
{
	if ((byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad))
		return byte;
	if (byte <= 0x20)
		return 0x100u + byte;
	if (byte <= 0xa0)
		return 0x121u + (byte - 0x7fu);
	return 0x143u; /* 0xad, the last */
}

static int byte_of(uint32_t cp)
{
	if (cp < 0x100)
		return spelling_of((uint8_t)cp) == cp ? (int)cp : -1;
	if (cp <= 0x120)
		return (int)(cp - 0x100);
	if (cp <= 0x142)
		return (int)(cp - 0x121 + 0x7f);
	return cp == 0x143 ? 0xad : -1;
}

int hs_bpe_bytes(const char *text, size_t n, struct hs_buf *out)
{
	size_t begin = out->len;
	for (size_t at = 0; at < n;) {
		uint32_t cp;
		size_t len = hs_utf8_decode(text + at, n - at, &cp);
		int byte = len ? byte_of(cp) : -1;
		int rc = byte < 0 ? -EINVAL : hs_buf_append_byte(out, (uint8_t)byte);
		if (rc < 0) {
			out->len = begin;
			return rc;
		}
		at += len;
	}
	return 0;
}

static uint32_t slot_of(const struct hs_bpe *b, uint32_t left, uint32_t right)
{
	uint64_t h = ((uint64_t)left << 32 | right) ^ b->seed;
	h ^= h >> 29;
	h *= 0xbf58476d1ce4e5b9u;
	h ^= h >> 32;
	h *= 0x94d049bb133111ebu;
	return (uint32_t)(h >> 31) & b->mask;
}

static const struct hs_bpe_pair *find_pair(const struct hs_bpe *b, uint32_t left, uint32_t right)
{
	for (uint32_t at = slot_of(b, left, right); b->pairs[at].left != FREE; at = (at + 1) & b->mask)
		if (b->pairs[at].left == left && b->pairs[at].right == right)
			return &b->pairs[at];
	return NULL;
}

/* "left right" of rank i, both halves and the whole being tokens. */
static int add_merge(struct hs_bpe *b, const struct hs_vocab *v, const struct hs_gguf_str *merge, uint32_t rank,
		     struct hs_err *err)
{
	char joined[2 * HS_VOCAB_TEXT_MAX];
	const char *space = merge->len > 1 ? memchr(merge->s + 1, ' ', merge->len - 1) : NULL;
	size_t l = space ? (size_t)(space - merge->s) : 0, r = space ? merge->len - l - 1 : 0;
	if (l == 0 || r == 0 || l > HS_VOCAB_TEXT_MAX || r > HS_VOCAB_TEXT_MAX)
		return hs_fail(err, EINVAL, "tok.invalid", HS_N_("a merge is two tokens with a space between"),
			       "tokenizer.ggml.merges, merge %u", rank);
	memcpy(joined, merge->s, l);
	memcpy(joined + l, space + 1, r);
	hs_tok_id left = hs_vocab_find(v, joined, l), right = hs_vocab_find(v, joined + l, r),
		  whole = hs_vocab_find(v, joined, l + r);
	if (left < 0 || right < 0 || whole < 0)
		return hs_fail(err, EINVAL, "tok.invalid", HS_N_("a merge names what is no token"),
			       "tokenizer.ggml.merges, merge %u", rank);
	if (hs_vocab_is_special(v, whole)) /* data makes no special token, whatever the merges say */
		return 0;
	if (find_pair(b, (uint32_t)left, (uint32_t)right)) /* the first, and so the lower rank, stands */
		return 0;
	uint32_t at = slot_of(b, (uint32_t)left, (uint32_t)right);
	while (b->pairs[at].left != FREE)
		at = (at + 1) & b->mask;
	b->pairs[at] = (struct hs_bpe_pair){(uint32_t)left, (uint32_t)right, rank, (uint32_t)whole};
	return 0;
}

static int read_merges(struct hs_bpe *b, const struct hs_vocab *v, const struct hs_gguf *g, struct hs_err *err)
{
	size_t n;
	if (!hs_gguf_get_array_len(g, "tokenizer.ggml.merges", &n) || n > MERGES_MAX)
		return hs_fail(err, EINVAL, "tok.invalid", HS_N_("no merges, or more than 2097152"), "tokenizer.ggml.merges");
	uint32_t cap = 16;
	while (cap < n * 2)
		cap *= 2;
	b->mask = cap - 1;
	b->pairs = malloc(cap * sizeof *b->pairs);
	struct hs_gguf_str *merges = calloc(n ? n : 1, sizeof *merges);
	int rc = 0;
	if (!b->pairs || !merges)
		rc = hs_fail_errno(err, -ENOMEM, "tok.load", "merges");
	else if (!hs_gguf_get_str_array(g, "tokenizer.ggml.merges", merges, n))
		rc = hs_fail(err, EINVAL, "tok.invalid", HS_N_("the merges are not an array of strings"),
			     "tokenizer.ggml.merges");
	for (uint32_t i = 0; rc == 0 && i < cap; i++)
		b->pairs[i].left = FREE;
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		rc = add_merge(b, v, &merges[i], i, err);
	free(merges);
	return rc;
}

/*
 * Some vocabularies have no token for bytes that their makers never saw: those of no UTF-8, of planes without characters, of
 * control characters. As their own tokenisers do, we leave such bytes out. Without any other byte text would be lost.
 */
static bool may_lack(int byte)
{
	return byte == 0xc0 || byte == 0xc1 || byte == 0xf1 || byte == 0xf2 || byte >= 0xf5 || byte == 0x7f ||
	       (byte < ' ' && byte != '\t' && byte != '\n' && byte != '\r');
}

int hs_bpe_init(struct hs_bpe *b, const struct hs_vocab *v, const struct hs_gguf *g, struct hs_err *err)
{
	struct hs_gguf_str pre = {.s = ""};
	*b = (struct hs_bpe){0};
	if (!hs_gguf_get_str(g, "tokenizer.ggml.pre", &pre) || !(b->rule = hs_split_find(pre.s, pre.len)))
		return hs_fail(err, ENOTSUP, "tok.pre_unsupported",
			       HS_N_("this pre-tokeniser is not known; guessing one would give wrong tokens"),
			       "tokenizer.ggml.pre %.*s", (int)HS_MIN(pre.len, 64u), pre.s);
	hs_random(&b->seed, sizeof b->seed);
	for (int i = 0; i < 256; i++) {
		char text[4];
		hs_tok_id id = hs_vocab_find(v, text, hs_utf8_encode(spelling_of((uint8_t)i), text));
		b->bytes[i] = id >= 0 && v->kinds[id] == HS_VOCAB_NORMAL ? id : HS_TOK_NONE;
		if (b->bytes[i] < 0 && !may_lack(i))
			return hs_fail(err, EINVAL, "tok.invalid", HS_N_("the vocabulary has no token of text for a byte"),
				       "tokenizer.ggml.tokens, byte %d", i);
	}
	int rc = read_merges(b, v, g, err);
	if (rc < 0)
		hs_bpe_finish(b);
	return rc;
}

void hs_bpe_finish(struct hs_bpe *b)
{
	free(b->pairs);
	b->pairs = NULL;
}

/*
 * A word under merging: symbols in a doubly linked list over byte positions, and a heap of candidate pairs. A heap entry
 * is stale, and dropped when met, unless its left symbol still has exactly that rank with its present neighbour.
 */
struct symbol {
	uint32_t id, prev, next;
	uint32_t rank, joined; /* with the next symbol; FREE: they do not join, or the symbol is gone */
};

struct candidate {
	uint32_t rank, left;
};

struct word {
	struct symbol *symbols;
	struct candidate *heap;
	size_t heap_len;
};

static bool before(struct candidate a, struct candidate b)
{
	return a.rank != b.rank ? a.rank < b.rank : a.left < b.left;
}

static void heap_push(struct word *w, struct candidate c)
{
	size_t at = w->heap_len++;
	while (at > 0 && before(c, w->heap[(at - 1) / 2])) {
		w->heap[at] = w->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	w->heap[at] = c;
}

static struct candidate heap_pop(struct word *w)
{
	struct candidate top = w->heap[0], last = w->heap[--w->heap_len];
	size_t at = 0;
	for (size_t child; (child = 2 * at + 1) < w->heap_len; at = child) {
		if (child + 1 < w->heap_len && before(w->heap[child + 1], w->heap[child]))
			child++;
		if (!before(w->heap[child], last))
			break;
		w->heap[at] = w->heap[child];
	}
	w->heap[at] = last;
	return top;
}

static void offer(const struct hs_bpe *b, struct word *w, uint32_t left)
{
	struct symbol *s = &w->symbols[left];
	s->rank = FREE;
	if (s->next == FREE)
		return;
	const struct hs_bpe_pair *pair = find_pair(b, s->id, w->symbols[s->next].id);
	if (!pair)
		return;
	s->rank = pair->rank;
	s->joined = pair->joined;
	heap_push(w, (struct candidate){pair->rank, left});
}

/* Every merge removes a symbol and offers at most two pairs: the heap never holds more than 3 n entries. */
static void merge_word(const struct hs_bpe *b, struct word *w, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		offer(b, w, i);
	while (w->heap_len) {
		struct candidate c = heap_pop(w);
		struct symbol *s = &w->symbols[c.left];
		if (s->rank != c.rank)
			continue;
		struct symbol *gone = &w->symbols[s->next];
		s->id = s->joined;
		s->next = gone->next;
		gone->rank = FREE;
		if (s->next != FREE)
			w->symbols[s->next].prev = c.left;
		offer(b, w, c.left);
		if (c.left != 0)
			offer(b, w, s->prev);
	}
}

/* A symbol for each byte that has a token; returns their number. */
static uint32_t begin_word(const struct hs_bpe *b, struct word *w, const char *text, size_t n)
{
	uint32_t count = 0;
	for (size_t i = 0; i < n; i++) {
		hs_tok_id id = b->bytes[(uint8_t)text[i]];
		if (id < 0)
			continue;
		w->symbols[count] = (struct symbol){(uint32_t)id, count - 1, count + 1, FREE, FREE};
		count++;
	}
	if (count)
		w->symbols[count - 1].next = FREE;
	return count;
}

static int encode_word(const struct hs_bpe *b, const char *text, size_t n, struct hs_tok_ids *out)
{
	struct symbol symbols[WORD_ON_STACK];
	struct candidate heap[3 * WORD_ON_STACK];
	struct word w = {.symbols = symbols, .heap = heap};
	if (n > WORD_ON_STACK) {
		w.symbols = reallocarray(NULL, n, sizeof *w.symbols);
		w.heap = reallocarray(NULL, 3 * n, sizeof *w.heap);
	}
	int rc = w.symbols && w.heap ? 0 : -ENOMEM;
	if (rc == 0) {
		uint32_t count = begin_word(b, &w, text, n);
		merge_word(b, &w, count);
		for (uint32_t i = 0; count && rc == 0 && i != FREE; i = w.symbols[i].next)
			rc = hs_tok_ids_push(out, (hs_tok_id)w.symbols[i].id);
	}
	if (n > WORD_ON_STACK) {
		free(w.symbols);
		free(w.heap);
	}
	return rc;
}

/* The token that is the whole word, for vocabularies that look there first. */
static hs_tok_id whole_word(const struct hs_vocab *v, const char *text, size_t n)
{
	char spelt[HS_VOCAB_TEXT_MAX]; /* no token is longer */
	size_t at = 0;
	for (size_t i = 0; i < n; i++) {
		char c[4];
		size_t len = hs_utf8_encode(spelling_of((uint8_t)text[i]), c);
		if (at + len > sizeof spelt)
			return HS_TOK_NONE;
		memcpy(spelt + at, c, len);
		at += len;
	}
	hs_tok_id id = hs_vocab_find(v, spelt, at);
	return id >= 0 && v->kinds[id] == HS_VOCAB_NORMAL ? id : HS_TOK_NONE;
}

/* Text between added pieces. */
static int encode_words(const struct hs_bpe *b, const struct hs_vocab *v, const char *text, size_t n, struct hs_tok_ids *out)
{
	struct hs_split walk;
	int rc = 0;
	hs_split_begin(&walk, b->rule, text, n);
	for (size_t len; rc == 0 && (len = hs_split_next(&walk)) > 0; text += len) {
		hs_tok_id whole = b->rule->whole_first ? whole_word(v, text, len) : HS_TOK_NONE;
		if (whole >= 0)
			rc = hs_tok_ids_push(out, whole);
		for (size_t at = 0, part; whole < 0 && rc == 0 && at < len; at += part) {
			part = len - at > HS_BPE_WORD_MAX ? hs_utf8_cut(text + at, HS_BPE_WORD_MAX) : len - at;
			rc = encode_word(b, text + at, part, out);
		}
	}
	return rc;
}

static int encode_composed(const struct hs_bpe *b, const struct hs_vocab *v, const char *text, size_t n, struct hs_tok_ids *out)
{
	int rc = 0;
	if (!v->has_added)
		return encode_words(b, v, text, n, out);
	for (size_t at = 0, begin = 0; rc == 0 && begin < n;) {
		hs_tok_id id = HS_TOK_NONE;
		size_t len = at < n ? hs_vocab_match_added(v, text + at, n - at, &id) : 0;
		if (len == 0 && at < n) {
			at++; /* added pieces are whole characters: none begins inside one */
			continue;
		}
		rc = encode_words(b, v, text + begin, at - begin, out);
		if (rc == 0 && len)
			rc = hs_tok_ids_push(out, id);
		begin = at += len;
	}
	return rc;
}

int hs_bpe_encode(const struct hs_bpe *b, const struct hs_vocab *v, const char *text, size_t n, struct hs_tok_ids *out)
{
	HS_BUF_AUTO composed = HS_BUF_INIT;
	if (!b->rule->nfc || hs_is_composed(text, n))
		return encode_composed(b, v, text, n, out);
	int rc = hs_compose(text, n, &composed);
	if (rc == 0)
		rc = encode_composed(b, v, (const char *)composed.data, composed.len, out);
	hs_buf_wipe(&composed); /* document text */
	return rc;
}
