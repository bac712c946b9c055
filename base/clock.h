/* Time: UTC milliseconds for what is stored and shown, monotonic milliseconds for deadlines inside a process. */
#ifndef HISHO_BASE_CLOCK_H
#define HISHO_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int64_t hs_now_ms(void);
uint64_t hs_monotonic_ms(void);
uint64_t hs_monotonic_us(void);

/* Since the machine was started, its sleep included: goes on where the clock is set. */
uint64_t hs_uptime_ms(void);

#define HS_TIME_TEXT_LEN 24

/* RFC 3339 in UTC, "2026-03-31T08:00:00.000Z". */
void hs_time_format(int64_t ms, char out[static HS_TIME_TEXT_LEN + 1]);

/* Parse RFC 3339 with Z or a numeric zone, or a bare date (its first instant, UTC). False where it is neither. */
bool hs_time_parse(const char *s, size_t n, int64_t *ret_ms);

#endif
