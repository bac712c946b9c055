#include "daemon/extract/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "daemon/child.h"
#include "daemon/jail.h"

#define CHILD_CPU_SECONDS 60
#define CHILD_TIMEOUT_MS 80000 /* below the tenant's own, so that it hears the reason */

struct program {
	uv_loop_t loop;
	struct hs_child *child;
	struct hs_zygote *zygote;
	struct hs_jail_report jail;
};

static enum hs_process role; /* for confine, which a forked child calls */

static int confine(void)
{
	const struct hs_jail j = {.role = role, .filter_only = true};
	struct hs_jail_report report;
	return hs_jail_enter(&j, &report, NULL);
}

static void on_channel(void *ctx, enum hs_process peer, const char *name, int fd)
{
	struct program *p = ctx;
	if (peer != HS_PROCESS_TENANT || !p->zygote) {
		(void)close(fd); /* nobody else asks an extractor */
		return;
	}
	int rc = hs_zygote_attach(p->zygote, name, fd);
	if (rc < 0)
		hs_log("channel to %s: %s", name, strerror(-rc));
}

static int on_status(void *ctx, struct hs_buf *out)
{
	struct program *p = ctx;
	int rc = hs_buf_printf(out, "{\"documents\":%zu,", p->zygote ? hs_zygote_busy(p->zygote) : 0);
	if (rc == 0)
		rc = hs_jail_report_json(&p->jail, out);
	return rc < 0 ? rc : hs_buf_append_str(out, "}");
}

static void on_shutdown(void *ctx)
{
	struct program *p = ctx;
	hs_zygote_destroy(p->zygote); /* what runs is read again: the tenant's jobs are durable */
	p->zygote = NULL;
	hs_child_destroy(p->child);
	p->child = NULL;
}

static int serve(struct program *p, const struct hs_extract_program *what, int null_fd)
{
	int rc = uv_loop_init(&p->loop);
	if (rc < 0)
		return rc;
	const struct hs_zygote_options options = {
		.self = what->self, .reader = what->reader, .input_max = what->input_max, .cpu_seconds = CHILD_CPU_SECONDS,
		.timeout_ms = CHILD_TIMEOUT_MS, .null_fd = null_fd, .confine = confine,
	};
	rc = hs_zygote_create(&p->loop, &options, &p->zygote);
	if (rc < 0)
		return rc;
	static const struct hs_child_events events = {.channel = on_channel, .status = on_status, .shutdown = on_shutdown};
	rc = hs_child_create(&p->loop, what->self, "", &events, p, &p->child);
	if (rc == 0)
		rc = hs_child_ready(p->child, NULL);
	if (rc < 0)
		return rc;
	(void)uv_run(&p->loop, UV_RUN_DEFAULT); /* until on_shutdown has closed everything */
	return uv_loop_close(&p->loop);
}

int hs_extract_program_run(const struct hs_extract_program *what, int argc, char **argv)
{
	static struct program p;
	struct hs_err err = HS_ERR_INIT;
	role = what->self;
	if (hs_child_arguments(&argc, &argv, &err) < 0) {
		hs_log_err("start", &err);
		return 1;
	}
	if (argc > 1) {
		hs_log("takes no arguments; hishod starts it");
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN); /* a known signal: cannot fail */
	int rc = what->prepare();
	if (rc < 0) {
		hs_log("loading: %s", strerror(-rc));
		return 1;
	}
	HS_FD_AUTO null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0) {
		hs_log("/dev/null: %s", strerror(errno));
		return 1;
	}
	struct hs_jail jail = {.role = what->self, .memory_max = what->memory_max, .fds_max = 1024, .keep_fds = {null_fd},
			       .n_keep_fds = 1};
	for (size_t i = 0; i < HS_ARRAY_LEN(what->data) && what->data[i]; i++)
		jail.paths[jail.n_paths++] = (struct hs_jail_path){what->data[i], HS_JAIL_READ};
	if (hs_jail_enter(&jail, &p.jail, &err) < 0) {
		hs_log_err("jail", &err);
		return 1;
	}
	rc = serve(&p, what, null_fd);
	if (rc < 0)
		hs_log("%s", strerror(-rc));
	return rc < 0 ? 1 : 0;
}
