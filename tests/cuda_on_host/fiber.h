/* Fibers: a stack each, switched by hand on x86-64 (40 ns), through ucontext elsewhere (ten times slower). */
#ifndef HISHO_TESTS_CUDA_ON_HOST_FIBER_H
#define HISHO_TESTS_CUDA_ON_HOST_FIBER_H

#include <stddef.h>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#define FIBER_STACK (256u * 1024u) /* reserved; only pages that are touched take memory */

struct fiber {
	char *stack; /* its lowest byte; NULL: the one that the process started with */
#if defined(__x86_64__)
	void *saved; /* stack pointer while another runs */
#else
	ucontext_t saved;
#endif
	void *shadow; /* AddressSanitizer's, or ThreadSanitizer's fiber */
};

/* A fiber of stack (FIBER_STACK bytes, pages of their own) that starts in entry, which never returns. f is zeroed or was one. */
void fiber_init(struct fiber *f, char *stack, void (*entry)(void));

/* Go on in `to`; returns when somebody switches to `from`. */
void fiber_switch(struct fiber *from, struct fiber *to);

/* The first thing that an entry does. */
void fiber_entered(void);

/*
 * For ThreadSanitizer, which takes fibers for threads: what ran before a publish of key comes before what runs after an observe
 * of it; and what was in these pages is forgotten, as if nobody had touched them.
 */
void fiber_publish(void *key);
void fiber_observe(void *key);
void fiber_forget(void *pages, size_t bytes);

#endif
