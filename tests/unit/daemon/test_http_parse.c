#include "daemon/http/parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/api.h"
#include "daemon/http.h"
#include "tests/unit/test.h"

/* The status that a whole head earns; 0 where it is taken. Heads with NUL say their length. */
static unsigned judge(const char *text, size_t len, struct hs_http_head *ret)
{
	static uint8_t data[64 * 1024];
	memcpy(data, text, len);
	size_t scanned = 0;
	long n = hs_http_head_find(data, len, &scanned);
	if (n < 0)
		return 400;
	assert_true(n == 0 || (size_t)n <= len);
	struct hs_err err = HS_ERR_INIT;
	unsigned status = n ? hs_http_head_parse(data, (size_t)n, ret, &err) : 1;
	assert_true(status < 100 || err.code[0]);
	return status;
}

#define H "Host: hisho.local\r\n"
#define HOSTILE(text) {text, sizeof text - 1

static void test_hostile_heads_are_refused(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		unsigned status;
	} table[] = {
		HOSTILE("GET / HTTP/1.1\r\n\r\n"), 400},
		HOSTILE("GET / HTTP/1.1\r\n" H H "\r\n"), 400},
		HOSTILE("GET / HTTP/1.1\r\nHost: \r\n\r\n"), 400},
		HOSTILE("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), 400},
		HOSTILE("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"), 400},
		HOSTILE("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"), 400},
		HOSTILE("GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n"), 400},
		HOSTILE("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), 400},
		HOSTILE("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), 400},
		HOSTILE("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), 400},
		HOSTILE("POST / HTTP/1.1\r\n" H "Content-Length: 5, 5\r\n\r\n"), 400},
		HOSTILE("POST / HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\n"), 400},
		HOSTILE("POST / HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\n"), 400},
		HOSTILE("POST / HTTP/1.1\r\n" H "Content-Length: 0x10\r\n\r\n"), 400},
		HOSTILE("POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n"), 400},
		HOSTILE("POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\n"), 400},
		HOSTILE("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), 400},
		HOSTILE("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"), 400},
		HOSTILE("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), 400},
		HOSTILE("POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n"), 400},
		HOSTILE("POST / HTTP/1.1\r\n" H "Transfer-Encoding: \t \r\n\r\n"), 400},
		HOSTILE("POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n"), 501},
		HOSTILE("POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n"), 501},
		HOSTILE("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, identity\r\n\r\n"), 501},
		HOSTILE("POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n"), 400},
		HOSTILE("POST / HTTP/1.1\r\n" H " Content-Length: 5\r\n\r\n"), 400},
		HOSTILE("POST / HTTP/1.1\r\n" H "X: a\r\n Content-Length: 5\r\n\r\n"), 400},
		HOSTILE("POST / HTTP/1.1\r\n" H "\tContent-Length: 5\r\n\r\n"), 400},
		HOSTILE("POST / HTTP/1.1\r\n " H "\r\n"), 400},
		HOSTILE("POST / HTTP/1.1\r\n" H "Content-Length : 5\r\n\r\n"), 400},
		HOSTILE("POST / HTTP/1.1\r\n" H "Content-Length\t: 5\r\n\r\n"), 400},
		HOSTILE("GET / HTTP/1.1\r\n" H ": empty name\r\n\r\n"), 400},
		HOSTILE("GET / HTTP/1.1\r\n" H "no colon\r\n\r\n"), 400},
		HOSTILE("GET / HTTP/1.1\r\n" H "X: a\0b\r\n\r\n"), 400},
		HOSTILE("GET / HTTP/1.1\r\n" H "X: a\x01" "b\r\n\r\n"), 400},
		HOSTILE("GET / HTTP/1.1\r\n" H "X: a\x7f\r\n\r\n"), 400},
		HOSTILE("GET / HTTP/1.1\r\n" H "X\x80: a\r\n\r\n"), 400},
		HOSTILE("GET / HTTP/1.1\n" "Host: a\n\n"), 400},
		HOSTILE("GET / HTTP/1.1\r\n" H "X: a\rY: b\r\n\r\n"), 400},
		HOSTILE("GET / HTTP/1.1\r\n" H "X: a\nY: b\r\n\r\n"), 400},
		HOSTILE("\r\nGET / HTTP/1.1\r\n" H "\r\n"), 400},
		HOSTILE(" GET / HTTP/1.1\r\n" H "\r\n"), 400},
		HOSTILE("GET  / HTTP/1.1\r\n" H "\r\n"), 400},
		HOSTILE("GET /\tHTTP/1.1\r\n" H "\r\n"), 400},
		HOSTILE("GET / HTTP/1.1 \r\n" H "\r\n"), 400},
		HOSTILE("GET / HTTP/1.2\r\n" H "\r\n"), 505},
		HOSTILE("GET / HTTP/2.0\r\n" H "\r\n"), 505},
		HOSTILE("GET / http/1.1\r\n" H "\r\n"), 400},
		HOSTILE("GET /\r\n" H "\r\n"), 400},
		HOSTILE("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505},
		HOSTILE("TRACE / HTTP/1.1\r\n" H "\r\n"), 501},
		HOSTILE("get / HTTP/1.1\r\n" H "\r\n"), 501},
		HOSTILE("CONNECT a:1 HTTP/1.1\r\n" H "\r\n"), 501},
		HOSTILE("OPTIONS * HTTP/1.1\r\n" H "\r\n"), 400},
		HOSTILE("GET http://other/ HTTP/1.1\r\n" H "\r\n"), 400},
		HOSTILE("GET /../etc/passwd HTTP/1.1\r\n" H "\r\n"), 400},
		HOSTILE("GET /a/%2e%2e/b HTTP/1.1\r\n" H "\r\n"), 400},
		HOSTILE("GET /a/. HTTP/1.1\r\n" H "\r\n"), 400},
		HOSTILE("GET /a%2fb HTTP/1.1\r\n" H "\r\n"), 400},
		HOSTILE("GET /a%5cb HTTP/1.1\r\n" H "\r\n"), 400},
		HOSTILE("GET /%00 HTTP/1.1\r\n" H "\r\n"), 400},
		HOSTILE("GET /%zz HTTP/1.1\r\n" H "\r\n"), 400},
		HOSTILE("GET /%f HTTP/1.1\r\n" H "\r\n"), 400},
		HOSTILE("GET /%ff HTTP/1.1\r\n" H "\r\n"), 400},
		HOSTILE("GET /\xe3\x81\x82 HTTP/1.1\r\n" H "\r\n"), 400},
		HOSTILE("GET /a#b HTTP/1.1\r\n" H "\r\n"), 400},
		HOSTILE("GET / HTTP/1.1\r\n" H "Authorization: a\r\nAuthorization: b\r\n\r\n"), 400},
		HOSTILE("GET / HTTP/1.1\r\n" H "Cookie: a=1\r\nCookie: b=2\r\n\r\n"), 400},
		HOSTILE("GET / HTTP/1.1\r\n" H "Origin: a\r\nOrigin: b\r\n\r\n"), 400},
		HOSTILE("POST / HTTP/1.1\r\n" H "Expect: 200-maybe\r\n\r\n"), 417},
		HOSTILE("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 400},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(table); i++) {
		struct hs_http_head head;
		unsigned status = judge(table[i].text, table[i].len, &head);
		if (status != table[i].status)
			print_error("row %zu: %s: got %u\n", i, table[i].text, status);
		assert_int_equal(status, table[i].status);
	}
}

static void test_limits(void **state)
{
	static char text[40000];
	struct hs_http_head head;
	size_t n = (size_t)snprintf(text, sizeof text, "GET /");
	memset(text + n, 'a', HS_MSG_PATH_MAX);
	(void)snprintf(text + n + HS_MSG_PATH_MAX, 200, " HTTP/1.1\r\n" H "\r\n");
	assert_int_equal(judge(text, strlen(text), &head), 414);
	n = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" H);
	for (int i = 0; i < HS_HTTP_HEADERS_MAX; i++)
		n += (size_t)snprintf(text + n, sizeof text - n, "X-%d: y\r\n", i);
	(void)snprintf(text + n, sizeof text - n, "\r\n");
	assert_int_equal(judge(text, strlen(text), &head), 431);
	n = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" H "X: ");
	memset(text + n, 'a', HS_HTTP_HEAD_MAX);
	(void)snprintf(text + n + HS_HTTP_HEAD_MAX, 8, "\r\n\r\n");
	assert_int_equal(judge(text, strlen(text), &head), 431);
	n = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" H "Cookie: ");
	memset(text + n, 'a', 5000);
	(void)snprintf(text + n + 5000, 8, "\r\n\r\n");
	assert_int_equal(judge(text, strlen(text), &head), 431);
}

static bool same(struct hs_slice v, const char *s)
{
	return hs_slice_is(v, s);
}

static void test_a_whole_request(void **state)
{
	struct hs_http_head h;
	static const char text[] = "POST /v1/%E6%96%87%20x?q=%41&b HTTP/1.1\r\nHost: Hisho.local:8443\r\nauthorization: bearer hsk_a\r\n"
				   "Cookie: a=1; __Host-hisho=abc ; b=2\r\nContent-Type:application/json\t\r\nContent-Length: 12\r\n"
				   "Accept-Language: ja,en;q=0.5\r\nSec-Fetch-Site: same-origin\r\nOrigin: https://hisho.local\r\n"
				   "Expect: 100-Continue\r\nConnection: keep-alive, Close\r\nX-Odd: \x80\xff\r\n\r\nrest";
	assert_int_equal(judge(text, sizeof text - 1, &h), 0);
	assert_true(same(h.method, "POST") && same(h.path, "/v1/文 x") && same(h.query, "q=%41&b"));
	assert_true(same(h.host, "Hisho.local:8443") && same(h.content_type, "application/json"));
	assert_true(same(hs_http_bearer(h.authorization), "hsk_a"));
	assert_true(same(hs_http_cookie(h.cookie, "__Host-hisho"), "abc") && same(hs_http_cookie(h.cookie, "b"), "2"));
	assert_int_equal(hs_http_cookie(h.cookie, "c").len, 0);
	assert_int_equal(hs_http_bearer(h.host).len, 0);
	assert_true(same(h.fetch_site, "same-origin") && same(h.origin, "https://hisho.local"));
	assert_true(h.has_body && h.content_length == 12 && !h.chunked && h.expect_continue && !h.keep_alive && !h.old);
	assert_true(hs_http_host_is(h.host, "hisho.local") && !hs_http_host_is(h.host, "hisho.loca"));
	assert_int_equal(judge("GET / HTTP/1.1\r\nHost: [::1]:9\r\n\r\n", 33, &h), 0);
	assert_true(hs_http_host_is(h.host, "[::1]") && h.keep_alive && !h.has_body);
	assert_int_equal(judge("GET / HTTP/1.0\r\nHost: a\r\n\r\n", 27, &h), 0);
	assert_true(h.old && !h.keep_alive);
}

/* However the bytes are cut, the head is found at the same place. */
static void test_heads_in_pieces(void **state)
{
	static const char text[] = "GET / HTTP/1.1\r\n" H "\r\nGET";
	for (size_t cut = 0; cut < sizeof text; cut++) {
		size_t scanned = 0;
		long n = hs_http_head_find((const uint8_t *)text, cut, &scanned);
		if (n == 0)
			n = hs_http_head_find((const uint8_t *)text, sizeof text - 1, &scanned);
		assert_int_equal(n, sizeof text - 1 - 3);
	}
}

/* Decode a chunked body fed in pieces of the given size. -1: refused; -2: not whole; else its length. */
static long chunks(const char *text, size_t piece)
{
	struct hs_http_body b;
	const struct hs_http_head head = {.chunked = true, .has_body = true};
	hs_http_body_begin(&b, &head);
	size_t len = strlen(text), at = 0;
	long total = 0;
	while (at < len && b.state != HS_BODY_DONE) {
		size_t used, n;
		const uint8_t *data;
		if (!hs_http_body_step(&b, (const uint8_t *)text + at, HS_MIN(piece, len - at), &used, &data, &n))
			return -1;
		assert_true(used > 0 && data >= (const uint8_t *)text && data + n <= (const uint8_t *)text + at + used);
		total += (long)n;
		at += used;
	}
	return b.state == HS_BODY_DONE ? total : -2;
}

static void test_chunks(void **state)
{
	static const struct {
		const char *text;
		long expect;
	} table[] = {
		{"0\r\n\r\n", 0}, {"5\r\nhello\r\n0\r\n\r\n", 5}, {"A\r\n0123456789\r\n00001\r\nx\r\n0\r\n\r\nGET /", 11},
		{"5\r\nhel", -2}, {"5", -2},
		{"\r\n", -1}, {"5;x=y\r\nhello\r\n0\r\n\r\n", -1}, {"5\nhello\r\n0\r\n\r\n", -1}, {"5\r\nhello\n0\r\n\r\n", -1},
		{"5\r\nhelloX\r\n", -1}, {"5\r\nhello\r\n0\r\nX: y\r\n\r\n", -1}, {"g\r\n", -1}, {"0x5\r\nhello\r\n", -1},
		{" 5\r\nhello\r\n", -1}, {"5 \r\nhello\r\n", -1}, {"-1\r\n", -1}, {"000000001\r\nx\r\n", -1}, {"0\r\n\rX", -1},
		{"0\r\nX", -1},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(table); i++) {
		for (size_t piece = 1; piece < 24; piece++) {
			if (chunks(table[i].text, piece) != table[i].expect)
				print_error("row %zu, pieces of %zu\n", i, piece);
			assert_int_equal(chunks(table[i].text, piece), table[i].expect);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile_heads_are_refused), cmocka_unit_test(test_limits), cmocka_unit_test(test_a_whole_request),
		cmocka_unit_test(test_heads_in_pieces), cmocka_unit_test(test_chunks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
