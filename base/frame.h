/*
 * Message framing between Hisho's processes (docs/formats/messages.md).
 *
 * A channel is a SOCK_SEQPACKET socket pair. One packet is one frame: a 40-byte little-endian header, then the payload.
 * The other side is hostile: the length is checked before any field is read, descriptors are counted and opened
 * CLOEXEC, surplus ones are closed, reserved bytes must be zero. What the types mean stands in daemon/messages.h.
 *
 *   offset  0  u32  magic "HSm1"
 *           4  u32  payload length, <= HS_FRAME_PAYLOAD_MAX
 *           8  u16  type
 *          10  u16  protocol version (HS_FRAME_VERSION)
 *          12  u16  descriptors that travel with the packet, <= HS_FRAME_FDS_MAX
 *          14  u16  zero
 *          16  u64  request id, chosen by the side that asks; 0 for the channel itself
 *          24  i64  deadline, UTC milliseconds; 0: none
 *          32  u32  flags: HS_FRAME_MORE
 *          36  u32  zero
 */
#ifndef HISHO_BASE_FRAME_H
#define HISHO_BASE_FRAME_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define HS_FRAME_MAGIC 0x316d5348u /* "HSm1" */
#define HS_FRAME_VERSION 1
#define HS_FRAME_HEADER_LEN 40
#define HS_FRAME_PAYLOAD_MAX (64u * 1024u)
#define HS_FRAME_FDS_MAX 4

enum hs_frame_flag {
	HS_FRAME_MORE = 1u << 0, /* the payload goes on in the next frame of the same type and request */
};

struct hs_frame {
	uint16_t type;
	uint16_t n_fds;
	uint32_t flags;
	uint64_t request;
	int64_t deadline;
	const uint8_t *payload; /* into the caller's packet buffer */
	size_t payload_len;
	int fds[HS_FRAME_FDS_MAX]; /* owned by the receiver of the frame */
};

/* Write the 40 header bytes for f. */
void hs_frame_header(const struct hs_frame *f, uint8_t out[static HS_FRAME_HEADER_LEN]);

/* Parse one packet. 0 or -EPROTO with err naming the field. Does not touch f->fds. */
int hs_frame_parse(const uint8_t *packet, size_t len, struct hs_frame *f, struct hs_err *err) HS_MUST_CHECK;

/* Make a channel: two connected, non-blocking, CLOEXEC sockets with room for several whole frames. */
int hs_channel_pair(int ret_fds[static 2]) HS_MUST_CHECK;

/* Send one frame; f->fds[0..n_fds) stay the caller's. 0, -EAGAIN where the peer is behind, -EPIPE where it is gone. */
int hs_frame_send(int channel, const struct hs_frame *f) HS_MUST_CHECK;

/*
 * Receive one frame into packet (HS_FRAME_HEADER_LEN + HS_FRAME_PAYLOAD_MAX bytes). 1: a frame, 0: the peer closed,
 * -EAGAIN: nothing there, -EPROTO: the peer broke the protocol (its descriptors are closed already).
 */
int hs_frame_recv(int channel, uint8_t *packet, size_t packet_cap, struct hs_frame *f, struct hs_err *err) HS_MUST_CHECK;

/* Close the descriptors that came with f. */
void hs_frame_close_fds(struct hs_frame *f);

#endif
