#include "retrieval/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/test.h"

static struct hs_analyzer *analyzer;

static int set_up(void **state)
{
	const char *dir = getenv("HISHO_DICT") ? getenv("HISHO_DICT") : HS_DICT_DIR_DEFAULT;
	if (access(dir, R_OK) < 0)
		return 0; /* the tests skip */
	return hs_analyzer_create(dir, &analyzer, NULL);
}

static int tear_down(void **state)
{
	hs_analyzer_destroy(analyzer);
	return 0;
}

#define NEED_DICTIONARY()                                                                                                        \
	do {                                                                                                                     \
		if (!analyzer) {                                                                                                 \
			print_message("skipped: no MeCab dictionary in " HS_DICT_DIR_DEFAULT "\n");                              \
			skip();                                                                                                  \
		}                                                                                                                \
	} while (0)

static const char travel[] =
    "出張の日当は、国内が1日につき3,000円、海外が6,000円とする。宿泊費は1泊12,000円を上限として実費を支給する。"
    "申請は、帰着の日から10日以内に経理部へ提出しなければならない。5万円以上の支出には、部長の承認が必要である。"
    "領収書のない支出は精算できない。タクシーは、深夜に限り利用することができる。新幹線のグリーン車は利用してはならない。"
    "この規程は令和6年4月1日から施行する。";
static const char leave[] = "年次有給休暇は、入社後6か月を経過した社員に10日を与える。試用期間中の社員は対象外とする。";

static struct hs_check_result judge(const char *question, const char *sentence)
{
	struct hs_check_passage passages[] = {
	    {.text = leave, .len = strlen(leave), .context = "就業規則", .context_len = strlen("就業規則")},
	    {.text = travel, .len = strlen(travel), .context = "旅費規程 > 第3章", .context_len = strlen("旅費規程 > 第3章")},
	};
	struct hs_check *c;
	struct hs_check_result r;
	assert_int_equal(hs_check_create(analyzer, question, question ? strlen(question) : 0, passages, 2, &c), 0);
	assert_int_equal(hs_check_sentence(c, sentence, strlen(sentence), &r), 0);
	hs_check_destroy(c);
	return r;
}

static void must(const char *question, const char *sentence, enum hs_check_why why, size_t passage, const char *cited)
{
	struct hs_check_result r = judge(question, sentence);
	if (r.why != why)
		fail_msg("%s: %d, wanted %d; overlap %.2f", sentence, r.why, why, (double)r.overlap);
	if (!cited)
		return;
	const char *text = passage ? travel : leave;
	assert_int_equal(r.passage, passage);
	char span[1024];
	(void)snprintf(span, sizeof(span), "%.*s", (int)(r.end - r.start), text + r.start);
	assert_string_equal(span, cited);
}

static void what_a_passage_says_is_supported_and_cited(void **state)
{
	NEED_DICTIONARY();
	must(NULL, "国内出張の日当は1日につき3,000円です。", HS_CHECK_SUPPORTED, 1,
	     "出張の日当は、国内が1日につき3,000円、海外が6,000円とする。");
	must("宿泊費はいくらまで出ますか", "宿泊費は１泊１２０００円まで支給されます。", HS_CHECK_SUPPORTED, 1,
	     "宿泊費は1泊12,000円を上限として実費を支給する。");
	must("申請の期限はいつですか", "申請は帰着の日から10日以内に経理部へ提出する必要があります。", HS_CHECK_SUPPORTED, 1,
	     "申請は、帰着の日から10日以内に経理部へ提出しなければならない。");
	must(NULL, "領収書のない支出は精算できません。", HS_CHECK_SUPPORTED, 1, "領収書のない支出は精算できない。");
	must(NULL, "旅費規程は2024年4月1日から施行されます。", HS_CHECK_SUPPORTED, 1, "この規程は令和6年4月1日から施行する。");
	must(NULL, "5万円以上の支出には部長の承認が必要です。", HS_CHECK_SUPPORTED, 1,
	     "5万円以上の支出には、部長の承認が必要である。");
	must("有給休暇は何日もらえますか", "10日です。", HS_CHECK_SUPPORTED, 0, NULL);
	must(NULL, "試用期間中の社員は対象外です。", HS_CHECK_SUPPORTED, 0, "試用期間中の社員は対象外とする。");
}

static void numbers_dates_and_units_must_agree(void **state)
{
	NEED_DICTIONARY();
	must(NULL, "国内出張の日当は1日につき4,000円です。", HS_CHECK_NUMBER, 0, NULL);
	must(NULL, "国内出張の日当は1日につき3,000ドルです。", HS_CHECK_NUMBER, 0, NULL);
	must(NULL, "この規程は令和5年4月1日から施行する。", HS_CHECK_NUMBER, 0, NULL);
	must(NULL, "この規程は平成6年4月1日から施行する。", HS_CHECK_NUMBER, 0, NULL);
	must(NULL, "申請は、帰着の日から10か月以内に経理部へ提出しなければならない。", HS_CHECK_NUMBER, 0, NULL);
	must("有給休暇は何日もらえますか", "20日です。", HS_CHECK_NUMBER, 0, NULL);
	/* The question's number is not the passage's where that has one of its kind. */
	must("3万円以上の支出に承認は必要ですか", "3万円以上の支出には、部長の承認が必要です。", HS_CHECK_NUMBER, 0, NULL);
}

static void comparators_must_agree(void **state)
{
	NEED_DICTIONARY();
	must(NULL, "5万円未満の支出には、部長の承認が必要である。", HS_CHECK_COMPARATOR, 0, NULL);
	must(NULL, "5万円を超える支出には、部長の承認が必要である。", HS_CHECK_COMPARATOR, 0, NULL);
	must(NULL, "申請は、帰着の日から10日以上に経理部へ提出しなければならない。", HS_CHECK_COMPARATOR, 0, NULL);
	must(NULL, "この規程は令和6年4月1日まで施行する。", HS_CHECK_COMPARATOR, 0, NULL);
}

static void the_opposite_is_not_supported(void **state)
{
	NEED_DICTIONARY();
	must(NULL, "領収書のない支出は精算できます。", HS_CHECK_POLARITY, 0, NULL);
	must(NULL, "5万円以上の支出には、部長の承認が不要である。", HS_CHECK_POLARITY, 0, NULL);
	must(NULL, "5万円以上の支出には、部長の承認は必要ではない。", HS_CHECK_POLARITY, 0, NULL);
	must(NULL, "タクシーは、深夜に限り利用することができません。", HS_CHECK_POLARITY, 0, NULL);
	must(NULL, "新幹線のグリーン車は利用できます。", HS_CHECK_POLARITY, 0, NULL);
	must(NULL, "試用期間中の社員は対象です。", HS_CHECK_POLARITY, 0, NULL);
	must(NULL, "申請は、帰着の日から10日以内に経理部へ提出しなくてもよい。", HS_CHECK_POLARITY, 0, NULL);
	must(NULL, "申請は、帰着の日から10日以内に経理部へ提出する必要はありません。", HS_CHECK_POLARITY, 0, NULL);
	must(NULL, "新幹線のグリーン車は利用してもよい。", HS_CHECK_POLARITY, 0, NULL);
}

static void names_must_be_there(void **state)
{
	NEED_DICTIONARY();
	must(NULL, "大阪の出張の日当は、国内が1日につき3,000円とする。", HS_CHECK_NAME, 0, NULL);
	must("大阪出張の日当は", "大阪出張の日当は、国内が1日につき3,000円とする。", HS_CHECK_SUPPORTED, 1, NULL);
	/* A name that only the question gave passes where the passage names nobody, and not where it names another. */
	static const char pay[] = "鈴木の基本給は月額320,000円とする。";
	struct hs_check_passage p = {.text = pay, .len = strlen(pay)};
	static const char question[] = "佐藤さんの基本給は", sentence[] = "佐藤の基本給は月額320,000円です。";
	struct hs_check *c;
	struct hs_check_result r;
	assert_int_equal(hs_check_create(analyzer, question, strlen(question), &p, 1, &c), 0);
	assert_int_equal(hs_check_sentence(c, sentence, strlen(sentence), &r), 0);
	assert_int_equal(r.why, HS_CHECK_NAME);
	hs_check_destroy(c);
	must(NULL, "宿泊費はVISAで1泊12,000円を上限として支給する。", HS_CHECK_NAME, 0, NULL);
}

static void other_matters_are_unsupported(void **state)
{
	NEED_DICTIONARY();
	must(NULL, "育児休業は子が満1歳に達するまで取得することができる。", HS_CHECK_UNSUPPORTED, 0, NULL);
	must(NULL, "資料には記載がありません。", HS_CHECK_UNSUPPORTED, 0, NULL);
	must(NULL, "。。。", HS_CHECK_EMPTY, 0, NULL);
	must(NULL, "", HS_CHECK_EMPTY, 0, NULL);
	must("日当とは何ですか", "日当とは何ですか。", HS_CHECK_EMPTY, 0, NULL);
}

static const char lodging[] =
    "宿泊料は次のとおりとする。\n役職区分\t宿泊料（東京23区）\t宿泊料（その他）\t申請先\n役員\t25,000円\t20,000円\t秘書室\n"
    "部長\t18,000円\t15,000円\t総務部\n一般社員\t12,500円\t10,500円\t経理部";
static const char accounts[] =
    "主要項目を示す。\n項目 | 金額(百万円)\n売上高 | 1,030,674\n当期純利益 | 24,722\n親会社株主に帰属する当期純利益 | 20,853";
static const char people[] = "営業部は技術部に見積書を提出する。技術部は3日以内に、営業部は5日以内に確認する。2019年に佐藤が支店"
			     "を開き、2021年に鈴木が工場を建てた。"
			     "本社の従業員は120人、支店の従業員は45人である。";

static void judge_one(const char *text, const char *context, const char *question, const char *sentence, bool supported)
{
	struct hs_check_passage p = {
	    .text = text, .len = strlen(text), .context = context, .context_len = context ? strlen(context) : 0};
	struct hs_check *c;
	struct hs_check_result r;
	assert_int_equal(hs_check_create(analyzer, question, question ? strlen(question) : 0, &p, 1, &c), 0);
	assert_int_equal(hs_check_sentence(c, sentence, strlen(sentence), &r), 0);
	hs_check_destroy(c);
	if ((r.why == HS_CHECK_SUPPORTED) != supported)
		fail_msg("%s: %d, overlap %.2f", sentence, r.why, (double)r.overlap);
}

static void a_number_belongs_to_its_row_and_column(void **state)
{
	NEED_DICTIONARY();
	judge_one(lodging, NULL, NULL, "一般社員の宿泊料（東京23区）は12,500円です。", true);
	judge_one(lodging, NULL, NULL, "役職区分: 部長、宿泊料（その他）: 15,000円", true);
	judge_one(lodging, NULL, "一般社員が東京23区に泊まるときの宿泊料はいくらですか", "12,500円です。", true);
	judge_one(lodging, NULL, NULL, "一般社員の宿泊料（東京23区）は18,000円です。", false); /* the row of another */
	judge_one(lodging, NULL, NULL, "一般社員の宿泊料（東京23区）は10,500円です。", false); /* another column */
	judge_one(lodging, NULL, "一般社員が東京23区に泊まるときの宿泊料はいくらですか", "18,000円です。", false);
	judge_one(lodging, NULL, NULL, "部長の宿泊料（東京23区）は18,000円、宿泊料（その他）は15,000円です。", true);
	judge_one(lodging, NULL, NULL, "部長の宿泊料（東京23区）は15,000円、宿泊料（その他）は18,000円です。", false);
}

/* A number of a table whose rows are something else is none of what is asked for. */
static void a_number_needs_a_row_that_is_named(void **state)
{
	static const char regions[] = "地域\t日当\t宿泊料\n北米\t7,000円\t28,000円\nその他\t6,000円\t22,000円";
	static const char question[] = "一般社員の宿泊料はいくらですか";
	NEED_DICTIONARY();
	judge_one(regions, NULL, question, "一般社員の宿泊料は22,000円です。", false);
	judge_one(regions, NULL, "北米の宿泊料はいくらですか", "北米の宿泊料は28,000円です。", true);
	judge_one(lodging, NULL, question, "一般社員の宿泊料（その他）は10,500円です。", true);
}

static void a_cell_of_words_belongs_to_its_row_and_column(void **state)
{
	NEED_DICTIONARY();
	judge_one(lodging, NULL, NULL, "一般社員の申請先は経理部です。", true);
	judge_one(lodging, NULL, NULL, "一般社員の申請先は総務部です。", false);
	judge_one(lodging, NULL, NULL, "部長の申請先は経理部です。", false);
}

static void a_header_gives_units_and_bounds(void **state)
{
	NEED_DICTIONARY();
	judge_one(accounts, NULL, NULL, "売上高は1,030,674百万円です。", true);
	judge_one(accounts, NULL, NULL, "売上高は1,030,674千円です。", false);
	judge_one(accounts, NULL, NULL, "当期純利益は24,722百万円です。", true);
	judge_one(accounts, NULL, NULL, "当期純利益は20,853百万円です。", false); /* a longer name of another row */
	/* The passage begins within the table: its header stands above it. */
	judge_one("部長\t18,000円\n一般社員\t12,500円", "旅費規程\n宿泊\n役職区分\t宿泊料上限", NULL,
		  "一般社員の宿泊料の上限は12,500円です。", true);
	judge_one("部長\t18,000円\n一般社員\t12,500円", "旅費規程\n宿泊\n役職区分\t宿泊料上限", NULL,
		  "一般社員の宿泊料の上限は18,000円です。", false);
	/* An empty first cell is lost with the white space before it. */
	judge_one("| 2024年3月期 | 2023年3月期\n売上高 | 2,960,916 | 2,859,041", NULL, NULL,
		  "2023年3月期の売上高は2,859,041です。", true);
	judge_one("| 2024年3月期 | 2023年3月期\n売上高 | 2,960,916 | 2,859,041", NULL, NULL,
		  "2023年3月期の売上高は2,960,916です。", false);
}

static void who_and_whom_are_not_exchanged(void **state)
{
	NEED_DICTIONARY();
	judge_one(people, NULL, NULL, "営業部は技術部に見積書を提出します。", true);
	judge_one(people, NULL, NULL, "見積書を営業部が技術部に提出します。", true); /* another order */
	judge_one(people, NULL, NULL, "技術部は営業部に見積書を提出します。", false);
}

/* What an open question repeats of itself is not asserted; what stands in the place that it asks for is. */
static void the_focus_of_a_cleft_sentence_is_what_it_asserts(void **state)
{
	static const char text[] =
	    "1990年にソニーは松下電器を訴え、三菱商事は松下電器を支えた。日本初の倉庫船の称号は、イギリスで造られた「比羅夫丸」のものとなった。";
	static const struct {
		const char *question, *sentence;
		bool supported;
	} cases[] = {
	    {"松下電器を訴えたのはどの会社ですか", "松下電器を訴えたのはソニーです。", true},
	    {"松下電器を支えたのはどの会社ですか", "松下電器を支えたのは三菱商事です。", true},
	    {"松下電器を支えたのはどの会社ですか", "松下電器を支えたのはソニーです。", false},
	    {"三菱商事は訴えられていませんか", "三菱商事は訴えられていません。", false}, /* asks whether: a denial is asserted */
	    {"日本初の倉庫船の名前は何ですか", "日本初の倉庫船の名前は「比羅夫丸」です。", true},
	};
	NEED_DICTIONARY();
	for (size_t i = 0; i < HS_ARRAY_LEN(cases); i++)
		judge_one(text, "", cases[i].question, cases[i].sentence, cases[i].supported);
}

static void numbers_and_names_belong_to_their_clause(void **state)
{
	NEED_DICTIONARY();
	judge_one(people, NULL, NULL, "本社の従業員は120人です。", true);
	judge_one(people, NULL, NULL, "本社の従業員は45人、支店の従業員は120人です。", false);
	judge_one(people, NULL, NULL, "2019年に佐藤が支店を開いた。", true);
	judge_one(people, NULL, NULL, "2021年に佐藤が支店を開き、2019年に鈴木が工場を建てた。", false);
	judge_one(people, NULL, NULL, "2019年に鈴木が支店を開き、2021年に佐藤が工場を建てた。", false);
	judge_one(people, NULL, NULL, "2019年に鈴木が支店を開いた。", false);
}

static bool can_answer(const char *question, const char *sentence)
{
	struct hs_check_passage p = {.text = people, .len = strlen(people)};
	struct hs_check *c;
	struct hs_check_result r;
	assert_int_equal(hs_check_create(analyzer, question, strlen(question), &p, 1, &c), 0);
	assert_int_equal(hs_check_sentence(c, sentence, strlen(sentence), &r), 0);
	hs_check_destroy(c);
	return r.answers;
}

static void a_sentence_that_answers_nothing_is_told_apart(void **state)
{
	NEED_DICTIONARY();
	assert_true(can_answer("本社の従業員は何人ですか", "120人です。"));
	assert_false(can_answer("本社の従業員は何人ですか", "5日以内です。"));
	assert_true(can_answer("本社の従業員は何人ですか", "120です。"));
	assert_true(can_answer("本社の従業員は何人ですか\n支店を開いたのは", "2019年です。")); /* the turn before asked for people */
	assert_false(can_answer("支店を開いたのは\n本社の従業員は何人ですか", "2019年です。"));
	assert_true(can_answer("確認は何日以内ですか", "1週間以内です。")); /* another unit of the same */
	assert_false(can_answer("営業部が技術部に提出するものは何ですか", "営業部は技術部に提出します。"));
	assert_true(can_answer("営業部が技術部に提出するものは何ですか", "見積書です。"));
	assert_true(can_answer("先に開いたのは支店と工場のどちらですか", "支店です。")); /* which of two: it repeats one */
	assert_true(can_answer("営業部は技術部に見積書を提出しますか", "営業部は技術部に見積書を提出します。"));
}

static void odd_input_is_refused_or_judged(void **state)
{
	NEED_DICTIONARY();
	struct hs_check *c;
	struct hs_check_result r;
	struct hs_check_passage bad = {.text = "\xff\xfe", .len = 2}, none = {.text = "", .len = 0};
	static char big[HS_CHECK_PASSAGE_MAX + 1];
	memset(big, 'a', sizeof(big));
	assert_int_equal(hs_check_create(analyzer, NULL, 0, &bad, 1, &c), -EILSEQ);
	bad = (struct hs_check_passage){.text = big, .len = sizeof(big)};
	assert_int_equal(hs_check_create(analyzer, NULL, 0, &bad, 1, &c), -EMSGSIZE);
	assert_int_equal(hs_check_create(analyzer, NULL, 0, &none, HS_CHECK_PASSAGES_MAX + 1, &c), -EMSGSIZE);
	assert_int_equal(hs_check_create(analyzer, NULL, 0, NULL, 0, &c), 0);
	assert_int_equal(hs_check_sentence(c, "日当は3,000円です。", strlen("日当は3,000円です。"), &r), 0);
	assert_int_equal(r.why, HS_CHECK_UNSUPPORTED);
	assert_int_equal(hs_check_sentence(c, big, HS_CHECK_SENTENCE_MAX + 1, &r), -EMSGSIZE);
	assert_int_equal(hs_check_sentence(c, "\xff", 1, &r), -EILSEQ);
	hs_check_destroy(c);
	assert_int_equal(hs_check_create(analyzer, NULL, 0, &none, 1, &c), 0);
	assert_int_equal(hs_check_sentence(c, "3", 1, &r), 0);
	assert_int_not_equal(r.why, HS_CHECK_SUPPORTED);
	hs_check_destroy(c);
	hs_check_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_a_passage_says_is_supported_and_cited),
	    cmocka_unit_test(numbers_dates_and_units_must_agree),
	    cmocka_unit_test(comparators_must_agree),
	    cmocka_unit_test(the_opposite_is_not_supported),
	    cmocka_unit_test(names_must_be_there),
	    cmocka_unit_test(other_matters_are_unsupported),
	    cmocka_unit_test(a_number_belongs_to_its_row_and_column),
	    cmocka_unit_test(a_number_needs_a_row_that_is_named),
	    cmocka_unit_test(a_cell_of_words_belongs_to_its_row_and_column),
	    cmocka_unit_test(a_header_gives_units_and_bounds),
	    cmocka_unit_test(who_and_whom_are_not_exchanged),
	    cmocka_unit_test(the_focus_of_a_cleft_sentence_is_what_it_asserts),
	    cmocka_unit_test(numbers_and_names_belong_to_their_clause),
	    cmocka_unit_test(a_sentence_that_answers_nothing_is_told_apart),
	    cmocka_unit_test(odd_input_is_refused_or_judged),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
