/*
 * The plug-in that computes on a GPU, and how the engine meets it: one symbol, one table. The table begins with a number
 * that never moves, then with the sizes of every structure that crosses the border, so that a plug-in of another build is refused
 * before anything else of it is read. Nothing of CUDA appears here; programs link no part of it.
 *
 * A plug-in is loaded once a process and never unloaded: its hints and tables live as long.
 */
#ifndef HISHO_INFERENCE_CUDA_PLUGIN_H
#define HISHO_INFERENCE_CUDA_PLUGIN_H

#include "base/err.h"
#include "inference/cuda/wish.h"
#include "inference/model/backend.h"

#define HS_CUDA_ABI 2u
#define HS_CUDA_SYMBOL "hs_cuda_plugin"

struct hs_cuda_options {
	unsigned device;
	uint64_t memory_max; /* bytes that the model and its pages may take; 0: what is free, but for a reserve */
	/* Bytes of the file that are on the device, of how many. May be NULL. */
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};

/* What a model takes on its device. Owners: see hs_backend's own. */
struct hs_cuda_usage {
	uint64_t weight_bytes, work_bytes, page_bytes; /* page_bytes: of one page */
	uint32_t n_pages, n_used, page_tokens;
	bool lost;
};

struct hs_cuda_sizes {
	uint32_t plugin, device, options, usage, backend, step, choice, yield, weights, layer, hyper, arch, tensor, err;
};

#define HS_CUDA_SIZES                                                                                                            \
	((struct hs_cuda_sizes){                                                                                                 \
	    .plugin = sizeof(struct hs_cuda_plugin),                                                                             \
	    .device = sizeof(struct hs_cuda_device),                                                                             \
	    .options = sizeof(struct hs_cuda_options),                                                                           \
	    .usage = sizeof(struct hs_cuda_usage),                                                                               \
	    .backend = sizeof(struct hs_backend),                                                                                \
	    .step = sizeof(struct hs_backend_step),                                                                              \
	    .choice = sizeof(struct hs_choice),                                                                                  \
	    .yield = sizeof(struct hs_yield),                                                                                    \
	    .weights = sizeof(struct hs_weights),                                                                                \
	    .layer = sizeof(struct hs_layer),                                                                                    \
	    .hyper = sizeof(struct hs_hyper),                                                                                    \
	    .arch = sizeof(struct hs_arch),                                                                                      \
	    .tensor = sizeof(struct hs_gguf_tensor),                                                                             \
	    .err = sizeof(struct hs_err),                                                                                        \
	})

struct hs_cuda_plugin {
	uint32_t abi; /* HS_CUDA_ABI; first in every version */
	struct hs_cuda_sizes sizes;
	char version[24]; /* HS_VERSION */
	/* Is the device there, may we use it, do driver and architecture fit? -ENODEV, -EACCES or -ENOTSUP with the reason. */
	int (*probe)(unsigned device, struct hs_cuda_device *ret, struct hs_err *err);
	/* Do its kernels compute this model? -ENOTSUP with what they lack. Asks no device. */
	int (*judge)(const struct hs_weights *w, struct hs_err *err);
	/* As hs_backend's open, which the table below leaves out. -ENOMEM with the arithmetic where the model does not fit. */
	int (*open)(const struct hs_weights *w, const struct hs_cuda_options *o, struct hs_backend_model **ret,
		    struct hs_err *err);
	void (*usage)(struct hs_backend_model *m, struct hs_cuda_usage *ret); /* from any thread */
	uint32_t (*pages_of)(struct hs_backend_model *m, uint64_t owner);     /* from any thread */
	/* Bytes a second, read and written, of a large copy within the device's memory: what the bench calls its limit. */
	int (*bandwidth)(unsigned device, double *ret);
	/* Operations a second of products on registers, of bfloat16 or of bytes: the other limit. */
	int (*products)(unsigned device, bool bytes, double *ret);
	/* Its functions return -ENODEV once the device is lost, for good. */
	const struct hs_backend *backend;
};

typedef const struct hs_cuda_plugin *(*hs_cuda_plugin_fn)(void);

#endif
