#include "daemon/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/test.h"

struct side {
	struct hs_channel *channel;
	int opened, frames, gone;
	size_t bytes;
	struct hs_frame last;
	char reason[48];
	int kept_fd;
};

static void on_open(void *ctx)
{
	((struct side *)ctx)->opened++;
}

static void on_frame(void *ctx, struct hs_frame *f)
{
	struct side *s = ctx;
	s->frames++;
	s->bytes += f->payload_len;
	s->last = *f;
	if (f->n_fds > 0) {
		s->kept_fd = f->fds[0];
		f->fds[0] = -1;
	}
}

static void on_gone(void *ctx, const struct hs_err *why)
{
	struct side *s = ctx;
	s->gone++;
	memcpy(s->reason, why->code, sizeof s->reason);
}

static const struct hs_channel_events events = {.open = on_open, .frame = on_frame, .gone = on_gone};
static const struct hs_channel_options tenant = {HS_PROCESS_TENANT, HS_PROCESS_INFER, "ten_x"};
static const struct hs_channel_options infer = {HS_PROCESS_INFER, HS_PROCESS_TENANT, ""};

struct pair {
	uv_loop_t loop;
	struct side a, b;
};

static void make_pair(struct pair *p)
{
	int fds[2];
	memset(p, 0, sizeof *p);
	uv_loop_init(&p->loop);
	assert_int_equal(hs_channel_pair(fds), 0);
	assert_int_equal(hs_channel_create(&p->loop, fds[0], &tenant, &events, &p->a, &p->a.channel), 0);
	assert_int_equal(hs_channel_create(&p->loop, fds[1], &infer, &events, &p->b, &p->b.channel), 0);
}

static void turn(struct pair *p, int times)
{
	for (int i = 0; i < times; i++)
		uv_run(&p->loop, UV_RUN_NOWAIT);
}

static void free_pair(struct pair *p)
{
	hs_channel_destroy(p->a.channel);
	hs_channel_destroy(p->b.channel);
	uv_run(&p->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&p->loop), 0);
}

static void test_hello_then_frames_both_ways(void **state)
{
	struct pair p;
	make_pair(&p);
	turn(&p, 3);
	assert_true(hs_channel_is_open(p.a.channel) && hs_channel_is_open(p.b.channel));
	assert_int_equal(hs_channel_send(p.a.channel, HS_MSG_GO, 7, 0, NULL, 0), 0);
	assert_int_equal(hs_channel_send(p.b.channel, HS_MSG_TEXT, 7, 0, "あ", 3), 0);
	turn(&p, 3);
	assert_int_equal(p.b.frames, 1);
	assert_int_equal(p.b.last.type, HS_MSG_GO);
	assert_int_equal(p.a.bytes, 3);
	free_pair(&p);
}

static void test_large_payloads_are_joined(void **state)
{
	struct pair p;
	make_pair(&p);
	static uint8_t big[3000000];
	assert_int_equal(hs_channel_send(p.a.channel, HS_MSG_EMBED, 1, 0, big, sizeof big), 0);
	turn(&p, 200);
	assert_int_equal(p.b.frames, 1);
	assert_int_equal(p.b.bytes, sizeof big);
	assert_int_equal(hs_channel_queued(p.a.channel), 0);
	free_pair(&p);
}

static void test_too_large_payloads_end_the_channel(void **state)
{
	struct pair p;
	make_pair(&p);
	static uint8_t big[HS_MSG_TEXT_MAX + 1];
	assert_int_equal(hs_channel_send(p.a.channel, HS_MSG_EMBED, 1, 0, big, sizeof big), 0);
	turn(&p, 300);
	assert_int_equal(p.b.frames, 0);
	assert_int_equal(p.b.gone, 1);
	assert_string_equal(p.b.reason, "channel.payload");
	free_pair(&p);
}

static void test_descriptors_travel_through_the_queue(void **state)
{
	struct pair p;
	make_pair(&p);
	static uint8_t filler[60000];
	int pipefd[2];
	assert_int_equal(pipe2(pipefd, O_CLOEXEC), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(hs_channel_send(p.a.channel, HS_MSG_TEXT, 1, 0, filler, sizeof filler), 0);
	assert_true(hs_channel_queued(p.a.channel) > 0);
	const struct hs_frame f = {.type = HS_MSG_CHANNEL, .n_fds = 1, .fds = {pipefd[1]}};
	assert_int_equal(hs_channel_send_frame(p.a.channel, &f), 0);
	close(pipefd[1]); /* the queue holds its own */
	turn(&p, 300);
	assert_int_equal(p.b.frames, 101);
	assert_int_equal(write(p.b.kept_fd, "x", 1), 1);
	close(p.b.kept_fd), close(pipefd[0]);
	free_pair(&p);
}

static void test_wrong_peer_is_refused(void **state)
{
	uv_loop_t loop;
	uv_loop_init(&loop);
	int fds[2];
	struct side a = {0}, b = {0};
	const struct hs_channel_options web = {HS_PROCESS_WEB, HS_PROCESS_TENANT, ""};
	assert_int_equal(hs_channel_pair(fds), 0);
	assert_int_equal(hs_channel_create(&loop, fds[0], &tenant, &events, &a, &a.channel), 0);
	assert_int_equal(hs_channel_create(&loop, fds[1], &web, &events, &b, &b.channel), 0);
	for (int i = 0; i < 3; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(a.gone, 1);
	assert_string_equal(a.reason, "channel.hello");
	assert_int_equal(a.frames, 0);
	hs_channel_destroy(a.channel);
	hs_channel_destroy(b.channel);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_garbage_and_eof_end_the_channel_once(void **state)
{
	for (int garbage = 0; garbage < 2; garbage++) {
		uv_loop_t loop;
		uv_loop_init(&loop);
		int fds[2];
		struct side a = {0};
		assert_int_equal(hs_channel_pair(fds), 0);
		assert_int_equal(hs_channel_create(&loop, fds[0], &tenant, &events, &a, &a.channel), 0);
		if (garbage)
			assert_int_equal(send(fds[1], "garbage", 7, 0), 7);
		close(fds[1]);
		for (int i = 0; i < 5; i++)
			uv_run(&loop, UV_RUN_NOWAIT);
		assert_int_equal(a.gone, 1);
		assert_int_equal(hs_channel_send(a.channel, HS_MSG_GO, 1, 0, NULL, 0), -EPIPE);
		hs_channel_destroy(a.channel);
		uv_run(&loop, UV_RUN_DEFAULT);
		assert_int_equal(uv_loop_close(&loop), 0);
	}
}

static void test_a_peer_that_never_reads_is_bounded(void **state)
{
	struct pair p;
	make_pair(&p);
	static uint8_t filler[HS_FRAME_PAYLOAD_MAX];
	int rc = 0;
	for (int i = 0; i < 1000 && rc == 0; i++)
		rc = hs_channel_send(p.a.channel, HS_MSG_TEXT, 1, 0, filler, sizeof filler);
	assert_int_equal(rc, -ENOBUFS);
	assert_true(hs_channel_queued(p.a.channel) <= HS_CHANNEL_QUEUE_MAX + HS_FRAME_PAYLOAD_MAX);
	free_pair(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hello_then_frames_both_ways),
		cmocka_unit_test(test_large_payloads_are_joined),
		cmocka_unit_test(test_too_large_payloads_end_the_channel),
		cmocka_unit_test(test_descriptors_travel_through_the_queue),
		cmocka_unit_test(test_wrong_peer_is_refused),
		cmocka_unit_test(test_garbage_and_eof_end_the_channel_once),
		cmocka_unit_test(test_a_peer_that_never_reads_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
