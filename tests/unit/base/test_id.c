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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids_are_valid_and_differ),
		cmocka_unit_test(test_malformed_ids_are_refused),
		cmocka_unit_test(test_base32_vectors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
