/*
 * hisho-bench: one measurement a file and a table row. Each prints its figure and, beside it, what it is to be judged by:
 * a peer run in turns with ours in the same minutes, or a limit of the machine. Figures are medians of the rounds.
 */
#ifndef HISHO_BENCH_H
#define HISHO_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define BENCH_FIGURES_MAX 8
#define BENCH_ROUNDS_MAX 25

struct bench_options {
	const char *peer;  /* folder of llama.cpp's programs, or NULL */
	const char *model; /* a file, or NULL: the bench's default in $HISHO_MODELS or the cache */
	unsigned threads;  /* 0: the cores that this process may use */
	unsigned rounds;   /* at least 1 */
};

struct bench_figure {
	const char *name, *unit;
	double ours;
	double other; /* the peer's figure or the limit; 0 where there is none */
	const char *other_name;
};

struct bench_report {
	struct bench_figure figures[BENCH_FIGURES_MAX];
	unsigned count;
	char about[256]; /* model, threads: what was measured */
};

/* Runs and fills the report. Negative errno with the reason in err. */
typedef int (*bench_fn)(const struct bench_options *o, struct bench_report *r, struct hs_err *err);

int bench_decode(const struct bench_options *o, struct bench_report *r, struct hs_err *err);
int bench_prefill(const struct bench_options *o, struct bench_report *r, struct hs_err *err);
int bench_contention(const struct bench_options *o, struct bench_report *r, struct hs_err *err);
int bench_embed(const struct bench_options *o, struct bench_report *r, struct hs_err *err);
int bench_gpu(const struct bench_options *o, struct bench_report *r, struct hs_err *err);
int bench_http(const struct bench_options *o, struct bench_report *r, struct hs_err *err);
int bench_lookup(const struct bench_options *o, struct bench_report *r, struct hs_err *err);
int bench_search(const struct bench_options *o, struct bench_report *r, struct hs_err *err);
int bench_start(const struct bench_options *o, struct bench_report *r, struct hs_err *err);
int bench_ttft(const struct bench_options *o, struct bench_report *r, struct hs_err *err);
int bench_vfs(const struct bench_options *o, struct bench_report *r, struct hs_err *err);

/* Help for benches. */
double bench_median(double *values, unsigned n); /* sorts */
void bench_add(struct bench_report *r, struct bench_figure f);
unsigned bench_threads(const struct bench_options *o);

/* o->model, or `name` in $HISHO_MODELS, $XDG_CACHE_HOME/hisho/models or ~/.cache/hisho/models. */
int bench_model_path(const struct bench_options *o, const char *name, char *path, size_t len, struct hs_err *err) HS_MUST_CHECK;

/* One run of llama-bench with the given test ("-p", "256"): tokens a second. */
int bench_peer_run(const struct bench_options *o, const char *model, const char *const *args, double *ret,
		   struct hs_err *err) HS_MUST_CHECK;

/* Bytes a second that all threads together read from memory. */
double bench_read_bandwidth(unsigned threads);

#endif
