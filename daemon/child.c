#include "daemon/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "daemon/notify.h"

struct hs_child {
	uv_timer_t watchdog;
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

/* --- started by a unit --- */

static int check_keeper(struct hs_err *err)
{
	struct ucred peer;
	socklen_t len = sizeof peer;
	const struct passwd *keeper = getpwnam(HS_KEEPER_USER);
	if (!keeper)
		return hs_fail(err, ENOENT, "start.user", HS_N_("The user of hishod is missing: run systemd-sysusers."),
			       HS_KEEPER_USER);
	if (getsockopt(HS_CONTROL_FD, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return hs_fail_errno(err, -errno, "start.peer", "");
	if (peer.uid != keeper->pw_uid)
		return hs_fail(err, EACCES, "start.peer", HS_N_("Only hishod may start this program."), "uid %u", peer.uid);
	return 0;
}

/* One frame, in time. packet: HS_FRAME_HEADER_LEN + HS_FRAME_PAYLOAD_MAX bytes. */
static int receive_start(uint8_t *packet, struct hs_frame *f, struct hs_err *err)
{
	uint64_t end = hs_monotonic_ms() + HS_START_MS, now;
	while ((now = hs_monotonic_ms()) < end) {
		struct pollfd p = {.fd = HS_CONTROL_FD, .events = POLLIN};
		if (poll(&p, 1, (int)(end - now)) < 0 && errno != EINTR)
			return -errno;
		int rc = hs_frame_recv(HS_CONTROL_FD, packet, HS_FRAME_HEADER_LEN + HS_FRAME_PAYLOAD_MAX, f, err);
		if (rc != -EAGAIN)
			return rc == 1 ? 0 : rc == 0 ? -EPIPE : rc;
	}
	return -ETIMEDOUT;
}

static int copy_arguments(const struct hs_msg_start *start, int *argc, char ***argv)
{
	char **list = calloc(start->count + 2u, sizeof *list);
	if (!list)
		return -ENOMEM;
	list[0] = (*argv)[0];
	for (uint32_t i = 0; i < start->count; i++) {
		list[i + 1] = strndup(start->items[i].s ? start->items[i].s : "", start->items[i].len);
		if (!list[i + 1])
			return -ENOMEM; /* the process ends; nothing is kept for it */
	}
	*argv = list;
	*argc = (int)start->count + 1;
	return 0;
}

static int take_start(int *argc, char ***argv, struct hs_err *err)
{
	static struct hs_msg_start start; /* large for a stack */
	struct hs_frame f = {0};
	uint8_t *packet = malloc(HS_FRAME_HEADER_LEN + HS_FRAME_PAYLOAD_MAX);
	int rc = packet ? check_keeper(err) : -ENOMEM;
	if (rc == 0)
		rc = receive_start(packet, &f, err);
	if (rc == 0 && (f.n_fds != 0 || f.type != HS_MSG_START || hs_get_start(f.payload, f.payload_len, &start) < 0))
		rc = -EPROTO;
	hs_frame_close_fds(&f);
	if (rc == 0)
		rc = copy_arguments(&start, argc, argv);
	free(packet);
	return rc < 0 ? hs_fail_errno(err, rc, "start.arguments", "hishod") : 0;
}

int hs_child_arguments(int *argc, char ***argv, struct hs_err *err)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	bool by_unit = pid && fds && strtol(pid, NULL, 10) == (long)getpid();
	int room = 1024 * 1024;
	if (by_unit && strcmp(fds, "1") != 0)
		return hs_fail(err, EINVAL, "start.sockets",
			       HS_N_("The unit of this program must accept connections (Accept=yes)."), "%s", fds);
	hs_notify_open(); /* after the connection, which keeps its number */
	if (!by_unit)
		return 0;
	(void)setsockopt(HS_CONTROL_FD, SOL_SOCKET, SO_SNDBUF, &room, sizeof room); /* a hint, as in hs_channel_pair */
	return take_start(argc, argv, err);
}

/* --- the control channel --- */

static void stop(struct hs_child *c)
{
	if (c->stopping)
		return;
	c->stopping = true;
	hs_notify("STOPPING=1"); /* from here the manager's own time limit runs */
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

static void on_watchdog(uv_timer_t *timer)
{
	hs_notify("WATCHDOG=1");
}

static void free_child(uv_handle_t *handle)
{
	free(handle->data);
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
	if (fcntl(HS_CONTROL_FD, F_DUPFD_CLOEXEC, HS_CONTROL_FD + 1) < 0) { /* kept until exit: see the header */
		int rc = -errno;
		free(c);
		return rc;
	}
	int rc = hs_channel_create(loop, HS_CONTROL_FD, &options, &channel_events, c, &c->control);
	if (rc < 0) {
		free(c);
		return rc;
	}
	uint64_t every = hs_notify_watchdog_ms();
	(void)uv_timer_init(loop, &c->watchdog); /* cannot fail */
	c->watchdog.data = c;
	if (every)
		(void)uv_timer_start(&c->watchdog, on_watchdog, 0, every); /* cannot fail: has a callback */
	*ret = c;
	return 0;
}

void hs_child_destroy(struct hs_child *c)
{
	if (!c)
		return;
	hs_channel_destroy(c->control);
	uv_close((uv_handle_t *)&c->watchdog, free_child);
}

int hs_child_ready(struct hs_child *c, const char *url)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	const struct hs_msg_ready ready = {(uint32_t)getpid(), {url ? url : "", url ? strlen(url) : 0}};
	int rc = hs_put_ready(&b, &ready);
	if (rc == 0)
		rc = hs_channel_send(c->control, HS_MSG_READY, 0, 0, b.data, b.len);
	if (rc == 0)
		hs_notify("READY=1");
	return rc;
}
