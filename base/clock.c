#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t read_clock_us(clockid_t id)
{
	struct timespec ts;
	(void)clock_gettime(id, &ts); /* cannot fail for the clocks used here */
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

int64_t hs_now_ms(void)
{
	return (int64_t)(read_clock_us(CLOCK_REALTIME) / 1000u);
}

uint64_t hs_monotonic_ms(void)
{
	return read_clock_us(CLOCK_MONOTONIC) / 1000u;
}

uint64_t hs_monotonic_us(void)
{
	return read_clock_us(CLOCK_MONOTONIC);
}

uint64_t hs_uptime_ms(void)
{
	return read_clock_us(CLOCK_BOOTTIME) / 1000u;
}

void hs_time_format(int64_t ms, char out[static HS_TIME_TEXT_LEN + 1])
{
	int64_t seconds = ms / 1000, rest = ms % 1000;
	if (rest < 0)
		seconds--, rest += 1000;
	struct tm tm;
	time_t t = (time_t)seconds;
	char text[80] = "0000-00-00T00:00:00.000Z";
	if (gmtime_r(&t, &tm) && tm.tm_year >= -1900 && tm.tm_year <= 8099)
		(void)snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
			       tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)rest);
	memcpy(out, text, HS_TIME_TEXT_LEN);
	out[HS_TIME_TEXT_LEN] = '\0';
}

static bool take_digits(const char **p, const char *end, int count, int *ret)
{
	int v = 0;
	for (int i = 0; i < count; i++, (*p)++) {
		if (*p == end || **p < '0' || **p > '9')
			return false;
		v = v * 10 + (**p - '0');
	}
	*ret = v;
	return true;
}

static bool take_char(const char **p, const char *end, char c)
{
	if (*p == end || **p != c)
		return false;
	(*p)++;
	return true;
}

bool hs_time_parse(const char *s, size_t n, int64_t *ret_ms)
{
	const char *p = s, *end = s + n;
	int year, month, day, hour = 0, minute = 0, second = 0, milli = 0, zone = 0;
	if (!take_digits(&p, end, 4, &year) || !take_char(&p, end, '-') || !take_digits(&p, end, 2, &month) ||
	    !take_char(&p, end, '-') || !take_digits(&p, end, 2, &day))
		return false;
	if (p != end) {
		if (!take_char(&p, end, 'T') || !take_digits(&p, end, 2, &hour) || !take_char(&p, end, ':') ||
		    !take_digits(&p, end, 2, &minute) || !take_char(&p, end, ':') || !take_digits(&p, end, 2, &second))
			return false;
		if (take_char(&p, end, '.')) {
			int scale = 100;
			const char *first = p;
			for (; p != end && *p >= '0' && *p <= '9'; p++, scale /= 10)
				milli += (*p - '0') * scale;
			if (p == first)
				return false;
		}
		if (!take_char(&p, end, 'Z')) {
			int sign = take_char(&p, end, '+') ? 1 : take_char(&p, end, '-') ? -1 : 0;
			int zh, zm;
			if (!sign || !take_digits(&p, end, 2, &zh) || !take_char(&p, end, ':') || !take_digits(&p, end, 2, &zm) ||
			    zh > 23 || zm > 59)
				return false;
			zone = sign * (zh * 60 + zm);
		}
	}
	if (p != end || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60)
		return false;
	struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day,
			.tm_hour = hour, .tm_min = minute, .tm_sec = second};
	int64_t t = (int64_t)timegm(&tm);
	if (tm.tm_mday != day) /* 31 February and its kin */
		return false;
	*ret_ms = (t - zone * 60) * 1000 + milli;
	return true;
}
