#include "daemon/messages.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/test.h"

#define SLICE(text) ((struct hs_slice){text, sizeof(text) - 1})

static void assert_slice(struct hs_slice got, const char *expected)
{
	assert_int_equal(got.len, strlen(expected));
	assert_memory_equal(got.s, expected, got.len);
}

/* Each encoding decodes; each shorter prefix, and one byte more, is refused. */
#define CHECK_BOUNDS(b, get, out)                                             \
	do {                                                                  \
		for (size_t cut = 0; cut < (b).len; cut++)                    \
			assert_int_equal(get((b).data, cut, out), -EPROTO);   \
		assert_int_equal(hs_buf_append_byte(&(b), 0), 0);             \
		assert_int_equal(get((b).data, (b).len, out), -EPROTO);       \
		assert_int_equal(get((b).data, (b).len - 1, out), 0);         \
	} while (0)

static void test_hello(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_hello got;
	assert_int_equal(hs_put_hello(&b, &(struct hs_hello){1, 2, HS_PROCESS_TENANT, SLICE("ten_x")}), 0);
	CHECK_BOUNDS(b, hs_get_hello, &got);
	assert_int_equal(got.version_max, 2);
	assert_int_equal(got.role, HS_PROCESS_TENANT);
	assert_slice(got.name, "ten_x");
	b.data[4] = HS_PROCESS_MAX + 1;
	assert_int_equal(hs_get_hello(b.data, b.len - 1, &got), -EPROTO);
}

static void test_error(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_err err = HS_ERR_INIT;
	struct hs_msg_error got;
	(void)hs_fail(&err, ENOENT, "doc.missing", "hint", "doc_%d", 7);
	assert_int_equal(hs_put_error(&b, &err), 0);
	CHECK_BOUNDS(b, hs_get_error, &got);
	assert_int_equal(got.num, ENOENT);
	assert_slice(got.code, "doc.missing");
	assert_slice(got.object, "doc_7");
}

static void test_start(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	static struct hs_msg_start start, got; /* large for a stack */
	start.count = 2;
	start.items[0] = SLICE("--state");
	start.items[1] = SLICE("/var/lib/hisho");
	assert_int_equal(hs_put_start(&b, &start), 0);
	CHECK_BOUNDS(b, hs_get_start, &got);
	assert_int_equal(got.count, 2);
	assert_slice(got.items[1], "/var/lib/hisho");
	b.data[b.len - 3] = 0; /* a zero byte would cut an argument short */
	assert_int_equal(hs_get_start(b.data, b.len - 1, &got), -EPROTO);
	b.len = 0;
	assert_int_equal(hs_put_u32(&b, HS_MSG_ARGUMENTS_MAX + 1), 0);
	assert_int_equal(hs_get_start(b.data, b.len, &got), -EPROTO);
}

static void test_ready(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_msg_ready got;
	assert_int_equal(hs_put_ready(&b, &(struct hs_msg_ready){77, SLICE("https://localhost:8443")}), 0);
	CHECK_BOUNDS(b, hs_get_ready, &got);
	assert_int_equal(got.pid, 77);
	assert_slice(got.url, "https://localhost:8443");
	b.data[b.len - 3] = '\n'; /* it becomes one line of a file */
	assert_int_equal(hs_get_ready(b.data, b.len - 1, &got), -EPROTO);
}

static void test_http(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_msg_http_request request = {.method = SLICE("POST"), .path = SLICE("/v1/search"), .query = SLICE("k=1"),
					      .credential = SLICE("hsk_x"), .cookie = true, .has_body = true,
					      .content_length = UINT64_MAX};
	assert_int_equal(hs_put_http_request(&b, &request), 0);
	struct hs_msg_http_request got;
	CHECK_BOUNDS(b, hs_get_http_request, &got);
	assert_slice(got.path, "/v1/search");
	assert_true(got.cookie && got.has_body && !got.same_origin);
	assert_true(got.content_length == UINT64_MAX);

	HS_BUF_AUTO c = HS_BUF_INIT;
	struct hs_msg_http_response response = {.status = 200, .stream = true, .n_headers = 1,
						.headers = {{SLICE("content-type"), SLICE("text/event-stream")}}};
	assert_int_equal(hs_put_http_response(&c, &response), 0);
	struct hs_msg_http_response back;
	CHECK_BOUNDS(c, hs_get_http_response, &back);
	assert_slice(back.headers[0].value, "text/event-stream");
}

static void test_generate_and_replies(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	static struct hs_msg_generate ask, got;
	ask = (struct hs_msg_generate){.max_tokens = 128, .temperature = 0.5f, .top_p = 1, .seed = 9, .n_segments = 2,
				       .form = HS_FORM_SCHEMA, .schema = SLICE("{}")};
	ask.segments[0] = (struct hs_segment){HS_SEGMENT_SYSTEM, HS_SEGMENT_INSTRUCTION, HS_CACHE_TEMPLATE, 0, SLICE("答えて")};
	ask.segments[1] = (struct hs_segment){HS_SEGMENT_USER, HS_SEGMENT_DATA, HS_CACHE_USER, 3, SLICE("<|im_end|>")};
	assert_int_equal(hs_put_generate(&b, &ask), 0);
	CHECK_BOUNDS(b, hs_get_generate, &got);
	assert_int_equal(got.n_segments, 2);
	assert_int_equal(got.segments[1].priority, 3);
	assert_int_equal(got.form, HS_FORM_SCHEMA);
	assert_slice(got.schema, "{}");
	assert_slice(got.segments[1].text, "<|im_end|>");

	HS_BUF_AUTO c = HS_BUF_INIT;
	struct hs_msg_kept kept = {.prompt_tokens = 10, .n_segments = 2, .kept = {1, 0}}, kept_back;
	assert_int_equal(hs_put_kept(&c, &kept), 0);
	CHECK_BOUNDS(c, hs_get_kept, &kept_back);
	assert_int_equal(kept_back.kept[0], 1);
	assert_int_equal(kept_back.kept[1], 0);

	HS_BUF_AUTO d = HS_BUF_INIT;
	struct hs_msg_done done = {.reason = HS_DONE_LENGTH, .answer_tokens = 3, .mean_logprob = -0.25f}, done_back;
	assert_int_equal(hs_put_done(&d, &done), 0);
	CHECK_BOUNDS(d, hs_get_done, &done_back);
	assert_int_equal(done_back.reason, HS_DONE_LENGTH);
}

static void test_counts_are_bounded(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	static struct hs_msg_embed got;
	assert_int_equal(hs_put_u8(&b, HS_EMBED_QUERY) | hs_put_u32(&b, HS_MSG_EMBED_MAX + 1), 0);
	for (int i = 0; i <= HS_MSG_EMBED_MAX; i++)
		assert_int_equal(hs_put_str(&b, "a", 1), 0);
	assert_int_equal(hs_get_embed(b.data, b.len, &got), -EPROTO);
}

static void test_floats_must_be_finite(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_msg_done done = {.reason = HS_DONE_END, .mean_logprob = -1.0f / 0.0f}, got;
	assert_int_equal(hs_put_done(&b, &done), 0);
	assert_int_equal(hs_get_done(b.data, b.len, &got), -EPROTO);
}

static void test_models_round_trip(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_msg_models models = {.count = 1, .items = {{.id = SLICE("e5"), .architecture = SLICE("bert"), .encoder = true,
							      .scores = true, .dimensions = 384, .context = 512, .hash = {1, 2}}}};
	struct hs_msg_models got;
	assert_int_equal(hs_put_models(&b, &models), 0);
	CHECK_BOUNDS(b, hs_get_models, &got);
	assert_int_equal(got.items[0].dimensions, 384);
	assert_true(got.items[0].encoder && got.items[0].scores);
	assert_int_equal(got.items[0].hash[1], 2);
}

static void test_rerank_round_trip(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	static struct hs_msg_rerank got;
	const struct hs_msg_rerank ask = {.question = SLICE("旅費は"), .count = 2, .passages = {SLICE("日当"), SLICE("")}};
	assert_int_equal(hs_put_rerank(&b, &ask), 0);
	CHECK_BOUNDS(b, hs_get_rerank, &got);
	assert_int_equal(got.count, 2);
	assert_int_equal(got.passages[0].len, 6);
	assert_int_equal(got.passages[1].len, 0);
	HS_BUF_AUTO many = HS_BUF_INIT;
	assert_int_equal(hs_put_str(&many, "q", 1) | hs_put_u32(&many, HS_MSG_RERANK_MAX + 1), 0);
	for (unsigned i = 0; i <= HS_MSG_RERANK_MAX; i++)
		assert_int_equal(hs_put_str(&many, "p", 1), 0);
	assert_int_equal(hs_get_rerank(many.data, many.len, &got), -EPROTO);
}

static void test_key_is_fixed_size(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_msg_key got, key = {.generation = 3, .db_uuid = {1}, .key = {2}, .signer = {4}, .head = {9, -8, {7}}};
	assert_int_equal(hs_put_key(&b, &key), 0);
	assert_int_equal(b.len, HS_MSG_KEY_LEN);
	CHECK_BOUNDS(b, hs_get_key, &got);
	assert_int_equal(got.generation, key.generation); /* member by member: padding is not carried */
	assert_memory_equal(got.db_uuid, key.db_uuid, sizeof key.db_uuid);
	assert_memory_equal(got.key, key.key, sizeof key.key);
	assert_memory_equal(got.signer, key.signer, sizeof key.signer);
	assert_int_equal(got.head.seq, key.head.seq);
	assert_int_equal(got.head.time, key.head.time);
	assert_memory_equal(got.head.chain, key.head.chain, sizeof key.head.chain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hello),
		cmocka_unit_test(test_error),
		cmocka_unit_test(test_start),
		cmocka_unit_test(test_ready),
		cmocka_unit_test(test_http),
		cmocka_unit_test(test_generate_and_replies),
		cmocka_unit_test(test_counts_are_bounded),
		cmocka_unit_test(test_floats_must_be_finite),
		cmocka_unit_test(test_models_round_trip),
		cmocka_unit_test(test_rerank_round_trip),
		cmocka_unit_test(test_key_is_fixed_size),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
