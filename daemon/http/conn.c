#include "daemon/http/conn.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/translate.h"

static unsigned limit(unsigned chosen, unsigned standard)
{
	return chosen ? chosen : standard;
}

static void set_deadline(struct connection *c, unsigned ms)
{
	c->deadline = ms ? hs_monotonic_ms() + ms : 0;
}

/* --- writing --- */

struct write {
	uv_write_t req;
	struct connection *connection;
	struct hs_buf bytes;
};

void hs_http_conn_write(struct connection *c, const void *data, size_t len)
{
	if (c->kill || c->closing || len == 0)
		return;
	int rc = c->tls ? hs_tls_write(c->tls, data, len) : hs_buf_append(&c->out, data, len);
	if (rc < 0)
		c->kill = true;
}

static void on_written(uv_write_t *req, int status)
{
	struct write *w = HS_CONTAINER_OF(req, struct write, req);
	struct connection *c = w->connection;
	hs_buf_wipe(&w->bytes);
	free(w);
	if (c->closing)
		return;
	hs_http_conn_enter(c);
	if (status < 0)
		c->kill = true;
	hs_http_conn_leave(c);
}

static void flush(struct connection *c)
{
	if (c->out.len == 0 || c->closing)
		return;
	uv_buf_t piece = uv_buf_init((char *)c->out.data, (unsigned)c->out.len);
	int n = uv_try_write(&c->stream, &piece, 1);
	if (n < 0 && n != UV_EAGAIN) {
		c->kill = true;
		return;
	}
	if (n > 0)
		hs_buf_consume(&c->out, (size_t)n);
	if (c->out.len == 0) {
		hs_buf_finish(&c->out); /* an idle stream holds no memory */
		return;
	}
	struct write *w = calloc(1, sizeof *w);
	if (!w) {
		c->kill = true;
		return;
	}
	w->connection = c;
	w->bytes = c->out;
	c->out = (struct hs_buf){.limit = HS_HTTP_OUT_MAX};
	piece = uv_buf_init((char *)w->bytes.data, (unsigned)w->bytes.len);
	if (uv_write(&w->req, &c->stream, &piece, 1, on_written) < 0) {
		hs_buf_wipe(&w->bytes);
		free(w);
		c->kill = true;
	}
}

/* --- closing --- */

static void on_closed(uv_handle_t *handle)
{
	struct connection *c = handle->data;
	struct hs_http_server *s = c->server;
	hs_tls_session_destroy(c->tls);
	hs_buf_wipe(&c->in);
	hs_buf_wipe(&c->out);
	hs_buf_wipe(&c->head);
	free(c);
	s->n_open--;
	if (s->destroyed && s->n_open == 0)
		free(s);
}

static void close_now(struct connection *c)
{
	if (c->closing)
		return;
	c->closing = true;
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	c->server->n_connections--;
	bool tell = c->state == STATE_REQUEST && !c->over;
	c->over = true;
	if (tell)
		c->server->options.service->gone(c->handler);
	uv_close(&c->handle, on_closed);
}

static void on_shut(uv_shutdown_t *req, int status)
{
	struct connection *c = req->data;
	if (c->closing)
		return;
	hs_http_conn_enter(c);
	if (status < 0 || c->server->options.local)
		c->kill = true; /* a Unix socket loses nothing by being closed; the far end of TCP may still be sending */
	hs_http_conn_leave(c);
}

/* Say that nothing follows, and wait for the client to see it. */
static void linger(struct connection *c)
{
	c->state = STATE_LINGER;
	if (c->tls)
		hs_tls_close(c->tls);
	flush(c);
	hs_buf_wipe(&c->in);
	c->in.limit = HS_HTTP_IN_MAX;
	set_deadline(c, HS_HTTP_LINGER_MS);
	c->shut.data = c;
	if (!c->kill && uv_shutdown(&c->shut, &c->stream, on_shut) < 0)
		c->kill = true;
}

/* --- reading and requests --- */

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct connection *c = handle->data;
	*buf = uv_buf_init((char *)c->server->read_buf, sizeof c->server->read_buf);
}

/* Read, unless the handler is a window behind: then the client waits. */
static void set_reading(struct connection *c)
{
	bool want = !(c->state == STATE_REQUEST && !c->over && c->body_in >= HS_HTTP_WINDOW);
	if (c->closing || want == c->reading)
		return;
	c->reading = want;
	if (!want)
		(void)uv_read_stop(&c->stream); /* cannot fail */
	else if (uv_read_start(&c->stream, on_alloc, on_read) < 0)
		c->kill = true;
	if (c->state == STATE_REQUEST && c->body.state != HS_BODY_DONE)
		set_deadline(c, want ? limit(c->server->options.stall_ms, HS_HTTP_STALL_MS) : 0);
}

static bool same_origin(const struct connection *c, const struct hs_http_head *h)
{
	const char *scheme = c->tls ? "https://" : "http://";
	size_t n = strlen(scheme);
	if (h->fetch_site.len && !hs_slice_is(h->fetch_site, "same-origin"))
		return false;
	if (h->origin.len)
		return h->origin.len == n + h->host.len && memcmp(h->origin.s, scheme, n) == 0 &&
		       memcmp(h->origin.s + n, h->host.s, h->host.len) == 0;
	return h->fetch_site.len > 0;
}

static bool known_host(const struct hs_http_options *o, struct hs_slice host)
{
	for (size_t i = 0; o->hosts && i < o->n_hosts; i++) {
		if (hs_http_host_is(host, o->hosts[i]))
			return true;
	}
	return !o->hosts;
}

static void start_request(struct connection *c, const struct hs_http_head *h)
{
	struct hs_http_server *s = c->server;
	struct hs_request q = {
		.head = {.method = h->method, .path = h->path, .query = h->query, .content_type = h->content_type,
			 .accept_language = h->accept_language, .peer = hs_slice_str(c->peer), .same_origin = same_origin(c, h),
			 .has_body = h->has_body, .content_length = h->content_length},
		.local = s->options.local, .uid = c->who.uid, .gid = c->who.gid, .pid = (pid_t)c->who.pid,
	};
	q.head.credential = hs_http_bearer(h->authorization);
	if (q.head.credential.len == 0) {
		q.head.credential = hs_http_cookie(h->cookie, "__Host-hisho");
		q.head.cookie = q.head.credential.len > 0;
	}
	if (q.head.credential.len > HS_MSG_CREDENTIAL_MAX)
		q.head.credential.len = 0; /* none of ours is so long */
	c->state = STATE_REQUEST;
	c->responder.ops = &hs_http_responder_ops;
	c->responder.japanese = hs_wants_japanese(h->accept_language.s, h->accept_language.len);
	c->handler = s->options.service->request(s->options.ctx, &q, &c->responder);
	hs_assert(c->handler || c->over); /* a service answers, or keeps a state */
	if (h->expect_continue && h->has_body && !c->over)
		hs_http_conn_write(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
}

static void refuse(struct connection *c, unsigned status, const struct hs_err *err)
{
	c->responder.ops = &hs_http_responder_ops;
	hs_http_conn_refuse(c, status, err);
	linger(c);
}

/* A head, where there is one. True where the loop should go on. */
static bool take_head(struct connection *c)
{
	struct hs_err err = HS_ERR_INIT;
	if (c->in.len == 0)
		return false;
	if (c->scanned == 0)
		set_deadline(c, limit(c->server->options.head_ms, HS_HTTP_HEAD_MS));
	long n = hs_http_head_find(c->in.data, HS_MIN(c->in.len, (size_t)HS_HTTP_HEAD_MAX), &c->scanned);
	if (n == 0 && c->in.len < HS_HTTP_HEAD_MAX)
		return false;
	struct hs_http_head head = {0};
	unsigned status = 0;
	if (n > 0) {
		status = hs_http_head_parse(c->in.data, (size_t)n, &head, &err);
	} else {
		status = n < 0 ? 400 : 431;
		(void)hs_fail(&err, EBADMSG, n < 0 ? "request.malformed" : "request.head",
			      n < 0 ? HS_N_("The request is not well-formed HTTP/1.1.") : HS_N_("The request's head is too long."), "head");
	}
	if (status == 0 && !known_host(&c->server->options, head.host)) {
		status = 421;
		(void)hs_fail(&err, EPERM, "request.host", HS_N_("This server does not answer to that name. See `hosts` in hisho.yaml."),
			      "%.*s", (int)head.host.len, head.host.s);
	}
	if (status == 0 && head.has_body && !head.chunked && head.content_length > HS_HTTP_BODY_MAX) {
		status = 413;
		(void)hs_fail(&err, EMSGSIZE, "request.body", HS_N_("The request's body is too long."), "body");
	}
	if (status) {
		refuse(c, status, &err);
		return false;
	}
	c->keep_alive = head.keep_alive && !c->server->options.one_request;
	c->old = head.old;
	c->head_only = hs_slice_is(head.method, "HEAD");
	c->over = c->begun = c->head_sent = c->chunked = c->choked = c->bodiless = c->body_told = false;
	c->body_in = c->body_moved = 0;
	c->body_seen = 0;
	c->scanned = 0;
	hs_http_body_begin(&c->body, &head);
	c->body_told = !head.has_body;
	set_deadline(c, head.has_body ? limit(c->server->options.stall_ms, HS_HTTP_STALL_MS) : 0);
	start_request(c, &head);
	explicit_bzero(c->in.data, (size_t)n); /* it carried a credential */
	hs_buf_consume(&c->in, (size_t)n);
	return true;
}

static bool bad_body(struct connection *c)
{
	c->kill = true; /* an answer may have begun; one that has not would be read as this request's */
	if (c->begun || c->over)
		return false;
	struct hs_err err = HS_ERR_INIT;
	(void)hs_fail(&err, EBADMSG, c->body_seen > HS_HTTP_BODY_MAX ? "request.body" : "request.malformed",
		      c->body_seen > HS_HTTP_BODY_MAX ? HS_N_("The request's body is too long.") :
							HS_N_("The request is not well-formed HTTP/1.1."), "body");
	c->kill = false;
	c->over = true;
	c->server->options.service->gone(c->handler);
	refuse(c, c->body_seen > HS_HTTP_BODY_MAX ? 413 : 400, &err);
	return false;
}

static bool take_body(struct connection *c)
{
	if (c->body.state == HS_BODY_DONE || c->in.len == 0)
		return false;
	size_t room = c->over ? c->in.len : HS_HTTP_WINDOW - c->body_in, used = 0, len = 0;
	const uint8_t *data;
	if (room == 0)
		return false;
	if (!hs_http_body_step(&c->body, c->in.data, HS_MIN(c->in.len, room), &used, &data, &len))
		return bad_body(c);
	c->body_seen += len;
	c->body_moved += len;
	if (c->body_seen > HS_HTTP_BODY_MAX)
		return bad_body(c);
	bool last = c->body.state == HS_BODY_DONE;
	if (last || c->body_moved >= HS_HTTP_STALL_BYTES) {
		c->body_moved = 0;
		set_deadline(c, last ? 0 : limit(c->server->options.stall_ms, HS_HTTP_STALL_MS));
	}
	if (!c->over && (len > 0 || last)) {
		c->body_in += len;
		c->body_told = last;
		c->server->options.service->body(c->handler, data, len, last);
	}
	hs_buf_consume(&c->in, used);
	return true;
}

/* The answer is given: go on with the next request, or end. */
static bool finish_request(struct connection *c)
{
	if (!c->over)
		return false;
	if (!c->keep_alive || c->body.state != HS_BODY_DONE || c->server->stopping) {
		linger(c);
		return false;
	}
	c->state = STATE_HEAD;
	c->handler = NULL;
	set_deadline(c, limit(c->server->options.idle_ms, HS_HTTP_IDLE_MS));
	if (c->in.len == 0)
		hs_buf_finish(&c->in); /* an idle connection holds no memory */
	return true;
}

static void process(struct connection *c)
{
	for (bool go_on = true; go_on && !c->kill;) {
		if (c->state == STATE_HEAD)
			go_on = take_head(c);
		else if (c->state == STATE_REQUEST)
			go_on = take_body(c) || finish_request(c);
		else
			go_on = false;
	}
	if (c->state == STATE_REQUEST && c->in.len > HS_HTTP_AHEAD_MAX && c->body.state == HS_BODY_DONE)
		c->kill = true;
	if (c->state == STATE_REQUEST && c->in.len == 0)
		hs_buf_finish(&c->in);
}

void hs_http_conn_enter(struct connection *c)
{
	c->depth++;
}

static void on_tick(uv_timer_t *timer);

/* Everything that a turn left to do, but the closing of a connection that is to be killed. */
static bool finish_turn(struct connection *c)
{
	if (c->depth > 1 || c->closing) {
		c->depth--;
		return false;
	}
	process(c);
	flush(c);
	if (!c->kill && c->choked && c->state == STATE_REQUEST && !c->over &&
	    c->out.len + uv_stream_get_write_queue_size(&c->stream) < HS_HTTP_WINDOW / 2) {
		c->choked = false;
		if (c->server->options.service->writable)
			c->server->options.service->writable(c->handler);
		process(c);
		flush(c);
	}
	set_reading(c);
	c->depth--;
	return c->kill;
}

void hs_http_conn_leave(struct connection *c)
{
	if (finish_turn(c))
		close_now(c);
}

void hs_http_conn_leave_handler(struct connection *c)
{
	if (!finish_turn(c))
		return;
	uv_timer_t *tick = &c->server->tick;
	c->deadline = 1; /* long past */
	(void)uv_timer_start(tick, on_tick, 0, uv_timer_get_repeat(tick)); /* cannot fail with a callback */
}

/* Plain bytes arrived. */
static void take_plain(struct connection *c, const uint8_t *data, size_t len)
{
	if (c->state == STATE_LINGER)
		return;
	if (hs_buf_append(&c->in, data, len) < 0)
		c->kill = true;
}

static void take_tls(struct connection *c, const uint8_t *data, size_t len)
{
	hs_tls_feed(c->tls, data, len);
	for (long n; !c->kill;) {
		n = hs_tls_read(c->tls, c->server->plain_buf, sizeof c->server->plain_buf);
		if (n < 0)
			c->kill = true; /* an alert that says why is flushed first */
		if (n <= 0)
			break;
		take_plain(c, c->server->plain_buf, (size_t)n);
	}
	explicit_bzero(c->server->plain_buf, HS_MIN(len, sizeof c->server->plain_buf));
	if (c->state == STATE_SHAKING && hs_tls_is_open(c->tls)) {
		c->state = STATE_HEAD;
		set_deadline(c, limit(c->server->options.head_ms, HS_HTTP_HEAD_MS));
	}
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct connection *c = stream->data;
	if (n == 0)
		return;
	hs_http_conn_enter(c);
	if (n < 0)
		c->kill = true;
	else if (c->tls)
		take_tls(c, (const uint8_t *)buf->base, (size_t)n);
	else
		take_plain(c, (const uint8_t *)buf->base, (size_t)n);
	hs_http_conn_leave(c);
}

/* --- the server --- */

static void on_tick(uv_timer_t *timer)
{
	struct hs_http_server *s = timer->data;
	uint64_t now = hs_monotonic_ms();
	unsigned stall = limit(s->options.stall_ms, HS_HTTP_STALL_MS);
	for (struct connection *c = s->connections, *next; c; c = next) {
		next = c->next;
		size_t waiting = uv_stream_get_write_queue_size(&c->stream);
		if (waiting == 0) {
			c->stuck_since = 0;
		} else if (c->stuck_since == 0 || waiting != c->stuck_size) {
			c->stuck_since = now;
			c->stuck_size = waiting;
		}
		bool late = (c->deadline && now >= c->deadline) || (c->stuck_since && now - c->stuck_since >= stall);
		if (!late)
			continue;
		hs_http_conn_enter(c);
		if (c->state == STATE_HEAD && c->in.len > 0) {
			struct hs_err err = HS_ERR_INIT;
			(void)hs_fail(&err, ETIMEDOUT, "request.slow", HS_N_("The request took too long to arrive."), "head");
			refuse(c, 408, &err);
		} else {
			c->kill = true;
		}
		hs_http_conn_leave(c);
	}
}

static int start_connection(struct hs_http_server *s, struct connection *c)
{
	c->handle.data = c;
	c->next = s->connections;
	c->link = &s->connections;
	if (c->next)
		c->next->link = &c->next;
	s->connections = c;
	s->n_connections++;
	c->in.limit = HS_HTTP_IN_MAX;
	c->out.limit = HS_HTTP_OUT_MAX;
	c->state = s->options.tls ? STATE_SHAKING : STATE_HEAD;
	set_deadline(c, s->options.tls ? limit(s->options.handshake_ms, HS_HTTP_HANDSHAKE_MS) :
					 limit(s->options.head_ms, HS_HTTP_HEAD_MS));
	int rc = s->options.tls ? hs_tls_session_create(s->options.tls, &c->out, &c->tls) : 0;
	if (rc == 0) {
		c->reading = true;
		rc = uv_read_start(&c->stream, on_alloc, on_read);
	}
	if (rc < 0)
		close_now(c);
	return rc;
}

static void name_peer(struct connection *c, bool unix_socket)
{
	struct sockaddr_storage address;
	int len = sizeof address;
	(void)snprintf(c->peer, sizeof c->peer, "local");
	if (unix_socket || uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&address, &len) < 0)
		return;
	if (address.ss_family == AF_INET)
		(void)uv_ip4_name((struct sockaddr_in *)&address, c->peer, sizeof c->peer); /* fits: the longest is 45 */
	else if (address.ss_family == AF_INET6)
		(void)uv_ip6_name((struct sockaddr_in6 *)&address, c->peer, sizeof c->peer);
}

static bool too_many(const struct hs_http_server *s, const struct connection *fresh)
{
	if (s->n_connections >= HS_HTTP_CONNECTIONS_MAX)
		return true;
	if (s->options.local)
		return false;
	size_t same = 0;
	for (const struct connection *c = s->connections; c; c = c->next)
		same += strcmp(c->peer, fresh->peer) == 0;
	return same >= HS_HTTP_CONNECTIONS_PER_PEER_MAX;
}

static struct connection *new_connection(struct hs_http_server *s, bool unix_socket)
{
	struct connection *c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->server = s;
	int rc = unix_socket ? uv_pipe_init(s->loop, &c->pipe, 0) : uv_tcp_init(s->loop, &c->tcp);
	if (rc < 0) {
		free(c);
		return NULL;
	}
	s->n_open++;
	c->handle.data = c;
	return c;
}

/* Close one that never started. */
static void discard(struct connection *c)
{
	c->closing = true;
	uv_close(&c->handle, on_closed);
}

static void on_connection(uv_stream_t *stream, int status)
{
	struct listener *l = stream->data;
	struct hs_http_server *s = l->server;
	struct connection *c = status < 0 ? NULL : new_connection(s, l->unix_socket);
	if (!c)
		return;
	if (uv_accept(stream, &c->stream) < 0) {
		discard(c);
		return;
	}
	name_peer(c, l->unix_socket);
	if (too_many(s, c)) {
		discard(c);
		return;
	}
	if (!l->unix_socket) {
		(void)uv_tcp_nodelay(&c->tcp, 1); /* latency only */
		(void)uv_tcp_keepalive(&c->tcp, 1, 60);
	}
	(void)start_connection(s, c); /* a failure has closed it */
}

int hs_http_server_create(uv_loop_t *loop, const struct hs_http_options *o, struct hs_http_server **ret)
{
	struct hs_http_server *s = calloc(1, sizeof *s);
	if (!s)
		return -ENOMEM;
	(void)signal(SIGPIPE, SIG_IGN); /* libuv writes with write(): a client that left is an error there, not our end */
	s->loop = loop;
	s->options = *o;
	int rc = uv_timer_init(loop, &s->tick);
	if (rc < 0) {
		free(s);
		return rc;
	}
	s->n_open = 1;
	s->tick.data = s;
	unsigned least = limit(o->handshake_ms, HS_HTTP_HANDSHAKE_MS);
	const unsigned all[] = {limit(o->head_ms, HS_HTTP_HEAD_MS), limit(o->idle_ms, HS_HTTP_IDLE_MS),
				limit(o->stall_ms, HS_HTTP_STALL_MS)};
	for (size_t i = 0; i < HS_ARRAY_LEN(all); i++)
		least = HS_MIN(least, all[i]);
	unsigned every = HS_MAX(HS_MIN(least / 4, 500u), 5u);
	rc = uv_timer_start(&s->tick, on_tick, every, every);
	uv_unref((uv_handle_t *)&s->tick); /* a clock is no reason to keep the loop alive */
	if (rc < 0) {
		hs_http_server_destroy(s);
		return rc;
	}
	*ret = s;
	return 0;
}

static void on_listener_closed(uv_handle_t *handle)
{
	struct listener *l = handle->data;
	struct hs_http_server *s = l->server;
	s->n_open--;
	if (s->destroyed && s->n_open == 0)
		free(s);
}

static void on_tick_closed(uv_handle_t *handle)
{
	struct hs_http_server *s = handle->data;
	s->n_open--;
	if (s->n_open == 0)
		free(s);
}

int hs_http_server_listen(struct hs_http_server *s, int fd)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof address;
	if (s->n_listeners == HS_HTTP_LISTENERS_MAX)
		return -ENOBUFS;
	if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		return -errno;
	struct listener *l = &s->listeners[s->n_listeners];
	l->server = s;
	l->unix_socket = address.ss_family == AF_UNIX;
	int rc = l->unix_socket ? uv_pipe_init(s->loop, &l->pipe, 0) : uv_tcp_init(s->loop, &l->tcp);
	if (rc < 0)
		return rc;
	s->n_listeners++;
	s->n_open++;
	l->handle.data = l;
	rc = l->unix_socket ? uv_pipe_open(&l->pipe, fd) : uv_tcp_open(&l->tcp, fd);
	return rc < 0 ? rc : uv_listen(&l->stream, 256, on_connection);
}

int hs_http_server_take(struct hs_http_server *s, int fd, const struct hs_peer_credentials *who)
{
	struct connection *c = s->stopping ? NULL : new_connection(s, true);
	if (!c) {
		(void)close(fd); /* refused: nothing was read or written */
		return s->stopping ? -ESHUTDOWN : -ENOMEM;
	}
	int rc = uv_pipe_open(&c->pipe, fd);
	if (rc < 0)
		(void)close(fd); /* as above */
	else if (too_many(s, c))
		rc = -EBUSY;
	if (rc < 0) {
		discard(c);
		return rc;
	}
	name_peer(c, true);
	if (who)
		c->who = *who;
	return start_connection(s, c);
}

void hs_http_server_stop(struct hs_http_server *s)
{
	s->stopping = true;
	for (size_t i = 0; i < s->n_listeners; i++) {
		if (!uv_is_closing(&s->listeners[i].handle))
			uv_close(&s->listeners[i].handle, on_listener_closed);
	}
	for (struct connection *c = s->connections, *next; c; c = next) {
		next = c->next;
		if (c->state != STATE_REQUEST)
			close_now(c);
	}
}

void hs_http_server_destroy(struct hs_http_server *s)
{
	if (!s || s->destroyed)
		return;
	hs_http_server_stop(s);
	while (s->connections)
		close_now(s->connections);
	s->destroyed = true;
	uv_close((uv_handle_t *)&s->tick, on_tick_closed);
}

size_t hs_http_server_connections(const struct hs_http_server *s)
{
	return s->n_connections;
}
