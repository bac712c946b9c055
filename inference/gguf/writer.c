#include "inference/gguf/writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/wire.h"

#define ALIGNMENT 32u

enum { V_U8 = 0, V_U32 = 4, V_I32 = 5, V_F32 = 6, V_BOOL = 7, V_STR = 8, V_ARRAY = 9 }; /* the specification's value types */

struct data {
	const void *bytes;
	size_t len;
};

struct hs_gguf_writer {
	int rc; /* the first failure */
	uint64_t n_kvs, n_tensors, data_len;
	struct hs_buf kvs, infos;
	struct data *tensors;
	size_t cap;
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *progress_arg;
};

struct hs_gguf_writer *hs_gguf_writer_create(void)
{
	return calloc(1, sizeof(struct hs_gguf_writer));
}

void hs_gguf_writer_destroy(struct hs_gguf_writer *w)
{
	if (!w)
		return;
	hs_buf_finish(&w->kvs);
	hs_buf_finish(&w->infos);
	free(w->tensors);
	free(w);
}

static void keep(struct hs_gguf_writer *w, int rc)
{
	if (w->rc == 0 && rc < 0)
		w->rc = rc;
}

static int put_str64(struct hs_buf *b, const char *s, size_t len)
{
	int rc = hs_put_u64(b, len);
	return rc < 0 ? rc : hs_buf_append(b, s, len);
}

static void begin_kv(struct hs_gguf_writer *w, const char *key, uint32_t type)
{
	keep(w, put_str64(&w->kvs, key, strlen(key)));
	keep(w, hs_put_u32(&w->kvs, type));
	w->n_kvs++;
}

static void begin_array(struct hs_gguf_writer *w, const char *key, uint32_t element, size_t n)
{
	begin_kv(w, key, V_ARRAY);
	keep(w, hs_put_u32(&w->kvs, element));
	keep(w, hs_put_u64(&w->kvs, n));
}

void hs_gguf_put_u32(struct hs_gguf_writer *w, const char *key, uint32_t v)
{
	begin_kv(w, key, V_U32);
	keep(w, hs_put_u32(&w->kvs, v));
}

void hs_gguf_put_f32(struct hs_gguf_writer *w, const char *key, float v)
{
	begin_kv(w, key, V_F32);
	keep(w, hs_put_f32(&w->kvs, v));
}

void hs_gguf_put_bool(struct hs_gguf_writer *w, const char *key, bool v)
{
	begin_kv(w, key, V_BOOL);
	keep(w, hs_put_u8(&w->kvs, v));
}

void hs_gguf_put_str(struct hs_gguf_writer *w, const char *key, const char *s)
{
	begin_kv(w, key, V_STR);
	keep(w, put_str64(&w->kvs, s, strlen(s)));
}

void hs_gguf_put_str_array(struct hs_gguf_writer *w, const char *key, const struct hs_gguf_str *v, size_t n)
{
	begin_array(w, key, V_STR, n);
	for (size_t i = 0; i < n; i++)
		keep(w, put_str64(&w->kvs, v[i].s, v[i].len));
}

void hs_gguf_put_f32_array(struct hs_gguf_writer *w, const char *key, const float *v, size_t n)
{
	begin_array(w, key, V_F32, n);
	for (size_t i = 0; i < n; i++)
		keep(w, hs_put_f32(&w->kvs, v[i]));
}

void hs_gguf_put_i32_array(struct hs_gguf_writer *w, const char *key, const int32_t *v, size_t n)
{
	begin_array(w, key, V_I32, n);
	for (size_t i = 0; i < n; i++)
		keep(w, hs_put_u32(&w->kvs, (uint32_t)v[i]));
}

void hs_gguf_put_bool_array(struct hs_gguf_writer *w, const char *key, const bool *v, size_t n)
{
	begin_array(w, key, V_BOOL, n);
	for (size_t i = 0; i < n; i++)
		keep(w, hs_put_u8(&w->kvs, v[i]));
}

void hs_gguf_put_bytes(struct hs_gguf_writer *w, const char *key, const uint8_t *v, size_t n)
{
	begin_array(w, key, V_U8, n);
	keep(w, hs_buf_append(&w->kvs, v, n));
}

static uint64_t aligned(uint64_t n)
{
	return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

void hs_gguf_put_tensor(struct hs_gguf_writer *w, const char *name, enum hs_tensor_type type, uint32_t n_dims,
			const uint64_t *dims, const void *data)
{
	if (w->n_tensors == w->cap) {
		size_t cap = w->cap ? w->cap * 2 : 64;
		struct data *more = reallocarray(w->tensors, cap, sizeof *more);
		if (!more) {
			keep(w, -ENOMEM);
			return;
		}
		w->tensors = more;
		w->cap = cap;
	}
	keep(w, n_dims == 0 || n_dims > 4 ? -EINVAL : 0);
	keep(w, put_str64(&w->infos, name, strlen(name)));
	keep(w, hs_put_u32(&w->infos, n_dims));
	uint64_t elements = 1;
	for (uint32_t i = 0; i < n_dims && i < 4; i++) {
		if (dims[i] == 0 || dims[i] > (uint64_t)INT64_MAX / elements)
			keep(w, -EINVAL);
		else
			elements *= dims[i];
		keep(w, hs_put_u64(&w->infos, dims[i]));
	}
	size_t len = hs_tensor_type_bytes(type, elements);
	keep(w, len ? 0 : -EINVAL);
	keep(w, hs_put_u32(&w->infos, (uint32_t)type));
	keep(w, hs_put_u64(&w->infos, w->data_len));
	w->tensors[w->n_tensors++] = (struct data){.bytes = data, .len = len};
	w->data_len += aligned(len);
}

void hs_gguf_writer_on_progress(struct hs_gguf_writer *w, void (*fn)(void *arg, uint64_t done, uint64_t total), void *arg)
{
	w->progress = fn;
	w->progress_arg = arg;
}

/* Where the bytes go: a buffer or a descriptor. */
struct sink {
	struct hs_buf *buf;
	int fd;
	uint64_t written;
};

static int sink_put(struct sink *s, const void *data, size_t len)
{
	s->written += len;
	return s->buf ? hs_buf_append(s->buf, data, len) : hs_fd_write_all(s->fd, data, len);
}

static int sink_pad(struct sink *s)
{
	static const uint8_t zeros[ALIGNMENT];
	return sink_put(s, zeros, (size_t)(aligned(s->written) - s->written));
}

static int write_file(const struct hs_gguf_writer *w, struct sink *s)
{
	HS_BUF_AUTO head = HS_BUF_INIT;
	int rc = w->rc;
	if (rc == 0)
		rc = hs_buf_append(&head, "GGUF", 4);
	if (rc == 0)
		rc = hs_put_u32(&head, 3);
	if (rc == 0)
		rc = hs_put_u64(&head, w->n_tensors);
	if (rc == 0)
		rc = hs_put_u64(&head, w->n_kvs);
	if (rc == 0)
		rc = sink_put(s, head.data, head.len);
	if (rc == 0)
		rc = sink_put(s, w->kvs.data, w->kvs.len);
	if (rc == 0)
		rc = sink_put(s, w->infos.data, w->infos.len);
	if (rc == 0)
		rc = sink_pad(s);
	uint64_t done = 0;
	for (size_t i = 0; rc == 0 && i < w->n_tensors; i++) {
		rc = sink_put(s, w->tensors[i].bytes, w->tensors[i].len);
		if (rc == 0)
			rc = sink_pad(s);
		done += aligned(w->tensors[i].len);
		if (rc == 0 && w->progress)
			w->progress(w->progress_arg, done, w->data_len);
	}
	return rc;
}

int hs_gguf_write_buf(const struct hs_gguf_writer *w, struct hs_buf *out)
{
	return write_file(w, &(struct sink){.buf = out, .fd = -1});
}

int hs_gguf_write_fd(const struct hs_gguf_writer *w, int fd)
{
	return write_file(w, &(struct sink){.fd = fd});
}
