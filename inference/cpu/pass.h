/*
 * A run of tokens on its way through the layers: what the cpu backend's files share. pass.c lays out the memory, kv.c and page.c
 * hold keys and values, forward.c computes the layers, sequence.c and encode.c bring tokens in and results out.
 */
#ifndef HISHO_INFERENCE_PASS_H
#define HISHO_INFERENCE_PASS_H

#include "inference/cpu/kv.h"
#include "inference/cpu/cpu.h"

#define ATTEND_TOKENS 8 /* of a view */

/* Where a text's keys and values are. */
struct hs_cache {
	const struct hs_page_form *form;
	uint8_t **pages;
};

/* A few tokens of one text, and what they see. */
struct view {
	const struct hs_cache *cache;
	uint32_t token, end;
	uint32_t first_page;      /* of the text in the cache */
	uint32_t origin, visible; /* as in struct hs_attention */
};

/* A product of tokens [first, first + tokens), cut to chunks: token blocks outside, panels inside. */
struct entry {
	struct hs_product product;
	struct hs_packed part; /* of a matrix that holds all experts; what product.w then is */
	uint32_t first, tokens, n_panels_a_chunk, n_chunks;
};

/* Tokens [first, end) of a sequence that has an adapter. */
struct adapted {
	const struct hs_backend_adapter *adapter;
	uint32_t first, end;
};
#define HS_ADAPTED_MAX 8u  /* of a pass: one a sequence */
#define HS_TOGETHER_MAX 3u /* products that read the same input: queries, keys, values */

/* A token that goes through an expert. */
struct visit {
	uint32_t token, expert;
	float weight;
};

struct pass {
	const struct hs_backend_model *m;
	struct hs_yield *y;
	uint32_t n, capacity; /* tokens now, and at most */
	const struct hs_cpu_layer *layer;
	const struct hs_layer *layer_weights;
	uint32_t layer_index;     /* in the cache */
	uint32_t *positions;      /* (capacity) of each token in its cache */
	const struct hs_cache **caches; /* (capacity) */
	struct view *views;       /* (capacity) */
	uint32_t n_views;
	float *x, *normed;       /* (capacity, embd) */
	float *q, *k, *v, *attn; /* (capacity, heads * head_dim), k and v (capacity, kv_heads * head_dim) */
	float *gate, *up;        /* (capacity * experts used, ff) */
	float *router;           /* (capacity, experts) */
	float *visited, *said;   /* (capacity * experts used, embd) what goes into experts, and what comes out */
	float *pooled, *dense;   /* (embd) of one text */
	struct visit *visits;    /* (capacity * experts used) by expert, then token */
	uint32_t *rows;          /* (capacity, experts used) a token's places in visits, best expert first */
	float *shares;           /* (the same) */
	struct entry *entries;   /* the products of one job */
	uint32_t n_entries;
	float *cosines, *sines; /* (2, capacity, head_dim / 2) of layers that see far and near */
	float *scores;          /* (threads, HS_QUERY_BLOCK, scores_stride) */
	size_t scores_stride;
	struct hs_acts acts;                /* the bytes of what is multiplied next */
	struct adapted adapted[HS_ADAPTED_MAX];
	uint32_t n_adapted;
	float *low; /* (HS_TOGETHER_MAX, capacity, HS_LORA_RANK_MAX) A x of adapters */
	struct hs_acts lows[HS_ADAPTED_MAX * HS_TOGETHER_MAX]; /* as what is multiplied next */
	const struct hs_norm_weights *norm; /* of the step that runs */
	const float *norm_x;
	uint32_t step_rows; /* of a step over visits */
	size_t memory_bytes;
	uint8_t *memory; /* all of the above */
};

static inline size_t embd_stride(const struct hs_hyper *h)
{
	return HS_ROUND32(h->n_embd);
}

static inline size_t query_stride(const struct hs_hyper *h)
{
	return HS_ROUND32((size_t)h->n_heads * h->head_dim);
}

static inline size_t kv_stride(const struct hs_hyper *h)
{
	return HS_ROUND32((size_t)h->n_kv_heads * h->head_dim);
}

static inline const float *floats_of(const struct hs_gguf_tensor *t)
{
	return t ? (const float *)(const void *)t->data : NULL; /* GGUF aligns data to 8 at least */
}

/* Rows of the feed-forward part for n tokens. */
static inline size_t visits_of(const struct hs_hyper *h, size_t n)
{
	return n * HS_MAX(h->n_experts_used, 1u);
}

/* Memory for at most `capacity` tokens at a time that see at most `longest` positions. -ENOMEM; then finish is harmless. */
int hs_pass_init(struct pass *p, const struct hs_backend_model *m, uint32_t capacity, uint32_t longest) HS_MUST_CHECK;
void hs_pass_finish(struct pass *p); /* wipes */

/* x = the embeddings of p->n ids; in_text: the position of each within its text. */
void hs_pass_embed(struct pass *p, const int32_t *ids, const uint32_t *in_text);

/* Everything between the embeddings and the end of the last layer; layer i uses place i (or 0) of the cache. False: stop. */
bool hs_pass_layers(struct pass *p, bool cache_all) HS_MUST_CHECK;

/* x = norm(x); true at once where norm has no weights. False: stop. */
bool hs_pass_norm(struct pass *p, const struct hs_norm_weights *norm) HS_MUST_CHECK;

/* y (n, stride) = W x of n rows of x (n, columns rounded up to 32). False: stop. */
bool hs_pass_multiply(struct pass *p, const struct hs_packed *w, const float *x, uint32_t n, float *y,
		      size_t stride) HS_MUST_CHECK;

#endif
