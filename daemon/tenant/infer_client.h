/*
 * The tenant's side of its channel to hisho-infer: embeddings and generations, each ending in exactly one callback of its
 * `done`. Loop thread only. Where infer is away (not started yet, restarted, no models) calls fail at once with
 * -ENOTCONN "model.none" and what runs ends with -ECONNRESET "model.lost"; the tenant serves words without it.
 */
#ifndef HISHO_DAEMON_TENANT_INFER_CLIENT_H
#define HISHO_DAEMON_TENANT_INFER_CLIENT_H

#include <uv.h>

#include "daemon/messages.h"

#define HS_WIPE_MS 2000         /* infer acknowledges a wipe within */
#define HS_INFER_WAITING_MAX 64 /* requests of this tenant that infer has not answered */

struct hs_infer_client;

struct hs_infer_models { /* what infer offers; strings live until the next change */
	bool connected, embeds, generates, reranks;
	char embedder[HS_MSG_NAME_MAX + 1], generator[HS_MSG_NAME_MAX + 1], reranker[HS_MSG_NAME_MAX + 1];
	uint8_t embedder_hash[32];
	uint32_t dimensions;
	float prefill_rate; /* of the generator, tokens a second; 0: not measured yet */
	float rerank_rate;  /* of the reranker, likewise */
};

/* changed (or NULL) is called when the models change or go away. */
int hs_infer_client_create(uv_loop_t *loop, const char *tenant_id, void (*changed)(void *ctx), void *ctx,
			   struct hs_infer_client **ret) HS_MUST_CHECK;
void hs_infer_client_destroy(struct hs_infer_client *c);

/* A fresh channel from hishod; replaces the one before. Takes the descriptor. */
int hs_infer_client_attach(struct hs_infer_client *c, int fd) HS_MUST_CHECK;

const struct hs_infer_models *hs_infer_client_models(const struct hs_infer_client *c);

/* rc 0: vectors (count, dimensions), until the callback returns. */
typedef void (*hs_infer_vectors_fn)(void *ctx, int rc, const float *vectors, uint32_t count, uint32_t dimensions,
				    const struct hs_err *err);
int hs_infer_embed(struct hs_infer_client *c, const struct hs_msg_embed *ask, int64_t deadline, hs_infer_vectors_fn done,
		   void *ctx, uint64_t *ret_request) HS_MUST_CHECK;

/* The same with one score a passage: dimensions is 1. */
int hs_infer_rerank(struct hs_infer_client *c, const struct hs_msg_rerank *ask, int64_t deadline, hs_infer_vectors_fn done,
		    void *ctx, uint64_t *ret_request) HS_MUST_CHECK;

struct hs_infer_events {
	void (*kept)(void *ctx, const struct hs_msg_kept *kept); /* answer it with hs_infer_go, or cancel */
	void (*text)(void *ctx, const char *text, size_t len);
	void (*done)(void *ctx, int rc, const struct hs_msg_done *done, const struct hs_err *err); /* done: NULL where rc < 0 */
};
int hs_infer_generate(struct hs_infer_client *c, const struct hs_msg_generate *ask, int64_t deadline,
		      const struct hs_infer_events *events, void *ctx, uint64_t *ret_request) HS_MUST_CHECK;
int hs_infer_go(struct hs_infer_client *c, uint64_t request) HS_MUST_CHECK;

/* No callback comes after it. Unknown ids are ignored: the request may just have ended. */
void hs_infer_cancel(struct hs_infer_client *c, uint64_t request);

/*
 * Forget what this tenant left in infer (revocation; a seal closes the channel, which does the same). Requests made before it end:
 * generations with -ESTALE "policy.changed". done is called with 0 or the reason why it is not known.
 */
int hs_infer_wipe(struct hs_infer_client *c, void (*done)(void *ctx, int rc), void *ctx) HS_MUST_CHECK;

#endif
