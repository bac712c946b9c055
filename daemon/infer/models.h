/* The models that infer holds: one generates, one embeds, one reranks; each may be absent. Immutable once loaded. */
#ifndef HISHO_DAEMON_INFER_MODELS_H
#define HISHO_DAEMON_INFER_MODELS_H

#include "daemon/infer/fit.h"
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

struct hs_models {
	struct hs_served_model generator, embedder, reranker;
};

enum hs_served_kind { HS_SERVED_GENERATOR, HS_SERVED_EMBEDDER, HS_SERVED_RERANKER };

/* Hashed, loaded, its prefill measured. A model of another kind is refused. */
int hs_served_model_load(struct hs_served_model *m, const char *path, enum hs_served_kind kind,
			 const struct hs_model_options *options, struct hs_err *err) HS_MUST_CHECK;
void hs_models_finish(struct hs_models *m);

int hs_models_put(const struct hs_models *m, struct hs_buf *out) HS_MUST_CHECK; /* MODELS_REPLY */

#endif
