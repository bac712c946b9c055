/* What the inference tests share: small vocabularies made by the writer, golden files, models where there are any. */
#ifndef HISHO_TESTS_INFERENCE_SUPPORT_H
#define HISHO_TESTS_INFERENCE_SUPPORT_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/utf8.h"
#include "inference/engine.h"
#include "inference/gguf/writer.h"
#include "inference/tok/tokenizer.h"

/* The path of a model file in $HISHO_MODELS or the cache; false where it is not there. */
static inline bool find_model(const char *name, char *path, size_t len)
{
	const char *dir = getenv("HISHO_MODELS"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	if (dir)
		snprintf(path, len, "%s/%s", dir, name);
	else if (cache)
		snprintf(path, len, "%s/hisho/models/%s", cache, name);
	else
		snprintf(path, len, "%s/.cache/hisho/models/%s", home ? home : "", name);
	FILE *f = fopen(path, "re");
	if (f)
		fclose(f);
	return f != NULL;
}

/* What hs_model_load makes of a file of these bytes. */
static inline int load_bytes(const struct hs_buf *file, const struct hs_model_options *options, struct hs_model **ret,
			     struct hs_err *err)
{
	char path[] = "/tmp/hisho-model-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);
	*err = HS_ERR_INIT;
	if (fd < 0)
		return -errno;
	int rc = hs_fd_write_all(fd, file->data, file->len);
	if (rc == 0)
		rc = hs_model_load(path, options, ret, err);
	close(fd);
	unlink(path);
	return rc;
}

/* The tokeniser of what the writer holds; NULL where it is refused, with the code in err. */
static inline struct hs_tokenizer *make_tokenizer(struct hs_gguf_writer *w, struct hs_err *err)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_gguf *g = NULL;
	struct hs_tokenizer *t = NULL;
	*err = HS_ERR_INIT;
	if (hs_gguf_write_buf(w, &b) == 0 && hs_gguf_open_memory(b.data, b.len, &g, err) == 0 &&
	    hs_tokenizer_create(g, &t, err) < 0)
		t = NULL;
	hs_gguf_close(g);
	return t;
}

/* A small SentencePiece or WordPiece vocabulary; unknown is token 0. bytes: 256 tokens for bytes follow the pieces. */
struct piece {
	const char *text;
	float score;
	int32_t kind;
};

static inline struct hs_tokenizer *make_sp(const struct piece *pieces, size_t n, const char *model, bool bytes, bool collapse,
					   struct hs_err *err)
{
	struct hs_gguf_str tokens[400];
	static char names[256][8];
	float scores[400];
	int32_t kinds[400];
	struct hs_gguf_writer *w = hs_gguf_writer_create();
	if (!w)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		tokens[i] = (struct hs_gguf_str){pieces[i].text, strlen(pieces[i].text)};
		scores[i] = pieces[i].score;
		kinds[i] = pieces[i].kind;
	}
	for (unsigned i = 0; bytes && i < 256; i++, n++) {
		snprintf(names[i], sizeof names[i], "<0x%02X>", i);
		tokens[n] = (struct hs_gguf_str){names[i], 6};
		scores[n] = 0;
		kinds[n] = 6;
	}
	hs_gguf_put_str(w, "tokenizer.ggml.model", model);
	hs_gguf_put_str_array(w, "tokenizer.ggml.tokens", tokens, n);
	hs_gguf_put_f32_array(w, "tokenizer.ggml.scores", scores, n);
	hs_gguf_put_i32_array(w, "tokenizer.ggml.token_type", kinds, n);
	hs_gguf_put_u32(w, "tokenizer.ggml.unknown_token_id", 0);
	hs_gguf_put_bool(w, "tokenizer.ggml.remove_extra_whitespaces", collapse);
	struct hs_tokenizer *t = make_tokenizer(w, err);
	hs_gguf_writer_destroy(w);
	return t;
}

/* A vocabulary of single bytes, whose ids are the bytes, and of marks behind them. NULL where it cannot be made. */
static inline struct hs_tokenizer *make_bytes_and(const char *const *marks, size_t n)
{
	static char texts[256][4];
	struct hs_gguf_str tokens[256 + 16];
	int32_t kinds[256 + 16];
	unsigned next = 0x100;
	struct hs_err err;
	struct hs_gguf_writer *w = hs_gguf_writer_create();
	if (!w || n > 16)
		return NULL;
	for (unsigned i = 0; i < 256; i++) {
		bool itself = (i > 0x20 && i < 0x7f) || (i > 0xa0 && i != 0xad);
		tokens[i] = (struct hs_gguf_str){texts[i], hs_utf8_encode(itself ? i : next, texts[i])};
		next += !itself;
		kinds[i] = 1;
	}
	for (size_t i = 0; i < n; i++) {
		tokens[256 + i] = (struct hs_gguf_str){marks[i], strlen(marks[i])};
		kinds[256 + i] = 3;
	}
	hs_gguf_put_str(w, "tokenizer.ggml.model", "gpt2");
	hs_gguf_put_str(w, "tokenizer.ggml.pre", "qwen2");
	hs_gguf_put_str_array(w, "tokenizer.ggml.tokens", tokens, 256 + n);
	hs_gguf_put_i32_array(w, "tokenizer.ggml.token_type", kinds, 256 + n);
	hs_gguf_put_str_array(w, "tokenizer.ggml.merges", NULL, 0);
	struct hs_tokenizer *t = make_tokenizer(w, &err);
	hs_gguf_writer_destroy(w);
	return t;
}

/* "1 2 3" of a text's ids, for comparing with what is written down. */
static inline const char *ids_text(const struct hs_tokenizer *t, const char *text, size_t n, struct hs_buf *out)
{
	struct hs_tok_ids ids = {0};
	int rc = hs_tok_encode(t, text, n, &ids);
	out->len = 0;
	for (size_t i = 0; rc == 0 && i < ids.count; i++)
		rc = hs_buf_printf(out, i ? " %d" : "%d", (int)ids.ids[i]);
	hs_tok_ids_finish(&ids);
	return rc == 0 ? hs_buf_cstr(out) : "failed";
}

/* The text that ids stream back to. */
static inline const char *stream_text(const struct hs_tokenizer *t, const hs_tok_id *ids, size_t n, struct hs_buf *out)
{
	struct hs_detok d = {0};
	int rc = 0;
	out->len = 0;
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = hs_detok_push(&d, t, ids[i], out);
	if (rc == 0)
		rc = hs_detok_flush(&d, out);
	return rc == 0 ? hs_buf_cstr(out) : "failed";
}

#endif
