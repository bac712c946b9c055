/* Keys and values in bytes: near what half precision gives, less memory, and as independent of cuts and neighbours. */
#include "inference/engine.h"

#include <fcntl.h>
#include <math.h>
#include <unistd.h>

#include "tests/unit/inference/support.h"
#include "tests/unit/inference/tiny.h"
#include "tests/unit/test.h"

#define N 48u
#define VOCAB 37u

static struct hs_model *halves, *bytes;

static struct hs_model *load(bool q8)
{
	HS_BUF_AUTO file = HS_BUF_INIT;
	char path[] = "/tmp/hisho-model-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);
	struct hs_err err = HS_ERR_INIT;
	struct hs_model *m = NULL;
	const struct hs_model_options options = {.n_threads = 2, .kv_q8 = q8};
	if (fd < 0 || tiny_write(TINY_F32, NULL, &file) < 0 || hs_fd_write_all(fd, file.data, file.len) < 0 ||
	    hs_model_load(path, &options, &m, &err) < 0)
		m = NULL;
	close(fd);
	unlink(path);
	return m;
}

static int load_both(void **state)
{
	halves = load(false);
	bytes = load(true);
	return halves && bytes ? 0 : -1;
}

static int free_both(void **state)
{
	hs_model_destroy(halves);
	hs_model_destroy(bytes);
	return 0;
}

static void prompt(hs_tok_id ids[static N], uint32_t which)
{
	for (uint32_t i = 0; i < N; i++)
		ids[i] = (hs_tok_id)((i * i * 7 + which * 5 + i) % VOCAB);
}

/* The last logits of a prompt that goes in in pieces of `cut`. */
static void logits_of(struct hs_model *m, uint32_t which, uint32_t cut, float out[static VOCAB])
{
	hs_tok_id ids[N];
	struct hs_sequence *s;
	const float *logits = NULL;
	prompt(ids, which);
	assert_int_equal(hs_sequence_create(m, N, &s), 0);
	for (uint32_t at = 0; at < N; at += cut)
		assert_int_equal(hs_sequence_forward(s, ids + at, HS_MIN(cut, N - at), NULL, NULL, &logits), 0);
	memcpy(out, logits, VOCAB * sizeof *out);
	hs_sequence_destroy(s);
}

/* How far the second is from the first: sum p (ln p - ln q). */
static double divergence(const float *a, const float *b)
{
	double sum_a = 0, sum_b = 0, kl = 0;
	for (uint32_t i = 0; i < VOCAB; i++) {
		sum_a += exp((double)a[i]);
		sum_b += exp((double)b[i]);
	}
	for (uint32_t i = 0; i < VOCAB; i++)
		kl += exp((double)a[i]) / sum_a * ((double)a[i] - log(sum_a) - (double)b[i] + log(sum_b));
	return kl;
}

static void test_near_and_less_memory(void **state)
{
	for (uint32_t which = 0; which < 8; which++) {
		float a[VOCAB], b[VOCAB];
		logits_of(halves, which, N, a);
		logits_of(bytes, which, N, b);
		assert_true(divergence(a, b) < 1e-3);
		assert_memory_not_equal(a, b, sizeof a); /* it is another cache */
	}
	uint32_t half = hs_model_info(halves)->kv_bytes, byte = hs_model_info(bytes)->kv_bytes;
	assert_int_equal(half, 2 * 2 * 2 * (10 + 16)); /* layers, key heads, bytes, numbers */
	assert_int_equal(byte, 2 * 2 * (10 + 16 + 8)); /* and two scales a row, each of one block */
}

static void test_cuts_copies_neighbours_change_nothing(void **state)
{
	float whole[2][VOCAB], cut[VOCAB];
	hs_tok_id ids[2][N];
	for (uint32_t which = 0; which < 2; which++) {
		prompt(ids[which], which);
		logits_of(bytes, which, N, whole[which]);
		for (uint32_t n = 1; n < N; n += 6) {
			logits_of(bytes, which, n, cut);
			assert_memory_equal(whole[which], cut, sizeof cut);
		}
	}
	/* A copy of 21 positions, truncated to 18, then on beside another. */
	struct hs_sequence *from, *s[2];
	const float *logits;
	assert_int_equal(hs_sequence_create(bytes, 21, &from), 0);
	assert_int_equal(hs_sequence_forward(from, ids[0], 21, NULL, NULL, &logits), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(hs_sequence_create(bytes, N, &s[i]), 0);
	hs_sequence_copy(s[0], from, 21);
	hs_sequence_truncate(s[0], 18);
	assert_int_equal(hs_sequence_forward(s[1], ids[1], 40, NULL, NULL, &logits), 0);
	struct hs_step steps[2] = {{.sequence = s[0], .ids = ids[0] + 18, .n = N - 18, .n_logits = 1},
				   {.sequence = s[1], .ids = ids[1] + 40, .n = N - 40, .n_logits = 1}};
	assert_int_equal(hs_forward(steps, 2, NULL, NULL), 0);
	for (int i = 0; i < 2; i++) {
		assert_memory_equal(whole[i], steps[i].logits[0], sizeof whole[i]);
		hs_sequence_destroy(s[i]);
	}
	hs_sequence_destroy(from);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_near_and_less_memory),
					   cmocka_unit_test(test_cuts_copies_neighbours_change_nothing)};
	return cmocka_run_group_tests(tests, load_both, free_both);
}
