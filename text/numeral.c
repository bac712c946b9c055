#include "text/numeral.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "base/utf8.h"
#include "text/chartab.h"

#define RUN_MAX 16 /* longer runs are no numbers that people write */

/* 0..9 for digits, 10, 100, 1000 for units, -1 for the rest. */
static int value_of(uint32_t cp)
{
	switch (cp) {
	case 0x3007: /* 〇 */
	case 0x25cb: /* ○, often typed for it */
		return 0;
	case 0x4e00:
		return 1;
	case 0x4e8c:
		return 2;
	case 0x4e09:
		return 3;
	case 0x56db:
		return 4;
	case 0x4e94:
		return 5;
	case 0x516d:
		return 6;
	case 0x4e03:
		return 7;
	case 0x516b:
		return 8;
	case 0x4e5d:
		return 9;
	case 0x5341:
		return 10;
	case 0x767e:
		return 100;
	case 0x5343:
		return 1000;
	default:
		return -1;
	}
}

/* What follows numbers of two and more characters. Single numerals have shorter lists, since 一人 and 十分 are words. */
static const char *const counters[] = {
	"年", "月", "日", "時", "分", "秒", "条", "項", "号", "章", "節", "款", "目", "編", "部", "回", "期", "版", "次", "位",
	"円", "人", "名", "件", "個", "歳", "才", "台", "冊", "枚", "本", "倍", "割", "階", "週", "万", "億", "兆", "点", "度",
	"頁", "社", "校", "店", "軒", "戸", "票", "席", "字", "種", "類", "段", "級", "世紀", "世帯", "%", "か月", "か国", "か所",
	"か年", "カ月", "カ国", "カ所", "ヶ月", "ヶ国", "ヶ所", "ケ月", "ケ国", "ケ所", "ヵ月", "ヵ国", "ヵ所", "箇月", "箇国", "箇所",
	"メートル", "キロ", "グラム", "トン", "ドル", "パーセント", "ポイント", "ページ",
};
static const char *const single_counters[] = {"年", "月", "日", "条", "項", "号", "章", "節", "円", "歳", "万", "億", "兆"};
static const char *const unit_counters[] = {"円", "万", "億", "兆"}; /* after a lone 百 or 千 */
static const char *const ordinal_counters[] = {"条", "項", "号", "章", "節", "款", "目", "編", "部", "回", "期", "版", "次", "位", "類",
					       "種", "級", "巻", "話", "週", "日", "月", "年", "問", "表", "図"};

/* Kanji that may follow 三年 and its like without making another word of it (三年間, 三月期; but 三日月, 四条河原町). */
static const char *const after_counter[] = {"度", "期", "間", "前", "後", "目", "以", "未", "頃", "分", "中", "半", "第", "及",
					    "又", "並", "末", "初", "内", "生", "円", "人", "万", "億", "兆"};

static const char *match(const char *const *list, size_t count, const char *s, size_t n)
{
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(list[i]);
		if (len <= n && memcmp(list[i], s, len) == 0)
			return list[i];
	}
	return NULL;
}
#define MATCH(list, s, n) match(list, HS_ARRAY_LEN(list), s, n)

struct run {
	int values[RUN_MAX];
	size_t count, bytes;
	bool positional, zero; /* only digits; a zero among them */
};

static bool read_run(const char *s, size_t n, struct run *run)
{
	*run = (struct run){.positional = true};
	while (run->bytes < n) {
		uint32_t cp;
		size_t len = hs_utf8_decode(s + run->bytes, n - run->bytes, &cp);
		int v = len ? value_of(cp) : -1;
		if (v < 0 || (cp == 0x25cb && run->count == 0))
			break;
		if (run->count == RUN_MAX)
			return false;
		run->values[run->count++] = v;
		run->positional = run->positional && v < 10;
		run->zero = run->zero || v == 0;
		run->bytes += len;
	}
	return run->count > 0;
}

size_t hs_numeral_run(const char *s, size_t n)
{
	size_t at = 0;
	while (at < n) {
		uint32_t cp;
		size_t len = hs_utf8_decode(s + at, n - at, &cp);
		if (len == 0 || value_of(cp) < 0)
			break;
		at += len;
	}
	return at;
}

/* [d]千[d]百[d]十[d], each part at most once and in this order: 1..9999, or 0 where it is not of that form. */
static unsigned grammar_value(const struct run *run)
{
	unsigned total = 0, digit = 0;
	int last_unit = 10000;
	bool have_digit = false;
	for (size_t i = 0; i < run->count; i++) {
		int v = run->values[i];
		if (v == 0)
			return 0;
		if (v < 10) {
			if (have_digit)
				return 0;
			digit = (unsigned)v;
			have_digit = true;
			continue;
		}
		if (v >= last_unit)
			return 0;
		total += (have_digit ? digit : 1) * (unsigned)v;
		last_unit = v;
		have_digit = false;
	}
	return total + (have_digit ? digit : 0);
}

static bool ascii_digit(const char *s, size_t n)
{
	return n > 0 && *s >= '0' && *s <= '9';
}

/* A lone numeral is a number only before few counters, and only where no further kanji makes a word of it. */
static bool single_fits(int v, const char *rest, size_t n)
{
	const char *counter = v >= 100 ? MATCH(unit_counters, rest, n) : MATCH(single_counters, rest, n);
	if (!counter || v == 0)
		return false;
	size_t len = strlen(counter);
	rest += len, n -= len;
	uint32_t cp;
	if (n == 0 || hs_utf8_decode(rest, n, &cp) == 0 || !(hs_char_flags(cp) & HS_CHAR_HAN))
		return true;
	return value_of(cp) > 0 || MATCH(after_counter, rest, n);
}

size_t hs_numeral_parse(const char *s, size_t n, uint32_t before, char digits[static HS_NUMERAL_DIGITS_MAX + 1])
{
	struct run run;
	if (!read_run(s, n, &run))
		return 0;
	const char *rest = s + run.bytes;
	size_t left = n - run.bytes;
	bool ordinal = before == 0x7b2c; /* 第 */
	if ((before >= '0' && before <= '9') || ascii_digit(rest, left))
		return 0;
	if (before == 0x6570 || before == 0x4f55 || before == 0x5e7e) /* 数十人, 何十, 幾千: not exact */
		return 0;
	if (run.count > 1 && run.positional) {
		if (!(run.zero || run.count >= 3 || ordinal) || !MATCH(counters, rest, left))
			return 0;
		for (size_t i = 0; i < run.count; i++)
			digits[i] = (char)('0' + run.values[i]);
		digits[run.count] = '\0';
		return run.bytes;
	}
	unsigned value = grammar_value(&run);
	if (value == 0)
		return 0;
	bool fits;
	if (run.count > 1)
		fits = MATCH(counters, rest, left) != NULL;
	else
		fits = ordinal ? MATCH(ordinal_counters, rest, left) != NULL : single_fits(run.values[0], rest, left);
	if (!fits)
		return 0;
	(void)snprintf(digits, HS_NUMERAL_DIGITS_MAX + 1, "%u", value); /* at most 9999 */
	return run.bytes;
}
