#include "daemon/tenant/worker.h"

#include <errno.h>

struct list {
	struct hs_job *first, *last;
	size_t count;
};

struct hs_worker {
	uv_async_t finished_signal;
	uv_mutex_t lock;
	uv_cond_t wake;
	struct list queued, finished;
	size_t queue_max;
	bool stopping;
	unsigned n_threads;
	struct thread {
		struct hs_worker *worker;
		void *context;
		uv_thread_t id;
	} threads[];
};

static void append(struct list *l, struct hs_job *job)
{
	job->next = NULL;
	if (l->last)
		l->last->next = job;
	else
		l->first = job;
	l->last = job;
	l->count++;
}

static struct hs_job *take(struct list *l)
{
	struct hs_job *job = l->first;
	if (!job)
		return NULL;
	l->first = job->next;
	if (!l->first)
		l->last = NULL;
	l->count--;
	return job;
}

static void thread_main(void *arg)
{
	struct thread *self = arg;
	struct hs_worker *w = self->worker;
	uv_mutex_lock(&w->lock);
	for (;;) {
		struct hs_job *job = take(&w->queued);
		if (!job) {
			if (w->stopping)
				break;
			uv_cond_wait(&w->wake, &w->lock);
			continue;
		}
		uv_mutex_unlock(&w->lock);
		job->run(job, self->context);
		uv_mutex_lock(&w->lock);
		append(&w->finished, job);
		(void)uv_async_send(&w->finished_signal); /* fails only on a closing handle, whose owner drains the list */
	}
	uv_mutex_unlock(&w->lock);
}

static void finish_jobs(struct hs_worker *w)
{
	for (;;) {
		uv_mutex_lock(&w->lock);
		struct hs_job *job = take(&w->finished);
		uv_mutex_unlock(&w->lock);
		if (!job)
			return;
		job->done(job);
	}
}

static void on_finished(uv_async_t *handle)
{
	finish_jobs(handle->data);
}

static void free_worker(uv_handle_t *handle)
{
	struct hs_worker *w = handle->data;
	uv_cond_destroy(&w->wake);
	uv_mutex_destroy(&w->lock);
	free(w);
}

int hs_worker_create(uv_loop_t *loop, unsigned n_threads, void *const *contexts, size_t queue_max, struct hs_worker **ret)
{
	struct hs_worker *w = calloc(1, sizeof *w + n_threads * sizeof w->threads[0]);
	if (!w)
		return -ENOMEM;
	w->queue_max = queue_max;
	int rc = uv_mutex_init(&w->lock);
	if (rc < 0)
		goto fail_memory;
	rc = uv_cond_init(&w->wake);
	if (rc < 0)
		goto fail_lock;
	rc = uv_async_init(loop, &w->finished_signal, on_finished);
	if (rc < 0)
		goto fail_cond;
	w->finished_signal.data = w;
	for (unsigned i = 0; i < n_threads; i++) {
		w->threads[i].worker = w;
		w->threads[i].context = contexts ? contexts[i] : NULL;
		rc = uv_thread_create(&w->threads[i].id, thread_main, &w->threads[i]);
		if (rc < 0) {
			hs_worker_destroy(w);
			return rc;
		}
		w->n_threads++;
	}
	*ret = w;
	return 0;

fail_cond:
	uv_cond_destroy(&w->wake);
fail_lock:
	uv_mutex_destroy(&w->lock);
fail_memory:
	free(w);
	return rc;
}

int hs_worker_push(struct hs_worker *w, struct hs_job *job)
{
	uv_mutex_lock(&w->lock);
	int rc = w->stopping || w->queued.count >= w->queue_max ? -EBUSY : 0;
	if (rc == 0) {
		append(&w->queued, job);
		uv_cond_signal(&w->wake);
	}
	uv_mutex_unlock(&w->lock);
	return rc;
}

size_t hs_worker_waiting(struct hs_worker *w)
{
	uv_mutex_lock(&w->lock);
	size_t n = w->queued.count;
	uv_mutex_unlock(&w->lock);
	return n;
}

void hs_worker_destroy(struct hs_worker *w)
{
	if (!w)
		return;
	uv_mutex_lock(&w->lock);
	w->stopping = true;
	uv_cond_broadcast(&w->wake);
	uv_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < w->n_threads; i++)
		(void)uv_thread_join(&w->threads[i].id); /* fails only for a thread that is not ours */
	finish_jobs(w);
	uv_close((uv_handle_t *)&w->finished_signal, free_worker);
}
