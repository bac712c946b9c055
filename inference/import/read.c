#include "inference/import/read.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "inference/model/weights.h"
#include "inference/tok/tokenizer.h"

static int refuse(struct hs_err *err, int num, const char *code, const char *hint, const char *fmt, va_list args)
{
	char object[256];
	(void)vsnprintf(object, sizeof object, fmt, args); /* cut where too long */
	return hs_fail(err, num, code, hint, "%s", object);
}

int hs_import_bad(struct hs_err *err, const char *hint, const char *object_fmt, ...)
{
	va_list args;
	va_start(args, object_fmt);
	int rc = refuse(err, EINVAL, "import.invalid", hint, object_fmt, args);
	va_end(args);
	return rc;
}

int hs_import_unsupported(struct hs_err *err, const char *hint, const char *object_fmt, ...)
{
	va_list args;
	va_start(args, object_fmt);
	int rc = refuse(err, ENOTSUP, "import.unsupported", hint, object_fmt, args);
	va_end(args);
	return rc;
}

int hs_import_json(const struct hs_import_bytes *file, size_t max, const char *name, json_t **ret, struct hs_err *err)
{
	json_error_t at;
	if (file->len > max)
		return hs_import_bad(err, HS_N_("the file is larger than such files are"), "%s", name);
	json_t *json = json_loadb(file->data, file->len, JSON_REJECT_DUPLICATES, &at);
	if (!json)
		return hs_import_bad(err, HS_N_("this is not JSON, or a key comes twice"), "%s, line %d", name, at.line);
	if (!json_is_object(json)) {
		json_decref(json);
		return hs_import_bad(err, HS_N_("this is not a JSON object"), "%s", name);
	}
	*ret = json;
	return 0;
}

static const json_t *value(const json_t *object, const char *key)
{
	const json_t *v = json_object_get(object, key);
	return json_is_null(v) ? NULL : v;
}

int hs_import_whole(const json_t *object, const char *key, int64_t low, int64_t high, bool required, int64_t *ret,
		    struct hs_err *err)
{
	const json_t *v = value(object, key);
	if (!v && !required)
		return 0;
	if (!json_is_integer(v))
		return hs_import_bad(err, HS_N_("the field is missing or no whole number"), "%s", key);
	if (json_integer_value(v) < low || json_integer_value(v) > high)
		return hs_import_bad(err, HS_N_("the number is out of range"), "%s", key);
	*ret = json_integer_value(v);
	return 0;
}

int hs_import_real(const json_t *object, const char *key, double low, double high, bool required, double *ret, struct hs_err *err)
{
	const json_t *v = value(object, key);
	if (!v && !required)
		return 0;
	if (!json_is_number(v))
		return hs_import_bad(err, HS_N_("the field is missing or not a number"), "%s", key);
	double number = json_number_value(v);
	if (!(number >= low && number <= high))
		return hs_import_bad(err, HS_N_("the number is out of range"), "%s", key);
	*ret = number;
	return 0;
}

int hs_import_flag(const json_t *object, const char *key, bool *ret, struct hs_err *err)
{
	const json_t *v = value(object, key);
	if (!v)
		return 0;
	if (!json_is_boolean(v))
		return hs_import_bad(err, HS_N_("the field is neither true nor false"), "%s", key);
	*ret = json_is_true(v);
	return 0;
}

const char *hs_import_text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

bool hs_import_is(const json_t *object, const char *key, const char *text)
{
	const char *v = hs_import_text(object, key);
	return v && strcmp(v, text) == 0;
}

/* The engine's own checks, with its reason. */
static int check_written(int fd, const char *name, struct hs_err *err)
{
	struct hs_gguf *g = NULL;
	struct hs_weights *weights = NULL;
	struct hs_tokenizer *t = NULL;
	int rc = hs_gguf_open_fd(fd, name, &g, err);
	if (rc == 0)
		rc = hs_weights_bind(g, &weights, err);
	if (rc == 0)
		rc = hs_tokenizer_create(g, &t, err);
	if (rc == 0 && hs_tokenizer_vocab(t) > weights->hyper.n_vocab)
		rc = hs_import_bad(err, HS_N_("the tokeniser has more tokens than the embedding has rows"), "%s",
				   "token_embd.weight");
	hs_tokenizer_destroy(t);
	hs_weights_destroy(weights);
	hs_gguf_close(g);
	return rc;
}

int hs_import_save(const struct hs_gguf_writer *w, const char *path, struct hs_err *err)
{
	HS_BUF_AUTO part = HS_BUF_INIT;
	int rc = hs_buf_printf(&part, "%s.part", path);
	const char *name = rc == 0 ? hs_buf_cstr(&part) : NULL;
	if (!name)
		return hs_fail_errno(err, -ENOMEM, "model.import", path);
	HS_FD_AUTO fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return hs_fail_errno(err, -errno, "model.import", name);
	rc = hs_gguf_write_fd(w, fd);
	if (rc == 0)
		rc = check_written(fd, name, err);
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	if (rc == 0 && rename(name, path) < 0)
		rc = -errno;
	if (rc < 0) {
		(void)unlink(name); /* what is half written is of no use */
		return hs_fail_errno(err, rc, "model.import", path);
	}
	return 0;
}
