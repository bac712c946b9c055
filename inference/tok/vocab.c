#include "inference/tok/vocab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"

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

static int fill_slots(struct hs_vocab *v)
{
	uint32_t cap = 16;
	while (cap < v->n * 2)
		cap *= 2;
	v->slots = calloc(cap, sizeof *v->slots);
	if (!v->slots)
		return -ENOMEM;
	v->mask = cap - 1;
	hs_random(&v->seed, sizeof v->seed);
	for (uint32_t i = 0; i < v->n; i++) {
		size_t len;
		const char *s = hs_vocab_text(v, (hs_tok_id)i, &len);
		if (hs_vocab_find(v, s, len) != HS_TOK_NONE)
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
			rc = hs_fail(err, EINVAL, "tok.invalid", HS_N_("a token is longer than 4096 bytes"), "token %u", i);
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
	if (rc == 0 && fill_slots(v) < 0)
		rc = hs_fail_errno(err, -ENOMEM, "tok.load", "tokens");
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
	*v = (struct hs_vocab){0};
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
