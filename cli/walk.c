#include "cli/walk.h"

#include <errno.h>
#include <fts.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/collections.h"

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int visit(FTSENT *e, const char *root_name, size_t root_len,
		 int (*fn)(void *ctx, const struct hs_walk_file *file, const struct hs_err *err), void *ctx, FTS *fts)
{
	struct hs_err err = HS_ERR_INIT;
	if (e->fts_level > 0 && e->fts_name[0] == '.') {
		(void)fts_set(fts, e, FTS_SKIP); /* fails only for a wrong instruction */
		return 0;
	}
	const char *below = e->fts_level > 0 ? e->fts_path + root_len : "";
	while (*below == '/')
		below++;
	char name[PATH_MAX];
	int n = *below ? snprintf(name, sizeof name, "%s/%s", root_name, below) : snprintf(name, sizeof name, "%s", root_name);
	struct hs_walk_file file = {.path = e->fts_path, .name = name, .relative = *below ? below : root_name};
	switch (e->fts_info) {
	case FTS_F:
		if (e->fts_level == 1 && strcmp(e->fts_name, HS_COLLECTIONS_FILE) == 0)
			return 0;
		if (n < 0 || n >= (int)sizeof name)
			(void)hs_fail(&err, ENAMETOOLONG, "file.path", "", "%s", e->fts_path);
		file.size = (uint64_t)e->fts_statp->st_size;
		return fn(ctx, &file, err.num ? &err : NULL);
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		(void)hs_fail(&err, e->fts_errno, "file.open", "", "%s (%s)", e->fts_path, strerror(e->fts_errno));
		return fn(ctx, &file, &err);
	case FTS_D:
	case FTS_DP:
		return 0;
	default: /* links, sockets and the like are not documents: passed over below, but not where a person names one */
		if (e->fts_level > 0)
			return 0;
		(void)hs_fail(&err, EINVAL, "file.kind", HS_N_("Only files and folders can be filed."), "%s", e->fts_path);
		return fn(ctx, &file, &err);
	}
}

int hs_walk(const char *argument, int (*fn)(void *ctx, const struct hs_walk_file *file, const struct hs_err *err), void *ctx,
	    struct hs_err *err)
{
	char root[PATH_MAX];
	if (!realpath(argument, root))
		return hs_fail_errno(err, -errno, "file.open", argument);
	const char *slash = strrchr(root, '/');
	const char *root_name = slash && slash[1] ? slash + 1 : "files";
	char *const paths[] = {root, NULL};
	FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	if (!fts)
		return hs_fail_errno(err, -errno, "file.open", argument);
	int rc = 0;
	size_t root_len = strlen(root);
	FTSENT *e;
	while (rc == 0 && (errno = 0, e = fts_read(fts)) != NULL)
		rc = visit(e, root_name, root_len, fn, ctx, fts);
	if (rc == 0 && errno)
		rc = hs_fail_errno(err, -errno, "file.open", argument);
	(void)fts_close(fts); /* read only */
	return rc;
}
