/*
 * From nothing to the first token: the file is opened, packed, a prompt of 16 goes in. Beside the wall clock, which neighbours
 * move, the processor's own time; and what is resident afterwards against the file's size and the keys and values.
 */
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/bench.h"
#include "inference/engine.h"

#define MODEL "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
#define PROMPT 16u
#define ROOM 1024u /* tokens that the sequence has memory for */

static double cpu_ms(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* cannot fail for this clock */
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double resident_mb(void)
{
	long size, pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	if (f && fscanf(f, "%ld %ld", &size, &pages) != 2)
		pages = 0;
	if (f)
		(void)fclose(f); /* it was only read */
	return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

static int start(const char *path, unsigned threads, double *ret_ms, double *ret_cpu, double *ret_mb, double *ret_limit,
		 struct hs_err *err)
{
	struct hs_model *m = NULL;
	struct hs_sequence *s = NULL;
	const struct hs_model_options options = {.n_threads = threads};
	const float *logits;
	hs_tok_id ids[PROMPT];
	double cpu = cpu_ms(), before = resident_mb();
	uint64_t begin = hs_monotonic_us();
	for (uint32_t i = 0; i < PROMPT; i++)
		ids[i] = (hs_tok_id)(1000 + 79 * i);
	int rc = hs_model_load(path, &options, &m, err);
	if (rc < 0)
		return rc;
	rc = hs_sequence_create(m, ROOM, &s);
	if (rc == 0)
		rc = hs_sequence_forward(s, ids, PROMPT, NULL, NULL, &logits);
	*ret_ms = (double)(hs_monotonic_us() - begin) / 1e3;
	*ret_cpu = cpu_ms() - cpu;
	*ret_mb = resident_mb() - before;
	*ret_limit = ((double)hs_model_info(m)->file_bytes + (double)hs_model_info(m)->kv_bytes * ROOM) / 1e6 + 100;
	hs_sequence_destroy(s);
	hs_model_destroy(m);
	return rc < 0 ? hs_fail_errno(err, rc, "bench.run", path) : 0;
}

int bench_start(const struct bench_options *o, struct bench_report *r, struct hs_err *err)
{
	char path[1024];
	double ms[BENCH_ROUNDS_MAX], cpu[BENCH_ROUNDS_MAX], mb[BENCH_ROUNDS_MAX], limit = 0;
	int rc = bench_model_path(o, MODEL, path, sizeof path, err);
	for (unsigned i = 0; i < o->rounds && rc == 0; i++)
		rc = start(path, bench_threads(o), &ms[i], &cpu[i], &mb[i], &limit, err);
	if (rc < 0)
		return rc;
	(void)snprintf(r->about, sizeof r->about, "%.180s, %u threads, a prompt of %u, file in memory", path, bench_threads(o), PROMPT);
	bench_add(r, (struct bench_figure){"first token after the start", "ms", bench_median(ms, o->rounds), 1000, "wanted"});
	bench_add(r, (struct bench_figure){"processor's time of it", "ms", bench_median(cpu, o->rounds), 0, NULL});
	bench_add(r, (struct bench_figure){"resident", "MB", bench_median(mb, o->rounds), limit, "file + KV + 100 MB"});
	return 0;
}
