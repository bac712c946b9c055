/*
 * What the importers share: refusals, JSON read within bounds, and the finished file's way to the disk. Internal to import/.
 *
 * JSON comes from files of anybody: its size is bounded before it is parsed, a key may come once, and each value is fetched
 * by its kind with a refusal that names it.
 */
#ifndef HISHO_INFERENCE_IMPORT_READ_H
#define HISHO_INFERENCE_IMPORT_READ_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "inference/gguf/writer.h"

struct hs_import_bytes { /* a file's content; data is NULL where there is no such file */
	const void *data;
	size_t len;
};

int hs_import_bad(struct hs_err *err, const char *hint, const char *object_fmt, ...) HS_PRINTF(3, 4);
int hs_import_unsupported(struct hs_err *err, const char *hint, const char *object_fmt, ...) HS_PRINTF(3, 4);

/* The object that a file is, or a refusal that names it. Give the result to json_decref. */
int hs_import_json(const struct hs_import_bytes *file, size_t max, const char *name, json_t **ret,
		   struct hs_err *err) HS_MUST_CHECK;

/* A whole number from low to high. Absent (or null): *ret stays, unless it is required. */
int hs_import_whole(const json_t *object, const char *key, int64_t low, int64_t high, bool required, int64_t *ret,
		    struct hs_err *err) HS_MUST_CHECK;
/* A finite number from low to high; the same otherwise. */
int hs_import_real(const json_t *object, const char *key, double low, double high, bool required, double *ret,
		   struct hs_err *err) HS_MUST_CHECK;
/* Absent or null: *ret stays. */
int hs_import_flag(const json_t *object, const char *key, bool *ret, struct hs_err *err) HS_MUST_CHECK;
/* Borrowed; NULL where absent, null or no text. */
const char *hs_import_text(const json_t *object, const char *key);
bool hs_import_is(const json_t *object, const char *key, const char *text);

/*
 * Write what w holds beside path, have the engine read it, sync it and give it the name: what appears can be used. -EINVAL or
 * -ENOTSUP with the engine's reason where it cannot.
 */
int hs_import_save(const struct hs_gguf_writer *w, const char *path, struct hs_err *err) HS_MUST_CHECK;

#endif
