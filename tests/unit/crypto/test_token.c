#include "crypto/token.h"

#include <string.h>

#include "tests/unit/test.h"

static struct hs_bearer sample(enum hs_token_kind kind, const char *prefix)
{
	struct hs_bearer t = {.kind = kind, .tag = "k3j2h4g5f6", .id = hs_id_new(prefix)};
	hs_random(t.secret, sizeof t.secret);
	return t;
}

static void test_round_trip(void **state)
{
	const struct {
		enum hs_token_kind kind;
		const char *prefix, *text;
	} kinds[] = {{HS_TOKEN_API, "tok_", "hsk_"}, {HS_TOKEN_SESSION, "ses_", "hss_"}, {HS_TOKEN_CODE, "cod_", "hsc_"}};
	for (size_t i = 0; i < 3; i++) {
		struct hs_bearer t = sample(kinds[i].kind, kinds[i].prefix), back;
		char text[HS_TOKEN_TEXT_MAX + 1], tag[HS_TOKEN_TAG_MAX + 1];
		assert_true(hs_token_format(&t, text));
		assert_int_equal(strncmp(text, kinds[i].text, 4), 0);
		assert_true(hs_token_parse(text, strlen(text), &back));
		assert_int_equal(back.kind, t.kind);
		assert_string_equal(back.tag, t.tag);
		assert_string_equal(back.id.s, t.id.s);
		assert_memory_equal(back.secret, t.secret, sizeof t.secret);
		assert_true(hs_token_peek(text, strlen(text), tag));
		assert_string_equal(tag, t.tag);
	}
}

static void test_every_changed_character_is_noticed(void **state)
{
	struct hs_bearer t = sample(HS_TOKEN_API, "tok_"), back;
	char text[HS_TOKEN_TEXT_MAX + 1], tag[HS_TOKEN_TAG_MAX + 1];
	assert_true(hs_token_format(&t, text));
	size_t n = strlen(text);
	for (size_t i = 0; i < n; i++) {
		char kept = text[i];
		text[i] = kept == 'a' ? 'b' : 'a';
		assert_false(hs_token_parse(text, n, &back));
		assert_false(hs_token_peek(text, n, tag));
		text[i] = kept;
	}
	for (size_t cut = 0; cut < n; cut++)
		assert_false(hs_token_parse(text, cut, &back));
}

static void test_malformed_parts_are_not_formatted(void **state)
{
	char text[HS_TOKEN_TEXT_MAX + 1];
	struct hs_bearer t = sample(HS_TOKEN_API, "ses_"); /* a session's id */
	assert_false(hs_token_format(&t, text));
	t = sample(HS_TOKEN_API, "tok_");
	memcpy(t.tag, "A", 2);
	assert_false(hs_token_format(&t, text));
	t.tag[0] = '\0';
	assert_false(hs_token_format(&t, text));
}

static void test_a_tenant_has_one_tag(void **state)
{
	struct hs_id id = {.s = "ten_abcdefghijklmnopqrstuvwxyz"};
	char tag[HS_TOKEN_TAG_LEN + 1];
	hs_token_tag(&id, tag);
	assert_string_equal(tag, "abcdefghij");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_every_changed_character_is_noticed),
		cmocka_unit_test(test_malformed_parts_are_not_formatted),
		cmocka_unit_test(test_a_tenant_has_one_tag),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
