#include "daemon/limits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS (24 * 60 * 60 * 1000LL)
#define MINUTE_MS (60 * 1000.0)

/* Behind these stand the server's own: HS_CONTEXT_MAX, HS_TENANT_CHATS_MAX. */
static const struct {
	const char *name, *code;
	uint64_t least, most;
	int num; /* of the error */
	const char *hint;
} rows[HS_LIMIT_N] = {
	[HS_LIMIT_TOKENS_PER_DAY] = {"tokens_per_day", "limit.tokens_per_day", 0, 1ull << 48, EBUSY,
				     HS_N_("This tenant's tokens of the day are used up. Ask again after 00:00 UTC, or have the limit raised in hisho.yaml.")},
	[HS_LIMIT_TOKENS_PER_MINUTE] = {"tokens_per_minute", "limit.tokens_per_minute", 0, 1ull << 40, EBUSY,
					HS_N_("This tenant's tokens of the minute are used up. Ask again shortly.")},
	[HS_LIMIT_CONTEXT] = {"context", "limit.context", 256, 1u << 20, EMSGSIZE,
			      HS_N_("Question and answer together exceed this tenant's context. Ask a shorter question.")},
	[HS_LIMIT_GENERATION_SECONDS] = {"generation_seconds", "limit.generation_seconds", 1, 24 * 3600, ETIME,
					 HS_N_("The answer took longer than this tenant's answers may. Ask a narrower question.")},
	[HS_LIMIT_QUEUE] = {"queue", "limit.queue", 0, 64, EBUSY,
			    HS_N_("As many questions of this tenant wait as may wait. Ask again shortly.")},
	[HS_LIMIT_GENERATIONS] = {"generations", "limit.generations", 1, HS_LIMIT_GENERATIONS_MAX, EBUSY, ""}, /* others wait */
};

const struct hs_limits hs_limits_default = {.of = {[HS_LIMIT_CONTEXT] = 8192,
						   [HS_LIMIT_GENERATION_SECONDS] = 300,
						   [HS_LIMIT_QUEUE] = 62,
						   [HS_LIMIT_GENERATIONS] = 2}};

const char *hs_limit_name(enum hs_limit which)
{
	return rows[which].name;
}

bool hs_limit_ok(enum hs_limit which, uint64_t value)
{
	return value >= rows[which].least && value <= rows[which].most;
}

static bool find(const char *name, size_t n, enum hs_limit *ret)
{
	for (size_t i = 0; i < HS_LIMIT_N; i++) {
		if (strlen(rows[i].name) == n && memcmp(rows[i].name, name, n) == 0) {
			*ret = (enum hs_limit)i;
			return true;
		}
	}
	return false;
}

bool hs_limits_parse(const char *text, struct hs_limits *ret)
{
	struct hs_limits l = hs_limits_default;
	while (*text) {
		enum hs_limit which;
		size_t n = strcspn(text, "=,");
		if (text[n] != '=' || !find(text, n, &which))
			return false;
		const char *digits = text + n + 1;
		char *end;
		errno = 0;
		unsigned long long value = strtoull(digits, &end, 10);
		if (*digits < '0' || *digits > '9' || errno || !hs_limit_ok(which, value) || (*end && *end != ','))
			return false;
		l.of[which] = value;
		text = end + (*end == ',');
		if (*end == ',' && !*text)
			return false;
	}
	*ret = l;
	return true;
}

void hs_limits_format(const struct hs_limits *l, char out[static HS_LIMITS_TEXT_MAX])
{
	size_t at = 0;
	for (size_t i = 0; i < HS_LIMIT_N; i++)
		at += (size_t)snprintf(out + at, HS_LIMITS_TEXT_MAX - at, "%s%s=%llu", i ? "," : "", rows[i].name,
				       (unsigned long long)HS_MIN(l->of[i], rows[i].most)); /* all at their most fit */
}

int hs_limit_fail(struct hs_err *err, enum hs_limit which, uint64_t value, uint64_t retry_s)
{
	if (retry_s)
		return hs_fail(err, rows[which].num, rows[which].code, rows[which].hint, "%s: %llu, again in %llu s", rows[which].name,
			       (unsigned long long)value, (unsigned long long)retry_s);
	return hs_fail(err, rows[which].num, rows[which].code, rows[which].hint, "%s: %llu", rows[which].name,
		       (unsigned long long)value);
}

const char *hs_limit_hint(const char *code)
{
	for (size_t i = 0; i < HS_LIMIT_N; i++) {
		if (strcmp(rows[i].code, code) == 0)
			return rows[i].hint;
	}
	return "";
}

/* A clock that was set back opens no new day, and refills nothing. */
static void pass_time(struct hs_token_count *c, const struct hs_limits *l, int64_t now)
{
	if (now / DAY_MS > c->day) {
		c->day = now / DAY_MS;
		c->of_day = 0;
	}
	if (now <= c->minute_at)
		return;
	c->minute -= (double)l->of[HS_LIMIT_TOKENS_PER_MINUTE] * ((double)(now - c->minute_at) / MINUTE_MS);
	c->minute = HS_MAX(c->minute, 0);
	c->minute_at = now;
}

bool hs_token_count_admits(struct hs_token_count *c, const struct hs_limits *l, uint64_t n, uint64_t slack, int64_t now,
			   enum hs_limit *ret_which, uint64_t *ret_retry_s)
{
	uint64_t day = l->of[HS_LIMIT_TOKENS_PER_DAY], minute = l->of[HS_LIMIT_TOKENS_PER_MINUTE];
	pass_time(c, l, now);
	if (day && (c->of_day > day + slack || n > day + slack - c->of_day)) {
		*ret_which = HS_LIMIT_TOKENS_PER_DAY;
		*ret_retry_s = (uint64_t)HS_MAX((((c->day + 1) * DAY_MS - now) + 999) / 1000, 1);
		return false;
	}
	double wanted = (double)HS_MIN(n, minute), over = c->minute + wanted - (double)(minute + slack);
	if (minute && over > 0) {
		*ret_which = HS_LIMIT_TOKENS_PER_MINUTE;
		*ret_retry_s = (uint64_t)(over * 60 / (double)minute) + 1;
		return false;
	}
	return true;
}

void hs_token_count_take(struct hs_token_count *c, const struct hs_limits *l, uint64_t n, int64_t now)
{
	pass_time(c, l, now);
	c->of_day += HS_MIN(n, UINT64_MAX - c->of_day);
	c->minute += (double)n;
}

void hs_token_count_return(struct hs_token_count *c, int64_t day, uint64_t n)
{
	if (day == c->day)
		c->of_day -= HS_MIN(n, c->of_day);
	c->minute = HS_MAX(c->minute - (double)n, 0);
}
