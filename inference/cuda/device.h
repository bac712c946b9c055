/*
 * The device that a plug-in computes on: memory, copies, one stream. device_cuda.c is CUDA's runtime; device_host.c is this
 * process's own memory, for kernels that are compiled for the host, so that whole models can be computed without a GPU.
 *
 * Everything of one struct hs_device happens in order on its stream, from whatever thread it is asked for. Functions that return
 * int give -ENOMEM, or -ENODEV: then the device is lost, for good, and everything after fails the same way at once.
 */
#ifndef HISHO_INFERENCE_CUDA_DEVICE_H
#define HISHO_INFERENCE_CUDA_DEVICE_H

#include <stdbool.h>

#include "base/err.h"
#include "inference/cuda/kernels.h"
#include "inference/cuda/wish.h"

struct hs_device;

/* As struct hs_cuda_plugin's probe. */
int hs_device_probe(unsigned index, struct hs_cuda_device *ret, struct hs_err *err) HS_MUST_CHECK;

int hs_device_open(unsigned index, struct hs_device **ret, struct hs_err *err) HS_MUST_CHECK;
void hs_device_close(struct hs_device *d); /* takes NULL; all memory of it was freed */

/* For launches. The calling thread's launches go to this device from here on: to its graph, where it records one. */
hs_gpu_stream hs_device_stream(struct hs_device *d);

/* What a launch returned, from 0 and -EINVAL (a shape that judge() should have refused) to -ENODEV. */
int hs_device_launched(struct hs_device *d, int rc);

bool hs_device_is_lost(const struct hs_device *d); /* from any thread */

uint64_t hs_device_memory_free(struct hs_device *d);
int hs_device_alloc(struct hs_device *d, uint64_t bytes, void **ret) HS_MUST_CHECK; /* zeroed; HS_GPU_ALIGNMENT */
void hs_device_free(struct hs_device *d, void *p, uint64_t bytes); /* wipes; waits for what still uses it; p may be NULL */

/* `from` may be written again when it returns. */
int hs_device_upload(struct hs_device *d, void *to, const void *from, uint64_t bytes);
/* Waits for all that was asked before. */
int hs_device_download(struct hs_device *d, void *to, const void *from, uint64_t bytes) HS_MUST_CHECK;
int hs_device_wait(struct hs_device *d) HS_MUST_CHECK;

/* rows pieces of `bytes`, each `pitch` after the one before (rows 1: pitch does not matter). Pieces do not overlap. */
int hs_device_copy(struct hs_device *d, void *to, const void *from, uint64_t bytes, uint64_t rows, uint64_t pitch);
int hs_device_zero(struct hs_device *d, void *p, uint64_t bytes, uint64_t rows, uint64_t pitch);

/*
 * A graph: launches with their arguments, recorded once and asked for together. From record to recorded the calling thread's
 * launches are not run but recorded, and it asks for nothing else of d; other threads' go on as ever. Where the device records
 * nothing (-ENOTSUP, also when it is over) or has no memory for it, *ret stays as it was, and the launches are made again.
 */
struct hs_device_graph;
int hs_device_record(struct hs_device *d) HS_MUST_CHECK;
int hs_device_recorded(struct hs_device *d, struct hs_device_graph **ret) HS_MUST_CHECK;
int hs_device_replay(struct hs_device *d, struct hs_device_graph *g) HS_MUST_CHECK;
void hs_device_graph_destroy(struct hs_device *d, struct hs_device_graph *g); /* takes NULL; d computes nothing of it */

/* Of device_host.c alone, for tests. */
struct hs_host_recorder { /* kernels that can be recorded are another's */
	hs_gpu_stream (*begin)(void);
	struct hs_device_graph *(*end)(hs_gpu_stream stream);
	int (*replay)(struct hs_device_graph *g);
	void (*destroy)(struct hs_device_graph *g);
};
struct hs_host_device {
	uint64_t memory;                         /* bytes that there are */
	int calls_left;                          /* until the device is lost; negative: never */
	const struct hs_host_recorder *recorder; /* NULL: nothing is recorded */
};
extern struct hs_host_device hs_host_device;

#endif
