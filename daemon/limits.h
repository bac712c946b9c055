/*
 * What one tenant may take of the model that all share: named limits, which the host's administrator sets in hisho.yaml. hishod
 * gives them to the tenant's process, which counts strictly, and to hisho-infer, which holds them for itself, so that a tenant's
 * process that was taken over does not pass them either.
 *
 * As text, `name=number` joined by commas. Pure logic; times are the caller's.
 */
#ifndef HISHO_DAEMON_LIMITS_H
#define HISHO_DAEMON_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define HS_LIMITS_TEXT_MAX 200u
#define HS_LIMIT_GENERATIONS_MAX 4
#define HS_ADAPTERS_MAX 16u /* of all tenants: hishod names them in hisho.yaml's order, hisho-infer loads them */

enum hs_limit {
	HS_LIMIT_TOKENS_PER_DAY,    /* of prompts and answers; a day begins at 00:00 UTC. 0: not limited */
	HS_LIMIT_TOKENS_PER_MINUTE, /* likewise, refilled steadily. 0: not limited */
	HS_LIMIT_CONTEXT,           /* tokens of one prompt and its answer */
	HS_LIMIT_GENERATION_SECONDS, /* that the model computes one answer */
	HS_LIMIT_QUEUE,             /* questions that wait beside those that are being answered */
	HS_LIMIT_GENERATIONS,       /* answers that compute at one time */
	HS_LIMIT_N,
};

struct hs_limits {
	uint64_t of[HS_LIMIT_N];
};

extern const struct hs_limits hs_limits_default;

const char *hs_limit_name(enum hs_limit which); /* as hisho.yaml and errors ("limit.NAME") say it */

/* Is the number one that the limit can have? */
bool hs_limit_ok(enum hs_limit which, uint64_t value);

/* Names that the text leaves out keep their defaults. False: ret is untouched. */
bool hs_limits_parse(const char *text, struct hs_limits *ret);
void hs_limits_format(const struct hs_limits *l, char out[static HS_LIMITS_TEXT_MAX]);

/* -num "limit.NAME", with the limit, and (0: it does not help) the seconds after which to try again. */
int hs_limit_fail(struct hs_err *err, enum hs_limit which, uint64_t value, uint64_t retry_s);

/* The sentence of an error's code that came as bytes from another process; "" where it is not a limit's. */
const char *hs_limit_hint(const char *code);

/* --- tokens that were taken --- */

struct hs_token_count { /* zeroed: nothing taken yet */
	int64_t day;      /* since 1970, UTC; never goes back */
	uint64_t of_day;
	double minute;    /* taken of the minute's, as it stood at... */
	int64_t minute_at; /* ms */
};

/*
 * May n more tokens be taken? A whole minute's worth is enough for a generation larger than it, which then is owed.
 * slack: what may be owed of the minute's, and of the day's, beyond the limits.
 */
bool hs_token_count_admits(struct hs_token_count *c, const struct hs_limits *l, uint64_t n, uint64_t slack, int64_t now_ms,
			   enum hs_limit *ret_which, uint64_t *ret_retry_s);
void hs_token_count_take(struct hs_token_count *c, const struct hs_limits *l, uint64_t n, int64_t now_ms);

/* Give back what was taken too much of, at that day. */
void hs_token_count_return(struct hs_token_count *c, int64_t day, uint64_t n);

#endif
