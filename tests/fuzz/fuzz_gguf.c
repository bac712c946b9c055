/* Any bytes as a GGUF file: refused, or every tensor and every token of it can be read. */
#include <stdlib.h>
#include <string.h>

#include "inference/gguf/gguf.h"
#include "inference/tok/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char text[] = "出張旅費は12,500円。 The end'll\n\n  ｶﾞ";
	struct hs_gguf *g;
	struct hs_tokenizer *t;
	struct hs_err err = HS_ERR_INIT;
	volatile uint64_t sum = 0;
	if (hs_gguf_open_memory(data, size, &g, &err) < 0)
		return 0;
	for (size_t i = 0; i < hs_gguf_tensor_count(g); i++) {
		const struct hs_gguf_tensor *tensor = hs_gguf_tensor_at(g, i);
		sum += tensor->data[0] + tensor->data[tensor->bytes - 1];
	}
	if (hs_tokenizer_create(g, &t, &err) == 0) {
		HS_BUF_AUTO b = HS_BUF_INIT;
		struct hs_tok_ids ids = {0};
		struct hs_detok d = {0};
		if (hs_tok_encode(t, text, sizeof text - 1, &ids) == 0)
			for (size_t i = 0; i < ids.count; i++)
				if (hs_tok_is_special(t, ids.ids[i]) || hs_detok_push(&d, t, ids.ids[i], &b) < 0)
					sum++;
		hs_tok_ids_finish(&ids);
		hs_tokenizer_destroy(t);
	}
	hs_gguf_close(g);
	return 0;
}
