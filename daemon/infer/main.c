/*
 * hisho-infer: holds the models, and no key. Jail, serve; the models are loaded behind, on the compute thread, and READY is
 * said when they are there. It sees the prompts of every tenant: nothing of them is logged or kept.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/child.h"
#include "daemon/infer/serve.h"
#include "daemon/jail.h"

#define THREADS_MAX 256

struct process {
	const char *dir, *generator, *embedder; /* the two files by path once the arguments are read */
	char paths[2][PATH_MAX];
	unsigned threads;
	uv_loop_t loop;
	struct hs_child *child;
	struct hs_jail_report jail;
	struct hs_models models;
	struct hs_compute *compute;
	struct hs_infer *infer;
	bool stopping, failed;
};

/* On the compute thread. A model that cannot be loaded is told and left out: words are found without it. */
static void load(void *arg)
{
	struct process *p = arg;
	struct hs_err err = HS_ERR_INIT;
	if (p->embedder && hs_served_model_load(&p->models.embedder, p->embedder, true, p->threads, &err) < 0)
		hs_log_err("embedder", &err);
	if (p->generator && hs_served_model_load(&p->models.generator, p->generator, false, p->threads, &err) < 0)
		hs_log_err("generator", &err);
}

static void stop(struct process *p)
{
	if (p->stopping)
		return;
	p->stopping = true;
	hs_compute_destroy(p->compute);
	hs_infer_destroy(p->infer);
	hs_child_destroy(p->child);
	p->compute = NULL;
	p->infer = NULL;
	p->child = NULL;
}

static void on_loaded(void *arg)
{
	struct process *p = arg;
	if (p->stopping)
		return;
	if (p->models.generator.model && p->models.generator.chat.notice.num)
		hs_log_err("chat template", &p->models.generator.chat.notice);
	if (p->models.generator.model)
		hs_log("%s: prefill %.0f tokens a second", p->models.generator.id, (double)p->models.generator.prefill_rate);
	hs_infer_loaded(p->infer);
	if (hs_child_ready(p->child, NULL) < 0) {
		hs_log("hishod cannot be told that the models are there");
		p->failed = true;
	}
}

static void on_channel(void *ctx, enum hs_process peer, const char *name, int fd)
{
	struct process *p = ctx;
	if (peer == HS_PROCESS_TENANT && !p->stopping)
		hs_infer_attach(p->infer, name, fd);
	else
		(void)close(fd); /* infer serves tenants only */
}

static int put_model(const struct hs_served_model *m, const char *kind, struct hs_buf *out)
{
	if (!m->model)
		return 0;
	const struct hs_model_info *i = hs_model_info(m->model);
	return hs_buf_printf(out, ",\"%s\":{\"architecture\":\"%s\",\"context\":%u,\"bytes\":%llu,\"prefill_rate\":%.1f}", kind,
			     i->architecture, i->context, (unsigned long long)i->file_bytes, (double)m->prefill_rate);
}

static int on_status(void *ctx, struct hs_buf *out)
{
	struct process *p = ctx;
	int rc = hs_buf_append_str(out, "{");
	if (rc == 0)
		rc = hs_infer_status(p->infer, out);
	if (rc == 0)
		rc = put_model(&p->models.generator, "generator", out);
	if (rc == 0)
		rc = put_model(&p->models.embedder, "embedder", out);
	if (rc == 0)
		rc = hs_buf_append_str(out, ",");
	if (rc == 0)
		rc = hs_jail_report_json(&p->jail, out);
	return rc < 0 ? rc : hs_buf_append_str(out, "}");
}

static void on_shutdown(void *ctx)
{
	stop(ctx);
}

/* A bare name is a file of the models' folder. */
static const char *path_of(const struct process *p, const char *file, char out[static PATH_MAX])
{
	if (!file || strchr(file, '/'))
		return file;
	return snprintf(out, PATH_MAX, "%s/%s", p->dir, file) < PATH_MAX ? out : NULL;
}

static bool take_arguments(struct process *p, int argc, char **argv)
{
	static const struct option options[] = {{"models", required_argument, NULL, 'm'},
						{"generator", required_argument, NULL, 'g'},
						{"embedder", required_argument, NULL, 'e'},
						{"threads", required_argument, NULL, 't'},
						{NULL, 0, NULL, 0}};
	int o;
	while ((o = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		char *end = NULL;
		if (o == 'm') {
			p->dir = optarg;
		} else if (o == 'g') {
			p->generator = optarg;
		} else if (o == 'e') {
			p->embedder = optarg;
		} else if (o == 't') {
			unsigned long n = strtoul(optarg, &end, 10);
			if (*optarg < '0' || *optarg > '9' || *end || n > THREADS_MAX)
				return false;
			p->threads = (unsigned)n;
		} else {
			return false;
		}
	}
	if (!p->dir || optind != argc)
		return false;
	p->generator = path_of(p, p->generator, p->paths[0]);
	p->embedder = path_of(p, p->embedder, p->paths[1]);
	return true;
}

static int enter_jail(struct process *p, struct hs_err *err)
{
	struct hs_jail j = {.role = HS_PROCESS_INFER, .threads = true};
	j.paths[j.n_paths++] = (struct hs_jail_path){p->dir, HS_JAIL_READ};
	if (p->generator) /* may be a link out of the folder: the cache of a demo */
		j.paths[j.n_paths++] = (struct hs_jail_path){p->generator, HS_JAIL_READ};
	if (p->embedder)
		j.paths[j.n_paths++] = (struct hs_jail_path){p->embedder, HS_JAIL_READ};
	return hs_jail_enter(&j, &p->jail, err);
}

int main(int argc, char **argv)
{
	static struct process p;
	static const struct hs_child_events events = {.channel = on_channel, .status = on_status, .shutdown = on_shutdown};
	struct hs_err err = HS_ERR_INIT;
	if (hs_child_arguments(&argc, &argv, &err) < 0) {
		hs_log_err("start", &err);
		return 1;
	}
	if (!take_arguments(&p, argc, argv)) {
		fprintf(stderr, "usage: hisho-infer --models DIR [--generator FILE] [--embedder FILE] [--threads N]   (started "
				"by hishod)\n");
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN); /* cannot fail for this signal */
	int rc = enter_jail(&p, &err);
	if (rc == 0)
		rc = uv_loop_init(&p.loop);
	if (rc == 0)
		rc = hs_compute_create(&p.loop, &p.models, &p.compute);
	if (rc == 0)
		rc = hs_infer_create(&p.loop, &p.models, p.compute, &p.infer);
	if (rc == 0)
		rc = hs_child_create(&p.loop, HS_PROCESS_INFER, "", &events, &p, &p.child);
	if (rc == 0)
		rc = hs_compute_start(p.compute, load, on_loaded, &p);
	if (rc < 0) {
		if (!err.num)
			(void)hs_fail_errno(&err, rc, "infer.start", "hisho-infer");
		hs_log_err("start", &err);
		return 1;
	}
	rc = uv_run(&p.loop, UV_RUN_DEFAULT);
	hs_models_finish(&p.models);
	return p.failed || rc != 0;
}
