/*
 * hishod: the keeper. It holds no key; it starts the other programs, watches and restarts them, makes the channels between
 * them, and serves the admin socket.
 */
#include "daemon/hishod/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "crypto/db.h"
#include "daemon/notify.h"

#define FORMAT_LINE "hisho-state 1\n"

/* On the loop: one that hangs is noticed, and the manager starts hishod again. */
static void on_watchdog(uv_timer_t *timer)
{
	hs_notify("WATCHDOG=1");
}

/* --- what the processes tell --- */

static void serve_when_whole(struct keeper *k)
{
	if (k->serving || k->stopping || !k->listed || k->web.state != PROC_READY)
		return;
	k->serving = true;
	hs_log("serving %s", k->state);
	hs_notify("READY=1\nSTATUS=serving");
}

/* Where the page is: for the command line, and for those who look. */
static void write_url(const struct keeper *k, struct hs_slice url)
{
	char line[HS_MSG_URL_MAX + 2];
	int n = snprintf(line, sizeof line, "%.*s\n", (int)url.len, url.s ? url.s : ""); /* its length was checked */
	int rc = hs_file_replace(k->state_fd, "run/url", line, (size_t)n, 0644);
	if (rc < 0)
		hs_log("run/url cannot be written: %s", strerror(-rc));
}

void hs_keeper_on_ready(struct proc *p, struct hs_slice url)
{
	struct keeper *k = p->keeper;
	if (p == &k->keyd)
		hs_tenants_list(k);
	if (p == &k->web)
		write_url(k, url);
	if (p->tenant)
		hs_tenants_tell_acts(p->tenant);
	serve_when_whole(k);
}

void hs_keeper_on_frame(struct proc *p, struct hs_frame *f)
{
	struct keeper *k = p->keeper;
	if (p != &k->keyd || !hs_tenants_frame(k, f)) {
		hs_log("%s broke the protocol: message %u", p->program, f->type);
		hs_spawn_kill(p);
		return;
	}
	serve_when_whole(k);
}

static void close_when_empty(struct keeper *k)
{
	for (struct proc *p = k->procs; p; p = p->next) {
		if (p->alive)
			return;
	}
	for (struct proc *p = k->procs; p; p = p->next) {
		if (p->timer_open)
			uv_close((uv_handle_t *)&p->timer, NULL);
		p->timer_open = false;
	}
}

void hs_keeper_on_off(struct proc *p)
{
	struct tenant *t = p->tenant;
	if (t && t->sealing) {
		struct hs_responder *r = t->sealing;
		t->sealing = NULL;
		hs_tenants_sealed(t, r);
	}
	if (p->keeper->stopping)
		close_when_empty(p->keeper);
}

void hs_keeper_stop(struct keeper *k)
{
	if (k->stopping)
		return;
	k->stopping = true;
	hs_notify("STOPPING=1");
	hs_status_free(k);
	for (struct tenant *t = k->tenants; t; t = t->next)
		t->sealing = NULL;
	hs_tenants_lost_keyd(k);
	hs_admin_close(k);
	uv_close((uv_handle_t *)&k->on_term, NULL);
	uv_close((uv_handle_t *)&k->on_int, NULL);
	uv_close((uv_handle_t *)&k->ping, NULL);
	uv_close((uv_handle_t *)&k->watchdog, NULL);
	for (struct proc *p = k->procs; p; p = p->next)
		hs_proc_stop(p);
	close_when_empty(k);
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct keeper *k = handle->data;
	hs_log("stopping");
	hs_keeper_stop(k);
}

/* A start may take long, for someone has to type a passphrase: the manager's patience lasts while the loop turns. */
#define START_PATIENCE "EXTEND_TIMEOUT_USEC=60000000\nSTATUS=waiting for the keyring and the page"

static void on_ping(uv_timer_t *timer)
{
	struct keeper *k = timer->data;
	if (!k->serving)
		hs_notify(START_PATIENCE);
	hs_proc_ping_all(k);
}

/* --- start: open, jail, validate, serve --- */

static int check_format(struct keeper *k, struct hs_err *err)
{
	HS_BUF_AUTO text = HS_BUF_INIT;
	int rc = hs_file_read(k->state_fd, "format", 256, &text);
	if (rc == -ENOENT)
		return hs_fail(err, ENOENT, "state.missing", HS_N_("No appliance lives there. Make one with `hisho init`."), "%s", k->state);
	if (rc < 0)
		return hs_fail_errno(err, rc, "state.format", k->state);
	if (text.len != strlen(FORMAT_LINE) || memcmp(text.data, FORMAT_LINE, text.len) != 0)
		return hs_fail(err, ENOTSUP, "state.format",
			       HS_N_("This version of Hisho does not know that format. The directory is left alone."), "%.*s",
			       (int)HS_MIN(text.len, 60), (const char *)text.data);
	return 0;
}

/* Beside hishod in a build tree, or where they were installed; the page's files likewise. */
static int find_programs(struct keeper *k)
{
	ssize_t n = readlink("/proc/self/exe", k->programs, sizeof k->programs - 1);
	if (n < 0)
		return -errno;
	k->programs[n] = '\0';
	*strrchr(k->programs, '/') = '\0';
	char index[1200];
	(void)snprintf(k->page, sizeof k->page, "%s/../../web", k->programs); /* fits: programs is smaller */
	(void)snprintf(index, sizeof index, "%s/index.html", k->page);         /* as above */
	if (access(index, R_OK) != 0)
		(void)snprintf(k->page, sizeof k->page, "%s", HS_PAGE_DIR); /* as above */
	return 0;
}

static int open_state(struct keeper *k, struct hs_err *err)
{
	char run[1100];
	k->state_fd = open(k->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (k->state_fd < 0)
		return hs_fail(err, errno, "state.missing", HS_N_("No appliance lives there. Make one with `hisho init`."), "%s", k->state);
	int rc = check_format(k, err);
	if (rc < 0)
		return rc;
	static const char *const folders[] = {"run", "sealed"};
	for (size_t i = 0; i < HS_ARRAY_LEN(folders); i++) {
		if (mkdirat(k->state_fd, folders[i], 0700) < 0 && errno != EEXIST)
			return hs_fail_errno(err, -errno, "state.folder", folders[i]);
	}
	if (snprintf(run, sizeof run, "%s/run", k->state) >= (int)sizeof run)
		return -ENAMETOOLONG;
	k->lock_fd = hs_dir_lock(run, err);
	if (k->lock_fd < 0)
		return k->lock_fd;
	(void)unlinkat(k->state_fd, "run/url", 0); /* of a run before; it is written again when the page is there */
	rc = find_programs(k);
	return rc < 0 ? rc : hs_config_load(k->state_fd, &k->config, err);
}

static void start_all(struct keeper *k)
{
	hs_proc_init(k, &k->keyd, HS_PROCESS_KEYD, "hisho-keyd", NULL);
	hs_proc_init(k, &k->web, HS_PROCESS_WEB, "hisho-web", NULL);
	hs_proc_init(k, &k->infer, HS_PROCESS_INFER, "hisho-infer", NULL);
	hs_proc_init(k, &k->extract, HS_PROCESS_EXTRACT, "hisho-extract", NULL);
	hs_proc_init(k, &k->extract_pdf, HS_PROCESS_EXTRACT_PDF, "hisho-extract-pdf", NULL);
	hs_proc_start(&k->keyd);
	hs_proc_start(&k->web);
	hs_proc_start(&k->extract);
	hs_proc_start(&k->extract_pdf);
	const struct hs_config *c = k->config;
	if (k->generator || k->embedder || k->reranker || c->generator || c->embedder || c->reranker)
		hs_proc_start(&k->infer);
}

static int start(struct keeper *k, struct hs_err *err)
{
	int rc = open_state(k, err);
	const struct hs_jail j = {.role = HS_PROCESS_KEEPER, .keep_all_fds = true, .file_max = UINT64_MAX,
				  .no_exec = k->units != NULL};
	if (rc == 0)
		rc = hs_jail_enter(&j, &k->jail, err);
	if (rc == 0)
		rc = uv_loop_init(&k->loop);
	if (rc == 0)
		rc = hs_admin_open(k, err);
	if (rc < 0)
		return rc;
	uint64_t every = hs_notify_watchdog_ms();
	k->on_term.data = k->on_int.data = k->ping.data = k;
	(void)uv_signal_init(&k->loop, &k->on_term); /* these six cannot fail */
	(void)uv_signal_init(&k->loop, &k->on_int);
	(void)uv_signal_start(&k->on_term, on_signal, SIGTERM);
	(void)uv_signal_start(&k->on_int, on_signal, SIGINT);
	(void)uv_timer_init(&k->loop, &k->ping);
	(void)uv_timer_init(&k->loop, &k->watchdog);
	(void)uv_timer_start(&k->ping, on_ping, HS_PING_MS, HS_PING_MS);
	if (every)
		(void)uv_timer_start(&k->watchdog, on_watchdog, 0, every);
	start_all(k);
	rc = uv_run(&k->loop, UV_RUN_DEFAULT);
	hs_tenants_free(k);
	return k->failed ? -ECHILD : rc < 0 ? rc : 0;
}

int main(int argc, char **argv)
{
	static struct keeper k = {.state_fd = -1, .lock_fd = -1, .admin_fd = -1};
	static const struct option options[] = {{"state", required_argument, NULL, 's'},
						{"generator", required_argument, NULL, 'g'},
						{"embedder", required_argument, NULL, 'e'},
						{"reranker", required_argument, NULL, 'r'},
						{"credential", required_argument, NULL, 'c'},
						{"units", required_argument, NULL, 'u'},
						{"version", no_argument, NULL, 'v'},
						{0}};
	bool usage = false;
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (c) {
		case 's': k.state = optarg; break;
		case 'g': k.generator = optarg; break;
		case 'e': k.embedder = optarg; break;
		case 'r': k.reranker = optarg; break;
		case 'c': k.credential = optarg; break;
		case 'u': k.units = optarg; break;
		case 'v': printf("hishod %s\n", HS_VERSION); return 0;
		default: usage = true;
		}
	}
	if (usage || optind != argc || !k.state || (k.units && k.credential)) {
		fprintf(stderr,
			"usage: hishod --state DIR [--generator FILE] [--embedder FILE] [--reranker FILE]\n"
			"              [--credential FILE | --units DIR]\n");
		return 2;
	}
	char *state = realpath(k.state, NULL), *generator = k.generator ? realpath(k.generator, NULL) : NULL,
	     *embedder = k.embedder ? realpath(k.embedder, NULL) : NULL,
	     *reranker = k.reranker ? realpath(k.reranker, NULL) : NULL;
	struct hs_err err = HS_ERR_INIT;
	k.state = state ? state : k.state; /* a missing one is told by open */
	k.generator = generator ? generator : k.generator;
	k.embedder = embedder ? embedder : k.embedder;
	k.reranker = reranker ? reranker : k.reranker;
	hs_notify_open();
	int rc = strlen(k.state) < 1000 ? start(&k, &err) : -ENAMETOOLONG;
	if (rc < 0) {
		(void)hs_fail_errno(&err, rc, "hishod.start", k.state);
		hs_log_err("stopped", &err);
	}
	hs_config_free(k.config);
	hs_close(&k.state_fd);
	hs_close(&k.lock_fd);
	free(state);
	free(generator);
	free(embedder);
	free(reranker);
	return rc < 0;
}
