#include "inference/cpu/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* clang 14's __builtin_cpu_supports does not know this name. */
static bool has_f16c(void)
{
	unsigned a, b, c, d;
	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

size_t hs_kernels_list(const struct hs_kernels *ret[static 3])
{
	size_t n = 0;
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
	    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni"))
		ret[n++] = &hs_kernels_avx512;
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c())
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

enum hs_form hs_form_of(enum hs_tensor_type type)
{
	switch (hs_quant_find(type)->block) {
	case HS_K_BLOCK: return HS_FORM_256;
	case HS_BLOCK: return HS_FORM_32;
	default: return HS_FORM_FLOAT;
	}
}
