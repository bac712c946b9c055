#include "daemon/infer/prefixes.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

static void drop(struct hs_prefix *e)
{
	hs_sequence_destroy(e->sequence); /* wipes */
	if (e->ids)
		explicit_bzero(e->ids, e->count * sizeof *e->ids);
	free(e->ids);
	*e = (struct hs_prefix){0};
}

static bool may_use(const struct hs_prefix *e, const void *tenant, const uint8_t *key, const struct hs_adapter *adapter)
{
	return e->sequence && hs_sequence_adapter(e->sequence) == adapter &&
	       (!e->tenant || (e->tenant == tenant && memcmp(e->key, key, sizeof e->key) == 0));
}

static uint32_t common(const struct hs_prefix *e, const hs_tok_id *ids, uint32_t n)
{
	uint32_t i = 0;
	while (i < n && i < e->count && e->ids[i] == ids[i])
		i++;
	return i;
}

/* The entry that the prompt shares most with, and how much. */
static struct hs_prefix *best(struct hs_prefixes *p, const void *tenant, const uint8_t *key, const struct hs_adapter *adapter,
			      const hs_tok_id *ids, uint32_t n, uint32_t *ret_count)
{
	struct hs_prefix *found = NULL;
	*ret_count = HS_PREFIX_TOKENS_MIN - 1;
	for (struct hs_prefix *e = p->list; e < p->list + HS_PREFIXES_MAX; e++) {
		uint32_t count = may_use(e, tenant, key, adapter) ? common(e, ids, n) : 0;
		if (count > *ret_count) {
			*ret_count = count;
			found = e;
		}
	}
	return found;
}

const struct hs_sequence *hs_prefixes_find(struct hs_prefixes *p, const void *tenant, const uint8_t key[static HS_PREFIX_KEY_LEN],
					   const struct hs_adapter *adapter, const hs_tok_id *ids, uint32_t n,
					   uint32_t *ret_count)
{
	struct hs_prefix *e = best(p, tenant, key, adapter, ids, n, ret_count);
	if (!e)
		return NULL;
	e->used = ++p->tick;
	return e->sequence;
}

/* A free place; where there is none, the tenant's oldest beyond its share, or the oldest of all. */
static struct hs_prefix *place(struct hs_prefixes *p, const void *tenant)
{
	struct hs_prefix *unused = NULL, *own = NULL, *oldest = NULL;
	uint32_t n_own = 0;
	for (struct hs_prefix *e = p->list; e < p->list + HS_PREFIXES_MAX; e++) {
		if (!e->sequence) {
			unused = unused ? unused : e;
			continue;
		}
		if (e->tenant == tenant) {
			n_own++;
			if (!own || e->used < own->used)
				own = e;
		}
		if (!oldest || e->used < oldest->used)
			oldest = e;
	}
	struct hs_prefix *e = n_own >= HS_PREFIXES_TENANT ? own : unused ? unused : oldest;
	drop(e);
	return e;
}

void hs_prefixes_keep(struct hs_prefixes *p, struct hs_model *m, const void *tenant, const uint8_t key[static HS_PREFIX_KEY_LEN],
		      const struct hs_sequence *from, const hs_tok_id *ids, uint32_t n)
{
	const struct hs_adapter *adapter = hs_sequence_adapter(from);
	uint32_t held;
	if (n < HS_PREFIX_TOKENS_MIN || n > HS_PREFIX_TOKENS_MAX || (best(p, tenant, key, adapter, ids, n, &held) && held == n))
		return;
	struct hs_prefix kept = {.tenant = tenant, .count = n, .used = ++p->tick};
	memcpy(kept.key, key, sizeof kept.key);
	kept.ids = calloc(n, sizeof *kept.ids);
	if (!kept.ids || hs_sequence_create_adapted(m, adapter, n, &kept.sequence) < 0) {
		free(kept.ids);
		return;
	}
	memcpy(kept.ids, ids, n * sizeof *kept.ids);
	hs_sequence_own(kept.sequence, (uintptr_t)tenant);
	hs_sequence_copy(kept.sequence, from, n);
	*place(p, tenant) = kept;
}

void hs_prefixes_wipe(struct hs_prefixes *p, const void *tenant)
{
	for (struct hs_prefix *e = p->list; e < p->list + HS_PREFIXES_MAX; e++)
		if (e->sequence && e->tenant == tenant)
			drop(e);
}

void hs_prefixes_finish(struct hs_prefixes *p)
{
	for (struct hs_prefix *e = p->list; e < p->list + HS_PREFIXES_MAX; e++)
		drop(e);
}
