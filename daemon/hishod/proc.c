#include "daemon/hishod/keeper.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

void hs_proc_init(struct keeper *k, struct proc *p, enum hs_process role, const char *program, struct tenant *t)
{
	*p = (struct proc){.keeper = k, .role = role, .program = program, .tenant = t, .next = k->procs};
	k->procs = p;
	(void)uv_timer_init(&k->loop, &p->timer); /* cannot fail */
	p->timer.data = p;
	p->timer_open = true;
}

const char *hs_proc_state_name(const struct proc *p)
{
	static const char *const names[] = {"off", "starting", "ready", "waiting"};
	return p->absent ? "absent" : names[p->state];
}

/* --- wiring --- */

/* Only tenants talk to others: to each of these. */
static bool related(const struct proc *a, const struct proc *b)
{
	if (b->role == HS_PROCESS_TENANT)
		return a->role != HS_PROCESS_TENANT;
	return a->role == HS_PROCESS_TENANT;
}

static int announce(struct proc *to, const struct proc *peer, const struct tenant *t, int fd)
{
	char name[HS_ID_LEN + 2 + HS_LIMITS_TEXT_MAX + 4] = "", terms[HS_LIMITS_TEXT_MAX + 4], text[HS_LIMITS_TEXT_MAX];
	struct hs_limits limits;
	hs_config_limits(to->keeper->config, t->name, &limits);
	hs_limits_format(&limits, text);
	(void)snprintf(terms, sizeof terms, "%s %u", text, hs_config_adapter(to->keeper->config, t->name)); /* fits: two digits */
	const char *more = to->role == HS_PROCESS_WEB ? t->name : to->role == HS_PROCESS_INFER ? terms : "";
	const char *between = to->role == HS_PROCESS_WEB ? "/" : to->role == HS_PROCESS_INFER ? " " : "";
	(void)snprintf(name, sizeof name, "%s%s%s", t->id.s, between, more); /* the size is the largest sum */
	HS_BUF_AUTO b = HS_BUF_INIT;
	int rc = hs_put_channel(&b, peer->role, hs_slice_str(name));
	if (rc < 0)
		return rc;
	struct hs_frame f = {
	    .type = HS_MSG_CHANNEL, .payload = b.data, .payload_len = b.len, .n_fds = fd >= 0 ? 1 : 0, .fds = {fd}};
	return hs_channel_send_frame(to->control, &f);
}

static void connect_two(struct proc *a, struct proc *b)
{
	const struct tenant *t = a->tenant ? a->tenant : b->tenant;
	int pair[2];
	int rc = hs_channel_pair(pair);
	if (rc == 0) {
		rc = announce(a, b, t, pair[0]);
		if (rc == 0)
			rc = announce(b, a, t, pair[1]);
		(void)close(pair[0]); /* the messages hold duplicates */
		(void)close(pair[1]); /* as above */
	}
	if (rc < 0)
		hs_log("no channel between %s and %s: %s", a->program, b->program, strerror(-rc));
}

static void wire(struct proc *p)
{
	for (struct proc *q = p->keeper->procs; q; q = q->next) {
		if (q != p && q->control && related(p, q))
			connect_two(p, q);
	}
}

/* --- life --- */

static void on_timer(uv_timer_t *timer)
{
	struct proc *p = timer->data;
	if (p->alive)
		hs_spawn_kill(p);
	else if (p->wanted)
		hs_proc_start(p);
}

void hs_proc_end_soon(struct proc *p)
{
	(void)uv_timer_start(&p->timer, on_timer, p->keeper->units ? HS_UNIT_SHUTDOWN_MS : HS_SHUTDOWN_MS, 0); /* cannot fail */
}

void hs_proc_disconnect(struct proc *p)
{
	hs_channel_destroy(p->control);
	p->control = NULL;
	json_decref(p->status);
	p->status = NULL;
	if (p->role == HS_PROCESS_KEYD)
		hs_tenants_lost_keyd(p->keeper);
}

void hs_proc_ended(struct proc *p)
{
	struct keeper *k = p->keeper;
	p->alive = false;
	p->pid = 0;
	(void)uv_timer_stop(&p->timer); /* cannot fail */
	if (p->wanted && !p->was_ready && !k->serving && (p->role == HS_PROCESS_KEYD || p->role == HS_PROCESS_WEB)) {
		hs_log("%s could not start", p->program);
		k->failed = true;
		p->state = PROC_OFF;
		hs_keeper_stop(k);
		return;
	}
	if (!p->wanted || p->absent) {
		p->state = PROC_OFF;
		hs_keeper_on_off(p);
		return;
	}
	if (p->started && hs_monotonic_ms() - p->started >= HS_STEADY_MS)
		p->failures = 0;
	unsigned wait = HS_BACKOFF_MIN_MS << HS_MIN(p->failures, 7u);
	p->failures++;
	p->restarts++;
	p->state = PROC_WAITING;
	(void)uv_timer_start(&p->timer, on_timer, HS_MIN(wait, (unsigned)HS_BACKOFF_MAX_MS), 0); /* cannot fail: has a callback */
}

static void take_ready(struct proc *p, const struct hs_frame *f)
{
	struct hs_msg_ready ready;
	if (p->state != PROC_STARTING || hs_get_ready(f->payload, f->payload_len, &ready) < 0) {
		hs_log("%s broke the protocol: message %u", p->program, f->type);
		hs_spawn_kill(p);
		return;
	}
	if (p->keeper->units)
		p->pid = (int)HS_MIN(ready.pid, (uint32_t)INT32_MAX);
	p->state = PROC_READY;
	p->was_ready = true;
	hs_keeper_on_ready(p, ready.url);
}

static void on_frame(void *ctx, struct hs_frame *f)
{
	struct proc *p = ctx;
	switch (f->type) {
	case HS_MSG_READY:
		take_ready(p, f);
		return;
	case HS_MSG_PONG:
		p->ponged = hs_monotonic_ms();
		return;
	case HS_MSG_STATUS_REPLY:
		hs_status_reply(p, f);
		return;
	default:
		hs_keeper_on_frame(p, f);
	}
}

static void on_gone(void *ctx, const struct hs_err *why)
{
	struct proc *p = ctx;
	hs_channel_destroy(p->control);
	p->control = NULL;
	hs_spawn_lost(p);
}

void hs_proc_start(struct proc *p)
{
	static const struct hs_channel_events events = {.frame = on_frame, .gone = on_gone};
	struct keeper *k = p->keeper;
	const struct hs_channel_options options = {HS_PROCESS_KEEPER, p->role, ""};
	int control;
	if (p->alive || p->absent || k->stopping)
		return;
	p->wanted = true;
	p->was_ready = p->cut = false;
	int rc = hs_spawn(p, &control);
	if (rc == 0) {
		p->state = PROC_STARTING;
		p->started = p->ponged = hs_monotonic_ms();
		rc = hs_channel_create(&k->loop, control, &options, &events, p, &p->control);
	}
	if (rc == 0) {
		wire(p);
		return;
	}
	hs_log("%s cannot be started: %s", p->program, strerror(-rc));
	if (p->alive)
		hs_spawn_kill(p); /* its end is handled like any other */
	else
		hs_proc_ended(p); /* so is that it never began */
}

void hs_proc_stop(struct proc *p)
{
	p->wanted = false;
	(void)uv_timer_stop(&p->timer); /* cannot fail */
	if (!p->alive) {
		p->state = PROC_OFF;
		hs_keeper_on_off(p);
		return;
	}
	if (p->role == HS_PROCESS_KEYD && p->state == PROC_STARTING) {
		hs_spawn_end(p); /* it may wait for someone to type, and hears nothing */
	} else if (p->control) {
		(void)hs_channel_send(p->control, HS_MSG_SHUTDOWN, 0, 0, NULL, 0); /* gone() tells a failure */
		hs_proc_end_soon(p);
	} else {
		hs_spawn_lost(p);
	}
}

void hs_proc_ping_all(struct keeper *k)
{
	uint64_t now = hs_monotonic_ms();
	for (struct proc *p = k->procs; p; p = p->next) {
		if (!p->alive || !p->control || p->state != PROC_READY)
			continue;
		if (now - p->ponged > HS_PONG_MS) {
			hs_log("%s does not answer and is ended", p->program);
			hs_spawn_kill(p);
		} else {
			(void)hs_channel_send(p->control, HS_MSG_PING, 0, 0, NULL, 0); /* gone() tells a failure */
		}
	}
}
