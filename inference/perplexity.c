#include "inference/perplexity.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

/* Sums of -log p and of its square, over a piece's second half. */
struct sums {
	double nll, squares;
	uint64_t n;
};

static hs_tok_id first_token(const struct hs_model *m)
{
	return hs_model_info(m)->starts_with_bos ? hs_tok_bos(hs_model_tokenizer(m)) : HS_TOK_NONE;
}

static double surprise(const float *logits, uint32_t n_vocab, hs_tok_id id)
{
	double most = -INFINITY, total = 0;
	for (uint32_t i = 0; i < n_vocab; i++)
		most = fmax(most, (double)logits[i]);
	for (uint32_t i = 0; i < n_vocab; i++)
		total += exp((double)logits[i] - most);
	return most + log(total) - (double)logits[id];
}

static int add_piece(struct hs_model *m, struct hs_sequence *s, const hs_tok_id *ids, uint32_t context, struct sums *sums)
{
	uint32_t half = context / 2;
	struct hs_step step = {.sequence = s, .ids = ids, .n = half};
	hs_sequence_truncate(s, 0);
	int rc = hs_forward(&step, 1, NULL, NULL);
	for (uint32_t at = half; at + 1 < context && rc == 0; at += step.n) {
		step.ids = ids + at;
		step.n = step.n_logits = HS_MIN(context - 1 - at, HS_FORWARD_LOGITS_MAX);
		rc = hs_forward(&step, 1, NULL, NULL);
		for (uint32_t i = 0; i < step.n && rc == 0; i++) {
			double term = surprise(step.logits[i], hs_model_info(m)->n_vocab, ids[at + i + 1]);
			sums->nll += term;
			sums->squares += term * term;
			sums->n++;
		}
	}
	return rc;
}

static void conclude(const struct sums *sums, struct hs_perplexity *p)
{
	double n = (double)sums->n, mean = sums->nll / n, variance = sums->squares / n - mean * mean;
	p->n_scored = sums->n;
	p->perplexity = exp(mean);
	p->deviation = n > 1 && variance > 0 ? p->perplexity * sqrt(variance / (n - 1)) : 0;
}

static int run(struct hs_model *m, struct hs_tok_ids *ids, struct hs_perplexity *p, struct hs_err *err)
{
	hs_tok_id bos = first_token(m);
	struct hs_sequence *s = NULL;
	struct sums sums = {0};
	p->n_pieces = (uint32_t)HS_MIN(ids->count / p->context, (size_t)UINT32_MAX);
	if (p->max_pieces)
		p->n_pieces = HS_MIN(p->n_pieces, p->max_pieces);
	if (p->n_pieces == 0)
		return hs_fail(err, EINVAL, "model.perplexity",
			       HS_N_("the text is shorter than one piece: give a longer text or a smaller --context"),
			       "%zu tokens", ids->count);
	int rc = hs_sequence_create(m, p->context, &s);
	for (uint32_t i = 0; i < p->n_pieces && rc == 0; i++) {
		hs_tok_id *piece = ids->ids + (size_t)i * p->context;
		if (bos != HS_TOK_NONE)
			piece[0] = bos;
		rc = add_piece(m, s, piece, p->context, &sums);
		if (rc < 0)
			break;
		conclude(&sums, p);
		if (p->progress)
			p->progress(p->arg, i + 1, p->n_pieces, p->perplexity);
	}
	hs_sequence_destroy(s);
	return rc < 0 ? hs_fail_errno(err, rc, "model.perplexity", "") : 0;
}

int hs_perplexity_of(struct hs_model *m, const char *text, size_t len, struct hs_perplexity *p, struct hs_err *err)
{
	const struct hs_model_info *info = hs_model_info(m);
	if (info->encoder)
		return hs_fail(err, EINVAL, "model.perplexity", HS_N_("the model embeds texts and predicts none"), "%s",
			       info->architecture);
	if (p->context < 16 || p->context > info->context)
		return hs_fail(err, EINVAL, "model.perplexity", HS_N_("--context must be from 16 to the model's context"), "%u",
			       p->context);
	struct hs_tok_ids ids = {0};
	hs_tok_id bos = first_token(m);
	int rc = 0;
	if (bos != HS_TOK_NONE) { /* the whole text starts with it too; an empty place for it */
		ids.ids = calloc(1, sizeof *ids.ids);
		rc = ids.ids ? 0 : -ENOMEM;
		ids.count = ids.cap = rc == 0;
	}
	if (rc == 0)
		rc = hs_tok_encode(hs_model_tokenizer(m), text, len, &ids);
	rc = rc < 0 ? hs_fail_errno(err, rc, "model.perplexity", "") : run(m, &ids, p, err);
	hs_tok_ids_finish(&ids);
	return rc;
}
