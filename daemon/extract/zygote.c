#include "daemon/extract/zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "daemon/channel.h"

/* Places of the descriptors in a child; everything above is closed. */
#define CHILD_INPUT 3
#define CHILD_OUTPUT 4
#define NAME_MAX_LEN 1024 /* the message's own limit */
#define CHILD_FDS_MAX 1024 /* the zygote's own descriptors lie below: its jail says so */

struct tenant {
	struct tenant *next;
	struct hs_zygote *zygote;
	struct hs_channel *channel;
};

struct task {
	struct task *next;
	struct tenant *tenant; /* NULL: gone; nobody hears of the end */
	uint64_t request;
	int input, output;
	char name[NAME_MAX_LEN + 1], media[NAME_MAX_LEN + 1];
	pid_t pid; /* 0: waits */
	uint64_t started;
	bool timed_out;
};

struct hs_zygote {
	uv_loop_t *loop;
	struct hs_zygote_options o;
	struct tenant *tenants;
	struct task *tasks; /* oldest first */
	size_t n_tasks, n_running;
	uv_signal_t child_signal;
	uv_timer_t clock; /* looks for children past their time */
	unsigned open_handles;
	bool closing;
};

#define CLOCK_MS 200

static void on_clock(uv_timer_t *timer);

static void free_task(struct task *t)
{
	hs_close(&t->input);
	hs_close(&t->output);
	free(t);
}

static void take_out(struct hs_zygote *z, struct task *t)
{
	struct task **at = &z->tasks;
	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	z->n_tasks--;
	z->n_running -= t->pid != 0;
	if (z->n_running == 0)
		(void)uv_timer_stop(&z->clock); /* cannot fail */
}

static void answer(struct task *t, int num, const char *code)
{
	if (!t->tenant || !t->tenant->channel)
		return;
	if (num == 0) {
		uint8_t zero[4] = {0};
		hs_ignore(hs_channel_send(t->tenant->channel, HS_MSG_EXTRACT_DONE, t->request, 0, zero, sizeof zero));
		return;
	}
	struct hs_err err = HS_ERR_INIT;
	(void)hs_fail(&err, num, code, hs_document_hint(code), "%s", t->name);
	hs_ignore(hs_channel_send_error(t->tenant->channel, t->request, &err));
}

/* --- in the child --- */

static void limit_cpu(uint64_t seconds)
{
	if (seconds == 0)
		return;
	const struct rlimit l = {seconds, seconds + 1};
	if (setrlimit(RLIMIT_CPU, &l) < 0)
		_exit(70); /* a child without its limit must not read anything */
}

/* Everything above the child's own. One poll says which of them are open: a thousand calls of close cost a millisecond. */
static void close_others(void)
{
	struct pollfd fds[CHILD_FDS_MAX - CHILD_OUTPUT - 1];
	for (size_t i = 0; i < HS_ARRAY_LEN(fds); i++)
		fds[i] = (struct pollfd){.fd = CHILD_OUTPUT + 1 + (int)i};
	bool known = poll(fds, HS_ARRAY_LEN(fds), 0) >= 0;
	for (size_t i = 0; i < HS_ARRAY_LEN(fds); i++) {
		if (!known || !(fds[i].revents & POLLNVAL))
			(void)close(fds[i].fd); /* nothing was written through them */
	}
}

/* Never returns. Nothing of the loop is touched: it belongs to the parent. */
static void __attribute__((noreturn)) be_child(const struct hs_zygote *z, const struct task *t)
{
	sigset_t none;
	(void)sigemptyset(&none); /* cannot fail */
	static const int defaults[] = {SIGCHLD, SIGTERM, SIGINT, SIGPIPE};
	for (size_t i = 0; i < HS_ARRAY_LEN(defaults); i++)
		(void)signal(defaults[i], i == 3 ? SIG_IGN : SIG_DFL); /* known signals: cannot fail */
	(void)sigprocmask(SIG_SETMASK, &none, NULL);               /* as above */
	for (int fd = 0; fd <= 2; fd++) {
		if (dup2(z->o.null_fd, fd) < 0)
			_exit(71);
	}
	int input = fcntl(t->input, F_DUPFD, CHILD_OUTPUT + 1), output = fcntl(t->output, F_DUPFD, CHILD_OUTPUT + 1);
	if (input < 0 || output < 0 || dup2(input, CHILD_INPUT) < 0 || dup2(output, CHILD_OUTPUT) < 0)
		_exit(71);
	close_others();
	int flags = fcntl(CHILD_OUTPUT, F_GETFL);
	if (flags < 0 || fcntl(CHILD_OUTPUT, F_SETFL, flags & ~O_NONBLOCK) < 0)
		_exit(71);
	limit_cpu(z->o.cpu_seconds);
	if (z->o.confine && z->o.confine() < 0)
		_exit(72);
	_exit(hs_extract_one(z->o.reader, CHILD_INPUT, CHILD_OUTPUT, t->name, t->media, z->o.input_max) < 0 ? 1 : 0);
}

/* --- in the parent --- */

static int start(struct hs_zygote *z, struct task *t)
{
	sigset_t all, before;
	(void)sigfillset(&all);                       /* cannot fail */
	(void)sigprocmask(SIG_SETMASK, &all, &before); /* no handler of the loop may run in the child */
	pid_t pid = fork();
	if (pid == 0)
		be_child(z, t);
	int rc = pid < 0 ? -errno : 0;
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	hs_close(&t->input);
	hs_close(&t->output); /* else the reader of the pipe would never see its end */
	t->input = t->output = -1;
	if (rc < 0)
		return rc;
	t->pid = pid;
	uv_update_time(z->loop);
	t->started = uv_now(z->loop);
	z->n_running++;
	(void)uv_timer_start(&z->clock, on_clock, CLOCK_MS, CLOCK_MS); /* fails only for a closing handle */
	return 0;
}

static void run_next(struct hs_zygote *z)
{
	for (struct task *t = z->tasks, *next; t && z->n_running < HS_ZYGOTE_RUNNING_MAX && !z->closing; t = next) {
		next = t->next;
		if (t->pid)
			continue;
		int rc = start(z, t);
		if (rc == 0)
			continue;
		answer(t, -rc, "extract.fork"); /* for want of memory or processes: the machine's, not the document's */
		take_out(z, t);
		free_task(t);
	}
}

static void end(struct hs_zygote *z, struct task *t, int status)
{
	int signal_number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	if (t->timed_out || signal_number == SIGXCPU || (signal_number == SIGKILL && z->o.cpu_seconds))
		answer(t, ETIMEDOUT, "doc.extractor_timeout");
	else if (signal_number)
		answer(t, EIO, "doc.extractor_crashed");
	else if (WEXITSTATUS(status) != 0)
		answer(t, EIO, "doc.extractor_crashed");
	else
		answer(t, 0, NULL);
	take_out(z, t);
	free_task(t);
}

static void on_child(uv_signal_t *handle, int number)
{
	struct hs_zygote *z = handle->data;
	for (struct task *t = z->tasks, *next; t; t = next) {
		next = t->next;
		int status;
		if (t->pid && waitpid(t->pid, &status, WNOHANG) == t->pid)
			end(z, t, status);
	}
	run_next(z);
}

static void kill_task(struct task *t)
{
	if (t->pid)
		(void)kill(t->pid, SIGKILL); /* ours and not waited for yet: it is that process */
}

static void on_clock(uv_timer_t *timer)
{
	struct hs_zygote *z = timer->data;
	uint64_t now = uv_now(z->loop);
	for (struct task *t = z->tasks; t; t = t->next) {
		if (t->pid && !t->timed_out && now - t->started >= z->o.timeout_ms) {
			t->timed_out = true;
			kill_task(t);
		}
	}
}

static void copy_slice(char out[static NAME_MAX_LEN + 1], struct hs_slice s)
{
	size_t n = s.s ? strnlen(s.s, HS_MIN(s.len, (size_t)NAME_MAX_LEN)) : 0;
	if (n)
		memcpy(out, s.s, n);
	out[n] = '\0';
}

static void take_document(struct tenant *tenant, struct hs_frame *f)
{
	struct hs_zygote *z = tenant->zygote;
	struct hs_slice name, media;
	struct hs_err err = HS_ERR_INIT;
	if (f->n_fds != 2 || hs_get_extract(f->payload, f->payload_len, &name, &media) < 0) {
		(void)hs_fail(&err, EPROTO, "message.malformed", "", "EXTRACT");
		hs_ignore(hs_channel_send_error(tenant->channel, f->request, &err));
		return;
	}
	struct task *t = z->n_tasks < HS_ZYGOTE_WAITING_MAX ? calloc(1, sizeof *t) : NULL;
	if (!t) {
		(void)hs_fail(&err, EBUSY, "extract.busy", HS_N_("Too many documents wait to be read. The document is read again later."), "%zu",
			      z->n_tasks);
		hs_ignore(hs_channel_send_error(tenant->channel, f->request, &err));
		return;
	}
	t->tenant = tenant;
	t->request = f->request;
	t->input = f->fds[0];
	t->output = f->fds[1];
	f->fds[0] = f->fds[1] = -1;
	copy_slice(t->name, name);
	copy_slice(t->media, media);
	struct task **at = &z->tasks;
	while (*at)
		at = &(*at)->next;
	*at = t;
	z->n_tasks++;
	run_next(z);
}

/* The asker gave up: nobody reads the pipe any more. */
static void abandon(struct hs_zygote *z, struct task *t)
{
	t->tenant = NULL;
	if (t->pid) {
		kill_task(t);
	} else {
		take_out(z, t);
		free_task(t);
	}
}

/* request NULL: all of the tenant's. */
static void cancel(struct tenant *tenant, const uint64_t *request)
{
	struct hs_zygote *z = tenant->zygote;
	for (struct task *t = z->tasks, *next; t; t = next) {
		next = t->next;
		if (t->tenant == tenant && (!request || t->request == *request))
			abandon(z, t);
	}
}

static void on_frame(void *ctx, struct hs_frame *f)
{
	struct tenant *tenant = ctx;
	if (f->type == HS_MSG_EXTRACT)
		take_document(tenant, f);
	else if (f->type == HS_MSG_CANCEL)
		cancel(tenant, &f->request);
}

static void drop_tenant(struct tenant *tenant)
{
	struct hs_zygote *z = tenant->zygote;
	cancel(tenant, NULL);
	struct tenant **at = &z->tenants;
	while (*at != tenant)
		at = &(*at)->next;
	*at = tenant->next;
	hs_channel_destroy(tenant->channel);
	free(tenant);
}

static void on_gone(void *ctx, const struct hs_err *why)
{
	drop_tenant(ctx);
}

int hs_zygote_create(uv_loop_t *loop, const struct hs_zygote_options *o, struct hs_zygote **ret)
{
	struct hs_zygote *z = calloc(1, sizeof *z);
	if (!z)
		return -ENOMEM;
	z->loop = loop;
	z->o = *o;
	int rc = uv_signal_init(loop, &z->child_signal);
	if (rc < 0) {
		free(z);
		return rc;
	}
	(void)uv_timer_init(loop, &z->clock); /* cannot fail */
	z->child_signal.data = z->clock.data = z;
	z->open_handles = 2;
	rc = uv_signal_start(&z->child_signal, on_child, SIGCHLD);
	if (rc < 0) {
		hs_zygote_destroy(z);
		return rc;
	}
	*ret = z;
	return 0;
}

int hs_zygote_attach(struct hs_zygote *z, const char *tenant, int fd)
{
	struct tenant *t = calloc(1, sizeof *t);
	if (!t) {
		(void)close(fd); /* a socket that nothing was sent on */
		return -ENOMEM;
	}
	t->zygote = z;
	const struct hs_channel_options options = {.self = z->o.self, .peer = HS_PROCESS_TENANT, .name = tenant};
	const struct hs_channel_events events = {.frame = on_frame, .gone = on_gone};
	int rc = hs_channel_create(z->loop, fd, &options, &events, t, &t->channel);
	if (rc < 0) {
		free(t);
		return rc;
	}
	t->next = z->tenants;
	z->tenants = t;
	return 0;
}

size_t hs_zygote_busy(const struct hs_zygote *z)
{
	return z->n_tasks;
}

static void on_closed(uv_handle_t *handle)
{
	struct hs_zygote *z = handle->data;
	if (--z->open_handles == 0)
		free(z);
}

void hs_zygote_destroy(struct hs_zygote *z)
{
	if (!z || z->closing)
		return;
	z->closing = true;
	while (z->tenants)
		drop_tenant(z->tenants);
	while (z->tasks) { /* killed above */
		struct task *t = z->tasks;
		(void)waitpid(t->pid, NULL, 0); /* it was sent SIGKILL: this ends */
		take_out(z, t);
		free_task(t);
	}
	uv_close((uv_handle_t *)&z->child_signal, on_closed);
	uv_close((uv_handle_t *)&z->clock, on_closed);
}
