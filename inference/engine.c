#include "inference/engine.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "inference/model/backend.h"

#define THREADS_MAX 256
#define TEXTS_MAX (1u << 20)

_Static_assert(HS_FORWARD_TOKENS_MAX == HS_STEP_TOKENS_MAX && HS_FORWARD_LOGITS_MAX == HS_LOGITS_MAX, "one limit each");

struct hs_model {
	struct hs_gguf *gguf;
	struct hs_weights *weights;
	struct hs_tokenizer *tokenizer;
	const struct hs_backend *backend;
	struct hs_backend_model *computed;
	struct hs_model_info info;
};

struct hs_sequence {
	struct hs_model *m;
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
	for (size_t k = 0; k < hs_gguf_tensor_count(m->gguf); k++)
		i->file_bytes += hs_gguf_tensor_at(m->gguf, k)->bytes;
}

static int load(struct hs_model *m, const char *path, const struct hs_model_options *options, struct hs_err *err)
{
	int rc;
	if ((rc = hs_gguf_open(path, &m->gguf, err)) < 0 || (rc = hs_weights_bind(m->gguf, &m->weights, err)) < 0 ||
	    (rc = hs_tokenizer_create(m->gguf, &m->tokenizer, err)) < 0)
		return rc;
	fill_info(m);
	if (hs_tokenizer_vocab(m->tokenizer) > m->info.n_vocab)
		return hs_fail(err, EINVAL, "model.invalid", HS_N_("the tokeniser has more tokens than the embedding has rows"),
			       "tokenizer.ggml.tokens");
	unsigned n_threads = options && options->n_threads ? options->n_threads : usable_cores();
	m->backend = options && options->reference ? &hs_backend_reference : &hs_backend_cpu;
	return m->backend->open(m->weights, HS_MIN(n_threads, (unsigned)THREADS_MAX), &m->computed, err);
}

int hs_model_load(const char *path, const struct hs_model_options *options, struct hs_model **ret, struct hs_err *err)
{
	struct hs_model *m = calloc(1, sizeof *m);
	if (!m)
		return hs_fail_errno(err, -ENOMEM, "model.load", path);
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
	if (m->computed)
		m->backend->close(m->computed);
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

int hs_sequence_create(struct hs_model *m, uint32_t max_tokens, struct hs_sequence **ret)
{
	if (m->info.encoder || max_tokens == 0 || max_tokens > m->info.context)
		return -EINVAL;
	struct hs_sequence *s = calloc(1, sizeof *s);
	if (!s)
		return -ENOMEM;
	s->m = m;
	s->max_tokens = max_tokens;
	int rc = m->backend->sequence_create(m->computed, max_tokens, &s->computed);
	if (rc < 0) {
		free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

void hs_sequence_destroy(struct hs_sequence *s)
{
	if (!s)
		return;
	s->m->backend->sequence_destroy(s->computed);
	free(s);
}

uint32_t hs_sequence_len(const struct hs_sequence *s)
{
	return s->len;
}

void hs_sequence_truncate(struct hs_sequence *s, uint32_t len)
{
	if (len >= s->len)
		return;
	s->m->backend->wipe(s->computed, len, s->len);
	s->len = len;
}

void hs_sequence_copy(struct hs_sequence *to, const struct hs_sequence *from, uint32_t n)
{
	hs_assert(to->m == from->m && to->len == 0 && n <= from->len && n <= to->max_tokens);
	to->m->backend->copy(to->computed, from->computed, n);
	to->len = n;
}

static int check_step(const struct hs_step *step, const struct hs_model *m)
{
	const struct hs_sequence *s = step->sequence;
	if (s->m != m || step->n == 0 || step->n_logits > step->n)
		return -EINVAL;
	if (step->n > s->max_tokens - s->len)
		return -ENOSPC;
	for (uint32_t i = 0; i < step->n; i++)
		if (step->ids[i] < 0 || (uint32_t)step->ids[i] >= m->info.n_vocab)
			return -EINVAL;
	return 0;
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
						       .n_logits = steps[i].n_logits};
	}
	if (rc == 0 && ((n_steps > 1 && n_tokens > HS_FORWARD_TOKENS_MAX) || n_logits > HS_FORWARD_LOGITS_MAX))
		rc = -EINVAL;
	if (rc < 0)
		return rc;
	struct hs_yield y = {.fn = yield, .arg = arg, .last_us = hs_monotonic_us()};
	rc = m->backend->forward(computed, n_steps, &y);
	for (uint32_t i = 0; i < n_steps; i++) {
		struct hs_sequence *s = steps[i].sequence;
		if (rc < 0)
			m->backend->wipe(s->computed, s->len, s->len + steps[i].n);
		else
			s->len += steps[i].n;
		for (uint32_t k = 0; k < steps[i].n_logits; k++)
			steps[i].logits[k] = rc < 0 ? NULL : computed[i].logits + k * computed[i].logits_stride;
	}
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

/* bos, the text cut to the context, eos; appended to ids. */
static int tokenize_text(const struct hs_model *m, const char *text, size_t len, struct hs_tok_ids *text_ids, int32_t *ids,
			 uint32_t *ret_n)
{
	hs_tok_id bos = hs_tok_bos(m->tokenizer), eos = hs_tok_eos(m->tokenizer);
	text_ids->count = 0;
	int rc = hs_tok_encode(m->tokenizer, text, len, text_ids);
	if (rc < 0)
		return rc;
	uint32_t n = 0, room = m->info.context - (bos != HS_TOK_NONE) - (eos != HS_TOK_NONE);
	if (bos != HS_TOK_NONE)
		ids[n++] = bos;
	for (size_t i = 0; i < text_ids->count && i < room; i++)
		ids[n++] = text_ids->ids[i];
	if (eos != HS_TOK_NONE)
		ids[n++] = eos;
	*ret_n = n;
	return n ? 0 : -EINVAL;
}

int hs_embed(struct hs_model *m, const char *const *texts, const size_t *lens, uint32_t n_texts, hs_yield_fn yield, void *arg,
	     float *out)
{
	if (!m->info.encoder || m->info.n_labels || m->info.context < 3 || n_texts > TEXTS_MAX)
		return -EINVAL;
	struct hs_yield y = {.fn = yield, .arg = arg, .last_us = hs_monotonic_us()};
	struct hs_tok_ids text_ids = {0};
	int32_t *ids = NULL;
	uint32_t *starts = calloc((size_t)n_texts + 1, sizeof *starts);
	int rc = starts ? 0 : -ENOMEM;
	for (uint32_t i = 0; i < n_texts && rc == 0; i++) {
		uint32_t n = 0;
		int32_t *grown = realloc(ids, ((size_t)starts[i] + m->info.context) * sizeof *ids);
		rc = grown ? 0 : -ENOMEM;
		if (rc == 0) {
			ids = grown;
			rc = tokenize_text(m, texts[i], lens[i], &text_ids, ids + starts[i], &n);
		}
		if (rc == 0 && n > UINT32_MAX / 32 - starts[i])
			rc = -E2BIG;
		if (rc == 0 && hs_yield_is_due(&y) && hs_yield_now(&y))
			rc = -ECANCELED;
		starts[i + 1] = starts[i] + n;
	}
	if (rc == 0 && n_texts)
		rc = m->backend->encode(m->computed, ids, starts, n_texts, &y, out);
	hs_tok_ids_finish(&text_ids);
	free(starts);
	free(ids);
	return rc;
}
