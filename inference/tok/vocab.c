#include "inference/tok/vocab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/utf8.h"

static uint64_t mix(uint64_t h)
{
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;
	h ^= h >> 32;
	return h;
}

static uint64_t hash(uint64_t seed, const char *text, size_t n)
{
	uint64_t h = mix(seed ^ n);
	for (; n >= 8; n -= 8, text += 8) {
		uint64_t word;
		memcpy(&word, text, 8);
		h = mix(h ^ word);
	}
	uint64_t tail = 0;
	if (n)
		memcpy(&tail, text, n);
	return mix(mix(h ^ tail) + seed);
}

hs_tok_id hs_vocab_find(const struct hs_vocab *v, const char *text, size_t n)
{
	for (uint32_t at = (uint32_t)hash(v->seed, text, n) & v->mask; v->slots[at]; at = (at + 1) & v->mask) {
		hs_tok_id id = (hs_tok_id)(v->slots[at] - 1);
		size_t len;
		const char *s = hs_vocab_text(v, id, &len);
		if (len == n && (n == 0 || memcmp(s, text, n) == 0))
			return id;
	}
	return HS_TOK_NONE;
}

static int fill_slots(struct hs_vocab *v, struct hs_err *err)
{
	uint32_t cap = 16;
	while (cap < v->n * 2)
		cap *= 2;
	v->slots = calloc(cap, sizeof *v->slots);
	if (!v->slots)
		return hs_fail_errno(err, -ENOMEM, "tok.load", "tokens");
	v->mask = cap - 1;
	hs_random(&v->seed, sizeof v->seed);
	for (uint32_t i = 0; i < v->n; i++) {
		size_t len;
		const char *s = hs_vocab_text(v, (hs_tok_id)i, &len);
		hs_tok_id same = hs_vocab_find(v, s, len);
		if (same >= 0 && hs_vocab_is_text(v, (hs_tok_id)i) && hs_vocab_is_text(v, same))
			return hs_fail(err, EINVAL, "tok.invalid", HS_N_("two tokens have the same text"),
				       "tokenizer.ggml.tokens, token %u", i);
		if (same >= 0)
			continue;
		uint32_t at = (uint32_t)hash(v->seed, s, len) & v->mask;
		while (v->slots[at])
			at = (at + 1) & v->mask;
		v->slots[at] = i + 1;
	}
	return 0;
}

static int fill_texts(struct hs_vocab *v, const struct hs_gguf *g, struct hs_err *err)
{
	struct hs_gguf_str *texts = calloc(v->n, sizeof *texts);
	if (!texts)
		return hs_fail_errno(err, -ENOMEM, "tok.load", "tokens");
	int rc = 0;
	size_t total = 0;
	if (!hs_gguf_get_str_array(g, "tokenizer.ggml.tokens", texts, v->n))
		rc = hs_fail(err, EINVAL, "tok.invalid", HS_N_("the tokens are not an array of strings"),
			     "tokenizer.ggml.tokens");
	for (uint32_t i = 0; rc == 0 && i < v->n; i++) {
		if (texts[i].len > HS_VOCAB_TEXT_MAX)
			rc = hs_fail(err, EINVAL, "tok.invalid", HS_N_("a token is longer than 4096 bytes"),
				     "tokenizer.ggml.tokens, token %u", i);
		total += texts[i].len; /* at most 2^20 times 4096 */
	}
	if (rc == 0 && total > UINT32_MAX)
		rc = hs_fail(err, EINVAL, "tok.invalid", HS_N_("the tokens are longer than 4 GiB together"),
			     "tokenizer.ggml.tokens");
	if (rc == 0) {
		v->texts = malloc(total ? total : 1);
		v->offsets = malloc(((size_t)v->n + 1) * sizeof *v->offsets);
		if (!v->texts || !v->offsets)
			rc = hs_fail_errno(err, -ENOMEM, "tok.load", "tokens");
	}
	uint32_t at = 0;
	for (uint32_t i = 0; rc == 0 && i < v->n; i++) {
		v->offsets[i] = at;
		if (texts[i].len)
			memcpy(v->texts + at, texts[i].s, texts[i].len);
		at += (uint32_t)texts[i].len;
	}
	if (rc == 0)
		v->offsets[v->n] = at;
	free(texts);
	return rc;
}

static int fill_kinds(struct hs_vocab *v, const struct hs_gguf *g, struct hs_err *err)
{
	size_t n;
	v->kinds = malloc(v->n);
	if (!v->kinds)
		return hs_fail_errno(err, -ENOMEM, "tok.load", "token kinds");
	memset(v->kinds, HS_VOCAB_NORMAL, v->n);
	if (!hs_gguf_get_array_len(g, "tokenizer.ggml.token_type", &n))
		return 0;
	int32_t *kinds = n == v->n ? malloc(n * sizeof *kinds) : NULL;
	int rc = 0;
	if (n == v->n && !kinds)
		return hs_fail_errno(err, -ENOMEM, "tok.load", "token kinds");
	if (!kinds || !hs_gguf_get_i32_array(g, "tokenizer.ggml.token_type", kinds, n))
		rc = hs_fail(err, EINVAL, "tok.invalid", HS_N_("not one whole number for each token"),
			     "tokenizer.ggml.token_type");
	for (uint32_t i = 0; rc == 0 && i < v->n; i++) {
		if (kinds[i] < HS_VOCAB_NORMAL || kinds[i] > HS_VOCAB_BYTE)
			rc = hs_fail(err, EINVAL, "tok.invalid", HS_N_("unknown kind of token"),
				     "tokenizer.ggml.token_type of token %u", i);
		else
			v->kinds[i] = (uint8_t)kinds[i];
	}
	free(kinds);
	return rc;
}

static int fill_scores(struct hs_vocab *v, const struct hs_gguf *g, struct hs_err *err)
{
	size_t n;
	if (!hs_gguf_get_array_len(g, "tokenizer.ggml.scores", &n))
		return 0;
	v->scores = malloc(v->n * sizeof *v->scores);
	if (!v->scores)
		return hs_fail_errno(err, -ENOMEM, "tok.load", "scores");
	if (n != v->n || !hs_gguf_get_f32_array(g, "tokenizer.ggml.scores", v->scores, n))
		return hs_fail(err, EINVAL, "tok.invalid", HS_N_("not one number for each token"), "tokenizer.ggml.scores");
	for (uint32_t i = 0; i < v->n; i++)
		if (!(v->scores[i] >= -1e9f && v->scores[i] <= 1e9f)) /* also refuses NaN */
			return hs_fail(err, EINVAL, "tok.invalid", HS_N_("a score is not a number of sensible size"),
				       "tokenizer.ggml.scores of token %u", i);
	return 0;
}

static int named_id(const struct hs_vocab *v, const struct hs_gguf *g, const char *key, hs_tok_id *ret, struct hs_err *err)
{
	uint64_t id;
	*ret = HS_TOK_NONE;
	if (!hs_gguf_get_u64(g, key, &id))
		return 0;
	if (id >= v->n)
		return hs_fail(err, EINVAL, "tok.invalid", HS_N_("the token is not in the vocabulary"), "%s", key);
	*ret = (hs_tok_id)id;
	return 0;
}

/* Tags of HTML, which vocabularies add as text and authors write: not names of anything. <s> marks a text's beginning. */
static bool is_html(const char *s, size_t n)
{
	static const char *const names[] = {
		"a",    "b",      "blockquote", "body", "br",    "caption", "code", "div",    "em",  "footer", "h1", "h2", "h3",
		"h4",   "h5",     "h6",         "head", "hr",    "html",    "i",    "iframe", "img", "li",     "ol", "p",  "pre",
		"span", "strong", "sub",        "sup",  "table", "tbody",   "td",   "tfoot",  "th",  "thead",  "tr", "u",  "ul"};
	size_t lead = n > 1 && s[1] == '/' ? 2 : 1;
	for (size_t i = 0; i < HS_ARRAY_LEN(names); i++)
		if (strlen(names[i]) == n - lead - 1 && memcmp(names[i], s + lead, n - lead - 1) == 0)
			return true;
	return false;
}

static bool ends_as(const char *s, size_t n, const char *first, const char *last)
{
	size_t a = strlen(first), b = strlen(last);
	return n > a + b && memcmp(s, first, a) == 0 && memcmp(s + n - b, last, b) == 0;
}

/* Turn every token that data must not make into a control token: see hs_vocab_is_special. */
static int mark_special(struct hs_vocab *v, const struct hs_gguf *g, struct hs_err *err)
{
	static const char *const roles[] = {
		"bos",     "eos",     "eot",     "eom",     "cls",     "seperator", "mask",
		"fim_pre", "fim_suf", "fim_mid", "fim_pad", "fim_rep", "fim_sep"}; /* so spelt in the specification */
	for (uint32_t i = 0; i < v->n; i++) {
		size_t n;
		const char *s = hs_vocab_text(v, (hs_tok_id)i, &n);
		bool added = v->kinds[i] == HS_VOCAB_USER, text = added || v->kinds[i] == HS_VOCAB_NORMAL;
		if (text && n == 0)
			return hs_fail(err, EINVAL, "tok.invalid", HS_N_("a token of text is empty"),
				       "tokenizer.ggml.tokens, token %u", i);
		if (added && ((ends_as(s, n, "<", ">") && !is_html(s, n)) || ends_as(s, n, "[", "]")))
			v->kinds[i] = HS_VOCAB_CONTROL;
		if (text && (ends_as(s, n, "<|", "|>") || ends_as(s, n, "<\uff5c", "\uff5c>")))
			v->kinds[i] = HS_VOCAB_CONTROL;
	}
	for (size_t i = 0; i < HS_ARRAY_LEN(roles); i++) {
		char key[64];
		hs_tok_id id;
		(void)snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", roles[i]); /* fits */
		int rc = named_id(v, g, key, &id, err);
		if (rc < 0)
			return rc;
		if (id >= 0 && v->kinds[id] == HS_VOCAB_BYTE)
			return hs_fail(err, EINVAL, "tok.invalid", HS_N_("this token is a byte, which any document may hold"),
				       "%s", key);
		if (id >= 0 && v->kinds[id] != HS_VOCAB_UNKNOWN)
			v->kinds[id] = HS_VOCAB_CONTROL;
	}
	size_t n = 0;
	const char *s = v->unk >= 0 ? hs_vocab_text(v, v->unk, &n) : "";
	if (v->unk >= 0 && hs_vocab_is_text(v, v->unk) && (ends_as(s, n, "<", ">") || ends_as(s, n, "[", "]")))
		v->kinds[v->unk] = HS_VOCAB_UNKNOWN;
	return 0;
}

int hs_vocab_init(struct hs_vocab *v, const struct hs_gguf *g, struct hs_err *err)
{
	size_t n;
	*v = (struct hs_vocab){.bos = HS_TOK_NONE, .eos = HS_TOK_NONE, .unk = HS_TOK_NONE};
	if (!hs_gguf_get_array_len(g, "tokenizer.ggml.tokens", &n) || n == 0 || n > HS_VOCAB_TOKENS_MAX)
		return hs_fail(err, EINVAL, "tok.invalid", HS_N_("the file has no tokens, or more than 1048576"),
			       "tokenizer.ggml.tokens");
	v->n = (uint32_t)n;
	int rc = fill_texts(v, g, err);
	if (rc == 0)
		rc = fill_kinds(v, g, err);
	if (rc == 0)
		rc = fill_scores(v, g, err);
	if (rc == 0)
		rc = named_id(v, g, "tokenizer.ggml.bos_token_id", &v->bos, err);
	if (rc == 0)
		rc = named_id(v, g, "tokenizer.ggml.eos_token_id", &v->eos, err);
	if (rc == 0)
		rc = named_id(v, g, "tokenizer.ggml.unknown_token_id", &v->unk, err);
	if (rc == 0)
		rc = mark_special(v, g, err);
	if (rc == 0)
		rc = fill_slots(v, err);
	if (rc < 0)
		hs_vocab_finish(v);
	return rc;
}

void hs_vocab_finish(struct hs_vocab *v)
{
	free(v->texts);
	free(v->offsets);
	free(v->kinds);
	free(v->scores);
	free(v->slots);
	hs_trie_finish(&v->added);
	*v = (struct hs_vocab){0};
}

/* s with U+2581 for each space; room for 3 n bytes at out. */
static struct hs_gguf_str with_marks(const char *s, size_t n, char *out)
{
	size_t len = 0;
	for (size_t i = 0; i < n; i++) {
		size_t step = s[i] == ' ' ? HS_SPACE_MARK_LEN : 1;
		memcpy(out + len, step == 1 ? s + i : HS_SPACE_MARK, step);
		len += step;
	}
	return (struct hs_gguf_str){out, len};
}

static int make_trie(const struct hs_vocab *v, unsigned kinds, struct hs_trie_key *keys, char *marked, struct hs_trie *ret)
{
	size_t n = 0, kept = 0;
	for (uint32_t i = 0; i < v->n; i++) {
		size_t len;
		const char *s = hs_vocab_text(v, (hs_tok_id)i, &len);
		if (!(kinds >> v->kinds[i] & 1u) || !hs_utf8_valid(s, len, NULL) || memchr(s, 0, len))
			continue;
		keys[n] = (struct hs_trie_key){.text = {s, len}, .value = i};
		if (marked && v->kinds[i] == HS_VOCAB_USER && memchr(s, ' ', len)) {
			keys[n].text = with_marks(s, len, marked);
			marked += keys[n].text.len;
		}
		n++;
	}
	qsort(keys, n, sizeof *keys, hs_trie_key_compare);
	for (size_t i = 0; i < n; i++) /* of equal pieces one is enough */
		if (kept == 0 || hs_trie_key_compare(&keys[kept - 1], &keys[i]) != 0)
			keys[kept++] = keys[i];
	return kept ? hs_trie_build(ret, keys, kept) : -ENODATA;
}

int hs_vocab_trie(const struct hs_vocab *v, unsigned kinds, bool spaces_as_mark, struct hs_trie *ret)
{
	size_t room = 1;
	for (uint32_t i = 0; spaces_as_mark && i < v->n; i++)
		if (v->kinds[i] == HS_VOCAB_USER)
			room += HS_SPACE_MARK_LEN * (size_t)(v->offsets[i + 1] - v->offsets[i]);
	struct hs_trie_key *keys = calloc(v->n, sizeof *keys);
	char *marked = spaces_as_mark ? malloc(room) : NULL;
	int rc = keys && (marked || !spaces_as_mark) ? make_trie(v, kinds, keys, marked, ret) : -ENOMEM;
	free(marked);
	free(keys);
	return rc;
}

int hs_vocab_find_added(struct hs_vocab *v, bool spaces_as_mark, struct hs_err *err)
{
	int rc = hs_vocab_trie(v, 1u << HS_VOCAB_USER, spaces_as_mark, &v->added);
	v->has_added = rc == 0;
	return rc == 0 || rc == -ENODATA ? 0 : hs_fail_errno(err, rc, "tok.load", "added pieces");
}

size_t hs_vocab_match_added(const struct hs_vocab *v, const char *text, size_t n, hs_tok_id *ret_id)
{
	size_t place = v->has_added ? hs_trie_root(&v->added) : 0, longest = 0;
	uint32_t value;
	bool has_value;
	for (size_t i = 0; v->has_added && i < n && hs_trie_step(&v->added, &place, (uint8_t)text[i], &value, &has_value); i++)
		if (has_value) {
			longest = i + 1;
			*ret_id = (hs_tok_id)value;
		}
	return longest;
}

int hs_tok_ids_push(struct hs_tok_ids *ids, hs_tok_id id)
{
	if (ids->count == ids->cap) {
		size_t cap = ids->cap ? ids->cap * 2 : 64;
		hs_tok_id *more = reallocarray(ids->ids, cap, sizeof *more);
		if (!more)
			return -ENOMEM;
		ids->ids = more;
		ids->cap = cap;
	}
	ids->ids[ids->count++] = id;
	return 0;
}

void hs_tok_ids_finish(struct hs_tok_ids *ids)
{
	free(ids->ids);
	*ids = (struct hs_tok_ids){0};
}
