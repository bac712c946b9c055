#include "retrieval/quantity.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/test.h"
#include "text/normalize.h"

/* "2024:年 4:月>=" : values, the unit as the text spells it, the comparator. */
static const char *found(const char *source)
{
	static const char *const compare[] = {"", ">=", ">", "<=", "<", "before", "after"};
	static char out[512];
	struct hs_norm norm;
	struct hs_quantities q = {0};
	assert_int_equal(hs_normalize(source, strlen(source), &norm), 0);
	assert_int_equal(hs_quantities_find(norm.text, norm.len, &q), 0);
	size_t n = 0;
	out[0] = '\0';
	for (size_t i = 0; i < q.count; i++) {
		assert_true(q.items[i].start < q.items[i].end && q.items[i].end <= norm.len);
		n += (size_t)snprintf(out + n, sizeof(out) - n, "%s%g%s%s", i ? " " : "", (double)q.items[i].value / 1000,
				      q.items[i].unit ? "u" : "", compare[q.items[i].compare]);
	}
	hs_quantities_finish(&q);
	hs_norm_finish(&norm);
	return out;
}

static uint32_t unit_of(const char *source)
{
	struct hs_norm norm;
	struct hs_quantities q = {0};
	assert_int_equal(hs_normalize(source, strlen(source), &norm), 0);
	assert_int_equal(hs_quantities_find(norm.text, norm.len, &q), 0);
	assert_int_equal(q.count, 1);
	uint32_t unit = q.items[0].unit;
	hs_quantities_finish(&q);
	hs_norm_finish(&norm);
	return unit;
}

static uint32_t asked(const char *source)
{
	struct hs_norm norm;
	assert_int_equal(hs_normalize(source, strlen(source), &norm), 0);
	uint32_t unit = hs_unit_asked(norm.text, norm.len);
	hs_norm_finish(&norm);
	return unit;
}

static void a_question_asks_for_a_unit(void **state)
{
	assert_int_equal(asked("利用者数は何人でしたか"), unit_of("3人"));
	assert_int_equal(asked("開港したのは何年ですか"), unit_of("1868年"));
	assert_int_equal(asked("高さは何メートルなの?"), unit_of("15m"));
	assert_int_equal(asked("何年何月のことですか"), unit_of("1868年"));
	assert_int_equal(asked("何人が何年かかりましたか"), 0); /* two are asked for */
	assert_int_equal(asked("開港したのはいつですか"), unit_of("1868年"));
	assert_int_equal(asked("いつも何人いますか"), unit_of("3人"));
	assert_int_equal(asked("いつも開いていますか"), 0);
	assert_int_equal(asked("それは何故ですか"), 0);
	assert_int_equal(asked("いくらですか"), 0);
	assert_int_equal(asked("何"), 0);
}

static void numbers_mean_the_same_however_they_are_written(void **state)
{
	assert_string_equal(found("日当は３，０００円"), "3000u");
	assert_string_equal(found("3万5千円"), "35000u");
	assert_string_equal(found("1億2000万円"), "1.2e+08u");
	assert_string_equal(found("5百万円"), "5e+06u");
	assert_string_equal(found("12.5%"), "12.5u");
	assert_string_equal(found("令和6年4月1日"), "2024u 4u 1u");
	assert_string_equal(found("令和元年"), "2019u");
	assert_string_equal(found("昭和64年"), "1989u");
	assert_string_equal(found("2024/4/1"), "2024u 4u 1u");
	assert_string_equal(found("2024-04-01から"), "2024u 4u 1u>=");
	assert_string_equal(found("午後3時半"), "15u 30u");
	assert_string_equal(found("9:00〜17:30"), "9u 17u 30u");
	assert_string_equal(found("第二十四条"), "24u");
	assert_string_equal(found("ISO27001とCOVID-19"), "");
	assert_string_equal(found("99999999999999999999円"), found("99999999999999999999円"));
	assert_string_equal(found(""), "");
}

static void comparators_stand_before_or_behind(void **state)
{
	assert_string_equal(found("5万円以上"), "50000u>=");
	assert_string_equal(found("5万円未満"), "50000u<");
	assert_string_equal(found("5万円を超える場合"), "50000u>");
	assert_string_equal(found("10日以内"), "10u<=");
	assert_string_equal(found("30時間を超えてはならない"), "30u<=");
	assert_string_equal(found("1,000円を下回らない額"), "1000u>=");
	assert_string_equal(found("3月31日まで"), "3u 31u<=");
	assert_string_equal(found("最大50人"), "50u<=");
	assert_string_equal(found("少なくとも2回"), "2u>=");
	assert_string_equal(found("出発の3日前"), "3ubefore");
	assert_string_equal(found("9時から17時まで"), "9u>= 17u<=");
	assert_string_equal(found("9時〜17時"), "9u>= 17u<=");
}

static void units_are_the_same_by_meaning(void **state)
{
	assert_int_equal(unit_of("5名"), unit_of("5人"));
	assert_int_equal(unit_of("5％"), unit_of("5パーセント"));
	assert_int_equal(unit_of("3ヶ月"), unit_of("3か月"));
	assert_int_equal(unit_of("2㎡"), unit_of("2平方メートル"));
	assert_int_not_equal(unit_of("3時"), unit_of("3時間"));
	assert_int_not_equal(unit_of("3月"), unit_of("3か月"));
	assert_int_not_equal(unit_of("5営業日"), unit_of("5日"));
	assert_int_not_equal(unit_of("3泊"), unit_of("3台"));
	assert_int_not_equal(unit_of("10km"), unit_of("10m"));
	assert_int_equal(unit_of("3以上"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_question_asks_for_a_unit),
		cmocka_unit_test(numbers_mean_the_same_however_they_are_written),
		cmocka_unit_test(comparators_stand_before_or_behind),
		cmocka_unit_test(units_are_the_same_by_meaning),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
