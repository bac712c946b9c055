#include "tests/cuda_on_host/fiber.h"

#include <stdint.h>

#if defined(__SANITIZE_ADDRESS__)
#include <pthread.h>
#include <sanitizer/asan_interface.h>

/* The bounds of the process's own stack, which the sanitizer wants to know when it is entered again. */
static void own_stack(const void **bottom, size_t *size)
{
	static void *at;
	static size_t len;
	if (!at) {
		pthread_attr_t attr;
		pthread_getattr_np(pthread_self(), &attr);
		pthread_attr_getstack(&attr, &at, &len);
		pthread_attr_destroy(&attr);
	}
	*bottom = at;
	*size = len;
}

static void before_switch(struct fiber *from, struct fiber *to)
{
	const void *bottom = to->stack;
	size_t size = FIBER_STACK;
	if (!bottom)
		own_stack(&bottom, &size);
	__sanitizer_start_switch_fiber(&from->shadow, bottom, size);
}

static void after_switch(struct fiber *f)
{
	__sanitizer_finish_switch_fiber(f ? f->shadow : nullptr, nullptr, nullptr);
}

/* What ran here before may have been left in the middle. */
static void fresh_stack(struct fiber *f, char *stack)
{
	__asan_unpoison_memory_region(stack, FIBER_STACK);
	f->shadow = nullptr;
}
#elif defined(UNDER_TSAN)
#include <sanitizer/tsan_interface.h>
#include <sys/mman.h>

/* A switch orders nothing: only what a kernel may count on does. */
static void before_switch(struct fiber *from, struct fiber *to)
{
	if (!from->shadow)
		from->shadow = __tsan_get_current_fiber(); /* the process's own */
	__tsan_switch_to_fiber(to->shadow, __tsan_switch_to_fiber_no_sync);
}

static void after_switch(struct fiber *)
{
}

static void fresh_stack(struct fiber *f, char *stack)
{
	if (f->shadow)
		__tsan_destroy_fiber(f->shadow);
	f->shadow = __tsan_create_fiber(0);
	fiber_forget(stack, FIBER_STACK);
}

void fiber_publish(void *key)
{
	__tsan_release(key);
}

void fiber_observe(void *key)
{
	__tsan_acquire(key);
}

void fiber_forget(void *pages, size_t bytes)
{
	if (mmap(pages, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != pages)
		__builtin_trap(); /* it was there before */
}
#else
static void fresh_stack(struct fiber *f, char *)
{
	f->shadow = nullptr;
}

static void before_switch(struct fiber *, struct fiber *)
{
}

static void after_switch(struct fiber *)
{
}
#endif

#if !defined(UNDER_TSAN)
void fiber_publish(void *)
{
}

void fiber_observe(void *)
{
}

void fiber_forget(void *, size_t)
{
}
#endif

void fiber_entered(void)
{
	after_switch(nullptr);
}

#if defined(__x86_64__)

/* Save what a call must keep, change stacks, restore. rdi: where to save the stack pointer; rsi: the one to take. */
extern "C" void hs_fiber_swap(void **save, void *take);
__asm__(".text\n"
	".type hs_fiber_swap,@function\n"
	"hs_fiber_swap:\n"
	"	push %rbp\n"
	"	push %rbx\n"
	"	push %r12\n"
	"	push %r13\n"
	"	push %r14\n"
	"	push %r15\n"
	"	mov %rsp, (%rdi)\n"
	"	mov %rsi, %rsp\n"
	"	pop %r15\n"
	"	pop %r14\n"
	"	pop %r13\n"
	"	pop %r12\n"
	"	pop %rbx\n"
	"	pop %rbp\n"
	"	ret\n"
	".size hs_fiber_swap,.-hs_fiber_swap\n");

void fiber_init(struct fiber *f, char *stack, void (*entry)(void))
{
	fresh_stack(f, stack);
	void **top = reinterpret_cast<void **>(stack + FIBER_STACK);
	*--top = nullptr; /* a return address that nobody takes: an entry finds the stack at 8 modulo 16, as after a call */
	*--top = nullptr;
	*--top = nullptr;
	*--top = reinterpret_cast<void *>(entry);
	for (int i = 0; i < 6; i++)
		*--top = nullptr;
	f->stack = stack;
	f->saved = top;
}

void fiber_switch(struct fiber *from, struct fiber *to)
{
	before_switch(from, to);
	hs_fiber_swap(&from->saved, to->saved);
	after_switch(from);
}

#else

void fiber_init(struct fiber *f, char *stack, void (*entry)(void))
{
	fresh_stack(f, stack);
	getcontext(&f->saved);
	f->saved.uc_stack.ss_sp = stack;
	f->saved.uc_stack.ss_size = FIBER_STACK;
	f->saved.uc_link = nullptr;
	f->stack = stack;
	f->shadow = nullptr;
	makecontext(&f->saved, entry, 0);
}

void fiber_switch(struct fiber *from, struct fiber *to)
{
	before_switch(from, to);
	swapcontext(&from->saved, &to->saved);
	after_switch(from);
}

#endif
