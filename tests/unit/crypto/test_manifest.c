#include "crypto/manifest.h"

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "tests/unit/test.h"

static struct hs_signer *signer;

static struct hs_manifest sample(void)
{
	struct hs_manifest m = {.operation = HS_MANIFEST_PUT, .tenant = hs_id_new("ten_"), .submission = hs_id_new("sub_"),
				.source = "src-1", .sequence = 7, .collection = "規程", .level = "社外秘", .access_list = "",
				.created = 1775001600000, .expires = 1775001700000, .length = 100, .hash = {1}, .content_mac = {2}};
	hs_signer_public(signer, m.sender);
	return m;
}

static void test_round_trip(void **state)
{
	struct hs_manifest m = sample(), back;
	HS_BUF_AUTO b = HS_BUF_INIT;
	assert_int_equal(hs_manifest_sign(&m, signer, &b, NULL), 0);
	assert_true(b.len <= HS_MANIFEST_MAX);
	assert_int_equal(hs_manifest_open(b.data, b.len, &back, NULL), 0);
	assert_memory_equal(&back, &m, sizeof m);
}

static void test_every_changed_byte_and_every_cut_is_refused(void **state)
{
	struct hs_manifest m = sample(), back;
	HS_BUF_AUTO b = HS_BUF_INIT;
	assert_int_equal(hs_manifest_sign(&m, signer, &b, NULL), 0);
	for (size_t i = 0; i < b.len; i++) {
		b.data[i] ^= 0x10;
		assert_true(hs_manifest_open(b.data, b.len, &back, NULL) < 0);
		b.data[i] ^= 0x10;
	}
	for (size_t cut = 0; cut < b.len; cut++)
		assert_true(hs_manifest_open(b.data, cut, &back, NULL) < 0);
}

static void test_fields_out_of_bounds_are_named(void **state)
{
	struct hs_manifest m[] = {sample(), sample(), sample(), sample(), sample(), sample(), sample()};
	const char *names[] = {"operation", "source", "sequence", "collection", "expires", "length", "tenant"};
	m[0].operation = 9;
	memcpy(m[1].source, "a\nb", 4);
	m[2].sequence = 0;
	m[3].collection[0] = '\0';
	m[4].expires = m[4].created;
	m[5].length = HS_MANIFEST_CIPHERTEXT_MAX + 1;
	m[6].tenant.s[0] = 'x';
	for (size_t i = 0; i < 7; i++) {
		HS_BUF_AUTO b = HS_BUF_INIT;
		struct hs_err err = HS_ERR_INIT;
		assert_int_equal(hs_manifest_sign(&m[i], signer, &b, &err), -EINVAL);
		assert_string_equal(err.object, names[i]);
		assert_int_equal(b.len, 0);
	}
}

static void test_deletes_carry_nothing(void **state)
{
	struct hs_manifest m = sample(), back;
	HS_BUF_AUTO b = HS_BUF_INIT;
	m.operation = HS_MANIFEST_DELETE;
	assert_int_equal(hs_manifest_sign(&m, signer, &b, NULL), -EINVAL);
	m.collection[0] = m.level[0] = '\0';
	m.length = 0;
	memset(m.content_mac, 0, sizeof m.content_mac);
	crypto_generichash(m.hash, sizeof m.hash, NULL, 0, NULL, 0);
	assert_int_equal(hs_manifest_sign(&m, signer, &b, NULL), 0);
	assert_int_equal(hs_manifest_open(b.data, b.len, &back, NULL), 0);
	assert_int_equal(back.operation, HS_MANIFEST_DELETE);
}

static void test_another_version_is_named(void **state)
{
	struct hs_manifest m = sample(), back;
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(hs_manifest_sign(&m, signer, &b, NULL), 0);
	b.data[8] = 2;
	assert_int_equal(hs_manifest_open(b.data, b.len, &back, &err), -ENOTSUP);
	assert_string_equal(err.code, "manifest.version");
}

static void test_checks_of_the_receiver(void **state)
{
	struct hs_manifest m = sample();
	struct hs_id other = hs_id_new("ten_");
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(hs_manifest_check(&m, &m.tenant, m.created, NULL), 0);
	assert_int_equal(hs_manifest_check(&m, &other, m.created, &err), -EACCES);
	assert_string_equal(err.code, "submission.foreign");
	assert_int_equal(hs_manifest_check(&m, &m.tenant, m.expires, &err), -ESTALE);
	assert_int_equal(hs_manifest_check_ciphertext(&m, m.length, m.hash, NULL), 0);
	assert_int_equal(hs_manifest_check_ciphertext(&m, m.length + 1, m.hash, NULL), -EBADMSG);
	uint8_t hash[32] = {9};
	assert_int_equal(hs_manifest_check_ciphertext(&m, m.length, hash, NULL), -EBADMSG);
}

int main(void)
{
	signer = hs_signer_create();
	if (!signer)
		return 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_every_changed_byte_and_every_cut_is_refused),
		cmocka_unit_test(test_fields_out_of_bounds_are_named),
		cmocka_unit_test(test_deletes_carry_nothing),
		cmocka_unit_test(test_another_version_is_named),
		cmocka_unit_test(test_checks_of_the_receiver),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	hs_signer_destroy(signer);
	return failed;
}
