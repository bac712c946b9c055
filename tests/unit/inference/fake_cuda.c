/* A plug-in without a GPU: what $HISHO_FAKE_CUDA says goes wrong with it does; otherwise it computes as the CPU. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inference/cuda/plugin.h"

static unsigned forwards; /* until the device is lost */
static bool lost;

static bool is(const char *what)
{
	const char *fault = getenv("HISHO_FAKE_CUDA");
	return fault && strcmp(fault, what) == 0;
}

static int probe(unsigned device, struct hs_cuda_device *ret, struct hs_err *err)
{
	static const struct {
		const char *name;
		int num;
		const char *hint;
	} faults[] = {{"no_driver", ENODEV, HS_N_("no NVIDIA driver is loaded on this machine")},
		      {"old_driver", ENOTSUP, "the driver is too old"},
		      {"no_permission", EACCES, "may not be opened"},
		      {"architecture", ENOTSUP, "no code for this architecture"}};
	for (size_t i = 0; i < HS_ARRAY_LEN(faults); i++)
		if (is(faults[i].name)) {
			char code[32];
			(void)snprintf(code, sizeof code, "gpu.%s", faults[i].name);
			return hs_fail(err, faults[i].num, code, faults[i].hint, "cuda:%u", device);
		}
	if (device > 1)
		return hs_fail(err, ENODEV, "gpu.no_device", "there are two", "cuda:%u", device);
	*ret =
	    (struct hs_cuda_device){.name = "Fake \"one\"", .major = 9, .memory_bytes = 80ull << 30, .memory_free = 79ull << 30};
	return 0;
}

static int judge(const struct hs_weights *w, struct hs_err *err)
{
	return is("unsupported") ? hs_fail(err, ENOTSUP, "gpu.unsupported", "computed by the CPU", "sinks") : 0;
}

static int open_model(const struct hs_weights *w, const struct hs_cuda_options *o, struct hs_backend_model **ret,
		      struct hs_err *err)
{
	lost = false;
	forwards = 0;
	if (is("too_large"))
		return hs_fail(err, ENOMEM, "gpu.memory", "does not fit", "weights 9 MB, free 8 MB");
	if (o->progress)
		o->progress(o->arg, 1, 1);
	return hs_backend_cpu.open(w, 1, ret, err);
}

static int forward(struct hs_backend_step *steps, uint32_t n_steps, struct hs_yield *y)
{
	if (is("lost") && ++forwards > 2)
		lost = true;
	return lost ? -ENODEV : hs_backend_cpu.forward(steps, n_steps, y);
}

static int encode(struct hs_backend_model *m, const int32_t *ids, const uint32_t *starts, uint32_t n_texts, struct hs_yield *y,
		  float *out)
{
	lost = lost || is("lost");
	return lost ? -ENODEV : hs_backend_cpu.encode(m, ids, starts, n_texts, y, out);
}

static int create(struct hs_backend_model *m, uint32_t max_tokens, struct hs_backend_sequence **ret)
{
	return lost ? -ENODEV : is("no_pages") ? -ENOMEM : hs_backend_cpu.sequence_create(m, max_tokens, ret);
}

static void usage(struct hs_backend_model *m, struct hs_cuda_usage *ret)
{
	*ret = (struct hs_cuda_usage){.weight_bytes = 1000, .page_bytes = 10, .n_pages = 5, .n_used = 2, .page_tokens = 16};
}

static uint32_t pages_of(struct hs_backend_model *m, uint64_t owner)
{
	return owner ? 2 : 0;
}

__attribute__((visibility("default"))) const struct hs_cuda_plugin *hs_cuda_plugin(void);

const struct hs_cuda_plugin *hs_cuda_plugin(void)
{
	static struct hs_backend backend;
	static struct hs_cuda_plugin p;
	backend = hs_backend_cpu;
	backend.name = "fake";
	backend.open = NULL;
	backend.adapter_open = NULL; /* as the true one: the CPU computes what is adapted */
	backend.forward = forward;
	backend.encode = encode;
	backend.sequence_create = create;
	p = (struct hs_cuda_plugin){.abi = HS_CUDA_ABI + is("abi"),
				    .sizes = HS_CUDA_SIZES,
				    .version = HS_VERSION,
				    .probe = probe,
				    .judge = judge,
				    .open = open_model,
				    .usage = usage,
				    .pages_of = pages_of,
				    .backend = &backend};
	p.sizes.layer += is("sizes");
	if (is("version"))
		memcpy(p.version, "0.0.0", sizeof "0.0.0");
	return is("nothing") ? NULL : &p;
}
