#include "daemon/tenant/chat_request.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/test.h"

static void assert_refused(const char *json, const char *code, const char *object)
{
	struct hs_chat_request r;
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(hs_chat_request_parse(json, strlen(json), &r, &err), -EINVAL);
	assert_string_equal(err.code, code);
	if (object)
		assert_string_equal(err.object, object);
}

static void test_what_the_openai_client_sends(void **state)
{
	const char *json = "{\"model\":\"hisho\",\"messages\":[{\"role\":\"system\",\"content\":\"敬語で\"},"
			   "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"宿泊費の上限はいくらですか\"}]}],"
			   "\"stream\":true,\"stream_options\":{\"include_usage\":true},\"temperature\":0.2,\"n\":1,\"seed\":5}";
	struct hs_chat_request r;
	assert_int_equal(hs_chat_request_parse(json, strlen(json), &r, NULL), 0);
	assert_string_equal(r.question, "宿泊費の上限はいくらですか");
	assert_string_equal(r.search, r.question);
	assert_string_equal(r.style, "敬語で");
	assert_string_equal(r.model, "hisho");
	assert_true(r.stream && r.include_usage);
	assert_int_equal(r.seed, 5);
	assert_int_equal(r.max_tokens, HS_ANSWER_TOKENS_DEFAULT);
	hs_chat_request_finish(&r);
}

static void test_short_questions_take_the_turn_before(void **state)
{
	const char *json = "{\"messages\":[{\"role\":\"user\",\"content\":\"海外出張の日当は\"},"
			   "{\"role\":\"assistant\",\"content\":\"6,000円です\"},{\"role\":\"user\",\"content\":\"部長は？\"}]}";
	struct hs_chat_request r;
	assert_int_equal(hs_chat_request_parse(json, strlen(json), &r, NULL), 0);
	assert_string_equal(r.question, "部長は？");
	assert_string_equal(r.search, "海外出張の日当は\n部長は？");
	hs_chat_request_finish(&r);
	assert_true(hs_question_refers_back("その場合の申請期限はいつですか"));
	assert_false(hs_question_refers_back("出張旅費の申請期限はいつですか"));
}

static void test_a_conversation_is_named_or_nothing_is_kept(void **state)
{
#define IN(conversation) "{\"messages\":[{\"role\":\"user\",\"content\":\"日当は\"}],\"hisho\":" conversation "}"
	struct hs_chat_request r;
	const char *plain[] = {IN("{}"), IN("null"), IN("{\"conversation\":null}")};
	for (size_t i = 0; i < HS_ARRAY_LEN(plain); i++) {
		assert_int_equal(hs_chat_request_parse(plain[i], strlen(plain[i]), &r, NULL), 0);
		assert_string_equal(r.conversation.s, "");
		hs_chat_request_finish(&r);
	}
	const char *fresh = IN("{\"conversation\":\"new\"}");
	assert_int_equal(hs_chat_request_parse(fresh, strlen(fresh), &r, NULL), 0);
	assert_true(r.fresh && hs_id_valid(r.conversation.s, HS_ID_LEN, "cnv_"));
	hs_chat_request_finish(&r);

	const char *known = IN("{\"conversation\":\"cnv_aaaaaaaaaaaaaaaaaaaaaaaaaa\"}");
	assert_int_equal(hs_chat_request_parse(known, strlen(known), &r, NULL), 0);
	assert_false(r.fresh);
	assert_string_equal(r.conversation.s, "cnv_aaaaaaaaaaaaaaaaaaaaaaaaaa");
	assert_int_equal(hs_chat_request_follow(&r, "海外出張について"), 0);
	assert_string_equal(r.search, "海外出張について\n日当は");
	assert_int_equal(hs_chat_request_follow(&r, ""), 0);
	assert_string_equal(r.search, "日当は");
	hs_chat_request_finish(&r);

	assert_refused(IN("{\"conversation\":\"doc_aaaaaaaaaaaaaaaaaaaaaaaaaa\"}"), "request.parameter", "hisho.conversation");
	assert_refused(IN("{\"conversation\":7}"), "request.parameter", "hisho.conversation");
	assert_refused(IN("{\"memory\":true}"), "request.unsupported_parameter", "hisho");
	assert_refused(IN("[]"), "request.unsupported_parameter", "hisho");
#undef IN
}

static void test_what_cannot_be_honoured_is_named(void **state)
{
	assert_refused("{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"tools\":[]}", "request.unsupported_parameter", "tools");
	assert_refused("{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"n\":2}", "request.unsupported_parameter", "n");
	assert_refused("{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"logprobs\":true}", "request.unsupported_parameter",
		       "logprobs");
	assert_refused("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}", "request.unsupported_parameter",
		       "messages.content");
	assert_refused("{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"temperature\":9}", "request.parameter", "temperature");
	assert_refused("{\"messages\":[{\"role\":\"tool\",\"content\":\"a\"}]}", "request.unsupported_parameter", "messages.role");
}

static void test_bad_bodies(void **state)
{
	assert_refused("", "request.json", NULL);
	assert_refused("[]", "request.json", NULL);
	assert_refused("{\"messages\":[],\"messages\":[]}", "request.json", NULL);
	assert_refused("{\"messages\":[]}", "request.messages", NULL);
	assert_refused("{\"messages\":[{\"role\":\"user\",\"content\":\"  \"}]}", "request.messages", NULL);
	assert_refused("{\"messages\":[{\"role\":\"assistant\",\"content\":\"x\"}]}", "request.messages", "role");
	assert_refused("{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}", "request.json", NULL);
	static char large[HS_QUESTION_MAX + 200];
	int n = snprintf(large, sizeof large, "{\"messages\":[{\"role\":\"user\",\"content\":\"");
	memset(large + n, 'a', HS_QUESTION_MAX + 1);
	memcpy(large + n + HS_QUESTION_MAX + 1, "\"}]}", 5);
	assert_refused(large, "request.too_long", "user");
}

#define FORMAT(format) "{\"messages\":[{\"role\":\"user\",\"content\":\"日当は\"}],\"response_format\":" format "}"
#define SCHEMA(schema) FORMAT("{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a\",\"strict\":true,\"schema\":" schema "}}")

static void test_json_of_what_can_be_checked(void **state)
{
	static const char json[] = SCHEMA("{\"type\":\"object\",\"properties\":{\"日当\":{\"type\":\"string\"},"
					  "\"他\":{\"type\":\"array\",\"items\":{\"enum\":[\"a\",null]}}}}");
	struct hs_chat_request r;
	assert_int_equal(hs_chat_request_parse(json, strlen(json), &r, NULL), 0);
	assert_non_null(strstr(r.schema, "日当"));
	hs_chat_request_finish(&r);
	assert_int_equal(hs_chat_request_parse(FORMAT("{\"type\":\"text\"}"), strlen(FORMAT("{\"type\":\"text\"}")), &r, NULL), 0);
	assert_null(r.schema);
	hs_chat_request_finish(&r);
	assert_refused(FORMAT("{\"type\":\"json_object\"}"), "request.response_format", "json_object");
	assert_refused(FORMAT("{\"type\":\"json_schema\"}"), "request.response_format", "json_schema");
	assert_refused(FORMAT("{\"type\":\"xml\"}"), "request.unsupported_parameter", "response_format");
	assert_refused("{\"messages\":[{\"role\":\"user\",\"content\":\"日当は\"}],\"hisho\":{\"conversation\":\"new\"},\"response_format\":"
		       "{\"type\":\"json_schema\",\"json_schema\":{\"schema\":{\"type\":\"string\"}}}}",
		       "request.unsupported_parameter", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_the_openai_client_sends),
		cmocka_unit_test(test_short_questions_take_the_turn_before),
		cmocka_unit_test(test_a_conversation_is_named_or_nothing_is_kept),
		cmocka_unit_test(test_what_cannot_be_honoured_is_named),
		cmocka_unit_test(test_json_of_what_can_be_checked),
		cmocka_unit_test(test_bad_bodies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
