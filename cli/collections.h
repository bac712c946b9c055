/*
 * Which folder's documents belong where: collections.yaml, beside the documents of `hisho ingest`.
 *
 *   - folder: 規程
 *     collection: 規程
 *     level: 社外秘
 *   - folder: 人事/給与
 *     collection: 人事
 *     level: 秘
 *     list: 人事部
 *
 * The longest folder that holds a file decides; "." stands for all. Unknown keys are refused with line and column.
 */
#ifndef HISHO_CLI_COLLECTIONS_H
#define HISHO_CLI_COLLECTIONS_H

#include "base/err.h"
#include "cli/submit.h"

#define HS_COLLECTIONS_FILE "collections.yaml"
#define HS_COLLECTIONS_ROWS_MAX 1024

struct hs_collections;

/* -ENOENT where there is no such file; -EINVAL "collections.yaml" names line and column. */
int hs_collections_load(const char *path, struct hs_collections **ret, struct hs_err *err) HS_MUST_CHECK;
void hs_collections_destroy(struct hs_collections *c); /* takes NULL */

/* Fill what the file says about relative (a path below its folder); leaves *ret alone where it says nothing. */
void hs_collections_find(const struct hs_collections *c, const char *relative, struct hs_filing *ret);

#endif
