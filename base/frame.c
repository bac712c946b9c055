#include "base/frame.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/wire.h"

void hs_frame_header(const struct hs_frame *f, uint8_t out[static HS_FRAME_HEADER_LEN])
{
	memset(out, 0, HS_FRAME_HEADER_LEN);
	hs_le32_store(out, HS_FRAME_MAGIC);
	hs_le32_store(out + 4, (uint32_t)f->payload_len);
	hs_le16_store(out + 8, f->type);
	hs_le16_store(out + 10, HS_FRAME_VERSION);
	hs_le16_store(out + 12, f->n_fds);
	hs_le64_store(out + 16, f->request);
	hs_le64_store(out + 24, (uint64_t)f->deadline);
	hs_le32_store(out + 32, f->flags);
}

static int bad(struct hs_err *err, const char *field)
{
	return hs_fail(err, EPROTO, "message.malformed",
		       HS_N_("A process sent a message that breaks the protocol; the channel is closed."), "%s", field);
}

int hs_frame_parse(const uint8_t *packet, size_t len, struct hs_frame *f, struct hs_err *err)
{
	if (len < HS_FRAME_HEADER_LEN || len > HS_FRAME_HEADER_LEN + HS_FRAME_PAYLOAD_MAX)
		return bad(err, "packet length");
	if (hs_le32_load(packet) != HS_FRAME_MAGIC)
		return bad(err, "magic");
	if (hs_le32_load(packet + 4) != len - HS_FRAME_HEADER_LEN)
		return bad(err, "payload length");
	if (hs_le16_load(packet + 10) != HS_FRAME_VERSION)
		return bad(err, "version");
	if (hs_le16_load(packet + 12) > HS_FRAME_FDS_MAX)
		return bad(err, "descriptor count");
	if (hs_le16_load(packet + 14) || hs_le32_load(packet + 36))
		return bad(err, "reserved bytes");
	if (hs_le32_load(packet + 32) & ~(uint32_t)HS_FRAME_MORE)
		return bad(err, "flags");
	f->type = hs_le16_load(packet + 8);
	f->n_fds = hs_le16_load(packet + 12);
	f->request = hs_le64_load(packet + 16);
	f->deadline = (int64_t)hs_le64_load(packet + 24);
	f->flags = hs_le32_load(packet + 32);
	f->payload = packet + HS_FRAME_HEADER_LEN;
	f->payload_len = len - HS_FRAME_HEADER_LEN;
	return 0;
}

int hs_channel_pair(int ret_fds[static 2])
{
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	int room = 1024 * 1024;
	for (int i = 0; i < 2; i++) /* the kernel clamps this to its own maximum: a hint, not a need */
		(void)setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
	ret_fds[0] = fds[0];
	ret_fds[1] = fds[1];
	return 0;
}

union control {
	struct cmsghdr align;
	char space[CMSG_SPACE(sizeof(int) * HS_FRAME_FDS_MAX)];
};

int hs_frame_send(int channel, const struct hs_frame *f)
{
	hs_assert(f->payload_len <= HS_FRAME_PAYLOAD_MAX && f->n_fds <= HS_FRAME_FDS_MAX);
	uint8_t header[HS_FRAME_HEADER_LEN];
	hs_frame_header(f, header);
	struct iovec parts[2] = {{header, sizeof header}, {(void *)f->payload, f->payload_len}};
	struct msghdr msg = {.msg_iov = parts, .msg_iovlen = f->payload_len ? 2 : 1};
	union control control;
	if (f->n_fds) {
		memset(&control, 0, sizeof control);
		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * f->n_fds);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * f->n_fds);
		memcpy(CMSG_DATA(c), f->fds, sizeof(int) * f->n_fds);
	}
	for (;;) {
		if (sendmsg(channel, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return 0;
		if (errno != EINTR)
			return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	}
}

/* Collect the descriptors of a received message; returns how many there were, of which the first four are kept. */
static size_t take_fds(struct msghdr *msg, int fds[static HS_FRAME_FDS_MAX])
{
	size_t kept = 0, seen = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++, seen++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (kept < HS_FRAME_FDS_MAX)
				fds[kept++] = fd;
			else
				(void)close(fd); /* surplus: refused below */
		}
	}
	return seen;
}

int hs_frame_recv(int channel, uint8_t *packet, size_t packet_cap, struct hs_frame *f, struct hs_err *err)
{
	struct iovec part = {packet, packet_cap};
	union control control;
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space,
			     .msg_controllen = sizeof control.space};
	ssize_t got;
	do
		got = recvmsg(channel, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	int fds[HS_FRAME_FDS_MAX];
	size_t n_fds = take_fds(&msg, fds);
	if (got == 0 && n_fds == 0)
		return 0;
	int rc = (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ? bad(err, "truncated packet")
							     : hs_frame_parse(packet, (size_t)got, f, err);
	if (rc == 0 && f->n_fds != n_fds)
		rc = bad(err, "descriptor count");
	if (rc < 0) {
		for (size_t i = 0; i < HS_MIN(n_fds, (size_t)HS_FRAME_FDS_MAX); i++)
			(void)close(fds[i]); /* read-only duty: nothing to flush */
		return rc;
	}
	memcpy(f->fds, fds, sizeof(int) * n_fds);
	return 1;
}

void hs_frame_close_fds(struct hs_frame *f)
{
	for (uint16_t i = 0; i < f->n_fds; i++)
		(void)close(f->fds[i]); /* received, never written through */
	f->n_fds = 0;
}
