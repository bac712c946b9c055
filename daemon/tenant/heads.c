#include "daemon/tenant/heads.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "daemon/child.h"
#include "policy/head.h"

enum state { IDLE, READING, ASKING, WRITING };

struct hs_heads {
	struct hs_tenant *tenant;
	struct hs_channel *keyd;
	enum state state;
	bool again; /* asked for while it worked */
	uv_timer_t timer, deadline;
	uv_async_t many; /* HS_HEADS_RECORDS were appended */
	unsigned open_handles;
	uint64_t counted; /* under the log's lock: the sequence that these are counted from */

	/* the head in work */
	struct hs_job job;
	struct hs_audit_head head;
	uint64_t request;
	struct hs_buf note;
	int rc;

	void (*finished)(void *ctx);
	void *ctx;
};

static void begin(struct hs_heads *h);

/* Told from a turn of the loop of its own: the caller may be a worker that `finished` is about to end. */
static void on_deadline(uv_timer_t *timer)
{
	struct hs_heads *h = timer->data;
	void (*finished)(void *) = h->finished;
	h->finished = NULL;
	if (finished)
		finished(h->ctx);
}

static void rest(struct hs_heads *h)
{
	h->state = IDLE;
	if (h->again) {
		h->again = false;
		begin(h);
	} else if (h->finished) {
		(void)uv_timer_start(&h->deadline, on_deadline, 0, 0); /* cannot fail with a callback */
	}
}

static void push(struct hs_heads *h, enum state state, void (*run)(struct hs_job *, void *), void (*done)(struct hs_job *))
{
	h->state = state;
	h->job = (struct hs_job){.run = run, .done = done};
	if (hs_worker_push(h->tenant->recorder, &h->job) < 0)
		rest(h); /* a full or ending recorder: the next time comes */
}

/* --- reading: where does the log end? --- */

static void read_head(struct hs_job *job, void *context)
{
	struct hs_heads *h = HS_CONTAINER_OF(job, struct hs_heads, job);
	hs_audit_lock(h->tenant->audit);
	hs_audit_head(h->tenant->audit, &h->head);
	h->counted = h->head.seq;
	hs_audit_unlock(h->tenant->audit);
}

static void ask(struct hs_job *job)
{
	struct hs_heads *h = HS_CONTAINER_OF(job, struct hs_heads, job);
	struct hs_msg_head msg = {.seq = h->head.seq, .time = h->head.time};
	HS_BUF_AUTO b = HS_BUF_INIT;
	if (!h->keyd || h->head.seq == 0 || h->head.seq == h->tenant->signed_head.seq) {
		rest(h);
		return;
	}
	memcpy(msg.chain, h->head.chain, sizeof msg.chain);
	h->state = ASKING;
	h->request++;
	if (hs_put_head(&b, &msg) < 0 || hs_channel_send(h->keyd, HS_MSG_HEAD_SIGN, h->request, 0, b.data, b.len) < 0)
		rest(h);
}

/* --- writing the note beside the log --- */

static void write_note(struct hs_job *job, void *context)
{
	struct hs_heads *h = HS_CONTAINER_OF(job, struct hs_heads, job);
	h->rc = hs_file_replace(h->tenant->dir, HS_TENANT_HEAD, h->note.data, h->note.len, 0600);
}

static void written(struct hs_job *job)
{
	struct hs_heads *h = HS_CONTAINER_OF(job, struct hs_heads, job);
	if (h->rc < 0)
		hs_log("the signed head could not be written beside the audit log: %s", strerror(-h->rc));
	else
		h->tenant->signed_head = h->head;
	rest(h);
}

/* What keyd says is verified like any note: nothing lies beside the log that would not open it. */
static int take_signature(struct hs_heads *h, const struct hs_frame *f, struct hs_err *err)
{
	const struct hs_tenant *t = h->tenant;
	struct hs_audit_head head;
	if (f->payload_len != HS_HEAD_PUBLIC_LEN + HS_AUDIT_SIGNATURE_LEN)
		return hs_fail(err, EPROTO, "audit.head", "", "%s", t->id.s);
	h->note.len = 0;
	int rc = hs_head_note(t->id.s, &h->head, t->signer, f->payload + HS_HEAD_PUBLIC_LEN, &h->note);
	return rc < 0 ? rc : hs_head_open(h->note.data, h->note.len, t->id.s, t->signer, &head, err);
}

void hs_heads_frame(struct hs_heads *h, const struct hs_frame *f)
{
	struct hs_err err = HS_ERR_INIT;
	struct hs_msg_error told;
	if (h->state != ASKING || f->request != h->request)
		return; /* the answer to what was given up */
	if (f->type == HS_MSG_HEAD_SIGNED && take_signature(h, f, &err) == 0) {
		push(h, WRITING, write_note, written);
		return;
	}
	if (f->type == HS_MSG_ERROR && hs_get_error(f->payload, f->payload_len, &told) == 0)
		(void)hs_fail(&err, EREMOTEIO, "audit.head", "", "%.*s", (int)told.code.len, told.code.s);
	hs_log("the head of the audit log was not signed: %s %s", err.code, err.object);
	rest(h);
}

void hs_heads_attach(struct hs_heads *h, struct hs_channel *keyd)
{
	h->keyd = keyd;
	if (h->state == ASKING)
		rest(h);
}

/* --- when --- */

static void begin(struct hs_heads *h)
{
	if (h->state != IDLE)
		h->again = true;
	else if (h->keyd)
		push(h, READING, read_head, ask);
	else
		rest(h);
}

static void on_timer(uv_timer_t *timer)
{
	begin(timer->data);
}

static void on_many(uv_async_t *handle)
{
	begin(handle->data);
}

void hs_heads_count(struct hs_heads *h, uint64_t seq)
{
	if (!h || seq - h->counted < HS_HEADS_RECORDS)
		return;
	h->counted = seq;
	(void)uv_async_send(&h->many); /* fails only on a closing handle */
}

void hs_heads_start(struct hs_heads *h)
{
	(void)uv_timer_start(&h->timer, on_timer, HS_HEADS_MS, HS_HEADS_MS); /* cannot fail with a callback */
	begin(h);
}

void hs_heads_finish(struct hs_heads *h, void (*finished)(void *ctx), void *ctx)
{
	h->finished = finished;
	h->ctx = ctx;
	(void)uv_timer_start(&h->deadline, on_deadline, HS_HEADS_FINISH_MS, 0); /* cannot fail with a callback */
	begin(h);
}

int hs_heads_create(struct hs_tenant *t, struct hs_heads **ret)
{
	struct hs_heads *h = calloc(1, sizeof *h);
	if (!h)
		return -ENOMEM;
	int rc = uv_async_init(t->loop, &h->many, on_many);
	if (rc < 0) {
		free(h);
		return rc;
	}
	(void)uv_timer_init(t->loop, &h->timer); /* neither can fail */
	(void)uv_timer_init(t->loop, &h->deadline);
	h->tenant = t;
	h->request = 1; /* which was the key's */
	h->many.data = h->timer.data = h->deadline.data = h;
	h->open_handles = 3;
	*ret = h;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct hs_heads *h = handle->data;
	if (--h->open_handles > 0)
		return;
	hs_buf_finish(&h->note);
	free(h);
}

void hs_heads_destroy(struct hs_heads *h)
{
	if (!h)
		return;
	h->finished = NULL;
	uv_close((uv_handle_t *)&h->many, on_closed);
	uv_close((uv_handle_t *)&h->timer, on_closed);
	uv_close((uv_handle_t *)&h->deadline, on_closed);
}
