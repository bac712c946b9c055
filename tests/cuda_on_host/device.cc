#include "tests/cuda_on_host/device.h"

#include "tests/cuda_on_host/host.h"

static uint64_t digest;

void *device_new(size_t bytes)
{
	return hs_host_alloc(bytes);
}

void device_put(void *to, const void *from, size_t bytes)
{
	memcpy(to, from, bytes);
}

void device_take(void *to, const void *from, size_t bytes)
{
	const unsigned char *p = static_cast<const unsigned char *>(from);
	for (size_t i = 0; i < bytes; i++) /* FNV-1a */
		digest = (digest ^ p[i]) * 0x100000001b3u;
	memcpy(to, from, bytes);
}

void device_look(void *to, const void *from, size_t bytes)
{
	memcpy(to, from, bytes);
}

static const char *run_once(case_fn run, uint64_t *ret_digest)
{
	hs_host_clear();
	digest = 0xcbf29ce484222325u;
	const char *failure = run();
	if (hs_host_failure())
		failure = hs_host_failure();
	if (!failure && !hs_host_check())
		failure = "an array was written outside of its bounds";
	if (!failure && hs_host_launches() == 0)
		failure = "nothing was launched";
	*ret_digest = digest;
	hs_host_free_all();
	return failure;
}

const char *sweep(case_fn run, unsigned orders)
{
	uint64_t first = 0, now;
	for (unsigned order = 0; order < orders; order++)
		for (unsigned variant = 0; variant < 4; variant++) {
			hs_host_mode = {order, (uint8_t)(variant & 1 ? 0xff : 0x5d), (variant & 2) != 0};
			const char *failure = run_once(run, &now);
			if (failure)
				return wrong("order %u, poison %02x, %s copies: %s", order, hs_host_mode.poison,
					     hs_host_mode.lazy ? "lazy" : "eager", failure);
			if (order == 0 && variant == 0)
				first = now;
			if (now != first)
				return wrong("order %u, poison %02x, %s copies: other bytes than in the first run", order,
					     hs_host_mode.poison, hs_host_mode.lazy ? "lazy" : "eager");
		}
	return nullptr;
}

const char *device_missing(void)
{
	return nullptr; /* the host is always there */
}
