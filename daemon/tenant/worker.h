/*
 * Threads beside the loop: SQLite, files and MeCab never run on the loop thread.
 *
 * A worker is a queue with n threads. A job runs on one of them with that thread's own context (a reader's connection
 * and tagger, say) and then is finished on the loop thread. Jobs of a one-thread worker keep their order: the writer.
 */
#ifndef HISHO_DAEMON_TENANT_WORKER_H
#define HISHO_DAEMON_TENANT_WORKER_H

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

#include "base/err.h"

struct hs_worker;

struct hs_job { /* embedded in the caller's own struct; the caller owns it and must keep it until done() */
	void (*run)(struct hs_job *job, void *thread_context); /* on a worker thread */
	void (*done)(struct hs_job *job);                      /* on the loop thread */
	struct hs_job *next;
};

/* contexts: n_threads pointers, one handed to each thread; they outlive the worker. */
int hs_worker_create(uv_loop_t *loop, unsigned n_threads, void *const *contexts, size_t queue_max,
		     struct hs_worker **ret) HS_MUST_CHECK;

/* -EBUSY where the queue is full (a named limit: the caller answers 503). */
int hs_worker_push(struct hs_worker *w, struct hs_job *job) HS_MUST_CHECK;

size_t hs_worker_waiting(struct hs_worker *w);

/* Runs what is queued, joins the threads, finishes the jobs. The loop must still run once to close the handle. */
void hs_worker_destroy(struct hs_worker *w);

#endif
