#include "daemon/infer/schedule.h"

#include <errno.h>

int hs_sched_add(struct hs_sched *s, struct hs_sched_job *job)
{
	if (job->tenant->n_jobs >= HS_SCHED_QUEUE_MAX)
		return -EBUSY;
	struct hs_sched_job **at = &s->first;
	while (*at)
		at = &(*at)->next;
	job->next = NULL;
	*at = job;
	job->tenant->n_jobs++;
	return 0;
}

void hs_sched_remove(struct hs_sched *s, struct hs_sched_job *job)
{
	struct hs_sched_job **at = &s->first;
	while (*at && *at != job)
		at = &(*at)->next;
	hs_assert(*at == job);
	*at = job->next;
	job->next = NULL;
	job->tenant->n_jobs--;
	if (job->has_slot) {
		job->has_slot = false;
		job->tenant->slots--;
		s->slots--;
	}
}

static bool needs_slot(const struct hs_sched_job *j)
{
	return j->class == HS_SCHED_PREFILL && !j->has_slot;
}

static bool may_run(const struct hs_sched *s, const struct hs_sched_job *j, enum hs_sched_class worst)
{
	if (j->class > worst || (!j->ready && j->class != HS_SCHED_CANCELLED) || (j->class == HS_SCHED_RERANK && s->rerank_rests))
		return false;
	uint32_t own = j->tenant->slots_max ? j->tenant->slots_max : HS_SCHED_TENANT_SLOTS;
	return !needs_slot(j) || (s->slots < HS_SCHED_SLOTS && j->tenant->slots < own);
}

static struct hs_sched_job *best(const struct hs_sched *s, enum hs_sched_class worst)
{
	struct hs_sched_job *found = NULL;
	for (struct hs_sched_job *j = s->first; j; j = j->next) {
		if (!may_run(s, j, worst))
			continue;
		if (!found || j->class < found->class || (j->class == found->class && j->tenant->served < found->tenant->served))
			found = j;
	}
	return found;
}

struct hs_sched_job *hs_sched_pick(struct hs_sched *s, enum hs_sched_class worst)
{
	struct hs_sched_job *j = best(s, worst);
	if (!j)
		return NULL;
	if (needs_slot(j)) {
		j->has_slot = true;
		j->tenant->slots++;
		s->slots++;
	}
	j->tenant->served = ++s->tick;
	return j;
}

size_t hs_sched_all(const struct hs_sched *s, enum hs_sched_class class, struct hs_sched_job **ret, size_t max)
{
	size_t n = 0;
	for (struct hs_sched_job *j = s->first; j && n < max; j = j->next)
		if (j->class == class && j->ready && !needs_slot(j))
			ret[n++] = j;
	return n;
}

bool hs_sched_waits(const struct hs_sched *s, enum hs_sched_class worst)
{
	return best(s, worst) != NULL;
}

uint32_t hs_sched_position(const struct hs_sched *s, const struct hs_sched_job *job)
{
	uint32_t n = 0;
	for (const struct hs_sched_job *j = s->first; j && j != job; j = j->next)
		n += j->tenant == job->tenant && j->class >= HS_SCHED_DECODE && j->class <= HS_SCHED_PREFILL;
	return n;
}
