#include "daemon/tenant/worker.h"

#include <errno.h>

#include "tests/unit/test.h"

struct counted {
	struct hs_job job;
	int order, ran_as, finished;
	void *context;
};

static int next_order;

static void run(struct hs_job *job, void *context)
{
	struct counted *c = HS_CONTAINER_OF(job, struct counted, job);
	c->ran_as = __atomic_fetch_add(&next_order, 1, __ATOMIC_SEQ_CST);
	c->context = context;
}

static void done(struct hs_job *job)
{
	HS_CONTAINER_OF(job, struct counted, job)->finished++;
}

static void test_one_thread_keeps_order(void **state)
{
	uv_loop_t loop;
	uv_loop_init(&loop);
	int mark;
	void *contexts[] = {&mark};
	struct hs_worker *w;
	assert_int_equal(hs_worker_create(&loop, 1, contexts, 1000, &w), 0);
	static struct counted jobs[500];
	next_order = 0;
	for (int i = 0; i < 500; i++) {
		jobs[i] = (struct counted){.job = {run, done, NULL}, .order = i};
		assert_int_equal(hs_worker_push(w, &jobs[i].job), 0);
	}
	hs_worker_destroy(w);
	uv_run(&loop, UV_RUN_DEFAULT);
	for (int i = 0; i < 500; i++) {
		assert_int_equal(jobs[i].ran_as, i);
		assert_int_equal(jobs[i].finished, 1);
		assert_ptr_equal(jobs[i].context, &mark);
	}
	assert_int_equal(uv_loop_close(&loop), 0);
}

static uv_sem_t gate;

static void wait_at_gate(struct hs_job *job, void *context)
{
	uv_sem_wait(&gate);
}

static void test_full_queue_refuses(void **state)
{
	uv_loop_t loop;
	uv_loop_init(&loop);
	uv_sem_init(&gate, 0);
	struct hs_worker *w;
	assert_int_equal(hs_worker_create(&loop, 1, NULL, 1, &w), 0);
	struct counted held = {.job = {wait_at_gate, done, NULL}}, queued = {.job = {run, done, NULL}}, refused = queued;
	assert_int_equal(hs_worker_push(w, &held.job), 0);
	while (hs_worker_waiting(w) > 0) /* until the thread has taken the first */
		uv_sleep(1);
	assert_int_equal(hs_worker_push(w, &queued.job), 0);
	assert_int_equal(hs_worker_push(w, &refused.job), -EBUSY);
	uv_sem_post(&gate);
	hs_worker_destroy(w);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(held.finished + queued.finished, 2);
	assert_int_equal(refused.finished, 0);
	assert_int_equal(uv_loop_close(&loop), 0);
	uv_sem_destroy(&gate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_thread_keeps_order),
		cmocka_unit_test(test_full_queue_refuses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
