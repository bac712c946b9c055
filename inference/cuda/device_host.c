/* A device that is this process's memory. It can run out and be lost, when a test says so. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "inference/cuda/device.h"

struct hs_device {
	uint64_t used;
	atomic_bool lost;
};

struct hs_host_device hs_host_device = {.memory = 1ull << 34, .calls_left = -1};

int hs_device_probe(unsigned index, struct hs_cuda_device *ret, struct hs_err *err)
{
	if (index > 0)
		return hs_fail(err, ENODEV, "gpu.no_device", HS_N_("there is no such GPU"), "cuda:%u", index);
	*ret =
	    (struct hs_cuda_device){.name = "host", .memory_bytes = hs_host_device.memory, .memory_free = hs_host_device.memory};
	return 0;
}

int hs_device_open(unsigned index, struct hs_device **ret, struct hs_err *err)
{
	struct hs_device *d = calloc(1, sizeof *d);
	if (!d)
		return hs_fail_errno(err, -ENOMEM, "gpu.open", "host");
	*ret = d;
	return 0;
}

void hs_device_close(struct hs_device *d)
{
	hs_assert(!d || d->used == 0);
	free(d);
}

static _Thread_local hs_gpu_stream recording; /* this thread's launches go there */

hs_gpu_stream hs_device_stream(struct hs_device *d)
{
	return recording;
}

bool hs_device_is_lost(const struct hs_device *d)
{
	return atomic_load(&d->lost);
}

/* Every call counts towards the end that a test has set. */
static int alive(struct hs_device *d)
{
	if (hs_host_device.calls_left > 0)
		hs_host_device.calls_left--;
	if (hs_host_device.calls_left == 0)
		atomic_store(&d->lost, true);
	return hs_device_is_lost(d) ? -ENODEV : 0;
}

int hs_device_launched(struct hs_device *d, int rc)
{
	if (rc == -EIO)
		atomic_store(&d->lost, true);
	return hs_device_is_lost(d) ? -ENODEV : rc < 0 ? rc : alive(d);
}

int hs_device_record(struct hs_device *d)
{
	hs_assert(!recording);
	int rc = alive(d);
	if (rc == 0 && !hs_host_device.recorder)
		rc = -ENOTSUP;
	if (rc == 0)
		recording = hs_host_device.recorder->begin();
	return rc;
}

int hs_device_recorded(struct hs_device *d, struct hs_device_graph **ret)
{
	hs_assert(recording);
	struct hs_device_graph *g = hs_host_device.recorder->end(recording);
	recording = NULL;
	int rc = alive(d);
	if (rc == 0)
		*ret = g;
	else
		hs_host_device.recorder->destroy(g);
	return rc;
}

int hs_device_replay(struct hs_device *d, struct hs_device_graph *g)
{
	int rc = alive(d);
	return rc < 0 ? rc : hs_device_launched(d, hs_host_device.recorder->replay(g));
}

void hs_device_graph_destroy(struct hs_device *d, struct hs_device_graph *g)
{
	if (g)
		hs_host_device.recorder->destroy(g);
}

uint64_t hs_device_memory_free(struct hs_device *d)
{
	return hs_host_device.memory - HS_MIN(d->used, hs_host_device.memory);
}

int hs_device_alloc(struct hs_device *d, uint64_t bytes, void **ret)
{
	uint64_t whole = (bytes + HS_GPU_ALIGNMENT - 1) / HS_GPU_ALIGNMENT * HS_GPU_ALIGNMENT;
	int rc = alive(d);
	if (rc < 0)
		return rc;
	void *p = whole <= hs_device_memory_free(d) ? aligned_alloc(HS_GPU_ALIGNMENT, whole) : NULL;
	if (!p)
		return -ENOMEM;
	memset(p, 0, whole);
	d->used += bytes;
	*ret = p;
	return 0;
}

void hs_device_free(struct hs_device *d, void *p, uint64_t bytes)
{
	if (!p)
		return;
	explicit_bzero(p, bytes);
	d->used -= bytes;
	free(p);
}

int hs_device_upload(struct hs_device *d, void *to, const void *from, uint64_t bytes)
{
	int rc = alive(d);
	if (rc == 0)
		memcpy(to, from, bytes);
	return rc;
}

int hs_device_download(struct hs_device *d, void *to, const void *from, uint64_t bytes)
{
	return hs_device_upload(d, to, from, bytes);
}

int hs_device_wait(struct hs_device *d)
{
	return alive(d);
}

int hs_device_copy(struct hs_device *d, void *to, const void *from, uint64_t bytes, uint64_t rows, uint64_t pitch)
{
	int rc = alive(d);
	for (uint64_t i = 0; i < rows && rc == 0; i++)
		memcpy((uint8_t *)to + i * pitch, (const uint8_t *)from + i * pitch, bytes);
	return rc;
}

int hs_device_zero(struct hs_device *d, void *p, uint64_t bytes, uint64_t rows, uint64_t pitch)
{
	int rc = alive(d);
	for (uint64_t i = 0; i < rows && rc == 0; i++)
		explicit_bzero((uint8_t *)p + i * pitch, bytes);
	return rc;
}
