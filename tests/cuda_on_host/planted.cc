/* Bugs that are planted in the kernels, one at a time: the sweep must catch each. usage: planted [ORDERS] */
#include <stdio.h>
#include <stdlib.h>

#include "tests/cuda_on_host/device.h"
#include "tests/cuda_on_host/host.h"

/* Number n of this table is PLANTED(n + 1). */
static const struct {
	const char *what;
	const std::vector<struct device_case> *cases;
	size_t which;
} plants[] = {
    {"a sum that is read before all warps wrote theirs", &cases_of_rows, 1},
    {"an array written again before all have read it", &cases_of_rows, 0},
    {"slices joined before all are there", &cases_of_multiply, 1},
    {"bits of another lane's columns", &cases_of_multiply, 1},
    {"keys read before their copy is waited for", &cases_of_attend, 0},
    {"keys read before other threads' copies are waited for", &cases_of_attend, 0},
    {"keys written over while they are read", &cases_of_attend, 1},
    {"a matrix loaded before the warp wrote it", &cases_of_ops, 1},
    {"a write past the end of shared memory", &cases_of_attend, 0},
    {"counts that nobody set to zero", &cases_of_sample, 0},
    {"a barrier that some threads never reach", &cases_of_rows, 7},
    {"a shuffle of all lanes that half of them reach", &cases_of_rows, 0},
    {"choices written over while they are counted", &cases_of_experts, 0},
    {"a write past the end of a row", &cases_of_rows, 4},
    {"a window one position too wide", &cases_of_attend, 0},
    {"blocks that do not wait for each other", &cases_of_ops, 4},
};

int main(int argc, char **argv)
{
	unsigned orders = argc > 1 ? (unsigned)strtoul(argv[1], nullptr, 10) : 8;
	const unsigned n = sizeof plants / sizeof plants[0];
	int failed = 0;
	printf("1..%u\n", n);
	for (unsigned i = 0; i < n; i++) {
		hs_host_plant = (int)i + 1;
		const char *caught = sweep((*plants[i].cases)[plants[i].which].run, orders);
		printf("%s %u - %s\n# %s\n", caught ? "ok" : "not ok", i + 1, plants[i].what, caught ? caught : "not caught");
		failed |= !caught;
	}
	return failed;
}
