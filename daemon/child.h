/*
 * What every program that hishod starts has in common: the control channel on descriptor 3, PING, READY, SHUTDOWN, and the
 * channels to its peers, which arrive as descriptors and arrive again when a peer was restarted.
 *
 *   main: hs_child_arguments -> open what is needed -> hs_jail_enter -> validate -> hs_child_create -> serve: hs_child_ready,
 *         uv_run
 *
 * hishod starts each itself, with an empty environment but for LANG and TZ, and stderr as the log; or a systemd unit does, and
 * hishod says the arguments on the connection that started it. They are the same:
 *   hisho-keyd        --state DIR [--credential FILE]
 *   hisho-web         --state DIR --page DIR --listen ADDRESS:PORT [--host NAME]...
 *   hisho-tenant      --state DIR --id ten_... --name NAME
 *   hisho-infer       --models DIR [--generator FILE] [--embedder FILE] [--threads N] [--device WISH] [--plugin FILE]
 *   hisho-extract, hisho-extract-pdf    (none)
 */
#ifndef HISHO_DAEMON_CHILD_H
#define HISHO_DAEMON_CHILD_H

#include "daemon/channel.h"

struct hs_child;

struct hs_peer_credentials {
	uint32_t uid, gid, pid;
};

struct hs_child_events {
	/*
	 * A fresh channel to peer; fd is the callee's now (hs_channel_create takes it). name: see HS_MSG_CHANNEL. hisho-web alone
	 * also gets -1 for fd: that tenant was sealed, and is to be forgotten.
	 */
	void (*channel)(void *ctx, enum hs_process peer, const char *name, int fd);
	/* An accepted admin connection; fd is the callee's. NULL where the program takes none. */
	void (*connection)(void *ctx, int fd, const struct hs_peer_credentials *who);
	/* Append one JSON object for `hisho status`. NULL: "{}". */
	int (*status)(void *ctx, struct hs_buf *out);
	/* Finish what runs, then close everything so that uv_run returns. Also called, once, when hishod is gone. */
	void (*shutdown)(void *ctx);
	/* Any other frame on the control channel; NULL: such a frame is a protocol error. */
	int (*frame)(void *ctx, struct hs_channel *control, struct hs_frame *f);
};

/* The user that hishod runs as where each program has its unit: nobody else may start them. */
#define HS_KEEPER_USER "hisho"
#define HS_START_MS 10000 /* a connection that has not said its arguments by then is nobody's */

/*
 * First of all in main. Where a unit started the program (LISTEN_PID says so), HS_CONTROL_FD is a connection: its other end must
 * be HS_KEEPER_USER, and *argc and *argv become what it says in HS_MSG_START, argv[0] as it was. Elsewhere they stay. Also opens
 * the way to the service manager. What it allocates lives as long as the process.
 */
int hs_child_arguments(int *argc, char ***argv, struct hs_err *err) HS_MUST_CHECK;

/*
 * name: the tenant's id, or "". Takes HS_CONTROL_FD, of which a duplicate stays open until the process ends: its end is how
 * hishod learns that a unit's process is gone.
 */
int hs_child_create(uv_loop_t *loop, enum hs_process self, const char *name, const struct hs_child_events *events, void *ctx,
		    struct hs_child **ret) HS_MUST_CHECK;
void hs_child_destroy(struct hs_child *c); /* takes NULL */

/* It is jailed and serves; told to hishod and to the service manager. url: where the page is, of hisho-web; else NULL. */
int hs_child_ready(struct hs_child *c, const char *url) HS_MUST_CHECK;

/* One line to the log: "hisho-web: text". Never document text, questions or secrets. */
void hs_log(const char *fmt, ...) HS_PRINTF(1, 2);
void hs_log_err(const char *what, const struct hs_err *err);

#endif
