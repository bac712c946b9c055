/*
 * A message channel on a libuv loop: base/frame.h over a SOCK_SEQPACKET descriptor, with HELLO, a bounded outgoing queue and
 * joined payloads. Loop thread only.
 *
 *   OPENING --HELLO of the expected peer--> OPEN --EOF, protocol error, queue overrun--> GONE (gone() is called once)
 *
 * Frames may be sent while OPENING: the peer reads them after our HELLO. The peer is hostile: whatever it does wrong ends
 * the channel with gone(), never the process.
 */
#ifndef HISHO_DAEMON_CHANNEL_H
#define HISHO_DAEMON_CHANNEL_H

#include <uv.h>

#include "daemon/messages.h"

#define HS_CHANNEL_QUEUE_MAX (16u * 1024u * 1024u) /* bytes that wait for a slow peer; beyond it the channel is given up */
#define HS_CHANNEL_JOINS_MAX 32                    /* payloads in pieces at one time */

struct hs_channel;

struct hs_channel_events {
	void (*open)(void *ctx); /* the peer said HELLO; may be NULL */
	/*
	 * One frame, its payload joined where the type's MORE means pieces (EMBED, GENERATE, VECTORS). Descriptors that the callee
	 * keeps are set to -1 in f->fds; the channel closes the rest.
	 */
	void (*frame)(void *ctx, struct hs_frame *f);
	void (*drained)(void *ctx); /* the outgoing queue is empty again; may be NULL */
	/* The channel is over. The owner calls hs_channel_destroy, now or later; nothing else comes. */
	void (*gone)(void *ctx, const struct hs_err *why);
};

struct hs_channel_options {
	enum hs_process self, peer;
	const char *name; /* the tenant's id on channels of a tenant, "" elsewhere; what we say of ourselves */
};

/* Takes fd, also on failure. */
int hs_channel_create(uv_loop_t *loop, int fd, const struct hs_channel_options *o, const struct hs_channel_events *events,
		      void *ctx, struct hs_channel **ret) HS_MUST_CHECK;
void hs_channel_destroy(struct hs_channel *c); /* takes NULL; safe inside callbacks */

/*
 * Send a payload of any length: pieces of at most 64 KiB. -EPIPE once gone, -ENOBUFS past the queue's limit, -ENOMEM.
 * Results may be ignored: whatever cannot be sent ends the channel, from the loop, and gone() says so.
 */
int hs_channel_send(struct hs_channel *c, enum hs_msg type, uint64_t request, int64_t deadline, const void *payload,
		    size_t len);

/* One frame as it is, with its flags and descriptors (which stay the caller's: the queue keeps duplicates). */
int hs_channel_send_frame(struct hs_channel *c, const struct hs_frame *f);

int hs_channel_send_error(struct hs_channel *c, uint64_t request, const struct hs_err *err);

size_t hs_channel_queued(const struct hs_channel *c); /* bytes */
bool hs_channel_is_open(const struct hs_channel *c);

#endif
