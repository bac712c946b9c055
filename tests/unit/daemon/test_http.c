#include "daemon/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "tests/unit/test.h"

static uv_loop_t loop;
static struct hs_http_server *server;

/* --- a handler that does what the path says --- */

static struct {
	struct hs_responder *r;
	unsigned requests, gone, writable;
	size_t body;
	bool body_last, no_credit, early, cookie, same_origin;
	char credential[64], path[64];
} seen;

static void *on_request(void *ctx, const struct hs_request *q, struct hs_responder *r)
{
	static char big[3 * 1024 * 1024];
	seen.requests++;
	seen.r = r;
	(void)snprintf(seen.path, sizeof seen.path, "%.*s", (int)q->head.path.len, q->head.path.s);
	(void)snprintf(seen.credential, sizeof seen.credential, "%.*s", (int)q->head.credential.len, q->head.credential.s);
	seen.cookie = q->head.cookie;
	seen.same_origin = q->head.same_origin;
	if (strcmp(seen.path, "/now") == 0) {
		hs_responder_answer(r, 200, "text/plain", "now", 3);
		return NULL;
	}
	if (strcmp(seen.path, "/big") == 0) {
		memset(big, 'b', sizeof big);
		hs_responder_answer(r, 200, NULL, big, sizeof big);
		return NULL;
	}
	if (strcmp(seen.path, "/early") == 0) {
		hs_responder_answer(r, 413, NULL, "no", 2);
		return NULL;
	}
	return &seen;
}

static void on_body(void *state, const void *data, size_t len, bool last)
{
	seen.body += len;
	seen.body_last = last;
	if (!seen.no_credit)
		hs_responder_credit(seen.r, len);
	if (last)
		hs_responder_answer(seen.r, 201, NULL, "taken", 5);
}

static void on_writable(void *state)
{
	seen.writable++;
}

static void on_gone(void *state)
{
	seen.gone++;
}

static const struct hs_service service = {on_request, on_body, on_writable, on_gone};

/* --- plumbing --- */

static void spin(void)
{
	for (int i = 0; i < 30; i++)
		(void)uv_run(&loop, UV_RUN_NOWAIT);
}

static void wait_ms(unsigned ms)
{
	for (unsigned i = 0; i < ms; i++) {
		(void)usleep(1000);
		(void)uv_run(&loop, UV_RUN_NOWAIT);
	}
}

static void open_server(const struct hs_http_options *o)
{
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(hs_http_server_create(&loop, o, &server), 0);
	memset(&seen, 0, sizeof seen);
}

static int setup(void **state)
{
	open_server(&(struct hs_http_options){.service = &service, .local = true});
	return 0;
}

static int teardown(void **state)
{
	hs_http_server_destroy(server);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

static int dial(void)
{
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(hs_http_server_take(server, pair[1], &(struct hs_peer_credentials){1, 2, 3}), 0);
	return pair[0];
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	spin();
}

/* What has come so far, terminated; *ret_end tells EOF. */
static const char *hear(int fd, bool *ret_end)
{
	static char text[16384];
	ssize_t n;
	size_t len = 0;
	spin();
	while ((n = recv(fd, text + len, sizeof text - 1 - len, 0)) > 0)
		len += (size_t)n;
	if (ret_end)
		*ret_end = n == 0 || errno == ECONNRESET;
	text[len] = '\0';
	return text;
}

static size_t count(const char *text, const char *what)
{
	size_t n = 0;
	for (const char *p = text; (p = strstr(p, what)); p++)
		n++;
	return n;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

static void test_one_connection_many_requests(void **state)
{
	bool end;
	int fd = dial();
	say(fd, GET("/now"));
	const char *text = hear(fd, &end);
	assert_non_null(strstr(text, "HTTP/1.1 200 OK\r\n"));
	assert_non_null(strstr(text, "Content-Length: 3\r\n\r\nnow"));
	assert_false(end);
	say(fd, GET("/now") GET("/now") GET("/now")); /* sent ahead */
	assert_int_equal(count(hear(fd, &end), "200 OK"), 3);
	say(fd, "HEAD /now HTTP/1.1\r\nHost: h\r\n\r\n");
	text = hear(fd, &end);
	assert_non_null(strstr(text, "Content-Length: 3\r\n\r\n"));
	assert_null(strstr(text, "now"));
	say(fd, "GET /now HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
	assert_non_null(strstr(hear(fd, &end), "Connection: close"));
	(void)hear(fd, &end);
	assert_true(end);
	assert_int_equal(seen.requests, 6);
	close(fd);
}

static void test_a_head_byte_by_byte(void **state)
{
	const char *text = GET("/now");
	int fd = dial();
	for (size_t i = 0; text[i]; i++) {
		assert_int_equal(send(fd, text + i, 1, MSG_NOSIGNAL), 1);
		(void)uv_run(&loop, UV_RUN_NOWAIT);
	}
	assert_non_null(strstr(hear(fd, NULL), "now"));
	close(fd);
}

static void test_bodies(void **state)
{
	int fd = dial();
	say(fd, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel");
	assert_int_equal(seen.body, 3);
	say(fd, "lo" GET("/now"));
	const char *text = hear(fd, NULL);
	assert_true(seen.body_last && strstr(text, "201 Created") && strstr(text, "taken") && strstr(text, "now"));
	seen.body = 0;
	say(fd, "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
	assert_non_null(strstr(hear(fd, NULL), "taken"));
	assert_int_equal(seen.body, 11);
	say(fd, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
	assert_non_null(strstr(hear(fd, NULL), "HTTP/1.1 100 Continue\r\n\r\n"));
	say(fd, "ok");
	assert_non_null(strstr(hear(fd, NULL), "taken"));
	close(fd);
}

/* Nothing behind a refused head is ever read as a request. */
static void test_smuggled_requests_are_not_served(void **state)
{
	static const char *const attacks[] = {
		"POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" GET("/now"),
		"POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 30\r\n\r\nabc" GET("/now"),
		"POST /now HTTP/1.1\r\nHost: h\r\nX: y\r\n Content-Length: 50\r\n\r\n" GET("/now"),
		"POST /now HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\r\n" GET("/now"),
		"POST /now HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" GET("/now"),
		"GET /now HTTP/1.1\r\nHost: h\r\nX: a\rGET /now HTTP/1.1\r\n\r\n" GET("/now"),
		"\n" GET("/now"), "\x16\x03\x01 not a request\r\n\r\n" GET("/now"),
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(attacks); i++) {
		bool end;
		int fd = dial();
		say(fd, attacks[i]);
		const char *text = hear(fd, &end);
		assert_non_null(strstr(text, "HTTP/1.1 400 Bad Request\r\n"));
		assert_non_null(strstr(text, "request.malformed"));
		assert_int_equal(count(text, "HTTP/1.1 "), 1);
		(void)hear(fd, &end);
		assert_true(end);
		close(fd);
	}
	assert_int_equal(seen.requests, 0);
}

static void test_a_broken_chunk_ends_the_request(void **state)
{
	bool end;
	int fd = dial();
	say(fd, "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n" GET("/now"));
	assert_non_null(strstr(hear(fd, &end), "400 Bad Request"));
	assert_int_equal(seen.gone, 1);
	assert_int_equal(seen.requests, 1);
	close(fd);
}

static void test_a_client_that_leaves_is_seen_at_once(void **state)
{
	int fd = dial();
	say(fd, GET("/wait"));
	assert_int_equal(seen.requests, 1);
	close(fd);
	spin();
	assert_int_equal(seen.gone, 1);
	assert_int_equal(hs_http_server_connections(server), 0);
}

/* The answer meets a closed socket: no signal ends the process. */
static void test_a_client_that_left_before_the_answer(void **state)
{
	int fd = dial();
	assert_int_equal(send(fd, GET("/now"), strlen(GET("/now")), MSG_NOSIGNAL), strlen(GET("/now")));
	close(fd);
	spin();
	assert_int_equal(seen.requests, 1);
	assert_int_equal(hs_http_server_connections(server), 0);
}

static void test_a_body_waits_for_the_handler(void **state)
{
	static char data[64 * 1024];
	int fd = dial();
	seen.no_credit = true;
	say(fd, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1048576\r\n\r\n");
	size_t sent = 0;
	for (int i = 0; i < 200 && sent < 1048576; i++) {
		ssize_t n = send(fd, data, HS_MIN(sizeof data, 1048576 - sent), MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
		spin();
	}
	assert_int_equal(seen.body, HS_HTTP_WINDOW);
	assert_true(sent < 1048576);
	seen.no_credit = false;
	hs_responder_credit(seen.r, HS_HTTP_WINDOW);
	for (int i = 0; i < 2000 && sent < 1048576; i++) {
		ssize_t n = send(fd, data, HS_MIN(sizeof data, 1048576 - sent), MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
		spin();
	}
	assert_int_equal(seen.body, 1048576);
	assert_non_null(strstr(hear(fd, NULL), "taken"));
	close(fd);
}

static void test_an_early_answer_closes(void **state)
{
	bool end;
	int fd = dial();
	say(fd, "POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nsome of it");
	const char *text = hear(fd, &end);
	assert_true(strstr(text, "413 ") && strstr(text, "Connection: close"));
	(void)hear(fd, &end);
	assert_true(end);
	close(fd);
}

static void test_streams(void **state)
{
	bool end;
	int fd = dial();
	say(fd, GET("/stream"));
	const struct hs_msg_http_response head = {.status = 200, .stream = true};
	assert_int_equal(hs_responder_begin(seen.r, &head), 0);
	assert_non_null(strstr(hear(fd, NULL), "Transfer-Encoding: chunked\r\n"));
	(void)hs_responder_content(seen.r, "data: 1\n\n", 9, false);
	assert_string_equal(hear(fd, NULL), "9\r\ndata: 1\n\n\r\n");
	(void)hs_responder_content(seen.r, NULL, 0, true);
	assert_string_equal(hear(fd, NULL), "0\r\n\r\n");
	say(fd, GET("/stream"));
	(void)hs_responder_begin(seen.r, &head);
	(void)hs_responder_content(seen.r, "part", 4, false);
	hs_responder_abort(seen.r);
	const char *text = hear(fd, &end);
	assert_true(end && strstr(text, "part") && !strstr(text, "0\r\n\r\n"));
	assert_int_equal(seen.gone, 0);
	close(fd);
}

static void test_a_large_answer_waits_for_the_client(void **state)
{
	static char part[HS_HTTP_WINDOW];
	int fd = dial();
	say(fd, GET("/stream"));
	(void)hs_responder_begin(seen.r, &(struct hs_msg_http_response){.status = 200, .stream = true});
	for (int i = 0; i < 8; i++)
		(void)hs_responder_content(seen.r, part, sizeof part, false);
	assert_true(hs_responder_queued(seen.r) > HS_HTTP_WINDOW);
	spin();
	assert_int_equal(seen.writable, 0);
	size_t got = 0;
	for (int i = 0; i < 3000 && got < 8 * sizeof part; i++) {
		static char sink[65536];
		ssize_t n = recv(fd, sink, sizeof sink, 0);
		got += n > 0 ? (size_t)n : 0;
		spin();
	}
	assert_int_equal(seen.writable, 1);
	close(fd);
	spin();
	assert_int_equal(seen.gone, 1);
}

static void test_too_much_ahead_is_cut(void **state)
{
	static char junk[200 * 1024];
	bool end;
	int fd = dial();
	say(fd, GET("/wait"));
	memset(junk, 'x', sizeof junk);
	for (int i = 0; i < 10; i++) {
		(void)!send(fd, junk, sizeof junk, MSG_NOSIGNAL);
		spin();
	}
	assert_int_equal(seen.gone, 1);
	(void)hear(fd, &end);
	assert_true(end);
	close(fd);
}

static void test_who_asks(void **state)
{
	int fd = dial();
	say(fd, "GET /now HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer hsk_x\r\nCookie: __Host-hisho=abc\r\nSec-Fetch-Site: "
		"cross-site\r\n\r\n");
	assert_string_equal(seen.credential, "hsk_x");
	assert_false(seen.cookie || seen.same_origin);
	say(fd, "GET /now HTTP/1.1\r\nHost: h\r\nCookie: a=b; __Host-hisho=abc\r\nSec-Fetch-Site: same-origin\r\nOrigin: "
		"http://h\r\n\r\n");
	assert_string_equal(seen.credential, "abc");
	assert_true(seen.cookie && seen.same_origin);
	say(fd, "GET /now HTTP/1.1\r\nHost: h\r\nSec-Fetch-Site: same-origin\r\nOrigin: http://evil\r\n\r\n");
	assert_false(seen.same_origin);
	say(fd, "GET /now HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_false(seen.same_origin);
	close(fd);
}

static void test_slow_clients_are_cut(void **state)
{
	open_server(&(struct hs_http_options){.service = &service, .local = true, .head_ms = 40, .idle_ms = 40, .stall_ms = 40});
	bool end;
	int head = dial(), body = dial(), silent = dial(), stream = dial();
	say(head, "GET /now HTTP/1.1\r\nHo");
	say(body, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nx");
	say(stream, GET("/wait"));
	wait_ms(200);
	assert_non_null(strstr(hear(head, &end), "408 Request Timeout"));
	(void)hear(body, &end);
	assert_true(end);
	(void)hear(silent, &end);
	assert_true(end);
	assert_int_equal(seen.gone, 1);
	assert_int_equal(hs_http_server_connections(server), 1); /* one that waits for its answer may wait */
	close(head), close(body), close(silent), close(stream);
	(void)teardown(state);
}

static void test_unknown_hosts_are_refused(void **state)
{
	static const char *const hosts[] = {"localhost", "127.0.0.1"};
	open_server(&(struct hs_http_options){.service = &service, .hosts = hosts, .n_hosts = 2});
	int fd = dial();
	say(fd, "GET /now HTTP/1.1\r\nHost: localhost:99\r\n\r\n");
	assert_non_null(strstr(hear(fd, NULL), "200 OK"));
	say(fd, "GET /now HTTP/1.1\r\nHost: evil.example\r\n\r\n");
	assert_non_null(strstr(hear(fd, NULL), "421 Misdirected Request"));
	close(fd);
	(void)teardown(state);
}

/* --- TLS --- */

static char folder[64], key_file[96], cert_file[96];

static int dial_tcp(uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
	assert_true(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
	return fd;
}

static bool handshake(SSL *ssl)
{
	for (int i = 0; i < 500; i++) {
		int rc = SSL_connect(ssl);
		if (rc == 1)
			return true;
		int why = SSL_get_error(ssl, rc);
		if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
			return false;
		wait_ms(1);
	}
	return false;
}

static void test_tls(void **state)
{
	(void)snprintf(folder, sizeof folder, "/tmp/hisho-tls-XXXXXX");
	assert_non_null(mkdtemp(folder));
	(void)snprintf(key_file, sizeof key_file, "%s/key.pem", folder);
	(void)snprintf(cert_file, sizeof cert_file, "%s/cert.pem", folder);
	static const char *const names[] = {"localhost", "127.0.0.1", "::1"};
	struct hs_tls *tls;
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(hs_tls_make_demo(key_file, cert_file, names, 3, &err), 0);
	assert_int_equal(hs_tls_create(cert_file, key_file, &tls, &err), -EINVAL);
	assert_int_equal(hs_tls_create(key_file, cert_file, &tls, &err), 0);

	open_server(&(struct hs_http_options){.service = &service, .tls = tls, .headers = "X-Added: yes\r\n", .handshake_ms = 100});
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(bind(listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(listener, 8) == 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	assert_int_equal(hs_http_server_listen(server, listener), 0);

	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	assert_true(SSL_CTX_load_verify_locations(ctx, cert_file, NULL) == 1);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL *ssl = SSL_new(ctx);
	int fd = dial_tcp(at.sin_port);
	assert_true(SSL_set1_host(ssl, "localhost") && SSL_set_fd(ssl, fd));
	assert_true(handshake(ssl));
	assert_int_equal(SSL_version(ssl), TLS1_3_VERSION);
	char text[2048] = "";
	assert_int_equal(SSL_write(ssl, GET("/now"), (int)strlen(GET("/now"))), (int)strlen(GET("/now")));
	wait_ms(20);
	int n = SSL_read(ssl, text, sizeof text - 1);
	assert_true(n > 0 && strstr(text, "200 OK") && strstr(text, "X-Added: yes") && strstr(text, "now"));

	/* A large answer passes whole, through many records and a socket that fills. */
	assert_true(SSL_write(ssl, GET("/big"), (int)strlen(GET("/big"))) > 0);
	size_t total = 0;
	for (int i = 0; i < 20000 && total <= 3 * 1024 * 1024; i++) {
		static char sink[65536];
		n = SSL_read(ssl, sink, sizeof sink);
		total += n > 0 ? (size_t)n : 0;
		spin();
	}
	assert_true(total > 3 * 1024 * 1024);
	SSL_free(ssl);
	close(fd);

	SSL *old = SSL_new(ctx); /* TLS 1.1 */
	fd = dial_tcp(at.sin_port);
	assert_true(SSL_set_max_proto_version(old, TLS1_1_VERSION) && SSL_set_fd(old, fd));
	SSL_set_security_level(old, 0);
	assert_false(handshake(old));
	SSL_free(old);
	close(fd);

	bool end = false;
	int plain = dial_tcp(at.sin_port), silent = dial_tcp(at.sin_port);
	say(plain, GET("/now"));
	wait_ms(300);
	assert_null(strstr(hear(plain, &end), "200 OK"));
	assert_true(end);
	(void)hear(silent, &end); /* shook no hand in time */
	assert_true(end);
	assert_int_equal(seen.requests, 2);
	close(plain), close(silent);
	(void)teardown(state);
	SSL_CTX_free(ctx);
	hs_tls_destroy(tls);
	assert_int_equal(unlink(key_file) | unlink(cert_file) | rmdir(folder), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_one_connection_many_requests), TEST(test_a_head_byte_by_byte), TEST(test_bodies),
		TEST(test_smuggled_requests_are_not_served), TEST(test_a_broken_chunk_ends_the_request),
		TEST(test_a_client_that_leaves_is_seen_at_once), TEST(test_a_client_that_left_before_the_answer),
		TEST(test_a_body_waits_for_the_handler), TEST(test_an_early_answer_closes),
		TEST(test_streams), TEST(test_a_large_answer_waits_for_the_client), TEST(test_too_much_ahead_is_cut), TEST(test_who_asks),
		cmocka_unit_test(test_slow_clients_are_cut), cmocka_unit_test(test_unknown_hosts_are_refused), cmocka_unit_test(test_tls),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
