#include "daemon/tenant/answer.h"

#include <string.h>
#include <unistd.h>

#include "tests/unit/test.h"

#define DICT "/var/lib/mecab/dic/ipadic-utf8"

static struct hs_analyzer *analyzer;

static const char text[] = "宿泊料の上限は12,500円とする。日当は支給しない。領収書は7日以内に提出する。";
static struct hs_hit hit = {.document.s = "doc_a",
			    .version.s = "ver_a",
			    .start = 100,
			    .title = "旅費規程",
			    .context = "第3章",
			    .text = text,
			    .text_len = sizeof text - 1};
static struct hs_results results = {.hits = &hit, .count = 1, .signals = {.coverage = 1, .dense_best = 0.95f}};
static struct hs_evidence_sentence sentences[2];
static struct hs_evidence evidence = {.items = sentences, .count = 2, .coverage = 0.8f};

/* The first and the last sentence were chosen. */
static void choose_sentences(void)
{
	uint32_t first_end = (uint32_t)strlen("宿泊料の上限は12,500円とする。");
	uint32_t last = (uint32_t)(strstr(text, "領収書") - text);
	hit.end = 100 + (uint32_t)hit.text_len;
	sentences[0] = (struct hs_evidence_sentence){.start = 100, .end = 100 + first_end, .text = text, .worth = 0.9f};
	sentences[1] = (struct hs_evidence_sentence){.start = 100 + last, .end = hit.end, .text = text + last, .worth = 0.2f};
}

struct fixture {
	struct hs_arena *arena;
	struct hs_answer answer;
};

static void begin(struct fixture *f)
{
	choose_sentences();
	f->arena = hs_arena_create(1 << 22);
	assert_int_equal(hs_answer_begin(&f->answer, f->arena, "宿泊料の上限はいくらですか", &results, &evidence), 0);
}

static void end(struct fixture *f)
{
	hs_answer_finish(&f->answer);
	hs_arena_destroy(f->arena);
}

/* Judge and take the next sentence; what was released, or NULL. */
static const char *step(struct fixture *f, bool last, const struct hs_cited **citation)
{
	struct hs_verdict v;
	const char *released;
	assert_true(hs_answer_next(&f->answer, last));
	assert_int_equal(hs_answer_check(&f->answer, analyzer, &v), 0);
	assert_int_equal(hs_answer_take(&f->answer, &v, &released, citation), 0);
	return released;
}

static void test_chosen_sentences_become_one_numbered_passage(void **state)
{
	struct fixture f;
	begin(&f);
	assert_int_equal(f.answer.n_evidence, 1);
	const struct hs_cited *e = &f.answer.evidence[0];
	assert_int_equal(e->n, 1);
	assert_int_equal(e->start, 100);
	assert_int_equal(e->end, hit.end);
	assert_int_equal(e->quote_len, hit.text_len);
	struct hs_prompt_passage p[HS_PROMPT_PASSAGES_MAX];
	hs_answer_passages(&f.answer, p);
	assert_string_equal(p[0].text, "宿泊料の上限は12,500円とする。\n領収書は7日以内に提出する。");
	end(&f);
}

static void test_sentences_wait_for_their_end(void **state)
{
	struct fixture f;
	const struct hs_cited *citation;
	begin(&f);
	assert_int_equal(hs_answer_push(&f.answer, "宿泊料の上限は12,", strlen("宿泊料の上限は12,")), 0);
	assert_false(hs_answer_next(&f.answer, false));
	assert_int_equal(hs_answer_push(&f.answer, "500円です。", strlen("500円です。")), 0);
	assert_string_equal(step(&f, false, &citation), "宿泊料の上限は12,500円です。[1]");
	assert_string_equal(citation->version, "ver_a");
	assert_true(citation->start >= 100 && citation->end <= hit.end && citation->start < citation->end);
	assert_false(hs_answer_next(&f.answer, true));
	assert_int_equal(f.answer.outcome, HS_OUTCOME_ANSWERED);
	const struct hs_answer_span *last = &f.answer.spans[f.answer.n_citations - 1]; /* the sentence with its mark, no line end */
	assert_int_equal(last->to, strlen(hs_answer_text(&f.answer)));
	assert_memory_equal(hs_answer_text(&f.answer) + last->to - 3, "[1]", 3);
	assert_int_equal(f.answer.spans[0].at, 0);
	for (size_t i = 1; i < f.answer.n_citations; i++)
		assert_int_equal(f.answer.spans[i].at, f.answer.spans[i - 1].to + 1);
	end(&f);
}

static void test_what_the_evidence_does_not_say_is_not_released(void **state)
{
	struct fixture f;
	const struct hs_cited *citation;
	const char *wrong[] = {"宿泊料の上限は15,000円です。", "社長は毎朝ラジオ体操をします。"};
	for (size_t i = 0; i < 2; i++) {
		begin(&f);
		assert_int_equal(hs_answer_push(&f.answer, wrong[i], strlen(wrong[i])), 0);
		assert_null(step(&f, true, &citation));
		assert_null(citation);
		assert_int_equal(f.answer.outcome, HS_OUTCOME_NOT_FOUND);
		assert_string_equal(hs_answer_text(&f.answer), "");
		end(&f);
	}
}

static void test_a_supported_sentence_after_an_unsupported_one_is_kept(void **state)
{
	struct fixture f;
	const struct hs_cited *citation;
	begin(&f);
	const char *both = "宿泊料の上限は99,999円です。領収書は7日以内に提出します。";
	assert_int_equal(hs_answer_push(&f.answer, both, strlen(both)), 0);
	assert_null(step(&f, true, &citation));
	assert_string_equal(step(&f, true, &citation), "領収書は7日以内に提出します。[1]");
	assert_string_equal(hs_answer_text(&f.answer), "領収書は7日以内に提出します。[1]");
	end(&f);
}

static void test_without_a_model_the_best_sentence_is_quoted(void **state)
{
	struct fixture f;
	const struct hs_cited *citation;
	begin(&f);
	f.answer.quotable = true;
	assert_int_equal(hs_answer_quote(&f.answer, &evidence), 0);
	assert_string_equal(step(&f, true, &citation), "宿泊料の上限は12,500円とする。[1]");
	assert_int_equal(citation->end - citation->start, strlen("宿泊料の上限は12,500円とする。"));
	assert_false(hs_answer_next(&f.answer, true)); /* the second is not nearly as good */
	assert_int_equal(f.answer.outcome, HS_OUTCOME_EXTRACTED);
	end(&f);
}

static void test_the_documents_answer_where_the_model_cannot(void **state)
{
	const struct {
		const char *wrote;
		float odds;
		const char *said;
	} cases[] = {{"宿泊料の上限は15,000円です。", 2, "宿泊料の上限は12,500円とする。[1]"},
		     {"宿泊料の上限はいくらですか。", 2, "宿泊料の上限は12,500円とする。[1]"},
		     {"", 2, "宿泊料の上限は12,500円とする。[1]"},
		     {"宿泊料の上限は15,000円です。", 0, ""}, /* it may well be that nothing answers */
		     {"資料には記載がありません。", 2, ""}};  /* the model may be right */
	for (size_t i = 0; i < HS_ARRAY_LEN(cases); i++) {
		struct fixture f;
		const struct hs_cited *citation;
		begin(&f);
		f.answer.odds = cases[i].odds;
		assert_int_equal(hs_answer_push(&f.answer, cases[i].wrote, strlen(cases[i].wrote)), 0);
		while (hs_answer_next(&f.answer, true))
			assert_null(step(&f, true, &citation));
		assert_int_equal(hs_answer_fall_back(&f.answer, &evidence), 0);
		while (hs_answer_next(&f.answer, true))
			(void)step(&f, true, &citation);
		assert_string_equal(hs_answer_text(&f.answer), cases[i].said);
		assert_int_equal(f.answer.outcome, *cases[i].said ? HS_OUTCOME_EXTRACTED : HS_OUTCOME_NOT_FOUND);
		assert_int_equal(hs_answer_fall_back(&f.answer, &evidence), 0); /* once */
		assert_false(hs_answer_next(&f.answer, true));
		end(&f);
	}
}

static void test_the_documents_add_nothing_to_an_answer(void **state)
{
	struct fixture f;
	const struct hs_cited *citation;
	static const char wrote[] = "領収書は7日以内に提出します。", json[] = "{\"上限\": \"99,999円\"}";
	begin(&f);
	f.answer.odds = 2;
	assert_int_equal(hs_answer_push(&f.answer, wrote, strlen(wrote)), 0);
	assert_non_null(step(&f, true, &citation));
	assert_int_equal(hs_answer_fall_back(&f.answer, &evidence), 0);
	assert_false(hs_answer_next(&f.answer, true));
	end(&f);
	begin(&f);
	f.answer.odds = 2;
	f.answer.json = true; /* who asked for JSON is given no sentence */
	assert_int_equal(hs_answer_push(&f.answer, json, strlen(json)), 0);
	assert_null(step(&f, true, &citation));
	assert_int_equal(hs_answer_fall_back(&f.answer, &evidence), 0);
	assert_int_equal(f.answer.n_quotes, 0);
	end(&f);
}

static void test_the_best_passage_is_quoted_before_a_sentence_that_is_worth_more(void **state)
{
	static const char right[] = "流水と石けんで5分以上洗う。", other[] = "別の場合は流水と石けんで30秒以上洗う。";
	struct hs_hit hits[] = {{.document.s = "doc_r", .version.s = "ver_r", .end = sizeof right - 1, .title = "針刺し", .context = "",
				 .text = right, .text_len = sizeof right - 1},
				{.document.s = "doc_o", .version.s = "ver_o", .end = sizeof other - 1, .title = "手指衛生", .context = "",
				 .text = other, .text_len = sizeof other - 1}};
	struct hs_results found = {.hits = hits, .count = 2, .signals = {.coverage = 1, .dense_best = 0.95f}};
	const struct {
		float worth; /* of the best passage's sentence; the other's is 1 */
		const char *said;
	} cases[] = {{0.6f, "流水と石けんで5分以上洗う。[1]"}, {0.3f, "別の場合は流水と石けんで30秒以上洗う。[2]"}};
	for (size_t i = 0; i < HS_ARRAY_LEN(cases); i++) {
		struct hs_evidence_sentence chosen[] = {
			{.hit = 0, .end = sizeof right - 1, .text = right, .worth = cases[i].worth},
			{.hit = 1, .end = sizeof other - 1, .text = other, .worth = 1}};
		struct hs_evidence both = {.items = chosen, .count = 2};
		struct fixture f = {.arena = hs_arena_create(1 << 22)};
		const struct hs_cited *citation;
		assert_int_equal(hs_answer_begin(&f.answer, f.arena, "針刺しのとき何分洗うか", &found, &both), 0);
		f.answer.quotable = true;
		assert_int_equal(hs_answer_quote(&f.answer, &both), 0);
		assert_string_equal(step(&f, true, &citation), cases[i].said);
		assert_false(hs_answer_next(&f.answer, true));
		end(&f);
	}
}

static void test_rows_of_a_table_are_read_out_under_their_header(void **state)
{
	static const char table[] = "役職\t日当\t宿泊料\n一般社員\t2,500円\t12,500円";
	const char *row = strchr(table, '\n') + 1;
	struct hs_hit table_hit = {.document.s = "doc_t", .version.s = "ver_t", .end = sizeof table - 1, .title = "旅費規程", .context = "",
				   .text = table, .text_len = sizeof table - 1};
	struct hs_results found = {.hits = &table_hit, .count = 1, .signals = {.coverage = 1, .dense_best = 0.95f}};
	struct hs_evidence_sentence chosen = {.start = (uint32_t)(row - table), .end = sizeof table - 1, .text = row, .header = table,
					      .header_len = (uint32_t)(row - table - 1), .worth = 1};
	struct hs_evidence one = {.items = &chosen, .count = 1};
	struct fixture f = {.arena = hs_arena_create(1 << 22)};
	const struct hs_cited *citation;
	assert_int_equal(hs_answer_begin(&f.answer, f.arena, "一般社員の宿泊料は", &found, &one), 0);
	struct hs_prompt_passage p[HS_PROMPT_PASSAGES_MAX];
	hs_answer_passages(&f.answer, p);
	assert_string_equal(p[0].text, "役職: 一般社員、日当: 2,500円、宿泊料: 12,500円");
	assert_int_equal(f.answer.evidence[0].start, row - table); /* what is cited is the row as it stands */
	assert_int_equal(hs_answer_push(&f.answer, "一般社員の宿泊料は12,500円です。", strlen("一般社員の宿泊料は12,500円です。")), 0);
	assert_string_equal(step(&f, true, &citation), "一般社員の宿泊料は12,500円です。[1]");
	f.answer.quotable = true;
	assert_int_equal(hs_answer_quote(&f.answer, &one), 0);
	assert_string_equal(step(&f, true, &citation), "\n役職: 一般社員、日当: 2,500円、宿泊料: 12,500円[1]");
	end(&f);
}

static void test_a_header_that_lost_its_empty_first_cell_names_the_others(void **state)
{
	static const char table[] = "2024年3月期\t2023年3月期\n売上高\t2,960\t2,859";
	const char *row = strchr(table, '\n') + 1;
	struct hs_hit table_hit = {.version.s = "ver_t", .end = sizeof table - 1, .title = "決算", .context = "", .text = table,
				   .text_len = sizeof table - 1};
	struct hs_results found = {.hits = &table_hit, .count = 1};
	struct hs_evidence_sentence chosen = {.start = (uint32_t)(row - table), .end = sizeof table - 1, .text = row, .header = table,
					      .header_len = (uint32_t)(row - table - 1), .worth = 1};
	struct hs_evidence one = {.items = &chosen, .count = 1};
	struct fixture f = {.arena = hs_arena_create(1 << 22)};
	struct hs_prompt_passage p[HS_PROMPT_PASSAGES_MAX];
	assert_int_equal(hs_answer_begin(&f.answer, f.arena, "売上高は", &found, &one), 0);
	hs_answer_passages(&f.answer, p);
	assert_string_equal(p[0].text, "売上高、2024年3月期: 2,960、2023年3月期: 2,859");
	end(&f);
}

static void test_evidence_that_did_not_enter_is_forgotten(void **state)
{
	struct fixture f;
	begin(&f);
	const bool entered[1] = {false};
	hs_answer_keep(&f.answer, entered);
	assert_int_equal(f.answer.n_evidence, 0);
	end(&f);
}

static void test_budget_follows_the_prefill_rate(void **state)
{
	assert_int_equal(hs_answer_budget(0), 300);
	assert_true(hs_answer_budget(70) > 250 && hs_answer_budget(70) < 350);
	assert_true(hs_answer_budget(1) >= 200);
	assert_true(hs_answer_budget(50000) <= 4000);
}

static void test_what_is_said_but_answers_nothing_is_not_released(void **state)
{
	struct fixture f;
	const struct hs_cited *citation;
	begin(&f);
	f.answer.odds = -3; /* little of the question was found */
	const char *one = "領収書は7日以内に提出します。";
	assert_int_equal(hs_answer_push(&f.answer, one, strlen(one)), 0);
	assert_null(step(&f, true, &citation));
	f.answer.odds = 3;
	const char *again = "宿泊料の上限です。"; /* it only repeats the question */
	assert_int_equal(hs_answer_push(&f.answer, again, strlen(again)), 0);
	assert_null(step(&f, true, &citation));
	assert_int_equal(f.answer.outcome, HS_OUTCOME_NOT_FOUND);
	assert_int_equal(hs_answer_push(&f.answer, one, strlen(one)), 0);
	assert_non_null(step(&f, true, &citation));
	end(&f);
}

/* The whole of it is released, or nothing is. */
static void judge_json(struct fixture *f, const char *json)
{
	const struct hs_cited *c;
	begin(f);
	f->answer.json = true;
	assert_int_equal(hs_answer_push(&f->answer, json, strlen(json)), 0);
	assert_false(hs_answer_next(&f->answer, false)); /* it is not whole */
	while (hs_answer_next(&f->answer, true)) {
		struct hs_verdict v;
		const char *released;
		assert_int_equal(hs_answer_check(&f->answer, analyzer, &v), 0);
		assert_int_equal(hs_answer_take(&f->answer, &v, &released, &c), 0);
		assert_null(released);
	}
	assert_int_equal(hs_answer_end_json(&f->answer), 0);
}

static void test_json_is_released_whole_or_not_at_all(void **state)
{
	static const char *const good[] = {
	    "{\"上限\":\"宿泊料の上限は12,500円とする。\",\"他\":null,\"注\":\"\"}",
	    "{\"a\":[\"宿泊料の上限は12,500円とする。領収書は7日以内に提出する。\"]}",
	};
	static const char *const bad[] = {
	    "{\"上限\":\"宿泊料の上限は15,000円とする。\"}",					 /* another number */
	    "{\"上限\":\"宿泊料の上限は12,500円とする。\",\"他\":\"日当は9,000円を支給する。\"}", /* one of two */
	    "{\"上限\":\"宿泊料の上限は12,500円とする。日当は9,000円を支給する。\"}",	 /* the second sentence */
	    "{\"上限\":\"宿泊料の上限は12,500円とする。\",\"月\":3}",			 /* what no document can be asked for */
	    "{\"上限\":\"宿泊料の上限は12,500円とする。\",\"可\":true}",
	    "{\"上限\":\"宿泊料の上限は12,500円とする。\"",				 /* cut off */
	    "{\"上限\":null}",								 /* says nothing */
	    "",
	};
	struct fixture f;
	for (size_t i = 0; i < HS_ARRAY_LEN(good); i++) {
		judge_json(&f, good[i]);
		if (f.answer.outcome != HS_OUTCOME_ANSWERED)
			fail_msg("%s was withheld", good[i]);
		assert_string_equal(hs_answer_text(&f.answer), good[i]);
		assert_int_equal(f.answer.n_citations, 1 + i);
		end(&f);
	}
	for (size_t i = 0; i < HS_ARRAY_LEN(bad); i++) {
		judge_json(&f, bad[i]);
		if (f.answer.outcome != HS_OUTCOME_NOT_FOUND || *hs_answer_text(&f.answer) || f.answer.n_citations)
			fail_msg("%s was released", bad[i]);
		end(&f);
	}
}

int main(void)
{
	if (access(DICT, R_OK) != 0) {
		printf("1..0 # SKIP no dictionary in " DICT "\n");
		return 77;
	}
	if (hs_analyzer_create(DICT, &analyzer, NULL) < 0)
		return 1;
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_chosen_sentences_become_one_numbered_passage),
	    cmocka_unit_test(test_sentences_wait_for_their_end),
	    cmocka_unit_test(test_what_the_evidence_does_not_say_is_not_released),
	    cmocka_unit_test(test_a_supported_sentence_after_an_unsupported_one_is_kept),
	    cmocka_unit_test(test_without_a_model_the_best_sentence_is_quoted),
	    cmocka_unit_test(test_the_documents_answer_where_the_model_cannot),
	    cmocka_unit_test(test_the_documents_add_nothing_to_an_answer),
	    cmocka_unit_test(test_the_best_passage_is_quoted_before_a_sentence_that_is_worth_more),
	    cmocka_unit_test(test_rows_of_a_table_are_read_out_under_their_header),
	    cmocka_unit_test(test_a_header_that_lost_its_empty_first_cell_names_the_others),
	    cmocka_unit_test(test_evidence_that_did_not_enter_is_forgotten),
	    cmocka_unit_test(test_budget_follows_the_prefill_rate),
	    cmocka_unit_test(test_json_is_released_whole_or_not_at_all),
	    cmocka_unit_test(test_what_is_said_but_answers_nothing_is_not_released),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	hs_analyzer_destroy(analyzer);
	return failed;
}
