#include "daemon/tenant/extract_client.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "daemon/channel.h"

struct extraction {
	struct extraction *next;
	struct hs_extract_client *client;
	enum hs_process by;
	uint64_t id;
	hs_extract_fn done;
	void *ctx;
	uv_pipe_t pipe;
	uv_timer_t timer;
	unsigned open_handles;
	struct hs_buf out;
	struct hs_err err;
	bool eof, reported; /* both are needed for a good end */
	bool ended;
	char chunk[65536];
};

struct link { /* one extractor's channel */
	struct hs_extract_client *client;
	enum hs_process which;
	struct hs_channel *channel;
};

struct hs_extract_client {
	uv_loop_t *loop;
	char tenant[HS_MSG_NAME_MAX + 1];
	struct link links[2];
	struct extraction *running;
	unsigned n_running;
	uint64_t next_id;
};

static void on_handle_closed(uv_handle_t *handle)
{
	struct extraction *e = handle->data;
	if (--e->open_handles > 0)
		return;
	hs_buf_wipe(&e->out);
	explicit_bzero(e->chunk, sizeof e->chunk);
	free(e);
}

/* The one end of an extraction: tell it, then close what it holds. */
static void end_extraction(struct extraction *e, int rc)
{
	if (e->ended)
		return;
	e->ended = true;
	struct extraction **at = &e->client->running;
	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	e->client->n_running--;
	uv_close((uv_handle_t *)&e->pipe, on_handle_closed);
	uv_close((uv_handle_t *)&e->timer, on_handle_closed);
	e->done(e->ctx, rc, &e->out, &e->err);
}

static void try_end(struct extraction *e)
{
	if (e->err.num && e->reported)
		end_extraction(e, -e->err.num);
	else if (e->eof && e->reported)
		end_extraction(e, 0);
}

static void give_chunk(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct extraction *e = handle->data;
	*buf = uv_buf_init(e->chunk, sizeof e->chunk);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct extraction *e = stream->data;
	if (n > 0 && hs_buf_append(&e->out, buf->base, (size_t)n) < 0) {
		int rc = hs_fail(&e->err, EFBIG, "doc.too_large",
				 HS_N_("The document holds more text than is taken in. Split it."), "%zu bytes", e->out.len);
		end_extraction(e, rc);
	} else if (n < 0) {
		(void)uv_read_stop(stream); /* cannot fail */
		e->eof = true;
		try_end(e);
	}
}

static void on_timeout(uv_timer_t *timer)
{
	struct extraction *e = timer->data;
	struct link *l = &e->client->links[e->by == HS_PROCESS_EXTRACT_PDF];
	if (l->channel)
		hs_ignore(hs_channel_send(l->channel, HS_MSG_CANCEL, e->id, 0, NULL, 0)); /* the extractor has limits of its own */
	end_extraction(e, hs_fail(&e->err, ETIMEDOUT, "doc.extractor_timeout",
				  HS_N_("Reading the document took too long. Split it, or convert it to another format."), "%d s",
				  HS_EXTRACT_TIMEOUT_MS / 1000));
}

static void on_frame(void *ctx, struct hs_frame *f)
{
	struct link *l = ctx;
	struct extraction *e = l->client->running;
	while (e && !(e->id == f->request && e->by == l->which))
		e = e->next;
	if (!e)
		return; /* it ended meanwhile */
	e->reported = true;
	if (f->type == HS_MSG_ERROR) {
		struct hs_msg_error msg;
		if (hs_get_error(f->payload, f->payload_len, &msg) == 0) {
			(void)hs_fail(&e->err, (int)msg.num, "", "", "%.*s", (int)msg.object.len, msg.object.s);
			(void)snprintf(e->err.code, sizeof e->err.code, "%.*s", (int)msg.code.len, msg.code.s);
			e->err.hint = ""; /* the code has its own text where it is shown */
		} else {
			(void)hs_fail(&e->err, EPROTO, "doc.extractor_crashed", "", "message");
		}
	} else if (f->type != HS_MSG_EXTRACT_DONE) {
		(void)hs_fail(&e->err, EPROTO, "doc.extractor_crashed", "", "type %u", f->type);
	}
	try_end(e);
}

static void lose_channel(struct link *l)
{
	hs_channel_destroy(l->channel);
	l->channel = NULL;
	for (struct extraction *e = l->client->running, *next; e; e = next) {
		next = e->next;
		if (e->by == l->which)
			end_extraction(e, hs_fail(&e->err, ECONNRESET, "extract.away",
						  HS_N_("The program that reads documents was restarted. The document is read again."), "%s",
						  l->client->tenant));
	}
}

static void on_gone(void *ctx, const struct hs_err *why)
{
	lose_channel(ctx);
}

static const struct hs_channel_events events = {.frame = on_frame, .gone = on_gone};

int hs_extract_client_create(uv_loop_t *loop, const char *tenant_id, struct hs_extract_client **ret)
{
	struct hs_extract_client *c = calloc(1, sizeof *c);
	if (!c)
		return -ENOMEM;
	c->loop = loop;
	(void)snprintf(c->tenant, sizeof c->tenant, "%s", tenant_id); /* ids fit */
	c->links[0] = (struct link){c, HS_PROCESS_EXTRACT, NULL};
	c->links[1] = (struct link){c, HS_PROCESS_EXTRACT_PDF, NULL};
	c->next_id = 1;
	*ret = c;
	return 0;
}

void hs_extract_client_destroy(struct hs_extract_client *c)
{
	if (!c)
		return;
	lose_channel(&c->links[0]);
	lose_channel(&c->links[1]);
	free(c);
}

int hs_extract_client_attach(struct hs_extract_client *c, enum hs_process which, int fd)
{
	struct link *l = &c->links[which == HS_PROCESS_EXTRACT_PDF];
	lose_channel(l);
	const struct hs_channel_options o = {HS_PROCESS_TENANT, which, c->tenant};
	return hs_channel_create(c->loop, fd, &o, &events, l, &l->channel);
}

bool hs_extract_client_busy(const struct hs_extract_client *c)
{
	return c->n_running >= HS_EXTRACT_RUNNING_MAX;
}

/* The header of a PDF may stand anywhere in the first 1,024 bytes (ISO 32000-1, annex H.3.4.1). */
static bool looks_like_pdf(const uint8_t *data, size_t len)
{
	return memmem(data, HS_MIN(len, (size_t)1024), "%PDF-", 5) != NULL;
}

/* A memory file that can neither change nor shrink any more: the extractor may map it. */
static int sealed_memory(const void *data, size_t len, int *ret_fd)
{
	HS_FD_AUTO fd = memfd_create("hisho-document", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	int rc = hs_fd_write_all(fd, data, len);
	if (rc == 0 &&
	    (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0 || lseek(fd, 0, SEEK_SET) < 0))
		rc = -errno;
	if (rc < 0)
		return rc;
	*ret_fd = fd;
	fd = -1;
	return 0;
}

/* The host's doing: whoever asked asks again when the program is back. */
static int away(const struct hs_extract_client *c, struct hs_err *err)
{
	return hs_fail(err, ENOTCONN, "extract.away",
		       HS_N_("The program that reads documents was restarted. The document is read again."), "%s", c->tenant);
}

int hs_extract(struct hs_extract_client *c, const void *data, size_t len, struct hs_slice name, struct hs_slice media,
	       hs_extract_fn done, void *ctx, struct hs_err *err)
{
	enum hs_process by = looks_like_pdf(data, len) ? HS_PROCESS_EXTRACT_PDF : HS_PROCESS_EXTRACT;
	struct link *l = &c->links[by == HS_PROCESS_EXTRACT_PDF];
	if (hs_extract_client_busy(c))
		return -EBUSY;
	if (!l->channel)
		return away(c, err);
	HS_FD_AUTO input = -1;
	HS_FD_AUTO reader = -1;
	HS_FD_AUTO writer = -1;
	int fds[2];
	int rc = sealed_memory(data, len, &input);
	if (rc < 0)
		return rc;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	reader = fds[0];
	writer = fds[1];
	HS_BUF_AUTO payload = HS_BUF_INIT;
	rc = hs_put_extract(&payload, name, media);
	if (rc < 0)
		return rc;
	struct extraction *e = calloc(1, sizeof *e);
	if (!e)
		return -ENOMEM;
	*e = (struct extraction){.client = c, .by = by, .id = c->next_id++, .done = done, .ctx = ctx,
				 .out.limit = HS_EXTRACT_OUTPUT_MAX, .err = HS_ERR_INIT};
	const struct hs_frame f = {.type = HS_MSG_EXTRACT, .request = e->id, .payload = payload.data, .payload_len = payload.len,
				   .n_fds = 2, .fds = {input, writer}};
	rc = hs_channel_send_frame(l->channel, &f);
	if (rc < 0) {
		free(e);
		return rc == -EPIPE ? away(c, err) : rc; /* it ended, and the loop has not heard of it yet */
	}
	(void)uv_pipe_init(c->loop, &e->pipe, 0);   /* neither initialiser can fail */
	(void)uv_timer_init(c->loop, &e->timer);
	e->pipe.data = e->timer.data = e;
	e->open_handles = 2;
	e->next = c->running;
	c->running = e;
	c->n_running++;
	rc = uv_pipe_open(&e->pipe, reader);
	if (rc == 0) {
		reader = -1; /* the handle's now */
		rc = uv_read_start((uv_stream_t *)&e->pipe, give_chunk, on_read);
	}
	if (rc == 0)
		rc = uv_timer_start(&e->timer, on_timeout, HS_EXTRACT_TIMEOUT_MS, 0);
	if (rc < 0)
		end_extraction(e, rc); /* told through the callback, like every end after this point */
	return 0;
}
