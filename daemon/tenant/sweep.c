#include "daemon/tenant/sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/id.h"
#include "daemon/tenant/tenant.h"

#define TEMPORARY ".new" /* of a blob that is being written (crypto/blob.c) */

struct hs_sweep {
	DIR *blobs; /* NULL: read to its end */
	unsigned removed;
};

static DIR *open_listing(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *listing = fd < 0 ? NULL : fdopendir(fd);
	if (!listing && fd >= 0)
		(void)close(fd); /* it was only opened */
	return listing;
}

static void close_listing(DIR **listing)
{
	if (*listing)
		(void)closedir(*listing); /* it was only read */
	*listing = NULL;
}

int hs_sweep_create(int blobs, struct hs_sweep **ret)
{
	struct hs_sweep *s = calloc(1, sizeof *s);
	if (!s)
		return -ENOMEM;
	s->blobs = open_listing(blobs);
	if (!s->blobs) {
		int rc = -errno;
		hs_sweep_destroy(s);
		return rc;
	}
	*ret = s;
	return 0;
}

void hs_sweep_destroy(struct hs_sweep *s)
{
	if (!s)
		return;
	close_listing(&s->blobs);
	free(s);
}

unsigned hs_sweep_removed(const struct hs_sweep *s)
{
	return s->removed;
}

/* Of the files that this process replaces, and of a database that was being made, which has a log beside it. */
static bool is_temporary(const char *name)
{
	static const char *const ours[] = {HS_TENANT_DB, HS_TENANT_AUDIT, HS_TENANT_AUDIT ".mark", HS_TENANT_HEAD, HS_USAGE_FILE};
	char plain[NAME_MAX + 1];
	size_t n = strnlen(name, NAME_MAX);
	if (n > 4 && memcmp(name + n - 4, "-wal", 4) == 0)
		n -= 4;
	(void)snprintf(plain, sizeof plain, "%.*s", (int)n, name); /* names fit */
	for (size_t i = 0; i < HS_ARRAY_LEN(ours); i++) {
		if (hs_file_is_temporary(plain, ours[i]))
			return true;
	}
	return false;
}

unsigned hs_sweep_folder(int dir)
{
	DIR *listing = open_listing(dir);
	unsigned removed = 0;
	for (struct dirent *e; listing && (e = readdir(listing));)
		removed += is_temporary(e->d_name) && unlinkat(dir, e->d_name, 0) == 0;
	close_listing(&listing);
	return removed;
}

static bool is_blob_id(const char *name, size_t len)
{
	return len == HS_ID_LEN && hs_id_valid(name, len, "blb_");
}

/* 1: a row knows the blob; 0: none does. */
static int has_row(sqlite3_stmt *st, const char *id, size_t len)
{
	int rc = sqlite3_bind_text(st, 1, id, (int)len, SQLITE_STATIC) ? SQLITE_ERROR : sqlite3_step(st);
	(void)sqlite3_reset(st); /* repeats the step's error */
	return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : -EIO;
}

static void forget(struct hs_sweep *s, const char *name)
{
	if (unlinkat(dirfd(s->blobs), name, 0) == 0)
		s->removed++;
}

static int look_at_blob(struct hs_sweep *s, sqlite3_stmt *st, const char *name)
{
	size_t len = strlen(name);
	if (len == HS_ID_LEN + sizeof TEMPORARY - 1 && strcmp(name + HS_ID_LEN, TEMPORARY) == 0 && is_blob_id(name, HS_ID_LEN)) {
		forget(s, name);
		return 0;
	}
	int known = is_blob_id(name, len) ? has_row(st, name, len) : 1;
	if (known == 0)
		forget(s, name);
	return known < 0 ? known : 0;
}

int hs_sweep_step(struct hs_sweep *s, sqlite3 *db, bool *ret_more, struct hs_err *err)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, "SELECT 1 FROM blobs WHERE public = ?1", -1, &st, NULL) == SQLITE_OK ? 0 : -EIO;
	for (unsigned looked = 0; rc == 0 && looked < HS_SWEEP_STEP && s->blobs; looked++) {
		struct dirent *e = readdir(s->blobs);
		if (e)
			rc = look_at_blob(s, st, e->d_name);
		else /* the end, or the folder cannot be read on */
			close_listing(&s->blobs);
	}
	(void)sqlite3_finalize(st); /* repeats an error that was told */
	if (rc < 0)
		return hs_fail_errno(err, rc, "sweep.database", "blobs");
	*ret_more = s->blobs != NULL;
	return 0;
}
