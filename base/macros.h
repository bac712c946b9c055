/* Small macros that every room uses: attributes, clean-up, array sizes, live assertions. */
#ifndef HISHO_BASE_MACROS_H
#define HISHO_BASE_MACROS_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define HS_MUST_CHECK __attribute__((warn_unused_result))
/* A result that may be lost, with the reason in a comment beside it: (void) alone does not satisfy HS_MUST_CHECK. */
#define hs_ignore(expr) ((void)!(expr))
#define HS_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define HS_CLEANUP(fn) __attribute__((cleanup(fn)))
#define HS_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define HS_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define HS_MIN(a, b) ((a) < (b) ? (a) : (b))
#define HS_MAX(a, b) ((a) > (b) ? (a) : (b))

/* An invariant of our own code, live in every build. Never for input: input gets an error. */
#define hs_assert(expr) \
	((expr) ? (void)0 : (fprintf(stderr, "hisho: %s:%d: invariant failed: %s\n", __FILE__, __LINE__, #expr), abort()))

#endif
