#include "inference/template/chat.h"

#include <errno.h>
#include <string.h>

#include "inference/tok/marks.h"
#include "tests/unit/inference/support.h"
#include "tests/unit/test.h"

static const struct tm now = {.tm_year = 126, .tm_mday = 2, .tm_wday = 5};

/* A conversation in a form of ours, data within [ ]. */
static const char *shown(const struct hs_chat_builtin *row, bool system, struct hs_buf *b)
{
	struct hs_chat_form *f = NULL;
	struct hs_err err = HS_ERR_INIT;
	struct hs_chat_prompt p;
	static const struct hs_template_part parts[] = {
	    {"規則", 6, 1}, {"資料", 6, 2}, {"質問", 6, 3}, {"答え", 6, 4}, {"次", 3, 5}};
	static const struct hs_chat_message messages[] = {{HS_CHAT_SYSTEM, parts, 1},
							  {HS_CHAT_USER, parts + 1, 2},
							  {HS_CHAT_ASSISTANT, parts + 3, 1},
							  {HS_CHAT_USER, parts + 4, 1}};
	if (hs_chat_form_create(row->name, row->text, strlen(row->text), "<s>", "</s>", &f, &err) < 0)
		fail_msg("%s: %s %s", row->name, err.code, err.object);
	assert_string_equal(hs_chat_form_name(f), row->name);
	assert_int_equal(hs_chat_form_render(f, messages + !system, system ? 4 : 3, &now, &p, &err), 0);
	b->len = 0;
	size_t from = 0;
	for (size_t i = 0; i < p.out.n_runs; from = p.out.runs[i++].end) {
		bool data = p.out.runs[i].source != 0;
		assert_int_equal(hs_buf_append_str(b, data ? "[" : ""), 0);
		assert_int_equal(hs_buf_append(b, p.out.text + from, p.out.runs[i].end - from), 0);
		assert_int_equal(hs_buf_append_str(b, data ? "]" : ""), 0);
	}
	hs_render_destroy(p.r);
	hs_chat_form_destroy(f);
	return hs_buf_cstr(b);
}

/* The forms as their families document them. */
static void test_forms_of_ours(void **state)
{
	static const struct {
		const char *name, *with_system, *without;
	} rows[] = {
	    {"chatml",
	     "<|im_start|>system\n[規則]<|im_end|>\n<|im_start|>user\n[資料][質問]<|im_end|>\n<|im_start|>assistant\n[答え]<|im_"
	     "end|>\n"
	     "<|im_start|>user\n[次]<|im_end|>\n<|im_start|>assistant\n",
	     "<|im_start|>user\n[資料][質問]<|im_end|>\n<|im_start|>assistant\n[答え]<|im_end|>\n<|im_start|>user\n[次]<|im_end|>"
	     "\n"
	     "<|im_start|>assistant\n"},
	    {"llama3",
	     "<s><|start_header_id|>system<|end_header_id|>\n\n[規則]<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
	     "[資料][質問]<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n[答え]<|eot_id|><|start_header_id|>user"
	     "<|end_header_id|>\n\n[次]<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
	     NULL},
	    {"gemma",
	     "<s><start_of_turn>user\n[規則]\n\n[資料][質問]<end_of_turn>\n<start_of_turn>model\n[答え]<end_of_turn>\n"
	     "<start_of_turn>user\n[次]<end_of_turn>\n<start_of_turn>model\n",
	     NULL},
	    {"command-r",
	     "<s><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>[規則]<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>"
	     "[資料][質問]<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>[答え]<|END_OF_TURN_TOKEN|>"
	     "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>[次]<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
	     NULL},
	    {"role-tags", "<|system|>[規則]</s><|user|>[資料][質問]</s><|assistant|>[答え]</s><|user|>[次]</s><|assistant|>",
	     NULL},
	    {"inst", "<s>[INST] [規則]\n\n[資料][質問] [/INST] [答え]</s>[INST] [次] [/INST]",
	     "<s>[INST] [資料][質問] [/INST] [答え]</s>[INST] [次] [/INST]"},
	    {"instruction", "<s>[規則]\n\n### 指示:\n[資料][質問]\n\n### 応答:\n[答え]</s>\n\n### 指示:\n[次]\n\n### 応答:\n",
	     "<s>以下は、タスクを説明する指示です。要求を適切に満たす応答を書きなさい。\n\n### 指示:\n[資料][質問]\n\n### "
	     "応答:\n[答え]"
	     "</s>\n\n### 指示:\n[次]\n\n### 応答:\n"},
	};
	HS_BUF_AUTO b = HS_BUF_INIT;
	assert_int_equal(hs_chat_n_builtins, HS_ARRAY_LEN(rows));
	for (size_t i = 0; i < HS_ARRAY_LEN(rows); i++) {
		assert_string_equal(hs_chat_builtins[i].name, rows[i].name);
		assert_string_equal(shown(&hs_chat_builtins[i], true, &b), rows[i].with_system);
		if (rows[i].without)
			assert_string_equal(shown(&hs_chat_builtins[i], false, &b), rows[i].without);
	}
}

static void test_marks(void **state)
{
	static const char *const marks[] = {"<x", "<|", "<xa", "<xab>", "zz"};
	struct hs_tokenizer *t = make_bytes_and(marks, 5);
	struct hs_tok_marks *m = NULL;
	struct hs_tok_ids ids = {0};
	assert_non_null(t);
	assert_int_equal(hs_tok_marks_create(t, &m), 0);
	static const struct {
		const char *text;
		hs_tok_id ids[6];
		size_t n;
	} rows[] = {
	    {"a<xab>b", {'a', 259, 'b'}, 3}, /* the longest */
	    {"<xab", {258, 'b'}, 2},         /* which is not whole: the next shorter one */
	    {"<x<xa<|<", {256, 258, 257, '<'}, 4},
	    {"zzzazz", {260, 'z', 'a', 260}, 4},
	    {"", {0}, 0},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(rows); i++) {
		ids.count = 0;
		assert_int_equal(hs_tok_marks_encode(m, rows[i].text, strlen(rows[i].text), &ids), 0);
		assert_int_equal(ids.count, rows[i].n);
		for (size_t k = 0; k < ids.count; k++)
			assert_int_equal(ids.ids[k], rows[i].ids[k]);
	}
	hs_tok_ids_finish(&ids);
	hs_tok_marks_destroy(m);
	hs_tok_marks_destroy(NULL);
	hs_tokenizer_destroy(t);
}

/* A space stands before a text where it begins: first of all, and behind a special token. */
static void test_marks_and_spaces(void **state)
{
	static const struct piece pieces[] = {{"<unk>", 0, 2},
					      {"a", -1, 1},
					      {"\xe2\x96\x81"
					       "a",
					       -2, 1},
					      {"\xe2\x96\x81", -3, 1},
					      {"<s>", 0, 3}};
	struct hs_err err;
	struct hs_tokenizer *t = make_sp(pieces, HS_ARRAY_LEN(pieces), "llama", false, false, &err);
	struct hs_tok_marks *m = NULL;
	struct hs_tok_ids ids = {0};
	static const hs_tok_id wanted[] = {2, 4, 2, 1, 1, 1};
	assert_non_null(t);
	assert_true(hs_tok_leads_with_space(t));
	assert_int_equal(hs_tok_marks_create(t, &m), 0);
	assert_int_equal(hs_tok_marks_encode(m, "a<s>aa", 6, &ids), 0);
	assert_int_equal(hs_tok_marks_encode(m, "a", 1, &ids), 0);
	assert_int_equal(hs_tok_encode_on(t, "a", 1, &ids), 0);
	assert_int_equal(ids.count, HS_ARRAY_LEN(wanted));
	assert_memory_equal(ids.ids, wanted, sizeof wanted);
	hs_tok_ids_finish(&ids);
	hs_tok_marks_destroy(m);
	hs_tokenizer_destroy(t);
}

static void test_choice(void **state)
{
	static const char *const gemma[] = {"<start_of_turn>", "<end_of_turn>"}, *const half[] = {"<start_of_turn>"};
	struct hs_tokenizer *t = make_bytes_and(gemma, 2);
	assert_string_equal(hs_chat_builtin_for(t)->name, "gemma");
	hs_tokenizer_destroy(t);
	t = make_bytes_and(half, 1);
	assert_string_equal(hs_chat_builtin_for(t)->name, "instruction");
	hs_tokenizer_destroy(t);
}

static void refused(const char *template, int rc, const char *object)
{
	struct hs_chat_form *f = NULL;
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(hs_chat_form_create("a form", template, strlen(template), "", "", &f, &err), rc);
	assert_string_equal(err.object, object);
}

static void test_what_cannot_be_used(void **state)
{
	refused("{{ messages[0].content", -EINVAL, "line 1: a tag has no end");
	refused("no word of it", -EINVAL, "a form");
	refused("{{ messages[0].content }}{{ messages[0].content }}", -EINVAL, "a form"); /* twice */
	refused("{{ messages[0].content[1:] }}", -EINVAL, "a form");                      /* not whole */
	refused("{% for m in range(99999) %}{% for k in range(99999) %}{% endfor %}{% endfor %}", -EMSGSIZE,
		"line 1: HS_TEMPLATE_STEPS_MAX");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_forms_of_ours),       cmocka_unit_test(test_marks),
	    cmocka_unit_test(test_marks_and_spaces),    cmocka_unit_test(test_choice),
	    cmocka_unit_test(test_what_cannot_be_used),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
