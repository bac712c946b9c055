#include "inference/tok/sp.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define UNKNOWN_PENALTY 10.0f /* below the worst piece */
#define NORMALISED_MAX (4u * HS_TOK_TEXT_MAX)

static const char mark[] = "\xe2\x96\x81"; /* U+2581, how a space is spelt in pieces */
#define MARK_LEN 3

static bool is_text(const struct hs_vocab *v, hs_tok_id id)
{
	return v->kinds[id] == HS_VOCAB_NORMAL || (v->kinds[id] == HS_VOCAB_USER && !hs_vocab_is_special(v, id));
}

/* A trie of all pieces of text, or of the added ones only. -ENODATA where there are none. */
static int build_trie(const struct hs_vocab *v, bool user_only, struct hs_trie *ret)
{
	struct hs_trie_key *keys = calloc(v->n, sizeof *keys);
	size_t n = 0;
	if (!keys)
		return -ENOMEM;
	for (uint32_t i = 0; i < v->n; i++) {
		size_t len;
		const char *s = hs_vocab_text(v, (hs_tok_id)i, &len);
		if (len == 0 || !is_text(v, (hs_tok_id)i) || (user_only && v->kinds[i] != HS_VOCAB_USER))
			continue;
		if (hs_utf8_valid(s, len, NULL) && !memchr(s, 0, len))
			keys[n++] = (struct hs_trie_key){.text = {s, len}, .value = i};
	}
	qsort(keys, n, sizeof *keys, hs_trie_key_compare);
	size_t kept = 0;
	for (size_t i = 0; i < n; i++) /* of equal pieces one is enough */
		if (kept == 0 || hs_trie_key_compare(&keys[kept - 1], &keys[i]) != 0)
			keys[kept++] = keys[i];
	int rc = kept ? hs_trie_build(ret, keys, kept) : -ENODATA;
	free(keys);
	return rc;
}

static void find_bytes(struct hs_sp *sp, const struct hs_vocab *v)
{
	sp->byte_fallback = true;
	for (unsigned i = 0; i < 256; i++) {
		char name[8];
		snprintf(name, sizeof name, "<0x%02X>", i);
		hs_tok_id id = hs_vocab_find(v, name, 6);
		sp->bytes[i] = id >= 0 && v->kinds[id] == HS_VOCAB_BYTE ? id : HS_TOK_NONE;
		sp->byte_fallback &= sp->bytes[i] >= 0;
	}
}

/* Whole-numbered scores are ranks of merges; also finds the score of an unknown character. */
static bool scores_are_ranks(struct hs_sp *sp, const struct hs_vocab *v)
{
	bool ranks = true;
	float least = FLT_MAX;
	for (uint32_t i = 0; i < v->n; i++) {
		if (v->kinds[i] != HS_VOCAB_NORMAL)
			continue;
		ranks &= v->scores[i] == truncf(v->scores[i]);
		least = fminf(least, v->scores[i]);
	}
	sp->unknown_score = least - UNKNOWN_PENALTY;
	return ranks;
}

static int init_maps(struct hs_sp *sp, const struct hs_vocab *v, const struct hs_gguf *g, struct hs_err *err)
{
	const uint8_t *map;
	size_t n;
	if (hs_gguf_get_bytes(g, "tokenizer.ggml.precompiled_charsmap", &map, &n) && n > 0) {
		int rc = hs_charsmap_init(&sp->charsmap, map, n, err);
		if (rc < 0)
			return rc;
		sp->has_charsmap = true;
	}
	int rc = build_trie(v, true, &sp->user);
	if (rc < 0 && rc != -ENODATA)
		return hs_fail_errno(err, rc, "tok.load", "added pieces");
	sp->has_user = rc == 0;
	rc = sp->unigram ? build_trie(v, false, &sp->pieces) : 0;
	return rc < 0 ? hs_fail_errno(err, rc, "tok.load", "pieces") : 0;
}

int hs_sp_init(struct hs_sp *sp, const struct hs_vocab *v, const struct hs_gguf *g, bool declared_llama, struct hs_err *err)
{
	*sp = (struct hs_sp){.add_prefix = true};
	if (!v->scores)
		return hs_fail(err, EINVAL, "tok.invalid", HS_N_("the pieces have no scores"), "tokenizer.ggml.scores");
	sp->unigram = !scores_are_ranks(sp, v) || !declared_llama;
	(void)hs_gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", &sp->add_prefix);       /* the default stands where absent */
	(void)hs_gguf_get_bool(g, "tokenizer.ggml.remove_extra_whitespaces", &sp->collapse); /* the default stands where absent */
	find_bytes(sp, v);
	if (!sp->byte_fallback && v->unk < 0)
		return hs_fail(err, EINVAL, "tok.invalid", HS_N_("neither bytes nor an unknown token for what has no piece"),
			       "tokenizer.ggml.unknown_token_id");
	int rc = init_maps(sp, v, g, err);
	if (rc < 0)
		hs_sp_finish(sp);
	return rc;
}

void hs_sp_finish(struct hs_sp *sp)
{
	hs_charsmap_finish(&sp->charsmap);
	hs_trie_finish(&sp->pieces);
	hs_trie_finish(&sp->user);
}

int hs_sp_push_unknown(const struct hs_sp *sp, const struct hs_vocab *v, const char *s, size_t n, bool *was_unknown,
		       struct hs_tok_ids *out)
{
	int rc = 0;
	if (sp->byte_fallback)
		for (size_t i = 0; rc == 0 && i < n; i++)
			rc = hs_tok_ids_push(out, sp->bytes[(uint8_t)s[i]]);
	else if (!*was_unknown)
		rc = hs_tok_ids_push(out, v->unk);
	*was_unknown = true;
	return rc;
}

/* Bytes of the longest added piece that begins here. */
static size_t match_user(const struct hs_sp *sp, const char *text, size_t n)
{
	size_t place = sp->has_user ? hs_trie_root(&sp->user) : 0, longest = 0;
	uint32_t value;
	bool has_value;
	for (size_t i = 0; sp->has_user && i < n && hs_trie_step(&sp->user, &place, (uint8_t)text[i], &value, &has_value); i++)
		if (has_value)
			longest = i + 1;
	return longest;
}

/* What the next part of the text becomes, and its length in the text. */
static size_t next_part(const struct hs_sp *sp, const char *text, size_t n, struct hs_gguf_str *ret)
{
	size_t len = match_user(sp, text, n);
	if (len == 0 && sp->has_charsmap) {
		len = hs_charsmap_match(&sp->charsmap, text, n, ret);
		if (len)
			return len;
	}
	uint32_t cp;
	if (len == 0)
		len = hs_utf8_decode(text, n, &cp);
	*ret = (struct hs_gguf_str){.s = text, .len = len};
	return len;
}

static int append_escaped(struct hs_buf *out, struct hs_gguf_str part)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < part.len; i++)
		rc = part.s[i] == ' ' ? hs_buf_append(out, mark, MARK_LEN) : hs_buf_append_byte(out, (uint8_t)part.s[i]);
	return rc;
}

static bool ends_with_mark(const struct hs_buf *b)
{
	return b->len >= MARK_LEN && memcmp(b->data + b->len - MARK_LEN, mark, MARK_LEN) == 0;
}

static int normalise(const struct hs_sp *sp, const char *text, size_t n, struct hs_buf *out)
{
	struct hs_gguf_str part;
	size_t at = 0;
	for (size_t len; sp->collapse && at < n; at += len) {
		len = next_part(sp, text + at, n - at, &part);
		if (part.len != 1 || part.s[0] != ' ')
			break;
	}
	if (at == n)
		return 0;
	int rc = sp->add_prefix ? hs_buf_append(out, mark, MARK_LEN) : 0;
	bool after_space = sp->collapse;
	while (rc == 0 && at < n) {
		at += next_part(sp, text + at, n - at, &part);
		while (after_space && part.len && part.s[0] == ' ') {
			part.s++;
			part.len--;
		}
		if (part.len == 0)
			continue;
		rc = append_escaped(out, part);
		after_space = sp->collapse && part.s[part.len - 1] == ' ';
	}
	while (rc == 0 && sp->collapse && ends_with_mark(out))
		out->len -= MARK_LEN;
	return rc;
}

int hs_sp_encode(const struct hs_sp *sp, const struct hs_vocab *v, const char *text, size_t n, struct hs_tok_ids *out)
{
	HS_BUF_AUTO normal = {.limit = NORMALISED_MAX};
	int rc = normalise(sp, text, n, &normal);
	if (rc == 0 && normal.len)
		rc = sp->unigram ? hs_sp_viterbi(sp, v, (const char *)normal.data, normal.len, out)
				 : hs_sp_merge(sp, v, (const char *)normal.data, normal.len, out);
	hs_buf_wipe(&normal); /* document text */
	return rc;
}

int hs_sp_bytes(const struct hs_vocab *v, hs_tok_id id, struct hs_buf *out)
{
	size_t n;
	const char *s = hs_vocab_text(v, id, &n);
	if (v->kinds[id] == HS_VOCAB_BYTE && n == 6) {
		unsigned high = (unsigned)(s[3] <= '9' ? s[3] - '0' : s[3] - 'A' + 10);
		unsigned low = (unsigned)(s[4] <= '9' ? s[4] - '0' : s[4] - 'A' + 10);
		return hs_buf_append_byte(out, (uint8_t)(high << 4 | (low & 15)));
	}
	int rc = 0;
	for (size_t at = 0; rc == 0 && at < n;) {
		bool space = n - at >= MARK_LEN && memcmp(s + at, mark, MARK_LEN) == 0;
		rc = hs_buf_append_byte(out, space ? ' ' : (uint8_t)s[at]);
		at += space ? MARK_LEN : 1;
	}
	return rc;
}
