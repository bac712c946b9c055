#include "inference/cpu/pool.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SPINS 1500 /* about 20 to 60 microseconds */
#define NO_JOB UINT32_MAX

struct helper {
	struct hs_pool *pool;
	pthread_t thread;
	unsigned worker;
};

struct hs_pool {
	unsigned n_threads, n_started;
	struct helper *helpers;  /* (n_threads - 1) */
	pthread_mutex_t callers; /* one job at a time */

	/*
	 * The job. `next` is its number (upper 32 bits) and the next chunk to claim: a claim by compare-and-swap can only
	 * succeed in the job whose fields were read, because a job does not end before its last chunk is claimed and done.
	 */
	_Atomic uint64_t next;
	_Atomic uint32_t end;
	_Atomic(hs_pool_fn) fn;
	_Atomic(void *) arg;

	_Atomic uint32_t done;    /* chunks done of this job; futex of the caller */
	_Atomic uint32_t waiting; /* the caller sleeps on `done` */
	_Atomic uint32_t wake;    /* counts jobs; futex of the helpers */
	_Atomic uint32_t sleepers;
	_Atomic bool leave;
};

static void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
	(void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0); /* any return: the caller looks again */
}

static void futex_wake(_Atomic uint32_t *word)
{
	(void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); /* waking nobody is fine */
}

static inline void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

/* Claim one chunk of whatever job is on, and run it. False where there is none. */
static bool work(struct hs_pool *p, unsigned worker)
{
	uint64_t next = atomic_load_explicit(&p->next, memory_order_acquire);
	for (;;) {
		uint32_t end = atomic_load_explicit(&p->end, memory_order_relaxed);
		hs_pool_fn fn = atomic_load_explicit(&p->fn, memory_order_relaxed);
		void *arg = atomic_load_explicit(&p->arg, memory_order_relaxed);
		uint32_t chunk = (uint32_t)next;
		if (chunk >= end)
			return false;
		if (!atomic_compare_exchange_weak_explicit(&p->next, &next, next + 1, memory_order_acq_rel, memory_order_acquire))
			continue;
		fn(arg, chunk, worker);
		atomic_fetch_add(&p->done, 1);
		if (atomic_load(&p->waiting))
			futex_wake(&p->done);
		return true;
	}
}

static void *helper_main(void *arg)
{
	struct helper *h = arg;
	struct hs_pool *p = h->pool;
	while (!atomic_load(&p->leave)) {
		uint32_t seen = atomic_load(&p->wake);
		while (work(p, h->worker))
			;
		for (unsigned i = 0; i < SPINS && atomic_load_explicit(&p->wake, memory_order_relaxed) == seen; i++)
			relax();
		if (atomic_load(&p->wake) != seen)
			continue;
		atomic_fetch_add(&p->sleepers, 1);
		if (!atomic_load(&p->leave))
			futex_wait(&p->wake, seen);
		atomic_fetch_sub(&p->sleepers, 1);
	}
	return NULL;
}

static void announce(struct hs_pool *p)
{
	atomic_fetch_add(&p->wake, 1);
	if (atomic_load(&p->sleepers))
		futex_wake(&p->wake);
}

void hs_pool_destroy(struct hs_pool *p)
{
	if (!p)
		return;
	atomic_store(&p->leave, true);
	announce(p);
	for (unsigned i = 0; i < p->n_started; i++)
		(void)pthread_join(p->helpers[i].thread, NULL); /* the thread is ours and joinable */
	(void)pthread_mutex_destroy(&p->callers);               /* nobody holds it */
	free(p->helpers);
	free(p);
}

static int start_helpers(struct hs_pool *p)
{
	sigset_t all, before; /* signals are the caller's business */
	sigfillset(&all);
	int rc = pthread_sigmask(SIG_SETMASK, &all, &before);
	if (rc)
		return -rc;
	for (; rc == 0 && p->n_started < p->n_threads - 1; p->n_started += rc == 0) {
		struct helper *h = &p->helpers[p->n_started];
		*h = (struct helper){.pool = p, .worker = p->n_started + 1};
		rc = pthread_create(&h->thread, NULL, helper_main, h);
	}
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL); /* what was set before can be set again */
	return -rc;
}

int hs_pool_create(unsigned n_threads, struct hs_pool **ret)
{
	struct hs_pool *p = calloc(1, sizeof *p);
	if (!p)
		return -ENOMEM;
	p->n_threads = n_threads;
	p->next = NO_JOB;
	(void)pthread_mutex_init(&p->callers, NULL); /* cannot fail on Linux with default attributes */
	p->helpers = calloc(n_threads, sizeof *p->helpers);
	int rc = p->helpers ? start_helpers(p) : -ENOMEM;
	if (rc < 0) {
		hs_pool_destroy(p);
		return rc;
	}
	*ret = p;
	return 0;
}

unsigned hs_pool_threads(const struct hs_pool *p)
{
	return p->n_threads;
}

/*
 * Take back what nobody has claimed; returns the first chunk not claimed. From here on no claim can succeed, so that the
 * next job's fields can be written: the old number with a small chunk and the new `end` must never be seen together.
 */
static uint32_t close_job(struct hs_pool *p, uint32_t end)
{
	uint64_t next = atomic_load_explicit(&p->next, memory_order_acquire);
	while (!atomic_compare_exchange_weak(&p->next, &next, next | NO_JOB))
		;
	return HS_MIN((uint32_t)next, end);
}

static void wait_done(struct hs_pool *p, uint32_t n)
{
	for (unsigned i = 0; i < SPINS && atomic_load_explicit(&p->done, memory_order_acquire) != n; i++)
		relax();
	uint32_t done = atomic_load(&p->done);
	if (done == n)
		return;
	atomic_store(&p->waiting, 1);
	while ((done = atomic_load(&p->done)) != n)
		futex_wait(&p->done, done);
	atomic_store(&p->waiting, 0);
}

/* Run chunks from `at` until all are done or y is due; returns the first that was not run. */
static uint32_t burst(struct hs_pool *p, hs_pool_fn fn, void *arg, uint32_t at, uint32_t end, const struct hs_yield *y)
{
	if (p->n_threads == 1 || end - at == 1) {
		do
			fn(arg, at++, 0);
		while (at < end && !hs_yield_is_due(y));
		return at;
	}
	(void)pthread_mutex_lock(&p->callers); /* cannot fail: not recursive, never held over a callback of y */
	uint64_t number = (atomic_load_explicit(&p->next, memory_order_relaxed) >> 32) + 1;
	atomic_store_explicit(&p->done, 0, memory_order_relaxed);
	atomic_store_explicit(&p->end, end, memory_order_relaxed);
	atomic_store_explicit(&p->fn, fn, memory_order_relaxed);
	atomic_store_explicit(&p->arg, arg, memory_order_relaxed);
	atomic_store_explicit(&p->next, number << 32 | at, memory_order_release);
	announce(p);
	while (!hs_yield_is_due(y) && work(p, 0))
		;
	uint32_t stopped = close_job(p, end);
	wait_done(p, stopped - at);
	(void)pthread_mutex_unlock(&p->callers);
	return stopped;
}

bool hs_pool_run(struct hs_pool *p, hs_pool_fn fn, void *arg, uint32_t n, struct hs_yield *y)
{
	for (uint32_t at = 0; at < n;) {
		at = burst(p, fn, arg, at, n, y);
		if (hs_yield_is_due(y) && hs_yield_now(y))
			return false;
	}
	return true;
}
