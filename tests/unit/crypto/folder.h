/* A temporary folder for one test, and short forms over it. */
#ifndef HISHO_TESTS_UNIT_CRYPTO_FOLDER_H
#define HISHO_TESTS_UNIT_CRYPTO_FOLDER_H

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

struct folder {
	char path[PATH_MAX];
	int fd;
};

static inline int folder_setup(void **state)
{
	struct folder *f = calloc(1, sizeof *f);
	const char *tmp = getenv("TMPDIR");
	(void)snprintf(f->path, sizeof f->path, "%s/hisho-test-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(f->path))
		return -1;
	f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = f;
	return f->fd < 0 ? -1 : 0;
}

static inline int folder_teardown(void **state)
{
	struct folder *f = *state;
	DIR *d = opendir(f->path);
	for (struct dirent *e; d && (e = readdir(d));)
		(void)unlinkat(f->fd, e->d_name, 0); /* "." and ".." stay */
	if (d)
		closedir(d);
	close(f->fd);
	rmdir(f->path);
	free(f);
	return 0;
}

/* "folder/name", in one of four turning buffers. */
static inline const char *folder_path(const struct folder *f, const char *name)
{
	static char turns[4][PATH_MAX + 256];
	static unsigned turn;
	char *out = turns[turn++ % 4];
	(void)snprintf(out, sizeof turns[0], "%s/%s", f->path, name);
	return out;
}

static inline size_t folder_count(const struct folder *f)
{
	size_t n = 0;
	DIR *d = opendir(f->path);
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static inline int folder_read(const struct folder *f, const char *name, struct hs_buf *out)
{
	out->len = 0;
	return hs_file_read(f->fd, name, 1u << 30, out);
}

static inline int folder_write(const struct folder *f, const char *name, const void *data, size_t n)
{
	(void)unlinkat(f->fd, name, 0);
	return hs_file_replace(f->fd, name, data, n, 0600);
}

/* Does any file of the folder hold these bytes? */
static inline bool folder_holds(const struct folder *f, const void *bytes, size_t n)
{
	bool found = false;
	DIR *d = opendir(f->path);
	for (struct dirent *e; (e = readdir(d));) {
		HS_BUF_AUTO b = HS_BUF_INIT;
		if (e->d_name[0] != '.' && folder_read(f, e->d_name, &b) == 0 && memmem(b.data, b.len, bytes, n))
			found = true;
	}
	closedir(d);
	return found;
}

#endif
