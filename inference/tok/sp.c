#include "inference/tok/sp.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define NORMALISED_MAX (4u * HS_TOK_TEXT_MAX)

/* The value of a byte token, "<0x0A>"; -1 where it is not spelt so. */
static int byte_value(const char *s, size_t n)
{
	static const char digits[] = "0123456789ABCDEF";
	const char *high = n == 6 && s[3] ? strchr(digits, s[3]) : NULL, *low = high && s[4] ? strchr(digits, s[4]) : NULL;
	return low && memcmp(s, "<0x", 3) == 0 && s[5] == '>' ? (int)((high - digits) * 16 + (low - digits)) : -1;
}

static int find_bytes(struct hs_sp *sp, const struct hs_vocab *v, struct hs_err *err)
{
	sp->byte_fallback = true;
	for (int i = 0; i < 256; i++)
		sp->bytes[i] = HS_TOK_NONE;
	for (uint32_t i = 0; i < v->n; i++) {
		size_t n;
		const char *s = hs_vocab_text(v, (hs_tok_id)i, &n);
		int value = v->kinds[i] == HS_VOCAB_BYTE ? byte_value(s, n) : 0;
		if (v->kinds[i] != HS_VOCAB_BYTE)
			continue;
		if (value < 0 || sp->bytes[value] >= 0)
			return hs_fail(err, EINVAL, "tok.invalid",
				       HS_N_("a byte's token is not spelt <0x00> to <0xFF>, or comes twice"),
				       "tokenizer.ggml.tokens, token %u", i);
		sp->bytes[value] = (hs_tok_id)i;
	}
	for (int i = 0; i < 256; i++)
		sp->byte_fallback &= sp->bytes[i] >= 0;
	return 0;
}

/*
 * Is it a vocabulary of merges? Their scores are ranks, whole numbers; most of a Unigram vocabulary's are fractions. Most, not
 * all, on both sides: pieces that were added to either by hand have scores of any sort.
 */
static bool scores_are_ranks(struct hs_sp *sp, const struct hs_vocab *v)
{
	size_t whole = 0, fractions = 0;
	float least = FLT_MAX, most = -FLT_MAX;
	for (uint32_t i = 0; i < v->n; i++) {
		if (v->kinds[i] != HS_VOCAB_NORMAL)
			continue;
		*(v->scores[i] == truncf(v->scores[i]) ? &whole : &fractions) += 1;
		least = fminf(least, v->scores[i]);
		most = fmaxf(most, v->scores[i]);
	}
	sp->worst = least;
	sp->best = most;
	return fractions <= whole;
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
	int rc = sp->unigram ? hs_vocab_trie(v, 1u << HS_VOCAB_NORMAL | 1u << HS_VOCAB_USER, true, &sp->pieces) : 0;
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
	int rc = find_bytes(sp, v, err);
	if (rc < 0)
		return rc;
	if (!sp->byte_fallback && v->unk < 0)
		return hs_fail(err, EINVAL, "tok.invalid", HS_N_("neither bytes nor an unknown token for what has no piece"),
			       "tokenizer.ggml.unknown_token_id");
	if (!sp->unigram && !(sp->best > sp->worst))
		return hs_fail(err, EINVAL, "tok.invalid", HS_N_("the scores do not tell the order of merges"),
			       "tokenizer.ggml.scores");
	rc = init_maps(sp, v, g, err);
	if (rc < 0)
		hs_sp_finish(sp);
	return rc;
}

void hs_sp_finish(struct hs_sp *sp)
{
	hs_charsmap_finish(&sp->charsmap);
	hs_trie_finish(&sp->pieces);
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

/* What the next part of the text becomes, and its length in the text. Added pieces stay as they are. */
static size_t next_part(const struct hs_sp *sp, const struct hs_vocab *v, const char *text, size_t n, struct hs_gguf_str *ret)
{
	hs_tok_id id;
	size_t len = hs_vocab_match_added(v, text, n, &id);
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
		rc = part.s[i] == ' ' ? hs_buf_append(out, HS_SPACE_MARK, HS_SPACE_MARK_LEN)
				      : hs_buf_append_byte(out, (uint8_t)part.s[i]);
	return rc;
}

static bool ends_with_mark(const struct hs_buf *b)
{
	return b->len >= HS_SPACE_MARK_LEN && memcmp(b->data + b->len - HS_SPACE_MARK_LEN, HS_SPACE_MARK, HS_SPACE_MARK_LEN) == 0;
}

static int normalise(const struct hs_sp *sp, const struct hs_vocab *v, const char *text, size_t n, bool goes_on,
		     struct hs_buf *out)
{
	struct hs_gguf_str part;
	size_t at = 0;
	for (size_t len; sp->collapse && !goes_on && at < n; at += len) {
		len = next_part(sp, v, text + at, n - at, &part);
		if (part.len != 1 || part.s[0] != ' ')
			break;
	}
	if (at == n)
		return 0;
	int rc = sp->add_prefix && !goes_on ? hs_buf_append(out, HS_SPACE_MARK, HS_SPACE_MARK_LEN) : 0;
	bool after_space = sp->collapse && !goes_on;
	while (rc == 0 && at < n) {
		at += next_part(sp, v, text + at, n - at, &part);
		while (after_space && part.len && part.s[0] == ' ') {
			part.s++;
			part.len--;
		}
		if (part.len == 0)
			continue;
		rc = append_escaped(out, part);
		after_space = sp->collapse && part.s[part.len - 1] == ' ';
	}
	while (rc == 0 && sp->collapse && !goes_on && ends_with_mark(out))
		out->len -= HS_SPACE_MARK_LEN;
	return rc;
}

int hs_sp_encode(const struct hs_sp *sp, const struct hs_vocab *v, const char *text, size_t n, bool goes_on,
		 struct hs_tok_ids *out)
{
	HS_BUF_AUTO normal = {.limit = NORMALISED_MAX};
	int rc = normalise(sp, v, text, n, goes_on, &normal);
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
	if (v->kinds[id] == HS_VOCAB_BYTE)
		return hs_buf_append_byte(out, (uint8_t)byte_value(s, n)); /* spelt well: find_bytes looked */
	int rc = 0;
	for (size_t at = 0; rc == 0 && at < n;) {
		bool space = n - at >= HS_SPACE_MARK_LEN && memcmp(s + at, HS_SPACE_MARK, HS_SPACE_MARK_LEN) == 0;
		rc = hs_buf_append_byte(out, space ? ' ' : (uint8_t)s[at]);
		at += space ? HS_SPACE_MARK_LEN : 1;
	}
	return rc;
}
