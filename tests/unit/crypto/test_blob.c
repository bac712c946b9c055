#include "crypto/blob.h"

#include <errno.h>
#include <stdbool.h>

#include <sodium.h>

#include "tests/unit/test.h"
#include "tests/unit/crypto/folder.h"

static const uint8_t key_bytes[HS_KEY_LEN] = {4, 5, 6};
static const uint8_t other_bytes[HS_KEY_LEN] = {6, 5, 4};

static uint8_t *noise(size_t n)
{
	static const uint8_t seed[randombytes_SEEDBYTES] = {1};
	uint8_t *p = malloc(n ? n : 1);
	randombytes_buf_deterministic(p, n, seed);
	return p;
}

static void test_every_length_round_trips_in_ranges(void **state)
{
	struct folder *f = *state;
	HS_KEY_AUTO key = hs_key_copy(key_bytes);
	const size_t lengths[] = {0, 1, 1000, 65535, 65536, 65537, 131072, 200000};
	uint8_t *data = noise(200000), *back = malloc(200000);
	for (size_t i = 0; i < HS_ARRAY_LEN(lengths); i++) {
		size_t n = lengths[i];
		struct hs_blob_info info;
		struct hs_err err = HS_ERR_INIT;
		char name[32];
		(void)snprintf(name, sizeof name, "blb_%zu", n);
		struct hs_blob_writer *w;
		assert_int_equal(hs_blob_writer_create(f->fd, name, key, 3, &w, &err), 0);
		for (size_t at = 0; at < n; at += 7001)
			assert_int_equal(hs_blob_write(w, data + at, HS_MIN((size_t)7001, n - at), &err), 0);
		assert_int_equal(hs_blob_commit(w, &info, &err), 0);
		hs_blob_writer_destroy(w);
		assert_int_equal(info.length, n);
		struct hs_blob *b;
		assert_int_equal(hs_blob_open(f->fd, name, key, &info, &b, &err), 0);
		assert_int_equal(hs_blob_length(b), n);
		for (size_t at = 0; at <= n; at += 33333) {
			size_t part = HS_MIN((size_t)40000, n - at);
			assert_int_equal(hs_blob_read(b, at, back, part, &err), 0);
			assert_memory_equal(back, data + at, part);
		}
		assert_int_equal(hs_blob_read(b, n, back, 1, &err), -ERANGE);
		assert_int_equal(hs_blob_read(b, UINT64_MAX, back, 1, &err), -ERANGE);
		hs_blob_close(b);
		HS_BUF_AUTO all = HS_BUF_INIT;
		assert_int_equal(hs_blob_get(f->fd, name, key, &info, n, &all, &err), 0);
		assert_int_equal(all.len, n);
		if (n)
			assert_int_equal(hs_blob_get(f->fd, name, key, &info, n - 1, &all, &err), -EFBIG);
	}
	assert_int_equal(folder_count(f), HS_ARRAY_LEN(lengths)); /* no temporary name is left */
	free(data);
	free(back);
}

static int try_get(struct folder *f, const char *name, const struct hs_key *key, const struct hs_blob_info *info)
{
	HS_BUF_AUTO out = HS_BUF_INIT;
	return hs_blob_get(f->fd, name, key, info, 1 << 20, &out, NULL);
}

static void test_changes_swaps_and_cuts_are_told(void **state)
{
	struct folder *f = *state;
	HS_KEY_AUTO key = hs_key_copy(key_bytes);
	HS_KEY_AUTO other = hs_key_copy(other_bytes);
	struct hs_blob_info a, b, changed;
	struct hs_err err = HS_ERR_INIT;
	uint8_t *data = noise(150000);
	HS_BUF_AUTO file = HS_BUF_INIT;
	HS_BUF_AUTO bad = HS_BUF_INIT;
	assert_int_equal(hs_blob_put(f->fd, "blb_a", key, 1, data, 150000, &a, &err), 0);
	assert_int_equal(hs_blob_put(f->fd, "blb_b", key, 1, data, 150000, &b, &err), 0);
	assert_int_equal(try_get(f, "blb_a", key, &a), 0);
	assert_int_equal(try_get(f, "blb_a", other, &a), -EBADMSG);
	assert_int_equal(try_get(f, "blb_a", key, &b), -EBADMSG);
	assert_int_equal(try_get(f, "blb_none", key, &a), -ENOENT);
	/* Each byte of the wrapped key; length; generation; hash. */
	for (size_t i = 0; i < sizeof a.wrapped; i++) {
		changed = a;
		changed.wrapped[i] ^= 1;
		assert_int_equal(try_get(f, "blb_a", key, &changed), -EBADMSG);
	}
	changed = a, changed.length--;
	assert_int_equal(try_get(f, "blb_a", key, &changed), -EBADMSG);
	changed = a, changed.key_generation++;
	assert_int_equal(try_get(f, "blb_a", key, &changed), -EBADMSG);
	changed = a, changed.hash[0] ^= 1;
	assert_int_equal(try_get(f, "blb_a", key, &changed), -EBADMSG);
	/* The file: a bit anywhere, a chunk of the other, chunks exchanged, cut, longer. */
	assert_int_equal(folder_read(f, "blb_a", &file), 0);
	assert_int_equal(hs_buf_append(&bad, file.data, file.len), 0);
	for (size_t i = 0; i < file.len; i += i < 64 ? 1 : 997) {
		bad.data[i] ^= 0x10;
		assert_int_equal(folder_write(f, "blb_a", bad.data, bad.len), 0);
		int rc = try_get(f, "blb_a", key, &a);
		assert_true(rc == -EBADMSG || rc == -ENOTSUP);
		bad.data[i] ^= 0x10;
	}
	memcpy(bad.data + 24, file.data + 24 + 65552, 65552);
	memcpy(bad.data + 24 + 65552, file.data + 24, 65552);
	assert_int_equal(folder_write(f, "blb_a", bad.data, bad.len), 0);
	assert_int_equal(try_get(f, "blb_a", key, &a), -EBADMSG);
	assert_int_equal(folder_write(f, "blb_a", file.data, file.len - 1), 0);
	assert_int_equal(try_get(f, "blb_a", key, &a), -EBADMSG);
	/* Cut at a chunk border, with a row that agrees: the finality in the nonce tells. */
	changed = a, changed.length = 131072;
	assert_int_equal(folder_write(f, "blb_a", file.data, 24 + 2 * 65552), 0);
	assert_int_equal(try_get(f, "blb_a", key, &changed), -EBADMSG);
	assert_int_equal(hs_buf_append(&file, "x", 1), 0);
	assert_int_equal(folder_write(f, "blb_a", file.data, file.len), 0);
	assert_int_equal(try_get(f, "blb_a", key, &a), -EBADMSG);
	free(data);
}

static void test_abandoned_blobs_and_bad_names_leave_nothing(void **state)
{
	struct folder *f = *state;
	HS_KEY_AUTO key = hs_key_copy(key_bytes);
	struct hs_blob_writer *w;
	struct hs_blob_info info;
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(hs_blob_writer_create(f->fd, "blb_a", key, 1, &w, &err), 0);
	assert_int_equal(hs_blob_write(w, "secret", 6, &err), 0);
	hs_blob_writer_destroy(w);
	assert_int_equal(folder_count(f), 0);
	const char *bad[] = {"", ".", "..", "a/b", "/a", ".hidden",
			     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
	for (size_t i = 0; i < HS_ARRAY_LEN(bad); i++)
		assert_int_equal(hs_blob_put(f->fd, bad[i], key, 1, "x", 1, &info, &err), -EINVAL);
	assert_int_equal(hs_blob_put(f->fd, "blb_a", key, 1, "canary-canary", 13, &info, &err), 0);
	assert_false(folder_holds(f, "canary", 6));
	assert_int_equal(hs_blob_remove(f->fd, "blb_a"), 0);
	assert_int_equal(hs_blob_remove(f->fd, "blb_a"), 0);
	assert_int_equal(folder_count(f), 0);
}

static int try_unseal(const char *name, const struct hs_key *key, const struct hs_blob_info *info, const struct hs_buf *sealed,
		      size_t len)
{
	HS_BUF_AUTO out = HS_BUF_INIT;
	return hs_blob_unseal(name, key, info, sealed->data, len, 1 << 20, &out, NULL);
}

static void test_a_small_blob_needs_no_file_and_is_one(void **state)
{
	struct folder *f = *state;
	HS_KEY_AUTO key = hs_key_copy(key_bytes);
	HS_KEY_AUTO other = hs_key_copy(other_bytes);
	const size_t lengths[] = {0, 1, 20000, HS_BLOB_CHUNK};
	uint8_t *data = noise(HS_BLOB_CHUNK + 1);
	struct hs_blob_info info, changed;
	struct hs_err err = HS_ERR_INIT;
	for (size_t i = 0; i < HS_ARRAY_LEN(lengths); i++) {
		HS_BUF_AUTO sealed = HS_BUF_INIT;
		HS_BUF_AUTO plain = HS_BUF_INIT;
		HS_BUF_AUTO from_file = HS_BUF_INIT;
		size_t n = lengths[i];
		assert_int_equal(hs_blob_seal("blb_a", key, 3, data, n, &sealed, &info, &err), 0);
		assert_int_equal(info.length, n);
		assert_int_equal(hs_blob_unseal("blb_a", key, &info, sealed.data, sealed.len, n, &plain, &err), 0);
		assert_int_equal(plain.len, n);
		assert_memory_equal(plain.data ? plain.data : data, data, n);
		assert_int_equal(folder_write(f, "blb_a", sealed.data, sealed.len), 0); /* the same bytes as a file */
		assert_int_equal(hs_blob_get(f->fd, "blb_a", key, &info, n, &from_file, &err), 0);
		assert_int_equal(from_file.len, n);
		if (n)
			assert_int_equal(hs_blob_unseal("blb_a", key, &info, sealed.data, sealed.len, n - 1, &plain, &err), -EFBIG);
		assert_int_equal(try_unseal("blb_a", other, &info, &sealed, sealed.len), -EBADMSG);
		assert_int_equal(try_unseal("blb_b", key, &info, &sealed, sealed.len), -EBADMSG);
		for (size_t cut = 0; cut < sealed.len; cut += cut < 64 ? 1 : 997)
			assert_int_equal(try_unseal("blb_a", key, &info, &sealed, cut), -EBADMSG);
		for (size_t at = 0; at < sealed.len; at += at < 64 ? 1 : 997) {
			sealed.data[at] ^= 0x10;
			int rc = try_unseal("blb_a", key, &info, &sealed, sealed.len);
			assert_true(rc == -EBADMSG || rc == -ENOTSUP);
			sealed.data[at] ^= 0x10;
		}
		changed = info, changed.length++;
		assert_true(try_unseal("blb_a", key, &changed, &sealed, sealed.len) < 0);
		changed = info, changed.hash[0] ^= 1;
		assert_int_equal(try_unseal("blb_a", key, &changed, &sealed, sealed.len), -EBADMSG);
	}
	HS_BUF_AUTO none = HS_BUF_INIT;
	assert_int_equal(hs_blob_seal("blb_a", key, 3, data, HS_BLOB_CHUNK + 1, &none, &info, &err), -EINVAL);
	assert_int_equal(hs_blob_seal("../a", key, 3, data, 1, &none, &info, &err), -EINVAL);
	free(data);
}

#define T(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_every_length_round_trips_in_ranges),
		T(test_changes_swaps_and_cuts_are_told),
		T(test_abandoned_blobs_and_bad_names_leave_nothing),
		T(test_a_small_blob_needs_no_file_and_is_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
