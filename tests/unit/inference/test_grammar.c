/* Grammars by themselves: what is understood, what is refused, and texts that may and may not be. */
#include "inference/grammar/grammar.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/test.h"

static struct hs_grammar *schema(const char *json)
{
	struct hs_grammar *g = NULL;
	struct hs_err err = HS_ERR_INIT;
	int rc = hs_grammar_schema(json, strlen(json), &g, &err);
	if (rc < 0)
		print_message("%s: %s %s\n", json, err.code, err.object);
	assert_int_equal(rc, 0);
	return g;
}

/* How many bytes of it may stand; the whole length + 1 where it may also end there. */
static size_t goes(const struct hs_grammar *g, const char *text, size_t n)
{
	struct hs_grammar_state s;
	hs_grammar_begin(g, &s);
	for (size_t i = 0; i < n; i++)
		if (!hs_grammar_byte(g, &s, (uint8_t)text[i]))
			return i;
	return n + hs_grammar_may_end(g, &s);
}

static void accepts(const struct hs_grammar *g, const char *text)
{
	if (goes(g, text, strlen(text)) != strlen(text) + 1)
		fail_msg("%s stops at %zu", text, goes(g, text, strlen(text)));
}

static void refuses(const struct hs_grammar *g, const char *text)
{
	if (goes(g, text, strlen(text)) == strlen(text) + 1)
		fail_msg("%s was taken", text);
}

static void test_an_object(void **state)
{
	struct hs_grammar *g = schema("{\"type\":\"object\",\"properties\":{\"名\":{\"type\":\"string\",\"maxLength\":3},"
				      "\"n\":{\"type\":\"null\"},\"nn\":{\"type\":\"string\"},\"a\":{\"enum\":[\"1\",\"12\",null]}},"
				      "\"required\":[\"名\",\"nn\"],\"additionalProperties\":false}");
	accepts(g, "{\"名\":\"日本\",\"nn\":\"1\"}");
	accepts(g, " {\"名\": \"日本語\", \"n\": null, \"nn\": \"\", \"a\": \"12\"}");
	accepts(g, "{\"名\":\"\\\"\\u3042\\n\",\"nn\":\"\",\"a\":\"1\"}");
	accepts(g, "{\"名\":\"\",\"nn\":\"10\",\"a\":null}");
	refuses(g, "{\"名\":\"日本語だ\",\"nn\":\"\"}");	      /* too long */
	refuses(g, "{\"nn\":\"\"}");			      /* 名 is required */
	refuses(g, "{\"名\":\"\"}");			      /* nn is */
	refuses(g, "{\"名\":\"\",\"nn\":\"\",\"n\":null}"); /* out of order */
	refuses(g, "{\"名\":\"\",\"nn\":\"\",\"b\":null}"); /* not a property */
	refuses(g, "{\"名\":\"\",\"nn\":\"\",}");
	refuses(g, "{\"名\":\"\",\"nn\":1}");
	refuses(g, "{\"名\":\"\",\"n\":nul,\"nn\":\"\"}");
	refuses(g, "{\"名\":\"\",\"nn\":\"\",\"a\":\"123\"}");
	refuses(g, "{\"名\":\"\",\"nn\":\"\"} ");
	refuses(g, "  {\"名\":\"\",\"nn\":\"\"}");
	refuses(g, "{\"名\":\"a\nb\",\"nn\":\"\"}");
	refuses(g, "{\"名\":\"\\x\",\"nn\":\"\"}");
	hs_grammar_destroy(g);
}

static void test_strings_are_whole_characters(void **state)
{
	static const struct {
		const char *bytes;
		bool ok;
	} rows[] = {
	    {"\x7f", true},	    {"\xc2\x80", true},		{"\xdf\xbf", true},	    {"\xe0\xa0\x80", true},
	    {"\xed\x9f\xbf", true}, {"\xef\xbf\xbf", true},	{"\xf0\x90\x80\x80", true}, {"\xf4\x8f\xbf\xbf", true},
	    {"\x80", false},	    {"\xc1\x80", false},	{"\xe0\x9f\xbf", false},    {"\xed\xa0\x80", false},
	    {"\xe3\x81", false},    {"\xf0\x8f\xbf\xbf", false}, {"\xf4\x90\x80\x80", false}, {"\xf5\x80\x80\x80", false},
	    {"\\ud7ff", true},	    {"\\ue000", true},		{"\\ud800", false},	    {"\\uDfFf", false},
	    {"\\u0000", false},	    {"\\u0001", true},		{"\\u00", false},	    {"\\/", true},
	};
	struct hs_grammar *g = schema("{\"type\":\"string\",\"maxLength\":1}");
	for (size_t i = 0; i < HS_ARRAY_LEN(rows); i++) {
		char text[32];
		int n = snprintf(text, sizeof text, "\"%s\"", rows[i].bytes);
		if ((goes(g, text, (size_t)n) == (size_t)n + 1) != rows[i].ok)
			fail_msg("row %zu", i);
	}
	refuses(g, "\"ab\"");
	assert_int_equal(goes(g, "\"\0\"", 3), 1);
	hs_grammar_destroy(g);
}

static void test_arrays_and_words(void **state)
{
	struct hs_grammar *g = schema("{\"type\":\"array\",\"items\":{\"enum\":[\"是\",\"否\"]},\"minItems\":1,\"maxItems\":2}");
	accepts(g, "[\"是\"]");
	accepts(g, "[\"否\", \"是\"]");
	refuses(g, "[]");
	refuses(g, "[\"是\",\"是\",\"是\"]");
	refuses(g, "[\"是\",]");
	refuses(g, "[null]");
	hs_grammar_destroy(g);
	g = schema("{\"type\":\"array\",\"items\":{\"type\":\"null\"},\"maxItems\":0}");
	accepts(g, "[]");
	refuses(g, "[null]");
	hs_grammar_destroy(g);
	g = schema("{\"const\":\"あ\\\"い\"}");
	accepts(g, "\"あ\\\"い\"");
	refuses(g, "\"あ\"");
	hs_grammar_destroy(g);
}

static void test_citations(void **state)
{
	static const uint32_t ids[] = {1, 2, 13};
	struct hs_grammar *g;
	assert_int_equal(hs_grammar_citations(ids, HS_ARRAY_LEN(ids), &g), 0);
	accepts(g, "");
	accepts(g, "上限は1万円[1]。[2][13]");
	accepts(g, "[注] [[1]] ] [");
	refuses(g, "[3]");
	refuses(g, "[0]");
	refuses(g, "[01]");
	refuses(g, "[11]");
	refuses(g, "[131]");
	refuses(g, "[1");
	refuses(g, "[1 ]");
	refuses(g, "[1,2]");
	hs_grammar_destroy(g);
	assert_int_equal(hs_grammar_citations(NULL, 0, &g), 0);
	accepts(g, "[a]");
	refuses(g, "[1]");
	hs_grammar_destroy(g);
	assert_int_equal(hs_grammar_citations(ids, HS_GRAMMAR_CITATIONS_MAX + 1, &g), -E2BIG);
}

static void test_refusals_name_what_they_refuse(void **state)
{
	static const struct {
		const char *json, *code, *object;
	} rows[] = {
	    {"", "grammar.schema", "schema"},
	    {"[]", "grammar.schema", "not an object"},
	    {"{}", "grammar.schema", "no type"},
	    {"{\"type\":[\"string\",\"null\"]}", "grammar.unsupported", "schema: type"},
	    {"{\"type\":\"date\"}", "grammar.unsupported", "date"},
	    {"{\"type\":\"string\",\"pattern\":\"a\"}", "grammar.unsupported", "pattern"},
	    {"{\"type\":\"string\",\"minLength\":1}", "grammar.unsupported", "minLength"},
	    {"{\"type\":\"string\",\"items\":{}}", "grammar.unsupported", "items"},
	    {"{\"$ref\":\"#\"}", "grammar.unsupported", "$ref"},
	    {"{\"anyOf\":[]}", "grammar.unsupported", "anyOf"},
	    {"{\"type\":\"integer\"}", "grammar.unsupported", "integer"},
	    {"{\"type\":\"number\"}", "grammar.unsupported", "number"},
	    {"{\"type\":\"boolean\"}", "grammar.unsupported", "boolean"},
	    {"{\"enum\":[[\"a\"]]}", "grammar.unsupported", "no text"},
	    {"{\"enum\":[\"a\",1]}", "grammar.unsupported", "no text"},
	    {"{\"const\":true}", "grammar.unsupported", "no text"},
	    {"{\"enum\":[]}", "grammar.schema", "enum"},
	    {"{\"enum\":[\"a\"],\"const\":\"a\"}", "grammar.unsupported", "const"},
	    {"{\"type\":\"string\",\"enum\":[null]}", "grammar.schema", "type"},
	    {"{\"type\":\"string\",\"maxLength\":-1}", "grammar.schema", "maxLength"},
	    {"{\"type\":\"string\",\"maxLength\":65537}", "grammar.limit", "maxLength"},
	    {"{\"type\":\"array\"}", "grammar.schema", "items"},
	    {"{\"type\":\"array\",\"items\":true}", "grammar.schema", "items"},
	    {"{\"type\":\"array\",\"items\":{\"type\":\"null\"},\"minItems\":2,\"maxItems\":1}", "grammar.schema", "minItems"},
	    {"{\"type\":\"object\",\"required\":[\"a\"]}", "grammar.schema", "required"},
	    {"{\"type\":\"object\",\"additionalProperties\":{}}", "grammar.unsupported", "additionalProperties"},
	    {"{\"type\":\"object\",\"patternProperties\":{}}", "grammar.unsupported", "patternProperties"},
	    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"object\",\"properties\":{\"b\":{\"not\":{}}}}}}", 
	     "grammar.unsupported", "schema.a.b: not"},
	    {"{\"type\":\"object\",\"type\":\"array\"}", "grammar.schema", "duplicate"},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(rows); i++) {
		struct hs_grammar *g = NULL;
		struct hs_err err = HS_ERR_INIT;
		assert_true(hs_grammar_schema(rows[i].json, strlen(rows[i].json), &g, &err) < 0);
		if (strcmp(err.code, rows[i].code) != 0 || !strstr(err.object, rows[i].object))
			fail_msg("%s: %s %s", rows[i].json, err.code, err.object);
		assert_null(g);
	}
}

/* n arrays within each other. */
static int nested(unsigned n, struct hs_grammar **g)
{
	static char json[4096];
	struct hs_err err = HS_ERR_INIT;
	size_t at = 0;
	for (unsigned i = 0; i < n; i++)
		at += (size_t)snprintf(json + at, sizeof json - at, "{\"type\":\"array\",\"items\":");
	at += (size_t)snprintf(json + at, sizeof json - at, "{\"type\":\"null\"}");
	for (unsigned i = 0; i < n; i++)
		json[at++] = '}';
	return hs_grammar_schema(json, at, g, &err);
}

static void test_limits(void **state)
{
	struct hs_grammar *g = NULL;
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(nested(HS_GRAMMAR_DEPTH_MAX + 1, &g), -E2BIG);
	assert_int_equal(nested(HS_GRAMMAR_DEPTH_MAX, &g), 0);
	char text[2 * HS_GRAMMAR_DEPTH_MAX + 5] = "";
	memset(text, '[', HS_GRAMMAR_DEPTH_MAX);
	memcpy(text + HS_GRAMMAR_DEPTH_MAX, "null", 4);
	memset(text + HS_GRAMMAR_DEPTH_MAX + 4, ']', HS_GRAMMAR_DEPTH_MAX);
	accepts(g, text);
	hs_grammar_destroy(g);
	char *large = calloc(1, HS_GRAMMAR_SCHEMA_MAX + 1);
	assert_non_null(large);
	assert_int_equal(hs_grammar_schema(large, HS_GRAMMAR_SCHEMA_MAX + 1, &g, &err), -E2BIG);
	size_t at = (size_t)snprintf(large, HS_GRAMMAR_SCHEMA_MAX, "{\"type\":\"object\",\"properties\":{");
	for (unsigned i = 0; i <= HS_GRAMMAR_PROPERTIES_MAX; i++)
		at += (size_t)snprintf(large + at, HS_GRAMMAR_SCHEMA_MAX - at, "%s\"p%u\":{\"type\":\"null\"}", i ? "," : "", i);
	at += (size_t)snprintf(large + at, HS_GRAMMAR_SCHEMA_MAX - at, "}}");
	assert_int_equal(hs_grammar_schema(large, at, &g, &err), -E2BIG);
	assert_string_equal(err.code, "grammar.limit");
	free(large);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_an_object),  cmocka_unit_test(test_strings_are_whole_characters),
	    cmocka_unit_test(test_arrays_and_words),
	    cmocka_unit_test(test_citations),  cmocka_unit_test(test_refusals_name_what_they_refuse),
	    cmocka_unit_test(test_limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
