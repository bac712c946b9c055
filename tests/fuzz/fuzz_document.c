/* What an extractor may write to its pipe: only what passes the check is given, and it encodes to the same bytes. */
#include "text/document.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hs_document d = {0};
	struct hs_err err = HS_ERR_INIT;
	if (hs_document_decode(data, size, &d, &err) < 0) {
		hs_assert(err.num && !d.text);
		return 0;
	}
	HS_BUF_AUTO again = HS_BUF_INIT;
	hs_assert(hs_document_encode(&d, &again) == 0 && again.len == size);
	hs_document_finish(&d);
	return 0;
}
