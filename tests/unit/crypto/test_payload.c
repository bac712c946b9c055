#include "crypto/payload.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/test.h"

static const struct hs_payload sample = {.name = "規程/旅費.md", .name_len = 16, .title = "旅費規程", .title_len = 12,
					 .media = "text/markdown", .media_len = 13, .content_len = 5};

static void test_round_trip_and_every_cut_refused(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	assert_int_equal(hs_payload_put_header(&b, &sample), 0);
	assert_int_equal(hs_buf_append(&b, "hello", 5), 0);
	struct hs_payload p;
	struct hs_err err = HS_ERR_INIT;
	for (size_t cut = 0; cut < b.len; cut++)
		assert_int_equal(hs_payload_parse(b.data, cut, &p, &err), -EPROTO);
	assert_string_equal(err.code, "submission.payload");
	assert_int_equal(hs_payload_parse(b.data, b.len, &p, &err), 0);
	assert_int_equal(p.name_len, 16);
	assert_memory_equal(p.title, "旅費規程", 12);
	assert_memory_equal(p.content, "hello", 5);
}

static void test_names_must_be_names(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_payload p = sample, back;
	p.name = "a\xff", p.name_len = 2, p.content_len = 0;
	assert_int_equal(hs_payload_put_header(&b, &p), 0);
	assert_int_equal(hs_payload_parse(b.data, b.len, &back, NULL), -EPROTO);
	b.len = 0;
	p.name = "a\0b", p.name_len = 3;
	assert_int_equal(hs_payload_put_header(&b, &p), 0);
	assert_int_equal(hs_payload_parse(b.data, b.len, &back, NULL), -EPROTO);
	p.name_len = HS_PAYLOAD_NAME_MAX + 1;
	assert_int_equal(hs_payload_put_header(&b, &p), -EMSGSIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip_and_every_cut_refused),
		cmocka_unit_test(test_names_must_be_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
