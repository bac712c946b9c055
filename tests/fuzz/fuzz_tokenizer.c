/*
 * Any text through the three segmenters, over small vocabularies with bytes for everything: what is valid UTF-8 comes back
 * the same, no special token is ever made, and cutting the text in two makes no crash.
 */
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/utf8.h"
#include "inference/gguf/writer.h"
#include "inference/tok/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct hs_tokenizer *make(const char *model, bool ranks)
{
	static char names[256][8];
	static const char *const pieces[] = {"<unk>", "</s>", "▁", "a", "b", "ab", "▁ab", "あ", "あい", "い", "▁あ", "12", "1", "2", "<|x|>"};
	struct hs_gguf_str tokens[600];
	float scores[600];
	int32_t kinds[600];
	size_t n = 0;
	bool bpe = strcmp(model, "gpt2") == 0;
	unsigned next = 0x100;
	for (unsigned i = 0; i < 256; i++, n++) {
		bool itself = (i > 0x20 && i < 0x7f) || (i > 0xa0 && i != 0xad);
		size_t len = bpe ? hs_utf8_encode(itself ? i : next, names[i]) : (size_t)snprintf(names[i], 8, "<0x%02X>", i);
		next += !itself;
		tokens[n] = (struct hs_gguf_str){names[i], len};
		kinds[n] = bpe ? 1 : 6;
		scores[n] = 0;
	}
	for (size_t i = 0; i < HS_ARRAY_LEN(pieces); i++, n++) {
		tokens[n] = (struct hs_gguf_str){pieces[i], strlen(pieces[i])};
		kinds[n] = i == 0 ? 2 : i == 1 ? 3 : i == HS_ARRAY_LEN(pieces) - 1 ? 4 : 1;
		scores[n] = ranks ? -(float)i : -(float)i - 0.5f;
	}
	static const struct hs_gguf_str merges[] = {{"a b", 3}};
	struct hs_gguf_writer *w = hs_gguf_writer_create();
	hs_gguf_put_str(w, "tokenizer.ggml.model", model);
	hs_gguf_put_str(w, "tokenizer.ggml.pre", "qwen2");
	hs_gguf_put_str_array(w, "tokenizer.ggml.tokens", tokens, n);
	hs_gguf_put_f32_array(w, "tokenizer.ggml.scores", scores, n);
	hs_gguf_put_i32_array(w, "tokenizer.ggml.token_type", kinds, n);
	hs_gguf_put_str_array(w, "tokenizer.ggml.merges", merges, 1);
	hs_gguf_put_u32(w, "tokenizer.ggml.unknown_token_id", 256);
	hs_gguf_put_bool(w, "tokenizer.ggml.add_space_prefix", false);
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_gguf *g = NULL;
	struct hs_tokenizer *t = NULL;
	struct hs_err err = HS_ERR_INIT;
	hs_assert(hs_gguf_write_buf(w, &b) == 0 && hs_gguf_open_memory(b.data, b.len, &g, &err) == 0);
	hs_assert(hs_tokenizer_create(g, &t, &err) == 0);
	hs_gguf_close(g);
	hs_gguf_writer_destroy(w);
	return t;
}

static void check(const struct hs_tokenizer *t, const char *text, size_t n, bool returns)
{
	struct hs_tok_ids ids = {0};
	struct hs_detok d = {0};
	HS_BUF_AUTO b = HS_BUF_INIT;
	int rc = hs_tok_encode(t, text, n, &ids);
	hs_assert((rc == 0) == hs_utf8_valid(text, n, NULL));
	for (size_t i = 0; i < ids.count; i++) {
		hs_assert(!hs_tok_is_special(t, ids.ids[i]));
		hs_assert(hs_detok_push(&d, t, ids.ids[i], &b) == 0);
	}
	hs_assert(hs_detok_flush(&d, &b) == 0);
	if (rc == 0 && returns)
		hs_assert(b.len == n && (n == 0 || memcmp(b.data, text, n) == 0));
	hs_tok_ids_finish(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct hs_tokenizer *all[3];
	if (!all[0]) {
		all[0] = make("gpt2", true);
		all[1] = make("t5", false);
		all[2] = make("llama", true);
	}
	bool has_mark = memmem(data, size, "\xe2\x96\x81", 3) != NULL; /* pieces cannot tell U+2581 from a space */
	for (size_t i = 0; i < HS_ARRAY_LEN(all); i++) {
		check(all[i], (const char *)data, size, i == 0 || !has_mark);
		check(all[i], (const char *)data, size / 2, false);
	}
	return 0;
}
