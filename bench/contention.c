/* Decoding beside a neighbour that keeps one core busy, against one thread on an idle machine; the peer the same. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "bench/bench.h"
#include "inference/engine.h"

#define MODEL "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
#define PROMPT 64u
#define TOKENS 24u

struct neighbour {
	pthread_t thread;
	atomic_bool stop;
	int core;
};

static void *keep_busy(void *arg)
{
	struct neighbour *n = arg;
	cpu_set_t set;
	volatile uint64_t work = 0;
	CPU_ZERO(&set);
	CPU_SET((size_t)n->core, &set);
	(void)pthread_setaffinity_np(pthread_self(), sizeof set, &set); /* elsewhere it is a neighbour, too */
	while (!atomic_load_explicit(&n->stop, memory_order_relaxed))
		work = work + 1;
	return NULL;
}

static int decode(const char *path, unsigned threads, double *ret, struct hs_err *err)
{
	struct hs_model *m = NULL;
	struct hs_sequence *s = NULL;
	const struct hs_model_options options = {.n_threads = threads};
	const float *logits;
	struct hs_sampler greedy = {0};
	hs_tok_id ids[PROMPT];
	for (uint32_t i = 0; i < PROMPT; i++)
		ids[i] = (hs_tok_id)(1000 + 79 * i);
	int rc = hs_model_load(path, &options, &m, err);
	if (rc < 0)
		return rc;
	rc = hs_sequence_create(m, PROMPT + TOKENS, &s);
	if (rc == 0)
		rc = hs_sequence_forward(s, ids, PROMPT, NULL, NULL, &logits);
	uint64_t begin = hs_monotonic_us();
	for (uint32_t i = 0; i < TOKENS && rc == 0; i++) {
		hs_tok_id id = hs_sample(&greedy, logits, hs_model_info(m)->n_vocab, NULL);
		rc = hs_sequence_forward(s, &id, 1, NULL, NULL, &logits);
	}
	*ret = TOKENS * 1e6 / (double)(hs_monotonic_us() - begin);
	hs_sequence_destroy(s);
	hs_model_destroy(m);
	return rc < 0 ? hs_fail_errno(err, rc, "bench.run", path) : 0;
}

/* One figure of ours or of the peer's, with a neighbour or without. */
static int one(const struct bench_options *o, const char *path, bool peer, bool beside, double *ret, struct hs_err *err)
{
	static const char *const args[] = {"-p", "0", "-n", "24", "-d", "64", NULL};
	struct bench_options alone = *o;
	struct neighbour n = {.core = (int)bench_threads(o) - 1};
	unsigned threads = alone.threads = beside ? bench_threads(o) : 1;
	if (beside && pthread_create(&n.thread, NULL, keep_busy, &n) != 0)
		return hs_fail(err, EAGAIN, "bench.thread", "", "neighbour");
	int rc = peer ? bench_peer_run(&alone, path, args, ret, err) : decode(path, threads, ret, err);
	atomic_store(&n.stop, true);
	if (beside)
		(void)pthread_join(n.thread, NULL); /* it is ours and joinable */
	return rc;
}

int bench_contention(const struct bench_options *o, struct bench_report *r, struct hs_err *err)
{
	char path[4096];
	double figures[2][2][BENCH_ROUNDS_MAX]; /* ours, peer's; one thread alone, all threads beside a neighbour */
	int rc = bench_model_path(o, MODEL, path, sizeof path, err);
	for (unsigned i = 0; i < o->rounds && rc == 0; i++)
		for (int peer = 0; peer < (o->peer ? 2 : 1) && rc == 0; peer++)
			for (int beside = 0; beside < 2 && rc == 0; beside++)
				rc = one(o, path, peer, beside, &figures[peer][beside][i], err);
	if (rc < 0)
		return rc;
	(void)snprintf(r->about, sizeof r->about, "%s, %u threads, a neighbour on one core, %u rounds", MODEL, bench_threads(o),
		       o->rounds); /* may be cut */
	for (int peer = 0; peer < (o->peer ? 2 : 1); peer++)
		bench_add(r, (struct bench_figure){peer ? "llama.cpp beside a neighbour" : "decode beside a neighbour",
						   "tokens/s", bench_median(figures[peer][1], o->rounds),
						   bench_median(figures[peer][0], o->rounds), "one thread alone"});
	return 0;
}
