#include "daemon/infer/models.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/clock.h"
#include "base/file.h"
#include "inference/gguf/gguf.h"

#define MEASURED_TOKENS 64u
#define MEASURED_PAIRS 4u
#define HASH_PIECE (1u << 20)

static int hash_file(const char *path, uint8_t out[static 32])
{
	HS_FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t *piece = malloc(HASH_PIECE);
	int rc = ctx && piece && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
	ssize_t n = 0;
	while (rc == 0 && (n = read(fd, piece, HASH_PIECE)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		rc = n < 0 ? -errno : EVP_DigestUpdate(ctx, piece, (size_t)n) == 1 ? 0 : -EIO;
	}
	if (rc == 0 && EVP_DigestFinal_ex(ctx, out, NULL) != 1)
		rc = -EIO;
	EVP_MD_CTX_free(ctx);
	free(piece);
	return rc;
}

static void copy_text(const struct hs_gguf *g, const char *key, const char *otherwise, char *out, size_t cap)
{
	struct hs_gguf_str s;
	if (hs_gguf_get_str(g, key, &s) && s.len < cap && !memchr(s.s, 0, s.len))
		(void)snprintf(out, cap, "%.*s", (int)s.len, s.s); /* fits */
	else
		(void)snprintf(out, cap, "%s", otherwise); /* fits */
}

/* Does a prompt begin with bos? Where the file does not say: of the tokenisers that we have, SentencePiece ones do. */
static bool adds_bos(const struct hs_gguf *g)
{
	static const char sentencepiece[] = "llama";
	struct hs_gguf_str model;
	bool yes;
	if (hs_gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &yes))
		return yes;
	return hs_gguf_get_str(g, "tokenizer.ggml.model", &model) && model.len == sizeof sentencepiece - 1 &&
	       memcmp(model.s, sentencepiece, model.len) == 0;
}

/* What the engine does not tell: the template, the prefixes of embedded texts. */
static int read_manners(struct hs_served_model *m, const char *path, enum hs_served_kind kind, struct hs_err *err)
{
	struct hs_gguf *g = NULL;
	struct hs_gguf_str template = {.s = ""};
	int rc = hs_gguf_open(path, &g, err);
	if (rc < 0)
		return rc;
	if (kind == HS_SERVED_EMBEDDER) {
		copy_text(g, "hisho.embed.query_prefix", "", m->query_prefix, sizeof m->query_prefix);
		copy_text(g, "hisho.embed.passage_prefix", "", m->passage_prefix, sizeof m->passage_prefix);
	} else if (kind == HS_SERVED_GENERATOR) {
		(void)hs_gguf_get_str(g, "tokenizer.chat_template", &template); /* "" where there is none */
		rc = hs_chat_init(&m->chat, hs_model_tokenizer(m->model), template.s, template.len, adds_bos(g), err);
		if (rc == 0 && (rc = hs_mask_vocab_create(hs_model_tokenizer(m->model), &m->masks)) < 0)
			rc = hs_fail_errno(err, rc, "model.load", m->id);
	}
	hs_gguf_close(g);
	return rc;
}

static const char text[] = "出張旅費は帰着後二週間以内に精算し、領収書を添えて所属長の承認を得ること。";

/* A few pairs, once to warm up and once against the clock. */
static int measure_scores(struct hs_served_model *m)
{
	const char *passages[MEASURED_PAIRS];
	size_t lens[MEASURED_PAIRS];
	float scores[MEASURED_PAIRS];
	struct hs_tok_ids ids = {0};
	int rc = hs_tok_encode(hs_model_tokenizer(m->model), text, sizeof text - 1, &ids);
	for (size_t i = 0; i < MEASURED_PAIRS; i++) {
		passages[i] = text;
		lens[i] = sizeof text - 1;
	}
	for (int round = 0; rc == 0 && round < 2; round++) {
		uint64_t begin = hs_monotonic_us();
		rc = hs_score(m->model, text, sizeof text - 1, passages, lens, MEASURED_PAIRS, NULL, NULL, scores);
		uint64_t took = hs_monotonic_us() - begin;
		m->prefill_rate = (float)(2 * ids.count * MEASURED_PAIRS) * 1e6f / (float)(took ? took : 1);
	}
	hs_tok_ids_finish(&ids);
	return rc;
}

/* A prompt of some length, once to warm up and once against the clock. */
static int measure(struct hs_served_model *m)
{
	struct hs_tok_ids ids = {0};
	struct hs_sequence *s = NULL;
	const float *logits;
	int rc = 0;
	while (rc == 0 && ids.count < MEASURED_TOKENS)
		rc = hs_tok_encode(hs_model_tokenizer(m->model), text, sizeof text - 1, &ids);
	if (rc == 0)
		rc = hs_sequence_create(m->model, MEASURED_TOKENS, &s);
	for (int round = 0; rc == 0 && round < 2; round++) {
		uint64_t begin = hs_monotonic_us();
		hs_sequence_truncate(s, 0);
		rc = hs_sequence_forward(s, ids.ids, MEASURED_TOKENS, NULL, NULL, &logits);
		uint64_t took = hs_monotonic_us() - begin;
		m->prefill_rate = (float)MEASURED_TOKENS * 1e6f / (float)(took ? took : 1);
	}
	hs_sequence_destroy(s);
	hs_tok_ids_finish(&ids);
	return rc;
}

static bool is_of_kind(const struct hs_model_info *i, enum hs_served_kind kind)
{
	return kind == HS_SERVED_GENERATOR ? !i->encoder : kind == HS_SERVED_EMBEDDER ? i->encoder && !i->n_labels : i->scores;
}

/* The file's name, of which id becomes what stands before .gguf; NULL where it is too long. */
static const char *name_of(const char *path, char id[static HS_MSG_NAME_MAX + 1])
{
	const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path;
	if (strlen(file) > HS_MSG_NAME_MAX)
		return NULL;
	(void)snprintf(id, HS_MSG_NAME_MAX + 1, "%s", file); /* fits */
	char *end = strstr(id, ".gguf");
	if (end)
		*end = '\0';
	return file;
}

int hs_served_model_load(struct hs_served_model *m, const char *path, enum hs_served_kind kind,
			 const struct hs_model_options *options, struct hs_err *err)
{
	const char *file = name_of(path, m->id);
	if (!file)
		return hs_fail(err, EINVAL, "model.name", HS_N_("the file's name is too long"), "%s", path);
	int rc = hash_file(path, m->hash);
	if (rc < 0)
		return hs_fail_errno(err, rc, "model.load", file);
	rc = hs_model_load(path, options, &m->model, err);
	if (rc == 0 && !is_of_kind(hs_model_info(m->model), kind))
		rc = hs_fail(err, EINVAL, "model.kind", HS_N_("a model of another kind is wanted here: one that chats, embeds or reranks"),
			     "%s", file);
	if (rc == 0)
		rc = read_manners(m, path, kind, err);
	if (rc == 0 && kind != HS_SERVED_EMBEDDER && (rc = kind == HS_SERVED_RERANKER ? measure_scores(m) : measure(m)) < 0)
		rc = hs_fail_errno(err, rc, "model.measure", file);
	if (rc < 0) {
		hs_chat_finish(&m->chat);
		hs_mask_vocab_destroy(m->masks);
		hs_model_destroy(m->model);
		m->masks = NULL;
		m->model = NULL;
	}
	return rc;
}

int hs_served_adapter_load(struct hs_served_adapter *a, const struct hs_served_model *generator, const char *path,
			   struct hs_err *err)
{
	const char *file = name_of(path, a->id);
	int rc;
	if (!file)
		rc = hs_fail(err, EINVAL, "model.name", HS_N_("the file's name is too long"), "%s", path);
	else if (!generator->model)
		rc = hs_fail(err, ENOENT, "adapter.no_model", HS_N_("there is no generator that it could adapt"), "%s", file);
	else if ((rc = hash_file(path, a->hash)) < 0)
		rc = hs_fail_errno(err, rc, "adapter.load", file);
	else
		rc = hs_adapter_load(generator->model, path, &a->adapter, err);
	if (rc < 0)
		a->why = *err;
	return rc;
}

bool hs_models_adapter(const struct hs_models *m, uint32_t number, const struct hs_served_adapter **ret)
{
	if (number > m->n_adapters || (number && !m->adapters[number - 1].adapter))
		return false;
	*ret = number ? &m->adapters[number - 1] : NULL;
	return true;
}

void hs_models_finish(struct hs_models *m)
{
	for (size_t i = 0; i < HS_ADAPTERS_MAX; i++)
		hs_adapter_destroy(m->adapters[i].adapter);
	hs_chat_finish(&m->generator.chat);
	hs_mask_vocab_destroy(m->generator.masks);
	hs_model_destroy(m->generator.model);
	hs_model_destroy(m->embedder.model);
	hs_model_destroy(m->reranker.model);
	*m = (struct hs_models){0};
}

static void add(const struct hs_served_model *m, struct hs_msg_models *list)
{
	if (!m->model)
		return;
	const struct hs_model_info *info = hs_model_info(m->model);
	struct hs_msg_model *out = &list->items[list->count++];
	*out = (struct hs_msg_model){.id = {m->id, strlen(m->id)},
				     .architecture = {info->architecture, strlen(info->architecture)},
				     .encoder = info->encoder,
				     .scores = info->scores,
				     .dimensions = info->encoder && !info->scores ? info->n_embd : 0,
				     .context = info->context,
				     .prefill_rate = m->prefill_rate};
	memcpy(out->hash, m->hash, sizeof out->hash);
}

/* MODEL+ADAPTER, cut where it is too long, and a hash of both hashes. */
static int add_adapted(const struct hs_served_model *m, const struct hs_served_adapter *a, char id[static HS_MSG_NAME_MAX + 1],
		       struct hs_msg_models *list)
{
	uint8_t both[2 * sizeof m->hash];
	int most = HS_MSG_NAME_MAX / 2;
	memcpy(both, m->hash, sizeof m->hash);
	memcpy(both + sizeof m->hash, a->hash, sizeof a->hash);
	(void)snprintf(id, HS_MSG_NAME_MAX + 1, "%.*s+%.*s", most, m->id, most - 1, a->id); /* fits */
	add(m, list);
	struct hs_msg_model *out = &list->items[list->count - 1];
	out->id = (struct hs_slice){id, strlen(id)};
	return EVP_Digest(both, sizeof both, out->hash, NULL, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
}

int hs_models_put(const struct hs_models *m, uint32_t adapter, struct hs_buf *out)
{
	char id[HS_MSG_NAME_MAX + 1];
	const struct hs_served_adapter *a;
	struct hs_msg_models *list = calloc(1, sizeof *list);
	if (!list)
		return -ENOMEM;
	int rc = 0;
	if (hs_models_adapter(m, adapter, &a) && a)
		rc = add_adapted(&m->generator, a, id, list);
	else if (!adapter)
		add(&m->generator, list);
	add(&m->embedder, list);
	add(&m->reranker, list);
	if (rc == 0)
		rc = hs_put_models(out, list);
	free(list);
	return rc;
}
