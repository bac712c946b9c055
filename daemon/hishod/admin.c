/*
 * The admin socket, STATE/run/admin.sock. The peer's uid is the credential: root, or the user that hishod runs as. The first
 * line of a connection says whose it is: /t/NAME/... is handed to that tenant's process, everything else is answered here.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/hishod/keeper.h"

#define BODY_MAX 4096

struct peek { /* an accepted connection whose request line is not whole */
	struct peek *next, **link;
	struct keeper *keeper;
	int fd;
	struct hs_peer_credentials who;
	uv_timer_t timer;
	unsigned tries;
};
#define PEEK_MS 10

/* --- answers --- */

void hs_admin_reply(struct hs_responder *r, unsigned status, json_t *value)
{
	char *text = value ? json_dumps(value, JSON_INDENT(1)) : NULL;
	json_decref(value);
	if (text)
		hs_responder_answer(r, status, "application/json", text, strlen(text));
	else
		hs_responder_answer(r, 500, NULL, "", 0);
	free(text);
}

static void refuse(struct hs_responder *r, unsigned status, int num, const char *code, const char *hint, struct hs_slice object)
{
	struct hs_err err = HS_ERR_INIT;
	(void)hs_fail(&err, num, code, hint, "%.*s", (int)object.len, object.s);
	hs_responder_refuse(r, status, &err);
}

/*
 * A request that waits: for its body, or for another process. Who answers it later knows only the responder in it, which
 * passes everything on and ends the request with the last of its content.
 */
struct request {
	struct hs_responder inner;
	struct hs_responder *outer;
	struct keeper *keeper;
	struct hs_buf body;
	bool add;    /* POST /v1/tenants */
	uid_t uid;   /* of who asks */
	bool *ended; /* told while request() runs; or NULL */
};

static void end(struct request *q)
{
	if (q->ended)
		*q->ended = true;
	hs_buf_finish(&q->body);
	free(q);
}

static int pass_begin(struct hs_responder *r, const struct hs_msg_http_response *head)
{
	return hs_responder_begin(HS_CONTAINER_OF(r, struct request, inner)->outer, head);
}

static int pass_content(struct hs_responder *r, const void *data, size_t len, bool last)
{
	struct request *q = HS_CONTAINER_OF(r, struct request, inner);
	struct hs_responder *outer = q->outer;
	if (last)
		end(q);
	return hs_responder_content(outer, data, len, last);
}

static void pass_credit(struct hs_responder *r, size_t bytes)
{
	hs_responder_credit(HS_CONTAINER_OF(r, struct request, inner)->outer, bytes);
}

static size_t pass_queued(const struct hs_responder *r)
{
	return hs_responder_queued(HS_CONTAINER_OF((struct hs_responder *)r, struct request, inner)->outer);
}

static void pass_abort(struct hs_responder *r)
{
	struct request *q = HS_CONTAINER_OF(r, struct request, inner);
	struct hs_responder *outer = q->outer;
	end(q);
	hs_responder_abort(outer);
}

static const struct hs_responder_ops pass_ops = {pass_begin, pass_content, pass_credit, pass_queued, pass_abort};

static void reply_tenants(struct keeper *k, struct hs_responder *r)
{
	json_t *list = json_array();
	for (struct tenant *t = k->tenants; t && list; t = t->next) {
		const char *state = t->sealed ? "sealed" : t->proc.state == PROC_READY ? "open" : hs_proc_state_name(&t->proc);
		if (json_array_insert_new(list, 0, json_pack("{s:s, s:s, s:s}", "name", t->name, "state", state, "id", t->id.s)) < 0)
			break;
	}
	hs_admin_reply(r, 200, json_pack("{s:o}", "data", list));
}

/* "/v1/tenants/NAME/seal", "/unseal", "/rebuild". False where the path is another. */
static bool route_seal(struct keeper *k, struct hs_slice path, uid_t by, struct hs_responder *r)
{
	static const char prefix[] = "/v1/tenants/";
	size_t n = sizeof prefix - 1;
	if (path.len <= n || memcmp(path.s, prefix, n) != 0)
		return false;
	const char *name = path.s + n, *slash = memchr(name, '/', path.len - n);
	if (!slash)
		return false;
	const struct hs_slice what = {slash, path.len - (size_t)(slash - path.s)};
	bool seal = hs_slice_is(what, "/seal"), rebuild = hs_slice_is(what, "/rebuild");
	if (!seal && !rebuild && !hs_slice_is(what, "/unseal"))
		return false;
	struct tenant *t = hs_tenants_find(k, name, (size_t)(slash - name));
	if (!t)
		refuse(r, 404, ENOENT, "tenant.unknown", HS_N_("There is no tenant of that name."),
		       (struct hs_slice){name, (size_t)(slash - name)});
	else if (seal)
		hs_tenants_seal(t, by, r);
	else if (rebuild)
		hs_tenants_rebuild(t, by, r);
	else
		hs_tenants_unseal(t, by, r);
	return true;
}

static void *request(void *ctx, const struct hs_request *q, struct hs_responder *r)
{
	struct keeper *k = ctx;
	const struct hs_slice path = q->head.path;
	bool get = hs_slice_is(q->head.method, "GET"), post = hs_slice_is(q->head.method, "POST");
	if (get && hs_slice_is(path, "/healthz")) {
		hs_responder_answer(r, k->serving ? 200 : 503, "text/plain", k->serving ? "ok\n" : "starting\n", k->serving ? 3 : 9);
		return NULL;
	}
	if (get && hs_slice_is(path, "/v1/tenants")) {
		reply_tenants(k, r);
		return NULL;
	}
	if (path.len > 3 && memcmp(path.s, "/t/", 3) == 0) {
		const char *name = path.s + 3, *end = memchr(name, '/', path.len - 3);
		size_t n = end ? (size_t)(end - name) : path.len - 3;
		struct tenant *t = hs_tenants_find(k, name, n);
		if (!t)
			refuse(r, 404, ENOENT, "tenant.unknown", HS_N_("There is no tenant of that name."), (struct hs_slice){name, n});
		else
			refuse(r, 503, EAGAIN, t->sealed ? "tenant.sealed" : "service.starting",
			       t->sealed ? HS_N_("The tenant is sealed. `hisho tenant unseal` opens it.") :
					   HS_N_("The service is starting. Try again shortly."), (struct hs_slice){name, n});
		return NULL;
	}
	bool add = post && hs_slice_is(path, "/v1/tenants"), status = get && hs_slice_is(path, "/v1/status");
	bool metrics = get && hs_slice_is(path, "/metrics");
	bool known = add || status || metrics || (post && path.len > 12 && memcmp(path.s, "/v1/tenants/", 12) == 0);
	if (!known || (add && !q->head.has_body)) {
		refuse(r, known ? 400 : 404, known ? EINVAL : ENOENT, known ? "request.json" : "request.route",
		       known ? HS_N_("The body must be one JSON object in UTF-8.") : HS_N_("There is nothing at this address."), path);
		return NULL;
	}
	struct request *kept = calloc(1, sizeof *kept);
	bool ended = false;
	if (!kept) {
		hs_responder_answer(r, 503, NULL, "", 0);
		return NULL;
	}
	*kept = (struct request){.inner = {&pass_ops, r->japanese}, .outer = r, .keeper = k, .body.limit = BODY_MAX, .add = add,
				 .uid = q->uid, .ended = &ended};
	if (status)
		hs_status_ask(k, &kept->inner);
	else if (metrics)
		hs_status_metrics(k, &kept->inner);
	else if (!add && !route_seal(k, path, q->uid, &kept->inner))
		refuse(&kept->inner, 404, ENOENT, "request.route", HS_N_("There is nothing at this address."), path);
	if (ended)
		return NULL;
	kept->ended = NULL;
	return kept;
}

static void body(void *state, const void *data, size_t len, bool last)
{
	struct request *q = state;
	if (!q->add)
		return; /* nothing is read from it */
	if (hs_buf_append(&q->body, data, len) < 0) {
		refuse(&q->inner, 413, EMSGSIZE, "request.too_large", HS_N_("The body is larger than this address takes."),
		       hs_slice_str("body"));
		return;
	}
	hs_responder_credit(&q->inner, len);
	if (!last)
		return;
	json_t *root = json_loadb((const char *)q->body.data, q->body.len, JSON_REJECT_DUPLICATES, NULL);
	const char *name = json_string_value(json_object_get(root, "name"));
	if (name)
		hs_tenants_add(q->keeper, name, q->uid, &q->inner);
	else
		refuse(&q->inner, 400, EINVAL, "request.json", HS_N_("The body must be one JSON object in UTF-8."), hs_slice_str("name"));
	json_decref(root);
}

static void gone(void *state)
{
	struct request *q = state;
	hs_tenants_forget_waiter(q->keeper, &q->inner);
	hs_status_forget_waiter(q->keeper, &q->inner);
	end(q);
}

static const struct hs_service service = {.request = request, .body = body, .gone = gone};

/* --- connections --- */

static void free_peek(uv_handle_t *handle)
{
	free(handle->data);
}

/* Forget a peek; its descriptor has a new owner, or is closed by the caller. */
static void end_peek(struct peek *p)
{
	*p->link = p->next;
	if (p->next)
		p->next->link = p->link;
	p->keeper->n_peeks--;
	uv_close((uv_handle_t *)&p->timer, free_peek);
}

/* Whose is it? The tenant of "METHOD /t/NAME/...", where its process is there to take it. */
static struct tenant *owner_of(struct keeper *k, const char *line, size_t len)
{
	const char *space = memchr(line, ' ', len);
	size_t at = space ? (size_t)(space - line) + 1 : len;
	if (len - at < 4 || memcmp(line + at, "/t/", 3) != 0)
		return NULL;
	const char *name = line + at + 3;
	size_t n = 0;
	while (at + 3 + n < len && name[n] != '/' && name[n] != ' ' && name[n] != '?')
		n++;
	struct tenant *t = hs_tenants_find(k, name, n);
	return t && t->proc.state == PROC_READY && t->proc.control && !t->sealed ? t : NULL;
}

static void hand_over(struct peek *p, struct tenant *t)
{
	struct keeper *k = p->keeper;
	int fd = p->fd;
	const struct hs_peer_credentials who = p->who;
	end_peek(p);
	if (!t) {
		if (!k->admin || hs_http_server_take(k->admin, fd, &who) < 0)
			hs_log("an admin connection could not be served");
		return;
	}
	uint8_t payload[12];
	hs_le32_store(payload, who.uid);
	hs_le32_store(payload + 4, who.gid);
	hs_le32_store(payload + 8, who.pid);
	const struct hs_frame f = {
	    .type = HS_MSG_CONNECTION, .payload = payload, .payload_len = sizeof payload, .n_fds = 1, .fds = {fd}};
	(void)hs_channel_send_frame(t->proc.control, &f); /* gone() tells a failure; the client then sees its connection end */
	(void)close(fd);                                  /* the message holds a duplicate */
}

static void on_peek(uv_timer_t *timer)
{
	struct peek *p = timer->data;
	char line[HS_ADMIN_LINE_MAX];
	ssize_t n = recv(p->fd, line, sizeof line, MSG_PEEK | MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN) || ++p->tries > HS_ADMIN_LINE_MS / PEEK_MS) {
		(void)close(p->fd); /* it said nothing */
		end_peek(p);
		return;
	}
	const char *end = n > 0 ? memchr(line, '\n', (size_t)n) : NULL;
	if (end || n == (ssize_t)sizeof line)
		hand_over(p, owner_of(p->keeper, line, end ? (size_t)(end - line) : (size_t)n));
	else
		(void)uv_timer_start(&p->timer, on_peek, PEEK_MS, 0); /* cannot fail: has a callback */
}

static void take(struct keeper *k, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof peer;
	static const char no[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
	bool may = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && (peer.uid == 0 || peer.uid == geteuid());
	struct peek *p = may && k->n_peeks < HS_ADMIN_PEEK_MAX ? calloc(1, sizeof *p) : NULL;
	if (!p) {
		(void)send(fd, no, sizeof no - 1, MSG_NOSIGNAL | MSG_DONTWAIT); /* a courtesy */
		(void)close(fd);                                                /* refused */
		return;
	}
	*p = (struct peek){.keeper = k, .fd = fd, .who = {peer.uid, peer.gid, (uint32_t)peer.pid}, .next = k->peeks, .link = &k->peeks};
	if (p->next)
		p->next->link = &p->next;
	k->peeks = p;
	k->n_peeks++;
	p->timer.data = p;
	(void)uv_timer_init(&k->loop, &p->timer); /* cannot fail */
	on_peek(&p->timer);
}

static void on_admin(uv_poll_t *poll, int status, int events)
{
	struct keeper *k = poll->data;
	for (int i = 0; i < 16; i++) {
		int fd = accept4(k->admin_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return;
		take(k, fd);
	}
}

int hs_admin_open(struct keeper *k, struct hs_err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (snprintf(address.sun_path, sizeof address.sun_path, "%s/run/admin.sock", k->state) >= (int)sizeof address.sun_path)
		return hs_fail(err, ENAMETOOLONG, "admin.socket", HS_N_("The state directory's path is too long for a socket."),
			       "%s", k->state);
	(void)unlink(address.sun_path); /* of a run before; the lock says that it is over */
	mode_t before = umask(0177);
	k->admin_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc =
	    k->admin_fd < 0 || bind(k->admin_fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(k->admin_fd, 64) < 0
		? -errno
		: 0;
	(void)umask(before);
	if (rc < 0)
		return hs_fail_errno(err, rc, "admin.socket", address.sun_path);
	const struct hs_http_options o = {.service = &service, .ctx = k, .local = true, .one_request = true};
	rc = hs_http_server_create(&k->loop, &o, &k->admin);
	if (rc == 0)
		rc = uv_poll_init(&k->loop, &k->admin_poll, k->admin_fd);
	if (rc < 0)
		return rc;
	k->admin_open = true;
	k->admin_poll.data = k;
	return uv_poll_start(&k->admin_poll, UV_READABLE, on_admin);
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct keeper *k = handle->data;
	(void)close(k->admin_fd); /* a listening socket */
	k->admin_fd = -1;
}

void hs_admin_close(struct keeper *k)
{
	if (k->admin_open)
		uv_close((uv_handle_t *)&k->admin_poll, on_poll_closed);
	k->admin_open = false;
	while (k->peeks) {
		(void)close(k->peeks->fd); /* it had not said what it wants */
		end_peek(k->peeks);
	}
	hs_http_server_destroy(k->admin);
	k->admin = NULL;
}
