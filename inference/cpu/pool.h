/*
 * Threads that share the chunks of one job after another. The caller works too; helpers claim chunks while there are any,
 * so a helper that the system has set aside delays nobody but the chunk that it holds. Idle helpers spin for a moment, then
 * sleep. What a job computes must not depend on who computes which chunk.
 */
#ifndef HISHO_INFERENCE_POOL_H
#define HISHO_INFERENCE_POOL_H

#include "inference/model/backend.h"

struct hs_pool;

/* worker: 0 .. n_threads - 1, distinct among the threads that run at the same time for one caller */
typedef void (*hs_pool_fn)(void *arg, uint32_t chunk, unsigned worker);

int hs_pool_create(unsigned n_threads, struct hs_pool **ret) HS_MUST_CHECK;
void hs_pool_destroy(struct hs_pool *p);
unsigned hs_pool_threads(const struct hs_pool *p);

/*
 * Run fn for chunks 0 .. n - 1. Between chunks, whenever y is due, the job pauses and the caller's y is called, from the
 * caller's thread, with no chunk running: it may run jobs of its own on this pool. False where y said stop.
 */
bool hs_pool_run(struct hs_pool *p, hs_pool_fn fn, void *arg, uint32_t n, struct hs_yield *y) HS_MUST_CHECK;

#endif
