/* What the plug-in hands over. */
#include "inference/cuda/plugin.h"

#include "inference/cuda/model.h"

#define COPY_BYTES (128u << 20)
#define COPIES 20
#define RATE_BLOCKS 8192u
#define RATE_ROUNDS 1024u
#define RATE_LAUNCHES 20

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

static int copy_rate(struct hs_device *d, void *memory, bool bytes, double *ret)
{
	int rc = hs_device_wait(d);
	uint64_t begin = hs_monotonic_us();
	for (int i = 0; i < COPIES && rc == 0; i++)
		rc = hs_device_copy(d, (uint8_t *)memory + COPY_BYTES, memory, COPY_BYTES, 1, 0);
	if (rc == 0)
		rc = hs_device_wait(d);
	*ret = 2.0 * COPIES * COPY_BYTES * 1e6 / (double)HS_MAX(hs_monotonic_us() - begin, (uint64_t)1);
	return rc;
}

static int products_rate(struct hs_device *d, void *memory, bool bytes, double *ret)
{
	int rc = hs_device_wait(d);
	uint64_t begin = hs_monotonic_us();
	for (int i = 0; i < RATE_LAUNCHES && rc == 0; i++)
		rc = hs_device_launched(d, hs_gpu_rate(hs_device_stream(d), bytes, RATE_BLOCKS, RATE_ROUNDS, memory));
	if (rc == 0)
		rc = hs_device_wait(d);
	*ret = (double)RATE_LAUNCHES * (double)hs_gpu_rate_operations(bytes, RATE_BLOCKS, RATE_ROUNDS) * 1e6 /
	       (double)HS_MAX(hs_monotonic_us() - begin, (uint64_t)1);
	return rc;
}

/* One of these rates, on a device that is opened for it. */
static int measure(unsigned device, int (*rate)(struct hs_device *d, void *memory, bool bytes, double *ret), bool bytes,
		   double *ret)
{
	struct hs_device *d = NULL;
	struct hs_err err = HS_ERR_INIT;
	void *memory = NULL;
	double is = 0;
	int rc = hs_device_open(device, &d, &err);
	if (rc < 0)
		return rc;
	rc = hs_device_alloc(d, 2ull * COPY_BYTES, &memory);
	for (int round = 0; round < 2 && rc == 0; round++) /* the first is warm-up */
		rc = rate(d, memory, bytes, &is);
	hs_device_free(d, memory, 2ull * COPY_BYTES);
	hs_device_close(d);
	if (rc == 0)
		*ret = is;
	return rc;
}

static int bandwidth(unsigned device, double *ret)
{
	return measure(device, copy_rate, false, ret);
}

static int products(unsigned device, bool bytes, double *ret)
{
	return measure(device, products_rate, bytes, ret);
}

static const struct hs_backend backend = {
    .name = "cuda",
    .chooses = true,
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
	    .bandwidth = bandwidth,
	    .products = products,
	    .backend = &backend,
	};
	p.sizes = HS_CUDA_SIZES;
	return &p;
}
