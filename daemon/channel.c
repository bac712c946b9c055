#include "daemon/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct queued { /* a frame that waits for room in the socket */
	struct queued *next;
	struct hs_frame frame;
	uint8_t payload[];
};

struct join { /* a payload that arrives in pieces */
	bool used;
	uint16_t type;
	uint64_t request;
	struct hs_buf bytes;
};

struct hs_channel {
	uv_poll_t poll;
	int fd;
	struct hs_channel_options options;
	struct hs_channel_events events;
	void *ctx;
	bool open, gone, destroyed;
	unsigned depth; /* callbacks on the stack */
	struct queued *first, *last;
	size_t queued_bytes;
	struct join joins[HS_CHANNEL_JOINS_MAX];
	uint8_t packet[HS_FRAME_HEADER_LEN + HS_FRAME_PAYLOAD_MAX];
};

/* Frames handled for one readiness, so that one busy peer does not starve the loop. */
#define FRAMES_A_TURN 64

static void free_queued(struct queued *q)
{
	hs_frame_close_fds(&q->frame);
	explicit_bzero(q->payload, q->frame.payload_len); /* prompts and passages pass here */
	free(q);
}

static void free_channel(uv_handle_t *handle)
{
	struct hs_channel *c = handle->data;
	for (struct queued *q = c->first, *next; q; q = next) {
		next = q->next;
		free_queued(q);
	}
	for (size_t i = 0; i < HS_CHANNEL_JOINS_MAX; i++)
		hs_buf_wipe(&c->joins[i].bytes);
	explicit_bzero(c->packet, sizeof c->packet);
	(void)close(c->fd); /* a socket: nothing to lose */
	free(c);
}

static void give_up(struct hs_channel *c, int rc, struct hs_err *err)
{
	if (c->gone || c->destroyed)
		return;
	struct hs_err why = err && err->num ? *err : HS_ERR_INIT;
	(void)hs_fail_errno(&why, rc, "channel.gone", c->options.name);
	c->gone = true;
	c->open = false;
	(void)uv_poll_stop(&c->poll); /* cannot fail */
	c->events.gone(c->ctx, &why);
}

static int watch(struct hs_channel *c);

static int flush(struct hs_channel *c)
{
	while (c->first) {
		int rc = hs_frame_send(c->fd, &c->first->frame);
		if (rc == -EAGAIN || rc == -ENOBUFS)
			return 0;
		if (rc < 0)
			return rc;
		struct queued *q = c->first;
		c->first = q->next;
		if (!c->first)
			c->last = NULL;
		c->queued_bytes -= q->frame.payload_len + HS_FRAME_HEADER_LEN;
		free_queued(q);
	}
	return 0;
}

static bool is_joined(uint16_t type)
{
	return type == HS_MSG_EMBED || type == HS_MSG_GENERATE || type == HS_MSG_VECTORS;
}

static struct join *find_join(struct hs_channel *c, const struct hs_frame *f, bool make)
{
	struct join *unused = NULL;
	for (size_t i = 0; i < HS_CHANNEL_JOINS_MAX; i++) {
		struct join *j = &c->joins[i];
		if (j->used && j->type == f->type && j->request == f->request)
			return j;
		if (!j->used && !unused)
			unused = j;
	}
	if (!make || !unused)
		return NULL;
	*unused = (struct join){.used = true, .type = f->type, .request = f->request, .bytes.limit = HS_MSG_TEXT_MAX};
	return unused;
}

static int check_hello(struct hs_channel *c, const struct hs_frame *f, struct hs_err *err)
{
	struct hs_hello hello;
	if (f->type != HS_MSG_HELLO || hs_get_hello(f->payload, f->payload_len, &hello) < 0 || hello.role != c->options.peer)
		return hs_fail(err, EPROTO, "channel.hello", "", "process %d", (int)c->options.peer);
	if (hello.version_min > HS_FRAME_VERSION || hello.version_max < HS_FRAME_VERSION)
		return hs_fail(err, EPROTO, "channel.version",
			       HS_N_("Programs of different versions are mixed. Install one version and restart."), "%u..%u",
			       hello.version_min, hello.version_max);
	c->open = true;
	if (c->events.open)
		c->events.open(c->ctx);
	return 0;
}

/* Deliver a frame, or keep it until its last piece. */
static int take_frame(struct hs_channel *c, struct hs_frame *f, struct hs_err *err)
{
	if (!c->open)
		return check_hello(c, f, err);
	if (f->type == HS_MSG_HELLO)
		return hs_fail(err, EPROTO, "channel.hello", "", "twice");
	if (!is_joined(f->type)) {
		c->events.frame(c->ctx, f);
		return 0;
	}
	bool more = f->flags & HS_FRAME_MORE;
	struct join *j = find_join(c, f, more);
	if (!j && !more) {
		c->events.frame(c->ctx, f);
		return 0;
	}
	if (!j)
		return hs_fail(err, EPROTO, "channel.joins", "", "type %u", f->type);
	int rc = hs_buf_append(&j->bytes, f->payload, f->payload_len);
	if (rc < 0)
		return hs_fail(err, -rc, "channel.payload", "", "type %u", f->type);
	if (more)
		return 0;
	struct hs_buf whole = j->bytes;
	*j = (struct join){0};
	f->payload = whole.data;
	f->payload_len = whole.len;
	c->events.frame(c->ctx, f);
	hs_buf_wipe(&whole);
	return 0;
}

static void receive(struct hs_channel *c)
{
	for (int i = 0; i < FRAMES_A_TURN && !c->gone && !c->destroyed; i++) {
		struct hs_frame f;
		struct hs_err err = HS_ERR_INIT;
		int rc = hs_frame_recv(c->fd, c->packet, sizeof c->packet, &f, &err);
		if (rc == -EAGAIN)
			return;
		if (rc == 1) {
			rc = take_frame(c, &f, &err);
			for (uint16_t k = 0; k < f.n_fds; k++) {
				if (f.fds[k] >= 0)
					(void)close(f.fds[k]); /* nobody took it */
			}
		} else if (rc == 0) {
			rc = -EPIPE;
		}
		if (rc < 0)
			give_up(c, rc, &err);
	}
}

static void finish_turn(struct hs_channel *c)
{
	c->depth--;
	if (c->destroyed && c->depth == 0)
		uv_close((uv_handle_t *)&c->poll, free_channel);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct hs_channel *c = poll->data;
	c->depth++;
	if (status < 0)
		give_up(c, status, NULL);
	if (!c->gone && (events & UV_WRITABLE)) {
		int rc = flush(c);
		if (rc < 0)
			give_up(c, rc, NULL);
		else if (!c->first && c->events.drained)
			c->events.drained(c->ctx);
	}
	if (!c->gone && !c->destroyed && (events & UV_READABLE))
		receive(c);
	if (!c->gone && !c->destroyed && watch(c) < 0)
		give_up(c, -EIO, NULL);
	finish_turn(c);
}

static int watch(struct hs_channel *c)
{
	return uv_poll_start(&c->poll, UV_READABLE | (c->first ? UV_WRITABLE : 0), on_ready);
}

static int enqueue(struct hs_channel *c, const struct hs_frame *f)
{
	if (c->queued_bytes + f->payload_len > HS_CHANNEL_QUEUE_MAX)
		return -ENOBUFS;
	struct queued *q = calloc(1, sizeof *q + f->payload_len);
	if (!q)
		return -ENOMEM;
	q->frame = *f;
	q->frame.n_fds = 0;
	for (uint16_t i = 0; i < f->n_fds; i++) {
		int copy = fcntl(f->fds[i], F_DUPFD_CLOEXEC, 0);
		if (copy < 0) {
			int rc = -errno;
			free_queued(q);
			return rc;
		}
		q->frame.fds[q->frame.n_fds++] = copy;
	}
	if (f->payload_len)
		memcpy(q->payload, f->payload, f->payload_len);
	q->frame.payload = q->payload;
	if (c->last)
		c->last->next = q;
	else
		c->first = q;
	c->last = q;
	c->queued_bytes += f->payload_len + HS_FRAME_HEADER_LEN;
	return watch(c);
}

int hs_channel_send_frame(struct hs_channel *c, const struct hs_frame *f)
{
	if (c->gone || c->destroyed)
		return -EPIPE;
	int rc = c->first ? -EAGAIN : hs_frame_send(c->fd, f);
	if (rc == -EAGAIN || rc == -ENOBUFS)
		rc = enqueue(c, f);
	if (rc < 0)
		(void)shutdown(c->fd, SHUT_RDWR); /* a message with a hole must not be read on: gone() follows from the loop */
	return rc;
}

int hs_channel_send(struct hs_channel *c, enum hs_msg type, uint64_t request, int64_t deadline, const void *payload, size_t len)
{
	struct hs_frame f = {.type = (uint16_t)type, .request = request, .deadline = deadline};
	const uint8_t *p = payload;
	do {
		f.payload = p;
		f.payload_len = HS_MIN(len, (size_t)HS_FRAME_PAYLOAD_MAX);
		len -= f.payload_len;
		p += f.payload_len;
		f.flags = len > 0 ? HS_FRAME_MORE : 0;
		int rc = hs_channel_send_frame(c, &f);
		if (rc < 0)
			return rc;
	} while (len > 0);
	return 0;
}

int hs_channel_send_error(struct hs_channel *c, uint64_t request, const struct hs_err *err)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	int rc = hs_put_error(&b, err);
	return rc < 0 ? rc : hs_channel_send(c, HS_MSG_ERROR, request, 0, b.data, b.len);
}

size_t hs_channel_queued(const struct hs_channel *c)
{
	return c->queued_bytes;
}

bool hs_channel_is_open(const struct hs_channel *c)
{
	return c->open;
}

static int say_hello(struct hs_channel *c)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	const struct hs_hello hello = {HS_FRAME_VERSION, HS_FRAME_VERSION, c->options.self, {c->options.name, strlen(c->options.name)}};
	int rc = hs_put_hello(&b, &hello);
	return rc < 0 ? rc : hs_channel_send(c, HS_MSG_HELLO, 0, 0, b.data, b.len);
}

int hs_channel_create(uv_loop_t *loop, int fd, const struct hs_channel_options *o, const struct hs_channel_events *events,
		      void *ctx, struct hs_channel **ret)
{
	struct hs_channel *c = calloc(1, sizeof *c);
	if (!c) {
		(void)close(fd); /* taken over, and not used */
		return -ENOMEM;
	}
	c->fd = fd;
	c->options = *o;
	c->events = *events;
	c->ctx = ctx;
	int rc = uv_poll_init(loop, &c->poll, fd);
	if (rc < 0) {
		(void)close(fd);
		free(c);
		return rc;
	}
	c->poll.data = c;
	rc = watch(c);
	if (rc == 0)
		rc = say_hello(c);
	if (rc == -EPIPE) /* the peer is gone already: told from the loop, like any other end */
		rc = 0;
	if (rc < 0) {
		hs_channel_destroy(c);
		return rc;
	}
	*ret = c;
	return 0;
}

void hs_channel_destroy(struct hs_channel *c)
{
	if (!c || c->destroyed)
		return;
	c->destroyed = true;
	(void)uv_poll_stop(&c->poll); /* cannot fail */
	if (c->depth == 0)
		uv_close((uv_handle_t *)&c->poll, free_channel);
}
