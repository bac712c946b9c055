#include "text/document.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "tests/unit/test.h"

static char text[] = "見出し\n本文です。\n";
static struct hs_block blocks[2];
static struct hs_document d;
static struct hs_buf b;

static int set_up(void **state)
{
	blocks[0] = (struct hs_block){.start = 0, .end = 9, .kind = HS_BLOCK_HEADING, .level = 1, .page = 1, .src_end = 9};
	blocks[1] = (struct hs_block){.start = 10, .end = 25, .page = 2, .src_start = 10, .src_end = 25, .box = {1, 2, 3.5f, 4}};
	static char title[] = "題", format[] = "text", charset[] = "UTF-8", extractor[] = "text/1";
	d = (struct hs_document){.title = title, .text = text, .len = strlen(text), .blocks = blocks, .n_blocks = 2,
				 .format = format, .charset = charset, .extractor = extractor, .n_pages = 2};
	b = HS_BUF_INIT;
	return 0;
}

static int tear_down(void **state)
{
	hs_buf_finish(&b);
	return 0;
}

static void test_round_trip(void **state)
{
	assert_int_equal(hs_document_encode(&d, &b), 0);
	struct hs_document back = {0};
	assert_int_equal(hs_document_decode(b.data, b.len, &back, NULL), 0);
	assert_string_equal(back.title, d.title);
	assert_string_equal(back.text, d.text);
	assert_int_equal(back.len, d.len);
	assert_string_equal(back.format, "text");
	assert_string_equal(back.charset, "UTF-8");
	assert_string_equal(back.extractor, "text/1");
	assert_int_equal(back.n_pages, 2);
	assert_int_equal(back.n_blocks, 2);
	assert_memory_equal(back.blocks, blocks, sizeof blocks);
	uint8_t one[HS_DOCUMENT_HASH_LEN], two[HS_DOCUMENT_HASH_LEN];
	hs_document_text_hash(&d, one);
	hs_document_text_hash(&back, two);
	assert_memory_equal(one, two, sizeof one);
	hs_document_finish(&back);
	hs_document_finish(&back);
}

/* Cut anywhere, or with any one byte changed, it is refused or still keeps every promise; never a crash. */
static void test_hostile_bytes(void **state)
{
	assert_int_equal(hs_document_encode(&d, &b), 0);
	struct hs_document back = {0};
	struct hs_err err = HS_ERR_INIT;
	for (size_t n = 0; n < b.len; n++) {
		assert_int_equal(hs_document_decode(b.data, n, &back, &err), -EBADMSG);
		assert_string_equal(err.code, "doc.malformed");
	}
	for (size_t i = 0; i < b.len; i++) {
		for (int bit = 0; bit < 8; bit++) {
			b.data[i] ^= (uint8_t)(1 << bit);
			if (hs_document_decode(b.data, b.len, &back, NULL) == 0) {
				assert_int_equal(hs_document_check(&back, NULL), 0);
				hs_document_finish(&back);
			}
			b.data[i] ^= (uint8_t)(1 << bit);
		}
	}
	assert_int_equal(hs_buf_append_byte(&b, 0), 0);
	assert_int_equal(hs_document_decode(b.data, b.len, &back, &err), -EBADMSG);
}

static void refuses(const char *field)
{
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(hs_document_check(&d, &err), -EBADMSG);
	assert_string_equal(err.object, field);
	assert_int_equal(hs_document_encode(&d, &b), -EBADMSG);
	assert_int_equal(b.len, 0);
	(void)set_up(NULL);
}

static void test_check(void **state)
{
	assert_int_equal(hs_document_check(&d, NULL), 0);
	blocks[1].start = 8, refuses("block range");
	blocks[1].end = 27, refuses("block range");
	blocks[1].end = blocks[1].start, refuses("block range");
	blocks[0].end = 8, refuses("block boundary");
	blocks[0].end = 6, refuses("text outside the blocks");
	d.n_blocks = 1, refuses("text outside the blocks");
	blocks[1].page = 3, refuses("block source");
	blocks[1].src_end = 1, refuses("block source");
	blocks[1].box[2] = NAN, refuses("block box");
	blocks[0].kind = (enum hs_block_kind)6, refuses("block kind");
	blocks[0].level = 1000, refuses("block kind");
	static char bad[] = "\xff";
	d.title = bad, refuses("title");
	d.format = NULL, refuses("a missing field");
	d.len--, refuses("text");
}

static void test_errors_travel(void **state)
{
	struct hs_err failure = HS_ERR_INIT, got = HS_ERR_INIT;
	(void)hs_fail(&failure, ENOTSUP, "doc.encrypted_pdf", "not sent", "規程.pdf");
	assert_int_equal(hs_document_encode_error(&failure, &b), 0);
	struct hs_document back = {0};
	assert_int_equal(hs_document_decode(b.data, b.len, &back, &got), -ENOTSUP);
	assert_string_equal(got.code, "doc.encrypted_pdf");
	assert_string_equal(got.object, "規程.pdf");
	assert_string_equal(got.hint, hs_document_hint("doc.encrypted_pdf"));
	for (size_t n = 0; n < b.len; n++)
		assert_int_equal(hs_document_decode(b.data, n, &back, NULL), -EBADMSG);
	b.len = 0;
	(void)hs_fail(&failure, EIO, "policy.anything", "", "x"); /* an extractor speaks of documents only */
	assert_int_equal(hs_document_encode_error(&failure, &b), 0);
	assert_int_equal(hs_document_decode(b.data, b.len, &back, &got), -EBADMSG);
	assert_string_equal(hs_document_hint("no.such"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round_trip, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hostile_bytes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_check, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_errors_travel, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
