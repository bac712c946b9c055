/* gpu: the GPU's own limit, measured here and now, and what a model reaches of it. Without a GPU it says why and measures
 * nothing. */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "bench/bench.h"
#include "inference/cuda/load.h"
#include "inference/cuda/plugin.h"
#include "inference/engine.h"

#define MODEL "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
#define PROMPT 512u
#define DECODED 64u

/* n sequences that write DECODED tokens each, together: tokens a second of all. */
static int decode(struct hs_model *m, uint32_t n, double *ret)
{
	struct hs_step steps[HS_FORWARD_STEPS_MAX] = {{0}};
	struct hs_choice choices[HS_FORWARD_STEPS_MAX] = {{.n_ids = 0}};
	hs_tok_id ids[HS_FORWARD_STEPS_MAX];
	uint32_t n_vocab = hs_model_info(m)->n_vocab;
	uint64_t begin = 0;
	int rc = 0;
	for (uint32_t i = 0; i < n && rc == 0; i++) {
		rc = hs_sequence_create(m, DECODED + 2, &steps[i].sequence);
		steps[i].ids = &ids[i];
		steps[i].n = steps[i].n_logits = steps[i].n_choices = 1;
		steps[i].choices = &choices[i];
		choices[i].n_ids = n_vocab; /* greedy, as the GPU chooses for an answer */
		ids[i] = (hs_tok_id)((1000 + 7919 * i) % n_vocab);
	}
	for (uint32_t at = 0; at <= DECODED && rc == 0; at++) {
		if (at == 1) /* the first is warm-up */
			begin = hs_monotonic_us();
		rc = hs_forward(steps, n, NULL, NULL);
		for (uint32_t i = 0; i < n && rc == 0; i++)
			ids[i] = choices[i].id;
	}
	*ret = (double)n * DECODED * 1e6 / (double)(hs_monotonic_us() - begin);
	for (uint32_t i = 0; i < n; i++)
		hs_sequence_destroy(steps[i].sequence);
	return rc;
}

static int prefill(struct hs_model *m, double *ret)
{
	hs_tok_id ids[PROMPT];
	const float *logits;
	struct hs_sequence *s = NULL;
	int rc = hs_sequence_create(m, PROMPT, &s);
	for (uint32_t i = 0; i < PROMPT; i++)
		ids[i] = (hs_tok_id)((1000 + 7919 * i) % hs_model_info(m)->n_vocab);
	for (int round = 0; round < 2 && rc == 0; round++) { /* the first is warm-up */
		uint64_t begin = hs_monotonic_us();
		hs_sequence_truncate(s, 0);
		rc = hs_sequence_forward(s, ids, PROMPT, NULL, NULL, &logits);
		*ret = PROMPT * 1e6 / (double)(hs_monotonic_us() - begin);
	}
	hs_sequence_destroy(s);
	return rc;
}

static int rounds(struct hs_model *m, unsigned n, uint32_t batch, double *ret)
{
	double rates[BENCH_ROUNDS_MAX];
	int rc = 0;
	for (unsigned i = 0; i < n && rc == 0; i++)
		rc = batch ? decode(m, batch, &rates[i]) : prefill(m, &rates[i]);
	*ret = rc == 0 ? bench_median(rates, n) : 0;
	return rc;
}

static int measure(const struct bench_options *o, struct bench_report *r, const struct hs_gpu *gpu, struct hs_model *m)
{
	double bandwidth = 0, halves = 0, bytes = 0, one = 0, eight = 0, prompt = 0;
	const struct hs_model_info *info = hs_model_info(m);
	/* What a token of a prompt is multiplied by: not the rows of ids, which are only looked up. */
	double weights = (double)info->n_params - (double)info->n_vocab * info->n_embd;
	struct hs_model_device d;
	hs_model_device(m, &d);
	int rc = gpu->plugin->bandwidth(gpu->index, &bandwidth);
	if (rc == 0)
		rc = gpu->plugin->products(gpu->index, false, &halves);
	if (rc == 0)
		rc = gpu->plugin->products(gpu->index, true, &bytes);
	if (rc == 0)
		rc = rounds(m, o->rounds, 1, &one);
	if (rc == 0)
		rc = rounds(m, o->rounds, HS_FORWARD_STEPS_MAX, &eight);
	if (rc == 0)
		rc = rounds(m, o->rounds, 0, &prompt);
	if (rc < 0)
		return rc;
	(void)snprintf(r->about, sizeof r->about, "%s, %s, %u rounds", info->name, d.name, o->rounds); /* may be cut */
	bench_add(r, (struct bench_figure){"copy bandwidth", "GB/s", bandwidth / 1e9, 0, NULL});
	bench_add(r, (struct bench_figure){"bfloat16 products", "TFLOP/s", halves / 1e12, 0, NULL});
	bench_add(r, (struct bench_figure){"products of bytes", "TOP/s", bytes / 1e12, 0, NULL});
	bench_add(r, (struct bench_figure){"decode, 1 answer", "tokens/s", one, 0, NULL});
	bench_add(r, (struct bench_figure){"weights read by it", "GB/s", one * (double)d.weight_bytes / 1e9, bandwidth / 1e9,
					   "copy bandwidth"});
	bench_add(r, (struct bench_figure){"decode, 8 answers", "tokens/s", eight, 0, NULL});
	bench_add(r, (struct bench_figure){"weights read by them", "GB/s",
					   eight / HS_FORWARD_STEPS_MAX * (double)d.weight_bytes / 1e9, bandwidth / 1e9,
					   "copy bandwidth"});
	bench_add(r, (struct bench_figure){"prefill of 512", "tokens/s", prompt, 0, NULL});
	bench_add(
	    r, (struct bench_figure){"its products", "TFLOP/s", prompt * 2 * weights / 1e12, halves / 1e12, "bfloat16 products"});
	return 0;
}

int bench_gpu(const struct bench_options *o, struct bench_report *r, struct hs_err *err)
{
	const struct hs_device_wish wish = {.kind = HS_DEVICE_CUDA};
	const char *plugin = getenv("HISHO_CUDA_PLUGIN");
	char path[4096];
	struct hs_gpu gpu;
	struct hs_model *m = NULL;
	struct hs_model_device d;
	int rc = hs_gpu_open(wish, plugin ? plugin : hs_cuda_plugin_path, &gpu, err);
	const struct hs_model_options options = {.n_threads = bench_threads(o), .gpu = &gpu};
	if (rc == 0)
		rc = bench_model_path(o, MODEL, path, sizeof path, err);
	if (rc == 0)
		rc = hs_model_load(path, &options, &m, err);
	if (rc < 0)
		return rc;
	hs_model_device(m, &d);
	if (!d.gpu) {
		*err = d.why;
		rc = -d.why.num;
	} else {
		rc = measure(o, r, &gpu, m);
	}
	hs_model_destroy(m);
	return rc < 0 && !err->num ? hs_fail_errno(err, rc, "bench.gpu", path) : rc;
}
