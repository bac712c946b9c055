#include "daemon/api.h"

#include <errno.h>
#include <string.h>

#include "base/translate.h"

static bool plain(struct hs_slice v, const char *also_forbidden)
{
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.s[i];
		if ((c < 0x20 && c != '\t') || c == 0x7f || strchr(also_forbidden, c))
			return false;
	}
	return true;
}

static bool is_framing(struct hs_slice name)
{
	static const char *const own[] = {"content-length", "transfer-encoding", "connection"};
	for (size_t i = 0; i < HS_ARRAY_LEN(own); i++) {
		if (name.len == strlen(own[i]) && strncasecmp(name.s, own[i], name.len) == 0)
			return true;
	}
	return false;
}

int hs_responder_begin(struct hs_responder *r, const struct hs_msg_http_response *head)
{
	if (head->status < 200 || head->status > 599 || head->n_headers > HS_MSG_HEADERS_MAX)
		return -EINVAL;
	for (uint32_t i = 0; i < head->n_headers; i++) {
		const struct hs_msg_header *h = &head->headers[i];
		if (h->name.len == 0 || !plain(h->name, " :\t") || !plain(h->value, "") || is_framing(h->name))
			return -EINVAL;
	}
	return r->ops->begin(r, head);
}

int hs_responder_content(struct hs_responder *r, const void *data, size_t len, bool last)
{
	return r->ops->content(r, data, len, last);
}

void hs_responder_credit(struct hs_responder *r, size_t bytes)
{
	if (bytes)
		r->ops->credit(r, bytes);
}

void hs_responder_abort(struct hs_responder *r)
{
	r->ops->abort(r);
}

size_t hs_responder_queued(const struct hs_responder *r)
{
	return r->ops->queued(r);
}

void hs_responder_answer(struct hs_responder *r, unsigned status, const char *content_type, const void *data, size_t len)
{
	const struct hs_msg_http_response head = {
		.status = (uint16_t)status,
		.n_headers = content_type ? 1 : 0,
		.headers = {{hs_slice_str("Content-Type"), hs_slice_str(content_type ? content_type : "")}},
	};
	(void)hs_responder_begin(r, &head); /* as in hs_responder_refuse */
	(void)hs_responder_content(r, data, len, true);
}

int hs_error_body(struct hs_buf *b, const struct hs_err *err, bool japanese)
{
	struct hs_err told = *err;
	told.hint = hs_translate(err->hint, japanese);
	char message[512];
	const char *const parts[] = {"{\"error\":{\"message\":", hs_err_text(&told, message, sizeof message),
				     ",\"type\":\"hisho_error\",\"code\":", err->code, ",\"object\":", err->object, "}}"};
	int rc = 0;
	for (size_t i = 0; i < HS_ARRAY_LEN(parts) && rc == 0; i++)
		rc = i % 2 ? hs_buf_append_json(b, parts[i]) : hs_buf_append_str(b, parts[i]);
	return rc;
}

void hs_responder_refuse(struct hs_responder *r, unsigned status, const struct hs_err *err)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	if (hs_error_body(&b, err, r->japanese) < 0)
		b.len = 0; /* out of memory: the status alone must tell it */
	const struct hs_msg_http_response head = {
		.status = (uint16_t)status,
		.n_headers = strcmp(err->code, "request.busy") == 0 ? 2 : 1,
		.headers = {{hs_slice_str("Content-Type"), hs_slice_str("application/json")},
			    {hs_slice_str("Retry-After"), hs_slice_str(HS_RETRY_AFTER_S)}},
	};
	(void)hs_responder_begin(r, &head); /* api.h says why, here and below */
	(void)hs_responder_content(r, b.data, b.len, true);
}
