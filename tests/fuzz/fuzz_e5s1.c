/* Any bytes as an E5S1 file: refused, or a GGUF file that its own reader takes. */
#include <stdlib.h>

#include "inference/import/e5s1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hs_err err = HS_ERR_INIT;
	struct hs_gguf_writer *w = hs_gguf_writer_create();
	if (!w)
		return 0;
	if (hs_e5s1_convert(data, size, w, &err) == 0) {
		HS_BUF_AUTO b = HS_BUF_INIT;
		struct hs_gguf *g = NULL;
		hs_assert(hs_gguf_write_buf(w, &b) == 0);
		hs_assert(hs_gguf_open_memory(b.data, b.len, &g, &err) == 0);
		hs_gguf_close(g);
	} else {
		hs_assert(err.num > 0);
	}
	hs_gguf_writer_destroy(w);
	return 0;
}
