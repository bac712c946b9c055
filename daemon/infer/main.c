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
#include "daemon/infer/status.h"
#include "daemon/jail.h"
#include "inference/cuda/load.h"

#define THREADS_MAX 256

struct process {
	const char *dir, *generator, *embedder, *reranker; /* the files by path once the arguments are read */
	char paths[3][PATH_MAX];
	const char *adapters[HS_ADAPTERS_MAX]; /* (models.n_adapters) */
	unsigned threads;
	struct hs_device_wish wish;
	bool kv_q8;
	const char *plugin;
	struct hs_err no_gpu; /* num 0: there is hope, and the jail lets the driver through */
	uv_loop_t loop;
	struct hs_child *child;
	struct hs_jail_report jail;
	struct hs_models models;
	struct hs_compute *compute;
	struct hs_infer *infer;
	bool stopping, failed, loaded;
};

/* Each tenth of a model that has gone to the GPU; arg: where the last line left off. */
static void tell_progress(void *arg, uint64_t done, uint64_t total)
{
	unsigned *told = arg, tenths = total ? (unsigned)(10 * done / total) : 10;
	if (tenths > *told)
		hs_log("%u%% of the model is on the GPU", 10 * tenths);
	*told = tenths;
}

/* What cannot be used is told by its file's name, here and in the status; its tenant gets no answers of the bare model. */
static void load_adapters(struct process *p)
{
	for (uint32_t i = 0; i < p->models.n_adapters; i++) {
		struct hs_err err = HS_ERR_INIT;
		if (hs_served_adapter_load(&p->models.adapters[i], &p->models.generator, p->adapters[i], &err) < 0)
			hs_log_err(p->adapters[i], &err);
	}
}

/* On the compute thread. A model that cannot be loaded is told and left out: words are found without it. */
static void load(void *arg)
{
	struct process *p = arg;
	struct hs_err err = HS_ERR_INIT;
	struct hs_gpu gpu;
	unsigned told = 0;
	if (!p->no_gpu.num && hs_gpu_open(p->wish, p->plugin, &gpu, &p->no_gpu) < 0 && !p->no_gpu.num)
		(void)hs_fail(&p->no_gpu, EIO, "gpu.plugin_broken", "", "%s", p->plugin); /* it failed and did not say how */
	struct hs_model_options options = {.n_threads = p->threads,
					   .kv_q8 = p->kv_q8,
					   .gpu = p->no_gpu.num ? NULL : &gpu,
					   .no_gpu = &p->no_gpu,
					   .progress = tell_progress,
					   .arg = &told};
	if (p->embedder && hs_served_model_load(&p->models.embedder, p->embedder, HS_SERVED_EMBEDDER, &options, &err) < 0)
		hs_log_err("embedder", &err);
	told = 0;
	if (p->reranker && hs_served_model_load(&p->models.reranker, p->reranker, HS_SERVED_RERANKER, &options, &err) < 0)
		hs_log_err("reranker", &err);
	told = 0;
	if (p->generator && hs_served_model_load(&p->models.generator, p->generator, HS_SERVED_GENERATOR, &options, &err) < 0)
		hs_log_err("generator", &err);
	load_adapters(p);
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

/* What computes it; and why not the GPU, where one was to be had. */
static void log_device(const struct process *p, const struct hs_served_model *m)
{
	struct hs_model_device d;
	if (!m->model)
		return;
	hs_model_device(m->model, &d);
	hs_log("%s: computed by %s", m->id, d.name);
	if (d.why.num && (p->wish.kind == HS_DEVICE_CUDA || !p->no_gpu.num))
		hs_log_err("device", &d.why);
}

static void on_loaded(void *arg)
{
	struct process *p = arg;
	if (p->stopping)
		return;
	p->loaded = true;
	if (p->models.generator.model && p->models.generator.chat.notice.num)
		hs_log_err("chat template", &p->models.generator.chat.notice);
	if (p->models.generator.model)
		hs_log("%s: prefill %.0f tokens a second", p->models.generator.id, (double)p->models.generator.prefill_rate);
	log_device(p, &p->models.generator);
	log_device(p, &p->models.embedder);
	log_device(p, &p->models.reranker);
	if (p->models.reranker.model)
		hs_log("%s: reranks %.0f tokens a second", p->models.reranker.id, (double)p->models.reranker.prefill_rate);
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

static int on_status(void *ctx, struct hs_buf *out)
{
	struct process *p = ctx;
	int rc = hs_buf_append_str(out, "{");
	if (rc == 0)
		rc = hs_infer_status(p->infer, out);
	if (rc == 0 && p->loaded)
		rc = hs_put_served_models(&p->models, out);
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
	static const struct option options[] = {
	    {"models", required_argument, NULL, 'm'},   {"generator", required_argument, NULL, 'g'},
	    {"embedder", required_argument, NULL, 'e'}, {"reranker", required_argument, NULL, 'r'},
	    {"adapter", required_argument, NULL, 'a'},  {"threads", required_argument, NULL, 't'},
	    {"device", required_argument, NULL, 'd'},   {"plugin", required_argument, NULL, 'p'},
	    {"kv", required_argument, NULL, 'k'},       {NULL, 0, NULL, 0}};
	int o;
	while ((o = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		char *end = NULL;
		if (o == 'm') {
			p->dir = optarg;
		} else if (o == 'g') {
			p->generator = optarg;
		} else if (o == 'e') {
			p->embedder = optarg;
		} else if (o == 'r') {
			p->reranker = optarg;
		} else if (o == 'a') {
			if (p->models.n_adapters == HS_ADAPTERS_MAX)
				return false;
			p->adapters[p->models.n_adapters++] = optarg;
		} else if (o == 't') {
			unsigned long n = strtoul(optarg, &end, 10);
			if (*optarg < '0' || *optarg > '9' || *end || n > THREADS_MAX)
				return false;
			p->threads = (unsigned)n;
		} else if (o == 'd') {
			if (!hs_device_parse(optarg, &p->wish))
				return false;
		} else if (o == 'p') {
			p->plugin = optarg;
		} else if (o == 'k') {
			p->kv_q8 = strcmp(optarg, "q8") == 0;
			if (!p->kv_q8 && strcmp(optarg, "f16") != 0)
				return false;
		} else {
			return false;
		}
	}
	if (!p->dir || optind != argc)
		return false;
	p->generator = path_of(p, p->generator, p->paths[0]);
	p->embedder = path_of(p, p->embedder, p->paths[1]);
	p->reranker = path_of(p, p->reranker, p->paths[2]);
	return true;
}

static void let_see(struct hs_jail *j, const char *path, unsigned access)
{
	hs_assert(j->n_paths < HS_ARRAY_LEN(j->paths));
	j->paths[j->n_paths++] = (struct hs_jail_path){path, access};
}

/* What NVIDIA's driver opens: its nodes, its libraries, and where it looks for devices. */
static void let_driver_through(struct hs_jail *j, const char *plugin)
{
	static const char *const nodes[] = {"/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia0",
					    "/dev/nvidia1",   "/dev/nvidia2",    "/dev/nvidia3",          "/dev/nvidia4",
					    "/dev/nvidia5",   "/dev/nvidia6",    "/dev/nvidia7"};
	static const char *const seen[] = {"/usr/lib",   "/lib",          "/lib64",        "/etc/ld.so.cache", "/proc/driver",
					   "/proc/self", "/proc/devices", "/proc/meminfo", "/sys/bus/pci",     "/sys/devices"};
	j->gpu = true;
	let_see(j, plugin, HS_JAIL_READ | HS_JAIL_EXEC);
	for (size_t i = 0; i < HS_ARRAY_LEN(nodes); i++)
		let_see(j, nodes[i], HS_JAIL_READ | HS_JAIL_WRITE);
	for (size_t i = 0; i < HS_ARRAY_LEN(seen); i++)
		let_see(j, seen[i], HS_JAIL_READ);
}

static int enter_jail(struct process *p, struct hs_err *err)
{
	struct hs_jail j = {.role = HS_PROCESS_INFER, .threads = true};
	let_see(&j, p->dir, HS_JAIL_READ);
	if (p->generator) /* may be a link out of the folder: the cache of a demo */
		let_see(&j, p->generator, HS_JAIL_READ);
	if (p->embedder)
		let_see(&j, p->embedder, HS_JAIL_READ);
	if (p->reranker)
		let_see(&j, p->reranker, HS_JAIL_READ);
	for (uint32_t i = 0; i < p->models.n_adapters; i++)
		let_see(&j, p->adapters[i], HS_JAIL_READ);
	if (hs_gpu_look(p->wish, p->plugin, &p->no_gpu) == 0)
		let_driver_through(&j, p->plugin);
	return hs_jail_enter(&j, &p->jail, err);
}

int main(int argc, char **argv)
{
	static struct process p = {.plugin = hs_cuda_plugin_path, .no_gpu = {.hint = ""}};
	static const struct hs_child_events events = {.channel = on_channel, .status = on_status, .shutdown = on_shutdown};
	struct hs_err err = HS_ERR_INIT;
	if (hs_child_arguments(&argc, &argv, &err) < 0) {
		hs_log_err("start", &err);
		return 1;
	}
	if (!take_arguments(&p, argc, argv)) {
		fprintf(stderr, "usage: hisho-infer --models DIR [--generator FILE] [--embedder FILE] [--reranker FILE]\n"
				"                   [--adapter FILE]... [--threads N] [--device auto|cpu|cuda:N] [--plugin FILE] "
				"[--kv f16|q8]\n"
				"                   (started by hishod)\n");
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
