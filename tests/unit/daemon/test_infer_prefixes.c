#include "daemon/infer/prefixes.h"

#include "tests/unit/inference/adapters.h"
#include "tests/unit/inference/support.h"
#include "tests/unit/inference/tiny.h"
#include "tests/unit/test.h"

static struct hs_model *model;
static int tenants[8]; /* their addresses are what counts */
static const uint8_t key[2][HS_PREFIX_KEY_LEN] = {{1}, {2}};

static int load_model(void **state)
{
	HS_BUF_AUTO file = HS_BUF_INIT;
	struct hs_err err;
	const struct hs_model_options options = {.n_threads = 1};
	return tiny_write(TINY_F32, NULL, &file) < 0 ? -1 : load_bytes(&file, &options, &model, &err);
}

static int free_model(void **state)
{
	hs_model_destroy(model);
	return 0;
}

/* n ids that begin alike and part at `parts` by `which`. */
static void make_ids(hs_tok_id *ids, uint32_t n, uint32_t parts, int which)
{
	for (uint32_t i = 0; i < n; i++)
		ids[i] = (hs_tok_id)((i * 7 + (i >= parts ? (uint32_t)which : 0)) % 37);
}

static void keep_adapted(struct hs_prefixes *p, const void *tenant, const uint8_t *k, const struct hs_adapter *adapter,
			 const hs_tok_id *ids, uint32_t n)
{
	struct hs_sequence *s = NULL;
	const float *logits;
	assert_int_equal(hs_sequence_create_adapted(model, adapter, n, &s), 0);
	assert_int_equal(hs_sequence_forward(s, ids, n, NULL, NULL, &logits), 0);
	hs_prefixes_keep(p, model, tenant, k, s, ids, n);
	hs_sequence_destroy(s);
}

static void keep(struct hs_prefixes *p, const void *tenant, const uint8_t *k, const hs_tok_id *ids, uint32_t n)
{
	keep_adapted(p, tenant, k, NULL, ids, n);
}

static uint32_t found_adapted(struct hs_prefixes *p, const void *tenant, const uint8_t *k, const struct hs_adapter *adapter,
			      const hs_tok_id *ids, uint32_t n)
{
	uint32_t count = 0;
	const struct hs_sequence *s = hs_prefixes_find(p, tenant, k, adapter, ids, n, &count);
	assert_true(!s || (count >= HS_PREFIX_TOKENS_MIN && count <= hs_sequence_len(s)));
	return s ? count : 0;
}

static uint32_t found(struct hs_prefixes *p, const void *tenant, const uint8_t *k, const hs_tok_id *ids, uint32_t n)
{
	return found_adapted(p, tenant, k, NULL, ids, n);
}

/* What one adapter computed serves no other, and not the bare model: not of one tenant, and not of everyone's. */
static void test_only_of_the_same_adapter(void **state)
{
	struct hs_prefixes p = {0};
	struct hs_adapter *adapters[2] = {NULL};
	hs_tok_id ids[60];
	make_ids(ids, 60, 60, 0);
	for (uint32_t i = 0; i < 2; i++) {
		struct tiny_adapter a = TINY_ADAPTER;
		struct hs_err err = HS_ERR_INIT;
		char path[32];
		a.seed += i;
		adapter_file(TINY_F32, &a, path);
		assert_int_equal(hs_adapter_load(model, path, &adapters[i], &err), 0);
		unlink(path);
	}
	keep_adapted(&p, &tenants[0], key[0], adapters[0], ids, 50);
	keep_adapted(&p, NULL, key[0], adapters[1], ids, 30);
	assert_int_equal(found_adapted(&p, &tenants[0], key[0], adapters[0], ids, 60), 50);
	assert_int_equal(found_adapted(&p, &tenants[0], key[0], adapters[1], ids, 60), 30);
	assert_int_equal(found(&p, &tenants[0], key[0], ids, 60), 0);
	keep(&p, NULL, key[0], ids, 40);
	assert_int_equal(found(&p, &tenants[0], key[0], ids, 60), 40);
	assert_int_equal(found_adapted(&p, &tenants[1], key[0], adapters[0], ids, 60), 0);
	/* nor would a copy that was asked for by mistake be made */
	struct hs_sequence *bare = NULL, *adapted = NULL;
	const float *logits;
	assert_int_equal(hs_sequence_create(model, 60, &bare), 0);
	assert_int_equal(hs_sequence_create_adapted(model, adapters[0], 60, &adapted), 0);
	assert_int_equal(hs_sequence_forward(bare, ids, 20, NULL, NULL, &logits), 0);
	hs_sequence_copy(adapted, bare, 20);
	assert_int_equal(hs_sequence_len(adapted), 0);
	hs_sequence_destroy(bare);
	hs_sequence_destroy(adapted);
	hs_prefixes_finish(&p);
	for (uint32_t i = 0; i < 2; i++)
		hs_adapter_destroy(adapters[i]);
}

static void test_only_under_the_same_key(void **state)
{
	struct hs_prefixes p = {0};
	hs_tok_id ids[60], other[60];
	make_ids(ids, 60, 60, 0);
	make_ids(other, 60, 30, 1);
	keep(&p, &tenants[0], key[0], ids, 50);
	assert_int_equal(found(&p, &tenants[0], key[0], ids, 60), 50);
	assert_int_equal(found(&p, &tenants[0], key[0], ids, 40), 40);
	assert_int_equal(found(&p, &tenants[0], key[0], other, 60), 30); /* as far as they agree */
	assert_int_equal(found(&p, &tenants[0], key[1], ids, 60), 0);    /* another user, or other classes */
	assert_int_equal(found(&p, &tenants[1], key[0], ids, 60), 0);    /* another tenant */
	assert_int_equal(found(&p, &tenants[0], key[0], ids, HS_PREFIX_TOKENS_MIN - 1), 0);
	hs_prefixes_wipe(&p, &tenants[1]);
	assert_int_equal(found(&p, &tenants[0], key[0], ids, 60), 50);
	hs_prefixes_wipe(&p, &tenants[0]);
	assert_int_equal(found(&p, &tenants[0], key[0], ids, 60), 0);
	hs_prefixes_finish(&p);
}

static void test_instructions_are_everyones(void **state)
{
	struct hs_prefixes p = {0};
	hs_tok_id ids[60], own[60];
	make_ids(ids, 60, 60, 0);
	make_ids(own, 60, 20, 3);
	keep(&p, NULL, key[0], ids, 20);
	keep(&p, &tenants[0], key[0], own, 60);
	assert_int_equal(found(&p, &tenants[1], key[1], ids, 60), 20);
	assert_int_equal(found(&p, &tenants[1], key[1], own, 60), 20); /* of the tenant's entry nothing but what is everyone's */
	assert_int_equal(found(&p, &tenants[0], key[0], own, 60), 60);
	hs_prefixes_wipe(&p, &tenants[0]);
	assert_int_equal(found(&p, &tenants[0], key[0], own, 60), 20);
	hs_prefixes_finish(&p);
}

static void test_a_tenant_displaces_its_own_first(void **state)
{
	struct hs_prefixes p = {0};
	hs_tok_id ids[8][40];
	for (int i = 0; i < 8; i++)
		make_ids(ids[i], 40, 0, i);
	keep(&p, &tenants[7], key[0], ids[7], 40);
	for (int i = 0; i < 6; i++)
		keep(&p, &tenants[0], key[0], ids[i], 40);
	assert_int_equal(found(&p, &tenants[7], key[0], ids[7], 40), 40);
	for (int i = 0; i < 6; i++)
		assert_int_equal(found(&p, &tenants[0], key[0], ids[i], 40), i < 3 ? 0 : 40);
	/* many tenants: the one that was used longest ago makes place */
	(void)found(&p, &tenants[7], key[0], ids[7], 40);
	for (int t = 1; t < 7; t++)
		for (int i = 0; i < 3; i++)
			keep(&p, &tenants[t], key[0], ids[i], 40);
	unsigned n = 0;
	for (unsigned i = 0; i < HS_PREFIXES_MAX; i++)
		n += p.list[i].sequence != NULL;
	assert_int_equal(n, HS_PREFIXES_MAX);
	assert_int_equal(found(&p, &tenants[0], key[0], ids[5], 40), 0);
	assert_int_equal(found(&p, &tenants[6], key[0], ids[2], 40), 40);
	hs_prefixes_finish(&p);
}

static void test_what_is_not_worth_it(void **state)
{
	struct hs_prefixes p = {0};
	hs_tok_id ids[60];
	make_ids(ids, 60, 60, 0);
	keep(&p, &tenants[0], key[0], ids, HS_PREFIX_TOKENS_MIN - 1);
	assert_null(p.list[0].sequence);
	keep(&p, &tenants[0], key[0], ids, 50);
	keep(&p, &tenants[0], key[0], ids, 40); /* held already */
	assert_non_null(p.list[0].sequence);
	assert_null(p.list[1].sequence);
	hs_prefixes_finish(&p);
	assert_null(p.list[0].sequence);
}

static uint32_t pages_used(void)
{
	struct hs_model_device d;
	hs_model_device(model, &d);
	return d.n_pages_used;
}

/* Of a tenant's own answer it takes whole pages together with it, of another owner's copies; when all end, none is held. */
static void test_pages_are_shared_within_a_tenant(void **state)
{
	enum { PAGES = 3 };
	struct hs_prefixes p = {0};
	struct hs_model_device d;
	struct hs_sequence *s, *next;
	hs_tok_id ids[200];
	const float *logits;
	hs_model_device(model, &d);
	uint32_t n = PAGES * d.page_tokens + 5, before = d.n_pages_used, count;
	assert_true(n <= HS_ARRAY_LEN(ids));
	make_ids(ids, n, n, 0);
	assert_int_equal(hs_sequence_create(model, n, &s), 0);
	hs_sequence_own(s, (uintptr_t)&tenants[0]);
	assert_int_equal(hs_sequence_forward(s, ids, n, NULL, NULL, &logits), 0);
	assert_int_equal(pages_used() - before, PAGES + 1);
	hs_prefixes_keep(&p, model, &tenants[0], key[0], s, ids, n);
	assert_int_equal(pages_used() - before, PAGES + 2); /* the part of a page */
	hs_prefixes_keep(&p, model, NULL, key[1], s, ids, n);
	assert_int_equal(pages_used() - before, 2 * PAGES + 3);
	hs_sequence_destroy(s);
	assert_int_equal(pages_used() - before, 2 * PAGES + 2);
	assert_int_equal(hs_model_pages_of(model, (uintptr_t)&tenants[0]), PAGES + 1);
	/* The next answer of the tenant begins with these pages, and outlives what was kept. */
	const struct hs_sequence *kept = hs_prefixes_find(&p, &tenants[0], key[0], NULL, ids, n - 1, &count);
	assert_non_null(kept);
	assert_int_equal(hs_sequence_create(model, n, &next), 0);
	hs_sequence_own(next, (uintptr_t)&tenants[0]);
	hs_sequence_copy(next, kept, count);
	assert_int_equal(hs_model_pages_of(model, (uintptr_t)&tenants[0]), PAGES + 2);
	hs_prefixes_wipe(&p, &tenants[0]);
	assert_int_equal(hs_model_pages_of(model, (uintptr_t)&tenants[0]), PAGES + 1);
	hs_sequence_destroy(next);
	assert_int_equal(hs_model_pages_of(model, (uintptr_t)&tenants[0]), 0);
	hs_prefixes_finish(&p);
	assert_int_equal(pages_used(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_only_of_the_same_adapter),   cmocka_unit_test(test_only_under_the_same_key),
	    cmocka_unit_test(test_instructions_are_everyones), cmocka_unit_test(test_a_tenant_displaces_its_own_first),
	    cmocka_unit_test(test_what_is_not_worth_it),       cmocka_unit_test(test_pages_are_shared_within_a_tenant),
	};
	return cmocka_run_group_tests(tests, load_model, free_model);
}
