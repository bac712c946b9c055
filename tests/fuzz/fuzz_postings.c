/* Postings segments: what decodes stays within bounds, encodes to something that decodes, and merges. */
#include <stdint.h>
#include <stdlib.h>

#include "retrieval/postings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hs_segment *s = NULL, *again = NULL, *merged = NULL;
	uint32_t ordinals = size > 0 ? data[0] * 64u : 0;
	struct hs_buf b = {0};

	if (size == 0 || hs_segment_decode(data + 1, size - 1, ordinals, &s, NULL) < 0)
		return 0;
	for (int i = 0; i < HS_FIELDS; i++) {
		const struct hs_field_postings *f = &s->field[i];

		for (uint32_t t = 0; t < f->n_terms; t++) {
			uint32_t first, end;

			if (!hs_field_find(f, f->terms + f->term_at[t], f->term_at[t + 1] - f->term_at[t], &first, &end) || first >= end)
				abort();
			for (uint32_t g = first; g < end; g++)
				for (uint32_t p = f->group_start[g]; p < f->group_start[g + 1]; p++)
					if (f->group_extent[g] * HS_EXTENT_ORDINALS + f->low[p] >= (ordinals + 255) / 256 * 256 || f->tf[p] == 0)
						abort();
		}
	}
	if (hs_segment_encode(s, &b) < 0 || hs_segment_decode(b.data, b.len, ordinals, &again, NULL) < 0)
		abort();
	if (hs_segment_merge((const struct hs_segment *const[]){s, again}, 2, NULL, 0, &merged) < 0)
		abort();
	for (int i = 0; i < HS_FIELDS; i++)
		if (merged->field[i].n_postings != s->field[i].n_postings || merged->field[i].n_terms != s->field[i].n_terms)
			abort();
	hs_buf_finish(&b);
	hs_segment_destroy(s);
	hs_segment_destroy(again);
	hs_segment_destroy(merged);
	return 0;
}
