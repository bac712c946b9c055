/*
 * The inner loops, one table a machine: `plain` (any), `avx2` (with FMA and F16C), `avx512` (with VNNI). Chosen once, at
 * run time. Results depend on the arguments only: not on the table, nor on how many tokens or rows went through one call.
 */
#ifndef HISHO_INFERENCE_KERNELS_H
#define HISHO_INFERENCE_KERNELS_H

#include "inference/cpu/packed.h"
#include "inference/model/arch.h"

/* Rows of floats have a stride that is a multiple of 32; what lies past a row's own length is finite. */
#define HS_ROUND16(n) (((size_t)(n) + 15) & ~(size_t)15)
#define HS_PAGE_POSITIONS 32u /* of keys and values, a multiple of 16 */
#define HS_ROUND32(n) (((size_t)(n) + 31) & ~(size_t)31)

/*
 * What a matrix is multiplied by: tokens as floats, and as bytes that share a scale, as ggml quantises them, so that products
 * agree with other engines' to the last bits. Weights in blocks of 32 take Q8_0's form (a scale of half precision every
 * 32 columns), K blocks take Q8_K's (a float every 256).
 */
enum hs_form { HS_FORM_FLOAT = 0, HS_FORM_32 = 1, HS_FORM_256 = 2 }; /* bits */

struct hs_acts {
	uint32_t columns;
	size_t stride;    /* a multiple of 32 */
	const float *x;   /* (tokens, stride) */
	unsigned forms;   /* what `quantise` fills */
	int8_t *q32;      /* (tokens, stride): x = d q */
	float *d32;       /* (tokens, stride / 32) */
	int16_t *sums32;  /* (tokens, stride / 32): of q */
	int8_t *q256;     /* (tokens, stride) */
	float *d256;      /* (tokens, stride / 256) */
	int16_t *sums16k; /* (tokens, stride / 16): of q256 */
	int16_t *sums32k; /* (tokens, stride / 32) */
};

/* The form that a weight type is multiplied with. */
enum hs_form hs_form_of(enum hs_tensor_type type);

/* Where a product goes: y (tokens, stride), or added to what is there. */
struct hs_product {
	const struct hs_packed *w;
	const struct hs_acts *a;
	float *y;
	size_t stride;
	bool add;
};

/*
 * Attention of a run of tokens with one key head. Of each page's keys, tiles of 16 positions, (tiles, head_dim, 16) halves;
 * of its values, (positions, HS_ROUND16(head_dim)) halves. Token t stands at position origin + t (modulo 2^32) and sees the
 * positions up to its own where causal, else the first `visible` ones; of these only the last `window` ones (its own among them)
 * where causal, or those at most window / 2 away; 0: no window.
 */
struct hs_attention {
	const float *q; /* (tokens, stride), this key head's first query head */
	float *out;     /* the same */
	size_t stride;
	uint32_t head_dim, group; /* query heads a key head */
	const uint8_t *const *pages; /* of HS_PAGE_POSITIONS positions each; in every page, from its beginning: */
	size_t keys, values;         /* bytes to those of this layer and head: of half precision or, where bytes, signed bytes */
	bool bytes;
	size_t key_scales, value_scales; /* then: bytes to (blocks of HS_BLOCK numbers of a row, positions) floats */
	uint32_t origin, visible, window;
	bool causal;
	float scale, cap;   /* a score is scale q.k, then cap tanh(score / cap) unless cap is 0 */
	const float *sinks; /* (group) scores of a position without a value, or NULL */
	float *scores;      /* HS_QUERY_BLOCK rows of scores_stride (a multiple of 16, at least the longest view) */
	size_t scores_stride;
};
#define HS_QUERY_BLOCK 8

struct hs_kernels {
	const char *name;
	void (*quantise)(struct hs_acts *a, uint32_t token);
	void (*multiply)(const struct hs_product *p, uint32_t panel, uint32_t panel_end, uint32_t token, uint32_t token_end);
	void (*attend)(const struct hs_attention *a, uint32_t token, uint32_t token_end);
	void (*normalise)(enum hs_norm kind, const float *x, const float *weight, const float *bias, float eps, size_t n,
			  float *y);
	/* up = act(gate) * up, or act(up) where gate is NULL; n a multiple of 16 */
	void (*activate)(enum hs_act act, const float *gate, float *up, size_t n);
	/* x = limit tanh(x / limit); n a multiple of 16 */
	void (*cap)(float *x, size_t n, float limit);
	/* turn the pairs of n_heads heads; cos and sin (head_dim / 2) */
	void (*rotate)(enum hs_rope kind, float *heads, uint32_t n_heads, uint32_t head_dim, const float *cos, const float *sin);
};

extern const struct hs_kernels hs_kernels_plain, hs_kernels_avx2, hs_kernels_avx512;

/* The best table for this machine. */
const struct hs_kernels *hs_kernels_choose(void);
/* The tables that this machine can run, best first; returns how many (at most 3). */
size_t hs_kernels_list(const struct hs_kernels *ret[static 3]);

#endif
