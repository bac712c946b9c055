#include "daemon/forward.h"

#include <errno.h>
#include <string.h>

#include "daemon/forward_table.h"

struct hs_forward_client {
	struct hs_channel *channel;
	struct hs_forward_table open;
	uint64_t last_id;
};

struct forwarded {
	struct hs_forward_entry entry;
	struct hs_forward_client *client;
	struct hs_responder *responder;
	bool begun, events; /* the answer began; it is a stream of server-sent events */
	size_t body_out;    /* bytes of the body that the tenant has not credited */
	size_t owed;        /* bytes of the answer that we have not credited */
};

int hs_forward_client_create(struct hs_channel *channel, struct hs_forward_client **ret)
{
	struct hs_forward_client *f = calloc(1, sizeof *f);
	if (!f)
		return -ENOMEM;
	f->channel = channel;
	*ret = f;
	return 0;
}

size_t hs_forward_client_open(const struct hs_forward_client *f)
{
	return f->open.count;
}

static void forget(struct forwarded *x)
{
	hs_forward_remove(&x->client->open, &x->entry);
	free(x);
}

/* End a request that the tenant cannot answer (any more). */
static void end_badly(struct forwarded *x, const struct hs_err *err)
{
	struct hs_responder *r = x->responder;
	bool begun = x->begun, events = x->events;
	forget(x);
	if (!begun) {
		hs_responder_refuse(r, err->num == EMSGSIZE ? 413 : 503, err);
		return;
	}
	HS_BUF_AUTO b = HS_BUF_INIT;
	if (events && hs_buf_append_str(&b, "event: error\ndata: ") == 0 && hs_error_body(&b, err, r->japanese) == 0 &&
	    hs_buf_append_str(&b, "\n\n") == 0)
		(void)hs_responder_content(r, b.data, b.len, false); /* told where it can be; the abort below says it anyway */
	hs_responder_abort(r);
}

static void lost(struct hs_err *err, int num)
{
	(void)hs_fail(err, num, "tenant.lost", HS_N_("The answering process stopped. It is being restarted: ask again."), "request");
}

void hs_forward_client_destroy(struct hs_forward_client *f)
{
	if (!f)
		return;
	struct hs_err err = HS_ERR_INIT;
	lost(&err, ECONNRESET);
	for (struct hs_forward_entry *e; (e = hs_forward_any(&f->open));)
		end_badly(HS_CONTAINER_OF(e, struct forwarded, entry), &err);
	free(f);
}

void *hs_forward_request(void *ctx, const struct hs_request *q, struct hs_responder *r)
{
	struct hs_forward_client *f = ctx;
	struct hs_err err = HS_ERR_INIT;
	struct forwarded *x = f->open.count < HS_FORWARD_MAX ? calloc(1, sizeof *x) : NULL;
	if (!x) {
		(void)hs_fail(&err, EBUSY, "request.busy", HS_N_("The service is busy. Try again shortly."), "forward");
		hs_responder_refuse(r, 503, &err);
		return NULL;
	}
	x->entry.id = ++f->last_id;
	x->client = f;
	x->responder = r;
	hs_forward_insert(&f->open, &x->entry);
	HS_BUF_AUTO b = {.limit = HS_FRAME_PAYLOAD_MAX};
	int rc = hs_put_http_request(&b, &q->head);
	if (rc == 0)
		rc = hs_channel_send(f->channel, HS_MSG_HTTP_REQUEST, x->entry.id, 0, b.data, b.len);
	explicit_bzero(b.data, b.len); /* it carried a credential */
	if (rc < 0) {
		lost(&err, -rc);
		end_badly(x, &err);
		return NULL;
	}
	return x;
}

static void send_body(void *state, const void *data, size_t len, bool last)
{
	struct forwarded *x = state;
	const uint8_t *p = data;
	x->body_out += len;
	do {
		size_t n = HS_MIN(len, (size_t)HS_FRAME_PAYLOAD_MAX);
		const struct hs_frame frame = {.type = HS_MSG_HTTP_BODY, .request = x->entry.id, .payload = p, .payload_len = n,
					       .flags = n < len || !last ? HS_FRAME_MORE : 0};
		(void)hs_channel_send_frame(x->client->channel, &frame); /* a channel that fails is given up by its owner */
		p += n;
		len -= n;
	} while (len > 0);
}

static void give_credit(struct forwarded *x)
{
	if (x->owed == 0)
		return;
	uint8_t payload[4];
	hs_le32_store(payload, (uint32_t)x->owed);
	x->owed = 0;
	(void)hs_channel_send(x->client->channel, HS_MSG_CREDIT, x->entry.id, 0, payload, sizeof payload); /* as in send_body */
}

static void on_writable(void *state)
{
	give_credit(state);
}

static void on_gone(void *state)
{
	struct forwarded *x = state;
	(void)hs_channel_send(x->client->channel, HS_MSG_CANCEL, x->entry.id, 0, NULL, 0); /* as in send_body */
	forget(x);
}

const struct hs_service hs_forward_service = {hs_forward_request, send_body, on_writable, on_gone};

static int take_response(struct forwarded *x, const struct hs_frame *frame)
{
	struct hs_msg_http_response head;
	if (x->begun || hs_get_http_response(frame->payload, frame->payload_len, &head) < 0)
		return -EPROTO;
	if (hs_responder_begin(x->responder, &head) == -EINVAL)
		return -EPROTO; /* not begun: the refusal that follows can still be told */
	x->begun = true;
	for (uint32_t i = 0; i < head.n_headers; i++) {
		const struct hs_msg_header *h = &head.headers[i];
		if (h->name.len == 12 && strncasecmp(h->name.s, "Content-Type", 12) == 0 && h->value.len >= 17 &&
		    memcmp(h->value.s, "text/event-stream", 17) == 0)
			x->events = true;
	}
	return 0;
}

static int take_content(struct forwarded *x, const struct hs_frame *frame)
{
	if (!x->begun || x->owed + frame->payload_len > HS_HTTP_WINDOW)
		return -EPROTO;
	struct hs_responder *r = x->responder;
	if (!(frame->flags & HS_FRAME_MORE)) {
		forget(x);
		(void)hs_responder_content(r, frame->payload, frame->payload_len, true); /* gone() told us otherwise */
		return 0;
	}
	x->owed += frame->payload_len;
	(void)hs_responder_content(r, frame->payload, frame->payload_len, false); /* as above */
	if (hs_responder_queued(r) < HS_HTTP_WINDOW / 2)
		give_credit(x);
	return 0;
}

static int take_credit(struct forwarded *x, const struct hs_frame *frame)
{
	if (frame->payload_len != 4 || hs_le32_load(frame->payload) > x->body_out)
		return -EPROTO;
	x->body_out -= hs_le32_load(frame->payload);
	hs_responder_credit(x->responder, hs_le32_load(frame->payload));
	return 0;
}

static int take_error(struct forwarded *x, const struct hs_frame *frame)
{
	struct hs_msg_error told;
	if (hs_get_error(frame->payload, frame->payload_len, &told) < 0)
		return -EPROTO;
	struct hs_err err = HS_ERR_INIT;
	(void)hs_fail(&err, (int)told.num, "tenant.failed", HS_N_("The answering process could not finish. Ask again."), "%.*s",
		      (int)told.object.len, told.object.s ? told.object.s : "");
	if (told.code.len > 0 && told.code.len < sizeof err.code) {
		memcpy(err.code, told.code.s, told.code.len);
		err.code[told.code.len] = '\0';
	}
	end_badly(x, &err);
	return 0;
}

int hs_forward_client_frame(struct hs_forward_client *f, const struct hs_frame *frame)
{
	struct hs_forward_entry *e = hs_forward_find(&f->open, frame->request);
	switch (frame->type) {
	case HS_MSG_HTTP_RESPONSE:
	case HS_MSG_HTTP_CONTENT:
	case HS_MSG_CREDIT:
	case HS_MSG_ERROR:
		break;
	default:
		return -EPROTO;
	}
	if (frame->request == 0 || frame->request > f->last_id)
		return -EPROTO;
	if (!e)
		return 0; /* its client went away while this was on its way */
	struct forwarded *x = HS_CONTAINER_OF(e, struct forwarded, entry);
	switch (frame->type) {
	case HS_MSG_HTTP_RESPONSE:
		return take_response(x, frame);
	case HS_MSG_HTTP_CONTENT:
		return take_content(x, frame);
	case HS_MSG_CREDIT:
		return take_credit(x, frame);
	default:
		return take_error(x, frame);
	}
}
