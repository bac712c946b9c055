#include "retrieval/quantity.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define DIGITS_MAX 15 /* longer ones would not be exact in what follows */
#define VALUE_MAX 1e15

struct spelling {
	const char *text;
	uint32_t unit;
};

/* Units by their number; the longest spelling that fits wins. Order in the table is of no meaning. */
enum unit {
	UNIT_NONE,
	UNIT_CENTURY,
	UNIT_YEAR,
	UNIT_MONTH,
	UNIT_MONTHS,
	UNIT_WEEK,
	UNIT_DAY,
	UNIT_WORKDAY,
	UNIT_OCLOCK,
	UNIT_HOUR,
	UNIT_MINUTE,
	UNIT_SECOND,
	UNIT_YEN,
	UNIT_DOLLAR,
	UNIT_EURO,
	UNIT_PERCENT,
	UNIT_PERSON,
	UNIT_AGE,
	UNIT_KM,
	UNIT_M,
	UNIT_CM,
	UNIT_MM,
	UNIT_KG,
	UNIT_G,
	UNIT_TON,
	UNIT_LITRE,
	UNIT_ML,
	UNIT_M2,
	UNIT_KM2,
	UNIT_HA,
	UNIT_PLACE,
	UNIT_PAGE,
	UNIT_KIND,
	UNIT_LETTER,
	UNIT_SHOP,
	UNIT_POINT,
	UNIT_KW,
	UNIT_W,
	UNIT_HZ,
	UNIT_MB,
	UNIT_GB,
	UNIT_DEGREE,
	UNIT_HOUSEHOLD,
	UNIT_ORDER,
	UNIT_ITEM,
	UNIT_BY_CHARACTER = 0x10000, /* plus its code point */
};

static const struct spelling units[] = {
	{"年", UNIT_YEAR},	      {"年間", UNIT_YEAR},     {"年度", UNIT_YEAR},    {"か年", UNIT_YEAR},
	{"ヶ年", UNIT_YEAR},	      {"カ年", UNIT_YEAR},     {"月", UNIT_MONTH},     {"か月", UNIT_MONTHS},
	{"ヶ月", UNIT_MONTHS},	      {"ヵ月", UNIT_MONTHS},   {"カ月", UNIT_MONTHS},  {"ケ月", UNIT_MONTHS},
	{"箇月", UNIT_MONTHS},	      {"月間", UNIT_MONTHS},   {"週", UNIT_WEEK},      {"週間", UNIT_WEEK},
	{"日", UNIT_DAY},	      {"日間", UNIT_DAY},      {"営業日", UNIT_WORKDAY}, {"時", UNIT_OCLOCK},
	{"時間", UNIT_HOUR},	      {"分", UNIT_MINUTE},     {"分間", UNIT_MINUTE},  {"秒", UNIT_SECOND},
	{"秒間", UNIT_SECOND},	      {"円", UNIT_YEN},	       {"ドル", UNIT_DOLLAR},  {"米ドル", UNIT_DOLLAR},
	{"ユーロ", UNIT_EURO},	      {"%", UNIT_PERCENT},     {"パーセント", UNIT_PERCENT}, {"人", UNIT_PERSON},
	{"名", UNIT_PERSON},	      {"歳", UNIT_AGE},	       {"才", UNIT_AGE},       {"km", UNIT_KM},
	{"キロメートル", UNIT_KM},    {"キロ", UNIT_KM},       {"m", UNIT_M},	       {"メートル", UNIT_M},
	{"cm", UNIT_CM},	      {"センチメートル", UNIT_CM}, {"センチ", UNIT_CM}, {"mm", UNIT_MM},
	{"ミリメートル", UNIT_MM},    {"ミリ", UNIT_MM},       {"kg", UNIT_KG},	       {"キログラム", UNIT_KG},
	{"g", UNIT_G},		      {"グラム", UNIT_G},      {"t", UNIT_TON},	       {"トン", UNIT_TON},
	{"l", UNIT_LITRE},	      {"リットル", UNIT_LITRE}, {"ml", UNIT_ML},       {"ミリリットル", UNIT_ML},
	{"m2", UNIT_M2},	      {"平方メートル", UNIT_M2}, {"km2", UNIT_KM2},    {"平方キロメートル", UNIT_KM2},
	{"平方キロ", UNIT_KM2},	      {"ha", UNIT_HA},	       {"ヘクタール", UNIT_HA}, {"か所", UNIT_PLACE},
	{"ヶ所", UNIT_PLACE},	      {"カ所", UNIT_PLACE},    {"箇所", UNIT_PLACE},   {"ページ", UNIT_PAGE},
	{"頁", UNIT_PAGE},	      {"種", UNIT_KIND},       {"種類", UNIT_KIND},    {"文字", UNIT_LETTER},
	{"字", UNIT_LETTER},	      {"店", UNIT_SHOP},       {"店舗", UNIT_SHOP},    {"ポイント", UNIT_POINT},
	{"kw", UNIT_KW},	      {"キロワット", UNIT_KW}, {"w", UNIT_W},	       {"ワット", UNIT_W},
	{"hz", UNIT_HZ},	      {"ヘルツ", UNIT_HZ},     {"mb", UNIT_MB},	       {"メガバイト", UNIT_MB},
	{"gb", UNIT_GB},	      {"ギガバイト", UNIT_GB}, {"度", UNIT_DEGREE},    {"°c", UNIT_DEGREE},
	{"世紀", UNIT_CENTURY},	      {"世帯", UNIT_HOUSEHOLD}, {"番", UNIT_ORDER},    {"番目", UNIT_ORDER},
	{"個", UNIT_ITEM},	      {"コ", UNIT_ITEM},
};

static const struct {
	const char *name;
	int base; /* the year before the first */
} eras[] = {{"令和", 2018}, {"平成", 1988}, {"昭和", 1925}, {"大正", 1911}, {"明治", 1867}};

static const struct {
	const char *text;
	enum hs_compare compare;
} behind[] = {
	/* A bound that is said by forbidding what lies beyond it; before the spellings that begin like it. */
	{"を超えてはな", HS_COMPARE_LE}, {"を超えてはい", HS_COMPARE_LE}, {"を超えな", HS_COMPARE_LE}, {"を超えませ", HS_COMPARE_LE},
	{"を超えることはでき", HS_COMPARE_LE}, {"を超えることができな", HS_COMPARE_LE}, {"を下回ってはな", HS_COMPARE_GE},
	{"を下回ってはい", HS_COMPARE_GE}, {"を下回らな", HS_COMPARE_GE}, {"を下回ることはでき", HS_COMPARE_GE},
	{"以上", HS_COMPARE_GE},     {"から", HS_COMPARE_GE},	    {"以降", HS_COMPARE_GE},	 {"以後", HS_COMPARE_GE},
	{"より後", HS_COMPARE_GT},   {"超", HS_COMPARE_GT},	    {"を超", HS_COMPARE_GT},	 {"をこえ", HS_COMPARE_GT},
	{"を上回", HS_COMPARE_GT},   {"より多", HS_COMPARE_GT},	    {"より大", HS_COMPARE_GT},	 {"より高", HS_COMPARE_GT},
	{"より長", HS_COMPARE_GT},   {"以下", HS_COMPARE_LE},	    {"以内", HS_COMPARE_LE},	 {"まで", HS_COMPARE_LE},
	{"迄", HS_COMPARE_LE},	     {"以前", HS_COMPARE_LE},	    {"を限度", HS_COMPARE_LE},	 {"を上限", HS_COMPARE_LE},
	{"が上限", HS_COMPARE_LE},   {"未満", HS_COMPARE_LT},	    {"を下回", HS_COMPARE_LT},	 {"より少", HS_COMPARE_LT},
	{"より小", HS_COMPARE_LT},   {"より低", HS_COMPARE_LT},	    {"より短", HS_COMPARE_LT},	 {"より前", HS_COMPARE_LT},
	{"前", HS_COMPARE_BEFORE},   {"後", HS_COMPARE_AFTER},
}, before[] = {
	{"最大", HS_COMPARE_LE},     {"上限", HS_COMPARE_LE},	    {"上限は", HS_COMPARE_LE},	 {"最高", HS_COMPARE_LE},
	{"最長", HS_COMPARE_LE},     {"最低", HS_COMPARE_GE},	    {"下限", HS_COMPARE_GE},	 {"下限は", HS_COMPARE_GE},
	{"最小", HS_COMPARE_GE},     {"最短", HS_COMPARE_GE},	    {"少なくとも", HS_COMPARE_GE},
};

bool hs_era_name(const char *s, size_t n)
{
	for (size_t i = 0; i < HS_ARRAY_LEN(eras); i++)
		if (n == strlen(eras[i].name) && !strncmp(s, eras[i].name, n))
			return true;
	return false;
}

struct scan {
	const char *text;
	size_t n;
	struct hs_quantities *out;
};

static bool at(const struct scan *s, size_t i, const char *what)
{
	size_t n = strlen(what);
	return s->n - i >= n && !strncmp(s->text + i, what, n);
}

static bool ends(const struct scan *s, size_t i, const char *what)
{
	size_t n = strlen(what);
	return i >= n && !strncmp(s->text + i - n, what, n);
}

static bool digit(const struct scan *s, size_t i)
{
	return i < s->n && s->text[i] >= '0' && s->text[i] <= '9';
}

static bool letter(const struct scan *s, size_t i)
{
	return i < s->n && s->text[i] >= 'a' && s->text[i] <= 'z';
}

int hs_quantities_push(struct hs_quantities *q, struct hs_quantity x)
{
	if (q->count == q->cap) {
		size_t cap = q->cap ? q->cap * 2 : 16;
		struct hs_quantity *items = realloc(q->items, cap * sizeof(*items));
		if (!items)
			return -ENOMEM;
		q->items = items;
		q->cap = cap;
	}
	q->items[q->count++] = x;
	return 0;
}

/* Digits with an optional fraction from *i on. False, and *i behind them, where they are too many to be a value. */
static bool plain_number(const struct scan *s, size_t *i, double *ret)
{
	double v = 0, place = 0.1;
	size_t start = *i;
	for (; digit(s, *i); (*i)++)
		v = v * 10 + (s->text[*i] - '0');
	bool fits = *i - start <= DIGITS_MAX;
	if (*i + 1 < s->n && s->text[*i] == '.' && digit(s, *i + 1))
		for ((*i)++; digit(s, *i); (*i)++, place /= 10)
			v += place * (s->text[*i] - '0');
	*ret = v;
	return fits;
}

static double scale_at(const struct scan *s, size_t i, size_t *ret_len)
{
	static const struct {
		const char *text;
		double by;
	} scales[] = {{"十", 10}, {"百", 100}, {"千", 1000}, {"万", 1e4}, {"億", 1e8}, {"兆", 1e12}};
	for (size_t k = 0; k < HS_ARRAY_LEN(scales); k++)
		if (at(s, i, scales[k].text)) {
			*ret_len = strlen(scales[k].text);
			return scales[k].by;
		}
	return 0;
}

/* 1億2000万, 3万5千, 5百万, 12.5: a sum of numbers times their scales. */
static bool scaled_number(const struct scan *s, size_t *i, double *ret)
{
	double total = 0;
	for (;;) {
		double v, by = 1, one;
		size_t len = 0;
		if (!plain_number(s, i, &v))
			return false;
		while ((one = scale_at(s, *i, &len)) > 0) {
			by *= one;
			*i += len;
		}
		total += v * by;
		if (by < 1000 || !digit(s, *i))
			break;
	}
	*ret = total;
	return total < VALUE_MAX;
}

static uint64_t digits_hash(const char *s, size_t n)
{
	uint64_t h = 14695981039346656037u;
	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)s[i]) * 1099511628211u;
	return h | 1ull << 63; /* beyond every true value */
}

static uint64_t thousandths(double v)
{
	double exact = v * 1000;
	return (uint64_t)(exact < 4e15 ? exact + 0.5 : exact); /* beyond, a half is not to be had beside a whole */
}

/* The unit at i, and the bytes that it takes. */
static uint32_t unit_at(const struct scan *s, size_t i, size_t *ret_len)
{
	uint32_t best = UNIT_NONE;
	size_t best_len = 0;
	for (size_t k = 0; k < HS_ARRAY_LEN(units); k++) {
		size_t n = strlen(units[k].text);
		bool ascii = (unsigned char)units[k].text[0] < 0x80;
		if (n > best_len && at(s, i, units[k].text) && !(ascii && letter(s, i + n))) {
			best = units[k].unit;
			best_len = n;
		}
	}
	uint32_t cp;
	size_t len = i < s->n ? hs_utf8_decode(s->text + i, s->n - i, &cp) : 0;
	/* A kanji that is no comparator and no joint: 3泊, 第24条, 2件. */
	const char kanji[4] = {len == 3 ? s->text[i] : 0, len == 3 ? s->text[i + 1] : 0, len == 3 ? s->text[i + 2] : 0, 0};
	if (!best && len == 3 && cp >= 0x4e00 && cp <= 0x9fff && !strstr("以未超前後内中約程等及又並至", kanji)) {
		best = UNIT_BY_CHARACTER + cp;
		best_len = len;
	}
	*ret_len = best_len;
	return best;
}

static enum hs_compare compare_behind(const struct scan *s, size_t i)
{
	for (size_t k = 0; k < HS_ARRAY_LEN(behind); k++)
		if (at(s, i, behind[k].text))
			return behind[k].compare;
	return HS_COMPARE_NONE;
}

static enum hs_compare compare_before(const struct scan *s, size_t i)
{
	for (size_t k = 0; k < HS_ARRAY_LEN(before); k++)
		if (ends(s, i, before[k].text))
			return before[k].compare;
	return HS_COMPARE_NONE;
}

/* 2024/4/1, 2024-04-01. */
static int slashed_date(const struct scan *s, size_t *i, bool *ret_found)
{
	unsigned part[3] = {0};
	size_t j = *i;
	*ret_found = false;
	for (int k = 0; k < 3; k++) {
		size_t start = j;
		for (; digit(s, j) && j - start < 4; j++)
			part[k] = part[k] * 10 + (unsigned)(s->text[j] - '0');
		if (j == start || (k == 0 && j - start != 4) || (k > 0 && j - start > 2))
			return 0;
		if (k < 2 && (j >= s->n || (s->text[j] != '/' && s->text[j] != '-')))
			return 0;
		j += k < 2;
	}
	if (digit(s, j) || part[1] < 1 || part[1] > 12 || part[2] < 1 || part[2] > 31)
		return 0;
	static const uint32_t unit[3] = {UNIT_YEAR, UNIT_MONTH, UNIT_DAY};
	enum hs_compare compare = compare_behind(s, j);
	for (int k = 0; k < 3; k++) {
		struct hs_quantity q = {.value = part[k] * 1000ull, .unit = unit[k], .start = (uint32_t)*i, .end = (uint32_t)j};
		if (k == 2)
			q.compare = compare;
		int rc = hs_quantities_push(s->out, q);
		if (rc)
			return rc;
	}
	*i = j;
	*ret_found = true;
	return 0;
}

/* 9:30 is 9時30分; 9:00 is 9時. */
static int clock_time(const struct scan *s, size_t start, size_t *i, double hour, bool *ret_found)
{
	*ret_found = *i + 2 < s->n && s->text[*i] == ':' && digit(s, *i + 1) && digit(s, *i + 2) && !digit(s, *i + 3) && hour < 25;
	if (!*ret_found)
		return 0;
	unsigned minute = (unsigned)(s->text[*i + 1] - '0') * 10 + (unsigned)(s->text[*i + 2] - '0');
	*i += 3;
	enum hs_compare compare = compare_behind(s, *i);
	struct hs_quantity q = {.value = thousandths(hour), .unit = UNIT_OCLOCK, .start = (uint32_t)start, .end = (uint32_t)*i};
	if (minute == 0)
		q.compare = compare;
	int rc = hs_quantities_push(s->out, q);
	if (rc || minute == 0)
		return rc;
	q.value = minute * 1000ull;
	q.unit = UNIT_MINUTE;
	q.compare = compare;
	return hs_quantities_push(s->out, q);
}

static int era_base(const struct scan *s, size_t i)
{
	for (size_t k = 0; k < HS_ARRAY_LEN(eras); k++)
		if (ends(s, i, eras[k].name))
			return eras[k].base;
	return 0;
}

/* What stands between number and unit in the source's typesetting. */
static size_t skip_space(const struct scan *s, size_t i)
{
	return i < s->n && s->text[i] == ' ' ? i + 1 : i;
}

static int one_quantity(const struct scan *s, size_t *i)
{
	size_t start = *i, len;
	double v;
	bool found;
	int rc = slashed_date(s, i, &found);
	if (rc || found)
		return rc;
	struct hs_quantity q = {.start = (uint32_t)start};
	if (!scaled_number(s, i, &v)) {
		q.value = digits_hash(s->text + start, *i - start);
		q.end = (uint32_t)*i;
		return hs_quantities_push(s->out, q);
	}
	if (ends(s, start, "午後") && v < 12)
		v += 12;
	rc = clock_time(s, start, i, v, &found);
	if (rc || found)
		return rc;
	size_t unit_from = skip_space(s, *i);
	q.unit = unit_at(s, unit_from, &len);
	if (q.unit)
		*i = unit_from + len;
	int base = q.unit == UNIT_YEAR ? era_base(s, start) : 0;
	if (base && v < 100)
		v += base;
	q.value = thousandths(v);
	q.end = (uint32_t)*i;
	q.compare = compare_behind(s, *i);
	if (!q.compare)
		q.compare = compare_before(s, start);
	/* A range says from and to: 9時~17時. */
	struct hs_quantity *last = s->out->count ? &s->out->items[s->out->count - 1] : NULL;
	if (!q.compare && at(s, *i, "~"))
		q.compare = HS_COMPARE_GE;
	else if (!q.compare && last && last->end + 1 == start && s->text[last->end] == '~')
		q.compare = HS_COMPARE_LE;
	rc = hs_quantities_push(s->out, q);
	if (!rc && q.unit == UNIT_OCLOCK && at(s, *i, "半")) {
		q.value = 30000;
		q.unit = UNIT_MINUTE;
		rc = hs_quantities_push(s->out, q);
	}
	return rc;
}

/* 令和元年 */
static int first_year(const struct scan *s, size_t *i)
{
	int base = era_base(s, *i);
	size_t start = *i;
	*i += strlen("元年");
	if (!base)
		return 0;
	return hs_quantities_push(s->out, (struct hs_quantity){.value = (uint64_t)(base + 1) * 1000,
						 .unit = UNIT_YEAR,
						 .compare = compare_behind(s, *i),
						 .start = (uint32_t)start,
						 .end = (uint32_t)*i});
}

int hs_quantities_find(const char *text, size_t n, struct hs_quantities *ret)
{
	struct scan s = {.text = text, .n = n, .out = ret};
	int rc = 0;
	for (size_t i = 0; !rc && i < n;) {
		if (at(&s, i, "元年")) {
			rc = first_year(&s, &i);
		} else if (!digit(&s, i)) {
			i++;
		} else if (i > 0 && (letter(&s, i - 1) || (s.text[i - 1] == '-' && i > 1 && letter(&s, i - 2)))) {
			while (digit(&s, i)) /* iso27001, covid-19: a name, not a number */
				i++;
		} else {
			rc = one_quantity(&s, &i);
		}
	}
	return rc;
}

bool hs_same_dimension(uint32_t a, uint32_t b)
{
	static const struct {
		uint32_t first, last;
	} dimensions[] = {{UNIT_CENTURY, UNIT_SECOND}, {UNIT_YEN, UNIT_EURO}, {UNIT_KM, UNIT_MM}, {UNIT_KG, UNIT_TON},
			  {UNIT_LITRE, UNIT_ML},       {UNIT_M2, UNIT_HA},    {UNIT_KW, UNIT_W},  {UNIT_MB, UNIT_GB}};
	if (a == b || a == UNIT_NONE || b == UNIT_NONE)
		return true;
	for (size_t i = 0; i < HS_ARRAY_LEN(dimensions); i++)
		if (a >= dimensions[i].first && a <= dimensions[i].last && b >= dimensions[i].first && b <= dimensions[i].last)
			return true;
	return false;
}

uint32_t hs_unit_asked(const char *text, size_t n)
{
	static const char what[] = "何", when[] = "いつ", always[] = "いつも";
	const struct scan s = {.text = text, .n = n};
	uint32_t asked = UNIT_NONE;
	for (size_t i = 0; i < n && !asked; i++)
		asked = at(&s, i, when) && !at(&s, i, always) ? UNIT_YEAR : UNIT_NONE;
	for (size_t i = 0; i + sizeof what - 1 < n; i++) {
		size_t len;
		if (!at(&s, i, what))
			continue;
		uint32_t unit = unit_at(&s, i + sizeof what - 1, &len);
		/* Only units of the table: what else stands behind 何 may be any noun (何故, 何色). */
		if (!unit || unit >= UNIT_BY_CHARACTER)
			continue;
		if (asked && !hs_same_dimension(unit, asked))
			return UNIT_NONE; /* two are asked for */
		asked = asked ? asked : unit;
	}
	return asked;
}

void hs_quantities_finish(struct hs_quantities *q)
{
	free(q->items);
	*q = (struct hs_quantities){0};
}
