#include "daemon/tenant/chat_events.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "tests/unit/test.h"

static const struct hs_chat_head head = {.id = "ans_x", .model = "hisho", .created_ms = 1775001600123};
static const struct hs_cited cited = {.n = 1, .document = "doc_a", .version = "ver_a", .start = 10, .end = 25, .page = 2,
				      .title = "旅費規程", .context = "第3章", .quote = "上限は\n\"1万円\"あ", .quote_len = 22};

/* Take the next "data: ..." event off the buffer and parse it; NULL for [DONE]. */
static json_t *next_event(struct hs_buf *b)
{
	const char *text = hs_buf_cstr(b);
	assert_memory_equal(text, "data: ", 6);
	const char *end = strstr(text, "\n\n");
	assert_non_null(end);
	json_t *j = json_loadb(text + 6, (size_t)(end - text - 6), 0, NULL);
	hs_buf_consume(b, (size_t)(end - text) + 2);
	return j;
}

static void test_events_are_openai_chunks(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	assert_int_equal(hs_chat_event_evidence(&b, &head, &cited, 1), 0);
	json_t *j = next_event(&b);
	assert_string_equal(json_string_value(json_object_get(j, "object")), "chat.completion.chunk");
	assert_int_equal(json_integer_value(json_object_get(j, "created")), 1775001600);
	json_t *evidence = json_array_get(json_object_get(json_object_get(j, "hisho"), "evidence"), 0);
	assert_string_equal(json_string_value(json_object_get(evidence, "document")), "doc_a");
	assert_int_equal(json_integer_value(json_object_get(evidence, "page")), 2);
	assert_null(json_object_get(json_object_get(j, "hisho"), "conversation")); /* it is kept in none */
	json_decref(j);

	assert_int_equal(hs_chat_event_sentence(&b, &head, "上限は1万円です。[1]", &cited, 1), 0);
	j = next_event(&b);
	json_t *choice = json_array_get(json_object_get(j, "choices"), 0);
	assert_true(json_is_null(json_object_get(choice, "finish_reason")));
	assert_string_equal(json_string_value(json_object_get(json_object_get(choice, "delta"), "content")), "上限は1万円です。[1]");
	json_decref(j);

	assert_int_equal(hs_chat_event_end(&b, &head, HS_OUTCOME_ANSWERED, "stop", &(struct hs_chat_usage){5, 7}), 0);
	j = next_event(&b);
	assert_string_equal(json_string_value(json_object_get(json_object_get(j, "hisho"), "outcome")), "answered");
	json_decref(j);
	j = next_event(&b);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "usage"), "total_tokens")), 12);
	json_decref(j);
	assert_null(next_event(&b));
	assert_int_equal(b.len, 0);
}

static void test_whole_answer(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	assert_int_equal(hs_chat_whole(&b, &head, "はい。[1]", &cited, 1, &cited, 1, HS_OUTCOME_ANSWERED, "stop",
				       &(struct hs_chat_usage){1, 2}), 0);
	json_t *j = json_loadb((const char *)b.data, b.len, 0, NULL);
	assert_non_null(j);
	json_t *message = json_object_get(json_array_get(json_object_get(j, "choices"), 0), "message");
	assert_string_equal(json_string_value(json_object_get(message, "content")), "はい。[1]");
	json_decref(j);
}

static void test_where_an_answer_is_kept_is_told(void **state)
{
	const struct hs_chat_head kept = {.id = "ans_x", .model = "hisho", .conversation = "cnv_a", .message = "msg_b"};
	HS_BUF_AUTO b = HS_BUF_INIT;
	HS_BUF_AUTO whole = HS_BUF_INIT;
	assert_int_equal(hs_chat_event_evidence(&b, &kept, NULL, 0), 0);
	const struct hs_chat_usage none = {0, 0};
	assert_int_equal(hs_chat_whole(&whole, &kept, "", NULL, 0, NULL, 0, HS_OUTCOME_NOT_FOUND, "stop", &none), 0);
	json_t *events[] = {next_event(&b), json_loadb((const char *)whole.data, whole.len, 0, NULL)};
	for (size_t i = 0; i < HS_ARRAY_LEN(events); i++) {
		const json_t *more = json_object_get(events[i], "hisho");
		assert_string_equal(json_string_value(json_object_get(more, "conversation")), "cnv_a");
		assert_string_equal(json_string_value(json_object_get(more, "message")), "msg_b");
		json_decref(events[i]);
	}
}

static void test_errors_have_a_status_and_a_code(void **state)
{
	struct hs_err err = HS_ERR_INIT;
	(void)hs_fail(&err, EACCES, "auth.refused", "", "x");
	assert_int_equal(hs_error_status(&err), 401);
	(void)hs_fail(&err, ENOENT, "doc.missing", "", "doc_x");
	assert_int_equal(hs_error_status(&err), 404);
	HS_BUF_AUTO b = HS_BUF_INIT;
	assert_int_equal(hs_error_json(&b, &err, false), 0);
	json_t *j = json_loadb((const char *)b.data, b.len, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(json_object_get(j, "error"), "code")), "doc.missing");
	json_decref(j);

	(void)hs_fail(&err, EBUSY, "request.busy", HS_N_("The service is busy. Try again shortly."), "x");
	HS_BUF_AUTO words = HS_BUF_INIT;
	assert_int_equal(hs_error_json(&words, &err, true), 0);
	assert_int_equal(hs_chat_event_error(&words, &err, false), 0);
	assert_non_null(strstr(hs_buf_cstr(&words), "混み合っています"));
	assert_non_null(strstr(hs_buf_cstr(&words), "data: {\"error\":{\"message\":\"request.busy: x: The service is busy"));
}

static void test_a_full_buffer_is_told(void **state)
{
	struct hs_buf b = {.limit = 40};
	assert_true(hs_chat_event_evidence(&b, &head, &cited, 1) < 0);
	hs_buf_finish(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_events_are_openai_chunks),
		cmocka_unit_test(test_whole_answer),
		cmocka_unit_test(test_where_an_answer_is_kept_is_told),
		cmocka_unit_test(test_errors_have_a_status_and_a_code),
		cmocka_unit_test(test_a_full_buffer_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
