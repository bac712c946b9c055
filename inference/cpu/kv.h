/*
 * The memory of keys and values: pages of HS_PAGE_POSITIONS positions of all layers, an arena a model, shared by its sequences. A
 * page belongs to one owner at a time and is wiped when the last sequence that holds it gives it back, before anyone may take
 * it. Sequences of one owner may hold a page together: then nobody writes to it.
 */
#ifndef HISHO_INFERENCE_KV_H
#define HISHO_INFERENCE_KV_H

#include "inference/cpu/kernels.h"
#include "inference/model/weights.h"

#define HS_KV_POSITIONS_MAX 81920u /* of all sequences: four answers and all kept prefixes of the daemon */
#define HS_KV_POSITIONS_MIN 2048u  /* with memory for fewer (or for less than the context) a model is refused */

/* Where things lie in a page: its heads one after the other, layer by layer. Bytes; q8: signed bytes with scales. */
struct hs_page_form {
	uint32_t n_layers, n_heads, head_dim, blocks; /* blocks: of HS_BLOCK numbers of a row */
	bool q8;
	size_t each;                             /* of a number */
	size_t values, key_scales, value_scales; /* of a head, from its beginning, where the keys are */
	size_t head, page;                       /* of one whole */
};

struct hs_page_form hs_page_form(const struct hs_hyper *h, uint32_t n_layers, bool q8);

static inline uint32_t hs_pages_for(uint32_t positions)
{
	return (positions + HS_PAGE_POSITIONS - 1) / HS_PAGE_POSITIONS;
}

struct hs_kv;

/* Memory is taken page by page, as it is written to. -ENOMEM with the arithmetic where too little is there. */
int hs_kv_create(const struct hs_page_form *form, uint32_t context, struct hs_kv **ret, struct hs_err *err) HS_MUST_CHECK;
void hs_kv_destroy(struct hs_kv *a); /* takes NULL; wipes */

const struct hs_page_form *hs_kv_form(const struct hs_kv *a);
uint32_t hs_kv_count(const struct hs_kv *a);

/* n pages that read zero: ret (n). -ENOMEM where so many are not there: then none is taken. From any thread, as all below. */
int hs_kv_take(struct hs_kv *a, uint32_t n, uint8_t **ret) HS_MUST_CHECK;
void hs_kv_own(struct hs_kv *a, uint8_t *const *pages, uint32_t n, uint64_t owner);
void hs_kv_give(struct hs_kv *a, uint8_t *const *pages, uint32_t n);

uint32_t hs_kv_used(struct hs_kv *a); /* a page that several hold is one */
uint32_t hs_kv_of(struct hs_kv *a, uint64_t owner);

/*
 * The first n positions of another sequence become those of one that is empty, whose pages `to` are: whole pages of the same
 * owner are held together, in place of its own, which it gives back; of others, and of a part of a page, it gets a copy.
 */
void hs_kv_copy(struct hs_kv *a, uint8_t **to, uint8_t *const *from, uint32_t n);

/*
 * Positions from .. to - 1 become zero. Pages there that others hold, too, are replaced first, by copies of what lies before
 * `from`; what such a page held behind `to` is gone. -ENOMEM where there are none: then something is left as it was.
 */
int hs_kv_wipe(struct hs_kv *a, uint8_t **pages, uint32_t from, uint32_t to) HS_MUST_CHECK;

/* One token's keys and values (n_heads * head_dim) of a layer to their place in a sequence's pages. */
void hs_page_store(const struct hs_page_form *f, uint8_t *const *pages, uint32_t layer, uint32_t position, const float *k,
		   const float *v);

#endif
