/*
 * What the tenant took of its limits (daemon/limits.h). Before the model begins, prompt and longest answer are taken; what was not
 * used is given back when it has ended. Where the day's tokens are limited, their number is on disk before the model begins
 * (docs/formats/state.md): a restart forgets none of them. Any thread; the file is written by one at a time.
 */
#ifndef HISHO_DAEMON_TENANT_USAGE_H
#define HISHO_DAEMON_TENANT_USAGE_H

#include <pthread.h>

#include "daemon/limits.h"

#define HS_USAGE_FILE "usage"
#define HS_USAGE_LEN 32

struct hs_usage {
	struct hs_limits limits;
	int dir; /* the tenant's folder; the caller's */
	pthread_mutex_t lock, file_lock;
	struct hs_token_count count;
	uint64_t refused[HS_LIMIT_N];
	uint64_t answer_ms; /* what an answer took of late */
};

/* A file that cannot be read counts as a day that is used up, and *ret_bad says so. -errno. */
int hs_usage_init(struct hs_usage *u, const struct hs_limits *limits, int dir, int64_t now_ms, bool *ret_bad) HS_MUST_CHECK;
void hs_usage_finish(struct hs_usage *u);

/* -EBUSY "limit..." where n tokens would pass a limit; *ret_retry_s is then set. */
int hs_usage_take(struct hs_usage *u, uint64_t n, int64_t now_ms, int64_t *ret_day, unsigned *ret_retry_s,
		  struct hs_err *err) HS_MUST_CHECK;
void hs_usage_return(struct hs_usage *u, int64_t day, uint64_t n);

/* May another question wait, beside so many that do or are being answered? As hs_usage_take. */
int hs_usage_queue(struct hs_usage *u, unsigned waiting, int64_t now_ms, unsigned *ret_retry_s, struct hs_err *err) HS_MUST_CHECK;
void hs_usage_answered(struct hs_usage *u, uint64_t took_ms);
void hs_usage_refused(struct hs_usage *u, const char *code); /* a limit's, by infer */

/* Write the day's number; nothing where the day is not limited. Blocks; not on the loop. */
int hs_usage_save(struct hs_usage *u) HS_MUST_CHECK;

uint64_t hs_usage_today(struct hs_usage *u, int64_t now_ms);
uint64_t hs_usage_refusals(struct hs_usage *u);

#endif
