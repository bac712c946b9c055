#include "daemon/child.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

struct hs_child {
	struct hs_channel *control;
	struct hs_child_events events;
	void *ctx;
	enum hs_process self;
	bool stopping;
};

/* The program's own name stands in front of each line. */
extern char *program_invocation_short_name;

void hs_log(const char *fmt, ...)
{
	char line[1024];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(line, sizeof line, fmt, args); /* a longer line is cut */
	va_end(args);
	for (char *p = line; *p; p++) { /* what came from outside must not make a second line */
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	}
	(void)fprintf(stderr, "%s: %s\n", program_invocation_short_name, line); /* a log that is gone is no reason to stop */
}

void hs_log_err(const char *what, const struct hs_err *err)
{
	char text[512];
	hs_log("%s: %s", what, hs_err_text(err, text, sizeof text));
}

static void stop(struct hs_child *c)
{
	if (c->stopping)
		return;
	c->stopping = true;
	c->events.shutdown(c->ctx);
}

static int take_channel(struct hs_child *c, struct hs_frame *f)
{
	enum hs_process peer;
	struct hs_slice name;
	char text[HS_MSG_NAME_MAX + 1];
	if (f->n_fds > 1 || (f->n_fds == 0 && c->self != HS_PROCESS_WEB) ||
	    hs_get_channel(f->payload, f->payload_len, &peer, &name) < 0 || memchr(name.s ? name.s : "", 0, name.len))
		return -EPROTO;
	if (name.len)
		memcpy(text, name.s, name.len);
	text[name.len] = '\0';
	int fd = f->n_fds ? f->fds[0] : -1;
	f->fds[0] = -1;
	c->events.channel(c->ctx, peer, text, fd);
	return 0;
}

static int take_connection(struct hs_child *c, struct hs_frame *f)
{
	struct hs_wire w = hs_wire_over(f->payload, f->payload_len);
	struct hs_peer_credentials who;
	who.uid = hs_wire_u32(&w);
	who.gid = hs_wire_u32(&w);
	who.pid = hs_wire_u32(&w);
	if (!hs_wire_done(&w) || f->n_fds != 1 || !c->events.connection)
		return -EPROTO;
	int fd = f->fds[0];
	f->fds[0] = -1;
	c->events.connection(c->ctx, fd, &who);
	return 0;
}

static int send_status(struct hs_child *c, uint64_t request)
{
	HS_BUF_AUTO b = {.limit = HS_FRAME_PAYLOAD_MAX};
	int rc = c->events.status ? c->events.status(c->ctx, &b) : hs_buf_append_str(&b, "{}");
	return rc < 0 ? rc : hs_channel_send(c->control, HS_MSG_STATUS_REPLY, request, 0, b.data, b.len);
}

static int take(struct hs_child *c, struct hs_frame *f)
{
	switch (f->type) {
	case HS_MSG_CHANNEL:
		return take_channel(c, f);
	case HS_MSG_CONNECTION:
		return take_connection(c, f);
	case HS_MSG_PING:
		return hs_channel_send(c->control, HS_MSG_PONG, f->request, 0, NULL, 0);
	case HS_MSG_STATUS:
		return send_status(c, f->request);
	case HS_MSG_SHUTDOWN:
		stop(c);
		return 0;
	default:
		return c->events.frame ? c->events.frame(c->ctx, c->control, f) : -EPROTO;
	}
}

static void on_frame(void *ctx, struct hs_frame *f)
{
	struct hs_child *c = ctx;
	int rc = take(c, f);
	if (rc < 0) {
		hs_log("control channel: message %u: %s", f->type, strerror(-rc));
		if (rc == -EPROTO) /* hishod is the parent: what it says must be right, or nothing is */
			stop(c);
	}
}

static void on_gone(void *ctx, const struct hs_err *why)
{
	struct hs_child *c = ctx;
	stop(c);
}

int hs_child_create(uv_loop_t *loop, enum hs_process self, const char *name, const struct hs_child_events *events, void *ctx,
		    struct hs_child **ret)
{
	struct hs_child *c = calloc(1, sizeof *c);
	if (!c)
		return -ENOMEM;
	(void)signal(SIGPIPE, SIG_IGN); /* a reader that left is an error of the write, not our end */
	c->self = self;
	c->events = *events;
	c->ctx = ctx;
	const struct hs_channel_options options = {self, HS_PROCESS_KEEPER, name};
	const struct hs_channel_events channel_events = {.frame = on_frame, .gone = on_gone};
	int rc = hs_channel_create(loop, HS_CONTROL_FD, &options, &channel_events, c, &c->control);
	if (rc < 0) {
		free(c);
		return rc;
	}
	*ret = c;
	return 0;
}

void hs_child_destroy(struct hs_child *c)
{
	if (!c)
		return;
	hs_channel_destroy(c->control);
	free(c);
}

int hs_child_ready(struct hs_child *c)
{
	return hs_channel_send(c->control, HS_MSG_READY, 0, 0, NULL, 0);
}
