#include "inference/import/vocabulary.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define TEXTS_MAX ((size_t)256 << 20)

int hs_vocabulary_init(struct hs_vocabulary *v, struct hs_err *err)
{
	*v = (struct hs_vocabulary){.arena = hs_arena_create(TEXTS_MAX), .bos = -1, .eos = -1, .unk = -1};
	return v->arena ? 0 : hs_fail_errno(err, -ENOMEM, "import.read", "tokenizer");
}

void hs_vocabulary_finish(struct hs_vocabulary *v)
{
	hs_arena_destroy(v->arena);
	json_decref(v->json);
	free(v->texts);
	free(v->scores);
	free(v->kinds);
	free(v->charsmap);
	*v = (struct hs_vocabulary){0};
}

static int make_room(struct hs_vocabulary *v, size_t n)
{
	size_t cap = v->cap ? v->cap : 1024;
	while (cap < n)
		cap *= 2;
	if (cap == v->cap)
		return 0;
	struct hs_gguf_str *texts = reallocarray(v->texts, cap, sizeof *texts);
	v->texts = texts ? texts : v->texts;
	float *scores = reallocarray(v->scores, cap, sizeof *scores);
	v->scores = scores ? scores : v->scores;
	uint8_t *kinds = reallocarray(v->kinds, cap, sizeof *kinds);
	v->kinds = kinds ? kinds : v->kinds;
	if (!texts || !scores || !kinds)
		return -ENOMEM;
	v->cap = cap;
	return 0;
}

int hs_vocabulary_set(struct hs_vocabulary *v, uint64_t id, struct hs_gguf_str text, float score, enum hs_vocab_kind kind,
		      struct hs_err *err)
{
	if (id >= HS_VOCAB_TOKENS_MAX)
		return hs_import_bad(err, HS_N_("more than 1048576 tokens"), "%s", "tokenizer");
	if (text.len == 0 || text.len > HS_VOCAB_TEXT_MAX || !hs_utf8_valid(text.s, text.len, NULL) ||
	    memchr(text.s, 0, text.len))
		return hs_import_bad(err, HS_N_("the token is empty, longer than 4096 bytes, or not text"), "token %llu",
				     (unsigned long long)id);
	if (!(score > -1e9f && score < 1e9f))
		return hs_import_bad(err, HS_N_("a score is not a number of sensible size"), "token %llu",
				     (unsigned long long)id);
	int rc = make_room(v, (size_t)id + 1);
	if (rc < 0)
		return hs_fail_errno(err, rc, "import.read", "tokenizer");
	for (; v->n <= id; v->n++) {
		v->texts[v->n] = (struct hs_gguf_str){.s = ""};
		v->scores[v->n] = 0;
		v->kinds[v->n] = 0;
	}
	bool taken = v->kinds[id] != 0;
	if (taken && (v->texts[id].len != text.len || memcmp(v->texts[id].s, text.s, text.len) != 0))
		return hs_import_bad(err, HS_N_("two tokens have the same number"), "token %llu", (unsigned long long)id);
	if (!taken) {
		v->texts[id] = text;
		v->scores[id] = score;
	}
	v->kinds[id] = (uint8_t)kind;
	return 0;
}

/* Numbers without a token exist in the model and mean nothing: unused tokens. */
static int fill_gaps(struct hs_vocabulary *v, struct hs_err *err)
{
	for (size_t i = 0; i < v->n; i++) {
		char name[24];
		if (v->kinds[i] != 0)
			continue;
		int len = snprintf(name, sizeof name, "[PAD%zu]", i);
		v->texts[i] = (struct hs_gguf_str){hs_arena_strndup(v->arena, name, (size_t)len), (size_t)len};
		v->kinds[i] = HS_VOCAB_UNUSED;
		if (!v->texts[i].s)
			return hs_fail_errno(err, -ENOMEM, "import.read", "tokenizer");
	}
	return 0;
}

static int put_id(const struct hs_vocabulary *v, const char *key, int32_t id, struct hs_gguf_writer *w, struct hs_err *err)
{
	if (id < 0)
		return 0;
	if ((size_t)id >= v->n)
		return hs_import_bad(err, HS_N_("the token is not in the vocabulary"), "%s", key);
	hs_gguf_put_u32(w, key, (uint32_t)id);
	return 0;
}

static int put_marks(const struct hs_vocabulary *v, const char *key, const struct hs_pair_marks *m, struct hs_gguf_writer *w,
		     struct hs_err *err)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->ids[i] < 0 || (size_t)m->ids[i] >= v->n)
			return hs_import_bad(err, HS_N_("the token is not in the vocabulary"), "%s", key);
	hs_gguf_put_i32_array(w, key, m->ids, m->n);
	return 0;
}

static int put_pair(const struct hs_vocabulary *v, struct hs_gguf_writer *w, struct hs_err *err)
{
	if (!v->has_pair)
		return hs_import_unsupported(err, HS_N_("it does not say how a question and a passage stand together"), "%s",
					     "post_processor");
	int rc = put_marks(v, "hisho.rerank.before", &v->before, w, err);
	if (rc == 0)
		rc = put_marks(v, "hisho.rerank.between", &v->between, w, err);
	return rc < 0 ? rc : put_marks(v, "hisho.rerank.after", &v->after, w, err);
}

static void put_steps(const struct hs_vocabulary *v, struct hs_gguf_writer *w)
{
	if (v->wordpiece) {
		hs_gguf_put_bool(w, "tokenizer.ggml.normalizer.lowercase", v->lowercase);
		hs_gguf_put_bool(w, "tokenizer.ggml.normalizer.strip_accents", v->strip_accents);
		return;
	}
	hs_gguf_put_f32_array(w, "tokenizer.ggml.scores", v->scores, v->n);
	hs_gguf_put_bool(w, "tokenizer.ggml.add_space_prefix", v->prefix);
	hs_gguf_put_bool(w, "tokenizer.ggml.remove_extra_whitespaces", v->collapse);
	if (v->charsmap_len)
		hs_gguf_put_bytes(w, "tokenizer.ggml.precompiled_charsmap", v->charsmap, v->charsmap_len);
}

int hs_vocabulary_put(struct hs_vocabulary *v, bool pair, struct hs_gguf_writer *w, struct hs_err *err)
{
	int rc = fill_gaps(v, err);
	int32_t *kinds = rc == 0 ? calloc(v->n + 1, sizeof *kinds) : NULL;
	if (rc == 0 && !kinds)
		rc = hs_fail_errno(err, -ENOMEM, "import.read", "tokenizer");
	for (size_t i = 0; rc == 0 && i < v->n; i++)
		kinds[i] = v->kinds[i];
	if (rc == 0) {
		hs_gguf_put_str(w, "tokenizer.ggml.model", v->wordpiece ? "bert" : "t5");
		hs_gguf_put_str(w, "tokenizer.ggml.pre", "default");
		hs_gguf_put_str_array(w, "tokenizer.ggml.tokens", v->texts, v->n);
		hs_gguf_put_i32_array(w, "tokenizer.ggml.token_type", kinds, v->n);
		put_steps(v, w);
		hs_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", v->bos >= 0);
		hs_gguf_put_bool(w, "tokenizer.ggml.add_eos_token", v->eos >= 0);
		rc = put_id(v, "tokenizer.ggml.bos_token_id", v->bos, w, err);
	}
	free(kinds);
	if (rc == 0)
		rc = put_id(v, "tokenizer.ggml.eos_token_id", v->eos, w, err);
	if (rc == 0)
		rc = put_id(v, "tokenizer.ggml.seperator_token_id", v->eos, w, err); /* so spelt in the specification */
	if (rc == 0)
		rc = put_id(v, "tokenizer.ggml.cls_token_id", v->bos, w, err);
	if (rc == 0)
		rc = put_id(v, "tokenizer.ggml.unknown_token_id", v->unk, w, err);
	return rc == 0 && pair ? put_pair(v, w, err) : rc;
}
