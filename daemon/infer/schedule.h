/*
 * Which job computes next. Pure logic: no threads, no clocks, no models. The caller holds its own lock.
 *
 * Classes are strict: cancelled jobs first (ending them frees memory), then query embeddings, reranking, decoding,
 * prefill, and embeddings of passages. Inside a class the tenant that was served longest ago goes first, and a tenant's own
 * jobs in order of their coming. A generation needs a slot (its KV cache) to begin its prefill; slots are few, in all and for each
 * tenant. Reranking rests where its caller says so.
 */
#ifndef HISHO_DAEMON_INFER_SCHEDULE_H
#define HISHO_DAEMON_INFER_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "daemon/limits.h"

#define HS_SCHED_QUEUE_MAX 64 /* jobs of one tenant */
#define HS_SCHED_SLOTS HS_LIMIT_GENERATIONS_MAX /* generations that compute in turn */
#define HS_SCHED_TENANT_SLOTS 2 /* where the tenant has no limit of its own */

enum hs_sched_class {
	HS_SCHED_CANCELLED,
	HS_SCHED_QUERY,
	HS_SCHED_RERANK,
	HS_SCHED_DECODE,
	HS_SCHED_PREFILL,
	HS_SCHED_INGEST,
};

struct hs_sched_tenant {
	uint64_t served; /* tick of the last pick */
	uint32_t n_jobs, slots;
	uint32_t slots_max; /* 0: HS_SCHED_TENANT_SLOTS */
};

struct hs_sched_job { /* embedded in the caller's job */
	struct hs_sched_job *next;
	struct hs_sched_tenant *tenant;
	enum hs_sched_class class; /* the caller may change it while the job is not being run */
	bool ready;                /* false: it waits for something outside, for GO */
	bool has_slot;
};

struct hs_sched {
	struct hs_sched_job *first;
	uint64_t tick;
	uint32_t slots;
	bool rerank_rests; /* no job of reranking is picked */
};

/* Append. -EBUSY where the tenant has HS_SCHED_QUEUE_MAX jobs already. */
int hs_sched_add(struct hs_sched *s, struct hs_sched_job *job) HS_MUST_CHECK;
void hs_sched_remove(struct hs_sched *s, struct hs_sched_job *job);

/* The job to run now, of class `worst` or better; NULL: none. It stays in the list; a slot that it needs is taken. */
struct hs_sched_job *hs_sched_pick(struct hs_sched *s, enum hs_sched_class worst);

/* All jobs of a class that may run now and need no slot first: ret (max). Returns how many. */
size_t hs_sched_all(const struct hs_sched *s, enum hs_sched_class class, struct hs_sched_job **ret, size_t max);

/* Would pick(worst) give one? */
bool hs_sched_waits(const struct hs_sched *s, enum hs_sched_class worst);

/* How many of its tenant's own jobs of the same class stand before this one. */
uint32_t hs_sched_position(const struct hs_sched *s, const struct hs_sched_job *job);

#endif
