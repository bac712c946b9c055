/*
 * Writes GGUF version 3: what the importers and the tests need. The same calls give the same bytes.
 *
 * Names, strings and arrays are copied when they are put; tensor data are the caller's and must live until the file is
 * written. The first failure sticks: puts need no check, and writing reports it.
 */
#ifndef HISHO_INFERENCE_GGUF_WRITER_H
#define HISHO_INFERENCE_GGUF_WRITER_H

#include "base/buf.h"
#include "inference/gguf/gguf.h"

struct hs_gguf_writer;

struct hs_gguf_writer *hs_gguf_writer_create(void) HS_MUST_CHECK; /* NULL on -ENOMEM */
void hs_gguf_writer_destroy(struct hs_gguf_writer *w);

void hs_gguf_put_u32(struct hs_gguf_writer *w, const char *key, uint32_t v);
void hs_gguf_put_f32(struct hs_gguf_writer *w, const char *key, float v);
void hs_gguf_put_bool(struct hs_gguf_writer *w, const char *key, bool v);
void hs_gguf_put_str(struct hs_gguf_writer *w, const char *key, const char *s);
void hs_gguf_put_str_array(struct hs_gguf_writer *w, const char *key, const struct hs_gguf_str *v, size_t n);
void hs_gguf_put_f32_array(struct hs_gguf_writer *w, const char *key, const float *v, size_t n);
void hs_gguf_put_i32_array(struct hs_gguf_writer *w, const char *key, const int32_t *v, size_t n);
void hs_gguf_put_bool_array(struct hs_gguf_writer *w, const char *key, const bool *v, size_t n);
void hs_gguf_put_bytes(struct hs_gguf_writer *w, const char *key, const uint8_t *v, size_t n); /* as an array of u8 */

/* dims as in struct hs_gguf_tensor; data: hs_tensor_type_bytes(type, product of dims) bytes. */
void hs_gguf_put_tensor(struct hs_gguf_writer *w, const char *name, enum hs_tensor_type type, uint32_t n_dims,
			const uint64_t *dims, const void *data);

/* Called after each tensor that hs_gguf_write_* writes, with bytes of tensor data. fn may be NULL. */
void hs_gguf_writer_on_progress(struct hs_gguf_writer *w, void (*fn)(void *arg, uint64_t done, uint64_t total), void *arg);

/* 0, or the first failure of any put: -EINVAL, -ENOMEM. */
int hs_gguf_write_buf(const struct hs_gguf_writer *w, struct hs_buf *out) HS_MUST_CHECK;
int hs_gguf_write_fd(const struct hs_gguf_writer *w, int fd) HS_MUST_CHECK; /* from the descriptor's place on */

#endif
