/* What an answer need not compute again: a prefix that was kept, and tokens that it quotes. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "bench/bench.h"
#include "inference/decoding.h"

#define MODEL "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
#define PROMPT_TOKENS 300u /* instructions, passages and a question */
#define QUESTION_TOKENS 30u
#define ANSWER_TOKENS 96u

static const char passage[] = "第12条　社員は、出張から帰着した日の翌日から起算して5営業日以内に、出張報告書及び旅費精算書を所属"
			      "長に提出しなければならない。"
			      "2　前項の旅費精算書には、領収書その他支払を証する書類を添付するものとする。ただし、1件3,"
			      "000円未満の公共交通機関の運賃については、この限りでない。"
			      "3　所属長は、提出された旅費精算書の内容を確認し、経理部に回付する。経理部は、回付を受けた日から10"
			      "営業日以内に、精算額を社員の指定する口座に振り込む。";

static int load(const struct bench_options *o, struct bench_report *r, struct hs_model **ret, struct hs_err *err)
{
	char path[4096];
	const struct hs_model_options options = {.n_threads = bench_threads(o)};
	int rc = bench_model_path(o, MODEL, path, sizeof path, err);
	if (rc == 0)
		rc = hs_model_load(path, &options, ret, err);
	if (rc == 0)
		(void)snprintf(r->about, sizeof r->about, "%s, %u threads, %u rounds", hs_model_info(*ret)->name,
			       bench_threads(o), o->rounds); /* may be cut */
	return rc;
}

/* Milliseconds to the logits of the prompt's end, its beginning taken over from `kept` where there is one. */
static int first_token(struct hs_model *m, const struct hs_sequence *kept, uint32_t n_kept, const hs_tok_id *ids, double *ret)
{
	struct hs_sequence *s = NULL;
	const float *logits;
	uint64_t begin = hs_monotonic_us();
	int rc = hs_sequence_create(m, PROMPT_TOKENS + ANSWER_TOKENS, &s);
	if (rc == 0 && kept)
		hs_sequence_copy(s, kept, n_kept);
	if (rc == 0)
		rc = hs_sequence_forward(s, ids + n_kept, PROMPT_TOKENS - n_kept, NULL, NULL, &logits);
	*ret = (double)(hs_monotonic_us() - begin) / 1e3;
	hs_sequence_destroy(s);
	return rc;
}

int bench_ttft(const struct bench_options *o, struct bench_report *r, struct hs_err *err)
{
	double cold[BENCH_ROUNDS_MAX], warm[BENCH_ROUNDS_MAX];
	struct hs_model *m = NULL;
	struct hs_sequence *kept = NULL;
	struct hs_tok_ids ids = {0};
	const float *logits;
	int rc = load(o, r, &m, err);
	while (rc == 0 && ids.count < PROMPT_TOKENS)
		rc = hs_tok_encode(hs_model_tokenizer(m), passage, sizeof passage - 1, &ids);
	if (rc == 0)
		rc = hs_sequence_create(m, PROMPT_TOKENS, &kept);
	if (rc == 0)
		rc = hs_sequence_forward(kept, ids.ids, PROMPT_TOKENS - QUESTION_TOKENS, NULL, NULL, &logits);
	for (unsigned i = 0; i < o->rounds && rc == 0; i++) {
		rc = first_token(m, NULL, 0, ids.ids, &cold[i]);
		if (rc == 0)
			rc = first_token(m, kept, PROMPT_TOKENS - QUESTION_TOKENS, ids.ids, &warm[i]);
	}
	if (rc == 0)
		bench_add(r, (struct bench_figure){"first token, passages kept", "ms", bench_median(warm, o->rounds),
						   bench_median(cold, o->rounds), "cold"});
	hs_sequence_destroy(kept);
	hs_tok_ids_finish(&ids);
	hs_model_destroy(m);
	return rc < 0 && !err->num ? hs_fail_errno(err, rc, "bench.run", MODEL) : rc;
}

struct run {
	hs_tok_id ids[ANSWER_TOKENS];
	uint32_t n, n_passes, n_drafted, n_confirmed;
	double rate;
};

/* The greedy answer to the prompt, and its tokens a second. */
static int answer(struct hs_model *m, const struct hs_tok_ids *prompt, bool drafts, struct run *ret)
{
	struct hs_sequence *s = NULL;
	struct hs_decoding d = {0}, *list = &d;
	struct hs_sampler greedy = {0};
	const float *logits;
	uint32_t n_prompt = (uint32_t)prompt->count;
	*ret = (struct run){0};
	int rc = hs_sequence_create(m, n_prompt + ANSWER_TOKENS, &s);
	if (rc == 0)
		rc = hs_sequence_forward(s, prompt->ids, n_prompt, NULL, NULL, &logits);
	if (rc == 0)
		rc = hs_decoding_init(&d, s, prompt->ids, n_prompt, ANSWER_TOKENS, logits, drafts);
	uint64_t begin = hs_monotonic_us();
	while (rc == 0) {
		hs_tok_id id = hs_sample(&greedy, hs_decoding_logits(&d), hs_model_info(m)->n_vocab, NULL);
		ret->ids[ret->n++] = id;
		bool stands = hs_decoding_choose(&d, id);
		if (ret->n == ANSWER_TOKENS || id == hs_tok_eos(hs_model_tokenizer(m)))
			break;
		if (!stands)
			rc = hs_decoding_advance(&list, 1, NULL, NULL);
	}
	ret->rate = ret->n * 1e6 / (double)(hs_monotonic_us() - begin);
	ret->n_passes = d.n_passes;
	ret->n_drafted = d.n_drafted;
	ret->n_confirmed = d.n_confirmed;
	hs_decoding_finish(&d);
	hs_sequence_destroy(s);
	return rc;
}

/* ChatML, the form of the default model: copy the passage. */
static int quoting_prompt(const struct hs_tokenizer *t, struct hs_tok_ids *ids)
{
	static const char *const parts[] = {"user\n次の文章を一字一句そのまま書き写してください。\n", passage, "\n",
					    "assistant\n"};
	static const char *const marks[] = {"<|im_start|>", NULL, "<|im_end|>", "<|im_start|>"};
	int rc = 0;
	for (size_t i = 0; i < HS_ARRAY_LEN(parts) && rc == 0; i++) {
		size_t at = ids->count;
		if (marks[i]) {
			rc = hs_tok_encode(t, " ", 1, ids); /* room for one id, which the mark takes */
			if (rc == 0) {
				ids->count = at + 1;
				ids->ids[at] = hs_tok_special(t, marks[i]);
				rc = ids->ids[at] < 0 ? -ENOTSUP : 0;
			}
		}
		if (rc == 0)
			rc = hs_tok_encode(t, parts[i], strlen(parts[i]), ids);
	}
	return rc;
}

int bench_lookup(const struct bench_options *o, struct bench_report *r, struct hs_err *err)
{
	double with[BENCH_ROUNDS_MAX], without[BENCH_ROUNDS_MAX];
	struct hs_model *m = NULL;
	struct hs_tok_ids prompt = {0};
	struct run plain = {0}, drafted = {0};
	int rc = load(o, r, &m, err);
	if (rc == 0)
		rc = quoting_prompt(hs_model_tokenizer(m), &prompt);
	for (unsigned i = 0; i < o->rounds && rc == 0; i++) {
		rc = answer(m, &prompt, false, &plain);
		if (rc == 0)
			rc = answer(m, &prompt, true, &drafted);
		if (rc == 0 && (plain.n != drafted.n || memcmp(plain.ids, drafted.ids, plain.n * sizeof plain.ids[0]) != 0))
			rc = hs_fail(err, EBADMSG, "bench.lookup", HS_N_("drafts changed the answer"), "token %u", plain.n);
		without[i] = plain.rate;
		with[i] = drafted.rate;
	}
	if (rc == 0) {
		bench_add(r, (struct bench_figure){"a quoting answer, drafts on", "tokens/s", bench_median(with, o->rounds),
						   bench_median(without, o->rounds), "drafts off"});
		bench_add(r, (struct bench_figure){"tokens a pass", "",
						   (double)drafted.n / (drafted.n_passes ? drafted.n_passes : 1), 0, NULL});
		bench_add(r, (struct bench_figure){"drafted tokens that held", "%",
						   drafted.n_drafted ? 100.0 * drafted.n_confirmed / drafted.n_drafted : 0, 0,
						   NULL});
	}
	hs_tok_ids_finish(&prompt);
	hs_model_destroy(m);
	return rc < 0 && !err->num ? hs_fail_errno(err, rc, "bench.run", MODEL) : rc;
}
