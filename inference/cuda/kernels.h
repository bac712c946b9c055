/*
 * The kernels of the CUDA backend, one launch function each, callable from C. All pointers that kernels read or write are
 * the device's, aligned to HS_GPU_ALIGNMENT; the structs themselves are the host's and read before the call returns. Launches
 * are asynchronous on `stream` (a cudaStream_t; NULL: the default one) and may be captured into a graph: no launch function
 * allocates, copies or waits.
 *
 * Rows of floats have a stride in floats that is a multiple of 32; what lies between a row's length and its length rounded up to
 * 32 is zero where a matrix is multiplied by it, and the kernels here keep it so.
 *
 * Every result depends on its own row only: not on how many tokens go through one call, nor on what the others are. Sums have
 * one fixed order. No kernel uses floating-point atomics.
 *
 * Launch functions return 0, -EINVAL where a shape is none that the kernels take, or -EIO where CUDA refused the launch.
 * tests/cuda_on_host compiles the same sources for the host, where memory is the process's own and launches run when they are
 * called, or are recorded where `stream` is a graph's.
 */
#ifndef HISHO_INFERENCE_CUDA_KERNELS_H
#define HISHO_INFERENCE_CUDA_KERNELS_H

#include "inference/cuda/layout.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef void *hs_gpu_stream;

#define HS_GPU_HEAD_DIM_MAX 256u
#define HS_GPU_GROUP_MAX 16u /* query heads a key head, where more than one */
#define HS_GPU_EXPERTS_MAX 512u
#define HS_GPU_EXPERTS_USED_MAX 16u
#define HS_GPU_CANDIDATES 1024u /* that sampling looks at, as hs_sample does */
#define HS_GPU_COLUMNS_MAX (1u << 19)
#define HS_GPU_TOKENS_MAX 65535u
#define HS_GPU_VOCAB_MAX (1u << 21)

/* Values equal those of enum hs_norm, hs_act, hs_rope, hs_pooling (inference/model/arch.h), with a few of their own. */
enum hs_gpu_norm { HS_GPU_NORM_RMS, HS_GPU_NORM_LAYER, HS_GPU_NORM_NONE };
enum hs_gpu_act {
	HS_GPU_ACT_SILU,
	HS_GPU_ACT_GELU,
	HS_GPU_ACT_GELU_TANH,
	HS_GPU_ACT_SWIGLU_CLAMPED,
	HS_GPU_ACT_TANH,
	HS_GPU_ACT_NONE
};
enum hs_gpu_rope { HS_GPU_ROPE_NONE, HS_GPU_ROPE_HALF, HS_GPU_ROPE_INTERLEAVED };
enum hs_gpu_pooling { HS_GPU_POOL_NONE, HS_GPU_POOL_MEAN, HS_GPU_POOL_FIRST, HS_GPU_POOL_LAST };

struct hs_gpu_matrix {
	enum hs_gpu_type type;
	uint32_t rows, columns;
	const void *data;  /* tiles as layout.h says */
	const float *bias; /* (rows) or NULL */
};

/*
 * What matrices are multiplied by: floats for F16, BF16 and F32, and bytes that share a scale every 32 columns for the others.
 * A pointer may be NULL where no matrix wants what it points to.
 */
struct hs_gpu_acts {
	uint32_t stride; /* of x and q; a multiple of 32 */
	float *x;        /* (rows, stride) */
	int8_t *q;       /* (rows, stride): x = scale q */
	float *scale;    /* (rows, stride / 32) */
	float *sum;      /* (rows, stride / 32): scale times the sum of q */
};

/* x (tokens, stride) = scale * row ids[t] of m, plus row positions[t] of `learned`, plus row 0 of `types`; NULL: none. */
int hs_gpu_embed(hs_gpu_stream stream, const struct hs_gpu_matrix *m, const int32_t *ids, uint32_t tokens, float scale,
		 const struct hs_gpu_matrix *learned, const uint32_t *positions, const struct hs_gpu_matrix *types, float *x,
		 uint32_t stride);

/*
 * out = norm(in) * weight + bias, where out.x and out.q may each be NULL. Heads of a token are rows of their own: row i lies at
 * in + i / heads * stride + i % heads * n, and so in out. Where `residual` is set, out.x = residual + that, of the same places.
 * in, out.x and residual may be the same. NONE copies or quantises. Bytes are given for heads == 1 only.
 */
struct hs_gpu_norm_job {
	enum hs_gpu_norm kind;
	const float *in;
	uint32_t stride, rows, heads, n; /* rows counts heads; n: of one row */
	const float *weight, *bias;      /* (n), or (heads, n) where weight_per_head; NULL: none */
	int weight_per_head;
	float eps;
	const float *residual;
	struct hs_gpu_acts out;
};
int hs_gpu_normalise(hs_gpu_stream stream, const struct hs_gpu_norm_job *job);

/* out = act(gate) * up, or act(up) where gate is NULL; gate, up (rows, stride), of which n columns are. out.x may be up. */
int hs_gpu_activate(hs_gpu_stream stream, enum hs_gpu_act act, const float *gate, const float *up, uint32_t stride, uint32_t rows,
		    uint32_t n, const struct hs_gpu_acts *out);

/* x += y, rows of n floats. */
int hs_gpu_add(hs_gpu_stream stream, float *x, const float *y, uint32_t stride, uint32_t rows, uint32_t n);

/* x = cap tanh(scale x / cap), or scale x where cap is 0. */
int hs_gpu_scale(hs_gpu_stream stream, float *x, uint32_t stride, uint32_t rows, uint32_t n, float scale, float cap);

/* y (tokens, y_stride) = W a + bias, or y + that where `add`. Columns from m->rows to the next multiple of 32 become zero (not
 * with add). */
int hs_gpu_multiply(hs_gpu_stream stream, const struct hs_gpu_matrix *m, const struct hs_gpu_acts *a, uint32_t tokens, float *y,
		    uint32_t y_stride, int add);

/*
 * Experts. hs_gpu_route chooses from router scores (tokens, stride) the `used` best experts of each token (equal ones by number),
 * shares being the softmax over these, and sorts the visits by expert, then token: visit v is visits[v] = its token, expert e's
 * visits are starts[e] .. starts[e + 1], and rows (tokens, used) tells where each token's visits are, best first.
 */
struct hs_gpu_routes {
	uint32_t tokens, experts, used;
	uint32_t *visits; /* (tokens * used) */
	uint32_t *starts; /* (experts + 1) */
	uint32_t *rows;   /* (tokens, used) */
	float *shares;    /* (tokens, used) */
};
int hs_gpu_route(hs_gpu_stream stream, const float *scores, uint32_t stride, const struct hs_gpu_routes *routes);

/*
 * Visit v's row of y = its expert's W a + bias, where a's row is that of its token (by_token) or v. m is one expert's matrix;
 * expert e's lies hs_gpu_matrix_bytes and m->rows biases further for each before it.
 */
int hs_gpu_multiply_experts(hs_gpu_stream stream, const struct hs_gpu_matrix *m, const struct hs_gpu_acts *a,
			    const struct hs_gpu_routes *routes, int by_token, float *y, uint32_t y_stride);

/* x (tokens, stride) += the sum of shares * said (visits, said_stride), best expert first. */
int hs_gpu_gather_experts(hs_gpu_stream stream, const struct hs_gpu_routes *routes, const float *said, uint32_t said_stride,
			  float *x, uint32_t stride, uint32_t n);

/* cosines, sines (tokens, pairs): gain * cos and sin of positions[t] * frequencies[i], computed in double. */
int hs_gpu_turn(hs_gpu_stream stream, const double *frequencies, uint32_t pairs, double gain, const uint32_t *positions,
		uint32_t tokens, float *cosines, float *sines);

/* Turn the pairs of `heads` heads of each token: x (tokens, stride). head_dim is even. */
int hs_gpu_rotate(hs_gpu_stream stream, enum hs_gpu_rope kind, float *x, uint32_t stride, uint32_t tokens, uint32_t heads,
		  uint32_t head_dim, const float *cosines, const float *sines);

/* A layer's part of the pages: page p's begins at pool + p * page_bytes + layer_at. */
struct hs_gpu_cache {
	enum hs_gpu_cache_type type;
	uint32_t n_kv_heads, head_dim;
	uint8_t *pool;
	uint64_t page_bytes, layer_at; /* layer_at: layer * hs_gpu_page_bytes(.., 1) */
};

/* Keys and values k, v (tokens, stride) to position positions[t] of the sequence whose pages are pages + page_starts[t]. */
int hs_gpu_store(hs_gpu_stream stream, const struct hs_gpu_cache *c, const float *k, const float *v, uint32_t stride,
		 uint32_t tokens, const uint32_t *positions, const uint32_t *pages, const uint32_t *page_starts);

/*
 * Attention. A view is up to HS_GPU_VIEW_TOKENS consecutive tokens of one text. Its token i stands at position origin + i and
 * sees the positions up to its own where causal, else the first `visible` ones; of these only the last `window` ones (its own
 * among them) where causal, or those at most window / 2 away; 0: no window. A score is scale q.k, then cap tanh(score / cap)
 * unless cap is 0. sinks: (heads) scores that take weight and give no value, or NULL.
 *
 * The positions are taken by 64 from position 0 on, each 64 with a maximum of its own, and joined in ascending order: so a
 * token's result is the same whether it is computed alone (the positions spread over the machine, joined from `partial`) or
 * among others.
 */
#define HS_GPU_VIEW_TOKENS 64u
#define HS_GPU_SPLIT 64u
struct hs_gpu_view {
	uint32_t token, n; /* its first row in q, and how many */
	uint32_t origin, visible;
	uint32_t first_page; /* in pages: the page of position 0 */
};
struct hs_gpu_attention {
	struct hs_gpu_cache cache;
	const float *q; /* (tokens, stride) */
	float *out;     /* the same; the floats that pad a row become zero */
	uint32_t stride, n_heads;
	const struct hs_gpu_view *views; /* (n_views) */
	uint32_t n_views, longest;       /* longest: the most positions that a token sees, counted from 0 */
	uint32_t most_tokens;            /* of a view; where 1, positions are spread over the machine */
	const uint32_t *pages;
	uint32_t window;
	int causal;
	float scale, cap;
	const float *sinks;
	float *partial; /* hs_gpu_partial_floats, where most_tokens is 1 */
};
uint64_t hs_gpu_partial_floats(const struct hs_gpu_attention *a);
int hs_gpu_attend(hs_gpu_stream stream, const struct hs_gpu_attention *a);

/* Zero n_pages pages. */
int hs_gpu_wipe(hs_gpu_stream stream, uint8_t *pool, uint64_t page_bytes, const uint32_t *pages, uint32_t n_pages);

/*
 * One id a row of logits (rows, stride), as hs_sample (inference/sample.h) chooses it, and its hs_logprob. What the rows wish
 * lies on the device, so that a graph's next replay may wish something else. A row's mask is a row of `allowed`, a bit an id;
 * where it leaves none, or no logit is a number, the id is -1.
 */
#define HS_GPU_NO_MASK 0xffffffffu
struct hs_gpu_wish {
	float temperature, top_p; /* temperature 0: greedy */
	uint32_t top_k, mask;
	uint64_t state; /* of the sampler, before it draws */
};
struct hs_gpu_chosen {
	int32_t id;
	float logprob;
};
struct hs_gpu_slice { /* what a part of the vocabulary is */
	uint64_t best;
	double sum;
	float top;
};
#define HS_GPU_SLICE 4096u
struct hs_gpu_sampling {
	const float *logits;
	uint32_t stride, rows, n_vocab;
	const struct hs_gpu_wish *wishes; /* (rows) */
	const uint32_t *allowed;          /* (masks, allowed_stride words); NULL: no row has a mask */
	uint32_t allowed_stride;
	struct hs_gpu_slice *slices;  /* (rows, n_vocab / HS_GPU_SLICE rounded up), to work in */
	struct hs_gpu_chosen *chosen; /* (rows) */
};
int hs_gpu_sample(hs_gpu_stream stream, const struct hs_gpu_sampling *s);

/* out (texts, n) from rows starts[i] .. starts[i + 1] of x: their mean, first or last; of length one where `unit`. */
int hs_gpu_pool(hs_gpu_stream stream, enum hs_gpu_pooling kind, const float *x, uint32_t stride, const uint32_t *starts,
		uint32_t texts, uint32_t n, int unit, float *out, uint32_t out_stride);

/*
 * Products of 16-bit numbers (bfloat16) or of bytes on registers alone, as fast as they go; out (blocks, HS_GPU_RATE_THREADS):
 * what ones times ones sum up to. rounds: at most 65536. How many multiplications and additions that is.
 */
#define HS_GPU_RATE_THREADS 256u
int hs_gpu_rate(hs_gpu_stream stream, int bytes, uint32_t blocks, uint32_t rounds, uint32_t *out);
uint64_t hs_gpu_rate_operations(int bytes, uint32_t blocks, uint32_t rounds);

#ifdef __cplusplus
}
#endif

#endif
