/*
 * Masks against the automaton asked token by token, and property tests: whatever is chosen of what is allowed, what comes out is
 * JSON, and of the schema, as another reader judges it.
 */
#include "inference/grammar/mask.h"

#include <errno.h>
#include <jansson.h>

#include "tests/unit/inference/support.h"
#include "tests/unit/test.h"

#define END 0 /* of the vocabulary below: <unk>, which is special */
#define STEPS_MAX 400

static struct hs_tokenizer *tok;
static struct hs_mask_vocab *vocab;
static uint64_t rng = 1;

static uint32_t draw(uint32_t n)
{
	rng = rng * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(rng >> 33) % n;
}

static int make_vocab(void **state)
{
	static const struct piece pieces[] = {
	    {"<unk>", 0, 2}, {"<s>", 0, 3},	{"{\"", -1, 1}, {"\":", -1, 1}, {"\",\"", -1, 1}, {"\"}", -1, 1}, {"}}", -1, 1},
	    {"]}", -1, 1},   {"[[", -1, 1},	{"]]", -1, 1},	{"true", -1, 1}, {"fal", -1, 1},   {"se,", -1, 1}, {"null}", -1, 1},
	    {"12", -1, 1},   {"0.5", -1, 1},	{"1]", -1, 1},	{"日本", -1, 1}, {"本\"", -1, 1},  {"語", -1, 1},  {"▁", -1, 1},
	    {"▁\"", -1, 1},  {"\\u00", -1, 1},	{"\\n", -1, 1},	{"[1", -1, 1},	 {"[1]", -1, 1},   {"2]", -1, 1},  {"。[", -1, 1},
	    {"a", -1, 1},    {"ab", -1, 1},	{"b\"", -1, 1},	{"p0", -1, 1},	 {"p1\":", -1, 1}, {"e", -1, 1},   {"-", -1, 1},
	};
	struct hs_err err;
	tok = make_sp(pieces, HS_ARRAY_LEN(pieces), "t5", true, false, &err);
	if (!tok)
		print_message("%s %s %s\n", err.code, err.object, err.hint);
	return tok && hs_mask_vocab_create(tok, &vocab) == 0 ? 0 : -1;
}

static int free_vocab(void **state)
{
	hs_mask_vocab_destroy(vocab);
	hs_tokenizer_destroy(tok);
	return 0;
}

static bool has(const uint32_t *bits, size_t id)
{
	return bits && bits[id / 32] >> id % 32 & 1;
}

/* The mask, held against the automaton asked byte by byte. */
static void check_bits(const struct hs_grammar *g, const struct hs_grammar_state *s, const uint32_t *bits)
{
	for (size_t id = 0; id < hs_tokenizer_vocab(tok); id++) {
		HS_BUF_AUTO bytes = HS_BUF_INIT;
		struct hs_grammar_state next;
		hs_grammar_copy(&next, s);
		assert_int_equal(hs_tok_bytes(tok, (hs_tok_id)id, &bytes), 0);
		bool expected = !hs_tok_is_special(tok, (hs_tok_id)id) && bytes.len > 0;
		for (size_t i = 0; i < bytes.len && expected; i++)
			expected = hs_grammar_byte(g, &next, bytes.data[i]);
		if (hs_tok_is_special(tok, (hs_tok_id)id))
			expected = hs_grammar_may_end(g, s) && (id == END || hs_grammar_is_free(g));
		if (has(bits, id) != expected)
			fail_msg("token %zu: %d, expected %d", id, has(bits, id), expected);
	}
}

/* Choose among what is allowed; towards the end what closes, where it may. False: it did not end in time. */
static bool walk(struct hs_grammar *g, struct hs_grammar *twin, struct hs_buf *out)
{
	static const hs_tok_id ends[] = {END};
	struct hs_mask *m;
	struct hs_grammar_state s;
	bool ended = false;
	assert_int_equal(hs_mask_create(vocab, g, ends, 1, &m), 0);
	hs_grammar_begin(twin, &s);
	for (unsigned step = 0; step < STEPS_MAX && !ended; step++) {
		hs_tok_id may[400];
		uint32_t n = 0;
		const uint32_t *bits = hs_mask_bits(m);
		assert_non_null(bits);
		check_bits(twin, &s, bits);
		for (size_t id = 0; id < hs_tokenizer_vocab(tok); id++)
			if (has(bits, id))
				may[n++] = (hs_tok_id)id;
		hs_tok_id id = may[draw(n)];
		for (uint32_t i = 0; i < n && step > 20 + draw(40); i++) { /* hurry */
			HS_BUF_AUTO bytes = HS_BUF_INIT;
			assert_int_equal(hs_tok_bytes(tok, may[i], &bytes), 0);
			if (may[i] == END || (bytes.len == 1 && strchr("\"}]", bytes.data[0]))) {
				id = may[i];
				break;
			}
		}
		size_t at = out->len;
		assert_true(hs_mask_take(m, id));
		ended = id == END;
		assert_int_equal(ended ? 0 : hs_tok_bytes(tok, id, out), 0);
		for (; at < out->len; at++)
			assert_true(hs_grammar_byte(twin, &s, out->data[at]));
		assert_int_equal(hs_mask_may_end(m), hs_grammar_may_end(twin, &s));
		if (!hs_grammar_is_free(twin))
			assert_false(hs_mask_take(m, 1)); /* never a special token; and what is refused changes nothing */
	}
	hs_mask_destroy(m);
	return ended;
}

/* --- a judge that knows nothing of the automaton --- */

static bool is_of(const json_t *schema, const json_t *value);

static bool object_is_of(const json_t *schema, const json_t *value)
{
	const json_t *properties = json_object_get(schema, "properties"), *required = json_object_get(schema, "required");
	const char *name;
	json_t *below;
	json_object_foreach((json_t *)value, name, below)
		if (!json_object_get(properties, name) || !is_of(json_object_get(properties, name), below))
			return false;
	for (size_t i = 0; i < json_array_size(required); i++)
		if (!json_object_get(value, json_string_value(json_array_get(required, i))))
			return false;
	return true;
}

static bool array_is_of(const json_t *schema, const json_t *value)
{
	size_t n = json_array_size(value);
	const json_t *least = json_object_get(schema, "minItems"), *most = json_object_get(schema, "maxItems");
	for (size_t i = 0; i < n; i++)
		if (!is_of(json_object_get(schema, "items"), json_array_get(value, i)))
			return false;
	return (!least || (json_int_t)n >= json_integer_value(least)) && (!most || (json_int_t)n <= json_integer_value(most));
}

static bool is_of(const json_t *schema, const json_t *value)
{
	const json_t *list = json_object_get(schema, "enum"), *most = json_object_get(schema, "maxLength");
	const char *type = json_string_value(json_object_get(schema, "type"));
	for (size_t i = 0; i < json_array_size(list); i++)
		if (json_equal(json_array_get(list, i), value))
			return true;
	if (list)
		return false;
	if (strcmp(type, "object") == 0)
		return json_is_object(value) && object_is_of(schema, value);
	if (strcmp(type, "array") == 0)
		return json_is_array(value) && array_is_of(schema, value);
	if (strcmp(type, "string") == 0)
		return json_is_string(value) &&
		       (!most || (json_int_t)hs_utf8_count(json_string_value(value), json_string_length(value)) <= json_integer_value(most));
	return json_is_null(value);
}

static json_t *random_schema(unsigned depth)
{
	static const char *const names[] = {"a", "ab", "日本", "p0", "p1", "q\"r", ""};
	switch (draw(depth ? 6 : 4)) {
	case 0: return json_pack("{s:s}", "type", "null");
	case 1: return json_pack("{s:[s,s,s,s,n]}", "enum", draw(2) ? "1" : "", "12", "a", "日本\"");
	case 2: return json_pack("{s:s, s:s}", "type", "string", "title", "x");
	case 3: return json_pack("{s:s, s:i}", "type", "string", "maxLength", (int)draw(9));
	case 4: {
		int least = (int)draw(3);
		return json_pack("{s:s, s:o, s:i, s:i}", "type", "array", "items", random_schema(depth - 1), "minItems", least, "maxItems",
				 least + (int)draw(3));
	}
	default: {
		json_t *properties = json_object(), *required = json_array();
		for (size_t i = 0; i < HS_ARRAY_LEN(names); i++) {
			if (draw(2))
				continue;
			assert_int_equal(json_object_set_new(properties, names[i], random_schema(depth - 1)), 0);
			if (draw(2))
				assert_int_equal(json_array_append_new(required, json_string(names[i])), 0);
		}
		return json_pack("{s:s, s:o, s:o}", "type", "object", "properties", properties, "required", required);
	}
	}
}

static void test_what_comes_out_is_of_the_schema(void **state)
{
	unsigned ended = 0;
	for (unsigned round = 0; round < 300; round++) {
		json_t *schema = random_schema(3);
		struct hs_err err = HS_ERR_INIT;
		char *text = json_dumps(schema, 0);
		struct hs_grammar *g, *twin;
		HS_BUF_AUTO out = HS_BUF_INIT;
		assert_non_null(text);
		if (hs_grammar_schema(text, strlen(text), &g, &err) < 0)
			fail_msg("%s: %s %s", text, err.code, err.object);
		assert_int_equal(hs_grammar_schema(text, strlen(text), &twin, &err), 0);
		if (walk(g, twin, &out)) {
			json_error_t where;
			json_t *value = json_loadb((const char *)out.data, out.len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &where);
			if (!value || !is_of(schema, value))
				fail_msg("%s: %.*s (%s)", text, (int)out.len, (const char *)out.data, value ? "not of it" : where.text);
			json_decref(value);
			ended++;
		}
		hs_grammar_destroy(twin);
		free(text);
		json_decref(schema);
	}
	assert_true(ended > 250);
}

static void test_citations(void **state)
{
	static const uint32_t ids[] = {1, 12};
	for (unsigned round = 0; round < 40; round++) {
		struct hs_grammar *g, *twin;
		HS_BUF_AUTO out = HS_BUF_INIT;
		assert_int_equal(hs_grammar_citations(ids, 2, &g), 0);
		assert_int_equal(hs_grammar_citations(ids, 2, &twin), 0);
		hs_ignore(walk(g, twin, &out)); /* free text need not end */
		const char *text = hs_buf_cstr(&out);
		for (const char *at = text; (at = strchr(at, '[')); at++) {
			char *end;
			unsigned long n = strtoul(at + 1, &end, 10);
			if (at[1] >= '0' && at[1] <= '9' && *end == ']')
				assert_true(n == 1 || n == 12);
		}
		hs_grammar_destroy(twin);
	}
}

/* A vocabulary that cannot spell the answer: no mask, rather than a wrong one. */
static void test_a_vocabulary_without_the_bytes(void **state)
{
	static const struct piece pieces[] = {{"<unk>", 0, 2}, {"{", -1, 1}, {"a", -1, 1}};
	static const hs_tok_id ends[] = {END};
	static const char object[] = "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"}}}";
	struct hs_err err;
	struct hs_tokenizer *t = make_sp(pieces, HS_ARRAY_LEN(pieces), "t5", false, false, &err);
	struct hs_mask_vocab *v;
	struct hs_grammar *g;
	struct hs_mask *m;
	assert_non_null(t);
	assert_int_equal(hs_mask_vocab_create(t, &v), 0);
	assert_int_equal(hs_grammar_schema(object, strlen(object), &g, &err), 0);
	assert_int_equal(hs_mask_create(v, g, ends, 1, &m), 0);
	assert_true(has(hs_mask_bits(m), 1));
	assert_true(hs_mask_take(m, 1));
	assert_null(hs_mask_bits(m));
	assert_null(hs_mask_bits(m)); /* nor the second time */
	assert_false(hs_mask_take(m, END));
	assert_false(hs_mask_take(m, 2));
	assert_false(hs_mask_take(m, -1));
	assert_false(hs_mask_take(m, 1000));
	hs_mask_destroy(m);
	hs_mask_vocab_destroy(v);
	hs_tokenizer_destroy(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_comes_out_is_of_the_schema), cmocka_unit_test(test_citations),
					   cmocka_unit_test(test_a_vocabulary_without_the_bytes)};
	return cmocka_run_group_tests(tests, make_vocab, free_vocab);
}
