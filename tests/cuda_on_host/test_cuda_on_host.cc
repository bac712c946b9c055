/* Every kernel in every order, or on a GPU. usage: test_cuda_on_host ops|rows|multiply|.. [ORDERS] */
#include <stdio.h>
#include <stdlib.h>

#include "tests/cuda_on_host/device.h"

static const struct {
	const char *name;
	const std::vector<struct device_case> *cases;
} families[] = {{"ops", &cases_of_ops},         {"rows", &cases_of_rows},     {"multiply", &cases_of_multiply},
		{"experts", &cases_of_experts}, {"attend", &cases_of_attend}, {"sample", &cases_of_sample}};

static int result(unsigned number, const char *name, const char *failure)
{
	printf("%s %u - %s\n", failure ? "not ok" : "ok", number, name);
	if (failure)
		printf("# %s\n", failure);
	(void)fflush(stdout); /* a test that hangs shows what went before */
	return failure != nullptr;
}

int main(int argc, char **argv)
{
	const char *want = argc > 1 ? argv[1] : "";
	unsigned orders = argc > 2 ? (unsigned)strtoul(argv[2], nullptr, 10) : 8, number = 0;
	int failed = 0;
	if (device_missing()) {
		printf("1..0 # SKIP %s\n", device_missing());
		return 0;
	}
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
