#include "inference/gguf/gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/wire.h"
#include "inference/gguf/writer.h"
#include "tests/unit/test.h"

/* A small valid file with every kind of metadata and three tensors. */
static void make_file(struct hs_buf *out)
{
	static uint8_t q8[2 * 34], q4k[144];
	static const float f32[6] = {1, 2, 3, 4, 5, 6};
	static const struct hs_gguf_str words[] = {{"秘書", 6}, {"", 0}, {"a\0b", 3}};
	struct hs_gguf_writer *w = hs_gguf_writer_create();
	assert_non_null(w);
	hs_gguf_put_str(w, "general.architecture", "qwen2");
	hs_gguf_put_u32(w, "qwen2.block_count", 28);
	hs_gguf_put_f32(w, "qwen2.eps", 0.5f);
	hs_gguf_put_bool(w, "flag", true);
	hs_gguf_put_str_array(w, "words", words, 3);
	hs_gguf_put_f32_array(w, "scores", f32, 6);
	hs_gguf_put_i32_array(w, "types", (const int32_t[]){1, -2, 3}, 3);
	hs_gguf_put_bytes(w, "map", (const uint8_t *)"\x01\x02", 2);
	memset(q8, 7, sizeof q8);
	hs_gguf_put_tensor(w, "b.weight", HS_Q8_0, 2, (const uint64_t[]){32, 2}, q8);
	hs_gguf_put_tensor(w, "a.weight", HS_F32, 2, (const uint64_t[]){3, 2}, f32);
	hs_gguf_put_tensor(w, "c.weight", HS_Q4_K, 1, (const uint64_t[]){256}, q4k);
	assert_int_equal(hs_gguf_write_buf(w, out), 0);
	hs_gguf_writer_destroy(w);
}

static void test_reads_what_the_writer_wrote(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	make_file(&b);
	struct hs_gguf *g = NULL;
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(hs_gguf_open_memory(b.data, b.len, &g, &err), 0);
	uint64_t u = 0;
	float f = 0;
	bool flag = false;
	struct hs_gguf_str s, words[3];
	assert_true(hs_gguf_get_u64(g, "qwen2.block_count", &u) && u == 28);
	assert_true(hs_gguf_get_f32(g, "qwen2.eps", &f) && f == 0.5f);
	assert_true(hs_gguf_get_bool(g, "flag", &flag) && flag);
	assert_true(hs_gguf_get_str(g, "general.architecture", &s));
	assert_int_equal(s.len, 5);
	assert_memory_equal(s.s, "qwen2", 5);
	assert_false(hs_gguf_get_str_array(g, "words", words, 2));
	assert_true(hs_gguf_get_str_array(g, "words", words, 3));
	assert_int_equal(words[0].len, 6);
	assert_int_equal(words[1].len, 0);
	assert_memory_equal(words[2].s, "a\0b", 3);
	float scores[6];
	assert_true(hs_gguf_get_f32_array(g, "scores", scores, 6) && scores[5] == 6);
	int32_t types[3];
	assert_true(hs_gguf_get_i32_array(g, "types", types, 3) && types[1] == -2);
	const uint8_t *map;
	size_t n;
	assert_true(hs_gguf_get_bytes(g, "map", &map, &n) && n == 2 && map[1] == 2);
	assert_true(hs_gguf_get_array_len(g, "types", &n) && n == 3);
	/* absent, or of another kind */
	assert_false(hs_gguf_get_u64(g, "absent", &u));
	assert_false(hs_gguf_get_u64(g, "qwen2.eps", &u));
	assert_false(hs_gguf_get_f32(g, "qwen2.block_count", &f));
	assert_false(hs_gguf_get_str(g, "flag", &s));
	assert_false(hs_gguf_get_i32_array(g, "scores", types, 6));
	assert_false(hs_gguf_get_bytes(g, "types", &map, &n));
	/* tensors */
	assert_int_equal(hs_gguf_tensor_count(g), 3);
	const struct hs_gguf_tensor *t = hs_gguf_find_tensor(g, "a.weight");
	assert_non_null(t);
	assert_int_equal(t->type, HS_F32);
	assert_int_equal(t->bytes, 24);
	assert_true(t->dims[0] == 3 && t->dims[1] == 2 && t->dims[2] == 1 && t->dims[3] == 1);
	float v;
	memcpy(&v, t->data + 20, 4);
	assert_true(v == 6);
	assert_int_equal(hs_gguf_find_tensor(g, "b.weight")->data[67], 7);
	assert_non_null(hs_gguf_find_tensor(g, "c.weight"));
	assert_null(hs_gguf_find_tensor(g, "d.weight"));
	assert_null(hs_gguf_find_tensor(g, ""));
	assert_true(hs_gguf_tensor_at(g, 0) == hs_gguf_find_tensor(g, "b.weight"));
	assert_null(hs_gguf_tensor_at(g, 3));
	hs_gguf_close(g);
}

static void test_opens_a_file(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	make_file(&b);
	char path[] = "/tmp/hisho-gguf-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, b.data, b.len), (ssize_t)b.len);
	struct hs_gguf *g = NULL;
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(hs_gguf_open(path, &g, &err), 0);
	assert_int_equal(hs_gguf_tensor_count(g), 3);
	hs_gguf_close(g);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(hs_gguf_open(path, &g, &err), -EINVAL);
	close(fd);
	unlink(path);
	assert_int_equal(hs_gguf_open(path, &g, &err), -ENOENT);
	assert_int_equal(hs_gguf_open("/tmp", &g, &err), -EINVAL);
}

static void test_every_truncation_is_refused(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	make_file(&b);
	size_t whole = b.len - (32 - 144 % 32); /* the last tensor's padding may be missing */
	for (size_t n = 0; n < whole; n++) {
		uint8_t *copy = malloc(n ? n : 1); /* exactly sized: a sanitizer sees a read past it */
		assert_non_null(copy);
		memcpy(copy, b.data, n);
		struct hs_gguf *g = NULL;
		struct hs_err err = HS_ERR_INIT;
		assert_int_equal(hs_gguf_open_memory(copy, n, &g, &err), -EINVAL);
		assert_null(g);
		assert_string_equal(err.code, "gguf.invalid");
		free(copy);
	}
}

static void test_every_flipped_byte_is_survived(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	make_file(&b);
	static const uint8_t flips[] = {0x01, 0x80, 0xff};
	unsigned refused = 0;
	for (size_t i = 0; i < b.len; i++)
		for (size_t k = 0; k < HS_ARRAY_LEN(flips); k++) {
			b.data[i] ^= flips[k];
			struct hs_gguf *g = NULL;
			struct hs_err err = HS_ERR_INIT;
			if (hs_gguf_open_memory(b.data, b.len, &g, &err) < 0)
				refused++;
			hs_gguf_close(g);
			b.data[i] ^= flips[k];
		}
	assert_true(refused > 100);
}

/* A hand-made file: a header, then whatever the case appends. */
static void begin(struct hs_buf *b, uint32_t version, uint64_t n_tensors, uint64_t n_kvs)
{
	b->len = 0;
	assert_int_equal(hs_buf_append(b, "GGUF", 4) | hs_put_u32(b, version) | hs_put_u64(b, n_tensors) | hs_put_u64(b, n_kvs),
			 0);
}

static void str(struct hs_buf *b, const char *s)
{
	assert_int_equal(hs_put_u64(b, strlen(s)) | hs_buf_append_str(b, s), 0);
}

static void u32(struct hs_buf *b, uint32_t v)
{
	assert_int_equal(hs_put_u32(b, v), 0);
}

static void u64(struct hs_buf *b, uint64_t v)
{
	assert_int_equal(hs_put_u64(b, v), 0);
}

static void expect(const struct hs_buf *b, int rc, const char *object)
{
	struct hs_gguf *g = NULL;
	struct hs_err err = HS_ERR_INIT;
	uint8_t *copy = malloc(b->len);
	assert_non_null(copy);
	memcpy(copy, b->data, b->len);
	assert_int_equal(hs_gguf_open_memory(copy, b->len, &g, &err), rc);
	if (rc < 0) {
		assert_null(g);
		assert_string_equal(err.object, object);
		assert_true(err.hint[0] != 0);
	}
	hs_gguf_close(g);
	free(copy);
}

static void tensor(struct hs_buf *b, const char *name, uint32_t type, uint64_t d0, uint64_t d1, uint64_t offset)
{
	str(b, name);
	u32(b, 2);
	u64(b, d0);
	u64(b, d1);
	u32(b, type);
	u64(b, offset);
}

static void pad(struct hs_buf *b, size_t more)
{
	while (b->len % 32)
		assert_int_equal(hs_put_u8(b, 0), 0);
	for (size_t i = 0; i < more; i++)
		assert_int_equal(hs_put_u8(b, 0), 0);
}

static void test_lying_headers(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	begin(&b, 1, 0, 0);
	expect(&b, -ENOTSUP, "version 0x00000001");
	begin(&b, 0x03000000, 0, 0);
	expect(&b, -ENOTSUP, "version 0x03000000");
	begin(&b, 3, 0, 0);
	expect(&b, 0, NULL);
	begin(&b, 2, 0, 0);
	expect(&b, 0, NULL);
	begin(&b, 3, 0, UINT64_MAX);
	expect(&b, -EINVAL, "metadata count");
	begin(&b, 3, UINT64_MAX, 0);
	expect(&b, -EINVAL, "tensor count");
	begin(&b, 3, 1, 0);
	expect(&b, -EINVAL, "tensor count");
	b.data[0] = 'g';
	expect(&b, -EINVAL, "magic");
}

static void test_lying_metadata(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	begin(&b, 3, 0, 1);
	u64(&b, UINT64_MAX); /* key length */
	pad(&b, 32);
	expect(&b, -EINVAL, "key length");
	begin(&b, 3, 0, 1);
	str(&b, "");
	pad(&b, 32);
	expect(&b, -EINVAL, "key length");
	begin(&b, 3, 0, 1);
	str(&b, "k");
	u32(&b, 13);
	pad(&b, 32);
	expect(&b, -EINVAL, "value type of k");
	begin(&b, 3, 0, 1);
	str(&b, "k");
	u32(&b, 8); /* a string that says it is longer than the file */
	u64(&b, 1u << 30);
	pad(&b, 32);
	expect(&b, -EINVAL, "value of k");
	begin(&b, 3, 0, 1);
	str(&b, "k");
	u32(&b, 7);
	assert_int_equal(hs_put_u8(&b, 2), 0);
	expect(&b, -EINVAL, "value of k");
	begin(&b, 3, 0, 1);
	str(&b, "k");
	u32(&b, 9);
	u32(&b, 10); /* array of u64 whose size wraps */
	u64(&b, UINT64_MAX / 8 + 2);
	pad(&b, 32);
	expect(&b, -EINVAL, "array of k");
	begin(&b, 3, 0, 1);
	str(&b, "k");
	u32(&b, 9);
	u32(&b, 8); /* array of strings, the second cut short */
	u64(&b, 2);
	str(&b, "x");
	u64(&b, 3);
	expect(&b, -EINVAL, "array of k");
	begin(&b, 3, 0, 2);
	for (int i = 0; i < 2; i++) {
		str(&b, "twice");
		u32(&b, 4);
		u32(&b, 1);
	}
	expect(&b, -EINVAL, "key of twice");
	begin(&b, 3, 0, 1);
	str(&b, "general.alignment");
	u32(&b, 4);
	u32(&b, 24);
	expect(&b, -EINVAL, "general.alignment");
}

static void test_nesting_is_bounded(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	begin(&b, 3, 0, 1);
	str(&b, "k");
	u32(&b, 9);
	for (int i = 0; i < 3; i++) { /* four deep: allowed */
		u32(&b, 9);
		u64(&b, 1);
	}
	u32(&b, 0);
	u64(&b, 0);
	expect(&b, 0, NULL);
	begin(&b, 3, 0, 1);
	str(&b, "k");
	u32(&b, 9);
	for (int i = 0; i < 100000; i++) {
		u32(&b, 9);
		u64(&b, 1);
	}
	u32(&b, 0);
	u64(&b, 0);
	expect(&b, -EINVAL, "array of k");
}

static void test_lying_tensors(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	begin(&b, 3, 1, 0);
	tensor(&b, "t", HS_F32, 4, 2, 0);
	pad(&b, 32);
	expect(&b, 0, NULL);
	begin(&b, 3, 1, 0);
	tensor(&b, "t", HS_F32, 4, 2, 32); /* beyond the end */
	pad(&b, 32);
	expect(&b, -EINVAL, "offset of t");
	begin(&b, 3, 1, 0);
	tensor(&b, "t", HS_F32, 4, 2, UINT64_MAX - 31); /* wraps */
	pad(&b, 32);
	expect(&b, -EINVAL, "offset of t");
	begin(&b, 3, 1, 0);
	tensor(&b, "t", HS_F32, 4, 2, 8);
	pad(&b, 64);
	expect(&b, -EINVAL, "offset of t"); /* not aligned */
	begin(&b, 3, 1, 0);
	tensor(&b, "t", HS_F32, 0, 2, 0);
	pad(&b, 64);
	expect(&b, -EINVAL, "dimensions of t");
	begin(&b, 3, 1, 0);
	tensor(&b, "t", HS_F32, (uint64_t)1 << 62, 4, 0);
	pad(&b, 64);
	expect(&b, -EINVAL, "dimensions of t");
	begin(&b, 3, 1, 0);
	tensor(&b, "t", HS_Q4_K, 128, 2, 0); /* two rows of half a block */
	pad(&b, 256);
	expect(&b, -EINVAL, "dimensions of t");
	begin(&b, 3, 1, 0);
	tensor(&b, "t", 99, 4, 2, 0);
	pad(&b, 64);
	expect(&b, -ENOTSUP, "type 99 of t");
	begin(&b, 3, 2, 0);
	tensor(&b, "t", HS_F32, 16, 1, 0);
	tensor(&b, "u", HS_F32, 16, 1, 32);
	pad(&b, 96);
	expect(&b, -EINVAL, "offset of u"); /* overlaps */
	begin(&b, 3, 2, 0);
	tensor(&b, "t", HS_F32, 8, 1, 0);
	tensor(&b, "t", HS_F32, 8, 1, 32);
	pad(&b, 64);
	expect(&b, -EINVAL, "name of t");
	begin(&b, 3, 1, 0);
	str(&b, "t");
	u32(&b, 5);
	pad(&b, 96);
	expect(&b, -EINVAL, "dimension count of t");
	begin(&b, 3, 1, 0);
	tensor(&b, "0123456789012345678901234567890123456789012345678901234567890123x", HS_F32, 8, 1, 0);
	pad(&b, 64);
	expect(&b, -EINVAL, "tensor name length");
}

static void test_writer_keeps_its_first_failure(void **state)
{
	struct hs_gguf_writer *w = hs_gguf_writer_create();
	assert_non_null(w);
	hs_gguf_put_tensor(w, "t", HS_Q4_K, 1, (const uint64_t[]){100}, "");
	hs_gguf_put_u32(w, "k", 1);
	HS_BUF_AUTO b = HS_BUF_INIT;
	assert_int_equal(hs_gguf_write_buf(w, &b), -EINVAL);
	hs_gguf_writer_destroy(w);
	hs_gguf_writer_destroy(NULL);
}

static void test_type_sizes(void **state)
{
	assert_int_equal(hs_tensor_type_bytes(HS_Q6_K, 512), 420);
	assert_int_equal(hs_tensor_type_bytes(HS_Q5_0, 33), 0);
	assert_int_equal(hs_tensor_type_bytes((enum hs_tensor_type)77, 32), 0);
	assert_string_equal(hs_tensor_type_name(HS_BF16), "BF16");
	assert_string_equal(hs_tensor_type_name((enum hs_tensor_type)77), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_what_the_writer_wrote),
		cmocka_unit_test(test_opens_a_file),
		cmocka_unit_test(test_every_truncation_is_refused),
		cmocka_unit_test(test_every_flipped_byte_is_survived),
		cmocka_unit_test(test_lying_headers),
		cmocka_unit_test(test_lying_metadata),
		cmocka_unit_test(test_nesting_is_bounded),
		cmocka_unit_test(test_lying_tensors),
		cmocka_unit_test(test_writer_keeps_its_first_failure),
		cmocka_unit_test(test_type_sizes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
