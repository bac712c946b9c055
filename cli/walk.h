/* The files below the paths that `hisho ingest` is given: regular ones, in the order of their names; hidden ones are left out. */
#ifndef HISHO_CLI_WALK_H
#define HISHO_CLI_WALK_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct hs_walk_file {
	const char *path;     /* to open */
	const char *name;     /* "folder/below/file.txt": what readers see */
	const char *relative; /* below the argument, what collections.yaml speaks of; the file's name where it is the argument */
	uint64_t size;
};

/*
 * Calls fn for each file below argument until it returns non-zero, which is returned. What cannot be looked into is told to
 * fn with size 0 and err filled, and the walk goes on; so is an argument that is a device, a pipe or a socket ("file.kind").
 * Below the argument those are passed over, and symbolic links are not followed.
 */
int hs_walk(const char *argument, int (*fn)(void *ctx, const struct hs_walk_file *file, const struct hs_err *err), void *ctx,
	    struct hs_err *err) HS_MUST_CHECK;

#endif
