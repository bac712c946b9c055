/*
 * The device by CUDA's runtime, linked statically. Its first call opens libcuda.so.1, which is the driver's.
 *
 * An error of the runtime that is not for want of memory is sticky: the context is gone, and only another process gets a
 * new one. So the first of them loses the device.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cuda_runtime_api.h>

#include "inference/cuda/device.h"

struct hs_device {
	unsigned index;
	cudaStream_t stream, recorder; /* recorder: nothing ever runs on it */
	atomic_bool lost;
};

/* The device whose graph this thread records. Another thread's wiping of a page must not become a part of it. */
static _Thread_local const struct hs_device *recording;

#define CONTROL_NODE "/dev/nvidiactl"

/* The nodes first: for the runtime, one that is missing and one that may not be opened are much the same. */
static int check_nodes(struct hs_err *err)
{
	static const char *const nodes[] = {CONTROL_NODE, "/dev/nvidia-uvm"};
	for (size_t i = 0; i < HS_ARRAY_LEN(nodes); i++) {
		int fd = open(nodes[i], O_RDWR | O_CLOEXEC);
		if (fd >= 0) {
			(void)close(fd); /* it was only a question */
			continue;
		}
		if (errno == EACCES || errno == EPERM)
			return hs_fail(
			    err, EACCES, "gpu.no_permission",
			    HS_N_("this process may not open the GPU's device node: see its group, and DeviceAllow of the unit"),
			    "%s", nodes[i]);
		if (i == 0) /* the other one may be made by the runtime */
			return hs_fail(err, ENODEV, "gpu.no_driver", HS_N_("no NVIDIA driver is loaded on this machine"), "%s",
				       nodes[i]);
	}
	return 0;
}

static int explain(cudaError_t e, unsigned index, struct hs_err *err)
{
	int driver = 0;
	switch (e) {
	case cudaErrorInsufficientDriver:
		if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
			return hs_fail(err, ENODEV, "gpu.no_driver", HS_N_("no NVIDIA driver is loaded on this machine"),
				       "libcuda.so.1");
		return hs_fail(err, ENOTSUP, "gpu.old_driver", HS_N_("the NVIDIA driver is too old for this plug-in: update it"),
			       "CUDA %d.%d, wanted %d.%d", driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000,
			       CUDART_VERSION % 1000 / 10);
	case cudaErrorNoDevice:
	case cudaErrorInvalidDevice:
		return hs_fail(err, ENODEV, "gpu.no_device", HS_N_("there is no such GPU"), "cuda:%u", index);
	case cudaErrorNotPermitted:
	case cudaErrorOperatingSystem:
	case cudaErrorDevicesUnavailable:
		return hs_fail(err, EACCES, "gpu.no_permission", HS_N_("the driver does not let this process use the GPU"),
			       "cuda:%u: %s", index, cudaGetErrorName(e));
	case cudaErrorNoKernelImageForDevice:
	case cudaErrorUnsupportedPtxVersion:
		return hs_fail(err, ENOTSUP, "gpu.architecture", HS_N_("the plug-in has no code for this GPU"), "cuda:%u", index);
	case cudaErrorMemoryAllocation:
		return hs_fail(err, ENOMEM, "gpu.memory", HS_N_("the GPU has no memory left"), "cuda:%u", index);
	default:
		return hs_fail(err, EIO, "gpu.driver", HS_N_("the NVIDIA driver reports an error"), "cuda:%u: %s", index,
			       cudaGetErrorName(e));
	}
}

/* A kernel launched on a page of nothing: what a plug-in without code for this GPU cannot do. */
static cudaError_t try_kernel(unsigned index)
{
	struct hs_device d = {.index = index};
	const uint32_t page = 0;
	void *p = NULL;
	int rc = hs_device_alloc(&d, 2 * HS_GPU_ALIGNMENT, &p);
	if (rc < 0)
		return rc == -ENOMEM ? cudaErrorMemoryAllocation : cudaErrorDevicesUnavailable;
	rc = hs_device_upload(&d, p, &page, sizeof page);
	if (rc == 0)
		rc = hs_gpu_wipe(d.stream, (uint8_t *)p + HS_GPU_ALIGNMENT, HS_GPU_ALIGNMENT, p, 1);
	cudaError_t e = cudaDeviceSynchronize();
	hs_device_free(&d, p, 2 * HS_GPU_ALIGNMENT);
	return rc < 0 && e == cudaSuccess ? cudaErrorNoKernelImageForDevice : e;
}

int hs_device_probe(unsigned index, struct hs_cuda_device *ret, struct hs_err *err)
{
	struct cudaDeviceProp p;
	size_t unused = 0, total = 0;
	int n = 0, rc = check_nodes(err);
	if (rc < 0)
		return rc;
	cudaError_t e = cudaGetDeviceCount(&n);
	if (e == cudaSuccess && index >= (unsigned)n)
		e = cudaErrorNoDevice;
	if (e == cudaSuccess)
		e = cudaGetDeviceProperties(&p, (int)index);
	if (e == cudaSuccess)
		e = cudaSetDevice((int)index);
	if (e == cudaSuccess)
		e = cudaMemGetInfo(&unused, &total);
	if (e != cudaSuccess)
		return explain(e, index, err);
	e = try_kernel(index);
	if (e != cudaSuccess)
		return explain(e, index, err);
	*ret = (struct hs_cuda_device){
	    .major = (uint32_t)p.major, .minor = (uint32_t)p.minor, .memory_bytes = total, .memory_free = unused};
	(void)snprintf(ret->name, sizeof ret->name, "%.63s", p.name); /* a longer name is cut */
	return 0;
}

int hs_device_open(unsigned index, struct hs_device **ret, struct hs_err *err)
{
	struct hs_device *d = calloc(1, sizeof *d);
	if (!d)
		return hs_fail_errno(err, -ENOMEM, "gpu.open", "device");
	d->index = index;
	cudaError_t e = cudaSetDevice((int)index);
	if (e == cudaSuccess)
		e = cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking);
	if (e == cudaSuccess)
		e = cudaStreamCreateWithFlags(&d->recorder, cudaStreamNonBlocking);
	if (e != cudaSuccess) {
		if (d->stream)
			(void)cudaStreamDestroy(d->stream); /* the first failure is the one to tell */
		free(d);
		return explain(e, index, err);
	}
	*ret = d;
	return 0;
}

void hs_device_close(struct hs_device *d)
{
	if (!d)
		return;
	(void)cudaStreamDestroy(d->recorder); /* of a lost device nothing is left to destroy */
	(void)cudaStreamDestroy(d->stream);
	free(d);
}

static int verdict(struct hs_device *d, cudaError_t e)
{
	if (e == cudaSuccess)
		return 0;
	(void)cudaGetLastError(); /* taken notice of: it must not be told again by a later call */
	if (e == cudaErrorMemoryAllocation)
		return -ENOMEM;
	atomic_store(&d->lost, true);
	return -ENODEV;
}

/* Threads have a current device of their own. */
static int enter(struct hs_device *d)
{
	return hs_device_is_lost(d) ? -ENODEV : verdict(d, cudaSetDevice((int)d->index));
}

hs_gpu_stream hs_device_stream(struct hs_device *d)
{
	hs_ignore(enter(d)); /* the launch fails too */
	return recording == d ? d->recorder : d->stream;
}

bool hs_device_is_lost(const struct hs_device *d)
{
	return atomic_load(&d->lost);
}

int hs_device_launched(struct hs_device *d, int rc)
{
	if (rc == -EIO && recording != d) /* what cannot be recorded is launched */
		atomic_store(&d->lost, true);
	return hs_device_is_lost(d) ? -ENODEV : rc;
}

struct hs_device_graph {
	cudaGraphExec_t exec;
};

/* What cannot be recorded can still be launched: only a lost device is an end. */
static int recorded(struct hs_device *d, cudaError_t e)
{
	if (e == cudaSuccess)
		return 0;
	(void)cudaGetLastError(); /* taken notice of */
	if (e == cudaErrorMemoryAllocation)
		return -ENOMEM;
	return hs_device_is_lost(d) ? -ENODEV : -ENOTSUP;
}

int hs_device_record(struct hs_device *d)
{
	hs_assert(!recording);
	int rc = enter(d);
	/* Relaxed: the thread's calls for other devices are none of this graph's business. */
	if (rc == 0)
		rc = recorded(d, cudaStreamBeginCapture(d->recorder, cudaStreamCaptureModeRelaxed));
	if (rc == 0)
		recording = d;
	return rc;
}

int hs_device_recorded(struct hs_device *d, struct hs_device_graph **ret)
{
	struct hs_device_graph *g = calloc(1, sizeof *g);
	cudaGraph_t graph = NULL;
	hs_assert(recording == d);
	recording = NULL;
	int rc = recorded(d, cudaStreamEndCapture(d->recorder, &graph));
	if (rc == 0 && !g)
		rc = -ENOMEM;
	if (rc == 0)
		rc = recorded(d, cudaGraphInstantiateWithFlags(&g->exec, graph, 0));
	if (graph)
		(void)cudaGraphDestroy(graph); /* what runs is a copy */
	if (rc < 0)
		free(g);
	else
		*ret = g;
	return rc;
}

int hs_device_replay(struct hs_device *d, struct hs_device_graph *g)
{
	int rc = enter(d);
	return rc < 0 ? rc : verdict(d, cudaGraphLaunch(g->exec, d->stream));
}

void hs_device_graph_destroy(struct hs_device *d, struct hs_device_graph *g)
{
	if (!g)
		return;
	if (enter(d) == 0)
		(void)cudaGraphExecDestroy(g->exec); /* a lost context's went with it */
	free(g);
}

uint64_t hs_device_memory_free(struct hs_device *d)
{
	size_t unused = 0, total = 0;
	return enter(d) == 0 && verdict(d, cudaMemGetInfo(&unused, &total)) == 0 ? unused : 0;
}

int hs_device_alloc(struct hs_device *d, uint64_t bytes, void **ret)
{
	void *p = NULL;
	int rc = enter(d);
	if (rc == 0)
		rc = verdict(d, cudaMalloc(&p, bytes ? bytes : 1));
	if (rc < 0)
		return rc;
	rc = hs_device_zero(d, p, bytes, 1, bytes);
	if (rc < 0) {
		(void)cudaFree(p); /* the device is lost */
		return rc;
	}
	*ret = p;
	return 0;
}

void hs_device_free(struct hs_device *d, void *p, uint64_t bytes)
{
	if (!p || enter(d) < 0)
		return;                                   /* a lost context's memory went with it */
	hs_ignore(hs_device_zero(d, p, bytes, 1, bytes)); /* fails only where the device is lost */
	hs_ignore(hs_device_wait(d));
	(void)cudaFree(p);
}

int hs_device_upload(struct hs_device *d, void *to, const void *from, uint64_t bytes)
{
	int rc = enter(d);
	/* From memory that is not pinned it returns when `from` has been read. */
	return rc < 0 ? rc : verdict(d, cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, d->stream));
}

int hs_device_download(struct hs_device *d, void *to, const void *from, uint64_t bytes)
{
	int rc = enter(d);
	if (rc == 0)
		rc = verdict(d, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, d->stream));
	return rc < 0 ? rc : hs_device_wait(d);
}

int hs_device_wait(struct hs_device *d)
{
	int rc = enter(d);
	return rc < 0 ? rc : verdict(d, cudaStreamSynchronize(d->stream));
}

int hs_device_copy(struct hs_device *d, void *to, const void *from, uint64_t bytes, uint64_t rows, uint64_t pitch)
{
	int rc = enter(d);
	if (rc < 0 || bytes == 0 || rows == 0)
		return rc;
	if (rows == 1)
		return verdict(d, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, d->stream));
	return verdict(d, cudaMemcpy2DAsync(to, pitch, from, pitch, bytes, rows, cudaMemcpyDeviceToDevice, d->stream));
}

int hs_device_zero(struct hs_device *d, void *p, uint64_t bytes, uint64_t rows, uint64_t pitch)
{
	int rc = enter(d);
	if (rc < 0 || bytes == 0 || rows == 0)
		return rc;
	if (rows == 1)
		return verdict(d, cudaMemsetAsync(p, 0, bytes, d->stream));
	return verdict(d, cudaMemset2DAsync(p, pitch, 0, bytes, rows, d->stream));
}
