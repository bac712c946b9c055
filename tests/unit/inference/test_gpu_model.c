/*
 * The plug-in whole, on a device that is this process's memory: every family of the table against the reference, the same bits
 * however the work is cut and whoever shares it, pages that carry nothing from one to the next, memory that runs out, a device
 * that is lost. The kernels are what this program is linked with: plain C, or the GPU's own through the shim.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "inference/cuda/device.h"
#include "inference/cuda/load.h"
#include "inference/cuda/plugin.h"
#include "inference/engine.h"
#ifdef ON_HOST_KERNELS
#include "tests/cuda_on_host/record.h"
#endif
#include "inference/decoding.h"
#include "tests/unit/inference/families.h"
#include "tests/unit/test.h"

const struct hs_cuda_plugin *hs_cuda_plugin(void);

#define MEMORY (1ull << 28)
#ifndef TOLERANCE /* of the kernels: those of the GPU add in another order */
#define TOLERANCE 1e-4
#endif

static int fresh_device(void **state)
{
	hs_host_device = (struct hs_host_device){.memory = MEMORY, .calls_left = -1};
#ifdef ON_HOST_KERNELS
	hs_host_device.recorder = &hs_host_recorder;
#endif
	return 0;
}

/* Graphs are gone with their models. */
static int no_graph_is_left(void **state)
{
#ifdef ON_HOST_KERNELS
	return hs_host_recorded.alive ? -1 : 0;
#else
	return 0;
#endif
}

static struct hs_backend_model *open_gpu(const struct hs_weights *w)
{
	const struct hs_cuda_options o = {.device = 0};
	struct hs_backend_model *bm = NULL;
	struct hs_err err = HS_ERR_INIT;
	int rc = hs_cuda_plugin()->open(w, &o, &bm, &err);
	if (rc < 0)
		print_error("%s: %s\n", err.code, err.object);
	assert_int_equal(rc, 0);
	return bm;
}

static void test_families(void **state)
{
	size_t n_far = 0;
	const struct hs_backend *gpu = hs_cuda_plugin()->backend;
	for (size_t i = 0; i < HS_ARRAY_LEN(goldens); i++) {
		static float exact[N_VALUES], rounded[N_VALUES], got[N_VALUES];
		struct model m;
		open_model(&m, &goldens[i], HS_F32);
		run_plainly(&hs_backend_exact, m.w, exact);
		run_plainly(&hs_backend_reference, m.w, rounded);
		struct hs_backend_model *bm = open_gpu(m.w);
		size_t n = run(gpu, bm, m.w, got);
		gpu->close(bm);
		double is = relative(rounded, got, n);
		print_message("%s: %.1e of the reference\n", goldens[i].name, is);
		/* a key or value that lies between two halves may go to the other one */
		n_far += is >= fmax(TOLERANCE, relative(exact, rounded, n) / 2);
		close_model(&m);
	}
	assert_int_equal(n_far, 0);
}

/*
 * Keys and values as bytes: the CPU's have a float as a scale, the GPU's a half. They are about as far from each other as bytes
 * are from halves, and no farther.
 */
static void test_bytes_of_keys_and_values(void **state)
{
	const struct hs_backend *gpu = hs_cuda_plugin()->backend;
	for (size_t i = 0; i < HS_ARRAY_LEN(goldens); i++) {
		static float halves[N_VALUES], bytes[N_VALUES], got[N_VALUES];
		struct model m;
		open_model(&m, &goldens[i], HS_F32);
		if (m.w->hyper.pool == HS_POOL_NONE) {
			run_plainly(&hs_backend_cpu, m.w, halves);
			m.w->kv_q8 = true;
			run_plainly(&hs_backend_cpu, m.w, bytes);
			struct hs_backend_model *bm = open_gpu(m.w);
			size_t n = run(gpu, bm, m.w, got);
			gpu->close(bm);
			print_message("%s: %.1e of the CPU's bytes, %.1e of its halves; these differ by %.1e\n", goldens[i].name,
				      relative(bytes, got, n), relative(halves, got, n), relative(halves, bytes, n));
			assert_true(relative(bytes, got, n) < 1.25 * relative(halves, bytes, n));
			assert_true(relative(halves, got, n) > 0.5 * relative(halves, bytes, n)); /* they are bytes */
		}
		close_model(&m);
	}
}

static void test_quantised_families(void **state)
{
	static const enum hs_tensor_type types[] = {HS_Q6_K, HS_Q8_0, HS_MXFP4};
	const struct hs_backend *gpu = hs_cuda_plugin()->backend;
	for (size_t i = 0; i < HS_ARRAY_LEN(goldens) * HS_ARRAY_LEN(types); i++) {
		const struct golden *golden = &goldens[i / HS_ARRAY_LEN(types)];
		enum hs_tensor_type type = types[i % HS_ARRAY_LEN(types)];
		static float want[N_VALUES * 3], got[N_VALUES * 3];
		struct model m;
		open_model(&m, golden, type);
		run_plainly(&hs_backend_reference, m.w, want);
		struct hs_backend_model *bm = open_gpu(m.w);
		size_t n = run(gpu, bm, m.w, got), vocab = m.w->hyper.n_vocab;
		gpu->close(bm);
		double kl = 0;
		for (size_t step = 0; step < N_STEPS && m.w->hyper.pool == HS_POOL_NONE; step++) {
			const float *a = want + step * vocab, *b = got + step * vocab;
			double la = log_sum(a, vocab), lb = log_sum(b, vocab);
			for (size_t k = 0; k < vocab; k++)
				kl += exp((double)a[k] - la) * ((double)a[k] - la - (double)b[k] + lb) / N_STEPS;
		}
		print_message("%s %s: KL %.1e, %.1e\n", golden->name, hs_tensor_type_name(type), kl, relative(want, got, n));
		assert_true(kl < 2e-3); /* bytes share a scale every 32 columns for all types, and these models are noisy */
		assert_true(relative(want, got, n) < (m.w->hyper.pool == HS_POOL_NONE ? 0.5 : 5e-2));
		close_model(&m);
	}
}

/* Logits after N_IDS ids that went in by `step`. */
static void run_cut(const struct hs_backend *b, struct hs_backend_model *bm, const struct hs_weights *w, uint32_t step,
		    float *out)
{
	int32_t ids[N_IDS];
	struct hs_backend_sequence *s = NULL;
	const float *logits = NULL;
	fill_ids(w, ids);
	assert_int_equal(b->sequence_create(bm, N_IDS, &s), 0);
	for (uint32_t at = 0; at < N_IDS; at += step)
		assert_int_equal(tiny_forward(b, s, at, ids + at, HS_MIN(step, N_IDS - at), &never, &logits), 0);
	memcpy(out, logits, w->hyper.n_vocab * sizeof *out);
	b->sequence_destroy(s);
}

/* Eight sequences of several lengths, one of them as run_cut's, all decoding in one call. */
static void run_in_company(const struct hs_backend *b, struct hs_backend_model *bm, const struct hs_weights *w, uint32_t which,
			   float *out)
{
	struct hs_backend_sequence *s[8] = {NULL};
	int32_t ids[8][N_IDS];
	struct hs_backend_step steps[8];
	const float *logits;
	for (uint32_t k = 0; k < 8; k++) {
		uint32_t n = k == which ? N_IDS : 5 + 4 * k;
		for (uint32_t i = 0; i < n; i++)
			ids[k][i] = (int32_t)((k == which ? i * 31 : i * 17 + k) % w->hyper.n_vocab);
		assert_int_equal(b->sequence_create(bm, N_IDS, &s[k]), 0);
		assert_int_equal(tiny_forward(b, s[k], 0, ids[k], n - 1, &never, &logits), 0);
		steps[k] = (struct hs_backend_step){.s = s[k], .position = n - 1, .ids = &ids[k][n - 1], .n = 1, .n_logits = 1};
	}
	assert_int_equal(b->forward(steps, 8, &never), 0);
	memcpy(out, steps[which].logits, w->hyper.n_vocab * sizeof *out);
	for (uint32_t k = 0; k < 8; k++)
		b->sequence_destroy(s[k]);
}

static void test_bits_do_not_depend_on_cuts_or_company(void **state)
{
	const struct hs_backend *gpu = hs_cuda_plugin()->backend;
	for (size_t i = 0; i < HS_ARRAY_LEN(goldens); i++) {
		static float whole[256], cut[256];
		struct model m;
		open_model(&m, &goldens[i], HS_Q8_0);
		if (m.w->hyper.pool == HS_POOL_NONE) {
			struct hs_backend_model *bm = open_gpu(m.w);
			size_t bytes = m.w->hyper.n_vocab * sizeof(float);
			run_cut(gpu, bm, m.w, N_IDS, whole);
			for (uint32_t step = 1; step <= 13; step += 6) {
				run_cut(gpu, bm, m.w, step, cut);
				assert_memory_equal(whole, cut, bytes);
			}
			for (uint32_t which = 0; which < 8; which += 7) {
				run_in_company(gpu, bm, m.w, which, cut);
				assert_memory_equal(whole, cut, bytes);
			}
			gpu->close(bm);
		}
		close_model(&m);
	}
}

static void test_texts_do_not_depend_on_company(void **state)
{
	const struct hs_backend *gpu = hs_cuda_plugin()->backend;
	static const uint32_t starts[] = {0, 25, 26, N_IDS};
	for (size_t i = 0; i < HS_ARRAY_LEN(goldens); i++) {
		static float whole[3 * 256], alone[3 * 256];
		int32_t ids[N_IDS];
		struct model m;
		open_model(&m, &goldens[i], HS_Q8_0);
		size_t len = hs_encoded_len(&m.w->hyper);
		for (uint32_t k = 0; k < N_IDS; k++)
			ids[k] = (int32_t)(k * 31 % m.w->hyper.n_vocab);
		if (m.w->hyper.pool != HS_POOL_NONE) {
			struct hs_backend_model *bm = open_gpu(m.w);
			assert_int_equal(gpu->encode(bm, ids, starts, 3, &never, whole), 0);
			for (uint32_t t = 0; t < 3; t++) {
				const uint32_t own[] = {0, starts[t + 1] - starts[t]};
				assert_int_equal(gpu->encode(bm, ids + starts[t], own, 1, &never, alone + t * len), 0);
			}
			assert_memory_equal(whole, alone, 3 * len * sizeof *whole);
			gpu->close(bm);
		}
		close_model(&m);
	}
}

/* More texts than a pass takes. */
static void test_many_texts(void **state)
{
	enum { N = 1100, LEN = 5 };
	const struct hs_backend *gpu = hs_cuda_plugin()->backend;
	static int32_t ids[N * LEN];
	static uint32_t starts[N + 1];
	struct tiny t = TINY_F32;
	HS_BUF_AUTO file = HS_BUF_INIT;
	struct hs_gguf *g = NULL;
	struct hs_weights *w = NULL;
	struct hs_err err = HS_ERR_INIT;
	t.arch = "bert";
	t.kv_heads = t.heads;
	t.layers = 1;
	assert_int_equal(tiny_write(t, NULL, &file), 0);
	assert_int_equal(hs_gguf_open_memory(file.data, file.len, &g, &err), 0);
	assert_int_equal(hs_weights_bind(g, &w, &err), 0);
	for (uint32_t i = 0; i < N; i++) {
		starts[i + 1] = starts[i] + LEN;
		for (uint32_t k = 0; k < LEN; k++)
			ids[i * LEN + k] = (int32_t)((i % 7 + k * 3) % t.vocab); /* each seventh the same */
	}
	float *out = calloc((size_t)N * t.embd, sizeof *out);
	struct hs_backend_model *bm = open_gpu(w);
	assert_int_equal(gpu->encode(bm, ids, starts, N, &never, out), 0);
	for (uint32_t i = 7; i < N; i++)
		assert_memory_equal(out + (size_t)i * t.embd, out + (size_t)(i % 7) * t.embd, t.embd * sizeof *out);
	gpu->close(bm);
	hs_weights_destroy(w);
	hs_gguf_close(g);
	free(out);
}

/* --- through the engine --- */

static void gpu_of(struct hs_gpu *gpu)
{
	struct hs_err err = HS_ERR_INIT;
	*gpu = (struct hs_gpu){.plugin = hs_cuda_plugin()};
	assert_int_equal(gpu->plugin->probe(0, &gpu->device, &err), 0);
}

static void count_calls(void *arg, uint64_t done, uint64_t total)
{
	unsigned *calls = arg;
	assert_true(done <= total && total > 0);
	*calls += 1 + (done == total) * 1000;
}

static bool kv_q8; /* of what is loaded next */

static struct hs_model *load_tiny(struct tiny t, const struct hs_gpu *gpu, unsigned *calls)
{
	HS_BUF_AUTO file = HS_BUF_INIT;
	char path[] = "/tmp/hisho-model-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);
	struct hs_model *m = NULL;
	struct hs_err err = HS_ERR_INIT;
	const struct hs_model_options options = {
	    .n_threads = 1, .kv_q8 = kv_q8, .gpu = gpu, .progress = calls ? count_calls : NULL, .arg = calls};
	assert_int_equal(tiny_write(t, NULL, &file), 0);
	assert_int_equal(hs_fd_write_all(fd, file.data, file.len), 0);
	assert_int_equal(hs_model_load(path, &options, &m, &err), 0);
	close(fd);
	unlink(path);
	return m;
}

static const hs_tok_id some_ids[] = {4,  9, 14, 19, 24, 29, 34, 2,  7,  12, 17, 22, 27,
				     32, 0, 5,  10, 15, 20, 25, 30, 35, 3,  8,  13, 18};
#define N_SOME ((uint32_t)HS_ARRAY_LEN(some_ids))

static struct hs_sequence *begin(struct hs_model *m, uint64_t owner, uint32_t n, const float **logits)
{
	struct hs_sequence *s = NULL;
	assert_int_equal(hs_sequence_create(m, 100, &s), 0);
	hs_sequence_own(s, owner);
	if (n)
		assert_int_equal(hs_sequence_forward(s, some_ids, n, NULL, NULL, logits), 0);
	return s;
}

static void test_prefixes_and_owners(void **state)
{
	struct hs_gpu gpu;
	struct hs_model_device d;
	unsigned calls = 0;
	float want[64];
	const float *logits;
	gpu_of(&gpu);
	struct hs_model *m = load_tiny(TINY_F32, &gpu, &calls);
	assert_true(calls > 1000); /* it came to its end */
	hs_model_device(m, &d);
	assert_true(d.gpu && d.why.num == 0 && d.page_tokens == 16 && d.n_pages > 0 && d.n_pages_used == 0);
	assert_string_equal(d.name, "cuda:0 host");
	struct hs_sequence *a = begin(m, 1, N_SOME, &logits), *b = begin(m, 2, 0, NULL);
	memcpy(want, logits, 37 * sizeof *want);
	assert_int_equal(hs_model_pages_of(m, 1), 7);
	assert_int_equal(hs_model_pages_of(m, 2), 7);
	hs_model_device(m, &d);
	assert_int_equal(d.n_pages_used, 14);

	hs_sequence_copy(b, a, 21);
	assert_int_equal(hs_sequence_forward(b, some_ids + 21, N_SOME - 21, NULL, NULL, &logits), 0);
	assert_memory_equal(logits, want, 37 * sizeof *want);
	hs_sequence_truncate(b, 10);
	assert_int_equal(hs_sequence_forward(b, some_ids + 10, N_SOME - 10, NULL, NULL, &logits), 0);
	assert_memory_equal(logits, want, 37 * sizeof *want);
	hs_sequence_destroy(a);
	hs_sequence_destroy(b);
	assert_int_equal(hs_model_pages_of(m, 1) + hs_model_pages_of(m, 2), 0);
	hs_model_destroy(m);
}

/* One owner's sequences hold whole pages together; each may forget and go on. */
static void test_shared_prefixes(void **state)
{
	for (int q8 = 0; q8 < 2; q8++) {
		struct hs_gpu gpu;
		float want[37];
		const float *logits;
		gpu_of(&gpu);
		kv_q8 = q8;
		struct hs_model *m = load_tiny(TINY_F32, &gpu, NULL);
		kv_q8 = false;
		struct hs_sequence *a = begin(m, 1, N_SOME, &logits), *b = begin(m, 1, 0, NULL), *c = begin(m, 1, 0, NULL);
		memcpy(want, logits, sizeof want);
		hs_sequence_copy(b, a, 21);
		hs_sequence_copy(c, b, 16);
		assert_int_equal(hs_model_pages_of(m, 1), 3 * 7 - 2);
		assert_int_equal(hs_sequence_forward(b, some_ids + 21, N_SOME - 21, NULL, NULL, &logits), 0);
		assert_memory_equal(logits, want, sizeof want);
		hs_sequence_truncate(b, 10);
		assert_int_equal(hs_model_pages_of(m, 1), 3 * 7 - 1);
		assert_int_equal(hs_sequence_forward(b, some_ids, 3, NULL, NULL, &logits), 0); /* something else */
		hs_sequence_destroy(a);
		assert_int_equal(hs_sequence_forward(c, some_ids + 16, N_SOME - 16, NULL, NULL, &logits), 0);
		assert_memory_equal(logits, want, sizeof want);
		hs_sequence_truncate(b, 10);
		assert_int_equal(hs_sequence_forward(b, some_ids + 10, N_SOME - 10, NULL, NULL, &logits), 0);
		assert_memory_equal(logits, want, sizeof want);
		hs_sequence_destroy(b);
		hs_sequence_destroy(c);
		assert_int_equal(hs_model_pages_of(m, 1), 0);
		hs_model_destroy(m);
	}
}

/* --- what comes next is chosen there --- */

#define N_ANSWER 60u

struct answer {
	struct hs_sequence *sequence;
	struct hs_decoding d;
	struct hs_sampler sampler;
	uint32_t n, n_here; /* n_here: chosen from logits that came back */
	hs_tok_id ids[N_ANSWER];
	float logprobs[N_ANSWER];
	bool masked;
};

static void begin_answer(struct answer *a, struct hs_model *m, int which)
{
	hs_tok_id prompt[N_SOME];
	const float *logits;
	*a = (struct answer){.masked = which % 3 == 1,
			     .sampler = {.temperature = which % 2 ? 0.9f : 0,
					 .top_p = which == 3 ? 0.8f : 1,
					 .top_k = which == 5 ? 7 : 0,
					 .rng = 11 + (uint64_t)which}};
	for (uint32_t i = 0; i < N_SOME; i++) /* it repeats itself: there is something to look up */
		prompt[i] = (hs_tok_id)((i % 7 * 5 + (uint32_t)which) % 37);
	assert_int_equal(hs_sequence_create(m, N_SOME + N_ANSWER, &a->sequence), 0);
	assert_int_equal(hs_sequence_forward(a->sequence, prompt, N_SOME, NULL, NULL, &logits), 0);
	assert_int_equal(hs_decoding_init(&a->d, a->sequence, prompt, N_SOME, N_ANSWER, logits, true), 0);
}

/* True: it wants a pass. there: the device is told how the next one will be picked. */
static bool choose(struct answer *a, bool there)
{
	static const uint32_t masks[3][2] = {{0x5a5a3c3c, 0x15}, {0xa5a5c3c3, 0xa}, {0x00ff00ff, 0x1f}};
	while (a->n < N_ANSWER) {
		bool here = a->d.rows[a->d.row] != NULL;
		hs_tok_id id = hs_decoding_pick(&a->d, &a->sampler, 37, a->masked ? masks[a->n % 3] : NULL);
		assert_true(!a->masked || masks[a->n % 3][id / 32] >> id % 32 & 1);
		a->n_here += here;
		a->logprobs[a->n] = hs_decoding_logprob(&a->d, 37, id);
		a->ids[a->n++] = id;
		if (hs_decoding_choose(&a->d, id))
			continue;
		if (there)
			hs_decoding_expect(&a->d, &a->sampler, 37, a->masked ? masks[a->n % 3] : NULL);
		return a->n < N_ANSWER;
	}
	return false;
}

static void end_answer(struct answer *a)
{
	hs_decoding_finish(&a->d);
	hs_sequence_destroy(a->sequence);
}

/* The same tokens as from logits, alone and in company; graphs change nothing. */
static void test_tokens_chosen_on_the_device(void **state)
{
	enum { N = 6 };
	static struct answer here[N], alone[N], together[N];
	struct hs_gpu gpu;
	struct tiny t = TINY_F32;
	t.context = 128;
	gpu_of(&gpu);
	const struct hs_host_recorder *recorder = hs_host_device.recorder;
	struct hs_model *m = load_tiny(t, &gpu, NULL);
	for (int i = 0; i < N; i++) {
		struct hs_decoding *d = &here[i].d;
		hs_host_device.recorder = NULL;
		struct hs_model *plain = load_tiny(t, &gpu, NULL);
		begin_answer(&here[i], plain, i);
		while (choose(&here[i], false))
			assert_int_equal(hs_decoding_advance(&d, 1, NULL, NULL), 0);
		assert_int_equal(here[i].n_here, N_ANSWER);
		end_answer(&here[i]);
		hs_model_destroy(plain);
		hs_host_device.recorder = recorder;
		d = &alone[i].d;
		begin_answer(&alone[i], m, i);
		while (choose(&alone[i], true))
			assert_int_equal(hs_decoding_advance(&d, 1, NULL, NULL), 0);
		/* the first is the prompt's; behind drafts a mask is asked here */
		assert_true(alone[i].masked ? alone[i].n_here < N_ANSWER / 2 : alone[i].n_here == 1);
		begin_answer(&together[i], m, i);
	}
	for (bool more = true; more;) {
		struct hs_decoding *list[N];
		uint32_t n = 0;
		for (int i = 0; i < N; i++)
			if (choose(&together[i], i != 4)) /* one wants its logits */
				list[n++] = &together[i].d;
		more = n > 0;
		assert_int_equal(more ? hs_decoding_advance(list, n, NULL, NULL) : 0, 0);
	}
	for (int i = 0; i < N; i++) {
		assert_memory_equal(alone[i].ids, here[i].ids, sizeof here[i].ids);
		assert_memory_equal(together[i].ids, here[i].ids, sizeof here[i].ids);
		for (uint32_t k = 0; k < N_ANSWER; k++)
			assert_true(fabsf(alone[i].logprobs[k] - here[i].logprobs[k]) <=
				    1e-6f * (1 + fabsf(here[i].logprobs[k])));
		end_answer(&alone[i]);
		end_answer(&together[i]);
	}
	hs_model_destroy(m);
}

/* Logits of each of many positions, one token a pass. */
static void walk(struct hs_model *m, uint32_t n, float *out)
{
	struct hs_sequence *s = NULL;
	const float *logits;
	assert_int_equal(hs_sequence_create(m, n, &s), 0);
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(hs_sequence_forward(s, &some_ids[i % N_SOME], 1, NULL, NULL, &logits), 0);
		memcpy(out + (size_t)i * 37, logits, 37 * sizeof *out);
	}
	hs_sequence_destroy(s);
}

/* What was recorded at one position serves every other, also of another sequence in other pages, to the bit. */
static void test_graphs_change_nothing(void **state)
{
	enum { N = 300 }; /* more positions than the first graph is for */
	static float plain[N * 37], replayed[N * 37], again[N * 37];
	struct hs_gpu gpu;
	struct hs_sequence *before = NULL;
	struct tiny t = TINY_F32;
	t.context = 512;
	gpu_of(&gpu);
	const struct hs_host_recorder *recorder = hs_host_device.recorder;
	hs_host_device.recorder = NULL;
	struct hs_model *m = load_tiny(t, &gpu, NULL);
	walk(m, N, plain);
	hs_model_destroy(m);
	hs_host_device.recorder = recorder;
	m = load_tiny(t, &gpu, NULL);
#ifdef ON_HOST_KERNELS
	unsigned graphs = hs_host_recorded.graphs, replays = hs_host_recorded.replays;
	walk(m, N, replayed);
	assert_int_equal(hs_host_recorded.graphs - graphs, 2);
	assert_int_equal(hs_host_recorded.replays - replays, N - 2); /* the first of each shape runs as it is */
#else
	walk(m, N, replayed);
#endif
	assert_int_equal(hs_sequence_create(m, 40, &before), 0);
	walk(m, N, again);
	hs_sequence_destroy(before);
	hs_model_destroy(m);
	assert_memory_equal(replayed, plain, sizeof plain);
	assert_memory_equal(again, plain, sizeof plain);
}

static int stop(void *arg)
{
	++*(unsigned *)arg;
	return 1;
}

static int go_on(void *arg)
{
	++*(unsigned *)arg;
	return 0;
}

static void test_cancelled_in_the_middle(void **state)
{
	enum { N = 700 };
	static hs_tok_id ids[N];
	struct hs_gpu gpu;
	struct hs_sequence *s = NULL;
	const float *logits;
	unsigned calls = 0;
	float want[37];
	struct tiny t = TINY_F32;
	t.context = 1024;
	t.layers = 3;
	for (uint32_t i = 0; i < N; i++)
		ids[i] = (hs_tok_id)(i * 7 % t.vocab);
	gpu_of(&gpu);
	struct hs_model *m = load_tiny(t, &gpu, NULL);
	assert_int_equal(hs_sequence_create(m, N, &s), 0);
	assert_int_equal(hs_sequence_forward(s, ids, N, go_on, &calls, &logits), 0); /* more than one turn */
	memcpy(want, logits, sizeof want);
	hs_sequence_truncate(s, 3);
	if (calls) { /* it takes long enough to be asked */
		calls = 0;
		assert_int_equal(hs_sequence_forward(s, ids + 3, N - 3, stop, &calls, &logits), -ECANCELED);
		assert_true(calls == 1 && hs_sequence_len(s) == 3);
	}
	assert_int_equal(hs_sequence_forward(s, ids + 3, N - 3, NULL, NULL, &logits), 0);
	assert_memory_equal(logits, want, sizeof want);
	hs_sequence_destroy(s);
	hs_model_destroy(m);
}

static void test_what_does_not_fit_says_so(void **state)
{
	struct hs_gpu gpu;
	struct hs_model_device d;
	gpu_of(&gpu);
	hs_host_device.memory = 1 << 20;
	struct hs_model *m = load_tiny(TINY_F32, &gpu, NULL);
	hs_model_device(m, &d);
	assert_string_equal(d.name, "cpu");
	assert_string_equal(d.why.code, "gpu.memory");
	assert_non_null(strstr(d.why.object, "weights 1 MB + work "));
	assert_non_null(strstr(d.why.object, "free 1 MB"));
	hs_model_destroy(m);
}

/* Pages for one conversation and a half. */
static void test_pages_run_out(void **state)
{
	struct hs_gpu gpu;
	struct hs_model_device d;
	struct hs_sequence *s[40] = {NULL}, *one_more = NULL;
	const float *logits;
	uint32_t n = 0;
	gpu_of(&gpu);
	struct hs_model *m = load_tiny(TINY_F32, &gpu, NULL);
	hs_model_device(m, &d);
	hs_host_device.memory = d.memory_bytes - (uint64_t)(d.n_pages - 20) * (2 * 2 * 2 * 16 * 32 * 2);
	hs_host_device.memory = hs_host_device.memory / 7 * 8 + 100;
	hs_model_destroy(m);
	m = load_tiny(TINY_F32, &gpu, NULL);
	hs_model_device(m, &d);
	assert_true(d.gpu && d.n_pages >= 16 && d.n_pages < 40 * 7);
	while (hs_sequence_create(m, 100, &s[n]) == 0)
		assert_true(++n < HS_ARRAY_LEN(s));
	assert_int_equal(n, d.n_pages / 7);
	assert_int_equal(hs_sequence_create(m, 100, &one_more), -ENOMEM);
	assert_int_equal(hs_sequence_forward(s[n - 1], some_ids, N_SOME, NULL, NULL, &logits), 0); /* the others go on */
	hs_sequence_destroy(s[0]);
	assert_int_equal(hs_sequence_create(m, 100, &s[0]), 0);
	for (uint32_t i = 0; i < n; i++)
		hs_sequence_destroy(s[i]);
	hs_model_destroy(m);
}

/* Lost at every call that there is, while it is loaded and while it computes: never more than an error. */
static void test_lost_at_any_moment(void **state)
{
	bool whole = false;
	for (int calls = 1; !whole; calls += calls < 80 ? 1 : 7) {
		struct hs_gpu gpu;
		struct hs_model_device d;
		struct hs_sequence *s = NULL, *again = NULL;
		const float *logits;
		hs_host_device.calls_left = -1;
		gpu_of(&gpu);
		hs_host_device.calls_left = calls;
		struct hs_model *m = load_tiny(TINY_F32, &gpu, NULL);
		int rc = hs_sequence_create(m, 60, &s);
		if (rc == 0)
			rc = hs_sequence_forward(s, some_ids, N_SOME, NULL, NULL, &logits);
		for (uint32_t i = 0; i < 3 && rc == 0; i++) /* as it is, recorded, replayed */
			rc = hs_sequence_forward(s, some_ids + i, 1, NULL, NULL, &logits);
		whole = rc == 0 && hs_host_device.calls_left > 0;
		assert_true(rc == 0 || rc == -ENODEV);
		hs_model_device(m, &d);
		assert_true(whole == d.gpu || rc == 0);
		assert_true(d.gpu || d.why.num == ENODEV);
		assert_int_equal(hs_sequence_create(m, 60, &again), 0);
		rc = hs_sequence_forward(again, some_ids, N_SOME, NULL, NULL, &logits);
		assert_true(rc == 0 || rc == -ENODEV);
		hs_sequence_destroy(again);
		hs_sequence_destroy(s);
		hs_model_destroy(m);
		assert_true(calls < 5000);
	}
}

int main(void)
{
#define ON_DEVICE(test) cmocka_unit_test_setup_teardown(test, fresh_device, no_graph_is_left)
	const struct CMUnitTest tests[] = {
	    ON_DEVICE(test_families),
	    ON_DEVICE(test_bytes_of_keys_and_values),
	    ON_DEVICE(test_quantised_families),
	    ON_DEVICE(test_bits_do_not_depend_on_cuts_or_company),
	    ON_DEVICE(test_texts_do_not_depend_on_company),
	    ON_DEVICE(test_many_texts),
	    ON_DEVICE(test_prefixes_and_owners),
	    ON_DEVICE(test_shared_prefixes),
	    ON_DEVICE(test_tokens_chosen_on_the_device),
	    ON_DEVICE(test_graphs_change_nothing),
	    ON_DEVICE(test_cancelled_in_the_middle),
	    ON_DEVICE(test_what_does_not_fit_says_so),
	    ON_DEVICE(test_pages_run_out),
	    ON_DEVICE(test_lost_at_any_moment),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
