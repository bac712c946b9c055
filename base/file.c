#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/id.h"

void hs_close(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd); /* nothing was written through it that has not been synced */
	*fd = -1;
}

int hs_fd_read_all(int fd, size_t max, struct hs_buf *out)
{
	size_t total = 0;
	for (;;) {
		int rc = hs_buf_reserve(out, 16384);
		if (rc < 0)
			return rc;
		ssize_t got = read(fd, out->data + out->len, 16384);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return 0;
		out->len += (size_t)got;
		total += (size_t)got;
		if (total > max)
			return -EFBIG;
	}
}

int hs_file_read(int dirfd, const char *path, size_t max, struct hs_buf *out)
{
	HS_FD_AUTO fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return hs_fd_read_all(fd, max, out);
}

int hs_fd_write_all(int fd, const void *data, size_t n)
{
	const uint8_t *p = data;
	while (n > 0) {
		ssize_t put = write(fd, p, n);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		p += put;
		n -= (size_t)put;
	}
	return 0;
}

static int sync_parent(int dirfd, const char *path)
{
	char parent[PATH_MAX];
	const char *slash = strrchr(path, '/');
	int n = slash ? snprintf(parent, sizeof parent, "%.*s", (int)(slash == path ? 1 : slash - path), path)
		      : snprintf(parent, sizeof parent, ".");
	if (n >= (int)sizeof parent)
		return -ENAMETOOLONG;
	HS_FD_AUTO dir = openat(dirfd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fsync(dir) < 0)
		return -errno;
	return 0;
}

#define SALT_LEN 13 /* 8 bytes in base32 */
#define TEMPORARY ".new"

bool hs_file_is_temporary(const char *name, const char *of)
{
	size_t n = strlen(name), tail = 1 + SALT_LEN + sizeof TEMPORARY - 1; /* ".<salt>.new" */
	if (n <= tail || strcmp(name + n - (sizeof TEMPORARY - 1), TEMPORARY) != 0)
		return false;
	const char *dot = name + n - tail;
	return *dot == '.' && strspn(dot + 1, "abcdefghijklmnopqrstuvwxyz234567") == SALT_LEN &&
	       (!of || (strlen(of) == n - tail && strncmp(name, of, n - tail) == 0));
}

int hs_file_replace(int dirfd, const char *path, const void *data, size_t n, mode_t mode)
{
	char temporary[PATH_MAX];
	uint8_t raw[8];
	char suffix[SALT_LEN + 1];
	hs_random(raw, sizeof raw);
	hs_base32(raw, sizeof raw, suffix);
	if (snprintf(temporary, sizeof temporary, "%s.%s" TEMPORARY, path, suffix) >= (int)sizeof temporary)
		return -ENAMETOOLONG;
	HS_FD_AUTO fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	int rc = hs_fd_write_all(fd, data, n);
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	if (rc == 0 && renameat(dirfd, temporary, dirfd, path) < 0)
		rc = -errno;
	if (rc < 0) {
		(void)unlinkat(dirfd, temporary, 0); /* best effort: the failure is already being told */
		return rc;
	}
	return sync_parent(dirfd, path);
}

int hs_mkdirs(const char *path, mode_t mode)
{
	char part[PATH_MAX];
	size_t n = strlen(path);
	if (n == 0 || n >= sizeof part)
		return -ENAMETOOLONG;
	memcpy(part, path, n + 1);
	for (size_t i = 1; i <= n; i++) {
		if (part[i] != '/' && part[i] != '\0')
			continue;
		char kept = part[i];
		part[i] = '\0';
		if (mkdir(part, mode) < 0 && errno != EEXIST)
			return -errno;
		part[i] = kept;
	}
	return 0;
}
