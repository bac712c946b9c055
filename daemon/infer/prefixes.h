/*
 * Prefixes kept: sequences whose keys and values a later prompt may begin with. Each belongs to one tenant under one cache
 * key (tenant, user, visible classes; FOUNDATIONS: nothing is shared between them), but those that hold instructions only
 * and no data, which all share; and to one adapter or none, always: the same words computed with another are other numbers.
 * A prompt takes over the longest prefix that is its own, bit for bit what computing
 * it would give. The compute thread's; entries are few and walked.
 */
#ifndef HISHO_DAEMON_INFER_PREFIXES_H
#define HISHO_DAEMON_INFER_PREFIXES_H

#include "inference/engine.h"

#define HS_PREFIXES_MAX 12u
#define HS_PREFIXES_TENANT 3u      /* of one tenant */
#define HS_PREFIX_TOKENS_MIN 16u   /* shorter ones are not worth their place */
#define HS_PREFIX_TOKENS_MAX 4096u /* nor are longer ones worth their memory */
#define HS_PREFIX_KEY_LEN 32u

struct hs_prefix {
	struct hs_sequence *sequence; /* NULL: a free place */
	const void *tenant;           /* NULL: everyone's */
	uint8_t key[HS_PREFIX_KEY_LEN];
	hs_tok_id *ids; /* (count), what the sequence holds */
	uint32_t count;
	uint64_t used;
};

struct hs_prefixes {
	struct hs_prefix list[HS_PREFIXES_MAX];
	uint64_t tick;
};

/* The sequence that holds most of the prompt's beginning, and how much; NULL: none holds HS_PREFIX_TOKENS_MIN of it. */
const struct hs_sequence *hs_prefixes_find(struct hs_prefixes *p, const void *tenant, const uint8_t key[static HS_PREFIX_KEY_LEN],
					   const struct hs_adapter *adapter, const hs_tok_id *ids, uint32_t n,
					   uint32_t *ret_count);

/*
 * Keep the first n positions of a sequence of m, which hold ids; older ones make place, the tenant's own first.
 * Nothing is kept of what is not worth it or is held already, or where there is no memory. tenant NULL: it holds no data.
 */
void hs_prefixes_keep(struct hs_prefixes *p, struct hs_model *m, const void *tenant, const uint8_t key[static HS_PREFIX_KEY_LEN],
		      const struct hs_sequence *from, const hs_tok_id *ids, uint32_t n);

void hs_prefixes_wipe(struct hs_prefixes *p, const void *tenant); /* all of a tenant's */
void hs_prefixes_finish(struct hs_prefixes *p);                   /* all */

#endif
