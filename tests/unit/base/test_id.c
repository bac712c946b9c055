#include "base/id.h"

#include <string.h>

#include "tests/unit/test.h"

static void test_ids_are_valid_and_differ(void **state)
{
	struct hs_id a = hs_id_new("doc_"), b = hs_id_new("doc_");
	assert_true(hs_id_valid(a.s, strlen(a.s), "doc_"));
	assert_false(hs_id_valid(a.s, strlen(a.s), "ver_"));
	assert_string_not_equal(a.s, b.s);
}

static void test_malformed_ids_are_refused(void **state)
{
	struct hs_id id = hs_id_new("doc_");
	assert_false(hs_id_valid(id.s, HS_ID_LEN - 1, "doc_"));
	id.s[10] = 'A';
	assert_false(hs_id_valid(id.s, HS_ID_LEN, "doc_"));
	id.s[10] = '\0';
	assert_false(hs_id_valid(id.s, HS_ID_LEN, "doc_"));
}

static void test_base32_vectors(void **state) /* RFC 4648 section 10, lower case, no padding */
{
	const char *in[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
	const char *out[] = {"", "my", "mzxq", "mzxw6", "mzxw6yq", "mzxw6ytb", "mzxw6ytboi"};
	for (size_t i = 0; i < sizeof in / sizeof in[0]; i++) {
		char text[16];
		hs_base32((const uint8_t *)in[i], strlen(in[i]), text);
		assert_string_equal(text, out[i]);
	}
}

static void test_base32_decodes_its_own_and_nothing_else(void **state)
{
	for (size_t n = 0; n <= 40; n++) {
		uint8_t raw[40], back[40];
		char text[65];
		hs_random(raw, n);
		hs_base32(raw, n, text);
		assert_true(hs_base32_decode(text, strlen(text), back, n));
		assert_memory_equal(raw, back, n);
		assert_false(hs_base32_decode(text, strlen(text), back, n + 1));
	}
	uint8_t byte;
	assert_false(hs_base32_decode("mz", 2, &byte, 1)); /* spare bits set */
	assert_false(hs_base32_decode("M!", 2, &byte, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids_are_valid_and_differ),
		cmocka_unit_test(test_malformed_ids_are_refused),
		cmocka_unit_test(test_base32_vectors),
		cmocka_unit_test(test_base32_decodes_its_own_and_nothing_else),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
