#include "inference/cpu/kernels.h"

size_t hs_kernels_list(const struct hs_kernels *ret[static 3])
{
	size_t n = 0;
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
	    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni"))
		ret[n++] = &hs_kernels_avx512;
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
		ret[n++] = &hs_kernels_avx2;
#endif
	ret[n++] = &hs_kernels_plain;
	return n;
}

const struct hs_kernels *hs_kernels_choose(void)
{
	const struct hs_kernels *list[3];
	(void)hs_kernels_list(list); /* at least one */
	return list[0];
}
