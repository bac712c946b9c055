#include "daemon/tenant/usage.h"

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "base/file.h"
#include "base/wire.h"

static const char magic[8] = "HSUSAGE1";
#define HASH_LEN 8 /* against a torn or foreign file; who writes into the folder can write a whole one */
#define DAY_MS (24 * 60 * 60 * 1000LL)
#define ANSWER_MS_FIRST 10000 /* before one was answered */

static int read_file(struct hs_usage *u, int64_t now)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	uint8_t hash[crypto_generichash_BYTES];
	int rc = hs_file_read(u->dir, HS_USAGE_FILE, HS_USAGE_LEN, &b);
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	struct hs_wire w = hs_wire_over(b.data, b.len);
	const uint8_t *m = hs_wire_bytes(&w, sizeof magic);
	uint64_t day = hs_wire_u64(&w), tokens = hs_wire_u64(&w);
	const uint8_t *told = hs_wire_bytes(&w, HASH_LEN);
	if (!hs_wire_done(&w) || memcmp(m, magic, sizeof magic) != 0 || day > INT32_MAX)
		return -EBADMSG;
	(void)crypto_generichash(hash, sizeof hash, b.data, b.len - HASH_LEN, NULL, 0); /* fails for wrong lengths only */
	if (sodium_memcmp(hash, told, HASH_LEN) != 0)
		return -EBADMSG;
	/* A day that has not come yet is a clock that was set back since: its number stands until it is over. */
	u->count = (struct hs_token_count){.day = (int64_t)day, .of_day = tokens, .minute_at = now};
	return 0;
}

int hs_usage_init(struct hs_usage *u, const struct hs_limits *limits, int dir, int64_t now, bool *ret_bad)
{
	*u = (struct hs_usage){.limits = *limits, .dir = dir, .answer_ms = ANSWER_MS_FIRST, .count.minute_at = now};
	*ret_bad = false;
	int rc = -pthread_mutex_init(&u->lock, NULL);
	if (rc == 0)
		rc = -pthread_mutex_init(&u->file_lock, NULL);
	if (rc == 0 && limits->of[HS_LIMIT_TOKENS_PER_DAY] && read_file(u, now) < 0) {
		*ret_bad = true;
		u->count.day = now / DAY_MS;
		u->count.of_day = limits->of[HS_LIMIT_TOKENS_PER_DAY];
	}
	return rc;
}

void hs_usage_finish(struct hs_usage *u)
{
	(void)pthread_mutex_destroy(&u->lock); /* nobody holds it */
	(void)pthread_mutex_destroy(&u->file_lock);
}

static void lock(struct hs_usage *u)
{
	(void)pthread_mutex_lock(&u->lock); /* fails for a mutex of another kind only */
}

static void unlock(struct hs_usage *u)
{
	(void)pthread_mutex_unlock(&u->lock); /* as above */
}

/* May n more be taken? `take`: then they are. */
static int admit(struct hs_usage *u, uint64_t n, bool take, int64_t now, int64_t *ret_day, unsigned *ret_retry_s,
		 struct hs_err *err)
{
	enum hs_limit which = HS_LIMIT_TOKENS_PER_DAY;
	uint64_t retry = 0;
	lock(u);
	bool admitted = hs_token_count_admits(&u->count, &u->limits, n, 0, now, &which, &retry);
	if (admitted && take)
		hs_token_count_take(&u->count, &u->limits, n, now);
	u->refused[which] += !admitted;
	*ret_day = u->count.day;
	unlock(u);
	if (admitted)
		return 0;
	*ret_retry_s = (unsigned)HS_MIN(retry, (uint64_t)UINT32_MAX);
	return hs_limit_fail(err, which, u->limits.of[which], retry);
}

int hs_usage_take(struct hs_usage *u, uint64_t n, int64_t now, int64_t *ret_day, unsigned *ret_retry_s, struct hs_err *err)
{
	return admit(u, n, true, now, ret_day, ret_retry_s, err);
}

void hs_usage_return(struct hs_usage *u, int64_t day, uint64_t n)
{
	lock(u);
	hs_token_count_return(&u->count, day, n);
	unlock(u);
}

int hs_usage_queue(struct hs_usage *u, unsigned waiting, int64_t now, unsigned *ret_retry_s, struct hs_err *err)
{
	const uint64_t *of = u->limits.of;
	int64_t day;
	if (waiting < of[HS_LIMIT_QUEUE] + of[HS_LIMIT_GENERATIONS])
		return admit(u, 1, false, now, &day, ret_retry_s, err); /* what must be refused is not searched for first */
	lock(u);
	u->refused[HS_LIMIT_QUEUE]++;
	uint64_t retry = u->answer_ms / 1000 / of[HS_LIMIT_GENERATIONS] + 1; /* until the first of those has ended */
	unlock(u);
	*ret_retry_s = (unsigned)HS_MIN(retry, 3600u);
	return hs_limit_fail(err, HS_LIMIT_QUEUE, of[HS_LIMIT_QUEUE], *ret_retry_s);
}

void hs_usage_answered(struct hs_usage *u, uint64_t took_ms)
{
	lock(u);
	u->answer_ms = (3 * u->answer_ms + took_ms) / 4;
	unlock(u);
}

void hs_usage_refused(struct hs_usage *u, const char *code)
{
	lock(u);
	for (size_t i = 0; i < HS_LIMIT_N; i++)
		u->refused[i] += strncmp(code, "limit.", 6) == 0 && strcmp(code + 6, hs_limit_name((enum hs_limit)i)) == 0;
	unlock(u);
}

int hs_usage_save(struct hs_usage *u)
{
	if (!u->limits.of[HS_LIMIT_TOKENS_PER_DAY])
		return 0;
	HS_BUF_AUTO b = HS_BUF_INIT;
	uint8_t hash[crypto_generichash_BYTES];
	(void)pthread_mutex_lock(&u->file_lock); /* as in lock: the newest number is written last */
	lock(u);
	struct hs_token_count c = u->count;
	unlock(u);
	int rc = hs_buf_append(&b, magic, sizeof magic);
	if (rc == 0)
		rc = hs_put_u64(&b, (uint64_t)c.day);
	if (rc == 0)
		rc = hs_put_u64(&b, c.of_day);
	if (rc == 0) {
		(void)crypto_generichash(hash, sizeof hash, b.data, b.len, NULL, 0); /* fails for wrong lengths only */
		rc = hs_buf_append(&b, hash, HASH_LEN);
	}
	if (rc == 0)
		rc = hs_file_replace(u->dir, HS_USAGE_FILE, b.data, b.len, 0600);
	(void)pthread_mutex_unlock(&u->file_lock);
	return rc;
}

uint64_t hs_usage_today(struct hs_usage *u, int64_t now)
{
	lock(u);
	uint64_t n = now / DAY_MS > u->count.day ? 0 : u->count.of_day;
	unlock(u);
	return n;
}

uint64_t hs_usage_refusals(struct hs_usage *u)
{
	uint64_t n = 0;
	lock(u);
	for (size_t i = 0; i < HS_LIMIT_N; i++)
		n += u->refused[i];
	unlock(u);
	return n;
}
