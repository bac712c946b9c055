/*
 * Vectors after words: chunks that have none yet are embedded behind, a transaction a batch. It is always resumable: what is
 * left to do is asked of the store each time. Loop thread.
 */
#ifndef HISHO_DAEMON_TENANT_EMBEDDER_H
#define HISHO_DAEMON_TENANT_EMBEDDER_H

#include "daemon/tenant/tenant.h"

#define HS_EMBEDDER_BATCH 16 /* chunks: about 5,000 tokens, a few seconds on two cores */

struct hs_embedder;

int hs_embedder_create(struct hs_tenant *t, struct hs_embedder **ret) HS_MUST_CHECK;

/* No callback of it runs after the workers were destroyed; then it may be freed. */
void hs_embedder_destroy(struct hs_embedder *e);

/* There may be work: documents came in, or infer came (back) with its models. */
void hs_embedder_kick(struct hs_embedder *e);

#endif
