/*
 * Which device computes: what the configuration wishes, what the machine has, and why not the other. Whatever is wrong with
 * a GPU, its driver or the plug-in is one error that says so; the caller goes on with the CPU.
 */
#ifndef HISHO_INFERENCE_CUDA_LOAD_H
#define HISHO_INFERENCE_CUDA_LOAD_H

#include "base/err.h"
#include "inference/cuda/wish.h"

struct hs_cuda_plugin;

struct hs_gpu {
	const struct hs_cuda_plugin *plugin;
	unsigned index;
	struct hs_cuda_device device;
};

/* Where the plug-in of this build is installed. */
extern const char hs_cuda_plugin_path[];

/*
 * Is it worth opening a jail for? By file names only: the plug-in is there and, but for a wish that names a device, so is the
 * driver's node. err: why not.
 */
int hs_gpu_look(struct hs_device_wish wish, const char *plugin, struct hs_err *err) HS_MUST_CHECK;

/*
 * The device that is wished for, or 0 of `auto`. plugin: an absolute path. Fails with the one reason why the CPU computes:
 * gpu.not_wanted, .plugin_missing, .plugin_unsafe, .plugin_broken, .plugin_version, or what the plug-in's probe says.
 */
int hs_gpu_open(struct hs_device_wish wish, const char *plugin, struct hs_gpu *ret, struct hs_err *err) HS_MUST_CHECK;

#endif
