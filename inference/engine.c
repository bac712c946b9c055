#include "inference/engine.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "inference/cuda/load.h"
#include "inference/cuda/plugin.h"

#define THREADS_MAX 256
#define TEXTS_MAX (1u << 20)

_Static_assert(HS_FORWARD_TOKENS_MAX == HS_STEP_TOKENS_MAX && HS_FORWARD_LOGITS_MAX == HS_LOGITS_MAX, "one limit each");

#define MARKS_MAX 4u

struct marks { /* special tokens at one place of a pair */
	int32_t ids[MARKS_MAX];
	uint32_t n;
};

/* A model on a device. Its sequences outlive the day on which another takes its place. */
struct placed {
	const struct hs_backend *backend;
	const struct hs_cuda_plugin *plugin; /* NULL: not on a GPU */
	struct hs_backend_model *computed;
	unsigned users; /* sequences, and the model while it is the one in use */
};

struct hs_model {
	struct hs_gguf *gguf;
	struct hs_weights *weights;
	struct hs_tokenizer *tokenizer;
	unsigned n_threads;
	pthread_mutex_t lock; /* guards placed, its users and device: sequences end, and status is asked, on any thread */
	struct placed *placed;
	struct placed *aside; /* the CPU, for adapters, where `placed` is no CPU; NULL until then */
	struct hs_model_device device;
	struct hs_model_info info;
	struct marks before, between, after; /* a reranker's question and passage */
};

struct hs_adapter {
	struct hs_model *m;
	struct hs_gguf *gguf;
	struct hs_lora *lora;
	struct placed *on;
	struct hs_backend_adapter *computed;
	struct hs_adapter_info info;
};

struct hs_sequence {
	struct hs_model *m;
	const struct hs_adapter *adapter; /* or NULL */
	struct placed *on;
	struct hs_backend_sequence *computed;
	uint32_t len, max_tokens;
};

static unsigned usable_cores(void)
{
	cpu_set_t set;
	if (sched_getaffinity(0, sizeof set, &set) < 0)
		return 1;
	return (unsigned)HS_MAX(CPU_COUNT(&set), 1);
}

/* What the file says, or what its kind of tokeniser is known to want. */
static bool starts_with_bos(const struct hs_gguf *g)
{
	bool adds;
	struct hs_gguf_str model = {.s = "", .len = 0}, pre = model;
	if (hs_gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &adds))
		return adds;
	(void)hs_gguf_get_str(g, "tokenizer.ggml.model", &model); /* absent: as set above */
	(void)hs_gguf_get_str(g, "tokenizer.ggml.pre", &pre);
	return (model.len == 5 && memcmp(model.s, "llama", 5) == 0) || (pre.len == 9 && memcmp(pre.s, "llama-bpe", 9) == 0);
}

static void fill_info(struct hs_model *m)
{
	const struct hs_hyper *h = &m->weights->hyper;
	struct hs_model_info *i = &m->info;
	struct hs_gguf_str name = {.s = "", .len = 0};
	(void)hs_gguf_get_str(m->gguf, "general.name", &name); /* a file may have no name */
	memcpy(i->name, name.s, HS_MIN(name.len, sizeof i->name - 1));
	(void)snprintf(i->architecture, sizeof i->architecture, "%s", m->weights->arch->name); /* one of our short names */
	i->n_layers = h->n_layers;
	i->n_embd = h->n_embd;
	i->n_heads = h->n_heads;
	i->n_kv_heads = h->n_kv_heads;
	i->n_ff = h->n_ff;
	i->n_vocab = h->n_vocab;
	i->context = h->context;
	i->n_params = m->weights->n_params;
	i->starts_with_bos = starts_with_bos(m->gguf);
	i->encoder = h->pool != HS_POOL_NONE;
	i->n_labels = h->n_labels;
	i->kv_bytes = hs_kv_bytes(h, m->weights->kv_q8);
	for (size_t k = 0; k < hs_gguf_tensor_count(m->gguf); k++)
		i->file_bytes += hs_gguf_tensor_at(m->gguf, k)->bytes;
}

static void let_go(struct hs_model *m, struct placed *on)
{
	if (!on)
		return;
	pthread_mutex_lock(&m->lock);
	bool last = --on->users == 0;
	pthread_mutex_unlock(&m->lock);
	if (!last)
		return;
	on->backend->close(on->computed);
	free(on);
}

static struct placed *in_use(struct hs_model *m)
{
	pthread_mutex_lock(&m->lock);
	struct placed *on = m->placed;
	on->users++;
	pthread_mutex_unlock(&m->lock);
	return on;
}

/* `on` takes the place of what computed before. */
static void put(struct hs_model *m, struct placed *on, const char *name, const struct hs_err *why)
{
	pthread_mutex_lock(&m->lock);
	struct placed *before = m->placed;
	m->placed = on;
	m->device = (struct hs_model_device){.gpu = on->plugin != NULL, .why = HS_ERR_INIT};
	(void)snprintf(m->device.name, sizeof m->device.name, "%s", name); /* a longer name is cut */
	if (why)
		m->device.why = *why;
	pthread_mutex_unlock(&m->lock);
	let_go(m, before);
}

static int open_on_cpu(struct hs_model *m, const struct hs_backend *backend, struct placed **ret, struct hs_err *err)
{
	struct placed *on = calloc(1, sizeof *on);
	if (!on)
		return hs_fail_errno(err, -ENOMEM, "model.load", backend->name);
	*on = (struct placed){.backend = backend, .users = 1};
	int rc = backend->open(m->weights, m->n_threads, &on->computed, err);
	if (rc < 0)
		free(on);
	else
		*ret = on;
	return rc;
}

static int place_on_cpu(struct hs_model *m, const struct hs_backend *backend, const struct hs_err *why, struct hs_err *err)
{
	struct placed *on;
	int rc = open_on_cpu(m, backend, &on, err);
	if (rc == 0)
		put(m, on, backend->name, why);
	return rc;
}

static int place_on_gpu(struct hs_model *m, const struct hs_model_options *options, struct hs_err *err)
{
	const struct hs_gpu *gpu = options->gpu;
	const struct hs_cuda_options how = {.device = gpu->index, .progress = options->progress, .arg = options->arg};
	struct placed *on = calloc(1, sizeof *on);
	char name[sizeof m->device.name];
	if (!on)
		return hs_fail_errno(err, -ENOMEM, "model.load", "gpu");
	*on = (struct placed){.backend = gpu->plugin->backend, .plugin = gpu->plugin, .users = 1};
	int rc = gpu->plugin->judge(m->weights, err);
	if (rc == 0)
		rc = gpu->plugin->open(m->weights, &how, &on->computed, err);
	if (rc < 0) {
		free(on);
		return rc;
	}
	(void)snprintf(name, sizeof name, "cuda:%u %s", gpu->index, gpu->device.name); /* as above */
	put(m, on, name, NULL);
	return 0;
}

/* The GPU is lost: the CPU takes over, or, where that fails too, nothing computes until the next start. */
static void fail_over(struct hs_model *m, const struct placed *lost)
{
	struct hs_err why = HS_ERR_INIT, err = HS_ERR_INIT;
	pthread_mutex_lock(&m->lock);
	bool first = m->placed == lost && m->device.why.num == 0;
	(void)hs_fail(&why, ENODEV, "gpu.lost", HS_N_("the GPU failed while it computed; restart hishod to use it again"), "%s",
		      m->device.name);
	if (first)
		m->device.why = why;
	pthread_mutex_unlock(&m->lock);
	if (first && place_on_cpu(m, &hs_backend_cpu, &why, &err) < 0) {
		pthread_mutex_lock(&m->lock);
		m->device.why = err;
		pthread_mutex_unlock(&m->lock);
	}
}

static int place(struct hs_model *m, const struct hs_model_options *options, struct hs_err *err)
{
	struct hs_err why = HS_ERR_INIT;
	if (options && (options->reference || options->exact))
		return place_on_cpu(m, options->exact ? &hs_backend_exact : &hs_backend_reference, NULL, err);
	if (options && options->gpu && place_on_gpu(m, options, &why) == 0)
		return 0;
	if (options && !options->gpu && options->no_gpu)
		why = *options->no_gpu;
	return place_on_cpu(m, &hs_backend_cpu, &why, err);
}

/* A list of tokens of the vocabulary, none or more; false where it is no such list. */
static bool read_marks(const struct hs_model *m, const char *key, struct marks *ret)
{
	size_t n;
	if (!hs_gguf_get_array_len(m->gguf, key, &n) || n > MARKS_MAX ||
	    !hs_gguf_get_i32_array(m->gguf, key, ret->ids, MARKS_MAX))
		return false;
	ret->n = (uint32_t)n;
	for (size_t i = 0; i < n; i++)
		if (ret->ids[i] < 0 || (size_t)ret->ids[i] >= hs_tokenizer_vocab(m->tokenizer))
			return false;
	return true;
}

/*
 * How a reranker's two texts stand together: as the file says (docs/formats/encoders.md), otherwise as the makers of its kind
 * of vocabulary have it: <s> A </s></s> B </s> (XLM-R), [CLS] A [SEP] B [SEP] (BERT).
 */
static int read_pair(struct hs_model *m, struct hs_err *err)
{
	struct hs_gguf_str model = {.s = ""};
	if (m->info.n_labels != 1) /* a classifier of other things */
		return 0;
	bool said = hs_gguf_has(m->gguf, "hisho.rerank.before") || hs_gguf_has(m->gguf, "hisho.rerank.between") ||
		    hs_gguf_has(m->gguf, "hisho.rerank.after");
	if (said && !(read_marks(m, "hisho.rerank.before", &m->before) && read_marks(m, "hisho.rerank.between", &m->between) &&
		      read_marks(m, "hisho.rerank.after", &m->after)))
		return hs_fail(err, EINVAL, "model.invalid", HS_N_("each is a list of at most 4 tokens of the vocabulary"),
			       "hisho.rerank.before, between, after");
	hs_tok_id bos = hs_tok_bos(m->tokenizer), eos = hs_tok_eos(m->tokenizer);
	if (!said && bos >= 0 && eos >= 0) {
		(void)hs_gguf_get_str(m->gguf, "tokenizer.ggml.model", &model); /* the tokeniser read it */
		m->before = (struct marks){.ids = {bos}, .n = 1};
		m->between = (struct marks){.ids = {eos, eos}, .n = model.len == 4 ? 1 : 2}; /* "bert" */
		m->after = (struct marks){.ids = {eos}, .n = 1};
	}
	m->info.scores = (said || m->before.n) && m->info.context >= m->before.n + m->between.n + m->after.n + 2;
	return 0;
}

static int load(struct hs_model *m, const char *path, const struct hs_model_options *options, struct hs_err *err)
{
	int rc;
	if ((rc = hs_gguf_open(path, &m->gguf, err)) < 0 || (rc = hs_weights_bind(m->gguf, &m->weights, err)) < 0 ||
	    (rc = hs_tokenizer_create(m->gguf, &m->tokenizer, err)) < 0)
		return rc;
	m->weights->kv_q8 = options && options->kv_q8 && m->weights->hyper.pool == HS_POOL_NONE;
	fill_info(m);
	if (hs_tokenizer_vocab(m->tokenizer) > m->info.n_vocab)
		return hs_fail(err, EINVAL, "model.invalid", HS_N_("the tokeniser has more tokens than the embedding has rows"),
			       "tokenizer.ggml.tokens");
	if ((rc = read_pair(m, err)) < 0)
		return rc;
	m->n_threads = HS_MIN(options && options->n_threads ? options->n_threads : usable_cores(), (unsigned)THREADS_MAX);
	rc = place(m, options, err);
	hs_gguf_rest(m->gguf); /* what computes has its own copy, but for the embedding's rows */
	return rc;
}

int hs_model_load(const char *path, const struct hs_model_options *options, struct hs_model **ret, struct hs_err *err)
{
	struct hs_model *m = calloc(1, sizeof *m);
	if (!m)
		return hs_fail_errno(err, -ENOMEM, "model.load", path);
	(void)pthread_mutex_init(&m->lock, NULL); /* cannot fail with default attributes */
	int rc = load(m, path, options, err);
	if (rc < 0) {
		hs_model_destroy(m);
		return rc;
	}
	*ret = m;
	return 0;
}

void hs_model_destroy(struct hs_model *m)
{
	if (!m)
		return;
	let_go(m, m->placed);
	let_go(m, m->aside);
	(void)pthread_mutex_destroy(&m->lock); /* nobody holds it */
	hs_tokenizer_destroy(m->tokenizer);
	hs_weights_destroy(m->weights);
	hs_gguf_close(m->gguf);
	free(m);
}

const struct hs_model_info *hs_model_info(const struct hs_model *m)
{
	return &m->info;
}

const struct hs_tokenizer *hs_model_tokenizer(const struct hs_model *m)
{
	return m->tokenizer;
}

void hs_model_device(struct hs_model *m, struct hs_model_device *ret)
{
	struct placed *on = in_use(m);
	struct hs_cuda_usage u = {0};
	struct hs_backend_pages pages = {0};
	if (on->plugin)
		on->plugin->usage(on->computed, &u);
	else if (on->backend->pages)
		on->backend->pages(on->computed, &pages);
	pthread_mutex_lock(&m->lock);
	*ret = m->device;
	pthread_mutex_unlock(&m->lock);
	ret->weight_bytes = u.weight_bytes;
	ret->memory_bytes = u.weight_bytes + u.work_bytes + u.page_bytes * u.n_pages;
	if (on->plugin)
		pages =
		    (struct hs_backend_pages){.n = u.n_pages, .n_used = u.n_used, .tokens = u.page_tokens, .bytes = u.page_bytes};
	ret->page_bytes = pages.bytes;
	ret->n_pages = pages.n;
	ret->n_pages_used = pages.n_used;
	ret->page_tokens = pages.tokens;
	let_go(m, on);
}

uint32_t hs_model_pages_of(struct hs_model *m, uint64_t owner)
{
	struct placed *on = in_use(m);
	uint32_t (*pages_of)(struct hs_backend_model *, uint64_t) = on->plugin ? on->plugin->pages_of : on->backend->pages_of;
	uint32_t n = pages_of ? pages_of(on->computed, owner) : 0;
	let_go(m, on);
	return n;
}

static void fill_adapter_info(struct hs_adapter *a)
{
	struct hs_gguf_str name = {.s = "", .len = 0};
	(void)hs_gguf_get_str(a->gguf, "general.name", &name); /* a file may have no name */
	memcpy(a->info.name, name.s, HS_MIN(name.len, sizeof a->info.name - 1));
	a->info.alpha = a->lora->alpha;
	a->info.rank = a->lora->rank_max;
	a->info.n_matrices = a->lora->n_pairs;
	a->info.n_params = a->lora->n_params;
	for (size_t i = 0; i < hs_gguf_tensor_count(a->gguf); i++)
		a->info.file_bytes += hs_gguf_tensor_at(a->gguf, i)->bytes;
}

/* What computes the model's adapters, taken into use. */
static int place_adapters(struct hs_model *m, struct placed **ret, struct hs_err *err)
{
	struct placed *on = in_use(m);
	if (on->backend->adapter_open) {
		*ret = on;
		return 0;
	}
	let_go(m, on);
	int rc = m->aside ? 0 : open_on_cpu(m, &hs_backend_cpu, &m->aside, err);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&m->lock);
	m->aside->users++;
	pthread_mutex_unlock(&m->lock);
	*ret = m->aside;
	return 0;
}

static int load_adapter(struct hs_adapter *a, const char *path, struct hs_err *err)
{
	struct hs_model *m = a->m;
	if (m->info.encoder)
		return hs_fail(err, ENOTSUP, "adapter.unsupported", HS_N_("adapters are for models that write answers"), "%s",
			       m->info.architecture);
	int rc;
	if ((rc = hs_gguf_open(path, &a->gguf, err)) < 0 || (rc = hs_lora_bind(a->gguf, m->weights, &a->lora, err)) < 0 ||
	    (rc = place_adapters(m, &a->on, err)) < 0)
		return rc;
	rc = a->on->backend->adapter_open(a->on->computed, a->lora, &a->computed);
	if (rc < 0)
		return hs_fail_errno(err, rc, "adapter.load", path);
	fill_adapter_info(a);
	hs_gguf_rest(a->gguf);
	return 0;
}

int hs_adapter_load(struct hs_model *m, const char *path, struct hs_adapter **ret, struct hs_err *err)
{
	struct hs_adapter *a = calloc(1, sizeof *a);
	if (!a)
		return hs_fail_errno(err, -ENOMEM, "adapter.load", path);
	a->m = m;
	int rc = load_adapter(a, path, err);
	if (rc < 0)
		hs_adapter_destroy(a);
	else
		*ret = a;
	return rc;
}

void hs_adapter_destroy(struct hs_adapter *a)
{
	if (!a)
		return;
	if (a->computed)
		a->on->backend->adapter_close(a->computed);
	let_go(a->m, a->on);
	hs_lora_destroy(a->lora);
	hs_gguf_close(a->gguf);
	free(a);
}

const struct hs_adapter_info *hs_adapter_info(const struct hs_adapter *a)
{
	return &a->info;
}

int hs_sequence_create(struct hs_model *m, uint32_t max_tokens, struct hs_sequence **ret)
{
	return hs_sequence_create_adapted(m, NULL, max_tokens, ret);
}

/* Where a sequence of the adapter, or of none, is computed now. The lock is held. */
static struct placed *place_of(struct hs_model *m, const struct hs_adapter *a)
{
	return a ? a->on : m->placed;
}

int hs_sequence_create_adapted(struct hs_model *m, const struct hs_adapter *a, uint32_t max_tokens, struct hs_sequence **ret)
{
	hs_assert(!a || a->m == m);
	if (m->info.encoder || max_tokens == 0 || max_tokens > m->info.context)
		return -EINVAL;
	struct hs_sequence *s = calloc(1, sizeof *s);
	if (!s)
		return -ENOMEM;
	s->m = m;
	s->adapter = a;
	s->max_tokens = max_tokens;
	pthread_mutex_lock(&m->lock);
	s->on = place_of(m, a);
	s->on->users++;
	pthread_mutex_unlock(&m->lock);
	int rc = s->on->backend->sequence_create(s->on->computed, max_tokens, &s->computed);
	if (rc < 0) {
		if (rc == -ENODEV)
			fail_over(m, s->on);
		let_go(m, s->on);
		free(s);
		return rc;
	}
	if (a)
		s->on->backend->adapt(s->computed, a->computed);
	*ret = s;
	return 0;
}

void hs_sequence_destroy(struct hs_sequence *s)
{
	if (!s)
		return;
	s->on->backend->sequence_destroy(s->computed);
	let_go(s->m, s->on);
	free(s);
}

void hs_sequence_own(struct hs_sequence *s, uint64_t owner)
{
	if (s->on->backend->own)
		s->on->backend->own(s->computed, owner);
}

bool hs_sequence_is_lost(const struct hs_sequence *s)
{
	pthread_mutex_lock(&s->m->lock);
	bool lost = s->on != place_of(s->m, s->adapter);
	pthread_mutex_unlock(&s->m->lock);
	return lost;
}

const struct hs_adapter *hs_sequence_adapter(const struct hs_sequence *s)
{
	return s->adapter;
}

uint32_t hs_sequence_len(const struct hs_sequence *s)
{
	return s->len;
}

void hs_sequence_truncate(struct hs_sequence *s, uint32_t len)
{
	if (len >= s->len)
		return;
	s->on->backend->wipe(s->computed, len, s->len);
	s->len = len;
}

void hs_sequence_copy(struct hs_sequence *to, const struct hs_sequence *from, uint32_t n)
{
	hs_assert(to->m == from->m && to->len == 0 && n <= from->len && n <= to->max_tokens);
	if (to->on != from->on || to->adapter != from->adapter)
		return;
	to->on->backend->copy(to->computed, from->computed, n);
	to->len = n;
}

static int check_step(const struct hs_step *step, const struct hs_model *m)
{
	const struct hs_sequence *s = step->sequence;
	if (s->m != m || step->n == 0 || step->n_logits > step->n || step->n_choices > step->n_logits)
		return -EINVAL;
	for (uint32_t i = 0; i < step->n_choices; i++)
		if (step->choices[i].n_ids == 0 || step->choices[i].n_ids > m->info.n_vocab)
			return -EINVAL;
	if (hs_sequence_is_lost(s))
		return -ENODEV;
	if (step->n > s->max_tokens - s->len)
		return -ENOSPC;
	for (uint32_t i = 0; i < step->n; i++)
		if (step->ids[i] < 0 || (uint32_t)step->ids[i] >= m->info.n_vocab)
			return -EINVAL;
	return 0;
}

/* The steps whose sequences are on this device. */
static int forward_on(const struct placed *on, const struct hs_step *steps, struct hs_backend_step *computed, uint32_t n_steps,
		      struct hs_yield *y)
{
	struct hs_backend_step own[HS_FORWARD_STEPS_MAX];
	uint32_t at[HS_FORWARD_STEPS_MAX], n = 0;
	for (uint32_t i = 0; i < n_steps; i++) {
		if (steps[i].sequence->on != on)
			continue;
		if (!on->backend->chooses)
			computed[i].n_choices = 0;
		at[n] = i;
		own[n++] = computed[i];
	}
	int rc = n ? on->backend->forward(own, n, y) : 0;
	for (uint32_t i = 0; i < n; i++)
		computed[at[i]] = own[i];
	return rc;
}

int hs_forward(struct hs_step *steps, uint32_t n_steps, hs_yield_fn yield, void *arg)
{
	struct hs_backend_step computed[HS_FORWARD_STEPS_MAX];
	if (n_steps == 0 || n_steps > HS_FORWARD_STEPS_MAX)
		return -EINVAL;
	struct hs_model *m = steps[0].sequence->m;
	uint32_t n_tokens = 0, n_logits = 0;
	int rc = 0;
	for (uint32_t i = 0; i < n_steps && rc == 0; i++) {
		rc = check_step(&steps[i], m);
		n_tokens += rc == 0 ? HS_MIN(steps[i].n, HS_FORWARD_TOKENS_MAX + 1) : 0;
		n_logits += rc == 0 ? HS_MIN(steps[i].n_logits, HS_FORWARD_LOGITS_MAX + 1) : 0;
		for (uint32_t k = 0; k < i; k++)
			if (steps[k].sequence == steps[i].sequence)
				rc = -EINVAL;
		computed[i] = (struct hs_backend_step){.s = steps[i].sequence->computed,
						       .position = steps[i].sequence->len,
						       .ids = steps[i].ids,
						       .n = steps[i].n,
						       .n_logits = steps[i].n_logits,
						       .choices = steps[i].choices,
						       .n_choices = steps[i].n_choices};
	}
	if (rc == 0 && ((n_steps > 1 && n_tokens > HS_FORWARD_TOKENS_MAX) || n_logits > HS_FORWARD_LOGITS_MAX))
		rc = -EINVAL;
	if (rc < 0)
		return rc;
	struct hs_yield y = {.fn = yield, .arg = arg, .last_us = hs_monotonic_us()};
	struct placed *on = in_use(m);
	rc = forward_on(on, steps, computed, n_steps, &y);
	if (rc == -ENODEV)
		fail_over(m, on);
	if (rc == 0 && m->aside)
		rc = forward_on(m->aside, steps, computed, n_steps, &y);
	for (uint32_t i = 0; i < n_steps; i++) {
		struct hs_sequence *s = steps[i].sequence;
		if (rc < 0)
			s->on->backend->wipe(s->computed, s->len, s->len + steps[i].n);
		else
			s->len += steps[i].n;
		for (uint32_t k = 0; k < steps[i].n_logits; k++)
			steps[i].logits[k] =
			    rc < 0 || k < computed[i].n_choices ? NULL : computed[i].logits + k * computed[i].logits_stride;
	}
	let_go(m, on);
	return rc;
}

int hs_sequence_forward(struct hs_sequence *s, const hs_tok_id *ids, uint32_t n, hs_yield_fn yield, void *arg,
			const float **ret_logits)
{
	struct hs_step step = {.sequence = s, .ids = ids, .n = n, .n_logits = 1};
	int rc = n ? hs_forward(&step, 1, yield, arg) : -EINVAL;
	if (rc == 0)
		*ret_logits = step.logits[0];
	return rc;
}

/* By whatever computes; where that is lost meanwhile, once more by what takes its place. */
static int encode(struct hs_model *m, const int32_t *ids, const uint32_t *starts, uint32_t n_texts, struct hs_yield *y,
		  float *out)
{
	int rc = -ENODEV;
	for (int round = 0; rc == -ENODEV && round < 2; round++) {
		struct placed *on = in_use(m);
		rc = on->backend->encode(on->computed, ids, starts, n_texts, y, out);
		if (rc == -ENODEV)
			fail_over(m, on);
		let_go(m, on);
	}
	return rc;
}

/* Texts on their way to an encoder, packed back to back. */
struct packed {
	int32_t *ids;
	uint32_t *starts; /* (texts + 1) */
	uint32_t n;
	size_t cap;
	struct hs_tok_ids text; /* of the one that is read */
	struct hs_yield y;
};

static int packed_init(struct packed *p, uint32_t n_texts, hs_yield_fn yield, void *arg)
{
	*p = (struct packed){.y = {.fn = yield, .arg = arg, .last_us = hs_monotonic_us()}};
	p->starts = calloc((size_t)n_texts + 1, sizeof *p->starts);
	return p->starts ? 0 : -ENOMEM;
}

static void packed_finish(struct packed *p)
{
	if (p->ids) /* what people asked and wrote */
		explicit_bzero(p->ids, p->cap * sizeof *p->ids);
	if (p->text.ids)
		explicit_bzero(p->text.ids, p->text.cap * sizeof *p->text.ids);
	hs_tok_ids_finish(&p->text);
	free(p->ids);
	free(p->starts);
}

/* Room for n more ids, a text's at most. */
static int packed_reserve(struct packed *p, uint32_t n)
{
	size_t need = (size_t)p->starts[p->n] + n, cap = HS_MAX(2 * p->cap, need);
	if (need > UINT32_MAX / 32)
		return -E2BIG;
	if (need <= p->cap)
		return 0;
	int32_t *grown = calloc(cap, sizeof *grown);
	if (!grown)
		return -ENOMEM;
	if (p->ids) {
		memcpy(grown, p->ids, p->cap * sizeof *grown);
		explicit_bzero(p->ids, p->cap * sizeof *p->ids);
		free(p->ids);
	}
	p->ids = grown;
	p->cap = cap;
	return 0;
}

/* The text that was put from the last start on is complete: n ids. */
static int packed_close(struct packed *p, uint32_t n)
{
	p->starts[p->n + 1] = p->starts[p->n] + n;
	p->n++;
	return n == 0 ? -EINVAL : hs_yield_is_due(&p->y) && hs_yield_now(&p->y) ? -ECANCELED : 0;
}

/* Append at most max ids of a text to ids. */
static int put_text(const struct hs_model *m, struct packed *p, const char *text, size_t len, uint32_t max, int32_t *ids,
		    uint32_t *n)
{
	p->text.count = 0;
	int rc = hs_tok_encode(m->tokenizer, text, len, &p->text);
	for (size_t i = 0; rc == 0 && i < p->text.count && i < max; i++)
		ids[(*n)++] = p->text.ids[i];
	return rc;
}

/* bos, the text cut to the context, eos. */
static int pack_text(const struct hs_model *m, struct packed *p, const char *text, size_t len)
{
	hs_tok_id bos = hs_tok_bos(m->tokenizer), eos = hs_tok_eos(m->tokenizer);
	uint32_t n = 0, room = m->info.context - (bos != HS_TOK_NONE) - (eos != HS_TOK_NONE);
	int rc = packed_reserve(p, m->info.context);
	if (rc < 0)
		return rc;
	int32_t *ids = p->ids + p->starts[p->n];
	if (bos != HS_TOK_NONE)
		ids[n++] = bos;
	rc = put_text(m, p, text, len, room, ids, &n);
	if (eos != HS_TOK_NONE)
		ids[n++] = eos;
	return rc < 0 ? rc : packed_close(p, n);
}

int hs_embed(struct hs_model *m, const char *const *texts, const size_t *lens, uint32_t n_texts, hs_yield_fn yield, void *arg,
	     float *out)
{
	struct packed p;
	if (!m->info.encoder || m->info.n_labels || m->info.context < 3 || n_texts > TEXTS_MAX)
		return -EINVAL;
	int rc = packed_init(&p, n_texts, yield, arg);
	for (uint32_t i = 0; i < n_texts && rc == 0; i++)
		rc = pack_text(m, &p, texts[i], lens[i]);
	if (rc == 0 && n_texts)
		rc = encode(m, p.ids, p.starts, n_texts, &p.y, out);
	packed_finish(&p);
	return rc;
}

static void put_marks(const struct marks *marks, int32_t *ids, uint32_t *n)
{
	for (uint32_t i = 0; i < marks->n; i++)
		ids[(*n)++] = marks->ids[i];
}

/* before, question (already cut), between, as much of the passage as fits, after. */
static int pack_pair(const struct hs_model *m, struct packed *p, const int32_t *question, uint32_t n_question,
		     const char *passage, size_t len)
{
	uint32_t n = 0, marks = m->before.n + m->between.n + m->after.n;
	int rc = packed_reserve(p, m->info.context);
	if (rc < 0)
		return rc;
	int32_t *ids = p->ids + p->starts[p->n];
	put_marks(&m->before, ids, &n);
	memcpy(ids + n, question, n_question * sizeof *ids);
	n += n_question;
	put_marks(&m->between, ids, &n);
	rc = put_text(m, p, passage, len, m->info.context - marks - n_question, ids, &n);
	put_marks(&m->after, ids, &n);
	return rc < 0 ? rc : packed_close(p, n);
}

int hs_score(struct hs_model *m, const char *question, size_t question_len, const char *const *passages, const size_t *lens,
	     uint32_t n_passages, hs_yield_fn yield, void *arg, float *out)
{
	struct packed p;
	if (!m->info.scores || n_passages > TEXTS_MAX)
		return -EINVAL;
	uint32_t n_question = 0, room = m->info.context - m->before.n - m->between.n - m->after.n;
	int32_t *ids = calloc(room, sizeof *ids);
	int rc = packed_init(&p, n_passages, yield, arg);
	if (rc == 0)
		rc = ids ? put_text(m, &p, question, question_len, room / 2, ids, &n_question) : -ENOMEM;
	for (uint32_t i = 0; i < n_passages && rc == 0; i++)
		rc = pack_pair(m, &p, ids, n_question, passages[i], lens[i]);
	if (rc == 0 && n_passages)
		rc = encode(m, p.ids, p.starts, n_passages, &p.y, out);
	if (ids)
		explicit_bzero(ids, room * sizeof *ids);
	free(ids);
	packed_finish(&p);
	return rc;
}
