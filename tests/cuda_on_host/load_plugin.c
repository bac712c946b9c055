/*
 * usage: load_plugin PLUGIN.so [here]
 *
 * Loads a plug-in as hisho-infer does and asks its device. here: it must be there; otherwise what a machine without a GPU says
 * will do. TAP.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "inference/cuda/load.h"

int main(int argc, char **argv)
{
	static const char *const without[] = {"gpu.no_driver", "gpu.old_driver", "gpu.no_permission", "gpu.no_device"};
	const struct hs_device_wish wish = {.kind = HS_DEVICE_CUDA};
	struct hs_err err = HS_ERR_INIT;
	struct hs_gpu gpu;
	if (argc < 2 || chmod(argv[1], 0755) < 0) /* whatever the umask of the build was */
		return 2;
	int rc = hs_gpu_open(wish, argv[1], &gpu, &err);
	bool fine = rc == 0;
	for (size_t i = 0; i < HS_ARRAY_LEN(without) && argc == 2; i++)
		fine = fine || strcmp(err.code, without[i]) == 0;
	printf("1..1\n%sok 1 - %s\n", fine ? "" : "not ", rc == 0 ? gpu.device.name : err.code);
	printf("# %s: %s\n", err.object, err.hint);
	return fine ? 0 : 1;
}
