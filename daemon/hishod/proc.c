#include "daemon/hishod/keeper.h"

#include <errno.h>
#include <signal.h>
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
	char name[HS_ID_LEN + 1 + sizeof t->name];
	(void)snprintf(name, sizeof name, to->role == HS_PROCESS_WEB ? "%s/%s" : "%s", t->id.s, t->name); /* the size is the sum */
	HS_BUF_AUTO b = HS_BUF_INIT;
	int rc = hs_put_channel(&b, peer->role, hs_slice_str(name));
	if (rc < 0)
		return rc;
	struct hs_frame f = {.type = HS_MSG_CHANNEL, .payload = b.data, .payload_len = b.len, .n_fds = fd >= 0 ? 1 : 0, .fds = {fd}};
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
		(void)uv_process_kill(&p->process, SIGKILL); /* it may just have ended by itself */
	else if (p->wanted)
		hs_proc_start(p);
}

static void after_exit(uv_handle_t *handle)
{
	struct proc *p = handle->data;
	struct keeper *k = p->keeper;
	p->alive = false;
	(void)uv_timer_stop(&p->timer); /* cannot fail */
	if (!p->wanted) {
		p->state = PROC_OFF;
		hs_keeper_on_off(p);
		return;
	}
	if (!p->was_ready && !k->serving && (p->role == HS_PROCESS_KEYD || p->role == HS_PROCESS_WEB)) {
		hs_log("%s could not start", p->program);
		k->failed = true;
		p->state = PROC_OFF;
		hs_keeper_stop(k);
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

static void on_exit_status(uv_process_t *process, int64_t status, int signal_number)
{
	struct proc *p = process->data;
	if (signal_number)
		hs_log("%s%s%s was ended by signal %d", p->program, p->tenant ? " of " : "", p->tenant ? p->tenant->name : "", signal_number);
	else if (status != 0 || p->wanted)
		hs_log("%s%s%s ended with status %d", p->program, p->tenant ? " of " : "", p->tenant ? p->tenant->name : "", (int)status);
	hs_channel_destroy(p->control);
	p->control = NULL;
	json_decref(p->status);
	p->status = NULL;
	if (p->role == HS_PROCESS_KEYD)
		hs_tenants_lost_keyd(p->keeper);
	uv_close((uv_handle_t *)process, after_exit);
}

static void on_frame(void *ctx, struct hs_frame *f)
{
	struct proc *p = ctx;
	switch (f->type) {
	case HS_MSG_READY:
		p->state = PROC_READY;
		p->was_ready = true;
		hs_keeper_on_ready(p);
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
	if (p->alive && p->wanted) /* without its control channel it cannot be kept */
		(void)uv_process_kill(&p->process, SIGTERM); /* it may just have ended by itself */
	if (p->alive)
		(void)uv_timer_start(&p->timer, on_timer, HS_SHUTDOWN_MS, 0); /* cannot fail: has a callback */
}

/* Arguments of a program, in text that outlives the call to uv_spawn. */
struct arguments {
	const char *argv[16 + 2 * HS_CONFIG_HOSTS_MAX];
	size_t n;
	char program[1200], text[4][1200], number[16];
};

static void add(struct arguments *a, const char *option, const char *value)
{
	hs_assert(a->n + 2 < HS_ARRAY_LEN(a->argv));
	a->argv[a->n++] = option;
	if (value)
		a->argv[a->n++] = value;
}

/* A model's file, relative to the state directory. */
static void add_model(struct arguments *a, const struct keeper *k, const char *option, const char *file, size_t slot)
{
	if (!file)
		return;
	(void)snprintf(a->text[slot], sizeof a->text[slot], "%s%s%s", file[0] == '/' ? "" : k->state, file[0] == '/' ? "" : "/", file);
	add(a, option, a->text[slot]);
}

static void fill_arguments(const struct proc *p, struct arguments *a)
{
	struct keeper *k = p->keeper;
	const struct hs_config *c = k->config;
	a->n = 0;
	add(a, a->program, NULL);
	switch (p->role) {
	case HS_PROCESS_KEYD:
		add(a, "--state", k->state);
		if (k->passphrase)
			add(a, "--passphrase", NULL);
		else if (k->credential)
			add(a, "--credential", k->credential);
		break;
	case HS_PROCESS_WEB:
		add(a, "--state", k->state);
		add(a, "--page", k->page);
		add(a, "--listen", c->listen ? c->listen : "127.0.0.1:8443");
		for (unsigned i = 0; i < c->hosts_count; i++)
			add(a, "--host", c->hosts[i]);
		break;
	case HS_PROCESS_TENANT:
		add(a, "--state", k->state);
		add(a, "--id", p->tenant->id.s);
		add(a, "--name", p->tenant->name);
		break;
	case HS_PROCESS_INFER:
		(void)snprintf(a->text[0], sizeof a->text[0], "%s/models", k->state); /* checked at the start */
		add(a, "--models", a->text[0]);
		add_model(a, k, "--generator", k->generator ? k->generator : c->generator, 1);
		add_model(a, k, "--embedder", k->embedder ? k->embedder : c->embedder, 2);
		if (c->threads) {
			(void)snprintf(a->number, sizeof a->number, "%u", c->threads);
			add(a, "--threads", a->number);
		}
		break;
	default:
		break;
	}
	a->argv[a->n] = NULL;
}

/* Where a program lies: beside hishod, in a room's folder of a build tree, or where they are installed. */
static bool find_program(const struct keeper *k, const char *name, char *out, size_t cap)
{
	static const char *const below[] = {"", "tenant/", "infer/", "extract/"};
	for (size_t i = 0; i < HS_ARRAY_LEN(below); i++) {
		if (snprintf(out, cap, "%s/%s%s", k->programs, below[i], name) < (int)cap && access(out, X_OK) == 0)
			return true;
	}
	return snprintf(out, cap, "%s/%s", HS_LIBEXEC_DIR, name) < (int)cap && access(out, X_OK) == 0;
}

static int spawn(struct proc *p, int control)
{
	static const char *const kept[] = {"LANG", "LC_ALL", "LC_MESSAGES", "TZ", "HISHO_LOCALEDIR", "ASAN_OPTIONS", "UBSAN_OPTIONS"};
	struct keeper *k = p->keeper;
	struct arguments *a = calloc(1, sizeof *a);
	char *env[HS_ARRAY_LEN(kept) + 1] = {NULL};
	size_t n = 0;
	int rc = a ? 0 : -ENOMEM;
	for (size_t i = 0; i < HS_ARRAY_LEN(kept) && rc == 0; i++) {
		const char *value = getenv(kept[i]);
		if (value && asprintf(&env[n++], "%s=%s", kept[i], value) < 0)
			rc = -ENOMEM;
	}
	if (rc == 0 && !find_program(k, p->program, a->program, sizeof a->program)) {
		p->absent = true;
		rc = -ENOENT;
	}
	if (rc == 0) {
		fill_arguments(p, a);
		uv_stdio_container_t stdio[HS_CONTROL_FD + 1] = {
			{.flags = p->role == HS_PROCESS_KEYD && k->passphrase ? UV_INHERIT_FD : UV_IGNORE, .data.fd = 0},
			{.flags = UV_INHERIT_FD, .data.fd = 2},
			{.flags = UV_INHERIT_FD, .data.fd = 2},
			{.flags = UV_INHERIT_FD, .data.fd = control},
		};
		const uv_process_options_t options = {
		    .exit_cb = on_exit_status,
		    .file = a->program,
		    .args = (char **)a->argv,
		    .env = env,
		    .stdio_count = HS_CONTROL_FD + 1,
		    .stdio = stdio,
		    .flags = UV_PROCESS_DETACHED, /* Ctrl-C is ours to act on, in order */
		};
		rc = uv_spawn(&k->loop, &p->process, &options);
		p->process.data = p;
		p->alive = rc == 0;
		if (rc < 0) /* uv_spawn has made the handle even so */
			uv_close((uv_handle_t *)&p->process, NULL);
	}
	for (size_t i = 0; i < n; i++)
		free(env[i]);
	free(a);
	return rc;
}

void hs_proc_start(struct proc *p)
{
	static const struct hs_channel_events events = {.frame = on_frame, .gone = on_gone};
	struct keeper *k = p->keeper;
	if (p->alive || p->absent || k->stopping)
		return;
	p->wanted = true;
	p->was_ready = false;
	int pair[2];
	int rc = hs_channel_pair(pair);
	if (rc == 0) {
		rc = spawn(p, pair[1]);
		(void)close(pair[1]); /* the child has it */
		const struct hs_channel_options options = {HS_PROCESS_KEEPER, p->role, ""};
		if (rc == 0)
			rc = hs_channel_create(&k->loop, pair[0], &options, &events, p, &p->control);
		else
			(void)close(pair[0]); /* never used */
	}
	if (rc < 0) {
		hs_log("%s cannot be started: %s", p->program, strerror(-rc));
		if (p->alive)
			(void)uv_process_kill(&p->process, SIGKILL); /* its exit is handled like any other */
		p->state = PROC_OFF;
		if (p->role == HS_PROCESS_KEYD || p->role == HS_PROCESS_WEB) {
			k->failed = true;
			hs_keeper_stop(k);
		}
		return;
	}
	p->state = PROC_STARTING;
	p->started = p->ponged = hs_monotonic_ms();
	wire(p);
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
	if (p->control)
		(void)hs_channel_send(p->control, HS_MSG_SHUTDOWN, 0, 0, NULL, 0); /* gone() tells a failure */
	else
		(void)uv_process_kill(&p->process, SIGTERM); /* it may just have ended by itself */
	(void)uv_timer_start(&p->timer, on_timer, HS_SHUTDOWN_MS, 0); /* cannot fail: has a callback */
}

void hs_proc_ping_all(struct keeper *k)
{
	uint64_t now = hs_monotonic_ms();
	for (struct proc *p = k->procs; p; p = p->next) {
		if (!p->alive || !p->control || p->state != PROC_READY)
			continue;
		if (now - p->ponged > HS_PONG_MS) {
			hs_log("%s does not answer and is ended", p->program);
			(void)uv_process_kill(&p->process, SIGKILL); /* it may just have ended by itself */
		} else {
			(void)hs_channel_send(p->control, HS_MSG_PING, 0, 0, NULL, 0); /* gone() tells a failure */
		}
	}
}
