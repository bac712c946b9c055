#include "daemon/tenant/serve.h"

#include <string.h>

#include "base/translate.h"
#include "crypto/token.h"

struct serving {
	struct hs_exchange *x;
	struct hs_responder *responder;
	struct hs_tenant *tenant;
	size_t body_max, counted; /* counted: bytes that stand in the tenant's sum, of uploads or of other bodies */
	bool upload;              /* its bytes are counted before they come */
	bool entering; /* inside request(): it tells the transport by its return value whether the state lives */
	bool over;
};

static void begin(void *ctx, unsigned status, const char *content_type, const char *set_cookie, unsigned retry_s, bool stream)
{
	struct serving *s = ctx;
	char retry[16];
	struct hs_msg_http_response head = {.status = (uint16_t)status, .stream = stream};
	head.headers[head.n_headers++] = (struct hs_msg_header){hs_slice_str("content-type"), hs_slice_str(content_type)};
	head.headers[head.n_headers++] = (struct hs_msg_header){hs_slice_str("cache-control"), hs_slice_str("no-store")};
	if (set_cookie)
		head.headers[head.n_headers++] = (struct hs_msg_header){hs_slice_str("set-cookie"), hs_slice_str(set_cookie)};
	if (retry_s || status == 429) {
		(void)snprintf(retry, sizeof retry, "%u", retry_s); /* fits */
		head.headers[head.n_headers++] =
		    (struct hs_msg_header){hs_slice_str("retry-after"), hs_slice_str(retry_s ? retry : HS_RETRY_AFTER_S)};
	}
	(void)hs_responder_begin(s->responder, &head); /* a failure is told by gone() */
}

static void content(void *ctx, const void *data, size_t len, bool last)
{
	struct serving *s = ctx;
	(void)hs_responder_content(s->responder, data, len, last); /* a failure is told by gone() */
}

static void release(void *ctx)
{
	struct serving *s = ctx;
	s->over = true;
	*(s->upload ? &s->tenant->upload_bytes : &s->tenant->body_bytes) -= s->counted;
	s->tenant->uploads -= s->upload;
	if (!s->entering)
		free(s);
}

static const struct hs_transport transport = {begin, content, release};

static const char *keep(struct hs_exchange *x, struct hs_slice v)
{
	return hs_arena_strndup(x->arena, v.s, v.len);
}

/* "/t/<our name>/v1/..." and "/v1/..." are the same to us: who routed it here has read the name. */
static struct hs_slice without_tenant(const struct hs_tenant *t, struct hs_slice path)
{
	size_t n = strlen(t->name);
	if (path.len > 3 + n && memcmp(path.s, "/t/", 3) == 0 && memcmp(path.s + 3, t->name, n) == 0 && path.s[3 + n] == '/')
		return (struct hs_slice){path.s + 3 + n, path.len - 3 - n};
	return path;
}

static bool fill(struct hs_exchange *x, const struct hs_request *q)
{
	const struct hs_msg_http_request *h = &q->head;
	x->method = keep(x, h->method);
	x->path = keep(x, without_tenant(x->tenant, h->path));
	x->query = keep(x, h->query);
	x->content_type = keep(x, h->content_type);
	x->peer = keep(x, h->peer);
	x->japanese = hs_wants_japanese(h->accept_language.s, h->accept_language.len);
	x->local = q->local;
	x->uid = q->uid;
	x->cookie = h->cookie;
	x->same_origin = h->same_origin;
	if (h->credential.len > 0) {
		/* What does not parse is a credential too: of nobody. The gate refuses it like any other. */
		x->has_credential = true;
		if (!hs_tenant_credential_parse(x->tenant, h->credential.s, h->credential.len, &x->credential))
			x->credential = (struct hs_credential){.kind = HS_CREDENTIAL_NONE};
	}
	return x->method && x->path && x->query && x->content_type && x->peer;
}

static void refuse_as_busy(struct hs_exchange *x)
{
	hs_exchange_answer(x, hs_fail(&x->err, EBUSY, "request.busy", HS_N_("The service is busy. Try again shortly."), "%s", x->path));
}

/* Whom the gate would refuse for want of any credential is refused before the body comes: nobody fills memory unnamed. */
static bool must_name_itself(const struct hs_exchange *x)
{
	return !x->has_credential && x->route->gate != HS_GATE_OPEN && !(x->local && x->route->gate == HS_GATE_LOCAL);
}

/* length: of the body, as promised, or the most that it may be. */
static void await_body(struct serving *s, size_t length)
{
	struct hs_exchange *x = s->x;
	if (must_name_itself(x)) {
		hs_exchange_answer(x, hs_fail(&x->err, EACCES, "auth.missing",
					      HS_N_("Sign in, or send a token as Authorization: Bearer."), "%s", x->path));
	} else if (s->body_max > HS_EXCHANGE_BODY_MAX) {
		if (s->tenant->uploads >= HS_TENANT_UPLOADS_MAX || length > HS_TENANT_UPLOAD_BYTES_MAX - s->tenant->upload_bytes) {
			refuse_as_busy(x);
			return;
		}
		s->tenant->uploads++;
		s->tenant->upload_bytes += length;
		s->upload = true;
		s->counted = length;
	}
}

static void *request(void *ctx, const struct hs_request *q, struct hs_responder *r)
{
	struct hs_err err = HS_ERR_INIT;
	struct serving *s = calloc(1, sizeof *s);
	if (s)
		s->tenant = ctx;
	if (s)
		s->x = hs_exchange_create(ctx, &transport, s);
	if (!s || !s->x) {
		free(s);
		(void)hs_fail(&err, ENOMEM, "service.memory", HS_N_("The service is out of memory. Try again shortly."), "request");
		hs_responder_refuse(r, 503, &err);
		return NULL;
	}
	struct hs_exchange *x = s->x;
	s->responder = r;
	s->entering = true;
	if (!fill(x, q)) {
		hs_exchange_answer(x, -ENOMEM);
	} else if (hs_exchange_route(x) < 0) {
		hs_exchange_answer(x, -x->err.num);
	} else {
		s->body_max = x->route->body_max ? x->route->body_max : HS_EXCHANGE_BODY_MAX;
		x->body.limit = s->body_max;
		if (q->head.has_body && q->head.content_length != UINT64_MAX && q->head.content_length > s->body_max) {
			(void)hs_fail(&x->err, EFBIG, "request.too_large", HS_N_("The body is larger than this address takes."), "%zu bytes",
				      s->body_max);
			hs_exchange_answer(x, -EFBIG);
		} else if (!q->head.has_body) {
			hs_exchange_dispatch(x);
		} else {
			await_body(s, (size_t)HS_MIN(q->head.content_length, (uint64_t)s->body_max));
		}
	}
	s->entering = false;
	if (s->over) {
		free(s);
		return NULL;
	}
	return s;
}

static void body(void *state, const void *data, size_t len, bool last)
{
	struct serving *s = state;
	struct hs_exchange *x = s->x;
	if (!s->upload && len > HS_TENANT_BODY_BYTES_MAX - s->tenant->body_bytes) {
		refuse_as_busy(x);
		return;
	}
	if (!s->upload) {
		s->counted += len;
		s->tenant->body_bytes += len;
	}
	if (hs_buf_append(&x->body, data, len) < 0) {
		(void)hs_fail(&x->err, EFBIG, "request.too_large", HS_N_("The body is larger than this address takes."), "%zu bytes",
			      s->body_max);
		hs_exchange_answer(x, -EFBIG);
		return;
	}
	if (last)
		hs_exchange_dispatch(x);
	else
		hs_responder_credit(s->responder, len);
}

static void gone(void *state)
{
	struct serving *s = state;
	hs_exchange_gone(s->x);
}

const struct hs_service hs_tenant_service = {.request = request, .body = body, .gone = gone};
