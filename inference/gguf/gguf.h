/*
 * GGUF, read-only, from untrusted files (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3).
 *
 * hs_gguf_open maps the file and validates everything before it returns: counts against the file's size, name lengths,
 * value types and nesting, tensor shapes, products, alignment, offsets and extents, no two tensors overlapping. Later
 * calls are look-ups that cannot fail on a hostile file. Strings and tensor data point into the mapping.
 */
#ifndef HISHO_INFERENCE_GGUF_H
#define HISHO_INFERENCE_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum hs_tensor_type { /* the file's own numbers */
		      HS_F32 = 0,
		      HS_F16 = 1,
		      HS_Q4_0 = 2,
		      HS_Q5_0 = 6,
		      HS_Q8_0 = 8,
		      HS_Q4_K = 12,
		      HS_Q5_K = 13,
		      HS_Q6_K = 14,
		      HS_BF16 = 30,
		      HS_MXFP4 = 39,
};

struct hs_gguf;

struct hs_gguf_str {
	const char *s; /* not terminated; any bytes */
	size_t len;
};

struct hs_gguf_tensor {
	struct hs_gguf_str name;
	enum hs_tensor_type type;
	uint32_t n_dims;
	uint64_t dims[4]; /* dims[0] is the contiguous one (ggml's ne[0]); unused ones are 1 */
	const uint8_t *data;
	size_t bytes;
};

int hs_gguf_open(const char *path, struct hs_gguf **ret, struct hs_err *err) HS_MUST_CHECK;
int hs_gguf_open_fd(int fd, const char *name, struct hs_gguf **ret, struct hs_err *err) HS_MUST_CHECK; /* fd stays the caller's */
int hs_gguf_open_memory(const void *data, size_t len, struct hs_gguf **ret,
			struct hs_err *err) HS_MUST_CHECK; /* data outlives it */
/* A mapped file's pages leave this process's memory until they are read again. */
void hs_gguf_rest(const struct hs_gguf *g);
void hs_gguf_close(struct hs_gguf *g);

size_t hs_gguf_tensor_count(const struct hs_gguf *g);
const struct hs_gguf_tensor *hs_gguf_tensor_at(const struct hs_gguf *g, size_t index);
const struct hs_gguf_tensor *hs_gguf_find_tensor(const struct hs_gguf *g, const char *name); /* NULL where absent */

/*
 * Metadata. Each returns false where the key is absent or of another kind. Integers of any width and sign are accepted
 * where they fit.
 */
bool hs_gguf_has(const struct hs_gguf *g, const char *key); /* of any kind */
bool hs_gguf_get_u64(const struct hs_gguf *g, const char *key, uint64_t *ret);
bool hs_gguf_get_f32(const struct hs_gguf *g, const char *key, float *ret);
bool hs_gguf_get_bool(const struct hs_gguf *g, const char *key, bool *ret);
bool hs_gguf_get_str(const struct hs_gguf *g, const char *key, struct hs_gguf_str *ret);
bool hs_gguf_get_array_len(const struct hs_gguf *g, const char *key, size_t *ret);
/* Whole arrays: ret holds max entries; false where the array is absent, of another element kind, or longer than max. */
bool hs_gguf_get_str_array(const struct hs_gguf *g, const char *key, struct hs_gguf_str *ret, size_t max);
bool hs_gguf_get_f32_array(const struct hs_gguf *g, const char *key, float *ret, size_t max);
bool hs_gguf_get_i32_array(const struct hs_gguf *g, const char *key, int32_t *ret, size_t max);
bool hs_gguf_get_bool_array(const struct hs_gguf *g, const char *key, bool *ret, size_t max);
/* Raw bytes of a u8/i8 array (the precompiled charsmap). */
bool hs_gguf_get_bytes(const struct hs_gguf *g, const char *key, const uint8_t **ret, size_t *ret_len);

/* Bytes of n elements of a type (n a multiple of its block), 0 where the type is not supported. */
size_t hs_tensor_type_bytes(enum hs_tensor_type type, uint64_t n);
const char *hs_tensor_type_name(enum hs_tensor_type type);

#endif
