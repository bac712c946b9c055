/* Answers of a tiny model: whatever is drafted and whoever is beside, the same tokens. */
#include "inference/decoding.h"

#include <errno.h>
#include "tests/unit/inference/support.h"
#include "tests/unit/inference/tiny.h"
#include "tests/unit/test.h"

#define N_PROMPT 20u
#define N_ANSWER 50u

static struct hs_model *model;

static int load_model(void **state)
{
	HS_BUF_AUTO file = HS_BUF_INIT;
	struct hs_err err;
	const struct hs_model_options options = {.n_threads = 2};
	return tiny_write(TINY_F32, NULL, &file) < 0 ? -1 : load_bytes(&file, &options, &model, &err);
}

static int free_model(void **state)
{
	hs_model_destroy(model);
	return 0;
}

struct answer {
	struct hs_sequence *sequence;
	struct hs_decoding d;
	struct hs_sampler sampler;
	hs_tok_id ids[N_ANSWER];
	uint32_t n;
	bool masked; /* a grammar allows some ids only, others at each step */
};

static bool masks; /* of the answers that begin */

static void begin(struct answer *a, int which, float temperature, bool drafts)
{
	hs_tok_id prompt[N_PROMPT];
	const float *logits;
	*a = (struct answer){.masked = masks && which % 2 == 0,
			     .sampler = {.temperature = temperature, .top_p = 1, .rng = 7 + (uint64_t)which}};
	for (uint32_t i = 0; i < N_PROMPT; i++) /* it repeats itself: there is something to look up */
		prompt[i] = (hs_tok_id)((i % 7) * 5 + (uint32_t)which) % 37;
	assert_int_equal(hs_sequence_create(model, N_PROMPT + N_ANSWER, &a->sequence), 0);
	assert_int_equal(hs_sequence_forward(a->sequence, prompt, N_PROMPT, NULL, NULL, &logits), 0);
	assert_int_equal(hs_decoding_init(&a->d, a->sequence, prompt, N_PROMPT, N_ANSWER, logits, drafts), 0);
}

/* Choose as long as logits stand; false where the answer is full. */
static bool choose(struct answer *a)
{
	while (a->n < N_ANSWER) {
		uint32_t allowed[2] = {0x5a5a3c3cu << a->n % 3, 0x15};
		hs_tok_id id = hs_sample(&a->sampler, hs_decoding_logits(&a->d), 37, a->masked ? allowed : NULL);
		if (a->masked)
			assert_true(allowed[id / 32] >> id % 32 & 1);
		a->ids[a->n++] = id;
		if (!hs_decoding_choose(&a->d, id))
			return a->n < N_ANSWER;
	}
	return false;
}

static void end(struct answer *a)
{
	hs_decoding_finish(&a->d);
	hs_sequence_destroy(a->sequence);
}

static void answer_alone(struct answer *a, int which, float temperature, bool drafts)
{
	struct hs_decoding *d = &a->d;
	begin(a, which, temperature, drafts);
	while (choose(a))
		assert_int_equal(hs_decoding_advance(&d, 1, NULL, NULL), 0);
}

static void test_drafts_change_nothing(void **state)
{
	for (int which = 0; which < 6; which++)
		for (int warm = 0; warm < 2; warm++) {
			struct answer plain, drafted;
			answer_alone(&plain, which, warm ? 0.8f : 0, false);
			answer_alone(&drafted, which, warm ? 0.8f : 0, true);
			assert_memory_equal(plain.ids, drafted.ids, sizeof plain.ids);
			assert_int_equal(plain.d.n_drafted, 0);
			assert_true(drafted.d.n_passes + drafted.d.n_confirmed + 1 >= N_ANSWER);
			assert_true(drafted.d.n_passes <= plain.d.n_passes);
			/* greedy answers of a tiny model go in circles: drafts must have been worth something */
			assert_true(warm || drafted.d.n_confirmed > 0);
			end(&plain);
			end(&drafted);
		}
}

static int stop_at_once(void *arg)
{
	return ++*(int *)arg > 0;
}

/* Answers that begin and end at different times share passes; one pass is interrupted and done again. */
static void test_neighbours_change_nothing(void **state)
{
	enum { N = 5 };
	struct answer alone[N], together[N];
	for (int i = 0; i < N; i++) {
		answer_alone(&alone[i], i, i % 2 ? 0.7f : 0, false);
		begin(&together[i], i, i % 2 ? 0.7f : 0, true);
	}
	bool waits[N] = {false}, done[N] = {false};
	for (uint32_t turn = 0;; turn++) {
		struct hs_decoding *list[N];
		uint32_t n = 0;
		for (uint32_t i = 0; i < N && i <= turn / 3; i++) {
			if (!done[i] && !waits[i]) {
				waits[i] = choose(&together[i]);
				done[i] = !waits[i];
			}
			if (waits[i])
				list[n++] = &together[i].d;
		}
		if (n == 0)
			break;
		int calls = 0, rc = hs_decoding_advance(list, n, turn % 5 == 4 ? stop_at_once : NULL, &calls);
		assert_true(rc == 0 || (rc == -ECANCELED && calls));
		for (int i = 0; i < N; i++)
			waits[i] = waits[i] && rc < 0;
	}
	for (int i = 0; i < N; i++) {
		assert_true(done[i]);
		assert_memory_equal(alone[i].ids, together[i].ids, sizeof alone[i].ids);
		end(&alone[i]);
		end(&together[i]);
	}
}

static void test_masked_drafts_change_nothing(void **state)
{
	masks = true;
	for (int which = 0; which < 6; which++) {
		struct answer plain, drafted;
		answer_alone(&plain, which, which % 3 ? 0.8f : 0, false);
		answer_alone(&drafted, which, which % 3 ? 0.8f : 0, true);
		assert_memory_equal(plain.ids, drafted.ids, sizeof plain.ids);
		end(&plain);
		end(&drafted);
	}
	test_neighbours_change_nothing(state);
	masks = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_drafts_change_nothing),
	    cmocka_unit_test(test_neighbours_change_nothing), cmocka_unit_test(test_masked_drafts_change_nothing),
	};
	return cmocka_run_group_tests(tests, load_model, free_model);
}
