#include "crypto/keyring.h"

#include <errno.h>

#include <sodium.h>

#include "tests/unit/test.h"
#include "tests/unit/crypto/folder.h"

static const uint8_t secret[HS_KEY_LEN] = {9, 8, 7};
static const struct hs_root root = {.kind = HS_ROOT_SECRET, .bytes = secret, .len = sizeof secret};

static struct hs_keyring *make(struct folder *f)
{
	struct hs_keyring *k = NULL;
	struct hs_err err = HS_ERR_INIT;
	if (hs_keyring_create(f->fd, "keyring", &root, &k, &err) < 0)
		fail_msg("%s %s", err.code, err.object);
	return k;
}

static struct hs_id add(struct hs_keyring *k, const char *name)
{
	struct hs_id id = hs_id_new("ten_");
	assert_int_equal(hs_keyring_add_tenant(k, &id, name, 1000, NULL), 0);
	return id;
}

static void test_keys_survive_reopening(void **state)
{
	struct folder *f = *state;
	struct hs_keyring *k = make(f);
	struct hs_err err = HS_ERR_INIT;
	struct hs_keyring_tenant t;
	struct hs_id a = add(k, "shoji"), b = add(k, "byoin");
	HS_KEY_AUTO first = NULL;
	HS_KEY_AUTO again = NULL;
	HS_KEY_AUTO other = NULL;
	uint8_t public[HS_SIGN_PUBLIC_LEN], signature[HS_SIGNATURE_LEN];
	assert_int_equal(hs_keyring_unwrap_tenant(k, a.s, &first, &t, &err), 0);
	assert_string_equal(t.name, "shoji");
	assert_int_equal(hs_keyring_create(f->fd, "keyring", &root, &k, &err), -EEXIST);
	hs_keyring_close(k);
	assert_int_equal(hs_keyring_open(f->fd, "keyring", &root, &k, &err), 0);
	assert_int_equal(hs_keyring_count(k), 2);
	assert_int_equal(hs_keyring_unwrap_tenant(k, "shoji", &again, &t, &err), 0);
	assert_memory_equal(first->bytes, again->bytes, HS_KEY_LEN);
	assert_int_equal(t.created, 1000);
	assert_int_equal(hs_keyring_unwrap_tenant(k, b.s, &other, NULL, &err), 0);
	assert_memory_not_equal(first->bytes, other->bytes, HS_KEY_LEN);
	assert_int_equal(hs_keyring_unwrap_tenant(k, "nobody", &other, NULL, &err), -ENOENT);
	hs_keyring_public(k, public);
	assert_int_equal(hs_keyring_sign(k, "head", 4, signature), 0);
	assert_int_equal(crypto_sign_verify_detached(signature, (const uint8_t *)"head", 4, public), 0);
	/* The file holds no key in clear. */
	assert_false(folder_holds(f, first->bytes, HS_KEY_LEN));
	assert_false(folder_holds(f, secret, HS_KEY_LEN));
	hs_keyring_close(k);
}

static void test_names_and_limits(void **state)
{
	struct folder *f = *state;
	struct hs_keyring *k = make(f);
	struct hs_err err = HS_ERR_INIT;
	struct hs_id a = add(k, "shoji"), b = hs_id_new("ten_"), wrong = hs_id_new("usr_");
	assert_int_equal(hs_keyring_add_tenant(k, &b, "shoji", 0, &err), -EEXIST);
	assert_int_equal(hs_keyring_add_tenant(k, &a, "another", 0, &err), -EEXIST);
	assert_int_equal(hs_keyring_add_tenant(k, &wrong, "another", 0, &err), -EINVAL);
	const char *bad[] = {"", "Shoji", "9a", "-a", "a_b", "日本", "a/b",
			     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
	for (size_t i = 0; i < HS_ARRAY_LEN(bad); i++)
		assert_int_equal(hs_keyring_add_tenant(k, &b, bad[i], 0, &err), -EINVAL);
	assert_int_equal(hs_keyring_count(k), 1);
	hs_keyring_close(k);
}

static void test_wrong_roots(void **state)
{
	struct folder *f = *state;
	struct hs_keyring *k = make(f), *no = NULL;
	struct hs_err err = HS_ERR_INIT;
	hs_keyring_close(k);
	uint8_t other[HS_KEY_LEN] = {1};
	struct hs_root bad = {.kind = HS_ROOT_SECRET, .bytes = other, .len = sizeof other};
	assert_int_equal(hs_keyring_open(f->fd, "keyring", &bad, &no, &err), -EACCES);
	assert_string_equal(err.code, "keyring.root");
	bad.len = 31;
	assert_int_equal(hs_keyring_open(f->fd, "keyring", &bad, &no, &err), -EINVAL);
	bad = (struct hs_root){.kind = HS_ROOT_PASSPHRASE, .bytes = (const uint8_t *)"correct horse battery", .len = 21};
	assert_int_equal(hs_keyring_open(f->fd, "keyring", &bad, &no, &err), -EACCES);
	assert_int_equal(hs_keyring_open(f->fd, "none", &root, &no, &err), -ENOENT);
	assert_null(no);
}

static void test_a_passphrase(void **state)
{
	struct folder *f = *state;
	struct hs_keyring *k = NULL;
	struct hs_err err = HS_ERR_INIT;
	struct hs_root phrase = {.kind = HS_ROOT_PASSPHRASE, .bytes = (const uint8_t *)"正しい馬の電池のホチキス", .len = 36};
	assert_int_equal(hs_keyring_create(f->fd, "keyring", &phrase, &k, &err), 0);
	add(k, "shoji");
	hs_keyring_close(k);
	k = NULL;
	enum hs_root_kind kind = HS_ROOT_SECRET;
	assert_int_equal(hs_keyring_kind(f->fd, "keyring", &kind, &err), 0);
	assert_int_equal(kind, HS_ROOT_PASSPHRASE);
	assert_int_equal(hs_keyring_kind(f->fd, "nowhere", &kind, &err), -ENOENT);
	assert_int_equal(hs_keyring_open(f->fd, "keyring", &phrase, &k, &err), 0);
	assert_int_equal(hs_keyring_count(k), 1);
	hs_keyring_close(k);
	k = NULL;
	phrase.len = 35;
	assert_int_equal(hs_keyring_open(f->fd, "keyring", &phrase, &k, &err), -EACCES);
	phrase.len = 8;
	assert_int_equal(hs_keyring_open(f->fd, "keyring", &phrase, &k, &err), -EINVAL);
	/* Limits that would eat the machine are refused before they are tried. */
	HS_BUF_AUTO file = HS_BUF_INIT;
	assert_int_equal(folder_read(f, "keyring", &file), 0);
	memset(file.data + 40, 0xff, 8); /* memory */
	phrase.len = 36;
	assert_int_equal(folder_write(f, "bad", file.data, file.len), 0);
	assert_int_equal(hs_keyring_open(f->fd, "bad", &phrase, &k, &err), -EBADMSG);
	assert_non_null(strstr(err.object, "argon2id"));
}

static void test_every_changed_byte_and_cut_is_refused(void **state)
{
	struct folder *f = *state;
	struct hs_keyring *k = make(f), *no = NULL;
	struct hs_err err = HS_ERR_INIT;
	add(k, "shoji");
	hs_keyring_close(k);
	HS_BUF_AUTO file = HS_BUF_INIT;
	assert_int_equal(folder_read(f, "keyring", &file), 0);
	int fd = openat(f->fd, "bad", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	for (size_t i = 0; i < file.len; i++) {
		file.data[i] ^= 1;
		assert_int_equal(pwrite(fd, file.data, file.len, 0), (ssize_t)file.len);
		assert_true(hs_keyring_open(f->fd, "bad", &root, &no, &err) < 0);
		file.data[i] ^= 1;
	}
	for (size_t i = 0; i < file.len; i += 3) {
		assert_int_equal(pwrite(fd, file.data, file.len, 0), (ssize_t)file.len);
		assert_int_equal(ftruncate(fd, (off_t)i), 0);
		assert_true(hs_keyring_open(f->fd, "bad", &root, &no, &err) < 0);
	}
	close(fd);
	file.data[8] = 9;
	assert_int_equal(folder_write(f, "newer", file.data, file.len), 0);
	assert_int_equal(hs_keyring_open(f->fd, "newer", &root, &no, &err), -ENOTSUP);
	assert_string_equal(err.code, "keyring.format");
	assert_null(no);
}

static void test_destroying_starts_a_new_epoch(void **state)
{
	struct folder *f = *state;
	struct hs_keyring *k = make(f);
	struct hs_err err = HS_ERR_INIT;
	HS_BUF_AUTO before = HS_BUF_INIT;
	HS_BUF_AUTO after = HS_BUF_INIT;
	HS_KEY_AUTO kept = NULL;
	HS_KEY_AUTO again = NULL;
	HS_KEY_AUTO none = NULL;
	add(k, "shoji");
	add(k, "byoin");
	assert_int_equal(hs_keyring_unwrap_tenant(k, "byoin", &kept, NULL, &err), 0);
	assert_int_equal(folder_read(f, "keyring", &before), 0);
	assert_int_equal(hs_keyring_destroy_tenant(k, "shoji", &err), 0);
	assert_int_equal(hs_keyring_destroy_tenant(k, "shoji", &err), -ENOENT);
	assert_int_equal(hs_keyring_epoch(k), 2);
	assert_int_equal(hs_keyring_unwrap_tenant(k, "shoji", &none, NULL, &err), -ENOENT);
	hs_keyring_close(k);
	assert_int_equal(hs_keyring_open(f->fd, "keyring", &root, &k, &err), 0);
	assert_int_equal(hs_keyring_count(k), 1);
	assert_int_equal(hs_keyring_unwrap_tenant(k, "byoin", &again, NULL, &err), 0);
	assert_memory_equal(kept->bytes, again->bytes, HS_KEY_LEN);
	/* No wrapped key of the old epoch is in the new file. */
	assert_int_equal(folder_read(f, "keyring", &after), 0);
	assert_null(memmem(after.data, after.len, "shoji", 5));
	size_t old_end = before.len - 32 - 32; /* the last entry's wrapped key lies before its commitment and the MAC */
	assert_null(memmem(after.data, after.len, before.data + old_end - 72, 72));
	hs_keyring_close(k);
}

static void test_a_failing_disk_changes_nothing(void **state)
{
	struct folder *f = *state;
	struct hs_keyring *k = make(f);
	struct hs_err err = HS_ERR_INIT;
	add(k, "shoji");
	struct hs_id b = hs_id_new("ten_");
	if (geteuid() == 0) { /* root writes in any folder: take the folder away instead */
		char moved[PATH_MAX + 8];
		(void)snprintf(moved, sizeof moved, "%s/sub", f->path);
		assert_int_equal(mkdir(moved, 0700), 0);
		int sub = open(moved, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		struct hs_keyring *lost = NULL;
		assert_int_equal(hs_keyring_create(sub, "keyring", &root, &lost, &err), 0);
		add(lost, "shoji");
		assert_int_equal(unlinkat(sub, "keyring", 0), 0);
		assert_int_equal(rmdir(moved), 0);
		assert_true(hs_keyring_add_tenant(lost, &b, "byoin", 0, &err) < 0);
		assert_int_equal(hs_keyring_count(lost), 1);
		assert_true(hs_keyring_destroy_tenant(lost, "shoji", &err) < 0);
		assert_int_equal(hs_keyring_count(lost), 1);
		assert_int_equal(hs_keyring_epoch(lost), 1);
		hs_keyring_close(lost);
		close(sub);
	} else {
		assert_int_equal(chmod(f->path, 0500), 0);
		assert_true(hs_keyring_add_tenant(k, &b, "byoin", 0, &err) < 0);
		assert_int_equal(hs_keyring_count(k), 1);
		assert_int_equal(chmod(f->path, 0700), 0);
	}
	hs_keyring_close(k);
}

static void test_subkeys_differ(void **state)
{
	HS_KEY_AUTO tenant = hs_key_copy(secret);
	uint8_t seen[7][HS_KEY_LEN];
	for (int i = 0; i < 7; i++) {
		HS_KEY_AUTO sub = hs_key_derive(tenant, (enum hs_subkey)(i + 1));
		assert_non_null(sub);
		memcpy(seen[i], sub->bytes, HS_KEY_LEN);
		for (int j = 0; j < i; j++)
			assert_memory_not_equal(seen[i], seen[j], HS_KEY_LEN);
	}
}

static void test_root_files(void **state)
{
	struct folder *f = *state;
	struct hs_err err = HS_ERR_INIT;
	struct stat st;
	HS_KEY_AUTO k = NULL;
	assert_int_equal(hs_root_create(f->fd, "root", &err), 0);
	assert_int_equal(hs_root_create(f->fd, "root", &err), -EEXIST);
	assert_int_equal(fstatat(f->fd, "root", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(hs_root_read(f->fd, "root", &k, &err), 0);
	for (size_t n = 0; n < 40; n += 31) { /* 0 and 31 bytes */
		HS_KEY_AUTO bad = NULL;
		assert_int_equal(folder_write(f, "short", secret, n), 0);
		assert_int_equal(hs_root_read(f->fd, "short", &bad, &err), -EINVAL);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_keys_survive_reopening),
		T(test_names_and_limits),
		T(test_wrong_roots),
		T(test_a_passphrase),
		T(test_every_changed_byte_and_cut_is_refused),
		T(test_destroying_starts_a_new_epoch),
		T(test_a_failing_disk_changes_nothing),
		cmocka_unit_test(test_subkeys_differ),
		T(test_root_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
