/* Answers: heads, framing, and the responder of a connection. */
#include <errno.h>
#include <string.h>

#include "daemon/http/conn.h"

static const char *reason(unsigned status)
{
	static const struct {
		unsigned status;
		const char *text;
	} reasons[] = {
		{200, "OK"}, {201, "Created"}, {202, "Accepted"}, {204, "No Content"}, {206, "Partial Content"}, {303, "See Other"},
		{304, "Not Modified"}, {400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"}, {404, "Not Found"},
		{405, "Method Not Allowed"}, {408, "Request Timeout"}, {409, "Conflict"}, {413, "Content Too Large"},
		{414, "URI Too Long"}, {415, "Unsupported Media Type"}, {417, "Expectation Failed"}, {421, "Misdirected Request"},
		{422, "Unprocessable Content"}, {429, "Too Many Requests"}, {431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"}, {501, "Not Implemented"}, {503, "Service Unavailable"},
		{505, "HTTP Version Not Supported"}, {507, "Insufficient Storage"},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(reasons); i++) {
		if (reasons[i].status == status)
			return reasons[i].text;
	}
	return "Status";
}

static struct connection *of(struct hs_responder *r)
{
	return HS_CONTAINER_OF(r, struct connection, responder);
}

static int put_head(struct connection *c, const struct hs_msg_http_response *h)
{
	int rc = hs_buf_printf(&c->head, "HTTP/1.1 %u %s\r\n", h->status, reason(h->status));
	for (uint32_t i = 0; i < h->n_headers && rc == 0; i++) {
		const struct hs_msg_header *x = &h->headers[i];
		rc = hs_buf_printf(&c->head, "%.*s: %.*s\r\n", (int)x->name.len, x->name.s, (int)x->value.len,
				   x->value.s ? x->value.s : "");
	}
	if (rc == 0 && c->server->options.headers)
		rc = hs_buf_append_str(&c->head, c->server->options.headers);
	return rc;
}

/* Send what lies in the scratch buffer: one write, so one TLS record where it fits. */
static void send_scratch(struct connection *c)
{
	hs_http_conn_write(c, c->head.data, c->head.len);
	hs_buf_wipe(&c->head); /* a head may carry a session's cookie */
}

/* The framing is known: finish the head in the scratch buffer. whole: the length of an answer that comes at once, or -1. */
static int end_head(struct connection *c, int64_t whole)
{
	int rc = 0;
	c->head_sent = true;
	if (c->body.state != HS_BODY_DONE || c->server->stopping)
		c->keep_alive = false;
	if (c->bodiless) {
		rc = 0;
	} else if (whole >= 0) {
		rc = hs_buf_printf(&c->head, "Content-Length: %lld\r\n", (long long)whole);
	} else if (c->old) {
		c->keep_alive = false; /* its end is the connection's */
	} else {
		c->chunked = true;
		rc = hs_buf_append_str(&c->head, "Transfer-Encoding: chunked\r\n");
	}
	if (rc == 0 && !c->keep_alive)
		rc = hs_buf_append_str(&c->head, "Connection: close\r\n");
	return rc < 0 ? rc : hs_buf_append_str(&c->head, "\r\n");
}

static int put_content(struct connection *c, const void *data, size_t len, bool last)
{
	int rc = 0;
	if (c->head_only || c->bodiless)
		return 0;
	if (c->chunked && len > 0)
		rc = hs_buf_printf(&c->head, "%zx\r\n", len);
	if (rc == 0)
		rc = hs_buf_append(&c->head, data, len);
	if (rc == 0 && c->chunked && len > 0)
		rc = hs_buf_append_str(&c->head, "\r\n");
	return rc == 0 && c->chunked && last ? hs_buf_append_str(&c->head, "0\r\n\r\n") : rc;
}

static int begin(struct hs_responder *r, const struct hs_msg_http_response *h)
{
	struct connection *c = of(r);
	hs_assert(!c->begun && !c->over);
	hs_http_conn_enter(c);
	c->begun = true;
	c->status = h->status;
	c->bodiless = h->status == 204 || h->status == 304;
	int rc = put_head(c, h);
	if (rc == 0 && h->stream) {
		rc = end_head(c, -1);
		send_scratch(c);
	}
	if (rc < 0)
		c->kill = true;
	hs_http_conn_leave_handler(c);
	return rc;
}

static int content(struct hs_responder *r, const void *data, size_t len, bool last)
{
	struct connection *c = of(r);
	hs_assert(c->begun && !c->over);
	if (c->kill || c->closing) { /* cut off already; gone() is told when the stack is clear, unless the handler is done now */
		c->over = last;
		return -EPIPE;
	}
	hs_http_conn_enter(c);
	int rc = 0;
	if (!c->head_sent)
		rc = end_head(c, last ? (int64_t)len : -1);
	if (rc == 0)
		rc = put_content(c, data, len, last);
	if (rc == 0)
		send_scratch(c);
	c->over = last;
	if (rc < 0)
		c->kill = true;
	hs_http_conn_leave_handler(c);
	return rc;
}

static void credit(struct hs_responder *r, size_t bytes)
{
	struct connection *c = of(r);
	hs_http_conn_enter(c);
	hs_assert(bytes <= c->body_in);
	c->body_in -= bytes;
	hs_http_conn_leave_handler(c);
}

static size_t queued(const struct hs_responder *r)
{
	struct connection *c = of((struct hs_responder *)r);
	size_t n = c->out.len + uv_stream_get_write_queue_size(&c->stream);
	if (n >= HS_HTTP_WINDOW / 2)
		c->choked = true;
	return n;
}

static void abort_answer(struct hs_responder *r)
{
	struct connection *c = of(r);
	hs_http_conn_enter(c);
	c->over = true;
	c->kill = true;
	hs_http_conn_leave_handler(c);
}

const struct hs_responder_ops hs_http_responder_ops = {begin, content, credit, queued, abort_answer};

void hs_http_conn_refuse(struct connection *c, unsigned status, const struct hs_err *err)
{
	c->keep_alive = c->over = c->begun = c->head_sent = c->head_only = c->bodiless = false;
	c->body.state = HS_BODY_DONE;
	hs_responder_refuse(&c->responder, status, err);
}
