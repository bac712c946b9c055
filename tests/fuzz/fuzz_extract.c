/* Every format's reader, then chunking and the encoding: a document that is read keeps its promises and comes back the same. */
#include "ingest/chunk.h"
#include "ingest/extract/extract.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {"a.txt", "a.md", "a.html", "a.csv", "a.tsv", ""};
	if (size == 0)
		return 0;
	const struct hs_extract_input in = {.data = data + 1, .len = size - 1, .name = names[data[0] % HS_ARRAY_LEN(names)], .media = ""};
	struct hs_document d = {0}, back = {0};
	struct hs_err err = HS_ERR_INIT;
	if (hs_extract_document(&in, &d, &err) < 0) {
		hs_assert(err.num && *hs_document_hint(err.code));
		return 0;
	}
	hs_assert(hs_document_check(&d, &err) == 0);
	struct hs_chunks chunks = {0};
	const struct hs_chunk_options options = {.max_chars = 50 + data[0]};
	if (hs_chunk(&d, &options, &chunks, &err) == 0) {
		for (size_t i = 0; i < chunks.count; i++)
			hs_assert(chunks.items[i].start < chunks.items[i].end && chunks.items[i].end <= d.len &&
				  strlen(chunks.items[i].context) < HS_CHUNK_CONTEXT_MAX);
	}
	HS_BUF_AUTO out = HS_BUF_INIT;
	hs_assert(hs_document_encode(&d, &out) == 0 && hs_document_decode(out.data, out.len, &back, &err) == 0);
	hs_assert(back.len == d.len && memcmp(back.text, d.text, d.len) == 0 && back.n_blocks == d.n_blocks);
	hs_chunks_finish(&chunks);
	hs_document_finish(&d);
	hs_document_finish(&back);
	return 0;
}
