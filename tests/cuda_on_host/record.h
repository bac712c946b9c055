/* Launches recorded and asked for again, as a graph of the GPU does: for the device of tests (inference/cuda/device.h). */
#ifndef HISHO_TESTS_CUDA_ON_HOST_RECORD_H
#define HISHO_TESTS_CUDA_ON_HOST_RECORD_H

#include "inference/cuda/device.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const struct hs_host_recorder hs_host_recorder;

/* Since the program began. */
struct hs_host_recorded {
	unsigned graphs, replays, alive; /* alive: graphs that nobody destroyed yet */
};
extern struct hs_host_recorded hs_host_recorded;

#ifdef __cplusplus
}
#endif

#endif
