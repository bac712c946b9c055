#include "inference/tok/wordpiece.h"

#include <errno.h>
#include <string.h>
#include <unicode/uchar.h>

#include "base/utf8.h"
#include "inference/tok/unicode.h"

#define WORD_BYTES_MAX (HS_SPACE_MARK_LEN + 4 * HS_WORDPIECE_CHARS_MAX)

int hs_wordpiece_init(struct hs_wordpiece *w, const struct hs_vocab *v, const struct hs_gguf *g, struct hs_err *err)
{
	*w = (struct hs_wordpiece){.lowercase = true};
	if (v->unk < 0)
		return hs_fail(err, EINVAL, "tok.invalid", HS_N_("no unknown token for what has no piece"),
			       "tokenizer.ggml.unknown_token_id");
	(void)hs_gguf_get_bool(g, "tokenizer.ggml.normalizer.lowercase", &w->lowercase); /* the default stands where absent */
	w->strip_accents = w->lowercase;
	(void)hs_gguf_get_bool(g, "tokenizer.ggml.normalizer.strip_accents", &w->strip_accents); /* the same */
	int rc = hs_vocab_trie(v, 1u << HS_VOCAB_NORMAL | 1u << HS_VOCAB_USER, false, &w->pieces);
	return rc < 0 ? hs_fail_errno(err, rc, "tok.load", "pieces") : 0;
}

void hs_wordpiece_finish(struct hs_wordpiece *w)
{
	hs_trie_finish(&w->pieces);
}

static bool is_ideograph(uint32_t cp)
{
	return (cp >= 0x4e00 && cp <= 0x9fff) || (cp >= 0x3400 && cp <= 0x4dbf) || (cp >= 0x20000 && cp <= 0x2a6df) ||
	       (cp >= 0x2a700 && cp <= 0x2ceaf) || (cp >= 0xf900 && cp <= 0xfaff) || (cp >= 0x2f800 && cp <= 0x2fa1f);
}

static bool is_sign(uint32_t cp)
{
	bool ascii = cp > ' ' && cp < 0x7f && !u_isalnum((UChar32)cp);
	return ascii || U_MASK(u_charType((UChar32)cp)) & U_GC_P_MASK;
}

static int append(struct hs_buf *out, uint32_t cp)
{
	char c[4];
	return hs_buf_append(out, c, hs_utf8_encode(cp, c));
}

/* Without control characters; a space for each white space and on both sides of an ideograph. */
static int clean(const char *text, size_t n, struct hs_buf *out)
{
	int rc = 0;
	uint32_t cp;
	for (size_t at = 0, len; rc == 0 && at < n; at += len) {
		len = hs_utf8_decode(text + at, n - at, &cp);
		bool blank = cp == '\t' || cp == '\n' || cp == '\r' || cp == ' ';
		if (!blank && (cp == 0xfffd || U_MASK(u_charType((UChar32)cp)) & U_GC_C_MASK))
			continue;
		blank |= u_isUWhiteSpace((UChar32)cp);
		bool apart = is_ideograph(cp);
		if (apart || blank)
			rc = hs_buf_append_byte(out, ' ');
		if (rc == 0 && !blank)
			rc = hs_buf_append(out, text + at, len);
		if (rc == 0 && apart)
			rc = hs_buf_append_byte(out, ' ');
	}
	return rc;
}

/* Append without non-spacing marks (where strip), in lower case (where lower). */
static int fold(const char *text, size_t n, bool strip, bool lower, struct hs_buf *out)
{
	int rc = 0;
	uint32_t cp;
	for (size_t at = 0, len; rc == 0 && at < n; at += len) {
		len = hs_utf8_decode(text + at, n - at, &cp);
		if (strip && u_charType((UChar32)cp) == U_NON_SPACING_MARK)
			continue;
		if (lower && cp == 0x130) { /* the only character whose lower case is two */
			rc = append(out, 'i');
			cp = 0x307;
		} else if (lower) {
			cp = (uint32_t)u_tolower((UChar32)cp);
		}
		if (rc == 0)
			rc = append(out, cp);
	}
	return rc;
}

static int normalise(const struct hs_wordpiece *w, const char *text, size_t n, struct hs_buf *out)
{
	HS_BUF_AUTO cleaned = HS_BUF_INIT;
	HS_BUF_AUTO apart = HS_BUF_INIT;
	int rc = clean(text, n, &cleaned);
	if (rc == 0 && w->strip_accents)
		rc = hs_decompose((const char *)cleaned.data, cleaned.len, &apart);
	const struct hs_buf *in = w->strip_accents ? &apart : &cleaned;
	if (rc == 0)
		rc = fold((const char *)in->data, in->len, w->strip_accents, w->lowercase, out);
	hs_buf_wipe(&cleaned); /* document text */
	hs_buf_wipe(&apart);
	return rc;
}

/* The longest piece that begins at text, 0 where none does. */
static size_t longest(const struct hs_wordpiece *w, const char *text, size_t n, hs_tok_id *ret)
{
	size_t place = hs_trie_root(&w->pieces), len = 0;
	uint32_t id;
	bool has_value;
	for (size_t i = 0; i < n && hs_trie_step(&w->pieces, &place, (uint8_t)text[i], &id, &has_value); i++)
		if (has_value) {
			len = i + 1;
			*ret = (hs_tok_id)id;
		}
	return len;
}

static int encode_word(const struct hs_wordpiece *w, const struct hs_vocab *v, const char *s, size_t n, struct hs_tok_ids *out)
{
	char word[WORD_BYTES_MAX];
	size_t begin = out->count;
	int rc = 0;
	if (n > WORD_BYTES_MAX - HS_SPACE_MARK_LEN || hs_utf8_count(s, n) > HS_WORDPIECE_CHARS_MAX)
		return hs_tok_ids_push(out, v->unk);
	memcpy(word, HS_SPACE_MARK, HS_SPACE_MARK_LEN);
	memcpy(word + HS_SPACE_MARK_LEN, s, n);
	n += HS_SPACE_MARK_LEN;
	for (size_t at = 0; rc == 0 && at < n;) {
		hs_tok_id id;
		size_t len = longest(w, word + at, n - at, &id);
		if (len == 0 || (at == 0 && len == HS_SPACE_MARK_LEN)) { /* the mark alone is not a beginning */
			out->count = begin;
			return hs_tok_ids_push(out, v->unk);
		}
		rc = hs_tok_ids_push(out, id);
		at += len;
	}
	return rc;
}

static int encode_words(const struct hs_wordpiece *w, const struct hs_vocab *v, const char *s, size_t n, struct hs_tok_ids *out)
{
	int rc = 0;
	uint32_t cp;
	size_t begin = 0, at = 0;
	for (size_t len; rc == 0 && at < n; at += len) {
		len = hs_utf8_decode(s + at, n - at, &cp);
		bool sign = is_sign(cp);
		if (cp != ' ' && !sign)
			continue;
		if (at > begin)
			rc = encode_word(w, v, s + begin, at - begin, out);
		if (rc == 0 && sign)
			rc = encode_word(w, v, s + at, len, out);
		begin = at + len;
	}
	return rc == 0 && at > begin ? encode_word(w, v, s + begin, at - begin, out) : rc;
}

int hs_wordpiece_encode(const struct hs_wordpiece *w, const struct hs_vocab *v, const char *text, size_t n,
			struct hs_tok_ids *out)
{
	HS_BUF_AUTO normal = HS_BUF_INIT;
	int rc = normalise(w, text, n, &normal);
	if (rc == 0)
		rc = encode_words(w, v, (const char *)normal.data, normal.len, out);
	hs_buf_wipe(&normal); /* document text */
	return rc;
}
