/* The tenant's side of an extractor's channel, as small as tests need it. */
#ifndef HISHO_TESTS_UNIT_DAEMON_EXTRACT_ASKER_H
#define HISHO_TESTS_UNIT_DAEMON_EXTRACT_ASKER_H

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "daemon/channel.h"
#include "text/document.h"

struct asker {
	uv_loop_t loop;
	struct hs_channel *channel;
	unsigned done, errors, gone;
	uint64_t last;
	char code[64];
};

static void asker_on_frame(void *ctx, struct hs_frame *f)
{
	struct asker *a = ctx;
	a->last = f->request;
	if (f->type == HS_MSG_EXTRACT_DONE) {
		a->done++;
	} else if (f->type == HS_MSG_ERROR) {
		struct hs_msg_error e;
		assert_int_equal(hs_get_error(f->payload, f->payload_len, &e), 0);
		(void)snprintf(a->code, sizeof a->code, "%.*s", (int)e.code.len, e.code.s);
		a->errors++;
	}
}

static void asker_on_gone(void *ctx, const struct hs_err *why)
{
	struct asker *a = ctx;
	a->gone++;
	hs_channel_destroy(a->channel);
	a->channel = NULL;
}

static void asker_open(struct asker *a, enum hs_process peer, int fd)
{
	const struct hs_channel_options options = {HS_PROCESS_TENANT, peer, "ten_x"};
	static const struct hs_channel_events events = {.frame = asker_on_frame, .gone = asker_on_gone};
	assert_int_equal(hs_channel_create(&a->loop, fd, &options, &events, a, &a->channel), 0);
}

static inline struct hs_slice asker_slice(const char *s)
{
	return (struct hs_slice){s, strlen(s)};
}

/* Send a document; returns the read end of its pipe. */
static int asker_send(struct asker *a, uint64_t request, const char *name, const void *data, size_t n)
{
	HS_FD_AUTO input = memfd_create("document", MFD_CLOEXEC);
	assert_true(input >= 0);
	assert_int_equal(hs_fd_write_all(input, data, n), 0);
	assert_int_equal(lseek(input, 0, SEEK_SET), 0);
	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	HS_BUF_AUTO payload = HS_BUF_INIT;
	assert_int_equal(hs_put_extract(&payload, asker_slice(name), asker_slice("")), 0);
	const struct hs_frame f = {.type = HS_MSG_EXTRACT, .request = request, .payload = payload.data, .payload_len = payload.len,
				   .n_fds = 2, .fds = {input, fds[1]}};
	assert_int_equal(hs_channel_send_frame(a->channel, &f), 0);
	assert_int_equal(close(fds[1]), 0);
	return fds[0];
}

static int asker_decode(int pipe_fd, struct hs_document *d, struct hs_err *err)
{
	HS_BUF_AUTO out = HS_BUF_INIT;
	assert_int_equal(hs_fd_read_all(pipe_fd, 64u << 20, &out), 0);
	assert_int_equal(close(pipe_fd), 0);
	return hs_document_decode(out.data, out.len, d, err);
}

static void asker_wait(struct asker *a, unsigned ends)
{
	while (a->done + a->errors < ends && !a->gone)
		uv_run(&a->loop, UV_RUN_ONCE);
}

#endif
