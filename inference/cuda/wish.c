#include "inference/cuda/wish.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool hs_device_parse(const char *s, struct hs_device_wish *ret)
{
	static const char cuda[] = "cuda";
	struct hs_device_wish wish = {.kind = HS_DEVICE_AUTO};
	if (strcmp(s, "auto") == 0) {
		*ret = wish;
		return true;
	}
	wish.kind = strcmp(s, "cpu") == 0 ? HS_DEVICE_CPU : HS_DEVICE_CUDA;
	if (wish.kind == HS_DEVICE_CUDA) {
		if (strncmp(s, cuda, sizeof cuda - 1) != 0)
			return false;
		const char *number = s + sizeof cuda - 1;
		char *end = (char *)number;
		unsigned long n = 0;
		if (*number) { /* ":N" */
			if (number[0] != ':' || number[1] < '0' || number[1] > '9')
				return false;
			errno = 0;
			n = strtoul(number + 1, &end, 10);
			if (errno || *end || n >= HS_CUDA_DEVICES_MAX)
				return false;
		}
		wish.index = (unsigned)n;
	}
	*ret = wish;
	return true;
}
