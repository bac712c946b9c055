/* Files: bounded reading, atomic durable writing, closing. Every descriptor is opened O_CLOEXEC. */
#ifndef HISHO_BASE_FILE_H
#define HISHO_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

void hs_close(int *fd); /* for HS_CLEANUP: closes where >= 0 */
#define HS_FD_AUTO HS_CLEANUP(hs_close) int

/* Read a whole file, at most max bytes, appended to out. -EFBIG where it is larger. */
int hs_file_read(int dirfd, const char *path, size_t max, struct hs_buf *out) HS_MUST_CHECK;

/* Read what a descriptor still gives, at most max bytes. */
int hs_fd_read_all(int fd, size_t max, struct hs_buf *out) HS_MUST_CHECK;

/* Write all n bytes, through short writes and EINTR. */
int hs_fd_write_all(int fd, const void *data, size_t n) HS_MUST_CHECK;

/*
 * Replace path by data so that after a crash either the old or the new content is there, whole: a temporary name in the
 * same folder, fsync, rename, fsync of the folder.
 */
int hs_file_replace(int dirfd, const char *path, const void *data, size_t n, mode_t mode) HS_MUST_CHECK;

/*
 * Is it a name under which hs_file_replace writes `of` (NULL: any file) before the rename? What a crash left under such a name
 * is nobody's, once nobody replaces the file any more.
 */
bool hs_file_is_temporary(const char *name, const char *of);

/* mkdir -p; existing folders are fine. */
int hs_mkdirs(const char *path, mode_t mode) HS_MUST_CHECK;

#endif
