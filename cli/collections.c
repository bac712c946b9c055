#include "cli/collections.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct row {
	char *folder, *collection, *level, *list;
};

struct hs_collections {
	struct row *rows;
	unsigned count;
};

static const cyaml_schema_field_t row_fields[] = {
	CYAML_FIELD_STRING_PTR("folder", CYAML_FLAG_POINTER, struct row, folder, 1, 1024),
	CYAML_FIELD_STRING_PTR("collection", CYAML_FLAG_POINTER, struct row, collection, 1, HS_MANIFEST_LABEL_MAX),
	CYAML_FIELD_STRING_PTR("level", CYAML_FLAG_POINTER, struct row, level, 1, HS_MANIFEST_LABEL_MAX),
	CYAML_FIELD_STRING_PTR("list", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct row, list, 0, HS_MANIFEST_LABEL_MAX),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t row_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct row, row_fields)};
static const cyaml_schema_value_t file_schema = {
	CYAML_VALUE_SEQUENCE(CYAML_FLAG_POINTER, struct row, &row_schema, 1, HS_COLLECTIONS_ROWS_MAX)};

/* libcyaml tells the reason to its log only; the first line of it becomes the error's object. */
static void keep_first_line(cyaml_log_t level, void *ctx, const char *format, va_list args)
{
	char *reason = ctx;
	if (*reason || level < CYAML_LOG_ERROR)
		return;
	(void)vsnprintf(reason, 160, format, args);
	reason[strcspn(reason, "\n")] = '\0';
}

int hs_collections_load(const char *path, struct hs_collections **ret, struct hs_err *err)
{
	if (access(path, R_OK) != 0)
		return hs_fail_errno(err, -errno, "collections.open", path);
	char reason[160] = "";
	const cyaml_config_t config = {
		.log_fn = keep_first_line,
		.log_ctx = reason,
		.mem_fn = cyaml_mem,
		.log_level = CYAML_LOG_ERROR,
		.flags = CYAML_CFG_NO_ALIAS,
	};
	struct hs_collections *c = calloc(1, sizeof *c);
	if (!c)
		return hs_fail_errno(err, -ENOMEM, "cli.memory", path);
	cyaml_err_t rc = cyaml_load_file(path, &config, &file_schema, (cyaml_data_t **)&c->rows, &c->count);
	if (rc != CYAML_OK) {
		free(c);
		return hs_fail(err, EINVAL, "collections.yaml", "", "%s: %s", path, *reason ? reason : cyaml_strerror(rc));
	}
	*ret = c;
	return 0;
}

void hs_collections_destroy(struct hs_collections *c)
{
	if (!c)
		return;
	const cyaml_config_t config = {.mem_fn = cyaml_mem};
	(void)cyaml_free(&config, &file_schema, c->rows, c->count); /* fails only for a wrong schema */
	free(c);
}

/* Is relative inside folder? Gives the folder's length, 0 where it is not. "." holds everything, with length 1. */
static size_t inside(const char *folder, const char *relative)
{
	size_t n = strlen(folder);
	while (n > 1 && folder[n - 1] == '/')
		n--;
	if (n == 1 && *folder == '.')
		return 1;
	return strncmp(folder, relative, n) == 0 && (relative[n] == '/' || relative[n] == '\0') ? n + 1 : 0;
}

void hs_collections_find(const struct hs_collections *c, const char *relative, struct hs_filing *ret)
{
	size_t best = 0;
	for (unsigned i = 0; c && i < c->count; i++) {
		const struct row *row = &c->rows[i];
		size_t n = inside(row->folder, relative);
		if (n <= best)
			continue;
		best = n;
		ret->collection = row->collection;
		ret->level = row->level;
		ret->list = row->list ? row->list : "";
	}
}
