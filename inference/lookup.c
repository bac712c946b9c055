#include "inference/lookup.h"

#include <string.h>

#include "base/macros.h"

/* How many tokens before `at` equal those before n. */
static uint32_t same_before(const hs_tok_id *ids, size_t at, size_t n)
{
	uint32_t same = 0;
	while (same < HS_LOOKUP_SUFFIX_MAX && same < at && ids[at - 1 - same] == ids[n - 1 - same])
		same++;
	return same;
}

uint32_t hs_lookup_draft(const hs_tok_id *ids, size_t n, uint32_t most, hs_tok_id *draft)
{
	size_t best = 0;
	uint32_t longest = HS_LOOKUP_SUFFIX_MIN - 1;
	for (size_t at = n; at-- > HS_LOOKUP_SUFFIX_MIN && longest < HS_LOOKUP_SUFFIX_MAX;) {
		uint32_t same = same_before(ids, at, n);
		if (same > longest) {
			longest = same;
			best = at;
		}
	}
	if (best == 0)
		return 0;
	uint32_t count = (uint32_t)HS_MIN((size_t)most, n - best);
	memcpy(draft, ids + best, count * sizeof *draft);
	return count;
}
