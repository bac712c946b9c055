/* decode and prefill: our engine and llama-bench in turns, on the same file with the same number of threads. */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "bench/bench.h"
#include "inference/engine.h"

#define MODEL "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
#define PREFILL_TOKENS 256
#define DECODE_PROMPT 64
#define DECODE_TOKENS 32

/* Tokens a second of one run: n tokens at once, or one at a time. */
static int run(struct hs_sequence *s, uint32_t n_prompt, uint32_t n_decode, uint32_t n_vocab, double *ret)
{
	hs_tok_id ids[PREFILL_TOKENS];
	const float *logits;
	struct hs_sampler greedy = {0};
	for (uint32_t i = 0; i < n_prompt; i++)
		ids[i] = (hs_tok_id)((1000 + 7919 * i) % n_vocab);
	hs_sequence_truncate(s, 0);
	uint64_t begin = hs_monotonic_us();
	int rc = hs_sequence_forward(s, ids, n_prompt, NULL, NULL, &logits);
	if (n_decode)
		begin = hs_monotonic_us();
	for (uint32_t i = 0; i < n_decode && rc == 0; i++) {
		hs_tok_id id = hs_sample(&greedy, logits, n_vocab, NULL);
		rc = hs_sequence_forward(s, &id, 1, NULL, NULL, &logits);
	}
	*ret = (n_decode ? n_decode : n_prompt) * 1e6 / (double)(hs_monotonic_us() - begin);
	return rc;
}

static int run_rounds(const struct bench_options *o, const char *path, struct hs_model *m, uint32_t n_prompt, uint32_t n_decode,
		      double *ours, double *peers, struct hs_err *err)
{
	static const char *const prefill_args[] = {"-p", "256", "-n", "0", NULL}, *const decode_args[] = {"-p", "0",  "-n", "32",
													  "-d", "64", NULL};
	struct hs_sequence *s = NULL;
	double warm;
	int rc = hs_sequence_create(m, n_prompt + n_decode, &s);
	if (rc == 0)
		rc = run(s, n_prompt, n_decode, hs_model_info(m)->n_vocab, &warm);
	for (unsigned i = 0; i < o->rounds && rc == 0; i++) {
		rc = run(s, n_prompt, n_decode, hs_model_info(m)->n_vocab, &ours[i]);
		if (rc == 0 && o->peer)
			rc = bench_peer_run(o, path, n_decode ? decode_args : prefill_args, &peers[i], err);
	}
	hs_sequence_destroy(s);
	return rc < 0 && !err->num ? hs_fail_errno(err, rc, "bench.run", path) : rc;
}

/* A token reads every tensor of the file once, but for an embedding that is not also the output: of that it reads a row. */
static double bytes_a_token(const char *path, const struct hs_model_info *info)
{
	struct hs_gguf *g = NULL;
	uint64_t bytes = info->file_bytes;
	if (hs_gguf_open(path, &g, NULL) < 0)
		return 0;
	if (hs_gguf_find_tensor(g, "output.weight"))
		bytes -= hs_gguf_find_tensor(g, "token_embd.weight")->bytes;
	hs_gguf_close(g);
	return (double)bytes;
}

static int measure(const struct bench_options *o, struct bench_report *r, uint32_t n_prompt, uint32_t n_decode,
		   struct hs_err *err)
{
	char path[4096];
	double ours[BENCH_ROUNDS_MAX], peers[BENCH_ROUNDS_MAX] = {0};
	struct hs_model *m = NULL;
	const struct hs_model_options options = {.n_threads = bench_threads(o)};
	int rc = bench_model_path(o, MODEL, path, sizeof path, err);
	if (rc < 0 || (rc = hs_model_load(path, &options, &m, err)) < 0)
		return rc;
	const struct hs_model_info *info = hs_model_info(m);
	rc = run_rounds(o, path, m, n_prompt, n_decode, ours, peers, err);
	if (rc == 0) {
		double rate = bench_median(ours, o->rounds);
		(void)snprintf(r->about, sizeof r->about, "%s, %u threads, %u rounds", info->name, bench_threads(o),
			       o->rounds); /* may be cut */
		bench_add(r, (struct bench_figure){n_decode ? "decode" : "prefill", "tokens/s", rate,
						   bench_median(peers, o->rounds), "llama.cpp"});
		if (n_decode)
			bench_add(r, (struct bench_figure){"weights read", "GB/s", rate * bytes_a_token(path, info) / 1e9,
							   bench_read_bandwidth(bench_threads(o)) / 1e9, "read bandwidth"});
	}
	hs_model_destroy(m);
	return rc;
}

int bench_decode(const struct bench_options *o, struct bench_report *r, struct hs_err *err)
{
	return measure(o, r, DECODE_PROMPT, DECODE_TOKENS, err);
}

int bench_prefill(const struct bench_options *o, struct bench_report *r, struct hs_err *err)
{
	return measure(o, r, PREFILL_TOKENS, 0, err);
}
