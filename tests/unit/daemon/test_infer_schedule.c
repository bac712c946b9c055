#include "daemon/infer/schedule.h"

#include <errno.h>
#include <stdlib.h>

#include "tests/unit/test.h"

static struct hs_sched_job job(struct hs_sched_tenant *t, enum hs_sched_class class)
{
	return (struct hs_sched_job){.tenant = t, .class = class, .ready = true};
}

static void test_classes_are_strict(void **state)
{
	struct hs_sched s = {0};
	struct hs_sched_tenant t = {0};
	struct hs_sched_job ingest = job(&t, HS_SCHED_INGEST), prefill = job(&t, HS_SCHED_PREFILL),
			    decode = job(&t, HS_SCHED_DECODE);
	struct hs_sched_job rerank = job(&t, HS_SCHED_RERANK), query = job(&t, HS_SCHED_QUERY), cancelled = job(&t, HS_SCHED_CANCELLED);
	struct hs_sched_job *all[] = {&ingest, &prefill, &decode, &rerank, &query, &cancelled};
	cancelled.ready = false; /* a job that waits for GO can be cancelled */
	for (size_t i = 0; i < HS_ARRAY_LEN(all); i++)
		assert_int_equal(hs_sched_add(&s, all[i]), 0);
	for (size_t i = HS_ARRAY_LEN(all); i-- > 0;) {
		assert_ptr_equal(hs_sched_pick(&s, HS_SCHED_INGEST), all[i]);
		hs_sched_remove(&s, all[i]);
	}
	assert_null(hs_sched_pick(&s, HS_SCHED_INGEST));
	assert_int_equal(t.n_jobs, 0);
	assert_int_equal(s.slots, 0);
}

static void test_worse_classes_are_left(void **state)
{
	struct hs_sched s = {0};
	struct hs_sched_tenant t = {0};
	struct hs_sched_job decode = job(&t, HS_SCHED_DECODE);
	assert_int_equal(hs_sched_add(&s, &decode), 0);
	assert_null(hs_sched_pick(&s, HS_SCHED_QUERY));
	assert_false(hs_sched_waits(&s, HS_SCHED_QUERY));
	assert_true(hs_sched_waits(&s, HS_SCHED_DECODE));
	decode.ready = false;
	assert_false(hs_sched_waits(&s, HS_SCHED_INGEST));
}

static void test_all_of_a_class(void **state)
{
	struct hs_sched s = {0};
	struct hs_sched_tenant a = {0}, b = {0};
	struct hs_sched_job d1 = job(&a, HS_SCHED_DECODE), p = job(&a, HS_SCHED_PREFILL), d2 = job(&b, HS_SCHED_DECODE),
			    d3 = job(&b, HS_SCHED_DECODE), *all[4];
	assert_int_equal(hs_sched_add(&s, &d1) | hs_sched_add(&s, &p) | hs_sched_add(&s, &d2) | hs_sched_add(&s, &d3), 0);
	assert_int_equal(hs_sched_all(&s, HS_SCHED_DECODE, all, 4), 3);
	assert_true(all[0] == &d1 && all[1] == &d2 && all[2] == &d3);
	assert_int_equal(hs_sched_all(&s, HS_SCHED_DECODE, all, 2), 2);
	assert_int_equal(hs_sched_all(&s, HS_SCHED_PREFILL, all, 4), 0); /* it has no slot yet */
	d2.ready = false;
	assert_int_equal(hs_sched_all(&s, HS_SCHED_DECODE, all, 4), 2);
}

static void test_tenants_take_turns(void **state)
{
	struct hs_sched s = {0};
	struct hs_sched_tenant a = {0}, b = {0};
	struct hs_sched_job a1 = job(&a, HS_SCHED_DECODE), a2 = job(&a, HS_SCHED_DECODE), b1 = job(&b, HS_SCHED_DECODE);
	assert_int_equal(hs_sched_add(&s, &a1) | hs_sched_add(&s, &a2) | hs_sched_add(&s, &b1), 0);
	unsigned served_a = 0, served_b = 0;
	for (int i = 0; i < 100; i++) {
		struct hs_sched_job *j = hs_sched_pick(&s, HS_SCHED_INGEST);
		served_a += j->tenant == &a;
		served_b += j->tenant == &b;
	}
	assert_int_equal(served_a, 50); /* two jobs of a count no more than the one of b */
	assert_int_equal(served_b, 50);
}

static void test_slots_are_few(void **state)
{
	struct hs_sched s = {0};
	struct hs_sched_tenant t[4] = {{0}};
	struct hs_sched_job jobs[12];
	for (size_t i = 0; i < 12; i++) {
		jobs[i] = job(&t[i % 4], HS_SCHED_PREFILL);
		assert_int_equal(hs_sched_add(&s, &jobs[i]), 0);
	}
	for (int i = 0; i < 50; i++) {
		struct hs_sched_job *j = hs_sched_pick(&s, HS_SCHED_INGEST);
		assert_non_null(j);
		assert_true(j->has_slot);
		assert_true(s.slots <= HS_SCHED_SLOTS);
		for (size_t k = 0; k < 4; k++)
			assert_true(t[k].slots <= HS_SCHED_TENANT_SLOTS);
	}
	for (size_t i = 0; i < 12; i++)
		hs_sched_remove(&s, &jobs[i]);
	assert_int_equal(s.slots, 0);
	for (size_t k = 0; k < 4; k++)
		assert_int_equal(t[k].slots, 0);
}

static void test_one_tenant_cannot_hold_all_slots(void **state)
{
	struct hs_sched s = {0};
	struct hs_sched_tenant a = {0}, b = {0};
	struct hs_sched_job jobs[4];
	for (size_t i = 0; i < 4; i++) {
		jobs[i] = job(&a, HS_SCHED_PREFILL);
		assert_int_equal(hs_sched_add(&s, &jobs[i]), 0);
	}
	struct hs_sched_job *first = hs_sched_pick(&s, HS_SCHED_INGEST);
	first->class = HS_SCHED_DECODE;
	first->ready = false;
	struct hs_sched_job *second = hs_sched_pick(&s, HS_SCHED_INGEST);
	second->class = HS_SCHED_DECODE;
	second->ready = false;
	assert_null(hs_sched_pick(&s, HS_SCHED_INGEST));
	struct hs_sched_job other = job(&b, HS_SCHED_PREFILL);
	assert_int_equal(hs_sched_add(&s, &other), 0);
	assert_ptr_equal(hs_sched_pick(&s, HS_SCHED_INGEST), &other);
}

static void test_the_queue_is_bounded(void **state)
{
	struct hs_sched s = {0};
	struct hs_sched_tenant t = {0}, u = {0};
	static struct hs_sched_job jobs[HS_SCHED_QUEUE_MAX + 2];
	for (size_t i = 0; i < HS_SCHED_QUEUE_MAX; i++) {
		jobs[i] = job(&t, HS_SCHED_PREFILL);
		assert_int_equal(hs_sched_add(&s, &jobs[i]), 0);
		assert_int_equal(hs_sched_position(&s, &jobs[i]), i);
	}
	jobs[HS_SCHED_QUEUE_MAX] = job(&t, HS_SCHED_QUERY);
	assert_int_equal(hs_sched_add(&s, &jobs[HS_SCHED_QUEUE_MAX]), -EBUSY);
	jobs[HS_SCHED_QUEUE_MAX + 1] = job(&u, HS_SCHED_PREFILL);
	assert_int_equal(hs_sched_add(&s, &jobs[HS_SCHED_QUEUE_MAX + 1]), 0); /* another tenant's queue is its own */
	assert_int_equal(hs_sched_position(&s, &jobs[HS_SCHED_QUEUE_MAX + 1]), 0);
}

/* Reranking that rests lets others go first, and is not lost. */
static void test_reranking_rests(void **state)
{
	struct hs_sched s = {.rerank_rests = true};
	struct hs_sched_tenant t = {0};
	struct hs_sched_job rerank = job(&t, HS_SCHED_RERANK), decode = job(&t, HS_SCHED_DECODE);
	assert_int_equal(hs_sched_add(&s, &rerank) | hs_sched_add(&s, &decode), 0);
	assert_ptr_equal(hs_sched_pick(&s, HS_SCHED_INGEST), &decode);
	assert_null(hs_sched_pick(&s, HS_SCHED_RERANK));
	s.rerank_rests = false;
	assert_ptr_equal(hs_sched_pick(&s, HS_SCHED_INGEST), &rerank);
	s.rerank_rests = true;
	rerank.class = HS_SCHED_CANCELLED; /* its end waits for nothing */
	assert_ptr_equal(hs_sched_pick(&s, HS_SCHED_INGEST), &rerank);
	hs_sched_remove(&s, &rerank);
	hs_sched_remove(&s, &decode);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reranking_rests),
	    cmocka_unit_test(test_classes_are_strict),   cmocka_unit_test(test_worse_classes_are_left),
	    cmocka_unit_test(test_all_of_a_class),       cmocka_unit_test(test_tenants_take_turns),
	    cmocka_unit_test(test_slots_are_few),        cmocka_unit_test(test_one_tenant_cannot_hold_all_slots),
	    cmocka_unit_test(test_the_queue_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
