/*
 * A model on the GPU, and a run of tokens on its way through the layers: what the plug-in's files share. model.c brings the
 * weights there, work.c lays out the memory of a pass, pass.c runs the layers, graph.c those of a token at once, sequence.c and
 * encode.c bring tokens in and results out.
 *
 * All weights lie in one allocation, all of a pass's memory in another, keys and values in pages (pages.h): nothing is
 * allocated while it computes. One pass at a time; what is given up meanwhile, on whatever thread, waits for nothing.
 */
#ifndef HISHO_INFERENCE_CUDA_MODEL_H
#define HISHO_INFERENCE_CUDA_MODEL_H

#include <pthread.h>
#include <stdatomic.h>

#include "inference/cuda/pages.h"
#include "inference/cuda/plugin.h"

#define HS_GPU_TURN_TOKENS 512u    /* of a sequence that go through the layers together */
#define HS_GPU_ENCODE_TOKENS 4096u /* of texts, where no text may be longer */
#define HS_GPU_ENCODE_TEXTS 1024u
#define HS_GPU_POSITIONS_MAX 81920u   /* pages are not taken for more: four answers and all kept prefixes of the daemon */
#define HS_GPU_POSITIONS_MIN 2048u    /* with fewer a model does not fit */
#define HS_GPU_VIEWS_ALONE 8u         /* sequences that decode together */
#define HS_GPU_GRAPHS 16u             /* shapes of passes that are kept */
#define HS_GPU_GRAPH_POSITIONS 256u   /* of the first; then twice as many */
#define HS_GPU_RESERVE (256ull << 20) /* left to the driver, of which it takes some when kernels first run */

struct hs_gpu_vectors { /* on the device; NULL: none */
	const float *weight, *bias;
};

struct hs_gpu_layer {
	struct hs_gpu_matrix q, k, v, o, router, gate, up, down; /* data NULL: none; of experts, one expert's */
	struct hs_gpu_vectors attn_norm, attn_out_norm, ffn_norm, out_norm, attn_sub_norm, ffn_sub_norm, q_norm, k_norm;
	const float *sinks;
};

/* What goes up for a pass, as one copy: the same places here and there. Zero or more of each, laid out at the model's opening. */
struct hs_gpu_inputs {
	int32_t *ids;                      /* (capacity) */
	uint32_t *positions, *page_starts; /* (capacity) */
	struct hs_gpu_view *views;         /* (capacity) */
	uint32_t *starts;                  /* (texts + 1) */
	struct hs_gpu_wish *wishes;        /* (HS_LOGITS_MAX) */
	uint32_t *pages;                   /* (n_pages): all that a call's sequences hold */
	uint32_t *allowed;                 /* (HS_LOGITS_MAX, allowed_words): goes up alone, where there are masks */
};

struct hs_gpu_work {
	uint32_t capacity, texts, n_pages; /* tokens, texts and pages of a pass at most */
	uint32_t longest, allowed_words;   /* positions that a token sees at most; bits of the vocabulary */
	float *x, *normed, *sub;           /* (capacity, embd) */
	float *q, *k, *v, *attn;           /* (capacity, heads * head_dim), k and v (capacity, kv_heads * head_dim) */
	float *gate, *up;                  /* (capacity * experts used, ff) */
	float *router, *said;              /* (capacity, experts) (capacity * experts used, embd) */
	struct hs_gpu_routes routes;
	float *cosines[2], *sines[2];     /* (capacity, head_dim / 2) of layers that see far, and near */
	float *partial, *logits;          /* (HS_LOGITS_MAX, vocab) */
	struct hs_gpu_slice *slices;      /* (HS_LOGITS_MAX, slices of the vocabulary) */
	struct hs_gpu_chosen *chosen;     /* (HS_LOGITS_MAX) */
	float *pooled, *dense, *scores;   /* (texts, embd) twice, (texts, labels) */
	struct hs_gpu_acts acts;          /* the bytes of what is multiplied next; its x and stride are set by who uses it */
	struct hs_gpu_inputs there, here; /* on the device, and what will be */
	uint64_t inputs_bytes, bytes;
	uint8_t *inputs, *memory; /* the host's, the device's */
};

struct hs_gpu_graph { /* of passes of one shape; used 0: none */
	uint32_t n, n_views, most_tokens, longest;
	bool chooses;
	uint64_t used; /* when, in passes */
	struct hs_device_graph *graph;
};

struct hs_gpu_graphs {
	struct hs_gpu_graph list[HS_GPU_GRAPHS];
	uint64_t tick;
	bool off; /* the device records nothing */
};

struct hs_backend_model {
	const struct hs_weights *w;
	struct hs_device *device;
	uint8_t *weights;
	uint64_t weight_bytes;
	struct hs_gpu_layer *layers;
	struct hs_gpu_matrix embd, positions, types, head, cls, cls_out;
	struct hs_gpu_vectors embd_norm, final_norm, cls_norm;
	double *frequencies; /* (2, head_dim / 2), the device's */
	struct hs_pages *pages;
	struct hs_gpu_work work;
	struct hs_gpu_graphs graphs;
	pthread_mutex_t lock;   /* held by a pass */
	atomic_bool wants_wipe; /* of what the last pass left */
};

/* Places in one block of memory, first measured (base NULL), then given out; each HS_GPU_ALIGNMENT. */
struct hs_gpu_layout {
	uint8_t *base;
	uint64_t used;
};
static inline void *hs_gpu_place(struct hs_gpu_layout *l, uint64_t bytes)
{
	void *p = l->base ? l->base + l->used : NULL;
	l->used += (bytes + HS_GPU_ALIGNMENT - 1) / HS_GPU_ALIGNMENT * HS_GPU_ALIGNMENT;
	return p;
}

static inline uint32_t hs_gpu_stride(uint32_t n)
{
	return hs_gpu_round(n, 32);
}

static inline enum hs_gpu_cache_type hs_gpu_cache_of(const struct hs_weights *w)
{
	return w->kv_q8 ? HS_GPU_CACHE_Q8 : HS_GPU_CACHE_F16;
}

int hs_gpu_judge(const struct hs_weights *w, struct hs_err *err);
int hs_gpu_open_model(const struct hs_weights *w, const struct hs_cuda_options *o, struct hs_backend_model **ret,
		      struct hs_err *err);
void hs_gpu_close_model(struct hs_backend_model *m);

/* Lay out work for this many tokens, texts and pages; then take the memory. */
void hs_gpu_work_plan(struct hs_gpu_work *work, const struct hs_weights *w, uint32_t capacity, uint32_t texts, uint32_t n_pages,
		      uint32_t longest);
int hs_gpu_work_take(struct hs_gpu_work *work, const struct hs_weights *w, struct hs_device *d) HS_MUST_CHECK;
void hs_gpu_work_finish(struct hs_gpu_work *work, struct hs_device *d); /* wipes */

/* Begin and end what uses the work memory. wipe: of this pass nothing stays. */
void hs_gpu_enter(struct hs_backend_model *m);
void hs_gpu_leave(struct hs_backend_model *m, bool wipe);
/* Something that a pass may have left is to go: now, or when the pass that runs has ended. */
void hs_gpu_forget(struct hs_backend_model *m);

/* The first failure sticks, and nothing is launched after it. */
struct hs_gpu_pass {
	struct hs_backend_model *m;
	struct hs_yield *y;
	uint32_t n, n_views, longest, most_tokens, n_texts, n_pages, n_masks; /* of what `here` holds */
	bool one_layer;                                                       /* of the pages: every layer uses them anew */
	bool chooses;                                                         /* the tokens that come next */
	int rc;
};
#define HS_GPU_LAUNCH(p, call) ((p)->rc = (p)->rc < 0 ? (p)->rc : hs_device_launched((p)->m->device, call))

void hs_gpu_pass_upload(struct hs_gpu_pass *p); /* the inputs */
void hs_gpu_pass_begin(struct hs_gpu_pass *p);  /* embeddings */
void hs_gpu_pass_layers(struct hs_gpu_pass *p); /* -ECANCELED where y says stop */
/* launches(p), which launches and nothing else, of inputs that are up; from a graph where passes of this shape have been. */
void hs_gpu_pass_replay(struct hs_gpu_pass *p, void (*launches)(struct hs_gpu_pass *p));
void hs_gpu_graphs_finish(struct hs_backend_model *m);
/* out = norm(in) for `rows` rows; out.x, out.q as hs_gpu_normalise takes them. Copies or quantises where norm has no weights. */
void hs_gpu_pass_norm(struct hs_gpu_pass *p, const struct hs_gpu_vectors *norm, const float *in, uint32_t rows,
		      const struct hs_gpu_acts *out);
/* What m is multiplied by: x itself, and its bytes where m's type wants them. */
struct hs_gpu_acts hs_gpu_pass_acts(struct hs_gpu_pass *p, float *x, uint32_t columns, bool bytes);
static inline bool hs_gpu_wants_bytes(const struct hs_gpu_matrix *m)
{
	return m->data && m->type != HS_GPU_F16 && m->type != HS_GPU_BF16 && m->type != HS_GPU_F32;
}

int hs_gpu_sequence_create(struct hs_backend_model *m, uint32_t max_tokens, struct hs_backend_sequence **ret);
void hs_gpu_sequence_destroy(struct hs_backend_sequence *s);
void hs_gpu_sequence_own(struct hs_backend_sequence *s, uint64_t owner);
void hs_gpu_sequence_wipe(struct hs_backend_sequence *s, uint32_t from, uint32_t to);
void hs_gpu_sequence_copy(struct hs_backend_sequence *s, const struct hs_backend_sequence *from, uint32_t n);
int hs_gpu_forward(struct hs_backend_step *steps, uint32_t n_steps, struct hs_yield *y);
int hs_gpu_encode(struct hs_backend_model *m, const int32_t *ids, const uint32_t *starts, uint32_t n_texts, struct hs_yield *y,
		  float *out);

#endif
