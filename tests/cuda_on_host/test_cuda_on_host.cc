/*
 * Every kernel in every order. usage: test_cuda_on_host rows|multiply|.. [ORDERS]
 * With "planted" the sweep must catch each of the bugs that are planted in the kernels.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/cuda_on_host/device.h"
#include "tests/cuda_on_host/host.h"

static const struct {
	const char *name;
	const std::vector<struct device_case> *cases;
} families[] = {{"rows", &cases_of_rows},     {"multiply", &cases_of_multiply}, {"experts", &cases_of_experts},
		{"attend", &cases_of_attend}, {"sample", &cases_of_sample},     {"scan", &cases_of_scan}};

/* Number n of this table is PLANTED(n + 1). */
static const struct {
	const char *what;
	const struct device_case *in;
} plants[] = {
    {"a sum that is read before all warps wrote theirs", &cases_of_rows[1]},
    {"an array written again before all have read it", &cases_of_rows[0]},
    {"slices joined before all are there", &cases_of_multiply[1]},
    {"bits of another lane's columns", &cases_of_multiply[1]},
    {"keys read before their copy is waited for", &cases_of_attend[0]},
    {"keys read before other threads' copies are waited for", &cases_of_attend[0]},
    {"keys written over while they are read", &cases_of_attend[1]},
    {"a matrix loaded before the warp wrote it", &cases_of_scan[0]},
    {"a write past the end of shared memory", &cases_of_attend[0]},
    {"counts that nobody set to zero", &cases_of_sample[0]},
    {"a barrier that some threads never reach", &cases_of_rows[7]},
    {"a shuffle of all lanes that half of them reach", &cases_of_rows[0]},
    {"choices written over while they are counted", &cases_of_experts[0]},
    {"a write past the end of a row", &cases_of_rows[4]},
    {"a window one position too wide", &cases_of_attend[0]},
};

static int result(unsigned number, const char *name, const char *failure)
{
	printf("%s %u - %s\n", failure ? "not ok" : "ok", number, name);
	if (failure)
		printf("# %s\n", failure);
	(void)fflush(stdout); /* a test that hangs shows what went before */
	return failure != nullptr;
}

static int run_plants(unsigned orders)
{
	const unsigned n = sizeof plants / sizeof plants[0];
	int failed = 0;
	printf("1..%u\n", n);
	for (unsigned i = 0; i < n; i++) {
		hs_host_plant = (int)i + 1;
		const char *caught = sweep(plants[i].in->run, orders);
		failed |= result(i + 1, plants[i].what, caught ? nullptr : "not caught");
		if (caught)
			printf("# %s\n", caught);
	}
	return failed;
}

int main(int argc, char **argv)
{
	const char *want = argc > 1 ? argv[1] : "";
	unsigned orders = argc > 2 ? (unsigned)strtoul(argv[2], nullptr, 10) : 8, number = 0;
	int failed = 0;
	if (strcmp(want, "planted") == 0)
		return run_plants(orders);
	for (const auto &family : families) {
		if (strcmp(family.name, want) != 0)
			continue;
		printf("1..%zu\n", family.cases->size());
		for (const struct device_case &c : *family.cases)
			failed |= result(++number, c.name, sweep(c.run, orders));
	}
	if (number == 0)
		(void)fprintf(stderr, "no such family: %s\n", want);
	return failed || number == 0;
}
