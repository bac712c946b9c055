#include "daemon/forward.h"

#include <errno.h>
#include <string.h>

#include "base/translate.h"
#include "daemon/forward_table.h"

struct hs_forward_server {
	struct hs_channel *channel;
	const struct hs_service *service;
	void *ctx;
	struct hs_forward_table open;
};

/*
 * One request. `over`: the handler gave its last content, aborted, or was told gone(): no callback of it is made any more.
 * It leaves the table when it is over and its content is sent (or nobody wants it).
 */
struct served {
	struct hs_responder responder;
	struct hs_forward_entry entry;
	struct hs_forward_server *server;
	void *state;
	bool has_body, body_done;
	bool begun, over, dead; /* dead: web knows that it ended; swallow the rest */
	size_t body_in;         /* bytes of the body that the handler has not credited */
	size_t window;          /* bytes of content that web will take */
	struct hs_buf pending;  /* content beyond the window */
	unsigned depth;         /* service calls on the stack */
};

static void free_when_done(struct served *x)
{
	if (!x->over || x->depth > 0 || (!x->dead && x->pending.len > 0))
		return;
	hs_forward_remove(&x->server->open, &x->entry);
	hs_buf_wipe(&x->pending);
	free(x);
}

static void send_pieces(struct served *x)
{
	size_t at = 0;
	while (at < x->pending.len && x->window > 0) {
		size_t n = HS_MIN(HS_MIN(x->pending.len - at, x->window), (size_t)HS_FRAME_PAYLOAD_MAX);
		bool last = x->over && at + n == x->pending.len;
		const struct hs_frame frame = {.type = HS_MSG_HTTP_CONTENT, .request = x->entry.id, .payload = x->pending.data + at,
					       .payload_len = n, .flags = last ? 0 : HS_FRAME_MORE};
		(void)hs_channel_send_frame(x->server->channel, &frame); /* a channel that fails is given up by its owner */
		x->window -= n;
		at += n;
	}
	hs_buf_consume(&x->pending, at);
	if (x->pending.len == 0)
		hs_buf_finish(&x->pending); /* an idle stream holds no memory */
}

static int begin(struct hs_responder *r, const struct hs_msg_http_response *head)
{
	struct served *x = HS_CONTAINER_OF(r, struct served, responder);
	hs_assert(!x->begun && !x->over);
	x->begun = true;
	if (x->dead)
		return -EPIPE;
	HS_BUF_AUTO b = {.limit = HS_FRAME_PAYLOAD_MAX};
	int rc = hs_put_http_response(&b, head);
	return rc < 0 ? rc : hs_channel_send(x->server->channel, HS_MSG_HTTP_RESPONSE, x->entry.id, 0, b.data, b.len);
}

static void break_off(struct served *x, const struct hs_err *err)
{
	if (!x->dead)
		(void)hs_channel_send_error(x->server->channel, x->entry.id, err); /* a channel that fails is given up */
	x->dead = true;
	hs_buf_wipe(&x->pending);
}

static int content(struct hs_responder *r, const void *data, size_t len, bool last)
{
	struct served *x = HS_CONTAINER_OF(r, struct served, responder);
	hs_assert(x->begun && !x->over);
	int rc = x->dead ? -EPIPE : 0;
	x->over = last;
	if (rc == 0 && last && len == 0 && x->pending.len == 0) {
		const struct hs_frame end = {.type = HS_MSG_HTTP_CONTENT, .request = x->entry.id};
		rc = hs_channel_send_frame(x->server->channel, &end);
	} else if (rc == 0 && (len > 0 || last)) {
		rc = hs_buf_append(&x->pending, data, len);
		if (rc < 0) {
			struct hs_err err = HS_ERR_INIT;
			(void)hs_fail(&err, -rc, "answer.too_long", HS_N_("The client takes the answer too slowly."), "answer");
			break_off(x, &err);
		} else {
			send_pieces(x);
		}
	}
	free_when_done(x);
	return rc;
}

static void credit(struct hs_responder *r, size_t bytes)
{
	struct served *x = HS_CONTAINER_OF(r, struct served, responder);
	hs_assert(bytes <= x->body_in);
	x->body_in -= bytes;
	if (x->dead || x->body_done)
		return;
	uint8_t payload[4];
	hs_le32_store(payload, (uint32_t)bytes);
	(void)hs_channel_send(x->server->channel, HS_MSG_CREDIT, x->entry.id, 0, payload, sizeof payload); /* as in send_pieces */
}

static size_t queued(const struct hs_responder *r)
{
	const struct served *x = HS_CONTAINER_OF((struct hs_responder *)r, struct served, responder);
	return x->pending.len + (HS_HTTP_WINDOW - x->window);
}

static void abort_answer(struct hs_responder *r)
{
	struct served *x = HS_CONTAINER_OF(r, struct served, responder);
	struct hs_err err = HS_ERR_INIT;
	(void)hs_fail(&err, ECONNABORTED, "answer.aborted", HS_N_("The answer broke off. Ask again."), "answer");
	break_off(x, &err);
	x->over = true;
	free_when_done(x);
}

static const struct hs_responder_ops ops = {begin, content, credit, queued, abort_answer};

int hs_forward_server_create(struct hs_channel *channel, const struct hs_service *service, void *ctx,
			     struct hs_forward_server **ret)
{
	struct hs_forward_server *f = calloc(1, sizeof *f);
	if (!f)
		return -ENOMEM;
	f->channel = channel;
	f->service = service;
	f->ctx = ctx;
	*ret = f;
	return 0;
}

/* Nobody waits for it any more. */
static void drop(struct served *x)
{
	bool tell = !x->over;
	x->dead = true;
	x->over = true;
	x->depth++;
	if (tell)
		x->server->service->gone(x->state);
	x->depth--;
	free_when_done(x);
}

void hs_forward_server_destroy(struct hs_forward_server *f)
{
	if (!f)
		return;
	for (struct hs_forward_entry *e; (e = hs_forward_any(&f->open));)
		drop(HS_CONTAINER_OF(e, struct served, entry));
	free(f);
}

static int take_request(struct hs_forward_server *f, const struct hs_frame *frame)
{
	struct hs_request q = {0};
	if (frame->request == 0 || hs_forward_find(&f->open, frame->request) ||
	    hs_get_http_request(frame->payload, frame->payload_len, &q.head) < 0)
		return -EPROTO;
	struct served *x = f->open.count < HS_FORWARD_MAX ? calloc(1, sizeof *x) : NULL;
	if (!x) {
		struct hs_err err = HS_ERR_INIT;
		(void)hs_fail(&err, EBUSY, "request.busy", HS_N_("The service is busy. Try again shortly."), "request");
		return hs_channel_send_error(f->channel, frame->request, &err) == -EPROTO ? -EPROTO : 0;
	}
	x->responder.ops = &ops;
	x->responder.japanese = hs_wants_japanese(q.head.accept_language.s, q.head.accept_language.len);
	x->entry.id = frame->request;
	x->server = f;
	x->has_body = q.head.has_body;
	x->window = HS_HTTP_WINDOW;
	x->pending.limit = HS_FORWARD_CONTENT_MAX;
	hs_forward_insert(&f->open, &x->entry);
	x->depth++;
	x->state = f->service->request(f->ctx, &q, &x->responder);
	hs_assert(x->state || x->over); /* the service answers, or keeps a state */
	x->depth--;
	free_when_done(x);
	return 0;
}

static int take_body(struct served *x, const struct hs_frame *frame)
{
	bool last = !(frame->flags & HS_FRAME_MORE);
	if (!x->has_body || x->body_done || x->body_in + frame->payload_len > HS_HTTP_WINDOW)
		return -EPROTO;
	x->body_done = last;
	if (x->over)
		return 0;
	x->body_in += frame->payload_len;
	x->depth++;
	x->server->service->body(x->state, frame->payload, frame->payload_len, last);
	x->depth--;
	free_when_done(x);
	return 0;
}

static int take_credit(struct served *x, const struct hs_frame *frame)
{
	if (frame->payload_len != 4 || hs_le32_load(frame->payload) > HS_HTTP_WINDOW - x->window)
		return -EPROTO;
	x->window += hs_le32_load(frame->payload);
	send_pieces(x);
	x->depth++;
	if (!x->over && !x->dead && x->server->service->writable && queued(&x->responder) < HS_HTTP_WINDOW / 2)
		x->server->service->writable(x->state);
	x->depth--;
	free_when_done(x);
	return 0;
}

int hs_forward_server_frame(struct hs_forward_server *f, const struct hs_frame *frame)
{
	if (frame->type == HS_MSG_HTTP_REQUEST)
		return take_request(f, frame);
	if (frame->type != HS_MSG_HTTP_BODY && frame->type != HS_MSG_CREDIT && frame->type != HS_MSG_CANCEL)
		return -EPROTO;
	struct hs_forward_entry *e = hs_forward_find(&f->open, frame->request);
	if (!e)
		return 0; /* answered already: the rest of its body, or a credit that crossed the end */
	struct served *x = HS_CONTAINER_OF(e, struct served, entry);
	switch (frame->type) {
	case HS_MSG_HTTP_BODY:
		return take_body(x, frame);
	case HS_MSG_CREDIT:
		return take_credit(x, frame);
	default:
		drop(x);
		return 0;
	}
}
