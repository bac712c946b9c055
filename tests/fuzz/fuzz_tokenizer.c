/*
 * By the first byte, either any text through a tokeniser of each kind and each pre-tokeniser, over small vocabularies with
 * bytes for everything: what is valid UTF-8 comes back the same where the kind can do that, no special token is ever made, and
 * cutting the text in two makes no crash. Or any vocabulary: it is refused, or reads a text.
 */
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/utf8.h"
#include "base/wire.h"
#include "inference/gguf/writer.h"
#include "inference/tok/split.h"
#include "inference/tok/tokenizer.h"
#include "inference/tok/unicode.h"

#define PRE_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct hs_tokenizer *finish(struct hs_gguf_writer *w)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_gguf *g = NULL;
	struct hs_tokenizer *t = NULL;
	struct hs_err err = HS_ERR_INIT;
	hs_assert(hs_gguf_write_buf(w, &b) == 0 && hs_gguf_open_memory(b.data, b.len, &g, &err) == 0);
	if (hs_tokenizer_create(g, &t, &err) < 0)
		t = NULL;
	hs_gguf_close(g);
	hs_gguf_writer_destroy(w);
	return t;
}

static struct hs_tokenizer *make(const char *model, const char *pre, bool ranks)
{
	static char names[256][8];
	static const char *const pieces[] = {"<unk>", "</s>", "▁", "a", "b", "ab",  "▁ab", "あ", "あい", "い",
					     "▁あ",   "12",   "1", "2", "'", "▁東", "  ",  "¶",  "<h1>", "<|x|>"};
	struct hs_gguf_str tokens[600];
	float scores[600];
	int32_t kinds[600];
	size_t n = 0;
	bool bpe = strcmp(model, "gpt2") == 0, bert = strcmp(model, "bert") == 0;
	unsigned next = 0x100;
	for (unsigned i = 0; i < 256 && !bert; i++, n++) {
		bool itself = (i > 0x20 && i < 0x7f) || (i > 0xa0 && i != 0xad);
		size_t len = bpe ? hs_utf8_encode(itself ? i : next, names[i]) : (size_t)snprintf(names[i], 8, "<0x%02X>", i);
		next += !itself;
		tokens[n] = (struct hs_gguf_str){names[i], len};
		kinds[n] = bpe ? 1 : 6;
		scores[n] = 0;
	}
	uint32_t unknown = (uint32_t)n;
	for (size_t i = 0; i < HS_ARRAY_LEN(pieces); i++) {
		if (bpe && (strlen(pieces[i]) == 1 || pieces[i][0] == (char)0xc2)) /* the bytes' own spellings */
			continue;
		tokens[n] = (struct hs_gguf_str){pieces[i], strlen(pieces[i])};
		kinds[n] = i == 0 ? 2 : i == 1 ? 3 : i >= HS_ARRAY_LEN(pieces) - 4 ? 4 : 1;
		scores[n++] = ranks ? -(float)i : -(float)i - 0.5f;
	}
	static const struct hs_gguf_str merges[] = {{"a b", 3}, {"1 2", 3}};
	struct hs_gguf_writer *w = hs_gguf_writer_create();
	hs_gguf_put_str(w, "tokenizer.ggml.model", model);
	hs_gguf_put_str(w, "tokenizer.ggml.pre", pre);
	hs_gguf_put_str_array(w, "tokenizer.ggml.tokens", tokens, n);
	hs_gguf_put_f32_array(w, "tokenizer.ggml.scores", scores, n);
	hs_gguf_put_i32_array(w, "tokenizer.ggml.token_type", kinds, n);
	hs_gguf_put_str_array(w, "tokenizer.ggml.merges", merges, HS_ARRAY_LEN(merges));
	hs_gguf_put_u32(w, "tokenizer.ggml.unknown_token_id", unknown);
	hs_gguf_put_bool(w, "tokenizer.ggml.add_space_prefix", false);
	struct hs_tokenizer *t = finish(w);
	hs_assert(t);
	return t;
}

static void check(const struct hs_tokenizer *t, const char *text, size_t n, bool returns, hs_tok_id unknown)
{
	struct hs_tok_ids ids = {0};
	struct hs_detok d = {0};
	HS_BUF_AUTO b = HS_BUF_INIT;
	int rc = hs_tok_encode(t, text, n, &ids);
	hs_assert((rc == 0) == hs_utf8_valid(text, n, NULL));
	for (size_t i = 0; i < ids.count; i++) {
		hs_assert(!hs_tok_is_special(t, ids.ids[i]) || ids.ids[i] == unknown);
		hs_assert(hs_detok_push(&d, t, ids.ids[i], &b) == 0);
		hs_assert(hs_utf8_valid((const char *)b.data, b.len, NULL));
	}
	hs_assert(hs_detok_flush(&d, &b) == 0);
	if (rc == 0 && returns)
		hs_assert(b.len == n && (n == 0 || memcmp(b.data, text, n) == 0));
	hs_tok_ids_finish(&ids);
}

static void any_text(unsigned which, const char *text, size_t n)
{
	static struct hs_tokenizer *unigram, *merges, *wordpiece, *bpe[PRE_MAX];
	if (!unigram) {
		unigram = make("t5", "", false);
		merges = make("llama", "", true);
		wordpiece = make("bert", "", true);
		for (size_t i = 0; hs_split_at(i) && i < PRE_MAX; i++)
			bpe[i] = make("gpt2", hs_split_at(i)->name, true);
	}
	bool has_mark = memmem(text, n, "\xe2\x96\x81", 3) != NULL; /* pieces cannot tell U+2581 from a space */
	const struct hs_split_rule *rule = hs_split_at(which % PRE_MAX);
	const struct hs_tokenizer *t = which == PRE_MAX ? unigram : which == PRE_MAX + 1 ? merges : wordpiece;
	bool returns = !has_mark && which <= PRE_MAX + 1;
	if (which < PRE_MAX) {
		if (!rule)
			return;
		t = bpe[which];
		returns = !rule->nfc || hs_is_composed(text, n);
	}
	hs_tok_id unknown = which == PRE_MAX + 2 ? 0 : HS_TOK_NONE;
	check(t, text, n, returns, unknown);
	check(t, text, n / 2, false, unknown);
}

/* {flags, number of tokens, merges and bytes of a map; each token {kind, score, length, bytes}; the merges' lengths and bytes} */
static void any_vocabulary(const uint8_t *data, size_t size)
{
	static const char *const models[] = {"gpt2", "llama", "t5", "bert"};
	static const char text[] = "出張旅費は12,500円。 The end'll\n\n  ｶﾞ<|x|></s> aab abab か\xe3\x82\x99";
	struct hs_gguf_str tokens[512], merges[64];
	float scores[512];
	int32_t kinds[512];
	static char names[256][4];
	struct hs_wire in = hs_wire_over(data, size);
	unsigned flags = hs_wire_u8(&in), n_tokens = hs_wire_u8(&in), n_merges = hs_wire_u8(&in) % 64, n_map = hs_wire_u16(&in);
	size_t n = 0;
	unsigned next = 0x100;
	for (unsigned i = 0; i < 256 && flags & 4; i++, n++) { /* with the bytes that BPE needs */
		bool itself = (i > 0x20 && i < 0x7f) || (i > 0xa0 && i != 0xad);
		tokens[n] = (struct hs_gguf_str){names[i], hs_utf8_encode(itself ? i : next, names[i])};
		next += !itself;
		kinds[n] = 1;
		scores[n] = -(float)n;
	}
	for (unsigned i = 0; i < n_tokens && !in.failed; i++, n++) {
		uint32_t bits = 0;
		kinds[n] = (int8_t)hs_wire_u8(&in);
		if (flags & 8)
			bits = hs_wire_u32(&in);
		memcpy(&scores[n], &bits, sizeof bits);
		if (!(flags & 8))
			scores[n] = -(float)hs_wire_u8(&in) / 4;
		size_t len = hs_wire_u8(&in) % 32;
		tokens[n] = (struct hs_gguf_str){(const char *)hs_wire_bytes(&in, len), in.failed ? 0 : len};
	}
	for (unsigned i = 0; i < n_merges; i++) {
		size_t len = hs_wire_u8(&in) % 32;
		merges[i] = (struct hs_gguf_str){(const char *)hs_wire_bytes(&in, len), in.failed ? 0 : len};
	}
	struct hs_gguf_writer *w = hs_gguf_writer_create();
	hs_gguf_put_str(w, "tokenizer.ggml.model", models[flags & 3]);
	hs_gguf_put_str(w, "tokenizer.ggml.pre", hs_split_at(n_tokens % 8)->name);
	hs_gguf_put_str_array(w, "tokenizer.ggml.tokens", tokens, n);
	hs_gguf_put_f32_array(w, "tokenizer.ggml.scores", scores, n);
	hs_gguf_put_i32_array(w, "tokenizer.ggml.token_type", kinds, n);
	hs_gguf_put_str_array(w, "tokenizer.ggml.merges", merges, n_merges);
	if (flags & 16)
		hs_gguf_put_u32(w, "tokenizer.ggml.unknown_token_id", flags >> 5);
	if (flags & 32)
		hs_gguf_put_u32(w, "tokenizer.ggml.eos_token_id", n_merges);
	hs_gguf_put_bool(w, "tokenizer.ggml.remove_extra_whitespaces", flags & 64);
	hs_gguf_put_bool(w, "tokenizer.ggml.add_space_prefix", flags & 128);
	const uint8_t *map = hs_wire_bytes(&in, n_map);
	if (!in.failed && n_map)
		hs_gguf_put_bytes(w, "tokenizer.ggml.precompiled_charsmap", map, n_map);
	struct hs_tokenizer *t = finish(w);
	if (!t)
		return;
	struct hs_tok_ids ids = {0};
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_detok d = {0};
	hs_assert(hs_tok_encode(t, text, sizeof text - 1, &ids) == 0);
	for (size_t i = 0; i < ids.count; i++) {
		hs_assert(!hs_tok_is_special(t, ids.ids[i]) || (flags & 3) != 0); /* the others may have an unknown token */
		hs_assert(hs_detok_push(&d, t, ids.ids[i], &b) == 0);
	}
	hs_assert(hs_utf8_valid((const char *)b.data, b.len, NULL));
	hs_tok_ids_finish(&ids);
	hs_tokenizer_destroy(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] < PRE_MAX + 3)
		any_text(data[0], (const char *)data + 1, size - 1);
	else
		any_vocabulary(data + 1, size - 1);
	return 0;
}
