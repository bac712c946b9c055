#include "inference/cuda/load.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "inference/cuda/plugin.h"

#define DRIVER_NODE "/dev/nvidiactl"

const char hs_cuda_plugin_path[] = HS_PLUGIN_DIR "/hisho-cuda.so";

/* The file is code that we are about to run: it must not be one that others may write. */
static int check_file(const char *path, struct hs_err *err)
{
	struct stat st;
	if (path[0] != '/')
		return hs_fail(err, EINVAL, "gpu.plugin_unsafe", HS_N_("the CUDA plug-in must be named by an absolute path"),
			       "%s", path);
	if (stat(path, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR
			   ? hs_fail(err, ENOENT, "gpu.plugin_missing", HS_N_("the CUDA plug-in is not installed"), "%s", path)
			   : hs_fail_errno(err, -errno, "gpu.plugin_missing", path);
	if (!S_ISREG(st.st_mode) || (st.st_mode & (S_IWGRP | S_IWOTH)) || (st.st_uid != 0 && st.st_uid != geteuid()))
		return hs_fail(err, EPERM, "gpu.plugin_unsafe",
			       HS_N_("the CUDA plug-in must be a file that only root, or the user who runs it, may write"), "%s",
			       path);
	return 0;
}

int hs_gpu_look(struct hs_device_wish wish, const char *plugin, struct hs_err *err)
{
	if (wish.kind == HS_DEVICE_CPU)
		return hs_fail(err, ECANCELED, "gpu.not_wanted", HS_N_("the configuration says so"), "device: cpu");
	int rc = check_file(plugin, err);
	if (rc == 0 && wish.kind == HS_DEVICE_AUTO && access(DRIVER_NODE, F_OK) < 0)
		rc =
		    hs_fail(err, ENODEV, "gpu.no_driver", HS_N_("no NVIDIA driver is loaded on this machine"), "%s", DRIVER_NODE);
	return rc;
}

static bool same_build(const struct hs_cuda_plugin *p)
{
	const struct hs_cuda_sizes ours = HS_CUDA_SIZES;
	return p->abi == HS_CUDA_ABI && memcmp(&p->sizes, &ours, sizeof ours) == 0 &&
	       strncmp(p->version, HS_VERSION, sizeof p->version) == 0;
}

static int load(const char *path, const struct hs_cuda_plugin **ret, struct hs_err *err)
{
	int rc = check_file(path, err);
	if (rc < 0)
		return rc;
	void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!lib) {
		const char *why = dlerror();
		return hs_fail(err, ENOEXEC, "gpu.plugin_broken", HS_N_("the CUDA plug-in cannot be loaded"), "%s",
			       why ? why : path);
	}
	hs_cuda_plugin_fn get;
	*(void **)&get = dlsym(lib, HS_CUDA_SYMBOL); /* as POSIX says it is done */
	const struct hs_cuda_plugin *p = get ? get() : NULL;
	if (p && same_build(p)) {
		*ret = p; /* its handle is kept as long as the process */
		return 0;
	}
	if (!p)
		rc = hs_fail(err, ENOEXEC, "gpu.plugin_broken", HS_N_("this file is no plug-in of Hisho"), "%s", path);
	else if (p->abi != HS_CUDA_ABI)
		rc = hs_fail(err, ENOEXEC, "gpu.plugin_version", HS_N_("the CUDA plug-in is of another version of Hisho"),
			     "interface %u, not %u", p->abi, HS_CUDA_ABI);
	else
		rc = hs_fail(err, ENOEXEC, "gpu.plugin_version", HS_N_("the CUDA plug-in is of another version of Hisho"), "%s",
			     path);
	(void)dlclose(lib); /* it stays mapped, and unused */
	return rc;
}

int hs_gpu_open(struct hs_device_wish wish, const char *plugin, struct hs_gpu *ret, struct hs_err *err)
{
	struct hs_gpu gpu = {.index = wish.kind == HS_DEVICE_CUDA ? wish.index : 0};
	int rc = hs_gpu_look(wish, plugin, err);
	if (rc == 0)
		rc = load(plugin, &gpu.plugin, err);
	if (rc == 0)
		rc = gpu.plugin->probe(gpu.index, &gpu.device, err);
	if (rc == 0) {
		gpu.device.name[sizeof gpu.device.name - 1] = '\0';
		*ret = gpu;
	}
	return rc;
}
