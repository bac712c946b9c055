/*
 * The models that infer holds: one generates, one embeds, one reranks; each may be absent. And adapters of the first, each for one
 * tenant, which gets no answers of the bare model where its adapter cannot be used. Immutable once loaded.
 */
#ifndef HISHO_DAEMON_INFER_MODELS_H
#define HISHO_DAEMON_INFER_MODELS_H

#include "daemon/infer/fit.h"
#include "daemon/limits.h"
#include "daemon/messages.h"
#include "inference/engine.h"
#include "inference/grammar/mask.h"

struct hs_served_model {
	struct hs_model *model;                    /* NULL: absent */
	char id[HS_MSG_NAME_MAX + 1];              /* the file's name without .gguf */
	uint8_t hash[32];                          /* SHA-256 of the file */
	float prefill_rate;                        /* tokens a second, measured once at the start; not of embedders */
	struct hs_mask_vocab *masks;               /* of a generator */
	struct hs_chat chat;                       /* of a generator */
	char query_prefix[32], passage_prefix[32]; /* of an embedder */
};

struct hs_served_adapter {
	struct hs_adapter *adapter; /* NULL: why says why not */
	char id[HS_MSG_NAME_MAX + 1];
	uint8_t hash[32]; /* SHA-256 of the file */
	struct hs_err why;
};

struct hs_models {
	struct hs_served_model generator, embedder, reranker;
	struct hs_served_adapter adapters[HS_ADAPTERS_MAX]; /* tenants are told of by their number, from 1 */
	uint32_t n_adapters;
};

enum hs_served_kind { HS_SERVED_GENERATOR, HS_SERVED_EMBEDDER, HS_SERVED_RERANKER };

/* Hashed, loaded, its prefill measured. A model of another kind is refused. */
int hs_served_model_load(struct hs_served_model *m, const char *path, enum hs_served_kind kind,
			 const struct hs_model_options *options, struct hs_err *err) HS_MUST_CHECK;
void hs_models_finish(struct hs_models *m);

/* Hashed, and checked against the generator, which is there or not. A failure stands in a->why, too. */
int hs_served_adapter_load(struct hs_served_adapter *a, const struct hs_served_model *generator, const char *path,
			   struct hs_err *err) HS_MUST_CHECK;

/* The adapter of that number, NULL of 0. False where there is a number and no adapter that can be used. */
bool hs_models_adapter(const struct hs_models *m, uint32_t number, const struct hs_served_adapter **ret);

/* MODELS_REPLY, for a tenant that has the adapter of that number (0: none); without the generator where it cannot be used. */
int hs_models_put(const struct hs_models *m, uint32_t adapter, struct hs_buf *out) HS_MUST_CHECK;

#endif
