#include "daemon/extract/one.h"

#include <errno.h>

#include "base/file.h"

static int read_document(hs_extract_reader reader, int input, const char *name, const char *media, size_t input_max,
			 struct hs_buf *out, struct hs_err *err)
{
	HS_BUF_AUTO bytes = HS_BUF_INIT;
	int rc = hs_fd_read_all(input, input_max, &bytes);
	if (rc == -EFBIG || rc == -EMSGSIZE)
		return hs_fail(err, EFBIG, "doc.too_large", hs_document_hint("doc.too_large"), "%s: more than %zu MiB", name, input_max >> 20);
	if (rc < 0)
		return rc;
	const struct hs_extract_input in = {.data = bytes.data, .len = bytes.len, .name = name, .media = media};
	struct hs_document d = {0};
	rc = reader(&in, &d, err);
	if (rc < 0)
		return rc;
	out->limit = HS_EXTRACT_RESULT_MAX;
	rc = hs_document_encode(&d, out);
	hs_document_finish(&d);
	if (rc == -EMSGSIZE)
		return hs_fail(err, EFBIG, "doc.too_much_text", hs_document_hint("doc.too_much_text"), "%s", name);
	return rc;
}

int hs_extract_one(hs_extract_reader reader, int input, int output, const char *name, const char *media, size_t input_max)
{
	struct hs_err err = HS_ERR_INIT;
	HS_BUF_AUTO out = HS_BUF_INIT;
	int rc = read_document(reader, input, name, media, input_max, &out, &err);
	if (rc < 0) {
		if (!err.num && rc == -ENOMEM)
			(void)hs_fail(&err, ENOMEM, "doc.extractor_memory", "", "%s", name);
		else if (!err.num)
			(void)hs_fail(&err, -rc, "doc.unreadable", "", "%s", name);
		out.len = 0;
		rc = hs_document_encode_error(&err, &out);
		if (rc < 0)
			return rc;
	}
	return hs_fd_write_all(output, out.data, out.len);
}
