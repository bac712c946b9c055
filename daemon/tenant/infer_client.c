#include "daemon/tenant/infer_client.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "daemon/channel.h"

enum kind { EMBED, GENERATE, WIPE };

struct request {
	struct request *next;
	uint64_t id;
	enum kind kind;
	void *ctx;
	hs_infer_vectors_fn vectors;
	const struct hs_infer_events *events;
	void (*wiped)(void *ctx, int rc);
};

struct hs_infer_client {
	uv_loop_t *loop;
	char tenant[HS_MSG_NAME_MAX + 1];
	void (*changed)(void *ctx);
	void *ctx;
	struct hs_channel *channel;
	struct hs_infer_models models;
	struct request *requests;
	size_t n_requests;
	uint64_t next_id;
};

static struct request **find(struct hs_infer_client *c, uint64_t id)
{
	struct request **at = &c->requests;
	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

static struct request *unlink_request(struct hs_infer_client *c, struct request **at)
{
	struct request *r = *at;
	*at = r->next;
	c->n_requests--;
	return r;
}

/* End a request that has been unlinked, with its one last callback. */
static void end_request(struct request *r, int rc, const struct hs_err *err)
{
	struct request copy = *r;
	free(r);
	switch (copy.kind) {
	case EMBED:
		copy.vectors(copy.ctx, rc, NULL, 0, 0, err);
		break;
	case GENERATE:
		copy.events->done(copy.ctx, rc, NULL, err);
		break;
	case WIPE:
		copy.wiped(copy.ctx, rc);
		break;
	}
}

static void lose_all(struct hs_infer_client *c)
{
	memset(&c->models, 0, sizeof c->models);
	while (c->requests) {
		struct hs_err err = HS_ERR_INIT;
		int rc = hs_fail(&err, ECONNRESET, "model.lost", HS_N_("The inference process was restarted. Ask again."), "%s", c->tenant);
		end_request(unlink_request(c, &c->requests), rc, &err);
	}
	if (c->changed)
		c->changed(c->ctx);
}

/* A wipe has cancelled whatever was asked before it, and infer says no more of that. */
static void end_before(struct hs_infer_client *c, uint64_t wipe)
{
	for (struct request **at = &c->requests; *at;) {
		struct hs_err err = HS_ERR_INIT;
		int rc = (*at)->kind == GENERATE
			     ? hs_fail(&err, ESTALE, "policy.changed", HS_N_("What may be read has changed meanwhile. Ask again."), "%s", c->tenant)
			     : hs_fail(&err, ECONNRESET, "model.lost", HS_N_("The inference process was restarted. Ask again."), "%s", c->tenant);
		if ((*at)->id < wipe) {
			end_request(unlink_request(c, at), rc, &err);
			at = &c->requests; /* whoever was told may have asked anew */
		} else {
			at = &(*at)->next;
		}
	}
	if (c->changed)
		c->changed(c->ctx); /* passages are asked for again */
}

static void on_gone(void *ctx, const struct hs_err *why)
{
	struct hs_infer_client *c = ctx;
	hs_channel_destroy(c->channel);
	c->channel = NULL;
	lose_all(c);
}

static void copy_slice(char *out, size_t cap, struct hs_slice s)
{
	size_t n = HS_MIN(s.len, cap - 1);
	memcpy(out, s.s, n);
	out[n] = '\0';
}

static int take_models(struct hs_infer_client *c, const struct hs_frame *f)
{
	struct hs_msg_models *m = malloc(sizeof *m);
	if (!m)
		return -ENOMEM;
	int rc = hs_get_models(f->payload, f->payload_len, m);
	if (rc == 0) {
		memset(&c->models, 0, sizeof c->models);
		c->models.connected = true;
		for (uint32_t i = 0; i < m->count; i++) {
			const struct hs_msg_model *one = &m->items[i];
			if (one->scores && !c->models.reranks) {
				c->models.reranks = true;
				c->models.rerank_rate = one->prefill_rate;
				copy_slice(c->models.reranker, sizeof c->models.reranker, one->id);
			} else if (one->encoder && !one->scores && !c->models.embeds && one->dimensions > 0 && one->dimensions <= 8192) {
				c->models.embeds = true;
				c->models.dimensions = one->dimensions;
				copy_slice(c->models.embedder, sizeof c->models.embedder, one->id);
				memcpy(c->models.embedder_hash, one->hash, sizeof one->hash);
			} else if (!one->encoder && !c->models.generates) {
				c->models.generates = true;
				c->models.prefill_rate = one->prefill_rate;
				copy_slice(c->models.generator, sizeof c->models.generator, one->id);
			}
		}
	}
	free(m);
	if (rc == 0 && c->changed)
		c->changed(c->ctx);
	return rc;
}

/* u32 count, u32 dimensions, floats: copied out, because the payload need not be aligned, and must be finite. */
static int take_vectors(struct request *r, const struct hs_frame *f)
{
	struct hs_wire w = hs_wire_over(f->payload, f->payload_len);
	uint32_t count = hs_wire_u32(&w), dimensions = hs_wire_u32(&w);
	if (w.failed || count > HS_MSG_EMBED_MAX || dimensions > 8192 || (uint64_t)count * dimensions * 4 != w.len - w.at)
		return -EPROTO;
	float *vectors = malloc((size_t)count * dimensions * sizeof *vectors + 1);
	if (!vectors)
		return -ENOMEM;
	for (size_t i = 0; i < (size_t)count * dimensions; i++) {
		vectors[i] = hs_wire_f32(&w);
		if (!isfinite(vectors[i])) {
			free(vectors);
			return -EPROTO;
		}
	}
	r->vectors(r->ctx, 0, vectors, count, dimensions, NULL);
	free(vectors);
	return 0;
}

static int take_error(struct request *r, const struct hs_frame *f)
{
	struct hs_msg_error msg;
	struct hs_err err = HS_ERR_INIT;
	int rc = hs_get_error(f->payload, f->payload_len, &msg);
	if (rc == 0)
		rc = hs_fail(&err, (int)msg.num, "", "", "%.*s", (int)msg.object.len, msg.object.s);
	copy_slice(err.code, sizeof err.code, msg.code);
	end_request(r, rc, &err);
	return 0;
}

/* A frame about a request. Frames of requests that were cancelled meanwhile are passed over. */
static int take_answer(struct hs_infer_client *c, const struct hs_frame *f)
{
	struct request **at = find(c, f->request), *r = *at;
	if (!r)
		return 0;
	if (f->type == HS_MSG_ERROR)
		return take_error(unlink_request(c, at), f);
	if (r->kind == EMBED && f->type == HS_MSG_VECTORS) {
		(void)unlink_request(c, at);
		int rc = take_vectors(r, f);
		if (rc < 0)
			end_request(r, rc, NULL);
		else
			free(r);
		return rc == -ENOMEM ? 0 : rc;
	}
	if (r->kind == GENERATE && f->type == HS_MSG_KEPT) {
		struct hs_msg_kept kept;
		int rc = hs_get_kept(f->payload, f->payload_len, &kept);
		if (rc == 0)
			r->events->kept(r->ctx, &kept);
		return rc;
	}
	if (r->kind == GENERATE && f->type == HS_MSG_TEXT) {
		r->events->text(r->ctx, (const char *)f->payload, f->payload_len);
		return 0;
	}
	if (r->kind == GENERATE && f->type == HS_MSG_DONE) {
		struct hs_msg_done done;
		int rc = hs_get_done(f->payload, f->payload_len, &done);
		(void)unlink_request(c, at);
		if (rc < 0) {
			end_request(r, rc, NULL);
			return rc;
		}
		r->events->done(r->ctx, 0, &done, NULL);
		free(r);
		return 0;
	}
	if (r->kind == WIPE && f->type == HS_MSG_WIPED) {
		uint64_t wipe = r->id;
		end_request(unlink_request(c, at), 0, NULL);
		end_before(c, wipe);
		return 0;
	}
	return -EPROTO;
}

static void on_frame(void *ctx, struct hs_frame *f)
{
	struct hs_infer_client *c = ctx;
	int rc = f->type == HS_MSG_MODELS_REPLY ? take_models(c, f) : take_answer(c, f);
	if (rc < 0 && c->channel) { /* a peer that breaks the protocol is not spoken to again: hishod brings a fresh one */
		hs_channel_destroy(c->channel);
		c->channel = NULL;
		lose_all(c);
	}
}

static const struct hs_channel_events events = {.frame = on_frame, .gone = on_gone};

int hs_infer_client_create(uv_loop_t *loop, const char *tenant_id, void (*changed)(void *ctx), void *ctx,
			   struct hs_infer_client **ret)
{
	struct hs_infer_client *c = calloc(1, sizeof *c);
	if (!c)
		return -ENOMEM;
	c->loop = loop;
	(void)snprintf(c->tenant, sizeof c->tenant, "%s", tenant_id); /* ids fit */
	c->changed = changed;
	c->ctx = ctx;
	c->next_id = 1;
	*ret = c;
	return 0;
}

void hs_infer_client_destroy(struct hs_infer_client *c)
{
	if (!c)
		return;
	c->changed = NULL;
	hs_channel_destroy(c->channel);
	c->channel = NULL;
	lose_all(c);
	free(c);
}

int hs_infer_client_attach(struct hs_infer_client *c, int fd)
{
	if (c->channel) {
		hs_channel_destroy(c->channel);
		c->channel = NULL;
		lose_all(c);
	}
	const struct hs_channel_options o = {HS_PROCESS_TENANT, HS_PROCESS_INFER, c->tenant};
	int rc = hs_channel_create(c->loop, fd, &o, &events, c, &c->channel);
	return rc < 0 ? rc : hs_channel_send(c->channel, HS_MSG_MODELS, 0, 0, NULL, 0);
}

const struct hs_infer_models *hs_infer_client_models(const struct hs_infer_client *c)
{
	return &c->models;
}

/* Send a request and remember it; the payload is wiped. */
static int ask(struct hs_infer_client *c, enum hs_msg type, int64_t deadline, struct hs_buf *payload, const struct request *as,
	       uint64_t *ret_request)
{
	if (!c->channel)
		return -ENOTCONN;
	if (c->n_requests >= HS_INFER_WAITING_MAX)
		return -EBUSY;
	struct request *r = malloc(sizeof *r);
	if (!r)
		return -ENOMEM;
	*r = *as;
	r->id = c->next_id++;
	int rc = hs_channel_send(c->channel, type, r->id, deadline, payload->data, payload->len);
	if (rc < 0) {
		free(r);
		return rc;
	}
	r->next = c->requests;
	c->requests = r;
	c->n_requests++;
	if (ret_request)
		*ret_request = r->id;
	return 0;
}

int hs_infer_embed(struct hs_infer_client *c, const struct hs_msg_embed *what, int64_t deadline, hs_infer_vectors_fn done,
		   void *ctx, uint64_t *ret_request)
{
	HS_CLEANUP(hs_buf_wipe) struct hs_buf b = {.limit = HS_MSG_TEXT_MAX};
	int rc = hs_put_embed(&b, what);
	const struct request r = {.kind = EMBED, .ctx = ctx, .vectors = done};
	return rc < 0 ? rc : ask(c, HS_MSG_EMBED, deadline, &b, &r, ret_request);
}

int hs_infer_rerank(struct hs_infer_client *c, const struct hs_msg_rerank *what, int64_t deadline, hs_infer_vectors_fn done,
		    void *ctx, uint64_t *ret_request)
{
	HS_CLEANUP(hs_buf_wipe) struct hs_buf b = {.limit = HS_MSG_TEXT_MAX};
	int rc = hs_put_rerank(&b, what);
	const struct request r = {.kind = EMBED, .ctx = ctx, .vectors = done};
	return rc < 0 ? rc : ask(c, HS_MSG_RERANK, deadline, &b, &r, ret_request);
}

int hs_infer_generate(struct hs_infer_client *c, const struct hs_msg_generate *what, int64_t deadline,
		      const struct hs_infer_events *handlers, void *ctx, uint64_t *ret_request)
{
	HS_CLEANUP(hs_buf_wipe) struct hs_buf b = {.limit = HS_MSG_TEXT_MAX};
	int rc = hs_put_generate(&b, what);
	const struct request r = {.kind = GENERATE, .ctx = ctx, .events = handlers};
	return rc < 0 ? rc : ask(c, HS_MSG_GENERATE, deadline, &b, &r, ret_request);
}

int hs_infer_go(struct hs_infer_client *c, uint64_t request)
{
	return c->channel ? hs_channel_send(c->channel, HS_MSG_GO, request, 0, NULL, 0) : -ENOTCONN;
}

void hs_infer_cancel(struct hs_infer_client *c, uint64_t request)
{
	struct request **at = find(c, request);
	if (!*at)
		return;
	free(unlink_request(c, at));
	if (c->channel && hs_channel_send(c->channel, HS_MSG_CANCEL, request, 0, NULL, 0) < 0) {
		hs_channel_destroy(c->channel); /* a peer that cannot be told to stop is cut off */
		c->channel = NULL;
		lose_all(c);
	}
}

int hs_infer_wipe(struct hs_infer_client *c, void (*done)(void *ctx, int rc), void *ctx)
{
	struct hs_buf nothing = HS_BUF_INIT;
	const struct request r = {.kind = WIPE, .ctx = ctx, .wiped = done};
	return ask(c, HS_MSG_WIPE, 0, &nothing, &r, NULL);
}
