/*
 * CUDA kernels on the host: what stands behind inference/cuda/ops.h where no nvcc compiles.
 *
 * The threads of a block are fibers, one running at a time until it waits; an order says which goes next. Whoever waits at a
 * barrier waits for the whole block, and a collective of a warp for every lane of its mask; where that can never come, the launch
 * ends with a message that tests read. Shared memory is filled with poison and has guards around each array. What is not here:
 * divergence within a warp other than through these waits, limits of registers and occupancy, and speed.
 */
#ifndef HISHO_TESTS_CUDA_ON_HOST_H
#define HISHO_TESTS_CUDA_ON_HOST_H

#include <stddef.h>
#include <stdint.h>

#include <functional>
#include <tuple>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
	unsigned x, y, z;
	constexpr dim3(unsigned nx = 1, unsigned ny = 1, unsigned nz = 1) : x(nx), y(ny), z(nz)
	{
	}
};

/* Where the running thread is. */
struct hs_host_place {
	dim3 thread, block, block_size, grid_size;
};
extern const struct hs_host_place *hs_host_place;
#define threadIdx (hs_host_place->thread)
#define blockIdx (hs_host_place->block)
#define blockDim (hs_host_place->block_size)
#define gridDim (hs_host_place->grid_size)

/* How the next launches run. Orders from 8 on are random ones. */
struct hs_host_mode {
	unsigned order;
	uint8_t poison;
	bool lazy; /* asynchronous copies happen when they are waited for, otherwise at once */
};
extern struct hs_host_mode hs_host_mode;

/* Number of the planted bug that is alive; 0: none. */
extern int hs_host_plant;

/* What went wrong since the last hs_host_clear, or NULL; and the launches since. */
const char *hs_host_failure(void);
unsigned hs_host_launches(void);
void hs_host_clear(void);

/* End the launch with a message. Does not return. */
[[noreturn]] void hs_host_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Memory with poison in it and guards around it; hs_host_check says whether the guards of all of it stand. */
void *hs_host_alloc(size_t bytes);
void hs_host_free(void *p);
void hs_host_free_all(void);
bool hs_host_check(void);

void hs_host_barrier(const char *site);

/*
 * Wait for the lanes of mask at the same site; the last one there calls resolve with every lane's operand (NULL for lanes that
 * are not of the mask), which it may write to.
 */
typedef void (*hs_host_resolve_fn)(void *const operands[32]);
void hs_host_collective(uint32_t mask, const char *site, void *operand, hs_host_resolve_fn resolve);

/* The block's array of the declaration that key stands for. */
void *hs_host_shared(const void *key, size_t bytes, const char *site);

void hs_host_copy_async(void *to, const void *from, unsigned bytes, bool valid, const char *site);
void hs_host_copy_commit(void);
void hs_host_copy_wait(unsigned pending);

void hs_host_fence(void);            /* for ThreadSanitizer: what came before another's fence is seen behind this one */
void hs_host_preempt(void);          /* some orders let others run here */
void hs_host_spin(const char *site); /* all others go first; ends the launch where nobody ever changes anything */
unsigned hs_host_lane(void);

typedef void (*hs_host_body_fn)(void *arguments);
int hs_host_run(dim3 grid, dim3 block, bool cooperative, hs_host_body_fn body, void *arguments);

/* A launch on a stream (record.h) is not run but kept. */
int hs_host_record(void *stream, std::function<int(void)> launch);

/* Arguments are copied to the kernel's own parameter types, as a launch does. */
template <typename... P, typename... A>
int hs_host_launch(void (*kernel)(P...), dim3 grid, dim3 block, bool cooperative, void *stream, A... arguments)
{
	if (stream)
		return hs_host_record(stream, [=](void) {
			return hs_host_launch(kernel, grid, block, cooperative, static_cast<void *>(nullptr), arguments...);
		});
	struct call {
		void (*kernel)(P...);
		std::tuple<P...> parameters;
	} c = {kernel, std::tuple<P...>(arguments...)};
	return hs_host_run(
	    grid, block, cooperative,
	    [](void *arg) {
		    struct call *of = static_cast<struct call *>(arg);
		    std::apply(of->kernel, of->parameters);
	    },
	    &c);
}

#endif
