#include "crypto/signer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "base/file.h"
#include "tests/unit/test.h"

static char folder[64];
static int dir = -1;

static int make_folder(void **state)
{
	memcpy(folder, "/tmp/hisho-test-signer-XXXXXX", sizeof "/tmp/hisho-test-signer-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? -1 : 0;
}

static int remove_folder(void **state)
{
	unlinkat(dir, "key", 0);
	close(dir);
	return rmdir(folder);
}

static void test_saved_keys_sign_alike(void **state)
{
	struct hs_signer *a = hs_signer_create(), *b;
	assert_int_equal(hs_signer_save(a, dir, "key", NULL), 0);
	struct stat st;
	assert_int_equal(fstatat(dir, "key", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(hs_signer_save(a, dir, "key", &err), -EEXIST);
	assert_string_equal(err.code, "sender.exists");
	assert_int_equal(hs_signer_load(dir, "key", &b, NULL), 0);
	uint8_t key_a[HS_SIGNER_PUBLIC_LEN], key_b[HS_SIGNER_PUBLIC_LEN], signature[HS_SIGNER_SIGNATURE_LEN];
	hs_signer_public(a, key_a);
	hs_signer_public(b, key_b);
	assert_memory_equal(key_a, key_b, sizeof key_a);
	hs_signer_sign(b, "text", 4, signature);
	assert_int_equal(crypto_sign_verify_detached(signature, (const uint8_t *)"text", 4, key_a), 0);
	hs_signer_destroy(a);
	hs_signer_destroy(b);
}

static void test_files_that_are_no_keys(void **state)
{
	struct hs_signer *s;
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(hs_signer_load(dir, "missing", &s, &err), -ENOENT);
	assert_string_equal(err.code, "sender.missing");
	assert_int_equal(hs_file_replace(dir, "key", "hssk1_", 6, 0600), 0);
	assert_int_equal(hs_signer_load(dir, "key", &s, NULL), -EPROTO);
	static char large[8000];
	assert_int_equal(hs_file_replace(dir, "key", large, sizeof large, 0600), 0);
	assert_int_equal(hs_signer_load(dir, "key", &s, NULL), -EPROTO);
}

static void test_public_texts(void **state)
{
	struct hs_signer *s = hs_signer_create();
	uint8_t key[HS_SIGNER_PUBLIC_LEN], back[HS_SIGNER_PUBLIC_LEN];
	char text[HS_SIGNER_TEXT_LEN + 1];
	hs_signer_public(s, key);
	hs_signer_public_format(key, text);
	assert_int_equal(strlen(text), HS_SIGNER_TEXT_LEN);
	assert_int_equal(hs_signer_public_parse(text, strlen(text), back, NULL), 0);
	assert_memory_equal(key, back, sizeof key);
	for (size_t i = 0; i < HS_SIGNER_TEXT_LEN; i++) {
		char kept = text[i];
		text[i] = kept == 'a' ? 'b' : 'a';
		assert_int_equal(hs_signer_public_parse(text, HS_SIGNER_TEXT_LEN, back, NULL), -EINVAL);
		text[i] = kept;
	}
	hs_signer_destroy(s);
}

static void test_points_of_small_order_are_no_keys(void **state)
{
	const uint8_t neutral[HS_SIGNER_PUBLIC_LEN] = {1};
	uint8_t back[HS_SIGNER_PUBLIC_LEN];
	char text[HS_SIGNER_TEXT_LEN + 1];
	hs_signer_public_format(neutral, text);
	assert_int_equal(hs_signer_public_parse(text, HS_SIGNER_TEXT_LEN, back, NULL), -EINVAL);
}

static void test_content_macs_differ_by_sender_source_and_content(void **state)
{
	struct hs_signer *a = hs_signer_create(), *b = hs_signer_create();
	const uint8_t one[32] = {1}, two[32] = {2};
	uint8_t m[5][HS_SIGNER_MAC_LEN];
	hs_signer_content_mac(a, "s", 1, one, m[0]);
	hs_signer_content_mac(a, "s", 1, one, m[1]);
	hs_signer_content_mac(b, "s", 1, one, m[2]);
	hs_signer_content_mac(a, "t", 1, one, m[3]);
	hs_signer_content_mac(a, "s", 1, two, m[4]);
	assert_memory_equal(m[0], m[1], sizeof m[0]);
	for (int i = 2; i < 5; i++)
		assert_memory_not_equal(m[0], m[i], sizeof m[0]);
	hs_signer_destroy(a);
	hs_signer_destroy(b);
}

int main(void)
{
	if (hs_crypto_init() < 0)
		return 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_saved_keys_sign_alike),
		cmocka_unit_test(test_files_that_are_no_keys),
		cmocka_unit_test(test_public_texts),
		cmocka_unit_test(test_points_of_small_order_are_no_keys),
		cmocka_unit_test(test_content_macs_differ_by_sender_source_and_content),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
