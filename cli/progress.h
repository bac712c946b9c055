/* A progress line on standard error: a bar with the time that is left, rewritten in place on a terminal, silent elsewhere. */
#ifndef HISHO_CLI_PROGRESS_H
#define HISHO_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct hs_progress {
	bool shown;           /* standard error is a terminal */
	uint64_t began, last; /* monotonic ms */
	uint64_t total;       /* of whatever is counted, such as bytes */
};

void hs_progress_begin(struct hs_progress *p, uint64_t total);

/* done of total; words stand behind the bar. Draws at most every 100 ms, and at the end. */
void hs_progress_show(struct hs_progress *p, uint64_t done, const char *words);

/* Leave the line, so that what follows starts on its own. */
void hs_progress_end(struct hs_progress *p);

#endif
