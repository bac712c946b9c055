#include "base/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/unit/test.h"

#define PACKET_MAX (HS_FRAME_HEADER_LEN + HS_FRAME_PAYLOAD_MAX)

static uint8_t packet[PACKET_MAX];

static void test_round_trip_with_descriptors(void **state)
{
	int pair[2];
	assert_int_equal(hs_channel_pair(pair), 0);
	int pipefd[2];
	assert_int_equal(pipe2(pipefd, O_CLOEXEC), 0);
	const struct hs_frame sent = {.type = 7, .request = 0x1122334455667788u, .deadline = 1775001600000, .flags = HS_FRAME_MORE,
				      .payload = (const uint8_t *)"hello", .payload_len = 5, .n_fds = 1, .fds = {pipefd[1]}};
	assert_int_equal(hs_frame_send(pair[0], &sent), 0);
	struct hs_frame got;
	assert_int_equal(hs_frame_recv(pair[1], packet, sizeof packet, &got, NULL), 1);
	assert_int_equal(got.type, 7);
	assert_true(got.request == sent.request && got.deadline == sent.deadline);
	assert_int_equal(got.flags, HS_FRAME_MORE);
	assert_int_equal(got.payload_len, 5);
	assert_memory_equal(got.payload, "hello", 5);
	assert_int_equal(got.n_fds, 1);
	assert_int_equal(write(got.fds[0], "x", 1), 1);
	assert_true(fcntl(got.fds[0], F_GETFD) & FD_CLOEXEC);
	hs_frame_close_fds(&got);
	assert_int_equal(hs_frame_recv(pair[1], packet, sizeof packet, &got, NULL), -EAGAIN);
	close(pair[0]);
	assert_int_equal(hs_frame_recv(pair[1], packet, sizeof packet, &got, NULL), 0);
	close(pair[1]), close(pipefd[0]), close(pipefd[1]);
}

static void test_largest_payload_travels(void **state)
{
	int pair[2];
	assert_int_equal(hs_channel_pair(pair), 0);
	static uint8_t payload[HS_FRAME_PAYLOAD_MAX];
	memset(payload, 0xa5, sizeof payload);
	const struct hs_frame sent = {.type = 1, .payload = payload, .payload_len = sizeof payload};
	assert_int_equal(hs_frame_send(pair[0], &sent), 0);
	struct hs_frame got;
	assert_int_equal(hs_frame_recv(pair[1], packet, sizeof packet, &got, NULL), 1);
	assert_int_equal(got.payload_len, sizeof payload);
	close(pair[0]), close(pair[1]);
}

/* Every header byte that does not carry free data refuses when it is changed. */
static void test_malformed_headers_are_refused(void **state)
{
	const size_t guarded[] = {0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 33, 34, 35, 36, 37, 38, 39};
	for (size_t i = 0; i < sizeof guarded / sizeof guarded[0]; i++) {
		int pair[2];
		assert_int_equal(hs_channel_pair(pair), 0);
		uint8_t raw[HS_FRAME_HEADER_LEN + 3] = {0};
		hs_frame_header(&(struct hs_frame){.type = 3, .payload_len = 3}, raw);
		raw[guarded[i]] ^= 0x04;
		assert_int_equal(send(pair[0], raw, sizeof raw, 0), sizeof raw);
		struct hs_frame got;
		struct hs_err err = HS_ERR_INIT;
		assert_int_equal(hs_frame_recv(pair[1], packet, sizeof packet, &got, &err), -EPROTO);
		assert_string_equal(err.code, "message.malformed");
		close(pair[0]), close(pair[1]);
	}
}

static void test_undeclared_descriptors_are_closed_and_refused(void **state)
{
	int pair[2], pipefd[2];
	assert_int_equal(hs_channel_pair(pair), 0);
	assert_int_equal(pipe2(pipefd, O_CLOEXEC), 0);
	uint8_t raw[HS_FRAME_HEADER_LEN];
	hs_frame_header(&(struct hs_frame){.type = 3}, raw); /* claims none */
	struct iovec part = {raw, sizeof raw};
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &pipefd[1], sizeof(int));
	assert_true(sendmsg(pair[0], &msg, 0) > 0);
	close(pipefd[1]);
	struct hs_frame got;
	assert_int_equal(hs_frame_recv(pair[1], packet, sizeof packet, &got, NULL), -EPROTO);
	char byte;
	assert_int_equal(read(pipefd[0], &byte, 1), 0); /* the last writer is closed */
	close(pair[0]), close(pair[1]), close(pipefd[0]);
}

static void test_oversized_packets_are_refused(void **state)
{
	int pair[2];
	assert_int_equal(hs_channel_pair(pair), 0);
	static uint8_t raw[PACKET_MAX + 1];
	hs_frame_header(&(struct hs_frame){.type = 3, .payload_len = HS_FRAME_PAYLOAD_MAX}, raw);
	assert_int_equal(send(pair[0], raw, sizeof raw, 0), sizeof raw);
	struct hs_frame got;
	assert_int_equal(hs_frame_recv(pair[1], packet, sizeof packet, &got, NULL), -EPROTO);
	close(pair[0]), close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip_with_descriptors),
		cmocka_unit_test(test_largest_payload_travels),
		cmocka_unit_test(test_malformed_headers_are_refused),
		cmocka_unit_test(test_undeclared_descriptors_are_closed_and_refused),
		cmocka_unit_test(test_oversized_packets_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
