#include "daemon/web/web.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "daemon/child.h"

struct hs_web_tenant {
	struct hs_web_tenant *next;
	struct hs_web *web;
	struct hs_id id;
	char name[HS_TENANT_NAME_MAX + 1];
	char tag[HS_TOKEN_TAG_LEN + 1];
	struct hs_channel *channel; /* NULL while its process is being restarted */
	struct hs_forward_client *forward;
};

/* --- tenants --- */

static void detach(struct hs_web_tenant *t)
{
	struct hs_forward_client *forward = t->forward;
	struct hs_channel *channel = t->channel;
	t->forward = NULL;
	t->channel = NULL;
	hs_channel_destroy(channel); /* first: what ends badly below must not be forwarded again */
	hs_forward_client_destroy(forward);
}

static void on_gone(void *ctx, const struct hs_err *why)
{
	detach(ctx);
}

static void on_frame(void *ctx, struct hs_frame *f)
{
	struct hs_web_tenant *t = ctx;
	if (hs_forward_client_frame(t->forward, f) < 0) {
		hs_log("tenant %s broke the protocol: its channel is closed", t->id.s);
		detach(t);
	}
}

static struct hs_web_tenant *find_id(struct hs_web *w, const char *id)
{
	struct hs_web_tenant *t = w->tenants;
	while (t && strncmp(t->id.s, id, HS_ID_LEN) != 0)
		t = t->next;
	return t;
}

static void forget(struct hs_web *w, struct hs_web_tenant *t)
{
	struct hs_web_tenant **at = &w->tenants;
	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	detach(t);
	free(t);
}

static struct hs_web_tenant *learn(struct hs_web *w, const char *name)
{
	struct hs_web_tenant *t = calloc(1, sizeof *t);
	if (!t)
		return NULL;
	t->web = w;
	memcpy(t->id.s, name, HS_ID_LEN);
	memcpy(t->name, name + HS_ID_LEN + 1, strlen(name + HS_ID_LEN + 1) + 1);
	hs_token_tag(&t->id, t->tag);
	t->next = w->tenants;
	w->tenants = t;
	return t;
}

void hs_web_tenant(struct hs_web *w, const char *name, int fd)
{
	static const struct hs_channel_events events = {.frame = on_frame, .gone = on_gone};
	static const struct hs_channel_options options = {HS_PROCESS_WEB, HS_PROCESS_TENANT, ""};
	size_t n = strlen(name);
	bool named = n > HS_ID_LEN + 1 && n <= HS_ID_LEN + 1 + HS_TENANT_NAME_MAX && name[HS_ID_LEN] == '/' &&
		     hs_id_valid(name, HS_ID_LEN, "ten_");
	struct hs_web_tenant *t = named ? find_id(w, name) : NULL;
	if (t && fd < 0)
		forget(w, t);
	if (!named || fd < 0) {
		if (fd >= 0)
			(void)close(fd); /* for nobody */
		return;
	}
	if (!t)
		t = learn(w, name);
	if (!t) {
		(void)close(fd); /* as above */
		return;
	}
	detach(t);
	int rc = hs_channel_create(w->loop, fd, &options, &events, t, &t->channel);
	if (rc == 0)
		rc = hs_forward_client_create(t->channel, &t->forward);
	if (rc < 0) {
		hs_log("no channel to tenant %s: %s", t->id.s, strerror(-rc));
		detach(t);
	}
}

size_t hs_web_open_requests(const struct hs_web *w)
{
	size_t n = 0;
	for (const struct hs_web_tenant *t = w->tenants; t; t = t->next)
		n += t->forward ? hs_forward_client_open(t->forward) : 0;
	return n;
}

void hs_web_finish(struct hs_web *w)
{
	while (w->tenants)
		forget(w, w->tenants);
	for (size_t i = 0; i < HS_WEB_FILES; i++)
		hs_buf_finish(&w->files[i]);
}

/* --- routes --- */

const char *const hs_web_file_names[HS_WEB_FILES] = {"index.html", "style.css", "words.js", "view.js", "app.js", "icon.svg"};

static void serve_file(const struct hs_web *w, size_t which, struct hs_responder *r)
{
	static const char *const types[HS_WEB_FILES] = {"text/html; charset=utf-8", "text/css; charset=utf-8",
							"text/javascript; charset=utf-8", "text/javascript; charset=utf-8",
							"text/javascript; charset=utf-8", "image/svg+xml"};
	const struct hs_msg_http_response head = {.status = 200, .n_headers = 2,
						  .headers = {{hs_slice_str("Content-Type"), hs_slice_str(types[which])},
							      {hs_slice_str("Cache-Control"), hs_slice_str("no-cache")}}};
	(void)hs_responder_begin(r, &head); /* daemon/api.h says why, here and below */
	(void)hs_responder_content(r, w->files[which].data, w->files[which].len, true);
}

/* The one answer to whoever is not let in: in the very words of a tenant's own gate (policy/gate.c). */
static void refuse_credential(struct hs_responder *r)
{
	struct hs_err err = HS_ERR_INIT;
	(void)hs_fail(&err, EACCES, "auth.refused", HS_N_("Sign in again, or use a token that is valid."), "credential");
	hs_responder_refuse(r, 401, &err);
}

static void refuse(struct hs_responder *r, unsigned status, int num, const char *code, const char *hint, struct hs_slice object)
{
	struct hs_err err = HS_ERR_INIT;
	(void)hs_fail(&err, num, code, hint, "%.*s", (int)object.len, object.s);
	hs_responder_refuse(r, status, &err);
}

static bool starts(struct hs_slice v, const char *s)
{
	return v.len >= strlen(s) && memcmp(v.s, s, strlen(s)) == 0;
}

/* "/t/<name>" and what follows it; false where the path is another. */
static bool split_tenant(struct hs_slice path, struct hs_slice *ret_name, struct hs_slice *ret_rest)
{
	if (!starts(path, "/t/"))
		return false;
	const char *name = path.s + 3, *end = memchr(name, '/', path.len - 3);
	size_t n = end ? (size_t)(end - name) : path.len - 3;
	*ret_name = (struct hs_slice){name, n};
	*ret_rest = (struct hs_slice){name + n, path.len - 3 - n};
	return n > 0 && n <= HS_TENANT_NAME_MAX;
}

static bool is_sign_in(const struct hs_msg_http_request *q, struct hs_slice rest)
{
	return hs_slice_is(q->method, "POST") && hs_slice_is(rest, "/v1/session");
}

static bool too_often(struct hs_web *w, struct hs_slice peer)
{
	uint32_t h = 2166136261u; /* FNV-1a */
	for (size_t i = 0; i < peer.len; i++)
		h = (h ^ (uint8_t)peer.s[i]) * 16777619u;
	struct hs_web_bucket *b = &w->buckets[h % HS_WEB_ADDRESSES];
	uint64_t now = hs_monotonic_ms();
	if (b->since == 0 || now - b->since >= 60000)
		*b = (struct hs_web_bucket){.since = now};
	return ++b->count > HS_WEB_SIGN_INS_A_MINUTE;
}

/* --- forwarding --- */

/*
 * A forwarded request. What refuses a sign-in is replaced by the one answer, so that a tenant that is there, one that is sealed
 * and one that never was cannot be told apart from outside.
 */
struct passing {
	struct hs_responder inner; /* what the tenant's answer comes through */
	struct hs_responder *outer;
	void *state; /* of the forward */
	bool sign_in, replaced;
};

static int pass_begin(struct hs_responder *r, const struct hs_msg_http_response *head)
{
	struct passing *p = HS_CONTAINER_OF(r, struct passing, inner);
	p->replaced = p->sign_in && head->status >= 400 && head->status < 500 && head->status != 429;
	return p->replaced ? 0 : hs_responder_begin(p->outer, head);
}

static int pass_content(struct hs_responder *r, const void *data, size_t len, bool last)
{
	struct passing *p = HS_CONTAINER_OF(r, struct passing, inner);
	struct hs_responder *outer = p->outer;
	bool replaced = p->replaced;
	if (last)
		free(p);
	if (!replaced)
		return hs_responder_content(outer, data, len, last);
	if (last)
		refuse_credential(outer);
	return 0;
}

static void pass_credit(struct hs_responder *r, size_t bytes)
{
	hs_responder_credit(HS_CONTAINER_OF(r, struct passing, inner)->outer, bytes);
}

static size_t pass_queued(const struct hs_responder *r)
{
	return hs_responder_queued(HS_CONTAINER_OF((struct hs_responder *)r, struct passing, inner)->outer);
}

static void pass_abort(struct hs_responder *r)
{
	struct passing *p = HS_CONTAINER_OF(r, struct passing, inner);
	struct hs_responder *outer = p->outer;
	free(p);
	hs_responder_abort(outer);
}

static const struct hs_responder_ops pass_ops = {pass_begin, pass_content, pass_credit, pass_queued, pass_abort};

static void body(void *state, const void *data, size_t len, bool last)
{
	struct passing *p = state;
	hs_forward_service.body(p->state, data, len, last);
}

static void writable(void *state)
{
	struct passing *p = state;
	hs_forward_service.writable(p->state);
}

static void gone(void *state)
{
	struct passing *p = state;
	hs_forward_service.gone(p->state);
	free(p);
}

static struct hs_web_tenant *find_name(struct hs_web *w, struct hs_slice name)
{
	struct hs_web_tenant *t = w->tenants;
	while (t && !hs_slice_is(name, t->name))
		t = t->next;
	return t;
}

/* The tenant of the credential's tag: of this name, where the path says one. */
static struct hs_web_tenant *find_tag(struct hs_web *w, struct hs_slice credential, struct hs_slice name)
{
	char tag[HS_TOKEN_TAG_MAX + 1];
	if (!hs_token_peek(credential.s, credential.len, tag))
		return NULL;
	struct hs_web_tenant *t = w->tenants;
	while (t && strcmp(tag, t->tag) != 0)
		t = t->next;
	return t && (name.len == 0 || hs_slice_is(name, t->name)) ? t : NULL;
}

static void *forward(struct hs_web *w, const struct hs_request *q, struct hs_slice name, struct hs_slice rest,
		     struct hs_responder *r)
{
	const struct hs_slice credential = q->head.credential;
	bool sign_in = is_sign_in(&q->head, rest);
	if (sign_in && too_often(w, q->head.peer)) {
		refuse(r, 429, EBUSY, "auth.too_often", HS_N_("Too many tries to sign in. Wait a minute."), q->head.peer);
		return NULL;
	}
	if (credential.len == 0 && !(sign_in && name.len)) { /* said before it is looked whether there is such a tenant */
		refuse(r, 401, EACCES, "auth.missing", HS_N_("Sign in, or send a token as Authorization: Bearer."), rest);
		return NULL;
	}
	struct hs_web_tenant *t = sign_in && name.len ? find_name(w, name) : find_tag(w, credential, name);
	if (!t) {
		refuse_credential(r);
		return NULL;
	}
	struct passing *p = t->forward ? calloc(1, sizeof *p) : NULL;
	if (!p) {
		refuse(r, 503, EAGAIN, "tenant.lost", HS_N_("The answering process stopped. It is being restarted: ask again."),
		       hs_slice_str("request"));
		return NULL;
	}
	*p = (struct passing){.inner = {&pass_ops}, .outer = r, .sign_in = sign_in};
	struct hs_request inner = *q;
	inner.head.path = rest;
	void *state = hs_forward_request(t->forward, &inner, &p->inner);
	if (!state)
		return NULL; /* answered, and p is gone with the answer */
	p->state = state;
	return p;
}

static void *request(void *ctx, const struct hs_request *q, struct hs_responder *r)
{
	struct hs_web *w = ctx;
	const struct hs_slice path = q->head.path;
	struct hs_slice name = {0}, rest = path;
	bool of_tenant = split_tenant(path, &name, &rest);
	if (starts(rest, "/v1/") && (of_tenant || !starts(path, "/t/")))
		return forward(w, q, name, rest, r);
	if (!hs_slice_is(q->head.method, "GET") && !hs_slice_is(q->head.method, "HEAD")) {
		refuse(r, 405, ENOTSUP, "request.method", HS_N_("This address does not answer that method."), q->head.method);
		return NULL;
	}
	if (hs_slice_is(path, "/healthz")) {
		hs_responder_answer(r, 200, "text/plain", "ok\n", 3);
		return NULL;
	}
	if (hs_slice_is(path, "/") || (of_tenant && (rest.len == 0 || hs_slice_is(rest, "/")))) {
		serve_file(w, 0, r); /* whether there is such a tenant or not */
		return NULL;
	}
	for (size_t i = 1; i < HS_WEB_FILES; i++) {
		if (starts(path, "/") && hs_slice_is((struct hs_slice){path.s + 1, path.len - 1}, hs_web_file_names[i])) {
			serve_file(w, i, r);
			return NULL;
		}
	}
	refuse(r, 404, ENOENT, "request.route", HS_N_("There is nothing at this address."), path);
	return NULL;
}

const struct hs_service hs_web_service = {request, body, writable, gone};
