#include "text/charset.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/test.h"

static struct hs_buf out;
static struct hs_err err;
static const char *used;

static int finish(void **state)
{
	hs_buf_finish(&out);
	return 0;
}

static int decode(const char *bytes, size_t n, const char *hint)
{
	out.len = 0;
	used = NULL;
	err = HS_ERR_INIT;
	return hs_charset_decode((const uint8_t *)bytes, n, hint, &out, &used, &err);
}

static void assert_decodes(const char *bytes, size_t n, const char *hint, const char *charset, const char *text)
{
	assert_int_equal(decode(bytes, n, hint), 0);
	assert_string_equal(used, charset);
	assert_int_equal(out.len, strlen(text));
	assert_memory_equal(out.data, text, out.len);
}
#define DECODES(bytes, hint, charset, text) assert_decodes(bytes, sizeof(bytes) - 1, hint, charset, text)

static void test_order(void **state)
{
	DECODES("\xef\xbb\xbfhello", NULL, "UTF-8", "hello");
	DECODES("秘書", NULL, "UTF-8", "秘書");
	DECODES("plain", NULL, "UTF-8", "plain");
	DECODES("", NULL, "UTF-8", "");
	DECODES("\x94\xe9\x8f\x91", NULL, "CP932", "秘書");
	DECODES("\xc8\xeb\xbd\xf1", NULL, "EUC-JP-MS", "秘書");
	DECODES("\x1b$BHk=q\x1b(B", NULL, "ISO-2022-JP", "秘書");
	DECODES("\xff\xfe\xd8\x79\xf8\x66", NULL, "UTF-16LE", "秘書");
	DECODES("\xfe\xff\x79\xd8\x66\xf8", NULL, "UTF-16BE", "秘書");
}

/* The characters of NEC and IBM that strict JIS converters refuse. */
static void test_vendor_characters(void **state)
{
	DECODES("\x87\x40\x87\x8a\xfb\xfc", NULL, "CP932", "①㈱髙");
	DECODES("\xad\xa1\xad\xea\xc5\xec\xb5\xfe", NULL, "EUC-JP-MS", "①㈱東京");
	DECODES("\x1b$B-!-jEl5~\x1b(B", NULL, "ISO-2022-JP", "①㈱東京");
	DECODES("\x1b(I1\x1b(B", NULL, "ISO-2022-JP", "ｱ");
}

static void test_hints(void **state)
{
	DECODES("\xb1\xb2\xb3\xb4", "Shift_JIS", "CP932", "ｱｲｳｴ");
	DECODES("caf\xe9", "iso-8859-1", "WINDOWS-1252", "café");
	DECODES("秘書", "Shift_JIS", "CP932", "遘俶嶌"); /* what is declared is tried first, as a browser does */
	DECODES("秘密の書類", "Shift_JIS", "UTF-8", "秘密の書類"); /* but this is UTF-8 beyond chance */
	DECODES("秘密の書類", "latin1", "UTF-8", "秘密の書類");
	DECODES("\xc3\xbd\xc4", "Shift_JIS", "CP932", "ﾃｽﾄ");
	DECODES("秘書", "x-unknown", "UTF-8", "秘書");
	DECODES("\x94\xe9\x8f\x91", "utf-8", "CP932", "秘書"); /* a wrong hint does not stop the others */
}

static void test_utf16_without_mark(void **state)
{
	DECODES("\xd8\x79\xf8\x66\x6f\x30\n\0" "a\0b\0", NULL, "UTF-16LE", "秘書は\nab");
	DECODES("\x79\xd8\x66\xf8\x30\x6f\0\n\0a\0b", NULL, "UTF-16BE", "秘書は\nab");
}

static void test_binary_and_broken(void **state)
{
	assert_int_equal(decode("\x7f" "ELF\x02\x01\x01\0\0\0\0\0\0\0\0\0", 16, NULL), -EILSEQ);
	assert_string_equal(err.code, "doc.binary");
	assert_int_equal(decode("abc\0def", 7, NULL), -EILSEQ);
	assert_string_equal(err.code, "doc.binary");
	assert_non_null(strstr(err.object, "byte 3"));
	assert_int_equal(decode("\x01\x02\x03\x04text", 8, NULL), -EILSEQ);
	assert_string_equal(err.code, "doc.binary");
	assert_int_equal(decode("\xff\xff\xff", 3, NULL), -EILSEQ);
	assert_string_equal(err.code, "doc.charset");
	assert_int_equal(decode("\xff\xfe\x00\xd8", 4, NULL), -EILSEQ);
	assert_string_equal(err.code, "doc.charset");
	assert_int_equal(out.len, 0);
}

/* One bad byte in long UTF-8 must not turn the whole into CP932 mojibake. */
static void test_broken_utf8_is_named(void **state)
{
	assert_int_equal(decode("これは長い日本語の文章です。\xff おわり", strlen("これは長い日本語の文章です。\xff おわり"), NULL), -EILSEQ);
	assert_string_equal(err.code, "doc.charset");
	assert_non_null(strstr(err.object, "byte 42"));
	assert_int_equal(decode("これは長い日本語の文章です\xe3\x80", strlen("これは長い日本語の文章です") + 2, NULL), -EILSEQ);
	assert_string_equal(err.code, "doc.charset");
}

static void test_limit(void **state)
{
	HS_BUF_AUTO small = {.limit = 4};
	assert_int_equal(hs_charset_decode((const uint8_t *)"hello", 5, NULL, &small, &used, &err), -EMSGSIZE);
	assert_int_equal(small.len, 0);
	assert_int_equal(hs_charset_prepare(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_vendor_characters),
		cmocka_unit_test(test_hints),
		cmocka_unit_test(test_utf16_without_mark),
		cmocka_unit_test(test_binary_and_broken),
		cmocka_unit_test(test_broken_utf8_is_named),
		cmocka_unit_test(test_limit),
	};
	return cmocka_run_group_tests(tests, NULL, finish);
}
