/*
 * The memory of keys and values: pages of HS_GPU_PAGE_POSITIONS positions of all layers, taken once when the model is opened
 * and shared by its sequences. A page belongs to one owner at a time and is zeroed on the way from one to the next: it is wiped
 * when the last sequence that holds it gives it back, and one whose wiping failed is not given out again. Sequences of one owner
 * may hold a page together: then nobody writes to it.
 */
#ifndef HISHO_INFERENCE_CUDA_PAGES_H
#define HISHO_INFERENCE_CUDA_PAGES_H

#include "inference/cuda/device.h"

struct hs_pages;

/* n_heads: of all layers, keys and values alike (layout.h). */
int hs_pages_create(struct hs_device *d, enum hs_gpu_cache_type type, uint32_t head_dim, uint32_t n_heads, uint32_t n,
		    struct hs_pages **ret) HS_MUST_CHECK;
void hs_pages_destroy(struct hs_pages *p); /* takes NULL; wipes */

uint8_t *hs_pages_pool(const struct hs_pages *p); /* page i is at i * hs_pages_bytes */
uint64_t hs_pages_bytes(const struct hs_pages *p);
uint32_t hs_pages_count(const struct hs_pages *p);

/* n pages that read zero: ret (n). -ENOMEM where so many are not there: then none is taken. From any thread, as all below. */
int hs_pages_take(struct hs_pages *p, uint32_t n, uint32_t *ret) HS_MUST_CHECK;
void hs_pages_own(struct hs_pages *p, const uint32_t *pages, uint32_t n, uint64_t owner);
void hs_pages_give(struct hs_pages *p, const uint32_t *pages, uint32_t n);

uint32_t hs_pages_used(struct hs_pages *p); /* a page that several hold is one */
uint32_t hs_pages_of(struct hs_pages *p, uint64_t owner);

/* Positions from .. to - 1 of a sequence whose pages these are, and nobody else's there, become zero. */
int hs_pages_wipe(struct hs_pages *p, const uint32_t *pages, uint32_t from, uint32_t to);

/*
 * The first n positions of another sequence become those of one that is empty, whose pages `to` are: whole pages of the same
 * owner are held together, in place of its own, which it gives back; of others, and of a part of a page, it gets a copy.
 */
int hs_pages_copy(struct hs_pages *p, uint32_t *to, const uint32_t *from, uint32_t n);

/*
 * Before positions from .. to - 1 are wiped: pages there that others hold, too, are replaced by copies of what lies before them.
 * What such a page held behind `to` is gone. -ENOMEM where there are none.
 */
int hs_pages_part(struct hs_pages *p, uint32_t *pages, uint32_t from, uint32_t to) HS_MUST_CHECK;

#endif
