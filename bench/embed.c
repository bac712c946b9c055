/*
 * embed: one text of the whole context, against llama-bench on as many tokens in one sequence; and passages of an index's
 * usual length, 32 a call, packed, for which the peer's programs print no figure.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "bench/bench.h"
#include "inference/engine.h"

#define MODEL "e5-small-q4.gguf"
#define PASSAGES 32
#define REPEATS 4 /* of a measured call: one alone is short */

static const char sentence[] = "出張の旅費は、交通費、日当および宿泊料とし、最も経済的な経路により計算する。";

static size_t count_tokens(const struct hs_model *m, const char *text, size_t len)
{
	struct hs_tok_ids ids = {0};
	size_t n = hs_tok_encode(hs_model_tokenizer(m), text, len, &ids) == 0 ? ids.count : 0;
	hs_tok_ids_finish(&ids);
	return HS_MIN(n + 2, (size_t)hs_model_info(m)->context);
}

/* Tokens a second of n copies of a text of `repeats` sentences. */
static int run(struct hs_model *m, uint32_t n, unsigned repeats, float *out, double *ret)
{
	HS_BUF_AUTO text = HS_BUF_INIT;
	const char *texts[PASSAGES];
	size_t lens[PASSAGES];
	int rc = hs_buf_append_str(&text, "passage: ");
	for (unsigned i = 0; i < repeats && rc == 0; i++)
		rc = hs_buf_append_str(&text, sentence);
	for (uint32_t i = 0; i < n; i++) {
		texts[i] = (const char *)text.data;
		lens[i] = text.len;
	}
	size_t tokens = rc == 0 ? n * count_tokens(m, texts[0], lens[0]) : 0;
	uint64_t begin = hs_monotonic_us();
	for (unsigned i = 0; i < REPEATS && rc == 0; i++)
		rc = hs_embed(m, texts, lens, n, NULL, NULL, out);
	*ret = (double)tokens * REPEATS * 1e6 / (double)(hs_monotonic_us() - begin);
	return rc;
}

int bench_embed(const struct bench_options *o, struct bench_report *r, struct hs_err *err)
{
	static const char *const peer_args[] = {"-embd", "1", "-p", "512", "-n", "0", NULL};
	char path[4096];
	double whole[BENCH_ROUNDS_MAX], packed[BENCH_ROUNDS_MAX], peers[BENCH_ROUNDS_MAX] = {0}, warm;
	struct hs_model *m = NULL;
	const struct hs_model_options options = {.n_threads = bench_threads(o)};
	int rc = bench_model_path(o, MODEL, path, sizeof path, err);
	if (rc < 0 || (rc = hs_model_load(path, &options, &m, err)) < 0)
		return rc;
	float *out = calloc(PASSAGES, hs_model_info(m)->n_embd * sizeof *out);
	rc = out ? run(m, PASSAGES, 3, out, &warm) : hs_fail_errno(err, -ENOMEM, "bench.run", path);
	for (unsigned i = 0; i < o->rounds && rc == 0; i++) {
		if ((rc = run(m, 1, 40, out, &whole[i])) == 0)
			rc = run(m, PASSAGES, 3, out, &packed[i]);
		if (rc == 0 && o->peer)
			rc = bench_peer_run(o, path, peer_args, &peers[i], err);
	}
	if (rc == 0) {
		(void)snprintf(r->about, sizeof r->about, "%s, %u threads, %u rounds", hs_model_info(m)->name, bench_threads(o),
			       o->rounds);
		bench_add(r, (struct bench_figure){"one text, 512 tokens", "tokens/s", bench_median(whole, o->rounds),
						   bench_median(peers, o->rounds), "llama.cpp"});
		bench_add(r, (struct bench_figure){
				 .name = "32 passages, packed", .unit = "tokens/s", .ours = bench_median(packed, o->rounds)});
	} else if (!err->num) {
		rc = hs_fail_errno(err, rc, "bench.run", path);
	}
	free(out);
	hs_model_destroy(m);
	return rc;
}
