/* Perplexity by its definition: every scored token's probability from a pass of its own over what comes before it in its piece.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "inference/perplexity.h"
#include "tests/unit/inference/tiny.h"
#include "tests/unit/test.h"

static const char text[] = "the quick brown fox jumps over the lazy dog and then again the quick brown fox does not";

static void with_bos(struct hs_gguf_writer *w)
{
	hs_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", true);
}

static struct hs_model *load(struct tiny t, void (*more)(struct hs_gguf_writer *w))
{
	char path[] = "/tmp/hisho-perplexity-XXXXXX";
	HS_BUF_AUTO file = HS_BUF_INIT;
	struct hs_model *m = NULL;
	struct hs_err err = HS_ERR_INIT;
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(tiny_write(t, more, &file), 0);
	assert_int_equal(write(fd, file.data, file.len), (ssize_t)file.len);
	close(fd);
	int rc = hs_model_load(path, &(struct hs_model_options){.n_threads = 1}, &m, &err);
	unlink(path);
	assert_int_equal(rc, 0);
	return m;
}

static struct tiny letters(void)
{
	struct tiny t = TINY_F32;
	t.vocab = 90;
	return t;
}

static double plainly(struct hs_model *m, uint32_t context, bool bos, uint64_t *n)
{
	struct hs_tok_ids ids = {0};
	double nll = 0;
	assert_int_equal(hs_tok_encode(hs_model_tokenizer(m), text, sizeof text - 1, &ids), 0);
	*n = 0;
	for (size_t start = 0; start + context <= ids.count + bos; start += context) {
		int32_t piece[64];
		for (uint32_t i = 0; i < context;
		     i++) /* with bos the text moves one place on, and each piece's first place is bos's */
			piece[i] = bos ? (i ? ids.ids[start + i - 1] : hs_tok_bos(hs_model_tokenizer(m))) : ids.ids[start + i];
		for (uint32_t i = context / 2; i + 1 < context; i++) {
			struct hs_sequence *s = NULL;
			const float *logits;
			double total = 0;
			assert_int_equal(hs_sequence_create(m, 64, &s), 0);
			assert_int_equal(hs_sequence_forward(s, piece, i + 1, NULL, NULL, &logits), 0);
			for (uint32_t k = 0; k < hs_model_info(m)->n_vocab; k++)
				total += exp((double)logits[k]);
			nll -= (double)logits[piece[i + 1]] - log(total);
			(*n)++;
			hs_sequence_destroy(s);
		}
	}
	hs_tok_ids_finish(&ids);
	return exp(nll / (double)*n);
}

static void test_is_its_definition(void **state)
{
	for (int bos = 0; bos < 2; bos++) {
		struct hs_model *m = load(letters(), bos ? with_bos : NULL);
		struct hs_perplexity p = {.context = 20};
		struct hs_err err = HS_ERR_INIT;
		uint64_t n;
		double want = plainly(m, 20, bos, &n);
		assert_int_equal(hs_perplexity_of(m, text, sizeof text - 1, &p, &err), 0);
		assert_true(n > 20 && p.n_scored == n && p.n_pieces == n / 9);
		assert_true(fabs(p.perplexity - want) < 1e-6 * want);
		assert_true(p.deviation > 0 && p.deviation < p.perplexity);
		hs_model_destroy(m);
	}
}

static void test_refuses(void **state)
{
	struct hs_model *m = load(letters(), NULL);
	struct hs_err err = HS_ERR_INIT;
	struct hs_perplexity small = {.context = 8}, large = {.context = 257}, whole = {.context = 256};
	assert_int_equal(hs_perplexity_of(m, text, sizeof text - 1, &small, &err), -EINVAL);
	assert_int_equal(hs_perplexity_of(m, text, sizeof text - 1, &large, &err), -EINVAL);
	assert_int_equal(hs_perplexity_of(m, text, sizeof text - 1, &whole, &err), -EINVAL); /* shorter than one piece */
	hs_model_destroy(m);
	struct tiny bert = letters();
	bert.arch = "bert";
	bert.kv_heads = bert.heads;
	m = load(bert, NULL);
	assert_int_equal(hs_perplexity_of(m, text, sizeof text - 1, &(struct hs_perplexity){.context = 20}, &err), -EINVAL);
	hs_model_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_is_its_definition),
	    cmocka_unit_test(test_refuses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
