/*
 * One HTTP request that this process answers, whichever way it came: forwarded by hisho-web, or on the admin socket.
 *
 * The transport fills the request, calls hs_exchange_dispatch once the body is whole (within the route's limit), and is
 * called back to send. An exchange belongs to the loop thread; while one of its jobs runs, that thread alone touches it.
 * It is freed when it was answered (or its client is gone) and no job of it runs.
 *
 * Every request passes one gate in one place (exchange.c): credential -> principal -> scope of the route -> grant. Routes are
 * rows of one table (route.c); a row without a scope does not compile into a usable route: HS_SCOPE_NONE denies.
 */
#ifndef HISHO_DAEMON_TENANT_EXCHANGE_H
#define HISHO_DAEMON_TENANT_EXCHANGE_H

#include <stdbool.h>

#include <jansson.h>

#include "base/arena.h"
#include "base/buf.h"
#include "daemon/tenant/tenant.h"
#include "policy/resolve.h"

#define HS_EXCHANGE_ARENA_MAX (16u * 1024u * 1024u)
#define HS_EXCHANGE_BODY_MAX (4u * 1024u * 1024u) /* of a route that does not say otherwise */
#define HS_EXCHANGE_PARAMS_MAX 2

struct hs_exchange;

enum hs_gate_kind { /* who may pass; zero denies */
	HS_GATE_CLOSED = 0,
	HS_GATE_OPEN,   /* no credential needed: signing in, the tenant's public key */
	HS_GATE_SCOPE,  /* a credential with the route's scope */
	HS_GATE_LOCAL,  /* the admin socket, or a credential with the route's scope */
};

struct hs_route {
	const char *method, *path; /* "{}" stands for one segment, given in params */
	enum hs_gate_kind gate;
	uint32_t scope;            /* enum hs_scope */
	bool grant;                /* resolve a grant: x->grant is there */
	bool together;             /* its writes share a transaction with others that wait: each undoes itself where it fails */
	bool revokes;              /* may take rights away: infer forgets what it keeps of this tenant */
	size_t body_max;           /* 0: HS_EXCHANGE_BODY_MAX */

	/* Exactly one: on a reader; on a reader, then on the writer inside one transaction; or from the loop, asynchronous. */
	int (*read)(struct hs_exchange *x, struct hs_read_context *c);
	int (*write)(struct hs_exchange *x, struct hs_write_context *c);
	int (*start)(struct hs_exchange *x);
};

struct hs_transport { /* how an answer goes out; called on the loop thread */
	/* retry_s: after so many seconds the client may try again; 0: not told */
	void (*begin)(void *ctx, unsigned status, const char *content_type, const char *set_cookie, unsigned retry_s, bool stream);
	void (*content)(void *ctx, const void *data, size_t len, bool last);
	void (*release)(void *ctx); /* the exchange is done with the transport */
};

struct hs_exchange {
	struct hs_tenant *tenant;
	const struct hs_transport *transport;
	void *transport_ctx;
	struct hs_arena *arena;

	/* the request; strings are terminated and live in the arena */
	const char *method, *path, *query, *content_type, *peer;
	const char *params[HS_EXCHANGE_PARAMS_MAX];
	struct hs_buf body;
	bool japanese;      /* the reader's language */
	bool local;         /* the admin socket; uid was judged */
	uid_t uid;
	bool has_credential;
	struct hs_credential credential;
	bool cookie, same_origin;

	/* what the gate found */
	const struct hs_route *route;
	struct hs_principal who;
	struct hs_grant *grant;

	/* the answer being made */
	unsigned status;          /* 200 unless a handler says otherwise */
	const char *reply_type;   /* application/json */
	const char *set_cookie;   /* or NULL */
	unsigned retry_s;         /* of a refusal: when to try again; 0: not told */
	struct hs_buf reply;
	struct hs_err err;
	bool audited;             /* append `entry` before anything is released */
	struct hs_audit_entry entry;

	struct hs_job job;
	bool busy;      /* a job of it is queued or runs */
	unsigned holds; /* asynchronous work that still refers to it */
	bool begun;     /* the head of the answer went out */
	bool ended;     /* the last of the answer went out */
	bool gone;      /* the client went away */
	int rc;
	void (*on_gone)(struct hs_exchange *x); /* loop thread; for asynchronous handlers */
	void *handler_state;
	int (*run_read)(struct hs_exchange *x, struct hs_read_context *c);
	int (*run_write)(struct hs_exchange *x, struct hs_write_context *c);
	void (*run_done)(struct hs_exchange *x, int rc);
};

/* A fresh exchange; the transport then fills the request. NULL on -ENOMEM. */
struct hs_exchange *hs_exchange_create(struct hs_tenant *t, const struct hs_transport *transport,
				       void *transport_ctx) HS_MUST_CHECK;

/* Which route is it? Sets x->route and params, so that the transport knows the body's limit. -ENOENT, -ENOTSUP (method). */
int hs_exchange_route(struct hs_exchange *x) HS_MUST_CHECK;

/* The request is whole: judge it and run it. */
void hs_exchange_dispatch(struct hs_exchange *x);

/* The client went away: what runs is cancelled; x may be freed before this returns. */
void hs_exchange_gone(struct hs_exchange *x);

/* --- for handlers, on the loop thread --- */

/* Answer whole with x->status and x->reply, or with x->err where rc < 0. */
void hs_exchange_answer(struct hs_exchange *x, int rc);

void hs_exchange_begin_stream(struct hs_exchange *x, const char *content_type);
void hs_exchange_content(struct hs_exchange *x, const void *data, size_t len, bool last);

/* Keep x alive across asynchronous work; the last release frees it where it was answered or its client is gone. */
void hs_exchange_hold(struct hs_exchange *x);
void hs_exchange_release(struct hs_exchange *x);

/* Run on a reader, the writer or the recorder, then `done` on the loop. A full queue answers as busy and returns -EBUSY. */
int hs_exchange_on_reader(struct hs_exchange *x, int (*run)(struct hs_exchange *, struct hs_read_context *),
			  void (*done)(struct hs_exchange *, int rc)) HS_MUST_CHECK;
int hs_exchange_on_writer(struct hs_exchange *x, int (*run)(struct hs_exchange *, struct hs_write_context *),
			  void (*done)(struct hs_exchange *, int rc)) HS_MUST_CHECK;
int hs_exchange_on_recorder(struct hs_exchange *x, int (*run)(struct hs_exchange *, struct hs_read_context *),
			    void (*done)(struct hs_exchange *, int rc)) HS_MUST_CHECK;

/* --- for handlers, on any thread --- */

/* The body as one JSON object. -EINVAL "request.json". */
int hs_exchange_json(struct hs_exchange *x, json_t **ret) HS_MUST_CHECK;

/* Put a JSON value into the reply; consumes the reference, also on failure (NULL gives -ENOMEM). */
int hs_exchange_reply(struct hs_exchange *x, json_t *value) HS_MUST_CHECK;

/* A query parameter, percent-decoded into the arena; NULL where absent or malformed. */
const char *hs_exchange_query(struct hs_exchange *x, const char *name);

/* Ask for an audit record before release. Strings must live in the arena or be static. */
void hs_exchange_audit(struct hs_exchange *x, const char *action, const char *object, enum hs_audit_decision decision);

/* Before what was found is recorded and shown: the person and the grant still stand, as db has it. -EACCES, -ESTALE. */
int hs_exchange_recheck(struct hs_exchange *x, sqlite3 *db) HS_MUST_CHECK;

/* On the recorder, for what changed nothing: look again, then write x->entry; synced when it returns. */
int hs_exchange_record(struct hs_exchange *x, struct hs_read_context *c, uint64_t *ret_seq) HS_MUST_CHECK;

/* Write x->entry now, on the writer or the recorder: synced when it returns. Otherwise hs_exchange_audit does it before release. */
int hs_exchange_append_audit(struct hs_exchange *x, uint64_t *ret_seq) HS_MUST_CHECK;

/* What another asks of the queue is refused: -EBUSY, and x->err says so. */
int hs_exchange_busy(struct hs_exchange *x);

/* Judged again, then x->route->write, in the open transaction. */
int hs_exchange_write(struct hs_exchange *x, struct hs_write_context *c) HS_MUST_CHECK;

/* x->entry gets who, when and after which commit. Under the log's lock. */
void hs_exchange_complete_entry(struct hs_exchange *x, int64_t now_ms);

/*
 * On the writer thread, one transaction: write (which may ask for an audit record), record, commit. The record is on disk
 * before the change is, and nothing else is recorded between the two: what the log tells after it was judged with it.
 * *ret_seq (or NULL): the record's sequence, 0 for none; untouched on failure.
 */
int hs_exchange_transaction(struct hs_exchange *x, struct hs_write_context *c,
			    int (*write)(struct hs_exchange *, struct hs_write_context *), uint64_t *ret_seq) HS_MUST_CHECK;

extern const struct hs_route hs_routes[];
extern const size_t hs_n_routes;

#endif
