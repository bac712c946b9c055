#include "inference/tok/tokenizer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "inference/tok/bpe.h"
#include "inference/tok/sp.h"
#include "inference/tok/vocab.h"
#include "inference/tok/wordpiece.h"

enum kind { BPE, SENTENCEPIECE, WORDPIECE };

struct hs_tokenizer {
	struct hs_vocab vocab;
	enum kind kind;
	union {
		struct hs_bpe bpe;
		struct hs_sp sp;
		struct hs_wordpiece wordpiece;
	};
};

static const struct { /* the values of tokenizer.ggml.model */
	const char *name;
	enum kind kind;
} models[] = {{"gpt2", BPE}, {"llama", SENTENCEPIECE}, {"t5", SENTENCEPIECE}, {"bert", WORDPIECE}};

static bool is(const struct hs_gguf_str *s, const char *text)
{
	return s->len == strlen(text) && memcmp(s->s, text, s->len) == 0;
}

static int init_kind(struct hs_tokenizer *t, const struct hs_gguf *g, bool declared_llama, struct hs_err *err)
{
	int rc = hs_vocab_find_added(&t->vocab, t->kind == SENTENCEPIECE, err);
	if (rc < 0)
		return rc;
	if (t->kind == BPE)
		return hs_bpe_init(&t->bpe, &t->vocab, g, err);
	if (t->kind == WORDPIECE)
		return hs_wordpiece_init(&t->wordpiece, &t->vocab, g, err);
	return hs_sp_init(&t->sp, &t->vocab, g, declared_llama, err);
}

int hs_tokenizer_create(const struct hs_gguf *g, struct hs_tokenizer **ret, struct hs_err *err)
{
	struct hs_gguf_str model = {.s = ""};
	size_t row = 0;
	if (!hs_gguf_get_str(g, "tokenizer.ggml.model", &model))
		return hs_fail(err, EINVAL, "tok.invalid", HS_N_("the file holds no tokeniser"), "tokenizer.ggml.model");
	while (row < HS_ARRAY_LEN(models) && !is(&model, models[row].name))
		row++;
	if (row == HS_ARRAY_LEN(models))
		return hs_fail(err, ENOTSUP, "tok.model_unsupported",
			       HS_N_("only gpt2, llama, t5 and bert tokenisers can be used"), "tokenizer.ggml.model %.*s",
			       (int)HS_MIN(model.len, 64u), model.s);
	struct hs_tokenizer *t = calloc(1, sizeof *t);
	if (!t)
		return hs_fail_errno(err, -ENOMEM, "tok.load", "tokenizer");
	t->kind = models[row].kind;
	int rc = hs_vocab_init(&t->vocab, g, err);
	if (rc == 0 && (rc = init_kind(t, g, is(&model, "llama"), err)) < 0)
		hs_vocab_finish(&t->vocab);
	if (rc < 0) {
		free(t);
		return rc;
	}
	*ret = t;
	return 0;
}

void hs_tokenizer_destroy(struct hs_tokenizer *t)
{
	if (!t)
		return;
	if (t->kind == BPE)
		hs_bpe_finish(&t->bpe);
	else if (t->kind == WORDPIECE)
		hs_wordpiece_finish(&t->wordpiece);
	else
		hs_sp_finish(&t->sp);
	hs_vocab_finish(&t->vocab);
	free(t);
}

size_t hs_tokenizer_vocab(const struct hs_tokenizer *t)
{
	return t->vocab.n;
}

static int encode(const struct hs_tokenizer *t, const char *text, size_t n, bool goes_on, struct hs_tok_ids *out)
{
	if (n > HS_TOK_TEXT_MAX)
		return -EMSGSIZE;
	if (!hs_utf8_valid(text, n, NULL))
		return -EILSEQ;
	size_t begin = out->count;
	int rc = t->kind == BPE         ? hs_bpe_encode(&t->bpe, &t->vocab, text, n, out)
		 : t->kind == WORDPIECE ? hs_wordpiece_encode(&t->wordpiece, &t->vocab, text, n, out)
					: hs_sp_encode(&t->sp, &t->vocab, text, n, goes_on, out);
	if (rc < 0)
		out->count = begin;
	return rc;
}

int hs_tok_encode(const struct hs_tokenizer *t, const char *text, size_t n, struct hs_tok_ids *out)
{
	return encode(t, text, n, false, out);
}

int hs_tok_encode_on(const struct hs_tokenizer *t, const char *text, size_t n, struct hs_tok_ids *out)
{
	return encode(t, text, n, true, out);
}

bool hs_tok_is_special(const struct hs_tokenizer *t, hs_tok_id id)
{
	return id < 0 || (uint32_t)id >= t->vocab.n || hs_vocab_is_special(&t->vocab, id);
}

hs_tok_id hs_tok_special(const struct hs_tokenizer *t, const char *text)
{
	hs_tok_id id = hs_vocab_find(&t->vocab, text, strlen(text));
	return id >= 0 && hs_vocab_is_special(&t->vocab, id) ? id : HS_TOK_NONE;
}

const char *hs_tok_special_text(const struct hs_tokenizer *t, hs_tok_id id, size_t *ret_len)
{
	return id >= 0 && (uint32_t)id < t->vocab.n && hs_vocab_is_special(&t->vocab, id) ? hs_vocab_text(&t->vocab, id, ret_len)
											  : NULL;
}

hs_tok_id hs_tok_bos(const struct hs_tokenizer *t)
{
	return t->vocab.bos;
}

hs_tok_id hs_tok_eos(const struct hs_tokenizer *t)
{
	return t->vocab.eos;
}

int hs_tok_bytes(const struct hs_tokenizer *t, hs_tok_id id, struct hs_buf *out)
{
	size_t n;
	if (hs_tok_is_special(t, id) || t->vocab.kinds[id] == HS_VOCAB_UNUSED)
		return 0;
	const char *text = hs_vocab_text(&t->vocab, id, &n);
	if (t->kind != BPE)
		return hs_sp_bytes(&t->vocab, id, out);
	int rc = t->vocab.kinds[id] == HS_VOCAB_USER ? -EINVAL : hs_bpe_bytes(text, n, out);
	return rc == -EINVAL ? hs_buf_append(out, text, n) : rc; /* an added token is spelt as it is */
}

bool hs_tok_leads_with_space(const struct hs_tokenizer *t)
{
	return t->kind == WORDPIECE || (t->kind == SENTENCEPIECE && t->sp.add_prefix);
}
