#include "daemon/forward.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/test.h"

/* Both sides on one loop: a made-up client on web's side, an echoing handler on the tenant's. */
static uv_loop_t loop;
static struct hs_channel *web, *tenant;
static struct hs_forward_client *client;
static struct hs_forward_server *server;
static int client_protocol, server_protocol; /* what the frame functions returned, where not 0 */

/* --- the client's transport --- */
struct asker {
	struct hs_responder responder;
	unsigned status;
	struct hs_buf got;
	size_t credited, held; /* held: bytes that we pretend the client has not taken */
	bool done, aborted;
	void *state;
};

static int ask_begin(struct hs_responder *r, const struct hs_msg_http_response *head)
{
	HS_CONTAINER_OF(r, struct asker, responder)->status = head->status;
	return 0;
}

static int ask_content(struct hs_responder *r, const void *data, size_t len, bool last)
{
	struct asker *a = HS_CONTAINER_OF(r, struct asker, responder);
	assert_false(a->done);
	a->done = last;
	return hs_buf_append(&a->got, data, len);
}

static void ask_credit(struct hs_responder *r, size_t bytes)
{
	HS_CONTAINER_OF(r, struct asker, responder)->credited += bytes;
}

static size_t ask_queued(const struct hs_responder *r)
{
	return HS_CONTAINER_OF((struct hs_responder *)r, struct asker, responder)->held;
}

static void ask_abort(struct hs_responder *r)
{
	HS_CONTAINER_OF(r, struct asker, responder)->aborted = true;
}

static const struct hs_responder_ops ask_ops = {ask_begin, ask_content, ask_credit, ask_queued, ask_abort};

/* --- the handler --- */
static struct {
	struct hs_responder *r;
	char path[64];
	size_t body;
	bool body_done, gone, no_credit, silent;
	unsigned writable;
	size_t big; /* answer so many bytes at once */
} handler;

static void *handle_request(void *ctx, const struct hs_request *q, struct hs_responder *r)
{
	handler.r = r;
	(void)snprintf(handler.path, sizeof handler.path, "%.*s", (int)q->head.path.len, q->head.path.s);
	if (strcmp(handler.path, "/now") == 0) {
		hs_responder_answer(r, 200, "text/plain", "now", 3);
		return NULL;
	}
	if (strcmp(handler.path, "/big") == 0) {
		char *big = calloc(1, handler.big);
		assert_non_null(big);
		hs_responder_answer(r, 200, NULL, big, handler.big);
		free(big);
		return NULL;
	}
	return &handler;
}

static void handle_body(void *state, const void *data, size_t len, bool last)
{
	handler.body += len;
	handler.body_done = last;
	if (!handler.no_credit)
		hs_responder_credit(handler.r, len);
	if (last && !handler.silent)
		hs_responder_answer(handler.r, 201, NULL, "taken", 5);
}

static void handle_writable(void *state)
{
	handler.writable++;
}

static void handle_gone(void *state)
{
	handler.gone = true;
}

static const struct hs_service service = {handle_request, handle_body, handle_writable, handle_gone};

static void client_frame(void *ctx, struct hs_frame *f)
{
	int rc = hs_forward_client_frame(client, f);
	client_protocol = rc ? rc : client_protocol;
}

static void server_frame(void *ctx, struct hs_frame *f)
{
	int rc = hs_forward_server_frame(server, f);
	server_protocol = rc ? rc : server_protocol;
}

static void on_gone(void *ctx, const struct hs_err *why)
{
}

static void spin(void)
{
	for (int i = 0; i < 50; i++)
		(void)uv_run(&loop, UV_RUN_NOWAIT);
}

static int setup(void **state)
{
	int pair[2];
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(hs_channel_pair(pair), 0);
	const struct hs_channel_options a = {HS_PROCESS_WEB, HS_PROCESS_TENANT, ""}, b = {HS_PROCESS_TENANT, HS_PROCESS_WEB, "ten_x"};
	const struct hs_channel_events ea = {.frame = client_frame, .gone = on_gone}, eb = {.frame = server_frame, .gone = on_gone};
	assert_int_equal(hs_channel_create(&loop, pair[0], &a, &ea, NULL, &web), 0);
	assert_int_equal(hs_channel_create(&loop, pair[1], &b, &eb, NULL, &tenant), 0);
	assert_int_equal(hs_forward_client_create(web, &client), 0);
	assert_int_equal(hs_forward_server_create(tenant, &service, NULL, &server), 0);
	memset(&handler, 0, sizeof handler);
	client_protocol = server_protocol = 0;
	spin();
	return 0;
}

static int teardown(void **state)
{
	hs_forward_client_destroy(client);
	hs_forward_server_destroy(server);
	hs_channel_destroy(web);
	hs_channel_destroy(tenant);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

static void ask(struct asker *a, const char *path, bool body)
{
	*a = (struct asker){.responder = {&ask_ops}};
	const struct hs_request q = {.head = {.method = hs_slice_str("POST"), .path = hs_slice_str(path), .has_body = body}};
	a->state = hs_forward_request(client, &q, &a->responder);
	assert_non_null(a->state);
}

static void test_answers_and_bodies(void **state)
{
	struct asker a;
	ask(&a, "/now", false);
	spin();
	assert_true(a.done && a.status == 200 && a.got.len == 3);
	hs_buf_finish(&a.got);

	ask(&a, "/echo", true);
	static uint8_t data[200000];
	hs_forward_service.body(a.state, data, sizeof data, false);
	spin();
	assert_int_equal(handler.body, sizeof data);
	assert_int_equal(a.credited, sizeof data);
	hs_forward_service.body(a.state, NULL, 0, true);
	spin();
	assert_true(a.done && a.status == 201 && handler.body_done);
	hs_buf_finish(&a.got);
	assert_int_equal(hs_forward_client_open(client), 0);
}

/* An answer larger than the window waits for the client, and arrives whole. */
static void test_content_waits_for_credit(void **state)
{
	struct asker a;
	handler.big = 3 * HS_HTTP_WINDOW + 17;
	ask(&a, "/big", false);
	a.held = HS_HTTP_WINDOW; /* takes nothing */
	spin();
	assert_int_equal(a.got.len, HS_HTTP_WINDOW);
	assert_false(a.done);
	a.held = 0;
	hs_forward_service.writable(a.state);
	spin();
	assert_true(a.done);
	assert_int_equal(a.got.len, handler.big);
	hs_buf_finish(&a.got);
}

static void test_a_handler_that_streams_is_told_when_it_may_go_on(void **state)
{
	struct asker a;
	ask(&a, "/stream", false);
	spin();
	const struct hs_msg_http_response head = {.status = 200, .stream = true};
	assert_int_equal(hs_responder_begin(handler.r, &head), 0);
	static uint8_t data[HS_HTTP_WINDOW];
	a.held = HS_HTTP_WINDOW;
	assert_int_equal(hs_responder_content(handler.r, data, sizeof data, false), 0);
	assert_int_equal(hs_responder_queued(handler.r), HS_HTTP_WINDOW);
	spin();
	assert_int_equal(handler.writable, 0);
	hs_forward_service.writable(a.state);
	spin();
	assert_int_equal(handler.writable, 1);
	assert_int_equal(hs_responder_queued(handler.r), 0);
	assert_int_equal(hs_responder_content(handler.r, NULL, 0, true), 0);
	spin();
	assert_true(a.done);
	hs_buf_finish(&a.got);
}

static void test_a_client_that_goes_away_cancels(void **state)
{
	struct asker a;
	ask(&a, "/slow", false);
	spin();
	assert_non_null(handler.r);
	hs_forward_service.gone(a.state);
	spin();
	assert_true(handler.gone);
	assert_int_equal(hs_forward_client_open(client), 0);
}

static void test_a_lost_tenant_is_told(void **state)
{
	struct asker before, during;
	ask(&before, "/slow", false);
	spin();
	ask(&during, "/slow", false);
	spin();
	const struct hs_msg_http_response head = {.status = 200, .stream = true, .n_headers = 1,
						  .headers = {{hs_slice_str("Content-Type"), hs_slice_str("text/event-stream")}}};
	assert_int_equal(hs_responder_begin(handler.r, &head), 0);
	spin();
	hs_forward_client_destroy(client);
	client = NULL;
	assert_true(before.done && before.status == 503);
	assert_non_null(strstr(hs_buf_cstr(&before.got), "tenant.lost"));
	assert_true(during.aborted && !during.done);
	assert_non_null(strstr(hs_buf_cstr(&during.got), "event: error"));
	hs_buf_finish(&before.got);
	hs_buf_finish(&during.got);
	assert_int_equal(hs_forward_client_create(web, &client), 0);
}

static void send_raw(struct hs_channel *c, enum hs_msg type, uint64_t id, uint32_t flags, const void *payload, size_t len)
{
	const struct hs_frame f = {.type = (uint16_t)type, .request = id, .flags = flags, .payload = payload, .payload_len = len};
	assert_int_equal(hs_channel_send_frame(c, &f), 0);
	spin();
}

/* What the two sides must not believe of each other. */
static void test_broken_rules_are_protocol_errors(void **state)
{
	static uint8_t data[HS_FRAME_PAYLOAD_MAX];
	struct asker a;
	handler.no_credit = handler.silent = true;
	ask(&a, "/x", true);
	spin();
	for (int i = 0; i < 4; i++)
		send_raw(web, HS_MSG_HTTP_BODY, 1, HS_FRAME_MORE, data, sizeof data);
	assert_int_equal(server_protocol, 0);
	send_raw(web, HS_MSG_HTTP_BODY, 1, HS_FRAME_MORE, data, 1); /* past the window */
	assert_int_equal(server_protocol, -EPROTO);
	server_protocol = 0;
	send_raw(web, HS_MSG_CREDIT, 1, 0, "\1\0\0\0", 4); /* for nothing */
	assert_int_equal(server_protocol, -EPROTO);
	server_protocol = 0;
	send_raw(web, HS_MSG_HTTP_REQUEST, 7, 0, "junk", 4);
	assert_int_equal(server_protocol, -EPROTO);

	send_raw(tenant, HS_MSG_HTTP_CONTENT, 1, 0, data, 1); /* before a head */
	assert_int_equal(client_protocol, -EPROTO);
	client_protocol = 0;
	send_raw(tenant, HS_MSG_CREDIT, 1, 0, "\1\0\0\0", 4); /* we sent nothing through x */
	assert_int_equal(client_protocol, -EPROTO);
	client_protocol = 0;
	send_raw(tenant, HS_MSG_HTTP_RESPONSE, 99, 0, data, 4); /* never asked */
	assert_int_equal(client_protocol, -EPROTO);
	client_protocol = 0;
	HS_BUF_AUTO smuggled = HS_BUF_INIT; /* a header with a line break: refused, and nothing was begun */
	const struct hs_msg_http_response split = {
		.status = 200, .n_headers = 1, .headers = {{hs_slice_str("X"), hs_slice_str("a\r\nB: c")}}};
	assert_int_equal(hs_put_http_response(&smuggled, &split), 0);
	send_raw(tenant, HS_MSG_HTTP_RESPONSE, 1, 0, smuggled.data, smuggled.len);
	assert_int_equal(client_protocol, -EPROTO);
	assert_int_equal(a.status, 0);
	client_protocol = 0;
	hs_forward_service.gone(a.state);
	send_raw(tenant, HS_MSG_HTTP_CONTENT, 1, 0, data, 1); /* crossed the cancel: fine */
	assert_int_equal(client_protocol, 0);
}

static void test_headers_cannot_be_smuggled(void **state)
{
	struct asker a = {.responder = {&ask_ops}};
	const struct {
		const char *name, *value;
	} bad[] = {{"X", "a\r\nSet-Cookie: b"}, {"X\r\n", "a"}, {"", "a"}, {"Content-Length", "3"}, {"transfer-encoding", "chunked"},
		   {"X", "a\x7f"}, {"X y", "a"}};
	for (size_t i = 0; i < HS_ARRAY_LEN(bad); i++) {
		const struct hs_msg_http_response head = {.status = 200, .n_headers = 1,
							  .headers = {{hs_slice_str(bad[i].name), hs_slice_str(bad[i].value)}}};
		assert_int_equal(hs_responder_begin(&a.responder, &head), -EINVAL);
	}
	assert_int_equal(a.status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers_and_bodies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_content_waits_for_credit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_handler_that_streams_is_told_when_it_may_go_on, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_client_that_goes_away_cancels, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_lost_tenant_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken_rules_are_protocol_errors, setup, teardown),
		cmocka_unit_test(test_headers_cannot_be_smuggled),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
