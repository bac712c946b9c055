#include "inference/decoding.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inference/lookup.h"

#define DRAFT_FIRST 3u /* with the token before it a block of the kernels: hardly dearer than a token alone */

int hs_decoding_init(struct hs_decoding *d, struct hs_sequence *sequence, const hs_tok_id *prompt, size_t n, uint32_t max_tokens,
		     const float *logits, bool drafts)
{
	hs_tok_id *ids = calloc(n + max_tokens, sizeof *ids);
	if (!ids)
		return -ENOMEM;
	memcpy(ids, prompt, n * sizeof *ids);
	*d = (struct hs_decoding){.sequence = sequence,
				  .ids = ids,
				  .count = n,
				  .room = n + max_tokens,
				  .rows = {logits},
				  .n_step = 1,
				  .draft_most = drafts ? DRAFT_FIRST : 0};
	return 0;
}

void hs_decoding_finish(struct hs_decoding *d)
{
	if (d->ids)
		explicit_bzero(d->ids, d->room * sizeof *d->ids);
	free(d->ids);
	explicit_bzero(d, sizeof *d);
}

const float *hs_decoding_logits(const struct hs_decoding *d)
{
	return d->rows[d->row];
}

void hs_decoding_expect(struct hs_decoding *d, const struct hs_sampler *s, uint32_t n_ids, const uint32_t *allowed)
{
	d->expected = (struct hs_choice){.sampler = *s, .allowed = allowed, .n_ids = n_ids};
}

hs_tok_id hs_decoding_pick(const struct hs_decoding *d, struct hs_sampler *s, uint32_t n_ids, const uint32_t *allowed)
{
	const struct hs_choice *c = &d->choices[d->row];
	if (d->rows[d->row])
		return hs_sample(s, d->rows[d->row], n_ids, allowed);
	hs_assert(c->sampler.rng == s->rng && c->n_ids == n_ids); /* as was expected */
	hs_sampler_skip(s, 1);
	return c->id;
}

float hs_decoding_logprob(const struct hs_decoding *d, uint32_t n, hs_tok_id id)
{
	return d->rows[d->row] ? hs_logprob(d->rows[d->row], n, id) : d->choices[d->row].logprob;
}

/* A draft that held was worth more; one that failed at once costs a pass's work for nothing. */
static void learn(struct hs_decoding *d)
{
	uint32_t drafted = d->n_step - 1;
	if (drafted == 0)
		return;
	d->n_drafted += drafted;
	d->n_confirmed += d->row;
	if (d->row == drafted)
		d->draft_most = HS_MIN(2 * d->draft_most + 1, HS_FORWARD_LOGITS_MAX - 1);
	else if (d->row == 0)
		d->draft_most = 1;
}

bool hs_decoding_choose(struct hs_decoding *d, hs_tok_id id)
{
	hs_assert(d->count < d->room);
	d->ids[d->count++] = id;
	if (d->row + 1 < d->n_step && d->step[d->row + 1] == id) {
		d->row++;
		return true;
	}
	learn(d);
	/* The sequence keeps what was chosen; the new token joins it with the next pass. */
	hs_sequence_truncate(d->sequence, (uint32_t)d->count - 1);
	return false;
}

/* What the device shall choose after each of n tokens: after drafts only where it does not hang on what a mask makes of these. */
static uint32_t put_choices(struct hs_decoding *d, uint32_t n)
{
	uint32_t count = d->expected.n_ids == 0 ? 0 : d->expected.allowed ? 1 : n;
	for (uint32_t k = 0; k < count; k++) {
		d->choices[k] = d->expected;
		hs_sampler_skip(&d->choices[k].sampler, k);
	}
	return count;
}

int hs_decoding_advance(struct hs_decoding *const *list, uint32_t n, hs_yield_fn yield, void *arg)
{
	struct hs_step steps[HS_FORWARD_STEPS_MAX];
	hs_tok_id ids[HS_FORWARD_STEPS_MAX][HS_FORWARD_LOGITS_MAX];
	if (n == 0 || n > HS_FORWARD_STEPS_MAX)
		return -EINVAL;
	for (uint32_t i = 0; i < n; i++) {
		struct hs_decoding *d = list[i];
		uint32_t most = HS_MIN(HS_MIN(d->draft_most, HS_FORWARD_LOGITS_MAX / n - 1), (uint32_t)(d->room - d->count));
		ids[i][0] = d->ids[d->count - 1];
		uint32_t drafted = hs_lookup_draft(d->ids, d->count, most, ids[i] + 1);
		steps[i] = (struct hs_step){.sequence = d->sequence,
					    .ids = ids[i],
					    .n = 1 + drafted,
					    .n_logits = 1 + drafted,
					    .choices = d->choices,
					    .n_choices = put_choices(d, 1 + drafted)};
	}
	int rc = hs_forward(steps, n, yield, arg);
	for (uint32_t i = 0; i < n && rc == 0; i++) {
		struct hs_decoding *d = list[i];
		d->n_step = steps[i].n;
		d->row = 0;
		d->expected = (struct hs_choice){0};
		d->n_passes++;
		memcpy(d->step, ids[i], d->n_step * sizeof *d->step);
		memcpy(d->rows, steps[i].logits, d->n_step * sizeof *d->rows);
	}
	return rc;
}
