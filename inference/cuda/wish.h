/* Which device the configuration wishes for, and what one is. */
#ifndef HISHO_INFERENCE_CUDA_WISH_H
#define HISHO_INFERENCE_CUDA_WISH_H

#include <stdbool.h>
#include <stdint.h>

enum hs_device_kind { HS_DEVICE_AUTO, HS_DEVICE_CPU, HS_DEVICE_CUDA };

struct hs_device_wish {
	enum hs_device_kind kind;
	unsigned index; /* of CUDA */
};

#define HS_CUDA_DEVICES_MAX 64u

/* "auto", "cpu", "cuda:N" with N below HS_CUDA_DEVICES_MAX, "cuda" (0). */
bool hs_device_parse(const char *s, struct hs_device_wish *ret);

struct hs_cuda_device {
	char name[64];
	uint32_t major, minor; /* of its architecture: 9, 0 is sm_90 */
	uint64_t memory_bytes, memory_free;
};

#endif
