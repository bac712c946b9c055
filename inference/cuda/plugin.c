/* What the plug-in hands over. */
#include "inference/cuda/plugin.h"

#include "inference/cuda/model.h"

static void usage(struct hs_backend_model *m, struct hs_cuda_usage *ret)
{
	*ret = (struct hs_cuda_usage){.weight_bytes = m->weight_bytes,
				      .work_bytes = m->work.bytes,
				      .page_bytes = hs_pages_bytes(m->pages),
				      .n_pages = hs_pages_count(m->pages),
				      .n_used = hs_pages_used(m->pages),
				      .page_tokens = HS_GPU_PAGE_POSITIONS,
				      .lost = hs_device_is_lost(m->device)};
}

static uint32_t pages_of(struct hs_backend_model *m, uint64_t owner)
{
	return hs_pages_of(m->pages, owner);
}

static const struct hs_backend backend = {
    .name = "cuda",
    .close = hs_gpu_close_model,
    .sequence_create = hs_gpu_sequence_create,
    .sequence_destroy = hs_gpu_sequence_destroy,
    .own = hs_gpu_sequence_own,
    .wipe = hs_gpu_sequence_wipe,
    .copy = hs_gpu_sequence_copy,
    .forward = hs_gpu_forward,
    .encode = hs_gpu_encode,
};

__attribute__((visibility("default"))) const struct hs_cuda_plugin *hs_cuda_plugin(void);

const struct hs_cuda_plugin *hs_cuda_plugin(void)
{
	static struct hs_cuda_plugin p = {
	    .abi = HS_CUDA_ABI,
	    .version = HS_VERSION,
	    .probe = hs_device_probe,
	    .judge = hs_gpu_judge,
	    .open = hs_gpu_open_model,
	    .usage = usage,
	    .pages_of = pages_of,
	    .backend = &backend,
	};
	p.sizes = HS_CUDA_SIZES;
	return &p;
}
