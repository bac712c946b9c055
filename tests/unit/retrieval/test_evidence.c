#include "retrieval/evidence.h"

#include "base/utf8.h"
#include "tests/unit/retrieval/fixture.h"

static int select_for(const struct hs_results *r, const char *question, size_t budget, struct hs_evidence *ret)
{
	return hs_evidence_select(r, question, strlen(question), budget, ret);
}

static void test_the_sentences_that_answer_are_taken_within_the_budget(void **state)
{
	static const char question[] = "国内出張の宿泊費の上限はいくらですか";
	struct fixture *f = *state;
	static const char text[] = "当社は食品を扱う。本社は東京にある。国内出張の宿泊費は一泊一万二千円を上限とする。領収書を添えて申請する。"
				   "社員食堂は十二時に開く。駐車場は裏にある。";
	struct hs_results r;
	struct hs_evidence e;
	size_t characters = 0;

	SKIP_WITHOUT_DICTIONARY(f);
	(void)fixture_put(f, f->notices, "旅費規程", text);
	(void)fixture_put(f, f->notices, "案内", "受付は一階にある。宿泊費の話ではない。");
	r = fixture_ask(f, "tanaka", HS_SEARCH_LEXICAL, question);
	assert_int_equal(r.count, 2);
	must(select_for(&r, question, 60, &e));
	assert_true(e.count >= 1 && e.count < 6);
	for (size_t i = 0; i < e.count; i++) {
		const struct hs_hit *h = &r.hits[e.items[i].hit];

		assert_ptr_equal(e.items[i].text, h->text + (e.items[i].start - h->start));
		assert_true(e.items[i].end <= h->end);
		assert_true(i == 0 || e.items[i].hit > e.items[i - 1].hit || e.items[i].start >= e.items[i - 1].end);
		characters += hs_utf8_count(e.items[i].text, e.items[i].end - e.items[i].start);
	}
	assert_int_equal(characters, e.characters);
	assert_true(e.characters <= 60);
	assert_true(e.coverage > 0.1f && e.coverage <= 1);
	{
		bool found = false;

		for (size_t i = 0; i < e.count; i++)
			found |= strncmp(e.items[i].text, "国内出張の宿泊費", strlen("国内出張の宿泊費")) == 0;
		assert_true(found);
	}
	hs_evidence_finish(&e);
	/* However small the budget, the best sentence comes. */
	must(select_for(&r, question, 0, &e));
	assert_int_equal(e.count, 1);
	hs_evidence_finish(&e);
	hs_results_finish(&r);
}

static void test_what_texts_hold_of_the_question(void **state)
{
	struct hs_query_term terms[] = {{"宿泊", 6, 3}, {"上限", 6, 1}};
	struct hs_results r = {.terms = terms, .n_terms = 2}, nothing = {0};
	const struct hs_evidence_text texts[] = {{"宿泊の費用", strlen("宿泊の費用")}, {"費用の上限", strlen("費用の上限")}};
	float held = -1;
	assert_int_equal(hs_evidence_held(&r, texts, 1, &held), 0);
	assert_float_equal(held, 0.75f, 0.001f);
	assert_int_equal(hs_evidence_held(&r, texts, 2, &held), 0);
	assert_float_equal(held, 1, 0.001f);
	assert_int_equal(hs_evidence_held(&nothing, texts, 2, &held), 0);
	assert_float_equal(held, 0, 0.001f);
}

static void test_copies_are_taken_once(void **state)
{
	static const char question[] = "有給休暇は何日ですか";
	struct fixture *f = *state;
	struct hs_results r;
	struct hs_evidence e;

	SKIP_WITHOUT_DICTIONARY(f);
	for (int i = 0; i < 4; i++)
		(void)fixture_put(f, f->notices, "", i % 2 ? "有給休暇は年二十日である。" : "有給休暇は、年二十日である。");
	r = fixture_ask(f, "tanaka", HS_SEARCH_LEXICAL, question);
	assert_int_equal(r.count, 4);
	must(select_for(&r, question, 1000, &e));
	assert_int_equal(e.count, 1);
	hs_evidence_finish(&e);
	hs_results_finish(&r);
}

static void test_rows_are_weighed_under_their_header(void **state)
{
	static const char question[] = "一般社員の宿泊料はいくらですか";
	struct fixture *f = *state;
	static const char table[] = "役職区分\t日当\t宿泊料\n社長\t5,000円\t20,000円\n部長\t3,500円\t15,000円\n一般社員\t2,500円\t12,500円";
	struct hs_results r;
	struct hs_evidence e;
	bool row = false;

	SKIP_WITHOUT_DICTIONARY(f);
	(void)fixture_put(f, f->notices, "旅費規程", table);
	r = fixture_ask(f, "tanaka", HS_SEARCH_LEXICAL, question);
	assert_true(r.count >= 1);
	must(select_for(&r, question, 20, &e));
	for (size_t i = 0; i < e.count; i++) {
		assert_true(strncmp(e.items[i].text, "役職区分", strlen("役職区分")) != 0); /* the header comes with its rows only */
		assert_non_null(e.items[i].header);
		assert_int_equal(strncmp(e.items[i].header, "役職区分\t日当\t宿泊料", e.items[i].header_len), 0);
		row |= strncmp(e.items[i].text, "一般社員", strlen("一般社員")) == 0;
	}
	assert_true(row);
	hs_evidence_finish(&e);
	hs_results_finish(&r);
}

static void test_a_number_of_what_is_asked_for_counts(void **state)
{
	static const char question[] = "本社の移転はいつですか", other[] = "本社の移転は何人で行いますか";
	struct fixture *f = *state;
	struct hs_results r;
	struct hs_evidence e;

	SKIP_WITHOUT_DICTIONARY(f);
	(void)fixture_put(f, f->notices, "",
			  "本社の移転について知らせます。\n駅前から移ります。\n本社の移転は2027年です。\n"
			  "受付に花を置きます。\n本社の移転は20人で行います。");
	r = fixture_ask(f, "tanaka", HS_SEARCH_LEXICAL, question);
	must(select_for(&r, question, 0, &e));
	assert_int_equal(e.count, 1);
	assert_int_equal(strncmp(e.items[0].text, "本社の移転は2027年", strlen("本社の移転は2027年")), 0);
	hs_evidence_finish(&e);
	must(select_for(&r, other, 0, &e));
	assert_int_equal(strncmp(e.items[0].text, "本社の移転は20人", strlen("本社の移転は20人")), 0);
	hs_evidence_finish(&e);
	/* What helps the search stands in the line above, and asks for nothing. */
	must(select_for(&r, "本社の移転はいつですか\n何人で行いますか", 0, &e));
	assert_int_equal(strncmp(e.items[0].text, "本社の移転は20人", strlen("本社の移転は20人")), 0);
	hs_evidence_finish(&e);
	hs_results_finish(&r);
}

static void test_a_row_is_not_worth_what_its_neighbour_is(void **state)
{
	static const char question[] = "丙種は何時間ごとに巡視しますか";
	struct fixture *f = *state;
	struct hs_results r;
	struct hs_evidence e;

	SKIP_WITHOUT_DICTIONARY(f);
	(void)fixture_put(
	    f, f->notices, "",
	    "区分\t点数\t対策\n甲種\t6点未満\t4時間ごとの巡視\n乙種\t6点以上\t2時間ごとの巡視\n丙種\t16点以上\t1時間ごとの巡視");
	r = fixture_ask(f, "tanaka", HS_SEARCH_LEXICAL, question);
	must(select_for(&r, question, 0, &e));
	assert_int_equal(e.count, 1);
	assert_int_equal(strncmp(e.items[0].text, "丙種", strlen("丙種")), 0);
	hs_evidence_finish(&e);
	hs_results_finish(&r);
}

static void test_words_and_lead_tell_how_much_of_the_question_is_there(void **state)
{
	static const char question[] = "本社の駐車場の利用料金", apart[] = "社員食堂のカレーの値段";
	struct fixture *f = *state;
	struct hs_results r;
	struct hs_evidence e;

	SKIP_WITHOUT_DICTIONARY(f);
	(void)fixture_put(f, f->notices, "駐車場", "本社の利用料金は月に三千円です。");
	(void)fixture_put(f, f->notices, "案内", "支社の受付は一階です。本社は駅前です。");
	r = fixture_ask(f, "tanaka", HS_SEARCH_LEXICAL, question);
	assert_int_equal(r.count, 2);
	must(select_for(&r, question, 300, &e));
	assert_float_equal(e.words, 1, 0.001f); /* the title spells 駐車場 */
	assert_true(e.lead > 0.2f && e.lead <= 1);
	float lead = e.lead;
	hs_evidence_finish(&e);
	must(select_for(&r, apart, 300, &e));
	assert_float_equal(e.words, 0, 0.001f);
	hs_evidence_finish(&e);
	hs_results_finish(&r);
	/* An older version of the same is no rival. */
	(void)fixture_put(f, f->notices, "駐車場", "本社の利用料金は月に三千円です。このほかの駐車場はありません。");
	r = fixture_ask(f, "tanaka", HS_SEARCH_LEXICAL, question);
	assert_int_equal(r.count, 3);
	must(select_for(&r, question, 300, &e));
	assert_true(e.lead > lead / 2);
	hs_evidence_finish(&e);
	hs_results_finish(&r);
}

static void test_nothing_gives_nothing(void **state)
{
	static const char question[] = "有給休暇";
	struct fixture *f = *state;
	struct hs_results r;
	struct hs_evidence e;

	SKIP_WITHOUT_DICTIONARY(f);
	r = fixture_ask(f, "tanaka", HS_SEARCH_LEXICAL, question);
	must(select_for(&r, question, 300, &e));
	assert_int_equal(e.count, 0);
	assert_int_equal(e.characters, 0);
	hs_evidence_finish(&e);
	hs_results_finish(&r);
}

static void test_one_endless_document_is_bounded(void **state)
{
	static const char question[] = "旅費";
	struct fixture *f = *state;
	size_t n = (size_t)HS_EVIDENCE_SENTENCES_MAX + 500, unit = strlen("旅費。");
	char *text = calloc(n, unit + 1);
	struct hs_results r;
	struct hs_evidence e;

	if (f->skip)
		free(text);
	SKIP_WITHOUT_DICTIONARY(f);
	for (size_t i = 0; i < n; i++)
		memcpy(text + i * unit, "旅費。", unit);
	(void)fixture_put(f, f->notices, "", text);
	r = fixture_ask(f, "tanaka", HS_SEARCH_LEXICAL, question);
	must(select_for(&r, question, 300, &e));
	assert_int_equal(e.count, 1);
	hs_evidence_finish(&e);
	hs_results_finish(&r);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	    cmocka_unit_test(test_what_texts_hold_of_the_question),
	    T(test_the_sentences_that_answer_are_taken_within_the_budget),
	    T(test_copies_are_taken_once),
	    T(test_rows_are_weighed_under_their_header),
	    T(test_a_number_of_what_is_asked_for_counts),
	    T(test_a_row_is_not_worth_what_its_neighbour_is),
	    T(test_words_and_lead_tell_how_much_of_the_question_is_there),
	    T(test_nothing_gives_nothing),
	    T(test_one_endless_document_is_bounded),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
