/*
 * An arena: memory that lives exactly as long as one request. Allocation bumps a pointer; destroy frees all at once.
 * It has a limit, because requests come from tenants.
 */
#ifndef HISHO_BASE_ARENA_H
#define HISHO_BASE_ARENA_H

#include <stddef.h>

#include "base/macros.h"

struct hs_arena;

/* limit: most bytes that may be handed out. NULL on -ENOMEM. */
struct hs_arena *hs_arena_create(size_t limit) HS_MUST_CHECK;
void hs_arena_destroy(struct hs_arena *a); /* takes NULL */

/* n zeroed bytes, aligned for any type; NULL past the limit or out of memory. */
void *hs_arena_alloc(struct hs_arena *a, size_t n) HS_MUST_CHECK;
void *hs_arena_calloc(struct hs_arena *a, size_t count, size_t size) HS_MUST_CHECK;
char *hs_arena_strndup(struct hs_arena *a, const char *s, size_t n) HS_MUST_CHECK;

#endif
