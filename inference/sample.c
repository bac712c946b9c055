#include "inference/sample.h"

#include <math.h>

/* Candidates that a random choice looks at: a longer tail has no weight that matters. */
#define CANDIDATES_MAX 1024

struct candidate {
	float logit;
	hs_tok_id id;
};

static bool may(const uint32_t *allowed, uint32_t id)
{
	return !allowed || allowed[id / 32] >> id % 32 & 1;
}

static hs_tok_id greatest(const float *logits, uint32_t n, const uint32_t *allowed)
{
	uint32_t best = 0;
	while (best + 1 < n && !may(allowed, best))
		best++;
	for (uint32_t i = best + 1; i < n; i++)
		if (may(allowed, i) && (logits[i] > logits[best] ||
					isnan(logits[best]))) /* the first of equals; never a NaN where there is a number */
			best = i;
	return (hs_tok_id)best;
}

#define STEP 0x9e3779b97f4a7c15u

/* splitmix64 (Steele, Lea, Flood 2014): the upper 53 bits as a number in [0, 1) */
static double draw(uint64_t *state)
{
	uint64_t z = *state += STEP;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

/* Is a before b? Greater logits first, then smaller ids, so that ties never depend on the order of work. */
static bool before(const struct candidate *a, const struct candidate *b)
{
	return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

/* A heap whose root is the worst of the best so far. */
static void sink(struct candidate *heap, uint32_t n, uint32_t at)
{
	for (;;) {
		uint32_t worst = at;
		for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < n; child++)
			if (before(&heap[worst], &heap[child]))
				worst = child;
		if (worst == at)
			return;
		struct candidate c = heap[at];
		heap[at] = heap[worst];
		heap[worst] = c;
		at = worst;
	}
}

/* The best `most` candidates in order; returns how many. */
static uint32_t take_best(const float *logits, uint32_t n_vocab, const uint32_t *allowed, struct candidate *best, uint32_t most)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < n_vocab; i++) {
		struct candidate c = {.logit = logits[i], .id = (hs_tok_id)i};
		if (isnan(c.logit) || !may(allowed, i))
			continue;
		if (n < most) {
			best[n++] = c;
			if (n == most)
				for (uint32_t at = n / 2; at-- > 0;)
					sink(best, n, at);
		} else if (before(&c, &best[0])) {
			best[0] = c;
			sink(best, n, 0);
		}
	}
	if (n < most)
		for (uint32_t at = n / 2; at-- > 0;)
			sink(best, n, at);
	for (uint32_t end = n; end-- > 1;) { /* the worst goes last */
		struct candidate c = best[0];
		best[0] = best[end];
		best[end] = c;
		sink(best, end, 0);
	}
	return n;
}

hs_tok_id hs_sample(struct hs_sampler *s, const float *logits, uint32_t n_vocab, const uint32_t *allowed)
{
	struct candidate best[CANDIDATES_MAX];
	double weights[CANDIDATES_MAX], total = 0, kept = 0;
	if (!(s->temperature > 0))
		return greatest(logits, n_vocab, allowed);
	double drawn = draw(&s->rng);
	uint32_t most = s->top_k && s->top_k < CANDIDATES_MAX ? s->top_k : CANDIDATES_MAX;
	uint32_t n = take_best(logits, n_vocab, allowed, best, most);
	if (n == 0 || !isfinite(best[0].logit))
		return greatest(logits, n_vocab, allowed);
	for (uint32_t i = 0; i < n; i++)
		total += weights[i] = exp(((double)best[i].logit - (double)best[0].logit) / (double)s->temperature);
	double enough = s->top_p > 0 && s->top_p < 1 ? s->top_p * total : total;
	uint32_t m = 0;
	while (m < n && kept < enough) /* the fewest whose weight reaches top_p */
		kept += weights[m++];
	double point = drawn * kept;
	for (uint32_t i = 0; i + 1 < m; i++) {
		if (point < weights[i])
			return best[i].id;
		point -= weights[i];
	}
	return best[m ? m - 1 : 0].id;
}

void hs_sampler_skip(struct hs_sampler *s, uint32_t n)
{
	if (s->temperature > 0)
		s->rng += n * STEP;
}

float hs_logprob(const float *logits, uint32_t n, hs_tok_id id)
{
	float most = logits[0];
	double sum = 0;
	for (uint32_t i = 1; i < n; i++)
		most = fmaxf(most, logits[i]);
	for (uint32_t i = 0; i < n; i++)
		sum += (double)expf(logits[i] - most);
	return logits[id] - most - (float)log(sum);
}
