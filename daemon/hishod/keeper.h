/*
 * Inside hishod: the processes that it keeps, and the tenants that it knows.
 *
 *              hs_spawn            READY                end (or no PONG: killed)
 *   OFF ----> STARTING ----------> READY ----------------------------> WAITING --backoff--> STARTING
 *                |  end                      SHUTDOWN, end                |
 *                +---> WAITING               --------------> OFF         stop: OFF
 *
 * Whenever a process is spawned, a fresh channel is made to each live process that it talks to, and both ends are sent over
 * the two control channels; the one before has ended with the process that died.
 */
#ifndef HISHO_DAEMON_HISHOD_KEEPER_H
#define HISHO_DAEMON_HISHOD_KEEPER_H

#include <jansson.h>
#include <uv.h>

#include "base/id.h"
#include "crypto/keyring.h"
#include "daemon/api.h"
#include "daemon/channel.h"
#include "daemon/child.h"
#include "daemon/http.h"
#include "daemon/hishod/config.h"
#include "daemon/jail.h"

#define HS_BACKOFF_MIN_MS 100
#define HS_BACKOFF_MAX_MS 10000
#define HS_STEADY_MS 60000       /* up so long: the next death counts as the first */
#define HS_PING_MS 10000
#define HS_PONG_MS 60000         /* silent so long: killed */
#define HS_SHUTDOWN_MS 10000     /* asked to stop, and killed after it */
#define HS_UNIT_SHUTDOWN_MS 20000 /* the same of a unit: longer than its TimeoutStopSec, so that systemd comes first */
#define HS_STATUS_WAIT_MS 1000
#define HS_ADMIN_PEEK_MAX 64     /* connections whose request line has not come yet */
#define HS_ADMIN_LINE_MAX 512
#define HS_ADMIN_LINE_MS 5000

enum proc_state { PROC_OFF, PROC_STARTING, PROC_READY, PROC_WAITING };

struct keeper;

struct proc {
	struct keeper *keeper;
	struct proc *next;
	enum hs_process role;
	struct tenant *tenant; /* of hisho-tenant */
	const char *program;
	enum proc_state state;
	bool wanted;  /* started again when it dies */
	bool absent;  /* the program is not installed */
	bool alive, was_ready;
	bool cut; /* hishod gave the process of a unit up: it need not have ended */
	int pid;  /* as systemd's own child tells it, or ours; 0: not known */
	uv_process_t process; /* of one that hishod started itself */
	uv_timer_t timer; /* backoff, or the kill after SHUTDOWN */
	bool timer_open;
	struct hs_channel *control;
	unsigned restarts, failures;
	uint64_t started, ponged;
	json_t *status; /* the last that it told; or NULL */
	uint64_t status_round;
};

#define HS_ACTS_MAX 16 /* acts on one tenant that its process has not been told of */

struct act {
	enum hs_act what;
	uint32_t uid;
};

struct tenant {
	struct tenant *next;
	struct hs_id id;
	char name[HS_KEYRING_NAME_MAX + 1];
	bool sealed;
	struct proc proc;
	struct act acts[HS_ACTS_MAX]; /* oldest first */
	size_t n_acts;
	bool rebuild; /* its next start indexes anew where it must; until it serves */
	struct hs_responder *sealing; /* waits for the process to end; or NULL */
};

struct keeper {
	uv_loop_t loop;
	const char *state; /* the directory */
	int state_fd, lock_fd;
	struct hs_config *config;
	const char *generator, *embedder, *reranker; /* as the command line says, or NULL */
	const char *credential;           /* the root secret's file, or NULL: hisho-keyd knows where to look */
	const char *units;                /* the folder of the units' sockets; NULL: programs are started by fork and exec */
	char programs[1024], page[1100];
	struct hs_jail_report jail;

	struct proc *procs; /* all, tenants' included */
	struct proc keyd, web, infer, extract, extract_pdf;
	struct tenant *tenants;
	bool listed, serving, stopping, failed;
	uv_signal_t on_term, on_int;
	uv_timer_t ping, watchdog;

	uint64_t last_request; /* to keyd */
	struct addition *additions;
	uint64_t status_round;
	struct status_wait *status_waits;

	int admin_fd;
	uv_poll_t admin_poll;
	bool admin_open;
	struct hs_http_server *admin;
	struct peek *peeks;
	size_t n_peeks;
};

/* proc.c */
void hs_proc_init(struct keeper *k, struct proc *p, enum hs_process role, const char *program, struct tenant *t);
void hs_proc_start(struct proc *p);
void hs_proc_stop(struct proc *p); /* ask; it is OFF when it ended */
void hs_proc_ping_all(struct keeper *k);
void hs_proc_end_soon(struct proc *p);   /* kill it where it is still there after a while */
void hs_proc_disconnect(struct proc *p); /* its control channel is over */
void hs_proc_ended(struct proc *p);      /* it is gone, or never came; calls hs_keeper_on_off, or starts it again later */
const char *hs_proc_state_name(const struct proc *p);

/* spawn.c: *ret_control is the caller's. On success hs_proc_disconnect and then hs_proc_ended follow some day. */
int hs_spawn(struct proc *p, int *ret_control) HS_MUST_CHECK;
void hs_spawn_end(struct proc *p);  /* one that is not there to be asked */
void hs_spawn_kill(struct proc *p);
void hs_spawn_lost(struct proc *p); /* its control channel ended */

/* main.c */
void hs_keeper_on_ready(struct proc *p, struct hs_slice url);
void hs_keeper_on_frame(struct proc *p, struct hs_frame *f);
void hs_keeper_on_off(struct proc *p); /* it ended and is not wanted */
void hs_keeper_stop(struct keeper *k);

/* tenants.c */
void hs_tenants_list(struct keeper *k);
bool hs_tenants_frame(struct keeper *k, const struct hs_frame *f); /* from keyd; true where it was one of these */
struct tenant *hs_tenants_find(struct keeper *k, const char *name, size_t len);
void hs_tenants_add(struct keeper *k, const char *name, uid_t by, struct hs_responder *r);
void hs_tenants_seal(struct tenant *t, uid_t by, struct hs_responder *r);
void hs_tenants_sealed(struct tenant *t, struct hs_responder *r); /* the process of a tenant that is being sealed is over */
void hs_tenants_unseal(struct tenant *t, uid_t by, struct hs_responder *r);
void hs_tenants_rebuild(struct tenant *t, uid_t by, struct hs_responder *r);
void hs_tenants_tell_acts(struct tenant *t); /* its process serves: it records them */
void hs_tenants_lost_keyd(struct keeper *k);
void hs_tenants_forget_waiter(struct keeper *k, struct hs_responder *r);
void hs_tenants_free(struct keeper *k);

/* status.c */
void hs_status_ask(struct keeper *k, struct hs_responder *r); /* fresh, from every process */
void hs_status_reply(struct proc *p, const struct hs_frame *f);
void hs_status_forget_waiter(struct keeper *k, struct hs_responder *r);
void hs_status_metrics(struct keeper *k, struct hs_responder *r); /* as fresh */
void hs_status_free(struct keeper *k);

/* admin.c */
int hs_admin_open(struct keeper *k, struct hs_err *err) HS_MUST_CHECK;
void hs_admin_close(struct keeper *k);
void hs_admin_reply(struct hs_responder *r, unsigned status, json_t *value); /* consumes value; NULL: out of memory */

#endif
