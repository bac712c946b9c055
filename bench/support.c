/* What benches share: medians, models, a peer's run, the machine's read bandwidth. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "bench/bench.h"

#define PEER_OUTPUT_MAX (1u << 20)
#define PEER_ARGS_MAX 24
#define READ_BYTES ((size_t)256 << 20) /* more than a cache holds */

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

double bench_median(double *values, unsigned n)
{
	qsort(values, n, sizeof *values, compare);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

void bench_add(struct bench_report *r, struct bench_figure f)
{
	hs_assert(r->count < BENCH_FIGURES_MAX);
	r->figures[r->count++] = f;
}

unsigned bench_threads(const struct bench_options *o)
{
	cpu_set_t set;
	if (o->threads)
		return o->threads;
	return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

int bench_model_path(const struct bench_options *o, const char *name, char *path, size_t len, struct hs_err *err)
{
	const char *dir = getenv("HISHO_MODELS"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	int n;
	if (o->model)
		n = snprintf(path, len, "%s", o->model);
	else if (dir)
		n = snprintf(path, len, "%s/%s", dir, name);
	else if (cache)
		n = snprintf(path, len, "%s/hisho/models/%s", cache, name);
	else
		n = snprintf(path, len, "%s/.cache/hisho/models/%s", home ? home : "", name);
	if (n < 0 || (size_t)n >= len)
		return hs_fail(err, ENAMETOOLONG, "bench.model", HS_N_("the path of the model is too long"), "%s", name);
	if (access(path, R_OK) < 0)
		return hs_fail(err, errno, "bench.model", HS_N_("fetch the models first, or name one with --model"), "%s", path);
	return 0;
}

/* Start argv with its output on the returned descriptor. */
static int start(char *const *argv, pid_t *ret_pid)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid_t pid = fork();
	if (pid < 0) {
		int rc = -errno;
		close(ends[0]);
		close(ends[1]);
		return rc;
	}
	if (pid == 0) {
		HS_FD_AUTO null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (null >= 0 && dup2(null, 0) >= 0 && dup2(ends[1], 1) >= 0 && dup2(null, 2) >= 0)
			execv(argv[0], argv);
		_exit(127);
	}
	close(ends[1]);
	*ret_pid = pid;
	return ends[0];
}

int bench_peer_run(const struct bench_options *o, const char *model, const char *const *args, double *ret, struct hs_err *err)
{
	char program[4096], threads[16];
	(void)snprintf(program, sizeof program, "%s/llama-bench", o->peer); /* a cut path is not found below */
	(void)snprintf(threads, sizeof threads, "%u", bench_threads(o));    /* fits */
	const char *argv[PEER_ARGS_MAX] = {program, "-m", model, "-t", threads, "-r", "1", "-o", "json"};
	size_t n = 9;
	for (; *args && n + 1 < PEER_ARGS_MAX; args++)
		argv[n++] = *args;
	pid_t pid = -1;
	HS_FD_AUTO fd = start((char *const *)argv, &pid);
	if (fd < 0)
		return hs_fail_errno(err, fd, "bench.peer", program);
	HS_BUF_AUTO out = HS_BUF_INIT;
	int status, rc = hs_fd_read_all(fd, PEER_OUTPUT_MAX, &out);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	json_t *root = rc == 0 ? json_loadb((const char *)out.data, out.len, 0, NULL) : NULL;
	double rate = json_number_value(json_object_get(json_array_get(root, 0), "avg_ts"));
	json_decref(root);
	if (!(rate > 0))
		return hs_fail(err, EIO, "bench.peer", HS_N_("the peer printed no figure; run it by hand to see why"), "%s",
			       program);
	*ret = rate;
	return 0;
}

struct reader {
	pthread_t thread;
	const uint64_t *data;
	size_t n;
	uint64_t sum;
	bool started;
};

static void *read_all(void *arg)
{
	struct reader *r = arg;
	uint64_t a = 0, b = 0, c = 0, d = 0;
	for (size_t i = 0; i + 32 <= r->n; i += 32)
		for (size_t k = 0; k < 32; k += 4) {
			a += r->data[i + k];
			b += r->data[i + k + 1];
			c += r->data[i + k + 2];
			d += r->data[i + k + 3];
		}
	r->sum = a + b + c + d;
	return NULL;
}

double bench_read_bandwidth(unsigned threads)
{
	struct reader *readers = calloc(threads, sizeof *readers);
	uint64_t *data = malloc(READ_BYTES), sum = 0;
	double best = 0;
	if (data)
		memset(data, 1, READ_BYTES);
	for (int round = 0; data && readers && round < 5; round++) {
		size_t each = READ_BYTES / 8 / threads;
		uint64_t begin = hs_monotonic_us();
		for (unsigned i = 0; i < threads; i++) {
			readers[i] = (struct reader){.data = data + i * each, .n = each};
			readers[i].started = i > 0 && pthread_create(&readers[i].thread, NULL, read_all, &readers[i]) == 0;
			if (i > 0 && !readers[i].started)
				read_all(&readers[i]);
		}
		read_all(&readers[0]);
		for (unsigned i = 0; i < threads; i++) {
			if (readers[i].started)
				(void)pthread_join(readers[i].thread, NULL); /* ours and joinable */
			sum += readers[i].sum;
		}
		double rate = (double)READ_BYTES * 1e6 / (double)(hs_monotonic_us() - begin);
		best = rate > best && sum != 0 ? rate : best;
	}
	free(data);
	free(readers);
	return best;
}
