#include "daemon/tenant/exchange.h"

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "base/clock.h"
#include "daemon/child.h"
#include "daemon/tenant/chat_events.h"
#include "daemon/tenant/filing.h"
#include "daemon/tenant/heads.h"
#include "daemon/tenant/infer_client.h"
#include "policy/witness.h"

struct hs_exchange *hs_exchange_create(struct hs_tenant *t, const struct hs_transport *transport, void *transport_ctx)
{
	struct hs_exchange *x = calloc(1, sizeof *x);
	if (!x)
		return NULL;
	x->arena = hs_arena_create(HS_EXCHANGE_ARENA_MAX);
	if (!x->arena) {
		free(x);
		return NULL;
	}
	x->tenant = t;
	x->transport = transport;
	x->transport_ctx = transport_ctx;
	x->method = x->path = x->query = x->content_type = x->peer = "";
	x->status = 200;
	x->reply_type = "application/json";
	x->err = HS_ERR_INIT;
	return x;
}

static void free_when_done(struct hs_exchange *x)
{
	if (x->busy || x->holds > 0 || !(x->ended || x->gone))
		return;
	x->transport->release(x->transport_ctx);
	hs_grant_destroy(x->grant);
	sodium_memzero(&x->credential, sizeof x->credential);
	hs_buf_wipe(&x->body);
	hs_buf_wipe(&x->reply);
	hs_arena_destroy(x->arena);
	free(x);
}

void hs_exchange_hold(struct hs_exchange *x)
{
	x->holds++;
}

void hs_exchange_release(struct hs_exchange *x)
{
	hs_assert(x->holds > 0);
	x->holds--;
	free_when_done(x);
}

void hs_exchange_gone(struct hs_exchange *x)
{
	if (x->gone)
		return;
	x->gone = true;
	hs_exchange_hold(x);
	if (x->on_gone)
		x->on_gone(x);
	hs_exchange_release(x);
}

/* One segment of the path against one of the pattern. */
static bool match_path(struct hs_exchange *x, const char *pattern)
{
	const char *path = x->path;
	size_t n_params = 0;
	while (*pattern) {
		if (strncmp(pattern, "{}", 2) == 0) {
			size_t n = strcspn(path, "/");
			if (n == 0 || n_params == HS_EXCHANGE_PARAMS_MAX)
				return false;
			x->params[n_params] = hs_arena_strndup(x->arena, path, n);
			if (!x->params[n_params++])
				return false;
			path += n;
			pattern += 2;
		} else if (*pattern++ != *path++) {
			return false;
		}
	}
	return *path == '\0';
}

int hs_exchange_route(struct hs_exchange *x)
{
	bool path_known = false;
	for (size_t i = 0; i < hs_n_routes; i++) {
		if (!match_path(x, hs_routes[i].path))
			continue;
		path_known = true;
		if (strcmp(hs_routes[i].method, x->method) == 0) {
			x->route = &hs_routes[i];
			return 0;
		}
	}
	if (path_known)
		return hs_fail(&x->err, ENOTSUP, "request.method", HS_N_("This address does not answer that method."), "%s", x->method);
	return hs_fail(&x->err, ENOENT, "request.route", HS_N_("There is nothing at this address."), "%s", x->path);
}

void hs_exchange_begin_stream(struct hs_exchange *x, const char *content_type)
{
	hs_assert(!x->begun);
	x->begun = true;
	if (!x->gone)
		x->transport->begin(x->transport_ctx, x->status, content_type, x->set_cookie, 0, true);
}

void hs_exchange_content(struct hs_exchange *x, const void *data, size_t len, bool last)
{
	hs_assert(x->begun && !x->ended);
	if (!x->gone)
		x->transport->content(x->transport_ctx, data, len, last);
	x->ended = last;
	if (last)
		free_when_done(x);
}

void hs_exchange_answer(struct hs_exchange *x, int rc)
{
	hs_assert(!x->begun);
	if (rc < 0) {
		(void)hs_fail_errno(&x->err, rc, "internal", x->path); /* keeps the story where one was told */
		x->status = hs_error_status(&x->err);
		x->reply_type = "application/json";
		x->set_cookie = NULL;
		hs_denials_record(x);
		hs_buf_wipe(&x->reply);
		if (hs_error_json(&x->reply, &x->err, x->japanese) < 0)
			hs_buf_wipe(&x->reply); /* out of memory: the status alone must tell it */
	}
	x->begun = true;
	if (!x->gone) {
		x->transport->begin(x->transport_ctx, x->status, x->reply_type, x->set_cookie, rc < 0 ? x->retry_s : 0, false);
		x->transport->content(x->transport_ctx, x->reply.data, x->reply.len, true);
	}
	x->ended = true;
	free_when_done(x);
}

/* --- jobs --- */

static void job_on_reader(struct hs_job *job, void *context)
{
	struct hs_exchange *x = HS_CONTAINER_OF(job, struct hs_exchange, job);
	x->rc = x->run_read(x, context);
}

static void job_on_writer(struct hs_job *job, void *context)
{
	struct hs_exchange *x = HS_CONTAINER_OF(job, struct hs_exchange, job);
	x->rc = x->run_write(x, context);
}

static void job_done(struct hs_job *job)
{
	struct hs_exchange *x = HS_CONTAINER_OF(job, struct hs_exchange, job);
	x->busy = false;
	hs_exchange_hold(x); /* run_done may answer; x must outlive the call */
	x->run_done(x, x->rc);
	hs_exchange_release(x);
}

int hs_exchange_busy(struct hs_exchange *x)
{
	return hs_fail(&x->err, EBUSY, "request.busy", HS_N_("The service is busy. Try again shortly."), "%s", x->path);
}

static int push(struct hs_exchange *x, struct hs_worker *worker, void (*run)(struct hs_job *, void *))
{
	hs_assert(!x->busy);
	x->job = (struct hs_job){.run = run, .done = job_done};
	int rc = hs_worker_push(worker, &x->job);
	if (rc < 0)
		return hs_exchange_busy(x);
	x->busy = true;
	return 0;
}

int hs_exchange_on_reader(struct hs_exchange *x, int (*run)(struct hs_exchange *, struct hs_read_context *),
			  void (*done)(struct hs_exchange *, int rc))
{
	x->run_read = run;
	x->run_done = done;
	return push(x, x->tenant->readers, job_on_reader);
}

int hs_exchange_on_writer(struct hs_exchange *x, int (*run)(struct hs_exchange *, struct hs_write_context *),
			  void (*done)(struct hs_exchange *, int rc))
{
	x->run_write = run;
	x->run_done = done;
	return push(x, x->tenant->writer, job_on_writer);
}

int hs_exchange_on_recorder(struct hs_exchange *x, int (*run)(struct hs_exchange *, struct hs_read_context *),
			    void (*done)(struct hs_exchange *, int rc))
{
	x->run_read = run;
	x->run_done = done;
	return push(x, x->tenant->recorder, job_on_reader);
}

/* --- the gate --- */

static int judge(struct hs_exchange *x, struct hs_read_context *c)
{
	const struct hs_route *route = x->route;
	int64_t now = hs_tenant_now(x->tenant);
	sqlite3 *db = hs_reader_db(c->reader);
	int rc;
	switch (route->gate) {
	case HS_GATE_OPEN:
		return 0;
	case HS_GATE_LOCAL:
	case HS_GATE_SCOPE:
		break;
	default:
		return hs_fail(&x->err, EACCES, "auth.refused", "", "%s", x->path);
	}
	if (x->has_credential) {
		rc = hs_authenticate(x->tenant->gate, db, &x->credential, now, &x->who, &x->err);
	} else if (route->gate == HS_GATE_LOCAL && x->local) {
		rc = hs_principal_local(x->tenant->gate, db, x->uid, &x->who);
		if (rc == 0)
			x->who.scopes |= HS_SCOPE_AUDIT | HS_SCOPE_INGEST; /* who holds the host; every act is recorded */
	} else {
		return hs_fail(&x->err, EACCES, "auth.missing", HS_N_("Sign in, or send a token as Authorization: Bearer."), "%s",
			       x->path);
	}
	if (rc < 0)
		return rc;
	if ((x->who.scopes & route->scope) != route->scope || route->scope == 0)
		return hs_fail(&x->err, EPERM, "auth.scope", HS_N_("This credential does not permit that."), "%s", x->path);
	if (route->grant)
		return hs_policy_resolve(db, &x->who, now, &x->grant, &x->err);
	return 0;
}

static int run_gate(struct hs_exchange *x, struct hs_read_context *c)
{
	int rc = judge(x, c);
	if (rc == 0 && x->route->read)
		rc = x->route->read(x, c);
	return rc;
}

void hs_exchange_complete_entry(struct hs_exchange *x, int64_t now_ms)
{
	x->entry.principal = x->who.user;
	x->entry.time = now_ms;
	x->entry.commit_seq = hs_store_commit_seq(x->tenant->store);
}

/* Under the log's lock. */
static int append_audit(struct hs_exchange *x, uint64_t *ret_seq)
{
	struct hs_tenant *t = x->tenant;
	uint64_t seq;
	hs_exchange_complete_entry(x, hs_now_ms());
	int rc = hs_audit_append(t->audit, &x->entry, &seq, &x->err);
	if (rc < 0)
		return rc;
	hs_heads_count(t->heads, seq);
	if (ret_seq)
		*ret_seq = seq;
	return 0;
}

int hs_exchange_append_audit(struct hs_exchange *x, uint64_t *ret_seq)
{
	hs_audit_lock(x->tenant->audit);
	int rc = append_audit(x, ret_seq);
	hs_audit_unlock(x->tenant->audit);
	return rc;
}

int hs_exchange_recheck(struct hs_exchange *x, sqlite3 *db)
{
	uint64_t epoch;
	if (x->route->gate == HS_GATE_OPEN)
		return 0;
	int rc = hs_principal_recheck(db, &x->who, hs_tenant_now(x->tenant));
	if (rc == -EACCES)
		return hs_fail(&x->err, EACCES, "auth.refused", HS_N_("The credential is not valid any more. Sign in again."), "%s", x->path);
	if (rc == 0 && x->grant) {
		rc = hs_policy_epoch(db, &epoch);
		if (rc == 0 && !hs_grant_current(x->grant, epoch, hs_tenant_now(x->tenant)))
			rc = hs_fail(&x->err, ESTALE, "policy.changed", HS_N_("What may be read has changed meanwhile. Ask again."), "%s",
				     x->path);
	}
	return rc;
}

int hs_exchange_record(struct hs_exchange *x, struct hs_read_context *c, uint64_t *ret_seq)
{
	hs_audit_lock(x->tenant->audit);
	int rc = hs_exchange_recheck(x, hs_reader_db(c->reader));
	if (rc == 0)
		rc = append_audit(x, ret_seq);
	hs_audit_unlock(x->tenant->audit);
	return rc;
}

/* The database remembers the record with the change that it tells of: a shortened log is noticed at the next opening. */
static int keep_witness(struct hs_exchange *x)
{
	struct hs_audit_head head;
	hs_audit_head(x->tenant->audit, &head);
	int rc = hs_witness_keep(hs_store_db(x->tenant->store), &head);
	return rc < 0 ? hs_fail_errno(&x->err, rc, "audit.witness", x->tenant->name) : 0;
}

/*
 * Whoever records while rights change would be judged by the old ones and stand in the log behind the change: they wait until it
 * is committed. What is filed changes nobody's rights, and may be long in being synced: nobody waits for it (filing.c).
 */
static int record_and_commit(struct hs_exchange *x, uint64_t *ret_seq)
{
	struct hs_audit *audit = x->tenant->audit;
	hs_audit_lock(audit);
	int rc = append_audit(x, ret_seq);
	if (rc == 0)
		rc = keep_witness(x);
	if (rc == 0)
		rc = hs_store_commit(x->tenant->store, &x->err);
	hs_audit_unlock(audit);
	return rc;
}

int hs_exchange_transaction(struct hs_exchange *x, struct hs_write_context *c,
			    int (*write)(struct hs_exchange *, struct hs_write_context *), uint64_t *ret_seq)
{
	struct hs_store *store = x->tenant->store;
	uint64_t seq = 0;
	x->audited = false;
	int rc = hs_store_begin(store, &x->err);
	if (rc < 0)
		return rc;
	rc = write(x, c);
	if (rc == 0)
		rc = x->audited ? record_and_commit(x, &seq) : hs_store_commit(store, &x->err);
	if (rc < 0)
		hs_store_rollback(store); /* a commit that failed has done it already */
	if (rc < 0 && seq) { /* told as allowed, and then it did not happen: say so */
		x->entry.decision = HS_AUDIT_FAILED;
		x->entry.about = seq;
		hs_ignore(hs_exchange_append_audit(x, NULL)); /* the caller is told of the failure either way */
	}
	if (rc == 0 && ret_seq)
		*ret_seq = seq;
	return rc;
}

int hs_exchange_write(struct hs_exchange *x, struct hs_write_context *c)
{
	int rc = 0;
	if (x->route->gate != HS_GATE_OPEN && x->who.kind != HS_CREDENTIAL_PEER)
		rc = hs_principal_recheck(hs_store_db(x->tenant->store), &x->who, hs_tenant_now(x->tenant));
	return rc < 0 ? rc : x->route->write(x, c);
}

static int run_route_write(struct hs_exchange *x, struct hs_write_context *c)
{
	return hs_exchange_transaction(x, c, hs_exchange_write, NULL);
}

static int run_audit(struct hs_exchange *x, struct hs_read_context *c)
{
	return hs_exchange_record(x, c, NULL);
}

struct touch {
	struct hs_job job;
	struct hs_tenant *tenant;
	struct hs_id session;
};

static void run_touch(struct hs_job *job, void *context)
{
	struct touch *touch = HS_CONTAINER_OF(job, struct touch, job);
	hs_ignore(hs_session_touch(hs_store_db(touch->tenant->store), &touch->session,
				   hs_tenant_now(touch->tenant))); /* a missed touch shortens idle time */
}

static void free_touch(struct hs_job *job)
{
	free(HS_CONTAINER_OF(job, struct touch, job));
}

static void touch_session(struct hs_exchange *x)
{
	struct touch *touch = calloc(1, sizeof *touch);
	if (!touch)
		return;
	*touch = (struct touch){.job = {run_touch, free_touch, NULL}, .tenant = x->tenant, .session = x->who.credential};
	if (hs_worker_push(x->tenant->writer, &touch->job) < 0)
		free(touch);
}

static void wiped(void *ctx, int rc)
{
	int64_t *asked = ctx;
	if (rc < 0 || hs_now_ms() - *asked > HS_WIPE_MS)
		hs_log("hisho-infer forgot late, or was away: %s, after %lld ms", strerror(-rc), (long long)(hs_now_ms() - *asked));
	free(asked);
}

/*
 * Committed: what answers were made of before is forgotten, answers that are being made end. Keys and values of prompts are kept
 * under what their asker could see, so that nobody waits for this.
 */
static void after_write(struct hs_exchange *x, int rc)
{
	bool checked_only = x->audited && strcmp(x->entry.action, "policy.check") == 0;
	int64_t *asked = rc == 0 && x->route->revokes && !checked_only ? malloc(sizeof *asked) : NULL;
	if (asked) {
		*asked = hs_now_ms();
		int told = hs_infer_wipe(x->tenant->infer, wiped, asked);
		if (told < 0 && told != -ENOTCONN) /* no infer: nothing is kept */
			hs_log("hisho-infer was not told to forget: %s", strerror(-told));
		if (told < 0)
			free(asked);
	}
	hs_exchange_answer(x, rc);
}

static void after_gate(struct hs_exchange *x, int rc)
{
	if (rc == 0 && x->who.touch)
		touch_session(x);
	if (rc == 0 && !x->gone && x->route->write)
		rc = x->route->together ? hs_filing_push(x->tenant->filing, x, after_write)
					: hs_exchange_on_writer(x, run_route_write, after_write);
	else if (rc == 0 && !x->gone && x->route->start)
		rc = x->route->start(x);
	else if (rc == 0 && x->audited)
		rc = hs_exchange_on_recorder(x, run_audit, hs_exchange_answer);
	else
		hs_exchange_answer(x, rc);
	if (rc < 0 && !x->begun)
		hs_exchange_answer(x, rc);
}

void hs_exchange_dispatch(struct hs_exchange *x)
{
	int rc = x->route ? 0 : hs_exchange_route(x);
	if (rc == 0 && x->cookie && !x->same_origin && strcmp(x->method, "GET") != 0)
		rc = hs_fail(&x->err, EPERM, "auth.origin", HS_N_("A request that changes something must come from Hisho's own page."), "%s",
			     x->path);
	if (rc == 0)
		rc = hs_exchange_on_reader(x, run_gate, after_gate);
	if (rc < 0)
		hs_exchange_answer(x, rc);
}

/* --- for handlers --- */

int hs_exchange_json(struct hs_exchange *x, json_t **ret)
{
	json_error_t where;
	json_t *root = json_loadb((const char *)x->body.data, x->body.len, JSON_REJECT_DUPLICATES, &where);
	if (!json_is_object(root)) {
		json_decref(root);
		return hs_fail(&x->err, EINVAL, "request.json", HS_N_("The body must be one JSON object in UTF-8."), "%s",
			       root ? "not an object" : where.text);
	}
	*ret = root;
	return 0;
}

static int write_piece(const char *piece, size_t n, void *arg)
{
	return hs_buf_append(arg, piece, n);
}

int hs_exchange_reply(struct hs_exchange *x, json_t *value)
{
	if (!value)
		return -ENOMEM;
	int rc = json_dump_callback(value, write_piece, &x->reply, JSON_COMPACT) < 0 ? -ENOMEM : 0;
	json_decref(value);
	return rc;
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static const char *percent_decoded(struct hs_arena *arena, const char *s, size_t n)
{
	char *out = hs_arena_alloc(arena, n + 1), *p = out;
	if (!out)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '%') {
			int high = i + 2 < n ? hex(s[i + 1]) : -1;
			int low = i + 2 < n ? hex(s[i + 2]) : -1;
			if (high < 0 || low < 0 || (high == 0 && low == 0))
				return NULL;
			*p++ = (char)(high << 4 | low);
			i += 2;
		} else {
			*p++ = s[i] == '+' ? ' ' : s[i];
		}
	}
	*p = '\0';
	return out;
}

const char *hs_exchange_query(struct hs_exchange *x, const char *name)
{
	size_t name_len = strlen(name);
	for (const char *p = x->query; *p;) {
		size_t n = strcspn(p, "&");
		if (n > name_len && strncmp(p, name, name_len) == 0 && p[name_len] == '=')
			return percent_decoded(x->arena, p + name_len + 1, n - name_len - 1);
		p += n + (p[n] == '&');
	}
	return NULL;
}

void hs_exchange_audit(struct hs_exchange *x, const char *action, const char *object, enum hs_audit_decision decision)
{
	x->audited = true;
	x->entry = (struct hs_audit_entry){.action = action, .object = object, .decision = decision};
}
