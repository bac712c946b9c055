/*
 * The one thread that computes. The loop thread makes jobs and hands them over; results come back to the loop thread as
 * calls of the job's own functions. A job is the compute thread's from hs_compute_add until its `ended`.
 *
 *   embed:     QUEUED -> (batches) -> ended
 *   rerank:    QUEUED -> (batches, each within the deadline) -> ended
 *   generate:  HELD --hs_compute_go--> prefill in chunks -> decode -> ended
 *
 * A prompt begins with what a kept prefix holds of it (prefixes.h). Answers that decode at the same time share passes.
 *
 * While a chunk of prefill runs, the engine asks every 20 ms whether to go on: there a query embedding, or a batch of reranking,
 * of any tenant is computed in between, and cancellation is seen. Passages being embedded give way at once; their batch is done
 * again. Behind a batch of reranking, other work goes first for as long as that took: whoever searches without end slows answers,
 * and does not stop them.
 *
 * Where a GPU is lost, the engine goes on with the CPU: prompts begin anew there, answers that were being told end with -ENODEV.
 */
#ifndef HISHO_DAEMON_INFER_COMPUTE_H
#define HISHO_DAEMON_INFER_COMPUTE_H

#include <stdatomic.h>

#include <uv.h>

#include "daemon/infer/models.h"
#include "daemon/infer/prefixes.h"
#include "daemon/infer/schedule.h"
#include "inference/decoding.h"

#define HS_ANSWER_TOKENS_MAX 2048u
#define HS_CONTEXT_MAX 8192u /* tokens of one sequence, whatever the model could */
#define HS_PREFILL_CHUNK 128u
#define HS_PREFILL_CHUNK_SHARED 32u /* while another generation decodes */
#define HS_EMBED_BATCH 4u           /* texts computed at a time */
#define HS_EMBED_BATCH_GPU 64u      /* the same where a GPU does, which fewer would leave idle */

struct hs_compute;

struct hs_infer_job { /* the loop thread sets what stands above the line, before adding */
	struct hs_sched_job sched;
	void *owner;
	int64_t deadline; /* UTC ms; 0: none */
	/* embed, rerank: texts joined, n + 1 offsets; of a rerank the first is the question */
	bool embeds, query; /* query: first of all queues */
	bool reranks;
	char *texts;
	uint32_t *offsets;
	uint32_t n_texts;
	/* generate */
	struct hs_tok_ids prompt;
	struct hs_fit_scopes scopes; /* of the prompt's beginning */
	uint8_t cache_key[HS_PREFIX_KEY_LEN];
	const struct hs_adapter *adapter; /* its tenant's, or NULL */
	struct hs_sampler sampler;
	struct hs_grammar *grammar; /* what the answer may be; NULL: anything. The mask takes it. */
	uint32_t max_tokens;
	uint64_t compute_us_max; /* then it ends with -ETIME; 0: no limit */
	struct hs_shown shown;
	/* Both are called on the loop thread. text: whole characters. ended: once; rc 0, -ECANCELED, or a failure. */
	void (*text)(struct hs_infer_job *job, const char *text, size_t n);
	void (*ended)(struct hs_infer_job *job, int rc);
	/* --- the compute thread's --- */
	atomic_bool cancelled;
	bool decodes;   /* the whole prompt is in */
	float *vectors; /* (n_texts, n_embd), or scores (n_texts - 1) */
	uint32_t n_done;
	struct hs_sequence *sequence;
	struct hs_decoding decoding;
	struct hs_mask *mask; /* NULL: everything may come */
	bool chosen;      /* the next pass takes in what was chosen */
	bool began_again; /* the device was lost under it */
	struct hs_detok detok;
	uint32_t n_decoded;
	double logprob_sum;
	struct hs_msg_done done;
	uint64_t prefill_us, decode_us;
};

/* What was computed since the start. Rates and the mean batch follow from two looks at it. */
struct hs_compute_counts {
	uint64_t prefilled;              /* tokens of prompts, kept prefixes not among them */
	uint64_t decode_passes, decoded; /* passes, and the answers that took part in each */
	uint64_t embedded;               /* texts */
};
void hs_compute_count(struct hs_compute *c, struct hs_compute_counts *ret); /* from any thread */

/* models stay the caller's and may be filled by `load` on the compute thread, before the first job runs. */
int hs_compute_create(uv_loop_t *loop, struct hs_models *models, struct hs_compute **ret) HS_MUST_CHECK;

/* Runs load(arg) on the compute thread, then loaded(arg) on the loop thread. Once, before jobs are added. */
int hs_compute_start(struct hs_compute *c, void (*load)(void *arg), void (*loaded)(void *arg), void *arg) HS_MUST_CHECK;

int hs_compute_add(struct hs_compute *c, struct hs_infer_job *job) HS_MUST_CHECK; /* -EBUSY: the tenant's queue is full */
void hs_compute_go(struct hs_compute *c, struct hs_infer_job *job);
void hs_compute_cancel(struct hs_compute *c, struct hs_infer_job *job);             /* ended() comes soon */
void hs_compute_forget(struct hs_compute *c, const struct hs_sched_tenant *tenant); /* wipe the prefixes kept of it */
uint32_t hs_compute_position(struct hs_compute *c, const struct hs_infer_job *job);

/* Cancel everything, end the thread. ended() of what was left is called from here. The loop must still run to close handles. */
void hs_compute_destroy(struct hs_compute *c);

/* Wipes and frees what a job holds, and the job. */
void hs_infer_job_destroy(struct hs_infer_job *job);

#endif
