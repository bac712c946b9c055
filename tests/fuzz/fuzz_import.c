/*
 * Hostile folders of encoders: a byte chooses what the input replaces of a small valid one (config.json, model.safetensors,
 * tokenizer.json, the SentencePiece model, the pooling), and which kind that is. Refused, or a GGUF that its own reader takes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/wire.h"
#include "inference/import/encoder.h"
#include "tests/unit/inference/encoders.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct encoder_folder folders[ENCODER_KINDS];
	if (size < 1)
		return 0;
	struct encoder_folder *f = &folders[data[0] / 8 % ENCODER_KINDS];
	if (!f->tensors.len && !encoder_folder_make(f, data[0] / 8 % ENCODER_KINDS))
		abort();
	struct hs_encoder_files files = encoder_folder_files(f);
	struct hs_import_bytes *const parts[] = {&files.config,  &files.tensors, &files.tokenizer, &files.sentencepiece,
						 &files.modules, &files.pooling, &files.tensors,   &files.tokenizer};
	HS_BUF_AUTO whole = HS_BUF_INIT; /* a header alone stands before the valid data */
	struct hs_import_bytes *part = parts[data[0] % 8];
	if (part == &files.tensors && data[0] % 8 == 6) {
		size_t n = encoder_folder_header(f);
		if (hs_put_u64(&whole, size - 1) < 0 || hs_buf_append(&whole, data + 1, size - 1) < 0 ||
		    hs_buf_append(&whole, f->tensors.data + 8 + n, f->tensors.len - 8 - n) < 0)
			return 0;
		*part = (struct hs_import_bytes){whole.data, whole.len};
	} else {
		*part = (struct hs_import_bytes){data + 1, size - 1};
	}
	if (part == &files.sentencepiece)
		files.tokenizer = (struct hs_import_bytes){NULL, 0};
	struct hs_err err = HS_ERR_INIT;
	struct hs_encoder_options o = {.type = data[0] & 128 ? HS_Q8_0 : HS_F16, .pool = HS_IMPORT_POOL_MEAN, .name = "fuzz"};
	struct hs_gguf_writer *w = hs_gguf_writer_create();
	struct hs_arena *memory = hs_arena_create((size_t)1 << 30);
	if (w && memory && hs_encoder_convert(&files, &o, memory, w, &err) == 0) {
		HS_BUF_AUTO b = HS_BUF_INIT;
		struct hs_gguf *g = NULL;
		hs_assert(hs_gguf_write_buf(w, &b) == 0);
		hs_assert(hs_gguf_open_memory(b.data, b.len, &g, &err) == 0);
		hs_gguf_close(g);
	} else {
		hs_assert(!w || !memory || (err.num > 0 && *err.code));
	}
	hs_gguf_writer_destroy(w);
	hs_arena_destroy(memory);
	return 0;
}
