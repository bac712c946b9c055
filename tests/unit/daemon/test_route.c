/* The route table: nothing that reads or changes something is open, and no row is half made. */
#include "daemon/tenant/exchange.h"

#include <string.h>

#include "tests/unit/test.h"

static void test_every_row_is_whole(void **state)
{
	for (size_t i = 0; i < hs_n_routes; i++) {
		const struct hs_route *r = &hs_routes[i];
		assert_int_not_equal(r->gate, HS_GATE_CLOSED);
		assert_int_equal(!!r->read + !!r->write + !!r->start, 1);
		if (r->gate != HS_GATE_OPEN)
			assert_int_not_equal(r->scope, 0);
		assert_true(strncmp(r->path, "/v1/", 4) == 0);
	}
}

static void test_only_signing_in_and_the_public_key_are_open(void **state)
{
	for (size_t i = 0; i < hs_n_routes; i++) {
		if (hs_routes[i].gate == HS_GATE_OPEN)
			assert_true(strcmp(hs_routes[i].path, "/v1/session") == 0 || strcmp(hs_routes[i].path, "/v1/tenant") == 0);
	}
}

static void test_document_text_needs_a_grant(void **state)
{
	const char *reading[] = {"/v1/search", "/v1/chat/completions", "/v1/documents/{}/source", "/v1/conversations/{}"};
	for (size_t k = 0; k < sizeof reading / sizeof reading[0]; k++) {
		bool seen = false;
		for (size_t i = 0; i < hs_n_routes; i++) {
			if (strcmp(hs_routes[i].path, reading[k]) == 0 && strcmp(hs_routes[i].method, "DELETE") != 0) {
				seen = true;
				assert_true(hs_routes[i].grant);
				assert_int_equal(hs_routes[i].gate, HS_GATE_SCOPE); /* the admin socket reads no document */
			}
		}
		assert_true(seen);
	}
}

/* Who administers reads nobody's conversations: the admin socket has no way in, and the scope is the person's. */
static void test_conversations_are_their_persons_only(void **state)
{
	for (size_t i = 0; i < hs_n_routes; i++) {
		const struct hs_route *r = &hs_routes[i];
		if (strncmp(r->path, "/v1/conversations", 17) == 0 || strncmp(r->path, "/v1/messages", 12) == 0) {
			assert_int_equal(r->gate, HS_GATE_SCOPE);
			assert_int_equal(r->scope, HS_SCOPE_ASK);
		}
	}
}

static void test_admin_routes_ask_for_an_admin_or_auditor(void **state)
{
	for (size_t i = 0; i < hs_n_routes; i++) {
		if (strncmp(hs_routes[i].path, "/v1/admin/", 10) == 0)
			assert_true(hs_routes[i].scope == HS_SCOPE_ADMIN || hs_routes[i].scope == HS_SCOPE_AUDIT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_row_is_whole),
		cmocka_unit_test(test_only_signing_in_and_the_public_key_are_open),
		cmocka_unit_test(test_document_text_needs_a_grant),
		cmocka_unit_test(test_conversations_are_their_persons_only),
		cmocka_unit_test(test_admin_routes_ask_for_an_admin_or_auditor),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
