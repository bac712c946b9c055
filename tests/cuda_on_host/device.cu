/* The device that cases run on, where it is a GPU: its memory is filled with poison, each case runs once with either. */
#include <stdio.h>
#include <stdlib.h>

#include <cuda_runtime.h>

#include "tests/cuda_on_host/device.h"

#define ROOM 4096u /* beyond an array's end, which must stay as it was */

struct allocation {
	unsigned char *data;
	size_t bytes;
};
static std::vector<struct allocation> allocations;
static int poison;
static cudaError_t trouble;

static void note(cudaError_t rc)
{
	if (trouble == cudaSuccess)
		trouble = rc;
}

void *device_new(size_t bytes)
{
	struct allocation a = {nullptr, bytes};
	if (cudaMalloc((void **)&a.data, bytes + ROOM) != cudaSuccess) {
		(void)fprintf(stderr, "no memory on the device\n");
		abort();
	}
	note(cudaMemset(a.data, poison, bytes));
	note(cudaMemset(a.data + bytes, 0xc3, ROOM));
	allocations.push_back(a);
	return a.data;
}

void device_put(void *to, const void *from, size_t bytes)
{
	note(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice));
}

void device_take(void *to, const void *from, size_t bytes)
{
	note(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost));
}

void device_look(void *to, const void *from, size_t bytes)
{
	device_take(to, from, bytes);
}

static bool ends_stand(void)
{
	std::vector<unsigned char> end(ROOM);
	for (const struct allocation &a : allocations) {
		note(cudaMemcpy(end.data(), a.data + a.bytes, ROOM, cudaMemcpyDeviceToHost));
		for (unsigned char byte : end)
			if (byte != 0xc3)
				return false;
	}
	return true;
}

const char *sweep(case_fn run, unsigned orders)
{
	const char *failure = nullptr;
	(void)orders; /* the GPU has its own */
	for (int turn = 0; turn < 2 && !failure; turn++) {
		poison = turn ? 0xff : 0x5d;
		failure = run();
		note(cudaDeviceSynchronize());
		if (!failure && !ends_stand())
			failure = "an array was written past its end";
		if (trouble != cudaSuccess)
			failure = cudaGetErrorString(trouble);
		for (const struct allocation &a : allocations)
			(void)cudaFree(a.data); /* what fails here failed before */
		allocations.clear();
	}
	return failure;
}

const char *device_missing(void)
{
	int n = 0;
	cudaError_t rc = cudaGetDeviceCount(&n);
	return rc == cudaSuccess && n > 0 ? nullptr : rc == cudaSuccess ? "there is no GPU" : cudaGetErrorString(rc);
}
